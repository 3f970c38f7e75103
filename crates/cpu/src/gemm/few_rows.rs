//! Products of a few rows with a big transposed matrix (y = x wᵀ while decoding): w is streamed from memory once, as it
//! lies. Packing it would cost more than the product.

use super::matrix::Matrix;
use super::operand::Operand;
use super::sink::Dense;
use crate::simd::{Element, Simd};
use crate::{Context, simd_fn};

/// Most rows of A that this path takes.
pub(super) const MAX_ROWS: usize = 8;

/// Values of B that a task streams at least: 64 KB.
const TASK_VALUES: usize = 16 * 1024;

/// Values by which w is asked for ahead of its use, at least: 8 KB.
const AHEAD: usize = 2 * 1024;

/// Whether this path suits the product.
pub(super) fn suits<T: Operand>(a: &Matrix<'_, T>, b: &Matrix<'_, T>) -> bool {
    a.rows() <= MAX_ROWS && a.has_contiguous_rows() && b.t().has_contiguous_rows()
}

pub(super) fn run<T: Operand, C: Element>(
    cx: &Context,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    output: Dense<'_, C>,
) {
    let n = b.cols();
    let per_task = TASK_VALUES.div_ceil(b.rows().max(1)).max(n.div_ceil(8 * cx.pool.threads()));
    let per_task = per_task.next_multiple_of(4);
    cx.pool.run(n.div_ceil(per_task), &|number, _| {
        let from = number * per_task;
        stream(cx.isa, a, b.t(), output, from..n.min(from + per_task));
    });
}

simd_fn! {
    fn stream[T: Operand, C: Element](a: Matrix<'_, T>, w: Matrix<'_, T>, output: Dense<'_, C>, cols: std::ops::Range<usize>) = stream_kernel
}
#[inline(always)]
fn stream_kernel<S: Simd, T: Operand, C: Element>(
    s: S,
    a: Matrix<'_, T>,
    w: Matrix<'_, T>,
    output: Dense<'_, C>,
    cols: std::ops::Range<usize>,
) {
    match a.rows() {
        0 => {}
        1 => rows_of_w::<S, T, C, 1, 4>(s, a, w, output, cols),
        2 => rows_of_w::<S, T, C, 2, 4>(s, a, w, output, cols),
        3 => rows_of_w::<S, T, C, 3, 4>(s, a, w, output, cols),
        4 => rows_of_w::<S, T, C, 4, 4>(s, a, w, output, cols),
        5 => rows_of_w::<S, T, C, 5, 2>(s, a, w, output, cols),
        6 => rows_of_w::<S, T, C, 6, 2>(s, a, w, output, cols),
        7 => rows_of_w::<S, T, C, 7, 2>(s, a, w, output, cols),
        8 => rows_of_w::<S, T, C, 8, 2>(s, a, w, output, cols),
        rows => unreachable!("{rows} rows"),
    }
}

/// `M` rows of A against rows `cols` of w, `W` at a time.
#[inline(always)]
fn rows_of_w<S: Simd, T: Operand, C: Element, const M: usize, const W: usize>(
    s: S,
    a: Matrix<'_, T>,
    w: Matrix<'_, T>,
    output: Dense<'_, C>,
    cols: std::ops::Range<usize>,
) {
    let mut col = cols.start;
    while col + W <= cols.end {
        dots::<S, T, C, M, W>(s, a, w, output, col);
        col += W;
    }
    while col < cols.end {
        dots::<S, T, C, M, 1>(s, a, w, output, col);
        col += 1;
    }
}

#[inline(always)]
fn dots<S: Simd, T: Operand, C: Element, const M: usize, const W: usize>(
    s: S,
    a: Matrix<'_, T>,
    w: Matrix<'_, T>,
    output: Dense<'_, C>,
    col: usize,
) {
    let k = a.cols();
    let mut x = [a.data(); M];
    for (i, x) in x.iter_mut().enumerate() {
        *x = if k == 0 { &[] } else { &a.data()[i * a.row_stride()..][..k] };
    }
    let mut rows = [w.data(); W];
    for (j, row) in rows.iter_mut().enumerate() {
        *row = if k == 0 { &[] } else { &w.data()[(col + j) * w.row_stride()..][..k] };
    }
    let mut acc = [[s.splat(0.0); W]; M];
    let ahead = W * w.row_stride() * (AHEAD / (W * w.row_stride()).max(1)).max(1);
    let step = S::LANES * T::PER_LANE;
    let whole = k - k % step;
    for d in (0..whole).step_by(step) {
        // SAFETY: `d + step <= k`, the length of every row.
        let v: [T::Lanes<S>; W] =
            std::array::from_fn(|j| unsafe { T::load_lanes(s, rows[j].as_ptr().add(d)) });
        for row in &rows {
            // Rows are too short for the hardware to run ahead on its own.
            s.prefetch(row.as_ptr().wrapping_add(d + ahead).cast());
        }
        for (sums, x) in acc.iter_mut().zip(&x) {
            // SAFETY: as above.
            let x = unsafe { T::load_lanes(s, x.as_ptr().add(d)) };
            for (sum, &v) in sums.iter_mut().zip(&v) {
                *sum = T::multiply_add(s, x, v, *sum);
            }
        }
    }
    let rest = |row: &[T]| {
        let row = &row[whole..];
        // SAFETY: so many values are left, fewer than a vector holds.
        unsafe { T::load_lanes_partial(s, row.as_ptr(), row.len()) }
    };
    for (i, (sums, x)) in acc.iter().zip(&x).enumerate() {
        for (j, (&sum, row)) in sums.iter().zip(&rows).enumerate() {
            let sum = s.reduce_add(T::multiply_add(s, rest(x), rest(row), sum));
            let offset = i * output.ldc + col + j;
            // SAFETY: element (i, col + j) of C exists, and no other task writes it.
            unsafe { output.write_vector(s, offset, 1, s.splat(sum), (true, true)) };
        }
    }
}
