//! Products with the rows of a block that a list names: what attention to selected keys is made of.

use super::tiles::Tile;
use crate::attention::Attend;
use crate::attention::exp2::exp2;
use crate::attention::pack::{HeadRows, pack};
use crate::attention::rough::Rough;
use crate::attention::scratch::{LINE, Plain};
use crate::gemm::Operand;
use crate::simd::{Element, Simd};
use half::bf16;

/// Rows that are multiplied together.
pub(super) const GROUP: usize = 4;

/// Lanes of a panel's columns: a multiple of what any set works on together, which so never crosses into the next panel.
const PANEL: usize = 4 * LINE;

/// An element type that sparse attention is computed for, f32 or bf16.
///
/// With bf16, products multiply bf16 and add in f32; probabilities and gradients of scores are rounded to bf16 as operands
/// of products.
pub trait Sparse: Attend + Plain {
    /// `2^x`, as exact as products of this type deserve.
    #[doc(hidden)]
    fn exp2<S: Rough>(s: S, x: S::V) -> S::V;

    /// Adds `Σ_i weights[i]·row(i)` to `NV` vectors of lanes from `acc` on, over the rows that `groups` name, `stride` values
    /// apart. The sums lie in an order of their own, which [`in_order`](Self::in_order) undoes.
    ///
    /// # Safety
    /// The rows must be readable over `NV` vectors of lanes, `acc` writable over as many values; every group must have its
    /// weights.
    #[doc(hidden)]
    unsafe fn add_rows<S: Simd, const NV: usize>(
        s: S,
        rows: (*const Self, usize),
        groups: &[u32],
        weights: *const Self,
        acc: *mut f32,
    );

    /// Brings sums into the order of values; `row` is whole vectors of the widest set.
    #[doc(hidden)]
    fn in_order<S: Simd>(s: S, row: &mut [f32]);

    /// Brings rows that follow one another into the form that [`product`](crate::attention::tile::product) reads as its
    /// second operand: lanes of neighbours in a column. Both are `[_, width]`; a missing last row counts as zeros.
    ///
    /// # Safety
    /// `from` must be readable over `n` rows, `to` writable over as many whole lanes.
    #[doc(hidden)]
    unsafe fn across_rows<S: Rough>(s: S, from: *const Self, n: usize, width: usize, to: *mut Self);
}

impl Sparse for f32 {
    #[inline(always)]
    fn exp2<S: Rough>(s: S, x: S::V) -> S::V {
        exp2(s, x)
    }

    #[inline(always)]
    unsafe fn add_rows<S: Simd, const NV: usize>(
        s: S,
        rows: (*const f32, usize),
        groups: &[u32],
        weights: *const f32,
        acc: *mut f32,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let mut sum = [s.splat(0.0); NV];
            for c in 0..NV {
                sum[c] = s.load_ptr(acc.add(c * S::LANES));
            }
            for (g, &group) in groups.iter().enumerate() {
                for m in 0..GROUP {
                    let row = row(rows, group, m);
                    let weight = s.splat(*weights.add(GROUP * g + m));
                    for c in 0..NV {
                        sum[c] = s.mul_add(weight, s.load_ptr(row.add(c * S::LANES)), sum[c]);
                    }
                }
            }
            for c in 0..NV {
                s.store_ptr(acc.add(c * S::LANES), sum[c]);
            }
        }
    }

    #[inline(always)]
    fn in_order<S: Simd>(_s: S, _row: &mut [f32]) {}

    #[inline(always)]
    unsafe fn across_rows<S: Rough>(_s: S, from: *const f32, n: usize, width: usize, to: *mut f32) {
        // SAFETY: the caller's.
        unsafe { std::ptr::copy_nonoverlapping(from, to, n * width) };
    }
}

impl Sparse for bf16 {
    #[inline(always)]
    fn exp2<S: Rough>(s: S, x: S::V) -> S::V {
        s.exp2_rough(x)
    }

    #[inline(always)]
    unsafe fn add_rows<S: Simd, const NV: usize>(
        s: S,
        rows: (*const bf16, usize),
        groups: &[u32],
        weights: *const bf16,
        acc: *mut f32,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let mut sum = [[s.splat(0.0); 2]; NV];
            for c in 0..NV {
                sum[c][0] = s.load_ptr(acc.add(2 * c * S::LANES));
                sum[c][1] = s.load_ptr(acc.add((2 * c + 1) * S::LANES));
            }
            for (g, &group) in groups.iter().enumerate() {
                for m in (0..GROUP).step_by(2) {
                    let (first, second) = (row(rows, group, m), row(rows, group, m + 1));
                    let weight = s.splat_pair_ptr(weights.add(GROUP * g + m));
                    for c in 0..NV {
                        let first = s.load_pairs_ptr(first.add(2 * c * S::LANES));
                        let second = s.load_pairs_ptr(second.add(2 * c * S::LANES));
                        let [low, high] = s.interleave(first, second);
                        sum[c][0] = s.dot_pairs(low, weight, sum[c][0]);
                        sum[c][1] = s.dot_pairs(high, weight, sum[c][1]);
                    }
                }
            }
            for c in 0..NV {
                s.store_ptr(acc.add(2 * c * S::LANES), sum[c][0]);
                s.store_ptr(acc.add((2 * c + 1) * S::LANES), sum[c][1]);
            }
        }
    }

    #[inline(always)]
    fn in_order<S: Simd>(s: S, row: &mut [f32]) {
        for both in row.chunks_exact_mut(2 * S::LANES) {
            let (low, high) = both.split_at_mut(S::LANES);
            let ordered = s.in_order([s.load(low), s.load(high)]);
            s.store(low, ordered[0]);
            s.store(high, ordered[1]);
        }
    }

    #[inline(always)]
    unsafe fn across_rows<S: Rough>(
        s: S,
        from: *const bf16,
        n: usize,
        width: usize,
        to: *mut bf16,
    ) {
        // SAFETY: the caller's.
        unsafe {
            for i in (0..n).step_by(2) {
                let (first, to) = (from.add(i * width), to.add(i * width));
                if i + 1 < n {
                    for c in (0..width).step_by(2 * S::LANES) {
                        s.pair_rows(first.add(c), first.add(width + c), to.add(2 * c));
                    }
                } else {
                    for c in (0..width).step_by(S::LANES) {
                        let pairs = s.pair(bf16::load(s, first.add(c)), s.splat(0.0));
                        s.store_pairs_ptr(to.add(2 * c), pairs);
                    }
                }
            }
        }
    }
}

/// The row that a group names in place `m`; rows lie `stride` values apart.
///
/// # Safety
/// The row must be inside what `rows` points to.
#[inline(always)]
unsafe fn row<E>((rows, stride): (*const E, usize), group: u32, m: usize) -> *const E {
    // SAFETY: the caller's.
    unsafe { rows.add((group >> (8 * m) & 0xff) as usize * stride) }
}

/// How many of the vectors that are left of a row are worked on together: a panel of f32 fits the registers of all sets, of
/// bf16 half of one where the set is narrow.
#[inline(always)]
const fn at_once<S: Simd, E: Operand>(left: usize) -> usize {
    match left {
        8.. if S::LANES < 16 && E::PER_LANE == 1 => 8,
        4.. => 4,
        2.. => 2,
        _ => 1,
    }
}

/// Columns of a panel of packed rows: in as many, a block of keys fits the first-level cache, whatever type and head size.
#[inline(always)]
fn panel<E: Operand>(width: usize) -> usize {
    width.min(PANEL * E::PER_LANE)
}

/// Values of `n` packed rows.
pub(super) fn packed_len<E: Operand>(n: usize, width: usize) -> usize {
    n * width.next_multiple_of(panel::<E>(width))
}

/// Rows of one head, in panels of columns.
#[derive(Clone, Copy)]
pub(super) struct Rows<E> {
    data: *const E,
    /// From a row of a panel to the next.
    stride: usize,
    /// Columns of a panel.
    panel: usize,
    /// From a panel to the next.
    step: usize,
}

impl<E: Sparse> Rows<E> {
    /// Rows where they lie.
    pub(super) fn in_place(rows: HeadRows<'_, E>) -> Self {
        Rows { data: rows.data.as_ptr(), stride: rows.row, panel: usize::MAX, step: 0 }
    }

    /// What [`pack_rows`] made of at most `n` rows.
    #[inline(always)]
    pub(super) fn packed(data: &[E], n: usize, width: usize) -> Self {
        let panel = panel::<E>(width);
        Rows { data: data.as_ptr(), stride: panel, panel, step: n * panel }
    }

    /// Where the first row has that column, and how far rows lie apart there.
    #[inline(always)]
    pub(super) fn from(&self, column: usize) -> (*const E, usize) {
        let number = column / self.panel;
        (self.data.wrapping_add(number * self.step + column - number * self.panel), self.stride)
    }
}

/// What scores are made of: rows of one side by their owners, of the other by groups. All are `width` values, whole
/// vectors of the widest set.
#[derive(Clone, Copy)]
pub(super) struct Dots<'a, E> {
    pub own: Rows<E>,
    pub rows: Rows<E>,
    pub width: usize,
    pub tile: Tile<'a>,
    pub scale: f32,
    /// What is added before: one for each owner.
    pub shifts: &'a [f32],
}

impl<E: Sparse> Dots<'_, E> {
    /// Sets `out` to `scale·(own·row + shift)`, groups after one another, and anything up to a multiple of four groups.
    ///
    /// # Safety
    /// The rows that the tile's owners and groups name must be readable.
    #[inline(always)]
    pub(super) unsafe fn compute<S: Simd>(&self, s: S, out: &mut [f32]) {
        let Tile { keys, owners, .. } = self.tile;
        assert!(out.len() >= GROUP * keys.len().next_multiple_of(4));
        assert!(owners.len() == keys.len());
        let vectors = self.width / (S::LANES * E::PER_LANE);
        let mut done = 0;
        // SAFETY: the caller's; `vectors` are left in every row.
        unsafe {
            while done < vectors {
                done += match at_once::<S, E>(vectors - done) {
                    8 => self.part::<S, 8>(s, done, vectors, out),
                    4 => self.part::<S, 4>(s, done, vectors, out),
                    2 => self.part::<S, 2>(s, done, vectors, out),
                    _ => self.part::<S, 1>(s, done, vectors, out),
                };
            }
        }
    }

    /// What `NV` vectors from `done` on give; returns NV.
    ///
    /// # Safety
    /// As of [`compute`](Self::compute).
    #[inline(always)]
    unsafe fn part<S: Simd, const NV: usize>(
        &self,
        s: S,
        done: usize,
        vectors: usize,
        out: &mut [f32],
    ) -> usize {
        let step = S::LANES * E::PER_LANE;
        let (own, rows) = (self.own.from(done * step), self.rows.from(done * step));
        let scale = if done + NV == vectors { self.scale } else { 1.0 };
        let Tile { keys, owners, .. } = self.tile;
        for first in (0..keys.len()).step_by(4) {
            let mut quarters = [s.splat(0.0); 4];
            // SAFETY: the caller's; there is a row and a shift for every owner, and room for every four groups.
            unsafe {
                for i in 0..4 {
                    let g = (first + i).min(keys.len() - 1);
                    let (group, owner) =
                        (*keys.get_unchecked(g), usize::from(*owners.get_unchecked(g)));
                    let own = own.0.add(owner * own.1);
                    let mut vectors = [E::load_lanes(s, own); NV];
                    for c in 1..NV {
                        vectors[c] = E::load_lanes(s, own.add(c * step));
                    }
                    let mut start = s.splat(0.0);
                    if done == 0 {
                        start = s.load_ptr_partial(self.shifts.as_ptr().add(owner), 1);
                    }
                    let mut sum = [start; GROUP];
                    for m in 0..GROUP {
                        let row = row(rows, group, m);
                        for c in 0..NV {
                            let x = E::load_lanes(s, row.add(c * step));
                            sum[m] = E::multiply_add(s, vectors[c], x, sum[m]);
                        }
                    }
                    quarters[i] = s.quarter_sums(sum);
                }
                let out = out.as_mut_ptr().add(GROUP * first).cast();
                s.store_sums_ptr(quarters, scale, done > 0, out);
            }
        }
        NV
    }
}

/// Adds weighted rows to `acc`, which like them is `width` values, whole vectors of the widest set.
///
/// # Safety
/// The rows that `groups` name must be readable.
#[inline(always)]
unsafe fn add_weighted<S: Simd, E: Sparse>(
    s: S,
    (rows, stride): (*const E, usize),
    width: usize,
    groups: &[u32],
    weights: &[E],
    acc: &mut [f32],
) {
    if groups.is_empty() {
        return;
    }
    assert!(weights.len() >= GROUP * groups.len() && acc.len() >= width);
    let vectors = width / (S::LANES * E::PER_LANE);
    let mut done = 0;
    let (weights, acc) = (weights.as_ptr(), acc.as_mut_ptr());
    // SAFETY: the caller's; `vectors` are left in rows and acc.
    unsafe {
        while done < vectors {
            let at = done * S::LANES * E::PER_LANE;
            let (rows, acc) = ((rows.add(at), stride), acc.add(at));
            let many = at_once::<S, E>(vectors - done);
            match many {
                8 => E::add_rows::<S, 8>(s, rows, groups, weights, acc),
                4 => E::add_rows::<S, 4>(s, rows, groups, weights, acc),
                2 => E::add_rows::<S, 2>(s, rows, groups, weights, acc),
                _ => E::add_rows::<S, 1>(s, rows, groups, weights, acc),
            }
            done += many;
        }
    }
}

/// Adds to each of `sums` `[_, width]` the weighted rows that its groups name, panel after panel; `starts` says where the
/// groups of each start, and where those of the last end.
///
/// # Safety
/// The rows that the groups name must be readable.
#[inline(always)]
pub(super) unsafe fn add_tile<S: Simd, E: Sparse>(
    s: S,
    rows: Rows<E>,
    (groups, starts): (&[u32], &[u16]),
    width: usize,
    weights: &[E],
    sums: &mut [f32],
) {
    let panel = panel::<E>(width);
    for column in (0..width).step_by(panel) {
        let (rows, columns) = (rows.from(column), panel.min(width - column));
        for (i, sum) in sums.chunks_exact_mut(width).enumerate() {
            let own = usize::from(starts[i])..usize::from(starts[i + 1]);
            let weights = &weights[GROUP * own.start..];
            let sum = &mut sum[column..][..columns];
            // SAFETY: the caller's.
            unsafe { add_weighted(s, rows, columns, &groups[own], weights, sum) };
        }
    }
}

/// Copies rows to the panels of `out`, each `[n, panel]`, whole vectors of the widest set; what is missing counts as zeros.
#[inline(always)]
pub(super) fn pack_rows<S: Simd, E: Operand>(
    s: S,
    rows: HeadRows<'_, E>,
    n: usize,
    width: usize,
    out: &mut [E],
) {
    let panel = panel::<E>(width);
    for c in (0..width).step_by(panel) {
        pack_panel(s, rows.columns(c, (rows.d - c).min(panel)), panel, &mut out[n * c..]);
    }
}

/// Copies rows to `out` `[rows, width]`.
#[inline(always)]
fn pack_panel<S: Simd, E: Operand>(s: S, rows: HeadRows<'_, E>, width: usize, out: &mut [E]) {
    if rows.d != width {
        return pack(s, rows, width, out);
    }
    let step = S::LANES * E::PER_LANE;
    assert!(out.len() >= rows.rows * width && width.is_multiple_of(step));
    for r in 0..rows.rows {
        let (from, to) = (rows.data[r * rows.row..][..width].as_ptr(), &mut out[r * width..]);
        let to = to.as_mut_ptr();
        for c in (0..width).step_by(step) {
            // SAFETY: `width` values are left in both rows; a vector of lanes is as long as one of f32.
            unsafe { s.store_ptr(to.add(c).cast(), E::bits(s, E::load_lanes(s, from.add(c)))) };
        }
    }
}

/// Starts bringing part number `part` of `parts` of these rows into the second-level cache: a block's rows lie apart,
/// where the hardware does not foresee them.
#[inline(always)]
pub(super) fn prefetch_part<S: Simd, E: Operand>(
    s: S,
    rows: HeadRows<'_, E>,
    part: usize,
    parts: usize,
) {
    for r in (part..rows.rows).step_by(parts) {
        let row = rows.data.as_ptr().wrapping_add(r * rows.row);
        for c in (0..rows.d).step_by(LINE * E::PER_LANE) {
            s.prefetch_far(row.wrapping_add(c).cast());
        }
    }
}
