//! From one float type to another.

use super::{Inferred, Rule, ensure, float};
use crate::{Backward, DType, Graph, GraphError, Node, Op, ValueId};

/// x under another float type; bf16 is rounded to nearest, ties to even.
#[derive(Clone, Debug, PartialEq)]
pub struct Cast {
    /// Element type of the result.
    pub dtype: DType,
}

impl Rule for Cast {
    fn arity(&self) -> usize {
        1
    }
    fn infer(&self, inputs: &[crate::TensorType]) -> Inferred {
        float(self.dtype)?;
        let from = inputs[0].dtype();
        ensure(from.is_float() && from != self.dtype, || {
            format!("turns f32 into bf16 or back, not {from} into {}", self.dtype)
        })?;
        Ok(vec![inputs[0].with_dtype(self.dtype)])
    }
    // dx = dy, which the gradient of an f32 value is cast back for as it is added
    fn derive(&self, node: &Node, b: &mut Backward<'_>) -> Result<(), GraphError> {
        let dy = b.upstream(node.outputs[0])?;
        b.add(node.inputs[0], dy)
    }
}

impl Graph {
    /// x with elements of type `dtype`: x itself where they are, and one cast for all who ask for the same.
    ///
    /// # Errors
    /// When x or `dtype` is no float.
    pub fn cast(&mut self, x: ValueId, dtype: DType) -> Result<ValueId, GraphError> {
        let x = self.resolve(x);
        if self.tensor_type(x).dtype() == dtype {
            return Ok(x);
        }
        let op = Op::from(Cast { dtype });
        let same = self.nodes().iter().find(|n| n.op == op && n.inputs == [x]);
        match same.map(|n| n.outputs[0]) {
            Some(cast) => Ok(cast),
            None => self.push1(op, &[x]),
        }
    }
}
