//! The parameters of a model: names, shapes, initial values.

use kiln_graph::TensorType;

use crate::validate::{SMEAR_GATE_WIDTH, VALUE_GATE_WIDTH};
use crate::{ModelConfig, Preset};

/// How a parameter begins.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Init {
    /// All the same.
    Constant(f32),
    /// Normally distributed around 0.
    Normal {
        /// Standard deviation.
        std: f32,
    },
    /// Uniform in `low..high`.
    Uniform {
        /// Lower bound.
        low: f32,
        /// Upper bound.
        high: f32,
    },
    /// From `first` to `last` in equal steps; one value is `first`.
    Ramp {
        /// First value.
        first: f32,
        /// Last value.
        last: f32,
    },
}

/// What a parameter is for; counts go by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParameterKind {
    /// The table of token embeddings.
    Embedding,
    /// A table of values per token id.
    ValueEmbedding,
    /// The output layer.
    Unembedding,
    /// A weight inside a block.
    Matrix,
    /// The weight of a gate outside of blocks.
    Gate,
    /// Factors of whole tensors.
    Scalar,
}

/// A parameter of a model. Weights are out x in.
#[derive(Clone, PartialEq, Debug)]
pub struct Parameter {
    /// Name, as in nanochat's state dictionary.
    pub name: String,
    /// Extents.
    pub shape: Vec<usize>,
    /// Initial values.
    pub init: Init,
    /// What it is for.
    pub kind: ParameterKind,
}

impl Parameter {
    /// Element type and shape.
    pub fn tensor_type(&self) -> TensorType {
        TensorType::f32(&self.shape)
    }

    /// Number of values.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }
}

impl ModelConfig {
    /// Every parameter, in a fixed order.
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut list = List { config: self, parameters: Vec::new() };
        list.outside_blocks();
        for i in 0..self.n_layer {
            list.block(i);
        }
        list.parameters
    }
}

struct List<'c> {
    config: &'c ModelConfig,
    parameters: Vec<Parameter>,
}

impl List<'_> {
    fn add(&mut self, kind: ParameterKind, name: impl Into<String>, shape: &[usize], init: Init) {
        let (name, shape) = (name.into(), shape.to_vec());
        self.parameters.push(Parameter { name, shape, init, kind });
    }

    fn outside_blocks(&mut self) {
        use ParameterKind::{Embedding, Gate, Scalar, Unembedding};
        let c = self.config;
        let (layers, table) = ([c.n_layer], [c.padded_vocab(), c.n_embd]);
        let (wte_std, resid, x0) = match c.preset {
            Preset::Classic => (1.0, Init::Constant(1.0), Init::Constant(0.0)),
            Preset::Modern => (
                0.8,
                Init::Ramp { first: 1.15, last: 1.05 },
                Init::Ramp { first: 0.20, last: 0.05 },
            ),
        };
        self.add(Embedding, "transformer.wte.weight", &table, Init::Normal { std: wte_std });
        self.add(Unembedding, "lm_head.weight", &table, Init::Normal { std: 0.001 });
        self.add(Scalar, "resid_lambdas", &layers, resid);
        self.add(Scalar, "x0_lambdas", &layers, x0);
        if c.smear {
            self.add(Gate, "smear_gate.weight", &[1, SMEAR_GATE_WIDTH], GATE);
            self.add(Scalar, "smear_lambda", &[1], Init::Constant(0.0));
        }
        if c.backout {
            self.add(Scalar, "backout_lambda", &[1], Init::Constant(0.2));
        }
    }

    fn block(&mut self, i: usize) {
        use ParameterKind::{Matrix, ValueEmbedding};
        let c = self.config;
        let (width, kv) = (c.n_embd, c.kv_width());
        // The standard deviation of uniform(-s, s) is s/√3 = 1/√C.
        let s = (3.0 / width as f64).sqrt();
        let uniform = |factor: f64| {
            let bound = (factor * s) as f32;
            Init::Uniform { low: -bound, high: bound }
        };
        let fc_factor = if c.preset == Preset::Modern { 0.4 } else { 1.0 };
        let zero = Init::Constant(0.0);
        let h = format!("transformer.h.{i}");
        self.add(Matrix, format!("{h}.attn.c_q.weight"), &[width, width], uniform(1.0));
        self.add(Matrix, format!("{h}.attn.c_k.weight"), &[kv, width], uniform(1.0));
        self.add(Matrix, format!("{h}.attn.c_v.weight"), &[kv, width], uniform(1.0));
        self.add(Matrix, format!("{h}.attn.c_proj.weight"), &[width, width], zero);
        self.add(Matrix, format!("{h}.mlp.c_fc.weight"), &[4 * width, width], uniform(fc_factor));
        self.add(Matrix, format!("{h}.mlp.c_proj.weight"), &[width, 4 * width], zero);
        if c.has_value_embeds(i) {
            let (table, name) = ([c.padded_vocab(), kv], format!("value_embeds.{i}.weight"));
            self.add(ValueEmbedding, name, &table, uniform(1.0));
            let gate = [c.n_kv_head, VALUE_GATE_WIDTH];
            self.add(Matrix, format!("{h}.attn.ve_gate.weight"), &gate, GATE);
        }
    }
}

/// Gates begin slightly open: 0 for all would keep heads alike.
const GATE: Init = Init::Uniform { low: 0.0, high: 0.02 };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Proportions;

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

    fn shape<'a>(parameters: &'a [Parameter], name: &str) -> &'a [usize] {
        &parameters.iter().find(|p| p.name == name).unwrap_or_else(|| panic!("{name}")).shape
    }

    #[test]
    fn classic_has_the_names_and_shapes_of_the_reference() {
        let parameters = small(Preset::Classic).parameters();
        let names: Vec<&str> = parameters.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(
            names[..6],
            [
                "transformer.wte.weight",
                "lm_head.weight",
                "resid_lambdas",
                "x0_lambdas",
                "transformer.h.0.attn.c_q.weight",
                "transformer.h.0.attn.c_k.weight",
            ]
        );
        assert_eq!(names.len(), 4 + 3 * 6);
        assert_eq!(shape(&parameters, "transformer.wte.weight"), [320, 64]);
        assert_eq!(shape(&parameters, "transformer.h.1.attn.c_v.weight"), [32, 64]);
        assert_eq!(shape(&parameters, "transformer.h.2.attn.c_proj.weight"), [64, 64]);
        assert_eq!(shape(&parameters, "transformer.h.2.mlp.c_fc.weight"), [256, 64]);
        assert_eq!(shape(&parameters, "transformer.h.2.mlp.c_proj.weight"), [64, 256]);
    }

    #[test]
    fn modern_adds_tables_on_every_other_layer_and_its_gates() {
        let parameters = small(Preset::Modern).parameters();
        assert_eq!(parameters.len(), 29);
        assert_eq!(shape(&parameters, "value_embeds.0.weight"), [320, 32]);
        assert_eq!(shape(&parameters, "value_embeds.2.weight"), [320, 32]);
        assert!(parameters.iter().all(|p| p.name != "value_embeds.1.weight"));
        assert_eq!(shape(&parameters, "transformer.h.2.attn.ve_gate.weight"), [2, 12]);
        assert_eq!(shape(&parameters, "smear_gate.weight"), [1, 24]);
        assert_eq!(shape(&parameters, "smear_lambda"), [1]);
        assert_eq!(shape(&parameters, "backout_lambda"), [1]);
    }

    #[test]
    fn an_even_depth_has_tables_on_odd_layers() {
        let config =
            ModelConfig::from_depth(4, Proportions::default(), Preset::Modern, 300, 64).unwrap();
        let with: Vec<usize> = (0..4).filter(|&i| config.has_value_embeds(i)).collect();
        assert_eq!(with, [1, 3]);
    }
}
