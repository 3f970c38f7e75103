//! Bringing near what is needed soon. Rows of a head lie apart, where the hardware does not foresee them; and asked for all
//! at once, they would hold up everything else.

use super::pack::HeadRows;
use super::scratch::LINE;
use crate::gemm::Operand;
use crate::simd::Simd;

/// Rows that will be read or written soon.
#[derive(Clone, Copy)]
pub(super) struct Ahead {
    first: *const f32,
    /// Distance between rows, in bytes.
    row: usize,
    rows: usize,
    /// Length of a row, in bytes.
    len: usize,
    /// Whether only the second-level cache is meant.
    far: bool,
}

impl Ahead {
    pub(super) const NOTHING: Ahead =
        Ahead { first: std::ptr::null(), row: 0, rows: 0, len: 0, far: true };

    /// `rows` rows of `d` values, `row` apart.
    pub(super) fn new<E>(first: *const E, row: usize, rows: usize, d: usize) -> Self {
        let size = size_of::<E>();
        Ahead { first: first.cast(), row: row * size, rows, len: d * size, far: false }
    }

    pub(super) fn of<E: Operand>(rows: HeadRows<'_, E>) -> Self {
        Ahead::new(rows.data.as_ptr(), rows.row, rows.rows, rows.d)
    }

    /// The same for later: into the second-level cache.
    pub(super) fn far(self) -> Self {
        Ahead { far: true, ..self }
    }

    /// Asks for part number `part` of `parts` about equal ones.
    #[inline(always)]
    pub(super) fn fetch<S: Simd>(self, s: S, part: usize, parts: usize) {
        for r in self.rows * part / parts..self.rows * (part + 1) / parts {
            let row = self.first.wrapping_byte_add(r * self.row);
            for line in (0..self.len).step_by(LINE * size_of::<f32>()) {
                let p = row.wrapping_byte_add(line);
                if self.far { s.prefetch_far(p) } else { s.prefetch(p) }
            }
        }
    }
}
