//! What the arithmetic units can do when nothing keeps them waiting.

use std::hint::black_box;

use super::fastest;
use crate::gemm::Tile;
use crate::pool::SharedSlice;
use crate::{Context, Isa, simd_fn};

/// Multiply-adds of each accumulator in one measurement: about 10 ms.
const REGISTER_STEPS: usize = 2_000_000;

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
    let (x, y) = (s.splat(black_box(0.5)), s.splat(black_box(0.001)));
    let (x, y) = (s.pair(x, x), s.pair(y, y));
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
