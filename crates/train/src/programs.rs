//! The graphs of a training run: a micro-batch's loss and gradients, and per-token losses for evaluation.

use kiln_graph::ops::Reduction;
use kiln_graph::{Executor, Graph, GraphError, TensorType, ValueId, differentiate};
use kiln_model::{Compute, ModelConfig, compute_copy_name, loss_graph};
use kiln_optim::{Heads, OptimError, Precision, groups, optimizer_graph, refresh_copy};

use crate::TrainError;
use crate::config::RunConfig;

/// Name of the variable in which a parameter's gradient accumulates.
pub fn gradient_name(parameter: &str) -> String {
    format!("grad.{parameter}")
}

/// Loss and gradients of one micro-batch. Inputs: `ids` and `targets` i32 `[B, T]`; of models that drop any, `dropout` i32
/// `[2]`, which decides what; `keep` f32 `[1]`, the factor of the
/// gradients that earlier micro-batches left (0 for a step's first); `loss_scale` f32 `[1]`, 1 over the number of
/// micro-batches. Output: the mean `loss`, and with multi-token prediction its parts `main_loss` and `mtp_loss`. Gradients accumulate, in f32, in the variables `grad.NAME`. With bf16 the
/// copies of [`compute_copies_graph`] are read, which must be there.
///
/// # Errors
/// When sizes do not fit together, which a valid configuration rules out.
pub fn training_graph(
    config: &ModelConfig,
    compute: Compute,
    batch: usize,
    seq_len: usize,
) -> Result<Graph, GraphError> {
    let mut built = loss_graph(config, compute, batch, seq_len, Reduction::Mean)?;
    let g = &mut built.graph;
    let keep = g.input("keep", TensorType::f32(&[1]));
    let loss_scale = g.input("loss_scale", TensorType::f32(&[1]));
    let scaled = g.scale_by_scalar(built.loss, loss_scale, 0)?;
    let parameters: Vec<ValueId> = built.parameters.iter().map(|(_, value)| *value).collect();
    let gradients = differentiate(g, scaled, &parameters)?;
    for ((name, _), gradient) in built.parameters.iter().zip(gradients) {
        let accumulator = g.variable(&gradient_name(name), g.tensor_type(gradient));
        let sum = g.accumulate(gradient, accumulator, keep)?;
        g.update(accumulator, sum)?;
    }
    Ok(built.graph)
}

/// The loss of every token: inputs `ids` and `targets`, output `loss` f32 `[B, T]`, 0 where the target is -1.
///
/// # Errors
/// When sizes do not fit together, which a valid configuration rules out.
pub fn evaluation_graph(
    config: &ModelConfig,
    compute: Compute,
    batch: usize,
    seq_len: usize,
) -> Result<Graph, GraphError> {
    Ok(loss_graph(config, compute, batch, seq_len, Reduction::PerToken)?.graph)
}

/// One optimizer step for all parameters of a run; see [`kiln_optim::optimizer_graph`].
///
/// # Errors
/// When settings are out of range.
pub fn optimizer_step_graph(config: &RunConfig) -> Result<Graph, OptimError> {
    let model = &config.model;
    let parameters: Vec<(String, TensorType)> =
        model.trained_parameters().into_iter().map(|p| (p.name.clone(), p.tensor_type())).collect();
    let groups = groups(&parameters, model.n_embd, config.train.total_batch_size, &config.optim);
    let heads = Heads { n_head: model.n_head, n_kv_head: model.n_kv_head };
    optimizer_graph(&groups, heads, &config.optim, &precision(model, config.train.dtype))
}

/// What of an optimizer step is not f32 where products compute in that type.
fn precision(model: &ModelConfig, compute: Compute) -> Precision {
    let copies = model.compute_copies(compute).into_iter();
    let copies = copies.map(|p| (p.name.clone(), compute_copy_name(&p.name))).collect();
    Precision { products: compute.dtype(), copies }
}

/// Makes the copies of parameters that graphs computing in that type read. Optimizer steps keep them up to date from then
/// on.
///
/// # Errors
/// Never in practice: a copy has the shape of its parameter.
pub fn compute_copies_graph(model: &ModelConfig, compute: Compute) -> Result<Graph, GraphError> {
    let mut graph = Graph::new();
    for parameter in model.compute_copies(compute) {
        let value = graph.variable(&parameter.name, parameter.tensor_type());
        refresh_copy(&mut graph, value, &compute_copy_name(&parameter.name))?;
    }
    Ok(graph)
}

/// Runs [`compute_copies_graph`], where there are copies: after parameters were initialised or loaded.
///
/// # Errors
/// When memory is short.
pub fn make_compute_copies(
    executor: &mut dyn Executor,
    model: &ModelConfig,
    compute: Compute,
) -> Result<(), TrainError> {
    let graph = compute_copies_graph(model, compute)?;
    if graph.nodes().is_empty() {
        return Ok(());
    }
    let program = executor.prepare(&graph)?;
    Ok(executor.run(program, &[])?)
}

#[cfg(test)]
mod tests {
    use kiln_cpu::{Context, Cpu, Isa};
    use kiln_graph::{DType, Op, Place, Plan};
    use kiln_model::Preset;

    use super::*;
    use crate::config::TrainSettings;

    fn run(compute: Compute) -> RunConfig {
        let mut model = ModelConfig {
            n_layer: 2,
            n_embd: 32,
            n_head: 2,
            n_kv_head: 2,
            sequence_len: 16,
            vocab_size: 70,
            ..ModelConfig::default()
        };
        model.apply_preset(Preset::Modern);
        let train = TrainSettings {
            dtype: compute,
            seq_len: 16,
            total_batch_size: 128,
            ..TrainSettings::default()
        };
        RunConfig { model, optim: kiln_optim::Settings::default(), train }
    }

    /// Names of the variables that a graph's casts write, right where they lie.
    fn copied(graph: &Graph) -> Vec<String> {
        let plan = Plan::new(graph, &|_, _| 0).unwrap();
        let casts = plan.steps().iter().filter(|s| matches!(s.op, Some(Op::Cast(_))));
        casts
            .map(|step| match (step.inputs[0].0, step.outputs[0]) {
                (Place::Variable(..), (Place::Variable(i, 0), ty)) => {
                    assert_eq!(ty.dtype(), DType::Bf16);
                    plan.variables()[i].0.clone()
                }
                (from, to) => panic!("{from:?} to {to:?}"),
            })
            .collect()
    }

    #[test]
    fn copies_are_refreshed_where_products_read_them() {
        let RunConfig { model, train, .. } = run(Compute::Bf16);
        let training = training_graph(&model, train.dtype, 1, 16).unwrap();
        let mut read: Vec<&str> = training.variables().iter().map(|v| v.name.as_str()).collect();
        read.retain(|name| name.starts_with("bf16."));
        assert_eq!(read.len(), 1 + 2 * 6);
        let mut refreshed = [
            copied(&compute_copies_graph(&model, train.dtype).unwrap()),
            copied(&optimizer_step_graph(&run(Compute::Bf16)).unwrap()),
        ];
        read.sort_unstable();
        for names in &mut refreshed {
            names.sort_unstable();
            assert_eq!(*names, read);
        }
        assert!(copied(&optimizer_step_graph(&run(Compute::F32)).unwrap()).is_empty());
        assert!(compute_copies_graph(&model, Compute::F32).unwrap().nodes().is_empty());
    }

    #[test]
    fn copies_are_the_parameters_rounded() {
        let model = run(Compute::Bf16).model;
        let mut cpu = Cpu::new(Context::new(Isa::detect(), 1));
        kiln_model::initialize(&model, 3, |p, v| cpu.write(&p.name, p.tensor_type(), v)).unwrap();
        make_compute_copies(&mut cpu, &model, Compute::Bf16).unwrap();
        let copies = model.compute_copies(Compute::Bf16);
        let mut back = Graph::new();
        for parameter in &copies {
            let (name, ty) = parameter.variable(Compute::Bf16);
            let copy = back.variable(&name, ty);
            let wide = back.cast(copy, DType::F32).unwrap();
            back.output(&name, wide);
        }
        let program = cpu.prepare(&back).unwrap();
        cpu.run(program, &[]).unwrap();
        for (i, parameter) in copies.iter().enumerate() {
            let values = cpu.read(&parameter.name).unwrap();
            let found = cpu.output(program, i);
            for (&value, &found) in values.iter().zip(found) {
                // Eight bits of mantissa: off by half a unit of the last at the most.
                assert!((value - found).abs() <= value.abs() / 256.0, "{value} and {found}");
                assert_eq!(found.to_bits() & 0xffff, 0);
            }
        }
    }
}
