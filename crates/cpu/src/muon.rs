//! Muon's heavier kernels: orthogonalisation and variance reduction.

use kiln_graph::ops::{HeadAxis, MuonOrthogonalize};

use crate::gemm::{Epilogue, Matrix, gemm, gemm_scratch_len, gemm_symmetric};
use crate::parallel::rows as row_groups;
use crate::pool::SharedSlice;
use crate::{Context, elementwise, reduce};

/// Lengths of the parts of the scratch of [`orthogonalize`] for an m x n slice, m <= n.
struct Parts {
    x: usize,
    square: usize,
    gemm: usize,
}

impl Parts {
    fn new(cx: &Context, m: usize, n: usize) -> Parts {
        let products = [(m, m, n), (m, m, m), (m, n, m)];
        let gemm = products.map(|(m, n, k)| gemm_scratch_len(cx, m, n, k)).into_iter().max();
        Parts { x: m * n, square: m * m, gemm: gemm.unwrap_or(0).max(reduce::scratch_len(m * n)) }
    }

    fn total(&self) -> usize {
        2 * self.x + 2 * self.square + self.gemm
    }
}

fn extents(op: &MuonOrthogonalize, rows: usize, cols: usize) -> (usize, usize, bool) {
    let (r, c) = op.slice(rows, cols);
    (r.min(c), r.max(c), r > c)
}

/// Scratch, in f32 values, of [`orthogonalize`] on a rows x cols matrix.
pub(crate) fn orthogonalize_scratch_len(
    cx: &Context,
    op: &MuonOrthogonalize,
    rows: usize,
    cols: usize,
) -> usize {
    let (m, n, _) = extents(op, rows, cols);
    Parts::new(cx, m, n).total()
}

/// Orthogonalises `matrix` (rows x cols) in place, head by head.
pub(crate) fn orthogonalize(
    cx: &Context,
    op: &MuonOrthogonalize,
    matrix: &mut [f32],
    cols: usize,
    scratch: &mut [f32],
) {
    let rows = matrix.len() / cols;
    let (slice_rows, slice_cols) = op.slice(rows, cols);
    let (m, n, tall) = extents(op, rows, cols);
    let parts = Parts::new(cx, m, n);
    for head in 0..op.heads {
        let (row0, col0) = match op.axis {
            HeadAxis::Rows => (head * slice_rows, 0),
            HeadAxis::Columns => (0, head * slice_cols),
        };
        let place = Slice { row0, col0, rows: slice_rows, cols: slice_cols, stride: cols, tall };
        let (x, rest) = scratch.split_at_mut(parts.x);
        let (next, rest) = rest.split_at_mut(parts.x);
        let (a, rest) = rest.split_at_mut(parts.square);
        let (b, rest) = rest.split_at_mut(parts.square);
        place.read(matrix, x);
        let result = iterate(cx, op, m, n, [x, next], [a, b], rest);
        place.write(result, matrix);
    }
}

/// Where a head's slice lies in the matrix; tall slices are handled transposed.
struct Slice {
    row0: usize,
    col0: usize,
    rows: usize,
    cols: usize,
    stride: usize,
    tall: bool,
}

impl Slice {
    fn read(&self, matrix: &[f32], x: &mut [f32]) {
        for r in 0..self.rows {
            let row = &matrix[(self.row0 + r) * self.stride + self.col0..][..self.cols];
            if self.tall {
                row.iter().enumerate().for_each(|(c, v)| x[c * self.rows + r] = *v);
            } else {
                x[r * self.cols..][..self.cols].copy_from_slice(row);
            }
        }
    }

    fn write(&self, x: &[f32], matrix: &mut [f32]) {
        for r in 0..self.rows {
            let row = &mut matrix[(self.row0 + r) * self.stride + self.col0..][..self.cols];
            if self.tall {
                row.iter_mut().enumerate().for_each(|(c, v)| *v = x[c * self.rows + r]);
            } else {
                row.copy_from_slice(&x[r * self.cols..][..self.cols]);
            }
        }
    }
}

/// The polynomial iteration on x (m x n, m <= n); returns the buffer that holds the result.
fn iterate<'s>(
    cx: &Context,
    op: &MuonOrthogonalize,
    m: usize,
    n: usize,
    [x, next]: [&'s mut [f32]; 2],
    [a, b]: [&mut [f32]; 2],
    scratch: &mut [f32],
) -> &'s [f32] {
    let norm = reduce::dot(cx, x, x, scratch).sqrt();
    let p = x.as_mut_ptr();
    // SAFETY: x holds m·n values; the kernel works in place.
    unsafe { elementwise::scale(cx, m * n, p, 1.0 / (1.02 * norm + 1e-6), p) };
    let (mut x, mut next) = (x, next);
    for step in 0..op.steps {
        let (c1, c2, c3) = op.method.coefficients(step);
        let view = Matrix::row_major(x, m, n);
        gemm_symmetric(cx, view, view.t(), a, Epilogue::Set, scratch);
        // c1·X + (c2·A + c3·A²)·X = B·X with B = c3·(A² + (c2/c3)·A) + c1·I, also symmetric.
        b.copy_from_slice(a);
        let square = Matrix::row_major(a, m, m);
        let epilogue = Epilogue::Accumulate { beta: (c2 / c3) as f32 };
        gemm_symmetric(cx, square, square, b, epilogue, scratch);
        let pb = b.as_mut_ptr();
        // SAFETY: b holds m·m values; the kernel works in place.
        unsafe { elementwise::scale(cx, m * m, pb, c3 as f32, pb) };
        b.iter_mut().step_by(m + 1).for_each(|diagonal| *diagonal += c1 as f32);
        gemm(
            cx,
            Matrix::row_major(b, m, m),
            Matrix::row_major(x, m, n),
            next,
            Epilogue::Set,
            scratch,
        );
        std::mem::swap(&mut x, &mut next);
    }
    x
}

/// Scratch, in f32 values, of [`normalize`].
pub(crate) fn normalize_scratch_len(rows: usize, cols: usize) -> usize {
    rows.max(cols) + reduce::scratch_len(rows * cols)
}

/// Variance reduction of x (rows x cols) in place, with the running second moments in place: one per row where
/// rows >= cols, else one per column.
pub(crate) fn normalize(
    cx: &Context,
    beta2: f64,
    x: &mut [f32],
    cols: usize,
    second: &mut [f32],
    scratch: &mut [f32],
) {
    let rows = x.len() / cols;
    let by_row = rows >= cols;
    let (means, partial) = scratch.split_at_mut(rows.max(cols));
    let before = reduce::dot(cx, x, x, partial);
    if by_row {
        reduce::row_squares(cx, x, cols, means);
        means.iter_mut().for_each(|mean| *mean /= cols as f32);
    } else {
        reduce::column_squares(cx, x, cols, means);
        means.iter_mut().for_each(|mean| *mean /= rows as f32);
    }
    for (s, mean) in second.iter_mut().zip(means.iter_mut()) {
        *s += (1.0 - beta2) as f32 * (*mean - *s);
        *mean = 1.0 / s.max(1e-10).sqrt();
    }
    scale_lines(cx, x, cols, means, by_row);
    let after = reduce::dot(cx, x, x, partial);
    let factor = before.sqrt() / after.sqrt().max(1e-10);
    let p = x.as_mut_ptr();
    // SAFETY: x holds rows·cols values; the kernel works in place.
    unsafe { elementwise::scale(cx, rows * cols, p, factor, p) };
}

/// Multiplies each row, or each column, by a factor of its own.
fn scale_lines(cx: &Context, x: &mut [f32], cols: usize, factors: &[f32], by_row: bool) {
    let rows = x.len() / cols;
    let shared = SharedSlice::new(x);
    row_groups(cx, rows, cols, &|first, count| {
        // SAFETY: groups of rows are disjoint.
        let part = unsafe { shared.range(first * cols, count * cols) };
        for (row, line) in (first..).zip(part.chunks_exact_mut(cols)) {
            if by_row {
                line.iter_mut().for_each(|v| *v *= factors[row]);
            } else {
                line.iter_mut().zip(factors).for_each(|(v, f)| *v *= f);
            }
        }
    });
}
