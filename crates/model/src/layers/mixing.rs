//! mHC: a layer's result is a mixture of its branches, weighted for each position.

use kiln_graph::ops::{Mixing, Sinkhorn};
use kiln_graph::{GraphError, ValueId};

use super::{Block, Layers};

impl Layers<'_> {
    /// The branches `[B, T, C]` of layer `i`, its output first, mixed.
    pub(super) fn mix(&mut self, i: usize, branches: &[ValueId]) -> Result<ValueId, GraphError> {
        let config = self.config;
        let block = Block::Layer(i);
        let weights = (self.weight(block, "mhc.score_proj"), self.weight(block, "mhc.score_mix"));
        let mixing = Mixing {
            temperature: config.mhc_temperature,
            sinkhorn: Sinkhorn { iters: config.mhc_iters, epsilon: config.mhc_epsilon },
            alpha: config.mhc_alpha.clamp(0.0, 1.0),
        };
        self.graph.mix_branches(branches, weights, &mixing)
    }
}
