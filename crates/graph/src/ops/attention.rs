//! Causal attention, optionally within a window (tiled as in FlashAttention, Dao et al. 2022).

use super::{Inferred, Rule, ensure, no_derivative, one_float};
use crate::{Backward, Graph, GraphError, Node, TensorType, ValueId};

/// Attention of q `[B, T, H, D]` over k and v `[B, T, K, D]`: query i sees keys `0 <= i - j <= window`, scores are
/// `q·k / sqrt(D)`, query head h reads key/value head `h / (H/K)`. All are f32 or all bf16. Outputs the result `[B, T, H, D]`, like
/// q, and the log of each softmax's denominator `[B, H, T]`, f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// How far back a query sees.
    pub window: usize,
}

/// Checks q, k, v; returns `[B, T, H, D]` of q and K.
pub(super) fn heads(
    q: &TensorType,
    k: &TensorType,
    v: &TensorType,
) -> Result<([usize; 4], usize), String> {
    one_float(&[*q, *k, *v])?;
    let (Ok([b, t, h, d]), Ok([bk, _, kh, dk])) =
        (<[usize; 4]>::try_from(q.shape().dims()), <[usize; 4]>::try_from(k.shape().dims()))
    else {
        return Err("takes q [B, T, H, D], k and v [B, T, K, D]".into());
    };
    ensure(k == v && b == bk && d == dk && kh > 0 && h % kh == 0, || {
        "k and v must be alike, with B and D of q and a number of heads that divides that of q"
            .into()
    })?;
    Ok(([b, t, h, d], kh))
}

/// Multiply-adds of the scores, and as many of the weighted sum: pairs (query, key) inside the mask times D.
fn pair_products([b, t, h, d]: [usize; 4], window: usize) -> u64 {
    let w = window.min(t.saturating_sub(1));
    let pairs = t * (w + 1) - w * (w + 1) / 2;
    (b * h * d) as u64 * pairs as u64
}

impl Rule for Attention {
    fn arity(&self) -> usize {
        3
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        let ([b, t, h, _], _) = heads(&inputs[0], &inputs[1], &inputs[2])?;
        ensure(inputs[1].shape().dims()[1] == t, || "q and k must have as many positions".into())?;
        Ok(vec![inputs[0], TensorType::f32(&[b, h, t])])
    }
    fn derive(&self, node: &Node, b: &mut Backward<'_>) -> Result<(), GraphError> {
        let (q, k, v) = (node.inputs[0], node.inputs[1], node.inputs[2]);
        let dout = b.upstream_like(node.outputs[0])?;
        let inputs = [q, k, v, node.outputs[0], node.outputs[1], dout];
        let grads = b.graph.push(AttentionGrad { window: self.window }, &inputs)?;
        b.add(q, grads[0])?;
        b.add(k, grads[1])?;
        b.add(v, grads[2])
    }
    fn flops(&self, inputs: &[TensorType]) -> u64 {
        heads(&inputs[0], &inputs[1], &inputs[2])
            .map_or(0, |(q, _)| 4 * pair_products(q, self.window))
    }
}

/// Gradients of [`Attention`] with respect to q, k, v, from q, k, v, out, lse, dout. Probabilities are recomputed.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionGrad {
    /// How far back a query sees.
    pub window: usize,
}

impl Rule for AttentionGrad {
    fn arity(&self) -> usize {
        6
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        let ([b, t, h, _], _) = heads(&inputs[0], &inputs[1], &inputs[2])?;
        ensure(inputs[3] == inputs[0] && inputs[5] == inputs[0], || {
            "out and dout must be like q".into()
        })?;
        let lse = TensorType::f32(&[b, h, t]);
        ensure(inputs[4] == lse, || format!("lse must be {lse}"))?;
        Ok(inputs[..3].to_vec())
    }
    fn derive(&self, _: &Node, _: &mut Backward<'_>) -> Result<(), GraphError> {
        no_derivative("AttentionGrad")
    }
    fn flops(&self, inputs: &[TensorType]) -> u64 {
        heads(&inputs[0], &inputs[1], &inputs[2])
            .map_or(0, |(q, _)| 10 * pair_products(q, self.window))
    }
}

impl Graph {
    /// Causal attention within a window; see [`Attention`].
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn attention(
        &mut self,
        q: ValueId,
        k: ValueId,
        v: ValueId,
        window: usize,
    ) -> Result<ValueId, GraphError> {
        self.push1(Attention { window }, &[q, k, v])
    }
}
