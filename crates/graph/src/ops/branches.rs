//! Mixing branches by weights learned for each position: hyper-connections (Zhu et al. 2024) with doubly stochastic
//! weights (mHC, Xie et al. 2025).
//!
//! n branches `[..., C]`; each has a vector u_n and its image w_n = A u_n, both `[..., h]`. Scores `S_ij = u_i·w_j·scale` become
//! weights P by [`Sinkhorn`], and `b_0 + alpha·(Σ_n P_0n b_n - b_0)` is the result: row 0 belongs to the first branch.

use super::{Inferred, Rule, all_f32, ensure, no_derivative, same_type};
use crate::{Backward, Graph, GraphError, Node, TensorType, ValueId};

/// Branches that are mixed at the most.
pub const MOST_BRANCHES: usize = 3;
/// Iterations of [`Sinkhorn`] at the most: its gradient keeps what each of them yields.
pub const MOST_ITERATIONS: usize = 64;

/// `[..., n, n]` for rows like those of x.
fn square(x: &TensorType, n: usize) -> Result<TensorType, String> {
    let mut dims = x.shape().dims().to_vec();
    dims.pop();
    dims.extend([n, n]);
    ensure(dims.len() <= 4, || "takes at most three axes".into())?;
    Ok(TensorType::f32(&dims))
}

fn branch_count(n: usize) -> Result<(), String> {
    ensure((2..=MOST_BRANCHES).contains(&n), || format!("takes 2 to {MOST_BRANCHES} branches"))
}

/// `S_ij = scale·u_i·w_j` of u_1.. and then w_1.., `branches` each, all f32 `[..., h]`, as `[..., n, n]`.
#[derive(Clone, Debug, PartialEq)]
pub struct BranchScores {
    /// Number of branches, n.
    pub branches: usize,
    /// Factor of every score.
    pub scale: f32,
}

impl Rule for BranchScores {
    fn arity(&self) -> usize {
        2 * self.branches
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        branch_count(self.branches)?;
        all_f32(inputs)?;
        same_type(inputs)?;
        ensure(inputs[0].shape().rank() > 0, || "takes [..., h]".into())?;
        Ok(vec![square(&inputs[0], self.branches)?])
    }
    fn derive(&self, node: &Node, b: &mut Backward<'_>) -> Result<(), GraphError> {
        let mut inputs = node.inputs.clone();
        inputs.push(b.upstream(node.outputs[0])?);
        let grads = b.graph.push(BranchScoresGrad(self.clone()), &inputs)?;
        node.inputs.iter().zip(grads).try_for_each(|(&input, grad)| b.add(input, grad))
    }
}

/// Gradients of [`BranchScores`] with respect to its inputs, from these and dS: `du_i = scale·Σ_j dS_ij w_j`,
/// `dw_j = scale·Σ_i dS_ij u_i`.
#[derive(Clone, Debug, PartialEq)]
pub struct BranchScoresGrad(pub BranchScores);

impl Rule for BranchScoresGrad {
    fn arity(&self) -> usize {
        self.0.arity() + 1
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        let (vectors, ds) = inputs.split_at(self.0.arity());
        let scores = self.0.infer(vectors)?;
        ensure(ds == scores, || format!("dS must be {}", scores[0]))?;
        Ok(vectors.to_vec())
    }
    fn derive(&self, _: &Node, _: &mut Backward<'_>) -> Result<(), GraphError> {
        no_derivative("BranchScoresGrad")
    }
}

/// Square matrices `[..., n, n]` made nearly doubly stochastic (Sinkhorn and Knopp 1967): `exp(S - max of the row)`, at least
/// `epsilon`, then `iters` times rows and columns divided by their sums, and rows once more.
#[derive(Clone, Debug, PartialEq)]
pub struct Sinkhorn {
    /// Iterations.
    pub iters: usize,
    /// Least entry to begin with.
    pub epsilon: f32,
}

impl Rule for Sinkhorn {
    fn arity(&self) -> usize {
        1
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        all_f32(inputs)?;
        let dims = inputs[0].shape();
        let last = dims.dims().len().checked_sub(2).map(|at| &dims.dims()[at..]);
        ensure(last.is_some_and(|d| d[0] == d[1] && (1..=4).contains(&d[0])), || {
            "takes square matrices of at most 4 rows".into()
        })?;
        ensure(self.iters <= MOST_ITERATIONS, || {
            format!("does at most {MOST_ITERATIONS} iterations")
        })?;
        Ok(vec![inputs[0]])
    }
    fn derive(&self, node: &Node, b: &mut Backward<'_>) -> Result<(), GraphError> {
        let dp = b.upstream(node.outputs[0])?;
        let ds = b.graph.push1(SinkhornGrad(self.clone()), &[node.inputs[0], dp])?;
        b.add(node.inputs[0], ds)
    }
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 0)]
    }
}

/// Gradient of [`Sinkhorn`], from S and dP: exact, 0 where an entry was raised to epsilon, and through the maximum of the
/// row, which counts where others were raised.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkhornGrad(pub Sinkhorn);

impl Rule for SinkhornGrad {
    fn arity(&self) -> usize {
        2
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        ensure(inputs[0] == inputs[1], || "dP must be like S".into())?;
        self.0.infer(&inputs[..1])
    }
    fn derive(&self, _: &Node, _: &mut Backward<'_>) -> Result<(), GraphError> {
        no_derivative("SinkhornGrad")
    }
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 0), (0, 1)]
    }
}

/// `b_0 + alpha·(Σ_n P_0n b_n - b_0)` of P `[..., n, n]` and the branches `[..., C]`, all f32.
#[derive(Clone, Debug, PartialEq)]
pub struct BranchMix {
    /// Number of branches, n.
    pub branches: usize,
    /// Share of the mixture, 0 to 1.
    pub alpha: f32,
}

impl Rule for BranchMix {
    fn arity(&self) -> usize {
        1 + self.branches
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        branch_count(self.branches)?;
        all_f32(inputs)?;
        same_type(&inputs[1..])?;
        let p = square(&inputs[1], self.branches)?;
        ensure(inputs[0] == p, || format!("P must be {p}"))?;
        Ok(vec![inputs[1]])
    }
    fn derive(&self, node: &Node, b: &mut Backward<'_>) -> Result<(), GraphError> {
        let mut inputs = node.inputs.clone();
        inputs.push(b.upstream(node.outputs[0])?);
        let grads = b.graph.push(BranchMixGrad(self.clone()), &inputs)?;
        node.inputs.iter().zip(grads).try_for_each(|(&input, grad)| b.add(input, grad))
    }
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 1), (0, 2)]
    }
}

/// Gradients of [`BranchMix`] with respect to its inputs, from these and dout: `dP_0n = alpha·b_n·dout` (0 in other rows),
/// `db_n = alpha·P_0n·dout`, and `(1 - alpha)·dout` more for the first.
#[derive(Clone, Debug, PartialEq)]
pub struct BranchMixGrad(pub BranchMix);

impl Rule for BranchMixGrad {
    fn arity(&self) -> usize {
        self.0.arity() + 1
    }
    fn infer(&self, inputs: &[TensorType]) -> Inferred {
        let (forward, dout) = inputs.split_at(self.0.arity());
        let out = self.0.infer(forward)?;
        ensure(dout == out, || format!("dout must be {}", out[0]))?;
        Ok(forward.to_vec())
    }
    fn derive(&self, _: &Node, _: &mut Backward<'_>) -> Result<(), GraphError> {
        no_derivative("BranchMixGrad")
    }
    /// The last branch's gradient may lie where dout does.
    fn in_place(&self) -> &'static [(usize, usize)] {
        if self.0.branches == 2 { &[(2, 3)] } else { &[(3, 4)] }
    }
}

/// How branches are mixed.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixing {
    /// Divisor of the scores, beside h.
    pub temperature: f32,
    /// How scores become weights.
    pub sinkhorn: Sinkhorn,
    /// Share of the mixture in the result, 0 to 1.
    pub alpha: f32,
}

impl Graph {
    /// The branches `[..., C]`, f32, mixed for each row: `u_n = tanh(W_s b_n)` with W_s `[h, C]`,
    /// `S_ij = (u_iᵀ A u_j) / (h·temperature)` with A `[h, h]`, and row 0 of what Sinkhorn makes of S are the weights. Products
    /// are of the weights' element type.
    ///
    /// # Errors
    /// When shapes do not fit, or there are too many branches.
    pub fn mix_branches(
        &mut self,
        branches: &[ValueId],
        (w_s, a): (ValueId, ValueId),
        mixing: &Mixing,
    ) -> Result<ValueId, GraphError> {
        let ty = self.tensor_type(w_s);
        let (mut u, mut images) = (Vec::new(), Vec::new());
        for &branch in branches {
            let read = self.cast(branch, ty.dtype())?;
            let projected = self.linear_f32(read, w_s)?;
            let vector = self.tanh(projected)?;
            let read = self.cast(vector, ty.dtype())?;
            images.push(self.linear_f32(read, a)?);
            u.push(vector);
        }
        let h = ty.shape().dims().first().copied().unwrap_or(1);
        let scores = self.branch_scores(&u, &images, 1.0 / (h as f32 * mixing.temperature))?;
        let weights = self.sinkhorn(scores, mixing.sinkhorn.clone())?;
        self.branch_mix(weights, branches, mixing.alpha)
    }

    /// Scores between branches; see [`BranchScores`].
    ///
    /// # Errors
    /// When shapes do not fit, or there are too many branches.
    pub fn branch_scores(
        &mut self,
        u: &[ValueId],
        w: &[ValueId],
        scale: f32,
    ) -> Result<ValueId, GraphError> {
        self.push1(BranchScores { branches: u.len(), scale }, &[u, w].concat())
    }

    /// Doubly stochastic matrices; see [`Sinkhorn`].
    ///
    /// # Errors
    /// When s holds no small square matrices.
    pub fn sinkhorn(&mut self, s: ValueId, op: Sinkhorn) -> Result<ValueId, GraphError> {
        self.push1(op, &[s])
    }

    /// Branches mixed by the first rows of p; see [`BranchMix`].
    ///
    /// # Errors
    /// When shapes do not fit, or there are too many branches.
    pub fn branch_mix(
        &mut self,
        p: ValueId,
        branches: &[ValueId],
        alpha: f32,
    ) -> Result<ValueId, GraphError> {
        self.push1(BranchMix { branches: branches.len(), alpha }, &[&[p], branches].concat())
    }
}
