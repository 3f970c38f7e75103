//! f32 matrix products: C = A·B, with what follows the product fused into its write-back.
//!
//! Operands are strided views, so the three products of a linear layer y = x wᵀ (x: N x K, w: M x K) are
//!
//! ```
//! # use kiln_cpu::{Context, Isa, gemm::{Epilogue, Matrix, gemm, gemm_scratch_len}};
//! # let cx = Context::new(Isa::detect(), 1);
//! # let (n, k, m) = (3, 4, 2);
//! # let (x, w, dy) = (vec![1.0; n * k], vec![2.0; m * k], vec![1.0; n * m]);
//! # let (mut y, mut dx, mut dw) = (vec![0.0; n * m], vec![0.0; n * k], vec![0.0; m * k]);
//! let x = Matrix::row_major(&x, n, k);
//! let w = Matrix::row_major(&w, m, k);
//! let dy = Matrix::row_major(&dy, n, m);
//! let mut scratch = vec![0.0; gemm_scratch_len(&cx, 8, 8, 8)];
//! gemm(&cx, x, w.t(), &mut y, Epilogue::Set, &mut scratch);
//! gemm(&cx, dy, w, &mut dx, Epilogue::Set, &mut scratch);
//! gemm(&cx, dy.t(), x, &mut dw, Epilogue::Accumulate { beta: 1.0 }, &mut scratch);
//! assert_eq!((y[0], dx[0], dw[0]), (8.0, 4.0, 3.0));
//! ```
//!
//! The structure is that of Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008):
//! `driver` cuts the product into blocks that fit the caches, `pack` lays operands out as the micro-kernel in
//! `tile` reads them. Results have the same bits for any number of threads.

mod driver;
mod few_rows;
mod matrix;
mod pack;
mod symmetric;
mod tile;
mod tile_isa;

#[cfg(test)]
mod tests;

use crate::Context;
pub use matrix::Matrix;
pub(crate) use tile::Tile;

/// What becomes of the product on its way to C.
#[derive(Clone, Copy, Debug)]
pub enum Epilogue<'a> {
    /// C = A·B. C is never read.
    Set,
    /// C = beta·C + A·B. With beta 0, C is never read.
    Accumulate {
        /// Factor of what C holds.
        beta: f32,
    },
    /// C = R + A·B, where R has the shape and row distance of C. (For R in C itself: `Accumulate { beta: 1.0 }`.)
    AddResidual(&'a [f32]),
    /// C = max(A·B, 0)². C is never read.
    ReluSquared,
}

/// Where products go.
#[derive(Clone, Copy)]
struct Output<'a> {
    c: *mut f32,
    ldc: usize,
    epilogue: Epilogue<'a>,
    /// Whether tiles above the diagonal may be left out.
    symmetric: bool,
}

// SAFETY: tasks write through `c` to disjoint elements, each of which lies inside the slice that it was made from.
unsafe impl Send for Output<'_> {}
// SAFETY: as above.
unsafe impl Sync for Output<'_> {}

/// C = A·B with `epilogue`; C is row-major and contiguous, `a.rows()` x `b.cols()`.
///
/// # Panics
/// When shapes disagree, or `scratch` is shorter than [`gemm_scratch_len`].
pub fn gemm(
    cx: &Context,
    a: Matrix<'_>,
    b: Matrix<'_>,
    c: &mut [f32],
    epilogue: Epilogue<'_>,
    scratch: &mut [f32],
) {
    let ldc = b.cols();
    assert_eq!(c.len(), a.rows() * ldc, "C is {} x {ldc}", a.rows());
    gemm_strided(cx, a, b, c, ldc, epilogue, scratch);
}

/// [`gemm`] into a C whose rows lie `ldc` values apart.
///
/// # Panics
/// When shapes disagree, C does not hold its last element, `ldc` is less than a row, or `scratch` is shorter than
/// [`gemm_scratch_len`].
pub fn gemm_strided(
    cx: &Context,
    a: Matrix<'_>,
    b: Matrix<'_>,
    c: &mut [f32],
    ldc: usize,
    epilogue: Epilogue<'_>,
    scratch: &mut [f32],
) {
    check(a, b, c, ldc, epilogue);
    let output = Output { c: c.as_mut_ptr(), ldc, epilogue, symmetric: false };
    run(cx, a, b, output, scratch);
}

/// [`gemm`] for a result that is symmetric (A·Aᵀ, a power of a symmetric matrix; so is what it is added to): about half
/// of it is computed, the rest copied, so that it is symmetric to the last bit.
///
/// # Panics
/// As [`gemm`], and when C is not square.
pub fn gemm_symmetric(
    cx: &Context,
    a: Matrix<'_>,
    b: Matrix<'_>,
    c: &mut [f32],
    epilogue: Epilogue<'_>,
    scratch: &mut [f32],
) {
    let n = b.cols();
    assert_eq!(a.rows(), n, "a symmetric product is square");
    assert_eq!(c.len(), n * n, "C is {n} x {n}");
    check(a, b, c, n, epilogue);
    run(cx, a, b, Output { c: c.as_mut_ptr(), ldc: n, epilogue, symmetric: true }, scratch);
    symmetric::mirror(cx, c, n);
}

fn check(a: Matrix<'_>, b: Matrix<'_>, c: &[f32], ldc: usize, epilogue: Epilogue<'_>) {
    let (m, n) = (a.rows(), b.cols());
    assert_eq!(a.cols(), b.rows(), "inner dimensions of {m} x {} and {} x {n}", a.cols(), b.rows());
    let needed = if m == 0 || n == 0 { 0 } else { (m - 1) * ldc + n };
    assert!(ldc >= n && c.len() >= needed, "C is {m} x {n}, rows {ldc} apart, in {}", c.len());
    if let Epilogue::AddResidual(r) = epilogue {
        assert!(r.len() >= needed, "residual is {m} x {n}, rows {ldc} apart, in {}", r.len());
    }
}

/// Shapes must have been checked.
fn run(cx: &Context, a: Matrix<'_>, b: Matrix<'_>, output: Output<'_>, scratch: &mut [f32]) {
    if a.rows() == 0 || b.cols() == 0 {
        return;
    }
    if few_rows::suits(&a, &b) {
        few_rows::run(cx, a, b, output);
    } else {
        driver::run(cx, a, b, output, scratch);
    }
}

/// Length of scratch, in f32 values, that any product of at most m x n x k needs.
pub fn gemm_scratch_len(cx: &Context, m: usize, n: usize, k: usize) -> usize {
    driver::scratch_len(cx, m, n, k)
}
