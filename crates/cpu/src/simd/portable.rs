//! Plain Rust, eight lanes: the compiler vectorises it for the target's baseline (SSE2, NEON).

use super::{SET_BITS, Simd};
use half::bf16;

/// The path that every machine has.
#[derive(Clone, Copy)]
pub struct Portable;

type V = [f32; 8];

/// The first value of a pair is in the lower half.
type P = [u32; 8];

/// What half's own conversion does, in a form that is vectorised.
#[inline(always)]
fn round_bf16(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    if x.is_nan() { (bits >> 16) | 0x40 } else { rounded }
}

#[inline(always)]
fn to_pair(first: u32, second: u32) -> u32 {
    first | second << 16
}

#[inline(always)]
fn map(a: V, f: impl Fn(f32) -> f32) -> V {
    std::array::from_fn(|i| f(a[i]))
}

#[inline(always)]
fn zip(a: V, b: V, f: impl Fn(f32, f32) -> f32) -> V {
    std::array::from_fn(|i| f(a[i], b[i]))
}

impl Simd for Portable {
    type V = V;
    type P = P;
    const LANES: usize = 8;

    #[inline(always)]
    fn splat(self, x: f32) -> V {
        [x; 8]
    }
    #[inline(always)]
    unsafe fn load_ptr(self, p: *const f32) -> V {
        // SAFETY: the caller's; V has the alignment of f32.
        unsafe { p.cast::<V>().read() }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, p: *mut f32, v: V) {
        // SAFETY: the caller's.
        unsafe { p.cast::<V>().write(v) }
    }
    #[inline(always)]
    unsafe fn load_ptr_partial(self, p: *const f32, n: usize) -> V {
        let mut v = [0.0; 8];
        // SAFETY: the caller vouches for n values, n <= 8.
        unsafe { std::ptr::copy_nonoverlapping(p, v.as_mut_ptr(), n) };
        v
    }
    #[inline(always)]
    unsafe fn store_ptr_partial(self, p: *mut f32, v: V, n: usize) {
        // SAFETY: the caller vouches for n values, n <= 8.
        unsafe { std::ptr::copy_nonoverlapping(v.as_ptr(), p, n) };
    }
    #[inline(always)]
    unsafe fn load_bf16_ptr(self, p: *const bf16) -> V {
        // SAFETY: the caller's; an array has the alignment of its elements.
        unsafe { p.cast::<[u16; 8]>().read().map(|x| f32::from_bits(u32::from(x) << 16)) }
    }
    #[inline(always)]
    unsafe fn load_bf16_ptr_partial(self, p: *const bf16, n: usize) -> V {
        // SAFETY: the caller's; i < n.
        std::array::from_fn(|i| if i < n { unsafe { *p.add(i) }.to_f32() } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn store_bf16_ptr(self, p: *mut bf16, v: V) {
        // SAFETY: the caller's.
        unsafe { p.cast::<[u16; 8]>().write(v.map(|x| round_bf16(x) as u16)) }
    }
    #[inline(always)]
    unsafe fn store_bf16_ptr_partial(self, p: *mut bf16, v: V, n: usize) {
        for (i, x) in v.into_iter().enumerate().take(n) {
            // SAFETY: the caller's; i < n.
            unsafe { *p.add(i) = bf16::from_bits(round_bf16(x) as u16) };
        }
    }
    #[inline(always)]
    unsafe fn load_pairs_ptr(self, p: *const bf16) -> P {
        // SAFETY: the caller's.
        let x = unsafe { p.cast::<[u16; 16]>().read() };
        std::array::from_fn(|i| to_pair(x[2 * i].into(), x[2 * i + 1].into()))
    }
    #[inline(always)]
    unsafe fn load_pairs_ptr_partial(self, p: *const bf16, n: usize) -> P {
        // SAFETY: the caller's; i < n.
        let at = |i: usize| if i < n { unsafe { *p.add(i) }.to_bits().into() } else { 0 };
        std::array::from_fn(|i| to_pair(at(2 * i), at(2 * i + 1)))
    }
    #[inline(always)]
    unsafe fn splat_pair_ptr(self, p: *const bf16) -> P {
        // SAFETY: the caller's.
        let x = unsafe { p.cast::<[u16; 2]>().read() };
        [to_pair(x[0].into(), x[1].into()); 8]
    }
    #[inline(always)]
    unsafe fn interleave_ptr(self, a: *const bf16, b: *const bf16) -> P {
        // SAFETY: the caller's.
        let (a, b) = unsafe { (a.cast::<[u16; 8]>().read(), b.cast::<[u16; 8]>().read()) };
        std::array::from_fn(|i| to_pair(a[i].into(), b[i].into()))
    }
    #[inline(always)]
    unsafe fn store_pairs_ptr(self, p: *mut bf16, pairs: P) {
        let x: [u16; 16] = std::array::from_fn(|i| (pairs[i / 2] >> (16 * (i % 2))) as u16);
        // SAFETY: the caller's.
        unsafe { p.cast::<[u16; 16]>().write(x) }
    }
    #[inline(always)]
    fn pair(self, a: V, b: V) -> P {
        std::array::from_fn(|i| to_pair(round_bf16(a[i]), round_bf16(b[i])))
    }
    #[inline(always)]
    fn bits(self, pairs: P) -> V {
        pairs.map(f32::from_bits)
    }
    #[inline(always)]
    fn dot_pairs(self, a: P, b: P, acc: V) -> V {
        let first = |p: P| p.map(|x| f32::from_bits(x << 16));
        let second = |p: P| p.map(|x| f32::from_bits(x & 0xffff_0000));
        self.mul_add(second(a), second(b), self.mul_add(first(a), first(b), acc))
    }
    #[inline(always)]
    fn add(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn mul_add(self, a: V, b: V, c: V) -> V {
        // f32::mul_add would call into libm where the baseline has no fused instruction (x86-64).
        if cfg!(target_arch = "aarch64") {
            std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
        } else {
            std::array::from_fn(|i| a[i] * b[i] + c[i])
        }
    }
    #[inline(always)]
    fn max(self, a: V, b: V) -> V {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, a: V, b: V) -> V {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn sqrt(self, a: V) -> V {
        map(a, f32::sqrt)
    }
    #[inline(always)]
    fn abs(self, a: V) -> V {
        map(a, f32::abs)
    }
    #[inline(always)]
    fn copysign(self, a: V, sign: V) -> V {
        zip(a, sign, f32::copysign)
    }
    #[inline(always)]
    fn round(self, a: V) -> V {
        // Adding and taking off 1.5·2^23 rounds to the nearest integer, ties to even, without a call.
        const MAGIC: f32 = 12_582_912.0;
        map(a, |a| (a + MAGIC) - MAGIC)
    }
    #[inline(always)]
    fn exp2_int(self, n: V) -> V {
        map(n, |n| f32::from_bits(((n as i32).wrapping_add(127) as u32) << 23))
    }
    #[inline(always)]
    fn select_ge(self, a: V, b: V, yes: V, no: V) -> V {
        std::array::from_fn(|i| if a[i] >= b[i] { yes[i] } else { no[i] })
    }
    #[inline(always)]
    fn mask_ge(self, a: V, b: V) -> u32 {
        let mut mask = 0;
        for i in 0..8 {
            mask |= u32::from(a[i] >= b[i]) << i;
        }
        mask
    }
    #[inline(always)]
    fn select_mask(self, mask: u32, yes: V, no: V) -> V {
        std::array::from_fn(|i| if mask >> i & 1 == 1 { yes[i] } else { no[i] })
    }
    #[inline(always)]
    unsafe fn compress_ptr(self, p: *mut f32, v: V, mask: u32) {
        let from = &SET_BITS[mask as usize & 255];
        let packed: V = std::array::from_fn(|i| v[usize::from(from[i])]);
        // SAFETY: the caller's.
        unsafe { self.store_ptr(p, packed) }
    }
    #[inline(always)]
    fn mark_positive(self, bits: V, x: V, bit: u32) -> V {
        zip(bits, x, |bits, x| f32::from_bits(bits.to_bits() | u32::from(x > 0.0) << bit))
    }
    #[inline(always)]
    fn select_bit(self, bits: V, bit: u32, yes: V, no: V) -> V {
        std::array::from_fn(|i| if bits[i].to_bits() >> bit & 1 == 1 { yes[i] } else { no[i] })
    }
    #[inline(always)]
    fn interleave(self, first: P, second: P) -> [P; 2] {
        let value = |p: &P, i: usize| p[i / 2] >> (16 * (i % 2)) & 0xffff;
        let pairs = |from: usize| {
            std::array::from_fn(|i| to_pair(value(&first, from + i), value(&second, from + i)))
        };
        [pairs(0), pairs(8)]
    }
    #[inline(always)]
    fn in_order(self, x: [V; 2]) -> [V; 2] {
        x
    }
    #[inline(always)]
    fn reduce_add(self, a: V) -> f32 {
        ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]))
    }
    #[inline(always)]
    fn reduce_max(self, a: V) -> f32 {
        a.iter().copied().fold(f32::NEG_INFINITY, |m, v| if v > m { v } else { m })
    }
    #[inline(always)]
    fn prefetch(self, _p: *const f32) {}
    #[inline(always)]
    fn prefetch_far(self, _p: *const f32) {}
}
