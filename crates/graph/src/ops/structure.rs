//! Leaves of a graph, and ops that move values without computing.

use super::{Inferred, Rule, all_f32, ensure, float, floats, no_derivative, one_float};
use crate::{Backward, DType, Graph, GraphError, Node, Shape, TensorType, ValueId};

/// The value of a variable at the beginning of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct VariableValue;

/// A value given for each run.
#[derive(Clone, Debug, PartialEq)]
pub struct InputValue;

macro_rules! leaf {
    ($name:ident) => {
        impl Rule for $name {
            fn arity(&self) -> usize {
                0
            }
            fn infer(&self, _: &[TensorType]) -> Inferred {
                Err("leaves are declared, not pushed".into())
            }
            fn derive(&self, _: &Node, _: &mut Backward<'_>) -> Result<(), GraphError> {
                Ok(())
            }
        }
    };
}
leaf!(VariableValue);
leaf!(InputValue);

/// An f32 tensor of one repeated value.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    /// The value.
    pub value: f32,
    /// Shape of the result.
    pub shape: Shape,
}

impl Rule for Constant {
    fn arity(&self) -> usize {
        0
    }
    fn infer(&self, _: &[TensorType]) -> Inferred {
        Ok(vec![TensorType::f32(self.shape.dims())])
    }
    fn derive(&self, _: &Node, _: &mut Backward<'_>) -> Result<(), GraphError> {
        Ok(())
    }
}

/// i32 zeros `[rows]`: the start positions of rows that begin at the first token.
#[derive(Clone, Debug, PartialEq)]
pub struct ZeroPositions {
    /// Number of rows.
    pub rows: usize,
}

impl Rule for ZeroPositions {
    fn arity(&self) -> usize {
        0
    }
    fn infer(&self, _: &[TensorType]) -> Inferred {
        Ok(vec![TensorType::i32(&[self.rows])])
    }
    fn derive(&self, _: &Node, _: &mut Backward<'_>) -> Result<(), GraphError> {
        Ok(())
    }
}

/// The same elements under another shape; a view.
#[derive(Clone, Debug, PartialEq)]
pub struct Reshape {
    /// The new shape, of as many elements.
    pub shape: Shape,
}

impl Rule for Reshape {
    fn arity(&self) -> usize {
        1
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        ensure(inputs[0].len() == self.shape.len(), || {
            format!("{} elements cannot be seen as {}", inputs[0].len(), self.shape)
        })?;
        Ok(vec![TensorType::new(inputs[0].dtype(), self.shape)])
    }
    fn derive(&self, node: &Node, b: &mut Backward<'_>) -> Result<(), GraphError> {
        let shape = b.graph.tensor_type(node.inputs[0]).shape();
        let dy = b.upstream(node.outputs[0])?;
        let dx = b.graph.reshape(dy, shape.dims())?;
        b.add(node.inputs[0], dx)
    }
}

/// `x[start..start + len]` along the first axis; a view. It has no derivative: models read single entries with
/// [`ScaleByScalar`](super::ScaleByScalar) instead.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceLeading {
    /// First entry.
    pub start: usize,
    /// Number of entries.
    pub len: usize,
}

impl Rule for SliceLeading {
    fn arity(&self) -> usize {
        1
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        let shape = inputs[0].shape();
        ensure(shape.rank() > 0 && self.start + self.len <= shape.dims()[0], || {
            format!("there is no part {}+{} of the first axis", self.start, self.len)
        })?;
        let mut dims = shape.dims().to_vec();
        dims[0] = self.len;
        Ok(vec![TensorType::new(inputs[0].dtype(), Shape::new(&dims))])
    }
    fn derive(&self, _: &Node, _: &mut Backward<'_>) -> Result<(), GraphError> {
        no_derivative("SliceLeading")
    }
}

/// `y = x[..., start..start + len]`, x being f32 or bf16.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceLast {
    /// First column.
    pub start: usize,
    /// Number of columns.
    pub len: usize,
    /// Element type of y.
    pub dtype: DType,
}

impl Rule for SliceLast {
    fn arity(&self) -> usize {
        1
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        floats(inputs)?;
        float(self.dtype)?;
        let shape = inputs[0].shape();
        ensure(self.start + self.len <= shape.last(), || {
            format!("there are no columns {}+{}", self.start, self.len)
        })?;
        Ok(vec![TensorType::new(self.dtype, shape.with_last(self.len))])
    }
    // dx = dy in its columns, 0 elsewhere
    fn derive(&self, node: &Node, b: &mut Backward<'_>) -> Result<(), GraphError> {
        let width = b.graph.tensor_type(node.inputs[0]).shape().last();
        let dy = b.upstream_as(node.outputs[0], DType::F32)?;
        let dx = b.graph.push1(PadLast { start: self.start, width }, &[dy])?;
        b.add(node.inputs[0], dx)
    }
}

/// The transpose of [`SliceLast`], f32 alone: `y[..., start..start + len] (+)= x`, 0 elsewhere, `len` being the last extent of x.
#[derive(Clone, Debug, PartialEq)]
pub struct PadLast {
    /// First column that is filled.
    pub start: usize,
    /// Number of columns of the result.
    pub width: usize,
}

impl Rule for PadLast {
    fn arity(&self) -> usize {
        1
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        all_f32(inputs)?;
        let shape = inputs[0].shape();
        ensure(self.start + shape.last() <= self.width, || {
            format!("{} columns from {} do not fit in {}", shape.last(), self.start, self.width)
        })?;
        Ok(vec![TensorType::f32(shape.with_last(self.width).dims())])
    }
    fn derive(&self, node: &Node, b: &mut Backward<'_>) -> Result<(), GraphError> {
        let len = b.graph.tensor_type(node.inputs[0]).shape().last();
        let dy = b.upstream(node.outputs[0])?;
        let dx = b.graph.slice_last(dy, self.start, len)?;
        b.add(node.inputs[0], dx)
    }
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 1)]
    }
    fn accumulates(&self) -> Option<usize> {
        Some(0)
    }
}

/// `[a, b]` along the last axis: a and b alike but for it, both f32 or both bf16.
#[derive(Clone, Debug, PartialEq)]
pub struct Concat;

impl Rule for Concat {
    fn arity(&self) -> usize {
        2
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        let dtype = one_float(inputs)?;
        let (a, b) = (inputs[0].shape(), inputs[1].shape());
        ensure(a.rank() > 0 && a.with_last(1) == b.with_last(1), || {
            "all axes but the last must be equal".into()
        })?;
        Ok(vec![TensorType::new(dtype, a.with_last(a.last() + b.last()))])
    }
    fn derive(&self, node: &Node, b: &mut Backward<'_>) -> Result<(), GraphError> {
        let dy = b.upstream(node.outputs[0])?;
        let mut start = 0;
        for &input in &node.inputs {
            let len = b.graph.tensor_type(input).shape().last();
            let dtype = b.gradient_dtype(input);
            let part = b.graph.push1(SliceLast { start, len, dtype }, &[dy])?;
            b.add(input, part)?;
            start += len;
        }
        Ok(())
    }
}

/// The ids `[B, T]` that come one position later, i32; `last` at the end of each row.
#[derive(Clone, Debug, PartialEq)]
pub struct NextIds {
    /// What stands where nothing comes later.
    pub last: i32,
}

impl Rule for NextIds {
    fn arity(&self) -> usize {
        1
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        ensure(inputs[0].dtype() == DType::I32 && inputs[0].shape().rank() == 2, || {
            "takes i32 ids [B, T]".into()
        })?;
        Ok(vec![inputs[0]])
    }
    fn derive(&self, _: &Node, _: &mut Backward<'_>) -> Result<(), GraphError> {
        Ok(())
    }
}

/// Moves x `[B, T, C]` by one position: `y[t] = x[t-1]` (`back` false) or `y[t] = x[t+1]`; the gap is 0.
#[derive(Clone, Debug, PartialEq)]
pub struct ShiftTime {
    /// Towards earlier positions.
    pub back: bool,
}

impl Rule for ShiftTime {
    fn arity(&self) -> usize {
        1
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        all_f32(inputs)?;
        ensure(inputs[0].shape().rank() == 3, || "takes [B, T, C]".into())?;
        Ok(vec![inputs[0]])
    }
    fn derive(&self, node: &Node, b: &mut Backward<'_>) -> Result<(), GraphError> {
        let dy = b.upstream(node.outputs[0])?;
        let dx = b.graph.push1(ShiftTime { back: !self.back }, &[dy])?;
        b.add(node.inputs[0], dx)
    }
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 1)]
    }
    fn accumulates(&self) -> Option<usize> {
        Some(0)
    }
}

/// A one-element tensor repeated to a shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Expand {
    /// Shape of the result.
    pub shape: Shape,
}

impl Rule for Expand {
    fn arity(&self) -> usize {
        1
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        all_f32(inputs)?;
        ensure(inputs[0].len() == 1, || "takes one element".into())?;
        Ok(vec![TensorType::f32(self.shape.dims())])
    }
    // dx = sum(dy)
    fn derive(&self, node: &Node, b: &mut Backward<'_>) -> Result<(), GraphError> {
        let dy = b.upstream(node.outputs[0])?;
        let dims = b.graph.tensor_type(node.inputs[0]).shape();
        let dx = b.graph.sum(dy)?;
        let dx = b.graph.reshape(dx, dims.dims())?;
        b.add(node.inputs[0], dx)
    }
}

impl Graph {
    /// An f32 tensor filled with `value`.
    pub fn constant(&mut self, value: f32, dims: &[usize]) -> ValueId {
        self.push1(Constant { value, shape: Shape::new(dims) }, &[])
            .expect("constants take no inputs")
    }

    /// i32 zeros `[rows]`.
    pub fn zero_positions(&mut self, rows: usize) -> ValueId {
        self.push1(ZeroPositions { rows }, &[]).expect("constants take no inputs")
    }

    /// `x` under another shape of as many elements.
    ///
    /// # Errors
    /// When the numbers of elements differ.
    pub fn reshape(&mut self, x: ValueId, dims: &[usize]) -> Result<ValueId, GraphError> {
        if self.tensor_type(x).shape().dims() == dims {
            return Ok(x);
        }
        self.push1(Reshape { shape: Shape::new(dims) }, &[x])
    }

    /// Entries `start..start + len` of the first axis.
    ///
    /// # Errors
    /// When there are no such entries.
    pub fn slice_leading(
        &mut self,
        x: ValueId,
        start: usize,
        len: usize,
    ) -> Result<ValueId, GraphError> {
        self.push1(SliceLeading { start, len }, &[x])
    }

    /// Columns `start..start + len` of the last axis, as f32.
    ///
    /// # Errors
    /// When there are no such columns.
    pub fn slice_last(
        &mut self,
        x: ValueId,
        start: usize,
        len: usize,
    ) -> Result<ValueId, GraphError> {
        self.push1(SliceLast { start, len, dtype: DType::F32 }, &[x])
    }

    /// `[a, b]` along the last axis; see [`Concat`].
    ///
    /// # Errors
    /// When other axes or the element types differ.
    pub fn concat(&mut self, a: ValueId, b: ValueId) -> Result<ValueId, GraphError> {
        self.push1(Concat, &[a, b])
    }

    /// The ids one position later, and `last` at the end of each row.
    ///
    /// # Errors
    /// When these are no ids `[B, T]`.
    pub fn next_ids(&mut self, ids: ValueId, last: i32) -> Result<ValueId, GraphError> {
        self.push1(NextIds { last }, &[ids])
    }

    /// x `[B, T, C]` moved one position later, 0 at t = 0.
    ///
    /// # Errors
    /// When x has not three axes.
    pub fn shift_time(&mut self, x: ValueId) -> Result<ValueId, GraphError> {
        self.push1(ShiftTime { back: false }, &[x])
    }
}
