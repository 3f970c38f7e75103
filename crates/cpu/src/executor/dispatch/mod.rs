//! From ops to kernels.

mod attending;
mod mixing;
mod optimizer;
mod products;
mod sparse;

use half::bf16;
use kiln_graph::ops::{Rule, Schedule};
use kiln_graph::{DType, Op};

use super::operand::Operand;
use crate::gemm::Epilogue;
use crate::movement::ValuesCache;
use crate::{
    Context, dropout, elementwise, embed, gate, movement, muon, norm, reduce, rope, sinkhorn,
};

pub(super) use attending::{attention_dims, cached_dims};
pub(super) use products::cross_entropy_dims;
pub(super) use sparse::{indexer_dims, sparse_dims};

/// Evaluates an expression in which a name stands for the element type of an operand (or, with `as`, for a given one).
macro_rules! typed {
    ($dtype:expr, as $T:ident => $body:expr) => {
        match $dtype {
            DType::Bf16 => {
                type $T = bf16;
                $body
            }
            DType::F32 => {
                type $T = f32;
                $body
            }
            DType::I32 => unreachable!("the shape rule wants floats"),
        }
    };
    ($operand:expr, $T:ident => $body:expr) => {
        typed!($operand.ty().dtype(), as $T => $body)
    };
}
pub(super) use typed;

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
            unsafe { copy(cx, accumulator, out) };
        }
        Onto::Held(keep)
    }

    fn epilogue<C>(self) -> Epilogue<'static, C> {
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
        let Some(op) = op else { return copy(cx, &i[0], out) };
        let rest = scratch.f32_mut();
        match op {
            Op::VariableValue(_) | Op::InputValue(_) | Op::Reshape(_) | Op::SliceLeading(_) => {
                unreachable!("plans have no step for {}", op.name())
            }
            Op::Constant(c) => elementwise::fill(cx, n, c.value, o),
            Op::ZeroPositions(_) => elementwise::fill(cx, n, 0.0, o),
            Op::Expand(_) => elementwise::fill(cx, n, i[0].f32()[0], o),
            Op::Cast(_) => typed!(&i[0], X => typed!(out, Y => {
                elementwise::cast(cx, i[0].values::<X>(), out.values_mut::<Y>());
            })),
            Op::SliceLast(slice) => typed!(&i[0], X => typed!(out, Y => {
                let (x, width) = (i[0].values::<X>(), i[0].matrix().1);
                movement::slice_last(cx, x, width, slice.start, out.values_mut::<Y>());
            })),
            Op::PadLast(pad) => {
                let add = Onto::new(cx, op, i, out) != Onto::Nothing;
                movement::pad_last(cx, i[0].f32(), pad.width, pad.start, add, out.f32_mut());
            }
            Op::Concat(_) => typed!(out, X => {
                let widths = (i[0].matrix().1, i[1].matrix().1);
                let (a, b) = (i[0].values::<X>(), i[1].values::<X>());
                movement::concat(cx, a, b, widths, out.values_mut::<X>());
            }),
            Op::NextIds(next) => {
                movement::next_ids(i[0].i32(), out.matrix().1, next.last, out.i32_mut());
            }
            Op::ShiftTime(shift) => {
                let add = Onto::new(cx, op, i, out) != Onto::Nothing;
                let [b, t, c, _] = out.dims();
                let dims = (b, t, c);
                movement::shift_time(cx, i[0].f32(), dims, shift.back, add, out.f32_mut());
            }
            Op::CausalMean(mean) => {
                let [b, t, c, _] = out.dims();
                let what = (mean.order, mean.transposed);
                movement::causal_mean(cx, i[0].f32(), (b, t, c), what, out.f32_mut());
            }
            Op::ShiftTimeCached(shift) => {
                movement::shift_time_cached(values_cache(i), shift.tokens, out.f32_mut());
            }
            Op::CausalMeanCached(mean) => {
                let (cache, out) = (values_cache(i), out.f32_mut());
                movement::causal_mean_cached(cx, cache, mean.order, mean.tokens, out);
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
            Op::ReluSquaredGrad(_) => typed!(out, Y => typed!(&i[1], D => {
                elementwise::relu_squared_grad::<Y, D>(cx, n, x.cast(), y.cast(), o.cast());
            })),
            Op::SwiGlu(_) => elementwise::swiglu(cx, n, x, y, o),
            Op::SwiGluGrad(_) => {
                elementwise::swiglu_grad(cx, n, x, y, i[2].ptr(), o, outputs[1].ptr());
            }
            Op::GatedAdd(add) => {
                let (rows, width) = out.matrix();
                let dims = gate::Rows { rows, width, scale: add.scale };
                typed!(out, X => {
                    gate::gated_add::<X>(cx, dims, x.cast(), y.cast(), i[2].f32(), o.cast());
                });
            }
            Op::GatedAddGrad(add) => {
                let (rows, width) = out.matrix();
                let dims = gate::Rows { rows, width, scale: add.scale };
                let (dout, dg) = (i[2].ptr(), outputs[1].f32_mut());
                typed!(out, X => {
                    gate::gated_add_grad::<X>(cx, dims, x.cast(), y, dout.cast(), o.cast(), dg);
                });
            }
            Op::Dropout(drop) => {
                let key = i[1].i32();
                let (rate, salt, key) = (drop.rate, drop.salt, [key[0], key[1]]);
                dropout::dropout(cx, n, x, dropout::Choice { rate, salt, key }, o);
            }
            Op::BranchScores(op) => mixing::scores(cx, op, i, out),
            Op::BranchScoresGrad(grad) => mixing::scores_grad(cx, &grad.0, i, outputs),
            Op::Sinkhorn(op) => {
                let (settings, count) = mixing::matrices(op, out);
                sinkhorn::sinkhorn(cx, settings, count, x, o);
            }
            Op::SinkhornGrad(grad) => {
                let (settings, count) = mixing::matrices(&grad.0, out);
                sinkhorn::sinkhorn_grad(cx, settings, count, x, y, o);
            }
            Op::BranchMix(op) => mixing::mix(cx, op, i, out),
            Op::BranchMixGrad(grad) => mixing::mix_grad(cx, &grad.0, i, outputs),
            Op::Linear(op) => products::linear(cx, op, i, out, rest),
            Op::LinearGradInput(grad) => {
                let onto = Onto::new(cx, op, i, out);
                products::linear_grad_input(cx, grad, onto, i, out, rest);
            }
            Op::LinearGradWeight(_) => {
                let onto = Onto::new(cx, op, i, out);
                products::linear_grad_weight(cx, onto, i, out, rest);
            }
            Op::Embed(_) => {
                let width = i[0].matrix().1;
                typed!(out, Y => {
                    embed::embed(cx, i[0].f32(), i[1].i32(), width, out.values_mut::<Y>());
                });
            }
            Op::EmbedGrad(_) => {
                let before = match Onto::new(cx, op, i, out) {
                    Onto::Nothing => embed::Before::Nothing,
                    Onto::Held(keep) => embed::Before::Scaled(keep),
                };
                let width = out.matrix().1;
                typed!(&i[0], D => {
                    let dy = i[0].values::<D>();
                    embed::embed_grad(cx, dy, i[1].i32(), width, before, out.f32_mut());
                });
            }
            Op::RmsNorm(op) => {
                let (width, statistics) = (out.matrix().1, outputs[1].f32_mut());
                typed!(out, Y => norm::rms_norm::<Y>(cx, width, op.eps, x, o.cast(), statistics));
            }
            Op::RmsNormGrad(_) => {
                let onto = i.get(3).map(|p| p.ptr().cast_const());
                let (width, statistics, dy) = (out.matrix().1, i[1].f32(), i[2].ptr());
                typed!(&i[0], Y => typed!(&i[2], D => {
                    let (y, dy) = (x.cast(), dy.cast());
                    norm::rms_norm_grad::<Y, D>(cx, width, y, statistics, dy, onto, o);
                }));
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
            Op::Rope(op) => typed!(out, X => {
                rope::rope::<X>(cx, rope_dims(out), op.inverse, x.cast(), y, o.cast());
            }),
            Op::RopeNorm(op) => {
                let (statistics, norm) = (outputs[1].f32_mut(), (op.scale, op.eps));
                typed!(out, X => {
                    let (x, o) = (x.cast(), o.cast());
                    rope::rope_norm::<X>(cx, rope_dims(out), norm, x, y, o, statistics);
                });
            }
            Op::RopeNormGrad(op) => typed!(out, X => {
                let (dy, table, o) = (i[2].ptr().cast(), i[3].ptr(), o.cast());
                let forward = (x.cast::<X>().cast_const(), i[1].f32());
                rope::rope_norm_grad(cx, rope_dims(out), op.scale, forward, dy, table, o);
            }),
            Op::Attention(op) => attending::attention(cx, op.window, i, outputs, rest),
            Op::AttentionGrad(op) => attending::attention_grad(cx, op.window, i, outputs, rest),
            Op::AttentionCached(op) => attending::cached(cx, op.window, i, out, rest),
            Op::CacheWrite(_) => attending::cache_write(cx, i, out),
            Op::SparseAttention(op) => sparse::attention(cx, op.0, i, outputs, rest),
            Op::SparseAttentionGrad(op) => sparse::attention_grad(cx, op.0, i, outputs, rest),
            Op::SparseAttentionCached(op) => sparse::cached(cx, op.0, i, out, rest),
            Op::IndexerScores(_) => sparse::scores(cx, i, out, rest),
            Op::IndexerScoresGrad(_) => sparse::scores_grad(cx, i, outputs, rest),
            Op::LinearCrossEntropy(op) => products::cross_entropy(cx, op, i, out, rest),
            Op::LinearCrossEntropyGrad(grad) => {
                let onto = Onto::new(cx, op, i, &outputs[2]);
                products::cross_entropy_grad(cx, &grad.0, onto, i, outputs, rest);
            }
            Op::Logits(op) => products::logits(cx, op, i, out, rest),
            Op::AdamWStep(op) => optimizer::adamw(cx, op, i, outputs),
            Op::MuonMomentum(_) => {
                let momentum = i[2].f32()[Schedule::Momentum as usize];
                elementwise::muon_momentum(cx, n, x, y, momentum, o, outputs[1].ptr());
            }
            Op::MuonOrthogonalize(op) => {
                if !out.is(&i[0]) {
                    elementwise::copy(cx, n, x, o);
                }
                typed!(op.dtype, as T => {
                    muon::orthogonalize::<T>(cx, op, out.f32_mut(), out.matrix().1, rest);
                });
            }
            Op::MuonNormalize(op) => optimizer::muon_normalize(cx, op, i, outputs, rest),
            Op::CautiousDecayStep(op) => optimizer::cautious_decay(cx, op, i, out),
        }
    }
}

/// Copies a value of any type.
///
/// # Safety
/// As of [`execute`].
unsafe fn copy(cx: &Context, from: &Operand, to: &Operand) {
    // SAFETY: the caller's: both have one type.
    unsafe {
        if from.ty().dtype() == DType::Bf16 {
            elementwise::cast(cx, from.values::<bf16>(), to.values_mut::<bf16>());
        } else {
            elementwise::copy(cx, to.len(), from.ptr(), to.ptr());
        }
    }
}

/// A cache of single values `[B, capacity, 1, C]` with its starts.
///
/// # Safety
/// As of [`execute`].
unsafe fn values_cache<'a>(i: &[Operand]) -> ValuesCache<'a> {
    // SAFETY: the caller's.
    unsafe { ValuesCache { values: i[0].f32(), width: i[0].matrix().1, start: i[1].i32() } }
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
