//! What this machine can do, measured: the rates that utilisation is a share of.

use crate::gemm::{Epilogue, Matrix, Operand, Tile, gemm, gemm_scratch_len};
use crate::pool::SharedSlice;
use crate::{Context, Isa, simd_fn};
use std::hint::black_box;
use std::time::Instant;

/// Multiply-adds of each accumulator in one measurement: about 10 ms.
const REGISTER_STEPS: usize = 2_000_000;
/// Values read to measure bandwidth: 256 MB, far more than caches hold.
const STREAM_LEN: usize = 64 << 20;

/// f32 multiply-adds from registers alone, all threads together, in GFLOP/s: the roof of every f32 product.
pub fn register_rate(cx: &Context) -> f64 {
    rate(cx, &spin)
}

/// The same for products of bf16 pairs: the roof of every bf16 product.
pub fn register_rate_bf16(cx: &Context) -> f64 {
    rate(cx, &spin_pairs)
}

fn rate(cx: &Context, spin: &(dyn Fn(Isa) -> f64 + Sync)) -> f64 {
    let threads = cx.pool.threads();
    let mut flops = vec![0.0; threads];
    let shared = SharedSlice::new(&mut flops);
    let seconds = fastest(5, || {
        cx.pool.run(threads, &|number, _| {
            // SAFETY: each task has a place of its own.
            unsafe { shared.range(number, 1)[0] = spin(cx.isa) };
        });
    });
    flops.iter().sum::<f64>() / seconds / 1e9
}

simd_fn! { fn spin_pairs() -> f64 = spin_pairs_kernel }
#[inline(always)]
fn spin_pairs_kernel<S: Tile>(s: S) -> f64 {
    // As many independent sums as the micro-kernel keeps.
    let sums = match S::MR * S::NRV {
        24 => accumulate_pairs::<S, 24>(s),
        12 => accumulate_pairs::<S, 12>(s),
        8 => accumulate_pairs::<S, 8>(s),
        _ => accumulate_pairs::<S, 4>(s),
    };
    (4 * REGISTER_STEPS * sums * S::LANES) as f64
}

#[inline(always)]
fn accumulate_pairs<S: Tile, const N: usize>(s: S) -> usize {
    let pair = |x: f32| s.pair(s.splat(black_box(x)), s.splat(black_box(x)));
    let (x, y) = (pair(0.5), pair(0.001));
    let mut sums = [s.splat(black_box(1.0)); N];
    for _ in 0..REGISTER_STEPS {
        for sum in &mut sums {
            *sum = s.dot_pairs(x, y, *sum);
        }
    }
    for sum in sums {
        black_box(s.reduce_add(sum));
    }
    N
}

simd_fn! { fn spin() -> f64 = spin_kernel }
#[inline(always)]
fn spin_kernel<S: Tile>(s: S) -> f64 {
    // As many independent sums as the micro-kernel keeps.
    let sums = match S::MR * S::NRV {
        24 => accumulate::<S, 24>(s),
        12 => accumulate::<S, 12>(s),
        8 => accumulate::<S, 8>(s),
        _ => accumulate::<S, 4>(s),
    };
    (2 * REGISTER_STEPS * sums * S::LANES) as f64
}

#[inline(always)]
fn accumulate<S: Tile, const N: usize>(s: S) -> usize {
    let (x, y) = (s.splat(black_box(0.999)), s.splat(black_box(0.001)));
    let mut sums = [s.splat(black_box(1.0)); N];
    for _ in 0..REGISTER_STEPS {
        for sum in &mut sums {
            *sum = s.mul_add(*sum, x, y);
        }
    }
    for sum in sums {
        black_box(s.reduce_add(sum));
    }
    N
}

/// Rate of C = A·Bᵀ for an m x n x k product, operands row-major, C in f32, in GFLOP/s.
pub fn gemm_rate<T: Operand>(cx: &Context, m: usize, n: usize, k: usize) -> f64 {
    let value = |i: usize| T::from_f32((i % 13) as f32 * 0.1 - 0.6);
    let a: Vec<T> = (0..m * k).map(value).collect();
    let b: Vec<T> = (0..n * k).map(value).collect();
    let mut c = vec![0.0f32; m * n];
    let mut scratch = vec![0.0; gemm_scratch_len(cx, m, n, k)];
    let (a, b) = (Matrix::row_major(&a, m, k), Matrix::row_major(&b, n, k).t());
    let flops = 2.0 * m as f64 * n as f64 * k as f64;
    let runs = (2e10 / flops.max(1.0)).clamp(3.0, 50.0) as usize;
    let mut product = || gemm(cx, a, b, &mut c, Epilogue::Set, &mut scratch);
    product();
    flops / fastest(runs, product) / 1e9
}

/// Bytes read from memory per second, all threads together, in GB/s (10⁹ bytes).
pub fn read_bandwidth(cx: &Context) -> f64 {
    let data = vec![1.0f32; STREAM_LEN];
    let parts = 4 * cx.pool.threads();
    let part = STREAM_LEN / parts;
    let seconds = fastest(3, || {
        cx.pool.run(parts, &|number, _| {
            black_box(sum(cx.isa, &data[number * part..][..part]));
        });
    });
    (parts * part * size_of::<f32>()) as f64 / seconds / 1e9
}

simd_fn! { fn sum(data: &[f32]) -> f32 = sum_kernel }
#[inline(always)]
fn sum_kernel<S: Tile>(s: S, data: &[f32]) -> f32 {
    let mut sums = [s.splat(0.0); 4];
    for chunk in data.chunks_exact(4 * S::LANES) {
        for (sum, part) in sums.iter_mut().zip(chunk.chunks_exact(S::LANES)) {
            *sum = s.add(*sum, s.load(part));
        }
    }
    s.reduce_add(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3])))
}

/// Seconds of the fastest of `runs` runs: what the machine can do when nothing else disturbs it.
fn fastest(runs: usize, mut work: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..runs {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_finite_and_positive() {
        let cx = Context::new(Isa::detect(), 2);
        for rate in [register_rate(&cx), gemm_rate::<f32>(&cx, 64, 64, 64), read_bandwidth(&cx)] {
            assert!(rate.is_finite() && rate > 0.0, "{rate}");
        }
    }
}
