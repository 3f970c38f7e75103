//! From ops to kernels.

use kiln_graph::ops::{Epilogue as LinearEpilogue, LinearCrossEntropy, Reduction, Rule, Schedule};
use kiln_graph::{DType, Op, TensorType};

use super::operand::Operand;
use crate::gemm::{Epilogue, Matrix, gemm};
use crate::{
    Context, attention, cross_entropy, elementwise, embed, gate, movement, muon, norm, reduce, rope,
};

pub(super) fn attention_dims(q: &TensorType, k: &TensorType, window: usize) -> attention::Dims {
    let (q, k) = (q.shape(), k.shape());
    let [b, t, h, d] = q.dims().try_into().expect("the shape rule checked");
    attention::Dims { b, t, h, k_heads: k.dims()[2], d, window }
}

pub(super) fn cached_dims(
    q: &TensorType,
    cache: &TensorType,
    window: usize,
) -> attention::CacheDims {
    let (q, cache) = (q.shape(), cache.shape());
    let [b, t, h, d] = q.dims().try_into().expect("the shape rule checked");
    attention::CacheDims { b, t, h, k_heads: cache.dims()[2], d, window, capacity: cache.dims()[1] }
}

pub(super) fn cross_entropy_dims(
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

/// What the optional accumulator of an op asks of its kernel, after the accumulator was brought to where the output lies.
#[derive(Clone, Copy, PartialEq)]
enum Onto {
    /// There is none, or it counts for nothing.
    Nothing,
    /// Scale what the output holds by this, then add.
    Held(f32),
}

impl Onto {
    /// # Safety
    /// As of [`execute`].
    unsafe fn new(cx: &Context, op: &Op, inputs: &[Operand], out: &Operand) -> Onto {
        let Some(accumulator) = inputs.get(op.arity()) else { return Onto::Nothing };
        // SAFETY: the shape rule checked that it has one value.
        let keep = inputs.get(op.arity() + 1).map_or(1.0, |keep| unsafe { keep.f32()[0] });
        if keep == 0.0 {
            return Onto::Nothing;
        }
        if !out.is(accumulator) {
            // SAFETY: both have the output's type.
            unsafe { elementwise::copy(cx, out.len(), accumulator.ptr(), out.ptr()) };
        }
        Onto::Held(keep)
    }

    fn epilogue(self) -> Epilogue<'static> {
        match self {
            Onto::Nothing => Epilogue::Set,
            Onto::Held(beta) => Epilogue::Accumulate { beta },
        }
    }

    fn beta(self) -> f32 {
        if let Onto::Held(beta) = self { beta } else { 0.0 }
    }
}

/// Runs one step.
///
/// # Safety
/// Operands must be as the op's shape rule wants them and lie in live memory; outputs may share memory only with inputs
/// that the op lists as fit for that, wholly; scratch must be as long as `scratch_len` says and shared with nothing.
#[allow(clippy::too_many_lines)]
pub(super) unsafe fn execute(
    cx: &Context,
    op: Option<&Op>,
    inputs: &[Operand],
    outputs: &[Operand],
    scratch: Operand,
) {
    let i = inputs;
    let out = &outputs[0];
    let n = out.len();
    let x = i.first().map_or(std::ptr::null_mut(), Operand::ptr);
    let y = i.get(1).map_or(std::ptr::null_mut(), Operand::ptr);
    let o = out.ptr();
    // SAFETY: the caller's contract is that of the kernels: sizes follow from the types.
    unsafe {
        let Some(op) = op else { return elementwise::copy(cx, n, x, o) };
        let halves = || i.iter().chain(outputs).any(|operand| operand.ty().dtype() == DType::Bf16);
        assert!(matches!(op, Op::Cast(_)) || !halves(), "{} has no kernel for bf16", op.name());
        let rest = scratch.f32_mut();
        match op {
            Op::VariableValue(_) | Op::InputValue(_) | Op::Reshape(_) | Op::SliceLeading(_) => {
                unreachable!("plans have no step for {}", op.name())
            }
            Op::Constant(c) => elementwise::fill(cx, n, c.value, o),
            Op::ZeroPositions(_) => elementwise::fill(cx, n, 0.0, o),
            Op::Cast(_) => cast(&i[0], out),
            Op::Expand(_) => elementwise::fill(cx, n, i[0].f32()[0], o),
            Op::SliceLast(slice) => {
                movement::slice_last(cx, i[0].f32(), i[0].matrix().1, slice.start, out.f32_mut());
            }
            Op::PadLast(pad) => {
                let add = Onto::new(cx, op, i, out) != Onto::Nothing;
                movement::pad_last(cx, i[0].f32(), pad.width, pad.start, add, out.f32_mut());
            }
            Op::ShiftTime(shift) => {
                let add = Onto::new(cx, op, i, out) != Onto::Nothing;
                let [b, t, c, _] = out.dims();
                movement::shift_time(
                    cx,
                    i[0].f32(),
                    (b, t, c),
                    shift.back,
                    None,
                    add,
                    out.f32_mut(),
                );
            }
            Op::CausalMean(mean) => {
                let [b, t, c, _] = out.dims();
                let what = (mean.order, mean.transposed);
                movement::causal_mean(cx, i[0].f32(), (b, t, c), what, out.f32_mut());
            }
            Op::ShiftTimeCached(_) => {
                let [b, t, c, _] = out.dims();
                let previous = Some(i[1].f32());
                movement::shift_time(
                    cx,
                    i[0].f32(),
                    (b, t, c),
                    false,
                    previous,
                    false,
                    out.f32_mut(),
                );
            }
            Op::SelectTime(_) => {
                let [_, t, c, _] = i[0].dims();
                movement::select_time(i[0].f32(), t, c, i[1].i32(), out.f32_mut());
            }
            Op::Add(_) => elementwise::add(cx, n, x, y, o),
            Op::Sub(_) => elementwise::sub(cx, n, x, y, o),
            Op::Mul(_) => elementwise::mul(cx, n, x, y, o),
            Op::Scale(scale) => elementwise::scale(cx, n, x, scale.factor, o),
            Op::ScaleByScalar(s) => elementwise::scale(cx, n, x, i[1].f32()[s.index], o),
            Op::DotAt(dot) => {
                let sum = reduce::dot(cx, i[0].f32(), i[1].f32(), rest);
                let out = out.f32_mut();
                out.fill(0.0);
                out[dot.index] = sum;
            }
            Op::Sum(_) => out.f32_mut()[0] = reduce::sum(cx, i[0].f32(), rest),
            Op::Accumulate(_) => match i[2].f32()[0] {
                0.0 => elementwise::copy(cx, n, x, o),
                keep => elementwise::accumulate(cx, n, x, y, keep, o),
            },
            Op::Blend(blend) => {
                let (a, b) = (i[2].f32()[blend.index], i[3].f32()[blend.index]);
                elementwise::blend(cx, n, x, y, a, b, o);
            }
            Op::BlendGrad(grad) => blend_grad(cx, grad.index, i, outputs, rest),
            Op::Sigmoid(_) => elementwise::sigmoid(cx, n, x, o),
            Op::SigmoidGrad(_) => elementwise::sigmoid_grad(cx, n, x, y, o),
            Op::Tanh(_) => elementwise::tanh(cx, n, x, o),
            Op::TanhGrad(_) => elementwise::tanh_grad(cx, n, x, y, o),
            Op::ReluSquared(_) => elementwise::relu_squared(cx, n, x, o),
            Op::ReluSquaredGrad(_) => elementwise::relu_squared_grad(cx, n, x, y, o),
            Op::SwiGlu(_) => elementwise::swiglu(cx, n, x, y, o),
            Op::SwiGluGrad(_) => {
                elementwise::swiglu_grad(cx, n, x, y, i[2].ptr(), o, outputs[1].ptr());
            }
            Op::GatedAdd(add) => {
                let (rows, width) = out.matrix();
                let dims = gate::Rows { rows, width, scale: add.scale };
                gate::gated_add(cx, dims, x, y, i[2].f32(), o);
            }
            Op::GatedAddGrad(add) => {
                let (rows, width) = out.matrix();
                let dims = gate::Rows { rows, width, scale: add.scale };
                gate::gated_add_grad(cx, dims, x, y, i[2].ptr(), o, outputs[1].f32_mut());
            }
            Op::Linear(linear) => {
                let (a, w) = (view(&i[0]), view(&i[1]));
                let epilogue = match linear.epilogue {
                    LinearEpilogue::None => Epilogue::Set,
                    LinearEpilogue::ReluSquared => Epilogue::ReluSquared,
                    LinearEpilogue::Residual if out.is(&i[2]) => Epilogue::Accumulate { beta: 1.0 },
                    LinearEpilogue::Residual => Epilogue::AddResidual(i[2].f32()),
                };
                gemm(cx, a, w.t(), out.f32_mut(), epilogue, rest);
            }
            Op::LinearGradInput(grad) if grad.relu_squared => {
                let epilogue = Epilogue::ReluSquaredGrad(i[2].f32());
                gemm(cx, view(&i[0]), view(&i[1]), out.f32_mut(), epilogue, rest);
            }
            Op::LinearGradInput(_) => {
                let onto = Onto::new(cx, op, i, out);
                gemm(cx, view(&i[0]), view(&i[1]), out.f32_mut(), onto.epilogue(), rest);
            }
            Op::LinearGradWeight(_) => {
                let onto = Onto::new(cx, op, i, out);
                gemm(cx, view(&i[0]).t(), view(&i[1]), out.f32_mut(), onto.epilogue(), rest);
            }
            Op::Embed(_) => {
                let width = i[0].matrix().1;
                embed::embed(cx, i[0].f32(), i[1].i32(), width, out.f32_mut());
            }
            Op::EmbedGrad(_) => {
                let before = match Onto::new(cx, op, i, out) {
                    Onto::Nothing => embed::Before::Nothing,
                    Onto::Held(keep) => embed::Before::Scaled(keep),
                };
                let width = out.matrix().1;
                embed::embed_grad(cx, i[0].f32(), i[1].i32(), width, before, out.f32_mut());
            }
            Op::RmsNorm(op) => {
                norm::rms_norm(cx, out.matrix().1, op.eps, x, o, outputs[1].f32_mut());
            }
            Op::RmsNormGrad(_) => {
                let onto = i.get(3).map(|p| p.ptr().cast_const());
                norm::rms_norm_grad(cx, out.matrix().1, x, i[1].f32(), i[2].ptr(), onto, o);
            }
            Op::RopeTable(table) => {
                rope::table(
                    cx,
                    table.base,
                    table.tokens,
                    table.head_dim,
                    i[0].i32(),
                    out.f32_mut(),
                );
            }
            Op::Rope(op) => rope::rope(cx, rope_dims(out), op.inverse, x, y, o),
            Op::RopeNorm(op) => {
                let statistics = outputs[1].f32_mut();
                rope::rope_norm(cx, rope_dims(out), (op.scale, op.eps), x, y, o, statistics);
            }
            Op::RopeNormGrad(op) => {
                let forward = (x.cast_const(), i[1].f32());
                rope::rope_norm_grad(
                    cx,
                    rope_dims(out),
                    op.scale,
                    forward,
                    i[2].ptr(),
                    i[3].ptr(),
                    o,
                );
            }
            Op::Attention(op) => {
                let dims = attention_dims(&i[0].ty(), &i[1].ty(), op.window);
                let (q, k, v) = (i[0].f32(), i[1].f32(), i[2].f32());
                attention::forward(cx, q, k, v, &dims, out.f32_mut(), outputs[1].f32_mut(), rest);
            }
            Op::AttentionGrad(op) => attention_grad(cx, op.window, i, outputs, rest),
            Op::AttentionCached(op) => {
                let dims = cached_dims(&i[0].ty(), &i[1].ty(), op.window);
                let (q, k, v) = (i[0].f32(), i[1].f32(), i[2].f32());
                attention::cached(cx, q, k, v, i[3].i32(), &dims, out.f32_mut(), rest);
            }
            Op::CacheWrite(_) => {
                if !out.is(&i[0]) {
                    elementwise::copy(cx, n, x, o);
                }
                let dims = cached_dims(&i[1].ty(), &i[0].ty(), 0);
                attention::cache_write(cx, out.f32_mut(), i[1].f32(), i[2].i32(), &dims);
            }
            Op::LinearCrossEntropy(op) => {
                let dims = cross_entropy_dims(op, &i[0].ty(), &i[1].ty());
                let (x, w, targets) = (i[0].f32(), i[1].f32(), i[2].i32());
                let (losses, rest) = rest.split_at_mut(dims.n);
                cross_entropy::forward(cx, x, w, targets, dims, losses, rest);
                reduce_losses(op.reduction, losses, targets, out.f32_mut());
            }
            Op::LinearCrossEntropyGrad(grad) => {
                cross_entropy_grad(cx, op, &grad.0, i, outputs, rest)
            }
            Op::Logits(logits) => {
                let dims = cross_entropy::Dims {
                    n: i[0].matrix().0,
                    c: i[0].matrix().1,
                    vocab: logits.vocab,
                    padded_vocab: i[1].matrix().0,
                    softcap: logits.softcap,
                };
                cross_entropy::logits(cx, i[0].f32(), i[1].f32(), dims, out.f32_mut(), rest);
            }
            Op::AdamWStep(op) => adamw(cx, op, i, outputs),
            Op::MuonMomentum(_) => {
                let momentum = i[2].f32()[Schedule::Momentum as usize];
                elementwise::muon_momentum(cx, n, x, y, momentum, o, outputs[1].ptr());
            }
            Op::MuonOrthogonalize(op) => {
                if !out.is(&i[0]) {
                    elementwise::copy(cx, n, x, o);
                }
                muon::orthogonalize::<f32>(cx, op, out.f32_mut(), out.matrix().1, rest);
            }
            Op::MuonNormalize(op) => {
                for (input, output) in i.iter().zip(outputs) {
                    if !output.is(input) {
                        elementwise::copy(cx, output.len(), input.ptr(), output.ptr());
                    }
                }
                let second = outputs[1].f32_mut();
                muon::normalize(cx, op.beta2, out.f32_mut(), out.matrix().1, second, rest);
            }
            Op::CautiousDecayStep(op) => {
                let schedule = i[2].f32();
                let (rows, cols) = out.matrix();
                let shape = (rows as f64 / cols as f64).max(1.0).sqrt();
                let lr = op.lr * shape * f64::from(schedule[Schedule::LrMultiplier as usize]);
                let decay = lr * f64::from(schedule[Schedule::WeightDecay as usize]);
                elementwise::cautious_decay(cx, n, x, y, lr as f32, decay as f32, o);
            }
        }
    }
}

/// # Safety
/// As of [`execute`].
unsafe fn cast(x: &Operand, out: &Operand) {
    use half::bf16;
    // SAFETY: both have as many elements, of the types that the shape rule allows; neither lies where the other does.
    unsafe {
        if out.ty().dtype() == DType::Bf16 {
            let to = std::slice::from_raw_parts_mut(out.ptr().cast::<bf16>(), out.len());
            to.iter_mut().zip(x.f32()).for_each(|(to, &x)| *to = bf16::from_f32(x));
        } else {
            let from = std::slice::from_raw_parts(x.ptr().cast::<bf16>(), x.len());
            out.f32_mut().iter_mut().zip(from).for_each(|(to, x)| *to = x.to_f32());
        }
    }
}

/// # Safety
/// As of [`execute`].
unsafe fn view<'a>(operand: &Operand) -> Matrix<'a> {
    let (rows, cols) = operand.matrix();
    // SAFETY: the caller's.
    Matrix::row_major(unsafe { operand.f32() }, rows, cols)
}

fn rope_dims(x: &Operand) -> rope::Dims {
    let [b, t, heads, head_dim] = x.dims();
    rope::Dims { rows: b * t, heads, head_dim }
}

/// # Safety
/// As of [`execute`].
unsafe fn blend_grad(
    cx: &Context,
    index: usize,
    i: &[Operand],
    outputs: &[Operand],
    scratch: &mut [f32],
) {
    // SAFETY: the sums come first: dx may overwrite dout.
    unsafe {
        let (x, y, dout) = (i[0].f32(), i[1].f32(), i[4].f32());
        for (values, out) in [(x, &outputs[2]), (y, &outputs[3])] {
            let sum = reduce::dot(cx, values, dout, scratch);
            let out = out.f32_mut();
            out.fill(0.0);
            out[index] = sum;
        }
        let (n, a, b) = (dout.len(), i[2].f32()[index], i[3].f32()[index]);
        let (dout, dx, dy) = (i[4].ptr(), outputs[0].ptr(), outputs[1].ptr());
        match i.get(5) {
            Some(onto) => elementwise::blend_grad_onto(cx, n, dout, onto.ptr(), a, b, dx, dy),
            None => elementwise::blend_grad(cx, n, dout, a, b, dx, dy),
        }
    }
}

/// # Safety
/// As of [`execute`].
unsafe fn attention_grad(
    cx: &Context,
    window: usize,
    i: &[Operand],
    outputs: &[Operand],
    scratch: &mut [f32],
) {
    let dims = attention_dims(&i[0].ty(), &i[1].ty(), window);
    // SAFETY: the caller's; the op works in place on nothing.
    unsafe {
        let (q, k, v, out) = (i[0].f32(), i[1].f32(), i[2].f32(), i[3].f32());
        let (lse, dout) = (i[4].f32(), i[5].f32());
        let (dq, dk, dv) = (outputs[0].f32_mut(), outputs[1].f32_mut(), outputs[2].f32_mut());
        attention::backward(cx, q, k, v, out, lse, dout, &dims, dq, dk, dv, scratch);
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
/// As of [`execute`].
unsafe fn cross_entropy_grad(
    cx: &Context,
    op: &Op,
    attributes: &LinearCrossEntropy,
    i: &[Operand],
    outputs: &[Operand],
    scratch: &mut [f32],
) {
    let dims = cross_entropy_dims(attributes, &i[0].ty(), &i[1].ty());
    // SAFETY: the caller's; only dw may lie where its accumulator does.
    unsafe {
        let onto = Onto::new(cx, op, i, &outputs[2]);
        let (x, w, targets, dloss) = (i[0].f32(), i[1].f32(), i[2].i32(), i[3].f32());
        let scale = match attributes.reduction {
            Reduction::PerToken => cross_entropy::Scale::PerToken(dloss),
            Reduction::Mean => cross_entropy::Scale::Mean(dloss[0]),
        };
        let (losses, scratch) = scratch.split_at_mut(dims.n);
        let (dx, dw) = (outputs[1].f32_mut(), outputs[2].f32_mut());
        cross_entropy::forward_backward(
            cx,
            x,
            w,
            targets,
            dims,
            scale,
            losses,
            dx,
            dw,
            onto.beta(),
            scratch,
        );
        reduce_losses(attributes.reduction, losses, targets, outputs[0].f32_mut());
    }
}

/// # Safety
/// As of [`execute`].
unsafe fn adamw(cx: &Context, op: &kiln_graph::ops::AdamWStep, i: &[Operand], outputs: &[Operand]) {
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
