//! Gradients of the indexer, from those of its scores: with `g[t,j] = Σ_s dI[t,s]·1[a > 0]·ik[s]`, where
//! `a = iq[t,j]·ik[s]`, they are `diq = w·g` and `dw = iq·g`, and `dik[s] = Σ_t Σ_j dI[t,s]·w[t,j]·1[a > 0]·iq[t,j]`.

use super::backward::Span;
use super::forward::write_row;
use super::gather::GROUP;
use super::indexer::lanes;
use super::lists::{Lists, Source, places};
use super::tiles::Tiles;
use super::{Dims, KEYS, QUERIES, SPAN, Sparse, packed};
use crate::Context;
use crate::attention::pack::{HeadRows, pack};
use crate::attention::rough::Rough;
use crate::attention::scratch::{LINE, len_of, lines, take, take_of};
use crate::attention::tile::{Band, Old, Product, STRIP, multiply, product};
use crate::math;
use crate::pool::SharedSlice;
use crate::simd::Simd;
use crate::{Isa, simd_fn};

/// Keys that a query gathers at a time.
const CHUNK: usize = 256;

/// Queries of a task.
const PART: usize = 16;

/// What spans of a row share.
pub(super) struct Shared<'a, E> {
    /// Keys of the row in whole vectors: `[positions, width]`.
    keys: &'a mut [E],
    /// Sums for them: `[positions, width]`.
    sums: &'a mut [f32],
    /// Queries of the span, pairs of heads in lanes: `[SPAN, lanes of heads, width]`.
    queries: &'a mut [E],
    /// Gradients of the scores at the places of lists.
    dscores: &'a mut [f32],
}

/// Values in the packed queries of a position.
fn packed_heads<E: Sparse>(dims: &Dims) -> usize {
    lanes::<E>(dims.heads) * E::PER_LANE * packed::<E>(dims.width)
}

/// f32 values of [`Shared`].
pub(super) fn shared_len<E: Sparse>(dims: &Dims) -> usize {
    let keys = dims.key_blocks() * KEYS * packed::<E>(dims.width);
    let span = SPAN.min(dims.t.next_multiple_of(QUERIES));
    len_of::<E>(keys)
        + lines(keys)
        + len_of::<E>(span * packed_heads::<E>(dims))
        + lines(span * places(dims))
}

impl<'a, E: Sparse> Shared<'a, E> {
    pub(super) fn take(dims: &Dims, scratch: &mut &'a mut [f32]) -> Self {
        let keys = dims.key_blocks() * KEYS * packed::<E>(dims.width);
        let span = SPAN.min(dims.t.next_multiple_of(QUERIES));
        Shared {
            keys: take_of(scratch, keys),
            sums: take(scratch, keys),
            queries: take_of(scratch, span * packed_heads::<E>(dims)),
            dscores: take(scratch, span * places(dims)),
        }
    }

    /// Brings in the keys of a row.
    pub(super) fn start_row(&mut self, cx: &Context, dims: &Dims, keys: &[E], row: usize) {
        let (width, to) = (packed::<E>(dims.width), SharedSlice::new(self.keys));
        cx.pool.run(dims.key_blocks(), &|block, _| {
            let (first, n) = (block * KEYS, (dims.positions - block * KEYS).min(KEYS));
            let offset = (row * dims.positions + first) * dims.width;
            let rows = HeadRows::new(keys, offset, dims.width, n, dims.width);
            // SAFETY: every block is one task's.
            pack_rows(cx.isa, rows, width, unsafe { to.range(first * width, n * width) });
        });
    }

    /// Rounds the sums of a row.
    pub(super) fn write_keys(
        &self,
        cx: &Context,
        dims: &Dims,
        row: usize,
        to: &mut IndexerGradients<'_, E>,
    ) {
        let width = packed::<E>(dims.width);
        for i in 0..dims.positions {
            let to = &mut to.k[(row * dims.positions + i) * dims.width..][..dims.width];
            super::gradients::write(cx.isa, &self.sums[i * width..][..width], 1.0, to);
        }
    }
}

simd_fn! {
    fn pack_rows [E: Sparse] (rows: HeadRows<'_, E>, width: usize, out: &mut [E]) = pack
}

/// What is set in the end.
pub(super) struct IndexerGradients<'a, E> {
    pub q: SharedSlice<E>,
    pub k: &'a mut [E],
    pub w: SharedSlice<f32>,
}

/// f32 values that a thread needs.
pub(super) fn thread_len<E: Sparse>(dims: &Dims) -> usize {
    let (width, rows) = (packed::<E>(dims.width), dims.heads.next_multiple_of(STRIP));
    2 * len_of::<E>(CHUNK * width)
        + len_of::<E>(rows * CHUNK)
        + lines(rows * width)
        + len_of::<E>(dims.heads * width)
        + len_of::<E>(GROUP * heads_row(dims))
        + lines(heads_row(dims))
}

/// Values in a row of heads: whole vectors of the widest set, and of pairs.
fn heads_row(dims: &Dims) -> usize {
    dims.heads.next_multiple_of(LINE)
}

/// How many of the places of a query are outside its local window.
fn remote<E>(
    x: &Source<'_, E>,
    lists: Lists<'_>,
    number: usize,
    (row, query): (usize, usize),
) -> usize {
    let total = lists.starts(number)[x.dims.key_blocks()] as usize;
    total - x.dims.local.min(x.end(row, query))
}

/// What gradients of scores are made of.
#[derive(Clone, Copy)]
pub(super) enum Scores<'a> {
    /// Those of the biased attention scores, summed over heads, of the pairs of tiles.
    Summed(&'a [f32], &'a Tiles<'a>),
    /// They themselves, `[b, t, t]`; lists have all keys.
    Given(&'a [f32]),
}

/// The gradients that a span gives.
#[allow(clippy::too_many_arguments)]
pub(super) fn span<E: Sparse>(
    cx: &Context,
    x: &Source<'_, E>,
    (span, found): (Span, Scores<'_>),
    lists: Lists<'_>,
    shared: &mut Shared<'_, E>,
    to: &IndexerGradients<'_, E>,
    scratch: &mut [f32],
) {
    let dims = x.dims;
    let per_thread = thread_len::<E>(&dims);
    let threads = SharedSlice::new(scratch);
    let first = span.first * QUERIES;
    let n = (dims.t - first).min(span.n * QUERIES);
    let queries_len = packed_heads::<E>(&dims);
    let places = lists.places();
    let (dscores, queries) = (SharedSlice::new(shared.dscores), SharedSlice::new(shared.queries));
    let parts = n.div_ceil(PART);
    cx.pool.run(parts, &|task, thread| {
        let part = (parts - 1 - task) * PART;
        for i in part..(part + PART).min(n) {
            let number = lists.number(i / QUERIES, i % QUERIES);
            let at = span.row * dims.t + first + i;
            let (heads, width) = (dims.heads, dims.width);
            // SAFETY: every query is one task's; a thread runs one task at a time.
            unsafe {
                let query = Query {
                    q: &x.indexer.q[at * heads * width..][..heads * width],
                    w: &x.indexer.w[at * heads..][..heads],
                    dims: &dims,
                    lists,
                    number,
                    remote: remote(x, lists, number, (span.row, first + i)),
                    dq: to.q.range(at * heads * width, heads * width),
                    dw: to.w.range(at * heads, heads),
                    packed: queries.range(i * queries_len, queries_len),
                    dscores: dscores.range(number * places, places),
                    found,
                    at,
                    unit: (i / QUERIES, i % QUERIES),
                    isa: cx.isa,
                };
                let scratch = threads.range(thread * per_thread, per_thread);
                query_task(cx.isa, query, shared.keys, scratch);
            }
        }
    });
    let (dscores, queries) = (&*shared.dscores, &*shared.queries);
    let len = KEYS * packed::<E>(dims.width);
    let sums = SharedSlice::new(shared.sums);
    cx.pool.run(span.key_blocks(&dims), &|block, thread| {
        // SAFETY: every block of keys is one task's; a thread runs one task at a time.
        let (sums, scratch) = unsafe {
            (sums.range(block * len, len), threads.range(thread * per_thread, per_thread))
        };
        if span.is_first_of(block) {
            sums.fill(0.0);
        }
        keys_task(cx.isa, x, span, block, lists, (dscores, queries), sums, scratch);
    });
}

/// A query of the indexer, and what it sets.
struct Query<'a, E> {
    /// `[heads, width]`
    q: &'a [E],
    w: &'a [f32],
    dims: &'a Dims,
    lists: Lists<'a>,
    number: usize,
    /// Places outside the local window.
    remote: usize,
    dq: &'a mut [E],
    dw: &'a mut [f32],
    packed: &'a mut [E],
    /// Gradients of scores at the places of the list, to be set.
    dscores: &'a mut [f32],
    found: Scores<'a>,
    /// Its number in the batch.
    at: usize,
    /// Unit in the span, number in the unit.
    unit: (usize, usize),
    isa: Isa,
}

simd_fn! {
    /// Gradients of the query, its weights and its scores; and packs the query. `keys` are `[positions, width]`.
    fn query_task [E: Sparse] (x: Query<'_, E>, keys: &[E], scratch: &mut [f32]) = query_kernel
}
#[inline(always)]
fn query_kernel<S: Rough, E: Sparse>(
    s: S,
    mut x: Query<'_, E>,
    keys: &[E],
    mut scratch: &mut [f32],
) {
    let Dims { heads, width, .. } = *x.dims;
    let (row, rows) = (packed::<E>(width), heads.next_multiple_of(STRIP));
    let gathered = take_of::<E>(&mut scratch, CHUNK * row);
    let across = take_of::<E>(&mut scratch, CHUNK * row);
    let weights = take_of::<E>(&mut scratch, rows * CHUNK);
    let sums = take(&mut scratch, rows * row);
    let own = take_of::<E>(&mut scratch, heads * row);
    pack(s, HeadRows::new(x.q, 0, width, heads, width), row, own);
    // SAFETY: there are as many rows, and room for them in whole lanes.
    unsafe { E::across_rows(s, own.as_ptr(), heads, row, x.packed.as_mut_ptr()) };
    match x.found {
        Scores::Given(all) => {
            x.dscores[..x.remote].copy_from_slice(&all[x.at * x.dims.t..][..x.remote]);
        }
        Scores::Summed(sums, tiles) => {
            bring_together(&mut x, sums, tiles);
            gate(s, &x.lists.scores(x.number)[..x.remote], x.dscores);
        }
    }
    sums.fill(0.0);
    let signs = x.lists.signs(x.number);
    let (mut block, starts) = (0, x.lists.starts(x.number));
    for first in (0..x.remote).step_by(CHUNK) {
        let n = (x.remote - first).min(CHUNK);
        for i in 0..n {
            while starts[block + 1] as usize <= first + i {
                block += 1;
            }
            let (list, start) = x.lists.keys(x.number, block);
            let key = block * KEYS + usize::from(list[first + i - start]);
            let (from, to) = (&keys[key * row..][..row], &mut gathered[i * row..][..row]);
            for c in (0..row).step_by(S::LANES * E::PER_LANE) {
                // SAFETY: rows are whole vectors; a vector of lanes is as long as one of f32.
                unsafe {
                    let lanes = E::load_lanes(s, from.as_ptr().add(c));
                    s.store_ptr(to.as_mut_ptr().add(c).cast(), E::bits(s, lanes));
                }
            }
        }
        // SAFETY: n rows of each, in whole lanes.
        unsafe { E::across_rows(s, gathered.as_ptr(), n, row, across.as_mut_ptr()) };
        for j in 0..heads {
            let word = &signs[j / 32 * x.lists.places()..];
            for c in (0..n).step_by(S::LANES) {
                let d = s.load_partial(&x.dscores[first + c..first + n]);
                let bits = s.load(&word[first + c..]);
                let d = s.select_bit(bits, (j % 32) as u32, d, s.splat(0.0));
                let to = &mut weights[j * CHUNK + c..][..S::LANES];
                // SAFETY: the slice holds a vector.
                unsafe { E::store(s, to.as_mut_ptr(), d) };
            }
        }
        multiply(
            x.isa,
            Product {
                a: weights,
                a_row: CHUNK / E::PER_LANE,
                a_step: 1,
                b: across,
                b_row: row,
                c: sums,
                rows,
                cols: row,
                depth: n,
                band: Band::of_queries(1 << 24, 1 << 25),
                old: Old::Keep,
            },
        );
    }
    for j in 0..heads {
        let g = &sums[j * row..][..row];
        write_row(s, g, x.w[j], &mut x.dq[j * width..][..width]);
        let mut sum = s.splat(0.0);
        for c in (0..row).step_by(S::LANES) {
            // SAFETY: rows are whole vectors.
            let q = unsafe { E::load(s, own[j * row + c..].as_ptr()) };
            sum = s.mul_add(q, s.load(&g[c..]), sum);
        }
        x.dw[j] = s.reduce_add(sum);
    }
}

/// Collects the sums of a query from its tiles.
fn bring_together<E>(x: &mut Query<'_, E>, sums: &[f32], tiles: &Tiles<'_>) {
    let (unit, query) = x.unit;
    for block in 0..x.dims.key_blocks() {
        let (list, place) = x.lists.keys(x.number, block);
        if place >= x.remote {
            break;
        }
        let tile = tiles.tile(unit, block);
        let at = GROUP * (tile.start + tile.row(query).start);
        x.dscores[place..place + list.len()].copy_from_slice(&sums[at..at + list.len()]);
    }
}

/// From gradients of the biased attention scores to those of the indexer's: times the derivative of the gate.
#[inline(always)]
fn gate<S: Simd>(s: S, scores: &[f32], dscores: &mut [f32]) {
    const SLOPE: f32 = 0.1;
    for c in (0..scores.len()).step_by(S::LANES) {
        let score = s.load_partial(&scores[c..]);
        let open = math::sigmoid(s, s.mul(s.splat(SLOPE), score));
        let slope = s.mul(s.splat(SLOPE), s.mul(open, s.sub(s.splat(1.0), open)));
        let to = &mut dscores[c..scores.len()];
        let d = s.mul(slope, s.load_partial(to));
        let n = to.len().min(S::LANES);
        s.store_partial(&mut to[..n], d);
    }
}

simd_fn! {
    /// Adds what the span's queries give to a block of keys: `sums` is `[KEYS, width]`.
    fn keys_task [E: Sparse] (
        x: &Source<'_, E>, span: Span, block: usize, lists: Lists<'_>, from: (&[f32], &[E]), sums: &mut [f32],
        scratch: &mut [f32],
    ) = keys_kernel
}
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn keys_kernel<S: Rough, E: Sparse>(
    s: S,
    x: &Source<'_, E>,
    span: Span,
    block: usize,
    lists: Lists<'_>,
    (dscores, queries): (&[f32], &[E]),
    sums: &mut [f32],
    mut scratch: &mut [f32],
) {
    let Dims { t, heads, .. } = x.dims;
    let (heads_row, places) = (heads_row(&x.dims), lists.places());
    let factors = take_of::<E>(&mut scratch, GROUP * heads_row);
    let w = take(&mut scratch, heads_row);
    let first = span.first * QUERIES;
    let n = (t - first).min(span.n * QUERIES);
    w.fill(0.0);
    for i in (block * KEYS).saturating_sub(first)..n {
        let number = lists.number(i / QUERIES, i % QUERIES);
        let (list, place) = lists.keys(number, block);
        let remote = remote(x, lists, number, (span.row, first + i));
        let list = &list[..remote.saturating_sub(place).min(list.len())];
        if list.is_empty() {
            continue;
        }
        w[..heads].copy_from_slice(&x.indexer.w[(span.row * t + first + i) * heads..][..heads]);
        let dscores = &dscores[number * places + place..][..list.len()];
        let signs = lists.signs(number);
        let q = queries[i * packed_heads::<E>(&x.dims)..].as_ptr();
        for at in (0..list.len()).step_by(GROUP) {
            let here = (list.len() - at).min(GROUP);
            for m in 0..here {
                let d = s.splat(dscores[at + m]);
                for j in (0..heads_row).step_by(S::LANES) {
                    let word = signs[j / 32 * places + place + at + m].to_bits() >> (j % 32);
                    let d = s.mul(d, s.load(&w[j..]));
                    let d = s.select_mask(word, d, s.splat(0.0));
                    let to = &mut factors[m * heads_row + j..][..S::LANES];
                    // SAFETY: the slice holds a vector.
                    unsafe { E::store(s, to.as_mut_ptr(), d) };
                }
            }
            let keys = &list[at..at + here];
            // SAFETY: there are factors for every key, heads in whole lanes; the sums of a key are a row.
            unsafe {
                if here == GROUP {
                    add_to_keys::<S, E, GROUP>(s, &x.dims, factors, q, keys, sums);
                } else {
                    for m in 0..here {
                        let factors = &factors[m * heads_row..];
                        add_to_keys::<S, E, 1>(s, &x.dims, factors, q, &keys[m..], sums);
                    }
                }
            }
        }
    }
}

/// Adds factors times heads to the sums of `MR` different keys.
///
/// # Safety
/// `factors` must have a row of heads for every key, `q` be the packed queries of a position.
#[inline(always)]
unsafe fn add_to_keys<S: Rough, E: Sparse, const MR: usize>(
    s: S,
    dims: &Dims,
    factors: &[E],
    q: *const E,
    keys: &[u8],
    sums: &mut [f32],
) {
    let (row, heads_row) = (packed::<E>(dims.width), heads_row(dims));
    assert!(keys.len() >= MR && sums.len() >= KEYS * row && factors.len() >= MR * heads_row);
    let mut a = [factors.as_ptr(); MR];
    let mut to = [sums.as_mut_ptr(); MR];
    for m in 0..MR {
        a[m] = factors.as_ptr().wrapping_add(m * heads_row);
        to[m] = to[m].wrapping_add(usize::from(keys[m]) % KEYS * row);
    }
    let mut c = 0;
    while c < row {
        // SAFETY: the lengths were checked above; rows are whole vectors of the widest set.
        unsafe {
            let depth = lanes::<E>(dims.heads);
            let q = q.add(c * E::PER_LANE);
            if c + 2 * S::LANES <= row {
                add_columns::<S, E, MR, 2>(s, depth, a, (q, row), to, c);
                c += 2 * S::LANES;
            } else {
                add_columns::<S, E, MR, 1>(s, depth, a, (q, row), to, c);
                c += S::LANES;
            }
        }
    }
}

/// # Safety
/// As of [`add_to_keys`], with `NV` vectors from column `c` on.
#[inline(always)]
unsafe fn add_columns<S: Rough, E: Sparse, const MR: usize, const NV: usize>(
    s: S,
    depth: usize,
    a: [*const E; MR],
    q: (*const E, usize),
    to: [*mut f32; MR],
    c: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        let mut acc = [[s.splat(0.0); NV]; MR];
        for m in 0..MR {
            for n in 0..NV {
                acc[m][n] = s.load_ptr(to[m].add(c + n * S::LANES));
            }
        }
        let acc = product(s, depth, a, 1, q, acc);
        for m in 0..MR {
            for n in 0..NV {
                s.store_ptr(to[m].add(c + n * S::LANES), acc[m][n]);
            }
        }
    }
}
