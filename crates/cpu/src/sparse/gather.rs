//! Products with the rows of a block that a list names: what attention to selected keys is made of.

use crate::attention::Attend;
use crate::attention::exp2::exp2;
use crate::attention::rough::Rough;
use crate::attention::scratch::Plain;
use crate::gemm::Operand;
use crate::simd::{Element, Simd};
use half::bf16;

/// An element type that sparse attention is computed for, f32 or bf16.
///
/// With bf16, products multiply bf16 and add in f32; probabilities and gradients of scores are rounded to bf16 as operands
/// of products.
pub trait Sparse: Attend + Plain {
    /// `2^x`, as exact as products of this type deserve.
    #[doc(hidden)]
    fn exp2<S: Rough>(s: S, x: S::V) -> S::V;

    /// Adds `Σ_i weights[i]·row(list[i])` over `n` rows to `NV` vectors of lanes from `acc` on; a row is `stride` values.
    ///
    /// # Safety
    /// The rows that `list` names must be readable over `NV` vectors of lanes, `acc` writable over as many values.
    #[doc(hidden)]
    unsafe fn add_rows<S: Simd, const NV: usize>(
        s: S,
        rows: (*const Self, usize),
        list: *const u8,
        weights: *const Self,
        n: usize,
        acc: *mut f32,
    );

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
        (rows, stride): (*const f32, usize),
        list: *const u8,
        weights: *const f32,
        n: usize,
        acc: *mut f32,
    ) {
        // SAFETY: the caller's; i < n.
        unsafe {
            let mut sum = [s.splat(0.0); NV];
            for c in 0..NV {
                sum[c] = s.load_ptr(acc.add(c * S::LANES));
            }
            for i in 0..n {
                let row = rows.add(usize::from(*list.add(i)) * stride);
                let weight = s.splat(*weights.add(i));
                for c in 0..NV {
                    sum[c] = s.mul_add(weight, s.load_ptr(row.add(c * S::LANES)), sum[c]);
                }
            }
            for c in 0..NV {
                s.store_ptr(acc.add(c * S::LANES), sum[c]);
            }
        }
    }

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
        (rows, stride): (*const bf16, usize),
        list: *const u8,
        weights: *const bf16,
        n: usize,
        acc: *mut f32,
    ) {
        // SAFETY: the caller's; i < n.
        unsafe {
            let mut sum = [[s.splat(0.0); 2]; NV];
            for c in 0..NV {
                sum[c][0] = s.load_ptr(acc.add(2 * c * S::LANES));
                sum[c][1] = s.load_ptr(acc.add((2 * c + 1) * S::LANES));
            }
            let row = |i: usize| rows.add(usize::from(*list.add(i)) * stride);
            for i in (0..n / 2 * 2).step_by(2) {
                let (first, second) = (row(i), row(i + 1));
                let weight = s.splat_pair_ptr(weights.add(i));
                for c in 0..NV {
                    let first = s.load_pairs_ptr(first.add(2 * c * S::LANES));
                    let second = s.load_pairs_ptr(second.add(2 * c * S::LANES));
                    let [low, high] = s.interleave(first, second);
                    sum[c][0] = s.dot_pairs(low, weight, sum[c][0]);
                    sum[c][1] = s.dot_pairs(high, weight, sum[c][1]);
                }
            }
            if n % 2 == 1 {
                let last = row(n - 1);
                let weight = [*weights.add(n - 1), bf16::ZERO];
                let weight = s.splat_pair_ptr(weight.as_ptr());
                for c in 0..NV {
                    let row = s.load_pairs_ptr(last.add(2 * c * S::LANES));
                    let [low, high] = s.interleave(row, row);
                    sum[c][0] = s.dot_pairs(low, weight, sum[c][0]);
                    sum[c][1] = s.dot_pairs(high, weight, sum[c][1]);
                }
            }
            for c in 0..NV {
                s.store_ptr(acc.add(2 * c * S::LANES), sum[c][0]);
                s.store_ptr(acc.add((2 * c + 1) * S::LANES), sum[c][1]);
            }
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

/// Sets `out[i]` to `x·row(list[i])` for `i < n`, and anything to the three values after them. `x` and rows are `width`
/// values, whole vectors of the widest set.
///
/// # Safety
/// `x` and the rows that `list` names must be readable over `width` values, `out` writable over `n + 3`.
#[inline(always)]
pub(super) unsafe fn dots<S: Simd, E: Operand>(
    s: S,
    x: *const E,
    rows: *const E,
    width: usize,
    list: &[u8],
    out: *mut f32,
) {
    let vectors = width / (S::LANES * E::PER_LANE);
    let (mut done, rows) = (0, (rows, width));
    // SAFETY: the caller's; `vectors` are left in x and rows.
    unsafe {
        while done < vectors {
            let at = done * S::LANES * E::PER_LANE;
            let (x, rows) = (x.add(at), (rows.0.add(at), rows.1));
            let more = done > 0;
            // The narrow sets have 16 registers.
            done += match vectors - done {
                1 => dots_of::<S, E, 1>(s, x, rows, list, out, more),
                2 | 3 => dots_of::<S, E, 2>(s, x, rows, list, out, more),
                _ if S::LANES < 16 => dots_of::<S, E, 2>(s, x, rows, list, out, more),
                _ => dots_of::<S, E, 4>(s, x, rows, list, out, more),
            };
        }
    }
}

/// The part of [`dots`] that `NV` vectors of each row have, added to the old values if there is `more`; returns NV.
///
/// # Safety
/// As of [`dots`].
#[inline(always)]
unsafe fn dots_of<S: Simd, E: Operand, const NV: usize>(
    s: S,
    x: *const E,
    (rows, stride): (*const E, usize),
    list: &[u8],
    out: *mut f32,
    more: bool,
) -> usize {
    const GROUP: usize = 4;
    let Some(&last) = list.last() else { return NV };
    let step = S::LANES * E::PER_LANE;
    // SAFETY: the caller's.
    unsafe {
        let mut own = [E::load_lanes(s, x); NV];
        for c in 1..NV {
            own[c] = E::load_lanes(s, x.add(c * step));
        }
        for i in (0..list.len()).step_by(GROUP) {
            let mut keys = [last; GROUP];
            let here = GROUP.min(list.len() - i);
            keys[..here].copy_from_slice(&list[i..i + here]);
            let mut sum = [s.splat(0.0); GROUP];
            for m in 0..GROUP {
                let row = rows.add(usize::from(keys[m]) * stride);
                for c in 0..NV {
                    sum[m] =
                        E::multiply_add(s, own[c], E::load_lanes(s, row.add(c * step)), sum[m]);
                }
            }
            let sums = s.reduce_add_4(sum);
            for m in 0..GROUP {
                let out = out.add(i + m);
                *out = if more { *out + sums[m] } else { sums[m] };
            }
        }
    }
    NV
}

/// Adds `Σ_i weights[i]·row(list[i])` to `acc`, which like the rows is `width` values, whole vectors of the widest set.
///
/// # Safety
/// The rows that `list` names must be readable over `width` values; there must be a weight for each.
#[inline(always)]
pub(super) unsafe fn add_weighted<S: Simd, E: Sparse>(
    s: S,
    rows: *const E,
    width: usize,
    list: &[u8],
    weights: &[E],
    acc: &mut [f32],
) {
    if list.is_empty() {
        return;
    }
    assert!(weights.len() >= list.len() && acc.len() >= width);
    let vectors = width / (S::LANES * E::PER_LANE);
    let (mut done, n) = (0, list.len());
    let (list, weights, acc) = (list.as_ptr(), weights.as_ptr(), acc.as_mut_ptr());
    // SAFETY: the caller's; `vectors` are left in rows and acc.
    unsafe {
        while done < vectors {
            let at = done * S::LANES * E::PER_LANE;
            let (rows, acc) = ((rows.add(at), width), acc.add(at));
            if vectors - done >= 4 && S::LANES == 16 {
                E::add_rows::<S, 4>(s, rows, list, weights, n, acc);
                done += 4;
            } else if vectors - done >= 2 && S::LANES == 16 {
                E::add_rows::<S, 2>(s, rows, list, weights, n, acc);
                done += 2;
            } else {
                E::add_rows::<S, 1>(s, rows, list, weights, n, acc);
                done += 1;
            }
        }
    }
}
