//! Transposing a block of rows in registers: done scalar by scalar it would cost as much as a tenth of the products.

use crate::simd::{Portable, Simd};

/// Sets whose squares of `LANES` x `LANES` values can be transposed.
pub(super) trait Transpose: Simd {
    /// `dst[c·dst_row + r] = scale·src[r·src_row + c]` for c < `cols`, r < `LANES`, where rows from `rows` on count as 0.
    ///
    /// # Safety
    /// `rows, cols <= LANES`; `src` must be readable over `rows` rows of `cols` values, `dst` writable over `cols` rows
    /// of `LANES` values.
    unsafe fn transpose(
        self,
        src: (*const f32, usize),
        rows: usize,
        cols: usize,
        scale: f32,
        dst: (*mut f32, usize),
    );
}

impl Transpose for Portable {
    #[inline(always)]
    unsafe fn transpose(
        self,
        src: (*const f32, usize),
        rows: usize,
        cols: usize,
        scale: f32,
        dst: (*mut f32, usize),
    ) {
        for c in 0..cols {
            for r in 0..Self::LANES {
                // SAFETY: the caller's.
                unsafe {
                    let x = if r < rows { *src.0.add(r * src.1 + c) } else { 0.0 };
                    *dst.0.add(c * dst.1 + r) = scale * x;
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Transpose;
    use crate::simd::{Avx2, Avx512, Simd};
    use std::arch::x86_64::*;

    // SAFETY of both: `self` proves the instructions; pointers are the caller's contract.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Transpose for Avx2 {
        #[inline(always)]
        unsafe fn transpose(
            self,
            src: (*const f32, usize),
            rows: usize,
            cols: usize,
            scale: f32,
            dst: (*mut f32, usize),
        ) {
            unsafe {
                let factor = self.splat(scale);
                let mut x = [self.splat(0.0); 8];
                for (r, x) in x.iter_mut().enumerate().take(rows) {
                    *x = self.mul(factor, self.load_ptr_partial(src.0.add(r * src.1), cols));
                }
                let mut y = x;
                for r in [0, 2, 4, 6] {
                    y[r] = _mm256_unpacklo_ps(x[r], x[r + 1]);
                    y[r + 1] = _mm256_unpackhi_ps(x[r], x[r + 1]);
                }
                for r in [0, 4] {
                    x[r] = _mm256_shuffle_ps::<0x44>(y[r], y[r + 2]);
                    x[r + 1] = _mm256_shuffle_ps::<0xee>(y[r], y[r + 2]);
                    x[r + 2] = _mm256_shuffle_ps::<0x44>(y[r + 1], y[r + 3]);
                    x[r + 3] = _mm256_shuffle_ps::<0xee>(y[r + 1], y[r + 3]);
                }
                for r in 0..4 {
                    y[r] = _mm256_permute2f128_ps::<0x20>(x[r], x[r + 4]);
                    y[r + 4] = _mm256_permute2f128_ps::<0x31>(x[r], x[r + 4]);
                }
                for (c, y) in y.into_iter().enumerate().take(cols) {
                    self.store_ptr(dst.0.add(c * dst.1), y);
                }
            }
        }
    }

    #[allow(clippy::undocumented_unsafe_blocks)]
    impl<const BF16: bool> Transpose for Avx512<BF16> {
        #[inline(always)]
        unsafe fn transpose(
            self,
            src: (*const f32, usize),
            rows: usize,
            cols: usize,
            scale: f32,
            dst: (*mut f32, usize),
        ) {
            unsafe {
                let factor = self.splat(scale);
                let mut x = [self.splat(0.0); 16];
                for (r, x) in x.iter_mut().enumerate().take(rows) {
                    *x = self.mul(factor, self.load_ptr_partial(src.0.add(r * src.1), cols));
                }
                let mut y = x;
                for r in [0, 2, 4, 6, 8, 10, 12, 14] {
                    y[r] = _mm512_unpacklo_ps(x[r], x[r + 1]);
                    y[r + 1] = _mm512_unpackhi_ps(x[r], x[r + 1]);
                }
                // Now 4 x 4 squares inside each quarter of the registers.
                for r in [0, 4, 8, 12] {
                    x[r] = _mm512_shuffle_ps::<0x44>(y[r], y[r + 2]);
                    x[r + 1] = _mm512_shuffle_ps::<0xee>(y[r], y[r + 2]);
                    x[r + 2] = _mm512_shuffle_ps::<0x44>(y[r + 1], y[r + 3]);
                    x[r + 3] = _mm512_shuffle_ps::<0xee>(y[r + 1], y[r + 3]);
                }
                // x[4a + b] holds, in quarter c, rows 4a.. of column 4c + b: transpose the quarters.
                for b in 0..4 {
                    let even = _mm512_shuffle_f32x4::<0x88>(x[b], x[b + 4]);
                    let odd = _mm512_shuffle_f32x4::<0xdd>(x[b], x[b + 4]);
                    let even2 = _mm512_shuffle_f32x4::<0x88>(x[b + 8], x[b + 12]);
                    let odd2 = _mm512_shuffle_f32x4::<0xdd>(x[b + 8], x[b + 12]);
                    y[b] = _mm512_shuffle_f32x4::<0x88>(even, even2);
                    y[b + 4] = _mm512_shuffle_f32x4::<0x88>(odd, odd2);
                    y[b + 8] = _mm512_shuffle_f32x4::<0xdd>(even, even2);
                    y[b + 12] = _mm512_shuffle_f32x4::<0xdd>(odd, odd2);
                }
                for (c, y) in y.into_iter().enumerate().take(cols) {
                    self.store_ptr(dst.0.add(c * dst.1), y);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, simd_fn};

    simd_fn! { fn check() = check_kernel }
    #[inline(always)]
    fn check_kernel<S: Transpose>(s: S) {
        let lanes = S::LANES;
        let src: Vec<f32> = (0..lanes * 20).map(|i| i as f32 + 1.0).collect();
        for rows in 0..=lanes {
            for cols in 0..=lanes {
                let mut dst = vec![-1.0f32; lanes * 24];
                // SAFETY: `src` has LANES rows of 20 values, `dst` of 24.
                unsafe { s.transpose((src.as_ptr(), 20), rows, cols, 2.0, (dst.as_mut_ptr(), 24)) };
                for (i, &got) in dst.iter().enumerate() {
                    let (c, r) = (i / 24, i % 24);
                    let want = match (c < cols && r < lanes, r < rows) {
                        (true, true) => 2.0 * src[r * 20 + c],
                        (true, false) => 0.0,
                        _ => -1.0,
                    };
                    assert_eq!(got, want, "row {r} column {c} of {rows} x {cols}");
                }
            }
        }
    }

    #[test]
    fn blocks_of_every_size_are_transposed() {
        Isa::available().into_iter().for_each(check);
    }
}
