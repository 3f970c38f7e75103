//! Attention over whole sequences and over caches.

use half::bf16;
use kiln_graph::{DType, TensorType};

use super::{copy, typed};
use crate::executor::operand::Operand;
use crate::{Context, attention};

pub(in crate::executor) fn attention_dims(
    q: &TensorType,
    k: &TensorType,
    window: usize,
) -> attention::Dims {
    let (q, k) = (q.shape(), k.shape());
    let [b, t, h, d] = q.dims().try_into().expect("the shape rule checked");
    attention::Dims { b, t, h, k_heads: k.dims()[2], d, window }
}

pub(in crate::executor) fn cached_dims(
    q: &TensorType,
    cache: &TensorType,
    window: usize,
) -> attention::CacheDims {
    let (q, cache) = (q.shape(), cache.shape());
    let [b, t, h, d] = q.dims().try_into().expect("the shape rule checked");
    attention::CacheDims { b, t, h, k_heads: cache.dims()[2], d, window, capacity: cache.dims()[1] }
}

/// # Safety
/// As of [`execute`](super::execute).
pub(super) unsafe fn attention(
    cx: &Context,
    window: usize,
    i: &[Operand],
    outputs: &[Operand],
    scratch: &mut [f32],
) {
    let dims = attention_dims(&i[0].ty(), &i[1].ty(), window);
    // SAFETY: the caller's.
    typed!(&i[0], T => unsafe {
        let (q, k, v) = (i[0].values::<T>(), i[1].values::<T>(), i[2].values::<T>());
        let (out, lse) = (outputs[0].values_mut::<T>(), outputs[1].f32_mut());
        attention::forward(cx, q, k, v, &dims, out, lse, scratch);
    });
}

/// # Safety
/// As of [`execute`](super::execute).
pub(super) unsafe fn attention_grad(
    cx: &Context,
    window: usize,
    i: &[Operand],
    outputs: &[Operand],
    scratch: &mut [f32],
) {
    let dims = attention_dims(&i[0].ty(), &i[1].ty(), window);
    // SAFETY: the caller's; the op works in place on nothing.
    typed!(&i[0], T => unsafe {
        let [q, k, v, out] = [0, 1, 2, 3].map(|n: usize| i[n].values::<T>());
        let (lse, dout) = (i[4].f32(), i[5].values::<T>());
        let [dq, dk, dv] = [0, 1, 2].map(|n: usize| outputs[n].values_mut::<T>());
        attention::backward(cx, q, k, v, out, lse, dout, &dims, dq, dk, dv, scratch);
    });
}

/// # Safety
/// As of [`execute`](super::execute).
pub(super) unsafe fn cached(
    cx: &Context,
    window: usize,
    i: &[Operand],
    out: &Operand,
    scratch: &mut [f32],
) {
    let dims = cached_dims(&i[0].ty(), &i[1].ty(), window);
    // SAFETY: the caller's.
    typed!(&i[0], T => unsafe {
        let (q, k, v) = (i[0].values::<T>(), i[1].values::<T>(), i[2].values::<T>());
        attention::cached(cx, q, k, v, i[3].i32(), &dims, out.values_mut::<T>(), scratch);
    });
}

/// # Safety
/// As of [`execute`](super::execute).
pub(super) unsafe fn cache_write(cx: &Context, i: &[Operand], out: &Operand) {
    let dims = cached_dims(&i[1].ty(), &i[0].ty(), 0);
    // SAFETY: the caller's.
    typed!(out, T => unsafe {
        if !out.is(&i[0]) {
            copy(cx, &i[0], out);
        }
        attention::cache_write(cx, out.values_mut::<T>(), i[1].values::<T>(), i[2].i32(), &dims);
    });
}
