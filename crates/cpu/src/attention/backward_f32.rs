//! The backward pass of a block of keys in f32.

use super::Dims;
use super::backward::{Gradients, Place, Sources, Turn};
use super::exp2::exp2;
use super::pack::{HeadRows, pack, pack_transposed, prefetch, readable};
use super::scratch::{LINE, lines, padded, take};
use super::strided::Strided;
use super::tile::{Band, Old, Product, STRIP, TILE, multiply, product};
use super::transpose::Transpose;
use crate::simd::Simd;
use crate::simd_fn;
use std::f32::consts::LOG2_E;

pub(super) fn keys_scratch_len(d: usize) -> usize {
    2 * lines(d * TILE) + 6 * TILE * padded(d) + 2 * TILE * TILE + 2 * TILE
}

simd_fn! {
    pub(super) fn keys_task(
        x: &Sources<'_, f32>, places: (Place, Place), turn: &Turn<'_>, grads: &Gradients<f32>, scratch: &mut [f32],
    ) = keys_task_kernel
}
#[inline(always)]
fn keys_task_kernel<S: Transpose>(
    s: S,
    x: &Sources<'_, f32>,
    (place, _): (Place, Place),
    turn: &Turn<'_>,
    Gradients { dq, dk, dv, .. }: &Gradients<f32>,
    mut scratch: &mut [f32],
) {
    let Dims { t, h, k_heads, d, window, .. } = x.dims;
    let Place { row, k_head, block } = place;
    let (group, d_padded) = (h / k_heads, padded(d));
    let scale = 1.0 / (d as f32).sqrt();
    let first_key = block * TILE;
    let keys = (t - first_key).min(TILE);
    let key_offset = ((row * t + first_key) * k_heads + k_head) * d;
    let key_rows = |data| HeadRows::new(data, key_offset, k_heads * d, keys, d);

    let k_t = take(&mut scratch, d * TILE);
    let v_t = take(&mut scratch, d * TILE);
    let k_tile = take(&mut scratch, TILE * d_padded);
    let q_tile = take(&mut scratch, TILE * d_padded);
    let dout_tile = take(&mut scratch, TILE * d_padded);
    let dq_tile = take(&mut scratch, TILE * d_padded);
    let dk_tile = take(&mut scratch, TILE * d_padded);
    let dv_tile = take(&mut scratch, TILE * d_padded);
    let mut tile = Probabilities {
        p: take(&mut scratch, TILE * TILE),
        ds: take(&mut scratch, TILE * TILE),
        lse: take(&mut scratch, TILE),
        delta: take(&mut scratch, TILE),
        keys: keys.next_multiple_of(LINE),
    };
    pack_transposed(s, key_rows(x.k), TILE, k_t);
    pack_transposed(s, key_rows(x.v), TILE, v_t);
    pack(s, key_rows(x.k), d_padded, k_tile);
    dk_tile.fill(0.0);
    dv_tile.fill(0.0);

    let window = window.min(1 << 24);
    // The last block of queries that sees some key of a block of keys.
    let last_block =
        |first_key: usize, keys: usize| (first_key + keys - 1 + window).min(t - 1) / TILE;
    let steps = (last_block(first_key, keys) + 1 - block) * group;
    // First query of a step, its head, its rows of q or dout.
    let at = |step: usize| ((block + step / group) * TILE, k_head * group + step % group);
    let query_rows = |data, (first, head): (usize, usize)| {
        let rows = (t - first).min(TILE);
        HeadRows::new(data, ((row * t + first) * h + head) * d, h * d, rows, d)
    };
    for step in 0..steps {
        let (first, head) = at(step);
        let queries = (t - first).min(TILE);
        let band = Band::of_queries((first - first_key) as isize, window as isize);
        let masked = !band.is_full(TILE, TILE);
        let q = readable(s, query_rows(x.q, at(step)), q_tile);
        let dout = readable(s, query_rows(x.dout, at(step)), dout_tile);
        if step + 1 < steps {
            prefetch(s, query_rows(x.q, at(step + 1)));
            prefetch(s, query_rows(x.dout, at(step + 1)));
        }
        let statistics = (row * h + head) * t + first;
        tile.set_statistics(&x.lse[statistics..][..queries], &x.delta[statistics..][..queries]);
        // SAFETY: `k_t` and `v_t` are [d, TILE].
        unsafe { tile.compute(s, LOG2_E * scale, (q, dout), (k_t, v_t), band, masked) };

        let add = |a: &[f32], b: HeadRows<'_, f32>, c: &mut [f32]| {
            let (rows, band) = (keys.next_multiple_of(STRIP), band.transposed());
            let (cols, depth, old) = (d_padded, queries, Old::Keep);
            let (a_row, a_step) = (1, TILE);
            let (b, b_row) = (b.data, b.row);
            multiply(
                x.isa,
                Product { a, a_row, a_step, b, b_row, c, rows, cols, depth, band, old },
            );
        };
        add(tile.p, dout, dv_tile);
        add(tile.ds, q, dk_tile);
        multiply(
            x.isa,
            Product {
                a: tile.ds,
                a_row: TILE,
                a_step: 1,
                b: k_tile,
                b_row: d_padded,
                c: dq_tile,
                rows: queries.next_multiple_of(STRIP),
                cols: d_padded,
                depth: keys,
                band,
                old: Old::Discard,
            },
        );

        // The block of keys before this one, where it is seen too, adds first; where not, there is nothing yet.
        let others = block > 0 && first / TILE <= last_block(first_key - TILE, TILE);
        if others {
            // It started one block of queries earlier.
            turn.wait(step + group + 1);
        }
        let (offset, len) = (((row * t + first) * h + head) * d, (queries - 1) * h * d + d);
        // SAFETY: the wait makes this the only task that touches these queries of this head.
        let out = unsafe { Strided::new(dq, offset, h * d, len) };
        write_rows(s, dq_tile, d_padded, (queries, d), scale, others, out);
        turn.pass();
    }
    let len = (keys - 1) * k_heads * d + d;
    for (tile, grad, scale) in [(&*dk_tile, dk, scale), (&*dv_tile, dv, 1.0)] {
        // SAFETY: these keys of this head belong to this task.
        let out = unsafe { Strided::new(grad, key_offset, k_heads * d, len) };
        write_rows(s, tile, d_padded, (keys, d), scale, false, out);
    }
}

/// Sets rows of `out`, or adds to them, `scale` times those of `tile`.
#[inline(always)]
fn write_rows<S: Simd>(
    s: S,
    tile: &[f32],
    tile_row: usize,
    (rows, d): (usize, usize),
    scale: f32,
    add: bool,
    mut out: Strided<f32>,
) {
    let factor = s.splat(scale);
    for r in 0..rows {
        let (from, to) = (&tile[r * tile_row..], out.row(r, d));
        for c in (0..d).step_by(S::LANES) {
            let (from, to) = (s.load(&from[c..]), &mut to[c..]);
            if to.len() >= S::LANES {
                let old = if add { s.load(to) } else { s.splat(0.0) };
                s.store(to, s.mul_add(factor, from, old));
            } else {
                let old = if add { s.load_partial(to) } else { s.splat(0.0) };
                s.store_partial(to, s.mul_add(factor, from, old));
            }
        }
    }
}

/// Probabilities and the gradients of their scores, of one tile.
struct Probabilities<'a> {
    /// `[TILE queries, TILE keys]`.
    p: &'a mut [f32],
    /// The same shape.
    ds: &'a mut [f32],
    /// To the base 2, one per query.
    lse: &'a mut [f32],
    /// One per query.
    delta: &'a mut [f32],
    /// Number of keys, in whole vectors.
    keys: usize,
}

impl Probabilities<'_> {
    /// Missing queries get zeros; no product reads what comes of them.
    fn set_statistics(&mut self, lse: &[f32], delta: &[f32]) {
        for (tile, values, scale) in [(&mut *self.lse, lse, LOG2_E), (&mut *self.delta, delta, 1.0)]
        {
            tile.fill(0.0);
            for (tile, value) in tile.iter_mut().zip(values) {
                *tile = scale * value;
            }
        }
    }

    /// Sets `p` and `ds` inside the band, from rows of q and dout and columns of k and v. `scale` is 1/sqrt(D) to the base
    /// 2.
    ///
    /// # Safety
    /// `k_cols` must be `[d, TILE]`.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    unsafe fn compute<S: Simd>(
        &mut self,
        s: S,
        scale: f32,
        (q, dout): (HeadRows<'_, f32>, HeadRows<'_, f32>),
        k_cols: (&[f32], &[f32]),
        band: Band,
        masked: bool,
    ) {
        let most = if S::LANES == 16 { 4 } else { 2 };
        for query in (0..q.rows).step_by(STRIP) {
            prefetch(s, q.strip(query + STRIP));
            prefetch(s, dout.strip(query + STRIP));
            let seen = band.columns(query, self.keys);
            let (mut col, end) =
                (seen.start / S::LANES * S::LANES, seen.end.next_multiple_of(S::LANES));
            while col < end {
                let vectors = ((end - col) / S::LANES).min(most);
                let (upper, lower) = ((query, col), (query + 4, col));
                // SAFETY: the caller's; columns col.. hold `vectors` vectors.
                unsafe {
                    match vectors {
                        4 => {
                            self.block::<S, 4, 4>(s, scale, upper, (q, dout), k_cols, band, masked);
                            self.block::<S, 4, 4>(s, scale, lower, (q, dout), k_cols, band, masked);
                        }
                        3 => {
                            self.block::<S, 4, 3>(s, scale, upper, (q, dout), k_cols, band, masked);
                            self.block::<S, 4, 3>(s, scale, lower, (q, dout), k_cols, band, masked);
                        }
                        2 => {
                            self.block::<S, 4, 2>(s, scale, upper, (q, dout), k_cols, band, masked);
                            self.block::<S, 4, 2>(s, scale, lower, (q, dout), k_cols, band, masked);
                        }
                        _ => {
                            self.block::<S, 8, 1>(s, scale, upper, (q, dout), k_cols, band, masked)
                        }
                    }
                }
                col += vectors * S::LANES;
            }
        }
    }

    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    unsafe fn block<S: Simd, const MR: usize, const NV: usize>(
        &mut self,
        s: S,
        scale: f32,
        (query, col): (usize, usize),
        (q, dout): (HeadRows<'_, f32>, HeadRows<'_, f32>),
        (k_t, v_t): (&[f32], &[f32]),
        band: Band,
        masked: bool,
    ) {
        // Rows past the last query repeat it.
        let rows = |x: HeadRows<'_, f32>| -> [*const f32; MR] {
            std::array::from_fn(|m| {
                x.data.as_ptr().wrapping_add((query + m).min(x.rows - 1) * x.row)
            })
        };
        let zero = [[s.splat(0.0); NV]; MR];
        // SAFETY: the caller's.
        let scores = unsafe { product(s, q.d, rows(q), 1, (k_t.as_ptr().add(col), TILE), zero) };
        let at = |m: usize, n: usize| (query + m) * TILE + col + n * S::LANES;
        for m in 0..MR {
            let lse = s.splat(-self.lse[query + m]);
            for n in 0..NV {
                let mut p = exp2(s, s.mul_add(scores[m][n], s.splat(scale), lse));
                if masked {
                    p = band.select(s, query + m, col + n * S::LANES, p, s.splat(0.0));
                }
                s.store(&mut self.p[at(m, n)..], p);
            }
        }
        // SAFETY: the caller's.
        let dp = unsafe { product(s, q.d, rows(dout), 1, (v_t.as_ptr().add(col), TILE), zero) };
        for m in 0..MR {
            let delta = s.splat(self.delta[query + m]);
            for n in 0..NV {
                let ds = s.mul(s.load(&self.p[at(m, n)..]), s.sub(dp[m][n], delta));
                s.store(&mut self.ds[at(m, n)..], ds);
            }
        }
    }
}
