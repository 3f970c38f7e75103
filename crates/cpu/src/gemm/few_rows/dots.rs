//! Dot products of rows: vectors run along the inner dimension.

use super::{AHEAD, BLOCK, Sums};
use crate::gemm::matrix::Matrix;
use crate::gemm::operand::Operand;
use crate::simd::Simd;
use std::ops::Range;

/// Sums of all rows of x with rows `block` of w.
#[inline(always)]
pub(super) fn block<S: Simd, T: Operand>(
    s: S,
    x: Matrix<'_, T>,
    w: Matrix<'_, T>,
    block: Range<usize>,
    sums: &mut Sums,
) {
    // Where x comes from the second-level cache, it has to serve several rows of w at a time; where not, memory is best
    // read from front to back.
    match (x.rows(), super::is_tall(&x)) {
        (0, _) => {}
        // One row and two are summed up in the same order: a token that is decoded beside another has the same logits.
        (1, _) => rows::<S, T, 1, 1, 4>(s, x, w, block, sums),
        (2, false) => rows::<S, T, 2, 1, 4>(s, x, w, block, sums),
        (3, false) => rows::<S, T, 3, 1, 2>(s, x, w, block, sums),
        (4, false) => rows::<S, T, 4, 1, 2>(s, x, w, block, sums),
        (2, true) => rows::<S, T, 2, 2, 4>(s, x, w, block, sums),
        (3, true) => rows::<S, T, 3, 4, 1>(s, x, w, block, sums),
        (4, true) => rows::<S, T, 4, 4, 1>(s, x, w, block, sums),
        (5, _) => rows::<S, T, 5, 1, 2>(s, x, w, block, sums),
        (6, _) => rows::<S, T, 6, 1, 2>(s, x, w, block, sums),
        (7, _) => rows::<S, T, 7, 1, 2>(s, x, w, block, sums),
        (8, _) => rows::<S, T, 8, 1, 1>(s, x, w, block, sums),
        (rows, _) => unreachable!("{rows} rows"),
    }
}

/// `M` rows of x with `W` rows of w at a time, `U` vectors of each in every step.
#[inline(always)]
fn rows<S: Simd, T: Operand, const M: usize, const W: usize, const U: usize>(
    s: S,
    x: Matrix<'_, T>,
    w: Matrix<'_, T>,
    block: Range<usize>,
    sums: &mut Sums,
) {
    let k = x.cols();
    if k == 0 {
        *sums = Sums([[0.0; BLOCK]; super::MAX_ROWS]);
        return;
    }
    let mut x_rows = [std::ptr::null(); M];
    for (i, row) in x_rows.iter_mut().enumerate() {
        *row = start(&x, i);
    }
    let mut col = 0;
    while col < block.len() {
        let first = block.start + col;
        // SAFETY: all pointers are to rows of k values.
        unsafe {
            if col + W <= block.len() {
                let mut w_rows = [std::ptr::null(); W];
                for (j, row) in w_rows.iter_mut().enumerate() {
                    *row = start(&w, first + j);
                }
                dots::<S, T, M, W, U>(s, x_rows, w_rows, k, w.row_stride(), col, sums);
                col += W;
            } else {
                let w_rows = [start(&w, first)];
                dots::<S, T, M, 1, U>(s, x_rows, w_rows, k, w.row_stride(), col, sums);
                col += 1;
            }
        }
    }
}

/// The first value of a row, which has as many as the matrix has columns.
#[inline(always)]
pub(super) fn start<T: Operand>(m: &Matrix<'_, T>, row: usize) -> *const T {
    m.data()[row * m.row_stride()..][..m.cols()].as_ptr()
}

// What is called from several places here is a function that is always inlined, and no closure or `from_fn`: those may be
// compiled on their own, without the instructions of the kernel that they are part of.

/// Sets the sums of `W` columns from `col` on.
///
/// # Safety
/// Every pointer must be valid for reading k values.
#[inline(always)]
unsafe fn dots<S: Simd, T: Operand, const M: usize, const W: usize, const U: usize>(
    s: S,
    x: [*const T; M],
    w: [*const T; W],
    k: usize,
    stride: usize,
    col: usize,
    sums: &mut Sums,
) {
    let mut acc = [[[s.splat(0.0); W]; M]; U];
    let ahead = AHEAD / size_of::<T>() / W;
    let step = S::LANES * T::PER_LANE;
    let whole = k - k % step;
    let mut d = 0;
    // SAFETY: what is read lies below k.
    unsafe {
        while d + U * step <= whole {
            let shift = shift(d, ahead, k, W * stride);
            for (u, acc) in acc.iter_mut().enumerate() {
                vectors::<S, T, M, W>(s, x, w, d + u * step, shift + u * step, acc);
            }
            d += U * step;
        }
        while d < whole {
            vectors::<S, T, M, W>(s, x, w, d, shift(d, ahead, k, W * stride), &mut acc[0]);
            d += step;
        }
        // A masked load of nothing is slow where it meets a page that is not there.
        if whole < k {
            for (j, w) in w.iter().enumerate() {
                let w = T::load_lanes_partial(s, w.add(whole), k - whole);
                for (i, x) in x.iter().enumerate() {
                    let x = T::load_lanes_partial(s, x.add(whole), k - whole);
                    acc[0][i][j] = T::multiply_add(s, x, w, acc[0][i][j]);
                }
            }
        }
        for j in 0..W {
            let mut rows = [s.splat(0.0); M];
            for i in 0..M {
                rows[i] = acc[0][i][j];
                for acc in &acc[1..] {
                    rows[i] = s.add(rows[i], acc[i][j]);
                }
            }
            let mut i = 0;
            while i + 4 <= M {
                let four = s.reduce_add_4([rows[i], rows[i + 1], rows[i + 2], rows[i + 3]]);
                for (n, sum) in four.into_iter().enumerate() {
                    sums.0[i + n][col + j] = sum;
                }
                i += 4;
            }
            while i < M {
                sums.0[i][col + j] = s.reduce_add(rows[i]);
                i += 1;
            }
        }
    }
}

/// Where to ask for memory at column `d`: `ahead` values on, in these rows or, at the end, in those that come `next` values
/// after them.
#[inline(always)]
pub(super) fn shift(d: usize, ahead: usize, k: usize, next: usize) -> usize {
    if d + ahead < k { d + ahead } else { (d + ahead + next).wrapping_sub(k) }
}

/// Adds the products of one vector of each row, and asks for what lies at `ahead`.
///
/// # Safety
/// Every pointer must be valid for reading a vector at `at`.
#[inline(always)]
unsafe fn vectors<S: Simd, T: Operand, const M: usize, const W: usize>(
    s: S,
    x: [*const T; M],
    w: [*const T; W],
    at: usize,
    ahead: usize,
    acc: &mut [[S::V; W]; M],
) {
    // SAFETY: the caller's.
    unsafe {
        for w in &w {
            s.prefetch(w.wrapping_add(ahead).cast());
        }
        let mut v = [T::load_lanes(s, w[0].add(at)); W];
        for j in 1..W {
            v[j] = T::load_lanes(s, w[j].add(at));
        }
        for (sums, x) in acc.iter_mut().zip(&x) {
            let x = T::load_lanes(s, x.add(at));
            for (sum, &v) in sums.iter_mut().zip(&v) {
                *sum = T::multiply_add(s, x, v, *sum);
            }
        }
    }
}
