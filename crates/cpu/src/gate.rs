//! Gated addition: `x + scale·sigmoid(g)·y`, one gate per row.

use crate::norm::row_dot;
use crate::parallel::{Raw, rows as row_groups};
use crate::simd::{Element, Simd};
use crate::{Context, simd_fn};

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Rows of values with one gate each.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    pub rows: usize,
    pub width: usize,
    /// Factor of every gate.
    pub scale: f32,
}

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
    for (row, &g) in gates.iter().enumerate() {
        let factor = s.splat(scale * sigmoid(g));
        let (at, end) = (row * width, (row + 1) * width);
        for i in (at..end).step_by(S::LANES) {
            let n = (end - i).min(S::LANES);
            // SAFETY: the caller gives as many rows as gates.
            unsafe {
                let (x, y) = (X::load_n(s, x.add(i), n), X::load_n(s, y.add(i), n));
                X::store_n(s, out.add(i), s.mul_add(factor, y, x), n);
            }
        }
    }
}

/// `out = x + scale·sigmoid(g)·y`.
///
/// # Safety
/// x, y and out must be valid for `rows · width` values, gates for `rows`; out may be x or y.
pub(crate) unsafe fn gated_add<X: Element>(
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
    for (row, dg) in dg.iter_mut().enumerate() {
        let (at, end) = (row * width, (row + 1) * width);
        // SAFETY: the caller gives as many rows as gates.
        unsafe {
            let sig = sigmoid(*gates.add(row));
            *dg = scale * sig * (1.0 - sig) * row_dot(s, width, y.add(at), dout.add(at));
            let factor = s.splat(scale * sig);
            for i in (at..end).step_by(S::LANES) {
                let n = (end - i).min(S::LANES);
                X::store_n(s, dy.add(i), s.mul(factor, X::load_n(s, dout.add(i), n)), n);
            }
        }
    }
}

/// `dy = scale·σ(g)·dout`, `dg = scale·σ(g)(1-σ(g))·sum(y·dout)` per row.
///
/// # Safety
/// y, dout and dy must be valid for `rows · width` values, gates for `rows`; dy may be y or dout.
pub(crate) unsafe fn gated_add_grad<X: Element>(
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
