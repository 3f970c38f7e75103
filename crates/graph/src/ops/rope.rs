//! Rotary position embedding with half-split pairs (Su et al. 2021), alone and fused with the norm of queries and keys.

use super::norm::{EPSILON, row_statistic};
use super::{Inferred, Rule, ensure, no_derivative, same_type};
use crate::{Backward, DType, Graph, GraphError, Node, TensorType, ValueId};

/// Rotates x `[B, T, H, D]`: `y1 = x1·cos + x2·sin`, `y2 = -x1·sin + x2·cos`, angle of pair j `t / base^(2j/D)`. The second
/// input, i32 `[B]`, is the position of each row's first entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Base of the angles.
    pub base: f32,
    /// Rotate back: the transpose.
    pub inverse: bool,
}

fn check(x: &TensorType, start: Option<&TensorType>) -> Result<(), String> {
    let dims = x.shape();
    ensure(x.dtype() == DType::F32 && dims.rank() == 4 && dims.last().is_multiple_of(2), || {
        "takes f32 [B, T, H, D] with even D".into()
    })?;
    let wanted = TensorType::i32(&dims.dims()[..1]);
    ensure(start.is_none_or(|s| *s == wanted), || format!("start positions must be {wanted}"))
}

impl Rule for Rope {
    fn arity(&self) -> usize {
        2
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        check(&inputs[0], Some(&inputs[1]))?;
        Ok(vec![inputs[0]])
    }
    fn derive(&self, node: &Node, b: &mut Backward<'_>) -> Result<(), GraphError> {
        let dy = b.upstream(node.outputs[0])?;
        let inverse = Rope { base: self.base, inverse: !self.inverse };
        let dx = b.graph.push1(inverse, &[dy, node.inputs[1]])?;
        b.add(node.inputs[0], dx)
    }
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 0)]
    }
}

/// `y = scale·norm(rope(x))`, the norm over D: what queries and keys go through. Outputs y and the norm's statistic r per
/// (b, t, head). Inputs as of [`Rope`].
#[derive(Clone, Debug, PartialEq)]
pub struct RopeNorm {
    /// Base of the angles.
    pub base: f32,
    /// Factor after the norm.
    pub scale: f32,
    /// Added to the mean square.
    pub eps: f32,
}

impl Rule for RopeNorm {
    fn arity(&self) -> usize {
        2
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        check(&inputs[0], Some(&inputs[1]))?;
        Ok(vec![inputs[0], row_statistic(&inputs[0])])
    }
    fn derive(&self, node: &Node, b: &mut Backward<'_>) -> Result<(), GraphError> {
        let dy = b.upstream(node.outputs[0])?;
        let grad = RopeNormGrad { base: self.base, scale: self.scale };
        let dx = b.graph.push1(grad, &[node.outputs[0], node.outputs[1], dy, node.inputs[1]])?;
        b.add(node.inputs[0], dx)
    }
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 0)]
    }
}

/// Gradient of [`RopeNorm`] from y, r, dy and the start positions: with `z = y/scale`,
/// `dx = ropeᵀ(r·(scale·dy - z·mean(z·scale·dy)))`.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeNormGrad {
    /// Base of the angles.
    pub base: f32,
    /// Factor after the norm.
    pub scale: f32,
}

impl Rule for RopeNormGrad {
    fn arity(&self) -> usize {
        4
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        check(&inputs[0], Some(&inputs[3]))?;
        same_type(&[inputs[0], inputs[2]])?;
        ensure(inputs[1] == row_statistic(&inputs[0]), || "takes one statistic per row".into())?;
        Ok(vec![inputs[0]])
    }
    fn derive(&self, _: &Node, _: &mut Backward<'_>) -> Result<(), GraphError> {
        no_derivative("RopeNormGrad")
    }
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 2), (0, 0)]
    }
}

impl Graph {
    /// Rotary embedding of x `[B, T, H, D]`; row b begins at position `start[b]`.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn rope(&mut self, x: ValueId, start: ValueId, base: f32) -> Result<ValueId, GraphError> {
        self.push1(Rope { base, inverse: false }, &[x, start])
    }

    /// `scale·norm(rope(x))`.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn rope_norm(
        &mut self,
        x: ValueId,
        start: ValueId,
        base: f32,
        scale: f32,
    ) -> Result<ValueId, GraphError> {
        self.push1(RopeNorm { base, scale, eps: EPSILON }, &[x, start])
    }
}
