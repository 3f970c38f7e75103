//! Scores between branches, and branches mixed by weights of each position.

// Branches are indexed by number everywhere: iterators would hide which is which.
#![allow(clippy::needless_range_loop)]

use crate::norm::row_dot;
use crate::parallel::{Raw, rows as row_groups, vectors};
use crate::simd::Simd;
use crate::{Context, simd_fn};

/// Branches at the most.
pub const MOST: usize = kiln_graph::ops::MOST_BRANCHES;

/// One address for each branch; those beyond the number of branches are never used.
pub type Rows = [*const f32; MOST];
/// The same, to be written.
pub type RowsMut = [*mut f32; MOST];

/// Sizes of branches.
#[derive(Clone, Copy)]
pub struct Dims {
    /// Number of branches, at most [`MOST`].
    pub n: usize,
    /// Rows of each.
    pub rows: usize,
    /// Values of a row.
    pub width: usize,
}

/// Calls `task` for groups of rows.
fn groups(cx: &Context, dims: Dims, task: &(dyn Fn(usize, usize) + Sync)) {
    assert!(dims.n <= MOST, "{} branches", dims.n);
    row_groups(cx, dims.rows, dims.width * dims.n, task);
}

/// # Safety
/// Every address in use must be valid `by` values on.
unsafe fn advance(rows: Rows, n: usize, by: usize) -> Rows {
    let mut moved = rows;
    // SAFETY: the caller's.
    moved[..n].iter_mut().for_each(|row| *row = unsafe { row.add(by) });
    moved
}

/// # Safety
/// As of [`advance`].
unsafe fn advance_mut(rows: RowsMut, n: usize, by: usize) -> RowsMut {
    let mut moved = rows;
    // SAFETY: the caller's.
    moved[..n].iter_mut().for_each(|row| *row = unsafe { row.add(by) });
    moved
}

/// `out[i][j] = scale·u_i·w_j` for every row, out `[rows, n, n]`.
///
/// # Safety
/// The first n addresses must be valid for `rows · width` values, out for `rows · n²`; out overlaps nothing.
pub unsafe fn scores(cx: &Context, dims: Dims, u: Rows, w: Rows, scale: f32, out: *mut f32) {
    let (u, w, out, Dims { n, width, .. }) = (Raw::new(u), Raw::new(w), Raw::new(out), dims);
    groups(cx, dims, &|first, rows| {
        // SAFETY: groups of rows are disjoint.
        unsafe {
            let at = first * width;
            let (u, w) = (advance(u.get(), n, at), advance(w.get(), n, at));
            score_rows(cx.isa, Dims { rows, ..dims }, u, w, scale, out.get().add(first * n * n));
        }
    });
}

simd_fn! { fn score_rows(dims: Dims, u: Rows, w: Rows, scale: f32, out: *mut f32) = score_kernel }
#[inline(always)]
fn score_kernel<S: Simd>(s: S, dims: Dims, u: Rows, w: Rows, scale: f32, out: *mut f32) {
    let Dims { n, rows, width } = dims;
    for row in 0..rows {
        for i in 0..n {
            for j in 0..n {
                // SAFETY: the caller gives as many rows.
                unsafe {
                    let dot = row_dot(s, width, u[i].add(row * width), w[j].add(row * width));
                    *out.add((row * n + i) * n + j) = scale * dot;
                }
            }
        }
    }
}

/// `du_i = scale·Σ_j ds_ij·w_j` and `dw_j = scale·Σ_i ds_ij·u_i`.
///
/// # Safety
/// As of [`scores`], of all addresses; what is written overlaps nothing.
#[allow(clippy::too_many_arguments)]
pub unsafe fn scores_grad(
    cx: &Context,
    dims: Dims,
    u: Rows,
    w: Rows,
    ds: *const f32,
    scale: f32,
    du: RowsMut,
    dw: RowsMut,
) {
    let Dims { n, width, .. } = dims;
    let (u, w, ds) = (Raw::new(u), Raw::new(w), Raw::new(ds));
    let (du, dw) = (Raw::new(du), Raw::new(dw));
    groups(cx, dims, &|first, rows| {
        // SAFETY: groups of rows are disjoint.
        unsafe {
            let at = first * width;
            let (u, w) = (advance(u.get(), n, at), advance(w.get(), n, at));
            let (du, dw) = (advance_mut(du.get(), n, at), advance_mut(dw.get(), n, at));
            let (ds, dims) = (ds.get().add(first * n * n), Dims { rows, ..dims });
            // Row i of ds times w, and column j of it times u.
            combine_rows(cx.isa, dims, w, ds, (n, 1), scale, du);
            combine_rows(cx.isa, dims, u, ds, (1, n), scale, dw);
        }
    });
}

simd_fn! {
    /// `out_i = scale·Σ_j m[i·strides.0 + j·strides.1]·x_j`, m being `n²` values for every row.
    fn combine_rows(dims: Dims, x: Rows, m: *const f32, strides: (usize, usize), scale: f32, out: RowsMut) = combine_kernel
}
#[inline(always)]
fn combine_kernel<S: Simd>(
    s: S,
    dims: Dims,
    x: Rows,
    m: *const f32,
    strides: (usize, usize),
    scale: f32,
    out: RowsMut,
) {
    let Dims { n, rows, width } = dims;
    for row in 0..rows {
        for i in 0..n {
            let mut factors = [s.splat(0.0); MOST];
            for j in 0..n {
                // SAFETY: the caller gives as many rows.
                let m = unsafe { *m.add(row * n * n + i * strides.0 + j * strides.1) };
                factors[j] = s.splat(scale * m);
            }
            vectors!(S, width, |c, len| {
                let at = row * width + c;
                // SAFETY: as above.
                unsafe {
                    let sum = weighted(s, n, &factors, &x, at, len);
                    store(s, out[i].add(at), sum, len);
                }
            });
        }
    }
}

/// `Σ_j factors[j]·x_j` at `at`.
///
/// # Safety
/// The first n of x must be valid for `len` values from `at` on.
#[inline(always)]
unsafe fn weighted<S: Simd>(
    s: S,
    n: usize,
    factors: &[S::V; MOST],
    x: &Rows,
    at: usize,
    len: usize,
) -> S::V {
    // SAFETY: the caller's.
    unsafe {
        let mut sum = s.mul(factors[0], load(s, x[0].add(at), len));
        for j in 1..n {
            sum = s.mul_add(factors[j], load(s, x[j].add(at), len), sum);
        }
        sum
    }
}

/// # Safety
/// `p` must be valid for `n` values.
#[inline(always)]
unsafe fn load<S: Simd>(s: S, p: *const f32, n: usize) -> S::V {
    // SAFETY: the caller's.
    unsafe { if n == S::LANES { s.load_ptr(p) } else { s.load_ptr_partial(p, n) } }
}

/// # Safety
/// `p` must be valid for `n` values.
#[inline(always)]
unsafe fn store<S: Simd>(s: S, p: *mut f32, v: S::V, n: usize) {
    // SAFETY: the caller's.
    unsafe { if n == S::LANES { s.store_ptr(p, v) } else { s.store_ptr_partial(p, v, n) } }
}

/// `out = b_0 + alpha·(Σ_n p[0][n]·b_n - b_0)`, p `[rows, n, n]`.
///
/// # Safety
/// The first n addresses and out must be valid for `rows · width` values, p for `rows · n²`; out may be a branch.
pub unsafe fn mix(cx: &Context, dims: Dims, p: *const f32, b: Rows, alpha: f32, out: *mut f32) {
    let (p, b, out, Dims { n, width, .. }) = (Raw::new(p), Raw::new(b), Raw::new(out), dims);
    groups(cx, dims, &|first, rows| {
        // SAFETY: groups of rows are disjoint.
        unsafe {
            let at = first * width;
            let (p, b) = (p.get().add(first * n * n), advance(b.get(), n, at));
            mix_rows(cx.isa, Dims { rows, ..dims }, p, b, alpha, out.get().add(at));
        }
    });
}

simd_fn! { fn mix_rows(dims: Dims, p: *const f32, b: Rows, alpha: f32, out: *mut f32) = mix_kernel }
#[inline(always)]
fn mix_kernel<S: Simd>(s: S, dims: Dims, p: *const f32, b: Rows, alpha: f32, out: *mut f32) {
    let Dims { n, rows, width } = dims;
    for row in 0..rows {
        // SAFETY: the caller gives as many rows.
        let factors = unsafe { shares(s, n, p.add(row * n * n), alpha) };
        vectors!(S, width, |c, len| {
            let at = row * width + c;
            // SAFETY: as above.
            unsafe {
                let sum = weighted(s, n, &factors, &b, at, len);
                store(s, out.add(at), sum, len);
            }
        });
    }
}

/// What each branch counts for.
///
/// # Safety
/// `p` must be valid for n values.
#[inline(always)]
unsafe fn shares<S: Simd>(s: S, n: usize, p: *const f32, alpha: f32) -> [S::V; MOST] {
    let mut factors = [s.splat(0.0); MOST];
    for j in 0..n {
        // SAFETY: the caller's.
        let mixed = alpha * unsafe { *p.add(j) };
        factors[j] = s.splat(if j == 0 { 1.0 - alpha + mixed } else { mixed });
    }
    factors
}

/// `dp[0][n] = alpha·b_n·dout` (0 in the other rows) and the share of dout for each branch.
///
/// # Safety
/// As of [`mix`], of all addresses; the last of db may be dout, else what is written overlaps nothing.
#[allow(clippy::too_many_arguments)]
pub unsafe fn mix_grad(
    cx: &Context,
    dims: Dims,
    p: *const f32,
    b: Rows,
    dout: *const f32,
    alpha: f32,
    dp: *mut f32,
    db: RowsMut,
) {
    let Dims { n, width, .. } = dims;
    let (p, b, dout) = (Raw::new(p), Raw::new(b), Raw::new(dout));
    let (dp, db) = (Raw::new(dp), Raw::new(db));
    groups(cx, dims, &|first, rows| {
        // SAFETY: groups of rows are disjoint.
        unsafe {
            let (at, square) = (first * width, first * n * n);
            let (p, dp) = (p.get().add(square), dp.get().add(square));
            let (b, db) = (advance(b.get(), n, at), advance_mut(db.get(), n, at));
            let (dims, dout) = (Dims { rows, ..dims }, dout.get().add(at));
            mix_grad_rows(cx.isa, dims, p, b, dout, alpha, dp, db);
        }
    });
}

simd_fn! {
    fn mix_grad_rows(dims: Dims, p: *const f32, b: Rows, dout: *const f32, alpha: f32, dp: *mut f32, db: RowsMut) = mix_grad_kernel
}
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn mix_grad_kernel<S: Simd>(
    s: S,
    dims: Dims,
    p: *const f32,
    b: Rows,
    dout: *const f32,
    alpha: f32,
    dp: *mut f32,
    db: RowsMut,
) {
    let Dims { n, rows, width } = dims;
    for row in 0..rows {
        let (at, square) = (row * width, row * n * n);
        // SAFETY: the caller gives as many rows.
        let factors = unsafe {
            for j in 0..n * n {
                *dp.add(square + j) = 0.0;
            }
            for j in 0..n {
                *dp.add(square + j) = alpha * row_dot(s, width, b[j].add(at), dout.add(at));
            }
            shares(s, n, p.add(square), alpha)
        };
        vectors!(S, width, |c, len| {
            // SAFETY: as above; dout is read before anything is written at its place.
            unsafe {
                let dout = load(s, dout.add(at + c), len);
                for j in 0..n {
                    store(s, db[j].add(at + c), s.mul(factors[j], dout), len);
                }
            }
        });
    }
}
