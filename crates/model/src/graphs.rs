//! A model as graphs of whole sequences: its loss, its logits.

use kiln_graph::ops::Reduction;
use kiln_graph::{Graph, GraphError, TensorType, ValueId};

use crate::layers::{Layers, Training};
use crate::{Compute, ModelConfig};

/// A graph of the loss of a batch: inputs `ids` and `targets`, output `loss`.
#[derive(Clone, Debug)]
pub struct LossGraph {
    /// The graph. Parameters are variables under their own names, with bf16 the copies of weights under theirs.
    pub graph: Graph,
    /// Token ids, i32 `[B, T]`; the first input.
    pub ids: ValueId,
    /// Ids of the tokens that follow, i32 `[B, T]`, -1 where none counts; the second input.
    pub targets: ValueId,
    /// Which elements dropout drops, i32 `[2]`; the third input, of models that drop any, when their loss is a mean.
    pub dropout: Option<ValueId>,
    /// f32 `[1]`, or `[B, T]` per token; the first output.
    pub loss: ValueId,
    /// The parts of a mean loss with multi-token prediction, f32 `[1]` each: `main_loss`, of the next token, and
    /// `mtp_loss`, of the one after it, not yet weighted. The second and third output.
    pub parts: Option<[ValueId; 2]>,
    /// The parameters by name, in the order of [`ModelConfig::trained_parameters`], each with the value that is read for
    /// it: with bf16 the copy of a weight. The loss is to be differentiated with respect to these.
    pub parameters: Vec<(String, ValueId)>,
}

/// A graph of the logits of whole sequences: input `ids`, output `logits`.
#[derive(Clone, Debug)]
pub struct LogitsGraph {
    /// The graph. Parameters are variables under their own names, with bf16 the copies of weights under theirs.
    pub graph: Graph,
    /// Token ids, i32 `[B, T]`; the only input.
    pub ids: ValueId,
    /// f32 `[B, T, V]`, padding rows of the vocabulary left out.
    pub logits: ValueId,
}

/// The loss of `batch` rows of `seq_len` tokens, which may be shorter than the configured length; products read operands
/// of type `compute`.
///
/// A mean is what training minimises: with dropout, and with the loss of multi-token prediction. Losses per token are for
/// evaluation, which knows neither.
///
/// # Errors
/// When sizes do not fit together, which a valid configuration rules out.
pub fn loss_graph(
    config: &ModelConfig,
    compute: Compute,
    batch: usize,
    seq_len: usize,
    reduction: Reduction,
) -> Result<LossGraph, GraphError> {
    let training = reduction == Reduction::Mean;
    let mut graph = Graph::new();
    let ids = graph.input("ids", TensorType::i32(&[batch, seq_len]));
    let targets = graph.input("targets", TensorType::i32(&[batch, seq_len]));
    let drops = training && config.drops();
    let dropout = drops.then(|| graph.input("dropout", TensorType::i32(&[2])));
    let start = graph.zero_positions(batch);
    let layers = Layers::new(&mut graph, config, compute, start, None);
    let mut layers = layers.training(Training { dropout });
    let x = layers.trunk(ids)?;
    let h = layers.final_norm(x)?;
    let main = layers.loss(h, targets, reduction)?;
    let predicts = training && config.mtp;
    let mtp = predicts.then(|| layers.prediction_loss(h, ids, targets)).transpose()?;
    let mut parameters = layers.parameters;
    parameters.retain(|(name, _)| config.trains(name));
    let mut loss = main;
    if let Some(mtp) = mtp {
        let weighted = graph.scale(mtp, config.mtp_lambda)?;
        loss = graph.add(main, weighted)?;
    }
    graph.output("loss", loss);
    if let Some(mtp) = mtp {
        graph.output("main_loss", main);
        graph.output("mtp_loss", mtp);
    }
    let parts = mtp.map(|mtp| [main, mtp]);
    Ok(LossGraph { graph, ids, targets, dropout, loss, parts, parameters })
}

/// The logits of every position of `batch` rows of `seq_len` tokens.
///
/// # Errors
/// As of [`loss_graph`].
pub fn logits_graph(
    config: &ModelConfig,
    compute: Compute,
    batch: usize,
    seq_len: usize,
) -> Result<LogitsGraph, GraphError> {
    let mut graph = Graph::new();
    let ids = graph.input("ids", TensorType::i32(&[batch, seq_len]));
    let start = graph.zero_positions(batch);
    let mut layers = Layers::new(&mut graph, config, compute, start, None);
    let x = layers.trunk(ids)?;
    let h = layers.final_norm(x)?;
    let logits = layers.logits(h, config.vocab_size)?;
    graph.output("logits", logits);
    Ok(LogitsGraph { graph, ids, logits })
}

#[cfg(test)]
mod tests {
    use kiln_graph::{Op, Plan, differentiate};

    use super::*;
    use crate::Preset;
    use crate::testing::small;

    fn plan(graph: &Graph) -> Plan {
        Plan::new(graph, &|_, _| 0).unwrap()
    }

    #[test]
    fn training_graphs_differentiate_with_every_parameter_and_plan() {
        for preset in [Preset::Classic, Preset::Modern] {
            let config = small(preset);
            let mut built = loss_graph(&config, Compute::F32, 2, 40, Reduction::Mean).unwrap();
            let names: Vec<String> = built.parameters.iter().map(|(n, _)| n.clone()).collect();
            let expected: Vec<String> = config.parameters().into_iter().map(|p| p.name).collect();
            assert_eq!(names, expected);
            let values: Vec<ValueId> = built.parameters.iter().map(|&(_, v)| v).collect();
            let gradients = differentiate(&mut built.graph, built.loss, &values).unwrap();
            let g = &mut built.graph;
            let keep = g.input("keep", TensorType::f32(&[1]));
            for ((name, value), gradient) in built.parameters.iter().zip(gradients) {
                let held = g.variable(&format!("grad.{name}"), g.tensor_type(*value));
                let sum = g.accumulate(gradient, held, keep).unwrap();
                g.update(held, sum).unwrap();
            }
            let plan = plan(g);
            assert_eq!(plan.inputs()[0].0, "ids");
            assert_eq!(plan.inputs()[1].0, "targets");
            assert_eq!(plan.variables().len(), 2 * names.len());
            // Attention once forward and once backward per layer; the logits are never a value.
            let count = |f: fn(&Op) -> bool| {
                plan.steps().iter().filter(|s| s.op.as_ref().is_some_and(f)).count()
            };
            assert_eq!(count(|op| matches!(op, Op::Attention(_))), 3);
            assert_eq!(count(|op| matches!(op, Op::AttentionGrad(_))), 3);
            assert_eq!(count(|op| matches!(op, Op::LinearCrossEntropy(_))), 0);
            assert_eq!(count(|op| matches!(op, Op::LinearCrossEntropyGrad(_))), 1);
        }
    }

    #[test]
    fn per_token_losses_have_the_shape_of_the_targets() {
        let built =
            loss_graph(&small(Preset::Modern), Compute::F32, 2, 5, Reduction::PerToken).unwrap();
        assert_eq!(built.graph.tensor_type(built.loss), TensorType::f32(&[2, 5]));
        let built = logits_graph(&small(Preset::Modern), Compute::F32, 2, 5).unwrap();
        assert_eq!(built.graph.tensor_type(built.logits), TensorType::f32(&[2, 5, 301]));
        assert!(plan(&built.graph).steps().iter().all(|step| step.op.is_some()));
    }

    #[test]
    fn training_keeps_little_of_a_layer() {
        // In units of B·T·C floats: the layer's input, two norms, q, k, v and the attention's result make 7, the hidden layer
        // 4; half a unit is left for statistics.
        let arena = |n_layer: usize| {
            let config = ModelConfig { n_layer, n_kv_head: 4, ..small(Preset::Classic) };
            let mut built = loss_graph(&config, Compute::F32, 4, 48, Reduction::Mean).unwrap();
            let values: Vec<ValueId> = built.parameters.iter().map(|&(_, v)| v).collect();
            let gradients = differentiate(&mut built.graph, built.loss, &values).unwrap();
            for (i, (&value, gradient)) in values.iter().zip(gradients).enumerate() {
                let g = &mut built.graph;
                let held = g.variable(&format!("grad.{i}"), g.tensor_type(value));
                g.update(held, gradient).unwrap();
            }
            plan(&built.graph).arena_bytes()
        };
        let unit = 4 * 48 * 64 * 4;
        let per_layer = (arena(8) - arena(4)) / 4;
        assert!(per_layer <= 11 * unit + unit / 2, "{per_layer} bytes, unit {unit}");
    }
}
