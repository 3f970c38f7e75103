//! The indexer's scores as they are, and their gradients: to look at, and to test with.

use super::backward::Span;
use super::indexer::{PART, Part, lanes, pack_keys, packed_row_len, score};
use super::indexer_grad::{self, IndexerGradients};
use super::lists::{self, Cuts, Room, Source, score_row};
use super::{Dims, Indexer, QUERIES, SPAN, Sparse, Units, check_len, check_scratch};
use crate::attention::rough::Rough;
use crate::attention::scratch::{LINE, align, len_of, lines, take, take_of};
use crate::pool::SharedSlice;
use crate::{Context, simd_fn};

/// Sizes of scores alone: every key is seen, none is local.
fn all_keys(dims: &Dims) -> Dims {
    Dims { h: 1, k_heads: 1, d: 1, positions: dims.t, local: 0, top_k: dims.t.max(1), ..*dims }
}

fn check<E>(x: &Indexer<'_, E>, dims: &Dims) {
    Dims { local: 1, top_k: 1, positions: dims.t, ..*dims }.check_indexer(x);
}

fn thread_len<E: Sparse>(dims: &Dims) -> usize {
    let queries = PART * dims.heads * lanes::<E>(dims.width) * E::PER_LANE;
    len_of::<E>(queries) + lines(PART * score_row(dims))
}

/// f32 values of scratch that [`indexer_scores`] needs.
pub fn scores_scratch_len<E: Sparse>(cx: &Context, dims: &Dims) -> usize {
    let dims = all_keys(dims);
    let keys = lines(dims.b * packed_row_len::<E>(&dims));
    LINE + keys + cx.pool.threads() * thread_len::<E>(&dims)
}

/// Sets `out` `[b, t, t]` to the scores of all keys up to the query's own, and 0 for those after it. Of `dims`, only `b`,
/// `t`, `heads` and `width` matter.
///
/// # Panics
/// When a slice is not as long as `dims` says, or `scratch` is shorter than [`scores_scratch_len`].
pub fn indexer_scores<E: Sparse>(
    cx: &Context,
    x: &Indexer<'_, E>,
    dims: &Dims,
    out: &mut [f32],
    scratch: &mut [f32],
) {
    check(x, dims);
    check_scratch(scratch, scores_scratch_len::<E>(cx, dims));
    let dims = all_keys(dims);
    let Dims { b, t, .. } = dims;
    check_len("scores", out, b * t * t);
    let mut scratch = align(scratch);
    let packed: &mut [E] = take_of(&mut scratch, b * packed_row_len::<E>(&dims) * E::PER_LANE);
    pack_keys(cx, x.k, &dims, &|_| t, packed);
    let packed = &*packed;
    let (parts, per_thread) = (t.div_ceil(PART), thread_len::<E>(&dims));
    let (out, threads) = (SharedSlice::new(out), SharedSlice::new(scratch));
    cx.pool.run(b * parts, &|task, thread| {
        let (row, first) = (task / parts, task % parts * PART);
        let n = (t - first).min(PART);
        // SAFETY: every query is one task's; a thread runs one task at a time.
        let (out, scratch) = unsafe {
            (
                out.range((row * t + first) * t, n * t),
                threads.range(thread * per_thread, per_thread),
            )
        };
        part_scores(cx.isa, x, packed, &dims, (row, first), out, scratch);
    });
}

simd_fn! {
    /// The scores of some queries of a row from `place.1` on.
    fn part_scores [E: Sparse] (
        x: &Indexer<'_, E>, packed: &[E], dims: &Dims, place: (usize, usize), out: &mut [f32], scratch: &mut [f32],
    ) = part_kernel
}
#[inline(always)]
fn part_kernel<S: Rough, E: Sparse>(
    s: S,
    x: &Indexer<'_, E>,
    packed: &[E],
    dims: &Dims,
    (row, first): (usize, usize),
    out: &mut [f32],
    mut scratch: &mut [f32],
) {
    let Dims { t, heads, width, .. } = *dims;
    let (n, score_row) = (out.len() / t, score_row(dims));
    let at = row * t + first;
    let packed_row = packed_row_len::<E>(dims) * E::PER_LANE;
    let mut ends = [0; PART];
    for i in 0..n {
        ends[i] = first + i + 1;
    }
    let part = Part {
        q: &x.q[at * heads * width..][..n * heads * width],
        w: &x.w[at * heads..][..n * heads],
        keys: &packed[row * packed_row..][..packed_row],
        heads,
        width,
        ends,
        n,
        row: score_row,
    };
    let queries = take_of(&mut scratch, PART * part.packed_query());
    let scores = take(&mut scratch, PART * score_row);
    score::<S, E, false>(s, &part, queries, scores, &mut []);
    for (i, out) in out.chunks_exact_mut(t).enumerate() {
        let (seen, after) = out.split_at_mut(ends[i]);
        seen.copy_from_slice(&scores[i * score_row..][..ends[i]]);
        after.fill(0.0);
    }
}

/// f32 values of scratch that [`indexer_scores_grad`] needs.
pub fn scores_grad_scratch_len<E: Sparse>(cx: &Context, dims: &Dims) -> usize {
    let dims = all_keys(dims);
    let per_thread = lists::thread_len::<E>(&dims, true).max(indexer_grad::thread_len::<E>(&dims));
    LINE + lines(dims.b * packed_row_len::<E>(&dims))
        + Room::len(&dims, true)
        + indexer_grad::shared_len::<E>(&dims)
        + cx.pool.threads() * per_thread
}

/// Sets the gradients of the indexer's queries, keys and weights from `dscores` `[b, t, t]`, of which later keys count for
/// nothing.
///
/// # Panics
/// When a slice is not as long as `dims` says, or `scratch` is shorter than [`scores_grad_scratch_len`].
pub fn indexer_scores_grad<E: Sparse>(
    cx: &Context,
    x: &Indexer<'_, E>,
    dscores: &[f32],
    dims: &Dims,
    (dq, dk, dw): (&mut [E], &mut [E], &mut [f32]),
    scratch: &mut [f32],
) {
    check(x, dims);
    check_scratch(scratch, scores_grad_scratch_len::<E>(cx, dims));
    let dims = all_keys(dims);
    let Dims { b, t, .. } = dims;
    check_len("dscores", dscores, b * t * t);
    check_len("gradient of the indexer's queries", dq, x.q.len());
    check_len("gradient of the indexer's keys", dk, x.k.len());
    check_len("gradient of the indexer's weights", dw, x.w.len());
    let mut scratch = align(scratch);
    let packed: &mut [E] = take_of(&mut scratch, b * packed_row_len::<E>(&dims) * E::PER_LANE);
    let mut room = Room::take(&dims, true, &mut scratch);
    let mut shared = indexer_grad::Shared::<E>::take(&dims, &mut scratch);
    pack_keys(cx, x.k, &dims, &|_| t, packed);
    let (cuts, packed) = (Cuts::FindOnly, &*packed);
    let source = Source { indexer: *x, packed, dims, start: None, cuts, keep: true };
    let units = Units { rows: b, t };
    let mut to = IndexerGradients { q: SharedSlice::new(dq), k: dk, w: SharedSlice::new(dw) };
    for row in 0..b {
        shared.start_row(cx, &dims, x.k, row);
        for first in (0..units.per_row()).step_by(SPAN / QUERIES) {
            let n = (units.per_row() - first).min(SPAN / QUERIES);
            lists::build(cx, &source, (row * units.per_row() + first, n), &mut room, scratch);
            let span = (Span { row, first, n }, indexer_grad::Scores::Given(dscores));
            indexer_grad::span(cx, &source, span, room.lists(), &mut shared, &to, scratch);
        }
        shared.write_keys(cx, &dims, row, &mut to);
    }
}
