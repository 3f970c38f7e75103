//! mHC: a layer's result is a mixture of its branches, weighted for each position.

use kiln_graph::ops::Sinkhorn;
use kiln_graph::{GraphError, ValueId};

use super::{Block, Layers};
use crate::ModelConfig;

impl Layers<'_> {
    /// The branches `[B, T, C]` of layer `i`, its output first, mixed: `u_n = tanh(W_s b_n)`,
    /// `S_ij = (u_iᵀ A u_j) / (h·temperature)`, and row 0 of what Sinkhorn makes of S are the weights.
    pub(super) fn mix(&mut self, i: usize, branches: &[ValueId]) -> Result<ValueId, GraphError> {
        let ModelConfig { mhc_alpha, mhc_temperature, mhc_iters, mhc_epsilon, .. } = *self.config;
        let w_s = self.weight(Block::Layer(i), "mhc.score_proj");
        let a = self.weight(Block::Layer(i), "mhc.score_mix");
        let (mut u, mut images) = (Vec::new(), Vec::new());
        for &branch in branches {
            let branch = self.graph.cast(branch, self.dtype)?;
            let projected = self.linear_f32(branch, w_s)?;
            let vector = self.graph.tanh(projected)?;
            let read = self.graph.cast(vector, self.dtype)?;
            images.push(self.linear_f32(read, a)?);
            u.push(vector);
        }
        let scale = 1.0 / (self.config.mhc_width() as f32 * mhc_temperature);
        let scores = self.graph.branch_scores(&u, &images, scale)?;
        let op = Sinkhorn { iters: mhc_iters, epsilon: mhc_epsilon };
        let weights = self.graph.sinkhorn(scores, op)?;
        self.graph.branch_mix(weights, branches, mhc_alpha.clamp(0.0, 1.0))
    }
}
