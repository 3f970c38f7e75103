//! The indexer's scores: keys in lanes, heads in the order of their numbers, so that a pair's score is the same bits
//! wherever it is computed.

use super::{Dims, Sparse};
use crate::Context;
use crate::attention::pack::{HeadRows, pack_transposed};
use crate::attention::rough::Rough;
use crate::attention::tile::product;
use crate::gemm::Operand;
use crate::pool::SharedSlice;
use crate::simd_fn;

/// Keys that are packed together.
pub(super) const TILE: usize = 64;

/// Queries that are scored together.
pub(super) const PART: usize = 4;

/// Heads that are multiplied at a time.
const HEADS: usize = 4;

/// Lanes in a row of `width` values.
pub(super) fn lanes<E: Operand>(width: usize) -> usize {
    width.div_ceil(E::PER_LANE)
}

/// f32 values in a packed tile.
fn tile_len<E: Operand>(width: usize) -> usize {
    lanes::<E>(width) * TILE
}

/// f32 values that the packed keys of one row take.
pub(super) fn packed_row_len<E: Operand>(dims: &Dims) -> usize {
    dims.positions.div_ceil(TILE) * tile_len::<E>(dims.width)
}

/// Packs the keys below `end(row)` of every row: tiles `[lanes of width, TILE]`.
pub(super) fn pack_keys<E: Sparse>(
    cx: &Context,
    keys: &[E],
    dims: &Dims,
    end: &(dyn Fn(usize) -> usize + Sync),
    out: &mut [E],
) {
    let (tiles, width) = (dims.positions.div_ceil(TILE), dims.width);
    let len = tile_len::<E>(width) * E::PER_LANE;
    let out = SharedSlice::new(out);
    cx.pool.run(dims.b * tiles, &|task, _| {
        let (row, tile) = (task / tiles, task % tiles);
        if tile * TILE < end(row) {
            let (first, n) = (tile * TILE, (dims.positions - tile * TILE).min(TILE));
            let rows = HeadRows::new(keys, (row * dims.positions + first) * width, width, n, width);
            // SAFETY: every task has its own tile.
            pack_tile(cx.isa, rows, unsafe { out.range(task * len, len) });
        }
    });
}

simd_fn! {
    /// Packs at most [`TILE`] keys.
    fn pack_tile [E: Operand] (rows: HeadRows<'_, E>, out: &mut [E]) = pack_tile_kernel
}
#[inline(always)]
fn pack_tile_kernel<S: Rough, E: Operand>(s: S, rows: HeadRows<'_, E>, out: &mut [E]) {
    pack_transposed(s, rows, TILE, out);
}

/// Some queries of one row, at most [`PART`].
#[derive(Clone, Copy)]
pub(super) struct Part<'a, E> {
    /// `[n, heads, width]`
    pub q: &'a [E],
    /// `[n, heads]`
    pub w: &'a [f32],
    /// The packed keys of the row.
    pub keys: &'a [E],
    pub heads: usize,
    pub width: usize,
    /// Keys up to a query's own; as many numbers as queries count.
    pub ends: [usize; PART],
    pub n: usize,
    /// Distance between the rows of `scores`, and of `signs`.
    pub row: usize,
}

impl<E: Operand> Part<'_, E> {
    /// Values of a packed query: heads in whole lanes.
    pub(super) fn packed_query(&self) -> usize {
        self.heads * lanes::<E>(self.width) * E::PER_LANE
    }
}

/// Sets `scores` `[n, row]` for the keys before each query's end; with `SIGNS`, `signs` `[n, words, row]` to the heads
/// whose products are positive, 32 to a word. `packed_q` is room for the packed queries.
#[inline(always)]
pub(super) fn score<S: Rough, E: Sparse, const SIGNS: bool>(
    s: S,
    x: &Part<'_, E>,
    packed_q: &mut [E],
    scores: &mut [f32],
    signs: &mut [f32],
) {
    let words = x.heads.div_ceil(32);
    let last = x.ends[..x.n].iter().copied().max().unwrap_or(0);
    let tile_len = tile_len::<E>(x.width) * E::PER_LANE;
    let tiles = last.div_ceil(TILE);
    assert!(
        x.keys.len() >= tiles * tile_len && x.row >= tiles * TILE && x.row.is_multiple_of(TILE)
    );
    assert!(scores.len() >= x.n * x.row && x.w.len() >= x.n * x.heads);
    assert!(!SIGNS || signs.len() >= x.n * words * x.row);
    pack_queries(x, packed_q);
    for tile in 0..tiles {
        let keys = x.keys[tile * tile_len..].as_ptr();
        for i in 0..x.n {
            if tile * TILE >= x.ends[i] {
                continue;
            }
            let q = packed_q[i * x.packed_query()..].as_ptr();
            let at = tile * TILE;
            // SAFETY: the lengths were checked above; a tile has 64 columns.
            unsafe {
                let out = scores.as_mut_ptr().add(i * x.row + at);
                let signs = if SIGNS {
                    signs.as_mut_ptr().add(i * words * x.row + at)
                } else {
                    std::ptr::null_mut()
                };
                let w = x.w.as_ptr().add(i * x.heads);
                let query = Query { q, w, heads: x.heads, lanes: lanes::<E>(x.width) };
                if S::LANES == 16 {
                    block::<S, E, SIGNS, 4>(s, query, keys, out, (signs, x.row));
                } else {
                    for c in (0..TILE).step_by(2 * S::LANES) {
                        let keys = keys.add(c * E::PER_LANE);
                        let signs = signs.wrapping_add(c);
                        block::<S, E, SIGNS, 2>(s, query, keys, out.add(c), (signs, x.row));
                    }
                }
            }
        }
    }
}

/// Copies queries to rows of whole lanes.
#[inline(always)]
fn pack_queries<E: Operand>(x: &Part<'_, E>, out: &mut [E]) {
    let padded = lanes::<E>(x.width) * E::PER_LANE;
    let rows = x.q[..x.n * x.heads * x.width].chunks_exact(x.width);
    for (from, to) in rows.zip(out.chunks_exact_mut(padded)) {
        to[..x.width].copy_from_slice(from);
        to[x.width..].fill(E::ZERO);
    }
}

/// A packed query `[heads, lanes]` and its weights.
#[derive(Clone, Copy)]
struct Query<E> {
    q: *const E,
    w: *const f32,
    heads: usize,
    lanes: usize,
}

/// The scores of one query with `NV` vectors of keys.
///
/// # Safety
/// The query must be readable, the tile over its lanes, `out` and with `SIGNS` every row of `signs` writable.
#[inline(always)]
unsafe fn block<S: Rough, E: Sparse, const SIGNS: bool, const NV: usize>(
    s: S,
    x: Query<E>,
    keys: *const E,
    out: *mut f32,
    (signs, signs_row): (*mut f32, usize),
) {
    let zero = s.splat(0.0);
    let mut sum = [zero; NV];
    let mut bits = [zero; NV];
    // SAFETY: the caller's.
    unsafe {
        let mut j = 0;
        while j < x.heads {
            if SIGNS && j > 0 && j.is_multiple_of(32) {
                store(s, bits, signs.add((j / 32 - 1) * signs_row));
                bits = [zero; NV];
            }
            if j + HEADS <= x.heads {
                add_heads::<S, E, SIGNS, HEADS, NV>(s, x, j, keys, &mut sum, &mut bits);
                j += HEADS;
            } else {
                add_heads::<S, E, SIGNS, 1, NV>(s, x, j, keys, &mut sum, &mut bits);
                j += 1;
            }
        }
        if SIGNS {
            store(s, bits, signs.add((x.heads - 1) / 32 * signs_row));
        }
        for n in 0..NV {
            // No negative zeros, which would be less than zeros, and no NaN.
            let score = s.max(s.add(sum[n], zero), s.splat(f32::NEG_INFINITY));
            s.store_ptr(out.add(n * S::LANES), score);
        }
    }
}

/// # Safety
/// `out` must be writable over the vectors.
#[inline(always)]
unsafe fn store<S: Rough, const NV: usize>(s: S, x: [S::V; NV], out: *mut f32) {
    for n in 0..NV {
        // SAFETY: the caller's.
        unsafe { s.store_ptr(out.add(n * S::LANES), x[n]) };
    }
}

/// Adds what `MR` heads from `head` on give.
///
/// # Safety
/// As of [`block`].
#[inline(always)]
unsafe fn add_heads<S: Rough, E: Sparse, const SIGNS: bool, const MR: usize, const NV: usize>(
    s: S,
    x: Query<E>,
    head: usize,
    keys: *const E,
    sum: &mut [S::V; NV],
    bits: &mut [S::V; NV],
) {
    let zero = s.splat(0.0);
    let mut rows = [x.q; MR];
    for m in 0..MR {
        rows[m] = x.q.wrapping_add((head + m) * x.lanes * E::PER_LANE);
    }
    // SAFETY: the caller's.
    let acc = unsafe { product(s, x.lanes, rows, 1, (keys, TILE), [[zero; NV]; MR]) };
    for m in 0..MR {
        // SAFETY: there is a weight for every head.
        let w = s.splat(unsafe { *x.w.add(head + m) });
        for n in 0..NV {
            sum[n] = s.mul_add(w, s.max(acc[m][n], zero), sum[n]);
            if SIGNS {
                bits[n] = s.mark_positive(bits[n], acc[m][n], ((head + m) % 32) as u32);
            }
        }
    }
}
