//! Output and log-sum-exp: a block of queries of one key/value head per task, one block of keys after another.

use super::gather::{Dots, GROUP, Rows, add_tile, pack_rows, packed_len, prefetch_part};
use super::indexer::{pack_keys, packed_row_len};
use super::lists::{self, Cuts, Room, Source, end};
use super::tiles::{Tile, Tiles};
use super::{Dims, Inputs, KEYS, Sparse, Unit, Units, check_len, check_scratch, packed};
use crate::attention::pack::HeadRows;
use crate::attention::rough::Rough;
use crate::attention::scratch::{LINE, align, len_of, lines, take, take_of};
use crate::attention::{LOWEST, dot};
use crate::pool::SharedSlice;
use crate::simd::{Element, Simd};
use crate::{Context, simd_fn};
use std::f32::consts::{LN_2, LOG2_E};

/// Scores may be this much above their base, to the base 2; beyond, sums of exponentials could overflow.
const LIMIT: f32 = 40.0;

/// With fewer rows of queries than this, rows of keys are read where they are: few are needed.
const FEW: usize = 16;

/// Values for all pairs of a tile, and a vector behind them.
pub(super) fn tile_values(dims: &Dims) -> usize {
    dims.t.min(super::QUERIES) * KEYS + LINE
}

/// f32 values of scratch that [`forward`] needs.
pub fn forward_scratch_len<E: Sparse>(cx: &Context, dims: &Dims) -> usize {
    scratch_len::<E>(cx, dims)
}

pub(super) fn scratch_len<E: Sparse>(cx: &Context, dims: &Dims) -> usize {
    let per_thread = lists::thread_len::<E>(dims, false).max(thread_len::<E>(dims));
    LINE + lines(dims.b * packed_row_len::<E>(dims))
        + Room::len(dims, false)
        + Tiles::len(dims, units(dims).in_span(), false)
        + cx.pool.threads() * per_thread
}

fn units(dims: &Dims) -> Units {
    Units { rows: dims.b, t: dims.t }
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
    let mut tiles = Tiles::take(dims, units(dims).in_span(), false, &mut scratch);
    if dims.t == 0 || dims.b == 0 {
        return;
    }
    let last = |row: usize| end(dims, start, row, dims.t - 1);
    pack_keys(cx, x.indexer.k, dims, &last, packed_keys);
    let packed: &[E] = packed_keys;
    let source = Source { indexer: x.indexer, packed, dims: *dims, start, cuts, keep: false };
    let units = units(dims);
    let (out, lse) = (SharedSlice::new(out), lse.map(SharedSlice::new));
    let per_thread = thread_len::<E>(dims);
    for first in (0..units.len()).step_by(units.in_span()) {
        let n = (units.len() - first).min(units.in_span());
        lists::build(cx, &source, (first, n), &mut room, scratch);
        tiles.build(cx, room.lists(), n, &|number| units.at(first + number).n);
        let (tiles, threads) = (&tiles, SharedSlice::new(scratch));
        cx.pool.run(n * dims.k_heads, &|task, thread| {
            let (number, k_head) = (n - 1 - task / dims.k_heads, task % dims.k_heads);
            let unit = units.at(first + number);
            // SAFETY: a thread runs one task at a time.
            let scratch = unsafe { threads.range(thread * per_thread, per_thread) };
            let first_end = source.end(unit.row, unit.first);
            let place = Place { unit, number, k_head, first_end };
            attend_unit(cx.isa, x, dims, place, tiles, (out, lse), scratch);
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
    /// Keys up to the own one of the first query.
    pub first_end: usize,
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
    2 * len_of::<E>(packed_len::<E>(KEYS, width))
        + len_of::<E>(packed_len::<E>(queries, width))
        + lines(queries * width)
        + lines(queries)
        + queries * LINE
        + lines(tile_values(dims))
        + len_of::<E>(tile_values(dims))
}

simd_fn! {
    /// Attention of a unit's queries of the heads that share one of keys.
    fn attend_unit [E: Sparse] (
        x: &Inputs<'_, E>, dims: &Dims, place: Place, tiles: &Tiles<'_>,
        to: (SharedSlice<E>, Option<SharedSlice<f32>>), scratch: &mut [f32],
    ) = attend_kernel
}
#[inline(always)]
fn attend_kernel<S: Rough, E: Sparse>(
    s: S,
    x: &Inputs<'_, E>,
    dims: &Dims,
    place: Place,
    tiles: &Tiles<'_>,
    (out, lse): (SharedSlice<E>, Option<SharedSlice<f32>>),
    mut scratch: &mut [f32],
) {
    let Dims { t, h, d, positions, .. } = *dims;
    let Place { unit, number, k_head, first_end } = place;
    let (width, group, n) = (packed::<E>(d), dims.group(), unit.n);
    let scale = LOG2_E / (d as f32).sqrt();
    let k_block = take_of::<E>(&mut scratch, packed_len::<E>(KEYS, width));
    let v_block = take_of::<E>(&mut scratch, packed_len::<E>(KEYS, width));
    let queries_len = packed_len::<E>(n, width);
    let queries = take_of::<E>(&mut scratch, group * queries_len);
    let sums = take(&mut scratch, group * n * width);
    let minus_base = take(&mut scratch, group * n);
    let totals = take(&mut scratch, group * n * LINE);
    let scores = take(&mut scratch, tile_values(dims));
    let weights = take_of::<E>(&mut scratch, tile_values(dims));
    let blocks = (first_end + n - 1).min(positions).div_ceil(KEYS);
    let at = (unit.row, k_head);
    for head in 0..group {
        let rows = query_rows(x.q, dims, unit, k_head * group + head);
        pack_rows(s, rows, n, width, &mut queries[head * queries_len..]);
        for i in 0..n {
            // No maximum is below the score with the own key, which every query sees.
            let own = (first_end + i).min(positions) - 1;
            let key = key_rows(x.k, dims, at, own / KEYS).part(own % KEYS, 1);
            let score = dot(s, &rows.data[i * rows.row..][..d], &key.data[..d]);
            minus_base[head * n + i] = -score;
        }
    }
    sums.fill(0.0);
    totals.fill(0.0);
    for block in 0..blocks {
        let (k_here, v_here) = (key_rows(x.k, dims, at, block), key_rows(x.v, dims, at, block));
        let (mut k_rows, mut v_rows) = (Rows::in_place(k_here), Rows::in_place(v_here));
        if group * n >= FEW || d != width {
            pack_rows(s, k_here, KEYS, width, k_block);
            pack_rows(s, v_here, KEYS, width, v_block);
            (k_rows, v_rows) =
                (Rows::packed(k_block, KEYS, width), Rows::packed(v_block, KEYS, width));
        }
        let next = (block + 1).min(blocks - 1);
        let (k_next, v_next) = (key_rows(x.k, dims, at, next), key_rows(x.v, dims, at, next));
        let tile = tiles.tile(number, block);
        let len = GROUP * tile.keys.len();
        for head in 0..group {
            let part = head * n..(head + 1) * n;
            let own = Rows::packed(&queries[head * queries_len..], n, width);
            let shifts = &minus_base[part.clone()];
            let dots = Dots { own, rows: k_rows, width, tile, scale, shifts };
            // SAFETY: groups name keys of the block.
            unsafe { dots.compute(s, scores) };
            let mut state = State {
                minus_base: &mut minus_base[part.clone()],
                scale,
                sums: &mut sums[head * n * width..(head + 1) * n * width],
                totals: &mut totals[head * n * LINE..(head + 1) * n * LINE],
                width,
            };
            state.exponentials::<S, E>(s, tile, &mut scores[..len + LINE], weights);
            for i in 0..n {
                let groups = tile.row(i);
                // SAFETY: as many scores as in the groups are left.
                unsafe {
                    let end = GROUP * groups.end;
                    let total = &mut state.totals[i * LINE..][..LINE];
                    let mut sum = s.load(total);
                    for c in (GROUP * groups.start..end).step_by(S::LANES) {
                        let left = (end - c).min(S::LANES);
                        sum = s.add(sum, f32::load_n(s, scores.as_ptr().add(c), left));
                    }
                    s.store(total, sum);
                }
                if group * n >= FEW {
                    prefetch_part(s, k_next, head * n + i, group * n);
                    prefetch_part(s, v_next, head * n + i, group * n);
                }
            }
            // SAFETY: groups name keys of the block.
            unsafe { add_tile(s, v_rows, (tile.keys, tile.rows), width, weights, state.sums) };
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
            let sum = &mut sums[at * width..][..width];
            E::in_order(s, sum);
            write_row(s, sum, 1.0 / total, to);
            if let Some(lse) = &lse {
                let to = (unit.row * h + h_at) * t + unit.first + i;
                // SAFETY: as above.
                let to = unsafe { lse.range(to, 1) };
                to[0] = LN_2 * (total.log2() - scale * minus_base[at]);
            }
        }
    }
}

/// What some queries of one head have summed.
struct State<'a> {
    /// The products that exponentials are relative to, negated.
    minus_base: &'a mut [f32],
    /// From products to scores to the base 2.
    scale: f32,
    /// `[_, width]`: exponentials times values.
    sums: &'a mut [f32],
    /// `[_, LINE]`: sums of exponentials, in the lanes of a vector.
    totals: &'a mut [f32],
    width: usize,
}

impl State<'_> {
    /// Turns the scores of a tile, which are relative to their bases, into powers of two, as f32 and as `weights`. There is
    /// room for a vector behind the last score.
    #[inline(always)]
    fn exponentials<S: Rough, E: Sparse>(
        &mut self,
        s: S,
        tile: Tile<'_>,
        scores: &mut [f32],
        weights: &mut [E],
    ) {
        for &at in tile.repeats {
            scores[usize::from(at)] = LOWEST;
        }
        let len = scores.len() - LINE;
        scores[len..].fill(LOWEST);
        let mut most = s.splat(LOWEST);
        for i in (0..len).step_by(S::LANES) {
            most = s.max(most, s.load(&scores[i..]));
        }
        if s.reduce_max(most) > LIMIT {
            self.raise(tile, scores);
        }
        assert!(weights.len() >= len + LINE - 1);
        for i in (0..len).step_by(S::LANES) {
            let score = s.load(&scores[i..]);
            let p = s.select_ge(score, s.splat(0.5 * LOWEST), E::exp2(s, score), s.splat(0.0));
            s.store(&mut scores[i..], p);
            // SAFETY: there is room for a vector.
            unsafe { E::store(s, weights.as_mut_ptr().add(i), p) };
        }
    }

    /// Where scores go far beyond a query's base, raises it, and makes all else relative to it.
    #[cold]
    #[inline(never)]
    fn raise(&mut self, tile: Tile<'_>, scores: &mut [f32]) {
        for i in 0..self.minus_base.len() {
            let groups = tile.row(i);
            let scores = &mut scores[GROUP * groups.start..GROUP * groups.end];
            let most = scores.iter().copied().fold(LOWEST, f32::max);
            if most > LIMIT {
                self.minus_base[i] -= most / self.scale;
                scores.iter_mut().for_each(|score| *score -= most);
                let factor = (-most).exp2();
                let total = &mut self.totals[LINE * i..][..LINE];
                let sum = &mut self.sums[self.width * i..][..self.width];
                total.iter_mut().chain(sum).for_each(|x| *x *= factor);
            }
        }
    }
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
