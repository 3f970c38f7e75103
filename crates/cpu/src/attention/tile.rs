//! The products on tiles: register-blocked micro-kernels.
//!
//! A tile is some queries by some keys. Where the mask cuts it, row `m` of a tile has visible columns in a [`Band`] around
//! `m`; products leave out what lies outside.
//!
//! Operands consist of 32-bit lanes: values of f32, or pairs of bf16 that are neighbours along the inner dimension.

use crate::gemm::Operand;
use crate::simd::Simd;
use crate::simd_fn;

/// Queries, and keys, in a tile of f32: at head size 64 one operand takes 16 KiB.
pub(crate) const TILE: usize = 64;

/// The most columns that any tile has.
const MOST_COLUMNS: usize = 128;

/// Rows that share one range of visible columns. A vector holds a multiple of it, so whatever one product of a tile
/// writes covers what the next one reads.
pub(crate) const STRIP: usize = 8;

/// Column numbers inside a tile, for masks.
static COLUMNS: [f32; MOST_COLUMNS] = {
    let mut numbers = [0.0; MOST_COLUMNS];
    let mut i = 0;
    while i < MOST_COLUMNS {
        numbers[i] = i as f32;
        i += 1;
    }
    numbers
};

/// Row `m` sees the columns `m + lo ..= m + hi`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Band {
    lo: isize,
    hi: isize,
}

impl Band {
    /// Rows are queries, columns keys; `ahead` is the position of the first query minus that of the first key.
    pub(crate) fn of_queries(ahead: isize, window: isize) -> Band {
        Band { lo: ahead - window, hi: ahead }
    }

    /// The same with rows and columns exchanged.
    pub(crate) fn transposed(self) -> Band {
        Band { lo: -self.hi, hi: -self.lo }
    }

    /// True when every one of `rows` rows sees every one of `cols` columns.
    pub(crate) fn is_full(self, rows: usize, cols: usize) -> bool {
        self.lo <= 1 - rows as isize && self.hi >= cols as isize - 1
    }

    /// True when every one of the rows from `row` on sees every one of the columns from `col` on.
    #[inline(always)]
    pub(crate) fn covers(self, (row, rows): (usize, usize), (col, cols): (usize, usize)) -> bool {
        let (first, last) = (row as isize, (row + rows) as isize - 1);
        last + self.lo <= col as isize && first + self.hi >= (col + cols) as isize - 1
    }

    /// The columns below `cols` that some row of the strip at `row` sees.
    #[inline(always)]
    pub(crate) fn columns(self, row: usize, cols: usize) -> std::ops::Range<usize> {
        let (row, cols) = (row as isize, cols as isize);
        let lo = (row + self.lo).clamp(0, cols);
        let hi = (row + STRIP as isize + self.hi).clamp(lo, cols);
        lo as usize..hi as usize
    }

    /// `yes` in the lanes from column `col` on that row `row` sees, `no` in the others.
    #[inline(always)]
    pub(crate) fn select<S: Simd>(self, s: S, row: usize, col: usize, yes: S::V, no: S::V) -> S::V {
        let ahead = s.sub(s.load(&COLUMNS[col..]), s.splat(row as f32));
        let below = s.select_ge(s.splat(self.hi as f32), ahead, yes, no);
        s.select_ge(ahead, s.splat(self.lo as f32), below, no)
    }
}

/// `acc + a·b` over `depth` lanes: `a[m]` points at row m, whose lanes are `a_step` apart; row k of `b` is at `k·b_row`.
/// All but the pointers count in lanes.
///
/// # Safety
/// The rows must be readable over `depth` lanes, `b` over `depth` rows of `NV` vectors.
#[inline(always)]
pub(crate) unsafe fn product<S: Simd, E: Operand, const MR: usize, const NV: usize>(
    s: S,
    depth: usize,
    a: [*const E; MR],
    a_step: usize,
    (b, b_row): (*const E, usize),
    mut acc: [[S::V; NV]; MR],
) -> [[S::V; NV]; MR] {
    for k in 0..depth {
        let at = b.wrapping_add(k * b_row * E::PER_LANE);
        // SAFETY: k < depth, NV > 0.
        let mut row = [unsafe { E::load_lanes(s, at) }; NV];
        for n in 1..NV {
            // SAFETY: k < depth, n < NV.
            row[n] = unsafe { E::load_lanes(s, at.add(n * S::LANES * E::PER_LANE)) };
        }
        for m in 0..MR {
            // SAFETY: k < depth.
            let x = unsafe { E::splat_lane(s, a[m].add(k * a_step * E::PER_LANE)) };
            for n in 0..NV {
                acc[m][n] = E::multiply_add(s, x, row[n], acc[m][n]);
            }
        }
    }
    acc
}

/// What a product does with the old value of its result.
#[derive(Clone, Copy)]
pub(crate) enum Old<'a> {
    /// Forgets it.
    Discard,
    /// Adds to it.
    Keep,
    /// Multiplies row m by this first.
    Scale(&'a [f32]),
}

/// `c = old c + a·b`, with `a` known to be 0 outside a band. Lane k of row m of `a` is at `m·a_row + k·a_step`, in lanes.
pub(crate) struct Product<'a, E> {
    pub a: &'a [E],
    pub a_row: usize,
    pub a_step: usize,
    /// `[depth, cols]`, rows `b_row` apart, in lanes.
    pub b: &'a [E],
    pub b_row: usize,
    /// `[rows, cols]`; `rows` is a multiple of [`STRIP`], `cols` of 16.
    pub c: &'a mut [f32],
    pub rows: usize,
    pub cols: usize,
    /// In values, which fill the last lane or not; what it holds besides must not matter.
    pub depth: usize,
    pub band: Band,
    pub old: Old<'a>,
}

simd_fn! {
    /// Computes a [`Product`].
    pub(crate) fn multiply [E: Operand] (p: Product<'_, E>) = multiply_kernel
}
#[inline(always)]
fn multiply_kernel<S: Simd, E: Operand>(s: S, mut p: Product<'_, E>) {
    assert!(p.rows.is_multiple_of(STRIP) && p.cols.is_multiple_of(S::LANES));
    if p.rows == 0 || p.depth == 0 {
        return;
    }
    let last = p.depth.div_ceil(E::PER_LANE) - 1;
    assert!(p.b.len() >= (last * p.b_row + p.cols) * E::PER_LANE);
    assert!(p.a.len() >= ((p.rows - 1) * p.a_row + last * p.a_step + 1) * E::PER_LANE);
    assert!(p.c.len() >= p.rows * p.cols);
    if let Old::Scale(factors) = p.old {
        assert!(factors.len() >= p.rows);
    }
    // 4 x 4 vectors of results fit the 32 registers of AVX-512, 4 x 2 the 16 of AVX2.
    let most = if S::LANES == 16 { 4 } else { 2 };
    let mut col = 0;
    while col < p.cols {
        let vectors = ((p.cols - col) / S::LANES).min(most);
        // SAFETY: the lengths were checked above; columns col.. hold at least `vectors` vectors.
        unsafe {
            match vectors {
                4 => multiply_columns::<S, E, 4, 4>(s, &mut p, col),
                3 => multiply_columns::<S, E, 4, 3>(s, &mut p, col),
                2 if S::LANES == 16 => multiply_columns::<S, E, 8, 2>(s, &mut p, col),
                2 => multiply_columns::<S, E, 4, 2>(s, &mut p, col),
                _ => multiply_columns::<S, E, 8, 1>(s, &mut p, col),
            }
        }
        col += vectors * S::LANES;
    }
}

/// # Safety
/// The operands must be as long as [`Product`] says, and have `NV` vectors from column `col` on.
#[inline(always)]
unsafe fn multiply_columns<S: Simd, E: Operand, const MR: usize, const NV: usize>(
    s: S,
    p: &mut Product<'_, E>,
    col: usize,
) {
    for row in (0..p.rows).step_by(MR) {
        let ks = p.band.columns(row / STRIP * STRIP, p.depth);
        // Lanes of which some value counts.
        let ks =
            if ks.is_empty() { 0..0 } else { ks.start / E::PER_LANE..ks.end.div_ceil(E::PER_LANE) };
        let mut acc = [[s.splat(0.0); NV]; MR];
        // SAFETY: rows, columns and depth stay within the lengths that the caller vouches for.
        unsafe {
            let c = p.c.as_mut_ptr().add(row * p.cols + col);
            for m in 0..MR {
                for n in 0..NV {
                    let old = || s.load_ptr(c.add(m * p.cols + n * S::LANES));
                    acc[m][n] = match p.old {
                        Old::Discard => acc[m][n],
                        Old::Keep => old(),
                        Old::Scale(factors) => {
                            s.mul(s.splat(*factors.get_unchecked(row + m)), old())
                        }
                    };
                }
            }
            let a = p.a.as_ptr().add((row * p.a_row + ks.start * p.a_step) * E::PER_LANE);
            let a: [*const E; MR] =
                std::array::from_fn(|m| a.wrapping_add(m * p.a_row * E::PER_LANE));
            let b = p.b.as_ptr().add((ks.start * p.b_row + col) * E::PER_LANE);
            let acc = product(s, ks.len(), a, p.a_step, (b, p.b_row), acc);
            for m in 0..MR {
                for n in 0..NV {
                    s.store_ptr(c.add(m * p.cols + n * S::LANES), acc[m][n]);
                }
            }
        }
    }
}
