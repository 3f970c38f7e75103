//! The closed set of ops. Each op's attributes, shape rule, derivative rule, FLOP count and builder stand together in one
//! of the modules below.
//!
//! Notation: B rows, T positions, C width, H query heads, K key/value heads, D head size, V vocabulary; N is the number
//! of rows when all axes but the last are taken as one.

mod attention;
mod branches;
mod cache;
mod cast;
mod causal_mean;
mod dropout;
mod elementwise;
mod embed;
mod gate;
mod linear;
mod loss;
mod norm;
mod optimizer;
mod rope;
mod sparse;
mod structure;

pub use attention::{Attention, AttentionGrad};
pub use branches::{
    BranchMix, BranchMixGrad, BranchScores, BranchScoresGrad, MOST_BRANCHES, MOST_ITERATIONS,
    Mixing, Sinkhorn, SinkhornGrad,
};
pub use cache::{AttentionCached, CacheWrite, CausalMeanCached, SelectTime, ShiftTimeCached};
pub use cast::Cast;
pub use causal_mean::CausalMean;
pub use dropout::Dropout;
pub use elementwise::{
    Accumulate, Add, Blend, BlendGrad, DotAt, Mul, ReluSquared, ReluSquaredGrad, Scale,
    ScaleByScalar, Sigmoid, SigmoidGrad, Sub, Sum, SwiGlu, SwiGluGrad, Tanh, TanhGrad,
};
pub use embed::{Embed, EmbedGrad};
pub use gate::{GatedAdd, GatedAddGrad};
pub use linear::{Epilogue, Linear, LinearGradInput, LinearGradWeight};
pub use loss::{LinearCrossEntropy, LinearCrossEntropyGrad, Logits, Reduction};
pub use norm::{RmsNorm, RmsNormGrad};
pub use optimizer::{
    AdamWStep, CautiousDecayStep, HeadAxis, MuonMomentum, MuonNormalize, MuonOrthogonalize,
    Orthogonalization, SCHEDULE_LEN, Schedule,
};
pub use rope::{Rope, RopeNorm, RopeNormGrad, RopeTable};
pub use sparse::{
    Indexer, IndexerScores, IndexerScoresGrad, Selection, SparseAttention, SparseAttentionCached,
    SparseAttentionGrad,
};
pub use structure::{
    Concat, Constant, Expand, InputValue, NextIds, PadLast, Reshape, ShiftTime, SliceLast,
    SliceLeading, VariableValue, ZeroPositions,
};

use crate::{Backward, DType, GraphError, Node, TensorType};

/// Outcome of a shape rule; an error is the reason, to which the graph adds the op and its inputs.
pub type Inferred = Result<Vec<TensorType>, String>;

/// What is known of an op apart from how to compute it.
pub trait Rule {
    /// Number of inputs, optional ones not counted.
    fn arity(&self) -> usize;

    /// Output types from input types.
    ///
    /// # Errors
    /// The reason why the op cannot take such inputs.
    fn infer(&self, inputs: &[TensorType]) -> Inferred;

    /// Appends the nodes of the gradient, given that of the outputs.
    ///
    /// # Errors
    /// When the op has no derivative.
    fn derive(&self, node: &Node, backward: &mut Backward<'_>) -> Result<(), GraphError>;

    /// Floating-point operations, 2 per multiply-add of a product.
    fn flops(&self, _inputs: &[TensorType]) -> u64 {
        0
    }

    /// Pairs (output, input) that may share one buffer when nobody else needs the input afterwards.
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[]
    }

    /// The output onto which an optional accumulator is added: input `arity()`, itself scaled by the one-element input
    /// `arity() + 1` where there is one.
    fn accumulates(&self) -> Option<usize> {
        None
    }
}

macro_rules! ops {
    ($($name:ident),* $(,)?) => {
        /// An op with its attributes.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)]
        pub enum Op { $($name($name)),* }

        impl Op {
            fn rule(&self) -> &dyn Rule {
                match self { $(Op::$name(op) => op),* }
            }

            /// The op's name.
            pub fn name(&self) -> &'static str {
                match self { $(Op::$name(_) => stringify!($name)),* }
            }
        }

        $(impl From<$name> for Op {
            fn from(op: $name) -> Op {
                Op::$name(op)
            }
        })*
    };
}

ops! {
    // Leaves and structure.
    VariableValue, InputValue, Constant, ZeroPositions, Reshape, SliceLeading, SliceLast, PadLast, Concat, NextIds,
    ShiftTime, Expand, Cast,
    // Elementwise and sums.
    Add, Sub, Mul, Scale, ScaleByScalar, DotAt, Sum, Accumulate, Blend, BlendGrad,
    Sigmoid, SigmoidGrad, Tanh, TanhGrad, ReluSquared, ReluSquaredGrad, SwiGlu, SwiGluGrad,
    GatedAdd, GatedAddGrad, CausalMean, Dropout,
    BranchScores, BranchScoresGrad, Sinkhorn, SinkhornGrad, BranchMix, BranchMixGrad,
    // Products.
    Linear, LinearGradInput, LinearGradWeight,
    // The rest of a transformer.
    Embed, EmbedGrad, RmsNorm, RmsNormGrad, RopeTable, Rope, RopeNorm, RopeNormGrad, Attention, AttentionGrad,
    SparseAttention, SparseAttentionGrad, IndexerScores, IndexerScoresGrad,
    LinearCrossEntropy, LinearCrossEntropyGrad, Logits,
    // Generation.
    CacheWrite, AttentionCached, SparseAttentionCached, ShiftTimeCached, CausalMeanCached, SelectTime,
    // Optimizers.
    AdamWStep, MuonMomentum, MuonOrthogonalize, MuonNormalize, CautiousDecayStep,
}

impl Rule for Op {
    fn arity(&self) -> usize {
        self.rule().arity()
    }

    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        let (least, optional) = (self.arity(), if self.accumulates().is_some() { 2 } else { 0 });
        if inputs.len() < least || inputs.len() > least + optional {
            return Err(format!("takes {least} inputs, not {}", inputs.len()));
        }
        let outputs = self.rule().infer(&inputs[..least])?;
        if let Some(output) = self.accumulates() {
            let expected = [outputs[output], TensorType::f32(&[1])];
            for (found, wanted) in inputs[least..].iter().zip(expected) {
                ensure(*found == wanted, || format!("accumulates with {wanted}, not {found}"))?;
            }
        }
        Ok(outputs)
    }

    fn derive(&self, node: &Node, backward: &mut Backward<'_>) -> Result<(), GraphError> {
        self.rule().derive(node, backward)
    }

    fn flops(&self, inputs: &[TensorType]) -> u64 {
        self.rule().flops(inputs)
    }

    fn in_place(&self) -> &'static [(usize, usize)] {
        self.rule().in_place()
    }

    fn accumulates(&self) -> Option<usize> {
        self.rule().accumulates()
    }
}

/// `Err(reason())` unless `holds`.
fn ensure(holds: bool, reason: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(reason()) }
}

/// All inputs f32.
fn all_f32(inputs: &[TensorType]) -> Result<(), String> {
    ensure(inputs.iter().all(|t| t.dtype() == DType::F32), || "all inputs must be f32".into())
}

/// A float type that an op may be told to yield.
fn float(dtype: DType) -> Result<(), String> {
    ensure(dtype.is_float(), || format!("yields f32 or bf16, not {dtype}"))
}

/// All inputs floats, of whatever type each.
fn floats(inputs: &[TensorType]) -> Result<(), String> {
    ensure(inputs.iter().all(|t| t.dtype().is_float()), || "all inputs must be floats".into())
}

/// All inputs floats of one element type, which is returned.
fn one_float(inputs: &[TensorType]) -> Result<DType, String> {
    floats(inputs)?;
    let dtype = inputs[0].dtype();
    ensure(inputs.iter().all(|t| t.dtype() == dtype), || {
        let found: Vec<String> = inputs.iter().map(|t| t.dtype().to_string()).collect();
        format!("the element types must be equal, not {}", found.join(" and "))
    })?;
    Ok(dtype)
}

/// Whether operands of one type may yield the other: f32 only f32, so that nothing is rounded that need not be.
fn product_yields(operands: DType, dtype: DType) -> Result<(), String> {
    float(dtype)?;
    ensure(operands == DType::Bf16 || dtype == DType::F32, || {
        format!("products of {operands} yield f32, not {dtype}")
    })
}

/// All inputs of one type.
fn same_type(inputs: &[TensorType]) -> Result<(), String> {
    ensure(inputs.windows(2).all(|w| w[0] == w[1]), || "the inputs' types must be equal".into())
}

/// An op without derivative.
fn no_derivative(op: &'static str) -> Result<(), GraphError> {
    Err(GraphError::NotDifferentiable { op })
}
