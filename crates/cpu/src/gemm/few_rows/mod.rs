//! Products of a few rows with a big transposed matrix (y = x wᵀ while decoding): w is streamed from memory once, as it
//! lies. Packing it would cost more than the product.
//!
//! Threads take blocks of rows of w, each from a range of its own as long as that lasts (`shares`), so that each reads
//! memory from front to back. For the fewest rows of x, vectors run along the inner dimension (`dots`); for more, they
//! hold one value of each row of x, packed for that (`lanes`). Either way a sum depends on the inner dimension alone, so
//! results have the same bits for any number of threads.

mod dots;
mod lanes;
mod shares;

use super::matrix::Matrix;
use super::operand::Operand;
use super::sink::Dense;
use super::tile::{LINE, Tile};
use crate::simd::{Element, Simd};
use crate::{Context, simd_fn};
use lanes::pack as pack_kernel;
use shares::Shares;
use std::ops::Range;

/// Most rows of x that this path takes.
const MAX_ROWS: usize = 32;

/// Most rows of x whose dot products are taken one by one.
const DOT_ROWS: usize = 8;

/// The same where x takes more than [`TALL`]: packed, it is read once for sixteen rows of w.
const TALL_DOT_ROWS: usize = 4;

/// Most bytes of x that stay in a first-level cache while rows of w pass by.
const TALL: usize = 32 << 10;

/// Rows of w in a block.
const BLOCK: usize = 16;

/// Bytes of w from which on it pays to wake other threads.
const PARALLEL_FROM: usize = 96 << 10;

/// Bytes by which a thread asks for w ahead of its use, all rows at hand together.
const AHEAD: usize = 16 << 10;

/// Sums of one block: those of each row of x.
#[repr(align(64))]
struct Sums([[f32; BLOCK]; MAX_ROWS]);

/// Whether this path suits the product.
pub(super) fn suits<T: Operand>(a: &Matrix<'_, T>, b: &Matrix<'_, T>) -> bool {
    a.rows() <= MAX_ROWS && a.has_contiguous_rows() && b.t().has_contiguous_rows()
}

/// Whether x is to be packed.
fn packs<T: Operand>(x: &Matrix<'_, T>) -> bool {
    x.rows() > if is_tall(x) { TALL_DOT_ROWS } else { DOT_ROWS }
}

/// Whether x leaves no room for w in a first-level cache.
fn is_tall<T: Operand>(x: &Matrix<'_, T>) -> bool {
    x.rows() * x.cols() * size_of::<T>() > TALL
}

/// Length of scratch, in f32 values, for a product of at most m rows.
pub(super) fn scratch_len(m: usize, k: usize) -> usize {
    if m <= TALL_DOT_ROWS { 0 } else { LINE + k.saturating_mul(MAX_ROWS) }
}

/// A product to compute.
#[derive(Clone, Copy)]
struct Product<'a, T, C> {
    x: Matrix<'a, T>,
    w: Matrix<'a, T>,
    /// The rows of x, packed, or null where [`packs`] says that they are read as they lie.
    packed: *const T,
    output: Dense<'a, C>,
}

// SAFETY: `packed` is only read while tasks run, and blocks of the output are disjoint.
unsafe impl<T: Operand, C: Element> Send for Product<'_, T, C> {}
// SAFETY: as above.
unsafe impl<T: Operand, C: Element> Sync for Product<'_, T, C> {}

/// C = A·B, where [`suits`]; shapes are the caller's to check.
///
/// # Panics
/// When `scratch` is shorter than [`scratch_len`].
pub(super) fn run<T: Operand, C: Element>(
    cx: &Context,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    output: Dense<'_, C>,
    scratch: &mut [f32],
) {
    let packed = if packs(&a) {
        assert!(scratch.len() >= scratch_len(a.rows(), a.cols()), "scratch of {}", scratch.len());
        let skip = scratch.as_ptr().align_offset(64).min(LINE);
        pack(cx.isa, a, &mut scratch[skip..])
    } else {
        std::ptr::null()
    };
    let product = Product { x: a, w: b.t(), packed, output };
    let blocks = b.cols().div_ceil(BLOCK);
    let bytes = b.rows() * b.cols() * size_of::<T>();
    if cx.pool.threads() == 1 || bytes < PARALLEL_FROM {
        stream(cx.isa, product, 0..b.cols());
        return;
    }
    let shares = Shares::new(blocks, cx.pool.threads());
    cx.pool.run(cx.pool.threads(), &|number, _| {
        shares.work(number, |block| {
            let from = block * BLOCK;
            stream(cx.isa, product, from..b.cols().min(from + BLOCK));
        });
    });
}

simd_fn! { fn pack[T: Operand](x: Matrix<'_, T>, out: &mut [f32]) -> *const T = pack_kernel }

simd_fn! { fn stream[T: Operand, C: Element](product: Product<'_, T, C>, rows: Range<usize>) = stream_kernel }
#[inline(always)]
fn stream_kernel<S: Tile, T: Operand, C: Element>(
    s: S,
    product: Product<'_, T, C>,
    rows: Range<usize>,
) {
    let mut sums = Sums([[0.0; BLOCK]; MAX_ROWS]);
    for from in rows.clone().step_by(BLOCK) {
        let block = from..rows.end.min(from + BLOCK);
        if product.packed.is_null() {
            dots::block(s, product.x, product.w, block.clone(), &mut sums);
        } else {
            // SAFETY: `run` has packed x.
            unsafe {
                lanes::block(
                    s,
                    product.x.rows(),
                    product.packed,
                    product.w,
                    block.clone(),
                    &mut sums,
                )
            };
        }
        write(s, product.output, product.x.rows(), block, &sums);
    }
}

/// Hands the sums of a block over.
#[inline(always)]
fn write<S: Simd, C: Element>(
    s: S,
    output: Dense<'_, C>,
    rows: usize,
    block: Range<usize>,
    sums: &Sums,
) {
    for (i, sums) in sums.0.iter().enumerate().take(rows) {
        for from in (0..block.len()).step_by(S::LANES) {
            let part = &sums[from..block.len().min(from + S::LANES)];
            let offset = i * output.ldc + block.start + from;
            // SAFETY: C has these elements of row i, and no other task writes them.
            unsafe {
                output.write_vector(s, offset, part.len(), s.load_partial(part), (true, true));
            }
        }
    }
}
