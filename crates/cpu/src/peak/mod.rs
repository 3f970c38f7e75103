//! What this machine can do, measured: the rates that utilisation is a share of, and those of the heavy kernels.

mod bandwidth;
mod kernels;
mod registers;

pub use bandwidth::{Stream, read_bandwidth};
pub use kernels::{Kernel, Orientation, attention, cross_entropy, product};
pub use registers::{register_rate, register_rate_bf16};

use crate::Context;
use crate::gemm::Operand;
use std::time::Instant;

/// Rate of C = A·Bᵀ for an m x n x k product, operands row-major, C in f32, in GFLOP/s: the fastest of several runs.
pub fn gemm_rate<T: Operand>(cx: &Context, m: usize, n: usize, k: usize) -> f64 {
    let mut kernel = product::<T, f32>(cx, Orientation::Forward, m, n, k);
    let runs = (2e10 / kernel.flops().max(1.0)).clamp(3.0, 50.0) as usize;
    kernel.run(cx);
    let flops = kernel.flops();
    flops / fastest(runs, || kernel.run(cx)) / 1e9
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
    use crate::Isa;
    use half::bf16;

    #[test]
    fn rates_are_finite_and_positive() {
        let cx = Context::new(Isa::detect(), 2);
        let mut rates = vec![register_rate(&cx), register_rate_bf16(&cx), read_bandwidth(&cx)];
        rates.push(gemm_rate::<f32>(&cx, 64, 64, 64));
        for orientation in [Orientation::Forward, Orientation::GradInput, Orientation::GradWeight] {
            rates.push(product::<bf16, bf16>(&cx, orientation, 33, 20, 17).rate(&cx));
        }
        rates.push(cross_entropy::<bf16>(&cx, 40, 24, 100).rate(&cx));
        rates.push(attention::<bf16>(&cx, 2, 70, 2, 32).rate(&cx));
        for rate in rates {
            assert!(rate.is_finite() && rate > 0.0, "{rate}");
        }
    }
}
