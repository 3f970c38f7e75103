//! Properties against a plain f64 version, on odd sizes, every instruction set and several thread counts.

use super::*;
use crate::{Context, Isa};
use half::bf16;
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

/// Uniform in -1..1, times `spread`, and exact in the element type.
fn values<E: Attend>(seed: u64, len: usize, spread: f32) -> Vec<E> {
    noise(seed, len).into_iter().map(|x| E::from_f32(x * spread)).collect()
}

struct Case<E> {
    dims: Dims,
    /// Bound of the rounding error of a score, which is the relative error of its probability: 2^-23 times the largest
    /// sum of |q·k|/sqrt(D).
    score_error: f64,
    q: Vec<E>,
    k: Vec<E>,
    v: Vec<E>,
    dout: Vec<E>,
}

impl<E: Attend> Case<E> {
    fn new(dims: Dims, seed: u64, spread: f32) -> Self {
        Case {
            dims,
            score_error: f32::EPSILON as f64 * (spread as f64).powi(2) * (dims.d as f64).sqrt(),
            q: values(seed, dims.queries_len(), spread),
            k: values(seed + 1, dims.keys_len(), spread),
            v: values(seed + 2, dims.keys_len(), 1.0),
            dout: values(seed + 3, dims.queries_len(), 1.0),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Outcome<E> {
    out: Vec<E>,
    lse: Vec<f32>,
    dq: Vec<E>,
    dk: Vec<E>,
    dv: Vec<E>,
}

fn run<E: Attend>(cx: &Context, case: &Case<E>) -> Outcome<E> {
    let dims = &case.dims;
    // Results and scratch hold NaN before, so that whatever is not set shows up.
    let nan = |n| vec![f32::NAN; n];
    let nans = |n| vec![E::from_f32(f32::NAN); n];
    let lse = nan(dims.b * dims.h * dims.t);
    let [out, dq] = [(); 2].map(|_| nans(dims.queries_len()));
    let [dk, dv] = [(); 2].map(|_| nans(dims.keys_len()));
    let mut o = Outcome { out, lse, dq, dk, dv };
    let Case { q, k, v, dout, .. } = case;
    let mut scratch = nan(forward_scratch_len::<E>(cx, dims));
    forward(cx, q, k, v, dims, &mut o.out, &mut o.lse, &mut scratch);
    let mut scratch = nan(backward_scratch_len::<E>(cx, dims));
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

/// What a kernel may be off by: relative errors.
#[derive(Clone, Copy, Default)]
struct Errors {
    /// Of a probability before it is rounded.
    p: f64,
    /// Of rounding to the element type.
    rounding: f64,
}

/// Exact values and how far off a kernel may be.
#[derive(Clone, Default)]
struct Exact {
    value: Vec<f64>,
    bound: Vec<f64>,
}

impl Exact {
    fn zeros(len: usize) -> Self {
        Exact { value: vec![0.0; len], bound: vec![0.0; len] }
    }

    fn add(&mut self, at: usize, value: f64, bound: f64) {
        self.value[at] += value;
        self.bound[at] += bound;
    }

    /// With the rounding of the results themselves, which may be as far off as the bound says.
    fn stored(mut self, errors: Errors) -> Self {
        for (bound, value) in self.bound.iter_mut().zip(&self.value) {
            *bound += errors.rounding * (value.abs() + *bound);
        }
        self
    }
}

/// The formulas, in f64, one score at a time: out, lse, dq, dk, dv. Bounds follow the errors of every probability and every
/// gradient of a score through the sums, in absolute values.
fn naive<E: Attend>(case: &Case<E>, errors: Errors) -> [Exact; 5] {
    let Dims { b, t, h, k_heads, d, window } = case.dims;
    let scale = 1.0 / (d as f64).sqrt();
    let [mut out, mut dq] = [(); 2].map(|_| Exact::zeros(case.q.len()));
    let [mut dk, mut dv] = [(); 2].map(|_| Exact::zeros(case.k.len()));
    let mut all_lse = Exact::zeros(b * h * t);
    let wide = |x: &[E]| -> Vec<f64> { x.iter().map(|x| x.to_f32() as f64).collect() };
    let (q, k, v, dout) = (wide(&case.q), wide(&case.k), wide(&case.v), wide(&case.dout));
    let dot = |x: &[f64], y: &[f64]| -> f64 { x.iter().zip(y).map(|(x, y)| x * y).sum() };
    let size = |x: &[f64], y: &[f64]| -> f64 { x.iter().zip(y).map(|(x, y)| (x * y).abs()).sum() };
    let operand_error = errors.p + errors.rounding * (1.0 + errors.p);
    for row in 0..b {
        for head in 0..h {
            for i in 0..t {
                let at_q = ((row * t + i) * h + head) * d;
                let at_k = |j: usize| ((row * t + j) * k_heads + head / (h / k_heads)) * d;
                let seen = i.saturating_sub(window)..=i;
                let (q, dout) = (&q[at_q..][..d], &dout[at_q..][..d]);
                let scores: Vec<f64> =
                    seen.clone().map(|j| scale * dot(q, &k[at_k(j)..][..d])).collect();
                let max = scores.iter().copied().fold(f64::MIN, f64::max);
                let lse = max + scores.iter().map(|s| (s - max).exp()).sum::<f64>().ln();
                all_lse.add(
                    (row * h + head) * t + i,
                    lse,
                    errors.p + f32::EPSILON as f64 * lse.abs(),
                );
                let p: Vec<f64> = scores.iter().map(|s| (s - lse).exp()).collect();
                for (j, p) in seen.clone().zip(&p) {
                    for c in 0..d {
                        let term = p * v[at_k(j) + c];
                        out.add(at_q + c, term, (operand_error + errors.p) * term.abs());
                    }
                }
                let here = at_q..at_q + d;
                let delta = dot(dout, &out.value[here.clone()]);
                let out_error: Vec<f64> = here
                    .map(|c| out.bound[c] + errors.rounding * (out.value[c].abs() + out.bound[c]))
                    .collect();
                let delta_error = size(dout, &out_error);
                for (j, p) in seen.zip(&p) {
                    let (k, v) = (&k[at_k(j)..][..d], &v[at_k(j)..][..d]);
                    let ds = p * (dot(dout, v) - delta) * scale;
                    let exact = p * scale * (size(dout, v) + delta.abs());
                    let error = 2.0 * errors.p * exact + p * scale * delta_error;
                    let error = error + errors.rounding * (ds.abs() + error);
                    for c in 0..d {
                        dq.add(at_q + c, ds * k[c], error * k[c].abs());
                        dk.add(at_k(j) + c, ds * q[c], error * q[c].abs());
                        let term = p * dout[c];
                        dv.add(at_k(j) + c, term, (operand_error + errors.p) * term.abs());
                    }
                }
            }
        }
    }
    let [out, dq, dk, dv] = [out, dq, dk, dv].map(|x| x.stored(errors));
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

fn assert_right(isa: Isa, threads: usize, case: &Case<f32>) {
    let got = run(&Context::new(isa, threads), case);
    let [out, lse, dq, dk, dv] = naive(case, Errors::default()).map(|exact| exact.value);
    assert_close("out", &got.out, &out, 2e-6 + case.score_error);
    assert_close("lse", &got.lse, &lse, 2e-6 + case.score_error);
    assert_close("dq", &got.dq, &dq, 5e-6 + case.score_error);
    assert_close("dk", &got.dk, &dk, 5e-6 + case.score_error);
    assert_close("dv", &got.dv, &dv, 5e-6 + case.score_error);
}

/// Every value of `got` within its bound, with a little room for sums in f32.
fn assert_within(name: &str, isa: Isa, got: &[f32], exact: &Exact) {
    assert_eq!(got.len(), exact.value.len());
    for (i, (&got, (want, bound))) in
        got.iter().zip(exact.value.iter().zip(&exact.bound)).enumerate()
    {
        let error = (got as f64 - want).abs();
        assert!(error <= bound + 2e-6, "{isa}: {name}[{i}] is {got}, not {want} ± {bound}");
    }
}

fn assert_bf16_right(isa: Isa, threads: usize, case: &Case<bf16>, exact: &[Exact; 5]) {
    let got = run(&Context::new(isa, threads), case);
    let wide = |x: &[bf16]| -> Vec<f32> { x.iter().map(|x| x.to_f32()).collect() };
    let got = [wide(&got.out), got.lse, wide(&got.dq), wide(&got.dk), wide(&got.dv)];
    for (name, (got, exact)) in ["out", "lse", "dq", "dk", "dv"].iter().zip(got.iter().zip(exact)) {
        assert_within(name, isa, got, exact);
    }
}

/// Exponentials are exact to 2^-13.7, and so are their sums; scores have the rounding errors of their sums, which the
/// log-sum-exp shares.
fn bf16_errors(case: &Case<bf16>) -> Errors {
    Errors { p: 2f64.powf(-13.7) + 2.0 * case.score_error, rounding: 2f64.powi(-8) }
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
    fn bf16_follows_the_formulas(dims in dims(), seed in 0u64..1000, spread in 0.1f32..4.0) {
        let case = Case::new(dims, seed, spread);
        let exact = naive(&case, bf16_errors(&case));
        for (i, isa) in Isa::available().into_iter().enumerate() {
            assert_bf16_right(isa, 1 + (seed as usize + i) % 3, &case, &exact);
        }
    }

    #[test]
    fn bits_do_not_depend_on_the_threads(dims in dims(), seed in 0u64..1000) {
        assert_same_bits(&Case::<f32>::new(dims, seed, 1.0));
        assert_same_bits(&Case::<bf16>::new(dims, seed, 1.0));
    }

    #[test]
    fn a_cache_gives_what_the_whole_sequence_gives(
        dims in dims(), seed in 0u64..1000, spare in 0usize..70, cuts in prop::collection::vec(0.0f64..1.0, 0..4),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|c| (c * dims.t as f64) as usize).collect();
        cuts.extend([0, dims.t]);
        cuts.sort();
        for isa in Isa::available() {
            let cx = Context::new(isa, 1 + seed as usize % 3);
            assert_parts_agree(&cx, &Case::<f32>::new(dims, seed, 1.0), spare, &cuts);
            assert_parts_agree(&cx, &Case::<bf16>::new(dims, seed, 1.0), spare, &cuts);
        }
    }
}

/// Runs on several numbers of threads, twice each.
fn assert_same_bits<E: Attend + PartialEq>(case: &Case<E>) {
    for isa in Isa::available() {
        let one = run(&Context::new(isa, 1), case);
        for threads in [2, 3] {
            let cx = Context::new(isa, threads);
            assert_eq!(run(&cx, case), one);
            assert_eq!(run(&cx, case), one);
        }
    }
}

/// How far outputs from -1 to 1 of two right computations may lie apart.
fn apart<E: Attend>() -> f32 {
    // Each side rounds probabilities and outputs by at most 2^-8.
    if E::PER_LANE == 2 { 4.2 / 256.0 } else { 1e-5 }
}

fn assert_parts_agree<E: Attend>(cx: &Context, case: &Case<E>, spare: usize, cuts: &[usize]) {
    let want = run(cx, case).out;
    let got = in_parts(cx, case, case.dims.t + spare, cuts);
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        let (got, want) = (got.to_f32(), want.to_f32());
        assert!(
            (got - want).abs() <= apart::<E>(),
            "{} out[{i}]: {got}, not {want}, cut at {cuts:?}",
            cx.isa
        );
    }
}

/// Positions `from..to` of every row of `x` `[b, t, width]`.
fn positions<E: Copy>(x: &[E], t: usize, width: usize, from: usize, to: usize) -> Vec<E> {
    x.chunks(t * width).flat_map(|row| row[from * width..to * width].to_vec()).collect()
}

/// Outputs of a sequence that enters the cache in parts.
fn in_parts<E: Attend>(cx: &Context, case: &Case<E>, capacity: usize, cuts: &[usize]) -> Vec<E> {
    let Dims { b, t, h, k_heads, d, window } = case.dims;
    let [mut k_cache, mut v_cache] = [(); 2].map(|_| vec![E::ZERO; b * capacity * k_heads * d]);
    let mut whole = vec![E::from_f32(f32::NAN); case.q.len()];
    for cut in cuts.windows(2) {
        let (from, to) = (cut[0], cut[1]);
        let dims = CacheDims { b, t: to - from, capacity, h, k_heads, d, window };
        let start = vec![from as i32; b];
        for (cache, new) in [(&mut k_cache, &case.k), (&mut v_cache, &case.v)] {
            cache_write(cx, cache, &positions(new, t, k_heads * d, from, to), &start, &dims);
        }
        let q = positions(&case.q, t, h * d, from, to);
        let mut out = vec![E::from_f32(f32::NAN); q.len()];
        let mut scratch = vec![f32::NAN; cached_scratch_len::<E>(cx, &dims)];
        cached(cx, &q, &k_cache, &v_cache, &start, &dims, &mut out, &mut scratch);
        for (row, part) in whole.chunks_mut(t * h * d).zip(out.chunks((to - from).max(1) * h * d)) {
            row[from * h * d..to * h * d].copy_from_slice(part);
        }
    }
    whole
}

#[test]
fn rows_start_where_they_say() {
    rows_start_where_they_say_in::<f32>();
    rows_start_where_they_say_in::<bf16>();
}

fn rows_start_where_they_say_in<E: Attend>() {
    // Row b of the cache attention at start[b] is the whole sequence's attention at those positions.
    let dims = Dims { b: 3, t: 200, h: 4, k_heads: 2, d: 24, window: 90 };
    let case = Case::<E>::new(dims, 5, 1.0);
    let width = dims.k_heads * dims.d;
    for isa in Isa::available() {
        let cx = Context::new(isa, 2);
        let want = run(&cx, &case).out;
        for t in [1, 3, 20, 70] {
            let start = [0i32, 130, 57];
            let cache = CacheDims { b: 3, t, capacity: 200, h: 4, k_heads: 2, d: 24, window: 90 };
            let pick = |x: &[E], width: usize| -> Vec<E> {
                (0..3)
                    .flat_map(|b| x[(b * 200 + start[b] as usize) * width..][..t * width].to_vec())
                    .collect()
            };
            let [mut k_cache, mut v_cache] = [&case.k, &case.v].map(|x| {
                let mut cache = vec![E::ZERO; x.len()];
                for b in 0..3 {
                    let old = b * 200 * width..(b * 200 + start[b] as usize) * width;
                    cache[old.clone()].copy_from_slice(&x[old]);
                }
                cache
            });
            cache_write(&cx, &mut k_cache, &pick(&case.k, width), &start, &cache);
            cache_write(&cx, &mut v_cache, &pick(&case.v, width), &start, &cache);
            let q = pick(&case.q, 96);
            let mut out = vec![E::from_f32(f32::NAN); q.len()];
            let mut scratch = vec![f32::NAN; cached_scratch_len::<E>(&cx, &cache)];
            cached(&cx, &q, &k_cache, &v_cache, &start, &cache, &mut out, &mut scratch);
            let want = pick(&want, 96);
            let near = |(a, b): (&E, &E)| (a.to_f32() - b.to_f32()).abs() <= apart::<E>();
            assert!(out.iter().zip(&want).all(near), "{isa} t={t}");
        }
    }
}

#[test]
fn positions_beyond_the_capacity_are_skipped_and_stay_finite() {
    positions_beyond_the_capacity_in::<f32>();
    positions_beyond_the_capacity_in::<bf16>();
}

fn positions_beyond_the_capacity_in<E: Attend>() {
    for t in [1, 6, 40] {
        let dims = CacheDims { b: 2, t, capacity: 10, h: 2, k_heads: 1, d: 5, window: 3 };
        let new = values::<E>(1, 2 * t * 5, 1.0);
        let q = values::<E>(2, 2 * t * 10, 1.0);
        let half = E::from_f32(0.5);
        for isa in Isa::available() {
            for start in [[7, 30], [9, i32::MAX], [10, 0]] {
                let cx = Context::new(isa, 2);
                let mut cache = vec![half; 100];
                cache_write(&cx, &mut cache, &new, &start, &dims);
                for (b, row) in cache.chunks(50).enumerate() {
                    for (i, &value) in row.iter().enumerate() {
                        let from = (i as i64) - start[b] as i64 * 5;
                        let written = (0..t as i64 * 5).contains(&from);
                        let want = if written { new[b * t * 5 + from as usize] } else { half };
                        assert_eq!(value.to_f32(), want.to_f32(), "row {b} value {i}");
                    }
                }
                let mut out = vec![E::from_f32(f32::NAN); q.len()];
                let mut scratch = vec![f32::NAN; cached_scratch_len::<E>(&cx, &dims)];
                cached(&cx, &q, &cache, &cache, &start, &dims, &mut out, &mut scratch);
                let finite = out.iter().all(|x| x.to_f32().is_finite());
                assert!(finite, "{isa} t={t} start={start:?}");
            }
        }
    }
}

#[test]
fn long_sequences_with_large_scores_stay_exact() {
    let dims = Dims { b: 1, t: 700, h: 2, k_heads: 1, d: 64, window: usize::MAX };
    let case = Case::<f32>::new(dims, 9, 6.0);
    for isa in Isa::available() {
        let got = run(&Context::new(isa, 3), &case);
        let [out, _, _, _, dv] = naive(&case, Errors::default()).map(|exact| exact.value);
        assert_close("out", &got.out, &out, 2e-6 + case.score_error);
        assert_close("dv", &got.dv, &dv, 5e-6 + case.score_error);
    }
}

#[test]
fn bf16_scores_far_above_and_below_the_first_ones_are_weighed_right() {
    // Scores reach hundreds, so that sums leave every base behind, in most tiles.
    for (window, d) in [(usize::MAX, 64), (150, 80), (40, 33)] {
        let dims = Dims { b: 1, t: 500, h: 2, k_heads: 1, d, window };
        let case = Case::<bf16>::new(dims, 9, 12.0);
        let exact = naive(&case, bf16_errors(&case));
        for isa in Isa::available() {
            assert_bf16_right(isa, 2, &case, &exact);
        }
    }
}

#[test]
fn bf16_heads_of_usual_sizes_follow_the_formulas() {
    for (d, h, k_heads, window) in
        [(32, 4, 2, 100), (64, 2, 2, usize::MAX), (80, 3, 1, 200), (128, 2, 1, usize::MAX)]
    {
        // More heads than two threads have under way at a time, so that sums take the place of older ones.
        let dims = Dims { b: 5, t: 197, h, k_heads, d, window };
        let case = Case::<bf16>::new(dims, 3, 2.0);
        let exact = naive(&case, bf16_errors(&case));
        for isa in Isa::available() {
            assert_bf16_right(isa, 2, &case, &exact);
        }
    }
}
