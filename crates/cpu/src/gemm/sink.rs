//! Where the sums of a tile go.

use super::Epilogue;
use super::tile::{LINE, Tile};
use crate::simd::{Element, Simd};

/// A tile of C.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// First row.
    pub row: usize,
    /// First column.
    pub col: usize,
    /// The same, from the first one of the block of columns that is worked on.
    pub block_col: usize,
    /// Rows that exist.
    pub rows: usize,
    /// Columns that exist.
    pub cols: usize,
    /// Whether these are the sums of the first block of k; later ones go on from what the first one wrote.
    pub first: bool,
    /// Whether these are the sums of the last block of k.
    pub last: bool,
}

/// Takes the sums of products in.
pub(crate) trait Sink: Copy + Send + Sync {
    /// Whether C can keep sums of products between two blocks of k. Where not, the whole of k is one block.
    const KEEPS_SUMS: bool;

    /// Most columns in a block of them.
    fn widest(&self) -> usize {
        usize::MAX
    }

    /// Starts bringing near what [`write`](Sink::write) will need.
    fn prefetch<S: Simd>(&self, s: S, place: Place);

    /// Takes the sums of one tile in.
    ///
    /// # Safety
    /// The tile must lie inside C, and nothing else may access it meanwhile.
    unsafe fn write<S: Tile, const R: usize, const NV: usize>(
        &self,
        s: S,
        sums: [[S::V; NV]; R],
        place: Place,
    );
}

/// A matrix in memory.
#[derive(Clone, Copy)]
pub(crate) struct Dense<'a, C> {
    pub c: *mut C,
    /// Distance between rows, also of the other matrices of the epilogue.
    pub ldc: usize,
    pub epilogue: Epilogue<'a, C>,
}

// SAFETY: tasks write through `c` to disjoint elements, each of which lies inside the slice that it was made from.
unsafe impl<C: Send> Send for Dense<'_, C> {}
// SAFETY: as above.
unsafe impl<C: Sync> Sync for Dense<'_, C> {}

/// What a vector of sums is added to.
enum Start<V> {
    Zero,
    Values(V),
    Scaled(V, f32),
}

impl<C: Element> Dense<'_, C> {
    /// Combines `n` sums with what they start from, and writes them at `offset`.
    ///
    /// # Safety
    /// `n <= LANES` elements from `offset` must lie inside C.
    #[inline(always)]
    pub unsafe fn write_vector<S: Simd>(
        &self,
        s: S,
        offset: usize,
        n: usize,
        sum: S::V,
        (first, last): (bool, bool),
    ) {
        // SAFETY: the caller's; matrices of the epilogue are as large as C.
        unsafe {
            let c = self.c.add(offset);
            let read = |p: *const C| {
                if n == S::LANES { C::load(s, p) } else { C::load_partial(s, p, n) }
            };
            let start = match self.epilogue {
                _ if !first => Start::Values(read(c)),
                Epilogue::Accumulate { beta: 1.0 } => Start::Values(read(c)),
                Epilogue::Accumulate { beta } if beta != 0.0 => Start::Scaled(read(c), beta),
                Epilogue::AddResidual(r) => Start::Values(read(r.as_ptr().add(offset))),
                _ => Start::Zero,
            };
            let mut v = match start {
                Start::Zero => sum,
                Start::Values(old) => s.add(old, sum),
                Start::Scaled(old, beta) => s.mul_add(old, s.splat(beta), sum),
            };
            match self.epilogue {
                Epilogue::ReluSquared if last => {
                    let positive = s.max(v, s.splat(0.0));
                    v = s.mul(positive, positive);
                }
                Epilogue::ReluSquaredGrad(y) if last => {
                    let root = s.sqrt(read(y.as_ptr().add(offset)));
                    v = s.mul(v, s.add(root, root));
                }
                Epilogue::ReluSquaredGradInPlace => {
                    let root = s.sqrt(read(c));
                    v = s.mul(v, s.add(root, root));
                }
                _ => {}
            }
            if n == S::LANES { C::store(s, c, v) } else { C::store_partial(s, c, v, n) }
        }
    }
}

impl<C: Element> Sink for Dense<'_, C> {
    const KEEPS_SUMS: bool = size_of::<C>() == 4;

    #[inline(always)]
    fn prefetch<S: Simd>(&self, s: S, place: Place) {
        let per_line = LINE * 4 / size_of::<C>();
        for row in place.row..place.row + place.rows {
            let row = self.c.wrapping_add(row * self.ldc + place.col);
            for col in (0..place.cols).step_by(per_line) {
                s.prefetch(row.wrapping_add(col).cast());
            }
            s.prefetch(row.wrapping_add(place.cols - 1).cast());
        }
    }

    #[inline(always)]
    unsafe fn write<S: Tile, const R: usize, const NV: usize>(
        &self,
        s: S,
        sums: [[S::V; NV]; R],
        place: Place,
    ) {
        let blocks = (place.first, place.last);
        let origin = place.row * self.ldc + place.col;
        if place.rows == R && place.cols == NV * S::LANES {
            for (i, row) in sums.iter().enumerate() {
                for (j, &sum) in row.iter().enumerate() {
                    let offset = origin + i * self.ldc + j * S::LANES;
                    // SAFETY: the vector that starts there lies inside the tile.
                    unsafe { self.write_vector(s, offset, S::LANES, sum, blocks) };
                }
            }
            return;
        }
        // Not all rows or columns exist. The sums go through memory, so that which of them are written may be decided at
        // run time without forcing them out of registers in whole tiles.
        let sums = std::hint::black_box(&sums);
        for (i, row) in sums.iter().enumerate().take(place.rows) {
            for (j, &sum) in row.iter().enumerate() {
                let col = j * S::LANES;
                if col < place.cols {
                    let (offset, n) =
                        (origin + i * self.ldc + col, (place.cols - col).min(S::LANES));
                    // SAFETY: `rows` and `cols` bound what is written.
                    unsafe { self.write_vector(s, offset, n, sum, blocks) };
                }
            }
        }
    }
}

/// A matrix whose elements are too narrow for sums: those between blocks of k are kept beside it.
#[derive(Clone, Copy)]
pub(super) struct Beside<'a, C> {
    pub dense: Dense<'a, C>,
    /// Whole tiles, as many columns as the widest block has.
    pub sums: *mut f32,
    /// Distance between their rows.
    pub row: usize,
}

// SAFETY: as of `Dense`; sums belong to the tile of C that they are of.
unsafe impl<C: Send> Send for Beside<'_, C> {}
// SAFETY: as above.
unsafe impl<C: Sync> Sync for Beside<'_, C> {}

impl<C: Element> Sink for Beside<'_, C> {
    const KEEPS_SUMS: bool = true;

    fn widest(&self) -> usize {
        self.row
    }

    #[inline(always)]
    fn prefetch<S: Simd>(&self, s: S, place: Place) {
        for row in place.row..place.row + place.rows {
            let row = self.sums.wrapping_add(row * self.row + place.block_col);
            (0..place.cols).step_by(LINE).for_each(|col| s.prefetch(row.wrapping_add(col)));
        }
    }

    #[inline(always)]
    unsafe fn write<S: Tile, const R: usize, const NV: usize>(
        &self,
        s: S,
        mut sums: [[S::V; NV]; R],
        place: Place,
    ) {
        for (i, row) in sums.iter_mut().enumerate() {
            for (j, sum) in row.iter_mut().enumerate() {
                let at = (place.row + i) * self.row + place.block_col + j * S::LANES;
                // SAFETY: the sums of a block are whole tiles, this one's own, written by the first block of k.
                unsafe {
                    let kept = self.sums.add(at);
                    if !place.first {
                        *sum = s.add(s.load_ptr(kept), *sum);
                    }
                    if !place.last {
                        s.store_ptr(kept, *sum);
                    }
                }
            }
        }
        if place.last {
            // SAFETY: the caller's. To C these are the sums of all of k.
            unsafe { self.dense.write(s, sums, Place { first: true, ..place }) }
        }
    }
}
