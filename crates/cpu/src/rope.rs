//! Rotary embedding, alone and fused with the norm of queries and keys.
//!
//! Layouts: x `[rows, H, D]`, a table `[rows, D]` with D/2 cosines, then D/2 sines, for the rows' positions.

use crate::norm::row_dot;
use crate::parallel::{Raw, rows as row_groups};
use crate::simd::Simd;
use crate::{Context, simd_fn};

/// Rotations of `tokens` positions from each of `start` on, into `table` `[B, tokens, D]`. Angles are computed in f64: at
/// position 10,000 an f32 product would already be off by 1e-3.
pub(crate) fn table(
    cx: &Context,
    base: f32,
    tokens: usize,
    head_dim: usize,
    start: &[i32],
    table: &mut [f32],
) {
    let half = head_dim / 2;
    let shared = crate::pool::SharedSlice::new(table);
    let frequency = |j: usize| f64::from(base).powf(-2.0 * j as f64 / head_dim as f64);
    cx.pool.run(half, &|j, _| {
        let f = frequency(j);
        for (b, &first) in start.iter().enumerate() {
            // Rows that begin at one position share their rotations; the first of them computes.
            let twin = start[..b].iter().position(|s| *s == first);
            for t in 0..tokens {
                let at = (b * tokens + t) * head_dim + j;
                let (sin, cos) = match twin {
                    Some(twin) => {
                        let from = (twin * tokens + t) * head_dim + j;
                        // SAFETY: column j belongs to this task alone.
                        unsafe { (shared.range(from + half, 1)[0], shared.range(from, 1)[0]) }
                    }
                    None => {
                        let (sin, cos) = ((f64::from(first) + t as f64) * f).sin_cos();
                        (sin as f32, cos as f32)
                    }
                };
                // SAFETY: columns j and half + j belong to this task alone.
                unsafe {
                    shared.range(at, 1)[0] = cos;
                    shared.range(at + half, 1)[0] = sin;
                }
            }
        }
    });
}

/// Shape of what is rotated.
#[derive(Clone, Copy)]
pub(crate) struct Dims {
    /// B·T.
    pub rows: usize,
    pub heads: usize,
    pub head_dim: usize,
}

/// Rotates one head by the row's table; `sign` -1 rotates back. `y` may be `x`.
///
/// # Safety
/// x, y and table must be valid for `d` values.
#[inline(always)]
unsafe fn rotate<S: Simd>(
    s: S,
    d: usize,
    x: *const f32,
    table: *const f32,
    sign: f32,
    factor: f32,
    y: *mut f32,
) {
    let half = d / 2;
    let (sign, factor) = (s.splat(sign), s.splat(factor));
    let mut j = 0;
    while j < half {
        let n = (half - j).min(S::LANES);
        // SAFETY: j + n <= half.
        unsafe {
            let load = |p: *const f32| s.load_ptr_partial(p, n);
            let (x1, x2) = (load(x.add(j)), load(x.add(half + j)));
            let cos = s.mul(factor, load(table.add(j)));
            let sin = s.mul(factor, s.mul(sign, load(table.add(half + j))));
            s.store_ptr_partial(y.add(j), s.mul_add(x1, cos, s.mul(x2, sin)), n);
            s.store_ptr_partial(y.add(half + j), s.sub(s.mul(x2, cos), s.mul(x1, sin)), n);
        }
        j += n;
    }
}

simd_fn! { fn rotate_rows(dims: Dims, sign: f32, x: *const f32, table: *const f32, y: *mut f32) = rotate_kernel }

#[inline(always)]
fn rotate_kernel<S: Simd>(
    s: S,
    dims: Dims,
    sign: f32,
    x: *const f32,
    table: *const f32,
    y: *mut f32,
) {
    let d = dims.head_dim;
    for row in 0..dims.rows {
        for head in 0..dims.heads {
            let at = (row * dims.heads + head) * d;
            // SAFETY: the caller's operands hold `rows` rows.
            unsafe { rotate(s, d, x.add(at), table.add(row * d), sign, 1.0, y.add(at)) };
        }
    }
}

/// Rotates every head of x, or back.
///
/// # Safety
/// x and y must be valid for `rows·heads·head_dim` values, table for `rows·head_dim`; y may be x.
pub(crate) unsafe fn rope(
    cx: &Context,
    dims: Dims,
    inverse: bool,
    x: *const f32,
    table: *const f32,
    y: *mut f32,
) {
    let (x, table, y) = (Raw::new(x), Raw::new(table), Raw::new(y));
    let sign = if inverse { -1.0 } else { 1.0 };
    let width = dims.heads * dims.head_dim;
    row_groups(cx, dims.rows, width, &|first, rows| {
        let part = Dims { rows, ..dims };
        // SAFETY: groups of rows are disjoint.
        unsafe {
            let (x, y) = (x.get().add(first * width), y.get().add(first * width));
            rotate_rows(cx.isa, part, sign, x, table.get().add(first * dims.head_dim), y);
        }
    });
}

simd_fn! {
    fn norm_rows(dims: Dims, scale: f32, eps: f32, x: *const f32, table: *const f32, y: *mut f32, statistics: &mut [f32]) = norm_kernel
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn norm_kernel<S: Simd>(
    s: S,
    dims: Dims,
    scale: f32,
    eps: f32,
    x: *const f32,
    table: *const f32,
    y: *mut f32,
    statistics: &mut [f32],
) {
    let d = dims.head_dim;
    for row in 0..dims.rows {
        for head in 0..dims.heads {
            let index = row * dims.heads + head;
            // SAFETY: the caller's operands hold `rows` rows. A rotation keeps the norm, so it is that of x.
            unsafe {
                let x = x.add(index * d);
                let r = 1.0 / (row_dot(s, d, x, x) / d as f32 + eps).sqrt();
                statistics[index] = r;
                rotate(s, d, x, table.add(row * d), 1.0, r * scale, y.add(index * d));
            }
        }
    }
}

/// `y = scale·norm(rope(x))` with one statistic per row and head.
///
/// # Safety
/// x and y must be valid for `rows·heads·head_dim` values, table for `rows·head_dim`; y may be x.
pub(crate) unsafe fn rope_norm(
    cx: &Context,
    dims: Dims,
    (scale, eps): (f32, f32),
    x: *const f32,
    table: *const f32,
    y: *mut f32,
    statistics: &mut [f32],
) {
    let (x, table, y) = (Raw::new(x), Raw::new(table), Raw::new(y));
    let all = crate::pool::SharedSlice::new(statistics);
    let width = dims.heads * dims.head_dim;
    row_groups(cx, dims.rows, width, &|first, rows| {
        let part = Dims { rows, ..dims };
        // SAFETY: groups of rows are disjoint.
        unsafe {
            let (x, y) = (x.get().add(first * width), y.get().add(first * width));
            let table = table.get().add(first * dims.head_dim);
            let statistics = all.range(first * dims.heads, rows * dims.heads);
            norm_rows(cx.isa, part, scale, eps, x, table, y, statistics);
        }
    });
}

simd_fn! {
    fn norm_grad_rows(dims: Dims, scale: f32, y: *const f32, statistics: &[f32], dy: *const f32, table: *const f32, dx: *mut f32) = norm_grad_kernel
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn norm_grad_kernel<S: Simd>(
    s: S,
    dims: Dims,
    scale: f32,
    y: *const f32,
    statistics: &[f32],
    dy: *const f32,
    table: *const f32,
    dx: *mut f32,
) {
    let d = dims.head_dim;
    for row in 0..dims.rows {
        for head in 0..dims.heads {
            let index = row * dims.heads + head;
            // SAFETY: the caller's operands hold `rows` rows; a head is read before it is written, and then rotated in
            // place.
            unsafe {
                let (y, dy, dx) = (y.add(index * d), dy.add(index * d), dx.add(index * d));
                // With z = y/scale: r·scale·(dy - z·mean(z·dy)) = r·scale·(dy - y·mean(y·dy)/scale²).
                let mean = row_dot(s, d, y, dy) / d as f32 / (scale * scale);
                let (mean, r) = (s.splat(-mean), s.splat(statistics[index] * scale));
                let mut i = 0;
                while i < d {
                    let n = (d - i).min(S::LANES);
                    let (yv, dv) =
                        (s.load_ptr_partial(y.add(i), n), s.load_ptr_partial(dy.add(i), n));
                    s.store_ptr_partial(dx.add(i), s.mul(r, s.mul_add(yv, mean, dv)), n);
                    i += n;
                }
                rotate(s, d, dx, table.add(row * d), -1.0, 1.0, dx);
            }
        }
    }
}

/// Gradient of [`rope_norm`] with respect to x.
///
/// # Safety
/// As of [`rope_norm`]; dx may be y or dy.
pub(crate) unsafe fn rope_norm_grad(
    cx: &Context,
    dims: Dims,
    scale: f32,
    (y, statistics): (*const f32, &[f32]),
    dy: *const f32,
    table: *const f32,
    dx: *mut f32,
) {
    let (y, dy, table, dx) = (Raw::new(y), Raw::new(dy), Raw::new(table), Raw::new(dx));
    let width = dims.heads * dims.head_dim;
    row_groups(cx, dims.rows, width, &|first, rows| {
        let part = Dims { rows, ..dims };
        let at = first * width;
        let statistics = &statistics[first * dims.heads..(first + rows) * dims.heads];
        // SAFETY: groups of rows are disjoint.
        unsafe {
            let table = table.get().add(first * dims.head_dim);
            norm_grad_rows(
                cx.isa,
                part,
                scale,
                y.get().add(at),
                statistics,
                dy.get().add(at),
                table,
                dx.get().add(at),
            );
        }
    });
}
