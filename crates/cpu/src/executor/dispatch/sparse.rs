//! Sparse attention and its indexer.

use half::bf16;
use kiln_graph::ops::Selection;
use kiln_graph::{DType, TensorType};

use super::typed;
use crate::Context;
use crate::executor::operand::Operand;
use crate::simd::Element;
use crate::sparse::{self, Dims, Gradients, Indexer, Inputs, Outputs, Saved};

/// Sizes of attention of q over k (or a cache of it), where an indexer with queries iq selects.
pub(in crate::executor) fn sparse_dims([q, k, iq]: [&TensorType; 3], selection: Selection) -> Dims {
    let (q, k, iq) = (q.shape(), k.shape(), iq.shape());
    let [b, t, h, d] = q.dims().try_into().expect("the shape rule checked");
    let Selection { local, top_k } = selection;
    let (positions, k_heads) = (k.dims()[1], k.dims()[2]);
    let (heads, width) = (iq.dims()[2], iq.last());
    Dims { b, t, positions, h, k_heads, d, heads, width, local, top_k }
}

/// Sizes of an indexer with queries iq.
pub(in crate::executor) fn indexer_dims(iq: &TensorType) -> Dims {
    let [b, t, heads, width] = iq.shape().dims().try_into().expect("the shape rule checked");
    Dims { b, t, positions: t, h: 1, k_heads: 1, d: 1, heads, width, local: 1, top_k: 1 }
}

/// # Safety
/// As of [`execute`](super::execute), for inputs q, k, v, iq, ik, iw.
unsafe fn inputs<'a, T: Element>(i: &[Operand]) -> Inputs<'a, T> {
    // SAFETY: the caller's.
    unsafe {
        let indexer = Indexer { q: i[3].values(), k: i[4].values(), w: i[5].f32() };
        Inputs { q: i[0].values(), k: i[1].values(), v: i[2].values(), indexer }
    }
}

/// # Safety
/// As of [`execute`](super::execute).
pub(super) unsafe fn attention(
    cx: &Context,
    selection: Selection,
    i: &[Operand],
    outputs: &[Operand],
    scratch: &mut [f32],
) {
    let dims = sparse_dims([&i[0].ty(), &i[1].ty(), &i[3].ty()], selection);
    // SAFETY: the caller's.
    typed!(&i[0], T => unsafe {
        let to = Outputs {
            out: outputs[0].values_mut::<T>(),
            lse: outputs[1].f32_mut(),
            threshold: outputs[2].f32_mut(),
            boundary: outputs[3].i32_mut(),
        };
        sparse::forward(cx, &inputs::<T>(i), &dims, to, scratch);
    });
}

/// # Safety
/// As of [`execute`](super::execute).
pub(super) unsafe fn attention_grad(
    cx: &Context,
    selection: Selection,
    i: &[Operand],
    outputs: &[Operand],
    scratch: &mut [f32],
) {
    let dims = sparse_dims([&i[0].ty(), &i[1].ty(), &i[3].ty()], selection);
    // SAFETY: the caller's; the op works in place on nothing.
    typed!(&i[0], T => unsafe {
        let saved = Saved {
            out: i[6].values::<T>(),
            lse: i[7].f32(),
            threshold: i[8].f32(),
            boundary: i[9].i32(),
            dout: i[10].values::<T>(),
        };
        let to = Gradients {
            q: outputs[0].values_mut::<T>(),
            k: outputs[1].values_mut::<T>(),
            v: outputs[2].values_mut::<T>(),
            indexer_q: outputs[3].values_mut::<T>(),
            indexer_k: outputs[4].values_mut::<T>(),
            indexer_w: outputs[5].f32_mut(),
        };
        sparse::backward(cx, &inputs::<T>(i), &saved, &dims, to, scratch);
    });
}

/// # Safety
/// As of [`execute`](super::execute).
pub(super) unsafe fn cached(
    cx: &Context,
    selection: Selection,
    i: &[Operand],
    out: &Operand,
    scratch: &mut [f32],
) {
    let dims = sparse_dims([&i[0].ty(), &i[1].ty(), &i[3].ty()], selection);
    // SAFETY: the caller's.
    typed!(&i[0], T => unsafe {
        let x = inputs::<T>(i);
        sparse::cached(cx, &x, i[6].i32(), &dims, out.values_mut::<T>(), scratch);
    });
}

/// # Safety
/// As of [`execute`](super::execute).
pub(super) unsafe fn scores(cx: &Context, i: &[Operand], out: &Operand, scratch: &mut [f32]) {
    let dims = indexer_dims(&i[0].ty());
    // SAFETY: the caller's.
    typed!(&i[0], T => unsafe {
        let x = Indexer { q: i[0].values::<T>(), k: i[1].values(), w: i[2].f32() };
        sparse::indexer_scores(cx, &x, &dims, out.f32_mut(), scratch);
    });
}

/// # Safety
/// As of [`execute`](super::execute).
pub(super) unsafe fn scores_grad(
    cx: &Context,
    i: &[Operand],
    outputs: &[Operand],
    scratch: &mut [f32],
) {
    let dims = indexer_dims(&i[0].ty());
    // SAFETY: the caller's; the op works in place on nothing.
    typed!(&i[0], T => unsafe {
        let x = Indexer { q: i[0].values::<T>(), k: i[1].values(), w: i[2].f32() };
        let to = (outputs[0].values_mut(), outputs[1].values_mut(), outputs[2].f32_mut());
        sparse::indexer_scores_grad(cx, &x, i[3].f32(), &dims, to, scratch);
    });
}
