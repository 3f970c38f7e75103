//! The passes over blocks of logits.

use super::bounded::{exp2, tanh};
use crate::pool::SharedSlice;
use crate::simd::Simd;
use crate::{Context, simd_fn};

/// Values that one task passes over.
const TASK_VALUES: usize = 16 * 1024;
/// Lanes of the widest vector.
const MAX_LANES: usize = 16;

/// What a row keeps while blocks of its logits come and go.
#[derive(Clone, Copy, Default)]
pub(super) struct Row {
    /// Row of x.
    pub index: u32,
    pub target: u32,
    /// Σ exp(logit) so far.
    pub sum: f32,
    /// Logit of the target, once its block has come.
    pub target_logit: f32,
    /// 1 - tanh² at the target.
    pub target_slope: f32,
}

/// Turns products z into logits, `cap·tanh(z/cap)`.
pub(super) fn cap(cx: &Context, z: &mut [f32], softcap: f32) {
    let len = z.len();
    let z = SharedSlice::new(z);
    cx.pool.run(len.div_ceil(TASK_VALUES), &|number, _| {
        let start = number * TASK_VALUES;
        // SAFETY: each task has values of its own.
        let part = unsafe { z.range(start, TASK_VALUES.min(len - start)) };
        cap_values(cx.isa, part, softcap);
    });
}

/// Turns a block of products z (a row of `cols` values for each of `rows`, from column `col` of the vocabulary) into
/// g = exp(logit)·(1 - tanh²), and accounts for it in `rows`.
pub(super) fn exp_block(
    cx: &Context,
    z: &mut [f32],
    cols: usize,
    col: usize,
    softcap: f32,
    rows: &mut [Row],
) {
    let count = rows.len();
    let per_task = (TASK_VALUES / cols).max(1);
    let (z, rows) = (SharedSlice::new(z), SharedSlice::new(rows));
    cx.pool.run(count.div_ceil(per_task), &|number, _| {
        for i in number * per_task..count.min((number + 1) * per_task) {
            // SAFETY: each task has rows of its own.
            let (z, row) = unsafe { (z.range(i * cols, cols), &mut rows.range(i, 1)[0]) };
            exp_row(cx.isa, z, col, softcap, row);
        }
    });
}

simd_fn! { fn cap_values(z: &mut [f32], softcap: f32) = cap_values_kernel }
#[inline(always)]
fn cap_values_kernel<S: Simd>(s: S, z: &mut [f32], softcap: f32) {
    let (cap, inverse) = (s.splat(softcap), s.splat(1.0 / softcap));
    let mut chunks = z.chunks_exact_mut(S::LANES);
    for chunk in &mut chunks {
        let t = tanh(s, s.mul(s.load(chunk), inverse));
        s.store(chunk, s.mul(t, cap));
    }
    let rest = chunks.into_remainder();
    let t = tanh(s, s.mul(s.load_partial(rest), inverse));
    s.store_partial(rest, s.mul(t, cap));
}

simd_fn! { fn exp_row(z: &mut [f32], col: usize, softcap: f32, row: &mut Row) = exp_row_kernel }
#[inline(always)]
fn exp_row_kernel<S: Simd>(s: S, z: &mut [f32], col: usize, softcap: f32, row: &mut Row) {
    let inverse = s.splat(1.0 / softcap);
    if let Some(&z) = (row.target as usize).checked_sub(col).and_then(|place| z.get(place)) {
        let t = first_lane(s, tanh(s, s.mul(s.splat(z), inverse)));
        row.target_logit = softcap * t;
        row.target_slope = 1.0 - t * t;
    }
    let mut sum = s.splat(0.0);
    let mut chunks = z.chunks_exact_mut(S::LANES);
    for chunk in &mut chunks {
        let (e, g) = exp_and_slope(s, s.load(chunk), softcap);
        sum = s.add(sum, e);
        s.store(chunk, g);
    }
    let rest = chunks.into_remainder();
    let (e, g) = exp_and_slope(s, s.load_partial(rest), softcap);
    s.store_partial(rest, g);
    // Lanes beyond the row would count as exp(0).
    let mut last = [0.0; MAX_LANES];
    s.store_partial(&mut last[..rest.len()], e);
    row.sum += s.reduce_add(s.add(sum, s.load(&last)));
}

/// e = exp(cap·t) and e·(1 - t²), t = tanh(z/cap).
#[inline(always)]
fn exp_and_slope<S: Simd>(s: S, z: S::V, softcap: f32) -> (S::V, S::V) {
    let t = tanh(s, s.mul(z, s.splat(1.0 / softcap)));
    let e = exp2(s, s.mul(t, s.splat(softcap * std::f32::consts::LOG2_E)));
    let slope = s.mul_add(s.sub(s.splat(0.0), t), t, s.splat(1.0));
    (e, s.mul(e, slope))
}

#[inline(always)]
fn first_lane<S: Simd>(s: S, v: S::V) -> f32 {
    let mut lanes = [0.0; MAX_LANES];
    s.store(&mut lanes, v);
    lanes[0]
}
