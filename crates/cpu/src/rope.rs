//! Rotary embedding, alone and fused with the norm of queries and keys.
//!
//! Layouts: x `[rows, H, D]`, a table `[rows, D]` with D/2 cosines, then D/2 sines, for the rows' positions.

use crate::norm::row_dot;
use crate::parallel::{Raw, rows as row_groups, vectors};
use crate::simd::{Element, Simd};
use crate::{Context, simd_fn};

/// Rotations of `tokens` positions from each of `start` on, into `table` `[B, tokens, D]`. Angles are computed in f64: at
/// position 10,000 an f32 product would already be off by 1e-3.
pub fn table(
    cx: &Context,
    base: f32,
    tokens: usize,
    head_dim: usize,
    start: &[i32],
    table: &mut [f32],
) {
    let half = head_dim / 2;
    let shared = crate::pool::SharedSlice::new(table);
    // Rows that begin at one position share their rotations: the first of them computes.
    let twin = |b: usize| start[..b].iter().position(|s| *s == start[b]);
    let blocks = tokens.div_ceil(BLOCK);
    let range = |block: usize| block * BLOCK..((block + 1) * BLOCK).min(tokens);
    cx.pool.run(start.len() * blocks, &|task, _| {
        let (b, positions) = (task / blocks, range(task % blocks));
        if twin(b).is_some() {
            return;
        }
        let (first, at) = (positions.start, (b * tokens + positions.start) * head_dim);
        // SAFETY: these positions belong to this task alone.
        let rows = unsafe { shared.range(at, positions.len() * head_dim) };
        for j in 0..half {
            let frequency = f64::from(base).powf(-2.0 * j as f64 / head_dim as f64);
            for (t, row) in (first..).zip(rows.chunks_exact_mut(head_dim)) {
                let (sin, cos) = ((f64::from(start[b]) + t as f64) * frequency).sin_cos();
                (row[j], row[half + j]) = (cos as f32, sin as f32);
            }
        }
    });
    cx.pool.run(start.len() * blocks, &|task, _| {
        let (b, positions) = (task / blocks, range(task % blocks));
        let Some(twin) = twin(b) else { return };
        let len = positions.len() * head_dim;
        let part = |b: usize| (b * tokens + positions.start) * head_dim;
        // SAFETY: nobody writes to the twin's positions any more, nobody else to these.
        unsafe { shared.range(part(b), len).copy_from_slice(shared.range(part(twin), len)) };
    });
}

/// Positions per task of the table.
const BLOCK: usize = 64;

/// Shape of what is rotated.
#[derive(Clone, Copy)]
pub struct Dims {
    /// B·T.
    pub rows: usize,
    /// H.
    pub heads: usize,
    /// D.
    pub head_dim: usize,
}

/// Turns pairs: `(x1·cos + x2·sin, x2·cos - x1·sin)`.
#[inline(always)]
fn turn<S: Simd>(s: S, (x1, x2): (S::V, S::V), (cos, sin): (S::V, S::V)) -> (S::V, S::V) {
    (s.mul_add(x1, cos, s.mul(x2, sin)), s.sub(s.mul(x2, cos), s.mul(x1, sin)))
}

/// Rotates one head by the row's table; `sign` -1 rotates back. `y` may be `x`.
///
/// # Safety
/// x, y and table must be valid for `d` values.
#[inline(always)]
unsafe fn rotate<S: Simd, X: Element>(
    s: S,
    d: usize,
    x: *const X,
    table: *const f32,
    sign: f32,
    factor: f32,
    y: *mut X,
) {
    let half = d / 2;
    let (sign, factor) = (s.splat(sign), s.splat(factor));
    vectors!(S, half, |j, n| {
        // SAFETY: j + n <= half.
        unsafe {
            let (x1, x2) = (X::load_n(s, x.add(j), n), X::load_n(s, x.add(half + j), n));
            let cos = s.mul(factor, f32::load_n(s, table.add(j), n));
            let sin = s.mul(factor, s.mul(sign, f32::load_n(s, table.add(half + j), n)));
            let (y1, y2) = turn(s, (x1, x2), (cos, sin));
            X::store_n(s, y.add(j), y1, n);
            X::store_n(s, y.add(half + j), y2, n);
        }
    });
}

simd_fn! { fn rotate_rows[X: Element](dims: Dims, sign: f32, x: *const X, table: *const f32, y: *mut X) = rotate_kernel }

#[inline(always)]
fn rotate_kernel<S: Simd, X: Element>(
    s: S,
    dims: Dims,
    sign: f32,
    x: *const X,
    table: *const f32,
    y: *mut X,
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
pub unsafe fn rope<X: Element>(
    cx: &Context,
    dims: Dims,
    inverse: bool,
    x: *const X,
    table: *const f32,
    y: *mut X,
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
    fn norm_rows[X: Element](dims: Dims, scale: f32, eps: f32, x: *const X, table: *const f32, y: *mut X, statistics: &mut [f32]) = norm_kernel
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn norm_kernel<S: Simd, X: Element>(
    s: S,
    dims: Dims,
    scale: f32,
    eps: f32,
    x: *const X,
    table: *const f32,
    y: *mut X,
    statistics: &mut [f32],
) {
    let half = dims.head_dim / 2;
    // SAFETY: the caller's operands hold `rows` rows; H·LANES is half of the head.
    unsafe {
        match (half % S::LANES, half / S::LANES) {
            (0, 1) => norm_whole::<S, X, 1>(s, dims, scale, eps, x, table, y, statistics),
            (0, 2) => norm_whole::<S, X, 2>(s, dims, scale, eps, x, table, y, statistics),
            (0, 4) => norm_whole::<S, X, 4>(s, dims, scale, eps, x, table, y, statistics),
            _ => norm_any(s, dims, scale, eps, x, table, y, statistics),
        }
    }
}

fn reciprocal_norm(squares: f32, d: usize, eps: f32) -> f32 {
    1.0 / (squares / d as f32 + eps).sqrt()
}

/// # Safety
/// Operands must hold `rows` rows.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn norm_any<S: Simd, X: Element>(
    s: S,
    dims: Dims,
    scale: f32,
    eps: f32,
    x: *const X,
    table: *const f32,
    y: *mut X,
    statistics: &mut [f32],
) {
    let d = dims.head_dim;
    for (index, r) in statistics.iter_mut().enumerate() {
        // SAFETY: the caller's. A rotation keeps the norm, so it is that of x.
        unsafe {
            let (x, table) = (x.add(index * d), table.add(index / dims.heads * d));
            *r = reciprocal_norm(row_dot(s, d, x, x), d, eps);
            rotate(s, d, x, table, 1.0, *r * scale, y.add(index * d));
        }
    }
}

/// Both halves of a head, or of its row of the table, in H vectors each.
type Halves<V, const H: usize> = [[V; H]; 2];

/// # Safety
/// `p` must be valid for reading `2·H·LANES` values.
#[inline(always)]
unsafe fn load_halves<S: Simd, X: Element, const H: usize>(s: S, p: *const X) -> Halves<S::V, H> {
    let mut halves = [[s.splat(0.0); H]; 2];
    for (i, v) in halves.as_flattened_mut().iter_mut().enumerate() {
        // SAFETY: the caller's.
        *v = unsafe { X::load(s, p.add(i * S::LANES)) };
    }
    halves
}

/// What [`row_dot`] is, in the same order.
#[inline(always)]
fn dot<S: Simd, const H: usize>(s: S, x: &Halves<S::V, H>, y: &Halves<S::V, H>) -> f32 {
    let mut sums = [s.splat(0.0); 2];
    for (i, (x, y)) in x.as_flattened().iter().zip(y.as_flattened()).enumerate() {
        sums[i % 2] = s.mul_add(*x, *y, sums[i % 2]);
    }
    s.reduce_add(s.add(sums[0], sums[1]))
}

/// [`norm_any`] of heads that registers hold: x is read once.
///
/// # Safety
/// Operands must hold `rows` rows of heads of `2·H·LANES` values.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn norm_whole<S: Simd, X: Element, const H: usize>(
    s: S,
    dims: Dims,
    scale: f32,
    eps: f32,
    x: *const X,
    table: *const f32,
    y: *mut X,
    statistics: &mut [f32],
) {
    let d = 2 * H * S::LANES;
    for (row, statistics) in statistics.chunks_exact_mut(dims.heads).enumerate() {
        // SAFETY: the caller's.
        let [cos, sin] = unsafe { load_halves::<S, f32, H>(s, table.add(row * d)) };
        for (head, r) in statistics.iter_mut().enumerate() {
            let at = (row * dims.heads + head) * d;
            // SAFETY: the caller's.
            unsafe {
                let x = load_halves::<S, X, H>(s, x.add(at));
                *r = reciprocal_norm(dot(s, &x, &x), d, eps);
                let factor = s.splat(*r * scale);
                for j in 0..H {
                    let (cos, sin) = (s.mul(factor, cos[j]), s.mul(factor, sin[j]));
                    let (y1, y2) = turn(s, (x[0][j], x[1][j]), (cos, sin));
                    X::store(s, y.add(at + j * S::LANES), y1);
                    X::store(s, y.add(at + (H + j) * S::LANES), y2);
                }
            }
        }
    }
}

/// `y = scale·norm(rope(x))` with one statistic per row and head.
///
/// # Safety
/// x and y must be valid for `rows·heads·head_dim` values, table for `rows·head_dim`; y may be x.
pub unsafe fn rope_norm<X: Element>(
    cx: &Context,
    dims: Dims,
    (scale, eps): (f32, f32),
    x: *const X,
    table: *const f32,
    y: *mut X,
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
    fn norm_grad_rows[X: Element](dims: Dims, scale: f32, y: *const X, statistics: &[f32], dy: *const X, table: *const f32, dx: *mut X) = norm_grad_kernel
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn norm_grad_kernel<S: Simd, X: Element>(
    s: S,
    dims: Dims,
    scale: f32,
    y: *const X,
    statistics: &[f32],
    dy: *const X,
    table: *const f32,
    dx: *mut X,
) {
    let half = dims.head_dim / 2;
    // SAFETY: the caller's operands hold `rows` rows; H·LANES is half of the head.
    unsafe {
        match (half % S::LANES, half / S::LANES) {
            (0, 1) => norm_grad_whole::<S, X, 1>(s, dims, scale, y, statistics, dy, table, dx),
            (0, 2) => norm_grad_whole::<S, X, 2>(s, dims, scale, y, statistics, dy, table, dx),
            (0, 4) => norm_grad_whole::<S, X, 4>(s, dims, scale, y, statistics, dy, table, dx),
            _ => norm_grad_any(s, dims, scale, y, statistics, dy, table, dx),
        }
    }
}

/// `-mean(y·dy)/scale²`, which the gradient is made with: with z = y/scale it is
/// `r·scale·(dy - z·mean(z·dy)) = r·scale·(dy - y·mean(y·dy)/scale²)`, turned back.
fn correction(products: f32, d: usize, scale: f32) -> f32 {
    -(products / d as f32 / (scale * scale))
}

/// # Safety
/// Operands must hold `rows` rows.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn norm_grad_any<S: Simd, X: Element>(
    s: S,
    dims: Dims,
    scale: f32,
    y: *const X,
    statistics: &[f32],
    dy: *const X,
    table: *const f32,
    dx: *mut X,
) {
    let (d, half) = (dims.head_dim, dims.head_dim / 2);
    for (index, r) in statistics.iter().enumerate() {
        // SAFETY: the caller's; what is written was read before.
        unsafe {
            let (y, dy, dx) = (y.add(index * d), dy.add(index * d), dx.add(index * d));
            let mean = s.splat(correction(row_dot(s, d, y, dy), d, scale));
            let (r, table) = (s.splat(r * scale), table.add(index / dims.heads * d));
            vectors!(S, half, |j, n| {
                let x1 = normed::<S, X>(s, y.add(j), dy.add(j), n, mean, r);
                let x2 = normed::<S, X>(s, y.add(half + j), dy.add(half + j), n, mean, r);
                let cos = f32::load_n(s, table.add(j), n);
                let sin = f32::load_n(s, table.add(half + j), n);
                let (x1, x2) = turn(s, (x1, x2), (cos, s.sub(s.splat(0.0), sin)));
                X::store_n(s, dx.add(j), x1, n);
                X::store_n(s, dx.add(half + j), x2, n);
            });
        }
    }
}

/// [`norm_grad_any`] of heads that registers hold: y and dy are read once.
///
/// # Safety
/// Operands must hold `rows` rows of heads of `2·H·LANES` values.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn norm_grad_whole<S: Simd, X: Element, const H: usize>(
    s: S,
    dims: Dims,
    scale: f32,
    y: *const X,
    statistics: &[f32],
    dy: *const X,
    table: *const f32,
    dx: *mut X,
) {
    let (d, zero) = (2 * H * S::LANES, s.splat(0.0));
    for (row, statistics) in statistics.chunks_exact(dims.heads).enumerate() {
        // SAFETY: the caller's.
        let [cos, sin] = unsafe { load_halves::<S, f32, H>(s, table.add(row * d)) };
        for (head, r) in statistics.iter().enumerate() {
            let at = (row * dims.heads + head) * d;
            // SAFETY: the caller's; what is written was read before.
            unsafe {
                let y = load_halves::<S, X, H>(s, y.add(at));
                let dy = load_halves::<S, X, H>(s, dy.add(at));
                let mean = s.splat(correction(dot(s, &y, &dy), d, scale));
                let r = s.splat(r * scale);
                for j in 0..H {
                    let x1 = s.mul(r, s.mul_add(y[0][j], mean, dy[0][j]));
                    let x2 = s.mul(r, s.mul_add(y[1][j], mean, dy[1][j]));
                    let (x1, x2) = turn(s, (x1, x2), (cos[j], s.sub(zero, sin[j])));
                    X::store(s, dx.add(at + j * S::LANES), x1);
                    X::store(s, dx.add(at + (H + j) * S::LANES), x2);
                }
            }
        }
    }
}

/// `r·(dy + y·mean)`. (A function, because a closure that is called twice may not be compiled for the instruction set.)
///
/// # Safety
/// Both must be valid for reading `n <= LANES` values.
#[inline(always)]
unsafe fn normed<S: Simd, X: Element>(
    s: S,
    y: *const X,
    dy: *const X,
    n: usize,
    mean: S::V,
    r: S::V,
) -> S::V {
    // SAFETY: the caller's.
    unsafe { s.mul(r, s.mul_add(X::load_n(s, y, n), mean, X::load_n(s, dy, n))) }
}

/// Gradient of [`rope_norm`] with respect to x.
///
/// # Safety
/// As of [`rope_norm`]; dx may be y or dy.
pub unsafe fn rope_norm_grad<X: Element>(
    cx: &Context,
    dims: Dims,
    scale: f32,
    (y, statistics): (*const X, &[f32]),
    dy: *const X,
    table: *const f32,
    dx: *mut X,
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
