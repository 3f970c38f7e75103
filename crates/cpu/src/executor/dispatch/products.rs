//! Products with weights, and the output layer.

use half::bf16;
use kiln_graph::ops::{
    Epilogue as LinearEpilogue, Linear, LinearCrossEntropy, LinearGradInput, Logits, Reduction,
};
use kiln_graph::{DType, TensorType};

use super::{Onto, typed};
use crate::executor::operand::Operand;
use crate::gemm::{Epilogue, Matrix, Operand as Multiplied, gemm};
use crate::simd::Element;
use crate::{Context, cross_entropy};

/// Evaluates an expression with the element types of what a product reads and of what it yields.
macro_rules! product_typed {
    ($read:expr, $T:ident; $made:expr, $C:ident => $body:expr) => {
        match ($read.ty().dtype(), $made.ty().dtype()) {
            (DType::Bf16, DType::Bf16) => {
                type $T = bf16;
                type $C = bf16;
                $body
            }
            (DType::Bf16, _) => {
                type $T = bf16;
                type $C = f32;
                $body
            }
            _ => {
                type $T = f32;
                type $C = f32;
                $body
            }
        }
    };
}

/// # Safety
/// As of [`execute`](super::execute).
unsafe fn view<'a, T: Multiplied>(operand: &Operand) -> Matrix<'a, T> {
    let (rows, cols) = operand.matrix();
    // SAFETY: the caller's.
    Matrix::row_major(unsafe { operand.values() }, rows, cols)
}

/// # Safety
/// As of [`execute`](super::execute).
pub(super) unsafe fn linear(
    cx: &Context,
    op: &Linear,
    i: &[Operand],
    out: &Operand,
    scratch: &mut [f32],
) {
    /// # Safety
    /// As of [`execute`](super::super::execute).
    unsafe fn run<T: Multiplied, C: Element>(
        cx: &Context,
        op: &Linear,
        i: &[Operand],
        out: &Operand,
        scratch: &mut [f32],
    ) {
        // SAFETY: the caller's.
        unsafe {
            let (x, w) = (view::<T>(&i[0]), view::<T>(&i[1]));
            let epilogue = match op.epilogue {
                LinearEpilogue::None => Epilogue::Set,
                LinearEpilogue::ReluSquared => Epilogue::ReluSquared,
                LinearEpilogue::Residual if out.is(&i[2]) => Epilogue::Accumulate { beta: 1.0 },
                LinearEpilogue::Residual => Epilogue::AddResidual(i[2].values::<C>()),
            };
            gemm(cx, x, w.t(), out.values_mut::<C>(), epilogue, scratch);
        }
    }
    // SAFETY: the caller's.
    product_typed!(&i[0], T; out, C => unsafe { run::<T, C>(cx, op, i, out, scratch) });
}

/// # Safety
/// As of [`execute`](super::execute).
pub(super) unsafe fn linear_grad_input(
    cx: &Context,
    op: &LinearGradInput,
    onto: Onto,
    i: &[Operand],
    out: &Operand,
    scratch: &mut [f32],
) {
    // SAFETY: the caller's.
    product_typed!(&i[0], T; out, C => unsafe {
        let epilogue = match op.relu_squared {
            true if out.is(&i[2]) => Epilogue::ReluSquaredGradInPlace,
            true => Epilogue::ReluSquaredGrad(i[2].values::<C>()),
            false => onto.epilogue(),
        };
        let (dy, w) = (view::<T>(&i[0]), view::<T>(&i[1]));
        gemm(cx, dy, w, out.values_mut::<C>(), epilogue, scratch);
    });
}

/// # Safety
/// As of [`execute`](super::execute).
pub(super) unsafe fn linear_grad_weight(
    cx: &Context,
    onto: Onto,
    i: &[Operand],
    out: &Operand,
    scratch: &mut [f32],
) {
    // SAFETY: the caller's.
    typed!(&i[0], T => unsafe {
        let (dy, x) = (view::<T>(&i[0]), view::<T>(&i[1]));
        gemm(cx, dy.t(), x, out.f32_mut(), onto.epilogue(), scratch);
    });
}

/// # Safety
/// As of [`execute`](super::execute).
pub(super) unsafe fn logits(
    cx: &Context,
    op: &Logits,
    i: &[Operand],
    out: &Operand,
    scratch: &mut [f32],
) {
    let dims = cross_entropy::Dims {
        n: i[0].matrix().0,
        c: i[0].matrix().1,
        vocab: op.vocab,
        padded_vocab: i[1].matrix().0,
        softcap: op.softcap,
    };
    // SAFETY: the caller's.
    typed!(&i[0], T => unsafe {
        let (x, w) = (i[0].values::<T>(), i[1].values::<T>());
        cross_entropy::logits(cx, x, w, dims, out.f32_mut(), scratch);
    });
}

pub(in crate::executor) fn cross_entropy_dims(
    op: &LinearCrossEntropy,
    x: &TensorType,
    w: &TensorType,
) -> cross_entropy::Dims {
    cross_entropy::Dims {
        n: x.shape().rows(),
        c: x.shape().last(),
        vocab: op.vocab,
        padded_vocab: w.shape().dims()[0],
        softcap: op.softcap,
    }
}

/// Number of targets that carry a loss, at least 1 so that it can divide.
fn valid_targets(targets: &[i32]) -> f64 {
    targets.iter().filter(|&&t| t >= 0).count().max(1) as f64
}

fn reduce_losses(reduction: Reduction, losses: &[f32], targets: &[i32], out: &mut [f32]) {
    match reduction {
        Reduction::PerToken => out.copy_from_slice(losses),
        Reduction::Mean => {
            let sum: f64 = losses.iter().map(|&l| f64::from(l)).sum();
            out[0] = (sum / valid_targets(targets)) as f32;
        }
    }
}

/// # Safety
/// As of [`execute`](super::execute).
pub(super) unsafe fn cross_entropy(
    cx: &Context,
    op: &LinearCrossEntropy,
    i: &[Operand],
    out: &Operand,
    scratch: &mut [f32],
) {
    let dims = cross_entropy_dims(op, &i[0].ty(), &i[1].ty());
    let (losses, scratch) = scratch.split_at_mut(dims.n);
    // SAFETY: the caller's.
    typed!(&i[0], T => unsafe {
        let (x, w, targets) = (i[0].values::<T>(), i[1].values::<T>(), i[2].i32());
        cross_entropy::forward(cx, x, w, targets, dims, losses, scratch);
        reduce_losses(op.reduction, losses, targets, out.f32_mut());
    });
}

/// # Safety
/// As of [`execute`](super::execute); only dw may lie where its accumulator does.
pub(super) unsafe fn cross_entropy_grad(
    cx: &Context,
    op: &LinearCrossEntropy,
    onto: Onto,
    i: &[Operand],
    outputs: &[Operand],
    scratch: &mut [f32],
) {
    let dims = cross_entropy_dims(op, &i[0].ty(), &i[1].ty());
    let (losses, scratch) = scratch.split_at_mut(dims.n);
    // SAFETY: the caller's.
    typed!(&i[0], T => unsafe {
        let (x, w, targets) = (i[0].values::<T>(), i[1].values::<T>(), i[2].i32());
        let dloss = i[3].f32();
        let scale = match op.reduction {
            Reduction::PerToken => cross_entropy::Scale::PerToken(dloss),
            Reduction::Mean => cross_entropy::Scale::Mean(dloss[0]),
        };
        let (dx, dw) = (outputs[1].f32_mut(), outputs[2].f32_mut());
        let beta = onto.beta();
        cross_entropy::forward_backward(
            cx, x, w, targets, dims, scale, losses, dx, dw, beta, scratch,
        );
        reduce_losses(op.reduction, losses, targets, outputs[0].f32_mut());
    });
}
