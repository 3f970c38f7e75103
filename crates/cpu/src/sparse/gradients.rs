//! Gradients through attention: of queries by block of queries, of keys and values by block of keys.

use super::backward::{Saved, Span};
use super::forward::{SCORES, key_rows, query_rows, write_row};
use super::gather::{add_weighted, dots};
use super::lists::Lists;
use super::transposed::Tiles;
use super::{Dims, Inputs, KEYS, QUERIES, Sparse, Unit, packed};
use crate::attention::dot;
use crate::attention::pack::pack;
use crate::attention::rough::Rough;
use crate::attention::scratch::{LINE, len_of, lines, take, take_of};
use crate::pool::SharedSlice;
use crate::simd::Element;
use crate::simd_fn;
use std::f32::consts::LOG2_E;

/// What all tasks of a span and key/value head read.
pub(super) struct Shared<'a, E> {
    pub inputs: &'a Inputs<'a, E>,
    pub saved: &'a Saved<'a, E>,
    pub dims: &'a Dims,
    pub lists: Lists<'a>,
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
    2 * len_of::<E>(KEYS * width)
        + 2 * len_of::<E>(all * width)
        + lines(all * width)
        + 2 * lines(all)
        + 2 * lines(queries * SCORES)
}

/// Gradients of queries; probabilities and gradients of scores of all pairs by tile, for each head of the group; sums of
/// the latter over heads at the places of lists.
type QueriesTo<E> = (SharedSlice<E>, SharedSlice<E>, SharedSlice<E>, SharedSlice<f32>);

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
    (dq, p, ds, dscores): QueriesTo<E>,
    mut scratch: &mut [f32],
) {
    let Dims { t, h, d, .. } = *x.dims;
    let (unit, k_head) = (x.unit(number), x.heads.k_head);
    let (width, group, n) = (packed::<E>(d), x.dims.group(), unit.n);
    let scale = 1.0 / (d as f32).sqrt();
    let k_block = take_of::<E>(&mut scratch, KEYS * width);
    let v_block = take_of::<E>(&mut scratch, KEYS * width);
    let queries = take_of::<E>(&mut scratch, group * n * width);
    let douts = take_of::<E>(&mut scratch, group * n * width);
    let sums = take(&mut scratch, group * n * width);
    let minus_lse = take(&mut scratch, group * n);
    let deltas = take(&mut scratch, group * n);
    let scores = take(&mut scratch, n * SCORES);
    let dps = take(&mut scratch, n * SCORES);
    for head in 0..group {
        let at = k_head * group + head;
        pack(s, query_rows(x.inputs.q, x.dims, unit, at), width, &mut queries[head * n * width..]);
        let dout = query_rows(x.saved.dout, x.dims, unit, at);
        pack(s, dout, width, &mut douts[head * n * width..]);
        let out = query_rows(x.saved.out, x.dims, unit, at);
        for i in 0..n {
            let row = |x: crate::attention::pack::HeadRows<'_, E>| i * x.row;
            let (o, g) = (&out.data[row(out)..][..d], &dout.data[row(dout)..][..d]);
            deltas[head * n + i] = dot(s, o, g);
            minus_lse[head * n + i] =
                -LOG2_E * x.saved.lse[(unit.row * h + at) * t + unit.first + i];
        }
    }
    sums.fill(0.0);
    let pairs = Tiles::pairs(x.dims);
    for block in 0..(unit.first + n).div_ceil(KEYS) {
        pack(s, key_rows(x.inputs.k, x.dims, (unit.row, k_head), block), width, k_block);
        pack(s, key_rows(x.inputs.v, x.dims, (unit.row, k_head), block), width, v_block);
        let rows = x.tiles.rows(number, block);
        let tile = x.tiles.start(number, block);
        for head in 0..group {
            for i in 0..n {
                let (list, _) = x.lists.keys(x.lists.number(number, i), block);
                let row = (head * n + i) * width;
                let (q, dout) = (queries[row..].as_ptr(), k_block.as_ptr());
                let scores = scores[i * SCORES..][..SCORES].as_mut_ptr();
                // SAFETY: lists name keys of the block, whose rows are packed; there is room behind the scores.
                unsafe { dots(s, q, dout, width, list, scores) };
            }
            for i in 0..n {
                let (list, _) = x.lists.keys(x.lists.number(number, i), block);
                let dout = douts[(head * n + i) * width..].as_ptr();
                let dps = dps[i * SCORES..][..SCORES].as_mut_ptr();
                // SAFETY: as above.
                unsafe { dots(s, dout, v_block.as_ptr(), width, list, dps) };
            }
            for i in 0..n {
                let query = x.lists.number(number, i);
                let (list, place) = x.lists.keys(query, block);
                if list.is_empty() {
                    continue;
                }
                let at = head * n + i;
                let pairs = head * pairs + tile + usize::from(rows[i]);
                // SAFETY: the pairs of a unit, and the places of its queries, are the task's.
                let (p, ds, dscores) = unsafe {
                    (
                        p.range(pairs, list.len()),
                        ds.range(pairs, list.len()),
                        dscores.range(query * x.lists.places() + place, list.len()),
                    )
                };
                let first = k_head == 0 && head == 0;
                let row = Scores {
                    scores: &scores[i * SCORES..][..SCORES],
                    dps: &dps[i * SCORES..][..SCORES],
                    scale: LOG2_E * scale,
                    minus_lse: minus_lse[at],
                    delta: deltas[at],
                };
                row.differentiate(s, p, ds, (dscores, first));
                let sum = &mut sums[at * width..][..width];
                // SAFETY: as above.
                unsafe { add_weighted(s, k_block.as_ptr(), width, list, ds, sum) };
            }
        }
    }
    for head in 0..group {
        for i in 0..n {
            let at = (unit.row * t + unit.first + i) * h + k_head * group + head;
            // SAFETY: these queries of this head are the task's.
            let to = unsafe { dq.range(at * d, d) };
            write_row(s, &sums[(head * n + i) * width..][..width], scale, to);
        }
    }
}

/// The scores of a query with some keys of a block, and the gradients of their probabilities.
struct Scores<'a> {
    scores: &'a [f32],
    dps: &'a [f32],
    /// 1/sqrt(D) to the base 2.
    scale: f32,
    /// To the base 2.
    minus_lse: f32,
    delta: f32,
}

impl Scores<'_> {
    /// Sets `p` and `ds`, and adds ds to `sum.0`, or sets it if it is the first.
    #[inline(always)]
    fn differentiate<S: Rough, E: Sparse>(
        &self,
        s: S,
        p: &mut [E],
        ds: &mut [E],
        sum: (&mut [f32], bool),
    ) {
        let (scale, minus_lse) = (s.splat(self.scale), s.splat(self.minus_lse));
        let (delta, n) = (s.splat(self.delta), p.len());
        assert!(ds.len() == n && sum.0.len() == n);
        for i in (0..n).step_by(S::LANES) {
            let left = (n - i).min(S::LANES);
            let here = E::exp2(s, s.mul_add(s.load(&self.scores[i..]), scale, minus_lse));
            let gradient = s.mul(here, s.sub(s.load(&self.dps[i..]), delta));
            // SAFETY: `left` values are left in each.
            unsafe {
                let to = sum.0.as_mut_ptr().add(i);
                let before =
                    if sum.1 { s.splat(0.0) } else { f32::load_n(s, to.cast_const(), left) };
                f32::store_n(s, to, s.add(before, gradient), left);
                E::store_n(s, p.as_mut_ptr().add(i), here, left);
                E::store_n(s, ds.as_mut_ptr().add(i), gradient, left);
            }
        }
    }
}

/// f32 values that [`keys_task`] needs.
pub(super) fn keys_thread_len<E: Sparse>(dims: &Dims) -> usize {
    let (width, queries) = (packed::<E>(dims.d), dims.t.min(QUERIES));
    2 * len_of::<E>(queries * width) + 2 * len_of::<E>(queries * KEYS) + LINE
}

simd_fn! {
    /// The part of a block of keys; `pairs` are p and ds, `sums` those of the keys and values of the row.
    pub(super) fn keys_task [E: Sparse] (
        x: &Shared<'_, E>, block: usize, pairs: (&[E], &[E]), sums: (SharedSlice<f32>, SharedSlice<f32>),
        scratch: &mut [f32],
    ) = keys_kernel
}
#[inline(always)]
fn keys_kernel<S: Rough, E: Sparse>(
    s: S,
    x: &Shared<'_, E>,
    block: usize,
    (p, ds): (&[E], &[E]),
    (dk, dv): (SharedSlice<f32>, SharedSlice<f32>),
    mut scratch: &mut [f32],
) {
    let Heads { span, k_head } = x.heads;
    let (width, group) = (packed::<E>(x.dims.d), x.dims.group());
    let most = x.dims.t.min(QUERIES);
    let queries = take_of::<E>(&mut scratch, most * width);
    let douts = take_of::<E>(&mut scratch, most * width);
    let p_here = take_of::<E>(&mut scratch, most * KEYS);
    let ds_here = take_of::<E>(&mut scratch, most * KEYS);
    let at = (k_head * x.dims.key_blocks() + block) * KEYS * width;
    // SAFETY: a block of keys of a head is one task's.
    let (dk, dv) = unsafe { (dk.range(at, KEYS * width), dv.range(at, KEYS * width)) };
    if span.is_first_of(block) {
        dk.fill(0.0);
        dv.fill(0.0);
    }
    for head in 0..group {
        for number in 0..span.n {
            let unit = x.unit(number);
            let (names, order, keys) = x.tiles.by_key(number, block);
            if names.is_empty() {
                continue;
            }
            let at = k_head * group + head;
            pack(s, query_rows(x.inputs.q, x.dims, unit, at), width, queries);
            pack(s, query_rows(x.saved.dout, x.dims, unit, at), width, douts);
            let tile = head * Tiles::pairs(x.dims) + x.tiles.start(number, block);
            let (p, ds) = (&p[tile..][..order.len()], &ds[tile..][..order.len()]);
            for (i, &from) in order.iter().enumerate() {
                p_here[i] = p[usize::from(from)];
                ds_here[i] = ds[usize::from(from)];
            }
            for (rows, weights, sums) in
                [(&*queries, &*ds_here, &mut *dk), (&*douts, &*p_here, &mut *dv)]
            {
                for key in 0..KEYS {
                    let (first, end) = (usize::from(keys[key]), usize::from(keys[key + 1]));
                    let sum = &mut sums[key * width..][..width];
                    // SAFETY: the lists name queries of the unit, whose rows are packed.
                    unsafe {
                        let (list, weights) = (&names[first..end], &weights[first..end]);
                        add_weighted(s, rows.as_ptr(), width, list, weights, sum);
                    }
                }
            }
        }
    }
}

simd_fn! {
    /// Sets `out` to `scale` times the first values of `row`.
    pub(super) fn write [E: Element] (row: &[f32], scale: f32, out: &mut [E]) = write_row
}
