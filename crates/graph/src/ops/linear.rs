//! Products with a weight. Weights are stored out x in.

use super::{Inferred, ReluSquaredGrad, Rule, all_f32, ensure, no_derivative};
use crate::{Backward, Graph, GraphError, Node, TensorType, ValueId};

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

/// `y = x wᵀ` with x `[..., K]`, w `[M, K]`, y `[..., M]`; then the epilogue.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Fused into the write-back.
    pub epilogue: Epilogue,
}

fn product_flops(x: &TensorType, w: &TensorType) -> u64 {
    2 * x.shape().rows() as u64 * w.len() as u64
}

impl Rule for Linear {
    fn arity(&self) -> usize {
        if self.epilogue == Epilogue::Residual { 3 } else { 2 }
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        all_f32(inputs)?;
        let (x, w) = (inputs[0].shape(), inputs[1].shape());
        ensure(w.rank() == 2 && x.rank() >= 1 && x.last() == w.last(), || {
            "takes x [..., K] and w [M, K]".into()
        })?;
        let y = TensorType::f32(x.with_last(w.dims()[0]).dims());
        ensure(inputs.get(2).is_none_or(|r| *r == y), || format!("the residual must be {y}"))?;
        Ok(vec![y])
    }
    // dx = dy w, dw = dyᵀ x, dresidual = dy
    fn derive(&self, node: &Node, b: &mut Backward<'_>) -> Result<(), GraphError> {
        let (x, w) = (node.inputs[0], node.inputs[1]);
        let mut dy = b.upstream(node.outputs[0])?;
        match self.epilogue {
            Epilogue::None => {}
            Epilogue::Residual => b.add(node.inputs[2], dy)?,
            Epilogue::ReluSquared => {
                dy = b.graph.push1(ReluSquaredGrad, &[node.outputs[0], dy])?;
            }
        }
        if b.wants(w) {
            let dw = b.graph.push1(LinearGradWeight, &[dy, x])?;
            b.add(w, dw)?;
        }
        if b.wants(x) {
            let dx = b.graph.push1(LinearGradInput, &[dy, w])?;
            b.add(x, dx)?;
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

/// `dx = dy w` from dy `[..., M]` and w `[M, K]`.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearGradInput;

impl Rule for LinearGradInput {
    fn arity(&self) -> usize {
        2
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        all_f32(inputs)?;
        let (dy, w) = (inputs[0].shape(), inputs[1].shape());
        ensure(w.rank() == 2 && dy.rank() >= 1 && dy.last() == w.dims()[0], || {
            "takes dy [..., M] and w [M, K]".into()
        })?;
        Ok(vec![TensorType::f32(dy.with_last(w.last()).dims())])
    }
    fn derive(&self, _: &Node, _: &mut Backward<'_>) -> Result<(), GraphError> {
        no_derivative("LinearGradInput")
    }
    fn flops(&self, inputs: &[TensorType]) -> u64 {
        product_flops(&inputs[0], &inputs[1])
    }
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 2)]
    }
    fn accumulates(&self) -> Option<usize> {
        Some(0)
    }
}

/// `dw = dyᵀ x` from dy `[..., M]` and x `[..., K]`.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearGradWeight;

impl Rule for LinearGradWeight {
    fn arity(&self) -> usize {
        2
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        all_f32(inputs)?;
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
    /// `x wᵀ`.
    ///
    /// # Errors
    /// When the inner extents differ.
    pub fn linear(&mut self, x: ValueId, w: ValueId) -> Result<ValueId, GraphError> {
        self.push1(Linear { epilogue: Epilogue::None }, &[x, w])
    }

    /// `residual + x wᵀ`.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn linear_residual(
        &mut self,
        x: ValueId,
        w: ValueId,
        residual: ValueId,
    ) -> Result<ValueId, GraphError> {
        self.push1(Linear { epilogue: Epilogue::Residual }, &[x, w, residual])
    }

    /// `relu(x wᵀ)²`.
    ///
    /// # Errors
    /// When the inner extents differ.
    pub fn linear_relu_squared(&mut self, x: ValueId, w: ValueId) -> Result<ValueId, GraphError> {
        self.push1(Linear { epilogue: Epilogue::ReluSquared }, &[x, w])
    }
}
