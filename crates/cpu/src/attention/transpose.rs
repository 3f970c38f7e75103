//! Transposing a block of rows in registers: done scalar by scalar it would cost as much as a tenth of the products.

use crate::gemm::Operand;
use crate::simd::{Portable, Simd};

/// Sets whose squares of `LANES` x `LANES` values can be transposed.
pub trait Transpose: Simd {
    /// Lane `dst[c·dst_row + r]` is lane c of row r of `src`, for every lane c that `values` fill, r < `LANES`; rows from
    /// `rows` on count as 0, and so does what is missing of a lane. `src`'s rows lie `src.1` values apart, `dst`'s `dst.1`
    /// lanes.
    ///
    /// # Safety
    /// `rows` and the lanes must be at most `LANES`; `src` must be readable over `rows` rows of `values` values, `dst`
    /// writable over as many rows of `LANES` lanes as there are lanes.
    unsafe fn transpose<E: Operand>(
        self,
        src: (*const E, usize),
        rows: usize,
        values: usize,
        dst: (*mut E, usize),
    );
}

impl Transpose for Portable {
    #[inline(always)]
    unsafe fn transpose<E: Operand>(
        self,
        src: (*const E, usize),
        rows: usize,
        values: usize,
        dst: (*mut E, usize),
    ) {
        for c in 0..values.next_multiple_of(E::PER_LANE) {
            for r in 0..Self::LANES {
                // SAFETY: the caller's.
                unsafe {
                    let there = r < rows && c < values;
                    let x = if there { *src.0.add(r * src.1 + c) } else { E::ZERO };
                    let (lane, part) = (c / E::PER_LANE, c % E::PER_LANE);
                    *dst.0.add((lane * dst.1 + r) * E::PER_LANE + part) = x;
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Transpose;
    use crate::gemm::Operand;
    use crate::simd::{Avx2, Avx512, Simd};
    use std::arch::x86_64::*;

    /// The bits of a row's lanes, zeros after them.
    ///
    /// # Safety
    /// `p` must be readable over `values` values, which one vector holds.
    #[inline(always)]
    unsafe fn load<S: Simd, E: Operand>(s: S, p: *const E, values: usize) -> S::V {
        // SAFETY: the caller's.
        unsafe {
            E::bits(
                s,
                if values == S::LANES * E::PER_LANE {
                    E::load_lanes(s, p)
                } else {
                    E::load_lanes_partial(s, p, values)
                },
            )
        }
    }

    // SAFETY of both: `self` proves the instructions; pointers are the caller's contract.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Transpose for Avx2 {
        #[inline(always)]
        unsafe fn transpose<E: Operand>(
            self,
            src: (*const E, usize),
            rows: usize,
            values: usize,
            dst: (*mut E, usize),
        ) {
            unsafe {
                let mut x = [self.splat(0.0); 8];
                for (r, x) in x.iter_mut().enumerate().take(rows) {
                    *x = load::<Self, E>(self, src.0.add(r * src.1), values);
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
                for (c, y) in y.into_iter().enumerate().take(values.div_ceil(E::PER_LANE)) {
                    self.store_ptr(dst.0.add(c * dst.1 * E::PER_LANE).cast(), y);
                }
            }
        }
    }

    #[allow(clippy::undocumented_unsafe_blocks)]
    impl<const BF16: bool> Transpose for Avx512<BF16> {
        #[inline(always)]
        unsafe fn transpose<E: Operand>(
            self,
            src: (*const E, usize),
            rows: usize,
            values: usize,
            dst: (*mut E, usize),
        ) {
            unsafe {
                let mut x = [self.splat(0.0); 16];
                for (r, x) in x.iter_mut().enumerate().take(rows) {
                    *x = load::<Self, E>(self, src.0.add(r * src.1), values);
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
                for (c, y) in y.into_iter().enumerate().take(values.div_ceil(E::PER_LANE)) {
                    self.store_ptr(dst.0.add(c * dst.1 * E::PER_LANE).cast(), y);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, simd_fn};
    use half::bf16;

    simd_fn! { fn check [E: Operand] (src: &[E]) = check_kernel }
    #[inline(always)]
    fn check_kernel<S: Transpose, E: Operand>(s: S, src: &[E]) {
        let (lanes, per_lane) = (S::LANES, E::PER_LANE);
        for rows in 0..=lanes {
            for values in 0..=lanes * per_lane {
                let mut dst = vec![E::from_f32(-1.0); lanes * 24 * per_lane];
                // SAFETY: `src` has LANES rows of 40 values, `dst` of 24 lanes.
                unsafe { s.transpose((src.as_ptr(), 40), rows, values, (dst.as_mut_ptr(), 24)) };
                for (i, got) in dst.iter().enumerate() {
                    let (lane, part) = (i / per_lane, i % per_lane);
                    let (c, r) = (lane / 24 * per_lane + part, lane % 24);
                    let there = lane / 24 < values.div_ceil(per_lane) && r < lanes;
                    let want = match (there, r < rows && c < values) {
                        (true, true) => src[r * 40 + c].to_f32(),
                        (true, false) => 0.0,
                        _ => -1.0,
                    };
                    assert_eq!(got.to_f32(), want, "row {r} value {c} of {rows} x {values}");
                }
            }
        }
    }

    fn numbers<E: Operand>() -> Vec<E> {
        (0..16 * 40).map(|i| E::from_f32((i % 251) as f32 + 1.0)).collect()
    }

    #[test]
    fn blocks_of_every_size_are_transposed() {
        for isa in Isa::available() {
            check(isa, &numbers::<f32>());
            check(isa, &numbers::<bf16>());
        }
    }
}
