//! AVX-512 (F, BW, DQ, VL), with or without BF16: sixteen lanes.

use super::Simd;
use half::bf16;
use std::arch::x86_64::*;

/// Proof that the machine has AVX-512 F, BW, DQ and VL, and, where `BF16`, that it has AVX-512 BF16.
#[derive(Clone, Copy)]
pub struct Avx512<const BF16: bool>(());

impl<const BF16: bool> Avx512<BF16> {
    /// # Safety
    /// The machine must have these sets, and the calling function must be compiled for them.
    #[inline(always)]
    pub unsafe fn new() -> Self {
        Avx512(())
    }

    /// Sixteen values rounded to bf16.
    #[inline(always)]
    fn round_bf16(self, v: __m512) -> __m256i {
        // SAFETY: `self` proves the instructions. A vector of bf16 is its bits.
        unsafe {
            if BF16 {
                return std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(v));
            }
            _mm512_cvtepi32_epi16(self.round_bits(v))
        }
    }

    /// Bits of the nearest bf16 in the lower halves of the lanes, without the instruction for it.
    #[inline(always)]
    fn round_bits(self, v: __m512) -> __m512i {
        // SAFETY: `self` proves the instructions.
        unsafe {
            let bits = _mm512_castps_si512(v);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let up = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
            let rounded = _mm512_add_epi32(bits, up);
            // Adding could carry a NaN into an infinity: it is made quiet instead.
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
            let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x0040_0000));
            let rounded = _mm512_mask_mov_epi32(rounded, nan, quiet);
            _mm512_srli_epi32::<16>(rounded)
        }
    }

    #[inline(always)]
    fn widen(self, bits: __m256i) -> __m512 {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits))) }
    }
}

#[inline(always)]
fn first_of_32(n: usize) -> __mmask32 {
    ((1u64 << n) - 1) as __mmask32
}

#[inline(always)]
fn first(n: usize) -> __mmask16 {
    ((1u32 << n) - 1) as __mmask16
}

// SAFETY of every block below: `self` proves the instructions; pointers are the caller's contract.
#[allow(clippy::undocumented_unsafe_blocks)]
impl<const BF16: bool> Simd for Avx512<BF16> {
    type V = __m512;
    type P = __m512i;
    const LANES: usize = 16;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load_ptr(self, p: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, p: *mut f32, v: __m512) {
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_ptr_partial(self, p: *const f32, n: usize) -> __m512 {
        unsafe { _mm512_maskz_loadu_ps(first(n), p) }
    }
    #[inline(always)]
    unsafe fn store_ptr_partial(self, p: *mut f32, v: __m512, n: usize) {
        unsafe { _mm512_mask_storeu_ps(p, first(n), v) }
    }
    #[inline(always)]
    unsafe fn load_bf16_ptr(self, p: *const bf16) -> __m512 {
        unsafe { self.widen(_mm256_loadu_si256(p.cast())) }
    }
    #[inline(always)]
    unsafe fn load_bf16_ptr_partial(self, p: *const bf16, n: usize) -> __m512 {
        unsafe { self.widen(_mm256_maskz_loadu_epi16(first(n), p.cast())) }
    }
    #[inline(always)]
    unsafe fn store_bf16_ptr(self, p: *mut bf16, v: __m512) {
        unsafe { _mm256_storeu_si256(p.cast(), self.round_bf16(v)) }
    }
    #[inline(always)]
    unsafe fn store_bf16_ptr_partial(self, p: *mut bf16, v: __m512, n: usize) {
        unsafe {
            if BF16 {
                return _mm256_mask_storeu_epi16(p.cast(), first(n), self.round_bf16(v));
            }
            // One instruction narrows and stores: optimised for a constant n of 1, narrowing followed by a masked store
            // overwrites the value behind with zeros (seen with LLVM 22.1).
            _mm512_mask_cvtepi32_storeu_epi16(p.cast(), first(n), self.round_bits(v));
        }
    }
    #[inline(always)]
    unsafe fn load_pairs_ptr(self, p: *const bf16) -> __m512i {
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn load_pairs_ptr_partial(self, p: *const bf16, n: usize) -> __m512i {
        unsafe { _mm512_maskz_loadu_epi16(first_of_32(n), p.cast()) }
    }
    #[inline(always)]
    unsafe fn splat_pair_ptr(self, p: *const bf16) -> __m512i {
        unsafe { _mm512_set1_epi32(p.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn interleave_ptr(self, a: *const bf16, b: *const bf16) -> __m512i {
        unsafe {
            let a = _mm512_cvtepu16_epi32(_mm256_loadu_si256(a.cast()));
            let b = _mm512_cvtepu16_epi32(_mm256_loadu_si256(b.cast()));
            _mm512_or_si512(a, _mm512_slli_epi32::<16>(b))
        }
    }
    #[inline(always)]
    unsafe fn store_pairs_ptr(self, p: *mut bf16, pairs: __m512i) {
        unsafe { _mm512_storeu_si512(p.cast(), pairs) }
    }
    #[inline(always)]
    fn pair(self, a: __m512, b: __m512) -> __m512i {
        unsafe {
            let a = _mm512_cvtepu16_epi32(self.round_bf16(a));
            let b = _mm512_cvtepu16_epi32(self.round_bf16(b));
            _mm512_or_si512(a, _mm512_slli_epi32::<16>(b))
        }
    }
    #[inline(always)]
    fn bits(self, pairs: __m512i) -> __m512 {
        unsafe { _mm512_castsi512_ps(pairs) }
    }
    #[inline(always)]
    fn dot_pairs(self, a: __m512i, b: __m512i, acc: __m512) -> __m512 {
        unsafe {
            if BF16 {
                let bits = |p| std::mem::transmute::<__m512i, __m512bh>(p);
                return _mm512_dpbf16_ps(acc, bits(a), bits(b));
            }
            let high = _mm512_set1_epi32(0xffff_0000_u32 as i32);
            let first = |p| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(p));
            let second = |p| _mm512_castsi512_ps(_mm512_and_si512(p, high));
            _mm512_fmadd_ps(second(a), second(b), _mm512_fmadd_ps(first(a), first(b), acc))
        }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn sqrt(self, a: __m512) -> __m512 {
        unsafe { _mm512_sqrt_ps(a) }
    }
    #[inline(always)]
    fn abs(self, a: __m512) -> __m512 {
        unsafe { _mm512_abs_ps(a) }
    }
    #[inline(always)]
    fn copysign(self, a: __m512, sign: __m512) -> __m512 {
        unsafe {
            let bit = _mm512_set1_ps(-0.0);
            _mm512_or_ps(_mm512_andnot_ps(bit, a), _mm512_and_ps(bit, sign))
        }
    }
    #[inline(always)]
    fn round(self, a: __m512) -> __m512 {
        unsafe { _mm512_roundscale_ps::<0x08>(a) }
    }
    #[inline(always)]
    fn exp2_int(self, n: __m512) -> __m512 {
        unsafe { _mm512_scalef_ps(_mm512_set1_ps(1.0), n) }
    }
    #[inline(always)]
    fn select_ge(self, a: __m512, b: __m512, yes: __m512, no: __m512) -> __m512 {
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_GE_OQ>(a, b), no, yes) }
    }
    #[inline(always)]
    fn mask_ge(self, a: __m512, b: __m512) -> u32 {
        unsafe { _mm512_cmp_ps_mask::<_CMP_GE_OQ>(a, b).into() }
    }
    #[inline(always)]
    fn select_mask(self, mask: u32, yes: __m512, no: __m512) -> __m512 {
        unsafe { _mm512_mask_blend_ps(mask as __mmask16, no, yes) }
    }
    #[inline(always)]
    unsafe fn compress_ptr(self, p: *mut f32, v: __m512, mask: u32) {
        // In two steps: compressing straight to memory is slow on AMD.
        unsafe { _mm512_storeu_ps(p, _mm512_maskz_compress_ps(mask as __mmask16, v)) }
    }
    #[inline(always)]
    fn mark_positive(self, bits: __m512, x: __m512, bit: u32) -> __m512 {
        unsafe {
            let positive = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, _mm512_setzero_ps());
            let (bits, bit) = (_mm512_castps_si512(bits), _mm512_set1_epi32(1 << bit));
            _mm512_castsi512_ps(_mm512_mask_or_epi32(bits, positive, bits, bit))
        }
    }
    #[inline(always)]
    fn select_bit(self, bits: __m512, bit: u32, yes: __m512, no: __m512) -> __m512 {
        unsafe {
            let bit = _mm512_set1_epi32(1 << bit);
            let mask = _mm512_test_epi32_mask(_mm512_castps_si512(bits), bit);
            _mm512_mask_blend_ps(mask, no, yes)
        }
    }
    #[inline(always)]
    fn interleave(self, first: __m512i, second: __m512i) -> [__m512i; 2] {
        unsafe { [_mm512_unpacklo_epi16(first, second), _mm512_unpackhi_epi16(first, second)] }
    }
    #[inline(always)]
    fn in_order(self, [low, high]: [__m512; 2]) -> [__m512; 2] {
        unsafe {
            // Quarters alternate between the two.
            let first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
            let second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
            let (low, high) = (_mm512_castps_pd(low), _mm512_castps_pd(high));
            [
                _mm512_castpd_ps(_mm512_permutex2var_pd(low, first, high)),
                _mm512_castpd_ps(_mm512_permutex2var_pd(low, second, high)),
            ]
        }
    }
    #[inline(always)]
    fn reduce_add(self, a: __m512) -> f32 {
        unsafe { _mm512_reduce_add_ps(a) }
    }
    #[inline(always)]
    fn quarter_sums(self, [a, b, c, d]: [__m512; 4]) -> __m512 {
        unsafe {
            let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
            let (ab, cd) = (_mm512_castps_pd(ab), _mm512_castps_pd(cd));
            // Every quarter holds sums of four lanes of a, b, c and d.
            _mm512_add_ps(
                _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)),
                _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)),
            )
        }
    }
    #[inline(always)]
    unsafe fn store_sums_ptr(
        self,
        [a, b, c, d]: [__m512; 4],
        scale: f32,
        add: bool,
        out: *mut [f32; 16],
    ) {
        unsafe {
            let ab = _mm512_add_ps(
                _mm512_shuffle_f32x4::<0x44>(a, b),
                _mm512_shuffle_f32x4::<0xee>(a, b),
            );
            let cd = _mm512_add_ps(
                _mm512_shuffle_f32x4::<0x44>(c, d),
                _mm512_shuffle_f32x4::<0xee>(c, d),
            );
            let mut sums = _mm512_add_ps(
                _mm512_shuffle_f32x4::<0x88>(ab, cd),
                _mm512_shuffle_f32x4::<0xdd>(ab, cd),
            );
            if add {
                sums = _mm512_add_ps(sums, self.load_ptr(out.cast()));
            }
            self.store_ptr(out.cast(), _mm512_mul_ps(sums, _mm512_set1_ps(scale)));
        }
    }
    #[inline(always)]
    fn reduce_add_4(self, four: [__m512; 4]) -> [f32; 4] {
        let quarters = self.quarter_sums(four);
        let mut sums = [0.0; 4];
        unsafe {
            let halves = _mm256_add_ps(
                _mm512_castps512_ps256(quarters),
                _mm512_extractf32x8_ps::<1>(quarters),
            );
            let whole =
                _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps::<1>(halves));
            _mm_storeu_ps(sums.as_mut_ptr(), whole);
        }
        sums
    }
    #[inline(always)]
    fn reduce_max(self, a: __m512) -> f32 {
        unsafe { _mm512_reduce_max_ps(a) }
    }
    #[inline(always)]
    unsafe fn store_halves_ptr(self, low: *mut f32, high: *mut f32, v: __m512) {
        unsafe {
            _mm256_storeu_ps(low, _mm512_castps512_ps256(v));
            _mm256_storeu_ps(high, _mm512_extractf32x8_ps::<1>(v));
        }
    }
    #[inline(always)]
    fn prefetch_far(self, p: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
    }
    #[inline(always)]
    fn prefetch(self, p: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
}
