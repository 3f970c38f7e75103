//! Branch mixing learns which branch is worth something.

use kiln_cpu::{Context, Cpu, Isa};
use kiln_graph::ops::{Mixing, Sinkhorn};
use kiln_graph::{Executor, Feed, Graph, GraphError, TensorType, ValueId, differentiate};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::common::uniform;

const ROWS: usize = 96;
const WIDTH: usize = 32;
const HIDDEN: usize = 8;
const STEPS: usize = 300;

/// Mixes two branches `[1, ROWS, WIDTH]` by weights of two matrices.
type Mix = fn(&mut Graph, &[ValueId; 2], (ValueId, ValueId)) -> Result<ValueId, GraphError>;

fn sinkhorn() -> Sinkhorn {
    Sinkhorn { iters: 5, epsilon: 1e-6 }
}

/// As models do.
fn bilinear(g: &mut Graph, b: &[ValueId; 2], w: (ValueId, ValueId)) -> Result<ValueId, GraphError> {
    g.mix_branches(b, w, &Mixing { temperature: 1.0, sinkhorn: sinkhorn(), alpha: 1.0 })
}

/// `S_ij = l_i + l_j`, of one number for each branch: as a product of vectors `[l, 1]` and `[1, l]`.
fn rank_one(g: &mut Graph, b: &[ValueId; 2], w: (ValueId, ValueId)) -> Result<ValueId, GraphError> {
    let ones = g.constant(1.0, &[1, ROWS, 1]);
    let (mut u, mut images) = (Vec::new(), Vec::new());
    for &branch in b {
        let projected = g.linear(branch, w.0)?;
        let vector = g.tanh(projected)?;
        let score = g.linear(vector, w.1)?;
        let score = g.slice_last(score, 0, 1)?;
        u.push(g.concat(score, ones)?);
        images.push(g.concat(ones, score)?);
    }
    let scores = g.branch_scores(&u, &images, 1.0)?;
    let weights = g.sinkhorn(scores, sinkhorn())?;
    g.branch_mix(weights, b, 1.0)
}

/// Learns to yield the second of two branches, the first being noise; returns the weight that noise is left with, on average.
fn weight_of_noise(mix: Mix) -> f32 {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let noise: Vec<f32> = (0..ROWS * WIDTH).map(|_| uniform(&mut rng)).collect();
    // What is no noise has a direction.
    let signal: Vec<f32> = (0..ROWS * WIDTH)
        .map(|i| 0.4 * uniform(&mut rng) + if i % 2 == 0 { 0.6 } else { -0.6 })
        .collect();
    let mut cpu = Cpu::new(Context::new(Isa::detect(), 1));
    let (project, mixed) = (TensorType::f32(&[HIDDEN, WIDTH]), TensorType::f32(&[HIDDEN, HIDDEN]));
    let values: Vec<f32> = (0..project.len()).map(|_| 0.3 * uniform(&mut rng)).collect();
    cpu.write("project", project, &values).unwrap();
    cpu.write("mix", mixed, &vec![0.0; mixed.len()]).unwrap();

    let mut g = Graph::new();
    let ty = TensorType::f32(&[1, ROWS, WIDTH]);
    let branches = [g.input("noise", ty), g.input("signal", ty)];
    let weights = [g.variable("project", project), g.variable("mix", mixed)];
    let out = mix(&mut g, &branches, (weights[0], weights[1])).unwrap();
    let off = g.sub(out, branches[1]).unwrap();
    let square = g.mul(off, off).unwrap();
    let loss = g.sum(square).unwrap();
    let gradients = differentiate(&mut g, loss, &weights).unwrap();
    for (weight, gradient) in weights.into_iter().zip(gradients) {
        let step = g.scale(gradient, 0.01).unwrap();
        let moved = g.sub(weight, step).unwrap();
        g.update(weight, moved).unwrap();
    }
    // The weights are what the mixture was made with.
    let p = g.producer(out).inputs[0];
    g.output("weights", p);
    let program = cpu.prepare(&g).unwrap();
    for _ in 0..STEPS {
        cpu.run(program, &[Feed::F32(&noise), Feed::F32(&signal)]).unwrap();
    }
    let found = cpu.output(program, 0).chunks_exact(4).map(|p| p[0]);
    found.sum::<f32>() / ROWS as f32
}

#[test]
fn weights_move_away_from_a_branch_that_is_noise() {
    let left = weight_of_noise(bilinear);
    assert!(left < 0.1, "noise has a weight of {left}");
}

/// Why scores are no sums of one number for each branch: rows and columns normalised, these come out equal whatever is
/// learned.
#[test]
fn scores_of_rank_one_learn_nothing() {
    let left = weight_of_noise(rank_one);
    assert!((left - 0.5).abs() < 1e-3, "noise has a weight of {left}");
}
