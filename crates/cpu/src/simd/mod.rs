//! One vector interface over the instruction sets: kernels are generic over [`Simd`] and [`simd_fn!`](crate::simd_fn)
//! compiles them for each set.
//!
//! A value of a type that implements [`Simd`] is a proof that the machine has the instructions: it is made only inside
//! functions compiled for that set. So arithmetic is safe to call; only access through raw pointers is not.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod element;
mod portable;

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
pub use element::Element;
pub use portable::Portable;

use half::bf16;

/// Vectors of [`LANES`](Simd::LANES) f32 values and what kernels do with them.
///
/// `mul_add` rounds once where the hardware has a fused instruction and twice in the portable path.
///
/// Products of bf16 work on pairs: each 32-bit lane of a [`P`](Simd::P) holds two values, the first in its lower half.
pub trait Simd: Copy + Send + Sync + 'static {
    /// A vector of f32.
    type V: Copy;
    /// A vector of as many pairs of bf16.
    type P: Copy;
    /// Number of f32 values in a vector; a power of two.
    const LANES: usize;

    /// All lanes `x`.
    fn splat(self, x: f32) -> Self::V;
    /// The first `LANES` values of `x`.
    ///
    /// # Panics
    /// When `x` is shorter than a vector.
    #[inline(always)]
    fn load(self, x: &[f32]) -> Self::V {
        assert!(x.len() >= Self::LANES);
        // SAFETY: the slice holds at least LANES values.
        unsafe { self.load_ptr(x.as_ptr()) }
    }
    /// Writes a vector to the first `LANES` values of `out`.
    ///
    /// # Panics
    /// When `out` is shorter than a vector.
    #[inline(always)]
    fn store(self, out: &mut [f32], v: Self::V) {
        assert!(out.len() >= Self::LANES);
        // SAFETY: the slice holds at least LANES values.
        unsafe { self.store_ptr(out.as_mut_ptr(), v) }
    }
    /// All of `x` (at most `LANES` values), zeros after it.
    #[inline(always)]
    fn load_partial(self, x: &[f32]) -> Self::V {
        // SAFETY: the slice holds `len` values.
        unsafe { self.load_ptr_partial(x.as_ptr(), x.len().min(Self::LANES)) }
    }
    /// Writes the first `out.len()` lanes (at most `LANES`).
    #[inline(always)]
    fn store_partial(self, out: &mut [f32], v: Self::V) {
        // SAFETY: the slice holds `len` values.
        unsafe { self.store_ptr_partial(out.as_mut_ptr(), v, out.len().min(Self::LANES)) }
    }

    /// # Safety
    /// `p` must be valid for reading `LANES` values.
    unsafe fn load_ptr(self, p: *const f32) -> Self::V;
    /// # Safety
    /// `p` must be valid for writing `LANES` values.
    unsafe fn store_ptr(self, p: *mut f32, v: Self::V);
    /// # Safety
    /// `p` must be valid for reading `n <= LANES` values.
    unsafe fn load_ptr_partial(self, p: *const f32, n: usize) -> Self::V;
    /// # Safety
    /// `p` must be valid for writing `n <= LANES` values.
    unsafe fn store_ptr_partial(self, p: *mut f32, v: Self::V, n: usize);

    /// `LANES` values, widened.
    ///
    /// # Safety
    /// `p` must be valid for reading `LANES` values.
    unsafe fn load_bf16_ptr(self, p: *const bf16) -> Self::V;
    /// `n` values, widened, and zeros after them.
    ///
    /// # Safety
    /// `p` must be valid for reading `n <= LANES` values.
    unsafe fn load_bf16_ptr_partial(self, p: *const bf16, n: usize) -> Self::V;
    /// Rounds to the nearest bf16, ties to even. (Values below 2^-126 may become 0.)
    ///
    /// # Safety
    /// `p` must be valid for writing `LANES` values.
    unsafe fn store_bf16_ptr(self, p: *mut bf16, v: Self::V);
    /// The first `n` lanes, rounded.
    ///
    /// # Safety
    /// `p` must be valid for writing `n <= LANES` values.
    unsafe fn store_bf16_ptr_partial(self, p: *mut bf16, v: Self::V, n: usize);
    /// The pairs of `2·LANES` values that follow one another.
    ///
    /// # Safety
    /// `p` must be valid for reading `2·LANES` values.
    unsafe fn load_pairs_ptr(self, p: *const bf16) -> Self::P;
    /// The pairs of `n` values that follow one another, zeros after them.
    ///
    /// # Safety
    /// `p` must be valid for reading `n <= 2·LANES` values.
    unsafe fn load_pairs_ptr_partial(self, p: *const bf16, n: usize) -> Self::P;
    /// The two values at `p` in every lane.
    ///
    /// # Safety
    /// `p` must be valid for reading two values.
    unsafe fn splat_pair_ptr(self, p: *const bf16) -> Self::P;
    /// Pairs of a value at `first` and one at `second`, lane by lane.
    ///
    /// # Safety
    /// Both must be valid for reading `LANES` values.
    unsafe fn interleave_ptr(self, first: *const bf16, second: *const bf16) -> Self::P;
    /// Writes pairs, each as two values that follow one another.
    ///
    /// # Safety
    /// `p` must be valid for writing `2·LANES` values.
    unsafe fn store_pairs_ptr(self, p: *mut bf16, pairs: Self::P);
    /// Pairs of a value of `first` and one of `second`, rounded, lane by lane.
    fn pair(self, first: Self::V, second: Self::V) -> Self::P;
    /// The same bits as a vector that can be moved about; its lanes mean nothing as f32.
    fn bits(self, pairs: Self::P) -> Self::V;
    /// Adds both products of each pair of `a` with that of `b` to `acc`.
    fn dot_pairs(self, a: Self::P, b: Self::P, acc: Self::V) -> Self::V;

    /// `a + b`
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b`
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// Larger of the two, lane by lane.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// Smaller of the two, lane by lane.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// Square root.
    fn sqrt(self, a: Self::V) -> Self::V;
    /// `|a|`
    fn abs(self, a: Self::V) -> Self::V;
    /// `|a|` with the sign of `sign`.
    fn copysign(self, a: Self::V, sign: Self::V) -> Self::V;
    /// Nearest integer, ties to even. Exact for |a| < 2^22.
    fn round(self, a: Self::V) -> Self::V;
    /// `2^n` for integral `n` in -126..=127.
    fn exp2_int(self, n: Self::V) -> Self::V;
    /// `a >= b ? yes : no`, lane by lane.
    fn select_ge(self, a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V;
    /// Bit i is set where `a >= b` in lane i.
    fn mask_ge(self, a: Self::V, b: Self::V) -> u32;
    /// `yes` in the lanes whose bit is set in `mask`, `no` in the others.
    fn select_mask(self, mask: u32, yes: Self::V, no: Self::V) -> Self::V;
    /// Writes the lanes whose bit is set in `mask` one after another, and anything after them.
    ///
    /// # Safety
    /// `p` must be valid for writing `LANES` values.
    unsafe fn compress_ptr(self, p: *mut f32, v: Self::V, mask: u32);
    /// With lanes of 32 bits each: sets bit number `bit` where `x > 0`.
    fn mark_positive(self, bits: Self::V, x: Self::V, bit: u32) -> Self::V;
    /// `yes` in the lanes of `bits` that have bit number `bit` set, `no` in the others.
    fn select_bit(self, bits: Self::V, bit: u32, yes: Self::V, no: Self::V) -> Self::V;
    /// Pairs of a value of `first` and one of `second`, in an order that costs least: [`in_order`](Simd::in_order) undoes it.
    fn interleave(self, first: Self::P, second: Self::P) -> [Self::P; 2];
    /// Brings what was computed from the vectors of [`interleave`](Simd::interleave) into the order of values: the first
    /// `LANES` of `2·LANES`, and the others.
    fn in_order(self, x: [Self::V; 2]) -> [Self::V; 2];
    /// Sum of the lanes in a fixed order.
    fn reduce_add(self, a: Self::V) -> f32;
    /// [`reduce_add`](Simd::reduce_add) of four, perhaps in another order, in about the time of one and a half.
    #[inline(always)]
    fn reduce_add_4(self, a: [Self::V; 4]) -> [f32; 4] {
        [self.reduce_add(a[0]), self.reduce_add(a[1]), self.reduce_add(a[2]), self.reduce_add(a[3])]
    }
    /// Sums of the lanes of four vectors as far as [`store_sums_ptr`](Simd::store_sums_ptr) finishes them.
    #[inline(always)]
    fn quarter_sums(self, a: [Self::V; 4]) -> Self::V {
        self.load_partial(&self.reduce_add_4(a))
    }
    /// Sets `out` to `scale` times the sums of sixteen vectors, and with `add` of what was there.
    ///
    /// # Safety
    /// `out` must be valid for writing sixteen values, and for reading them with `add`.
    #[inline(always)]
    unsafe fn store_sums_ptr(
        self,
        quarters: [Self::V; 4],
        scale: f32,
        add: bool,
        out: *mut [f32; 16],
    ) {
        let mut sums = [[0.0; 4]; 4];
        for i in 0..4 {
            self.store_partial(&mut sums[i], quarters[i]);
        }
        // SAFETY: the caller's.
        let out = unsafe { &mut *out };
        for i in 0..16 {
            let before = if add { out[i] } else { 0.0 };
            out[i] = scale * (before + sums[i / 4][i % 4]);
        }
    }
    /// Largest lane.
    fn reduce_max(self, a: Self::V) -> f32;
    /// Starts bringing the cache line of `p` nearer; a hint without any effect on values.
    fn prefetch(self, p: *const f32);
    /// The same for what is used later: into the second-level cache only.
    fn prefetch_far(self, p: *const f32);
    /// Writes the lower half of the lanes to `low`, the upper half to `high`.
    ///
    /// # Safety
    /// Both must be valid for writing `LANES / 2` values.
    #[inline(always)]
    unsafe fn store_halves_ptr(self, low: *mut f32, high: *mut f32, v: Self::V) {
        let mut lanes = [0.0; 16];
        // SAFETY: no vector has more lanes; the rest is the caller's.
        unsafe {
            self.store_ptr(lanes.as_mut_ptr(), v);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), low, Self::LANES / 2);
            let upper = lanes.as_ptr().add(Self::LANES / 2);
            std::ptr::copy_nonoverlapping(upper, high, Self::LANES / 2);
        }
    }
}

/// Numbers of the bits that are set in a byte, and zeros after them.
pub(crate) static SET_BITS: [[u8; 8]; 256] = {
    let mut table = [[0; 8]; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut bit, mut n) = (0, 0);
        while bit < 8 {
            if byte >> bit & 1 == 1 {
                table[byte][n] = bit as u8;
                n += 1;
            }
            bit += 1;
        }
        byte += 1;
    }
    table
};

/// Compiles a kernel, generic over [`Simd`], for every instruction set, behind one function that takes the [`Isa`] first.
///
/// ```text
/// simd_fn! {
///     /// Adds `x` to `out`.
///     pub fn add_assign(out: &mut [f32], x: &[f32]) = add_assign_kernel
/// }
/// #[inline(always)]
/// fn add_assign_kernel<S: Simd>(s: S, out: &mut [f32], x: &[f32]) { .. }
/// ```
///
/// Type parameters stand in brackets: `fn copy [X: Element, Y: Element] (x: &[X], y: &mut [Y]) = copy_kernel`.
///
/// [`Isa`]: crate::Isa
#[macro_export]
macro_rules! simd_fn {
    ($(#[$meta:meta])* $vis:vis fn $name:ident $(<$($lt:lifetime),+>)? $([$($of:ident : $bound:path),+])? ($($arg:ident : $ty:ty),* $(,)?) $(-> $ret:ty)? = $kernel:ident) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name <$($($lt,)+)? $($($of: $bound),+)?> (isa: $crate::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx512bf16 <$($($lt,)+)? $($($of: $bound),+)?> ($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: this function is compiled for the set.
                $kernel(unsafe { $crate::simd::Avx512::<true>::new() }, $($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx512 <$($($lt,)+)? $($($of: $bound),+)?> ($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: this function is compiled for the set.
                $kernel(unsafe { $crate::simd::Avx512::<false>::new() }, $($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx2 <$($($lt,)+)? $($($of: $bound),+)?> ($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: this function is compiled for the set.
                $kernel(unsafe { $crate::simd::Avx2::new() }, $($arg),*)
            }
            match isa.level() {
                // SAFETY: an `Isa` exists only for a set that was detected on this machine.
                #[cfg(target_arch = "x86_64")]
                $crate::isa::Level::Avx512Bf16 => unsafe { avx512bf16($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::isa::Level::Avx512 => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::isa::Level::Avx2 => unsafe { avx2($($arg),*) },
                $crate::isa::Level::Scalar => $kernel($crate::simd::Portable, $($arg),*),
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    simd_fn! { fn check_all(x: &[f32], y: &[f32]) = check_all_kernel }
    #[inline(always)]
    fn check_all_kernel<S: Simd>(s: S, x: &[f32], y: &[f32]) {
        for n in 0..=S::LANES {
            let (a, b) = (s.load_partial(&x[..n]), s.load(&y[..S::LANES]));
            let lane = |v: S::V| {
                let mut out = vec![0.0; S::LANES];
                s.store(&mut out, v);
                out
            };
            let want = |f: &dyn Fn(f32, f32) -> f32| -> Vec<f32> {
                (0..S::LANES).map(|i| f(if i < n { x[i] } else { 0.0 }, y[i])).collect()
            };
            assert_eq!(lane(s.add(a, b)), want(&|a, b| a + b));
            assert_eq!(lane(s.sub(a, b)), want(&|a, b| a - b));
            assert_eq!(lane(s.mul(a, b)), want(&|a, b| a * b));
            assert_eq!(lane(s.div(a, b)), want(&|a, b| a / b));
            assert_eq!(lane(s.max(a, b)), want(&f32::max));
            assert_eq!(lane(s.min(a, b)), want(&f32::min));
            assert_eq!(lane(s.abs(a)), want(&|a, _| a.abs()));
            assert_eq!(lane(s.copysign(a, b)), want(&f32::copysign));
            assert_eq!(lane(s.round(a)), want(&|a, _| a.round_ties_even()));
            assert_eq!(lane(s.sqrt(s.abs(a))), want(&|a, _| a.abs().sqrt()));
            assert_eq!(
                lane(s.select_ge(a, b, a, s.splat(7.0))),
                want(&|a, b| if a >= b { a } else { 7.0 })
            );
            let mask = s.mask_ge(a, b);
            let ge = (0..S::LANES).filter(|&i| (if i < n { x[i] } else { 0.0 }) >= y[i]);
            assert_eq!(mask, ge.map(|i| 1 << i).sum::<u32>());
            assert_eq!(lane(s.select_mask(mask, a, b)), want(&f32::max));
            let chosen: Vec<f32> =
                (0..S::LANES).filter(|i| mask >> i & 1 == 1).map(|i| lane(b)[i]).collect();
            let mut packed = vec![0.0; S::LANES];
            // SAFETY: there is room for a vector.
            unsafe { s.compress_ptr(packed.as_mut_ptr(), b, mask) };
            assert_eq!(packed[..chosen.len()], chosen);
            let marks = s.mark_positive(s.mark_positive(s.splat(0.0), a, 3), b, 31);
            let of = |v: f32, bit: u32| if v > 0.0 { 1u32 << bit } else { 0 };
            for i in 0..S::LANES {
                assert_eq!(lane(marks)[i].to_bits(), of(lane(a)[i], 3) | of(lane(b)[i], 31));
            }
            let zero = s.splat(0.0);
            let positive = |b: f32| if b > 0.0 { b } else { 0.0 };
            assert_eq!(lane(s.select_bit(marks, 31, b, zero)), want(&|_, b| positive(b)));
            let four = s.reduce_add_4([a, b, s.add(a, b), s.sub(a, b)]);
            let exact = |v: S::V| lane(v).iter().map(|&x| f64::from(x)).sum::<f64>();
            for (sum, v) in four.into_iter().zip([a, b, s.add(a, b), s.sub(a, b)]) {
                let size: f32 = lane(s.abs(v)).iter().sum();
                assert!((f64::from(sum) - exact(v)).abs() <= f64::from(1e-6 * size));
            }
            let quarters = [
                s.quarter_sums([a, b, a, b]),
                s.quarter_sums([b, b, b, b]),
                s.quarter_sums([a, a, a, b]),
                s.quarter_sums([b, a, a, a]),
            ];
            let mut sums = [1.0; 16];
            // SAFETY: there is room.
            unsafe { s.store_sums_ptr(quarters, 2.0, true, &raw mut sums) };
            for (sum, v) in sums.into_iter().zip([a, b, a, b, b, b, b, b, a, a, a, b, b, a, a, a]) {
                assert!((f64::from(sum) - 2.0 - 2.0 * exact(v)).abs() <= 1e-4);
            }
            let (sum, max) = (s.reduce_add(a), s.reduce_max(b));
            assert!((sum - x[..n].iter().sum::<f32>()).abs() < 1e-3);
            assert_eq!(max, y[..S::LANES].iter().copied().fold(f32::MIN, f32::max));
            let fused = lane(s.mul_add(a, b, b));
            for (got, want) in fused.iter().zip(want(&|a, b| a * b + b)) {
                assert!((got - want).abs() <= 1e-5 * want.abs().max(1.0));
            }
            let mut out = vec![-1.0; S::LANES];
            s.store_partial(&mut out[..n], b);
            assert_eq!(&out[..n], &y[..n]);
            assert!(out[n..].iter().all(|&v| v == -1.0));
        }
        for n in -126..=127 {
            let mut out = vec![0.0; S::LANES];
            s.store(&mut out, s.exp2_int(s.splat(n as f32)));
            assert_eq!(out[S::LANES - 1], 2f32.powi(n));
        }
    }

    #[test]
    fn every_set_does_the_same_arithmetic() {
        let x: Vec<f32> = (0..16).map(|i| (i as f32 - 7.3) * 1.25).collect();
        let y: Vec<f32> = (0..16).map(|i| 3.5 - i as f32 * 0.75).collect();
        for isa in Isa::available() {
            check_all(isa, &x, &y);
        }
    }
}
