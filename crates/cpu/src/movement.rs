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

/// `[B, T, C]` moved by one position, later or (`back`) earlier; the gap is 0. With `add`, what `out` holds stays and the
/// moved values are added.
pub fn shift_time(
    cx: &Context,
    x: &[f32],
    (batch, tokens, width): (usize, usize, usize),
    back: bool,
    add: bool,
    out: &mut [f32],
) {
    let out = SharedSlice::new(out);
    row_groups(cx, batch * tokens, width, &|first, count| {
        // SAFETY: groups of rows are disjoint.
        let part = unsafe { out.range(first * width, count * width) };
        for (row, to) in (first..).zip(part.chunks_exact_mut(width.max(1))) {
            let t = row % tokens;
            let from = match back {
                false if t > 0 => Some(&x[(row - 1) * width..][..width]),
                true if t + 1 < tokens => Some(&x[(row + 1) * width..][..width]),
                _ => None,
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

/// A cache of single values `[B, capacity, C]`, and where each of its rows goes on.
#[derive(Clone, Copy)]
pub struct ValuesCache<'a> {
    /// The entries.
    pub values: &'a [f32],
    /// C.
    pub width: usize,
    /// Position of each row's first new entry; below 0 counts as 0.
    pub start: &'a [i32],
}

impl ValuesCache<'_> {
    /// Entries of row `b` at `count` positions up to `last`; fewer where the row begins or the cache ends.
    fn latest(&self, b: usize, last: usize, count: usize) -> &[f32] {
        let capacity = self.values.len() / (self.start.len() * self.width).max(1);
        let row = &self.values[b * capacity * self.width..][..capacity * self.width];
        let (first, end) =
            ((last + 1).saturating_sub(count).min(capacity), (last + 1).min(capacity));
        &row[first * self.width..end * self.width]
    }

    fn position(&self, b: usize, t: usize) -> usize {
        self.start[b].max(0) as usize + t
    }
}

/// The entries one position before each of `tokens` new ones, 0 before the first.
pub fn shift_time_cached(cache: ValuesCache<'_>, tokens: usize, out: &mut [f32]) {
    for (row, to) in out.chunks_exact_mut(cache.width.max(1)).enumerate() {
        let (b, t) = (row / tokens, row % tokens);
        match cache.position(b, t).checked_sub(1).map(|before| cache.latest(b, before, 1)) {
            Some(from) if !from.is_empty() => to.copy_from_slice(from),
            _ => to.fill(0.0),
        }
    }
}

/// The means of the `order` latest entries at `tokens` new positions; those before the first count as 0. The sums are those
/// of [`causal_mean`], to the bit.
pub fn causal_mean_cached(
    cx: &Context,
    cache: ValuesCache<'_>,
    order: usize,
    tokens: usize,
    out: &mut [f32],
) {
    for (row, to) in out.chunks_exact_mut(cache.width.max(1)).enumerate() {
        let (b, t) = (row / tokens, row % tokens);
        let latest = cache.latest(b, cache.position(b, t), order);
        mean_row(cx.isa, latest, false, 1.0 / order as f32, to);
    }
}

/// `[a, b]` row by row, of rows of `widths`.
pub fn concat<X: Element>(cx: &Context, a: &[X], b: &[X], widths: (usize, usize), out: &mut [X]) {
    let width = widths.0 + widths.1;
    let rows = out.len() / width.max(1);
    let out = SharedSlice::new(out);
    row_groups(cx, rows, width, &|first, count| {
        // SAFETY: groups of rows are disjoint.
        let part = unsafe { out.range(first * width, count * width) };
        for (row, to) in (first..).zip(part.chunks_exact_mut(width)) {
            let (left, right) = to.split_at_mut(widths.0);
            left.copy_from_slice(&a[row * widths.0..][..widths.0]);
            right.copy_from_slice(&b[row * widths.1..][..widths.1]);
        }
    });
}

/// The ids of rows of `tokens` one position later, and `last` at the end of each.
pub fn next_ids(ids: &[i32], tokens: usize, last: i32, out: &mut [i32]) {
    for (from, to) in ids.chunks_exact(tokens.max(1)).zip(out.chunks_exact_mut(tokens.max(1))) {
        to[..tokens - 1].copy_from_slice(&from[1..]);
        to[tokens - 1] = last;
    }
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
