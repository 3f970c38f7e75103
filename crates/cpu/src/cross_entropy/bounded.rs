//! tanh and e^x as the passes over logits need them: in as few instructions as their accuracy allows, because they run
//! for every token of the vocabulary at every position.

use crate::simd::Simd;

/// Where tanh rounds to 1.
const SATURATION: f32 = 9.0;

/// `tanh(x)` with at most 6 ulp of error, NaN for NaN: a rational function, minimax in relative error (2e-8) over
/// 0..=[`SATURATION`].
#[inline(always)]
pub(super) fn tanh<S: Simd>(s: S, x: S::V) -> S::V {
    // A comparison with NaN yields the second operand.
    let clamp = |x: S::V, bound: f32| s.max(s.splat(-bound), s.min(s.splat(bound), x));
    let x = clamp(x, SATURATION);
    let z = s.mul(x, x);
    let z2 = s.mul(z, z);
    let ratio = |c1: f32, c2: f32, c3: f32, c4: f32| {
        let low = s.mul_add(z, s.splat(c1), s.splat(1.0));
        let high = s.mul_add(z, s.splat(c3), s.splat(c2));
        s.mul_add(z2, s.mul_add(z2, s.splat(c4), high), low)
    };
    let p = ratio(0.133_810_36, 3.495_600_5e-3, 2.060_927_2e-5, 1.335_49e-8);
    let q = ratio(0.467_143_5, 2.587_703e-2, 3.285_654_5e-4, 7.776_661e-7);
    // Rounding could yield more than 1, and 1 - tanh² less than 0.
    clamp(s.div(s.mul(x, p), q), 1.0)
}

/// `2^x` with at most 2 ulp of error, for x in -126..=127 only.
#[inline(always)]
pub(super) fn exp2<S: Simd>(s: S, x: S::V) -> S::V {
    let n = s.round(x);
    let r = s.sub(x, n);
    let r2 = s.mul(r, r);
    // Minimax over -0.5..=0.5, 2e-9.
    let p01 = s.mul_add(r, s.splat(std::f32::consts::LN_2), s.splat(1.0));
    let p23 = s.mul_add(r, s.splat(5.550_327e-2), s.splat(0.240_226_5));
    let p45 = s.mul_add(r, s.splat(1.340_042_8e-3), s.splat(9.618_057e-3));
    let p456 = s.mul_add(r2, s.splat(1.546_144_5e-4), p45);
    let p = s.mul_add(s.mul_add(p456, r2, p23), r2, p01);
    s.mul(p, s.exp2_int(n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, simd_fn};

    simd_fn! { fn tanh_of(x: f32) -> f32 = tanh_of_kernel }
    #[inline(always)]
    fn tanh_of_kernel<S: Simd>(s: S, x: f32) -> f32 {
        s.reduce_max(tanh(s, s.splat(x)))
    }

    simd_fn! { fn exp2_of(x: f32) -> f32 = exp2_of_kernel }
    #[inline(always)]
    fn exp2_of_kernel<S: Simd>(s: S, x: f32) -> f32 {
        s.reduce_max(exp2(s, s.splat(x)))
    }

    fn ulps(got: f32, want: f64) -> f64 {
        let want_f32 = want as f32;
        (got as f64 - want).abs() / (want_f32.abs().next_up() - want_f32.abs()) as f64
    }

    #[test]
    fn errors_stay_within_the_stated_bounds() {
        for isa in Isa::available() {
            for i in -100_000..=100_000 {
                let x = 12.0 * (i as f32 / 100_000.0);
                assert!(ulps(tanh_of(isa, x), (x as f64).tanh()) <= 6.0, "{isa}: tanh {x}");
                let x = 10.0 * x;
                assert!(ulps(exp2_of(isa, x), (x as f64).exp2()) <= 2.0, "{isa}: 2^{x}");
            }
            let (high, low) = (tanh_of(isa, 1e30), tanh_of(isa, -1e30));
            assert!(ulps(high, 1.0) <= 6.0 && high <= 1.0 && low == -high, "{isa}: {low}, {high}");
        }
    }
}
