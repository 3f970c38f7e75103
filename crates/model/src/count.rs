//! How many parameters a model has, and what a token costs.

use crate::{ModelConfig, ParameterKind};

/// Numbers of parameters by kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ParameterCount {
    /// Table of token embeddings, padding rows included.
    pub embedding: u64,
    /// Tables of values per token id.
    pub value_embedding: u64,
    /// Output layer.
    pub unembedding: u64,
    /// Weights inside blocks.
    pub matrix: u64,
    /// Weights of gates outside of blocks.
    pub gate: u64,
    /// Factors of whole tensors.
    pub scalar: u64,
}

impl ParameterCount {
    /// All parameters.
    pub fn total(&self) -> u64 {
        self.multiplied() + self.embedding + self.value_embedding + self.scalar
    }

    /// Parameters that every token is multiplied with: all but look-up tables and scalars. They cost 6 FLOPs per trained
    /// token.
    pub fn multiplied(&self) -> u64 {
        self.unembedding + self.matrix + self.gate
    }

    /// Parameters that the number of training tokens is chosen by: weights inside blocks and the output layer. Look-up
    /// tables do not count, since a token trains one row of them; nanochat found its ratio by the same count.
    pub fn scaling(&self) -> u64 {
        self.unembedding + self.matrix
    }
}

impl ModelConfig {
    /// Numbers of parameters by kind.
    pub fn parameter_count(&self) -> ParameterCount {
        let mut count = ParameterCount::default();
        for parameter in self.parameters() {
            let slot = match parameter.kind {
                ParameterKind::Embedding => &mut count.embedding,
                ParameterKind::ValueEmbedding => &mut count.value_embedding,
                ParameterKind::Unembedding => &mut count.unembedding,
                ParameterKind::Matrix => &mut count.matrix,
                ParameterKind::Gate => &mut count.gate,
                ParameterKind::Scalar => &mut count.scalar,
            };
            *slot += parameter.count() as u64;
        }
        count
    }

    /// Floating-point operations per trained token in rows of `seq_len`, forward and backward: 6 per multiplied parameter
    /// (PaLM, Chowdhery et al. 2022, appendix B) and per layer `12·H·D·min(window, T)` for attention.
    pub fn flops_per_token(&self, seq_len: usize) -> u64 {
        let seen: usize = self.windows().iter().map(|&window| window.min(seq_len)).sum();
        6 * self.parameter_count().multiplied() + 12 * (self.n_embd * seen) as u64
    }
}

#[cfg(test)]
mod tests {
    use crate::{ModelConfig, Preset, Proportions};

    #[test]
    fn counts_of_the_small_reference_models() {
        let mut config = ModelConfig {
            n_layer: 3,
            n_embd: 64,
            n_head: 4,
            n_kv_head: 2,
            sequence_len: 48,
            vocab_size: 301,
            ..ModelConfig::default()
        };
        assert_eq!(config.parameter_count().total(), 176_134);
        config.smear = true;
        assert_eq!(config.parameter_count().total(), 176_159);
        config.smear = false;
        config.backout = true;
        assert_eq!(config.parameter_count().total(), 176_135);
        config.backout = false;
        config.value_embeds = true;
        assert_eq!(config.parameter_count().total(), 196_662);
        config.apply_preset(Preset::Modern);
        assert_eq!(config.parameter_count().total(), 196_688);
    }

    #[test]
    fn flops_of_a_token_at_depth_six() {
        let depth_six = |preset| {
            ModelConfig::from_depth(6, Proportions::default(), preset, 32768, 512).unwrap()
        };
        let classic = depth_six(Preset::Classic);
        // 6·(6·12·384² + 32768·384) + 6·12·384·512
        assert_eq!(classic.flops_per_token(512), 153_354_240);
        assert_eq!(classic.parameter_count().scaling(), 10_616_832 + 12_582_912);
        // A window beyond the row costs no more than the row.
        assert_eq!(classic.flops_per_token(256), 153_354_240 - 6 * 12 * 384 * 256);
        let modern = depth_six(Preset::Modern);
        let gates = 3 * 3 * 12 + 24;
        assert_eq!(modern.flops_per_token(512), 153_354_240 + 6 * gates);
        assert_eq!(modern.parameter_count().value_embedding, 3 * 32768 * 384);
    }
}
