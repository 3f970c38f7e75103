//! Packing: operands are rearranged into panels that the micro-kernel reads from front to back, straight from wherever
//! and however they lie.

use super::matrix::Matrix;
use super::tile::{Block, Tile};

/// Steps of the depth that are copied together. Their source is asked for that many steps ahead: too far apart for the
/// hardware to foresee.
const STEPS: usize = 8;

/// Packs `src` (width x depth) into panels of `panel` rows: panel p holds, for each step d of the depth in turn, the
/// values (p·panel .. (p+1)·panel, d). Rows beyond the last one are zeros. A is packed as it is, B transposed.
///
/// Only steps `depth.start..depth.end` are written, so that tasks can share one packing; the panels are laid out for
/// the whole depth of `src`, at `out[p · panel · src.cols()]`.
///
/// # Safety
/// `out` must be valid for writing all panels, and nothing else may access the given steps meanwhile.
#[inline(always)]
pub(crate) unsafe fn pack<S: Tile>(
    s: S,
    src: Matrix<'_>,
    panel: usize,
    depth: std::ops::Range<usize>,
    out: *mut f32,
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

/// Depth lies contiguously: square blocks are transposed in registers, while the next panel's are asked for.
///
/// # Safety
/// As [`pack`].
#[inline(always)]
unsafe fn pack_transposing<S: Tile>(
    s: S,
    src: Matrix<'_>,
    panel: usize,
    depth: std::ops::Range<usize>,
    out: *mut f32,
) {
    let stride = src.row_stride();
    for first in (0..src.rows()).step_by(panel) {
        let start = first * src.cols();
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
                let block = Block { rows, depth: steps, step: panel, full, width };
                // SAFETY: source rows lie inside `src`; the destination is the caller's contract.
                unsafe {
                    let from = src.data().as_ptr().wrapping_add((first + col) * stride + d);
                    for r in 0..rows {
                        s.prefetch(from.wrapping_add((panel + r) * stride));
                    }
                    s.transpose(from, stride, out.add(start + d * panel + col), &block);
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
unsafe fn pack_copying<S: Tile>(
    s: S,
    src: Matrix<'_>,
    panel: usize,
    depth: std::ops::Range<usize>,
    out: *mut f32,
) {
    for from in depth.clone().step_by(STEPS) {
        let to = depth.end.min(from + STEPS);
        for first in (0..src.rows()).step_by(panel) {
            for col in (0..panel).step_by(S::LANES) {
                let start = first * src.cols() + col;
                for d in from..to {
                    let spills = d + 1 < depth.end;
                    // SAFETY: the caller's.
                    unsafe {
                        let out = out.add(start + d * panel);
                        copy_vector(s, src, first + col, panel - col, d, spills, out);
                    }
                }
            }
        }
    }
}

/// Copies a vector of step `d` from row `row` on. It may be wider than the `left` values that are left of the panel:
/// then, if it `spills`, it reaches into the next step of the panel, which is written later.
///
/// # Safety
/// `out` must be valid for writing what is copied.
#[inline(always)]
unsafe fn copy_vector<S: Tile>(
    s: S,
    src: Matrix<'_>,
    row: usize,
    left: usize,
    d: usize,
    spills: bool,
    out: *mut f32,
) {
    let there = src.rows().saturating_sub(row);
    let from = src.data().as_ptr().wrapping_add(d * src.col_stride() + row);
    s.prefetch(from.wrapping_add(STEPS * src.col_stride()));
    // SAFETY: `there` values from row `row` on lie inside `src`; the destination is the caller's contract.
    unsafe {
        let whole = there >= S::LANES;
        let v = if whole { s.load_ptr(from) } else { s.load_ptr_partial(from, there) };
        if left >= S::LANES || spills {
            s.store_ptr(out, v);
        } else {
            s.store_ptr_partial(out, v, left);
        }
    }
}

/// Neither lies contiguously: one value at a time.
///
/// # Safety
/// As [`pack`].
unsafe fn pack_strided(
    src: Matrix<'_>,
    panel: usize,
    depth: std::ops::Range<usize>,
    out: *mut f32,
) {
    for first in (0..src.rows()).step_by(panel) {
        for d in depth.clone() {
            for i in 0..panel {
                let value = if first + i < src.rows() {
                    src.data()[(first + i) * src.row_stride() + d * src.col_stride()]
                } else {
                    0.0
                };
                // SAFETY: the caller's.
                unsafe { *out.add(first * src.cols() + d * panel + i) = value };
            }
        }
    }
}
