//! MTP: a block after the trunk that predicts the token after the next.

use kiln_graph::ops::Reduction;
use kiln_graph::{GraphError, ValueId};

use super::{Block, Layers};

impl Layers<'_> {
    /// The state, before the final norm, that predicts the token after the next one: from h `[B, T, C]`, the trunk's final
    /// normed state, and the ids `[B, T]` of the next tokens, `m = P·[h; norm(wte[next])]` and one block.
    pub fn prediction(&mut self, h: ValueId, next: ValueId) -> Result<ValueId, GraphError> {
        self.recomputed(|layers| {
            let e = layers.graph.embed(layers.parameter("transformer.wte.weight"), next)?;
            let e = layers.graph.rms_norm_as(e, layers.dtype)?;
            let joined = layers.graph.concat(h, e)?;
            let m = layers.graph.linear_f32(joined, layers.parameter("mtp.proj.weight"))?;
            let normed = layers.graph.rms_norm_as(m, layers.dtype)?;
            layers.block(Block::Prediction, m, normed, None)
        })
    }

    /// Mean cross-entropy of these predictions. What the last position of a row would predict is not known: it has no
    /// label, and since nothing before it sees it, the id that stands in for its next token counts for nothing.
    pub fn prediction_loss(
        &mut self,
        h: ValueId,
        ids: ValueId,
        targets: ValueId,
    ) -> Result<ValueId, GraphError> {
        let next = self.graph.next_ids(ids, 0)?;
        let labels = self.graph.next_ids(targets, -1)?;
        let predicted = self.prediction(h, next)?;
        let predicted = self.final_norm(predicted)?;
        self.loss(predicted, labels, Reduction::Mean)
    }
}
