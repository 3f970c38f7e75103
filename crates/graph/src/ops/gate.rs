//! Gated addition: value embeddings and smear.

use super::{Inferred, Rule, ensure, no_derivative, one_float, same_type};
use crate::{Backward, DType, Graph, GraphError, Node, TensorType, ValueId};

/// `x + scale·sigmoid(g)·y` with one gate per row: x, y `[..., D]`, both f32 or both bf16, g f32 of as many elements as x
/// has rows.
#[derive(Clone, Debug, PartialEq)]
pub struct GatedAdd {
    /// Factor of every gate.
    pub scale: f32,
}

fn check(inputs: &[TensorType]) -> Result<(), String> {
    one_float(&inputs[..2])?;
    same_type(&inputs[..2])?;
    let (gates, rows) = (inputs[2], inputs[0].shape().rows());
    ensure(gates.dtype() == DType::F32, || format!("gates are f32, not {}", gates.dtype()))?;
    ensure(gates.len() == rows, || format!("{} gates for {rows} rows", gates.len()))
}

impl Rule for GatedAdd {
    fn arity(&self) -> usize {
        3
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        check(inputs)?;
        Ok(vec![inputs[0]])
    }
    // dx = dout, dy = scale·σ(g)·dout, dg = scale·σ(g)(1-σ(g))·sum_d(y·dout)
    fn derive(&self, node: &Node, b: &mut Backward<'_>) -> Result<(), GraphError> {
        let (y, g) = (node.inputs[1], node.inputs[2]);
        let dout = b.upstream_like(node.outputs[0])?;
        let again = b.look_up_again(y)?;
        let grads = b.graph.push(GatedAddGrad { scale: self.scale }, &[again, g, dout])?;
        b.add(node.inputs[0], dout)?;
        b.add(y, grads[0])?;
        b.add(g, grads[1])
    }
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 0), (0, 1)]
    }
}

/// Gradients of [`GatedAdd`] with respect to y (like y) and g (f32), from y, g, dout (like y).
#[derive(Clone, Debug, PartialEq)]
pub struct GatedAddGrad {
    /// Factor of every gate.
    pub scale: f32,
}

impl Rule for GatedAddGrad {
    fn arity(&self) -> usize {
        3
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        check(&[inputs[0], inputs[2], inputs[1]])?;
        Ok(vec![inputs[0], inputs[1]])
    }
    fn derive(&self, _: &Node, _: &mut Backward<'_>) -> Result<(), GraphError> {
        no_derivative("GatedAddGrad")
    }
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 0)]
    }
}

impl Graph {
    /// `x + scale·sigmoid(g)·y`, g one gate per row of x.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn gated_add(
        &mut self,
        x: ValueId,
        y: ValueId,
        g: ValueId,
        scale: f32,
    ) -> Result<ValueId, GraphError> {
        self.push1(GatedAdd { scale }, &[x, y, g])
    }
}
