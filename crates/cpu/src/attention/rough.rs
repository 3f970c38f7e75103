//! What attention in bf16 needs of a vector set: exponentials as exact as operands of bf16 deserve, and pairs.

use super::transpose::Transpose;
use crate::simd::Portable;
use half::bf16;

/// Sets with cheap exponentials and pairs.
pub trait Rough: Transpose {
    /// `2^x` with a relative error of at most 2^-13.7 for -126 <= x <= 127. Below it is at most 2^-126, above at least
    /// 2^126.
    #[inline(always)]
    fn exp2_rough(self, x: Self::V) -> Self::V {
        let x = self.min(self.max(x, self.splat(-126.0)), self.splat(127.0));
        let n = self.round(x);
        let r = self.sub(x, n);
        let mut p = self.splat(0.055_171_67);
        for c in [0.242_611_12, 0.693_261, 0.999_928_1] {
            p = self.mul_add(p, r, self.splat(c));
        }
        self.mul(p, self.exp2_int(n))
    }

    /// [`pair`](crate::simd::Simd::pair), perhaps with fewer instructions.
    #[inline(always)]
    fn rounded_pair(self, first: Self::V, second: Self::V) -> Self::P {
        self.pair(first, second)
    }

    /// Writes pairs of `2·LANES` values at `first` and at `second`.
    ///
    /// # Safety
    /// Both must be valid for reading `2·LANES` values, `to` for writing `4·LANES`.
    #[inline(always)]
    unsafe fn pair_rows(self, first: *const bf16, second: *const bf16, to: *mut bf16) {
        // SAFETY: the caller's.
        unsafe {
            for n in [0, Self::LANES] {
                let pairs = self.interleave_ptr(first.add(n), second.add(n));
                self.store_pairs_ptr(to.add(2 * n), pairs);
            }
        }
    }
}

/// Logarithms to the base 2 of positive normal numbers, within 2^-22 of themselves or of 1, whichever is larger. Plain
/// arithmetic, so that compilers vectorise it.
#[inline(always)]
pub(crate) fn log2_all(x: &mut [f32]) {
    for x in x {
        // x = m·2^n with m from sqrt(1/2) to sqrt(2).
        let bits = x.to_bits().wrapping_sub(0x3f35_04f3);
        let n = (bits as i32) >> 23;
        let m = f32::from_bits((bits & 0x007f_ffff).wrapping_add(0x3f35_04f3));
        let r = (m - 1.0) / (m + 1.0);
        let square = r * r;
        // 2/ln 2 times the series of the inverse hyperbolic tangent.
        let p = 0.320_598_9 * square + 0.412_198_6;
        let p = p * square + 0.577_078;
        let p = p * square + 0.961_796_7;
        let p = p * square + 2.885_39;
        *x = n as f32 + p * r;
    }
}

impl Rough for Portable {}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Rough;
    use crate::simd::{Avx2, Avx512, Simd};
    use half::bf16;
    use std::arch::x86_64::*;

    impl Rough for Avx2 {}

    /// Where pairs take their values from: the first of pair i is value `first + i`, the second lies `apart` further on.
    const fn interleave(first: usize, apart: usize) -> [u16; 32] {
        let mut from = [0; 32];
        let mut i = 0;
        while i < 32 {
            from[i] = (first + i / 2 + apart * (i % 2)) as u16;
            i += 1;
        }
        from
    }

    /// Of 32 values that one instruction has rounded.
    static OF_ONE: [u16; 32] = interleave(0, 16);
    /// Of the lower halves of two vectors, and of the upper ones.
    static OF_TWO: [[u16; 32]; 2] = [interleave(0, 32), interleave(16, 32)];

    // SAFETY of every block: `self` proves the instructions.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl<const BF16: bool> Rough for Avx512<BF16> {
        #[inline(always)]
        fn exp2_rough(self, x: __m512) -> __m512 {
            unsafe {
                // x - floor(x); scaling by a power of two takes the floor of the exponent by itself.
                let r = _mm512_reduce_ps::<0x09>(x);
                let mut p = self.splat(0.078_024_52);
                for c in [0.226_067_16, 0.695_833_5, 0.999_925_2] {
                    p = self.mul_add(p, r, self.splat(c));
                }
                _mm512_scalef_ps(p, x)
            }
        }

        #[inline(always)]
        fn rounded_pair(self, first: __m512, second: __m512) -> __m512i {
            if !BF16 {
                return self.pair(first, second);
            }
            unsafe {
                let both = _mm512_cvtne2ps_pbh(second, first);
                let both = std::mem::transmute::<__m512bh, __m512i>(both);
                _mm512_permutexvar_epi16(_mm512_loadu_si512(OF_ONE.as_ptr().cast()), both)
            }
        }

        #[inline(always)]
        unsafe fn pair_rows(self, first: *const bf16, second: *const bf16, to: *mut bf16) {
            unsafe {
                let (first, second) = (self.load_pairs_ptr(first), self.load_pairs_ptr(second));
                for (n, from) in OF_TWO.iter().enumerate() {
                    let from = _mm512_loadu_si512(from.as_ptr().cast());
                    let pairs = _mm512_permutex2var_epi16(first, from, second);
                    self.store_pairs_ptr(to.add(32 * n), pairs);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, simd_fn};

    simd_fn! { fn apply(x: f32) -> f32 = apply_kernel }
    #[inline(always)]
    fn apply_kernel<S: Rough>(s: S, x: f32) -> f32 {
        s.reduce_max(s.exp2_rough(s.splat(x)))
    }

    #[test]
    fn exponentials_stay_within_the_stated_bound() {
        for isa in Isa::available() {
            for i in 0..=100_000 {
                let x = -126.0 + 253.0 * (i as f32 / 100_000.0);
                let (got, want) = (apply(isa, x) as f64, (x as f64).exp2());
                assert!((got / want - 1.0).abs() <= 2f64.powf(-13.7), "{isa}: 2^{x} = {got}");
            }
            assert!([-127.0, -130.0, -1e30].iter().all(|&x| apply(isa, x) <= 2f32.powi(-126)));
            assert!([127.5, 1000.0, 1e30].iter().all(|&x| apply(isa, x) >= 2f32.powi(126)));
        }
    }

    simd_fn! { fn pairs(x: &[f32; 16], y: &[f32; 16], out: &mut [bf16; 32]) = pairs_kernel }
    #[inline(always)]
    fn pairs_kernel<S: Rough>(s: S, x: &[f32; 16], y: &[f32; 16], out: &mut [bf16; 32]) {
        for i in (0..16).step_by(S::LANES) {
            let pairs = s.rounded_pair(s.load(&x[i..]), s.load(&y[i..]));
            // SAFETY: as many pairs as lanes, from lane i on.
            unsafe { s.store_pairs_ptr(out.as_mut_ptr().add(2 * i), pairs) };
        }
    }

    simd_fn! { fn row_pairs(rows: &[bf16; 64], out: &mut [bf16; 64]) = row_pairs_kernel }
    #[inline(always)]
    fn row_pairs_kernel<S: Rough>(s: S, rows: &[bf16; 64], out: &mut [bf16; 64]) {
        for i in (0..32).step_by(2 * S::LANES) {
            let first = rows[i..].as_ptr();
            // SAFETY: 2·LANES values of each of two rows of 32, and room for both.
            unsafe { s.pair_rows(first, first.add(32), out.as_mut_ptr().add(2 * i)) };
        }
    }

    #[test]
    fn logarithms_stay_within_the_stated_bound() {
        for i in 0..=1_000_000 {
            let x = (-126.0 + 253.0 * (i as f64 / 1e6)).exp2() as f32;
            let mut got = [x];
            log2_all(&mut got);
            let want = (x as f64).log2();
            let error = (got[0] as f64 - want).abs();
            assert!(error <= 2f64.powi(-22) * want.abs().max(1.0), "log2 {x} = {}", got[0]);
        }
    }

    #[test]
    fn pairs_are_rounded_to_nearest_in_order() {
        let x: [f32; 16] = std::array::from_fn(|i| 1.0 + 0.013 * i as f32);
        let y: [f32; 16] = std::array::from_fn(|i| -3.0 + 0.37 * i as f32);
        for isa in Isa::available() {
            let mut out = [bf16::ZERO; 32];
            pairs(isa, &x, &y, &mut out);
            let rows: [bf16; 64] = std::array::from_fn(|i| bf16::from_f32(i as f32));
            let mut both = [bf16::ZERO; 64];
            row_pairs(isa, &rows, &mut both);
            for i in 0..32 {
                assert_eq!(
                    [both[2 * i], both[2 * i + 1]],
                    [rows[i], rows[32 + i]],
                    "{isa} rows {i}"
                );
            }
            for i in 0..16 {
                assert_eq!(out[2 * i], bf16::from_f32(x[i]), "{isa} first {i}");
                assert_eq!(out[2 * i + 1], bf16::from_f32(y[i]), "{isa} second {i}");
            }
        }
    }
}
