//! A case for every op with a derivative, at sizes that fit no vector and no tile.

use kiln_graph::ops::{
    DotAt, Dropout, Expand, Indexer, LinearCrossEntropy, PadLast, Reduction, Rope, Selection,
    ShiftTime, Sinkhorn,
};
use kiln_graph::{Graph, GraphError, Shape, ValueId};

use crate::check::{Argument, Case};
use crate::common::Random;

/// Draws arguments.
struct Draw(Random);

impl Draw {
    fn f32(&mut self, dims: &[usize], bound: f32) -> Argument {
        Argument::F32(dims.to_vec(), self.0.values(dims.iter().product(), bound))
    }

    /// Values at least 0.3 away from 0, where relu has its kink.
    fn off_zero(&mut self, dims: &[usize]) -> Argument {
        let mut value = || {
            let v = self.0.value(1.0);
            v + 0.3 * v.signum()
        };
        Argument::F32(dims.to_vec(), (0..dims.iter().product()).map(|_| value()).collect())
    }

    /// Values from 0.3 to 1.3: lambdas under which parts do not cancel, since a norm near 0 has no use for differences.
    fn positive(&mut self, dims: &[usize]) -> Argument {
        let values = (0..dims.iter().product()).map(|_| 0.3 + self.0.value(1.0).abs()).collect();
        Argument::F32(dims.to_vec(), values)
    }

    fn i32(&mut self, dims: &[usize], below: usize) -> Argument {
        Argument::I32(dims.to_vec(), self.0.ids(dims.iter().product(), below))
    }

    /// x `[n, k]` and w `[m, k]` such that no entry of x wᵀ is near 0.
    fn products_off_zero(&mut self, n: usize, m: usize, k: usize) -> [Argument; 2] {
        let x = self.0.values(n * k, 1.0);
        let mut w = Vec::new();
        while w.len() < m * k {
            let row = self.0.values(k, 1.0);
            let dot = |x: &[f32]| x.iter().zip(&row).map(|(x, w)| x * w).sum::<f32>();
            if x.chunks_exact(k).all(|x| dot(x).abs() > 0.15) {
                w.extend(row);
            }
        }
        [Argument::F32(vec![n, k], x), Argument::F32(vec![m, k], w)]
    }
}

/// All cases.
pub fn all() -> Vec<Case> {
    let mut draw = Draw(Random(7));
    let mut cases = elementwise(&mut draw);
    cases.extend(reductions(&mut draw));
    cases.extend(structure(&mut draw));
    cases.extend(products(&mut draw));
    cases.extend(transformer(&mut draw));
    cases.extend(attention(&mut draw));
    cases.extend(branches(&mut draw));
    cases.extend(sparse(&mut draw));
    cases.extend(losses(&mut draw));
    cases.extend(shared(&mut draw));
    cases
}

fn elementwise(d: &mut Draw) -> Vec<Case> {
    let s = [3, 37];
    let mut pair = || vec![d.f32(&s, 1.5), d.f32(&s, 1.5)];
    let mut cases = vec![
        Case::new("add", pair(), |g, a| g.add(a[0], a[1])),
        Case::new("sub", pair(), |g, a| g.sub(a[0], a[1])),
        Case::new("mul", pair(), |g, a| g.mul(a[0], a[1])),
        Case::new("swiglu", pair(), |g, a| g.swiglu(a[0], a[1])),
    ];
    cases.extend([
        Case::new("scale", vec![d.f32(&s, 1.0)], |g, a| g.scale(a[0], -1.7)),
        Case::new("sigmoid", vec![d.f32(&s, 4.0)], |g, a| g.sigmoid(a[0])),
        Case::new("tanh", vec![d.f32(&s, 2.0)], |g, a| g.tanh(a[0])),
        Case::new("relu_squared", vec![d.off_zero(&s)], |g, a| g.relu_squared(a[0])),
        Case::new("scale_by_scalar", vec![d.f32(&s, 1.0), d.off_zero(&[5])], |g, a| {
            g.scale_by_scalar(a[0], a[1], 3)
        }),
    ]);
    for (rows, width, scale) in [(6, 7, 3.0), (35, 19, 1.0)] {
        let arguments =
            vec![d.f32(&[rows, width], 1.0), d.f32(&[rows, width], 1.0), d.f32(&[rows], 2.0)];
        cases.push(Case::new("gated_add", arguments, move |g, a| {
            g.gated_add(a[0], a[1], a[2], scale)
        }));
    }
    cases
}

fn reductions(d: &mut Draw) -> Vec<Case> {
    let mut cases = Vec::new();
    // The longest is cut into parts whose sums are added.
    for n in [1, 131, 16_421] {
        cases.push(Case::new(format!("sum {n}"), vec![d.f32(&[n], 1.0)], |g, a| g.sum(a[0])));
        let pair = vec![d.f32(&[n], 1.0), d.f32(&[n], 1.0)];
        cases.push(Case::new(format!("dot_at {n}"), pair, |g, a| {
            Ok(g.push(DotAt { index: 2, len: 3 }, &[a[0], a[1]])?[0])
        }));
        let lambdas = [d.off_zero(&[4]), d.off_zero(&[4])];
        let [p, q] = lambdas;
        let arguments = vec![d.f32(&[n], 1.0), p, d.f32(&[n], 1.0), q];
        cases.push(Case::new(format!("blend {n}"), arguments, |g, a| {
            g.blend((a[0], a[1]), (a[2], a[3]), 2)
        }));
    }
    cases
}

fn structure(d: &mut Draw) -> Vec<Case> {
    let x = |d: &mut Draw| vec![d.f32(&[2, 5, 7], 1.0)];
    vec![
        Case::new("expand", vec![d.off_zero(&[1])], |g, a| {
            Ok(g.push(Expand { shape: Shape::new(&[3, 41]) }, &[a[0]])?[0])
        }),
        Case::new("slice_last", x(d), |g, a| g.slice_last(a[0], 2, 4)),
        Case::new(
            "pad_last",
            x(d),
            |g, a| Ok(g.push(PadLast { start: 3, width: 11 }, &[a[0]])?[0]),
        ),
        Case::new("concat", vec![d.f32(&[2, 5, 7], 1.0), d.f32(&[2, 5, 18], 1.0)], |g, a| {
            g.concat(a[0], a[1])
        }),
        Case::new(
            "dropout",
            vec![d.f32(&[3, 61], 1.0), Argument::I32(vec![2], vec![-5, 77])],
            |g, a| g.dropout(a[0], a[1], Dropout { rate: 0.4, salt: 3 }),
        ),
        Case::new("shift_time", x(d), |g, a| g.shift_time(a[0])),
        Case::new("causal_mean", x(d), |g, a| g.causal_mean(a[0], 3)),
        Case::new("causal_mean longer than the rows", x(d), |g, a| g.causal_mean(a[0], 9)),
        Case::new(
            "shift_time back",
            x(d),
            |g, a| Ok(g.push(ShiftTime { back: true }, &[a[0]])?[0]),
        ),
        Case::new("reshape", x(d), |g, a| {
            let x = g.reshape(a[0], &[5, 14])?;
            let y = g.tanh(x)?;
            g.reshape(y, &[70])
        }),
    ]
}

fn products(d: &mut Draw) -> Vec<Case> {
    let mut cases = Vec::new();
    for (n, m, k) in [(13, 19, 11), (70, 49, 65), (1, 33, 5)] {
        let size = format!("{n}x{m}x{k}");
        let arguments = vec![d.f32(&[n, k], 1.0), d.f32(&[m, k], 1.0)];
        cases.push(Case::new(format!("linear {size}"), arguments, |g, a| g.linear(a[0], a[1])));
        let arguments = vec![d.f32(&[n, k], 1.0), d.f32(&[m, k], 1.0), d.f32(&[n, m], 1.0)];
        cases.push(Case::new(format!("linear_residual {size}"), arguments, |g, a| {
            g.linear_residual(a[0], a[1], a[2])
        }));
    }
    for (n, m, k) in [(13, 19, 11), (5, 35, 7)] {
        let arguments = d.products_off_zero(n, m, k).to_vec();
        cases.push(Case::new(format!("linear_relu_squared {n}x{m}x{k}"), arguments, |g, a| {
            g.linear_relu_squared(a[0], a[1])
        }));
    }
    // The gradient of the hidden layer goes through relu² as it is made.
    for (n, m, k) in [(13, 19, 11), (5, 35, 7)] {
        let mut arguments = d.products_off_zero(n, m, k).to_vec();
        arguments.extend([d.f32(&[9, m], 1.0), d.f32(&[n, 9], 1.0)]);
        cases.push(Case::new(format!("mlp {n}x{m}x{k}"), arguments, |g, a| {
            let hidden = g.linear_relu_squared(a[0], a[1])?;
            g.linear_residual(hidden, a[2], a[3])
        }));
    }
    let arguments = vec![d.f32(&[2, 3, 7], 1.0), d.f32(&[5, 7], 1.0)];
    cases.push(Case::new("linear of three axes", arguments, |g, a| g.linear(a[0], a[1])));
    cases
}

fn transformer(d: &mut Draw) -> Vec<Case> {
    let mut cases = vec![
        Case::new("rms_norm", vec![d.f32(&[5, 37], 1.0)], |g, a| g.rms_norm(a[0])),
        Case::new("rms_norm of three axes", vec![d.f32(&[3, 2, 6], 2.0)], |g, a| g.rms_norm(a[0])),
    ];
    // The second has more ids than rows, so that some occur twice, and more columns than a task takes.
    for (vocab, width, count) in [(11, 7, [2, 3]), (5, 67, [3, 4])] {
        let arguments = vec![d.f32(&[vocab, width], 1.0), d.i32(&count, vocab)];
        cases.push(Case::new(format!("embed {vocab}"), arguments, |g, a| g.embed(a[0], a[1])));
    }
    for (heads, head_dim) in [(3, 6), (2, 34)] {
        let dims = [2, 5, heads, head_dim];
        let start = Argument::I32(vec![2], vec![0, 13]);
        let mut arguments = || vec![d.f32(&dims, 1.0), start.clone()];
        cases.extend([
            Case::new("rope", arguments(), |g, a| g.rope(a[0], a[1], 100.0)),
            Case::new("rope inverse", arguments(), |g, a| {
                let forward = g.rope(a[0], a[1], 100.0)?;
                let table = g.producer(forward).inputs[1];
                Ok(g.push(Rope { inverse: true }, &[a[0], table])?[0])
            }),
            Case::new("rope_norm", arguments(), |g, a| g.rope_norm(a[0], a[1], 100.0, 1.2)),
        ]);
    }
    cases
}

fn attention(d: &mut Draw) -> Vec<Case> {
    // (B, T, H, K, D, window)
    let sizes = [
        (2, 37, 4, 2, 6, 36),
        (2, 37, 4, 2, 6, 5),
        (1, 9, 3, 3, 5, 0),
        (1, 70, 3, 1, 18, 1000),
        (1, 70, 2, 2, 9, 33),
        (3, 1, 2, 1, 4, 1),
    ];
    let case = |(b, t, h, k, hd, window): (usize, usize, usize, usize, usize, usize)| {
        let (q, kv) = ([b, t, h, hd], [b, t, k, hd]);
        let arguments = vec![d.f32(&q, 1.5), d.f32(&kv, 1.5), d.f32(&kv, 1.0)];
        Case::new(format!("attention {q:?} {k} {window}"), arguments, move |g, a| {
            g.attention(a[0], a[1], a[2], window)
        })
    };
    // A single position attends to itself alone: q and k have no gradient there.
    sizes.into_iter().filter(|s| s.1 > 1 && s.5 > 0).map(case).collect()
}

fn branches(d: &mut Draw) -> Vec<Case> {
    let mut cases = Vec::new();
    for (n, h, c) in [(2, 9, 21), (3, 33, 70)] {
        let arguments = (0..2 * n).map(|_| d.f32(&[2, 3, h], 1.0)).collect();
        cases.push(Case::new(format!("branch_scores of {n}"), arguments, move |g, a| {
            g.branch_scores(&a[..n], &a[n..], 0.7)
        }));
        for alpha in [1.0, 0.4] {
            let mut arguments = vec![d.f32(&[2, 3, n, n], 1.0)];
            arguments.extend((0..n).map(|_| d.f32(&[2, 3, c], 1.0)));
            let name = format!("branch_mix of {n}, {alpha}");
            cases.push(Case::new(name, arguments, move |g, a| g.branch_mix(a[0], &a[1..], alpha)));
        }
    }
    // The last has entries that are raised to epsilon.
    for (n, iters, epsilon, bound) in [(2, 3, 1e-6, 1.5), (3, 5, 1e-6, 2.0), (4, 2, 0.2, 3.0)] {
        let name = format!("sinkhorn {n}, {iters}, {epsilon}");
        let s = vec![apart_from_kinks(d, n, epsilon, bound)];
        cases.push(Case::new(name, s, move |g, a| g.sinkhorn(a[0], Sinkhorn { iters, epsilon })));
    }
    cases
}

/// Matrices in which no entry is near the largest of its row, nor near where it is raised to epsilon.
fn apart_from_kinks(d: &mut Draw, n: usize, epsilon: f32, bound: f32) -> Argument {
    let mut values: Vec<f32> = Vec::new();
    while values.len() < 3 * n * n {
        let row = d.0.values(n, bound);
        let max = row.iter().copied().fold(f32::MIN, f32::max);
        let tops = row.iter().filter(|x| max - **x < 0.4).count();
        if tops == 1 && row.iter().all(|x| (x - max - epsilon.ln()).abs() > 0.4) {
            values.extend(row);
        }
    }
    Argument::F32(vec![3, n, n], values)
}

/// Attention's selection depends on the indexer in steps: by its parts, there is nothing to take differences of.
fn sparse(d: &mut Draw) -> Vec<Case> {
    let (b, t, heads, width) = (2, 19, 3, 5);
    let mut fixed =
        |dims: &[usize]| Argument::Fixed(dims.to_vec(), d.0.values(dims.iter().product(), 1.0));
    let indexer = [fixed(&[b, t, heads, width]), fixed(&[b, t, width]), fixed(&[b, t, heads])];
    let qkv = [d.f32(&[b, t, 4, 6], 1.0), d.f32(&[b, t, 2, 6], 1.0), d.f32(&[b, t, 2, 6], 1.0)];
    let attention = qkv.into_iter().chain(indexer).collect();
    let [iq, ik] = d.products_off_zero(t * heads, t, width);
    let reshaped = |argument: Argument, dims: &[usize]| match argument {
        Argument::F32(_, values) => Argument::F32(dims.to_vec(), values),
        other => other,
    };
    let iq = reshaped(iq, &[1, t, heads, width]);
    let ik = reshaped(ik, &[1, t, width]);
    vec![
        Case::new("sparse_attention", attention, |g, a| {
            let indexer = Indexer { q: a[3], k: a[4], w: a[5] };
            g.sparse_attention((a[0], a[1], a[2]), indexer, Selection { local: 3, top_k: 8 })
        }),
        Case::new("indexer_scores", vec![iq, ik, d.f32(&[1, t, heads], 1.0)], |g, a| {
            g.indexer_scores(Indexer { q: a[0], k: a[1], w: a[2] })
        }),
    ]
}

fn losses(d: &mut Draw) -> Vec<Case> {
    let mut cases = Vec::new();
    for reduction in [Reduction::Mean, Reduction::PerToken] {
        for (n, c, vocab, padded, softcap) in
            [(5, 9, 37, 64, 15.0), (7, 5, 61, 61, 2.0), (19, 21, 157, 192, 15.0)]
        {
            let mut targets = d.0.ids(n, vocab);
            targets[1] = -1;
            targets[n - 1] = -1;
            let targets = Argument::I32(vec![n], targets);
            let arguments = vec![d.f32(&[n, c], 1.5), d.f32(&[padded, c], 1.5), targets];
            let op = LinearCrossEntropy { vocab, softcap, reduction };
            cases.push(Case::new(format!("{op:?}"), arguments, move |g, a| {
                g.linear_cross_entropy(a[0], a[1], a[2], op.clone())
            }));
        }
    }
    cases
}

/// Sum of the squares of two values: the gradient of neither is that of the other.
fn combine(g: &mut Graph, x: ValueId, y: ValueId) -> Result<ValueId, GraphError> {
    let x = g.mul(x, x)?;
    g.add(x, y)
}

/// Values used more than once, so that the gradient ops add onto what is already there.
fn shared(d: &mut Draw) -> Vec<Case> {
    let x = [2, 5, 7];
    let start = Argument::I32(vec![2], vec![2, 0]);
    let unary =
        |name: &str, x: Argument, f: fn(&mut Graph, ValueId) -> Result<ValueId, GraphError>| {
            Case::new(format!("{name}, shared"), vec![x], move |g, a| {
                let y = f(g, a[0])?;
                let z = f(g, a[0])?;
                combine(g, y, z)
            })
        };
    let square = |d: &mut Draw| vec![d.f32(&[6, 9], 1.0), d.f32(&[9, 9], 1.0)];
    let tied = vec![d.f32(&[13, 9], 1.0), d.i32(&[6], 11), d.i32(&[6], 11), d.i32(&[6], 11)];
    let lambdas = [d.positive(&[2]), d.positive(&[2])];
    let [p, q] = lambdas;
    vec![
        unary("rms_norm", d.f32(&x, 1.0), |g, x| g.rms_norm(x)),
        unary("shift_time", d.f32(&x, 1.0), |g, x| g.shift_time(x)),
        unary("slice_last", d.f32(&x, 1.0), |g, x| g.slice_last(x, 1, 5)),
        unary("tanh", d.f32(&x, 1.0), |g, x| g.tanh(x)),
        Case::new("slices of one", vec![d.f32(&[4, 9], 1.0)], |g, a| {
            let (y, z) = (g.slice_last(a[0], 0, 6)?, g.slice_last(a[0], 3, 6)?);
            combine(g, y, z)
        }),
        Case::new("weight used twice", square(d), |g, a| {
            let y = g.linear(a[0], a[1])?;
            let y = g.tanh(y)?;
            g.linear_residual(y, a[1], a[0])
        }),
        Case::new("one product's input in two products", square(d), |g, a| {
            let (y, z) = (g.linear(a[0], a[1])?, g.linear(a[0], a[1])?);
            combine(g, y, z)
        }),
        Case::new("residual stream", vec![d.f32(&x, 1.0), p, q], |g, a| {
            let x0 = g.rms_norm(a[0])?;
            let y = g.blend((x0, a[1]), (x0, a[2]), 0)?;
            let y = g.tanh(y)?;
            let z = g.blend((y, a[1]), (x0, a[2]), 1)?;
            let n = g.rms_norm(z)?;
            g.add(z, n)
        }),
        Case::new("tied embedding and output layer", tied, |g, a| {
            let (x, y) = (g.embed(a[0], a[1])?, g.embed(a[0], a[2])?);
            let x = combine(g, x, y)?;
            let op =
                LinearCrossEntropy { vocab: 11, softcap: 15.0, reduction: Reduction::PerToken };
            g.linear_cross_entropy(x, a[0], a[3], op)
        }),
        Case::new("attention of one value", vec![d.f32(&[2, 5, 2, 6], 1.0), start], |g, a| {
            let q = g.rope_norm(a[0], a[1], 100.0, 1.2)?;
            let k = g.rope_norm(a[0], a[1], 100.0, 1.0)?;
            g.attention(q, k, a[0], 3)
        }),
    ]
}
