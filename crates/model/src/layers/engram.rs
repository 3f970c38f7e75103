//! Engram: a narrow branch that sees means of the latest positions.

use kiln_graph::ops::{CausalMeanCached, Dropout};
use kiln_graph::{GraphError, ValueId};

use super::{Block, Layers};

impl Layers<'_> {
    /// `out + W_out · (1/|orders|)·Σ_k M_k mean_k(W_in x)` of layer `i`, x `[B, T, C]` being its normed input.
    pub(super) fn engram(
        &mut self,
        i: usize,
        x: ValueId,
        out: ValueId,
    ) -> Result<ValueId, GraphError> {
        let block = Block::Layer(i);
        let z = self.graph.linear_f32(x, self.weight(block, "engram.in_proj"))?;
        let means = self.latest_means(block, z)?;
        let mut sum = None;
        for (n, mean) in means.iter().enumerate() {
            let mean = self.graph.cast(*mean, self.dtype)?;
            let mix = self.weight(block, &format!("engram.order_mix.{n}"));
            sum = Some(match sum {
                None => self.graph.linear_f32(mean, mix)?,
                Some(sum) => self.graph.linear_residual(mean, mix, sum)?,
            });
        }
        let sum = sum.expect("there is an order");
        let mixed = self.graph.scale(sum, 1.0 / means.len() as f32)?;
        let mixed = self.graph.cast(mixed, self.dtype)?;
        let w_out = self.weight(block, "engram.out_proj");
        match self.training.dropout {
            None => self.graph.linear_residual(mixed, w_out, out),
            Some(key) => {
                let y = self.graph.linear_f32(mixed, w_out)?;
                let op = Dropout { rate: self.config.engram_dropout, salt: i as u32 };
                let y = self.graph.dropout(y, key, op)?;
                self.graph.add(out, y)
            }
        }
    }

    /// Means of the latest entries of z `[B, T, b]`, one for each order.
    fn latest_means(&mut self, block: Block, z: ValueId) -> Result<Vec<ValueId>, GraphError> {
        let orders = self.config.engram_orders.clone();
        let Some(cache) = self.cache else {
            return orders.into_iter().map(|order| self.graph.causal_mean(z, order)).collect();
        };
        let [_, tokens, _] = self.dims(z);
        let held = self.write_values(&block.cache("engram"), z, cache)?;
        let mean = |order| {
            let op = CausalMeanCached { order, tokens };
            self.graph.causal_mean_cached(held, self.start, op)
        };
        orders.into_iter().map(mean).collect()
    }
}
