//! Tile shapes and block transposes of each vector set.

use super::operand::Operand;
use super::sink::{Place, Sink};
use super::tile::{Block, Panels, Tile, narrowest};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Portable, Simd};
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// NEON has 32 vector registers, SSE2 16; a vector of the portable path takes two of either.
const PORTABLE_MR: usize = if cfg!(target_arch = "aarch64") { 8 } else { 4 };

impl Tile for Portable {
    const MR: usize = PORTABLE_MR;
    const NRV: usize = 1;

    #[inline(always)]
    unsafe fn tile<T: Operand, K: Sink>(self, panels: Panels<T>, sink: &K, place: Place) {
        // SAFETY: the caller's.
        unsafe {
            narrowest::<Self, T, K, PORTABLE_MR, { PORTABLE_MR / 2 }, 1>(self, panels, sink, place)
        }
    }

    #[inline(always)]
    unsafe fn transpose<T: Operand>(
        self,
        src: *const T,
        stride: usize,
        dst: *mut T,
        block: &Block,
    ) {
        for d in 0..block.depth {
            for (r, i) in (0..block.width).flat_map(|r| (0..T::PER_LANE).map(move |i| (r, i))) {
                let from = d * T::PER_LANE + i;
                // SAFETY: inside what the caller vouches for.
                unsafe {
                    let there = r < block.rows && from < block.values;
                    let value = if there { *src.add(r * stride + from) } else { T::ZERO };
                    *dst.add((d * block.step + r) * T::PER_LANE + i) = value;
                }
            }
        }
    }
}

/// Loads the rows of a block; those that do not exist are zeros.
///
/// # Safety
/// As [`Tile::transpose`].
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn load_rows<S: Simd, T: Operand, const N: usize>(
    s: S,
    src: *const T,
    stride: usize,
    block: &Block,
) -> [S::V; N] {
    let mut rows = [s.splat(0.0); N];
    for (i, row) in rows.iter_mut().enumerate() {
        if i < block.rows {
            // SAFETY: row i exists and has so many values.
            let lanes = unsafe {
                let p = src.add(i * stride);
                if block.values == N * T::PER_LANE {
                    T::load_lanes(s, p)
                } else {
                    T::load_lanes_partial(s, p, block.values)
                }
            };
            *row = T::bits(s, lanes);
        }
    }
    rows
}

/// # Safety
/// As [`Tile::transpose`].
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn store_rows<S: Simd, T: Operand, const N: usize>(
    s: S,
    rows: [S::V; N],
    dst: *mut T,
    block: &Block,
) {
    for (d, row) in rows.into_iter().enumerate() {
        // SAFETY: `full` and `width` say how much of each row may be written.
        unsafe {
            let p = dst.add(d * block.step * T::PER_LANE).cast::<f32>();
            if d < block.full {
                s.store_ptr(p, row);
            } else if d < block.depth {
                s.store_ptr_partial(p, row, block.width);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl<const BF16: bool> Tile for Avx512<BF16> {
    // 24 of 32 registers hold sums: 11 loads for 24 multiply-adds in each step (12 x 2 would take 14).
    const MR: usize = 8;
    const NRV: usize = 3;

    #[inline(always)]
    unsafe fn tile<T: Operand, K: Sink>(self, panels: Panels<T>, sink: &K, place: Place) {
        // SAFETY: the caller's.
        unsafe { narrowest::<Self, T, K, 8, 4, 3>(self, panels, sink, place) }
    }

    #[inline(always)]
    unsafe fn transpose<T: Operand>(
        self,
        src: *const T,
        stride: usize,
        dst: *mut T,
        block: &Block,
    ) {
        // SAFETY: the caller's; `self` proves the instructions.
        unsafe {
            let r = load_rows::<Self, T, 16>(self, src, stride, block);
            // u[4g + c] holds, in its 128-bit lane q, column 4q + c of rows 4g..4g + 4.
            let mut u = r;
            for g in [0, 4, 8, 12] {
                let lo = [_mm512_unpacklo_ps(r[g], r[g + 1]), _mm512_unpackhi_ps(r[g], r[g + 1])];
                let hi = [
                    _mm512_unpacklo_ps(r[g + 2], r[g + 3]),
                    _mm512_unpackhi_ps(r[g + 2], r[g + 3]),
                ];
                for h in 0..2 {
                    let (x, y) = (_mm512_castps_pd(lo[h]), _mm512_castps_pd(hi[h]));
                    u[g + 2 * h] = _mm512_castpd_ps(_mm512_unpacklo_pd(x, y));
                    u[g + 2 * h + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(x, y));
                }
            }
            let mut out = u;
            for c in 0..4 {
                let even_lo = _mm512_shuffle_f32x4::<0x88>(u[c], u[4 + c]);
                let even_hi = _mm512_shuffle_f32x4::<0x88>(u[8 + c], u[12 + c]);
                let odd_lo = _mm512_shuffle_f32x4::<0xdd>(u[c], u[4 + c]);
                let odd_hi = _mm512_shuffle_f32x4::<0xdd>(u[8 + c], u[12 + c]);
                out[c] = _mm512_shuffle_f32x4::<0x88>(even_lo, even_hi);
                out[4 + c] = _mm512_shuffle_f32x4::<0x88>(odd_lo, odd_hi);
                out[8 + c] = _mm512_shuffle_f32x4::<0xdd>(even_lo, even_hi);
                out[12 + c] = _mm512_shuffle_f32x4::<0xdd>(odd_lo, odd_hi);
            }
            store_rows(self, out, dst, block);
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Tile for Avx2 {
    // 12 of 16 registers hold sums.
    const MR: usize = 6;
    const NRV: usize = 2;

    #[inline(always)]
    unsafe fn tile<T: Operand, K: Sink>(self, panels: Panels<T>, sink: &K, place: Place) {
        // SAFETY: the caller's.
        unsafe { narrowest::<Self, T, K, 6, 3, 2>(self, panels, sink, place) }
    }

    #[inline(always)]
    unsafe fn transpose<T: Operand>(
        self,
        src: *const T,
        stride: usize,
        dst: *mut T,
        block: &Block,
    ) {
        // SAFETY: the caller's; `self` proves the instructions.
        unsafe {
            let r = load_rows::<Self, T, 8>(self, src, stride, block);
            // u[4g + c] holds, in its 128-bit lane q, column 4q + c of rows 4g..4g + 4.
            let mut u = r;
            for g in [0, 4] {
                let lo = [_mm256_unpacklo_ps(r[g], r[g + 1]), _mm256_unpackhi_ps(r[g], r[g + 1])];
                let hi = [
                    _mm256_unpacklo_ps(r[g + 2], r[g + 3]),
                    _mm256_unpackhi_ps(r[g + 2], r[g + 3]),
                ];
                for h in 0..2 {
                    u[g + 2 * h] = _mm256_shuffle_ps::<0x44>(lo[h], hi[h]);
                    u[g + 2 * h + 1] = _mm256_shuffle_ps::<0xee>(lo[h], hi[h]);
                }
            }
            let mut out = u;
            for c in 0..4 {
                out[c] = _mm256_permute2f128_ps::<0x20>(u[c], u[4 + c]);
                out[4 + c] = _mm256_permute2f128_ps::<0x31>(u[c], u[4 + c]);
            }
            store_rows(self, out, dst, block);
        }
    }
}
