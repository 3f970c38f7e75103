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
    /// A weight of attention or MLP inside a block.
    Matrix,
    /// A weight of an Engram.
    Engram,
    /// A weight that compares branches.
    Mixing,
    /// A weight of multi-token prediction, its block's included.
    Prediction,
    /// A weight of an indexer of sparse attention.
    Indexer,
    /// The weight of a gate outside of blocks.
    Gate,
    /// Factors of whole tensors.
    Scalar,
}

impl ParameterKind {
    /// Whether it is a weight inside a block, or of multi-token prediction: what Muon moves.
    pub fn is_matrix(self) -> bool {
        use ParameterKind::{Engram, Indexer, Matrix, Mixing, Prediction};
        matches!(self, Matrix | Engram | Mixing | Prediction | Indexer)
    }
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
            list.layer(i);
        }
        list.mtp();
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

    /// uniform(-factor·s, factor·s) with s = √(3/C): its standard deviation is factor/√C.
    fn uniform(&self, factor: f64) -> Init {
        let bound = (factor * (3.0 / self.config.n_embd as f64).sqrt()) as f32;
        Init::Uniform { low: -bound, high: bound }
    }

    /// A matrix `NAME.weight`, out x in.
    fn matrix(&mut self, kind: ParameterKind, name: String, shape: [usize; 2], init: Init) {
        self.add(kind, format!("{name}.weight"), &shape, init);
    }

    fn layer(&mut self, i: usize) {
        let h = format!("transformer.h.{i}");
        self.block(ParameterKind::Matrix, &h);
        self.value_embeds(i, &h);
        self.indexer(i, &h);
        self.engram(i, &h);
        self.mhc(&h);
    }

    /// Attention and MLP.
    fn block(&mut self, kind: ParameterKind, prefix: &str) {
        let c = self.config;
        let (width, kv) = (c.n_embd, c.kv_width());
        let fc_factor = if c.preset == Preset::Modern { 0.4 } else { 1.0 };
        let (one, fc) = (self.uniform(1.0), self.uniform(fc_factor));
        self.matrix(kind, format!("{prefix}.attn.c_q"), [width, width], one);
        self.matrix(kind, format!("{prefix}.attn.c_k"), [kv, width], one);
        self.matrix(kind, format!("{prefix}.attn.c_v"), [kv, width], one);
        self.matrix(kind, format!("{prefix}.attn.c_proj"), [width, width], ZERO);
        self.matrix(kind, format!("{prefix}.mlp.c_fc"), [4 * width, width], fc);
        self.matrix(kind, format!("{prefix}.mlp.c_proj"), [width, 4 * width], ZERO);
    }

    fn value_embeds(&mut self, i: usize, h: &str) {
        let c = self.config;
        if c.has_value_embeds(i) {
            let (table, name) =
                ([c.padded_vocab(), c.kv_width()], format!("value_embeds.{i}.weight"));
            self.add(ParameterKind::ValueEmbedding, name, &table, self.uniform(1.0));
            self.matrix(
                ParameterKind::Matrix,
                format!("{h}.attn.ve_gate"),
                [c.n_kv_head, VALUE_GATE_WIDTH],
                GATE,
            );
        }
    }

    fn indexer(&mut self, i: usize, h: &str) {
        let c = self.config;
        if c.has_indexer(i) {
            let (width, heads, dim) = (c.n_embd, c.indexer_heads, c.indexer_dim);
            let (one, small) = (self.uniform(1.0), self.uniform(0.1));
            self.matrix(
                ParameterKind::Indexer,
                format!("{h}.attn.indexer.q_proj"),
                [heads * dim, width],
                one,
            );
            self.matrix(
                ParameterKind::Indexer,
                format!("{h}.attn.indexer.k_proj"),
                [dim, width],
                one,
            );
            self.matrix(
                ParameterKind::Indexer,
                format!("{h}.attn.indexer.w_proj"),
                [heads, width],
                small,
            );
        }
    }

    fn engram(&mut self, i: usize, h: &str) {
        let c = self.config;
        if c.has_engram(i) {
            let (width, b, one) = (c.n_embd, c.engram_width(), self.uniform(1.0));
            self.matrix(ParameterKind::Engram, format!("{h}.engram.in_proj"), [b, width], one);
            for n in 0..c.engram_orders.len() {
                self.matrix(
                    ParameterKind::Engram,
                    format!("{h}.engram.order_mix.{n}"),
                    [b, b],
                    one,
                );
            }
            self.matrix(ParameterKind::Engram, format!("{h}.engram.out_proj"), [width, b], ZERO);
        }
    }

    fn mhc(&mut self, h: &str) {
        let c = self.config;
        if c.mhc {
            let width = c.mhc_width();
            let one = self.uniform(1.0);
            self.matrix(
                ParameterKind::Mixing,
                format!("{h}.mhc.score_proj"),
                [width, c.n_embd],
                one,
            );
            self.matrix(ParameterKind::Mixing, format!("{h}.mhc.score_mix"), [width, width], ZERO);
        }
    }

    fn mtp(&mut self) {
        let width = self.config.n_embd;
        if self.config.mtp {
            self.matrix(ParameterKind::Prediction, "mtp.proj".to_owned(), [width, 2 * width], ZERO);
            self.block(ParameterKind::Prediction, "mtp.block");
        }
    }
}

const ZERO: Init = Init::Constant(0.0);
/// Gates begin slightly open: 0 for all would keep heads alike.
const GATE: Init = Init::Uniform { low: 0.0, high: 0.02 };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Proportions;
    use crate::testing::small;

    #[test]
    fn options_add_the_parameters_of_the_reference() {
        let mut config = small(Preset::Modern);
        config.engram = "0,-1".into();
        (config.mhc, config.mtp, config.dsa) = (true, true, true);
        (config.sequence_len, config.dsa_start, config.dsa_local) = (96, 1, 8);
        (config.dsa_ratio, config.indexer_heads, config.indexer_dim) = (0.25, 2, 8);
        config.validate().unwrap();
        let parameters = config.parameters();
        let count: usize = parameters.iter().map(Parameter::count).sum();
        assert_eq!(count, 262_736);
        let has = |name: &str| parameters.iter().any(|p| p.name == name);
        assert!(
            has("transformer.h.2.engram.order_mix.2.weight")
                && !has("transformer.h.1.engram.in_proj.weight")
        );
        assert!(
            has("transformer.h.1.attn.indexer.k_proj.weight")
                && !has("transformer.h.0.attn.indexer.k_proj.weight")
        );
        assert_eq!(shape(&parameters, "transformer.h.0.mhc.score_mix.weight"), [16, 16]);
        assert_eq!(shape(&parameters, "mtp.proj.weight"), [64, 128]);
        assert_eq!(shape(&parameters, "mtp.block.attn.c_k.weight"), [32, 64]);
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
