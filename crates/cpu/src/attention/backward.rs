//! Gradients, in one pass over the tiles: a task owns a block of keys, keeps its `dk` and `dv` in cache, and goes
//! through the queries that see it.
//!
//! Every block of queries gets its `dq` from several tasks. They add to it in the order of their blocks of keys: task J
//! waits until task J - 1 has passed. Since J - 1 started earlier and at an earlier block, that wait is short, and the
//! sum has one order whatever the threads do. It cannot deadlock, for the pool hands out tasks in ascending order and a
//! task waits only for a lower one.
//!
//! Sums of `dq` are f32. Where `dq` itself is not, they lie in scratch: as many heads' at a time as can be under way, so
//! that they stay in cache and take little memory. The last task to add is the one that owns the queries' own block of
//! keys; it rounds.

use super::element::Attend;
use super::order::head_and_rank;
use super::scratch::{LINE, align, lines, padded, run_with_scratch, take};
use super::strided::Strided;
use super::{Dims, check_len, check_scratch};
use crate::pool::SharedSlice;
use crate::simd::Simd;
use crate::{Context, Isa, simd_fn};
use std::sync::atomic::{AtomicU32, Ordering};

/// f32 values of scratch that [`backward`] needs.
pub fn backward_scratch_len<E: Attend>(cx: &Context, dims: &Dims) -> usize {
    LINE + lines(dims.b * dims.h * dims.t)
        + lines(dims.b * dims.k_heads * dims.t.div_ceil(E::KEYS))
        + lines(sums_in_flight::<E>(cx, dims) * sums_len::<E>(dims))
        + cx.pool.threads() * E::keys_scratch_len(dims.d)
}

/// Key/value heads whose sums of `dq` exist at a time. Heads are worked on in batches of as many as there are threads:
/// with room for two batches, hardly any task waits for a place.
fn sums_in_flight<E: Attend>(cx: &Context, dims: &Dims) -> usize {
    if E::SUMS_APART { (2 * cx.pool.threads()).min(dims.b * dims.k_heads) } else { 0 }
}

/// Sums of `dq` of one key/value head: `[h / k_heads, t, d]` in whole steps and lines.
fn sums_len<E: Attend>(dims: &Dims) -> usize {
    dims.h / dims.k_heads * dims.t.next_multiple_of(E::STEP) * padded(dims.d)
}

/// Sets `dq`, `dk` and `dv` from what [`forward`](super::forward) was given and made, and the gradient `dout`.
///
/// # Panics
/// When a slice is not as long as `dims` says, or `scratch` is shorter than [`backward_scratch_len`].
#[allow(clippy::too_many_arguments)]
pub fn backward<E: Attend>(
    cx: &Context,
    q: &[E],
    k: &[E],
    v: &[E],
    out: &[E],
    lse: &[f32],
    dout: &[E],
    dims: &Dims,
    dq: &mut [E],
    dk: &mut [E],
    dv: &mut [E],
    scratch: &mut [f32],
) {
    dims.check();
    let Dims { b, t, h, k_heads, .. } = *dims;
    for (name, slice) in [("q", q), ("out", out), ("dout", dout), ("dq", &*dq)] {
        check_len(name, slice, dims.queries_len());
    }
    for (name, slice) in [("k", k), ("v", v), ("dk", &*dk), ("dv", &*dv)] {
        check_len(name, slice, dims.keys_len());
    }
    check_len("lse", lse, b * h * t);
    check_scratch(scratch, backward_scratch_len::<E>(cx, dims));
    let (heads, blocks) = (b * k_heads, t.div_ceil(E::KEYS));
    let (in_flight, sums_len) = (sums_in_flight::<E>(cx, dims), sums_len::<E>(dims));
    let mut scratch = align(scratch);
    let delta = take(&mut scratch, b * h * t);
    let passed = take(&mut scratch, heads * blocks);
    let sums = take(&mut scratch, in_flight * sums_len);
    set_delta(cx, out, dout, dims, delta);
    passed.fill(0.0);
    let sources = Sources { isa: cx.isa, q, k, v, dout, lse, delta, dims: *dims };
    let (passed, sums) = (SharedSlice::new(passed), SharedSlice::new(sums));
    let [dq, dk, dv] = [dq, dk, dv].map(SharedSlice::new);
    let (per_thread, threads) = (E::keys_scratch_len(dims.d), cx.pool.threads());
    run_with_scratch(&cx.pool, heads * blocks, scratch, per_thread, &|task, scratch| {
        // Early blocks are seen by the most queries: they go first.
        let head_and_block = |task| head_and_rank(task, heads, blocks, threads);
        let place = |(head, block)| Place { row: head / k_heads, k_head: head % k_heads, block };
        let (head, block) = head_and_block(task);
        let next = head_and_block((task + threads).min(heads * blocks - 1));
        let places = (place((head, block)), place(next));
        // SAFETY: there is one value per block of every head, as large and aligned as a u32, zeroed above; while the tasks
        // run, all access to it is atomic.
        let counter = |head: usize, block: usize| unsafe {
            AtomicU32::from_ptr(passed.as_ptr().wrapping_add(head * blocks + block).cast::<u32>())
        };
        let before = (block > 0).then(|| counter(head, block - 1));
        let turn = Turn { before, own: counter(head, block) };
        if E::SUMS_APART && head >= in_flight {
            // The head whose place the sums take has lower tasks alone.
            (0..blocks).for_each(|block| wait(counter(head - in_flight, block), DONE));
        }
        let sums_start = if E::SUMS_APART { head % in_flight * sums_len } else { 0 };
        let grads = Gradients { dq, dk, dv, sums, sums_start };
        E::keys_task(&sources, places, &turn, &grads, scratch);
    });
}

/// What the tasks read.
pub struct Sources<'a, E> {
    pub(super) isa: Isa,
    pub(super) q: &'a [E],
    pub(super) k: &'a [E],
    pub(super) v: &'a [E],
    pub(super) dout: &'a [E],
    pub(super) lse: &'a [f32],
    /// Row sums of `dout·out`, `[b, h, t]`.
    pub(super) delta: &'a [f32],
    pub(super) dims: Dims,
}

/// What the tasks write.
pub struct Gradients<E> {
    pub(super) dq: SharedSlice<E>,
    pub(super) dk: SharedSlice<E>,
    pub(super) dv: SharedSlice<E>,
    /// The sums of `dq` so far, where they lie apart; those of the task's head from `sums_start` on.
    pub(super) sums: SharedSlice<f32>,
    pub(super) sums_start: usize,
}

/// A block of keys: its row of the batch, its key/value head, its number among the blocks.
#[derive(Clone, Copy)]
pub struct Place {
    pub(super) row: usize,
    pub(super) k_head: usize,
    pub(super) block: usize,
}

/// Order among the tasks that add to the same `dq`: each counts the steps that it has passed.
pub struct Turn<'a> {
    before: Option<&'a AtomicU32>,
    own: &'a AtomicU32,
}

/// The count of a task that has ended.
const DONE: u32 = u32::MAX;

/// Returns when `count` has reached `least`.
fn wait(count: &AtomicU32, least: u32) {
    let mut spins = 0;
    while count.load(Ordering::Acquire) < least {
        spins += 1;
        if spins < 2000 { std::hint::spin_loop() } else { std::thread::yield_now() }
    }
}

impl Turn<'_> {
    /// Returns when the task before has passed `steps` steps of its own numbering.
    pub(super) fn wait(&self, steps: usize) {
        if let Some(before) = self.before {
            wait(before, steps as u32);
        }
    }

    pub(super) fn pass(&self) {
        self.own.fetch_add(1, Ordering::Release);
    }
}

impl Drop for Turn<'_> {
    /// Lets other tasks go on even if this one has panicked; the pool reports the panic.
    fn drop(&mut self) {
        self.own.store(DONE, Ordering::Release);
    }
}

/// Positions in a task that sets `delta`.
const POSITIONS: usize = 64;

/// `delta[b,h,t] = Σ_d dout·out`
fn set_delta<E: Attend>(cx: &Context, out: &[E], dout: &[E], dims: &Dims, delta: &mut [f32]) {
    let Dims { b, t, h, d, .. } = *dims;
    let blocks = t.div_ceil(POSITIONS);
    let delta = SharedSlice::new(delta);
    cx.pool.run(b * blocks, &|task, _| {
        let (row, first) = (task / blocks, task % blocks * POSITIONS);
        let positions = (t - first).min(POSITIONS);
        let part = (row * t + first) * h * d..(row * t + first + positions) * h * d;
        let (out, dout) = (&out[part.clone()], &dout[part]);
        // SAFETY: each task has its own row and positions.
        let delta =
            unsafe { Strided::new(&delta, row * h * t + first, t, (h - 1) * t + positions) };
        row_dots(cx.isa, out, dout, (h, d), delta);
    });
}

simd_fn! {
    /// Dot products of the rows of `[positions, h, d]`, where `shape` is (h, d): that of a position and a head goes to row
    /// `head` of `dots`.
    fn row_dots [E: Attend] (x: &[E], y: &[E], shape: (usize, usize), dots: Strided<f32>) = row_dots_kernel
}
#[inline(always)]
fn row_dots_kernel<S: Simd, E: Attend>(
    s: S,
    x: &[E],
    y: &[E],
    (heads, d): (usize, usize),
    mut dots: Strided<f32>,
) {
    let positions = x.len() / (heads * d);
    for (i, (x, y)) in x.chunks_exact(d).zip(y.chunks_exact(d)).enumerate() {
        dots.row(i % heads, positions)[i / heads] = dot(s, x, y);
    }
}

/// The dot product of two rows of the same length.
#[inline(always)]
pub(crate) fn dot<S: Simd, E: Attend>(s: S, x: &[E], y: &[E]) -> f32 {
    assert!(x.len() == y.len());
    let per_vector = S::LANES * E::PER_LANE;
    let whole = x.len() / per_vector * per_vector;
    let (x_end, y_end, rest) = (x[whole..].as_ptr(), y[whole..].as_ptr(), x.len() - whole);
    let mut sum = s.splat(0.0);
    // SAFETY: a whole vector is left before `whole`, and `rest` values after it.
    unsafe {
        for c in (0..whole).step_by(per_vector) {
            let (x, y) = (x.as_ptr().add(c), y.as_ptr().add(c));
            sum = E::multiply_add(s, E::load_lanes(s, x), E::load_lanes(s, y), sum);
        }
        if rest > 0 {
            let x = E::load_lanes_partial(s, x_end, rest);
            sum = E::multiply_add(s, x, E::load_lanes_partial(s, y_end, rest), sum);
        }
    }
    s.reduce_add(sum)
}
