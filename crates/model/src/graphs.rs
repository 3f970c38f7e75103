//! A model as graphs: its loss, its logits, and a step of generation.

use kiln_graph::ops::Reduction;
use kiln_graph::{Graph, GraphError, TensorType, ValueId};

use crate::layers::{Cache, Layers};
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
    /// f32 `[1]`, or `[B, T]` per token.
    pub loss: ValueId,
    /// The parameters by name, in the order of [`ModelConfig::parameters`], each with the value that is read for it: with
    /// bf16 the copy of a weight. The loss is to be differentiated with respect to these.
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

/// A graph that takes some more tokens of each row: inputs `ids`, `start`, `last` in this order, output `logits`.
#[derive(Clone, Debug)]
pub struct DecodeGraph {
    /// The graph. Parameters, or copies of them as in a [`LossGraph`], and caches are variables.
    pub graph: Graph,
    /// New token ids, i32 `[B, T]`, padded on the right with any valid id.
    pub ids: ValueId,
    /// How many tokens each row has already seen, i32 `[B]`.
    pub start: ValueId,
    /// Index of each row's last real token among the new ones, i32 `[B]`.
    pub last: ValueId,
    /// Logits of that token, f32 `[B, V]`.
    pub logits: ValueId,
    /// Names and types of the cache variables. A new generation needs `cache.smear`, where there is one, to be zero; the
    /// others may hold anything.
    pub caches: Vec<(String, TensorType)>,
}

/// The loss of `batch` rows of `seq_len` tokens, which may be shorter than the configured length; products read operands
/// of type `compute`.
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
    let mut graph = Graph::new();
    let ids = graph.input("ids", TensorType::i32(&[batch, seq_len]));
    let targets = graph.input("targets", TensorType::i32(&[batch, seq_len]));
    let start = graph.zero_positions(batch);
    let mut layers = Layers::new(&mut graph, config, compute, start, None);
    let x = layers.trunk(ids)?;
    let loss = layers.loss(x, targets, reduction)?;
    let parameters = layers.parameters;
    graph.output("loss", loss);
    Ok(LossGraph { graph, ids, targets, loss, parameters })
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
    let logits = layers.logits(x)?;
    graph.output("logits", logits);
    Ok(LogitsGraph { graph, ids, logits })
}

/// `tokens` more tokens of each of `rows` rows (1: decoding; more: prefill), whose keys and values go into caches with
/// room for `capacity` positions. Beyond the capacity tokens are dropped, so the caller keeps `start + tokens` within it.
///
/// # Errors
/// As of [`loss_graph`].
pub fn decode_graph(
    config: &ModelConfig,
    compute: Compute,
    rows: usize,
    tokens: usize,
    capacity: usize,
) -> Result<DecodeGraph, GraphError> {
    let mut graph = Graph::new();
    let ids = graph.input("ids", TensorType::i32(&[rows, tokens]));
    let start = graph.input("start", TensorType::i32(&[rows]));
    let last = graph.input("last", TensorType::i32(&[rows]));
    let mut layers =
        Layers::new(&mut graph, config, compute, start, Some(Cache { capacity, last }));
    let x = layers.trunk(ids)?;
    let logits = layers.logits(x)?;
    graph.output("logits", logits);
    let caches = graph.variables().iter().filter(|v| v.update.is_some());
    let caches = caches.map(|v| (v.name.clone(), graph.tensor_type(v.value))).collect();
    Ok(DecodeGraph { graph, ids, start, last, logits, caches })
}

#[cfg(test)]
mod tests {
    use kiln_graph::{Op, Place, Plan, differentiate};

    use super::*;
    use crate::Preset;

    fn small(preset: Preset) -> ModelConfig {
        let mut config = ModelConfig {
            n_layer: 3,
            n_embd: 64,
            n_head: 4,
            n_kv_head: 2,
            sequence_len: 48,
            vocab_size: 301,
            window_pattern: "SL".into(),
            ..ModelConfig::default()
        };
        config.apply_preset(preset);
        config
    }

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

    #[test]
    fn generation_updates_its_caches_in_place() {
        for (preset, tokens) in [(Preset::Classic, 1), (Preset::Modern, 1), (Preset::Modern, 16)] {
            let config = small(preset);
            let built = decode_graph(&config, Compute::F32, 2, tokens, 32).unwrap();
            let g = &built.graph;
            let inputs: Vec<&str> = g.inputs().iter().map(|i| i.name.as_str()).collect();
            assert_eq!(inputs, ["ids", "start", "last"]);
            assert_eq!(g.tensor_type(built.logits), TensorType::f32(&[2, 301]));
            let smear = usize::from(preset == Preset::Modern);
            assert_eq!(built.caches.len(), 6 + smear);
            let find = |name: &str| built.caches.iter().find(|(n, _)| n == name).unwrap().1;
            assert_eq!(find("cache.2.k"), TensorType::f32(&[2, 32, 2, 16]));
            if smear == 1 {
                assert_eq!(find("cache.smear"), TensorType::f32(&[2, 64]));
            }
            let plan = plan(g);
            let mut written = 0;
            for step in plan.steps() {
                assert!(step.op.is_some(), "a cache is copied");
                if matches!(step.op, Some(Op::CacheWrite(_))) {
                    assert!(matches!(step.outputs[0].0, Place::Variable(_, 0)));
                    written += 1;
                }
            }
            assert_eq!(written, 6);
        }
    }

    #[test]
    fn one_layer_is_a_model_too() {
        let config = ModelConfig { n_layer: 1, ..small(Preset::Modern) };
        let built = decode_graph(&config, Compute::F32, 1, 1, 8).unwrap();
        assert!(plan(&built.graph).arena_bytes() > 0);
    }
}
