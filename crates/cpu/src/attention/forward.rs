//! Output and log-sum-exp, one block of queries per task.

use super::element::Attend;
use super::order::head_and_rank;
use super::pack::HeadRows;
use super::scratch::{LINE, align, run_with_scratch};
use super::strided::Strided;
use super::{Dims, check_len, check_scratch};
use crate::pool::SharedSlice;
use crate::{Context, Isa};

/// f32 values of scratch that [`forward`] needs.
pub fn forward_scratch_len<E: Attend>(cx: &Context, dims: &Dims) -> usize {
    LINE + cx.pool.threads() * E::block_scratch_len(dims.d)
}

/// Sets `out` and `lse` (natural logarithm of the sum of `e^score` over what a query sees).
///
/// # Panics
/// When a slice is not as long as `dims` says, or `scratch` is shorter than [`forward_scratch_len`].
#[allow(clippy::too_many_arguments)]
pub fn forward<E: Attend>(
    cx: &Context,
    q: &[E],
    k: &[E],
    v: &[E],
    dims: &Dims,
    out: &mut [E],
    lse: &mut [f32],
    scratch: &mut [f32],
) {
    dims.check();
    let Dims { b, t, h, k_heads, d, window } = *dims;
    check_len("q", q, dims.queries_len());
    check_len("k", k, dims.keys_len());
    check_len("v", v, dims.keys_len());
    check_len("out", out, dims.queries_len());
    check_len("lse", lse, b * h * t);
    check_scratch(scratch, forward_scratch_len::<E>(cx, dims));
    let (blocks, threads) = (t.div_ceil(E::QUERIES), cx.pool.threads());
    let tasks = b * h * blocks;
    // The input of a task, its row and head, and where its queries start.
    let input = |task| {
        // Late blocks see the most keys: they go first.
        let (row_head, rank) = head_and_rank(task, b * h, blocks, threads);
        let block = blocks - 1 - rank;
        let (row, head) = (row_head / h, row_head % h);
        let (first, k_head) = (block * E::QUERIES, head / (h / k_heads));
        let rows = (t - first).min(E::QUERIES);
        let keys = (row * t * k_heads + k_head) * d;
        let queries = ((row * t + first) * h + head) * d;
        let input = Block {
            isa: cx.isa,
            q: HeadRows::new(q, queries, h * d, rows, d),
            k: HeadRows::new(k, keys, k_heads * d, t, d),
            v: HeadRows::new(v, keys, k_heads * d, t, d),
            first,
            window,
        };
        (input, row_head, queries)
    };
    let (out, lse) = (SharedSlice::new(out), SharedSlice::new(lse));
    let per_thread = E::block_scratch_len(d);
    run_with_scratch(&cx.pool, tasks, align(scratch), per_thread, &|task, scratch| {
        let (block, row_head, queries) = input(task);
        let (rows, next) = (block.q.rows, input((task + threads).min(tasks - 1)).0);
        let len = (rows - 1) * h * d + d;
        // SAFETY: every task has its own head and block of queries.
        let out = unsafe { Strided::new(&out, queries, h * d, len) };
        // SAFETY: as above.
        let lse = unsafe { lse.range(row_head * t + block.first, rows) };
        E::forward_block((block, next), out, Some(lse), scratch);
    });
}

/// A block of queries of one head, and all the keys that its row has.
#[derive(Clone, Copy)]
pub struct Block<'a, E> {
    pub(super) isa: Isa,
    pub(super) q: HeadRows<'a, E>,
    pub(super) k: HeadRows<'a, E>,
    pub(super) v: HeadRows<'a, E>,
    /// Position of the first query.
    pub(super) first: usize,
    pub(super) window: usize,
}
