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
    /// Weights of attention and MLP inside blocks, gates of value embeddings included.
    pub matrix: u64,
    /// Weights of Engrams.
    pub engram: u64,
    /// Weights that compare branches.
    pub mixing: u64,
    /// Weights of multi-token prediction.
    pub prediction: u64,
    /// Weights of the indexers of sparse attention.
    pub indexer: u64,
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
        self.unembedding + self.matrices() + self.gate
    }

    /// Weights inside blocks and of multi-token prediction: what Muon moves.
    pub fn matrices(&self) -> u64 {
        self.matrix + self.engram + self.mixing + self.prediction + self.indexer
    }

    /// Parameters that the number of training tokens is chosen by: weights inside blocks and the output layer. Look-up
    /// tables do not count, since a token trains one row of them; nanochat found its ratio by the same count.
    pub fn scaling(&self) -> u64 {
        self.unembedding + self.matrices()
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
                ParameterKind::Engram => &mut count.engram,
                ParameterKind::Mixing => &mut count.mixing,
                ParameterKind::Prediction => &mut count.prediction,
                ParameterKind::Indexer => &mut count.indexer,
                ParameterKind::Gate => &mut count.gate,
                ParameterKind::Scalar => &mut count.scalar,
            };
            *slot += parameter.count() as u64;
        }
        count
    }

    /// Floating-point operations per trained token in rows of `seq_len`, forward and backward: 6 per multiplied parameter
    /// (PaLM, Chowdhery et al. 2022, appendix B) and per layer `12·H·D·min(keys, T)` for attention, where the keys are those
    /// of the window or the selected ones. Multi-token prediction adds the attention of its block, which sees whole rows,
    /// and multiplies with the output layer once more.
    pub fn flops_per_token(&self, seq_len: usize) -> u64 {
        let count = self.parameter_count();
        let (mut multiplied, mut keys) = (count.multiplied(), self.keys_seen());
        if self.mtp {
            multiplied += count.unembedding;
            keys.push(self.sequence_len);
        }
        let seen: usize = keys.into_iter().map(|keys| keys.min(seq_len)).sum();
        6 * multiplied + 12 * (self.n_embd * seen) as u64
    }

    /// How many keys a query of each layer attends to at the most. Sparse attention knows no window.
    fn keys_seen(&self) -> Vec<usize> {
        let layers = self.windows().into_iter().enumerate();
        let seen =
            layers.map(|(i, window)| if self.is_sparse(i) { self.dsa_top_k() } else { window });
        seen.collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::small;
    use crate::{ModelConfig, Preset, Proportions};

    #[test]
    fn counts_of_the_small_reference_models() {
        let mut config = small(Preset::Classic);
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
    fn options_count_for_themselves() {
        let mut config = ModelConfig {
            sequence_len: 96,
            engram: "0,-1".into(),
            mhc: true,
            mtp: true,
            dsa: true,
            dsa_start: 1,
            dsa_ratio: 0.25,
            dsa_local: 8,
            indexer_heads: 2,
            indexer_dim: 8,
            ..small(Preset::Modern)
        };
        let count = config.parameter_count();
        // q and output 64x64, k and v 32x64, an MLP of 4x64.
        let block = 2 * 64 * 64 + 2 * 32 * 64 + 2 * 4 * 64 * 64;
        assert_eq!(count.matrix, 3 * block + 2 * 2 * 12);
        // Of width 16, with three orders, on two layers.
        assert_eq!(count.engram, 2 * (2 * 16 * 64 + 3 * 16 * 16));
        assert_eq!(count.mixing, 3 * (16 * 64 + 16 * 16));
        assert_eq!(count.prediction, 64 * 128 + block);
        // Two heads of 8, one key, two weights, on two layers.
        assert_eq!(count.indexer, 2 * 64 * (2 * 8 + 8 + 2));
        assert_eq!(count.total(), 262_736);
        assert_eq!(count.scaling(), count.matrices() + 320 * 64);

        // The first layer has a short window of 128, which rows of 96 do not fill; 24 keys are selected in the others.
        let multiplied = count.matrices() + 24 + 2 * 320 * 64;
        let seen = 96 + 24 + 24 + 96;
        assert_eq!(config.flops_per_token(96), 6 * multiplied + 12 * 64 * seen);
        assert_eq!(config.flops_per_token(20), 6 * multiplied + 12 * 64 * 4 * 20);
        // With so many keys nothing is selected, and layers have the windows that they would have without.
        (config.dsa_ratio, config.short_window, config.window_pattern) = (1.0, 10, "S".into());
        assert_eq!(config.flops_per_token(96), 6 * multiplied + 12 * 64 * (10 + 10 + 2 * 96));
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
