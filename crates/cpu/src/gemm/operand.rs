//! Element types that products multiply, and how: micro-kernels and packing are generic over them.
//!
//! Packed operands consist of 32-bit lanes. A lane holds what one step of a micro-kernel multiplies: a value of f32, or
//! two values of bf16 that are neighbours along the inner dimension.

use crate::simd::{Element, Simd};
use half::bf16;

/// An element type of A and B.
pub trait Operand: Element {
    /// Values in a lane.
    const PER_LANE: usize;
    /// A vector of lanes.
    type Lanes<S: Simd>: Copy;

    /// # Safety
    /// `p` must be valid for reading `LANES · PER_LANE` values.
    unsafe fn load_lanes<S: Simd>(s: S, p: *const Self) -> Self::Lanes<S>;
    /// `n` values, zeros after them.
    ///
    /// # Safety
    /// `p` must be valid for reading `n <= LANES · PER_LANE` values.
    unsafe fn load_lanes_partial<S: Simd>(s: S, p: *const Self, n: usize) -> Self::Lanes<S>;
    /// One lane everywhere.
    ///
    /// # Safety
    /// `p` must be valid for reading `PER_LANE` values.
    unsafe fn splat_lane<S: Simd>(s: S, p: *const Self) -> Self::Lanes<S>;
    /// Adds the products of each lane to `acc`.
    fn multiply_add<S: Simd>(s: S, a: Self::Lanes<S>, b: Self::Lanes<S>, acc: S::V) -> S::V;
    /// The same bits as a vector of f32, only to be moved about.
    fn bits<S: Simd>(s: S, lanes: Self::Lanes<S>) -> S::V;
    /// Lanes of `n` neighbours each in one line or, for pairs, in two lines of memory; missing lines and neighbours count
    /// as zeros.
    ///
    /// # Safety
    /// The lines that are given must be valid for reading `n <= LANES` values.
    unsafe fn across<S: Simd>(
        s: S,
        first: *const Self,
        second: Option<*const Self>,
        n: usize,
    ) -> Self::Lanes<S>;
}

// SAFETY of every block below: the caller's contract is that of the vector's method.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Operand for f32 {
    const PER_LANE: usize = 1;
    type Lanes<S: Simd> = S::V;

    #[inline(always)]
    unsafe fn load_lanes<S: Simd>(s: S, p: *const f32) -> S::V {
        unsafe { s.load_ptr(p) }
    }
    #[inline(always)]
    unsafe fn load_lanes_partial<S: Simd>(s: S, p: *const f32, n: usize) -> S::V {
        unsafe { s.load_ptr_partial(p, n) }
    }
    #[inline(always)]
    unsafe fn splat_lane<S: Simd>(s: S, p: *const f32) -> S::V {
        unsafe { s.splat(*p) }
    }
    #[inline(always)]
    fn multiply_add<S: Simd>(s: S, a: S::V, b: S::V, acc: S::V) -> S::V {
        s.mul_add(a, b, acc)
    }
    #[inline(always)]
    fn bits<S: Simd>(_s: S, lanes: S::V) -> S::V {
        lanes
    }
    #[inline(always)]
    unsafe fn across<S: Simd>(
        s: S,
        first: *const f32,
        _second: Option<*const f32>,
        n: usize,
    ) -> S::V {
        unsafe { if n == S::LANES { s.load_ptr(first) } else { s.load_ptr_partial(first, n) } }
    }
}

#[allow(clippy::undocumented_unsafe_blocks)]
impl Operand for bf16 {
    const PER_LANE: usize = 2;
    type Lanes<S: Simd> = S::P;

    #[inline(always)]
    unsafe fn load_lanes<S: Simd>(s: S, p: *const bf16) -> S::P {
        unsafe { s.load_pairs_ptr(p) }
    }
    #[inline(always)]
    unsafe fn load_lanes_partial<S: Simd>(s: S, p: *const bf16, n: usize) -> S::P {
        unsafe { s.load_pairs_ptr_partial(p, n) }
    }
    #[inline(always)]
    unsafe fn splat_lane<S: Simd>(s: S, p: *const bf16) -> S::P {
        unsafe { s.splat_pair_ptr(p) }
    }
    #[inline(always)]
    fn multiply_add<S: Simd>(s: S, a: S::P, b: S::P, acc: S::V) -> S::V {
        s.dot_pairs(a, b, acc)
    }
    #[inline(always)]
    fn bits<S: Simd>(s: S, lanes: S::P) -> S::V {
        s.bits(lanes)
    }
    #[inline(always)]
    unsafe fn across<S: Simd>(
        s: S,
        first: *const bf16,
        second: Option<*const bf16>,
        n: usize,
    ) -> S::P {
        unsafe {
            match second {
                Some(second) if n == S::LANES => s.interleave_ptr(first, second),
                _ => {
                    let line = |p| s.load_bf16_ptr_partial(p, n);
                    s.pair(line(first), second.map_or(s.splat(0.0), line))
                }
            }
        }
    }
}
