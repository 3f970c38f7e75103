//! A model as graphs that take some more tokens of each row, and keep what later ones need.
//!
//! Every cache is indexed by position: what lies at `start` and after it is never read before it is written. So a row can go
//! back to an earlier position at any time, and nothing needs to be cleared.

use kiln_graph::{Graph, GraphError, TensorType, ValueId};

use crate::layers::{Cache, Layers};
use crate::{Compute, ModelConfig};

/// Sizes of a step of generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeShape {
    /// Rows, B.
    pub rows: usize,
    /// New tokens of each row, T.
    pub tokens: usize,
    /// Positions that caches have room for. Beyond it tokens are dropped, so callers keep the real ones within it; padding may
    /// go beyond.
    pub capacity: usize,
}

/// Which tokens logits are wanted of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogitsOf {
    /// Each row's last one.
    Last,
    /// All.
    Every,
}

/// A graph that takes some more tokens of each row: inputs `ids`, `start` and, for the logits of last tokens, `last`, in
/// this order; output `logits`.
#[derive(Clone, Debug)]
pub struct DecodeGraph {
    /// The graph. Parameters, or copies of them as in a [`LossGraph`](crate::LossGraph), and caches are variables.
    pub graph: Graph,
    /// New token ids, i32 `[B, T]`, padded on the right with any valid id.
    pub ids: ValueId,
    /// How many tokens each row has already seen, i32 `[B]`.
    pub start: ValueId,
    /// Index of each row's last real token among the new ones, i32 `[B]`.
    pub last: Option<ValueId>,
    /// f32, of last tokens `[B, V]`, of all `[B, T, V]`.
    pub logits: ValueId,
    /// Names and types of the cache variables, which may hold anything at first.
    pub caches: Vec<(String, TensorType)>,
}

/// `tokens` more tokens of each of `rows` rows (1: decoding; more: prefill), whose keys and values go into caches with
/// room for `capacity` positions; logits of each row's last token.
///
/// # Errors
/// When sizes do not fit together, which a valid configuration rules out.
pub fn decode_graph(
    config: &ModelConfig,
    compute: Compute,
    rows: usize,
    tokens: usize,
    capacity: usize,
) -> Result<DecodeGraph, GraphError> {
    let shape = DecodeShape { rows, tokens, capacity };
    build(config, compute, shape, LogitsOf::Last, false)
}

/// The same, with the logits that are asked for, and the trunk's final states of all tokens in the variable `hidden.T`:
/// what [`draft_graph`] goes on from.
///
/// # Errors
/// As of [`decode_graph`].
pub fn trunk_graph(
    config: &ModelConfig,
    compute: Compute,
    shape: DecodeShape,
    logits_of: LogitsOf,
) -> Result<DecodeGraph, GraphError> {
    build(config, compute, shape, logits_of, true)
}

fn build(
    config: &ModelConfig,
    compute: Compute,
    shape: DecodeShape,
    logits_of: LogitsOf,
    keeps_states: bool,
) -> Result<DecodeGraph, GraphError> {
    let DecodeShape { rows, tokens, capacity } = shape;
    let mut graph = Graph::new();
    let ids = graph.input("ids", TensorType::i32(&[rows, tokens]));
    let start = graph.input("start", TensorType::i32(&[rows]));
    let wants_last = logits_of == LogitsOf::Last;
    let last = wants_last.then(|| graph.input("last", TensorType::i32(&[rows])));
    // Nobody else needs more than the last state.
    let cache = Cache { capacity, last: last.filter(|_| !keeps_states) };
    let mut layers = Layers::new(&mut graph, config, compute, start, Some(cache));
    let x = layers.trunk(ids)?;
    let mut h = layers.final_norm(x)?;
    if keeps_states {
        let held = states_variable(layers.graph, config, compute, shape);
        layers.graph.update(held, h)?;
        if let Some(last) = last {
            let x = layers.graph.select_time(x, last)?;
            h = layers.final_norm(x)?;
        }
    }
    let logits = layers.logits(h, config.vocab_size)?;
    Ok(finish(graph, ids, start, last, logits))
}

/// The trunk's final states of a step of so many tokens.
fn states_variable(
    graph: &mut Graph,
    config: &ModelConfig,
    compute: Compute,
    shape: DecodeShape,
) -> ValueId {
    let ty = TensorType::f32(&[shape.rows, shape.tokens, config.n_embd]);
    graph.variable(&format!("hidden.{}", shape.tokens), ty.with_dtype(compute.dtype()))
}

/// Multi-token prediction after a [`trunk_graph`] of the same sizes: inputs `ids`, here those of the tokens that follow, `start`
/// and `last`; output `logits` of the first `vocab` ids `[B, vocab]` for the token after the last of them.
///
/// # Errors
/// As of [`decode_graph`].
///
/// # Panics
/// When the model has no such block.
pub fn draft_graph(
    config: &ModelConfig,
    compute: Compute,
    shape: DecodeShape,
    vocab: usize,
) -> Result<DecodeGraph, GraphError> {
    let DecodeShape { rows, tokens, capacity } = shape;
    let mut graph = Graph::new();
    let ids = graph.input("ids", TensorType::i32(&[rows, tokens]));
    let start = graph.input("start", TensorType::i32(&[rows]));
    let last = graph.input("last", TensorType::i32(&[rows]));
    let states = states_variable(&mut graph, config, compute, shape);
    let cache = Cache { capacity, last: None };
    let mut layers = Layers::new(&mut graph, config, compute, start, Some(cache));
    let x = layers.prediction(states, ids)?;
    let x = layers.graph.select_time(x, last)?;
    let h = layers.final_norm(x)?;
    let logits = layers.logits(h, vocab)?;
    Ok(finish(graph, ids, start, Some(last), logits))
}

fn finish(
    mut graph: Graph,
    ids: ValueId,
    start: ValueId,
    last: Option<ValueId>,
    logits: ValueId,
) -> DecodeGraph {
    graph.output("logits", logits);
    let caches = graph.variables().iter().filter(|v| v.update.is_some());
    let caches = caches.map(|v| (v.name.clone(), graph.tensor_type(v.value))).collect();
    DecodeGraph { graph, ids, start, last, logits, caches }
}

#[cfg(test)]
mod tests {
    use kiln_graph::{Op, Place, Plan};

    use super::*;
    use crate::Preset;
    use crate::testing::small;

    fn plan(graph: &Graph) -> Plan {
        Plan::new(graph, &|_, _| 0).unwrap()
    }

    /// How many caches are written right where they lie; none may be copied.
    fn written_in_place(graph: &Graph) -> usize {
        let plan = plan(graph);
        assert!(plan.steps().iter().all(|step| step.op.is_some()), "a cache is copied");
        let writes = plan.steps().iter().filter(|s| matches!(s.op, Some(Op::CacheWrite(_))));
        writes.inspect(|s| assert!(matches!(s.outputs[0].0, Place::Variable(_, 0)))).count()
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
                assert_eq!(find("cache.smear"), TensorType::f32(&[2, 32, 1, 64]));
            }
            assert_eq!(written_in_place(g), 6 + smear);
        }
    }

    #[test]
    fn an_engram_keeps_what_its_means_are_made_of() {
        let config = ModelConfig { engram: "0,-1".into(), ..small(Preset::Classic) };
        let built = decode_graph(&config, Compute::Bf16, 2, 4, 32).unwrap();
        let engrams: Vec<_> = built.caches.iter().filter(|(n, _)| n.ends_with("engram")).collect();
        assert_eq!(engrams.len(), 2);
        assert_eq!(engrams[0].1, TensorType::f32(&[2, 32, 1, 16]));
        assert_eq!(written_in_place(&built.graph), 8);
    }

    #[test]
    fn drafts_go_on_from_the_states_of_the_trunk() {
        let config = ModelConfig { mtp: true, ..small(Preset::Modern) };
        let shape = DecodeShape { rows: 1, tokens: 2, capacity: 32 };
        let built = trunk_graph(&config, Compute::Bf16, shape, LogitsOf::Every).unwrap();
        assert_eq!(built.graph.tensor_type(built.logits), TensorType::f32(&[1, 2, 301]));
        let hidden = built.caches.iter().find(|(n, _)| n == "hidden.2").unwrap().1;
        assert_eq!(hidden.shape().dims(), [1, 2, 64]);
        let draft = draft_graph(&config, Compute::Bf16, shape, 200).unwrap();
        assert_eq!(draft.graph.tensor_type(draft.logits), TensorType::f32(&[1, 200]));
        assert_eq!(written_in_place(&draft.graph), 2);
        let read = draft.graph.variables().iter().find(|v| v.name == "hidden.2").unwrap();
        assert_eq!(draft.graph.tensor_type(read.value), hidden);
    }

    #[test]
    fn one_layer_is_a_model_too() {
        let config = ModelConfig { n_layer: 1, ..small(Preset::Modern) };
        let built = decode_graph(&config, Compute::F32, 1, 1, 8).unwrap();
        assert!(plan(&built.graph).arena_bytes() > 0);
    }
}
