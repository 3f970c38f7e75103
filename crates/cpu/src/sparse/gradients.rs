//! Gradients through attention: of queries by block of queries, of keys and values by block of keys.

use super::backward::{Saved, Span};
use super::forward::{key_rows, query_rows, tile_values, write_row};
use super::gather::{Dots, GROUP, Rows, add_tile, pack_rows, packed_len, prefetch_part};
use super::tiles::Tiles;
use super::{Dims, Inputs, KEYS, QUERIES, SPAN, Sparse, Unit, packed};
use crate::attention::rough::Rough;
use crate::attention::scratch::{LINE, len_of, lines, take, take_of};
use crate::attention::{LOWEST, dot};
use crate::pool::SharedSlice;
use crate::simd::Element;
use crate::simd_fn;
use std::f32::consts::LOG2_E;

/// What all tasks of a span and key/value head read.
pub(super) struct Shared<'a, E> {
    pub inputs: &'a Inputs<'a, E>,
    pub saved: &'a Saved<'a, E>,
    pub dims: &'a Dims,
    pub tiles: &'a Tiles<'a>,
    pub heads: Heads,
}

/// The query heads of one key/value head, in a span.
#[derive(Clone, Copy)]
pub(super) struct Heads {
    pub span: Span,
    pub k_head: usize,
}

impl<E> Shared<'_, E> {
    /// The span's unit of that number.
    fn unit(&self, number: usize) -> Unit {
        let Span { row, first, .. } = self.heads.span;
        let first = (first + number) * QUERIES;
        Unit { row, first, n: (self.dims.t - first).min(QUERIES) }
    }
}

/// f32 values that [`queries_task`] needs.
pub(super) fn queries_thread_len<E: Sparse>(dims: &Dims) -> usize {
    let (width, queries) = (packed::<E>(dims.d), dims.t.min(QUERIES));
    let all = dims.group() * queries;
    2 * len_of::<E>(packed_len::<E>(KEYS, width))
        + lines(all * width)
        + 2 * lines(all)
        + 2 * lines(tile_values(dims))
}

/// f32 values of a span's queries, or of the gradients of their outputs, packed:
/// `[units, group]` of panels `[QUERIES, panel]`.
pub(super) fn packed_queries_len<E: Sparse>(dims: &Dims) -> usize {
    packed_len::<E>(SPAN.min(dims.t.next_multiple_of(QUERIES)), packed::<E>(dims.d)) * dims.group()
}

/// What the tasks of queries set.
#[derive(Clone, Copy)]
pub(super) struct QueriesTo<E> {
    /// Gradients of queries.
    pub dq: SharedSlice<E>,
    /// Probabilities of all pairs by tile, for each head of the group.
    pub p: SharedSlice<E>,
    /// Gradients of their scores.
    pub ds: SharedSlice<E>,
    /// Sums of these over heads, by tile.
    pub sums: SharedSlice<f32>,
    /// The span's queries, packed.
    pub queries: SharedSlice<E>,
    /// The gradients of their outputs, packed.
    pub douts: SharedSlice<E>,
}

simd_fn! {
    /// The part of a unit's queries.
    pub(super) fn queries_task [E: Sparse] (
        x: &Shared<'_, E>, number: usize, to: QueriesTo<E>, scratch: &mut [f32],
    ) = queries_kernel
}
#[inline(always)]
fn queries_kernel<S: Rough, E: Sparse>(
    s: S,
    x: &Shared<'_, E>,
    number: usize,
    to: QueriesTo<E>,
    mut scratch: &mut [f32],
) {
    let Dims { t, h, d, .. } = *x.dims;
    let (unit, k_head) = (x.unit(number), x.heads.k_head);
    let (width, group, n) = (packed::<E>(d), x.dims.group(), unit.n);
    let scale = 1.0 / (d as f32).sqrt();
    let k_block = take_of::<E>(&mut scratch, packed_len::<E>(KEYS, width));
    let v_block = take_of::<E>(&mut scratch, packed_len::<E>(KEYS, width));
    let head_len = packed_len::<E>(QUERIES, width);
    let (at, len) = (number * group * head_len, group * head_len);
    // SAFETY: a unit's packed queries are the task's.
    let (queries, douts) = unsafe { (to.queries.range(at, len), to.douts.range(at, len)) };
    let sums = take(&mut scratch, group * n * width);
    let minus_lse = take(&mut scratch, group * n);
    let minus_delta = take(&mut scratch, group * n);
    let scores = take(&mut scratch, tile_values(x.dims));
    let dps = take(&mut scratch, tile_values(x.dims));
    for head in 0..group {
        let at = k_head * group + head;
        let q = query_rows(x.inputs.q, x.dims, unit, at);
        pack_rows(s, q, QUERIES, width, &mut queries[head * head_len..]);
        let dout = query_rows(x.saved.dout, x.dims, unit, at);
        pack_rows(s, dout, QUERIES, width, &mut douts[head * head_len..]);
        let out = query_rows(x.saved.out, x.dims, unit, at);
        for i in 0..n {
            let (o, g) = (&out.data[i * out.row..][..d], &dout.data[i * dout.row..][..d]);
            minus_delta[head * n + i] = -dot(s, o, g);
            minus_lse[head * n + i] =
                -x.saved.lse[(unit.row * h + at) * t + unit.first + i] / scale;
        }
    }
    sums.fill(0.0);
    let pairs = Tiles::pairs(x.dims, SPAN / QUERIES);
    let blocks = (unit.first + n).div_ceil(KEYS);
    for block in 0..blocks {
        let (k, v, at) = (x.inputs.k, x.inputs.v, (unit.row, k_head));
        pack_rows(s, key_rows(k, x.dims, at, block), KEYS, width, k_block);
        pack_rows(s, key_rows(v, x.dims, at, block), KEYS, width, v_block);
        let next = (block + 1).min(blocks - 1);
        let (k_next, v_next) = (key_rows(k, x.dims, at, next), key_rows(v, x.dims, at, next));
        let tile = x.tiles.tile(number, block);
        let len = GROUP * tile.keys.len();
        for head in 0..group {
            let part = head * n..(head + 1) * n;
            let k_rows = Rows::packed(k_block, KEYS, width);
            let dots = Dots {
                own: Rows::packed(&queries[head * head_len..], QUERIES, width),
                rows: k_rows,
                width,
                tile,
                scale: LOG2_E * scale,
                shifts: &minus_lse[part.clone()],
            };
            let own = Rows::packed(&douts[head * head_len..], QUERIES, width);
            let (rows, shifts) = (Rows::packed(v_block, KEYS, width), &minus_delta[part]);
            let dp_dots = Dots { own, rows, scale: 1.0, shifts, ..dots };
            // SAFETY: groups name keys of the block, whose rows are packed.
            unsafe {
                dots.compute(s, scores);
                dp_dots.compute(s, dps);
            }
            for &at in tile.repeats {
                scores[usize::from(at)] = LOWEST;
            }
            let at = GROUP * tile.start;
            // SAFETY: the pairs of a unit, and the group that ends each of its tiles, are the task's.
            let (p, ds, dscores) = unsafe {
                (
                    to.p.range(head * pairs + at, len + GROUP),
                    to.ds.range(head * pairs + at, len + GROUP),
                    to.sums.range(at, len),
                )
            };
            p[len..].fill(E::ZERO);
            ds[len..].fill(E::ZERO);
            let first = k_head == 0 && head == 0;
            differentiate(s, (scores, dps), (&mut p[..len], &mut ds[..len]), (dscores, first));
            for i in 0..n {
                prefetch_part(s, k_next, head * n + i, group * n);
                prefetch_part(s, v_next, head * n + i, group * n);
            }
            let sums = &mut sums[head * n * width..(head + 1) * n * width];
            // SAFETY: groups name keys of the block, whose rows are packed.
            unsafe { add_tile(s, k_rows, (tile.keys, tile.rows), width, ds, sums) };
        }
    }
    for head in 0..group {
        for i in 0..n {
            let at = (unit.row * t + unit.first + i) * h + k_head * group + head;
            // SAFETY: these queries of this head are the task's.
            let dq = unsafe { to.dq.range(at * d, d) };
            let sum = &mut sums[(head * n + i) * width..][..width];
            E::in_order(s, sum);
            write_row(s, sum, scale, dq);
        }
    }
}

/// From scores less the log of their sums, to the base 2, and gradients of probabilities less their mean: sets `p` and
/// `ds`, and adds ds to `sums.0`, or sets it if it is the first. There is room for a vector behind scores and gradients.
#[inline(always)]
fn differentiate<S: Rough, E: Sparse>(
    s: S,
    (scores, dps): (&[f32], &[f32]),
    (p, ds): (&mut [E], &mut [E]),
    sums: (&mut [f32], bool),
) {
    let n = p.len();
    assert!(ds.len() == n && sums.0.len() == n);
    for i in (0..n).step_by(S::LANES) {
        let left = (n - i).min(S::LANES);
        let score = s.load(&scores[i..]);
        // What is repeated counts for nothing.
        let here = s.select_ge(score, s.splat(0.5 * LOWEST), E::exp2(s, score), s.splat(0.0));
        let gradient = s.mul(here, s.load(&dps[i..]));
        // SAFETY: `left` values are left in each.
        unsafe {
            let to = sums.0.as_mut_ptr().add(i);
            let before = if sums.1 { s.splat(0.0) } else { f32::load_n(s, to.cast_const(), left) };
            f32::store_n(s, to, s.add(before, gradient), left);
            E::store_n(s, p.as_mut_ptr().add(i), here, left);
            E::store_n(s, ds.as_mut_ptr().add(i), gradient, left);
        }
    }
}

/// f32 values that [`keys_task`] needs.
pub(super) fn keys_thread_len<E: Sparse>(dims: &Dims) -> usize {
    2 * len_of::<E>((dims.t.min(QUERIES) + GROUP) * KEYS) + LINE
}

/// What [`queries_task`] set for [`keys_task`].
#[derive(Clone, Copy)]
pub(super) struct KeysFrom<'a, E> {
    pub p: &'a [E],
    pub ds: &'a [E],
    pub queries: &'a [E],
    pub douts: &'a [E],
}

simd_fn! {
    /// The part of a block of keys; `sums` are those of the keys and values of the row.
    pub(super) fn keys_task [E: Sparse] (
        x: &Shared<'_, E>, block: usize, from: KeysFrom<'_, E>, sums: (SharedSlice<f32>, SharedSlice<f32>),
        scratch: &mut [f32],
    ) = keys_kernel
}
#[inline(always)]
fn keys_kernel<S: Rough, E: Sparse>(
    s: S,
    x: &Shared<'_, E>,
    block: usize,
    from: KeysFrom<'_, E>,
    (dk, dv): (SharedSlice<f32>, SharedSlice<f32>),
    mut scratch: &mut [f32],
) {
    let Heads { span, k_head } = x.heads;
    let (width, group) = (packed::<E>(x.dims.d), x.dims.group());
    let most = x.dims.t.min(QUERIES);
    let p_here = take_of::<E>(&mut scratch, (most + GROUP) * KEYS);
    let ds_here = take_of::<E>(&mut scratch, (most + GROUP) * KEYS);
    let at = (k_head * x.dims.key_blocks() + block) * KEYS * width;
    // SAFETY: a block of keys of a head is one task's.
    let (dk, dv) = unsafe { (dk.range(at, KEYS * width), dv.range(at, KEYS * width)) };
    if span.is_first_of(block) {
        dk.fill(0.0);
        dv.fill(0.0);
    }
    for head in 0..group {
        for number in 0..span.n {
            let tile = x.tiles.tile_by_key(number, block);
            if tile.queries.is_empty() {
                continue;
            }
            let by_query = x.tiles.tile(number, block);
            let at = head * Tiles::pairs(x.dims, SPAN / QUERIES) + GROUP * by_query.start;
            let len = GROUP * by_query.keys.len() + GROUP;
            let (p, ds) = (&from.p[at..][..len], &from.ds[at..][..len]);
            // They are read in an order that the hardware does not foresee.
            for c in (0..len).step_by(LINE * E::PER_LANE) {
                s.prefetch(p.as_ptr().wrapping_add(c).cast());
                s.prefetch(ds.as_ptr().wrapping_add(c).cast());
            }
            let here = p_here.iter_mut().zip(ds_here.iter_mut());
            for (&place, (p_here, ds_here)) in tile.places.iter().zip(here) {
                // SAFETY: places are those of the tile and of the group that ends it.
                unsafe {
                    *p_here = *p.get_unchecked(usize::from(place));
                    *ds_here = *ds.get_unchecked(usize::from(place));
                }
            }
            let rows = (number * group + head) * packed_len::<E>(QUERIES, width);
            let (queries, douts) = (&from.queries[rows..], &from.douts[rows..]);
            for (rows, weights, sums) in
                [(queries, &*ds_here, &mut *dk), (douts, &*p_here, &mut *dv)]
            {
                let rows = Rows::packed(rows, QUERIES, width);
                // SAFETY: groups name queries of the unit, whose rows are packed.
                unsafe { add_tile(s, rows, (tile.queries, tile.rows), width, weights, sums) };
            }
        }
    }
}

simd_fn! {
    /// Sets `out` to `scale` times the first values of `row`.
    pub(super) fn write [E: Element] (row: &[f32], scale: f32, out: &mut [E]) = write_row
}

simd_fn! {
    /// The same of sums that lie in an order of their own.
    pub(super) fn write_sums [E: Sparse] (row: &mut [f32], scale: f32, out: &mut [E]) = write_sums_kernel
}
#[inline(always)]
fn write_sums_kernel<S: Rough, E: Sparse>(s: S, row: &mut [f32], scale: f32, out: &mut [E]) {
    E::in_order(s, row);
    write_row(s, row, scale, out);
}
