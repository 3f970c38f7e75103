//! Matrix products of f32 or bf16, summed in f32: C = A·B, with what follows the product fused into its write-back.
//!
//! Operands are strided views, so the three products of a linear layer y = x wᵀ (x: N x K, w: M x K) are
//!
//! ```
//! # use kiln_cpu::{Context, Isa, gemm::{Epilogue, Matrix, gemm, gemm_scratch_len}};
//! # let cx = Context::new(Isa::detect(), 1);
//! # let (n, k, m) = (3, 4, 2);
//! # let (x, w, dy) = (vec![1.0; n * k], vec![2.0; m * k], vec![1.0; n * m]);
//! # let (mut y, mut dx, mut dw) = (vec![0.0f32; n * m], vec![0.0f32; n * k], vec![0.0f32; m * k]);
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
//! `tile` reads them. Few rows go another way (`few_rows`). Results have the same bits for any number of threads.

mod ahead;
mod driver;
mod few_rows;
mod matrix;
mod operand;
mod pack;
mod sink;
mod symmetric;
mod tile;
mod tile_isa;

#[cfg(test)]
mod tests;

use crate::Context;
use crate::simd::Element;
pub use matrix::Matrix;
pub use operand::Operand;
use sink::{Beside, Dense};
pub(crate) use sink::{Place, Sink};
pub(crate) use tile::Tile;

/// What becomes of the product on its way to C.
#[derive(Clone, Copy, Debug)]
pub enum Epilogue<'a, C = f32> {
    /// C = A·B. C is never read.
    Set,
    /// C = beta·C + A·B. With beta 0, C is never read.
    Accumulate {
        /// Factor of what C holds.
        beta: f32,
    },
    /// C = R + A·B, where R has the shape and row distance of C. (For R in C itself: `Accumulate { beta: 1.0 }`.)
    AddResidual(&'a [C]),
    /// C = max(A·B, 0)². C is never read.
    ReluSquared,
    /// C = 2·sqrt(Y)·(A·B), where Y has the shape and row distance of C: the gradient before the relu² that yielded Y.
    ReluSquaredGrad(&'a [C]),
    /// The same with Y in C itself. Only for a C of bf16: one of f32 holds sums between blocks of k.
    ReluSquaredGradInPlace,
}

/// C = A·B with `epilogue`; C is row-major and contiguous, `a.rows()` x `b.cols()`.
///
/// # Panics
/// When shapes disagree, or `scratch` is shorter than [`gemm_scratch_len`].
pub fn gemm<T: Operand, C: Element>(
    cx: &Context,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    c: &mut [C],
    epilogue: Epilogue<'_, C>,
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
pub fn gemm_strided<T: Operand, C: Element>(
    cx: &Context,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    c: &mut [C],
    ldc: usize,
    epilogue: Epilogue<'_, C>,
    scratch: &mut [f32],
) {
    check(a, b, c, ldc, epilogue);
    run(cx, a, b, Dense { c: c.as_mut_ptr(), ldc, epilogue }, false, scratch);
}

/// [`gemm`] for a result that is symmetric (A·Aᵀ, a power of a symmetric matrix; so is what it is added to): about half
/// of it is computed, the rest copied, so that it is symmetric to the last bit.
///
/// # Panics
/// As [`gemm`], and when C is not square.
pub fn gemm_symmetric<T: Operand>(
    cx: &Context,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    c: &mut [f32],
    epilogue: Epilogue<'_>,
    scratch: &mut [f32],
) {
    let n = b.cols();
    assert_eq!(a.rows(), n, "a symmetric product is square");
    assert_eq!(c.len(), n * n, "C is {n} x {n}");
    check(a, b, c, n, epilogue);
    run(cx, a, b, Dense { c: c.as_mut_ptr(), ldc: n, epilogue }, true, scratch);
    symmetric::mirror(cx, c, n);
}

/// A product whose sums go wherever `sink` takes them, tile by tile.
///
/// # Safety
/// The sink must take tiles of `a.rows()` x `b.cols()`, each from one task.
///
/// # Panics
/// When the inner dimensions differ, or `scratch` is shorter than [`gemm_scratch_len`].
pub(crate) unsafe fn gemm_into<T: Operand, K: Sink>(
    cx: &Context,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    sink: K,
    scratch: &mut [f32],
) {
    assert_eq!(a.cols(), b.rows(), "inner dimensions");
    if a.rows() > 0 && b.cols() > 0 {
        driver::run(cx, a, b, sink, false, scratch);
    }
}

/// Shapes must have been checked.
fn run<T: Operand, C: Element>(
    cx: &Context,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    output: Dense<'_, C>,
    symmetric: bool,
    scratch: &mut [f32],
) {
    if a.rows() == 0 || b.cols() == 0 {
        return;
    }
    if few_rows::suits(&a, &b) {
        few_rows::run(cx, a, b, output, scratch);
    } else if let Some(kept) = kept_sums::<T, C>(cx, a.rows(), b.cols(), a.cols()) {
        let (sums, scratch) = scratch.split_at_mut(kept.len());
        let sink = Beside { dense: output, sums: sums.as_mut_ptr(), row: kept.row };
        driver::run(cx, a, b, sink, symmetric, scratch);
    } else {
        driver::run(cx, a, b, output, symmetric, scratch);
    }
}

/// What is needed to keep sums beside C, if that is how the product is computed.
fn kept_sums<T: Operand, C: Element>(
    cx: &Context,
    m: usize,
    n: usize,
    k: usize,
) -> Option<driver::Kept> {
    let lanes = k.div_ceil(T::PER_LANE);
    if Dense::<C>::KEEPS_SUMS { None } else { driver::kept_sums(cx, m, n, lanes) }
}

fn check<T: Operand, C: Element>(
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    c: &[C],
    ldc: usize,
    epilogue: Epilogue<'_, C>,
) {
    let (m, n) = (a.rows(), b.cols());
    assert_eq!(a.cols(), b.rows(), "inner dimensions of {m} x {} and {} x {n}", a.cols(), b.rows());
    let needed = if m == 0 || n == 0 { 0 } else { (m - 1) * ldc + n };
    assert!(ldc >= n && c.len() >= needed, "C is {m} x {n}, rows {ldc} apart, in {}", c.len());
    let in_place = matches!(epilogue, Epilogue::ReluSquaredGradInPlace);
    assert!(!in_place || size_of::<C>() == 2, "the derivative in place needs a C of bf16");
    if let Epilogue::AddResidual(r) | Epilogue::ReluSquaredGrad(r) = epilogue {
        assert!(r.len() >= needed, "operand is {m} x {n}, rows {ldc} apart, in {}", r.len());
    }
}

/// Length of scratch, in f32 values, that any product of at most m x n x k needs, whatever its element types.
pub fn gemm_scratch_len(cx: &Context, m: usize, n: usize, k: usize) -> usize {
    // Of operands in f32, which have the most lanes.
    let kept = driver::kept_len(cx, m, n, k);
    (kept + driver::scratch_len(cx, m, n, k)).max(few_rows::scratch_len(m, k))
}
