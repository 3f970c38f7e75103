//! Rotary position embedding with half-split pairs (Su et al. 2021), alone and fused with the norm of queries and keys.

use super::norm::{EPSILON, row_statistic};
use super::{Inferred, Rule, ensure, no_derivative, one_float, same_type};
use crate::{Backward, DType, Graph, GraphError, Node, Op, TensorType, ValueId};

/// The rotations of `tokens` positions from `start[b]` on (i32 `[B]`): f32 `[B, T, D]`, D/2 cosines, then D/2 sines, of the
/// angles `t / base^(2j/D)`. All layers share one.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeTable {
    /// Base of the angles.
    pub base: f32,
    /// Number of positions, T.
    pub tokens: usize,
    /// Head size, D.
    pub head_dim: usize,
}

impl Rule for RopeTable {
    fn arity(&self) -> usize {
        1
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        ensure(inputs[0].dtype() == DType::I32 && inputs[0].shape().rank() == 1, || {
            "takes i32 start positions [B]".into()
        })?;
        ensure(self.head_dim.is_multiple_of(2), || "the head size must be even".into())?;
        Ok(vec![TensorType::f32(&[inputs[0].len(), self.tokens, self.head_dim])])
    }
    fn derive(&self, _: &Node, _: &mut Backward<'_>) -> Result<(), GraphError> {
        no_derivative("RopeTable")
    }
}

/// Rotates x `[B, T, H, D]`, f32 or bf16: `y1 = x1·cos + x2·sin`, `y2 = -x1·sin + x2·cos`. The second input is a [`RopeTable`].
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Rotate back: the transpose.
    pub inverse: bool,
}

fn check(x: &TensorType, table: &TensorType) -> Result<(), String> {
    one_float(&[*x])?;
    let Ok([b, t, _, d]) = <[usize; 4]>::try_from(x.shape().dims()) else {
        return Err("takes [B, T, H, D]".into());
    };
    let wanted = TensorType::f32(&[b, t, d]);
    ensure(*table == wanted && d.is_multiple_of(2), || {
        format!("the rotations must be {wanted}, D even")
    })
}

impl Rule for Rope {
    fn arity(&self) -> usize {
        2
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        check(&inputs[0], &inputs[1])?;
        Ok(vec![inputs[0]])
    }
    fn derive(&self, node: &Node, b: &mut Backward<'_>) -> Result<(), GraphError> {
        let dy = b.upstream_like(node.outputs[0])?;
        let inverse = Rope { inverse: !self.inverse };
        let dx = b.graph.push1(inverse, &[dy, node.inputs[1]])?;
        b.add(node.inputs[0], dx)
    }
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 0)]
    }
}

/// `y = scale·norm(rope(x))`, the norm over D: what queries and keys go through. Outputs y and the norm's statistic r
/// (f32) per (b, t, head). Inputs as of [`Rope`].
#[derive(Clone, Debug, PartialEq)]
pub struct RopeNorm {
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
        check(&inputs[0], &inputs[1])?;
        Ok(vec![inputs[0], row_statistic(&inputs[0])])
    }
    fn derive(&self, node: &Node, b: &mut Backward<'_>) -> Result<(), GraphError> {
        let dy = b.upstream_like(node.outputs[0])?;
        let grad = RopeNormGrad { scale: self.scale };
        let dx = b.graph.push1(grad, &[node.outputs[0], node.outputs[1], dy, node.inputs[1]])?;
        b.add(node.inputs[0], dx)
    }
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 0)]
    }
}

/// Gradient of [`RopeNorm`] from y, r, dy (like y) and the rotations: with `z = y/scale`,
/// `dx = ropeᵀ(r·(scale·dy - z·mean(z·scale·dy)))`.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeNormGrad {
    /// Factor after the norm.
    pub scale: f32,
}

impl Rule for RopeNormGrad {
    fn arity(&self) -> usize {
        4
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        check(&inputs[0], &inputs[3])?;
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
    /// The rotations for x `[B, T, H, D]` from `start[b]` on, made once however many layers ask for them.
    fn rope_table(&mut self, x: ValueId, start: ValueId, base: f32) -> Result<ValueId, GraphError> {
        let dims = self.tensor_type(x).shape();
        let (tokens, head_dim) = (dims.dims().get(1).copied().unwrap_or(0), dims.last());
        let op = Op::from(RopeTable { base, tokens, head_dim });
        let same = self.nodes().iter().find(|n| n.op == op && n.inputs == [start]);
        match same.map(|n| n.outputs[0]) {
            Some(table) => Ok(table),
            None => self.push1(op, &[start]),
        }
    }

    /// Rotary embedding of x `[B, T, H, D]`; row b begins at position `start[b]`.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn rope(&mut self, x: ValueId, start: ValueId, base: f32) -> Result<ValueId, GraphError> {
        let table = self.rope_table(x, start, base)?;
        self.push1(Rope { inverse: false }, &[x, table])
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
        let table = self.rope_table(x, start, base)?;
        self.push1(RopeNorm { scale, eps: EPSILON }, &[x, table])
    }
}
