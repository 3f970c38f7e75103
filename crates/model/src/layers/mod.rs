//! The layers, once for training, evaluation and generation.
//!
//! B rows, T positions, C width, H query heads, K key/value heads, D head size.

mod attention;
mod engram;
mod mixing;
mod prediction;

use kiln_graph::ops::{LinearCrossEntropy, Logits, Reduction};
use kiln_graph::{DType, Graph, GraphError, TensorType, ValueId};

use crate::validate::SMEAR_GATE_WIDTH;
use crate::{Compute, ModelConfig};

/// State of generation: variables that hold what earlier calls saw.
#[derive(Clone, Copy)]
pub(crate) struct Cache {
    /// Positions that caches have room for.
    pub capacity: usize,
    /// Index of each row's last valid token in this call, i32 `[B]`; none: all are wanted.
    pub last: Option<ValueId>,
}

/// What a training graph needs beside a model's own definition.
#[derive(Clone, Copy, Default)]
pub(crate) struct Training {
    /// Run-time key of what dropout drops, i32 `[2]`.
    pub dropout: Option<ValueId>,
}

/// A block: attention and MLP.
#[derive(Clone, Copy)]
enum Block {
    /// That of a layer.
    Layer(usize),
    /// The one that predicts the token after the next. It has no options.
    Prediction,
}

impl Block {
    fn weight(self, name: &str) -> String {
        match self {
            Block::Layer(i) => format!("transformer.h.{i}.{name}.weight"),
            Block::Prediction => format!("mtp.block.{name}.weight"),
        }
    }

    /// Name of a cache.
    fn cache(self, name: &str) -> String {
        match self {
            Block::Layer(i) => format!("cache.{i}.{name}"),
            Block::Prediction => format!("cache.mtp.{name}"),
        }
    }
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
    training: Training,
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
        let training = Training::default();
        Layers { graph, config, dtype: compute.dtype(), parameters, start, cache, training }
    }

    /// The same, for training.
    pub fn training(mut self, training: Training) -> Self {
        self.training = training;
        self
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
        for i in 0..self.config.n_layer {
            x = self.recomputed(|layers| layers.layer(i, (x, x0), ids))?;
            if self.config.backout_layer() == Some(i) {
                kept = Some(x);
            }
        }
        if let Some(last) = self.cache.and_then(|cache| cache.last) {
            kept = kept.map(|kept| self.graph.select_time(kept, last)).transpose()?;
            x = self.graph.select_time(x, last)?;
        }
        match kept {
            Some(kept) => self.backout(x, kept),
            None => Ok(x),
        }
    }

    /// What `part` appends, to be computed again in the backward pass where the configuration says so.
    fn recomputed(
        &mut self,
        part: impl FnOnce(&mut Self) -> Result<ValueId, GraphError>,
    ) -> Result<ValueId, GraphError> {
        if !self.config.checkpoint_blocks {
            return part(self);
        }
        let region = self.graph.begin_region();
        let out = part(self)?;
        self.graph.end_region(region);
        Ok(out)
    }

    /// The final normed state, as products read it.
    pub fn final_norm(&mut self, x: ValueId) -> Result<ValueId, GraphError> {
        self.graph.rms_norm_as(x, self.dtype)
    }

    /// `softcap·tanh(h lm_headᵀ / softcap)` of the first `vocab` token ids, `[..., vocab]`, h being normed.
    pub fn logits(&mut self, h: ValueId, vocab: usize) -> Result<ValueId, GraphError> {
        let op = Logits { vocab, softcap: self.config.softcap };
        Ok(self.graph.push(op, &[h, self.parameter("lm_head.weight")])?[0])
    }

    /// Cross-entropy of these logits, which never exist at once.
    pub fn loss(
        &mut self,
        h: ValueId,
        targets: ValueId,
        reduction: Reduction,
    ) -> Result<ValueId, GraphError> {
        let ModelConfig { vocab_size: vocab, softcap, .. } = *self.config;
        let op = LinearCrossEntropy { vocab, softcap, reduction };
        self.graph.linear_cross_entropy(h, self.parameter("lm_head.weight"), targets, op)
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
                let held = self.write_values("cache.smear", x, cache)?;
                let [_, t, _] = self.dims(x);
                let previous = self.graph.shift_time_cached(held, self.start, t)?;
                self.graph.scale_by_scalar(previous, lambda, 0)?
            }
        };
        self.graph.gated_add(x, previous, gate, 1.0)
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

    /// `x_in = resid_lambda·x + x0_lambda·x0`, the block, and its options.
    fn layer(
        &mut self,
        i: usize,
        (x, x0): (ValueId, ValueId),
        ids: ValueId,
    ) -> Result<ValueId, GraphError> {
        let lambdas = (self.parameter("resid_lambdas"), self.parameter("x0_lambdas"));
        let x_in = self.graph.blend((x, lambdas.0), (x0, lambdas.1), i)?;
        let normed = self.graph.rms_norm_as(x_in, self.dtype)?;
        let out = self.block(Block::Layer(i), x_in, normed, Some(ids))?;
        let with_engram = match self.config.has_engram(i) {
            true => Some(self.engram(i, normed, out)?),
            false => None,
        };
        if self.config.mhc {
            let branches: Vec<ValueId> = [out, x_in].into_iter().chain(with_engram).collect();
            return self.mix(i, &branches);
        }
        Ok(with_engram.unwrap_or(out))
    }

    /// `a = x + attn(norm(x))`, `out = a + mlp(norm(a))`.
    fn block(
        &mut self,
        block: Block,
        x: ValueId,
        normed: ValueId,
        ids: Option<ValueId>,
    ) -> Result<ValueId, GraphError> {
        let heads = self.attention(block, normed, ids)?;
        let a = self.graph.linear_residual(heads, self.weight(block, "attn.c_proj"), x)?;
        let normed = self.graph.rms_norm_as(a, self.dtype)?;
        let hidden = self.graph.linear_relu_squared(normed, self.weight(block, "mlp.c_fc"))?;
        self.graph.linear_residual(hidden, self.weight(block, "mlp.c_proj"), a)
    }

    fn weight(&self, block: Block, name: &str) -> ValueId {
        self.parameter(&block.weight(name))
    }

    /// Writes new entries `[B, T, ...]` into the cache of that name, which is returned: `[B, capacity, K, D]`.
    fn write_cache(
        &mut self,
        name: &str,
        new: ValueId,
        cache: Cache,
    ) -> Result<ValueId, GraphError> {
        let [b, _, k, d] = self.dims(new);
        let dtype = self.graph.tensor_type(new).dtype();
        let ty = TensorType::f32(&[b, cache.capacity, k, d]).with_dtype(dtype);
        let held = self.graph.variable(name, ty);
        let written = self.graph.cache_write(held, new, self.start)?;
        self.graph.update(held, written)?;
        Ok(written)
    }

    /// The same for single values `[B, T, C]`: `[B, capacity, 1, C]`.
    fn write_values(
        &mut self,
        name: &str,
        new: ValueId,
        cache: Cache,
    ) -> Result<ValueId, GraphError> {
        let [b, t, c] = self.dims(new);
        let new = self.graph.reshape(new, &[b, t, 1, c])?;
        self.write_cache(name, new, cache)
    }
}
