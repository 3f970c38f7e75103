//! Bringing rows of one head into a form that products read fast.

use super::rough::Rough;
use super::scratch::{LINE, padded};
use super::tile::{STRIP, TILE};
use super::transpose::Transpose;
use crate::gemm::Operand;
use crate::simd::Simd;
use half::bf16;

/// Some rows of one head inside a larger array: row r is at `data[r·row ..][..d]`.
#[derive(Clone, Copy)]
pub struct HeadRows<'a, E> {
    pub data: &'a [E],
    pub row: usize,
    pub rows: usize,
    pub d: usize,
}

impl<'a, E: Operand> HeadRows<'a, E> {
    /// `rows` rows from `first` on of the head that starts at `offset`, in an array whose rows are `row` apart.
    pub(crate) fn new(data: &'a [E], offset: usize, row: usize, rows: usize, d: usize) -> Self {
        let data = &data[offset..];
        assert!(rows == 0 || data.len() >= (rows - 1) * row + d);
        HeadRows { data, row, rows, d }
    }

    /// `rows` of these rows, from `first` on.
    #[inline(always)]
    pub(crate) fn part(self, first: usize, rows: usize) -> Self {
        assert!(first + rows <= self.rows);
        let start = if rows == 0 { 0 } else { first * self.row };
        HeadRows { data: &self.data[start..], rows, ..self }
    }

    /// `d` values of each of these rows, from `first` on.
    #[inline(always)]
    pub(crate) fn columns(self, first: usize, d: usize) -> Self {
        assert!(first + d <= self.d);
        let start = if self.rows == 0 { 0 } else { first };
        HeadRows { data: &self.data[start..], d, ..self }
    }
}

impl<E: Operand> HeadRows<'_, E> {
    /// At most [`STRIP`] rows from `first` on, as many as there are.
    #[inline(always)]
    pub(crate) fn strip(self, first: usize) -> Self {
        let first = first.min(self.rows);
        self.part(first, (self.rows - first).min(STRIP))
    }
}

/// Starts bringing rows nearer that the next tile will read: they lie apart, where the hardware does not foresee them.
#[inline(always)]
pub(crate) fn prefetch<S: Simd, E: Operand>(s: S, rows: HeadRows<'_, E>) {
    for r in 0..rows.rows {
        let row = &rows.data[r * rows.row..][..rows.d];
        for line in row.chunks(LINE * E::PER_LANE) {
            s.prefetch(line.as_ptr().cast());
        }
    }
}

/// Rows a multiple of 4 KiB apart share the same few sets of the first-level cache; at odd multiples of 512 bytes, or finer
/// steps, a tile fits.
fn spread<E>(rows: &HeadRows<'_, E>) -> bool {
    !(rows.row * size_of::<E>()).is_multiple_of(1024)
}

/// Rows that products can read, made of whole vectors: where they are if that is good for the cache, else copied to
/// `tile` `[TILE, d_padded]`, where values past `d` are 0.
#[inline(always)]
pub(crate) fn readable<'a, S: Simd>(
    s: S,
    rows: HeadRows<'a, f32>,
    tile: &'a mut [f32],
) -> HeadRows<'a, f32> {
    if spread(&rows) && rows.d.is_multiple_of(LINE) {
        return rows;
    }
    let d_padded = padded(rows.d);
    pack(s, rows, d_padded, tile);
    HeadRows { data: tile, row: d_padded, rows: rows.rows, d: rows.d }
}

/// Rows whose every lane can be read: where they are if that is good for the cache, else copied to `tile`
/// `[rows, d_padded]`, where values past `d` are 0.
#[inline(always)]
pub(crate) fn whole_lanes<'a, S: Simd>(
    s: S,
    rows: HeadRows<'a, bf16>,
    tile: &'a mut [bf16],
) -> HeadRows<'a, bf16> {
    if spread(&rows) && rows.d.is_multiple_of(bf16::PER_LANE) {
        return rows;
    }
    let d_padded = padded(rows.d);
    pack(s, rows, d_padded, tile);
    HeadRows { data: tile, row: d_padded, rows: rows.rows, d: rows.d }
}

/// Copies rows to `out` `[rows, d_padded]`; padding is 0.
#[inline(always)]
pub(crate) fn pack<S: Simd, E: Operand>(
    s: S,
    rows: HeadRows<'_, E>,
    d_padded: usize,
    out: &mut [E],
) {
    let out = &mut out[..rows.rows * d_padded];
    for (r, out) in out.chunks_exact_mut(d_padded).enumerate() {
        let row = &rows.data[r * rows.row..][..rows.d];
        for c in (0..d_padded).step_by(S::LANES) {
            // SAFETY: `d_padded` is a multiple of LANES; what is loaded is what is left of the row.
            unsafe {
                let from = row.as_ptr().wrapping_add(c);
                let x = match row.len().saturating_sub(c) {
                    left if left >= S::LANES => E::load(s, from),
                    left => E::load_partial(s, from, left),
                };
                E::store(s, out.as_mut_ptr().add(c), x);
            }
        }
    }
}

/// Writes rows as the columns of `out`, whose rows hold `columns` lanes: `[lanes of d, columns]`. Columns of missing rows
/// are 0.
#[inline(always)]
pub(crate) fn pack_transposed<S: Transpose, E: Operand>(
    s: S,
    rows: HeadRows<'_, E>,
    columns: usize,
    out: &mut [E],
) {
    let per_vector = S::LANES * E::PER_LANE;
    assert!(rows.rows <= columns && columns.is_multiple_of(S::LANES));
    assert!(out.len() >= rows.d.div_ceil(E::PER_LANE) * columns * E::PER_LANE);
    for r in (0..columns).step_by(S::LANES) {
        let here = rows.rows.saturating_sub(r).min(S::LANES);
        for c in (0..rows.d).step_by(per_vector) {
            let values = (rows.d - c).min(per_vector);
            // SAFETY: `here` rows from r on and `values` values from c on exist; `out` has a row of `columns` lanes for
            // every lane of d.
            unsafe {
                let src = rows.data.as_ptr().wrapping_add(r * rows.row + c);
                let dst = out.as_mut_ptr().add(c * columns + r * E::PER_LANE);
                s.transpose((src, rows.row), here, values, (dst, columns));
            }
        }
    }
}

/// The same with [`TILE`] columns, times `scale`.
#[inline(always)]
pub(crate) fn pack_transposed_scaled<S: Transpose>(
    s: S,
    rows: HeadRows<'_, f32>,
    scale: f32,
    out: &mut [f32],
) {
    pack_transposed(s, rows, TILE, out);
    let factor = s.splat(scale);
    for x in out[..rows.d * TILE].chunks_exact_mut(S::LANES) {
        s.store(x, s.mul(factor, s.load(x)));
    }
}

/// Writes pairs of rows that follow one another: lane c of `out[r]` holds value c of row 2r and of row 2r + 1. `out` is
/// `[rows / 2, d_padded]` lanes; padding and a missing last row are 0.
#[inline(always)]
pub(crate) fn pack_row_pairs<S: Rough>(
    s: S,
    rows: HeadRows<'_, bf16>,
    d_padded: usize,
    out: &mut [bf16],
) {
    let out = &mut out[..rows.rows.div_ceil(2) * d_padded * 2];
    assert!(rows.rows == 0 || rows.data.len() >= (rows.rows - 1) * rows.row + rows.d);
    let per_step = 2 * S::LANES;
    let in_steps = rows.d / per_step * per_step;
    for (pair, out) in out.chunks_exact_mut(d_padded * 2).enumerate() {
        let first = rows.data.as_ptr().wrapping_add(2 * pair * rows.row);
        let second = (2 * pair + 1 < rows.rows).then(|| first.wrapping_add(rows.row));
        let mut done = 0;
        if let Some(second) = second {
            for c in (0..in_steps).step_by(per_step) {
                // SAFETY: both rows have 2·LANES values from c on, `out` as many pairs.
                unsafe {
                    let to = out.as_mut_ptr().add(c * 2);
                    s.pair_rows(first.wrapping_add(c), second.wrapping_add(c), to);
                }
            }
            done = in_steps;
        }
        for c in (done..d_padded).step_by(S::LANES) {
            let left = rows.d.saturating_sub(c).min(S::LANES);
            // SAFETY: both rows have `left` values from c on; `d_padded` is a multiple of LANES.
            unsafe {
                let second = second.map(|row| row.wrapping_add(c));
                let pairs = bf16::across(s, first.wrapping_add(c), second, left);
                s.store_pairs_ptr(out.as_mut_ptr().add(c * 2), pairs);
            }
        }
    }
}
