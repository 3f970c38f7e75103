//! Ops that work element by element, and the sums that are their derivatives.

use super::{Inferred, Rule, all_f32, ensure, floats, no_derivative, same_type};
use crate::{Backward, Graph, GraphError, Node, TensorType, ValueId};

/// Both inputs f32 and of one shape; the result like them.
fn binary(inputs: &[TensorType]) -> Inferred {
    all_f32(inputs)?;
    same_type(inputs)?;
    Ok(vec![inputs[0]])
}

macro_rules! rule {
    ($name:ident, $arity:expr, in_place $pairs:expr, infer $infer:expr, |$op:ident, $node:ident, $b:ident| $derive:expr) => {
        impl Rule for $name {
            fn arity(&self) -> usize {
                $arity
            }
            fn infer(&self, inputs: &[TensorType]) -> Inferred {
                let $op = self;
                let _ = $op;
                #[allow(clippy::redundant_closure_call)]
                ($infer)(self, inputs)
            }
            fn derive(&self, $node: &Node, $b: &mut Backward<'_>) -> Result<(), GraphError> {
                let $op = self;
                let _ = $op;
                $derive
            }
            fn in_place(&self) -> &'static [(usize, usize)] {
                $pairs
            }
        }
    };
}

/// `x + y`.
#[derive(Clone, Debug, PartialEq)]
pub struct Add;
rule!(Add, 2, in_place &[(0, 0), (0, 1)], infer |_: &Add, i: &[TensorType]| binary(i), |_op, node, b| {
    let dy = b.upstream(node.outputs[0])?;
    b.add(node.inputs[0], dy)?;
    b.add(node.inputs[1], dy)
});

/// `x - y`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sub;
rule!(Sub, 2, in_place &[(0, 0), (0, 1)], infer |_: &Sub, i: &[TensorType]| binary(i), |_op, node, b| {
    let dy = b.upstream(node.outputs[0])?;
    b.add(node.inputs[0], dy)?;
    let negative = b.graph.scale(dy, -1.0)?;
    b.add(node.inputs[1], negative)
});

/// `x · y`, element by element.
#[derive(Clone, Debug, PartialEq)]
pub struct Mul;
rule!(Mul, 2, in_place &[(0, 0), (0, 1)], infer |_: &Mul, i: &[TensorType]| binary(i), |_op, node, b| {
    // dx = dy · y, dy = dy · x
    let (x, y) = (node.inputs[0], node.inputs[1]);
    let dy = b.upstream(node.outputs[0])?;
    let dx = b.graph.mul(dy, y)?;
    b.add(x, dx)?;
    let dy = b.graph.mul(dy, x)?;
    b.add(y, dy)
});

/// `factor · x`.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// The factor.
    pub factor: f32,
}
rule!(Scale, 1, in_place &[(0, 0)], infer |_: &Scale, i: &[TensorType]| binary(i), |op, node, b| {
    let dy = b.upstream(node.outputs[0])?;
    let dx = b.graph.scale(dy, op.factor)?;
    b.add(node.inputs[0], dx)
});

/// `s[index] · x`: inputs x (any shape) and s (one axis).
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleByScalar {
    /// Which entry of s.
    pub index: usize,
}
rule!(ScaleByScalar, 2, in_place &[(0, 0)], infer |op: &ScaleByScalar, i: &[TensorType]| {
    all_f32(i)?;
    ensure(i[1].shape().rank() == 1 && op.index < i[1].len(), || format!("s has no entry {}", op.index))?;
    Ok(vec![i[0]])
}, |op, node, b| {
    // dx = s[i] dy, ds[i] = sum(x · dy)
    let (x, s) = (node.inputs[0], node.inputs[1]);
    let dy = b.upstream(node.outputs[0])?;
    // The sum comes first: dx may then take dy's place.
    let len = b.graph.tensor_type(s).len();
    let ds = b.graph.push1(DotAt { index: op.index, len }, &[x, dy])?;
    b.add(s, ds)?;
    let dx = b.graph.scale_by_scalar(dy, s, op.index)?;
    b.add(x, dx)
});

/// A vector of `len` zeros but for entry `index`, which is `sum(x · y)`.
#[derive(Clone, Debug, PartialEq)]
pub struct DotAt {
    /// Entry that holds the sum.
    pub index: usize,
    /// Length of the vector.
    pub len: usize,
}
rule!(DotAt, 2, in_place &[], infer |op: &DotAt, i: &[TensorType]| {
    all_f32(i)?;
    same_type(i)?;
    ensure(op.index < op.len, || format!("entry {} of {}", op.index, op.len))?;
    Ok(vec![TensorType::f32(&[op.len])])
}, |op, node, b| {
    // dx = d[i] y, dy = d[i] x
    let (x, y) = (node.inputs[0], node.inputs[1]);
    let d = b.upstream(node.outputs[0])?;
    let dx = b.graph.scale_by_scalar(y, d, op.index)?;
    b.add(x, dx)?;
    let dy = b.graph.scale_by_scalar(x, d, op.index)?;
    b.add(y, dy)
});

/// Sum of all elements, as `[1]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sum;
rule!(Sum, 1, in_place &[], infer |_: &Sum, i: &[TensorType]| {
    all_f32(i)?;
    Ok(vec![TensorType::f32(&[1])])
}, |_op, node, b| {
    let shape = b.graph.tensor_type(node.inputs[0]).shape();
    let dy = b.upstream(node.outputs[0])?;
    let dx = b.graph.push1(super::Expand { shape }, &[dy])?;
    b.add(node.inputs[0], dx)
});

/// `keep[0]·accumulator + gradient` from inputs gradient, accumulator, keep; the accumulator is not read where keep is 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Accumulate;
rule!(Accumulate, 3, in_place &[(0, 1), (0, 0)], infer |_: &Accumulate, i: &[TensorType]| {
    all_f32(i)?;
    same_type(&i[..2])?;
    ensure(i[2].len() == 1, || "keep has one entry".into())?;
    Ok(vec![i[0]])
}, |_op, _node, _b| no_derivative("Accumulate"));

/// `a[index]·x + b[index]·y` from inputs x, y (one shape) and a, b (one axis): the residual stream's lambdas.
#[derive(Clone, Debug, PartialEq)]
pub struct Blend {
    /// Which entry of a and b.
    pub index: usize,
}
rule!(Blend, 4, in_place &[(0, 0), (0, 1)], infer |op: &Blend, i: &[TensorType]| {
    all_f32(i)?;
    same_type(&i[..2])?;
    same_type(&i[2..])?;
    ensure(i[2].shape().rank() == 1 && op.index < i[2].len(), || format!("a has no entry {}", op.index))?;
    Ok(vec![i[0]])
}, |op, node, b| {
    let dy = b.upstream(node.outputs[0])?;
    let inputs = [node.inputs[0], node.inputs[1], node.inputs[2], node.inputs[3], dy];
    let grads = b.graph.push(BlendGrad { index: op.index }, &inputs)?;
    // The gradient of y comes last of the fresh ones: the op adds it onto an earlier one in its own pass.
    for i in [0, 2, 3, 1] {
        b.add(node.inputs[i], grads[i])?;
    }
    Ok(())
});

/// Gradients of [`Blend`] from inputs x, y, a, b, dout: `dx = a[i]·dout`, `dy = b[i]·dout`, `da[i] = sum(x·dout)`,
/// `db[i] = sum(y·dout)`, other entries of da and db 0. It can add dy onto an accumulator.
#[derive(Clone, Debug, PartialEq)]
pub struct BlendGrad {
    /// Which entry of a and b.
    pub index: usize,
}
impl Rule for BlendGrad {
    fn arity(&self) -> usize {
        5
    }
    fn infer(&self, i: &[TensorType]) -> Inferred {
        all_f32(i)?;
        same_type(&[i[0], i[1], i[4]])?;
        same_type(&i[2..4])?;
        ensure(self.index < i[2].len(), || format!("a has no entry {}", self.index))?;
        Ok(i[..4].to_vec())
    }
    fn derive(&self, _: &Node, _: &mut Backward<'_>) -> Result<(), GraphError> {
        no_derivative("BlendGrad")
    }
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 4), (1, 5)]
    }
    fn accumulates(&self) -> Option<usize> {
        Some(1)
    }
}

/// `1 / (1 + e^-x)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sigmoid;
rule!(Sigmoid, 1, in_place &[(0, 0)], infer |_: &Sigmoid, i: &[TensorType]| binary(i), |_op, node, b| {
    let dy = b.upstream(node.outputs[0])?;
    let dx = b.graph.push1(SigmoidGrad, &[node.outputs[0], dy])?;
    b.add(node.inputs[0], dx)
});

/// `dy · y · (1 - y)` from the sigmoid y and dy.
#[derive(Clone, Debug, PartialEq)]
pub struct SigmoidGrad;
rule!(SigmoidGrad, 2, in_place &[(0, 0), (0, 1)], infer |_: &SigmoidGrad, i: &[TensorType]| binary(i),
    |_op, _node, _b| no_derivative("SigmoidGrad"));

/// `tanh(x)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Tanh;
rule!(Tanh, 1, in_place &[(0, 0)], infer |_: &Tanh, i: &[TensorType]| binary(i), |_op, node, b| {
    let dy = b.upstream(node.outputs[0])?;
    let dx = b.graph.push1(TanhGrad, &[node.outputs[0], dy])?;
    b.add(node.inputs[0], dx)
});

/// `dy · (1 - y²)` from the hyperbolic tangent y and dy.
#[derive(Clone, Debug, PartialEq)]
pub struct TanhGrad;
rule!(TanhGrad, 2, in_place &[(0, 0), (0, 1)], infer |_: &TanhGrad, i: &[TensorType]| binary(i),
    |_op, _node, _b| no_derivative("TanhGrad"));

/// `relu(x)²`.
#[derive(Clone, Debug, PartialEq)]
pub struct ReluSquared;
rule!(ReluSquared, 1, in_place &[(0, 0)], infer |_: &ReluSquared, i: &[TensorType]| binary(i), |_op, node, b| {
    let dy = b.upstream(node.outputs[0])?;
    let dx = b.graph.push1(ReluSquaredGrad, &[node.outputs[0], dy])?;
    b.add(node.inputs[0], dx)
});

/// `2·relu(x)·dy = 2·sqrt(y)·dy`, like y, from the output y = relu(x)² and dy (each f32 or bf16), so that x need not be
/// kept.
#[derive(Clone, Debug, PartialEq)]
pub struct ReluSquaredGrad;
rule!(ReluSquaredGrad, 2, in_place &[(0, 1), (0, 0)], infer |_: &ReluSquaredGrad, i: &[TensorType]| {
    floats(i)?;
    ensure(i[0].shape() == i[1].shape(), || "y and dy must have one shape".into())?;
    Ok(vec![i[0]])
}, |_op, _node, _b| no_derivative("ReluSquaredGrad"));

/// `silu(gate) · up`, silu(x) = x·sigmoid(x).
#[derive(Clone, Debug, PartialEq)]
pub struct SwiGlu;
rule!(SwiGlu, 2, in_place &[(0, 0), (0, 1)], infer |_: &SwiGlu, i: &[TensorType]| binary(i), |_op, node, b| {
    let dy = b.upstream(node.outputs[0])?;
    let grads = b.graph.push(SwiGluGrad, &[node.inputs[0], node.inputs[1], dy])?;
    b.add(node.inputs[0], grads[0])?;
    b.add(node.inputs[1], grads[1])
});

/// Gradients of [`SwiGlu`] with respect to gate and up, from gate, up, dy.
#[derive(Clone, Debug, PartialEq)]
pub struct SwiGluGrad;
rule!(SwiGluGrad, 3, in_place &[], infer |_: &SwiGluGrad, i: &[TensorType]| {
    binary(i)?;
    Ok(vec![i[0], i[1]])
}, |_op, _node, _b| no_derivative("SwiGluGrad"));

impl Graph {
    /// `x + y`.
    ///
    /// # Errors
    /// When the types differ.
    pub fn add(&mut self, x: ValueId, y: ValueId) -> Result<ValueId, GraphError> {
        self.push1(Add, &[x, y])
    }

    /// `x - y`.
    ///
    /// # Errors
    /// When the types differ.
    pub fn sub(&mut self, x: ValueId, y: ValueId) -> Result<ValueId, GraphError> {
        self.push1(Sub, &[x, y])
    }

    /// `x · y`, element by element.
    ///
    /// # Errors
    /// When the types differ.
    pub fn mul(&mut self, x: ValueId, y: ValueId) -> Result<ValueId, GraphError> {
        self.push1(Mul, &[x, y])
    }

    /// `factor · x`.
    ///
    /// # Errors
    /// When x is not f32.
    pub fn scale(&mut self, x: ValueId, factor: f32) -> Result<ValueId, GraphError> {
        self.push1(Scale { factor }, &[x])
    }

    /// `s[index] · x`.
    ///
    /// # Errors
    /// When s has no such entry.
    pub fn scale_by_scalar(
        &mut self,
        x: ValueId,
        s: ValueId,
        index: usize,
    ) -> Result<ValueId, GraphError> {
        self.push1(ScaleByScalar { index }, &[x, s])
    }

    /// `a[index]·x + b[index]·y`.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn blend(
        &mut self,
        (x, a): (ValueId, ValueId),
        (y, b): (ValueId, ValueId),
        index: usize,
    ) -> Result<ValueId, GraphError> {
        self.push1(Blend { index }, &[x, y, a, b])
    }

    /// Sum of all elements, as `[1]`.
    ///
    /// # Errors
    /// When x is not f32.
    pub fn sum(&mut self, x: ValueId) -> Result<ValueId, GraphError> {
        self.push1(Sum, &[x])
    }

    /// `1 / (1 + e^-x)`.
    ///
    /// # Errors
    /// When x is not f32.
    pub fn sigmoid(&mut self, x: ValueId) -> Result<ValueId, GraphError> {
        self.push1(Sigmoid, &[x])
    }

    /// `tanh(x)`.
    ///
    /// # Errors
    /// When x is not f32.
    pub fn tanh(&mut self, x: ValueId) -> Result<ValueId, GraphError> {
        self.push1(Tanh, &[x])
    }

    /// `relu(x)²`.
    ///
    /// # Errors
    /// When x is not f32.
    pub fn relu_squared(&mut self, x: ValueId) -> Result<ValueId, GraphError> {
        self.push1(ReluSquared, &[x])
    }

    /// `silu(gate) · up`.
    ///
    /// # Errors
    /// When the types differ.
    pub fn swiglu(&mut self, gate: ValueId, up: ValueId) -> Result<ValueId, GraphError> {
        self.push1(SwiGlu, &[gate, up])
    }
}
