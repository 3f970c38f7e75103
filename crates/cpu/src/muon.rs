//! Muon's heavier kernels: orthogonalisation and variance reduction.

use kiln_graph::ops::{HeadAxis, MuonOrthogonalize};

use crate::gemm::{Epilogue, Matrix, Operand, gemm, gemm_scratch_len, gemm_symmetric};
use crate::parallel::rows as row_groups;
use crate::pool::SharedSlice;
use crate::simd::Simd;
use crate::{Context, elementwise, reduce, simd_fn};

/// Lengths of the parts of the scratch of [`orthogonalize`] in f32 values, for a slice of rows x cols.
struct Parts {
    /// A matrix like the slice, of operands.
    x: usize,
    /// The same in f32.
    result: usize,
    /// A square of the shorter side, in f32 and of operands.
    square: usize,
    operand_square: usize,
    /// What products and sums need.
    rest: usize,
}

impl Parts {
    fn new<T>(cx: &Context, rows: usize, cols: usize) -> Parts {
        let (m, n) = (rows.min(cols), rows.max(cols));
        let products = [(m, m, n), (m, m, m), (m, n, m), (n, m, m)];
        let gemm = products.map(|(m, n, k)| gemm_scratch_len(cx, m, n, k)).into_iter().max();
        let lines = |len: usize| len.next_multiple_of(16);
        let operands = |len: usize| lines((len * size_of::<T>()).div_ceil(4));
        Parts {
            x: operands(m * n),
            result: lines(m * n),
            square: lines(m * m),
            operand_square: operands(m * m),
            rest: gemm.unwrap_or(0).max(reduce::scratch_len(m * n)),
        }
    }

    fn total(&self) -> usize {
        2 * self.x + self.result + 2 * self.square + self.operand_square + self.rest
    }
}

/// Scratch, in f32 values, of [`orthogonalize`] on a rows x cols matrix.
pub(crate) fn orthogonalize_scratch_len<T: Operand>(
    cx: &Context,
    op: &MuonOrthogonalize,
    rows: usize,
    cols: usize,
) -> usize {
    let (rows, cols) = op.slice(rows, cols);
    Parts::new::<T>(cx, rows, cols).total()
}

/// Orthogonalises `matrix` (rows x cols) in place, head by head, with products of T.
pub(crate) fn orthogonalize<T: Operand>(
    cx: &Context,
    op: &MuonOrthogonalize,
    matrix: &mut [f32],
    cols: usize,
    scratch: &mut [f32],
) {
    let (slice_rows, slice_cols) = op.slice(matrix.len() / cols, cols);
    let parts = Parts::new::<T>(cx, slice_rows, slice_cols);
    assert!(scratch.len() >= parts.total(), "scratch of {} values", scratch.len());
    for head in 0..op.heads {
        let (row0, col0) = match op.axis {
            HeadAxis::Rows => (head * slice_rows, 0),
            HeadAxis::Columns => (0, head * slice_cols),
        };
        let place = Slice { row0, col0, rows: slice_rows, cols: slice_cols, stride: cols };
        let mut rest = &mut scratch[..];
        let mut take = |len: usize| {
            let (part, tail) = std::mem::take(&mut rest).split_at_mut(len);
            rest = tail;
            part
        };
        let len = slice_rows * slice_cols;
        let square = slice_rows.min(slice_cols).pow(2);
        let mut work = Work {
            x: &mut operands::<T>(take(parts.x))[..len],
            next: &mut operands::<T>(take(parts.x))[..len],
            result: &mut take(parts.result)[..len],
            a: &mut take(parts.square)[..square],
            b: &mut take(parts.square)[..square],
            square: &mut operands::<T>(take(parts.operand_square))[..square],
            rest: take(parts.rest),
        };
        place.read(cx, matrix, work.result);
        work.iterate(cx, op, slice_rows, slice_cols);
        place.write(cx, work.result, matrix);
    }
}

/// Scratch as operands.
fn operands<T: Operand>(scratch: &mut [f32]) -> &mut [T] {
    let len = scratch.len() * 4 / size_of::<T>();
    // SAFETY: as many bytes, aligned for any operand, whose values any bits are.
    unsafe { std::slice::from_raw_parts_mut(scratch.as_mut_ptr().cast(), len) }
}

/// Where a head's slice lies in the matrix.
struct Slice {
    row0: usize,
    col0: usize,
    rows: usize,
    cols: usize,
    stride: usize,
}

impl Slice {
    fn read(&self, cx: &Context, matrix: &[f32], x: &mut [f32]) {
        let x = SharedSlice::new(x);
        row_groups(cx, self.rows, self.cols, &|first, count| {
            for r in first..first + count {
                let row = &matrix[(self.row0 + r) * self.stride + self.col0..][..self.cols];
                // SAFETY: groups of rows are disjoint.
                unsafe { x.range(r * self.cols, self.cols) }.copy_from_slice(row);
            }
        });
    }

    fn write(&self, cx: &Context, x: &[f32], matrix: &mut [f32]) {
        let matrix = SharedSlice::new(matrix);
        row_groups(cx, self.rows, self.cols, &|first, count| {
            for r in first..first + count {
                let start = (self.row0 + r) * self.stride + self.col0;
                // SAFETY: groups of rows are disjoint.
                let row = unsafe { matrix.range(start, self.cols) };
                row.copy_from_slice(&x[r * self.cols..][..self.cols]);
            }
        });
    }
}

/// Memory of one slice's iteration.
struct Work<'s, T> {
    x: &'s mut [T],
    next: &'s mut [T],
    /// The slice, and in the end what became of it.
    result: &'s mut [f32],
    a: &'s mut [f32],
    b: &'s mut [f32],
    square: &'s mut [T],
    rest: &'s mut [f32],
}

impl<T: Operand> Work<'_, T> {
    /// The polynomial iteration on the slice: with A = XXᵀ, `X <- c1·X + (c2·A + c3·A²)·X`; where rows > cols, the same
    /// from the other side, A = XᵀX.
    fn iterate(&mut self, cx: &Context, op: &MuonOrthogonalize, rows: usize, cols: usize) {
        let m = rows.min(cols);
        let norm = reduce::dot(cx, self.result, self.result, self.rest).sqrt();
        scaled(cx, self.result, 1.0 / (1.02 * norm + 1e-6), self.x);
        for step in 0..op.steps {
            let (c1, c2, c3) = op.method.coefficients(step);
            let x = Matrix::row_major(&*self.x, rows, cols);
            let (left, right) = if rows > cols { (x.t(), x) } else { (x, x.t()) };
            gemm_symmetric(cx, left, right, self.a, Epilogue::Set, self.rest);
            // c1·X + (c2·A + c3·A²)·X = B·X with B = c3·(A² + (c2/c3)·A) + c1·I, also symmetric.
            scaled(cx, self.a, 1.0, self.square);
            self.b.copy_from_slice(self.a);
            let square = Matrix::row_major(&*self.square, m, m);
            let epilogue = Epilogue::Accumulate { beta: (c2 / c3) as f32 };
            gemm_symmetric(cx, square, square, self.b, epilogue, self.rest);
            let p = self.b.as_mut_ptr();
            // SAFETY: b holds m·m values; the kernel works in place.
            unsafe { elementwise::scale(cx, m * m, p, c3 as f32, p) };
            self.b.iter_mut().step_by(m + 1).for_each(|diagonal| *diagonal += c1 as f32);
            scaled(cx, self.b, 1.0, self.square);
            let b = Matrix::row_major(&*self.square, m, m);
            let (left, right) = if rows > cols { (x, b) } else { (b, x) };
            if step + 1 == op.steps {
                gemm(cx, left, right, self.result, Epilogue::Set, self.rest);
            } else {
                gemm(cx, left, right, self.next, Epilogue::Set, self.rest);
                std::mem::swap(&mut self.x, &mut self.next);
            }
        }
    }
}

/// `out = factor·x`.
fn scaled<T: Operand>(cx: &Context, x: &[f32], factor: f32, out: &mut [T]) {
    assert_eq!(x.len(), out.len());
    let out = SharedSlice::new(out);
    crate::parallel::chunks(cx, x.len(), &|_, start, len| {
        // SAFETY: chunks are disjoint.
        let out = unsafe { out.range(start, len) };
        scale_chunk(cx.isa, &x[start..start + len], factor, out);
    });
}

simd_fn! { fn scale_chunk[T: Operand](x: &[f32], factor: f32, out: &mut [T]) = scale_chunk_kernel }
#[inline(always)]
fn scale_chunk_kernel<S: Simd, T: Operand>(s: S, x: &[f32], factor: f32, out: &mut [T]) {
    let factor = s.splat(factor);
    for (x, out) in x.chunks(S::LANES).zip(out.chunks_mut(S::LANES)) {
        // SAFETY: both hold as many values.
        unsafe {
            if x.len() == S::LANES {
                T::store(s, out.as_mut_ptr(), s.mul(factor, s.load(x)));
            } else {
                T::store_partial(s, out.as_mut_ptr(), s.mul(factor, s.load_partial(x)), x.len());
            }
        }
    }
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
