//! The graphs of a training run: a micro-batch's loss and gradients, and per-token losses for evaluation.

use kiln_graph::ops::Reduction;
use kiln_graph::{Graph, GraphError, TensorType, ValueId, differentiate};
use kiln_model::{ModelConfig, loss_graph};
use kiln_optim::{Heads, OptimError, groups, optimizer_graph};

use crate::config::RunConfig;

/// Name of the variable in which a parameter's gradient accumulates.
pub fn gradient_name(parameter: &str) -> String {
    format!("grad.{parameter}")
}

/// Loss and gradients of one micro-batch. Inputs: `ids` and `targets` i32 `[B, T]`; `keep` f32 `[1]`, the factor of the
/// gradients that earlier micro-batches left (0 for a step's first); `loss_scale` f32 `[1]`, 1 over the number of
/// micro-batches. Output: the mean `loss`. Gradients accumulate in the variables `grad.NAME`.
///
/// # Errors
/// When sizes do not fit together, which a valid configuration rules out.
pub fn training_graph(
    config: &ModelConfig,
    batch: usize,
    seq_len: usize,
) -> Result<Graph, GraphError> {
    let mut built = loss_graph(config, batch, seq_len, Reduction::Mean)?;
    let g = &mut built.graph;
    let keep = g.input("keep", TensorType::f32(&[1]));
    let loss_scale = g.input("loss_scale", TensorType::f32(&[1]));
    let scaled = g.scale_by_scalar(built.loss, loss_scale, 0)?;
    let parameters: Vec<ValueId> = built.parameters.iter().map(|(_, value)| *value).collect();
    let gradients = differentiate(g, scaled, &parameters)?;
    for ((name, parameter), gradient) in built.parameters.iter().zip(gradients) {
        let accumulator = g.variable(&gradient_name(name), g.tensor_type(*parameter));
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
    batch: usize,
    seq_len: usize,
) -> Result<Graph, GraphError> {
    Ok(loss_graph(config, batch, seq_len, Reduction::PerToken)?.graph)
}

/// One optimizer step for all parameters of a run; see [`kiln_optim::optimizer_graph`].
///
/// # Errors
/// When settings are out of range.
pub fn optimizer_step_graph(config: &RunConfig) -> Result<Graph, OptimError> {
    let model = &config.model;
    let parameters: Vec<(String, TensorType)> =
        model.parameters().into_iter().map(|p| (p.name.clone(), p.tensor_type())).collect();
    let groups = groups(&parameters, model.n_embd, config.train.total_batch_size, &config.optim);
    let heads = Heads { n_head: model.n_head, n_kv_head: model.n_kv_head };
    optimizer_graph(&groups, heads, &config.optim)
}
