//! Writing one head's rows of an array whose other heads belong to other tasks.

use crate::pool::SharedSlice;

/// Rows of one head. Between them lie those of other heads, so no slice may span several rows.
#[derive(Clone, Copy)]
pub(super) struct Strided {
    data: *mut f32,
    row: usize,
    len: usize,
}

impl Strided {
    /// # Safety
    /// The slice must stay alive, and nobody else may touch this head's rows meanwhile.
    pub(super) unsafe fn new(
        data: &SharedSlice<f32>,
        start: usize,
        row: usize,
        len: usize,
    ) -> Self {
        // SAFETY: an empty part overlaps nothing; asking for both ends checks the bounds.
        let first = unsafe { data.range(start, 0) }.as_mut_ptr();
        // SAFETY: as above.
        let _ = unsafe { data.range(start + len, 0) };
        Strided { data: first, row, len }
    }

    /// The `d` values of row `r`.
    #[inline(always)]
    pub(super) fn row(&mut self, r: usize, d: usize) -> &mut [f32] {
        assert!(r * self.row + d <= self.len);
        // SAFETY: inside the part whose owner `new` was promised to be the only one.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(r * self.row), d) }
    }
}
