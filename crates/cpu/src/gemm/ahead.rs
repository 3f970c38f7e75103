//! Bringing an operand into the second-level cache while another one is computed with, so that packing it does not wait
//! for memory.

use super::matrix::Matrix;
use crate::simd::Simd;

/// Bytes of a cache line.
const LINE: usize = 64;

/// The cache lines of a part of a matrix, of which some have been asked for.
#[derive(Clone, Copy)]
pub(super) struct Ahead {
    at: *const u8,
    /// Lines left in the stretch at hand.
    left: usize,
    /// Lines of each contiguous stretch, and the distance from one to the next in bytes.
    per_stretch: usize,
    stride: usize,
    /// Stretches left, the one at hand included.
    stretches: usize,
}

// SAFETY: the address is only a hint; nothing is read through it.
unsafe impl Send for Ahead {}
// SAFETY: as above.
unsafe impl Sync for Ahead {}

impl Ahead {
    pub fn nothing() -> Self {
        Ahead { at: std::ptr::null(), left: 0, per_stretch: 0, stride: 0, stretches: 0 }
    }

    /// All of `part`, if its rows or its columns lie contiguously.
    pub fn new<T: Copy>(part: Matrix<'_, T>) -> Self {
        let (stretches, len, stride) = match (part.row_stride(), part.col_stride()) {
            (stride, 1) => (part.rows(), part.cols(), stride),
            (1, stride) => (part.cols(), part.rows(), stride),
            _ => return Ahead::nothing(),
        };
        // A stretch seldom begins on a line.
        let per_stretch = (len * size_of::<T>()).div_ceil(LINE) + 1;
        let at = part.data().as_ptr().cast();
        Ahead { at, left: per_stretch, per_stretch, stride: stride * size_of::<T>(), stretches }
    }

    /// Lines in all.
    pub fn lines(&self) -> usize {
        self.stretches * self.per_stretch
    }

    /// Asks for the next `lines`.
    #[inline(always)]
    pub fn fetch<S: Simd>(&mut self, s: S, lines: usize) {
        let mut lines = lines;
        while lines > 0 && self.stretches > 0 {
            let now = lines.min(self.left);
            let from = self.at.wrapping_add((self.per_stretch - self.left) * LINE);
            for line in 0..now {
                s.prefetch_far(from.wrapping_add(line * LINE).cast());
            }
            lines -= now;
            self.left -= now;
            if self.left == 0 {
                self.at = self.at.wrapping_add(self.stride);
                self.left = self.per_stretch;
                self.stretches -= 1;
            }
        }
    }
}
