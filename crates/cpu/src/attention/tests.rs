//! Properties against a plain f64 version, on odd sizes, every instruction set and several thread counts.

use super::*;
use crate::{Context, Isa};
use proptest::prelude::*;

/// Uniform in -1..1, from a counter-based hash.
fn noise(seed: u64, len: usize) -> Vec<f32> {
    (0..len as u64)
        .map(|i| {
            let mut x = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
                ^ seed.wrapping_mul(0xd1b5_4a32_d192_ed03);
            for _ in 0..2 {
                x = (x ^ (x >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            }
            ((x >> 40) as f32) / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

struct Case {
    dims: Dims,
    /// Bound of the rounding error of a score, which is the relative error of its probability: 2^-23 times the largest
    /// sum of |q·k|/sqrt(D).
    score_error: f64,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    dout: Vec<f32>,
}

impl Case {
    fn new(dims: Dims, seed: u64, spread: f32) -> Case {
        let score_error = f32::EPSILON as f64 * (spread as f64).powi(2) * (dims.d as f64).sqrt();
        let spread = |x: Vec<f32>| x.into_iter().map(|x| x * spread).collect();
        Case {
            dims,
            score_error,
            q: spread(noise(seed, dims.queries_len())),
            k: spread(noise(seed + 1, dims.keys_len())),
            v: noise(seed + 2, dims.keys_len()),
            dout: noise(seed + 3, dims.queries_len()),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Outcome {
    out: Vec<f32>,
    lse: Vec<f32>,
    dq: Vec<f32>,
    dk: Vec<f32>,
    dv: Vec<f32>,
}

fn run(cx: &Context, case: &Case) -> Outcome {
    let dims = &case.dims;
    // Results and scratch hold NaN before, so that whatever is not set shows up.
    let nan = |n| vec![f32::NAN; n];
    let lse = nan(dims.b * dims.h * dims.t);
    let [out, dq] = [(); 2].map(|_| nan(dims.queries_len()));
    let [dk, dv] = [(); 2].map(|_| nan(dims.keys_len()));
    let mut o = Outcome { out, lse, dq, dk, dv };
    let Case { q, k, v, dout, .. } = case;
    let mut scratch = nan(forward_scratch_len(cx, dims));
    forward(cx, q, k, v, dims, &mut o.out, &mut o.lse, &mut scratch);
    let mut scratch = nan(backward_scratch_len(cx, dims));
    backward(
        cx,
        q,
        k,
        v,
        &o.out,
        &o.lse,
        dout,
        dims,
        &mut o.dq,
        &mut o.dk,
        &mut o.dv,
        &mut scratch,
    );
    o
}

/// The formulas, in f64, one score at a time: out, lse, dq, dk, dv.
fn naive(case: &Case) -> [Vec<f64>; 5] {
    let Dims { b, t, h, k_heads, d, window } = case.dims;
    let scale = 1.0 / (d as f64).sqrt();
    let [mut out, mut dq] = [(); 2].map(|_| vec![0.0; case.q.len()]);
    let [mut dk, mut dv] = [(); 2].map(|_| vec![0.0; case.k.len()]);
    let mut all_lse = vec![0.0; b * h * t];
    let dot =
        |x: &[f32], y: &[f32]| -> f64 { x.iter().zip(y).map(|(&x, &y)| x as f64 * y as f64).sum() };
    for row in 0..b {
        for head in 0..h {
            for i in 0..t {
                let at_q = ((row * t + i) * h + head) * d;
                let at_k = |j: usize| ((row * t + j) * k_heads + head / (h / k_heads)) * d;
                let seen = i.saturating_sub(window)..=i;
                let (q, dout) = (&case.q[at_q..][..d], &case.dout[at_q..][..d]);
                let scores: Vec<f64> =
                    seen.clone().map(|j| scale * dot(q, &case.k[at_k(j)..][..d])).collect();
                let max = scores.iter().copied().fold(f64::MIN, f64::max);
                let lse = max + scores.iter().map(|s| (s - max).exp()).sum::<f64>().ln();
                all_lse[(row * h + head) * t + i] = lse;
                let p: Vec<f64> = scores.iter().map(|s| (s - lse).exp()).collect();
                for (j, p) in seen.clone().zip(&p) {
                    (0..d).for_each(|c| out[at_q + c] += p * case.v[at_k(j) + c] as f64);
                }
                let delta: f64 = (0..d).map(|c| dout[c] as f64 * out[at_q + c]).sum();
                for (j, p) in seen.zip(&p) {
                    let ds = p * (dot(dout, &case.v[at_k(j)..][..d]) - delta) * scale;
                    for c in 0..d {
                        dq[at_q + c] += ds * case.k[at_k(j) + c] as f64;
                        dk[at_k(j) + c] += ds * q[c] as f64;
                        dv[at_k(j) + c] += p * dout[c] as f64;
                    }
                }
            }
        }
    }
    [out, all_lse, dq, dk, dv]
}

fn assert_close(name: &str, got: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len());
    let size = want.iter().fold(1.0f64, |m, x| m.max(x.abs()));
    for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
        let error = (got as f64 - want).abs();
        assert!(error <= tolerance * size, "{name}[{i}]: {got}, not {want} (largest {size})");
    }
}

fn assert_right(isa: Isa, threads: usize, case: &Case) -> Outcome {
    let got = run(&Context::new(isa, threads), case);
    let [out, lse, dq, dk, dv] = naive(case);
    assert_close("out", &got.out, &out, 2e-6 + case.score_error);
    assert_close("lse", &got.lse, &lse, 2e-6 + case.score_error);
    assert_close("dq", &got.dq, &dq, 5e-6 + case.score_error);
    assert_close("dk", &got.dk, &dk, 5e-6 + case.score_error);
    assert_close("dv", &got.dv, &dv, 5e-6 + case.score_error);
    got
}

fn dims() -> impl Strategy<Value = Dims> {
    let window = prop_oneof![0usize..300, Just(usize::MAX), 60usize..70, 127usize..130];
    let t = prop_oneof![1usize..20, 1usize..300, Just(64), Just(128)];
    let d = prop_oneof![1usize..40, Just(16), Just(32), Just(64), Just(80), Just(128)];
    (1usize..3, t, 1usize..3, 1usize..4, d, window).prop_map(|(b, t, k_heads, group, d, window)| {
        Dims { b, t, h: k_heads * group, k_heads, d, window }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn forward_and_backward_follow_the_formulas(dims in dims(), seed in 0u64..1000, spread in 0.1f32..4.0) {
        let case = Case::new(dims, seed, spread);
        for (i, isa) in Isa::available().into_iter().enumerate() {
            assert_right(isa, 1 + (seed as usize + i) % 3, &case);
        }
    }

    #[test]
    fn bits_do_not_depend_on_the_threads(dims in dims(), seed in 0u64..1000) {
        let case = Case::new(dims, seed, 1.0);
        for isa in Isa::available() {
            let one = run(&Context::new(isa, 1), &case);
            for threads in [2, 3] {
                let cx = Context::new(isa, threads);
                prop_assert_eq!(&run(&cx, &case), &one);
                prop_assert_eq!(&run(&cx, &case), &one);
            }
        }
    }

    #[test]
    fn a_cache_gives_what_the_whole_sequence_gives(
        dims in dims(), seed in 0u64..1000, spare in 0usize..70, cuts in prop::collection::vec(0.0f64..1.0, 0..4),
    ) {
        let case = Case::new(dims, seed, 1.0);
        for isa in Isa::available() {
            let cx = Context::new(isa, 1 + seed as usize % 3);
            let want = run(&cx, &case).out;
            let mut cuts: Vec<usize> = cuts.iter().map(|c| (c * dims.t as f64) as usize).collect();
            cuts.extend([0, dims.t]);
            cuts.sort();
            let got = in_parts(&cx, &case, dims.t + spare, &cuts);
            for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                prop_assert!((got - want).abs() <= 1e-5, "{isa} out[{i}]: {got}, not {want}, cut at {cuts:?}");
            }
        }
    }
}

/// Positions `from..to` of every row of `x` `[b, t, width]`.
fn positions(x: &[f32], t: usize, width: usize, from: usize, to: usize) -> Vec<f32> {
    x.chunks(t * width).flat_map(|row| row[from * width..to * width].to_vec()).collect()
}

/// Outputs of a sequence that enters the cache in parts.
fn in_parts(cx: &Context, case: &Case, capacity: usize, cuts: &[usize]) -> Vec<f32> {
    let Dims { b, t, h, k_heads, d, window } = case.dims;
    let [mut k_cache, mut v_cache] = [(); 2].map(|_| vec![0.0; b * capacity * k_heads * d]);
    let mut whole = vec![f32::NAN; case.q.len()];
    for cut in cuts.windows(2) {
        let (from, to) = (cut[0], cut[1]);
        let dims = CacheDims { b, t: to - from, capacity, h, k_heads, d, window };
        let start = vec![from as i32; b];
        for (cache, new) in [(&mut k_cache, &case.k), (&mut v_cache, &case.v)] {
            cache_write(cx, cache, &positions(new, t, k_heads * d, from, to), &start, &dims);
        }
        let q = positions(&case.q, t, h * d, from, to);
        let mut out = vec![f32::NAN; q.len()];
        let mut scratch = vec![f32::NAN; cached_scratch_len(cx, &dims)];
        cached(cx, &q, &k_cache, &v_cache, &start, &dims, &mut out, &mut scratch);
        for (row, part) in whole.chunks_mut(t * h * d).zip(out.chunks((to - from).max(1) * h * d)) {
            row[from * h * d..to * h * d].copy_from_slice(part);
        }
    }
    whole
}

#[test]
fn rows_start_where_they_say() {
    // Row b of the cache attention at start[b] is the whole sequence's attention at those positions.
    let dims = Dims { b: 3, t: 200, h: 4, k_heads: 2, d: 24, window: 90 };
    let case = Case::new(dims, 5, 1.0);
    let width = dims.k_heads * dims.d;
    for isa in Isa::available() {
        let cx = Context::new(isa, 2);
        let want = run(&cx, &case).out;
        for t in [1, 3, 20, 70] {
            let start = [0i32, 130, 57];
            let cache = CacheDims { b: 3, t, capacity: 200, h: 4, k_heads: 2, d: 24, window: 90 };
            let pick = |x: &[f32], width: usize| -> Vec<f32> {
                (0..3)
                    .flat_map(|b| x[(b * 200 + start[b] as usize) * width..][..t * width].to_vec())
                    .collect()
            };
            let [mut k_cache, mut v_cache] = [&case.k, &case.v].map(|x| {
                let mut cache = vec![0.0; x.len()];
                for b in 0..3 {
                    let old = b * 200 * width..(b * 200 + start[b] as usize) * width;
                    cache[old.clone()].copy_from_slice(&x[old]);
                }
                cache
            });
            cache_write(&cx, &mut k_cache, &pick(&case.k, width), &start, &cache);
            cache_write(&cx, &mut v_cache, &pick(&case.v, width), &start, &cache);
            let q = pick(&case.q, 96);
            let mut out = vec![f32::NAN; q.len()];
            let mut scratch = vec![f32::NAN; cached_scratch_len(&cx, &cache)];
            cached(&cx, &q, &k_cache, &v_cache, &start, &cache, &mut out, &mut scratch);
            let want = pick(&want, 96);
            assert!(out.iter().zip(&want).all(|(a, b)| (a - b).abs() <= 1e-5), "{isa} t={t}");
        }
    }
}

#[test]
fn positions_beyond_the_capacity_are_skipped_and_stay_finite() {
    for t in [1, 6, 40] {
        let dims = CacheDims { b: 2, t, capacity: 10, h: 2, k_heads: 1, d: 5, window: 3 };
        let new = noise(1, 2 * t * 5);
        let q = noise(2, 2 * t * 10);
        for (isa, start) in Isa::available().into_iter().zip([[7, 30], [9, i32::MAX], [10, 0]]) {
            let cx = Context::new(isa, 2);
            let mut cache = vec![0.5; 100];
            cache_write(&cx, &mut cache, &new, &start, &dims);
            for (b, row) in cache.chunks(50).enumerate() {
                for (i, &value) in row.iter().enumerate() {
                    let from = (i as i64) - start[b] as i64 * 5;
                    let written = (0..t as i64 * 5).contains(&from);
                    let want = if written { new[b * t * 5 + from as usize] } else { 0.5 };
                    assert_eq!(value, want, "row {b} value {i}");
                }
            }
            let mut out = vec![f32::NAN; q.len()];
            let mut scratch = vec![f32::NAN; cached_scratch_len(&cx, &dims)];
            cached(&cx, &q, &cache, &cache, &start, &dims, &mut out, &mut scratch);
            assert!(out.iter().all(|x| x.is_finite()), "{isa} t={t}");
        }
    }
}

#[test]
fn long_sequences_with_large_scores_stay_exact() {
    let dims = Dims { b: 1, t: 700, h: 2, k_heads: 1, d: 64, window: usize::MAX };
    let case = Case::new(dims, 9, 6.0);
    for isa in Isa::available() {
        let got = run(&Context::new(isa, 3), &case);
        let [out, _, _, _, dv] = naive(&case);
        assert_close("out", &got.out, &out, 2e-6 + case.score_error);
        assert_close("dv", &got.dv, &dv, 5e-6 + case.score_error);
    }
}
