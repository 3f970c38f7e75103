//! Packing: operands are rearranged into panels that the micro-kernel reads from front to back, straight from wherever
//! and however they lie.

use super::matrix::Matrix;
use super::operand::Operand;
use super::tile::{Block, Tile};
use std::ops::Range;

/// Steps of the depth that are copied together. Their source is asked for that many steps ahead: too far apart for the
/// hardware to foresee.
const STEPS: usize = 8;

/// Packs `src` (width x depth) into panels of `panel` rows: panel p holds, for each lane d of the depth in turn, the
/// lanes (p·panel .. (p+1)·panel, d). Rows beyond the last one are zeros, and so is what the last lane lacks. A is packed
/// as it is, B transposed.
///
/// Only lanes `depth.start..depth.end` are written, so that tasks can share one packing; the panels are laid out for
/// the whole depth of `src`, at lane `p · panel · lanes(src)` of `out`.
///
/// # Safety
/// `out` must be valid for writing all panels, and nothing else may access the given lanes meanwhile.
#[inline(always)]
pub(crate) unsafe fn pack<S: Tile, T: Operand>(
    s: S,
    src: Matrix<'_, T>,
    panel: usize,
    depth: Range<usize>,
    out: *mut T,
) {
    // SAFETY: the caller's.
    unsafe {
        if src.col_stride() == 1 {
            pack_transposing(s, src, panel, depth, out);
        } else if src.row_stride() == 1 {
            pack_copying(s, src, panel, depth, out);
        } else {
            pack_strided(src, panel, depth, out);
        }
    }
}

/// Lanes of the depth.
fn lanes<T: Operand>(src: &Matrix<'_, T>) -> usize {
    src.cols().div_ceil(T::PER_LANE)
}

/// Depth lies contiguously: square blocks are transposed in registers, while the next panel's are asked for.
///
/// # Safety
/// As [`pack`].
#[inline(always)]
unsafe fn pack_transposing<S: Tile, T: Operand>(
    s: S,
    src: Matrix<'_, T>,
    panel: usize,
    depth: Range<usize>,
    out: *mut T,
) {
    let (stride, all) = (src.row_stride(), lanes(&src));
    for first in (0..src.rows()).step_by(panel) {
        let start = first * all;
        for col in (0..panel).step_by(S::LANES) {
            let width = S::LANES.min(panel - col);
            let rows = width.min(src.rows().saturating_sub(first + col));
            let mut d = depth.start;
            while d < depth.end {
                let steps = S::LANES.min(depth.end - d);
                // A vector that is wider than what is left of its row spills into the next one, which is written
                // later; the last row of this range has no such next one.
                let full =
                    if width == S::LANES || d + steps < depth.end { steps } else { steps - 1 };
                let values = (steps * T::PER_LANE).min(src.cols() - d * T::PER_LANE);
                let block = Block { rows, depth: steps, values, step: panel, full, width };
                // SAFETY: source rows lie inside `src`; the destination is the caller's contract.
                unsafe {
                    let from =
                        src.data().as_ptr().wrapping_add((first + col) * stride + d * T::PER_LANE);
                    for r in 0..rows {
                        s.prefetch(from.wrapping_add((panel + r) * stride).cast());
                    }
                    let to = out.add((start + d * panel + col) * T::PER_LANE);
                    s.transpose(from, stride, to, &block);
                }
                d += steps;
            }
        }
    }
}

/// Width lies contiguously: rows of the panels are copied, a few steps of the depth at a time. The source's lines of
/// different steps are often a multiple of 4 KB apart, as are those of different panels: they share few places of a
/// first-level cache, so that neither all steps of a panel nor all panels of a step can go first.
///
/// # Safety
/// As [`pack`].
#[inline(always)]
unsafe fn pack_copying<S: Tile, T: Operand>(
    s: S,
    src: Matrix<'_, T>,
    panel: usize,
    depth: Range<usize>,
    out: *mut T,
) {
    let all = lanes(&src);
    // Pairs of panels that are half a vector wide are filled together.
    let paired = if 2 * panel == S::LANES { src.rows() / S::LANES * S::LANES } else { 0 };
    for from in depth.clone().step_by(STEPS) {
        let to = depth.end.min(from + STEPS);
        for first in (0..paired).step_by(S::LANES) {
            for d in from..to {
                // SAFETY: the caller's; both panels exist.
                unsafe {
                    let low = out.add((first * all + d * panel) * T::PER_LANE).cast::<f32>();
                    let v = vector_across(s, src, first, S::LANES, d);
                    s.store_halves_ptr(low, low.add(panel * all), v);
                }
            }
        }
        for first in (paired..src.rows()).step_by(panel) {
            for col in (0..panel).step_by(S::LANES) {
                let start = first * all + col;
                for d in from..to {
                    let spills = d + 1 < depth.end;
                    // SAFETY: the caller's.
                    unsafe {
                        let out = out.add((start + d * panel) * T::PER_LANE);
                        copy_vector(s, src, first + col, panel - col, d, spills, out);
                    }
                }
            }
        }
    }
}

/// Copies a vector of step `d` from row `row` on. It may be wider than the `left` lanes that are left of the panel:
/// then, if it `spills`, it reaches into the next step of the panel, which is written later.
///
/// # Safety
/// `out` must be valid for writing what is copied.
#[inline(always)]
unsafe fn copy_vector<S: Tile, T: Operand>(
    s: S,
    src: Matrix<'_, T>,
    row: usize,
    left: usize,
    d: usize,
    spills: bool,
    out: *mut T,
) {
    let there = src.rows().saturating_sub(row).min(S::LANES);
    // SAFETY: the destination is the caller's contract, and packed memory is aligned for lanes.
    unsafe {
        let v = vector_across(s, src, row, there, d);
        if left >= S::LANES || spills {
            s.store_ptr(out.cast(), v);
        } else {
            s.store_ptr_partial(out.cast(), v, left);
        }
    }
}

/// The bits of lane `d` of the depth in `there <= LANES` rows from `row` on, which must exist.
#[inline(always)]
fn vector_across<S: Tile, T: Operand>(
    s: S,
    src: Matrix<'_, T>,
    row: usize,
    there: usize,
    d: usize,
) -> S::V {
    let (line, stride) = (d * T::PER_LANE, src.col_stride());
    let from = src.data().as_ptr().wrapping_add(line * stride + row);
    let ahead = from.wrapping_add(STEPS * T::PER_LANE * stride);
    s.prefetch(ahead.cast());
    let second = (T::PER_LANE == 2 && line + 1 < src.cols()).then(|| {
        s.prefetch(ahead.wrapping_add(stride).cast());
        from.wrapping_add(stride)
    });
    // SAFETY: these values lie inside `src`.
    T::bits(s, unsafe { T::across(s, from, second, there) })
}

/// Neither lies contiguously: one value at a time.
///
/// # Safety
/// As [`pack`].
unsafe fn pack_strided<T: Operand>(
    src: Matrix<'_, T>,
    panel: usize,
    depth: Range<usize>,
    out: *mut T,
) {
    let all = lanes(&src);
    for first in (0..src.rows()).step_by(panel) {
        for d in depth.clone() {
            for (i, part) in (0..panel).flat_map(|i| (0..T::PER_LANE).map(move |part| (i, part))) {
                let (row, col) = (first + i, d * T::PER_LANE + part);
                let value = if row < src.rows() && col < src.cols() {
                    src.data()[row * src.row_stride() + col * src.col_stride()]
                } else {
                    T::ZERO
                };
                let at = (first * all + d * panel + i) * T::PER_LANE + part;
                // SAFETY: the caller's.
                unsafe { *out.add(at) = value };
            }
        }
    }
}
