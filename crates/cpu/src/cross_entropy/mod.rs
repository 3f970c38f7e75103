//! The output layer and its loss: `logits = cap·tanh(x wᵀ / cap)`, cross-entropy of each row with its target, and both
//! gradients from one pass, without the N x V logits ever existing whole.
//!
//! With z = x wᵀ, t = tanh(z/cap), e = exp(cap·t) and Z = Σ e over the vocabulary, a row's loss is ln Z - cap·t_target
//! and, for an upstream gradient s,
//!
//! ```text
//! dz = s·(e/Z - [target])·(1 - t²) = (s/Z)·(g - [target]·Z·(1 - t²)),   g = e·(1 - t²)
//! ```
//!
//! g does not depend on Z, so dx = (s/Z)·(g·w) - s·(1 - t_target²)·w_target is summed block by block of the vocabulary
//! while g is still in the cache; only dw = dzᵀ·x waits for Z, and then needs no pass over g either, because s/Z is
//! applied to the rows of x. Logits lie in -cap..cap, which is why e needs no maximum taken off: `softcap` is at most
//! [`MAX_SOFTCAP`].
//!
//! tanh and exp are taken as the products leave the registers; z is never in memory. With x and w of bf16, g and the scaled
//! rows of x are rounded to bf16 for the products that follow; sums, losses and gradients are f32.

mod bounded;
mod chunk;
mod rows;
mod softcap;

#[cfg(test)]
mod tests;

use crate::Context;
use crate::gemm::{Epilogue, Matrix, Operand, gemm, gemm_scratch_len};
use chunk::Chunk;

/// Largest bound on logits for which sums of their exponentials stay far inside the range of f32.
pub const MAX_SOFTCAP: f32 = 40.0;

/// Sizes of the output layer.
#[derive(Clone, Copy, Debug)]
pub struct Dims {
    /// Rows of x: positions.
    pub n: usize,
    /// Width of x and of w.
    pub c: usize,
    /// Tokens that exist.
    pub vocab: usize,
    /// Rows of w; those from `vocab` on are padding, which the softmax does not see.
    pub padded_vocab: usize,
    /// Bound on the logits; above 0, at most [`MAX_SOFTCAP`].
    pub softcap: f32,
}

/// What the gradient of each row's loss is multiplied by.
#[derive(Clone, Copy, Debug)]
pub enum Scale<'a> {
    /// An upstream gradient for each of the N losses.
    PerToken(&'a [f32]),
    /// The upstream gradient of the mean over targets that are not ignored.
    Mean(f32),
}

/// Where gradients go.
struct Gradients<'a> {
    scale: Scale<'a>,
    dx: &'a mut [f32],
    dw: &'a mut [f32],
    dw_beta: f32,
}

/// Losses in nats of x [N, C] against `targets` `[N]` under w [padded_vocab, C]; 0 where the target is -1 (ignored).
///
/// # Panics
/// When sizes disagree, a target is neither -1 nor below `vocab`, `softcap` is out of range, or `scratch` is shorter than
/// [`scratch_len`].
#[allow(clippy::too_many_arguments)]
pub fn forward<T: Operand>(
    cx: &Context,
    x: &[T],
    w: &[T],
    targets: &[i32],
    dims: Dims,
    losses: &mut [f32],
    scratch: &mut [f32],
) {
    run(cx, Inputs { x, w, targets, dims }, losses, None, scratch);
}

/// [`forward`], and the gradients: dx [N, C] is set (0 for ignored rows), `dw = dw_beta·dw + gradient`. With `dw_beta` 0,
/// dw is never read. Padding rows get no gradient.
///
/// # Panics
/// As [`forward`].
#[allow(clippy::too_many_arguments)]
pub fn forward_backward<T: Operand>(
    cx: &Context,
    x: &[T],
    w: &[T],
    targets: &[i32],
    dims: Dims,
    scale: Scale<'_>,
    losses: &mut [f32],
    dx: &mut [f32],
    dw: &mut [f32],
    dw_beta: f32,
    scratch: &mut [f32],
) {
    assert_eq!(dx.len(), dims.n * dims.c, "dx is {} x {}", dims.n, dims.c);
    assert_eq!(dw.len(), w.len(), "dw is {} x {}", dims.padded_vocab, dims.c);
    if let Scale::PerToken(dloss) = scale {
        assert_eq!(dloss.len(), dims.n, "one upstream gradient for each row");
    }
    let gradients = Gradients { scale, dx, dw, dw_beta };
    run(cx, Inputs { x, w, targets, dims }, losses, Some(gradients), scratch);
}

/// Logits of the rows of x: `out` is [N, vocab], without padding.
///
/// # Panics
/// When sizes disagree, `softcap` is out of range, or `scratch` is shorter than [`logits_scratch_len`].
pub fn logits<T: Operand>(
    cx: &Context,
    x: &[T],
    w: &[T],
    dims: Dims,
    out: &mut [f32],
    scratch: &mut [f32],
) {
    let Dims { n, c, vocab, .. } = dims;
    let inputs = Inputs { x, w, targets: &[], dims };
    inputs.check_matrices();
    assert_eq!(out.len(), n * vocab, "logits are {n} x {vocab}");
    let w = Matrix::row_major(w, vocab, c).t();
    gemm(cx, Matrix::row_major(x, n, c), w, out, Epilogue::Set, scratch);
    softcap::cap(cx, out, dims.softcap);
}

/// Length of the scratch of [`logits`], in f32 values.
pub fn logits_scratch_len(cx: &Context, dims: Dims) -> usize {
    gemm_scratch_len(cx, dims.n, dims.vocab, dims.c)
}

/// Length of the scratch of [`forward`] (`backward` false) and [`forward_backward`] (true), in f32 values.
pub fn scratch_len<T: Operand>(cx: &Context, dims: Dims, backward: bool) -> usize {
    chunk::scratch_len::<T>(cx, dims, backward)
}

/// Mean of the losses of targets that are not ignored, summed in f64 in order; 0 when there is none.
pub fn mean_loss(losses: &[f32], targets: &[i32]) -> f32 {
    let valid = losses.iter().zip(targets).filter(|(_, target)| **target >= 0);
    let (sum, count) =
        valid.fold((0.0f64, 0u64), |(sum, n), (&loss, _)| (sum + loss as f64, n + 1));
    if count == 0 { 0.0 } else { (sum / count as f64) as f32 }
}

/// What is read.
#[derive(Clone, Copy)]
struct Inputs<'a, T> {
    x: &'a [T],
    w: &'a [T],
    targets: &'a [i32],
    dims: Dims,
}

impl<T: Operand> Inputs<'_, T> {
    fn check_matrices(&self) {
        let Dims { n, c, vocab, padded_vocab, softcap } = self.dims;
        assert_eq!(self.x.len(), n * c, "x is {n} x {c}");
        assert_eq!(self.w.len(), padded_vocab * c, "w is {padded_vocab} x {c}");
        assert!(vocab <= padded_vocab, "{vocab} tokens in a table of {padded_vocab}");
        assert!(softcap > 0.0 && softcap <= MAX_SOFTCAP, "softcap {softcap}");
    }

    fn check_targets(&self) {
        let Dims { n, vocab, .. } = self.dims;
        assert_eq!(self.targets.len(), n, "one target for each row");
        let known = |&target: &i32| target == -1 || (target >= 0 && (target as usize) < vocab);
        assert!(self.targets.iter().all(known), "a target is neither -1 nor below {vocab}");
    }
}

fn run<T: Operand>(
    cx: &Context,
    inputs: Inputs<'_, T>,
    losses: &mut [f32],
    mut gradients: Option<Gradients<'_>>,
    scratch: &mut [f32],
) {
    inputs.check_matrices();
    inputs.check_targets();
    let Dims { n, c, vocab, .. } = inputs.dims;
    assert_eq!(losses.len(), n, "one loss for each row");
    losses.fill(0.0);
    if let Some(gradients) = &mut gradients {
        gradients.dx.fill(0.0);
        scale_by(&mut gradients.dw[vocab * c..], gradients.dw_beta);
    }
    let valid = inputs.targets.iter().filter(|target| **target >= 0).count();
    let mut from = 0;
    while let Some((mut chunk, next)) =
        Chunk::gather(cx, inputs, from, gradients.is_some(), scratch)
    {
        chunk.scan_blocks(cx);
        chunk.write_losses(losses);
        if let Some(gradients) = &mut gradients {
            chunk.back_propagate(cx, gradients, valid);
            // What later chunks add to.
            gradients.dw_beta = 1.0;
        }
        from = next;
    }
    if let Some(gradients) = gradients.filter(|_| valid == 0) {
        scale_by(&mut gradients.dw[..vocab * c], gradients.dw_beta);
    }
}

/// Multiplies; never reads when the factor is 0.
fn scale_by(values: &mut [f32], factor: f32) {
    if factor == 0.0 {
        values.fill(0.0);
    } else if factor != 1.0 {
        values.iter_mut().for_each(|value| *value *= factor);
    }
}
