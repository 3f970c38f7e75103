//! Gradients: spans of queries in order, and of each its lists, the gradients through attention head by head, and those
//! of the indexer.

use super::gradients::{
    Heads, KeysFrom, QueriesTo, Shared, keys_task, keys_thread_len, packed_queries_len,
    queries_task, queries_thread_len,
};
use super::indexer::{pack_keys, packed_row_len};
use super::indexer_grad::{self, IndexerGradients};
use super::lists::{self, Cuts, Room, Source};
use super::tiles::Tiles;
use super::{Dims, Inputs, KEYS, QUERIES, SPAN, Sparse, Units, check_len, check_scratch, packed};
use crate::Context;
use crate::attention::scratch::{LINE, align, len_of, lines, take, take_of};
use crate::pool::SharedSlice;

/// What [`forward`](super::forward) made, and the gradient of its output.
pub struct Saved<'a, E> {
    /// Its output.
    pub out: &'a [E],
    /// Its log-sum-exp.
    pub lse: &'a [f32],
    /// Its thresholds.
    pub threshold: &'a [f32],
    /// Their boundaries.
    pub boundary: &'a [i32],
    /// The gradient of the output.
    pub dout: &'a [E],
}

/// What [`backward`] sets: each is like what it is the gradient of.
pub struct Gradients<'a, E> {
    /// Of the queries.
    pub q: &'a mut [E],
    /// Of the keys.
    pub k: &'a mut [E],
    /// Of the values.
    pub v: &'a mut [E],
    /// Of the indexer's queries.
    pub indexer_q: &'a mut [E],
    /// Of the indexer's keys.
    pub indexer_k: &'a mut [E],
    /// Of the indexer's weights.
    pub indexer_w: &'a mut [f32],
}

/// f32 values of sums over queries for the keys or values of one row.
fn sums_len<E: Sparse>(dims: &Dims) -> usize {
    dims.k_heads * dims.key_blocks() * KEYS * packed::<E>(dims.d)
}

/// f32 values of scratch that [`backward`] needs.
pub fn backward_scratch_len<E: Sparse>(cx: &Context, dims: &Dims) -> usize {
    let per_thread = lists::thread_len::<E>(dims, true)
        .max(queries_thread_len::<E>(dims))
        .max(keys_thread_len::<E>(dims))
        .max(indexer_grad::thread_len::<E>(dims));
    LINE + lines(dims.b * packed_row_len::<E>(dims))
        + Room::len(dims, true)
        + Tiles::len(dims, SPAN / QUERIES, true)
        + 2 * lines(sums_len::<E>(dims))
        + 2 * len_of::<E>(dims.group() * Tiles::pairs(dims, SPAN / QUERIES))
        + lines(Tiles::pairs(dims, SPAN / QUERIES))
        + 2 * len_of::<E>(packed_queries_len::<E>(dims))
        + indexer_grad::shared_len::<E>(dims)
        + cx.pool.threads() * per_thread
}

/// Sets all of `to`.
///
/// # Panics
/// When a slice is not as long as `dims` says, or `scratch` is shorter than [`backward_scratch_len`].
pub fn backward<E: Sparse>(
    cx: &Context,
    x: &Inputs<'_, E>,
    saved: &Saved<'_, E>,
    dims: &Dims,
    to: Gradients<'_, E>,
    scratch: &mut [f32],
) {
    dims.check(x);
    assert!(dims.positions == dims.t, "{} positions for {} queries", dims.positions, dims.t);
    let Dims { b, t, h, k_heads, .. } = *dims;
    for (name, slice) in [("out", saved.out), ("dout", saved.dout), ("dq", &*to.q)] {
        check_len(name, slice, x.q.len());
    }
    check_len("lse", saved.lse, b * h * t);
    check_len("threshold", saved.threshold, b * t);
    check_len("boundary", saved.boundary, b * t);
    check_len("dk", to.k, x.k.len());
    check_len("dv", to.v, x.v.len());
    check_len("gradient of the indexer's queries", to.indexer_q, x.indexer.q.len());
    check_len("gradient of the indexer's keys", to.indexer_k, x.indexer.k.len());
    check_len("gradient of the indexer's weights", to.indexer_w, x.indexer.w.len());
    check_scratch(scratch, backward_scratch_len::<E>(cx, dims));
    if b == 0 || t == 0 {
        return;
    }
    let mut scratch = align(scratch);
    let packed_keys: &mut [E] = take_of(&mut scratch, b * packed_row_len::<E>(dims) * E::PER_LANE);
    let mut room = Room::take(dims, true, &mut scratch);
    let mut tiles = Tiles::take(dims, SPAN / QUERIES, true, &mut scratch);
    let [dk, dv] = [0; 2].map(|_| take(&mut scratch, sums_len::<E>(dims)));
    let pairs = dims.group() * Tiles::pairs(dims, SPAN / QUERIES);
    let [p, ds] = [0; 2].map(|_| take_of::<E>(&mut scratch, pairs));
    let sums = take(&mut scratch, Tiles::pairs(dims, SPAN / QUERIES));
    let [queries, douts] =
        [0; 2].map(|_| take_of::<E>(&mut scratch, packed_queries_len::<E>(dims)));
    let mut indexer = indexer_grad::Shared::<E>::take(dims, &mut scratch);
    pack_keys(cx, x.indexer.k, dims, &|_| t, packed_keys);
    let cuts = Cuts::Given(saved.threshold, saved.boundary);
    let (packed, keep) = (&*packed_keys, true);
    let source = Source { indexer: x.indexer, packed, dims: *dims, start: None, cuts, keep };
    let units = Units { rows: b, t };
    let mut dindexer = IndexerGradients {
        q: SharedSlice::new(to.indexer_q),
        k: to.indexer_k,
        w: SharedSlice::new(to.indexer_w),
    };
    let (dq, dk_out, dv_out) =
        (SharedSlice::new(to.q), SharedSlice::new(to.k), SharedSlice::new(to.v));
    for row in 0..b {
        indexer.start_row(cx, dims, x.indexer.k, row);
        for first in (0..units.per_row()).step_by(SPAN / QUERIES) {
            let n = (units.per_row() - first).min(SPAN / QUERIES);
            let span = Span { row, first, n };
            lists::build(cx, &source, (row * units.per_row() + first, n), &mut room, scratch);
            let lists = room.lists();
            let first_unit = row * units.per_row() + first;
            tiles.build(cx, lists, n, &|number| units.at(first_unit + number).n);
            let key_blocks = span.key_blocks(dims);
            for k_head in 0..k_heads {
                let shared =
                    Shared { inputs: x, saved, dims, tiles: &tiles, heads: Heads { span, k_head } };
                let threads = SharedSlice::new(scratch);
                let per_thread = queries_thread_len::<E>(dims);
                let to = QueriesTo {
                    dq,
                    p: SharedSlice::new(p),
                    ds: SharedSlice::new(ds),
                    sums: SharedSlice::new(sums),
                    queries: SharedSlice::new(queries),
                    douts: SharedSlice::new(douts),
                };
                cx.pool.run(n, &|task, thread| {
                    // SAFETY: a thread runs one task at a time.
                    let scratch = unsafe { threads.range(thread * per_thread, per_thread) };
                    queries_task(cx.isa, &shared, n - 1 - task, to, scratch);
                });
                let per_thread = keys_thread_len::<E>(dims);
                let from = KeysFrom { p, ds, queries, douts };
                let (dk, dv) = (SharedSlice::new(dk), SharedSlice::new(dv));
                cx.pool.run(key_blocks, &|block, thread| {
                    // SAFETY: a thread runs one task at a time.
                    let scratch = unsafe { threads.range(thread * per_thread, per_thread) };
                    keys_task(cx.isa, &shared, block, from, (dk, dv), scratch);
                });
            }
            let found = indexer_grad::Scores::Summed(sums, &tiles);
            indexer_grad::span(cx, &source, (span, found), lists, &mut indexer, &dindexer, scratch);
        }
        write_sums(cx, dims, row, (dk, 1.0 / (dims.d as f32).sqrt()), dk_out);
        write_sums(cx, dims, row, (dv, 1.0), dv_out);
        indexer.write_keys(cx, dims, row, &mut dindexer);
    }
}

/// Some units of one row that follow one another.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub row: usize,
    /// Number of the first unit in its row.
    pub first: usize,
    pub n: usize,
}

impl Span {
    /// Blocks of keys that some query of the span sees.
    pub(super) fn key_blocks(&self, dims: &Dims) -> usize {
        ((self.first + self.n) * QUERIES).min(dims.t).div_ceil(KEYS)
    }

    /// Whether no earlier span sees a block of keys.
    pub(super) fn is_first_of(&self, block: usize) -> bool {
        block * KEYS >= self.first * QUERIES
    }
}

/// Sets the gradients of one row's keys or values to `scale` times their sums.
fn write_sums<E: Sparse>(
    cx: &Context,
    dims: &Dims,
    row: usize,
    (sums, scale): (&mut [f32], f32),
    out: SharedSlice<E>,
) {
    let (blocks, k_heads, d) = (dims.key_blocks(), dims.k_heads, dims.d);
    let (width, sums) = (packed::<E>(d), SharedSlice::new(sums));
    cx.pool.run(k_heads * blocks, &|task, _| {
        let (k_head, block) = (task / blocks, task % blocks);
        let n = (dims.positions - block * KEYS).min(KEYS);
        for i in 0..n {
            let at = ((row * dims.positions + block * KEYS + i) * k_heads + k_head) * d;
            // SAFETY: every block of keys of a head is one task's.
            let (to, from) =
                unsafe { (out.range(at, d), sums.range((task * KEYS + i) * width, width)) };
            super::gradients::write_sums(cx.isa, from, scale, to);
        }
    });
}
