mod cached;
mod naive;
mod select;
mod values;

use super::*;
use crate::{Context, Isa};
use naive::Case;

/// Numbers without pattern.
pub(super) struct Noise(pub u64);

impl Noise {
    pub fn next(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / (1u64 << 23) as f64 - 1.0
    }

    /// Values between -scale and scale as the element type has them.
    pub fn values<E: Sparse>(&mut self, n: usize, scale: f64) -> Vec<f64> {
        (0..n).map(|_| f64::from(E::from_f32((scale * self.next()) as f32).to_f32())).collect()
    }
}

fn dims(
    [b, t, h, k_heads, d]: [usize; 5],
    [heads, width]: [usize; 2],
    [local, top_k]: [usize; 2],
) -> Dims {
    Dims { b, t, positions: t, h, k_heads, d, heads, width, local, top_k }
}

fn case<E: Sparse>(dims: Dims, seed: u64) -> Case {
    let mut noise = Noise(seed);
    let Dims { b, t, positions, h, k_heads, d, heads, width, .. } = dims;
    Case {
        dims,
        q: noise.values::<E>(b * t * h * d, 1.5),
        k: noise.values::<E>(b * positions * k_heads * d, 1.5),
        v: noise.values::<E>(b * positions * k_heads * d, 1.0),
        iq: noise.values::<E>(b * t * heads * width, 1.0),
        ik: noise.values::<E>(b * positions * width, 1.0),
        iw: noise.values::<f32>(b * t * heads, 1.0),
        dout: noise.values::<E>(b * t * h * d, 1.0),
    }
}

fn elements<E: Sparse>(x: &[f64]) -> Vec<E> {
    x.iter().map(|&x| E::from_f32(x as f32)).collect()
}

fn floats<E: Sparse>(x: &[E]) -> Vec<f64> {
    x.iter().map(|x| f64::from(x.to_f32())).collect()
}

/// What a run makes.
#[derive(Clone, PartialEq, Debug)]
struct Run<E> {
    out: Vec<E>,
    lse: Vec<f32>,
    threshold: Vec<f32>,
    boundary: Vec<i32>,
    /// Of q, k, v, iq, ik.
    grads: [Vec<E>; 5],
    /// Of iw.
    dw: Vec<f32>,
}

/// The inputs of a case as elements: q, k, v, iq, ik, dout, iw.
struct Elements<E>([Vec<E>; 6], Vec<f32>);

impl<E: Sparse> Elements<E> {
    fn new(case: &Case) -> Self {
        let all = [&case.q, &case.k, &case.v, &case.iq, &case.ik, &case.dout];
        Elements(all.map(|x| elements(x)), case.iw.iter().map(|&x| x as f32).collect())
    }

    fn inputs(&self) -> Inputs<'_, E> {
        let [q, k, v, iq, ik, _] = &self.0;
        Inputs { q, k, v, indexer: Indexer { q: iq, k: ik, w: &self.1 } }
    }
}

/// Forward and backward pass. Memory starts as NaN: none of it may be read before it is set.
fn run<E: Sparse>(cx: &Context, x: &Elements<E>, dims: &Dims) -> Run<E> {
    let Dims { b, t, h, .. } = *dims;
    let like = |x: &Vec<E>| vec![E::from_f32(f32::NAN); x.len()];
    let [q, k, v, iq, ik, dout] = &x.0;
    let mut run = Run {
        out: like(q),
        lse: vec![f32::NAN; b * h * t],
        threshold: vec![f32::NAN; b * t],
        boundary: vec![-1; b * t],
        grads: [like(q), like(k), like(v), like(iq), like(ik)],
        dw: vec![f32::NAN; x.1.len()],
    };
    let len = forward_scratch_len::<E>(cx, dims).max(backward_scratch_len::<E>(cx, dims));
    let mut scratch = vec![f32::NAN; len];
    let Run { out, lse, threshold, boundary, .. } = &mut run;
    forward(cx, &x.inputs(), dims, Outputs { out, lse, threshold, boundary }, &mut scratch);
    scratch.fill(f32::NAN);
    let Run { out, lse, threshold, boundary, grads, dw } = &mut run;
    let saved = Saved { out, lse, threshold, boundary, dout };
    let [q, k, v, indexer_q, indexer_k] = grads;
    let to = Gradients { q, k, v, indexer_q, indexer_k, indexer_w: dw };
    backward(cx, &x.inputs(), &saved, dims, to, &mut scratch);
    run
}

/// The indexer's scores as they are computed.
fn scores<E: Sparse>(cx: &Context, x: &Elements<E>, dims: &Dims) -> Vec<f32> {
    let mut out = vec![f32::NAN; dims.b * dims.t * dims.t];
    let mut scratch = vec![f32::NAN; scores_scratch_len::<E>(cx, dims)];
    indexer_scores(cx, &x.inputs().indexer, dims, &mut out, &mut scratch);
    out
}

/// Sizes that are multiples of nothing, fewer key/value heads, local windows of one key and of all; and several blocks.
fn sizes() -> Vec<Dims> {
    vec![
        dims([2, 37, 4, 2, 10], [3, 5], [3, 9]),
        dims([1, 70, 2, 2, 24], [1, 8], [1, 5]),
        dims([1, 150, 3, 1, 40], [16, 32], [7, 7]),
        dims([1, 131, 2, 1, 64], [5, 33], [9, 200]),
        dims([2, 300, 2, 1, 16], [4, 6], [1, 40]),
        dims([1, 1100, 1, 1, 8], [2, 4], [16, 60]),
        dims([1, 40, 1, 1, 8], [35, 4], [2, 8]),
        dims([1, 300, 4, 2, 136], [2, 4], [3, 30]),
        dims([2, 60, 1, 1, 200], [2, 4], [3, 20]),
        dims([1, 1, 2, 1, 3], [2, 3], [1, 1]),
    ]
}

#[track_caller]
fn assert_close(what: &str, found: &[f64], wanted: &[f64], tolerance: f64) {
    assert_eq!(found.len(), wanted.len(), "{what}: length");
    let size = wanted.iter().map(|w| w * w).sum::<f64>().sqrt();
    let off = found.iter().zip(wanted).map(|(f, w)| (f - w) * (f - w)).sum::<f64>().sqrt();
    if size == 0.0 {
        // A softmax over one key has no gradient: what is left is the rounding of terms of about 1.
        return assert!(off <= 4.0 * f64::from(f32::EPSILON), "{what}: {off:.2e}, not 0");
    }
    assert!(off <= tolerance * size.max(1e-6), "{what}: off by {:.2e}", off / size);
}
