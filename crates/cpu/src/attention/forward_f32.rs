//! The forward pass of a block of queries in f32.
//!
//! Scores are kept transposed, `[keys, queries]`: the running maximum and sum are then plain vectors over queries, and a
//! tile of probabilities is already laid out as the product with V reads it.

use super::LOWEST;
use super::exp2::exp2;
use super::forward::Block;
use super::pack::{HeadRows, pack_transposed_scaled, prefetch, readable};
use super::scratch::{lines, padded, take};
use super::strided::Strided;
use super::tile::{Band, Old, Product, STRIP, TILE, multiply, product};
use super::transpose::Transpose;
use crate::simd::Simd;
use crate::simd_fn;
use std::f32::consts::{LN_2, LOG2_E};

/// f32 values that [`forward_block`] needs.
pub(super) fn block_scratch_len(d: usize) -> usize {
    lines(d * TILE) + TILE * TILE + 2 * TILE * padded(d) + 3 * TILE
}

simd_fn! {
    /// Attention of one block. A query that sees no key gets 0.
    pub(super) fn forward_block(
        input: Block<'_, f32>, out: Strided<f32>, lse: Option<&mut [f32]>, scratch: &mut [f32],
    ) = forward_block_kernel
}
#[inline(always)]
fn forward_block_kernel<S: Transpose>(
    s: S,
    input: Block<'_, f32>,
    mut out: Strided<f32>,
    lse: Option<&mut [f32]>,
    mut scratch: &mut [f32],
) {
    let (d, rows) = (input.q.d, input.q.rows);
    let d_padded = padded(d);
    let q_t = take(&mut scratch, d * TILE);
    let v_tile = take(&mut scratch, TILE * d_padded);
    let sum = take(&mut scratch, TILE * d_padded);
    let mut p = Softmax {
        p: take(&mut scratch, TILE * TILE),
        max: take(&mut scratch, TILE),
        total: take(&mut scratch, TILE),
        shrink: take(&mut scratch, TILE),
        queries: rows.next_multiple_of(S::LANES),
    };
    pack_transposed_scaled(s, input.q, LOG2_E / (d as f32).sqrt(), q_t);
    p.max.fill(LOWEST);
    p.total.fill(0.0);

    let window = input.window.min(1 << 24);
    let end = (input.first + rows).min(input.k.rows);
    let start = input.first.saturating_sub(window).min(end);
    for key in (start..end).step_by(TILE) {
        let keys = (end - key).min(TILE);
        let queries_band = Band::of_queries(input.first as isize - key as isize, window as isize);
        let band = queries_band.transposed();
        let masked = keys < TILE || !band.is_full(TILE, rows);
        // SAFETY: `keys` rows exist; `q_t` is [d, TILE].
        unsafe { p.scores(s, (input.k, input.v), (key, keys), q_t, band, masked) };
        p.exponentials(s, keys, band, masked);
        let v = readable(s, input.v.part(key, keys), v_tile);
        let old = if key == start { Old::Discard } else { Old::Scale(p.shrink) };
        multiply(
            input.isa,
            Product {
                a: p.p,
                a_row: 1,
                a_step: TILE,
                b: v.data,
                b_row: v.row,
                c: sum,
                rows: rows.next_multiple_of(STRIP),
                cols: d_padded,
                depth: keys,
                band: queries_band,
                old,
            },
        );
    }
    for r in 0..rows {
        let total = p.total[r];
        let inverse = s.splat(if total > 0.0 { 1.0 / total } else { 0.0 });
        let (from, to) = (&sum[r * d_padded..], out.row(r, d));
        for c in (0..d).step_by(S::LANES) {
            let x = if start < end { s.load(&from[c..]) } else { s.splat(0.0) };
            s.store_partial(&mut to[c..], s.mul(x, inverse));
        }
    }
    if let Some(lse) = lse {
        for (r, lse) in lse.iter_mut().enumerate() {
            *lse = LN_2 * (p.max[r] + p.total[r].log2());
        }
    }
}

/// The running softmax of a block of queries, and the tile of probabilities at hand.
struct Softmax<'a> {
    /// `[TILE keys, TILE queries]`.
    p: &'a mut [f32],
    /// Largest score so far, one per query.
    max: &'a mut [f32],
    /// Sum of `e^(score - max)` so far.
    total: &'a mut [f32],
    /// `e^(old max - max)`: what sums under the old maximum are worth under the new one.
    shrink: &'a mut [f32],
    /// Number of queries, in whole vectors.
    queries: usize,
}

impl Softmax<'_> {
    /// The vectors of queries that see some key of the strip at `key`.
    #[inline(always)]
    fn visible(&self, lanes: usize, key: usize, band: Band) -> (usize, usize) {
        let seen = band.columns(key, self.queries);
        if seen.is_empty() {
            return (0, 0);
        }
        (seen.start / lanes * lanes, seen.end.next_multiple_of(lanes))
    }

    /// Scores of the `keys` keys from `first` on into `p`; `shrink` takes the old maxima and `max` the new ones.
    ///
    /// # Safety
    /// `q_t` must be `[d, TILE]`.
    #[inline(always)]
    unsafe fn scores<S: Simd>(
        &mut self,
        s: S,
        (all_k, all_v): (HeadRows<'_, f32>, HeadRows<'_, f32>),
        (first, keys): (usize, usize),
        q_t: &[f32],
        band: Band,
        masked: bool,
    ) {
        let k = all_k.part(first, keys);
        self.shrink.copy_from_slice(self.max);
        let most = if S::LANES == 16 { 4 } else { 2 };
        for key in (0..keys).step_by(STRIP) {
            // What the next strip reads, and what the product with V will.
            prefetch(s, all_k.strip(first + key + STRIP));
            prefetch(s, all_v.strip(first + key));
            let (mut col, end) = self.visible(S::LANES, key, band);
            while col < end {
                let vectors = ((end - col) / S::LANES).min(most);
                let (upper, lower) = ((key, col), (key + 4, col));
                // SAFETY: the caller's; columns col.. hold `vectors` vectors.
                unsafe {
                    match vectors {
                        4 => {
                            self.block::<S, 4, 4>(s, k, q_t, upper, band, masked);
                            self.block::<S, 4, 4>(s, k, q_t, lower, band, masked);
                        }
                        3 => {
                            self.block::<S, 4, 3>(s, k, q_t, upper, band, masked);
                            self.block::<S, 4, 3>(s, k, q_t, lower, band, masked);
                        }
                        2 => {
                            self.block::<S, 4, 2>(s, k, q_t, upper, band, masked);
                            self.block::<S, 4, 2>(s, k, q_t, lower, band, masked);
                        }
                        _ => self.block::<S, 8, 1>(s, k, q_t, upper, band, masked),
                    }
                }
                col += vectors * S::LANES;
            }
        }
    }

    /// Scores of `MR` keys. Rows past the last key repeat it: they lie beyond what any query sees.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    unsafe fn block<S: Simd, const MR: usize, const NV: usize>(
        &mut self,
        s: S,
        k: HeadRows<'_, f32>,
        q_t: &[f32],
        (key, col): (usize, usize),
        band: Band,
        masked: bool,
    ) {
        let a: [*const f32; MR] = std::array::from_fn(|m| {
            k.data.as_ptr().wrapping_add((key + m).min(k.rows - 1) * k.row)
        });
        // SAFETY: the caller's: rows of k have d values, rows of q_t TILE.
        let mut acc = unsafe {
            let b = (q_t.as_ptr().add(col), TILE);
            product(s, k.d, a, 1, b, [[s.splat(0.0); NV]; MR])
        };
        for n in 0..NV {
            let col = col + n * S::LANES;
            let mut max = s.load(&self.max[col..]);
            for m in 0..MR {
                if masked {
                    let no = s.splat(LOWEST);
                    acc[m][n] = band.select(s, key + m, col, acc[m][n], no);
                }
                max = s.max(max, acc[m][n]);
                s.store(&mut self.p[(key + m) * TILE + col..], acc[m][n]);
            }
            s.store(&mut self.max[col..], max);
        }
    }

    /// Turns the scores into `e^(score - max)`, adds them to `total` and sets `shrink`.
    #[inline(always)]
    fn exponentials<S: Simd>(&mut self, s: S, keys: usize, band: Band, masked: bool) {
        for col in (0..self.queries).step_by(S::LANES) {
            let old = s.load(&self.shrink[col..]);
            let shrink = exp2(s, s.sub(old, s.load(&self.max[col..])));
            s.store(&mut self.shrink[col..], shrink);
            let total = s.mul(shrink, s.load(&self.total[col..]));
            s.store(&mut self.total[col..], total);
        }
        for key in (0..keys).step_by(STRIP) {
            let (start, end) = self.visible(S::LANES, key, band);
            for col in (start..end).step_by(S::LANES) {
                let max = s.load(&self.max[col..]);
                let mut total = s.load(&self.total[col..]);
                for row in key..key + STRIP {
                    let p = &mut self.p[row * TILE + col..];
                    let score = s.load(p);
                    let mut e = exp2(s, s.sub(score, max));
                    if masked {
                        // A query that has seen nothing yet has the maximum LOWEST: its masked scores count as 0, too.
                        e = s.select_ge(score, s.splat(0.5 * LOWEST), e, s.splat(0.0));
                    }
                    total = s.add(total, e);
                    s.store(p, e);
                }
                s.store(&mut self.total[col..], total);
            }
        }
    }
}
