//! The register-blocked micro-kernel: one tile of C, kept in registers over a whole block of k.

use super::operand::Operand;
use super::sink::{Place, Sink};
use crate::simd::Simd;

/// 32-bit lanes in a cache line.
pub(super) const LINE: usize = 16;

/// What a vector set needs besides arithmetic: the shape of its tile, and a transpose for packing.
pub(crate) trait Tile: Simd {
    /// Rows of C in a tile.
    const MR: usize;
    /// Vectors in a row of a tile.
    const NRV: usize;
    /// Columns of C in a tile.
    const NR: usize = Self::NRV * Self::LANES;

    /// Computes one tile.
    ///
    /// # Safety
    /// As [`compute`].
    unsafe fn tile<T: Operand, K: Sink>(self, panels: Panels<T>, sink: &K, place: Place);

    /// Writes the transpose of a block of at most `LANES` x `LANES` lanes: lane `d·step + r` of `dst` is lane `d` of row r
    /// of `src`, whose rows lie `stride` values apart. Rows from `block.rows` on count as zeros.
    ///
    /// # Safety
    /// `src` must be valid for reading `block.rows` rows of `block.values` values, `dst` for writing `LANES` lanes at
    /// every `d·step` with `d < block.full`, and `block.width` lanes at every other one below `block.depth`.
    unsafe fn transpose<T: Operand>(self, src: *const T, stride: usize, dst: *mut T, block: &Block);
}

/// Extent of a block to transpose.
pub(crate) struct Block {
    /// Rows of the source that exist, at most `LANES`.
    pub rows: usize,
    /// Lanes of each row, at most `LANES`.
    pub depth: usize,
    /// Values of each row: `depth` lanes, the last of which may be cut short.
    pub values: usize,
    /// Distance between rows of the destination, in lanes.
    pub step: usize,
    /// Leading rows of the destination that may be written as whole vectors.
    pub full: usize,
    /// Lanes to write to the others.
    pub width: usize,
}

/// The packed operands of a tile.
#[derive(Clone, Copy)]
pub(crate) struct Panels<T> {
    /// Lanes to multiply for each element.
    pub depth: usize,
    /// Packed panel of A: `MR` lanes for each step.
    pub a: *const T,
    /// Packed panel of B: `NR` lanes for each step.
    pub b: *const T,
}

/// The tile with `R` rows and `NV` vectors of columns out of panels laid out for `S::MR` and `S::NR`.
///
/// # Safety
/// `a` must be valid for reading `depth · MR` lanes, `b` for `depth · NR`; `place.rows <= R`, `place.cols <= NV·LANES`;
/// and what [`Sink::write`] asks for.
#[inline(always)]
pub(crate) unsafe fn compute<S: Tile, T: Operand, K: Sink, const R: usize, const NV: usize>(
    s: S,
    panels: Panels<T>,
    sink: &K,
    place: Place,
) {
    // C is needed only when the sums are complete; asked for now, it has arrived by then.
    sink.prefetch(s, place);
    // SAFETY: the caller's.
    unsafe {
        let sums = sum_products::<S, T, R, NV>(s, panels);
        sink.write(s, sums, place);
    }
}

/// # Safety
/// As [`compute`].
#[inline(always)]
unsafe fn sum_products<S: Tile, T: Operand, const R: usize, const NV: usize>(
    s: S,
    panels: Panels<T>,
) -> [[S::V; NV]; R] {
    let mut acc = [[s.splat(0.0); NV]; R];
    let (mut a, mut b) = (panels.a, panels.b);
    for _ in 0..panels.depth {
        // SAFETY: `depth` steps of MR and NR lanes; the pointers end one past the panels.
        unsafe {
            let row: [T::Lanes<S>; NV] =
                std::array::from_fn(|j| T::load_lanes(s, b.add(j * S::LANES * T::PER_LANE)));
            for (i, sums) in acc.iter_mut().enumerate() {
                let x = T::splat_lane(s, a.add(i * T::PER_LANE));
                for (j, sum) in sums.iter_mut().enumerate() {
                    *sum = T::multiply_add(s, x, row[j], *sum);
                }
            }
            a = a.add(S::MR * T::PER_LANE);
            b = b.add(S::NR * T::PER_LANE);
        }
    }
    acc
}

/// Chooses the narrowest variant of the kernel that holds the tile. (`HALF` is `R / 2`, which a const generic cannot say.)
///
/// # Safety
/// As [`compute`].
#[inline(always)]
pub(crate) unsafe fn narrowest<
    S: Tile,
    T: Operand,
    K: Sink,
    const R: usize,
    const HALF: usize,
    const NV: usize,
>(
    s: S,
    panels: Panels<T>,
    sink: &K,
    place: Place,
) {
    // SAFETY: the caller's.
    unsafe {
        match (place.rows <= HALF, place.cols.div_ceil(S::LANES)) {
            (false, 1) if NV > 1 => compute::<S, T, K, R, 1>(s, panels, sink, place),
            (false, 2) if NV > 2 => compute::<S, T, K, R, 2>(s, panels, sink, place),
            (false, _) => compute::<S, T, K, R, NV>(s, panels, sink, place),
            (true, 1) if NV > 1 => compute::<S, T, K, HALF, 1>(s, panels, sink, place),
            (true, 2) if NV > 2 => compute::<S, T, K, HALF, 2>(s, panels, sink, place),
            (true, _) => compute::<S, T, K, HALF, NV>(s, panels, sink, place),
        }
    }
}
