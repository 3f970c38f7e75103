//! Element types in memory: kernels that are generic over them compute in f32.

use super::Simd;
use half::bf16;

/// An element type that vectors of f32 are loaded from and stored to; bf16 is rounded to nearest, ties to even.
pub trait Element: Copy + Send + Sync + std::fmt::Debug + 'static {
    /// Zero.
    const ZERO: Self;

    /// The value.
    fn to_f32(self) -> f32;
    /// The nearest value, ties to even.
    fn from_f32(x: f32) -> Self;

    /// `LANES` values.
    ///
    /// # Safety
    /// `p` must be valid for reading `LANES` values.
    unsafe fn load<S: Simd>(s: S, p: *const Self) -> S::V;
    /// `n` values, zeros after them.
    ///
    /// # Safety
    /// `p` must be valid for reading `n <= LANES` values.
    unsafe fn load_partial<S: Simd>(s: S, p: *const Self, n: usize) -> S::V;
    /// Writes `LANES` values.
    ///
    /// # Safety
    /// `p` must be valid for writing `LANES` values.
    unsafe fn store<S: Simd>(s: S, p: *mut Self, v: S::V);
    /// Writes the first `n` lanes.
    ///
    /// # Safety
    /// `p` must be valid for writing `n <= LANES` values.
    unsafe fn store_partial<S: Simd>(s: S, p: *mut Self, v: S::V, n: usize);

    /// `n` values, zeros after them; a whole vector costs less.
    ///
    /// # Safety
    /// `p` must be valid for reading `n <= LANES` values.
    #[inline(always)]
    unsafe fn load_n<S: Simd>(s: S, p: *const Self, n: usize) -> S::V {
        // SAFETY: the caller's.
        unsafe { if n == S::LANES { Self::load(s, p) } else { Self::load_partial(s, p, n) } }
    }
    /// Writes the first `n` lanes; a whole vector costs less.
    ///
    /// # Safety
    /// `p` must be valid for writing `n <= LANES` values.
    #[inline(always)]
    unsafe fn store_n<S: Simd>(s: S, p: *mut Self, v: S::V, n: usize) {
        // SAFETY: the caller's.
        unsafe {
            if n == S::LANES { Self::store(s, p, v) } else { Self::store_partial(s, p, v, n) }
        }
    }
}

// SAFETY of every block below: the caller's contract is that of the vector's method.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Element for f32 {
    const ZERO: f32 = 0.0;

    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
    #[inline(always)]
    fn from_f32(x: f32) -> f32 {
        x
    }
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const f32) -> S::V {
        unsafe { s.load_ptr(p) }
    }
    #[inline(always)]
    unsafe fn load_partial<S: Simd>(s: S, p: *const f32, n: usize) -> S::V {
        unsafe { s.load_ptr_partial(p, n) }
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, p: *mut f32, v: S::V) {
        unsafe { s.store_ptr(p, v) }
    }
    #[inline(always)]
    unsafe fn store_partial<S: Simd>(s: S, p: *mut f32, v: S::V, n: usize) {
        unsafe { s.store_ptr_partial(p, v, n) }
    }
}

#[allow(clippy::undocumented_unsafe_blocks)]
impl Element for bf16 {
    const ZERO: bf16 = bf16::ZERO;

    #[inline(always)]
    fn to_f32(self) -> f32 {
        self.to_f32()
    }
    #[inline(always)]
    fn from_f32(x: f32) -> bf16 {
        bf16::from_f32(x)
    }
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const bf16) -> S::V {
        unsafe { s.load_bf16_ptr(p) }
    }
    #[inline(always)]
    unsafe fn load_partial<S: Simd>(s: S, p: *const bf16, n: usize) -> S::V {
        unsafe { s.load_bf16_ptr_partial(p, n) }
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, p: *mut bf16, v: S::V) {
        unsafe { s.store_bf16_ptr(p, v) }
    }
    #[inline(always)]
    unsafe fn store_partial<S: Simd>(s: S, p: *mut bf16, v: S::V, n: usize) {
        unsafe { s.store_bf16_ptr_partial(p, v, n) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, simd_fn};

    simd_fn! { fn convert(x: &[f32], y: &mut [bf16], z: &mut [f32]) = convert_kernel }
    #[inline(always)]
    fn convert_kernel<S: Simd>(s: S, x: &[f32], y: &mut [bf16], z: &mut [f32]) {
        for i in (0..x.len()).step_by(S::LANES) {
            let n = (x.len() - i).min(S::LANES);
            let v = s.load_partial(&x[i..]);
            // SAFETY: n values are left in each.
            unsafe {
                if n == S::LANES {
                    bf16::store(s, y.as_mut_ptr().add(i), v);
                    f32::store(s, z.as_mut_ptr().add(i), bf16::load(s, y.as_ptr().add(i)));
                } else {
                    bf16::store_partial(s, y.as_mut_ptr().add(i), v, n);
                    let v = bf16::load_partial(s, y.as_ptr().add(i), n);
                    f32::store_partial(s, z.as_mut_ptr().add(i), v, n);
                }
            }
        }
    }

    #[test]
    fn every_set_rounds_as_half_does() {
        let mut bits: Vec<u32> = (0..40_000u32).map(|i| i.wrapping_mul(2_654_435_761)).collect();
        // Ties both ways, the largest finite values, infinities, NaN with its payload in the lower half.
        bits.extend([0x3f80_8000, 0x3f81_8000, 0x7f7f_ffff, 0x7f7f_8000, 0x7f80_0000]);
        bits.extend([0xff80_0000, 0x7f80_0001, 0xffff_ffff, 0, 0x8000_0000]);
        let x: Vec<f32> =
            bits.into_iter().map(f32::from_bits).filter(|x| !x.is_subnormal()).collect();
        for isa in Isa::available() {
            let (mut y, mut z) = (vec![bf16::ZERO; x.len()], vec![0.0; x.len()]);
            convert(isa, &x, &mut y, &mut z);
            for ((x, y), z) in x.iter().zip(&y).zip(&z) {
                let want = bf16::from_f32(*x);
                if x.is_nan() {
                    assert!(y.is_nan() && z.is_nan(), "{isa}: {x} became {y}");
                } else {
                    assert_eq!(y.to_bits(), want.to_bits(), "{isa}: {x:e}");
                    assert_eq!(z.to_bits(), want.to_f32().to_bits(), "{isa}: {x:e}");
                }
            }
        }
    }

    simd_fn! { fn pair_dots(x: &[bf16], y: &[bf16], out: &mut [f32]) = pair_dots_kernel }
    #[inline(always)]
    fn pair_dots_kernel<S: Simd>(s: S, x: &[bf16], y: &[bf16], out: &mut [f32]) {
        assert!(x.len() == 32 && y.len() == 32 && out.len() == 8 * 16);
        let mut part = |number: usize, v: S::V| s.store(&mut out[number * 16..], v);
        // SAFETY: each operand has at least two vectors of values.
        unsafe {
            let (x, y) = (x.as_ptr(), y.as_ptr());
            let zero = s.splat(0.0);
            let (a, b) = (s.load_pairs_ptr(x), s.load_pairs_ptr(y));
            part(0, s.dot_pairs(a, b, s.splat(2.0)));
            part(1, s.dot_pairs(s.splat_pair_ptr(x.add(3)), b, zero));
            part(2, s.dot_pairs(s.interleave_ptr(x, y), b, zero));
            part(3, s.dot_pairs(s.pair(bf16::load(s, x), bf16::load(s, y)), b, zero));
            part(4, s.dot_pairs(s.load_pairs_ptr_partial(x, 5), b, zero));
            let mut copy = [bf16::ZERO; 32];
            s.store_pairs_ptr(copy.as_mut_ptr(), a);
            part(5, s.dot_pairs(s.load_pairs_ptr(copy.as_ptr()), b, s.splat(2.0)));
            let [low, high] = s.interleave(a, b);
            let pair = s.splat_pair_ptr(y.add(3));
            let rows = s.in_order([s.dot_pairs(low, pair, zero), s.dot_pairs(high, pair, zero)]);
            part(6, rows[0]);
            part(7, rows[1]);
        }
    }

    #[test]
    fn pairs_are_multiplied_lane_by_lane() {
        let value = |i: usize, k: usize| bf16::from_f32(((i * k) % 17) as f32 * 0.25 - 2.0);
        let x: Vec<bf16> = (0..32).map(|i| value(i, 5)).collect();
        let y: Vec<bf16> = (0..32).map(|i| value(i, 7)).collect();
        let (fx, fy) = (|i: usize| x[i].to_f32(), |i: usize| y[i].to_f32());
        for isa in Isa::available() {
            let mut out = vec![0.0; 8 * 16];
            pair_dots(isa, &x, &y, &mut out);
            let lanes = if isa == Isa::SCALAR || isa.name() == "avx2" { 8 } else { 16 };
            for i in 0..lanes {
                let (j, k) = (2 * i, 2 * i + 1);
                let cut = |i: usize| if i < 5 { fx(i) } else { 0.0 };
                let straight = fx(j) * fy(j) + fx(k) * fy(k);
                let crossed = fx(i) * fy(j) + fy(i) * fy(k);
                let want = [
                    2.0 + straight,
                    fx(3) * fy(j) + fx(4) * fy(k),
                    crossed,
                    crossed,
                    cut(j) * fy(j) + cut(k) * fy(k),
                    2.0 + straight,
                    fx(i) * fy(3) + fy(i) * fy(4),
                    fx(lanes + i) * fy(3) + fy(lanes + i) * fy(4),
                ];
                for (number, want) in want.into_iter().enumerate() {
                    assert_eq!(out[number * 16 + i], want, "{isa}: {number}, lane {i}");
                }
            }
        }
    }
}
