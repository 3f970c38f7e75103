//! Table look-up.

use super::{Inferred, Rule, ensure, float, no_derivative};
use crate::{Backward, DType, Graph, GraphError, Node, TensorType, ValueId};

/// Rows of an f32 table `[V, C]` at ids (i32, any shape of up to three axes): `[..., C]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Embed {
    /// Element type of the result.
    pub dtype: DType,
}

impl Rule for Embed {
    fn arity(&self) -> usize {
        2
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        let (table, ids) = (inputs[0], inputs[1]);
        ensure(table.dtype() == DType::F32 && table.shape().rank() == 2, || {
            "takes an f32 table [V, C]".into()
        })?;
        float(self.dtype)?;
        ensure(ids.dtype() == DType::I32 && ids.shape().rank() < 4, || "takes i32 ids".into())?;
        let mut dims = ids.shape().dims().to_vec();
        dims.push(table.shape().last());
        Ok(vec![TensorType::f32(&dims).with_dtype(self.dtype)])
    }
    fn derive(&self, node: &Node, b: &mut Backward<'_>) -> Result<(), GraphError> {
        let table = node.inputs[0];
        let rows = b.graph.tensor_type(table).shape().dims()[0];
        let dy = b.upstream(node.outputs[0])?;
        let dtable = b.graph.push1(EmbedGrad { rows }, &[dy, node.inputs[1]])?;
        b.add(table, dtable)
    }
}

/// The table's gradient, f32: rows of dy `[..., C]` (f32 or bf16) added up by id; rows of ids that do not occur are 0.
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
        ensure(dy.dtype().is_float() && dy.shape().rows() == ids.len(), || {
            "takes one row of floats per id".into()
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
    /// Rows of a table `[V, C]` at ids, as f32.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn embed(&mut self, table: ValueId, ids: ValueId) -> Result<ValueId, GraphError> {
        self.embed_as(table, ids, DType::F32)
    }

    /// [`embed`](Self::embed) with elements of type `dtype`.
    ///
    /// # Errors
    /// When shapes do not fit, or `dtype` is no float.
    pub fn embed_as(
        &mut self,
        table: ValueId,
        ids: ValueId,
        dtype: DType,
    ) -> Result<ValueId, GraphError> {
        self.push1(Embed { dtype }, &[table, ids])
    }
}
