//! What the executor's tests share: random values, and running a graph once.

// Every test program uses its own part of this module.
#![allow(dead_code)]

pub mod ops;
pub mod transformer;

use std::cell::RefCell;
use std::collections::BTreeSet;

use kiln_cpu::{Context, Cpu, Isa};
use kiln_graph::{Executor, Feed, Graph};

/// A reproducible source of random numbers (SplitMix64, Steele et al. 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Uniform in -bound..bound.
    pub fn value(&mut self, bound: f32) -> f32 {
        let unit = (self.next() >> 40) as f32 / (1u64 << 24) as f32;
        bound * (2.0 * unit - 1.0)
    }

    pub fn values(&mut self, n: usize, bound: f32) -> Vec<f32> {
        (0..n).map(|_| self.value(bound)).collect()
    }

    pub fn ids(&mut self, n: usize, below: usize) -> Vec<i32> {
        (0..n).map(|_| self.below(below) as i32).collect()
    }
}

thread_local! {
    static EXECUTED: RefCell<BTreeSet<&'static str>> = const { RefCell::new(BTreeSet::new()) };
}

/// Names of the ops in all graphs that [`run`] was given on this thread since the last call.
pub fn take_executed() -> BTreeSet<&'static str> {
    EXECUTED.take()
}

/// Runs a graph once on a fresh executor, whose variables start as given; returns the f32 outputs in order.
pub fn run(
    isa: Isa,
    graph: &Graph,
    variables: &[(&str, &[f32])],
    feeds: &[Feed<'_>],
) -> Vec<Vec<f32>> {
    EXECUTED.with_borrow_mut(|names| names.extend(graph.nodes().iter().map(|n| n.op.name())));
    let mut cpu = Cpu::new(Context::new(isa, 1));
    let program = cpu.prepare(graph).expect("the graph can be planned");
    for (name, values) in variables {
        let declared = cpu.variables();
        let (_, ty) = declared.iter().find(|(n, _)| n == name).expect("the graph declares it");
        cpu.write(name, *ty, values).expect("the values fit");
    }
    cpu.run(program, feeds).expect("the feeds fit");
    (0..graph.outputs().len()).map(|i| cpu.output(program, i).to_vec()).collect()
}

/// Asserts that values agree within `tolerance`, relative where they are above 1.
#[track_caller]
pub fn assert_close(what: &str, found: &[f32], wanted: &[f64], tolerance: f64) {
    assert_eq!(found.len(), wanted.len(), "{what}: length");
    for (i, (f, w)) in found.iter().zip(wanted).enumerate() {
        let error = (f64::from(*f) - w).abs();
        assert!(error <= tolerance * w.abs().max(1.0), "{what}[{i}]: {f}, should be {w}");
    }
}
