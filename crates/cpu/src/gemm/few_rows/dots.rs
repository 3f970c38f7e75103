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
        (1, _) => rows::<S, T, 1, 1, 4>(s, x, w, block, sums),
        (2, false) => rows::<S, T, 2, 1, 4>(s, x, w, block, sums),
        (3, false) => rows::<S, T, 3, 1, 2>(s, x, w, block, sums),
        (4, false) => rows::<S, T, 4, 1, 2>(s, x, w, block, sums),
        (2, true) => rows::<S, T, 2, 2, 2>(s, x, w, block, sums),
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
    let row = |m: &Matrix<'_, T>, i: usize| m.data()[i * m.row_stride()..][..k].as_ptr();
    let x: [*const T; M] = std::array::from_fn(|i| row(&x, i));
    let mut col = 0;
    while col < block.len() {
        // SAFETY: all pointers are to rows of k values.
        unsafe {
            if col + W <= block.len() {
                let w_rows: [*const T; W] = std::array::from_fn(|j| row(&w, block.start + col + j));
                dots::<S, T, M, W, U>(s, x, w_rows, k, w.row_stride(), |i, j, sum| {
                    sums.0[i][col + j] = sum
                });
                col += W;
            } else {
                let w_rows = [row(&w, block.start + col)];
                dots::<S, T, M, 1, U>(s, x, w_rows, k, w.row_stride(), |i, j, sum| {
                    sums.0[i][col + j] = sum
                });
                col += 1;
            }
        }
    }
}

/// # Safety
/// Every pointer must be valid for reading k values.
#[inline(always)]
unsafe fn dots<S: Simd, T: Operand, const M: usize, const W: usize, const U: usize>(
    s: S,
    x: [*const T; M],
    w: [*const T; W],
    k: usize,
    stride: usize,
    mut take: impl FnMut(usize, usize, f32),
) {
    let mut acc = [[[s.splat(0.0); W]; M]; U];
    let ahead = AHEAD / size_of::<T>() / W;
    let step = S::LANES * T::PER_LANE;
    let whole = k - k % step;
    let shift =
        |d: usize| if d + ahead < k { d + ahead } else { (d + ahead + W * stride).wrapping_sub(k) };
    let mut d = 0;
    // SAFETY: what is read lies below k.
    unsafe {
        while d + U * step <= whole {
            let shift = shift(d);
            for (u, acc) in acc.iter_mut().enumerate() {
                vectors::<S, T, M, W>(s, x, w, d + u * step, shift + u * step, acc);
            }
            d += U * step;
        }
        while d < whole {
            vectors::<S, T, M, W>(s, x, w, d, shift(d), &mut acc[0]);
            d += step;
        }
        let rest = |row: *const T| T::load_lanes_partial(s, row.add(whole), k - whole);
        let v: [T::Lanes<S>; W] = std::array::from_fn(|j| rest(w[j]));
        for i in 0..M {
            let x = rest(x[i]);
            for j in 0..W {
                let mut sum = T::multiply_add(s, x, v[j], acc[0][i][j]);
                for acc in &acc[1..] {
                    sum = s.add(sum, acc[i][j]);
                }
                take(i, j, s.reduce_add(sum));
            }
        }
    }
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
        let v: [T::Lanes<S>; W] = std::array::from_fn(|j| T::load_lanes(s, w[j].add(at)));
        for (sums, x) in acc.iter_mut().zip(&x) {
            let x = T::load_lanes(s, x.add(at));
            for (sum, &v) in sums.iter_mut().zip(&v) {
                *sum = T::multiply_add(s, x, v, *sum);
            }
        }
    }
}
