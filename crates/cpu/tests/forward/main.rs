//! Ops without a derivative, against plain code in f64.

#[path = "../common/mod.rs"]
mod common;
mod generation;
mod optimizer;
mod sparse;

use std::collections::BTreeSet;

use kiln_cpu::Isa;
use kiln_graph::ops::{LinearCrossEntropy, Reduction};
use kiln_graph::{DType, Feed, Graph, GraphError, Plan, Step, TensorType, differentiate};

use common::ops::FORWARD_TESTED;
use common::{Random, assert_close, run, take_executed};

type Check = fn(Isa) -> Result<(), GraphError>;

const CHECKS: &[Check] = &[
    generation::cache_write,
    generation::attention_cached,
    generation::time_steps,
    generation::values_cached,
    generation::next_ids,
    generation::logits,
    generation::positions,
    sparse::attention_cached,
    leaves_and_slices,
    cast,
    accumulate,
    accumulation_in_gradients,
    optimizer::muon_momentum,
    optimizer::muon_orthogonalize,
    optimizer::muon_normalize,
    optimizer::cautious_decay,
    optimizer::adamw,
];

#[test]
fn ops_agree_with_plain_code() {
    for isa in Isa::available() {
        for check in CHECKS {
            check(isa).expect("the graph is sound");
        }
    }
}

#[test]
fn every_op_without_a_derivative_is_run() {
    take_executed();
    CHECKS.iter().for_each(|check| check(Isa::SCALAR).expect("the graph is sound"));
    let met = take_executed();
    let missing: BTreeSet<&str> =
        FORWARD_TESTED.iter().copied().filter(|name| !met.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().copied().map(f64::from).collect()
}

fn leaves_and_slices(isa: Isa) -> Result<(), GraphError> {
    let x = Random(16).values(5 * 7, 1.0);
    let mut g = Graph::new();
    let v = g.variable("x", TensorType::f32(&[5, 7]));
    let part = g.slice_leading(v, 1, 3)?;
    let inner = g.slice_leading(part, 1, 2)?;
    let doubled = g.scale(inner, 2.0)?;
    let constant = g.constant(-1.25, &[3, 43]);
    [part, doubled, constant].iter().for_each(|v| g.output("out", *v));
    let found = run(isa, &g, &[("x", &x)], &[]);
    assert_eq!(found[0], x[7..28]);
    assert_eq!(found[1], x[14..28].iter().map(|v| 2.0 * v).collect::<Vec<_>>());
    assert_eq!(found[2], vec![-1.25; 129]);
    Ok(())
}

/// bf16 holds the upper half of an f32, rounded to nearest, ties to even, so that all 16 bits are seen from outside.
fn cast(isa: Isa) -> Result<(), GraphError> {
    let mut x = Random(20).values(203, 3.0);
    x.extend([0.0, -0.0, 1.0, f32::MAX, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE]);
    // Halfway between neighbours: down to an even one, up to an even one, and just above halfway.
    x.extend([0x3f80_8000, 0x3f81_8000, 0x3f80_8001].map(f32::from_bits));
    let mut g = Graph::new();
    let v = g.variable("x", TensorType::f32(&[x.len()]));
    let rounded = g.cast(v, DType::Bf16)?;
    assert_eq!(g.cast(v, DType::Bf16)?, rounded);
    assert_eq!(g.tensor_type(rounded), TensorType::bf16(&[x.len()]));
    let back = g.cast(rounded, DType::F32)?;
    g.output("back", back);
    let found = run(isa, &g, &[("x", &x)], &[]).remove(0);
    for (x, found) in x.iter().zip(found) {
        let bits = u64::from(x.to_bits());
        let wanted = (bits + 0x7fff + (bits >> 16 & 1)) & !0xffff;
        assert_eq!(u64::from(found.to_bits()), wanted, "{x}");
    }
    Ok(())
}

/// Where keep is 0 the accumulator is not read: whatever it holds, even NaN, is gone.
fn accumulate(isa: Isa) -> Result<(), GraphError> {
    let n = 53;
    let x = Random(17).values(n, 1.0);
    let held = Random(18).values(n, 1.0);
    for (keep, held) in [(0.0, vec![f32::NAN; n]), (1.0, held.clone()), (0.5, held)] {
        let ty = TensorType::f32(&[n]);
        let mut g = Graph::new();
        let xv = g.input("x", ty);
        let acc = g.variable("acc", ty);
        let kv = g.input("keep", TensorType::f32(&[1]));
        let gradient = g.scale(xv, 3.0)?;
        let sum = g.accumulate(gradient, acc, kv)?;
        g.update(acc, sum)?;
        g.output("sum", sum);
        let old = |i: usize| if keep == 0.0 { 0.0 } else { f64::from(keep) * f64::from(held[i]) };
        let wanted: Vec<f64> = (0..n).map(|i| old(i) + 3.0 * f64::from(x[i])).collect();
        let feeds = [Feed::F32(&x), Feed::F32(&[keep])];
        let found = run(isa, &g, &[("acc", &held)], &feeds).remove(0);
        assert_close("accumulate", &found, &wanted, 1e-6);
    }
    Ok(())
}

/// The same of the ops that accumulate in their own write-back: the gradients of a product's weight, of a table and of
/// the output layer.
fn accumulation_in_gradients(isa: Isa) -> Result<(), GraphError> {
    let (n, c, m, vocab) = (7, 9, 5, 11);
    let mut random = Random(19);
    let table = random.values(vocab * c, 1.0);
    let (w, head) = (random.values(c * c, 1.0), random.values(vocab * c, 1.0));
    let (ids, targets) = (random.ids(n, m), random.ids(n, vocab));
    let parameters = [("table", vec![vocab, c]), ("w", vec![c, c]), ("head", vec![vocab, c])];
    let values = [&table, &w, &head];
    let build = |accumulated: bool| -> Result<Graph, GraphError> {
        let mut g = Graph::new();
        let iv = g.input("ids", TensorType::i32(&[n]));
        let tv = g.input("targets", TensorType::i32(&[n]));
        let keep = g.input("keep", TensorType::f32(&[1]));
        let wrt: Vec<_> =
            parameters.iter().map(|(name, dims)| g.variable(name, TensorType::f32(dims))).collect();
        let x = g.embed(wrt[0], iv)?;
        let y = g.linear(x, wrt[1])?;
        let op = LinearCrossEntropy { vocab, softcap: 15.0, reduction: Reduction::Mean };
        let loss = g.linear_cross_entropy(y, wrt[2], tv, op)?;
        let gradients = differentiate(&mut g, loss, &wrt)?;
        for ((name, dims), gradient) in parameters.iter().zip(gradients) {
            let acc = g.variable(&format!("{name}.grad"), TensorType::f32(dims));
            let sum = if accumulated {
                let sum = g.accumulate(gradient, acc, keep)?;
                g.update(acc, sum)?;
                sum
            } else {
                gradient
            };
            g.output(name, sum);
        }
        Ok(g)
    };
    let feeds = |keep: &'static [f32]| [Feed::I32(&ids), Feed::I32(&targets), Feed::F32(keep)];
    let names: Vec<&str> = parameters.iter().map(|(name, _)| *name).collect();
    let given: Vec<(&str, &[f32])> = names.iter().zip(values).map(|(n, v)| (*n, &v[..])).collect();
    let plain = run(isa, &build(false)?, &given, &feeds(&[0.0]));
    let fused = build(true)?;
    let plan = Plan::new(&fused, &|_, _| 0)?;
    let own = |step: &Step| step.op.as_ref().is_none_or(|op| op.name() != "Accumulate");
    assert!(plan.steps().iter().all(own), "an accumulation that takes a pass of its own");
    for keep in [&[0.0f32], &[1.0], &[0.5]] {
        let held: Vec<Vec<f32>> = values
            .iter()
            .map(|v| if keep[0] == 0.0 { vec![f32::NAN; v.len()] } else { v.to_vec() })
            .collect();
        let grads = ["table.grad", "w.grad", "head.grad"];
        let mut given = given.clone();
        given.extend(grads.iter().zip(&held).map(|(n, v)| (*n, &v[..])));
        let found = run(isa, &fused, &given, &feeds(keep));
        for i in 0..3 {
            let old = |at: usize| match keep[0] {
                0.0 => 0.0,
                keep => f64::from(keep) * f64::from(held[i][at]),
            };
            let wanted: Vec<f64> =
                plain[i].iter().enumerate().map(|(at, g)| f64::from(*g) + old(at)).collect();
            assert_close(names[i], &found[i], &wanted, 2e-6);
        }
    }
    Ok(())
}
