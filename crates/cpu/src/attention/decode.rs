//! A few queries per row against a long cache: the time is that of reading the cache once.
//!
//! A task takes some chunks of positions of one row, one after another, all heads of them, so that it reads memory from
//! front to back, asks for it ahead across chunks, and the number of tasks does not depend on the number of heads. Chunks
//! leave their maxima, sums and unscaled outputs; a second pass combines them in ascending order.

use super::LOWEST;
use super::cached::CacheDims;
use super::element::Attend;
use super::scratch::{LINE, align, padded, take};
use crate::pool::SharedSlice;
use crate::simd::Simd;
use crate::{Context, math, simd_fn};

/// With more queries per row than this, tiles are faster.
pub(super) const MOST_QUERIES: usize = 8;

/// Positions in a chunk; a multiple of every vector length and of `KEYS`.
const CHUNK: usize = 128;

/// Tasks for each thread, where there are as many chunks: some end sooner than others.
const TASKS: usize = 4;

/// Keys that are worked on together.
const KEYS: usize = 4;

/// How many keys ahead of their use rows are fetched: the heads' rows of a few keys interleave in a way that the hardware
/// follows badly.
const AHEAD: usize = 8;

/// Values that a chunk leaves for each query and head: output, maximum, sum.
fn partial_len(d: usize) -> usize {
    padded(d) + LINE
}

/// f32 values, from an aligned start.
pub(super) fn scratch_len(cx: &Context, dims: &CacheDims) -> usize {
    let queries = dims.t * dims.h;
    let partials = dims.b * dims.capacity.div_ceil(CHUNK) * queries * partial_len(dims.d);
    partials + cx.pool.threads() * thread_len(queries, dims.d)
}

/// f32 values that a thread needs: scores of `queries` queries and heads, later one output.
fn thread_len(queries: usize, d: usize) -> usize {
    (queries * CHUNK).max(padded(d))
}

#[allow(clippy::too_many_arguments)]
pub(super) fn decode<E: Attend>(
    cx: &Context,
    q: &[E],
    k_cache: &[E],
    v_cache: &[E],
    start: &[i32],
    dims: &CacheDims,
    out: &mut [E],
    scratch: &mut [f32],
) {
    let CacheDims { b, t, capacity, h, k_heads, d, .. } = *dims;
    let queries = t * h;
    let chunks = capacity.div_ceil(CHUNK);
    let (per_chunk, per_thread) = (queries * partial_len(d), thread_len(queries, d));
    let mut scratch = align(scratch);
    let partials = take(&mut scratch, b * chunks * per_chunk);
    let shared = SharedSlice::new(partials);
    let scores = SharedSlice::new(scratch);
    let parts = (TASKS * cx.pool.threads()).div_ceil(b.max(1)).min(chunks);
    cx.pool.run(b * parts, &|task, thread| {
        let (row, part) = (task / parts, task % parts);
        let cache = row * capacity * k_heads * d..(row + 1) * capacity * k_heads * d;
        let first_query = dims.first(start, row);
        let seen = chunks_seen(first_query, t, dims);
        let bound = |part: usize| seen.start + seen.len() * part / parts;
        let mine = bound(part)..bound(part + 1);
        for chunk in mine.clone() {
            let place = Chunk {
                q: &q[row * queries * d..][..queries * d],
                k: &k_cache[cache.clone()],
                v: &v_cache[cache.clone()],
                first_query,
                first_key: chunk * CHUNK,
                goes_on: chunk + 1 < mine.end,
                dims: *dims,
            };
            // SAFETY: each chunk has its own partial results and is one task's, each thread has its own scores.
            let (partial, scores) = unsafe {
                (
                    shared.range((row * chunks + chunk) * per_chunk, per_chunk),
                    scores.range(thread * per_thread, queries * CHUNK),
                )
            };
            chunk_partial(cx.isa, place, scores, partial);
        }
    });
    let (partials, out) = (&*partials, SharedSlice::new(out));
    cx.pool.run(b * t, &|task, thread| {
        let (row, query) = (task / t, task % t);
        let position = dims.first(start, row) + query;
        let chunks_seen = chunks_seen(position, 1, dims);
        for head in 0..h {
            // SAFETY: each task has its own position.
            let out = unsafe { out.range((task * h + head) * d, d) };
            let first = row * chunks * per_chunk + (query * h + head) * partial_len(d);
            // SAFETY: the first pass is over; each thread has its own scratch.
            let sum = unsafe { scores.range(thread * per_thread, padded(d)) };
            combine(cx.isa, &partials[first..], per_chunk, chunks_seen.clone(), sum, out);
        }
    });
}

/// The chunks in which any of the `t` queries from `position` on sees something.
fn chunks_seen(position: usize, t: usize, dims: &CacheDims) -> std::ops::Range<usize> {
    let end = (position + t).min(dims.capacity);
    let start = position.saturating_sub(dims.window);
    if start < end { start / CHUNK..end.div_ceil(CHUNK) } else { 0..0 }
}

/// The part of `first..end` that a query at `position` sees; empty parts are `first..first`.
fn visible(position: usize, dims: &CacheDims, first: usize, end: usize) -> std::ops::Range<usize> {
    let lo = position.saturating_sub(dims.window).max(first);
    let hi = (position + 1).min(end);
    if lo < hi { lo..hi } else { first..first }
}

/// One row's queries `[t, h, d]` and cache `[capacity, k_heads, d]`, and the chunk of it that is at hand.
struct Chunk<'a, E> {
    q: &'a [E],
    k: &'a [E],
    v: &'a [E],
    first_query: usize,
    first_key: usize,
    /// Whether the same task takes the next chunk, too.
    goes_on: bool,
    dims: CacheDims,
}

simd_fn! {
    /// Sets `partial` `[t, h, partial_len]`; `scores` is `[t, h, CHUNK]`.
    fn chunk_partial [E: Attend] (x: Chunk<'_, E>, scores: &mut [f32], partial: &mut [f32]) = chunk_kernel
}
#[inline(always)]
fn chunk_kernel<S: Simd, E: Attend>(
    s: S,
    x: Chunk<'_, E>,
    scores: &mut [f32],
    partial: &mut [f32],
) {
    let CacheDims { t, h, k_heads, d, capacity, .. } = x.dims;
    let end = (x.first_key + CHUNK).min(capacity);
    // What any of the queries sees.
    let from = x.first_query.saturating_sub(x.dims.window).max(x.first_key);
    let to = (x.first_query + t).min(end);
    if from >= to {
        return;
    }
    // Whole groups of keys, counted from the start of the chunk.
    let from = from - (from - x.first_key) % KEYS;
    let group = h / k_heads;
    let scale = 1.0 / (d as f32).sqrt();
    let rows = Rows { last: end - 1, k_heads, d };
    for key in (from..to).step_by(KEYS) {
        for k_head in 0..k_heads {
            let k = rows.of(x.k, key, k_head);
            // Values come next.
            let ahead = key + AHEAD;
            let (data, at) = if ahead < to { (x.k, ahead) } else { (x.v, from + ahead - to) };
            prefetch(s, data, (at * k_heads + k_head) * d, k_heads * d, d);
            for query in 0..t {
                for head in k_head * group..(k_head + 1) * group {
                    let at = query * h + head;
                    let dots = dots(s, &x.q[at * d..][..d], k);
                    for (m, dot) in dots.into_iter().enumerate() {
                        scores[at * CHUNK + key - x.first_key + m] = scale * dot;
                    }
                }
            }
        }
    }
    let d_padded = padded(d);
    for (at, partial) in partial.chunks_exact_mut(partial_len(d)).enumerate() {
        let seen = visible(x.first_query + at / h, &x.dims, x.first_key, end);
        let p = &mut scores[at * CHUNK..][..CHUNK];
        p[..seen.start - x.first_key].fill(LOWEST);
        p[seen.end - x.first_key..].fill(LOWEST);
        let (max, total) = softmax(s, p);
        let (output, statistics) = partial.split_at_mut(d_padded);
        output.fill(0.0);
        (statistics[0], statistics[1]) = (max, total);
    }
    for key in (from..to).step_by(KEYS) {
        for k_head in 0..k_heads {
            let v = rows.of(x.v, key, k_head);
            let ahead = key + AHEAD;
            if ahead < to || x.goes_on {
                let data = if ahead < to { x.v } else { x.k };
                prefetch(s, data, (ahead * k_heads + k_head) * d, k_heads * d, d);
            }
            for query in 0..t {
                for head in k_head * group..(k_head + 1) * group {
                    let at = query * h + head;
                    let p = &scores[at * CHUNK + key - x.first_key..][..KEYS];
                    add_weighted(s, p, v, &mut partial[at * partial_len(d)..][..d_padded]);
                }
            }
        }
    }
}

/// How keys or values lie in a row's cache.
struct Rows {
    last: usize,
    k_heads: usize,
    d: usize,
}

impl Rows {
    /// Those of one head at `KEYS` positions; beyond the last one it is repeated.
    #[inline(always)]
    fn of<'a, E>(&self, data: &'a [E], key: usize, k_head: usize) -> [&'a [E]; KEYS] {
        let mut rows: [&[E]; KEYS] = [&[]; KEYS];
        for (m, row) in rows.iter_mut().enumerate() {
            let at = (key + m).min(self.last) * self.k_heads + k_head;
            *row = &data[at * self.d..][..self.d];
        }
        rows
    }
}

/// Starts bringing `KEYS` rows of `len` values nearer, `stride` values apart from `at` on; beyond the cache's end that does
/// nothing.
#[inline(always)]
fn prefetch<S: Simd, E: Attend>(s: S, data: &[E], at: usize, stride: usize, len: usize) {
    for row in 0..KEYS {
        for c in (0..len).step_by(LINE * E::PER_LANE) {
            s.prefetch(data.as_ptr().wrapping_add(at + row * stride + c).cast());
        }
    }
}

#[inline(always)]
fn dots<S: Simd, E: Attend>(s: S, q: &[E], k: [&[E]; KEYS]) -> [f32; KEYS] {
    let per_vector = S::LANES * E::PER_LANE;
    let whole = q.len() / per_vector * per_vector;
    let rest = q.len() - whole;
    assert!(k.iter().all(|k| k.len() == q.len()));
    let mut acc = [s.splat(0.0); KEYS];
    // SAFETY: before `whole` there are whole vectors, after it `rest` values, in q as in each k.
    unsafe {
        for c in (0..whole).step_by(per_vector) {
            let q = E::load_lanes(s, q.as_ptr().add(c));
            for m in 0..KEYS {
                acc[m] = E::multiply_add(s, q, E::load_lanes(s, k[m].as_ptr().add(c)), acc[m]);
            }
        }
        if rest > 0 {
            let q = E::load_lanes_partial(s, q.as_ptr().add(whole), rest);
            for m in 0..KEYS {
                let k = E::load_lanes_partial(s, k[m].as_ptr().add(whole), rest);
                acc[m] = E::multiply_add(s, q, k, acc[m]);
            }
        }
    }
    s.reduce_add_4(acc)
}

/// `out += Σ_m p[m]·v[m]`
#[inline(always)]
fn add_weighted<S: Simd, E: Attend>(s: S, p: &[f32], v: [&[E]; KEYS], out: &mut [f32]) {
    let d = v[0].len();
    for c in (0..d).step_by(S::LANES) {
        let mut sum = s.load(&out[c..]);
        for m in 0..KEYS {
            sum = s.mul_add(s.splat(p[m]), load(s, &v[m][c..]), sum);
        }
        s.store(&mut out[c..], sum);
    }
}

/// The first values of `x`, a whole vector of them if there are as many.
#[inline(always)]
fn load<S: Simd, E: Attend>(s: S, x: &[E]) -> S::V {
    // SAFETY: the slice holds as many values.
    unsafe {
        if x.len() >= S::LANES {
            E::load(s, x.as_ptr())
        } else {
            E::load_partial(s, x.as_ptr(), x.len())
        }
    }
}

/// Turns scores into `e^(score - max)`, 0 where they are [`LOWEST`]; returns the maximum and the sum.
#[inline(always)]
fn softmax<S: Simd>(s: S, p: &mut [f32]) -> (f32, f32) {
    let mut max = s.splat(LOWEST);
    for p in p.chunks_exact(S::LANES) {
        max = s.max(max, s.load(p));
    }
    let max = s.reduce_max(max);
    let mut total = s.splat(0.0);
    for p in p.chunks_exact_mut(S::LANES) {
        let score = s.load(p);
        let e = math::exp(s, s.sub(score, s.splat(max)));
        let e = s.select_ge(score, s.splat(0.5 * LOWEST), e, s.splat(0.0));
        total = s.add(total, e);
        s.store(p, e);
    }
    (max, s.reduce_add(total))
}

simd_fn! {
    /// Sets `out` from the partial results, one every `stride` values; `sum` is `[d_padded]` values of scratch.
    fn combine [E: Attend] (
        partials: &[f32], stride: usize, chunks: std::ops::Range<usize>, sum: &mut [f32], out: &mut [E],
    ) = combine_kernel
}
#[inline(always)]
fn combine_kernel<S: Simd, E: Attend>(
    s: S,
    partials: &[f32],
    stride: usize,
    chunks: std::ops::Range<usize>,
    sum: &mut [f32],
    out: &mut [E],
) {
    let d_padded = padded(out.len());
    let statistics = |chunk: usize| {
        let at = chunk * stride + d_padded;
        (partials[at], partials[at + 1])
    };
    let max = chunks.clone().map(|chunk| statistics(chunk).0).fold(LOWEST, f32::max);
    let weight = |chunk: usize| (statistics(chunk).0 - max).exp();
    let total: f32 = chunks.clone().map(|chunk| weight(chunk) * statistics(chunk).1).sum();
    let inverse = if total > 0.0 { 1.0 / total } else { 0.0 };
    sum.fill(0.0);
    for chunk in chunks {
        let weight = s.splat(weight(chunk) * inverse);
        let partial = &partials[chunk * stride..][..d_padded];
        for c in (0..d_padded).step_by(S::LANES) {
            let sum = &mut sum[c..];
            s.store(sum, s.mul_add(weight, s.load(&partial[c..]), s.load(sum)));
        }
    }
    for c in (0..out.len()).step_by(S::LANES) {
        let (x, left) = (s.load(&sum[c..]), out.len() - c);
        // SAFETY: `left` values are left.
        unsafe {
            let to = out.as_mut_ptr().add(c);
            if left >= S::LANES { E::store(s, to, x) } else { E::store_partial(s, to, x, left) }
        }
    }
}
