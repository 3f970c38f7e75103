//! Attention to the keys that an indexer selects (the "lightning indexer" of DeepSeek-V3.2, 2025).
//!
//! With J heads of size d the indexer scores key s for query t as `I[t,s] = Σ_j w[t,j]·relu(iq[t,j]·ik[s])`. A query sees
//! its local window, `0 <= t - s < local`, and of the keys before that the `top_k - local` that score best; of equals the
//! later one. Every other key, and every later one, has a weight of exactly zero.
//!
//! The selection has no derivative. In its place the scores of selected keys outside the local window get the gradient of
//! a bias `log(gate)`, where the gate is 1 and has the derivative of `sigmoid(0.1·I)` (straight-through): with ds the
//! gradient of the biased attention scores, `dI[t,s] = 0.1·σ(0.1·I)·(1 - σ(0.1·I))·Σ_h ds[h,t,s]`.
//!
//! J indexer heads, d their size.

use super::attention::heads;
use super::cache::per_row;
use super::{Inferred, Rule, ensure, no_derivative, one_float};
use crate::{Backward, DType, Graph, GraphError, Node, TensorType, ValueId};

/// Which keys a query sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Keys of the local window, the query's own included; at least 1.
    pub local: usize,
    /// Keys in all, at least `local`.
    pub top_k: usize,
}

impl Selection {
    /// Pairs (query, key) that are seen among `t` queries from position 0 on.
    pub fn pairs(&self, t: usize) -> u64 {
        let (t, k) = (t as u64, self.top_k as u64);
        if t <= k { t * (t + 1) / 2 } else { k * (k + 1) / 2 + (t - k) * k }
    }

    fn check(&self) -> Result<(), String> {
        ensure(self.local >= 1 && self.top_k >= self.local, || {
            format!("{} keys of which {} are local", self.top_k, self.local)
        })
    }
}

/// Attention of q `[B, T, H, D]` over those of k and v `[B, T, K, D]` that an indexer with queries iq `[B, T, J, d]`, keys
/// ik `[B, T, d]` and weights iw `[B, T, J]` selects. iw is f32, all else is f32 or all bf16.
///
/// Outputs the result, like q; the log of each softmax's denominator `[B, H, T]`, f32; and what decides which keys were
/// selected, `threshold` (f32) and `boundary` (i32), both `[B, T]`: those outside the local window whose score is above the
/// threshold, or equal to it at position `boundary` or later. So what is kept for the backward pass is linear in T.
#[derive(Clone, Debug, PartialEq)]
pub struct SparseAttention(pub Selection);

/// Checks the indexer's q, k, w against `[b, t]` queries and `positions` keys; returns `[J, d]`.
fn indexer(
    [iq, ik, iw]: [&TensorType; 3],
    [b, t]: [usize; 2],
    positions: usize,
) -> Result<[usize; 2], String> {
    one_float(&[*iq, *ik])?;
    let Ok([bq, tq, j, d]) = <[usize; 4]>::try_from(iq.shape().dims()) else {
        return Err("takes indexer queries [B, T, J, d]".into());
    };
    ensure([bq, tq] == [b, t] && j > 0 && d > 0, || {
        "the indexer's queries must have the rows and positions of q".into()
    })?;
    ensure(ik.len() == b * positions * d && ik.shape().last() == d, || {
        "the indexer's keys must be one per key, of the size of its queries".into()
    })?;
    let weights = TensorType::f32(&[b, t, j]);
    ensure(*iw == weights, || format!("the indexer's weights must be {weights}"))?;
    Ok([j, d])
}

/// Multiply-adds of the scores of all earlier keys.
fn indexer_products([b, t]: [usize; 2], [j, d]: [usize; 2]) -> u64 {
    (b * j * d) as u64 * (t as u64 * (t as u64 + 1) / 2)
}

impl SparseAttention {
    fn sizes(&self, i: &[TensorType]) -> Result<([usize; 4], [usize; 2]), String> {
        self.0.check()?;
        let (q, _) = heads(&i[0], &i[1], &i[2])?;
        ensure(i[1].shape().dims()[1] == q[1], || "q and k must have as many positions".into())?;
        one_float(&[i[0], i[3]])?;
        let j = indexer([&i[3], &i[4], &i[5]], [q[0], q[1]], q[1])?;
        Ok((q, j))
    }

    fn flops(&self, i: &[TensorType], per_pair: u64, indexer: u64) -> u64 {
        self.sizes(i).map_or(0, |([b, t, h, d], j)| {
            per_pair * (b * h * d) as u64 * self.0.pairs(t) + indexer * indexer_products([b, t], j)
        })
    }
}

impl Rule for SparseAttention {
    fn arity(&self) -> usize {
        6
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        let ([b, t, h, _], _) = self.sizes(inputs)?;
        let (lse, threshold) = (TensorType::f32(&[b, h, t]), TensorType::f32(&[b, t]));
        Ok(vec![inputs[0], lse, threshold, TensorType::i32(&[b, t])])
    }
    fn derive(&self, node: &Node, b: &mut Backward<'_>) -> Result<(), GraphError> {
        let dout = b.upstream_like(node.outputs[0])?;
        let mut inputs = node.inputs.clone();
        inputs.extend(&node.outputs);
        inputs.push(dout);
        let grads = b.graph.push(SparseAttentionGrad(self.0), &inputs)?;
        for (&input, grad) in node.inputs.iter().zip(grads) {
            b.add(input, grad)?;
        }
        Ok(())
    }
    fn flops(&self, inputs: &[TensorType]) -> u64 {
        SparseAttention::flops(self, inputs, 4, 2)
    }
}

/// Gradients of [`SparseAttention`] with respect to its six inputs, each like the input, from these, its four outputs and
/// dout. Scores are computed anew.
#[derive(Clone, Debug, PartialEq)]
pub struct SparseAttentionGrad(pub Selection);

impl Rule for SparseAttentionGrad {
    fn arity(&self) -> usize {
        11
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        let outputs = SparseAttention(self.0).infer(&inputs[..6])?;
        ensure(inputs[6..10] == outputs && inputs[10] == inputs[0], || {
            "takes the outputs of SparseAttention, and dout like q".into()
        })?;
        Ok(inputs[..6].to_vec())
    }
    fn derive(&self, _: &Node, _: &mut Backward<'_>) -> Result<(), GraphError> {
        no_derivative("SparseAttentionGrad")
    }
    /// The scores of all keys again, to find the selected ones; two more products for the gradients of these.
    fn flops(&self, inputs: &[TensorType]) -> u64 {
        let op = SparseAttention(self.0);
        op.sizes(inputs).map_or(0, |([b, t, ..], [j, d])| {
            SparseAttention::flops(&op, inputs, 10, 2) + 4 * (b * j * d) as u64 * self.0.pairs(t)
        })
    }
}

/// Sparse attention of queries `[B, T, H, D]` at positions `start[b] + t` over caches that already hold the entries of these
/// positions. Inputs: q, key cache and value cache `[B, capacity, K, D]`, iq `[B, T, J, d]`, cache of the indexer's keys
/// `[B, capacity, 1, d]`, iw `[B, T, J]` f32, start.
#[derive(Clone, Debug, PartialEq)]
pub struct SparseAttentionCached(pub Selection);

impl Rule for SparseAttentionCached {
    fn arity(&self) -> usize {
        7
    }
    fn infer(&self, i: &[TensorType]) -> Inferred {
        self.0.check()?;
        let ([b, t, ..], _) = heads(&i[0], &i[1], &i[2])?;
        one_float(&[i[0], i[3]])?;
        indexer([&i[3], &i[4], &i[5]], [b, t], i[1].shape().dims()[1])?;
        per_row(&i[6], b)?;
        Ok(vec![i[0]])
    }
    fn derive(&self, _: &Node, _: &mut Backward<'_>) -> Result<(), GraphError> {
        no_derivative("SparseAttentionCached")
    }
}

/// The indexer's scores as they are, f32 `[B, T, T]`, 0 for keys after the query: to look at; attention never makes them
/// all at once. Inputs: iq `[B, T, J, d]`, ik `[B, T, d]` (both f32 or both bf16), iw `[B, T, J]` f32.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexerScores;

fn scores_type(i: &[TensorType]) -> Result<TensorType, String> {
    ensure(i[0].shape().rank() == 4, || "takes indexer queries [B, T, J, d]".into())?;
    let (b, t) = (i[0].shape().dims()[0], i[0].shape().dims()[1]);
    indexer([&i[0], &i[1], &i[2]], [b, t], t)?;
    Ok(TensorType::f32(&[b, t, t]))
}

impl Rule for IndexerScores {
    fn arity(&self) -> usize {
        3
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        Ok(vec![scores_type(inputs)?])
    }
    fn derive(&self, node: &Node, b: &mut Backward<'_>) -> Result<(), GraphError> {
        let dscores = b.upstream_as(node.outputs[0], DType::F32)?;
        let mut inputs = node.inputs.clone();
        inputs.push(dscores);
        let grads = b.graph.push(IndexerScoresGrad, &inputs)?;
        for (&input, grad) in node.inputs.iter().zip(grads) {
            b.add(input, grad)?;
        }
        Ok(())
    }
    fn flops(&self, i: &[TensorType]) -> u64 {
        let dims = i[0].shape();
        let [b, t, j, d] = <[usize; 4]>::try_from(dims.dims()).unwrap_or([0; 4]);
        2 * indexer_products([b, t], [j, d])
    }
}

/// Gradients of [`IndexerScores`], each like the input, from its inputs and dscores; those of later keys count for nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexerScoresGrad;

impl Rule for IndexerScoresGrad {
    fn arity(&self) -> usize {
        4
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        let scores = scores_type(inputs)?;
        ensure(inputs[3] == scores, || format!("dscores must be {scores}"))?;
        Ok(inputs[..3].to_vec())
    }
    fn derive(&self, _: &Node, _: &mut Backward<'_>) -> Result<(), GraphError> {
        no_derivative("IndexerScoresGrad")
    }
    fn flops(&self, inputs: &[TensorType]) -> u64 {
        3 * IndexerScores.flops(inputs)
    }
}

/// The indexer's part of sparse attention: queries, keys, weights.
#[derive(Clone, Copy, Debug)]
pub struct Indexer {
    /// `[B, T, J, d]`
    pub q: ValueId,
    /// `[B, T, d]`, or a cache of them `[B, capacity, 1, d]`.
    pub k: ValueId,
    /// `[B, T, J]`, f32.
    pub w: ValueId,
}

impl Graph {
    /// Attention to selected keys; see [`SparseAttention`].
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn sparse_attention(
        &mut self,
        (q, k, v): (ValueId, ValueId, ValueId),
        indexer: Indexer,
        selection: Selection,
    ) -> Result<ValueId, GraphError> {
        let Indexer { q: iq, k: ik, w } = indexer;
        self.push1(SparseAttention(selection), &[q, k, v, iq, ik, w])
    }

    /// Attention to selected keys of caches; see [`SparseAttentionCached`].
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn sparse_attention_cached(
        &mut self,
        (q, k, v): (ValueId, ValueId, ValueId),
        indexer: Indexer,
        start: ValueId,
        selection: Selection,
    ) -> Result<ValueId, GraphError> {
        let Indexer { q: iq, k: ik, w } = indexer;
        self.push1(SparseAttentionCached(selection), &[q, k, v, iq, ik, w, start])
    }

    /// The indexer's scores of all earlier keys; see [`IndexerScores`].
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn indexer_scores(&mut self, indexer: Indexer) -> Result<ValueId, GraphError> {
        self.push1(IndexerScores, &[indexer.q, indexer.k, indexer.w])
    }
}
