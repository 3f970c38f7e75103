//! Speed of attention in f32 and bf16 against the rates of products between registers, measured in the same run.
//!
//! `attention [THREADS [B H K D]]`; with 0 for B, decoding alone.
//!
//! Only visible (query, key) pairs count as work: 4·D operations each in the forward pass and, by two conventions, 8·D
//! (the gradients alone) or 10·D (the recomputed scores as well) in the backward pass.

use crate::{context, numbers};
use half::bf16;
use kiln_cpu::attention::{self, Attend, CacheDims, Dims};
use kiln_cpu::{Context, peak};
use std::time::Instant;

fn noise<E: Attend>(len: usize) -> Vec<E> {
    (0..len)
        .map(|i| E::from_f32(((i as u64 * 2_654_435_761) % 2001) as f32 / 1000.0 - 1.0))
        .collect()
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

/// One attention, its gradients, and the shortest times of both so far.
struct Training<E> {
    dims: Dims,
    /// q, k, v, dout
    inputs: [Vec<E>; 4],
    /// out, dq, dk, dv
    outputs: [Vec<E>; 4],
    lse: Vec<f32>,
    scratch: Vec<f32>,
    forward: f64,
    backward: f64,
}

impl<E: Attend> Training<E> {
    fn new(cx: &Context, dims: Dims) -> Self {
        let Dims { b, t, h, k_heads, d, .. } = dims;
        let (queries, keys) = (b * t * h * d, b * t * k_heads * d);
        let scratch = attention::forward_scratch_len::<E>(cx, &dims)
            .max(attention::backward_scratch_len::<E>(cx, &dims));
        Training {
            dims,
            inputs: [queries, keys, keys, queries].map(noise),
            outputs: [queries, queries, keys, keys].map(|len| vec![E::ZERO; len]),
            lse: vec![0.0; b * h * t],
            scratch: vec![0.0; scratch],
            forward: f64::MAX,
            backward: f64::MAX,
        }
    }

    fn measure(&mut self, cx: &Context) {
        let dims = &self.dims;
        let [q, k, v, dout] = &self.inputs;
        let [out, dq, dk, dv] = &mut self.outputs;
        let (lse, scratch) = (&mut self.lse, &mut self.scratch);
        let forward = best(4, || attention::forward(cx, q, k, v, dims, out, lse, scratch));
        let backward = best(4, || {
            attention::backward(cx, q, k, v, out, lse, dout, dims, dq, dk, dv, scratch);
        });
        self.forward = self.forward.min(forward);
        self.backward = self.backward.min(backward);
    }

    /// Prints times and shares of a rate in GFLOP/s.
    fn report(&self, name: &str, rate: f64) {
        let work = pairs(&self.dims) * self.dims.d as f64 / 1e9;
        let share = |flops: f64, seconds: f64| flops * work / seconds / rate;
        let both = self.forward + self.backward;
        println!(
            "  {name:5} forward {:.2} ms {:.2}; backward {:.2} ms {:.2} (10D) {:.2} (8D); both {:.2} (14D) {:.2} (12D), \
             {:.0} of {rate:.0} GFLOP/s",
            1e3 * self.forward,
            share(4.0, self.forward),
            1e3 * self.backward,
            share(10.0, self.backward),
            share(8.0, self.backward),
            share(14.0, both),
            share(12.0, both),
            14.0 * work / both,
        );
    }
}

fn training(cx: &Context, dims: Dims) {
    let Dims { b, t, h, k_heads, d, window } = dims;
    println!("B {b} T {t} H {h} K {k_heads} D {d} W {}", window.min(t));
    let (mut single, mut half) = (Training::<f32>::new(cx, dims), Training::<bf16>::new(cx, dims));
    let (mut rate, mut rate_bf16) = (0.0f64, 0.0f64);
    for _ in 0..6 {
        rate = rate.max(peak::register_rate(cx));
        single.measure(cx);
        rate_bf16 = rate_bf16.max(peak::register_rate_bf16(cx));
        half.measure(cx);
    }
    single.report("f32", rate);
    half.report("bf16", rate_bf16);
}

fn decoding<E: Attend>(cx: &Context, dims: CacheDims, length: usize) {
    let CacheDims { b, t, capacity, h, k_heads, d, .. } = dims;
    let q = noise::<E>(b * t * h * d);
    let [k, v] = [(); 2].map(|_| noise::<E>(b * capacity * k_heads * d));
    let mut out = vec![E::ZERO; q.len()];
    let mut scratch = vec![0.0; attention::cached_scratch_len::<E>(cx, &dims)];
    let start = vec![(length - t) as i32; b];
    let memory = peak::read_bandwidth(cx);
    let seconds = best(40, || {
        attention::cached(cx, &q, &k, &v, &start, &dims, &mut out, &mut scratch);
    });
    let bytes = 2 * b * length * k_heads * d * size_of::<E>();
    println!(
        "decode {} B {b} Tq {t} cache {length} H {h} K {k_heads} D {d}: {:.1} us, {:.1} GB/s of keys and values; memory {memory:.1} GB/s",
        std::any::type_name::<E>(),
        1e6 * seconds,
        bytes as f64 / seconds / 1e9
    );
}

pub(crate) fn run(words: &[String]) {
    let args = numbers(words);
    let cx = context(args.first().copied().unwrap_or(2));
    println!("{}, {} threads", cx.isa, cx.pool.threads());
    let full = usize::MAX;
    if let [0, h, k_heads, d] = args[1.min(args.len())..] {
        for (b, t, length) in [(1, 1, 1024), (1, 1, 65_536), (8, 1, 8192), (1, 4, 65_536)] {
            let dims = CacheDims { b, t, capacity: length, h, k_heads, d, window: full };
            decoding::<f32>(&cx, dims, length);
            decoding::<bf16>(&cx, dims, length);
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
        (1, 2048, 12, 12, 32, full),
        (1, 2048, 6, 2, 128, full),
        (1, 2048, 6, 6, 64, 256),
        (1, 16_384, 6, 6, 64, 1024),
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
        decoding::<f32>(&cx, dims, length);
        decoding::<bf16>(&cx, dims, length);
    }
}
