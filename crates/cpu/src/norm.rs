//! RMS norm over rows, forward and backward. Outputs may be inputs: a row is read whole before it is written.

use crate::parallel::{Raw, rows as row_groups, vectors};
use crate::simd::{Element, Simd};
use crate::{Context, simd_fn};
use half::bf16;

simd_fn! {
    /// `y = x·r` of some rows, r into `statistics`.
    fn forward_rows[Y: Element](width: usize, eps: f32, x: *const f32, y: *mut Y, statistics: &mut [f32]) = forward_kernel
}

#[inline(always)]
fn forward_kernel<S: Simd, Y: Element>(
    s: S,
    width: usize,
    eps: f32,
    x: *const f32,
    y: *mut Y,
    statistics: &mut [f32],
) {
    for (row, r) in statistics.iter_mut().enumerate() {
        let at = row * width;
        // SAFETY: the caller gives as many rows as statistics.
        let squares = unsafe { row_dot(s, width, x.add(at), x.add(at)) };
        *r = 1.0 / (squares / width as f32 + eps).sqrt();
        // SAFETY: as above.
        unsafe { row_map(s, width, x.add(at), y.add(at), s.splat(*r)) };
    }
}

/// # Safety
/// Both pointers must be valid for `n` values.
#[inline(always)]
pub(crate) unsafe fn row_dot<S: Simd, X: Element, Y: Element>(
    s: S,
    n: usize,
    x: *const X,
    y: *const Y,
) -> f32 {
    let mut sums = [s.splat(0.0); 2];
    let mut i = 0;
    // SAFETY: the indices stay below n.
    unsafe {
        while i + 2 * S::LANES <= n {
            sums[0] = s.mul_add(X::load(s, x.add(i)), Y::load(s, y.add(i)), sums[0]);
            let j = i + S::LANES;
            sums[1] = s.mul_add(X::load(s, x.add(j)), Y::load(s, y.add(j)), sums[1]);
            i += 2 * S::LANES;
        }
        while i < n {
            let len = (n - i).min(S::LANES);
            let (a, b) = (X::load_n(s, x.add(i), len), Y::load_n(s, y.add(i), len));
            sums[0] = s.mul_add(a, b, sums[0]);
            i += len;
        }
    }
    s.reduce_add(s.add(sums[0], sums[1]))
}

/// # Safety
/// Both pointers must be valid for `n` values.
#[inline(always)]
unsafe fn row_map<S: Simd, Y: Element>(s: S, n: usize, x: *const f32, y: *mut Y, factor: S::V) {
    vectors!(S, n, |i, len| {
        // SAFETY: the indices stay below n.
        unsafe { Y::store_n(s, y.add(i), s.mul(f32::load_n(s, x.add(i), len), factor), len) };
    });
}

/// `y = x·r`, `r = 1/sqrt(mean(x²) + eps)` for each row of `width` values; one r per row into `statistics`.
///
/// # Safety
/// x must be valid for reading and y for writing `statistics.len() · width` values; y may be x.
pub unsafe fn rms_norm<Y: Element>(
    cx: &Context,
    width: usize,
    eps: f32,
    x: *const f32,
    y: *mut Y,
    statistics: &mut [f32],
) {
    let (x, y, all) = (Raw::new(x), Raw::new(y), crate::pool::SharedSlice::new(statistics));
    row_groups(cx, statistics.len(), width, &|first, count| {
        let at = first * width;
        // SAFETY: groups of rows are disjoint.
        unsafe {
            forward_rows(
                cx.isa,
                width,
                eps,
                x.get().add(at),
                y.get().add(at),
                all.range(first, count),
            );
        }
    });
}

simd_fn! {
    fn backward_rows[Y: Element, D: Element](
        width: usize,
        y: *const Y,
        statistics: &[f32],
        dy: *const D,
        onto: Option<*const f32>,
        dx: *mut f32,
        copy: Option<*mut bf16>,
    ) = backward_kernel
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn backward_kernel<S: Simd, Y: Element, D: Element>(
    s: S,
    width: usize,
    y: *const Y,
    statistics: &[f32],
    dy: *const D,
    onto: Option<*const f32>,
    dx: *mut f32,
    copy: Option<*mut bf16>,
) {
    for (row, &r) in statistics.iter().enumerate() {
        let at = row * width;
        // SAFETY: the caller gives as many rows as statistics.
        unsafe {
            let (y, dy, dx) = (y.add(at), dy.add(at), dx.add(at));
            let mean = row_dot(s, width, y, dy) / width as f32;
            let (mean, r) = (s.splat(-mean), s.splat(r));
            vectors!(S, width, |i, len| {
                let (y, dy) = (Y::load_n(s, y.add(i), len), D::load_n(s, dy.add(i), len));
                let mut value = s.mul(r, s.mul_add(y, mean, dy));
                if let Some(onto) = onto {
                    value = s.add(value, f32::load_n(s, onto.add(at + i), len));
                }
                f32::store_n(s, dx.add(i), value, len);
                if let Some(copy) = copy {
                    bf16::store_n(s, copy.add(at + i), value, len);
                }
            });
        }
    }
}

/// `dx = r·(dy - y·mean(y·dy))` for each row, plus `onto` when given.
///
/// # Safety
/// Pointers must be valid for `statistics.len() · width` values; dx may be any of the inputs that are f32.
pub unsafe fn rms_norm_grad<Y: Element, D: Element>(
    cx: &Context,
    width: usize,
    y: *const Y,
    statistics: &[f32],
    dy: *const D,
    onto: Option<*const f32>,
    dx: *mut f32,
) {
    // SAFETY: the caller's.
    unsafe { rms_norm_grad_with_copy(cx, width, y, statistics, dy, onto, dx, None) };
}

/// [`rms_norm_grad`], which also writes dx rounded to bf16 to `copy` when given: products read it next.
///
/// # Safety
/// As of [`rms_norm_grad`]; `copy` may be any of the inputs that are bf16.
#[allow(clippy::too_many_arguments)]
pub unsafe fn rms_norm_grad_with_copy<Y: Element, D: Element>(
    cx: &Context,
    width: usize,
    y: *const Y,
    statistics: &[f32],
    dy: *const D,
    onto: Option<*const f32>,
    dx: *mut f32,
    copy: Option<*mut bf16>,
) {
    let (y, dy, onto, dx) = (Raw::new(y), Raw::new(dy), onto.map(Raw::new), Raw::new(dx));
    let copy = copy.map(Raw::new);
    row_groups(cx, statistics.len(), width, &|first, count| {
        let at = first * width;
        // SAFETY: groups of rows are disjoint.
        unsafe {
            backward_rows(
                cx.isa,
                width,
                y.get().add(at),
                &statistics[first..first + count],
                dy.get().add(at),
                onto.map(|p| p.get().add(at)),
                dx.get().add(at),
                copy.map(|p| p.get().add(at)),
            );
        }
    });
}
