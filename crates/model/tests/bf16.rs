//! Graphs that compute in bf16: what is bf16 in them, what stays f32, and what they keep.

use std::collections::BTreeMap;

use kiln_graph::ops::{Epilogue, Reduction};
use kiln_graph::{DType, Graph, Node, Op, Place, Plan, TensorType, ValueId, differentiate};
use kiln_model::{
    Compute, ModelConfig, Preset, compute_copy_name, decode_graph, logits_graph, loss_graph,
};

const LAYERS: usize = 4;

fn config(preset: Preset) -> ModelConfig {
    let mut config = ModelConfig {
        n_layer: LAYERS,
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

/// A training step of two rows of 40: loss, gradients, accumulation.
fn training(config: &ModelConfig, compute: Compute) -> (Graph, Vec<(String, ValueId)>) {
    let mut built = loss_graph(config, compute, 2, 40, Reduction::Mean).unwrap();
    let values: Vec<ValueId> = built.parameters.iter().map(|&(_, v)| v).collect();
    let gradients = differentiate(&mut built.graph, built.loss, &values).unwrap();
    let g = &mut built.graph;
    let keep = g.input("keep", TensorType::f32(&[1]));
    for ((name, value), gradient) in built.parameters.iter().zip(gradients) {
        let ty = g.tensor_type(gradient);
        assert_eq!(ty, g.tensor_type(*value).with_dtype(DType::F32), "gradient of {name}");
        let held = g.variable(&format!("grad.{name}"), ty);
        let sum = g.accumulate(gradient, held, keep).unwrap();
        g.update(held, sum).unwrap();
    }
    (built.graph, built.parameters)
}

fn types(g: &Graph, values: &[ValueId]) -> Vec<DType> {
    values.iter().map(|&v| g.tensor_type(v).dtype()).collect()
}

/// Checks the element types of a node of a model, forward or backward.
fn check(g: &Graph, node: &Node) {
    use DType::{Bf16, F32};
    let (inputs, outputs) = (types(g, &node.inputs), types(g, &node.outputs));
    let name = node.op.name();
    let gate = |i: usize| g.tensor_type(node.inputs[i]).shape().last() <= 24;
    match &node.op {
        Op::Linear(op) => match op.epilogue {
            Epilogue::None if gate(0) => assert_eq!((inputs, outputs), (vec![F32; 2], vec![F32])),
            Epilogue::Residual => {
                assert_eq!((inputs, outputs), (vec![Bf16, Bf16, F32], vec![F32]));
            }
            _ => assert_eq!((inputs, outputs), (vec![Bf16; 2], vec![Bf16])),
        },
        Op::LinearGradWeight(_) if !gate(1) => {
            assert_eq!((&inputs[..2], outputs), (&[Bf16; 2][..], vec![F32]));
        }
        Op::LinearGradInput(_) if !gate(1) => assert_eq!(inputs[..2], [Bf16; 2]),
        Op::Attention(_) => assert_eq!((inputs, outputs), (vec![Bf16; 3], vec![Bf16, F32])),
        Op::AttentionGrad(_) => {
            assert_eq!(inputs, [Bf16, Bf16, Bf16, Bf16, F32, Bf16]);
            assert_eq!(outputs, [Bf16; 3]);
        }
        Op::RopeNorm(_) => assert_eq!((inputs, outputs), (vec![Bf16, F32], vec![Bf16, F32])),
        Op::RopeNormGrad(_) => assert_eq!(outputs, [Bf16]),
        Op::LinearCrossEntropy(_) | Op::LinearCrossEntropyGrad(_) => {
            assert_eq!(inputs[..2], [Bf16; 2], "{name}");
            assert!(outputs.iter().all(|&t| t == F32), "{name}");
        }
        // The residual stream and its gradient.
        Op::Blend(_) | Op::BlendGrad(_) | Op::Sub(_) | Op::Add(_) => {
            assert!(inputs.iter().chain(&outputs).all(|&t| t == F32), "{name}");
        }
        Op::RmsNormGrad(_) => assert_eq!(outputs, [F32]),
        _ => {}
    }
}

fn count(nodes: &[Node], f: impl Fn(&Op) -> bool) -> usize {
    nodes.iter().filter(|n| f(&n.op)).count()
}

#[test]
fn a_training_step_has_the_types_it_should() {
    for preset in [Preset::Classic, Preset::Modern] {
        let (g, parameters) = training(&config(preset), Compute::Bf16);
        g.nodes().iter().for_each(|node| check(&g, node));
        let nodes = g.nodes();
        // The gradient of the residual stream is cast twice per layer, each time for both of the products that read it.
        assert_eq!(count(nodes, |op| matches!(op, Op::Cast(_))), 2 * LAYERS, "{preset}");
        let fused = |op: &Op| matches!(op, Op::LinearGradInput(op) if op.relu_squared);
        assert_eq!(count(nodes, fused), LAYERS);
        assert_eq!(count(nodes, |op| matches!(op, Op::ReluSquaredGrad(_))), 0);
        // Norms of layers and of the output feed products; that of the embeddings is the residual stream.
        let norms: Vec<DType> = nodes
            .iter()
            .filter(|n| matches!(n.op, Op::RmsNorm(_)))
            .map(|n| g.tensor_type(n.outputs[0]).dtype())
            .collect();
        assert_eq!(norms[0], DType::F32);
        assert_eq!(norms[1..], [DType::Bf16; 2 * LAYERS + 1]);
        let names: Vec<String> = config(preset).parameters().into_iter().map(|p| p.name).collect();
        assert!(parameters.iter().map(|(n, _)| n).eq(&names));
    }
}

#[test]
fn weights_are_read_from_their_copies_and_only_there() {
    let config = config(Preset::Modern);
    let (g, parameters) = training(&config, Compute::Bf16);
    let variables: BTreeMap<&str, ValueId> =
        g.variables().iter().map(|v| (v.name.as_str(), v.value)).collect();
    for (parameter, (name, value)) in config.parameters().iter().zip(&parameters) {
        assert_eq!(parameter.name, *name);
        let copy = compute_copy_name(name);
        let (read, other) = match parameter.has_compute_copy() {
            true => (copy.as_str(), name.as_str()),
            false => (name.as_str(), copy.as_str()),
        };
        assert_eq!(variables[read], *value);
        assert!(!variables.contains_key(other), "{other}");
    }
}

#[test]
fn products_add_gradients_of_weights_onto_what_is_held() {
    for preset in [Preset::Classic, Preset::Modern] {
        let config = config(preset);
        let (g, _) = training(&config, Compute::Bf16);
        let plan = Plan::new(&g, &|_, _| 0).unwrap();
        let written: Vec<usize> = plan
            .steps()
            .iter()
            .filter(|s| {
                let op = s.op.as_ref().expect("nothing is copied");
                // The rest accumulates scalars.
                matches!(
                    op,
                    Op::LinearGradWeight(_) | Op::LinearCrossEntropyGrad(_) | Op::EmbedGrad(_)
                )
            })
            .map(|s| match s.outputs.last().unwrap() {
                (Place::Variable(i, 0), ty) if ty.dtype() == DType::F32 => *i,
                (place, ty) => panic!("{ty} at {place:?}"),
            })
            .collect();
        let tensors = config.parameters().into_iter().filter(|p| p.shape.len() == 2);
        let expected: usize = tensors.count();
        let distinct: std::collections::BTreeSet<&usize> = written.iter().collect();
        assert_eq!((written.len(), distinct.len()), (expected, expected));
    }
}

#[test]
fn generation_keeps_its_caches_in_bf16_and_yields_f32() {
    for preset in [Preset::Classic, Preset::Modern] {
        let built = decode_graph(&config(preset), Compute::Bf16, 2, 3, 32).unwrap();
        let g = &built.graph;
        g.nodes().iter().for_each(|node| check(g, node));
        assert_eq!(g.tensor_type(built.logits), TensorType::f32(&[2, 301]));
        for (name, ty) in &built.caches {
            let wanted = if name == "cache.smear" { DType::F32 } else { DType::Bf16 };
            assert_eq!(ty.dtype(), wanted, "{name}");
        }
        assert_eq!(count(g.nodes(), |op| matches!(op, Op::Cast(_))), 0);
        let plan = Plan::new(g, &|_, _| 0).unwrap();
        assert!(plan.steps().iter().all(|step| step.op.is_some()), "a cache is copied");
        let built = logits_graph(&config(preset), Compute::Bf16, 2, 5).unwrap();
        assert_eq!(built.graph.tensor_type(built.logits), TensorType::f32(&[2, 5, 301]));
    }
}

#[test]
fn training_in_bf16_keeps_little_of_a_layer() {
    // In bytes per element of the residual stream: the layer's input in f32, then in bf16 two norms, q, k, v, the
    // attention's result, and the hidden layer of four times the width: 4 + 2·(2 + 3 + 1 + 4). One is left for statistics.
    let arena = |n_layer: usize| {
        let config = ModelConfig { n_layer, n_kv_head: 4, ..config(Preset::Classic) };
        let (g, _) = training(&config, Compute::Bf16);
        Plan::new(&g, &|_, _| 0).unwrap().arena_bytes()
    };
    let per_layer = (arena(8) - arena(4)) / 4;
    let elements = 2 * 40 * 64;
    assert!(per_layer <= (24 + 1) * elements, "{per_layer} bytes, {elements} elements");
}

#[test]
fn f32_has_no_halves_at_all() {
    for preset in [Preset::Classic, Preset::Modern] {
        let (g, _) = training(&config(preset), Compute::F32);
        let all: Vec<ValueId> = g.nodes().iter().flat_map(|n| n.outputs.clone()).collect();
        assert!(types(&g, &all).iter().all(|&t| t != DType::Bf16));
        assert_eq!(count(g.nodes(), |op| matches!(op, Op::Cast(_))), 0);
    }
}
