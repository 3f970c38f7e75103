//! Bringing rows of one head into a form that products read fast. A second element type would enter here: what comes
//! after is f32.

use super::scratch::{LINE, padded};
use super::tile::{STRIP, TILE};
use super::transpose::Transpose;
use crate::simd::Simd;

/// Some rows of one head inside a larger array: row r is at `data[r·row ..][..d]`.
#[derive(Clone, Copy)]
pub(super) struct HeadRows<'a> {
    pub data: &'a [f32],
    pub row: usize,
    pub rows: usize,
    pub d: usize,
}

impl<'a> HeadRows<'a> {
    /// `rows` rows from `first` on of the head that starts at `offset`, in an array whose rows are `row` apart.
    pub(super) fn new(data: &'a [f32], offset: usize, row: usize, rows: usize, d: usize) -> Self {
        let data = &data[offset..];
        assert!(rows == 0 || data.len() >= (rows - 1) * row + d);
        HeadRows { data, row, rows, d }
    }

    /// `rows` of these rows, from `first` on.
    #[inline(always)]
    pub(super) fn part(self, first: usize, rows: usize) -> Self {
        assert!(first + rows <= self.rows);
        let start = if rows == 0 { 0 } else { first * self.row };
        HeadRows { data: &self.data[start..], rows, ..self }
    }
}

impl HeadRows<'_> {
    /// At most [`STRIP`] rows from `first` on, as many as there are.
    #[inline(always)]
    pub(super) fn strip(self, first: usize) -> Self {
        let first = first.min(self.rows);
        self.part(first, (self.rows - first).min(STRIP))
    }
}

/// Starts bringing rows nearer that the next tile will read: they lie apart, where the hardware does not foresee them.
#[inline(always)]
pub(super) fn prefetch<S: Simd>(s: S, rows: HeadRows<'_>) {
    for r in 0..rows.rows {
        let row = &rows.data[r * rows.row..][..rows.d];
        for line in row.chunks(LINE) {
            s.prefetch(line.as_ptr());
        }
    }
}

/// Rows that products can read, made of whole vectors: where they are if that is good for the cache, else copied to
/// `tile` `[TILE, d_padded]`, where values past `d` are 0.
#[inline(always)]
pub(super) fn readable<'a, S: Simd>(s: S, rows: HeadRows<'a>, tile: &'a mut [f32]) -> HeadRows<'a> {
    // Rows a multiple of 4 KiB apart share the same few sets of the first-level cache; at odd multiples of 512 bytes, or
    // finer steps, a tile fits.
    let spread = !(rows.row * size_of::<f32>()).is_multiple_of(1024);
    if spread && rows.d.is_multiple_of(LINE) {
        return rows;
    }
    let d_padded = padded(rows.d);
    pack(s, rows, d_padded, tile);
    HeadRows { data: tile, row: d_padded, rows: rows.rows, d: rows.d }
}

/// Copies rows to `out` `[rows, d_padded]`; padding is 0.
#[inline(always)]
pub(super) fn pack<S: Simd>(s: S, rows: HeadRows<'_>, d_padded: usize, out: &mut [f32]) {
    let out = &mut out[..rows.rows * d_padded];
    for (r, out) in out.chunks_exact_mut(d_padded).enumerate() {
        let row = &rows.data[r * rows.row..][..rows.d];
        let (row4, row) = row.split_at(row.len() / (4 * S::LANES) * 4 * S::LANES);
        let (out4, out) = out.split_at_mut(row4.len());
        for (x, y) in row4.chunks_exact(4 * S::LANES).zip(out4.chunks_exact_mut(4 * S::LANES)) {
            for n in 0..4 {
                s.store(&mut y[n * S::LANES..], s.load(&x[n * S::LANES..]));
            }
        }
        for c in (0..out.len()).step_by(S::LANES) {
            s.store(&mut out[c..], s.load_partial(&row[c.min(row.len())..]));
        }
    }
}

/// Writes rows, times `scale`, as the columns of `out` `[d, TILE]`; columns of missing rows are 0.
#[inline(always)]
pub(super) fn pack_transposed<S: Transpose>(s: S, rows: HeadRows<'_>, scale: f32, out: &mut [f32]) {
    assert!(rows.rows <= TILE && out.len() >= rows.d * TILE);
    for r in (0..TILE).step_by(S::LANES) {
        let here = rows.rows.saturating_sub(r).min(S::LANES);
        for c in (0..rows.d).step_by(S::LANES) {
            let cols = (rows.d - c).min(S::LANES);
            // SAFETY: `here` rows from r on and `cols` columns from c on exist; `out` has d rows of TILE values.
            unsafe {
                let src = rows.data.as_ptr().wrapping_add(r * rows.row + c);
                let dst = out.as_mut_ptr().add(c * TILE + r);
                s.transpose((src, rows.row), here, cols, scale, (dst, TILE));
            }
        }
    }
}
