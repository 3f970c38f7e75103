//! Attention over a cache of keys and values, for prefill and decoding.

use super::decode::{self, decode};
use super::element::Attend;
use super::forward::Block;
use super::order::head_and_rank;
use super::pack::HeadRows;
use super::scratch::{LINE, align, run_with_scratch};
use super::strided::Strided;
use super::{check_heads, check_len, check_scratch};
use crate::Context;
use crate::pool::SharedSlice;

/// Sizes of an attention over a cache. `q` and `out` are `[b, t, h, d]`, both caches `[b, capacity, k_heads, d]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheDims {
    /// Rows.
    pub b: usize,
    /// New positions of every row.
    pub t: usize,
    /// Positions that the cache can hold.
    pub capacity: usize,
    /// Query heads, a multiple of `k_heads`.
    pub h: usize,
    /// Key/value heads.
    pub k_heads: usize,
    /// Head size.
    pub d: usize,
    /// A query sees itself and this many positions before it.
    pub window: usize,
}

impl CacheDims {
    fn check(&self, start: &[i32]) {
        check_heads(self.h, self.k_heads, self.d);
        assert!(start.len() == self.b, "attention: {} starts for {} rows", start.len(), self.b);
    }

    fn cache_len(&self) -> usize {
        self.b * self.capacity * self.k_heads * self.d
    }

    /// Position of the first new query of a row.
    pub(super) fn first(&self, start: &[i32], row: usize) -> usize {
        start[row].max(0) as usize
    }
}

/// f32 values of scratch that [`cached`] needs.
pub fn cached_scratch_len<E: Attend>(cx: &Context, dims: &CacheDims) -> usize {
    if dims.t <= decode::MOST_QUERIES {
        LINE + decode::scratch_len(cx, dims)
    } else {
        LINE + cx.pool.threads() * E::block_scratch_len(dims.d)
    }
}

/// Sets `out`: query t of row b stands at position `start[b] + t` (a negative start counts as 0) and sees the cache at
/// that position and at the `window` ones before it. The keys and values of the new positions are already there
/// ([`cache_write`]). Queries at positions beyond the capacity get finite values without meaning.
///
/// # Panics
/// When a slice is not as long as `dims` says, or `scratch` is shorter than [`cached_scratch_len`].
#[allow(clippy::too_many_arguments)]
pub fn cached<E: Attend>(
    cx: &Context,
    q: &[E],
    k_cache: &[E],
    v_cache: &[E],
    start: &[i32],
    dims: &CacheDims,
    out: &mut [E],
    scratch: &mut [f32],
) {
    dims.check(start);
    let CacheDims { b, t, capacity, h, k_heads, d, window } = *dims;
    check_len("q", q, b * t * h * d);
    check_len("k_cache", k_cache, dims.cache_len());
    check_len("v_cache", v_cache, dims.cache_len());
    check_len("out", out, b * t * h * d);
    check_scratch(scratch, cached_scratch_len::<E>(cx, dims));
    if capacity == 0 {
        return out.fill(E::ZERO);
    }
    let scratch = align(scratch);
    if t <= decode::MOST_QUERIES {
        return decode(cx, q, k_cache, v_cache, start, dims, out, scratch);
    }
    let (blocks, threads) = (t.div_ceil(E::QUERIES), cx.pool.threads());
    let tasks = b * h * blocks;
    // The input of a task, and where its queries start.
    let input = |task| {
        // Late blocks see the most keys: they go first.
        let (row_head, rank) = head_and_rank(task, b * h, blocks, threads);
        let (row, head) = (row_head / h, row_head % h);
        let (first, k_head) = ((blocks - 1 - rank) * E::QUERIES, head / (h / k_heads));
        let rows = (t - first).min(E::QUERIES);
        let keys = (row * capacity * k_heads + k_head) * d;
        let queries = ((row * t + first) * h + head) * d;
        let input = Block {
            isa: cx.isa,
            q: HeadRows::new(q, queries, h * d, rows, d),
            k: HeadRows::new(k_cache, keys, k_heads * d, capacity, d),
            v: HeadRows::new(v_cache, keys, k_heads * d, capacity, d),
            first: dims.first(start, row) + first,
            window,
        };
        (input, queries)
    };
    let out = SharedSlice::new(out);
    run_with_scratch(&cx.pool, tasks, scratch, E::block_scratch_len(d), &|task, scratch| {
        let (block, queries) = input(task);
        let next = input((task + threads).min(tasks - 1)).0;
        let len = (block.q.rows - 1) * h * d + d;
        // SAFETY: every task has its own head and block of queries.
        let out = unsafe { Strided::new(&out, queries, h * d, len) };
        E::forward_block((block, next), out, None, scratch);
    });
}

/// Positions in a task that writes to a cache.
const POSITIONS: usize = 64;

/// Writes `new` `[b, t, k_heads, d]` into `cache` `[b, capacity, k_heads, d]`, row b from position `start[b]` on (a
/// negative start counts as 0). What would lie beyond the capacity is left out.
///
/// # Panics
/// When a slice is not as long as `dims` says.
pub fn cache_write<E: Attend>(
    cx: &Context,
    cache: &mut [E],
    new: &[E],
    start: &[i32],
    dims: &CacheDims,
) {
    dims.check(start);
    let width = dims.k_heads * dims.d;
    check_len("cache", cache, dims.cache_len());
    check_len("new keys or values", new, dims.b * dims.t * width);
    let cache = SharedSlice::new(cache);
    let blocks = dims.t.div_ceil(POSITIONS);
    cx.pool.run(dims.b * blocks, &|task, _| {
        let (row, block) = (task / blocks, task % blocks * POSITIONS);
        let position = dims.first(start, row) + block;
        let n = (dims.t - block).min(POSITIONS).min(dims.capacity.saturating_sub(position));
        if n > 0 {
            let from = &new[(row * dims.t + block) * width..][..n * width];
            // SAFETY: each task has its own positions of its own row.
            let to = unsafe { cache.range((row * dims.capacity + position) * width, n * width) };
            to.copy_from_slice(from);
        }
    });
}
