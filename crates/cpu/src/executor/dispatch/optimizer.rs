//! Optimizer steps.

use kiln_graph::ops::{AdamWStep, CautiousDecayStep, MuonNormalize, Schedule};

use crate::executor::operand::Operand;
use crate::{Context, elementwise, muon};

/// # Safety
/// As of [`execute`](super::execute).
pub(super) unsafe fn adamw(cx: &Context, op: &AdamWStep, i: &[Operand], outputs: &[Operand]) {
    // SAFETY: the caller's; the kernel works in place.
    unsafe {
        let schedule = i[4].f32();
        let entry = |s: Schedule| f64::from(schedule[s as usize]);
        let lr = op.lr * entry(Schedule::LrMultiplier);
        elementwise::adamw(
            cx,
            outputs[0].len(),
            i[0].ptr(),
            i[1].ptr(),
            i[2].ptr(),
            i[3].ptr(),
            lr as f32,
            (1.0 - op.beta1) as f32,
            (1.0 - op.beta2) as f32,
            (1.0 / entry(Schedule::Bias1)) as f32,
            (1.0 / entry(Schedule::Bias2)) as f32,
            op.eps as f32,
            (1.0 - lr * op.weight_decay) as f32,
            outputs[0].ptr(),
            outputs[1].ptr(),
            outputs[2].ptr(),
        );
    }
}

/// # Safety
/// As of [`execute`](super::execute).
pub(super) unsafe fn muon_normalize(
    cx: &Context,
    op: &MuonNormalize,
    i: &[Operand],
    outputs: &[Operand],
    scratch: &mut [f32],
) {
    let out = &outputs[0];
    // SAFETY: the caller's.
    unsafe {
        for (input, output) in i.iter().zip(outputs) {
            if !output.is(input) {
                elementwise::copy(cx, output.len(), input.ptr(), output.ptr());
            }
        }
        let second = outputs[1].f32_mut();
        muon::normalize(cx, op.beta2, out.f32_mut(), out.matrix().1, second, scratch);
    }
}

/// # Safety
/// As of [`execute`](super::execute).
pub(super) unsafe fn cautious_decay(
    cx: &Context,
    op: &CautiousDecayStep,
    i: &[Operand],
    out: &Operand,
) {
    let (rows, cols) = out.matrix();
    let shape = (rows as f64 / cols as f64).max(1.0).sqrt();
    // SAFETY: the caller's.
    unsafe {
        let schedule = i[2].f32();
        let lr = op.lr * shape * f64::from(schedule[Schedule::LrMultiplier as usize]);
        let decay = lr * f64::from(schedule[Schedule::WeightDecay as usize]);
        let (lr, decay) = (lr as f32, decay as f32);
        elementwise::cautious_decay(cx, out.len(), i[0].ptr(), i[1].ptr(), lr, decay, out.ptr());
    }
}
