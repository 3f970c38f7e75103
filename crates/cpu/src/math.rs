//! Vectorised elementary functions. Errors are measured by the tests over the whole useful range.

use crate::simd::Simd;

/// `e^x` with at most 2 ulp of error for x in -87.3..=88.3; below, it stays near the smallest normal number, above,
/// near the largest finite one. (Cody-Waite reduction, polynomial of Cephes `expf`.)
#[inline(always)]
pub fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    let x = s.min(s.max(x, s.splat(-87.336_54)), s.splat(88.376_26));
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    // ln 2 in two parts, so that r keeps its low bits.
    let r = s.mul_add(n, s.splat(-0.693_359_4), x);
    let r = s.mul_add(n, s.splat(2.121_944_4e-4), r);
    let mut p = s.splat(1.987_569_1e-4);
    for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = s.mul_add(p, r, s.splat(c));
    }
    let y = s.add(s.mul_add(p, s.mul(r, r), r), s.splat(1.0));
    s.mul(y, s.exp2_int(n))
}

/// `tanh(x)` with at most 3 ulp of error. (Cephes `tanhf`: a polynomial below 0.625, `1 - 2/(e^2x + 1)` above.)
#[inline(always)]
pub fn tanh<S: Simd>(s: S, x: S::V) -> S::V {
    let a = s.abs(x);
    let e = exp(s, s.add(a, a));
    let large = s.sub(s.splat(1.0), s.div(s.splat(2.0), s.add(e, s.splat(1.0))));
    let z = s.mul(a, a);
    let mut p = s.splat(-5.704_988_7e-3);
    for c in [2.063_908_8e-2, -5.373_971_5e-2, 1.333_144_2e-1, -3.333_328e-1] {
        p = s.mul_add(p, z, s.splat(c));
    }
    let small = s.mul_add(s.mul(p, z), a, a);
    s.copysign(s.select_ge(a, s.splat(0.625), large, small), x)
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub fn sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    let e = exp(s, s.sub(s.splat(0.0), x));
    s.div(s.splat(1.0), s.add(s.splat(1.0), e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, simd_fn};

    simd_fn! { fn apply(which: u8, x: f32) -> f32 = apply_kernel }
    #[inline(always)]
    fn apply_kernel<S: Simd>(s: S, which: u8, x: f32) -> f32 {
        let v = s.splat(x);
        s.reduce_max(match which {
            0 => exp(s, v),
            1 => tanh(s, v),
            _ => sigmoid(s, v),
        })
    }

    fn worst_ulp(isa: Isa, which: u8, range: std::ops::Range<f32>, exact: fn(f64) -> f64) -> f64 {
        let steps = 200_003;
        let mut worst = 0.0f64;
        for i in 0..steps {
            let x = range.start + (range.end - range.start) * (i as f32 / steps as f32);
            let want = exact(x as f64);
            let ulp = ((want as f32).next_up() - want as f32).abs() as f64;
            worst = worst.max((apply(isa, which, x) as f64 - want).abs() / ulp);
        }
        worst
    }

    #[test]
    fn errors_stay_within_the_stated_bounds() {
        for isa in Isa::available() {
            assert!(worst_ulp(isa, 0, -87.0..88.0, f64::exp) <= 2.0, "exp {isa}");
            assert!(worst_ulp(isa, 1, -12.0..12.0, f64::tanh) <= 3.0, "tanh {isa}");
            let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
            assert!(worst_ulp(isa, 2, -20.0..20.0, sigmoid) <= 4.0, "sigmoid {isa}");
        }
    }

    #[test]
    fn extremes_are_finite_and_signed() {
        for isa in Isa::available() {
            assert!(apply(isa, 0, -1e4) < 2e-38 && apply(isa, 0, 1e4).is_finite());
            assert_eq!(apply(isa, 1, 1e4), 1.0);
            assert_eq!(apply(isa, 1, -1e4), -1.0);
            assert_eq!(apply(isa, 1, -0.0).to_bits(), (-0.0f32).to_bits());
        }
    }
}
