//! Ops of generation.

use kiln_cpu::Isa;
use kiln_graph::ops::{CausalMeanCached, Logits};
use kiln_graph::{Feed, Graph, GraphError, TensorType};

use crate::common::{Random, assert_close, run};
use crate::wide;

/// `[B, T, H, D]` as nested indices.
struct Heads<'a> {
    values: &'a [f32],
    dims: [usize; 4],
}

impl Heads<'_> {
    fn row(&self, b: usize, t: usize, h: usize) -> &[f32] {
        let [_, tokens, heads, d] = self.dims;
        &self.values[((b * tokens + t) * heads + h) * d..][..d]
    }
}

pub fn cache_write(isa: Isa) -> Result<(), GraphError> {
    let (b, capacity, t, k, d) = (3, 7, 4, 2, 5);
    let mut random = Random(11);
    let cache = random.values(b * capacity * k * d, 1.0);
    let new = random.values(b * t * k * d, 1.0);
    // The last row's entries do not all fit.
    let start = [0, 2, 5];
    let ty = TensorType::f32(&[b, capacity, k, d]);
    let mut g = Graph::new();
    let cv = g.variable("cache", ty);
    let nv = g.input("new", TensorType::f32(&[b, t, k, d]));
    let sv = g.input("start", TensorType::i32(&[b]));
    let written = g.cache_write(cv, nv, sv)?;
    g.update(cv, written)?;
    g.output("cache", written);
    let mut wanted = cache.clone();
    for (row, &first) in start.iter().enumerate() {
        for at in 0..t.min(capacity - first as usize) {
            let to = (row * capacity + first as usize + at) * k * d;
            let from = (row * t + at) * k * d;
            wanted[to..to + k * d].copy_from_slice(&new[from..from + k * d]);
        }
    }
    let feeds = [Feed::F32(&new), Feed::I32(&start)];
    assert_eq!(run(isa, &g, &[("cache", &cache)], &feeds)[0], wanted);
    Ok(())
}

/// Attention of one query over the keys `0 <= i - j <= window` of head `h`.
fn attend(
    q: &[f32],
    i: usize,
    window: usize,
    k: &Heads,
    v: &Heads,
    (b, h): (usize, usize),
) -> Vec<f64> {
    let keys = i.saturating_sub(window)..i + 1;
    let dot = |x: &[f32]| q.iter().zip(x).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let weights: Vec<f64> =
        keys.clone().map(|j| (dot(k.row(b, j, h)) / (q.len() as f64).sqrt()).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mut out = vec![0.0; q.len()];
    for (j, weight) in keys.zip(weights) {
        let add = |(o, x): (&mut f64, &f32)| *o += weight / total * f64::from(*x);
        out.iter_mut().zip(v.row(b, j, h)).for_each(add);
    }
    out
}

/// Prefill of many tokens and a step of few, over rows that begin at positions of their own: both agree with plain code,
/// and with uncached attention over the same keys.
pub fn attention_cached(isa: Isa) -> Result<(), GraphError> {
    let (b, capacity, h, kh, d) = (2, 53, 4, 2, 6);
    let mut random = Random(12);
    let k = random.values(b * capacity * kh * d, 1.5);
    let v = random.values(b * capacity * kh * d, 1.5);
    let cache = TensorType::f32(&[b, capacity, kh, d]);
    let all = random.values(b * capacity * h * d, 1.5);
    let queries = Heads { values: &all, dims: [b, capacity, h, d] };
    for window in [capacity, 9] {
        let mut g = Graph::new();
        let q = g.input("q", TensorType::f32(&[b, capacity, h, d]));
        let (kv, vv) = (g.input("k", cache), g.input("v", cache));
        let out = g.attention(q, kv, vv, window)?;
        g.output("out", out);
        let feeds = [Feed::F32(&all), Feed::F32(&k), Feed::F32(&v)];
        let uncached = run(isa, &g, &[], &feeds).remove(0);
        for (t, start) in [(1, [0, 52]), (3, [17, 4]), (37, [16, 0])] {
            let mut g = Graph::new();
            let q = g.input("q", TensorType::f32(&[b, t, h, d]));
            let (kv, vv) = (g.input("k", cache), g.input("v", cache));
            let sv = g.input("start", TensorType::i32(&[b]));
            let out = g.attention_cached(q, (kv, vv), sv, window)?;
            g.output("out", out);
            let (mut some, mut plain, mut same) = (Vec::new(), Vec::new(), Vec::new());
            for (row, &first) in start.iter().enumerate() {
                for at in 0..t {
                    for head in 0..h {
                        let i = first as usize + at;
                        let q = queries.row(row, i, head);
                        some.extend_from_slice(q);
                        let place = (row, head / (h / kh));
                        let dims = [b, capacity, kh, d];
                        let (keys, values) =
                            (Heads { values: &k, dims }, Heads { values: &v, dims });
                        plain.extend(attend(q, i, window, &keys, &values, place));
                        let first = ((row * capacity + i) * h + head) * d;
                        same.extend(wide(&uncached[first..first + d]));
                    }
                }
            }
            let feeds = [Feed::F32(&some), Feed::F32(&k), Feed::F32(&v), Feed::I32(&start)];
            let found = run(isa, &g, &[], &feeds).remove(0);
            assert_close("attention_cached", &found, &plain, 5e-6);
            assert_close("attention_cached beside attention", &found, &same, 5e-6);
        }
    }
    Ok(())
}

pub fn time_steps(isa: Isa) -> Result<(), GraphError> {
    let (b, t, c) = (2, 5, 7);
    let x = Random(13).values(b * t * c, 1.0);
    let index = [4, 1];
    let mut g = Graph::new();
    let xv = g.input("x", TensorType::f32(&[b, t, c]));
    let iv = g.input("index", TensorType::i32(&[b]));
    let selected = g.select_time(xv, iv)?;
    g.output("selected", selected);
    let row = |row: usize| &x[(row * t + index[row] as usize) * c..][..c];
    let feeds = [Feed::F32(&x), Feed::I32(&index)];
    assert_eq!(run(isa, &g, &[], &feeds), [[row(0), row(1)].concat()]);
    Ok(())
}

/// Caches of single values: what they yield is what whole sequences yield at these positions, to the bit.
pub fn values_cached(isa: Isa) -> Result<(), GraphError> {
    let (b, capacity, t, c) = (3, 9, 4, 19);
    let cache = Random(16).values(b * capacity * c, 1.0);
    let start = [0, 2, 5];
    for order in [1, 3, 7] {
        let mut g = Graph::new();
        let whole = g.input("whole", TensorType::f32(&[b, capacity, c]));
        let held = g.reshape(whole, &[b, capacity, 1, c])?;
        let from = g.input("start", TensorType::i32(&[b]));
        let shifted = g.shift_time_cached(held, from, t)?;
        let means = g.causal_mean_cached(held, from, CausalMeanCached { order, tokens: t })?;
        let (all_shifted, all_means) = (g.shift_time(whole)?, g.causal_mean(whole, order)?);
        [shifted, means, all_shifted, all_means].iter().for_each(|v| g.output("out", *v));
        let found = run(isa, &g, &[], &[Feed::F32(&cache), Feed::I32(&start)]);
        for (some, all) in [(0, 2), (1, 3)] {
            for (row, first) in start.iter().enumerate() {
                let at = (row * capacity + *first as usize) * c;
                assert_eq!(found[some][row * t * c..][..t * c], found[all][at..][..t * c]);
            }
        }
    }
    Ok(())
}

pub fn next_ids(isa: Isa) -> Result<(), GraphError> {
    let mut g = Graph::new();
    let ids = g.input("ids", TensorType::i32(&[2, 3]));
    let table = g.input("table", TensorType::f32(&[10, 1]));
    let next = g.next_ids(ids, 9)?;
    let looked_up = g.embed(table, next)?;
    g.output("next", looked_up);
    let table: Vec<f32> = (0..10).map(|i| i as f32).collect();
    let feeds = [Feed::I32(&[1, 2, 3, 4, 5, 6]), Feed::F32(&table)];
    assert_eq!(run(isa, &g, &[], &feeds), [[2.0, 3.0, 9.0, 5.0, 6.0, 9.0]]);
    Ok(())
}

pub fn logits(isa: Isa) -> Result<(), GraphError> {
    for (n, c, vocab, padded, softcap) in [(1, 33, 131, 192, 15.0), (5, 9, 61, 64, 2.0)] {
        let mut random = Random(14);
        let (x, w) = (random.values(n * c, 1.0), random.values(padded * c, 1.0));
        let mut g = Graph::new();
        let xv = g.input("x", TensorType::f32(&[n, c]));
        let wv = g.variable("w", TensorType::f32(&[padded, c]));
        let out = g.push(Logits { vocab, softcap }, &[xv, wv])?[0];
        g.output("logits", out);
        let cap = f64::from(softcap);
        let mut wanted = Vec::new();
        for row in x.chunks_exact(c) {
            for token in w.chunks_exact(c).take(vocab) {
                let z: f64 =
                    row.iter().zip(token).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                wanted.push(cap * (z / cap).tanh());
            }
        }
        let found = run(isa, &g, &[("w", &w)], &[Feed::F32(&x)]).remove(0);
        assert_close("logits", &found, &wanted, 3e-6);
    }
    Ok(())
}

/// Rotations from given positions on, far ones too, and from zero; two rows begin at the same one.
pub fn positions(isa: Isa) -> Result<(), GraphError> {
    let (b, t, h, d, base) = (3, 5, 2, 10, 10_000.0);
    let x = Random(15).values(b * t * h * d, 1.0);
    let dims = [b, t, h, d];
    for start in [[4000, 7, 4000], [0, 0, 0]] {
        let mut g = Graph::new();
        let xv = g.input("x", TensorType::f32(&dims));
        let given = g.input("start", TensorType::i32(&[b]));
        let zeros = g.zero_positions(b);
        let from = if start == [0; 3] { zeros } else { given };
        let rotated = g.rope(xv, from, base)?;
        let normed = g.rope_norm(xv, from, base, 1.2)?;
        let table = g.producer(rotated).inputs[1];
        [table, rotated, normed].iter().for_each(|v| g.output("out", *v));
        let mut wanted = [Vec::new(), Vec::new(), Vec::new()];
        let source = Heads { values: &x, dims };
        for (row, &first) in start.iter().enumerate() {
            for at in 0..t {
                let half = d / 2;
                let angle = |j: usize| {
                    let position = f64::from(first) + at as f64;
                    position / f64::from(base).powf(2.0 * j as f64 / d as f64)
                };
                wanted[0].extend((0..half).map(|j| angle(j).cos()));
                wanted[0].extend((0..half).map(|j| angle(j).sin()));
                for head in 0..h {
                    let x = wide(source.row(row, at, head));
                    let first = |j: usize| x[j] * angle(j).cos() + x[half + j] * angle(j).sin();
                    let second = |j: usize| x[half + j] * angle(j).cos() - x[j] * angle(j).sin();
                    let y: Vec<f64> = (0..half).map(first).chain((0..half).map(second)).collect();
                    let mean = y.iter().map(|v| v * v).sum::<f64>() / d as f64;
                    let r = 1.2 / (mean + 1.192_092_9e-7).sqrt();
                    wanted[2].extend(y.iter().map(|v| v * r));
                    wanted[1].extend(y);
                }
            }
        }
        let found = run(isa, &g, &[], &[Feed::F32(&x), Feed::I32(&start)]);
        for (found, wanted) in found.iter().zip(&wanted) {
            assert_close("rope", found, wanted, 1e-6);
        }
    }
    Ok(())
}
