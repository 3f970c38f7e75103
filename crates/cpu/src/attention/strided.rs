//! Writing one head's rows of an array whose other heads belong to other tasks.

use super::ahead::Ahead;
use crate::pool::SharedSlice;

/// Rows of one head. Between them lie those of other heads, so no slice may span several rows.
#[derive(Clone, Copy)]
pub struct Strided<E> {
    data: *mut E,
    row: usize,
    len: usize,
}

impl<E> Strided<E> {
    /// # Safety
    /// The slice must stay alive, and nobody else may touch this head's rows meanwhile.
    pub(super) unsafe fn new(data: &SharedSlice<E>, start: usize, row: usize, len: usize) -> Self {
        // SAFETY: empty parts overlap nothing; asking for both ends checks the bounds.
        let _ = unsafe { (data.range(start, 0), data.range(start + len, 0)) };
        Strided { data: data.as_ptr().wrapping_add(start), row, len }
    }

    /// Rows of `d` values, for writing soon.
    pub(super) fn ahead(&self, rows: usize, d: usize) -> Ahead {
        Ahead::new(self.data, self.row, rows, d)
    }

    /// The `d` values of row `r`.
    #[inline(always)]
    pub(super) fn row(&mut self, r: usize, d: usize) -> &mut [E] {
        assert!(r * self.row + d <= self.len);
        // SAFETY: inside the part whose owner `new` was promised to be the only one.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(r * self.row), d) }
    }
}
