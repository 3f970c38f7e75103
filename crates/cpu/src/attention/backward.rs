//! Gradients, in one pass over the tiles: a task owns a block of keys, keeps its `dk` and `dv` in cache, and goes
//! through the queries that see it.
//!
//! Every block of queries gets its `dq` from several tasks. They add to it in the order of their blocks of keys: task J
//! waits until task J - 1 has passed. Since J - 1 started earlier and at an earlier block, that wait is short, and the
//! sum has one order whatever the threads do. It cannot deadlock, for the pool hands out tasks in ascending order and a
//! task waits only for a lower one.

use super::exp2::exp2;
use super::order::head_and_rank;
use super::pack::{HeadRows, pack, pack_transposed, prefetch, readable};
use super::scratch::{LINE, align, lines, padded, run_with_scratch, take};
use super::strided::Strided;
use super::tile::{Band, Old, Product, STRIP, TILE, multiply, product};
use super::transpose::Transpose;
use super::{Dims, check_len, check_scratch};
use crate::pool::SharedSlice;
use crate::simd::Simd;
use crate::{Context, Isa, simd_fn};
use std::f32::consts::LOG2_E;
use std::sync::atomic::{AtomicU32, Ordering};

/// f32 values of scratch that [`backward`] needs.
pub fn backward_scratch_len(cx: &Context, dims: &Dims) -> usize {
    let blocks = dims.t.div_ceil(TILE);
    LINE + lines(dims.b * dims.h * dims.t)
        + lines(dims.b * dims.k_heads * blocks)
        + cx.pool.threads() * keys_scratch_len(dims.d)
}

/// Sets `dq`, `dk` and `dv` from what [`forward`](super::forward) was given and made, and the gradient `dout`.
///
/// # Panics
/// When a slice is not as long as `dims` says, or `scratch` is shorter than [`backward_scratch_len`].
#[allow(clippy::too_many_arguments)]
pub fn backward(
    cx: &Context,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    out: &[f32],
    lse: &[f32],
    dout: &[f32],
    dims: &Dims,
    dq: &mut [f32],
    dk: &mut [f32],
    dv: &mut [f32],
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
    check_scratch(scratch, backward_scratch_len(cx, dims));
    let blocks = t.div_ceil(TILE);
    let mut scratch = align(scratch);
    let delta = take(&mut scratch, b * h * t);
    let passed = take(&mut scratch, b * k_heads * blocks);
    set_delta(cx, out, dout, dims, delta);
    passed.fill(0.0);
    let sources = Sources { isa: cx.isa, q, k, v, dout, lse, delta, dims: *dims };
    let (dq, dk, dv) = (SharedSlice::new(dq), SharedSlice::new(dk), SharedSlice::new(dv));
    let passed = SharedSlice::new(passed);
    let per_thread = keys_scratch_len(dims.d);
    let heads = b * k_heads;
    run_with_scratch(&cx.pool, heads * blocks, scratch, per_thread, &|task, scratch| {
        // Early blocks are seen by the most queries: they go first.
        let (head, block) = head_and_rank(task, heads, blocks, cx.pool.threads());
        let place = Place { row: head / k_heads, k_head: head % k_heads, block };
        // SAFETY: there is one value per block of every head, as large and aligned as a u32, zeroed above; while the tasks
        // run, all access to it is atomic.
        let counter = |block: usize| unsafe {
            AtomicU32::from_ptr(passed.as_ptr().wrapping_add(head * blocks + block).cast::<u32>())
        };
        let turn = Turn { before: (block > 0).then(|| counter(block - 1)), own: counter(block) };
        keys_task(cx.isa, &sources, place, &turn, [&dq, &dk, &dv], scratch);
    });
}

/// What the tasks read.
struct Sources<'a> {
    isa: Isa,
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    dout: &'a [f32],
    lse: &'a [f32],
    /// Row sums of `dout·out`, `[b, h, t]`.
    delta: &'a [f32],
    dims: Dims,
}

/// A block of keys: its row of the batch, its key/value head, its number among the blocks.
#[derive(Clone, Copy)]
struct Place {
    row: usize,
    k_head: usize,
    block: usize,
}

/// Order among the tasks that add to the same `dq`: each counts the tiles that it has passed.
struct Turn<'a> {
    before: Option<&'a AtomicU32>,
    own: &'a AtomicU32,
}

impl Turn<'_> {
    /// Returns when the task before has passed `tiles` tiles of its own numbering.
    fn wait(&self, tiles: usize) {
        let Some(before) = self.before else { return };
        let mut spins = 0;
        while (before.load(Ordering::Acquire) as usize) < tiles {
            spins += 1;
            if spins < 2000 { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
    }

    fn pass(&self) {
        self.own.fetch_add(1, Ordering::Release);
    }
}

impl Drop for Turn<'_> {
    /// Lets the next task go on even if this one has panicked; the pool reports the panic.
    fn drop(&mut self) {
        self.own.store(u32::MAX, Ordering::Release);
    }
}

/// `delta[b,h,t] = Σ_d dout·out`
fn set_delta(cx: &Context, out: &[f32], dout: &[f32], dims: &Dims, delta: &mut [f32]) {
    let Dims { b, t, h, d, .. } = *dims;
    let blocks = t.div_ceil(TILE);
    let delta = SharedSlice::new(delta);
    cx.pool.run(b * blocks, &|task, _| {
        let (row, first) = (task / blocks, task % blocks * TILE);
        let positions = (t - first).min(TILE);
        for head in 0..h {
            let offset = ((row * t + first) * h + head) * d;
            let rows = |x| HeadRows::new(x, offset, h * d, positions, d);
            // SAFETY: each task has its own row and positions.
            let delta = unsafe { delta.range((row * h + head) * t + first, positions) };
            row_dots(cx.isa, rows(out), rows(dout), delta);
        }
    });
}

simd_fn! { fn row_dots(x: HeadRows<'_>, y: HeadRows<'_>, out: &mut [f32]) = row_dots_kernel }
#[inline(always)]
fn row_dots_kernel<S: Simd>(s: S, x: HeadRows<'_>, y: HeadRows<'_>, out: &mut [f32]) {
    for (r, out) in out.iter_mut().enumerate() {
        let (x, y) = (&x.data[r * x.row..][..x.d], &y.data[r * y.row..][..y.d]);
        let mut sum = s.splat(0.0);
        for c in (0..x.len()).step_by(S::LANES) {
            sum = s.mul_add(s.load_partial(&x[c..]), s.load_partial(&y[c..]), sum);
        }
        *out = s.reduce_add(sum);
    }
}

fn keys_scratch_len(d: usize) -> usize {
    2 * lines(d * TILE) + 6 * TILE * padded(d) + 2 * TILE * TILE + 2 * TILE
}

simd_fn! {
    fn keys_task(
        x: &Sources<'_>, place: Place, turn: &Turn<'_>, grads: [&SharedSlice<f32>; 3], scratch: &mut [f32],
    ) = keys_task_kernel
}
#[inline(always)]
fn keys_task_kernel<S: Transpose>(
    s: S,
    x: &Sources<'_>,
    place: Place,
    turn: &Turn<'_>,
    [dq, dk, dv]: [&SharedSlice<f32>; 3],
    mut scratch: &mut [f32],
) {
    let Dims { t, h, k_heads, d, window, .. } = x.dims;
    let Place { row, k_head, block } = place;
    let (group, d_padded) = (h / k_heads, padded(d));
    let scale = 1.0 / (d as f32).sqrt();
    let first_key = block * TILE;
    let keys = (t - first_key).min(TILE);
    let key_offset = ((row * t + first_key) * k_heads + k_head) * d;
    let key_rows = |data| HeadRows::new(data, key_offset, k_heads * d, keys, d);

    let k_t = take(&mut scratch, d * TILE);
    let v_t = take(&mut scratch, d * TILE);
    let k_tile = take(&mut scratch, TILE * d_padded);
    let q_tile = take(&mut scratch, TILE * d_padded);
    let dout_tile = take(&mut scratch, TILE * d_padded);
    let dq_tile = take(&mut scratch, TILE * d_padded);
    let dk_tile = take(&mut scratch, TILE * d_padded);
    let dv_tile = take(&mut scratch, TILE * d_padded);
    let mut tile = Probabilities {
        p: take(&mut scratch, TILE * TILE),
        ds: take(&mut scratch, TILE * TILE),
        lse: take(&mut scratch, TILE),
        delta: take(&mut scratch, TILE),
        keys: keys.next_multiple_of(LINE),
    };
    pack_transposed(s, key_rows(x.k), 1.0, k_t);
    pack_transposed(s, key_rows(x.v), 1.0, v_t);
    pack(s, key_rows(x.k), d_padded, k_tile);
    dk_tile.fill(0.0);
    dv_tile.fill(0.0);

    let window = window.min(1 << 24);
    // The last block of queries that sees some key of a block of keys.
    let last_block =
        |first_key: usize, keys: usize| (first_key + keys - 1 + window).min(t - 1) / TILE;
    let steps = (last_block(first_key, keys) + 1 - block) * group;
    // First query of a step, its head, its rows of q or dout.
    let at = |step: usize| ((block + step / group) * TILE, k_head * group + step % group);
    let query_rows = |data, (first, head): (usize, usize)| {
        let rows = (t - first).min(TILE);
        HeadRows::new(data, ((row * t + first) * h + head) * d, h * d, rows, d)
    };
    for step in 0..steps {
        let (first, head) = at(step);
        let queries = (t - first).min(TILE);
        let band = Band::of_queries((first - first_key) as isize, window as isize);
        let masked = !band.is_full(TILE, TILE);
        let q = readable(s, query_rows(x.q, at(step)), q_tile);
        let dout = readable(s, query_rows(x.dout, at(step)), dout_tile);
        if step + 1 < steps {
            prefetch(s, query_rows(x.q, at(step + 1)));
            prefetch(s, query_rows(x.dout, at(step + 1)));
        }
        let statistics = (row * h + head) * t + first;
        tile.set_statistics(&x.lse[statistics..][..queries], &x.delta[statistics..][..queries]);
        // SAFETY: `k_t` and `v_t` are [d, TILE].
        unsafe { tile.compute(s, LOG2_E * scale, (q, dout), (k_t, v_t), band, masked) };

        let add = |a: &[f32], b: HeadRows<'_>, c: &mut [f32]| {
            let (rows, band) = (keys.next_multiple_of(STRIP), band.transposed());
            let (cols, depth, old) = (d_padded, queries, Old::Keep);
            let (a_row, a_step) = (1, TILE);
            let (b, b_row) = (b.data, b.row);
            multiply(
                x.isa,
                Product { a, a_row, a_step, b, b_row, c, rows, cols, depth, band, old },
            );
        };
        add(tile.p, dout, dv_tile);
        add(tile.ds, q, dk_tile);
        multiply(
            x.isa,
            Product {
                a: tile.ds,
                a_row: TILE,
                a_step: 1,
                b: k_tile,
                b_row: d_padded,
                c: dq_tile,
                rows: queries.next_multiple_of(STRIP),
                cols: d_padded,
                depth: keys,
                band,
                old: Old::Discard,
            },
        );

        // The block of keys before this one, where it is seen too, adds first; where not, there is nothing yet.
        let others = block > 0 && first / TILE <= last_block(first_key - TILE, TILE);
        if others {
            // It started one block of queries earlier.
            turn.wait(step + group + 1);
        }
        let (offset, len) = (((row * t + first) * h + head) * d, (queries - 1) * h * d + d);
        // SAFETY: the wait makes this the only task that touches these queries of this head.
        let out = unsafe { Strided::new(dq, offset, h * d, len) };
        write_rows(s, dq_tile, d_padded, (queries, d), scale, others, out);
        turn.pass();
    }
    let len = (keys - 1) * k_heads * d + d;
    for (tile, grad, scale) in [(&*dk_tile, dk, scale), (&*dv_tile, dv, 1.0)] {
        // SAFETY: these keys of this head belong to this task.
        let out = unsafe { Strided::new(grad, key_offset, k_heads * d, len) };
        write_rows(s, tile, d_padded, (keys, d), scale, false, out);
    }
}

/// Sets rows of `out`, or adds to them, `scale` times those of `tile`.
#[inline(always)]
fn write_rows<S: Simd>(
    s: S,
    tile: &[f32],
    tile_row: usize,
    (rows, d): (usize, usize),
    scale: f32,
    add: bool,
    mut out: Strided,
) {
    let factor = s.splat(scale);
    for r in 0..rows {
        let (from, to) = (&tile[r * tile_row..], out.row(r, d));
        for c in (0..d).step_by(S::LANES) {
            let (from, to) = (s.load(&from[c..]), &mut to[c..]);
            if to.len() >= S::LANES {
                let old = if add { s.load(to) } else { s.splat(0.0) };
                s.store(to, s.mul_add(factor, from, old));
            } else {
                let old = if add { s.load_partial(to) } else { s.splat(0.0) };
                s.store_partial(to, s.mul_add(factor, from, old));
            }
        }
    }
}

/// Probabilities and the gradients of their scores, of one tile.
struct Probabilities<'a> {
    /// `[TILE queries, TILE keys]`.
    p: &'a mut [f32],
    /// The same shape.
    ds: &'a mut [f32],
    /// To the base 2, one per query.
    lse: &'a mut [f32],
    /// One per query.
    delta: &'a mut [f32],
    /// Number of keys, in whole vectors.
    keys: usize,
}

impl Probabilities<'_> {
    /// Missing queries get zeros; no product reads what comes of them.
    fn set_statistics(&mut self, lse: &[f32], delta: &[f32]) {
        for (tile, values, scale) in [(&mut *self.lse, lse, LOG2_E), (&mut *self.delta, delta, 1.0)]
        {
            tile.fill(0.0);
            for (tile, value) in tile.iter_mut().zip(values) {
                *tile = scale * value;
            }
        }
    }

    /// Sets `p` and `ds` inside the band, from rows of q and dout and columns of k and v. `scale` is 1/sqrt(D) to the base
    /// 2.
    ///
    /// # Safety
    /// `k_cols` must be `[d, TILE]`.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    unsafe fn compute<S: Simd>(
        &mut self,
        s: S,
        scale: f32,
        (q, dout): (HeadRows<'_>, HeadRows<'_>),
        k_cols: (&[f32], &[f32]),
        band: Band,
        masked: bool,
    ) {
        let most = if S::LANES == 16 { 4 } else { 2 };
        for query in (0..q.rows).step_by(STRIP) {
            prefetch(s, q.strip(query + STRIP));
            prefetch(s, dout.strip(query + STRIP));
            let seen = band.columns(query, self.keys);
            let (mut col, end) =
                (seen.start / S::LANES * S::LANES, seen.end.next_multiple_of(S::LANES));
            while col < end {
                let vectors = ((end - col) / S::LANES).min(most);
                let (upper, lower) = ((query, col), (query + 4, col));
                // SAFETY: the caller's; columns col.. hold `vectors` vectors.
                unsafe {
                    match vectors {
                        4 => {
                            self.block::<S, 4, 4>(s, scale, upper, (q, dout), k_cols, band, masked);
                            self.block::<S, 4, 4>(s, scale, lower, (q, dout), k_cols, band, masked);
                        }
                        3 => {
                            self.block::<S, 4, 3>(s, scale, upper, (q, dout), k_cols, band, masked);
                            self.block::<S, 4, 3>(s, scale, lower, (q, dout), k_cols, band, masked);
                        }
                        2 => {
                            self.block::<S, 4, 2>(s, scale, upper, (q, dout), k_cols, band, masked);
                            self.block::<S, 4, 2>(s, scale, lower, (q, dout), k_cols, band, masked);
                        }
                        _ => {
                            self.block::<S, 8, 1>(s, scale, upper, (q, dout), k_cols, band, masked)
                        }
                    }
                }
                col += vectors * S::LANES;
            }
        }
    }

    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    unsafe fn block<S: Simd, const MR: usize, const NV: usize>(
        &mut self,
        s: S,
        scale: f32,
        (query, col): (usize, usize),
        (q, dout): (HeadRows<'_>, HeadRows<'_>),
        (k_t, v_t): (&[f32], &[f32]),
        band: Band,
        masked: bool,
    ) {
        // Rows past the last query repeat it.
        let rows = |x: HeadRows<'_>| -> [*const f32; MR] {
            std::array::from_fn(|m| {
                x.data.as_ptr().wrapping_add((query + m).min(x.rows - 1) * x.row)
            })
        };
        let zero = [[s.splat(0.0); NV]; MR];
        // SAFETY: the caller's.
        let scores = unsafe { product(s, q.d, rows(q), 1, (k_t.as_ptr().add(col), TILE), zero) };
        let at = |m: usize, n: usize| (query + m) * TILE + col + n * S::LANES;
        for m in 0..MR {
            let lse = s.splat(-self.lse[query + m]);
            for n in 0..NV {
                let mut p = exp2(s, s.mul_add(scores[m][n], s.splat(scale), lse));
                if masked {
                    p = band.select(s, query + m, col + n * S::LANES, p, s.splat(0.0));
                }
                s.store(&mut self.p[at(m, n)..], p);
            }
        }
        // SAFETY: the caller's.
        let dp = unsafe { product(s, q.d, rows(dout), 1, (v_t.as_ptr().add(col), TILE), zero) };
        for m in 0..MR {
            let delta = s.splat(self.delta[query + m]);
            for n in 0..NV {
                let ds = s.mul(s.load(&self.p[at(m, n)..]), s.sub(dp[m][n], delta));
                s.store(&mut self.ds[at(m, n)..], ds);
            }
        }
    }
}
