//! The backward pass of a block of keys in bf16.
//!
//! Scores are queries by keys. Two rows of probabilities, or of gradients of scores, make pairs of queries, which is how
//! the products that give dv and dk read them; the product that gives dq reads pairs of keys, which lie in one row.

use super::Dims;
use super::ahead::Ahead;
use super::backward::{Gradients, Place, Sources, Turn};
use super::pack::{HeadRows, pack_row_pairs, pack_transposed, whole_lanes};
use super::rough::Rough;
use super::scratch::{lines, padded, take, take_bf16};
use super::strided::Strided;
use super::tile::{Band, Old, Product, STRIP, multiply, product};
use crate::gemm::Operand;
use crate::simd::{Element, Simd};
use crate::{Isa, simd_fn};
use half::bf16;
use std::f32::consts::LOG2_E;

/// Keys in a task: what is packed for them serves all steps, and `dq` is added to once per task.
pub(super) const KEYS: usize = 128;

/// Queries in a step.
pub(super) const STEP: usize = 64;

/// Lanes in a row of d values.
fn lanes(d: usize) -> usize {
    d.div_ceil(bf16::PER_LANE)
}

pub(super) fn keys_scratch_len(d: usize) -> usize {
    let d_padded = padded(d);
    let keys = 2 * lines(lanes(d) * KEYS) + KEYS / 2 * d_padded + 2 * KEYS * d_padded;
    let queries = 4 * (STEP / 2) * d_padded + 2 * STEP;
    keys + queries + 2 * STEP / 2 * KEYS + STEP * KEYS / 2
}

simd_fn! {
    /// The task of the first of `places`; the second is the one that this thread probably works on next.
    pub(super) fn keys_task(
        x: &Sources<'_, bf16>, places: (Place, Place), turn: &Turn<'_>, grads: &Gradients<bf16>, scratch: &mut [f32],
    ) = keys_task_kernel
}
#[inline(always)]
fn keys_task_kernel<S: Rough>(
    s: S,
    x: &Sources<'_, bf16>,
    (place, next): (Place, Place),
    turn: &Turn<'_>,
    grads: &Gradients<bf16>,
    mut scratch: &mut [f32],
) {
    let Dims { t, h, k_heads, d, window, .. } = x.dims;
    let Place { row, k_head, block } = place;
    let (group, d_padded) = (h / k_heads, padded(d));
    let scale = 1.0 / (d as f32).sqrt();
    let first_key = block * KEYS;
    let keys = (t - first_key).min(KEYS);
    let key_offset = ((row * t + first_key) * k_heads + k_head) * d;
    let key_rows = |data| rows_of_keys(data, &x.dims, place);

    let k_t = take_bf16(&mut scratch, lanes(d) * KEYS * 2);
    let v_t = take_bf16(&mut scratch, lanes(d) * KEYS * 2);
    let k_pairs = take_bf16(&mut scratch, KEYS * d_padded);
    let q_tile = take_bf16(&mut scratch, STEP * d_padded);
    let dout_tile = take_bf16(&mut scratch, STEP * d_padded);
    let q_pairs = take_bf16(&mut scratch, STEP * d_padded);
    let dout_pairs = take_bf16(&mut scratch, STEP * d_padded);
    let dk_tile = take(&mut scratch, KEYS * d_padded);
    let dv_tile = take(&mut scratch, KEYS * d_padded);
    let mut tile = Tile {
        p: take_bf16(&mut scratch, STEP * KEYS),
        ds: take_bf16(&mut scratch, STEP * KEYS),
        ds_rows: take_bf16(&mut scratch, STEP * KEYS),
        minus_lse: take(&mut scratch, STEP),
        delta: take(&mut scratch, STEP),
        keys,
    };
    pack_transposed(s, key_rows(x.k), KEYS, k_t);
    pack_transposed(s, key_rows(x.v), KEYS, v_t);
    pack_row_pairs(s, key_rows(x.k), d_padded, k_pairs);

    let window = window.min(1 << 24);
    // The last step's block of queries that sees some key of a block of keys.
    let last_block =
        |first_key: usize, keys: usize| (first_key + keys - 1 + window).min(t - 1) / STEP;
    let steps = (last_block(first_key, keys) + 1 - first_key / STEP) * group;
    // First query of a step, and its head in the group.
    let at = |step: usize| (first_key + step / group * STEP, step % group);
    let query_rows = |data, (first, head): (usize, usize)| {
        let rows = (t - first).min(STEP);
        let offset = ((row * t + first) * h + k_head * group + head) * d;
        HeadRows::new(data, offset, h * d, rows, d)
    };
    let len = (keys - 1) * k_heads * d + d;
    // SAFETY: these keys of this head belong to this task.
    let [dk, dv] = [&grads.dk, &grads.dv]
        .map(|grad| unsafe { Strided::new(grad, key_offset, k_heads * d, len) });
    for step in 0..steps {
        let (first, head) = at(step);
        let queries = (t - first).min(STEP);
        let band = Band::of_queries(first as isize - first_key as isize, window as isize);
        let (q_here, dout_here) = (query_rows(x.q, at(step)), query_rows(x.dout, at(step)));
        pack_row_pairs(s, q_here, d_padded, q_pairs);
        pack_row_pairs(s, dout_here, d_padded, dout_pairs);
        let q = whole_lanes(s, q_here, q_tile);
        let dout = whole_lanes(s, dout_here, dout_tile);
        let (offset, len) = (q_offset(&x.dims, place, first, head), (queries - 1) * h * d + d);
        // SAFETY: these queries of this head are written to when no other task adds to them any more.
        let dq = unsafe { Strided::new(&grads.dq, offset, h * d, len) };
        // No later keys are seen: the sum is complete.
        let complete = first < first_key + KEYS;
        let mut ahead = [Ahead::NOTHING; 5];
        if complete {
            ahead[0] = dq.ahead(queries, d);
        }
        if step + 1 < steps {
            ahead[1] = Ahead::of(query_rows(x.q, at(step + 1)));
            ahead[2] = Ahead::of(query_rows(x.dout, at(step + 1)));
        } else {
            ahead[1] = dk.ahead(keys, d);
            ahead[2] = dv.ahead(keys, d);
            ahead[3] = Ahead::of(rows_of_keys(x.k, &x.dims, next)).far();
            ahead[4] = Ahead::of(rows_of_keys(x.v, &x.dims, next)).far();
        }
        let statistics = (row * h + k_head * group + head) * t + first;
        tile.set_statistics(&x.lse[statistics..][..queries], &x.delta[statistics..][..queries]);
        tile.compute(s, LOG2_E * scale, (q, dout), (k_t, v_t), band, ahead);

        let product = |isa: Isa, a: &[bf16], b: &[bf16], c: &mut [f32]| {
            let (rows, band) = (keys.next_multiple_of(STRIP), band.transposed());
            let (cols, depth) = (d_padded, queries);
            let old = if step == 0 { Old::Discard } else { Old::Keep };
            let (a_row, a_step, b_row) = (1, KEYS, d_padded);
            multiply(isa, Product { a, a_row, a_step, b, b_row, c, rows, cols, depth, band, old });
        };
        product(x.isa, tile.p, dout_pairs, dv_tile);
        product(x.isa, tile.ds, q_pairs, dk_tile);

        // The block of keys before this one, where it is seen too, adds first; where not, there is nothing yet.
        let others = block > 0 && first / STEP <= last_block(first_key - KEYS, KEYS);
        if others {
            // It started some blocks of queries earlier.
            turn.wait(step + KEYS / STEP * group + 1);
        }
        let len = STEP * d_padded;
        let start = (head * t.div_ceil(STEP) + first / STEP) * len;
        // SAFETY: the wait makes this the only task that touches these queries of this head.
        let sum = unsafe { grads.sums.range(grads.sums_start + start, len) };
        multiply(
            x.isa,
            Product {
                a: tile.ds_rows,
                a_row: KEYS / bf16::PER_LANE,
                a_step: 1,
                b: k_pairs,
                b_row: d_padded,
                c: sum,
                rows: queries.next_multiple_of(STRIP),
                cols: d_padded,
                depth: keys,
                band,
                old: if others { Old::Keep } else { Old::Discard },
            },
        );
        if complete {
            write_rows(s, sum, d_padded, (queries, d), scale, dq);
        }
        turn.pass();
    }
    write_rows(s, dk_tile, d_padded, (keys, d), scale, dk);
    write_rows(s, dv_tile, d_padded, (keys, d), 1.0, dv);
}

/// The rows of a block of keys, or of their values.
fn rows_of_keys<'a>(data: &'a [bf16], dims: &Dims, place: Place) -> HeadRows<'a, bf16> {
    let Dims { t, k_heads, d, .. } = *dims;
    let first = place.block * KEYS;
    let offset = ((place.row * t + first) * k_heads + place.k_head) * d;
    HeadRows::new(data, offset, k_heads * d, (t - first).min(KEYS), d)
}

/// Where the query at `first` starts of head number `head` of the group.
fn q_offset(dims: &Dims, place: Place, first: usize, head: usize) -> usize {
    let Dims { t, h, k_heads, d, .. } = *dims;
    ((place.row * t + first) * h + place.k_head * (h / k_heads) + head) * d
}

/// Sets rows of `out` to `scale` times those of `tile`.
#[inline(always)]
fn write_rows<S: Simd>(
    s: S,
    tile: &[f32],
    tile_row: usize,
    (rows, d): (usize, usize),
    scale: f32,
    mut out: Strided<bf16>,
) {
    let factor = s.splat(scale);
    for r in 0..rows {
        let (from, to) = (&tile[r * tile_row..], out.row(r, d));
        for c in (0..d).step_by(S::LANES) {
            let (x, left) = (s.mul(factor, s.load(&from[c..])), d - c);
            // SAFETY: `left` values are left.
            unsafe {
                let to = to.as_mut_ptr().add(c);
                if left >= S::LANES {
                    bf16::store(s, to, x);
                } else {
                    bf16::store_partial(s, to, x, left);
                }
            }
        }
    }
}

/// Probabilities and the gradients of their scores, of one step.
struct Tile<'a> {
    /// Pairs of queries: `[STEP / 2, KEYS]` lanes.
    p: &'a mut [bf16],
    /// The same shape.
    ds: &'a mut [bf16],
    /// `[STEP, KEYS]` values.
    ds_rows: &'a mut [bf16],
    /// To the base 2, negated, one per query.
    minus_lse: &'a mut [f32],
    /// One per query.
    delta: &'a mut [f32],
    /// Number of keys.
    keys: usize,
}

impl Tile<'_> {
    /// Missing queries get zeros.
    fn set_statistics(&mut self, lse: &[f32], delta: &[f32]) {
        for (tile, values, scale) in
            [(&mut *self.minus_lse, lse, -LOG2_E), (&mut *self.delta, delta, 1.0)]
        {
            tile.fill(0.0);
            for (tile, value) in tile.iter_mut().zip(values) {
                *tile = scale * value;
            }
        }
    }

    /// Sets `p`, `ds` and `ds_rows` inside the band, from rows of q and dout and columns of k and v (`[lanes of d, KEYS]`).
    /// `scale` is 1/sqrt(D) to the base 2.
    #[inline(always)]
    fn compute<S: Rough>(
        &mut self,
        s: S,
        scale: f32,
        rows: (HeadRows<'_, bf16>, HeadRows<'_, bf16>),
        k_cols: (&[bf16], &[bf16]),
        band: Band,
        ahead: [Ahead; 5],
    ) {
        let keys = self.keys.next_multiple_of(16);
        let needed = lanes(rows.0.d) * KEYS * bf16::PER_LANE;
        assert!(k_cols.0.len() >= needed && k_cols.1.len() >= needed);
        for query in (0..rows.0.rows).step_by(STRIP) {
            ahead.iter().for_each(|ahead| ahead.fetch(s, query / STRIP, STEP / STRIP));
            let seen = band.columns(query, keys);
            let (mut col, end) =
                (seen.start / S::LANES * S::LANES, seen.end.next_multiple_of(S::LANES));
            while col < end && !seen.is_empty() {
                let (at, left) = ((query, col), (end - col) / S::LANES);
                // SAFETY: the lengths were checked above; columns col.. hold as many vectors.
                let done = unsafe {
                    if left == 1 {
                        self.blocks::<S, 8, 1>(s, scale, at, rows, k_cols, band)
                    } else if S::LANES == 8 {
                        self.blocks::<S, 4, 2>(s, scale, at, rows, k_cols, band)
                    } else if left == 2 {
                        self.blocks::<S, 8, 2>(s, scale, at, rows, k_cols, band)
                    } else if left == 3 {
                        self.blocks::<S, 4, 3>(s, scale, at, rows, k_cols, band)
                    } else {
                        self.blocks::<S, 4, 4>(s, scale, at, rows, k_cols, band)
                    }
                };
                col += done * S::LANES;
            }
        }
    }

    /// The blocks of a strip of queries; returns their width in vectors.
    ///
    /// # Safety
    /// As [`block`](Self::block).
    #[inline(always)]
    unsafe fn blocks<S: Rough, const MR: usize, const NV: usize>(
        &mut self,
        s: S,
        scale: f32,
        (query, col): (usize, usize),
        rows: (HeadRows<'_, bf16>, HeadRows<'_, bf16>),
        k_cols: (&[bf16], &[bf16]),
        band: Band,
    ) -> usize {
        for query in (query..query + STRIP).step_by(MR) {
            // SAFETY: the caller's.
            unsafe { self.block::<S, MR, NV>(s, scale, (query, col), rows, k_cols, band) };
        }
        NV
    }

    /// # Safety
    /// `k_cols` must be `[lanes of d, KEYS]`, with `NV` vectors from column `col` on.
    #[inline(always)]
    unsafe fn block<S: Rough, const MR: usize, const NV: usize>(
        &mut self,
        s: S,
        scale: f32,
        (query, col): (usize, usize),
        (q, dout): (HeadRows<'_, bf16>, HeadRows<'_, bf16>),
        (k_t, v_t): (&[bf16], &[bf16]),
        band: Band,
    ) {
        // Rows past the last query repeat it.
        let rows = |x: HeadRows<'_, bf16>| -> [*const bf16; MR] {
            std::array::from_fn(|m| {
                x.data.as_ptr().wrapping_add((query + m).min(x.rows - 1) * x.row)
            })
        };
        let columns = |x: &[bf16]| (x.as_ptr().wrapping_add(col * bf16::PER_LANE), KEYS);
        let zero = [[s.splat(0.0); NV]; MR];
        // SAFETY: the caller's.
        let mut p = unsafe { product(s, lanes(q.d), rows(q), 1, columns(k_t), zero) };
        let full = band.covers((query, MR), (col, NV * S::LANES)) && query + MR <= q.rows;
        let col = |n: usize| col + n * S::LANES;
        for m in 0..MR {
            let minus_lse = s.splat(self.minus_lse[query + m]);
            for n in 0..NV {
                p[m][n] = s.exp2_rough(s.mul_add(p[m][n], s.splat(scale), minus_lse));
                if !full {
                    // What a missing query gives must not reach a pair.
                    let seen = band.select(s, query + m, col(n), p[m][n], s.splat(0.0));
                    p[m][n] = if query + m < q.rows { seen } else { s.splat(0.0) };
                }
            }
        }
        // SAFETY: the caller's.
        let mut ds = unsafe { product(s, lanes(q.d), rows(dout), 1, columns(v_t), zero) };
        for m in 0..MR {
            let delta = s.splat(self.delta[query + m]);
            for n in 0..NV {
                ds[m][n] = s.mul(p[m][n], s.sub(ds[m][n], delta));
                let at = (query + m) * KEYS + col(n);
                let row = &mut self.ds_rows[at..][..S::LANES];
                // SAFETY: the slice holds a vector.
                unsafe { bf16::store(s, row.as_mut_ptr(), ds[m][n]) };
            }
        }
        for m in (0..MR).step_by(2) {
            for n in 0..NV {
                let at = ((query + m) / 2 * KEYS + col(n)) * bf16::PER_LANE;
                for (pairs, x) in [(&mut *self.p, &p), (&mut *self.ds, &ds)] {
                    let to = &mut pairs[at..][..S::LANES * bf16::PER_LANE];
                    let pair = s.rounded_pair(x[m][n], x[m + 1][n]);
                    // SAFETY: the slice holds a vector of pairs.
                    unsafe { s.store_pairs_ptr(to.as_mut_ptr(), pair) };
                }
            }
        }
    }
}
