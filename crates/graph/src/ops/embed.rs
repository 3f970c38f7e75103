//! Table look-up.

use super::{Inferred, Rule, ensure, no_derivative};
use crate::{Backward, DType, Graph, GraphError, Node, TensorType, ValueId};

/// Rows of a table `[V, C]` at ids (i32, any shape of up to three axes): `[..., C]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Embed;

impl Rule for Embed {
    fn arity(&self) -> usize {
        2
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        let (table, ids) = (inputs[0], inputs[1]);
        ensure(table.dtype() == DType::F32 && table.shape().rank() == 2, || {
            "takes a table [V, C]".into()
        })?;
        ensure(ids.dtype() == DType::I32 && ids.shape().rank() < 4, || "takes i32 ids".into())?;
        let mut dims = ids.shape().dims().to_vec();
        dims.push(table.shape().last());
        Ok(vec![TensorType::f32(&dims)])
    }
    fn derive(&self, node: &Node, b: &mut Backward<'_>) -> Result<(), GraphError> {
        let table = node.inputs[0];
        let rows = b.graph.tensor_type(table).shape().dims()[0];
        let dy = b.upstream(node.outputs[0])?;
        let dtable = b.graph.push1(EmbedGrad { rows }, &[dy, node.inputs[1]])?;
        b.add(table, dtable)
    }
}

/// The table's gradient: rows of dy `[..., C]` added up by id; rows of ids that do not occur are 0.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbedGrad {
    /// Rows of the table.
    pub rows: usize,
}

impl Rule for EmbedGrad {
    fn arity(&self) -> usize {
        2
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        let (dy, ids) = (inputs[0], inputs[1]);
        ensure(dy.dtype() == DType::F32 && dy.shape().rows() == ids.len(), || {
            "takes one row of dy per id".into()
        })?;
        Ok(vec![TensorType::f32(&[self.rows, dy.shape().last()])])
    }
    fn derive(&self, _: &Node, _: &mut Backward<'_>) -> Result<(), GraphError> {
        no_derivative("EmbedGrad")
    }
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 2)]
    }
    fn accumulates(&self) -> Option<usize> {
        Some(0)
    }
}

impl Graph {
    /// Rows of a table `[V, C]` at ids.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn embed(&mut self, table: ValueId, ids: ValueId) -> Result<ValueId, GraphError> {
        self.push1(Embed, &[table, ids])
    }
}
