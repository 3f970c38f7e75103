//! Gated addition: `x + scale·sigmoid(g)·y`, one gate per row.

use crate::math::sigmoid;
use crate::norm::row_dot;
use crate::parallel::{Raw, rows as row_groups, vectors};
use crate::simd::{Element, Simd};
use crate::{Context, simd_fn};

/// Rows of values with one gate each.
#[derive(Clone, Copy)]
pub struct Rows {
    /// Number of rows.
    pub rows: usize,
    /// Values of a row.
    pub width: usize,
    /// Factor of every gate.
    pub scale: f32,
}

/// Lanes of the widest vectors.
const MOST_LANES: usize = 16;

simd_fn! { fn forward_rows[X: Element](width: usize, x: *const X, y: *const X, gates: &[f32], scale: f32, out: *mut X) = forward_kernel }

#[inline(always)]
fn forward_kernel<S: Simd, X: Element>(
    s: S,
    width: usize,
    x: *const X,
    y: *const X,
    gates: &[f32],
    scale: f32,
    out: *mut X,
) {
    let mut open = [0.0; MOST_LANES];
    for row in 0..gates.len() {
        if row % S::LANES == 0 {
            s.store(&mut open, sigmoid(s, s.load_partial(&gates[row..])));
        }
        let factor = s.splat(scale * open[row % S::LANES]);
        let at = row * width;
        // SAFETY: the caller gives as many rows as gates.
        unsafe {
            let (x, y, out) = (x.add(at), y.add(at), out.add(at));
            vectors!(S, width, |i, n| {
                let (x, y) = (X::load_n(s, x.add(i), n), X::load_n(s, y.add(i), n));
                X::store_n(s, out.add(i), s.mul_add(factor, y, x), n);
            });
        }
    }
}

/// `out = x + scale·sigmoid(g)·y`.
///
/// # Safety
/// x, y and out must be valid for `rows · width` values, gates for `rows`; out may be x or y.
pub unsafe fn gated_add<X: Element>(
    cx: &Context,
    dims: Rows,
    x: *const X,
    y: *const X,
    gates: &[f32],
    out: *mut X,
) {
    let Rows { rows, width, scale } = dims;
    let (x, y, out) = (Raw::new(x), Raw::new(y), Raw::new(out));
    row_groups(cx, rows, width, &|first, count| {
        let at = first * width;
        let gates = &gates[first..first + count];
        // SAFETY: groups of rows are disjoint.
        unsafe {
            forward_rows(
                cx.isa,
                width,
                x.get().add(at),
                y.get().add(at),
                gates,
                scale,
                out.get().add(at),
            );
        }
    });
}

simd_fn! {
    fn backward_rows[X: Element](width: usize, y: *const X, gates: *const f32, dout: *const X, scale: f32, dy: *mut X, dg: &mut [f32]) = backward_kernel
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn backward_kernel<S: Simd, X: Element>(
    s: S,
    width: usize,
    y: *const X,
    gates: *const f32,
    dout: *const X,
    scale: f32,
    dy: *mut X,
    dg: &mut [f32],
) {
    let (mut open, rows) = ([0.0; MOST_LANES], dg.len());
    for (row, dg) in dg.iter_mut().enumerate() {
        let at = row * width;
        // SAFETY: the caller gives as many rows as gates.
        unsafe {
            if row % S::LANES == 0 {
                let gates = f32::load_n(s, gates.add(row), (rows - row).min(S::LANES));
                s.store(&mut open, sigmoid(s, gates));
            }
            let sig = open[row % S::LANES];
            let (y, dout, dy) = (y.add(at), dout.add(at), dy.add(at));
            *dg = scale * sig * (1.0 - sig) * row_dot(s, width, y, dout);
            let factor = s.splat(scale * sig);
            vectors!(S, width, |i, n| {
                X::store_n(s, dy.add(i), s.mul(factor, X::load_n(s, dout.add(i), n)), n);
            });
        }
    }
}

/// `dy = scale·σ(g)·dout`, `dg = scale·σ(g)(1-σ(g))·sum(y·dout)` per row.
///
/// # Safety
/// y, dout and dy must be valid for `rows · width` values, gates for `rows`; dy may be y or dout.
pub unsafe fn gated_add_grad<X: Element>(
    cx: &Context,
    dims: Rows,
    y: *const X,
    gates: *const f32,
    dout: *const X,
    dy: *mut X,
    dg: &mut [f32],
) {
    let Rows { rows, width, scale } = dims;
    let (y, gates, dout, dy) = (Raw::new(y), Raw::new(gates), Raw::new(dout), Raw::new(dy));
    let all = crate::pool::SharedSlice::new(dg);
    row_groups(cx, rows, width, &|first, count| {
        let at = first * width;
        // SAFETY: groups of rows are disjoint.
        unsafe {
            let (y, dout, dy) = (y.get().add(at), dout.get().add(at), dy.get().add(at));
            let gates = gates.get().add(first);
            backward_rows(cx.isa, width, y, gates, dout, scale, dy, all.range(first, count));
        }
    });
}
