//! The output layer and its loss, fused so that the logits of all rows never exist at once.

use super::{Inferred, Rule, ensure, no_derivative, one_float};
use crate::{Backward, DType, Graph, GraphError, Node, TensorType, ValueId};

/// What the losses of the tokens become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Their mean over targets that are not -1, as `[1]`; 0 when there is none.
    Mean,
    /// As they are, 0 where the target is -1.
    PerToken,
}

/// Cross-entropy of `softcap·tanh(x wᵀ / softcap)`, f32, against targets: x `[..., C]`, w `[V padded, C]`, both f32 or both
/// bf16, targets i32 of as many entries as x has rows, -1 where there is none. Rows of w from `vocab` on are not in the
/// softmax.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearCrossEntropy {
    /// Rows of w that are real.
    pub vocab: usize,
    /// Bound of the logits.
    pub softcap: f32,
    /// What the losses become.
    pub reduction: Reduction,
}

impl LinearCrossEntropy {
    fn loss_type(&self, inputs: &[TensorType]) -> Result<TensorType, String> {
        let (x, w, targets) = (inputs[0].shape(), inputs[1].shape(), inputs[2]);
        one_float(&inputs[..2])?;
        ensure(w.rank() == 2 && x.rank() > 0 && x.last() == w.last(), || {
            "takes x [..., C] and w [V, C]".into()
        })?;
        ensure(targets.dtype() == DType::I32 && targets.len() == x.rows(), || {
            "takes one i32 target per row of x".into()
        })?;
        ensure(self.vocab > 0 && self.vocab <= w.dims()[0], || {
            format!("w has no {} rows", self.vocab)
        })?;
        Ok(match self.reduction {
            Reduction::Mean => TensorType::f32(&[1]),
            Reduction::PerToken => TensorType::f32(targets.shape().dims()),
        })
    }
}

fn product_flops(inputs: &[TensorType]) -> u64 {
    2 * inputs[0].shape().rows() as u64 * inputs[1].len() as u64
}

impl Rule for LinearCrossEntropy {
    fn arity(&self) -> usize {
        3
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        Ok(vec![self.loss_type(inputs)?])
    }
    /// One pass over the logits yields the loss and both gradients, so the node that makes the gradients takes the place
    /// of the one that made the loss.
    fn derive(&self, node: &Node, b: &mut Backward<'_>) -> Result<(), GraphError> {
        let (x, w) = (node.inputs[0], node.inputs[1]);
        let dloss = b.upstream(node.outputs[0])?;
        let inputs = [x, w, node.inputs[2], dloss];
        let outputs = b.graph.push(LinearCrossEntropyGrad(self.clone()), &inputs)?;
        b.graph.replace(node.outputs[0], outputs[0]);
        b.add(x, outputs[1])?;
        b.add(w, outputs[2])
    }
    fn flops(&self, inputs: &[TensorType]) -> u64 {
        product_flops(inputs)
    }
}

/// Loss, dx and dw of [`LinearCrossEntropy`], all f32, in one pass, from x, w, targets and the gradient of the loss (which must not
/// depend on the loss). It can add dw onto an accumulator.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearCrossEntropyGrad(pub LinearCrossEntropy);

impl Rule for LinearCrossEntropyGrad {
    fn arity(&self) -> usize {
        4
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        let loss = self.0.loss_type(inputs)?;
        ensure(inputs[3] == loss, || format!("the gradient of the loss must be {loss}"))?;
        let [dx, dw] = [inputs[0], inputs[1]].map(|t| t.with_dtype(DType::F32));
        Ok(vec![loss, dx, dw])
    }
    fn derive(&self, _: &Node, _: &mut Backward<'_>) -> Result<(), GraphError> {
        no_derivative("LinearCrossEntropyGrad")
    }
    fn flops(&self, inputs: &[TensorType]) -> u64 {
        3 * product_flops(inputs)
    }
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(2, 4)]
    }
    fn accumulates(&self) -> Option<usize> {
        Some(2)
    }
}

/// `softcap·tanh(x wᵀ / softcap)` of x `[N, C]` for the first `vocab` rows of w (both f32 or both bf16), as f32
/// `[N, vocab]`: generation.
#[derive(Clone, Debug, PartialEq)]
pub struct Logits {
    /// Rows of w that are real.
    pub vocab: usize,
    /// Bound of the logits.
    pub softcap: f32,
}

impl Rule for Logits {
    fn arity(&self) -> usize {
        2
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        one_float(inputs)?;
        let (x, w) = (inputs[0].shape(), inputs[1].shape());
        ensure(
            w.rank() == 2 && x.rank() > 0 && x.last() == w.last() && self.vocab <= w.dims()[0],
            || format!("takes x [..., C] and w [V, C] with V >= {}", self.vocab),
        )?;
        Ok(vec![TensorType::f32(x.with_last(self.vocab).dims())])
    }
    fn derive(&self, _: &Node, _: &mut Backward<'_>) -> Result<(), GraphError> {
        no_derivative("Logits")
    }
    fn flops(&self, inputs: &[TensorType]) -> u64 {
        product_flops(inputs)
    }
}

impl Graph {
    /// Cross-entropy of the softcapped logits `x wᵀ`; see [`LinearCrossEntropy`].
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn linear_cross_entropy(
        &mut self,
        x: ValueId,
        w: ValueId,
        targets: ValueId,
        op: LinearCrossEntropy,
    ) -> Result<ValueId, GraphError> {
        self.push1(op, &[x, w, targets])
    }
}
