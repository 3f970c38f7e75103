//! Products with a weight. Weights are stored out x in.

use super::{
    Inferred, Op, ReluSquaredGrad, Rule, ensure, no_derivative, one_float, product_yields,
};
use crate::{Backward, DType, Graph, GraphError, Node, TensorType, ValueId};

/// What is done to a product as it is written back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogue {
    /// Nothing.
    None,
    /// The third input is added: a residual connection.
    Residual,
    /// `relu(·)²`.
    ReluSquared,
}

/// `y = x wᵀ` with x `[..., K]`, w `[M, K]`, y `[..., M]`; then the epilogue. x and w are both f32 or both bf16, a residual
/// is like y.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Fused into the write-back.
    pub epilogue: Epilogue,
    /// Element type of y: that of a product of f32 is f32.
    pub dtype: DType,
}

fn product_flops(x: &TensorType, w: &TensorType) -> u64 {
    2 * x.shape().rows() as u64 * w.len() as u64
}

impl Rule for Linear {
    fn arity(&self) -> usize {
        if self.epilogue == Epilogue::Residual { 3 } else { 2 }
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        product_yields(one_float(&inputs[..2])?, self.dtype)?;
        let (x, w) = (inputs[0].shape(), inputs[1].shape());
        ensure(w.rank() == 2 && x.rank() >= 1 && x.last() == w.last(), || {
            "takes x [..., K] and w [M, K]".into()
        })?;
        let y = TensorType::new(self.dtype, x.with_last(w.dims()[0]));
        ensure(inputs.get(2).is_none_or(|r| *r == y), || format!("the residual must be {y}"))?;
        Ok(vec![y])
    }
    // dx = dy w, dw = dyᵀ x, dresidual = dy
    fn derive(&self, node: &Node, b: &mut Backward<'_>) -> Result<(), GraphError> {
        let (x, w) = (node.inputs[0], node.inputs[1]);
        let dy = self.before_epilogue(node, b)?;
        let dy = b.graph.cast(dy, b.graph.tensor_type(w).dtype())?;
        if b.wants(w) {
            let again = b.look_up_again(x)?;
            let dw = b.graph.push1(LinearGradWeight, &[dy, again])?;
            b.add(w, dw)?;
        }
        if b.wants(x) {
            grad_input(x, dy, w, b)?;
        }
        Ok(())
    }
    fn flops(&self, inputs: &[TensorType]) -> u64 {
        product_flops(&inputs[0], &inputs[1])
    }
    fn in_place(&self) -> &'static [(usize, usize)] {
        match self.epilogue {
            Epilogue::Residual => &[(0, 2)],
            _ => &[],
        }
    }
}

impl Linear {
    /// The gradient of the product, which is what the epilogue is applied to.
    fn before_epilogue(&self, node: &Node, b: &mut Backward<'_>) -> Result<ValueId, GraphError> {
        let y = node.outputs[0];
        match self.epilogue {
            Epilogue::None => b.upstream(y),
            Epilogue::Residual => {
                let dy = b.upstream(y)?;
                b.add(node.inputs[2], dy)?;
                Ok(dy)
            }
            Epilogue::ReluSquared => match b.before_epilogue(y) {
                Some(dy) => Ok(dy),
                None => {
                    let dy = b.upstream(y)?;
                    b.graph.push1(ReluSquaredGrad, &[y, dy])
                }
            },
        }
    }
}

/// Adds `dy w` to the gradient of x. Where x is relu² of a product and read by nothing else, the derivative of relu² is
/// taken as the product is written back, so that the gradient of x itself never exists.
fn grad_input(x: ValueId, dy: ValueId, w: ValueId, b: &mut Backward<'_>) -> Result<(), GraphError> {
    let maker = &b.graph.producer(x).op;
    let squared = matches!(maker, Op::Linear(op) if op.epilogue == Epilogue::ReluSquared);
    if squared && b.is_read_once(x) {
        let dtype = b.graph.tensor_type(x).dtype();
        let op = LinearGradInput { relu_squared: true, dtype };
        let dx = b.graph.push1(op, &[dy, w, x])?;
        b.set_before_epilogue(x, dx);
        return Ok(());
    }
    let op = LinearGradInput { relu_squared: false, dtype: b.gradient_dtype(x) };
    let dx = b.graph.push1(op, &[dy, w])?;
    b.add(x, dx)
}

/// `dx = dy w` from dy `[..., M]` and w `[M, K]`, both f32 or both bf16.
///
/// With `relu_squared` there is a third input, `h = relu(z)²` like dx, and dx is the gradient of z: `2·sqrt(h)·(dy w)`.
/// Without, an f32 dx can be added onto an accumulator.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearGradInput {
    /// Take the derivative of relu² too.
    pub relu_squared: bool,
    /// Element type of dx: that of a product of f32 is f32.
    pub dtype: DType,
}

impl Rule for LinearGradInput {
    fn arity(&self) -> usize {
        if self.relu_squared { 3 } else { 2 }
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        product_yields(one_float(&inputs[..2])?, self.dtype)?;
        let (dy, w) = (inputs[0].shape(), inputs[1].shape());
        ensure(w.rank() == 2 && dy.rank() >= 1 && dy.last() == w.dims()[0], || {
            "takes dy [..., M] and w [M, K]".into()
        })?;
        let dx = TensorType::new(self.dtype, dy.with_last(w.last()));
        ensure(inputs.get(2).is_none_or(|h| *h == dx), || format!("h must be {dx}"))?;
        Ok(vec![dx])
    }
    fn derive(&self, _: &Node, _: &mut Backward<'_>) -> Result<(), GraphError> {
        no_derivative("LinearGradInput")
    }
    fn flops(&self, inputs: &[TensorType]) -> u64 {
        product_flops(&inputs[0], &inputs[1])
    }
    fn in_place(&self) -> &'static [(usize, usize)] {
        // Of f32 sums go on from what lies where dx does, which so cannot be h.
        if self.relu_squared && self.dtype == DType::F32 { &[] } else { &[(0, 2)] }
    }
    fn accumulates(&self) -> Option<usize> {
        // Sums of gradients are f32.
        (!self.relu_squared && self.dtype == DType::F32).then_some(0)
    }
}

/// `dw = dyᵀ x`, f32, from dy `[..., M]` and x `[..., K]`, both f32 or both bf16.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearGradWeight;

impl Rule for LinearGradWeight {
    fn arity(&self) -> usize {
        2
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        one_float(inputs)?;
        let (dy, x) = (inputs[0].shape(), inputs[1].shape());
        ensure(dy.rows() == x.rows(), || "dy and x must have as many rows".into())?;
        Ok(vec![TensorType::f32(&[dy.last(), x.last()])])
    }
    fn derive(&self, _: &Node, _: &mut Backward<'_>) -> Result<(), GraphError> {
        no_derivative("LinearGradWeight")
    }
    fn flops(&self, inputs: &[TensorType]) -> u64 {
        2 * inputs[0].len() as u64 * inputs[1].shape().last() as u64
    }
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 2)]
    }
    fn accumulates(&self) -> Option<usize> {
        Some(0)
    }
}

impl Graph {
    fn push_linear(
        &mut self,
        epilogue: Epilogue,
        inputs: &[ValueId],
    ) -> Result<ValueId, GraphError> {
        // A residual decides, else x.
        let like = inputs.get(2).unwrap_or(&inputs[0]);
        let dtype = self.tensor_type(*like).dtype();
        self.push1(Linear { epilogue, dtype }, inputs)
    }

    /// `x wᵀ`, of the element type of x.
    ///
    /// # Errors
    /// When the inner extents or the element types differ.
    pub fn linear(&mut self, x: ValueId, w: ValueId) -> Result<ValueId, GraphError> {
        self.push_linear(Epilogue::None, &[x, w])
    }

    /// `x wᵀ` in f32, whatever x is.
    ///
    /// # Errors
    /// When the inner extents or the element types differ.
    pub fn linear_f32(&mut self, x: ValueId, w: ValueId) -> Result<ValueId, GraphError> {
        self.push1(Linear { epilogue: Epilogue::None, dtype: DType::F32 }, &[x, w])
    }

    /// `residual + x wᵀ`, of the element type of the residual.
    ///
    /// # Errors
    /// When shapes or element types do not fit.
    pub fn linear_residual(
        &mut self,
        x: ValueId,
        w: ValueId,
        residual: ValueId,
    ) -> Result<ValueId, GraphError> {
        self.push_linear(Epilogue::Residual, &[x, w, residual])
    }

    /// `relu(x wᵀ)²`, of the element type of x.
    ///
    /// # Errors
    /// When the inner extents or the element types differ.
    pub fn linear_relu_squared(&mut self, x: ValueId, w: ValueId) -> Result<ValueId, GraphError> {
        self.push_linear(Epilogue::ReluSquared, &[x, w])
    }
}
