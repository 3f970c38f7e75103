//! What becomes of the products x wᵀ as they leave the registers.

use super::bounded::{exp2, tanh};
use crate::gemm::{Place, Sink, Tile};
use crate::pool::SharedSlice;
use crate::simd::{Element, Simd};
use crate::{Context, Isa, simd_fn};

/// Values that one task passes over.
const TASK_VALUES: usize = 16 * 1024;
/// Lanes of the widest vector.
const MAX_LANES: usize = 16;

/// Turns products z into logits, `cap·tanh(z/cap)`.
pub(super) fn cap(cx: &Context, z: &mut [f32], softcap: f32) {
    let len = z.len();
    let z = SharedSlice::new(z);
    cx.pool.run(len.div_ceil(TASK_VALUES), &|number, _| {
        let start = number * TASK_VALUES;
        // SAFETY: each task has values of its own.
        let part = unsafe { z.range(start, TASK_VALUES.min(len - start)) };
        cap_values(cx.isa, part, softcap);
    });
}

simd_fn! { fn cap_values(z: &mut [f32], softcap: f32) = cap_values_kernel }
#[inline(always)]
fn cap_values_kernel<S: Simd>(s: S, z: &mut [f32], softcap: f32) {
    let (cap, inverse) = (s.splat(softcap), s.splat(1.0 / softcap));
    let mut chunks = z.chunks_exact_mut(S::LANES);
    for chunk in &mut chunks {
        let t = tanh(s, s.mul(s.load(chunk), inverse));
        s.store(chunk, s.mul(t, cap));
    }
    let rest = chunks.into_remainder();
    let t = tanh(s, s.mul(s.load_partial(rest), inverse));
    s.store_partial(rest, s.mul(t, cap));
}

simd_fn! { fn tile_columns() -> usize = tile_columns_kernel }
#[inline(always)]
fn tile_columns_kernel<S: Tile>(_s: S) -> usize {
    S::NR
}

/// Columns that share one partial sum.
pub(super) fn columns_per_sum(isa: Isa) -> usize {
    tile_columns(isa)
}

/// Takes products z in as e = exp(cap·tanh(z/cap)): sums it along rows, and keeps g = e·(1 - tanh²) where gradients are
/// asked for.
#[derive(Clone, Copy)]
pub(super) struct Exponentials<T> {
    /// The first product's place; rows lie `row` values apart. Null: not kept.
    pub g: *mut T,
    pub row: usize,
    /// Partial sums of e, `per_row` for each row: one for each tile's columns.
    pub sums: *mut f32,
    pub per_row: usize,
    pub softcap: f32,
}

// SAFETY: tasks write to the places of disjoint tiles.
unsafe impl<T: Send> Send for Exponentials<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Exponentials<T> {}

impl<T: Element> Sink for Exponentials<T> {
    // What comes of a sum that is not complete is of no use.
    const KEEPS_SUMS: bool = false;

    #[inline(always)]
    fn prefetch<S: Simd>(&self, _s: S, _place: Place) {}

    #[inline(always)]
    unsafe fn write<S: Tile, const R: usize, const NV: usize>(
        &self,
        s: S,
        sums: [[S::V; NV]; R],
        place: Place,
    ) {
        // The arithmetic needs the registers that hold the products.
        let sums = std::hint::black_box(&sums);
        for (i, z) in sums.iter().enumerate().take(place.rows) {
            let row = place.row + i;
            let mut total = s.splat(0.0);
            for (j, &z) in z.iter().enumerate() {
                let (col, from) = (place.col + j * S::LANES, j * S::LANES);
                if from >= place.cols {
                    break;
                }
                let (mut e, g) = exp_and_slope(s, z, self.softcap);
                let n = S::LANES.min(place.cols - from);
                if n < S::LANES {
                    // Lanes beyond the vocabulary would count as exp(0).
                    let mut lanes = [0.0; MAX_LANES];
                    s.store_partial(&mut lanes[..n], e);
                    e = s.load(&lanes);
                }
                total = s.add(total, e);
                if self.g.is_null() {
                    continue;
                }
                // SAFETY: the caller's: the tile's elements belong to it alone.
                unsafe {
                    let out = self.g.add(row * self.row + col);
                    if n == S::LANES { T::store(s, out, g) } else { T::store_partial(s, out, g, n) }
                }
            }
            let sum = s.reduce_add(total);
            // SAFETY: each tile has a partial sum of its own in every row.
            unsafe { *self.sums.add(row * self.per_row + place.col / S::NR) = sum };
        }
    }
}

/// e = exp(cap·t) and e·(1 - t²), t = tanh(z/cap).
#[inline(always)]
fn exp_and_slope<S: Simd>(s: S, z: S::V, softcap: f32) -> (S::V, S::V) {
    let t = tanh(s, s.mul(z, s.splat(1.0 / softcap)));
    let e = exp2(s, s.mul(t, s.splat(softcap * std::f32::consts::LOG2_E)));
    let slope = s.mul_add(s.sub(s.splat(0.0), t), t, s.splat(1.0));
    (e, s.mul(e, slope))
}

simd_fn! {
    /// tanh(z/cap) of one product.
    pub(super) fn squashed(z: f32, softcap: f32) -> f32 = squashed_kernel
}
#[inline(always)]
fn squashed_kernel<S: Simd>(s: S, z: f32, softcap: f32) -> f32 {
    let mut lanes = [0.0; MAX_LANES];
    s.store(&mut lanes, tanh(s, s.splat(z / softcap)));
    lanes[0]
}
