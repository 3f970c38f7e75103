//! Output and log-sum-exp: a block of queries of one key/value head per task, one block of keys after another.

use super::gather::{add_weighted, dots};
use super::indexer::{pack_keys, packed_row_len};
use super::lists::{self, Cuts, Lists, Room, Source, end};
use super::{Dims, Inputs, KEYS, Sparse, Unit, Units, check_len, check_scratch, packed};
use crate::attention::LOWEST;
use crate::attention::pack::{HeadRows, pack};
use crate::attention::rough::Rough;
use crate::attention::scratch::{LINE, align, len_of, lines, take, take_of};
use crate::pool::SharedSlice;
use crate::simd::{Element, Simd};
use crate::{Context, simd_fn};
use std::f32::consts::{LN_2, LOG2_E};

/// Room for the scores of a query with a block of keys, and what is written behind them.
pub(super) const SCORES: usize = KEYS + LINE;

/// f32 values of scratch that [`forward`] needs.
pub fn forward_scratch_len<E: Sparse>(cx: &Context, dims: &Dims) -> usize {
    scratch_len::<E>(cx, dims)
}

pub(super) fn scratch_len<E: Sparse>(cx: &Context, dims: &Dims) -> usize {
    let per_thread = lists::thread_len::<E>(dims, false).max(thread_len::<E>(dims));
    LINE + lines(dims.b * packed_row_len::<E>(dims))
        + Room::len(dims, false)
        + cx.pool.threads() * per_thread
}

/// What [`forward`] sets.
pub struct Outputs<'a, E> {
    /// Like q.
    pub out: &'a mut [E],
    /// Natural logarithm of the sum of `e^score` over what a query sees, `[b, h, t]`.
    pub lse: &'a mut [f32],
    /// With `boundary`, both `[b, t]`: a key outside the local window is seen when its score is above the threshold, or
    /// equal to it and the key's position the boundary or later.
    pub threshold: &'a mut [f32],
    /// See `threshold`.
    pub boundary: &'a mut [i32],
}

/// Sets all of `to`.
///
/// # Panics
/// When a slice is not as long as `dims` says, or `scratch` is shorter than [`forward_scratch_len`].
pub fn forward<E: Sparse>(
    cx: &Context,
    x: &Inputs<'_, E>,
    dims: &Dims,
    to: Outputs<'_, E>,
    scratch: &mut [f32],
) {
    dims.check(x);
    let Dims { b, t, h, .. } = *dims;
    check_len("out", to.out, x.q.len());
    check_len("lse", to.lse, b * h * t);
    check_len("threshold", to.threshold, b * t);
    check_len("boundary", to.boundary, b * t);
    let cuts = Cuts::Find(SharedSlice::new(to.threshold), SharedSlice::new(to.boundary));
    attend(cx, x, dims, (None, cuts), (to.out, Some(to.lse)), scratch);
}

/// Attention of all queries, from `start` on if that is given.
pub(super) fn attend<E: Sparse>(
    cx: &Context,
    x: &Inputs<'_, E>,
    dims: &Dims,
    (start, cuts): (Option<&[i32]>, Cuts<'_>),
    (out, lse): (&mut [E], Option<&mut [f32]>),
    scratch: &mut [f32],
) {
    check_scratch(scratch, scratch_len::<E>(cx, dims));
    let mut scratch = align(scratch);
    let packed_keys: &mut [E] =
        take_of(&mut scratch, dims.b * packed_row_len::<E>(dims) * E::PER_LANE);
    let mut room = Room::take(dims, false, &mut scratch);
    if dims.t == 0 || dims.b == 0 {
        return;
    }
    let last = |row: usize| end(dims, start, row, dims.t - 1);
    pack_keys(cx, x.indexer.k, dims, &last, packed_keys);
    let packed: &[E] = packed_keys;
    let source = Source { indexer: x.indexer, packed, dims: *dims, start, cuts, keep: false };
    let units = Units { rows: dims.b, t: dims.t };
    let (out, lse) = (SharedSlice::new(out), lse.map(SharedSlice::new));
    let per_thread = thread_len::<E>(dims);
    for first in (0..units.len()).step_by(units.in_span()) {
        let n = (units.len() - first).min(units.in_span());
        lists::build(cx, &source, (first, n), &mut room, scratch);
        let lists = room.lists();
        let threads = SharedSlice::new(scratch);
        cx.pool.run(n * dims.k_heads, &|task, thread| {
            let (number, k_head) = (n - 1 - task / dims.k_heads, task % dims.k_heads);
            let unit = units.at(first + number);
            let last_end = source.end(unit.row, unit.first + unit.n - 1);
            // SAFETY: a thread runs one task at a time.
            let scratch = unsafe { threads.range(thread * per_thread, per_thread) };
            let place = Place { unit, number, k_head, blocks: last_end.div_ceil(KEYS) };
            attend_unit(cx.isa, x, dims, place, lists, (out, lse), scratch);
        });
    }
}

/// A block of queries and a key/value head.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub unit: Unit,
    /// The unit's number in its span.
    pub number: usize,
    pub k_head: usize,
    /// Blocks of keys that some query sees.
    pub blocks: usize,
}

/// A head's rows of queries, or of what is like them.
pub(super) fn query_rows<'a, E: Sparse>(
    data: &'a [E],
    dims: &Dims,
    unit: Unit,
    head: usize,
) -> HeadRows<'a, E> {
    let Dims { t, h, d, .. } = *dims;
    HeadRows::new(data, ((unit.row * t + unit.first) * h + head) * d, h * d, unit.n, d)
}

/// A head's rows of a block of keys or values.
pub(super) fn key_rows<'a, E: Sparse>(
    data: &'a [E],
    dims: &Dims,
    (row, k_head): (usize, usize),
    block: usize,
) -> HeadRows<'a, E> {
    let Dims { positions, k_heads, d, .. } = *dims;
    let first = block * KEYS;
    let offset = ((row * positions + first) * k_heads + k_head) * d;
    HeadRows::new(data, offset, k_heads * d, (positions - first).min(KEYS), d)
}

/// f32 values that a task of [`attend`] needs.
fn thread_len<E: Sparse>(dims: &Dims) -> usize {
    let (width, queries) = (packed::<E>(dims.d), dims.group() * dims.t.min(super::QUERIES));
    let per_query = queries * (1 + LINE) + queries * width;
    2 * len_of::<E>(KEYS * width)
        + len_of::<E>(queries * width)
        + lines(per_query)
        + 3 * LINE
        + queries.min(super::QUERIES) * SCORES
        + len_of::<E>(SCORES)
}

simd_fn! {
    /// Attention of a unit's queries of the heads that share one of keys.
    fn attend_unit [E: Sparse] (
        x: &Inputs<'_, E>, dims: &Dims, place: Place, lists: Lists<'_>,
        to: (SharedSlice<E>, Option<SharedSlice<f32>>), scratch: &mut [f32],
    ) = attend_kernel
}
#[inline(always)]
fn attend_kernel<S: Rough, E: Sparse>(
    s: S,
    x: &Inputs<'_, E>,
    dims: &Dims,
    place: Place,
    lists: Lists<'_>,
    (out, lse): (SharedSlice<E>, Option<SharedSlice<f32>>),
    mut scratch: &mut [f32],
) {
    let Dims { t, h, d, .. } = *dims;
    let Place { unit, number, k_head, blocks } = place;
    let (width, group, n) = (packed::<E>(d), dims.group(), unit.n);
    let scale = LOG2_E / (d as f32).sqrt();
    let k_block = take_of::<E>(&mut scratch, KEYS * width);
    let v_block = take_of::<E>(&mut scratch, KEYS * width);
    let queries = take_of::<E>(&mut scratch, group * n * width);
    let sums = take(&mut scratch, group * n * width);
    let base = take(&mut scratch, group * n);
    let totals = take(&mut scratch, group * n * LINE);
    let scores = take(&mut scratch, n * SCORES);
    let weights = take_of::<E>(&mut scratch, SCORES);
    for head in 0..group {
        let rows = query_rows(x.q, dims, unit, k_head * group + head);
        pack(s, rows, width, &mut queries[head * n * width..]);
    }
    sums.fill(0.0);
    base.fill(LOWEST);
    totals.fill(0.0);
    for block in 0..blocks {
        pack(s, key_rows(x.k, dims, (unit.row, k_head), block), width, k_block);
        pack(s, key_rows(x.v, dims, (unit.row, k_head), block), width, v_block);
        for head in 0..group {
            for i in 0..n {
                let (list, _) = lists.keys(lists.number(number, i), block);
                let q = queries[(head * n + i) * width..][..width].as_ptr();
                let scores = &mut scores[i * SCORES..][..SCORES];
                // SAFETY: lists name keys of the block, whose rows are packed; there is room behind the scores.
                unsafe { dots(s, q, k_block.as_ptr(), width, list, scores.as_mut_ptr()) };
            }
            for i in 0..n {
                let (list, _) = lists.keys(lists.number(number, i), block);
                if list.is_empty() {
                    continue;
                }
                let at = head * n + i;
                let scores = &mut scores[i * SCORES..][..SCORES];
                let sum = &mut sums[at * width..][..width];
                let totals = &mut totals[at * LINE..][..LINE];
                softmax(s, (scores, list.len(), scale), &mut base[at], totals, sum, weights);
                // SAFETY: as above.
                unsafe { add_weighted(s, v_block.as_ptr(), width, list, weights, sum) };
            }
        }
    }
    for head in 0..group {
        let h_at = k_head * group + head;
        for i in 0..n {
            let at = head * n + i;
            let total = s.reduce_add(s.load(&totals[at * LINE..]));
            let query = unit.row * t + unit.first + i;
            // SAFETY: these queries of this head are the task's.
            let to = unsafe { out.range((query * h + h_at) * d, d) };
            write_row(s, &sums[at * width..][..width], 1.0 / total, to);
            if let Some(lse) = &lse {
                let to = (unit.row * h + h_at) * t + unit.first + i;
                // SAFETY: as above.
                let to = unsafe { lse.range(to, 1) };
                to[0] = LN_2 * (base[at] + total.log2());
            }
        }
    }
}

/// Turns the first `n` scores, times `scale`, into `weights`, powers of two relative to `base`, and adds them to `totals`.
/// Where the scores go beyond the base, it is raised, and what was summed so far made relative to it.
#[inline(always)]
fn softmax<S: Rough, E: Sparse>(
    s: S,
    (scores, n, scale): (&mut [f32], usize, f32),
    base: &mut f32,
    totals: &mut [f32],
    sum: &mut [f32],
    weights: &mut [E],
) {
    s.store(&mut scores[n..], s.splat(LOWEST));
    if S::LANES < LINE {
        s.store(&mut scores[n + S::LANES..], s.splat(LOWEST));
    }
    let factor = s.splat(scale);
    let mut most = s.splat(LOWEST);
    for i in (0..n).step_by(S::LANES) {
        most = s.max(most, s.load(&scores[i..]));
    }
    let most = scale * s.reduce_max(most);
    if most > *base {
        // Exact: errors would add up in the totals.
        let shrink = s.splat((*base - most).exp2());
        for x in sum.chunks_exact_mut(S::LANES) {
            s.store(x, s.mul(shrink, s.load(x)));
        }
        s.store(totals, s.mul(shrink, s.load(totals)));
        *base = most;
    }
    let mut total = s.load(totals);
    let minus_base = s.splat(-*base);
    for i in (0..n).step_by(S::LANES) {
        let score = s.load(&scores[i..]);
        let p = E::exp2(s, s.mul_add(score, factor, minus_base));
        let p = s.select_ge(score, s.splat(0.5 * LOWEST), p, s.splat(0.0));
        total = s.add(total, p);
        // SAFETY: there is room for a vector behind the last weight.
        unsafe { E::store(s, weights[i..i + S::LANES].as_mut_ptr(), p) };
    }
    s.store(totals, total);
}

/// Sets `out` to `factor` times the first values of `row`, which is whole vectors.
#[inline(always)]
pub(super) fn write_row<S: Simd, E: Element>(s: S, row: &[f32], factor: f32, out: &mut [E]) {
    let factor = s.splat(factor);
    for c in (0..out.len()).step_by(S::LANES) {
        let left = (out.len() - c).min(S::LANES);
        let x = s.mul(factor, s.load(&row[c..]));
        // SAFETY: `left` values are left.
        unsafe { E::store_n(s, out.as_mut_ptr().add(c), x, left) };
    }
}
