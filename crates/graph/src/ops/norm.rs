//! Root-mean-square normalisation without a learned scale (Zhang & Sennrich 2019).

use super::{Inferred, Rule, all_f32, ensure, float, floats, no_derivative};
use crate::{Backward, DType, Graph, GraphError, Node, TensorType, ValueId};

/// Added to the mean square: the epsilon of f32.
pub const EPSILON: f32 = 1.192_092_9e-7;

/// `y = x·r`, `r = 1/sqrt(mean(x²) + eps)` per row, over the last axis. Outputs y and r (f32, one per row): with them
/// the gradient needs no x, which so need not be kept.
#[derive(Clone, Debug, PartialEq)]
pub struct RmsNorm {
    /// Added to the mean square.
    pub eps: f32,
    /// Element type of y.
    pub dtype: DType,
}

/// One statistic per row of x.
pub(super) fn row_statistic(x: &TensorType) -> TensorType {
    let shape = x.shape();
    TensorType::f32(&shape.dims()[..shape.rank() - 1])
}

impl Rule for RmsNorm {
    fn arity(&self) -> usize {
        1
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        all_f32(inputs)?;
        float(self.dtype)?;
        ensure(inputs[0].shape().rank() > 0, || "takes rows".into())?;
        Ok(vec![inputs[0].with_dtype(self.dtype), row_statistic(&inputs[0])])
    }
    fn derive(&self, node: &Node, b: &mut Backward<'_>) -> Result<(), GraphError> {
        let dy = b.upstream(node.outputs[0])?;
        let dx = b.graph.push1(RmsNormGrad, &[node.outputs[0], node.outputs[1], dy])?;
        b.add(node.inputs[0], dx)
    }
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 0)]
    }
}

/// `dx = r·(dy - y·mean(y·dy))`, f32, from y, r, dy; y and dy may be bf16.
#[derive(Clone, Debug, PartialEq)]
pub struct RmsNormGrad;

impl Rule for RmsNormGrad {
    fn arity(&self) -> usize {
        3
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        let (y, dy) = (inputs[0], inputs[2]);
        floats(inputs)?;
        ensure(y.shape() == dy.shape() && y.shape().rank() > 0, || {
            "y and dy must have one shape".into()
        })?;
        ensure(inputs[1] == row_statistic(&y), || "takes one f32 statistic per row".into())?;
        Ok(vec![y.with_dtype(DType::F32)])
    }
    fn derive(&self, _: &Node, _: &mut Backward<'_>) -> Result<(), GraphError> {
        no_derivative("RmsNormGrad")
    }
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 3), (0, 2), (0, 0)]
    }
    fn accumulates(&self) -> Option<usize> {
        Some(0)
    }
}

impl Graph {
    /// `x / sqrt(mean(x²) + eps)` over the last axis, as f32.
    ///
    /// # Errors
    /// When x is not f32.
    pub fn rms_norm(&mut self, x: ValueId) -> Result<ValueId, GraphError> {
        self.rms_norm_as(x, DType::F32)
    }

    /// [`rms_norm`](Self::rms_norm) with elements of type `dtype`.
    ///
    /// # Errors
    /// When x is not f32, or `dtype` no float.
    pub fn rms_norm_as(&mut self, x: ValueId, dtype: DType) -> Result<ValueId, GraphError> {
        self.push1(RmsNorm { eps: EPSILON, dtype }, &[x])
    }
}
