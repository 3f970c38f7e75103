//! Dropout (Srivastava et al. 2014).

use super::{Inferred, Rule, all_f32, ensure};
use crate::{Backward, DType, Graph, GraphError, Node, TensorType, ValueId};

/// x with a share `rate` of its elements replaced by 0, the others divided by `1 - rate`. Which ones follows from their
/// place, `salt` and the run-time input key (i32 `[2]`) alone: the same key drops the same elements, in the backward pass
/// and when a run is repeated. Inputs: x, f32 of any shape, and key.
#[derive(Clone, Debug, PartialEq)]
pub struct Dropout {
    /// Share that is dropped, from 0 to less than 1.
    pub rate: f32,
    /// Tells the dropouts of a graph apart.
    pub salt: u32,
}

impl Rule for Dropout {
    fn arity(&self) -> usize {
        2
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        all_f32(&inputs[..1])?;
        ensure((0.0..1.0).contains(&self.rate), || format!("{} is no share to drop", self.rate))?;
        ensure(inputs[1].dtype() == DType::I32 && inputs[1].len() == 2, || {
            "takes a key of two i32".into()
        })?;
        Ok(vec![inputs[0]])
    }
    // The same elements of dy are dropped.
    fn derive(&self, node: &Node, b: &mut Backward<'_>) -> Result<(), GraphError> {
        let dy = b.upstream(node.outputs[0])?;
        let dx = b.graph.push1(self.clone(), &[dy, node.inputs[1]])?;
        b.add(node.inputs[0], dx)
    }
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 0)]
    }
}

impl Graph {
    /// Drops a share of x; see [`Dropout`].
    ///
    /// # Errors
    /// When the rate is no share, or the key not of two numbers.
    pub fn dropout(
        &mut self,
        x: ValueId,
        key: ValueId,
        op: Dropout,
    ) -> Result<ValueId, GraphError> {
        self.push1(op, &[x, key])
    }
}
