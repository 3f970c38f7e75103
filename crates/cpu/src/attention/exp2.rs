//! Powers of two: with the logarithm's base folded into the scale of the scores, they cost two thirds of `e^x`.

use crate::simd::Simd;

/// `2^x` with at most 2 ulp of error for -126 <= x <= 127; below, 2^-126. (Polynomial of Cephes `exp2f`.)
#[inline(always)]
pub(crate) fn exp2<S: Simd>(s: S, x: S::V) -> S::V {
    let x = s.max(x, s.splat(-126.0));
    let n = s.round(x);
    let r = s.sub(x, n);
    let mut p = s.splat(1.535_336_2e-4);
    for c in [1.339_887_4e-3, 9.618_437e-3, 5.550_332_4e-2, 2.402_264_8e-1, 6.931_472e-1, 1.0] {
        p = s.mul_add(p, r, s.splat(c));
    }
    s.mul(p, s.exp2_int(n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, simd_fn};

    simd_fn! { fn apply(x: f32) -> f32 = apply_kernel }
    #[inline(always)]
    fn apply_kernel<S: Simd>(s: S, x: f32) -> f32 {
        s.reduce_max(exp2(s, s.splat(x)))
    }

    #[test]
    fn errors_stay_within_the_stated_bound() {
        for isa in Isa::available() {
            for i in 0..=100_000 {
                let x = -126.0 + 253.0 * (i as f32 / 100_000.0);
                let want = (x as f64).exp2();
                let ulp = ((want as f32).next_up() - want as f32) as f64;
                let got = apply(isa, x) as f64;
                assert!((got - want).abs() <= 2.0 * ulp, "{isa}: 2^{x} = {got}, not {want}");
            }
            assert_eq!(apply(isa, -1e30), 2f32.powi(-126));
        }
    }
}
