//! The register-blocked micro-kernel: one tile of C, kept in registers over a whole block of k.

use crate::simd::Simd;

/// f32 values in a cache line.
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
    unsafe fn tile(self, t: &TileArgs);

    /// Writes the transpose of a block of at most `LANES` x `LANES` values: `dst[d·step + r] = src[r·stride + d]`.
    /// Rows from `block.rows` on count as zeros.
    ///
    /// # Safety
    /// `src` must be valid for reading `block.rows` rows of `block.depth` values, `dst` for writing `LANES` values at
    /// every `d·step` with `d < block.full`, and `block.width` values at every other one below `block.depth`.
    unsafe fn transpose(self, src: *const f32, stride: usize, dst: *mut f32, block: &Block);
}

/// Extent of a block to transpose.
pub(crate) struct Block {
    /// Rows of the source that exist, at most `LANES`.
    pub rows: usize,
    /// Values of each row, at most `LANES`.
    pub depth: usize,
    /// Distance between rows of the destination.
    pub step: usize,
    /// Leading rows of the destination that may be written as whole vectors.
    pub full: usize,
    /// Values to write to the others.
    pub width: usize,
}

/// What the sum of products is added to.
#[derive(Clone, Copy)]
pub(crate) enum Start {
    /// Nothing: C is not read.
    Zero,
    /// C as it is.
    C,
    /// C times a factor.
    Scaled(f32),
    /// Another matrix; the pointer is to its element at the origin of the tile.
    Residual(*const f32),
}

/// One tile of C to compute.
pub(crate) struct TileArgs {
    /// Products to sum for each element.
    pub depth: usize,
    /// Packed panel of A: `MR` values for each step of k.
    pub a: *const f32,
    /// Packed panel of B: `NR` values for each step of k.
    pub b: *const f32,
    /// First element of the tile.
    pub c: *mut f32,
    /// Distance between rows of C (and of a residual).
    pub ldc: usize,
    /// Rows of the tile that exist.
    pub rows: usize,
    /// Columns of the tile that exist.
    pub cols: usize,
    pub start: Start,
    /// Whether relu(·)² is applied to the sum.
    pub relu_squared: bool,
}

/// The tile with `R` rows and `NV` vectors of columns out of panels laid out for `S::MR` and `S::NR`.
///
/// # Safety
/// `a` must be valid for reading `depth · MR` values, `b` for `depth · NR`, `c` for reading and writing (and a residual
/// for reading) the `rows <= R` by `cols <= NV·LANES` elements at distance `ldc`, which nothing else may access.
#[inline(always)]
pub(crate) unsafe fn compute<S: Tile, const R: usize, const NV: usize>(s: S, t: &TileArgs) {
    // C is needed only when the sums are complete; asked for now, it has arrived by then.
    for i in 0..t.rows {
        let row = t.c.wrapping_add(i * t.ldc);
        for col in (0..t.cols).step_by(LINE) {
            s.prefetch(row.wrapping_add(col));
        }
        s.prefetch(row.wrapping_add(t.cols - 1));
    }
    // SAFETY: the caller's.
    let acc = unsafe { sum_products::<S, R, NV>(s, t) };
    if t.rows == R && t.cols == NV * S::LANES {
        for (i, row) in acc.iter().enumerate() {
            for (j, &sum) in row.iter().enumerate() {
                // SAFETY: the element and the vector that starts there lie inside the tile.
                unsafe { write_vector(s, t, i * t.ldc + j * S::LANES, S::LANES, sum) };
            }
        }
    } else {
        // SAFETY: as above.
        unsafe { write_edge(s, t, &acc) };
    }
}

/// # Safety
/// As [`compute`].
#[inline(always)]
unsafe fn sum_products<S: Tile, const R: usize, const NV: usize>(
    s: S,
    t: &TileArgs,
) -> [[S::V; NV]; R] {
    let mut acc = [[s.splat(0.0); NV]; R];
    let (mut a, mut b) = (t.a, t.b);
    for _ in 0..t.depth {
        // SAFETY: `depth` steps of MR and NR values; the pointers end one past the panels.
        unsafe {
            let mut row = [s.splat(0.0); NV];
            for (j, v) in row.iter_mut().enumerate() {
                *v = s.load_ptr(b.add(j * S::LANES));
            }
            for (i, sums) in acc.iter_mut().enumerate() {
                let x = s.splat(*a.add(i));
                for (j, sum) in sums.iter_mut().enumerate() {
                    *sum = s.mul_add(x, row[j], *sum);
                }
            }
            a = a.add(S::MR);
            b = b.add(S::NR);
        }
    }
    acc
}

/// Combines `n` sums with what they start from, and writes them at `offset` from the origin of the tile.
///
/// # Safety
/// `n <= LANES` elements from `offset` must lie inside the tile.
#[inline(always)]
unsafe fn write_vector<S: Tile>(s: S, t: &TileArgs, offset: usize, n: usize, sum: S::V) {
    // SAFETY: the caller's.
    unsafe {
        let c = t.c.add(offset);
        let read = |p: *const f32| {
            if n == S::LANES { s.load_ptr(p) } else { s.load_ptr_partial(p, n) }
        };
        let mut v = match t.start {
            Start::Zero => sum,
            Start::C => s.add(read(c), sum),
            Start::Scaled(beta) => s.mul_add(read(c), s.splat(beta), sum),
            Start::Residual(r) => s.add(read(r.add(offset)), sum),
        };
        if t.relu_squared {
            let positive = s.max(v, s.splat(0.0));
            v = s.mul(positive, positive);
        }
        if n == S::LANES { s.store_ptr(c, v) } else { s.store_ptr_partial(c, v, n) }
    }
}

/// Writes a tile of which not all rows or columns exist. The sums go through memory, so that which of them are written
/// may be decided at run time without forcing them out of registers in the whole tile.
///
/// # Safety
/// As [`compute`].
#[inline(always)]
unsafe fn write_edge<S: Tile, const R: usize, const NV: usize>(
    s: S,
    t: &TileArgs,
    acc: &[[S::V; NV]; R],
) {
    let sums = *acc;
    let sums = std::hint::black_box(&sums);
    for (i, row) in sums.iter().enumerate().take(t.rows) {
        for (j, &sum) in row.iter().enumerate() {
            let col = j * S::LANES;
            if col < t.cols {
                // SAFETY: `rows` and `cols` bound what is written.
                unsafe {
                    write_vector(s, t, i * t.ldc + col, (t.cols - col).min(S::LANES), sum);
                }
            }
        }
    }
}

/// Chooses the narrowest variant of the kernel that holds the tile. (`HALF` is `R / 2`, which a const generic cannot say.)
///
/// # Safety
/// As [`compute`].
#[inline(always)]
pub(crate) unsafe fn narrowest<S: Tile, const R: usize, const HALF: usize, const NV: usize>(
    s: S,
    t: &TileArgs,
) {
    // SAFETY: the caller's.
    unsafe {
        match (t.rows <= HALF, t.cols.div_ceil(S::LANES)) {
            (false, 1) if NV > 1 => compute::<S, R, 1>(s, t),
            (false, 2) if NV > 2 => compute::<S, R, 2>(s, t),
            (false, _) => compute::<S, R, NV>(s, t),
            (true, 1) if NV > 1 => compute::<S, HALF, 1>(s, t),
            (true, 2) if NV > 2 => compute::<S, HALF, 2>(s, t),
            (true, _) => compute::<S, HALF, NV>(s, t),
        }
    }
}
