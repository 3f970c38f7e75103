//! Attention of a block.

use kiln_graph::ops::{Indexer, Selection};
use kiln_graph::{GraphError, ValueId};

use super::{Block, Cache, Layers};
use crate::ModelConfig;
use crate::validate::VALUE_GATE_WIDTH;

/// Factor of a value gate.
const VALUE_GATE_SCALE: f32 = 3.0;

impl Layers<'_> {
    /// Attention before its output projection: normed x `[B, T, C]` to `[B, T, H·D]`.
    pub(super) fn attention(
        &mut self,
        block: Block,
        x: ValueId,
        ids: Option<ValueId>,
    ) -> Result<ValueId, GraphError> {
        let ModelConfig { n_head, n_kv_head, rope_base, qk_scale, .. } = *self.config;
        let q = self.heads(block, "attn.c_q", x, n_head)?;
        let q = self.graph.rope_norm(q, self.start, rope_base, qk_scale)?;
        let k = self.heads(block, "attn.c_k", x, n_kv_head)?;
        let k = self.graph.rope_norm(k, self.start, rope_base, qk_scale)?;
        let mut v = self.heads(block, "attn.c_v", x, n_kv_head)?;
        let window = match block {
            Block::Layer(i) => self.config.windows()[i],
            Block::Prediction => self.config.sequence_len,
        };
        if let (Block::Layer(i), Some(ids)) = (block, ids)
            && self.config.has_value_embeds(i)
        {
            v = self.add_value_embedding(i, x, v, ids)?;
        }
        let y = match (block, self.cache) {
            (Block::Layer(i), _) if self.config.is_sparse(i) => {
                self.sparse_attention(block, x, (q, k, v))?
            }
            (_, None) => self.graph.attention(q, k, v, window)?,
            (_, Some(cache)) => self.attention_cached(block, window, q, (k, v), cache)?,
        };
        let [b, t, h, d] = self.dims(y);
        self.graph.reshape(y, &[b, t, h * d])
    }

    fn heads(
        &mut self,
        block: Block,
        name: &str,
        x: ValueId,
        n: usize,
    ) -> Result<ValueId, GraphError> {
        let [b, t, _] = self.dims(x);
        let y = self.graph.linear(x, self.weight(block, name))?;
        self.graph.reshape(y, &[b, t, n, self.config.head_dim()])
    }

    /// `v + 3·sigmoid(G x[:12])·table[ids]`, one gate per key/value head.
    fn add_value_embedding(
        &mut self,
        i: usize,
        x: ValueId,
        v: ValueId,
        ids: ValueId,
    ) -> Result<ValueId, GraphError> {
        let gate =
            self.gate(x, VALUE_GATE_WIDTH, &format!("transformer.h.{i}.attn.ve_gate.weight"))?;
        let table = self.parameter(&format!("value_embeds.{i}.weight"));
        let values = self.graph.embed_as(table, ids, self.dtype)?;
        let values = self.graph.reshape(values, &self.dims::<4>(v))?;
        self.graph.gated_add(v, values, gate, VALUE_GATE_SCALE)
    }

    fn attention_cached(
        &mut self,
        block: Block,
        window: usize,
        q: ValueId,
        (k, v): (ValueId, ValueId),
        cache: Cache,
    ) -> Result<ValueId, GraphError> {
        let keys = self.write_cache(&block.cache("k"), k, cache)?;
        let values = self.write_cache(&block.cache("v"), v, cache)?;
        self.graph.attention_cached(q, (keys, values), self.start, window)
    }

    /// Attention to the keys that an indexer selects; it reads the normed x `[B, T, C]` too.
    fn sparse_attention(
        &mut self,
        block: Block,
        x: ValueId,
        (q, k, v): (ValueId, ValueId, ValueId),
    ) -> Result<ValueId, GraphError> {
        let mut indexer = self.indexer(block, x)?;
        let selection = Selection { local: self.config.dsa_local, top_k: self.config.dsa_top_k() };
        let Some(cache) = self.cache else {
            return self.graph.sparse_attention((q, k, v), indexer, selection);
        };
        let keys = self.write_cache(&block.cache("k"), k, cache)?;
        let values = self.write_cache(&block.cache("v"), v, cache)?;
        indexer.k = self.write_values(&block.cache("indexer"), indexer.k, cache)?;
        self.graph.sparse_attention_cached((q, keys, values), indexer, self.start, selection)
    }

    fn indexer(&mut self, block: Block, x: ValueId) -> Result<Indexer, GraphError> {
        let ModelConfig { indexer_heads, indexer_dim, .. } = *self.config;
        let [b, t, _] = self.dims(x);
        let q = self.graph.linear(x, self.weight(block, "attn.indexer.q_proj"))?;
        let q = self.graph.reshape(q, &[b, t, indexer_heads, indexer_dim])?;
        let k = self.graph.linear(x, self.weight(block, "attn.indexer.k_proj"))?;
        let w = self.graph.linear_f32(x, self.weight(block, "attn.indexer.w_proj"))?;
        Ok(Indexer { q, k, w })
    }
}
