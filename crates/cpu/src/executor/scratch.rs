//! How much working memory each op's kernel needs.

use half::bf16;
use kiln_graph::ops::LinearCrossEntropy;
use kiln_graph::{DType, Op, TensorType};

use super::dispatch::{
    attention_dims, cached_dims, cross_entropy_dims, indexer_dims, sparse_dims, typed,
};
use crate::gemm::gemm_scratch_len;
use crate::{Context, attention, cross_entropy, muon, reduce, sparse};

fn matrix(ty: &TensorType) -> (usize, usize) {
    (ty.shape().rows(), ty.shape().last())
}

/// Working memory of an op on inputs of these types, in f32 values.
pub(super) fn scratch_len(cx: &Context, op: &Op, inputs: &[TensorType]) -> usize {
    match op {
        Op::Linear(_) => {
            let ((rows, k), (m, _)) = (matrix(&inputs[0]), matrix(&inputs[1]));
            gemm_scratch_len(cx, rows, m, k)
        }
        Op::LinearGradInput(_) => {
            let ((rows, m), (_, k)) = (matrix(&inputs[0]), matrix(&inputs[1]));
            gemm_scratch_len(cx, rows, k, m)
        }
        Op::LinearGradWeight(_) => {
            let ((rows, m), (_, k)) = (matrix(&inputs[0]), matrix(&inputs[1]));
            gemm_scratch_len(cx, m, k, rows)
        }
        Op::Attention(op) => {
            let dims = attention_dims(&inputs[0], &inputs[1], op.window);
            typed!(inputs[0].dtype(), as T => attention::forward_scratch_len::<T>(cx, &dims))
        }
        Op::AttentionGrad(op) => {
            let dims = attention_dims(&inputs[0], &inputs[1], op.window);
            typed!(inputs[0].dtype(), as T => attention::backward_scratch_len::<T>(cx, &dims))
        }
        Op::AttentionCached(op) => {
            let dims = cached_dims(&inputs[0], &inputs[1], op.window);
            typed!(inputs[0].dtype(), as T => attention::cached_scratch_len::<T>(cx, &dims))
        }
        Op::SparseAttention(op) => {
            let dims = sparse_dims([&inputs[0], &inputs[1], &inputs[3]], op.0);
            typed!(inputs[0].dtype(), as T => sparse::forward_scratch_len::<T>(cx, &dims))
        }
        Op::SparseAttentionGrad(op) => {
            let dims = sparse_dims([&inputs[0], &inputs[1], &inputs[3]], op.0);
            typed!(inputs[0].dtype(), as T => sparse::backward_scratch_len::<T>(cx, &dims))
        }
        Op::SparseAttentionCached(op) => {
            let dims = sparse_dims([&inputs[0], &inputs[1], &inputs[3]], op.0);
            typed!(inputs[0].dtype(), as T => sparse::cached_scratch_len::<T>(cx, &dims))
        }
        Op::IndexerScores(_) => {
            let dims = indexer_dims(&inputs[0]);
            typed!(inputs[0].dtype(), as T => sparse::scores_scratch_len::<T>(cx, &dims))
        }
        Op::IndexerScoresGrad(_) => {
            let dims = indexer_dims(&inputs[0]);
            typed!(inputs[0].dtype(), as T => sparse::scores_grad_scratch_len::<T>(cx, &dims))
        }
        Op::LinearCrossEntropy(op) => cross_entropy_scratch_len(cx, op, inputs, false),
        Op::LinearCrossEntropyGrad(op) => cross_entropy_scratch_len(cx, &op.0, inputs, true),
        Op::Logits(op) => {
            let (rows, width) = matrix(&inputs[0]);
            gemm_scratch_len(cx, rows, op.vocab, width)
        }
        Op::DotAt(_) | Op::Sum(_) | Op::BlendGrad(_) => reduce::scratch_len(inputs[0].len()),
        Op::MuonOrthogonalize(op) => {
            let (rows, cols) = matrix(&inputs[0]);
            typed!(op.dtype, as T => muon::orthogonalize_scratch_len::<T>(cx, op, rows, cols))
        }
        Op::MuonNormalize(_) => {
            let (rows, cols) = matrix(&inputs[0]);
            muon::normalize_scratch_len(rows, cols)
        }
        _ => 0,
    }
}

fn cross_entropy_scratch_len(
    cx: &Context,
    op: &LinearCrossEntropy,
    inputs: &[TensorType],
    gradient: bool,
) -> usize {
    let dims = cross_entropy_dims(op, &inputs[0], &inputs[1]);
    let kernel = typed!(inputs[0].dtype(), as T => {
        cross_entropy::scratch_len::<T>(cx, dims, gradient)
    });
    // The losses of the tokens, when only their mean is asked for.
    kernel + dims.n
}
