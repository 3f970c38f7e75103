//! Speed of attention against the rate of fused multiply-adds between registers, measured in the same run.
//!
//! `cargo run --release -p kiln-cpu --example attention [-- THREADS [B H K D]]`; with 0 for B, decoding alone.
//!
//! Only visible (query, key) pairs count as work: 4·D operations each in the forward pass and, by two conventions, 8·D
//! (the gradients alone) or 10·D (the recomputed scores as well) in the backward pass.

use kiln_cpu::attention::{self, CacheDims, Dims};
use kiln_cpu::{Context, Isa, peak};
use std::time::Instant;

fn noise(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i as u64 * 2_654_435_761) % 2001) as f32 / 1000.0 - 1.0).collect()
}

/// Seconds of the fastest of several runs.
fn best(runs: usize, mut f: impl FnMut()) -> f64 {
    f();
    (0..runs).fold(f64::MAX, |best, _| {
        let start = Instant::now();
        f();
        best.min(start.elapsed().as_secs_f64())
    })
}

fn pairs(dims: &Dims) -> f64 {
    let seen: usize = (0..dims.t).map(|i| i.min(dims.window) + 1).sum();
    (dims.b * dims.h * seen) as f64
}

fn training(cx: &Context, dims: Dims) {
    let Dims { b, t, h, k_heads, d, window } = dims;
    let [q, dout] = [(); 2].map(|_| noise(b * t * h * d));
    let [k, v] = [(); 2].map(|_| noise(b * t * k_heads * d));
    let [mut out, mut dq] = [(); 2].map(|_| vec![0.0; q.len()]);
    let [mut dk, mut dv] = [(); 2].map(|_| vec![0.0; k.len()]);
    let mut lse = vec![0.0; b * h * t];
    let mut scratch = vec![0.0; attention::forward_scratch_len(cx, &dims)];
    let (mut forward, mut backward, mut rate) = (f64::MAX, f64::MAX, 0.0f64);
    let mut grad_scratch = vec![0.0; attention::backward_scratch_len(cx, &dims)];
    for _ in 0..6 {
        rate = rate.max(1e9 * peak::register_rate(cx));
        forward = forward.min(best(4, || {
            attention::forward(cx, &q, &k, &v, &dims, &mut out, &mut lse, &mut scratch);
        }));
        backward = backward.min(best(4, || {
            attention::backward(
                cx,
                &q,
                &k,
                &v,
                &out,
                &lse,
                &dout,
                &dims,
                &mut dq,
                &mut dk,
                &mut dv,
                &mut grad_scratch,
            );
        }));
    }
    let work = pairs(&dims) * d as f64;
    let share = |flops: f64, seconds: f64| flops * work / seconds / rate;
    println!(
        "B {b} T {t} H {h} K {k_heads} D {d} W {}: forward {:.2} ms, {:.0} GFLOP/s, {:.2} of peak; backward {:.2} ms, \
         {:.2} (8D) {:.2} (10D); both {:.2} (12D) {:.2} (14D); registers {:.0} GFLOP/s",
        window.min(t),
        1e3 * forward,
        4.0 * work / forward / 1e9,
        share(4.0, forward),
        1e3 * backward,
        share(8.0, backward),
        share(10.0, backward),
        share(12.0, forward + backward),
        share(14.0, forward + backward),
        rate / 1e9
    );
}

fn decoding(cx: &Context, dims: CacheDims, length: usize) {
    let CacheDims { b, t, capacity, h, k_heads, d, .. } = dims;
    let q = noise(b * t * h * d);
    let [k, v] = [(); 2].map(|_| noise(b * capacity * k_heads * d));
    let mut out = vec![0.0; q.len()];
    let mut scratch = vec![0.0; attention::cached_scratch_len(cx, &dims)];
    let start = vec![(length - t) as i32; b];
    let memory = peak::read_bandwidth(cx);
    let seconds = best(40, || {
        attention::cached(cx, &q, &k, &v, &start, &dims, &mut out, &mut scratch);
    });
    let bytes = (2 * b * length * k_heads * d * 4) as f64;
    println!(
        "decode B {b} Tq {t} cache {length} H {h} K {k_heads} D {d}: {:.1} us, {:.1} GB/s of keys and values; memory {memory:.1} GB/s",
        1e6 * seconds,
        bytes / seconds / 1e9
    );
}

fn main() {
    let args: Vec<usize> =
        std::env::args().skip(1).map(|a| a.parse().expect("arguments are numbers")).collect();
    let isa = Isa::from_env().expect("KILN_ISA names an instruction set of this machine");
    let cx = Context::new(isa, args.first().copied().unwrap_or(2));
    println!("{isa}, {} threads", cx.pool.threads());
    let full = usize::MAX;
    if let [0, h, k_heads, d] = args[1.min(args.len())..] {
        for (b, t, length) in [(1, 1, 1024), (1, 1, 65_536), (8, 1, 8192), (1, 4, 65_536)] {
            let dims = CacheDims { b, t, capacity: length, h, k_heads, d, window: full };
            decoding(&cx, dims, length);
        }
        return;
    }
    if let [b, h, k_heads, d] = args[1.min(args.len())..] {
        for t in [512, 2048] {
            training(&cx, Dims { b, t, h, k_heads, d, window: full });
        }
        return;
    }
    for (b, t, h, k_heads, d, window) in [
        (8, 512, 6, 6, 64, full),
        (1, 2048, 6, 6, 64, full),
        (8, 2048, 6, 6, 64, full),
        (1, 2048, 6, 2, 128, full),
        (1, 2048, 6, 6, 64, 256),
        (1, 16_384, 6, 6, 64, full),
    ] {
        training(&cx, Dims { b, t, h, k_heads, d, window });
    }
    for (b, t, length, h, k_heads) in [
        (1, 1, 16_384, 12, 12),
        (1, 1, 65_536, 12, 12),
        (1, 1, 65_536, 8, 1),
        (8, 1, 8192, 6, 6),
        (1, 1, 512, 6, 6),
        (1, 4, 65_536, 12, 12),
    ] {
        let dims = CacheDims { b, t, capacity: length, h, k_heads, d: 64, window: full };
        decoding(&cx, dims, length);
    }
}
