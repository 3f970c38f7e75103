//! Sums, in an order that depends on the data's size only.

use crate::parallel::{CHUNK, chunks};
use crate::pool::SharedSlice;
use crate::simd::Simd;
use crate::{Context, simd_fn};

simd_fn! {
    /// `sum(x · y)` of one chunk.
    fn dot_chunk(x: &[f32], y: &[f32]) -> f32 = dot_kernel
}

#[inline(always)]
fn dot_kernel<S: Simd>(s: S, x: &[f32], y: &[f32]) -> f32 {
    let mut sums = [s.splat(0.0); 4];
    let (mut xs, mut ys) = (x.chunks_exact(4 * S::LANES), y.chunks_exact(4 * S::LANES));
    for (x, y) in (&mut xs).zip(&mut ys) {
        for (i, sum) in sums.iter_mut().enumerate() {
            let at = i * S::LANES;
            *sum = s.mul_add(s.load(&x[at..]), s.load(&y[at..]), *sum);
        }
    }
    for (x, y) in xs.remainder().chunks(S::LANES).zip(ys.remainder().chunks(S::LANES)) {
        sums[0] = s.mul_add(s.load_partial(x), s.load_partial(y), sums[0]);
    }
    s.reduce_add(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3])))
}

simd_fn! {
    /// Sum of one chunk.
    fn sum_chunk(x: &[f32]) -> f32 = sum_kernel
}

#[inline(always)]
fn sum_kernel<S: Simd>(s: S, x: &[f32]) -> f32 {
    let mut sum = s.splat(0.0);
    let mut whole = x.chunks_exact(S::LANES);
    for x in &mut whole {
        sum = s.add(sum, s.load(x));
    }
    s.reduce_add(s.add(sum, s.load_partial(whole.remainder())))
}

/// Length of the scratch of the sums over `n` elements.
pub fn scratch_len(n: usize) -> usize {
    n.div_ceil(CHUNK)
}

fn total(partial: &[f32]) -> f32 {
    partial.iter().map(|&x| f64::from(x)).sum::<f64>() as f32
}

/// `sum(x · y)`.
pub fn dot(cx: &Context, x: &[f32], y: &[f32], scratch: &mut [f32]) -> f32 {
    let scratch = &mut scratch[..scratch_len(x.len())];
    let partial = SharedSlice::new(scratch);
    chunks(cx, x.len(), &|chunk, start, len| {
        let sum = dot_chunk(cx.isa, &x[start..start + len], &y[start..start + len]);
        // SAFETY: each chunk has a place of its own.
        unsafe { partial.range(chunk, 1)[0] = sum };
    });
    total(scratch)
}

/// Sum of all elements.
pub fn sum(cx: &Context, x: &[f32], scratch: &mut [f32]) -> f32 {
    let scratch = &mut scratch[..scratch_len(x.len())];
    let partial = SharedSlice::new(scratch);
    chunks(cx, x.len(), &|chunk, start, len| {
        // SAFETY: each chunk has a place of its own.
        unsafe { partial.range(chunk, 1)[0] = sum_chunk(cx.isa, &x[start..start + len]) };
    });
    total(scratch)
}

/// `out[r] = sum_c x[r, c]²` of a row-major matrix.
pub fn row_squares(cx: &Context, x: &[f32], cols: usize, out: &mut [f32]) {
    let rows = out.len();
    let shared = SharedSlice::new(out);
    crate::parallel::rows(cx, rows, cols, &|first, count| {
        // SAFETY: groups of rows are disjoint.
        let out = unsafe { shared.range(first, count) };
        for (sum, row) in out.iter_mut().zip(x[first * cols..].chunks_exact(cols)) {
            *sum = dot_chunk(cx.isa, row, row);
        }
    });
}

/// `out[c] = sum_r x[r, c]²` of a row-major matrix.
pub fn column_squares(cx: &Context, x: &[f32], cols: usize, out: &mut [f32]) {
    /// Columns per task: stretches of memory so long that the hardware foresees them.
    const GROUP: usize = 128;
    assert_eq!(out.len(), cols);
    let shared = SharedSlice::new(out);
    cx.pool.run(cols.div_ceil(GROUP), &|group, _| {
        let (first, len) = (group * GROUP, GROUP.min(cols - group * GROUP));
        // SAFETY: groups of columns are disjoint.
        let out = unsafe { shared.range(first, len) };
        square_columns(cx.isa, x, cols, first, out);
    });
}

simd_fn! {
    /// The columns from `first` on.
    fn square_columns(x: &[f32], cols: usize, first: usize, out: &mut [f32]) = square_columns_kernel
}
#[inline(always)]
fn square_columns_kernel<S: Simd>(s: S, x: &[f32], cols: usize, first: usize, out: &mut [f32]) {
    /// Vectors of sums that registers hold.
    const SUMS: usize = 8;
    for (block, out) in out.chunks_mut(SUMS * S::LANES).enumerate() {
        let first = first + block * SUMS * S::LANES;
        let mut sums = [s.splat(0.0); SUMS];
        for row in x.chunks_exact(cols) {
            let row = &row[first..first + out.len()];
            if row.len() == SUMS * S::LANES {
                for (i, sum) in sums.iter_mut().enumerate() {
                    let x = s.load(&row[i * S::LANES..]);
                    *sum = s.add(*sum, s.mul(x, x));
                }
            } else {
                for (sum, x) in sums.iter_mut().zip(row.chunks(S::LANES)) {
                    let x = s.load_partial(x);
                    *sum = s.add(*sum, s.mul(x, x));
                }
            }
        }
        for (sum, out) in sums.into_iter().zip(out.chunks_mut(S::LANES)) {
            s.store_partial(out, sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    #[test]
    fn sums_agree_with_f64_whatever_the_threads() {
        for isa in Isa::available() {
            for n in [0, 1, 5, 63, 64, 65, 20_000, 100_003] {
                let x: Vec<f32> = (0..n).map(|i| ((i * 7) % 13) as f32 - 5.5).collect();
                let y: Vec<f32> = (0..n).map(|i| ((i * 5) % 11) as f32 * 0.25).collect();
                let want: f64 = x.iter().zip(&y).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                let mut scratch = vec![0.0; scratch_len(n)];
                let one = dot(&Context::new(isa, 1), &x, &y, &mut scratch);
                let two = dot(&Context::new(isa, 2), &x, &y, &mut scratch);
                assert_eq!(one.to_bits(), two.to_bits());
                assert!((f64::from(one) - want).abs() <= 1e-5 * (n as f64).max(1.0));
                let total = sum(&Context::new(isa, 2), &x, &mut scratch);
                let want: f64 = x.iter().map(|&a| f64::from(a)).sum();
                assert!((f64::from(total) - want).abs() <= 1e-5 * (n as f64).max(1.0));
            }
        }
    }

    #[test]
    fn row_squares_agree_with_the_definition() {
        let cx = Context::new(Isa::detect(), 2);
        let (rows, cols) = (131, 37);
        let x: Vec<f32> = (0..rows * cols).map(|i| (i % 17) as f32 - 8.0).collect();
        let mut out = vec![f32::NAN; rows];
        row_squares(&cx, &x, cols, &mut out);
        for (got, row) in out.iter().zip(x.chunks(cols)) {
            let want: f32 = row.iter().map(|v| v * v).sum();
            assert!((got - want).abs() < 1e-3);
        }
    }

    #[test]
    fn column_squares_agree_with_the_definition() {
        let cx = Context::new(Isa::detect(), 2);
        let (rows, cols) = (5, 300);
        let x: Vec<f32> = (0..rows * cols).map(|i| (i % 17) as f32 - 8.0).collect();
        let mut out = vec![f32::NAN; cols];
        column_squares(&cx, &x, cols, &mut out);
        for (c, got) in out.iter().enumerate() {
            let want: f32 = (0..rows).map(|r| x[r * cols + c].powi(2)).sum();
            assert!((got - want).abs() < 1e-3);
        }
    }
}
