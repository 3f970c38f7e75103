//! Kernels that move values between positions and columns.

use crate::parallel::{rows as row_groups, vectors};
use crate::pool::SharedSlice;
use crate::simd::{Element, Simd};
use crate::{Context, simd_fn};

simd_fn! {
    /// Copies values, rounding where Y is narrower.
    pub(crate) fn convert[X: Element, Y: Element](x: &[X], y: &mut [Y]) = convert_kernel
}
#[inline(always)]
fn convert_kernel<S: Simd, X: Element, Y: Element>(s: S, x: &[X], y: &mut [Y]) {
    assert_eq!(x.len(), y.len());
    let (from, to) = (x.as_ptr(), y.as_mut_ptr());
    vectors!(S, x.len(), |i, n| {
        // SAFETY: n values are left in both.
        unsafe { Y::store_n(s, to.add(i), X::load_n(s, from.add(i), n), n) };
    });
}

/// Copies a row while bringing the next one near: rows that lie apart are not foreseen by the hardware.
///
/// # Safety
/// x must be valid for reading and y for writing n values; `next` may be any address.
#[inline(always)]
pub(crate) unsafe fn copy_row<S: Simd, X: Element, Y: Element>(
    s: S,
    n: usize,
    x: *const X,
    next: *const X,
    y: *mut Y,
) {
    vectors!(S, n, |i, len| {
        s.prefetch(next.wrapping_add(i).cast());
        // SAFETY: the caller's.
        unsafe { Y::store_n(s, y.add(i), X::load_n(s, x.add(i), len), len) };
    });
}

/// `y = keep·y + x`; y is not read when `keep` is 0.
#[inline(always)]
pub(crate) fn add_row<S: Simd, X: Element>(s: S, keep: f32, x: &[X], y: &mut [f32]) {
    assert_eq!(x.len(), y.len());
    let (n, x, y, zero) = (x.len(), x.as_ptr(), y.as_mut_ptr(), s.splat(0.0));
    if keep == 0.0 {
        vectors!(S, n, |i, len| {
            // SAFETY: the indices stay below n.
            unsafe { f32::store_n(s, y.add(i), s.add(zero, X::load_n(s, x.add(i), len)), len) };
        });
    } else if keep == 1.0 {
        vectors!(S, n, |i, len| {
            // SAFETY: the indices stay below n.
            unsafe {
                let (x, before) = (X::load_n(s, x.add(i), len), f32::load_n(s, y.add(i), len));
                f32::store_n(s, y.add(i), s.add(before, x), len);
            }
        });
    } else {
        let keep = s.splat(keep);
        vectors!(S, n, |i, len| {
            // SAFETY: the indices stay below n.
            unsafe {
                let (x, before) = (X::load_n(s, x.add(i), len), f32::load_n(s, y.add(i), len));
                f32::store_n(s, y.add(i), s.add(s.mul(keep, before), x), len);
            }
        });
    }
}

simd_fn! {
    /// `y += x`
    fn add_to(x: &[f32], y: &mut [f32]) = add_to_kernel
}
#[inline(always)]
fn add_to_kernel<S: Simd>(s: S, x: &[f32], y: &mut [f32]) {
    add_row(s, 1.0, x, y);
}

/// Columns `start..start + len` of rows of `width`.
pub fn slice_last<X: Element, Y: Element>(
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
        let out = unsafe { out.range(first * len, count * len) };
        slice_rows(cx.isa, &x[first * width..][..count * width], width, start, len, out);
    });
}

simd_fn! { fn slice_rows[X: Element, Y: Element](x: &[X], width: usize, start: usize, len: usize, out: &mut [Y]) = slice_kernel }
#[inline(always)]
fn slice_kernel<S: Simd, X: Element, Y: Element>(
    s: S,
    x: &[X],
    width: usize,
    start: usize,
    len: usize,
    out: &mut [Y],
) {
    for row in 0..x.len() / width.max(1) {
        let (from, to) = (&x[row * width + start..][..len], &mut out[row * len..][..len]);
        let next = from.as_ptr().wrapping_add(width);
        // SAFETY: both have `len` values.
        unsafe { copy_row(s, len, from.as_ptr(), next, to.as_mut_ptr()) };
    }
}

/// Rows of x put at column `start` of rows of `width`; `add` keeps what is there and adds, else the rest becomes 0.
pub fn pad_last(cx: &Context, x: &[f32], width: usize, start: usize, add: bool, out: &mut [f32]) {
    let rows = out.len() / width.max(1);
    let len = x.len() / rows.max(1);
    let out = SharedSlice::new(out);
    row_groups(cx, rows, width, &|first, count| {
        // SAFETY: groups of rows are disjoint.
        let out = unsafe { out.range(first * width, count * width) };
        pad_rows(cx.isa, &x[first * len..][..count * len], len, width, start, add, out);
    });
}

simd_fn! {
    fn pad_rows(x: &[f32], len: usize, width: usize, start: usize, add: bool, out: &mut [f32]) = pad_kernel
}
#[inline(always)]
fn pad_kernel<S: Simd>(
    s: S,
    x: &[f32],
    len: usize,
    width: usize,
    start: usize,
    add: bool,
    out: &mut [f32],
) {
    for (row, to) in out.chunks_exact_mut(width.max(1)).enumerate() {
        if !add {
            to[..start].fill(0.0);
            to[start + len..].fill(0.0);
        }
        let keep = if add { 1.0 } else { 0.0 };
        add_row(s, keep, &x[row * len..][..len], &mut to[start..start + len]);
    }
}

/// `[B, T, C]` moved by one position, later or (`back`) earlier; `previous` `[B, C]` fills the gap at t = 0, else zeros.
/// With `add`, what `out` holds stays and the moved values are added.
pub fn shift_time(
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
                (Some(from), true) => add_to(cx.isa, from, to),
                (Some(from), false) => to.copy_from_slice(from),
                (None, true) => {}
                (None, false) => to.fill(0.0),
            }
        }
    });
}

/// `out[t] = (1/order)·Σ_{j<order} x[t-j]` (or `x[t+j]`) of `[B, T, C]`; missing positions count as 0.
pub fn causal_mean(
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
            let near = order.min(there);
            let first = if transposed { row } else { row + 1 - near };
            mean_row(cx.isa, &x[first * width..][..near * width], transposed, factor, to);
        }
    });
}

simd_fn! {
    /// Sums the rows of x, the last first unless `forward`, times `factor`.
    fn mean_row(x: &[f32], forward: bool, factor: f32, out: &mut [f32]) = mean_kernel
}
#[inline(always)]
fn mean_kernel<S: Simd>(s: S, x: &[f32], forward: bool, factor: f32, out: &mut [f32]) {
    let (width, factor) = (out.len(), s.splat(factor));
    let rows = x.len() / width;
    let (x, out) = (x.as_ptr(), out.as_mut_ptr());
    vectors!(S, width, |i, n| {
        let mut sum = s.splat(0.0);
        for j in 0..rows {
            let row = if forward { j } else { rows - 1 - j };
            // SAFETY: the row lies inside x.
            sum = s.add(sum, unsafe { f32::load_n(s, x.add(row * width + i), n) });
        }
        // SAFETY: n values are left.
        unsafe { f32::store_n(s, out.add(i), s.mul(sum, factor), n) };
    });
}

/// `x[b, index[b]]` of `[B, T, C]`.
///
/// # Panics
/// When an index is not below T.
pub fn select_time(x: &[f32], tokens: usize, width: usize, index: &[i32], out: &mut [f32]) {
    for ((b, &t), to) in index.iter().enumerate().zip(out.chunks_exact_mut(width.max(1))) {
        let t =
            usize::try_from(t).ok().filter(|t| *t < tokens).expect("the index lies inside the row");
        to.copy_from_slice(&x[(b * tokens + t) * width..][..width]);
    }
}
