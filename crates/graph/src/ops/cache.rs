//! Ops of generation: state that is read and written at run-time positions. None has a derivative.
//!
//! A step takes T new tokens per row; `start` (i32 `[B]`) counts the tokens that each row has already seen. Rows may be
//! padded on the right: what padding writes is overwritten before anything reads it.

use super::attention::heads;
use super::{Inferred, Rule, all_f32, ensure, no_derivative, one_float};
use crate::{Backward, DType, Graph, GraphError, Node, TensorType, ValueId};

pub(super) fn per_row(t: &TensorType, batch: usize) -> Result<(), String> {
    ensure(t.dtype() == DType::I32 && t.len() == batch, || format!("takes {batch} i32 positions"))
}

macro_rules! inference_only {
    ($name:ident) => {
        fn derive(&self, _: &Node, _: &mut Backward<'_>) -> Result<(), GraphError> {
            no_derivative(stringify!($name))
        }
    };
}

/// The cache `[B, capacity, K, D]` with new entries `[B, T, K, D]` at `start[b]`; those beyond the capacity are dropped.
/// Inputs: cache, entries (both f32 or both bf16), start.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheWrite;

impl Rule for CacheWrite {
    fn arity(&self) -> usize {
        3
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        one_float(&inputs[..2])?;
        let (cache, new) = (inputs[0].shape(), inputs[1].shape());
        let fits = cache.rank() == 4 && new.rank() == 4 && cache.dims()[0] == new.dims()[0];
        ensure(fits && cache.dims()[2..] == new.dims()[2..], || {
            "takes a cache [B, capacity, K, D] and entries [B, T, K, D]".into()
        })?;
        per_row(&inputs[2], cache.dims()[0])?;
        Ok(vec![inputs[0]])
    }
    inference_only!(CacheWrite);
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 0)]
    }
}

/// Attention of queries `[B, T, H, D]` at positions `start[b] + t` over caches `[B, capacity, K, D]` that already hold the
/// entries of these positions. Inputs: q, key cache, value cache (all f32 or all bf16), start.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionCached {
    /// How far back a query sees.
    pub window: usize,
}

impl Rule for AttentionCached {
    fn arity(&self) -> usize {
        4
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        let ([b, ..], _) = heads(&inputs[0], &inputs[1], &inputs[2])?;
        per_row(&inputs[3], b)?;
        Ok(vec![inputs[0]])
    }
    inference_only!(AttentionCached);
}

/// Checks a cache `[B, capacity, 1, C]` of single values, and one start per row.
fn values_cache(cache: &TensorType, start: &TensorType) -> Result<[usize; 3], String> {
    all_f32(std::slice::from_ref(cache))?;
    match *cache.shape().dims() {
        [b, capacity, 1, c] => per_row(start, b).map(|()| [b, capacity, c]),
        _ => Err("takes a cache [B, capacity, 1, C]".into()),
    }
}

/// The cache's entries one position before each of T new ones, `[B, T, C]`; 0 before position 0. Inputs: cache
/// `[B, capacity, 1, C]`, f32, that already holds the new entries; start.
#[derive(Clone, Debug, PartialEq)]
pub struct ShiftTimeCached {
    /// New entries of each row, T.
    pub tokens: usize,
}

impl Rule for ShiftTimeCached {
    fn arity(&self) -> usize {
        2
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        let [b, _, c] = values_cache(&inputs[0], &inputs[1])?;
        Ok(vec![TensorType::f32(&[b, self.tokens, c])])
    }
    inference_only!(ShiftTimeCached);
}

/// The mean of the latest `order` entries of a cache at each of T new positions, `[B, T, C]`; those before position 0 count as
/// 0, the divisor stays. Inputs: cache `[B, capacity, 1, C]`, f32, that already holds the new entries; start.
#[derive(Clone, Debug, PartialEq)]
pub struct CausalMeanCached {
    /// Number of positions, at least 1.
    pub order: usize,
    /// New entries of each row, T.
    pub tokens: usize,
}

impl Rule for CausalMeanCached {
    fn arity(&self) -> usize {
        2
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        let [b, _, c] = values_cache(&inputs[0], &inputs[1])?;
        ensure(self.order > 0, || "takes an order of at least 1".into())?;
        Ok(vec![TensorType::f32(&[b, self.tokens, c])])
    }
    inference_only!(CausalMeanCached);
}

/// `x[b, index[b]]` of x `[B, T, C]`, as `[B, C]`. Inputs: x, index (i32 `[B]`).
#[derive(Clone, Debug, PartialEq)]
pub struct SelectTime;

impl Rule for SelectTime {
    fn arity(&self) -> usize {
        2
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        let dims = inputs[0].shape();
        ensure(inputs[0].dtype() == DType::F32 && dims.rank() == 3, || "takes x [B, T, C]".into())?;
        per_row(&inputs[1], dims.dims()[0])?;
        Ok(vec![TensorType::f32(&[dims.dims()[0], dims.dims()[2]])])
    }
    inference_only!(SelectTime);
}

impl Graph {
    /// The cache with new entries from `start` on.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn cache_write(
        &mut self,
        cache: ValueId,
        new: ValueId,
        start: ValueId,
    ) -> Result<ValueId, GraphError> {
        self.push1(CacheWrite, &[cache, new, start])
    }

    /// Attention over caches; see [`AttentionCached`].
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn attention_cached(
        &mut self,
        q: ValueId,
        (k, v): (ValueId, ValueId),
        start: ValueId,
        window: usize,
    ) -> Result<ValueId, GraphError> {
        self.push1(AttentionCached { window }, &[q, k, v, start])
    }

    /// The entries before `tokens` new ones of a cache; see [`ShiftTimeCached`].
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn shift_time_cached(
        &mut self,
        cache: ValueId,
        start: ValueId,
        tokens: usize,
    ) -> Result<ValueId, GraphError> {
        self.push1(ShiftTimeCached { tokens }, &[cache, start])
    }

    /// Means of the latest entries of a cache; see [`CausalMeanCached`].
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn causal_mean_cached(
        &mut self,
        cache: ValueId,
        start: ValueId,
        op: CausalMeanCached,
    ) -> Result<ValueId, GraphError> {
        self.push1(op, &[cache, start])
    }

    /// One position of each row.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn select_time(&mut self, x: ValueId, index: ValueId) -> Result<ValueId, GraphError> {
        self.push1(SelectTime, &[x, index])
    }
}
