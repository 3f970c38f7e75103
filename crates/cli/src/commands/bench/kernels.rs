//! Kernels of training on made-up values, measured as the executor runs them.

use std::time::Duration;

use half::bf16;
use kiln_cpu::{Context, Cpu, peak};
use kiln_graph::ops::{Linear, LinearCrossEntropy, LinearGradInput, LinearGradWeight, Reduction};
use kiln_graph::{
    Executor, Feed, Graph, GraphError, Op, ProgramId, TensorType, ValueId, differentiate,
};
use kiln_model::Compute;

/// Time that one measurement repeats its work for, where a repetition is shorter: as long as those of `peak`.
const MEASURE: Duration = Duration::from_millis(50);
/// Inner extent of the product that makes a gradient's values.
const SEED: usize = 16;

/// The product rate, in GFLOP/s: that of the two products of an MLP, up and down, for so many rows. It is the roof of
/// everything that consists of products.
pub fn product_rate(cx: &Context, compute: Compute, rows: usize, width: usize) -> f64 {
    let rate = match compute {
        Compute::F32 => peak::gemm_rate::<f32>,
        Compute::Bf16 => peak::gemm_rate::<bf16>,
    };
    // As many operations each.
    2.0 / (1.0 / rate(cx, rows, 4 * width, width) + 1.0 / rate(cx, rows, width, 4 * width))
}

/// Which of the three products of a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orientation {
    /// y = x·wᵀ.
    Forward,
    /// dx = dy·w.
    GradInput,
    /// dw = dyᵀ·x.
    GradWeight,
}

/// Some ops of a prepared graph.
pub struct Kernel {
    program: ProgramId,
    ops: &'static [&'static str],
    ids: Vec<i32>,
}

impl Kernel {
    /// A product of `rows` x `cols` with `inner` terms in each sum.
    pub fn product(
        cpu: &mut Cpu,
        compute: Compute,
        orientation: Orientation,
        [rows, cols, inner]: [usize; 3],
    ) -> anyhow::Result<Self> {
        let mut graph = Graph::new();
        let g = &mut graph;
        let (op, ops): (Op, &[&str]) = match orientation {
            Orientation::Forward => (plain_linear(compute).into(), &["Linear"]),
            Orientation::GradInput => {
                let op = LinearGradInput { relu_squared: false, dtype: compute.dtype() };
                (op.into(), &["LinearGradInput"])
            }
            Orientation::GradWeight => (LinearGradWeight.into(), &["LinearGradWeight"]),
        };
        let operands = match orientation {
            Orientation::Forward => {
                [operand(g, compute, "x", [rows, inner])?, operand(g, compute, "w", [cols, inner])?]
            }
            Orientation::GradInput => {
                [gradient(g, compute, [rows, inner])?, operand(g, compute, "w", [inner, cols])?]
            }
            Orientation::GradWeight => {
                [gradient(g, compute, [inner, rows])?, operand(g, compute, "x", [inner, cols])?]
            }
        };
        let result = graph.push(op, &operands)?[0];
        graph.output("result", result);
        Self::new(cpu, graph, ops, Vec::new())
    }

    /// Loss and both gradients of an output layer: x `[rows, width]`, w `[vocab, width]`.
    pub fn cross_entropy(
        cpu: &mut Cpu,
        compute: Compute,
        [rows, width, vocab]: [usize; 3],
    ) -> anyhow::Result<Self> {
        let mut graph = Graph::new();
        let targets = graph.input("targets", TensorType::i32(&[rows]));
        let x = operand(&mut graph, compute, "x", [rows, width])?;
        let w = operand(&mut graph, compute, "w", [vocab, width])?;
        let op = LinearCrossEntropy { vocab, softcap: 15.0, reduction: Reduction::Mean };
        let loss = graph.linear_cross_entropy(x, w, targets, op)?;
        add_gradients(&mut graph, loss, &[x, w])?;
        let ids = (0..rows).map(|i| (i * 7919 % vocab) as i32).collect();
        Self::new(cpu, graph, &["LinearCrossEntropyGrad"], ids)
    }

    /// Causal attention over whole rows, forward and backward: q, k, v `[batch, tokens, heads, head_dim]`.
    pub fn attention(cpu: &mut Cpu, compute: Compute, dims: [usize; 4]) -> anyhow::Result<Self> {
        let mut graph = Graph::new();
        let q = operand(&mut graph, compute, "q", dims)?;
        let k = operand(&mut graph, compute, "k", dims)?;
        let v = operand(&mut graph, compute, "v", dims)?;
        let out = graph.attention(q, k, v, dims[1])?;
        let out = graph.cast(out, Compute::F32.dtype())?;
        let loss = graph.sum(out)?;
        add_gradients(&mut graph, loss, &[q, k, v])?;
        Self::new(cpu, graph, &["Attention", "AttentionGrad"], Vec::new())
    }

    /// Prepares the graph, gives its variables values, and runs it once to warm up. Variables belong to the executor: two
    /// kernels that want one of the same name and another size need an executor each.
    fn new(
        cpu: &mut Cpu,
        graph: Graph,
        ops: &'static [&'static str],
        ids: Vec<i32>,
    ) -> anyhow::Result<Self> {
        let program = cpu.prepare(&graph)?;
        for variable in graph.variables() {
            let ty = graph.tensor_type(variable.value);
            cpu.write(&variable.name, ty, &noise(ty.len()))?;
        }
        let kernel = Kernel { program, ops, ids };
        kernel.once(cpu)?;
        Ok(kernel)
    }

    /// Operations as the ops count them (of attention only the pairs that the mask lets through) over the time in them,
    /// of the fastest repetition, in GFLOP/s.
    pub fn rate(&self, cpu: &mut Cpu) -> anyhow::Result<f64> {
        let (mut spent, mut best) = (Duration::ZERO, 0.0f64);
        while spent < MEASURE {
            let (flops, time) = self.once(cpu)?;
            best = best.max(flops / time.as_secs_f64() / 1e9);
            spent += time;
        }
        Ok(best)
    }

    /// One run: operations of the kernel's ops, and the time in them.
    fn once(&self, cpu: &mut Cpu) -> anyhow::Result<(f64, Duration)> {
        let feeds: &[Feed<'_>] = &[Feed::I32(&self.ids)];
        cpu.reset_times();
        cpu.run(self.program, if self.ids.is_empty() { &[] } else { feeds })?;
        let times = cpu.op_times(self.program);
        let mine = times.iter().filter(|time| self.ops.contains(&time.op));
        Ok(mine.fold((0.0, Duration::ZERO), |(flops, time), op| {
            (flops + op.flops as f64, time + op.time)
        }))
    }
}

fn plain_linear(compute: Compute) -> Linear {
    Linear { epilogue: kiln_graph::ops::Epilogue::None, dtype: compute.dtype() }
}

/// A variable, as products of that type read it. Its name tells its size, so that kernels share it where they can.
fn operand<const N: usize>(
    graph: &mut Graph,
    compute: Compute,
    name: &str,
    dims: [usize; N],
) -> Result<ValueId, GraphError> {
    let size = dims.map(|n| n.to_string()).join("x");
    let variable = graph.variable(&format!("bench.{name}.{size}"), TensorType::f32(&dims));
    graph.cast(variable, compute.dtype())
}

/// A matrix that is made in each run, by a product too small to count: as large as the gradient of the logits, it would
/// otherwise be there in f32, too.
fn gradient(
    graph: &mut Graph,
    compute: Compute,
    [rows, cols]: [usize; 2],
) -> Result<ValueId, GraphError> {
    let a = operand(graph, compute, "a", [rows, SEED])?;
    let b = operand(graph, compute, "b", [cols, SEED])?;
    Ok(graph.push(plain_linear(compute), &[a, b])?[0])
}

/// Outputs the gradients, so that they are computed.
fn add_gradients(graph: &mut Graph, loss: ValueId, values: &[ValueId]) -> Result<(), GraphError> {
    for (i, gradient) in differentiate(graph, loss, values)?.into_iter().enumerate() {
        graph.output(&format!("gradient {i}"), gradient);
    }
    Ok(())
}

/// Numbers between -1 and 1 without a pattern that a kernel could profit from.
fn noise(len: usize) -> Vec<f32> {
    (0..len as u64).map(|i| (i * 2_654_435_761 % 2001) as f32 / 1000.0 - 1.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_cpu::Isa;

    #[test]
    fn kernels_count_what_they_compute() {
        let mut cpu = Cpu::new(Context::new(Isa::detect(), 1));
        for orientation in [Orientation::Forward, Orientation::GradInput, Orientation::GradWeight] {
            let size = [24, 40, 56];
            let product = Kernel::product(&mut cpu, Compute::F32, orientation, size).unwrap();
            let flops = product.once(&mut cpu).unwrap().0;
            assert_eq!(flops, (2 * 24 * 40 * 56) as f64, "{orientation:?}");
        }
        let loss = Kernel::cross_entropy(&mut cpu, Compute::F32, [8, 16, 64]).unwrap();
        assert_eq!(loss.once(&mut cpu).unwrap().0, (3 * 2 * 8 * 16 * 64) as f64);
        let attention = Kernel::attention(&mut cpu, Compute::F32, [2, 32, 3, 8]).unwrap();
        // 4 and 10 operations for each element of a head and each pair that is seen.
        let pairs = 2 * 3 * (32 * 33 / 2);
        assert_eq!(attention.once(&mut cpu).unwrap().0, (14 * 8 * pairs) as f64);
        assert!(loss.rate(&mut cpu).unwrap() > 0.0 && attention.rate(&mut cpu).unwrap() > 0.0);
    }
}
