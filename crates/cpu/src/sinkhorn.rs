//! Small matrices made nearly doubly stochastic, and the exact gradient of that.

use crate::Context;
use crate::parallel::Raw;

/// Rows of a matrix at the most.
pub const MOST_ROWS: usize = 4;
/// Iterations at the most: the gradient keeps what each of them yields.
pub const MOST_ITERATIONS: usize = kiln_graph::ops::MOST_ITERATIONS;
/// Matrices of a task.
const GROUP: usize = 512;

type Matrix = [[f32; MOST_ROWS]; MOST_ROWS];

/// What is normalised.
#[derive(Clone, Copy)]
pub struct Settings {
    /// Rows and columns of each matrix, at most [`MOST_ROWS`].
    pub n: usize,
    /// Iterations, at most [`MOST_ITERATIONS`].
    pub iters: usize,
    /// Least entry to begin with.
    pub epsilon: f32,
}

impl Settings {
    /// Normalisations: rows and columns by turns, and rows at last.
    fn steps(&self) -> usize {
        2 * self.iters + 1
    }
}

/// The matrix at `p`.
///
/// # Safety
/// `p` must be valid for reading n² values.
unsafe fn read(p: *const f32, n: usize) -> Matrix {
    let mut m = [[0.0; MOST_ROWS]; MOST_ROWS];
    for (i, row) in m.iter_mut().enumerate().take(n) {
        for (j, x) in row.iter_mut().enumerate().take(n) {
            // SAFETY: the caller's.
            *x = unsafe { *p.add(i * n + j) };
        }
    }
    m
}

/// # Safety
/// `p` must be valid for writing n² values.
unsafe fn write(p: *mut f32, n: usize, m: &Matrix) {
    for (i, row) in m.iter().enumerate().take(n) {
        for (j, &x) in row.iter().enumerate().take(n) {
            // SAFETY: the caller's.
            unsafe { *p.add(i * n + j) = x };
        }
    }
}

fn transposed(m: &Matrix) -> Matrix {
    std::array::from_fn(|i| std::array::from_fn(|j| m[j][i]))
}

fn largest(row: &[f32]) -> f32 {
    row.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

/// `exp(s - max of the row)` before and after entries are raised to epsilon.
fn exponentials(s: &Matrix, settings: &Settings) -> (Matrix, Matrix) {
    let n = settings.n;
    let (mut e, mut raised) = ([[0.0; MOST_ROWS]; MOST_ROWS], [[0.0; MOST_ROWS]; MOST_ROWS]);
    for i in 0..n {
        let max = largest(&s[i][..n]);
        for j in 0..n {
            e[i][j] = (s[i][j] - max).exp();
            raised[i][j] = e[i][j].max(settings.epsilon);
        }
    }
    (e, raised)
}

/// Divides rows by their sums, which are returned.
fn normalize_rows(m: &mut Matrix, n: usize) -> [f32; MOST_ROWS] {
    let mut sums = [1.0; MOST_ROWS];
    for (row, sum) in m.iter_mut().zip(&mut sums).take(n) {
        *sum = row[..n].iter().sum();
        row[..n].iter_mut().for_each(|x| *x /= *sum);
    }
    sums
}

/// A normalisation of rows (even steps) or columns (odd ones).
fn normalize(m: &mut Matrix, n: usize, step: usize) -> [f32; MOST_ROWS] {
    if step.is_multiple_of(2) {
        return normalize_rows(m, n);
    }
    let mut columns = transposed(m);
    let sums = normalize_rows(&mut columns, n);
    *m = transposed(&columns);
    sums
}

fn forward(s: &Matrix, settings: &Settings) -> Matrix {
    let mut m = exponentials(s, settings).1;
    for step in 0..settings.steps() {
        normalize(&mut m, settings.n, step);
    }
    m
}

/// With y = x / Σx: `dx_j = (dy_j - Σ_i dy_i·y_i) / Σx`.
fn normalize_rows_grad(dy: &mut Matrix, y: &Matrix, sums: &[f32; MOST_ROWS], n: usize) {
    for i in 0..n {
        let dot: f32 = (0..n).map(|j| dy[i][j] * y[i][j]).sum();
        dy[i][..n].iter_mut().for_each(|d| *d = (*d - dot) / sums[i]);
    }
}

fn backward(s: &Matrix, dp: &Matrix, settings: &Settings) -> Matrix {
    let n = settings.n;
    let (e, raised) = exponentials(s, settings);
    let mut seen = [([[0.0; MOST_ROWS]; MOST_ROWS], [0.0; MOST_ROWS]); 2 * MOST_ITERATIONS + 1];
    let mut m = raised;
    for (step, seen) in seen.iter_mut().enumerate().take(settings.steps()) {
        let sums = normalize(&mut m, n, step);
        *seen = (m, sums);
    }
    let mut d = *dp;
    for (step, (y, sums)) in seen.iter().enumerate().take(settings.steps()).rev() {
        if step.is_multiple_of(2) {
            normalize_rows_grad(&mut d, y, sums, n);
        } else {
            let mut columns = transposed(&d);
            normalize_rows_grad(&mut columns, &transposed(y), sums, n);
            d = transposed(&columns);
        }
    }
    through_exponentials(&d, s, &e, settings)
}

/// `ds = d·e` where no entry was raised; the maximum of a row takes what all of its entries lose, in equal parts if it stands
/// there several times.
fn through_exponentials(d: &Matrix, s: &Matrix, e: &Matrix, settings: &Settings) -> Matrix {
    let n = settings.n;
    let mut ds = [[0.0; MOST_ROWS]; MOST_ROWS];
    for i in 0..n {
        let max = largest(&s[i][..n]);
        let mut sum = 0.0;
        for j in 0..n {
            ds[i][j] = if e[i][j] >= settings.epsilon { d[i][j] * e[i][j] } else { 0.0 };
            sum += ds[i][j];
        }
        let ties = s[i][..n].iter().filter(|x| **x == max).count() as f32;
        for j in 0..n {
            if s[i][j] == max {
                ds[i][j] -= sum / ties;
            }
        }
    }
    ds
}

/// `out = sinkhorn(s)` of `count` matrices.
///
/// # Safety
/// Both must be valid for `count · n²` values; out may be s.
pub unsafe fn sinkhorn(
    cx: &Context,
    settings: Settings,
    count: usize,
    s: *const f32,
    out: *mut f32,
) {
    let (s, out, square) = (Raw::new(s), Raw::new(out), settings.n * settings.n);
    each(cx, settings, count, &|i| {
        // SAFETY: every matrix is handled once, and read before it is written.
        unsafe {
            let m = forward(&read(s.get().add(i * square), settings.n), &settings);
            write(out.get().add(i * square), settings.n, &m);
        }
    });
}

/// `ds` from s and dp.
///
/// # Safety
/// All must be valid for `count · n²` values; ds may be s or dp.
pub unsafe fn sinkhorn_grad(
    cx: &Context,
    settings: Settings,
    count: usize,
    s: *const f32,
    dp: *const f32,
    ds: *mut f32,
) {
    let (s, dp, ds) = (Raw::new(s), Raw::new(dp), Raw::new(ds));
    let square = settings.n * settings.n;
    each(cx, settings, count, &|i| {
        // SAFETY: as of `sinkhorn`.
        unsafe {
            let s = read(s.get().add(i * square), settings.n);
            let dp = read(dp.get().add(i * square), settings.n);
            write(ds.get().add(i * square), settings.n, &backward(&s, &dp, &settings));
        }
    });
}

fn each(cx: &Context, settings: Settings, count: usize, task: &(dyn Fn(usize) + Sync)) {
    assert!(settings.n <= MOST_ROWS && settings.iters <= MOST_ITERATIONS);
    cx.pool.run(count.div_ceil(GROUP), &|group, _| {
        (group * GROUP..((group + 1) * GROUP).min(count)).for_each(task);
    });
}
