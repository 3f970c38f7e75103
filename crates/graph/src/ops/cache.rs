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

/// x `[B, T, C]` moved one position later, with `previous` `[B, C]` at t = 0. Inputs: x, previous.
#[derive(Clone, Debug, PartialEq)]
pub struct ShiftTimeCached;

impl Rule for ShiftTimeCached {
    fn arity(&self) -> usize {
        2
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        all_f32(inputs)?;
        let dims = inputs[0].shape();
        ensure(dims.rank() == 3, || "takes x [B, T, C]".into())?;
        let previous = TensorType::f32(&[dims.dims()[0], dims.dims()[2]]);
        ensure(inputs[1] == previous, || format!("the previous entries must be {previous}"))?;
        Ok(vec![inputs[0]])
    }
    inference_only!(ShiftTimeCached);
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

    /// x moved one position later, `previous` coming first.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn shift_time_cached(
        &mut self,
        x: ValueId,
        previous: ValueId,
    ) -> Result<ValueId, GraphError> {
        self.push1(ShiftTimeCached, &[x, previous])
    }

    /// One position of each row.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn select_time(&mut self, x: ValueId, index: ValueId) -> Result<ValueId, GraphError> {
        self.push1(SelectTime, &[x, index])
    }
}
