//! The layers, once for training, evaluation and generation.
//!
//! B rows, T positions, C width, H query heads, K key/value heads, D head size.

use kiln_graph::ops::{LinearCrossEntropy, Logits, Reduction};
use kiln_graph::{DType, Graph, GraphError, TensorType, ValueId};

use crate::validate::{SMEAR_GATE_WIDTH, VALUE_GATE_WIDTH};
use crate::{Compute, ModelConfig};

/// Factor of a value gate.
const VALUE_GATE_SCALE: f32 = 3.0;

/// State of generation: variables that hold what earlier calls saw.
#[derive(Clone, Copy)]
pub(crate) struct Cache {
    /// Positions that the key/value caches have room for.
    pub capacity: usize,
    /// Index of each row's last valid token in this call, i32 `[B]`.
    pub last: ValueId,
}

/// Appends a model to a graph.
pub(crate) struct Layers<'a> {
    pub graph: &'a mut Graph,
    config: &'a ModelConfig,
    /// Element type of what products read; the residual stream is f32.
    dtype: DType,
    /// The parameters by name, in the order of [`ModelConfig::parameters`], as the variables that are read for them.
    pub parameters: Vec<(String, ValueId)>,
    /// Position of each row's first token, i32 `[B]`.
    start: ValueId,
    cache: Option<Cache>,
}

impl<'a> Layers<'a> {
    /// Declares the parameters, or their copies, as variables.
    pub fn new(
        graph: &'a mut Graph,
        config: &'a ModelConfig,
        compute: Compute,
        start: ValueId,
        cache: Option<Cache>,
    ) -> Self {
        let parameters = config
            .parameters()
            .into_iter()
            .map(|p| {
                let (name, ty) = p.variable(compute);
                (p.name, graph.variable(&name, ty))
            })
            .collect();
        Layers { graph, config, dtype: compute.dtype(), parameters, start, cache }
    }

    fn parameter(&self, name: &str) -> ValueId {
        let found = self.parameters.iter().find(|(n, _)| n == name);
        found.expect("the configuration lists every parameter that its layers read").1
    }

    fn dims<const N: usize>(&self, x: ValueId) -> [usize; N] {
        let shape = self.graph.tensor_type(x).shape();
        shape.dims().try_into().expect("activations have a fixed number of axes")
    }

    /// From ids `[B, T]` to the residual stream before the final norm, `[B, T, C]`, or `[B, C]` of each row's last token
    /// in generation.
    pub fn trunk(&mut self, ids: ValueId) -> Result<ValueId, GraphError> {
        let x = self.graph.embed(self.parameter("transformer.wte.weight"), ids)?;
        let mut x = self.graph.rms_norm(x)?;
        if self.config.smear {
            x = self.smear(x)?;
        }
        let (x0, mut kept) = (x, None);
        for (i, window) in self.config.windows().into_iter().enumerate() {
            x = self.layer(i, window, (x, x0), ids)?;
            if self.config.backout_layer() == Some(i) {
                kept = Some(x);
            }
        }
        if let Some(cache) = self.cache {
            kept = kept.map(|kept| self.graph.select_time(kept, cache.last)).transpose()?;
            x = self.graph.select_time(x, cache.last)?;
        }
        match kept {
            Some(kept) => self.backout(x, kept),
            None => Ok(x),
        }
    }

    /// `softcap·tanh(norm(x) lm_headᵀ / softcap)` of the real token ids, `[..., vocab]`.
    pub fn logits(&mut self, x: ValueId) -> Result<ValueId, GraphError> {
        let x = self.graph.rms_norm_as(x, self.dtype)?;
        let op = Logits { vocab: self.config.vocab_size, softcap: self.config.softcap };
        Ok(self.graph.push(op, &[x, self.parameter("lm_head.weight")])?[0])
    }

    /// Cross-entropy of these logits, which never exist at once.
    pub fn loss(
        &mut self,
        x: ValueId,
        targets: ValueId,
        reduction: Reduction,
    ) -> Result<ValueId, GraphError> {
        let x = self.graph.rms_norm_as(x, self.dtype)?;
        let ModelConfig { vocab_size: vocab, softcap, .. } = *self.config;
        let op = LinearCrossEntropy { vocab, softcap, reduction };
        self.graph.linear_cross_entropy(x, self.parameter("lm_head.weight"), targets, op)
    }

    /// `x_t + λ·sigmoid(w·x_t[:24])·x_{t-1}`, from unsmeared values.
    fn smear(&mut self, x: ValueId) -> Result<ValueId, GraphError> {
        let lambda = self.parameter("smear_lambda");
        let gate = self.gate(x, SMEAR_GATE_WIDTH, "smear_gate.weight")?;
        let previous = match self.cache {
            // λ comes before the shift: the gradients then keep x and one more value, else two more.
            None => {
                let scaled = self.graph.scale_by_scalar(x, lambda, 0)?;
                self.graph.shift_time(scaled)?
            }
            Some(cache) => {
                let previous = self.previous_embedding(x, cache)?;
                self.graph.scale_by_scalar(previous, lambda, 0)?
            }
        };
        self.graph.gated_add(x, previous, gate, 1.0)
    }

    /// x moved one position later; the last call's last token comes first, and this call's takes its place.
    fn previous_embedding(&mut self, x: ValueId, cache: Cache) -> Result<ValueId, GraphError> {
        let [b, _, c] = self.dims(x);
        let held = self.graph.variable("cache.smear", TensorType::f32(&[b, c]));
        let previous = self.graph.shift_time_cached(x, held)?;
        let last = self.graph.select_time(x, cache.last)?;
        self.graph.update(held, last)?;
        Ok(previous)
    }

    fn backout(&mut self, x: ValueId, kept: ValueId) -> Result<ValueId, GraphError> {
        let scaled = self.graph.scale_by_scalar(kept, self.parameter("backout_lambda"), 0)?;
        self.graph.sub(x, scaled)
    }

    /// Logits of gates that read the first `width` columns of x, in f32 whatever x is.
    fn gate(&mut self, x: ValueId, width: usize, weight: &str) -> Result<ValueId, GraphError> {
        let columns = self.graph.slice_last(x, 0, width)?;
        self.graph.linear(columns, self.parameter(weight))
    }

    /// `x_in = resid_lambda·x + x0_lambda·x0`, `a = x_in + attn(norm(x_in))`, `out = a + mlp(norm(a))`.
    fn layer(
        &mut self,
        i: usize,
        window: usize,
        (x, x0): (ValueId, ValueId),
        ids: ValueId,
    ) -> Result<ValueId, GraphError> {
        let lambdas = (self.parameter("resid_lambdas"), self.parameter("x0_lambdas"));
        let x_in = self.graph.blend((x, lambdas.0), (x0, lambdas.1), i)?;
        let normed = self.graph.rms_norm_as(x_in, self.dtype)?;
        let heads = self.attention(i, window, normed, ids)?;
        let c_proj = self.block_weight(i, "attn.c_proj");
        let a = self.graph.linear_residual(heads, c_proj, x_in)?;
        let normed = self.graph.rms_norm_as(a, self.dtype)?;
        let hidden = self.graph.linear_relu_squared(normed, self.block_weight(i, "mlp.c_fc"))?;
        self.graph.linear_residual(hidden, self.block_weight(i, "mlp.c_proj"), a)
    }

    fn block_weight(&self, i: usize, name: &str) -> ValueId {
        self.parameter(&format!("transformer.h.{i}.{name}.weight"))
    }

    /// Attention before its output projection: normed x `[B, T, C]` to `[B, T, H·D]`.
    fn attention(
        &mut self,
        i: usize,
        window: usize,
        x: ValueId,
        ids: ValueId,
    ) -> Result<ValueId, GraphError> {
        let ModelConfig { n_head, n_kv_head, rope_base, qk_scale, .. } = *self.config;
        let q = self.heads(i, "attn.c_q", x, n_head)?;
        let q = self.graph.rope_norm(q, self.start, rope_base, qk_scale)?;
        let k = self.heads(i, "attn.c_k", x, n_kv_head)?;
        let k = self.graph.rope_norm(k, self.start, rope_base, qk_scale)?;
        let mut v = self.heads(i, "attn.c_v", x, n_kv_head)?;
        if self.config.has_value_embeds(i) {
            v = self.add_value_embedding(i, x, v, ids)?;
        }
        let y = match self.cache {
            None => self.graph.attention(q, k, v, window)?,
            Some(cache) => self.attention_cached(i, window, q, (k, v), cache)?,
        };
        let [b, t, h, d] = self.dims(y);
        self.graph.reshape(y, &[b, t, h * d])
    }

    fn heads(&mut self, i: usize, name: &str, x: ValueId, n: usize) -> Result<ValueId, GraphError> {
        let [b, t, _] = self.dims(x);
        let y = self.graph.linear(x, self.block_weight(i, name))?;
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
        i: usize,
        window: usize,
        q: ValueId,
        (k, v): (ValueId, ValueId),
        cache: Cache,
    ) -> Result<ValueId, GraphError> {
        let keys = self.write_cache(&format!("cache.{i}.k"), k, cache)?;
        let values = self.write_cache(&format!("cache.{i}.v"), v, cache)?;
        self.graph.attention_cached(q, (keys, values), self.start, window)
    }

    fn write_cache(
        &mut self,
        name: &str,
        new: ValueId,
        cache: Cache,
    ) -> Result<ValueId, GraphError> {
        let [b, _, k, d] = self.dims(new);
        let ty = TensorType::f32(&[b, cache.capacity, k, d]).with_dtype(self.dtype);
        let held = self.graph.variable(name, ty);
        let written = self.graph.cache_write(held, new, self.start)?;
        self.graph.update(held, written)?;
        Ok(written)
    }
}
