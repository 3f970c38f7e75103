//! What the softmax of bf16 needs, as exact as operands of bf16 deserve.

use super::transpose::Transpose;
use crate::simd::Portable;

/// Sets with cheap exponentials and pairs.
pub(super) trait Rough: Transpose {
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
}

impl Rough for Portable {}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Rough;
    use crate::simd::{Avx2, Avx512, Simd};
    use std::arch::x86_64::*;

    impl Rough for Avx2 {}

    /// Where each value of a pair lies in the 32 that one instruction has rounded.
    static INTERLEAVE: [u16; 32] = {
        let mut from = [0; 32];
        let mut i = 0;
        while i < 32 {
            from[i] = (i / 2 + 16 * (i % 2)) as u16;
            i += 1;
        }
        from
    };

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
                _mm512_permutexvar_epi16(_mm512_loadu_si512(INTERLEAVE.as_ptr().cast()), both)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, simd_fn};
    use half::bf16;

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

    #[test]
    fn pairs_are_rounded_to_nearest_in_order() {
        let x: [f32; 16] = std::array::from_fn(|i| 1.0 + 0.013 * i as f32);
        let y: [f32; 16] = std::array::from_fn(|i| -3.0 + 0.37 * i as f32);
        for isa in Isa::available() {
            let mut out = [bf16::ZERO; 32];
            pairs(isa, &x, &y, &mut out);
            for i in 0..16 {
                assert_eq!(out[2 * i], bf16::from_f32(x[i]), "{isa} first {i}");
                assert_eq!(out[2 * i + 1], bf16::from_f32(y[i]), "{isa} second {i}");
            }
        }
    }
}
