//! Gated addition: value embeddings and smear.

use super::{Inferred, Rule, all_f32, ensure, no_derivative, same_type};
use crate::{Backward, Graph, GraphError, Node, TensorType, ValueId};

/// `x + scale·sigmoid(g)·y` with one gate per row: x, y `[..., D]`, g of as many elements as x has rows.
#[derive(Clone, Debug, PartialEq)]
pub struct GatedAdd {
    /// Factor of every gate.
    pub scale: f32,
}

fn check(inputs: &[TensorType]) -> Result<(), String> {
    all_f32(inputs)?;
    same_type(&inputs[..2])?;
    let rows = inputs[0].shape().rows();
    ensure(inputs[2].len() == rows, || format!("{} gates for {rows} rows", inputs[2].len()))
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
        let dout = b.upstream(node.outputs[0])?;
        let grads = b.graph.push(GatedAddGrad { scale: self.scale }, &[y, g, dout])?;
        b.add(node.inputs[0], dout)?;
        b.add(y, grads[0])?;
        b.add(g, grads[1])
    }
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 0), (0, 1)]
    }
}

/// Gradients of [`GatedAdd`] with respect to y and g, from y, g, dout.
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
