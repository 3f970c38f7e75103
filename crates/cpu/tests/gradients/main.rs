//! Every derivative rule against central differences, on every instruction set of this machine.

mod cases;
mod check;
#[path = "../common/mod.rs"]
mod common;

use std::collections::BTreeSet;

use kiln_cpu::Isa;
use kiln_graph::ops::{LinearCrossEntropy, Reduction};
use kiln_graph::{Feed, Graph, TensorType, differentiate};

use check::check;
use common::Random;
use common::ops::{FORWARD_TESTED, GRADIENT_CHECKED, list_of};

#[test]
fn gradients_agree_with_differences() {
    for isa in Isa::available() {
        let failures: Vec<String> =
            cases::all().iter().filter_map(|case| check(isa, case, &|_, _| ()).err()).collect();
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }
}

#[test]
fn a_gradient_that_is_off_by_one_percent_is_found() {
    for case in cases::all() {
        for argument in case.differentiable() {
            for factor in [0.99, 1.01] {
                let spoil = |i: usize, gradient: &mut [f32]| {
                    if i == argument {
                        gradient.iter_mut().for_each(|g| *g *= factor);
                    }
                };
                let outcome = check(Isa::detect(), &case, &spoil);
                assert!(outcome.is_err(), "{}: argument {argument} x {factor}", case.name);
            }
        }
    }
}

#[test]
fn a_wrong_largest_entry_is_found() {
    for case in cases::all() {
        for argument in case.differentiable() {
            let spoil = |i: usize, gradient: &mut [f32]| {
                let largest = gradient.iter_mut().max_by(|a, b| a.abs().total_cmp(&b.abs()));
                if i == argument {
                    *largest.expect("a gradient has entries") *= 1.02;
                }
            };
            let outcome = check(Isa::detect(), &case, &spoil);
            assert!(outcome.is_err(), "{}: argument {argument}", case.name);
        }
    }
}

#[test]
fn every_op_with_a_derivative_is_checked() {
    let mut met = BTreeSet::new();
    for case in cases::all() {
        let (graph, _) = case.gradient().expect("the case is sound");
        met.extend(graph.nodes().iter().map(|node| node.op.name()));
        let stray = graph.nodes().iter().find(|n| list_of(&n.op) != GRADIENT_CHECKED);
        assert!(stray.is_none(), "{}: {stray:?}", case.name);
    }
    let wanted: BTreeSet<&str> = GRADIENT_CHECKED.iter().copied().collect();
    assert_eq!(met, wanted);
    assert!(FORWARD_TESTED.iter().all(|name| !wanted.contains(name)));
}

/// What differences show only within their tolerance: these gradients are nothing but zeros.
#[test]
fn padding_rows_and_ignored_targets_have_no_gradient() {
    let (n, c, vocab, padded) = (7, 5, 13, 16);
    let mut random = Random(3);
    let (x, w) = (random.values(n * c, 1.0), random.values(padded * c, 1.0));
    for reduction in [Reduction::Mean, Reduction::PerToken] {
        for targets in [[3, -1, 0, 12, -1, 5, 5], [-1; 7]] {
            let mut g = Graph::new();
            let xv = g.input("x", TensorType::f32(&[n, c]));
            let wv = g.input("w", TensorType::f32(&[padded, c]));
            let tv = g.input("targets", TensorType::i32(&[n]));
            let op = LinearCrossEntropy { vocab, softcap: 15.0, reduction };
            let losses = g.linear_cross_entropy(xv, wv, tv, op).unwrap();
            let loss = g.sum(losses).unwrap();
            let grads = differentiate(&mut g, loss, &[xv, wv]).unwrap();
            g.output("losses", losses);
            grads.iter().for_each(|v| g.output("grad", *v));
            let feeds = [Feed::F32(&x), Feed::F32(&w), Feed::I32(&targets)];
            for isa in Isa::available() {
                let found = common::run(isa, &g, &[], &feeds);
                let zero = |values: &[f32]| values.iter().all(|v| *v == 0.0);
                assert!(zero(&found[2][vocab * c..]));
                for (row, target) in targets.iter().enumerate() {
                    assert_eq!(zero(&found[1][row * c..(row + 1) * c]), *target < 0);
                }
                let none = targets.iter().all(|t| *t < 0);
                assert_eq!(zero(&found[0]), none);
                assert_eq!(zero(&found[2]), none);
            }
        }
    }
}
