//! Optimizer steps as ops: AdamW (Loshchilov & Hutter 2019), Muon (Jordan 2024) with Polar Express coefficients
//! (Amsel et al. 2025), NorMuon's variance reduction (Li et al. 2025) and cautious weight decay.
//!
//! What changes from step to step comes in one input, `schedule`, f32 `[`[`SCHEDULE_LEN`]`]`, indexed by [`Schedule`].

use super::{Inferred, Rule, all_f32, ensure, float, no_derivative, same_type};
use crate::{Backward, DType, Graph, GraphError, Node, TensorType, ValueId};

/// Entries of the `schedule` input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Factor of every learning rate.
    LrMultiplier = 0,
    /// Muon's momentum.
    Momentum = 1,
    /// Muon's weight decay.
    WeightDecay = 2,
    /// AdamW's `1 - beta1^t`, t counted from 1.
    Bias1 = 3,
    /// AdamW's `1 - beta2^t`.
    Bias2 = 4,
}

/// Length of the `schedule` input.
pub const SCHEDULE_LEN: usize = 5;

fn schedule(t: &TensorType) -> Result<(), String> {
    ensure(*t == TensorType::f32(&[SCHEDULE_LEN]), || {
        format!("the schedule has {SCHEDULE_LEN} entries")
    })
}

macro_rules! no_gradient {
    ($name:ident) => {
        fn derive(&self, _: &Node, _: &mut Backward<'_>) -> Result<(), GraphError> {
            no_derivative(stringify!($name))
        }
    };
}

/// One AdamW step: inputs w, g, m, v, schedule; outputs w, m, v. Bias-corrected, eps outside the root, decay decoupled:
/// `w (1 - lr·wd) - lr·m̂/(sqrt(v̂) + eps)`.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamWStep {
    /// Learning rate before the schedule's factor.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Weight decay.
    pub weight_decay: f64,
}

impl Rule for AdamWStep {
    fn arity(&self) -> usize {
        5
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        all_f32(inputs)?;
        same_type(&inputs[..4])?;
        schedule(&inputs[4])?;
        Ok(vec![inputs[0]; 3])
    }
    no_gradient!(AdamWStep);
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 0), (1, 2), (2, 3)]
    }
}

/// Muon's momentum: inputs g, M, schedule; outputs `X = g + μ(M' - g)` (Nesterov) and `M' = M + (1-μ)(g - M)`.
#[derive(Clone, Debug, PartialEq)]
pub struct MuonMomentum;

impl Rule for MuonMomentum {
    fn arity(&self) -> usize {
        3
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        all_f32(inputs)?;
        same_type(&inputs[..2])?;
        schedule(&inputs[2])?;
        Ok(vec![inputs[0], inputs[1]])
    }
    no_gradient!(MuonMomentum);
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(1, 1)]
    }
}

/// Which polynomial iteration orthogonalises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orthogonalization {
    /// Coefficients that change from step to step; at most five steps.
    PolarExpress,
    /// (3.4445, -4.775, 2.0315) at every step.
    NewtonSchulz,
}

impl Orthogonalization {
    /// Coefficients (a, b, c) of step `i`.
    pub fn coefficients(self, i: usize) -> (f64, f64, f64) {
        const POLAR_EXPRESS: [(f64, f64, f64); 5] = [
            (8.156554524902461, -22.48329292557795, 15.878769915207462),
            (4.042929935166739, -2.808917465908714, 0.5000178451051316),
            (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
            (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
            (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
        ];
        match self {
            // More steps than coefficients stay at the last, which is stationary at orthogonality.
            Orthogonalization::PolarExpress => POLAR_EXPRESS[i.min(4)],
            Orthogonalization::NewtonSchulz => (3.4445, -4.775, 2.0315),
        }
    }
}

/// Along which axis heads lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadAxis {
    /// Rows: q, k, v.
    Rows,
    /// Columns: the output projection.
    Columns,
}

/// `X / (1.02·‖X‖ + 1e-6)`, then `X <- aX + (bA + cA²)X` with `A = XXᵀ`, `steps` times; on Xᵀ where rows > columns.
#[derive(Clone, Debug, PartialEq)]
pub struct MuonOrthogonalize {
    /// Which coefficients.
    pub method: Orthogonalization,
    /// Iterations.
    pub steps: usize,
    /// Orthogonalise each head's slice on its own; 1: the whole matrix.
    pub heads: usize,
    /// Where heads lie.
    pub axis: HeadAxis,
    /// Element type of what the products read; X stays f32 outside of them.
    pub dtype: DType,
}

impl MuonOrthogonalize {
    /// Rows and columns of one head's slice of a matrix of these extents.
    pub fn slice(&self, rows: usize, cols: usize) -> (usize, usize) {
        match self.axis {
            HeadAxis::Rows => (rows / self.heads, cols),
            HeadAxis::Columns => (rows, cols / self.heads),
        }
    }
}

impl Rule for MuonOrthogonalize {
    fn arity(&self) -> usize {
        1
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        all_f32(inputs)?;
        float(self.dtype)?;
        let shape = inputs[0].shape();
        ensure(shape.rank() == 2, || "takes a matrix".into())?;
        let along = if self.axis == HeadAxis::Rows { shape.dims()[0] } else { shape.dims()[1] };
        ensure(self.heads > 0 && along % self.heads == 0, || {
            format!("{along} rows or columns do not divide into {} heads", self.heads)
        })?;
        Ok(vec![inputs[0]])
    }
    no_gradient!(MuonOrthogonalize);
    fn flops(&self, inputs: &[TensorType]) -> u64 {
        let dims = inputs[0].shape();
        let (rows, cols) = self.slice(dims.dims()[0], dims.dims()[1]);
        let (m, n) = (rows.min(cols) as u64, rows.max(cols) as u64);
        (self.heads * self.steps) as u64 * (4 * m * m * n + 2 * m * m * m)
    }
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 0)]
    }
}

/// Variance reduction: inputs X `[rows, cols]`, S; outputs the scaled X and the new S. v = mean(X²), one per row where
/// rows >= cols, else one per column; `S' = S + (1-beta2)(v - S)`, `X·rsqrt(max(S', 1e-10))`, rescaled to X's norm.
#[derive(Clone, Debug, PartialEq)]
pub struct MuonNormalize {
    /// Decay of the second moment.
    pub beta2: f64,
}

impl MuonNormalize {
    /// Type of S for a matrix.
    pub fn second_moment(x: &TensorType) -> TensorType {
        let (rows, cols) = (x.shape().dims()[0], x.shape().dims()[1]);
        TensorType::f32(&[rows.max(cols)])
    }
}

impl Rule for MuonNormalize {
    fn arity(&self) -> usize {
        2
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        all_f32(inputs)?;
        ensure(inputs[0].shape().rank() == 2, || "takes a matrix".into())?;
        let wanted = MuonNormalize::second_moment(&inputs[0]);
        ensure(inputs[1] == wanted, || format!("the second moments must be {wanted}"))?;
        Ok(inputs.to_vec())
    }
    no_gradient!(MuonNormalize);
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 0), (1, 1)]
    }
}

/// `W - lr'·X - lr'·wd·W·[X·W >= 0]` from W, X, schedule; `lr' = lr·multiplier·sqrt(max(1, rows/cols))`.
#[derive(Clone, Debug, PartialEq)]
pub struct CautiousDecayStep {
    /// Learning rate before the schedule's factor.
    pub lr: f64,
}

impl Rule for CautiousDecayStep {
    fn arity(&self) -> usize {
        3
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        all_f32(inputs)?;
        same_type(&inputs[..2])?;
        ensure(inputs[0].shape().rank() == 2, || "takes a matrix".into())?;
        schedule(&inputs[2])?;
        Ok(vec![inputs[0]])
    }
    no_gradient!(CautiousDecayStep);
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 0)]
    }
}

impl Graph {
    /// The `schedule` input of an optimizer graph.
    pub fn schedule_input(&mut self) -> ValueId {
        self.input("schedule", TensorType::f32(&[SCHEDULE_LEN]))
    }
}
