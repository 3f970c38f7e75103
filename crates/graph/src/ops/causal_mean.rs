//! The mean of the latest positions.

use super::{Inferred, Rule, all_f32, ensure};
use crate::{Backward, Graph, GraphError, Node, TensorType, ValueId};

/// `y[t] = (1/order)·Σ_{j<order} x[t-j]` of x `[B, T, C]`; positions that are missing count as 0, the divisor stays.
/// `transposed`: `x[t+j]` instead.
#[derive(Clone, Debug, PartialEq)]
pub struct CausalMean {
    /// Number of positions, at least 1.
    pub order: usize,
    /// Towards later positions: the derivative.
    pub transposed: bool,
}

impl Rule for CausalMean {
    fn arity(&self) -> usize {
        1
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        all_f32(inputs)?;
        ensure(inputs[0].shape().rank() == 3 && self.order > 0, || {
            "takes [B, T, C] and an order of at least 1".into()
        })?;
        Ok(vec![inputs[0]])
    }
    fn derive(&self, node: &Node, b: &mut Backward<'_>) -> Result<(), GraphError> {
        let dy = b.upstream(node.outputs[0])?;
        let op = CausalMean { order: self.order, transposed: !self.transposed };
        let dx = b.graph.push1(op, &[dy])?;
        b.add(node.inputs[0], dx)
    }
}

impl Graph {
    /// Mean of the latest `order` positions of x `[B, T, C]`; see [`CausalMean`].
    ///
    /// # Errors
    /// When x has not three axes, or the order is 0.
    pub fn causal_mean(&mut self, x: ValueId, order: usize) -> Result<ValueId, GraphError> {
        self.push1(CausalMean { order, transposed: false }, &[x])
    }
}
