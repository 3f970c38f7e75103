//! The forward pass of a block of queries in bf16.
//!
//! Scores are kept transposed, keys by queries: two rows of them make pairs of keys, which is how the product with V reads
//! probabilities.
//!
//! Exponentials are taken right where a product leaves its scores in registers, against a `base` that is known before: the
//! query's score with some key that it sees. So it is never above the maximum, and since f32 and bf16 have large exponents,
//! how far below hardly matters; only where sums grow beyond [`LIMIT`] does a tile's maximum become the new base and the
//! tile is done again. Sums add f32 exponentials, before they are rounded, so that the log-sum-exp is as exact as they are
//! and the backward pass finds the same probabilities.

use super::LOWEST;
use super::ahead::Ahead;
use super::backward::dot;
use super::forward::Block;
use super::pack::{HeadRows, pack_row_pairs, pack_transposed, whole_lanes};
use super::rough::{Rough, log2_all};
use super::scratch::{lines, padded, take, take_bf16};
use super::strided::Strided;
use super::tile::{Band, Old, Product, STRIP, multiply, product};
use crate::gemm::Operand;
use crate::simd::{Element, Simd};
use crate::{Isa, simd_fn};
use half::bf16;
use std::f32::consts::{LN_2, LOG2_E};

/// Queries in a block: what is packed for them serves all.
pub(super) const QUERIES: usize = 128;

/// Queries that a product works on at a time.
const PANEL: usize = 64;

/// Keys in a tile.
const KEYS: usize = 128;

/// Sums of exponentials may grow this large against their base; beyond, values could overflow.
const LIMIT: f32 = (1u64 << 40) as f32;

/// Lanes in a row of d values.
fn lanes(d: usize) -> usize {
    d.div_ceil(bf16::PER_LANE)
}

/// f32 values that [`forward_block`] needs.
pub(super) fn block_scratch_len(d: usize) -> usize {
    let d_padded = padded(d);
    let panels = QUERIES / PANEL * (lines(lanes(d) * PANEL) + PANEL * d_padded + 2 * PANEL);
    panels + KEYS / 2 * (2 * d_padded + PANEL)
}

simd_fn! {
    /// Attention of the first of `blocks`; the second is what this thread probably works on next. A query that sees no key
    /// gets 0.
    pub(super) fn forward_block(
        blocks: (Block<'_, bf16>, Block<'_, bf16>), out: Strided<bf16>, lse: Option<&mut [f32]>, scratch: &mut [f32],
    ) = forward_block_kernel
}
#[inline(always)]
fn forward_block_kernel<S: Rough>(
    s: S,
    (input, next): (Block<'_, bf16>, Block<'_, bf16>),
    mut out: Strided<bf16>,
    mut lse: Option<&mut [f32]>,
    mut scratch: &mut [f32],
) {
    let (d, rows) = (input.q.d, input.q.rows);
    let d_padded = padded(d);
    let window = input.window.min(1 << 24);
    let scale = LOG2_E / (d as f32).sqrt();
    let p = take_bf16(&mut scratch, KEYS * PANEL);
    let v_pairs = take_bf16(&mut scratch, KEYS * d_padded);
    let k_tile = take_bf16(&mut scratch, KEYS * d_padded);
    let mut panel = || Panel {
        isa: input.isa,
        q_t: take_bf16(&mut scratch, lanes(d) * PANEL * 2),
        sum: take(&mut scratch, PANEL * d_padded),
        minus_base: take(&mut scratch, PANEL),
        total: take(&mut scratch, PANEL),
        queries: 0,
        first: 0,
        window,
        scale,
        empty: true,
    };
    let mut panels: [Panel; QUERIES / PANEL] = std::array::from_fn(|_| panel());
    let used = rows.div_ceil(PANEL);
    let end = (input.first + rows).min(input.k.rows);
    let start = input.first.saturating_sub(window).min(end);
    for (n, panel) in panels[..used].iter_mut().enumerate() {
        panel.start(s, &input, n * PANEL);
    }
    for key in (start..end).step_by(KEYS) {
        let keys = (end - key).min(KEYS);
        let k = whole_lanes(s, input.k.part(key, keys), k_tile);
        pack_row_pairs(s, input.v.part(key, keys), d_padded, v_pairs);
        let left = (end - key - keys).min(KEYS);
        let ahead = if left > 0 {
            let tile = |rows: HeadRows<'_, bf16>| Ahead::of(rows.part(key + keys, left));
            [tile(input.k), tile(input.v), Ahead::NOTHING, Ahead::NOTHING]
        } else {
            let tile = |rows: HeadRows<'_, bf16>| Ahead::of(rows.part(0, rows.rows.min(KEYS)));
            let [k, v] = [tile(next.k), tile(next.v)].map(Ahead::far);
            [out.ahead(rows, d), Ahead::of(next.q).far(), k, v]
        };
        for (n, panel) in panels[..used].iter_mut().enumerate() {
            // The last panel sees every tile that any does.
            let ahead = if n + 1 == used { ahead } else { [Ahead::NOTHING; 4] };
            if panel.sees(key, keys) {
                panel.add_tile(s, (k, key), v_pairs, p, ahead);
            }
        }
    }
    for (n, panel) in panels[..used].iter().enumerate() {
        let rows = (rows - n * PANEL).min(PANEL);
        for r in 0..rows {
            panel.write_row(s, r, out.row(n * PANEL + r, d));
        }
        if let Some(lse) = &mut lse {
            panel.write_lse(&mut lse[n * PANEL..][..rows]);
        }
    }
}

/// Some queries of a block, and what they have summed.
struct Panel<'a> {
    isa: Isa,
    /// `[lanes of d, PANEL]`
    q_t: &'a mut [bf16],
    /// `[PANEL, d_padded]`: probabilities, relative to the base, times values.
    sum: &'a mut [f32],
    /// What exponentials are relative to, to the base 2, negated.
    minus_base: &'a mut [f32],
    /// Sums of exponentials.
    total: &'a mut [f32],
    /// Number of queries.
    queries: usize,
    /// Position of the first one.
    first: usize,
    window: usize,
    /// 1/sqrt(D) to the base 2.
    scale: f32,
    /// Whether `sum` holds nothing yet.
    empty: bool,
}

/// A tile of scores that a panel works on: rows are keys, columns queries.
#[derive(Clone, Copy)]
struct Scores<'a> {
    k: HeadRows<'a, bf16>,
    band: Band,
}

impl Panel<'_> {
    /// Brings in the queries of `input` from `offset` on.
    #[inline(always)]
    fn start<S: Rough>(&mut self, s: S, input: &Block<'_, bf16>, offset: usize) {
        self.queries = (input.q.rows - offset).min(PANEL);
        self.first = input.first + offset;
        let q = input.q.part(offset, self.queries);
        pack_transposed(s, q, PANEL, self.q_t);
        self.total.fill(0.0);
        self.minus_base.fill(0.0);
        if input.k.rows == 0 {
            return;
        }
        let scale = self.scale;
        let key = |position: usize| input.k.part(position.min(input.k.rows - 1), 1);
        if self.window + 1 >= PANEL && q.d.is_multiple_of(bf16::PER_LANE) {
            // Every query sees the first one's key.
            let k = key(self.first).data.as_ptr();
            for col in (0..PANEL).step_by(S::LANES) {
                // SAFETY: `q_t` has PANEL columns, a key as many lanes as `q_t` rows.
                let [[score]] = unsafe {
                    let q_t = self.q_t.as_ptr().add(col * bf16::PER_LANE);
                    product(s, lanes(q.d), [k], 1, (q_t, PANEL), [[s.splat(0.0)]])
                };
                s.store(&mut self.minus_base[col..], s.mul(s.splat(-scale), score));
            }
        } else {
            for (r, minus_base) in self.minus_base[..self.queries].iter_mut().enumerate() {
                let (q, k) = (q.part(r, 1), key(self.first + r));
                *minus_base = -scale * dot(s, &q.data[..q.d], &k.data[..k.d]);
            }
        }
    }

    /// True when some query sees some of `keys` keys from `key` on.
    fn sees(&self, key: usize, keys: usize) -> bool {
        key < self.first + self.queries && key + keys + self.window > self.first
    }

    /// Adds what the keys from position `key` on contribute; `p` is room for `[KEYS / 2, PANEL]` pairs.
    #[inline(always)]
    fn add_tile<S: Rough>(
        &mut self,
        s: S,
        (k, key): (HeadRows<'_, bf16>, usize),
        v_pairs: &[bf16],
        p: &mut [bf16],
        ahead: [Ahead; 4],
    ) {
        let of_queries = Band::of_queries(self.first as isize - key as isize, self.window as isize);
        let scores = Scores { k, band: of_queries.transposed() };
        assert!(p.len() >= k.rows.next_multiple_of(STRIP) * PANEL);
        let mut before = [0.0; PANEL];
        before.copy_from_slice(self.total);
        for rebased in [false, true] {
            // SAFETY: `p` has a row for every pair of keys.
            unsafe { self.visit::<S, false>(s, scores, p, ahead) };
            if rebased || self.largest_total(s) <= LIMIT {
                break;
            }
            self.rebase(s, scores, &before);
        }
        let d_padded = padded(k.d);
        multiply(
            self.isa,
            Product {
                a: p,
                a_row: 1,
                a_step: PANEL,
                b: v_pairs,
                b_row: d_padded,
                c: self.sum,
                rows: self.queries.next_multiple_of(STRIP),
                cols: d_padded,
                depth: k.rows,
                band: of_queries,
                old: if self.empty { Old::Discard } else { Old::Keep },
            },
        );
        self.empty = false;
    }

    #[inline(always)]
    fn largest_total<S: Simd>(&self, s: S) -> f32 {
        let mut most = s.splat(0.0);
        for total in self.total.chunks_exact(S::LANES) {
            most = s.max(most, s.load(total));
        }
        s.reduce_max(most)
    }

    /// Raises bases to the maxima of a tile, and makes `total`, which was `before` that tile, and `sum` relative to them.
    #[inline(always)]
    fn rebase<S: Rough>(&mut self, s: S, scores: Scores<'_>, before: &[f32; PANEL]) {
        // For the time being, the maxima of what exceeds the base.
        self.total.fill(0.0);
        // SAFETY: maxima go to `total` alone.
        unsafe { self.visit::<S, true>(s, scores, &mut [], [Ahead::NOTHING; 4]) };
        let d_padded = padded(scores.k.d);
        for r in 0..self.queries {
            let above = self.total[r];
            self.minus_base[r] -= above;
            let factor = (-above).exp2();
            self.total[r] = factor * before[r];
            if !self.empty {
                self.sum[r * d_padded..][..d_padded].iter_mut().for_each(|x| *x *= factor);
            }
        }
    }

    /// Goes through the scores of a tile, block by block. With `MAXIMA`, takes the maximum of each query's into `total`,
    /// else sets `p` to exponentials and adds them to `total`.
    ///
    /// # Safety
    /// `p` must have `[KEYS / 2, PANEL]` pairs for the tile's keys in whole strips, unless `MAXIMA`.
    #[inline(always)]
    unsafe fn visit<S: Rough, const MAXIMA: bool>(
        &mut self,
        s: S,
        scores: Scores<'_>,
        p: &mut [bf16],
        ahead: [Ahead; 4],
    ) {
        let queries = self.queries.next_multiple_of(S::LANES);
        for key in (0..scores.k.rows).step_by(STRIP) {
            ahead.iter().for_each(|ahead| ahead.fetch(s, key / STRIP, KEYS / STRIP));
            let seen = scores.band.columns(key, queries);
            let (mut col, end) =
                (seen.start / S::LANES * S::LANES, seen.end.next_multiple_of(S::LANES));
            while col < end && !seen.is_empty() {
                let left = (end - col) / S::LANES;
                // SAFETY: columns col.. hold as many vectors; `p` is the caller's.
                let done = unsafe {
                    if MAXIMA || left == 1 {
                        self.blocks::<S, MAXIMA, 8, 1>(s, scores, (key, col), p)
                    } else if S::LANES == 8 {
                        self.blocks::<S, MAXIMA, 4, 2>(s, scores, (key, col), p)
                    } else if left == 2 {
                        self.blocks::<S, MAXIMA, 8, 2>(s, scores, (key, col), p)
                    } else if left == 3 {
                        self.blocks::<S, MAXIMA, 4, 3>(s, scores, (key, col), p)
                    } else {
                        self.blocks::<S, MAXIMA, 4, 4>(s, scores, (key, col), p)
                    }
                };
                col += done * S::LANES;
            }
        }
    }

    /// The blocks of a strip of keys; returns their width in vectors.
    ///
    /// # Safety
    /// As [`block`](Self::block).
    #[inline(always)]
    unsafe fn blocks<S: Rough, const MAXIMA: bool, const MR: usize, const NV: usize>(
        &mut self,
        s: S,
        scores: Scores<'_>,
        (key, col): (usize, usize),
        p: &mut [bf16],
    ) -> usize {
        for key in (key..key + STRIP).step_by(MR) {
            // SAFETY: the caller's.
            unsafe { self.block::<S, MAXIMA, MR, NV>(s, scores, (key, col), p) };
        }
        NV
    }

    /// Scores of `MR` keys. Rows past the last key repeat it: they lie beyond what any query sees.
    ///
    /// # Safety
    /// `NV` vectors of queries must be left from column `col` on, and `p` have rows for the keys unless `MAXIMA`.
    #[inline(always)]
    unsafe fn block<S: Rough, const MAXIMA: bool, const MR: usize, const NV: usize>(
        &mut self,
        s: S,
        Scores { k, band }: Scores<'_>,
        (key, col): (usize, usize),
        p: &mut [bf16],
    ) {
        let a: [*const bf16; MR] = std::array::from_fn(|m| {
            k.data.as_ptr().wrapping_add((key + m).min(k.rows - 1) * k.row)
        });
        // SAFETY: rows of k have all lanes of d, rows of q_t PANEL.
        let mut acc = unsafe {
            let b = (self.q_t.as_ptr().add(col * bf16::PER_LANE), PANEL);
            product(s, lanes(k.d), a, 1, b, [[s.splat(0.0); NV]; MR])
        };
        let full = band.covers((key, MR), (col, NV * S::LANES)) && key + MR <= k.rows;
        for n in 0..NV {
            let col = col + n * S::LANES;
            let minus_base = s.load(&self.minus_base[col..]);
            let mut total = s.load(&self.total[col..]);
            for m in 0..MR {
                acc[m][n] = s.mul_add(acc[m][n], s.splat(self.scale), minus_base);
                if !full {
                    acc[m][n] = band.select(s, key + m, col, acc[m][n], s.splat(LOWEST));
                }
                if MAXIMA {
                    total = s.max(total, acc[m][n]);
                } else {
                    acc[m][n] = s.exp2_rough(acc[m][n]);
                    total = s.add(total, acc[m][n]);
                }
            }
            s.store(&mut self.total[col..], total);
            if !MAXIMA {
                for m in (0..MR).step_by(2) {
                    let pairs = s.rounded_pair(acc[m][n], acc[m + 1][n]);
                    let at = ((key + m) / 2 * PANEL + col) * bf16::PER_LANE;
                    // SAFETY: the caller's.
                    unsafe { s.store_pairs_ptr(p.as_mut_ptr().add(at), pairs) };
                }
            }
        }
    }

    /// Writes the output of query `r`.
    #[inline(always)]
    fn write_row<S: Simd>(&self, s: S, r: usize, out: &mut [bf16]) {
        let total = self.total[r];
        let inverse = s.splat(if total > 0.0 && !self.empty { 1.0 / total } else { 0.0 });
        let from = &self.sum[r * padded(out.len())..];
        for c in (0..out.len()).step_by(S::LANES) {
            let x = if self.empty { s.splat(0.0) } else { s.load(&from[c..]) };
            let (x, left) = (s.mul(x, inverse), out.len() - c);
            // SAFETY: `left` values are left.
            unsafe {
                let to = out.as_mut_ptr().add(c);
                if left >= S::LANES {
                    bf16::store(s, to, x);
                } else {
                    bf16::store_partial(s, to, x, left);
                }
            }
        }
    }

    #[inline(always)]
    fn write_lse(&self, lse: &mut [f32]) {
        let mut logarithms = [0.0; PANEL];
        logarithms.copy_from_slice(self.total);
        log2_all(&mut logarithms);
        for (r, lse) in lse.iter_mut().enumerate() {
            *lse = LN_2 * (logarithms[r] - self.minus_base[r]);
        }
    }
}
