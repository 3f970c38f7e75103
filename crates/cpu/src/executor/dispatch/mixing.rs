//! Mixing of branches.

use kiln_graph::ops::{BranchMix, BranchScores, Sinkhorn};

use crate::executor::operand::Operand;
use crate::{Context, branches, sinkhorn};

fn dims(x: &Operand, n: usize) -> branches::Dims {
    let (rows, width) = x.matrix();
    branches::Dims { n, rows, width }
}

/// Addresses of the first operands, one for each branch.
fn addresses(operands: &[Operand], n: usize) -> branches::Rows {
    std::array::from_fn(|j| if j < n { operands[j].ptr().cast_const() } else { std::ptr::null() })
}

fn addresses_mut(operands: &[Operand], n: usize) -> branches::RowsMut {
    addresses(operands, n).map(<*const f32>::cast_mut)
}

/// How to normalise the matrices of a tensor, and their number.
pub(super) fn matrices(op: &Sinkhorn, s: &Operand) -> (sinkhorn::Settings, usize) {
    let n = s.matrix().1;
    let settings = sinkhorn::Settings { n, iters: op.iters, epsilon: op.epsilon };
    (settings, s.len() / (n * n).max(1))
}

/// # Safety
/// As of [`execute`](super::execute).
pub(super) unsafe fn scores(cx: &Context, op: &BranchScores, i: &[Operand], out: &Operand) {
    let n = op.branches;
    let (u, w) = (addresses(i, n), addresses(&i[n..], n));
    // SAFETY: the caller's.
    unsafe { branches::scores(cx, dims(&i[0], n), u, w, op.scale, out.ptr()) };
}

/// # Safety
/// As of [`execute`](super::execute).
pub(super) unsafe fn scores_grad(
    cx: &Context,
    op: &BranchScores,
    i: &[Operand],
    outputs: &[Operand],
) {
    let n = op.branches;
    let (u, w, ds) = (addresses(i, n), addresses(&i[n..], n), i[2 * n].ptr());
    let (du, dw) = (addresses_mut(outputs, n), addresses_mut(&outputs[n..], n));
    // SAFETY: the caller's.
    unsafe { branches::scores_grad(cx, dims(&i[0], n), u, w, ds, op.scale, du, dw) };
}

/// # Safety
/// As of [`execute`](super::execute).
pub(super) unsafe fn mix(cx: &Context, op: &BranchMix, i: &[Operand], out: &Operand) {
    let n = op.branches;
    let (p, b) = (i[0].ptr(), addresses(&i[1..], n));
    // SAFETY: the caller's.
    unsafe { branches::mix(cx, dims(out, n), p, b, op.alpha, out.ptr()) };
}

/// # Safety
/// As of [`execute`](super::execute).
pub(super) unsafe fn mix_grad(cx: &Context, op: &BranchMix, i: &[Operand], outputs: &[Operand]) {
    let n = op.branches;
    let (p, b, dout) = (i[0].ptr(), addresses(&i[1..], n), i[1 + n].ptr());
    let (dp, db) = (outputs[0].ptr(), addresses_mut(&outputs[1..], n));
    // SAFETY: the caller's.
    unsafe { branches::mix_grad(cx, dims(&i[1], n), p, b, dout, op.alpha, dp, db) };
}
