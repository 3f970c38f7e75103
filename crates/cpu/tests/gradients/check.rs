//! Compares gradients with central differences.

use std::collections::BTreeSet;

use kiln_cpu::{Context, Cpu, Isa};
use kiln_graph::{
    ExecuteError, Executor, Feed, Graph, GraphError, ProgramId, TensorType, ValueId, differentiate,
};

use crate::common::Random;

/// One input of a function under test.
#[derive(Clone)]
pub enum Argument {
    /// Values whose gradient is checked.
    F32(Vec<usize>, Vec<f32>),
    /// Values that the function has no derivative by.
    Fixed(Vec<usize>, Vec<f32>),
    /// Ids, targets or positions.
    I32(Vec<usize>, Vec<i32>),
}

type Build = Box<dyn Fn(&mut Graph, &[ValueId]) -> Result<ValueId, GraphError>>;

/// A function under test and the point at which it is differentiated.
pub struct Case {
    pub name: String,
    pub arguments: Vec<Argument>,
    pub build: Build,
    /// Step of the differences. With f32 arithmetic the rounding of the function dominates, so it is large, and the
    /// differences are of fourth order.
    pub step: f32,
}

impl Case {
    pub fn new(
        name: impl Into<String>,
        arguments: Vec<Argument>,
        build: impl Fn(&mut Graph, &[ValueId]) -> Result<ValueId, GraphError> + 'static,
    ) -> Self {
        Case { name: name.into(), arguments, build: Box::new(build), step: 0.03 }
    }

    /// Places of the arguments that have a gradient.
    pub fn differentiable(&self) -> Vec<usize> {
        let f32s = |i: &usize| matches!(self.arguments[*i], Argument::F32(..));
        (0..self.arguments.len()).filter(f32s).collect()
    }

    fn declare(&self, graph: &mut Graph) -> Vec<ValueId> {
        let declare = |(i, argument): (usize, &Argument)| match argument {
            Argument::F32(dims, _) | Argument::Fixed(dims, _) => {
                graph.input(&format!("f{i}"), TensorType::f32(dims))
            }
            Argument::I32(dims, _) => graph.input(&format!("i{i}"), TensorType::i32(dims)),
        };
        self.arguments.iter().enumerate().map(declare).collect()
    }

    fn forward(&self) -> Result<Graph, GraphError> {
        let mut graph = Graph::new();
        let arguments = self.declare(&mut graph);
        let out = (self.build)(&mut graph, &arguments)?;
        graph.output("out", out);
        Ok(graph)
    }

    /// The gradients of `sum(out · dout)`, and the number of values of out.
    pub fn gradient(&self) -> Result<(Graph, usize), GraphError> {
        let mut graph = Graph::new();
        let arguments = self.declare(&mut graph);
        let out = (self.build)(&mut graph, &arguments)?;
        let ty = graph.tensor_type(out);
        let dout = graph.input("dout", ty);
        let product = graph.mul(out, dout)?;
        let loss = graph.sum(product)?;
        let wrt: Vec<ValueId> = self.differentiable().iter().map(|&i| arguments[i]).collect();
        for gradient in differentiate(&mut graph, loss, &wrt)? {
            graph.output("gradient", gradient);
        }
        Ok((graph, ty.len()))
    }
}

fn feeds<'a>(arguments: &'a [Argument]) -> Vec<Feed<'a>> {
    let feed = |argument: &'a Argument| match argument {
        Argument::F32(_, values) | Argument::Fixed(_, values) => Feed::F32(values),
        Argument::I32(_, values) => Feed::I32(values),
    };
    arguments.iter().map(feed).collect()
}

/// A case prepared on an executor.
struct Bench<'c> {
    case: &'c Case,
    cpu: Cpu,
    forward: ProgramId,
    dout: Vec<f32>,
}

impl Bench<'_> {
    /// `sum(out · dout)` with argument `i` moved by `step·direction`.
    fn value(&mut self, i: usize, direction: &[f64], step: f64) -> Result<f64, ExecuteError> {
        let mut arguments = self.case.arguments.clone();
        let Argument::F32(_, values) = &mut arguments[i] else { unreachable!("only f32 moves") };
        for (value, u) in values.iter_mut().zip(direction) {
            *value = (f64::from(*value) + step * u) as f32;
        }
        self.cpu.run(self.forward, &feeds(&arguments))?;
        let out = self.cpu.output(self.forward, 0);
        Ok(out.iter().zip(&self.dout).map(|(o, d)| f64::from(*o) * f64::from(*d)).sum())
    }

    /// Derivative along a direction, from differences of fourth order.
    fn difference(&mut self, i: usize, direction: &[f64]) -> Result<f64, ExecuteError> {
        let h = f64::from(self.case.step);
        let near = self.value(i, direction, h)? - self.value(i, direction, -h)?;
        let far = self.value(i, direction, 2.0 * h)? - self.value(i, direction, -2.0 * h)?;
        Ok((8.0 * near - far) / (12.0 * h))
    }
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|v| v * v).sum::<f64>().sqrt()
}

fn scaled(x: &[f64], factor: f64) -> Vec<f64> {
    x.iter().map(|v| v * factor).collect()
}

/// Directions to differentiate along, each with the size that errors are measured by: one that leans towards the
/// gradient, so that an error of its length shows; a random one; and single coordinates, that of the largest entry first.
fn directions(gradient: &[f64], random: &mut Random) -> Vec<(Vec<f64>, f64)> {
    let n = gradient.len();
    let mut drawn = || {
        let r: Vec<f64> = (0..n).map(|_| f64::from(random.value(1.0))).collect();
        scaled(&r, 1.0 / norm(&r))
    };
    let length = norm(gradient);
    let aside = drawn();
    // Of a random direction and its opposite the one that is nearer: their sum with the gradient's is no null vector.
    let side = gradient.iter().zip(&aside).map(|(g, r)| g * r).sum::<f64>().signum();
    let leaning: Vec<f64> =
        gradient.iter().zip(aside).map(|(g, r)| g / length + side * r).collect();
    let leaning = scaled(&leaning, 1.0 / norm(&leaning));
    let mut all = vec![(leaning, length), (drawn(), length)];
    let largest = (0..n).max_by(|&a, &b| gradient[a].abs().total_cmp(&gradient[b].abs()));
    let largest = largest.expect("a gradient has entries");
    let coordinates = [largest, 0, n - 1].into_iter().chain((0..5).map(|_| random.below(n)));
    for at in coordinates {
        let mut unit = vec![0.0; n];
        unit[at] = 1.0;
        all.push((unit, gradient[largest].abs()));
    }
    all
}

/// Checks the gradient of every f32 argument of a case; `spoil` may falsify the gradient of an argument before it is
/// compared. Returns the names of the ops that took part.
///
/// The tolerance is a quarter of what an error of 1 % makes along the first direction and at the largest entry.
pub fn check(
    isa: Isa,
    case: &Case,
    spoil: &dyn Fn(usize, &mut [f32]),
) -> Result<BTreeSet<&'static str>, String> {
    let name = &case.name;
    let (graph, out_len) = case.gradient().map_err(|e| format!("{name}: {e}"))?;
    let failed = |e: ExecuteError| format!("{name}: {e}");
    let mut random = Random(1 + out_len as u64);
    let dout: Vec<f32> =
        (0..out_len).map(|_| random.value(1.0).signum() + random.value(0.5)).collect();
    let mut cpu = Cpu::new(Context::new(isa, 1));
    let forward = case.forward().map_err(|e| format!("{name}: {e}"))?;
    let forward = cpu.prepare(&forward).map_err(failed)?;
    let backward = cpu.prepare(&graph).map_err(failed)?;
    let mut all = feeds(&case.arguments);
    all.push(Feed::F32(&dout));
    cpu.run(backward, &all).map_err(failed)?;
    let places = case.differentiable();
    let gradients: Vec<Vec<f32>> =
        (0..places.len()).map(|i| cpu.output(backward, i).to_vec()).collect();
    let mut bench = Bench { case, cpu, forward, dout };
    for (i, mut gradient) in places.into_iter().zip(gradients) {
        spoil(i, &mut gradient);
        let gradient: Vec<f64> = gradient.into_iter().map(f64::from).collect();
        let length = norm(&gradient);
        if length.is_nan() || length == 0.0 {
            return Err(format!("{name}, argument {i}: a gradient of length {length}"));
        }
        for (at, (direction, size)) in directions(&gradient, &mut random).iter().enumerate() {
            let analytic: f64 = gradient.iter().zip(direction).map(|(g, u)| g * u).sum();
            let numeric = bench.difference(i, direction).map_err(failed)?;
            let error = (analytic - numeric).abs();
            // Also false when something is NaN.
            let fits = error <= 2e-3 * analytic.abs() + 5e-4 * size;
            if !fits {
                let what = format!("{name} ({isa}), argument {i}, direction {at}");
                return Err(format!("{what}: gradient {analytic}, differences {numeric}"));
            }
        }
    }
    Ok(graph.nodes().iter().map(|n| n.op.name()).collect())
}
