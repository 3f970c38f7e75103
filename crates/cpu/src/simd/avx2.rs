//! AVX2 with FMA: eight lanes.

use super::{SET_BITS, Simd};
use half::bf16;
use std::arch::x86_64::*;

/// Proof that the machine has AVX2 and FMA.
#[derive(Clone, Copy)]
pub struct Avx2(());

impl Avx2 {
    /// # Safety
    /// The machine must have AVX2 and FMA, and the calling function must be compiled for them.
    #[inline(always)]
    pub unsafe fn new() -> Self {
        Avx2(())
    }

    /// Eight values rounded to bf16.
    #[inline(always)]
    fn round_bf16(self, v: __m256) -> __m128i {
        // SAFETY: `self` proves the instructions.
        unsafe {
            let bits = _mm256_castps_si256(v);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let up = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
            let rounded = _mm256_add_epi32(bits, up);
            // Adding could carry a NaN into an infinity: it is made quiet instead.
            let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(v, v));
            let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
            let high = _mm256_srli_epi32::<16>(_mm256_blendv_epi8(rounded, quiet, nan));
            let packed = _mm256_packus_epi32(high, high);
            _mm256_castsi256_si128(_mm256_permute4x64_epi64::<0b10_00>(packed))
        }
    }

    #[inline(always)]
    fn widen(self, bits: __m128i) -> __m256 {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(bits))) }
    }
}

/// `n <= N` values from `p`, zeros after them: there is no masked access to 16-bit values.
///
/// # Safety
/// `p` must be valid for reading `n` values.
#[inline(always)]
unsafe fn leading<const N: usize>(p: *const bf16, n: usize) -> [bf16; N] {
    let mut values = [bf16::ZERO; N];
    // SAFETY: the caller's; n <= N.
    unsafe { std::ptr::copy_nonoverlapping(p, values.as_mut_ptr(), n) };
    values
}

/// `n` leading lanes set, read from a window over this table.
static MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

#[inline(always)]
unsafe fn first(n: usize) -> __m256i {
    // SAFETY: n <= 8, so the eight values from 8 - n lie inside the table; the caller has AVX2.
    unsafe { _mm256_loadu_si256(MASKS.as_ptr().add(8 - n).cast()) }
}

// SAFETY of every block below: `self` proves the instructions; pointers are the caller's contract.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Simd for Avx2 {
    type V = __m256;
    type P = __m256i;
    const LANES: usize = 8;

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load_ptr(self, p: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, p: *mut f32, v: __m256) {
        unsafe { _mm256_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_ptr_partial(self, p: *const f32, n: usize) -> __m256 {
        unsafe { _mm256_maskload_ps(p, first(n)) }
    }
    #[inline(always)]
    unsafe fn store_ptr_partial(self, p: *mut f32, v: __m256, n: usize) {
        unsafe { _mm256_maskstore_ps(p, first(n), v) }
    }
    #[inline(always)]
    unsafe fn load_bf16_ptr(self, p: *const bf16) -> __m256 {
        unsafe { self.widen(_mm_loadu_si128(p.cast())) }
    }
    #[inline(always)]
    unsafe fn load_bf16_ptr_partial(self, p: *const bf16, n: usize) -> __m256 {
        unsafe { self.load_bf16_ptr(leading::<8>(p, n).as_ptr()) }
    }
    #[inline(always)]
    unsafe fn store_bf16_ptr(self, p: *mut bf16, v: __m256) {
        unsafe { _mm_storeu_si128(p.cast(), self.round_bf16(v)) }
    }
    #[inline(always)]
    unsafe fn store_bf16_ptr_partial(self, p: *mut bf16, v: __m256, n: usize) {
        let mut values = [bf16::ZERO; 8];
        unsafe {
            self.store_bf16_ptr(values.as_mut_ptr(), v);
            std::ptr::copy_nonoverlapping(values.as_ptr(), p, n);
        }
    }
    #[inline(always)]
    unsafe fn load_pairs_ptr(self, p: *const bf16) -> __m256i {
        unsafe { _mm256_loadu_si256(p.cast()) }
    }
    #[inline(always)]
    unsafe fn load_pairs_ptr_partial(self, p: *const bf16, n: usize) -> __m256i {
        unsafe { self.load_pairs_ptr(leading::<16>(p, n).as_ptr()) }
    }
    #[inline(always)]
    unsafe fn splat_pair_ptr(self, p: *const bf16) -> __m256i {
        unsafe { _mm256_set1_epi32(p.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn interleave_ptr(self, a: *const bf16, b: *const bf16) -> __m256i {
        unsafe {
            let a = _mm256_cvtepu16_epi32(_mm_loadu_si128(a.cast()));
            let b = _mm256_cvtepu16_epi32(_mm_loadu_si128(b.cast()));
            _mm256_or_si256(a, _mm256_slli_epi32::<16>(b))
        }
    }
    #[inline(always)]
    unsafe fn store_pairs_ptr(self, p: *mut bf16, pairs: __m256i) {
        unsafe { _mm256_storeu_si256(p.cast(), pairs) }
    }
    #[inline(always)]
    fn pair(self, a: __m256, b: __m256) -> __m256i {
        unsafe {
            let a = _mm256_cvtepu16_epi32(self.round_bf16(a));
            let b = _mm256_cvtepu16_epi32(self.round_bf16(b));
            _mm256_or_si256(a, _mm256_slli_epi32::<16>(b))
        }
    }
    #[inline(always)]
    fn bits(self, pairs: __m256i) -> __m256 {
        unsafe { _mm256_castsi256_ps(pairs) }
    }
    #[inline(always)]
    fn dot_pairs(self, a: __m256i, b: __m256i, acc: __m256) -> __m256 {
        unsafe {
            let high = _mm256_set1_epi32(0xffff_0000_u32 as i32);
            let first = |p| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(p));
            let second = |p| _mm256_castsi256_ps(_mm256_and_si256(p, high));
            _mm256_fmadd_ps(second(a), second(b), _mm256_fmadd_ps(first(a), first(b), acc))
        }
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    fn sqrt(self, a: __m256) -> __m256 {
        unsafe { _mm256_sqrt_ps(a) }
    }
    #[inline(always)]
    fn abs(self, a: __m256) -> __m256 {
        unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), a) }
    }
    #[inline(always)]
    fn copysign(self, a: __m256, sign: __m256) -> __m256 {
        unsafe {
            let bit = _mm256_set1_ps(-0.0);
            _mm256_or_ps(_mm256_andnot_ps(bit, a), _mm256_and_ps(bit, sign))
        }
    }
    #[inline(always)]
    fn round(self, a: __m256) -> __m256 {
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn exp2_int(self, n: __m256) -> __m256 {
        unsafe {
            let biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
        }
    }
    #[inline(always)]
    fn select_ge(self, a: __m256, b: __m256, yes: __m256, no: __m256) -> __m256 {
        unsafe { _mm256_blendv_ps(no, yes, _mm256_cmp_ps::<_CMP_GE_OQ>(a, b)) }
    }
    #[inline(always)]
    fn mask_ge(self, a: __m256, b: __m256) -> u32 {
        unsafe { _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(a, b)) as u32 }
    }
    #[inline(always)]
    fn select_mask(self, mask: u32, yes: __m256, no: __m256) -> __m256 {
        unsafe {
            let bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
            let set = _mm256_and_si256(_mm256_set1_epi32(mask as i32), bits);
            let set = _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, bits));
            _mm256_blendv_ps(no, yes, set)
        }
    }
    #[inline(always)]
    unsafe fn compress_ptr(self, p: *mut f32, v: __m256, mask: u32) {
        unsafe {
            let from = SET_BITS[mask as usize & 255].as_ptr();
            let from = _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()));
            _mm256_storeu_ps(p, _mm256_permutevar8x32_ps(v, from))
        }
    }
    #[inline(always)]
    fn mark_positive(self, bits: __m256, x: __m256, bit: u32) -> __m256 {
        unsafe {
            let positive = _mm256_cmp_ps::<_CMP_GT_OQ>(x, _mm256_setzero_ps());
            let bit = _mm256_castsi256_ps(_mm256_set1_epi32(1 << bit));
            _mm256_or_ps(bits, _mm256_and_ps(positive, bit))
        }
    }
    #[inline(always)]
    fn select_bit(self, bits: __m256, bit: u32, yes: __m256, no: __m256) -> __m256 {
        unsafe {
            let bit = _mm256_set1_epi32(1 << bit);
            let set = _mm256_and_si256(_mm256_castps_si256(bits), bit);
            _mm256_blendv_ps(no, yes, _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, bit)))
        }
    }
    #[inline(always)]
    fn interleave(self, first: __m256i, second: __m256i) -> [__m256i; 2] {
        unsafe { [_mm256_unpacklo_epi16(first, second), _mm256_unpackhi_epi16(first, second)] }
    }
    #[inline(always)]
    fn in_order(self, [low, high]: [__m256; 2]) -> [__m256; 2] {
        unsafe {
            [_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high)]
        }
    }
    #[inline(always)]
    fn reduce_add(self, a: __m256) -> f32 {
        unsafe {
            let half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps::<1>(pair, pair)))
        }
    }
    #[inline(always)]
    fn reduce_add_4(self, [a, b, c, d]: [__m256; 4]) -> [f32; 4] {
        let mut sums = [0.0; 4];
        unsafe {
            let ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            let (ab, cd) = (_mm256_castps_pd(ab), _mm256_castps_pd(cd));
            // Either half holds sums of four lanes of a, b, c and d.
            let halves = _mm256_add_ps(
                _mm256_castpd_ps(_mm256_unpacklo_pd(ab, cd)),
                _mm256_castpd_ps(_mm256_unpackhi_pd(ab, cd)),
            );
            let whole =
                _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps::<1>(halves));
            _mm_storeu_ps(sums.as_mut_ptr(), whole);
        }
        sums
    }
    #[inline(always)]
    fn reduce_max(self, a: __m256) -> f32 {
        unsafe {
            let half = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let pair = _mm_max_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_max_ss(pair, _mm_shuffle_ps::<1>(pair, pair)))
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
