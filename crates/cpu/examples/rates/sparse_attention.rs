//! Speed of sparse attention beside that of dense attention of the same type, measured by turns in the same run.
//!
//! `sparse-attention [f32] [THREADS [T TOP_K H K D [ROUNDS]]]`
//!
//! "Implied" is the time of dense attention times the share of its pairs that are selected, and the indexer's multiply-adds
//! (the scores of all pairs in both passes, twice those of the selected ones) at the rate of dense attention.

use crate::{context, numbers};
use half::bf16;
use kiln_cpu::sparse::{self, Gradients, Indexer, Inputs, Outputs, Saved, Sparse};
use kiln_cpu::{Context, attention, peak};
use std::time::Instant;

/// Heads of the indexer, their size, and the local window.
const INDEXER: (usize, usize, usize) = (16, 32, 128);

/// Reproducible values without pattern (SplitMix64, Steele et al. 2014), about normal.
fn noise<E: Sparse>(len: usize, seed: u64) -> Vec<E> {
    let mut state = seed << 32;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..len).map(|_| E::from_f32(2.0 * (next() + next() + next()))).collect()
}

struct Bench<E> {
    dims: sparse::Dims,
    /// q, k, v, dout, iq, ik
    inputs: [Vec<E>; 6],
    w: Vec<f32>,
    out: Vec<E>,
    lse: Vec<f32>,
    threshold: Vec<f32>,
    boundary: Vec<i32>,
    /// Of q, k, v, iq, ik.
    grads: [Vec<E>; 5],
    dw: Vec<f32>,
    scratch: Vec<f32>,
}

fn seconds(f: impl FnOnce()) -> f64 {
    let start = Instant::now();
    f();
    start.elapsed().as_secs_f64()
}

impl<E: Sparse> Bench<E> {
    fn new(cx: &Context, dims: sparse::Dims) -> Self {
        let sparse::Dims { b, t, h, k_heads, d, heads, width, .. } = dims;
        let lens = [h * d, k_heads * d, k_heads * d, h * d, heads * width, width];
        let mut seed = 0;
        let inputs = lens.map(|len| {
            seed += 1;
            noise(b * t * len, seed)
        });
        let like = |i: usize| vec![E::ZERO; inputs[i].len()];
        let (out, grads) = (like(0), [0, 1, 2, 4, 5].map(like));
        let scratch = sparse::forward_scratch_len::<E>(cx, &dims)
            .max(sparse::backward_scratch_len::<E>(cx, &dims))
            .max(attention::forward_scratch_len::<E>(cx, &dense(&dims)))
            .max(attention::backward_scratch_len::<E>(cx, &dense(&dims)));
        println!("scratch: {:.0} MB", scratch as f64 * 4e-6);
        Bench {
            dims,
            inputs,
            w: noise(b * t * heads, 9),
            out,
            lse: vec![0.0; b * h * t],
            threshold: vec![0.0; b * t],
            boundary: vec![0; b * t],
            grads,
            dw: vec![0.0; b * t * heads],
            scratch: vec![0.0; scratch],
        }
    }

    /// Seconds of dense attention, forward and backward.
    fn dense(&mut self, cx: &Context) -> [f64; 2] {
        let dims = dense(&self.dims);
        let [q, k, v, dout, ..] = &self.inputs;
        let (out, lse, scratch) = (&mut self.out, &mut self.lse, &mut self.scratch);
        let forward = seconds(|| attention::forward(cx, q, k, v, &dims, out, lse, scratch));
        let [dq, dk, dv, ..] = &mut self.grads;
        let backward = seconds(|| {
            attention::backward(cx, q, k, v, out, lse, dout, &dims, dq, dk, dv, scratch);
        });
        [forward, backward]
    }

    /// The same of sparse attention.
    fn sparse(&mut self, cx: &Context) -> [f64; 2] {
        let [q, k, v, dout, iq, ik] = &self.inputs;
        let inputs = Inputs { q, k, v, indexer: Indexer { q: iq, k: ik, w: &self.w } };
        let (dims, scratch) = (&self.dims, &mut self.scratch);
        let Bench { out, lse, threshold, boundary, .. } = self;
        let forward = seconds(|| {
            let to = Outputs { out, lse, threshold, boundary };
            sparse::forward(cx, &inputs, dims, to, scratch);
        });
        let saved = Saved { out, lse, threshold, boundary, dout };
        let [dq, dk, dv, indexer_q, indexer_k] = &mut self.grads;
        let indexer_w = &mut self.dw;
        let backward = seconds(|| {
            let to = Gradients { q: dq, k: dk, v: dv, indexer_q, indexer_k, indexer_w };
            sparse::backward(cx, &inputs, &saved, dims, to, scratch);
        });
        [forward, backward]
    }
}

fn dense(dims: &sparse::Dims) -> attention::Dims {
    let sparse::Dims { b, t, h, k_heads, d, .. } = *dims;
    attention::Dims { b, t, h, k_heads, d, window: t }
}

fn measure<E: Sparse>(cx: &Context, [t, top_k, h, k_heads, d]: [usize; 5], rounds: usize) {
    let (heads, width, local) = INDEXER;
    let dims = sparse::Dims { b: 1, t, positions: t, h, k_heads, d, heads, width, local, top_k };
    println!(
        "T {t} top_k {top_k} local {local} H {h} K {k_heads} D {d}, indexer {heads} x {width}"
    );
    let mut bench = Bench::<E>::new(cx, dims);
    let (mut best, mut rate) = ([[f64::MAX; 2]; 2], 0.0f64);
    for _ in 0..rounds {
        let found = if size_of::<E>() == 2 {
            peak::register_rate_bf16(cx)
        } else {
            peak::register_rate(cx)
        };
        rate = rate.max(found);
        for (best, found) in best.iter_mut().zip([bench.dense(cx), bench.sparse(cx)]) {
            best.iter_mut().zip(found).for_each(|(best, found)| *best = best.min(found));
        }
    }
    let [dense, sparse] = best;
    let all = (t * (t + 1) / 2) as f64;
    let selected: usize = (0..t).map(|i| (i + 1).min(top_k)).sum();
    let remote: usize = (0..t).map(|i| (i + 1).min(top_k).saturating_sub(local)).sum();
    let share = selected as f64 / all;
    // Multiply-adds.
    let indexer = (heads * width) as f64 * (2.0 * all + 2.0 * remote as f64);
    let attention = all * (7 * h * d) as f64;
    let total = |times: [f64; 2]| times[0] + times[1];
    let implied = total(dense) * (share + indexer / attention);
    println!(
        "  dense  forward {:.1} ms, backward {:.1}, both {:.1}: {:.2} of {rate:.0} GFLOP/s",
        1e3 * dense[0],
        1e3 * dense[1],
        1e3 * total(dense),
        2e-9 * attention / total(dense) / rate,
    );
    println!(
        "  sparse forward {:.1} ms, backward {:.1}, both {:.1}: {:.2} times as fast",
        1e3 * sparse[0],
        1e3 * sparse[1],
        1e3 * total(sparse),
        total(dense) / total(sparse),
    );
    println!(
        "  {selected} of {all} pairs ({share:.3}); implied {:.1} ms, sparse takes {:.2} of it",
        1e3 * implied,
        total(sparse) / implied,
    );
}

fn measure_all<E: Sparse>(cx: &Context, sizes: &[[usize; 5]], rounds: usize) {
    for sizes in sizes {
        measure::<E>(cx, *sizes, rounds);
    }
}

pub(crate) fn run(words: &[String]) {
    let full = words.first().is_some_and(|word| word == "f32");
    let args = numbers(&words[usize::from(full)..]);
    let cx = context(args.first().copied().unwrap_or(2));
    let name = if full { "f32" } else { "bf16" };
    println!("{}, {} threads, {name}", cx.isa, cx.pool.threads());
    let mut sizes = vec![
        [8192, 1024, 6, 6, 128],
        [8192, 1024, 3, 3, 128],
        [8192, 1024, 2, 2, 128],
        [8192, 1024, 6, 6, 64],
        [8192, 4096, 6, 6, 128],
    ];
    if let [t, top_k, h, k_heads, d, ..] = args[1.min(args.len())..] {
        sizes = vec![[t, top_k, h, k_heads, d]];
    }
    let rounds = args.get(6).copied().unwrap_or(5);
    if full {
        measure_all::<f32>(&cx, &sizes, rounds)
    } else {
        measure_all::<bf16>(&cx, &sizes, rounds)
    }
}
