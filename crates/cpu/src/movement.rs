//! Kernels that move values between positions and columns.

use crate::Context;
use crate::embed::convert;
use crate::parallel::rows as row_groups;
use crate::pool::SharedSlice;
use crate::simd::Element;

/// Columns `start..start + len` of rows of `width`.
pub(crate) fn slice_last<X: Element, Y: Element>(
    cx: &Context,
    x: &[X],
    width: usize,
    start: usize,
    out: &mut [Y],
) {
    let rows = x.len() / width.max(1);
    let len = out.len() / rows.max(1);
    let out = SharedSlice::new(out);
    row_groups(cx, rows, len, &|first, count| {
        // SAFETY: groups of rows are disjoint.
        let part = unsafe { out.range(first * len, count * len) };
        for (row, to) in part.chunks_exact_mut(len.max(1)).enumerate() {
            let from = (first + row) * width + start;
            convert(cx.isa, &x[from..from + len], to);
        }
    });
}

/// Rows of x put at column `start` of rows of `width`; `add` keeps what is there and adds, else the rest becomes 0.
pub(crate) fn pad_last(
    cx: &Context,
    x: &[f32],
    width: usize,
    start: usize,
    add: bool,
    out: &mut [f32],
) {
    let rows = out.len() / width.max(1);
    let len = x.len() / rows.max(1);
    let out = SharedSlice::new(out);
    row_groups(cx, rows, width, &|first, count| {
        // SAFETY: groups of rows are disjoint.
        let part = unsafe { out.range(first * width, count * width) };
        for (row, to) in part.chunks_exact_mut(width.max(1)).enumerate() {
            let from = &x[(first + row) * len..][..len];
            if !add {
                to.fill(0.0);
            }
            to[start..start + len].iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
    });
}

/// `[B, T, C]` moved by one position, later or (`back`) earlier; `previous` `[B, C]` fills the gap at t = 0, else zeros.
/// With `add`, what `out` holds stays and the moved values are added.
pub(crate) fn shift_time(
    cx: &Context,
    x: &[f32],
    (batch, tokens, width): (usize, usize, usize),
    back: bool,
    previous: Option<&[f32]>,
    add: bool,
    out: &mut [f32],
) {
    let out = SharedSlice::new(out);
    row_groups(cx, batch * tokens, width, &|first, count| {
        // SAFETY: groups of rows are disjoint.
        let part = unsafe { out.range(first * width, count * width) };
        for (row, to) in (first..).zip(part.chunks_exact_mut(width.max(1))) {
            let (b, t) = (row / tokens, row % tokens);
            let from = match back {
                false if t > 0 => Some(&x[(row - 1) * width..][..width]),
                false => previous.map(|p| &p[b * width..][..width]),
                true if t + 1 < tokens => Some(&x[(row + 1) * width..][..width]),
                true => None,
            };
            match (from, add) {
                (Some(from), true) => to.iter_mut().zip(from).for_each(|(to, from)| *to += from),
                (Some(from), false) => to.copy_from_slice(from),
                (None, true) => {}
                (None, false) => to.fill(0.0),
            }
        }
    });
}

/// `out[t] = (1/order)·Σ_{j<order} x[t-j]` (or `x[t+j]`) of `[B, T, C]`; missing positions count as 0.
pub(crate) fn causal_mean(
    cx: &Context,
    x: &[f32],
    (batch, tokens, width): (usize, usize, usize),
    (order, transposed): (usize, bool),
    out: &mut [f32],
) {
    let out = SharedSlice::new(out);
    let factor = 1.0 / order as f32;
    row_groups(cx, batch * tokens, width, &|first, count| {
        // SAFETY: groups of rows are disjoint.
        let part = unsafe { out.range(first * width, count * width) };
        for (row, to) in (first..).zip(part.chunks_exact_mut(width.max(1))) {
            let t = row % tokens;
            let there = if transposed { tokens - t } else { t + 1 };
            to.fill(0.0);
            for j in 0..order.min(there) {
                let from = if transposed { row + j } else { row - j };
                to.iter_mut().zip(&x[from * width..][..width]).for_each(|(to, from)| *to += from);
            }
            to.iter_mut().for_each(|to| *to *= factor);
        }
    });
}

/// `x[b, index[b]]` of `[B, T, C]`.
///
/// # Panics
/// When an index is not below T.
pub(crate) fn select_time(x: &[f32], tokens: usize, width: usize, index: &[i32], out: &mut [f32]) {
    for ((b, &t), to) in index.iter().enumerate().zip(out.chunks_exact_mut(width.max(1))) {
        let t =
            usize::try_from(t).ok().filter(|t| *t < tokens).expect("the index lies inside the row");
        to.copy_from_slice(&x[(b * tokens + t) * width..][..width]);
    }
}
