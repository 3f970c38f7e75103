//! A vector holds one lane of each row of x; lanes of w are spread over whole vectors. No sum has to be reduced.

use super::dots::{shift, start};
use super::{AHEAD, BLOCK, MAX_ROWS, Sums};
use crate::gemm::matrix::Matrix;
use crate::gemm::operand::Operand;
use crate::gemm::pack;
use crate::gemm::tile::{Block, LINE, Tile};
use std::ops::Range;

/// Lays x out as [`block`] reads it: for each lane of the inner dimension that of every row, the rows filled up with
/// zeros to whole vectors.
#[inline(always)]
pub(super) fn pack<S: Tile, T: Operand>(s: S, x: Matrix<'_, T>, out: &mut [f32]) -> *const T {
    let (depth, width) = (x.cols().div_ceil(T::PER_LANE), x.rows().next_multiple_of(S::LANES));
    assert!(depth * width <= out.len(), "{depth} x {width} lanes into {}", out.len());
    let out = out.as_mut_ptr().cast();
    // SAFETY: they fit; a lane takes as much room as an f32.
    unsafe { pack::pack(s, x, width, 0..depth, out) };
    out
}

/// Sums of all rows of x with rows `block` of w.
///
/// # Safety
/// `x` must point to `rows` rows as [`pack`] leaves them.
#[inline(always)]
pub(super) unsafe fn block<S: Tile, T: Operand>(
    s: S,
    rows: usize,
    x: *const T,
    w: Matrix<'_, T>,
    block: Range<usize>,
    sums: &mut Sums,
) {
    // SAFETY: the caller's.
    unsafe {
        // Half or more of the registers hold sums.
        match (S::LANES, rows.div_ceil(S::LANES)) {
            // Rows that share the places of a first-level cache: as many as it has ways for.
            (16, 1) if (w.row_stride() * size_of::<T>()).is_multiple_of(4096) => {
                by_group::<S, T, 1, 8>(s, x, w, block, sums)
            }
            (16, 1) => by_group::<S, T, 1, 16>(s, x, w, block, sums),
            (16, 2) => by_group::<S, T, 2, 8>(s, x, w, block, sums),
            (8, 1) => by_group::<S, T, 1, 8>(s, x, w, block, sums),
            (8, 2) => by_group::<S, T, 2, 4>(s, x, w, block, sums),
            (8, 3) => by_group::<S, T, 3, 4>(s, x, w, block, sums),
            (8, 4) => by_group::<S, T, 4, 2>(s, x, w, block, sums),
            (lanes, vectors) => unreachable!("{vectors} vectors of {lanes}"),
        }
    }
}

/// `V` vectors of rows of x with `W` rows of w at a time.
///
/// # Safety
/// As [`block`].
#[inline(always)]
unsafe fn by_group<S: Tile, T: Operand, const V: usize, const W: usize>(
    s: S,
    x: *const T,
    w: Matrix<'_, T>,
    block: Range<usize>,
    sums: &mut Sums,
) {
    let mut transposed = Sums([[0.0; BLOCK]; MAX_ROWS]);
    let width = V * S::LANES;
    let out = transposed.0.as_mut_ptr().cast::<f32>();
    let k = w.cols();
    let mut i = 0;
    // SAFETY: rows hold k values; `BLOCK` rows of at most `MAX_ROWS` lanes fit both buffers.
    unsafe {
        while i < block.len() && k > 0 {
            if i + W <= block.len() {
                let mut rows = [std::ptr::null(); W];
                for (j, row) in rows.iter_mut().enumerate() {
                    *row = start(&w, block.start + i + j);
                }
                group::<S, T, V, W>(s, x, rows, k, w.row_stride(), out.add(i * width));
                i += W;
            } else {
                group::<S, T, V, 1>(
                    s,
                    x,
                    [start(&w, block.start + i)],
                    k,
                    w.row_stride(),
                    out.add(i * width),
                );
                i += 1;
            }
        }
        for from in (0..BLOCK).step_by(S::LANES) {
            for lane in (0..width).step_by(S::LANES) {
                let square = Block {
                    rows: S::LANES,
                    depth: S::LANES,
                    values: S::LANES,
                    step: BLOCK,
                    full: S::LANES,
                    width: S::LANES,
                };
                let to = sums.0[lane..].as_mut_ptr().cast::<f32>().add(from);
                s.transpose(out.add(from * width + lane).cast_const(), width, to, &square);
            }
        }
    }
}

/// Writes `V` vectors of sums for each of `W` rows to `out`.
///
/// # Safety
/// `x` must be valid for reading `V` vectors for each lane of `k`, each of `w` for k values, `out` for writing all sums.
#[inline(always)]
unsafe fn group<S: Tile, T: Operand, const V: usize, const W: usize>(
    s: S,
    x: *const T,
    w: [*const T; W],
    k: usize,
    stride: usize,
    out: *mut f32,
) {
    let mut acc = [[s.splat(0.0); V]; W];
    let ahead = AHEAD / size_of::<T>() / W;
    let line = LINE * T::PER_LANE;
    let (lanes, mut x) = (k / T::PER_LANE, x);
    // SAFETY: `lanes` steps of V vectors of x, and of one lane of each row of w.
    unsafe {
        let mut d = 0;
        while d + line <= k {
            let shift = shift(d, ahead, k, W * stride);
            for w in w {
                s.prefetch(w.wrapping_add(shift).cast());
            }
            for i in 0..LINE {
                step::<S, T, V, W>(s, x, w, d + i * T::PER_LANE, &mut acc);
                x = x.add(V * S::LANES * T::PER_LANE);
            }
            d += line;
        }
        while d < lanes * T::PER_LANE {
            step::<S, T, V, W>(s, x, w, d, &mut acc);
            x = x.add(V * S::LANES * T::PER_LANE);
            d += T::PER_LANE;
        }
        if d < k {
            // The first of a pair; the second one counts as zero.
            let mut last = [[T::ZERO; 2]; W];
            let mut rows = [std::ptr::null(); W];
            for (j, last) in last.iter_mut().enumerate() {
                last[0] = *w[j].add(d);
                rows[j] = last.as_ptr();
            }
            step::<S, T, V, W>(s, x, rows, 0, &mut acc);
        }
        for (j, sums) in acc.into_iter().enumerate() {
            for (v, sum) in sums.into_iter().enumerate() {
                s.store_ptr(out.add((j * V + v) * S::LANES), sum);
            }
        }
    }
}

/// Adds the products of one lane.
///
/// # Safety
/// `x` must be valid for reading `V` vectors, each of `w` for a lane at `at`.
#[inline(always)]
unsafe fn step<S: Tile, T: Operand, const V: usize, const W: usize>(
    s: S,
    x: *const T,
    w: [*const T; W],
    at: usize,
    acc: &mut [[S::V; V]; W],
) {
    // SAFETY: the caller's.
    unsafe {
        let mut v = [T::load_lanes(s, x); V];
        for (j, v) in v.iter_mut().enumerate() {
            *v = T::load_lanes(s, x.add(j * S::LANES * T::PER_LANE));
        }
        for (sums, w) in acc.iter_mut().zip(w) {
            let w = T::splat_lane(s, w.add(at));
            for (sum, &v) in sums.iter_mut().zip(&v) {
                *sum = T::multiply_add(s, w, v, *sum);
            }
        }
    }
}
