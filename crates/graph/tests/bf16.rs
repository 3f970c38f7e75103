//! Which element types ops take and yield, and those of gradients.

use kiln_graph::ops::*;
use kiln_graph::{DType, Graph, GraphError, Op, Plan, TensorType, ValueId, differentiate};

fn f32s(dims: &[usize]) -> TensorType {
    TensorType::f32(dims)
}

fn bf16s(dims: &[usize]) -> TensorType {
    TensorType::bf16(dims)
}

/// Types of an op's outputs on inputs of these types, or why it does not take them.
fn infer(op: impl Into<Op>, types: &[TensorType]) -> Result<Vec<TensorType>, String> {
    let mut g = Graph::new();
    let inputs: Vec<ValueId> = types.iter().map(|&ty| g.input("x", ty)).collect();
    match g.push(op, &inputs) {
        Ok(outputs) => Ok(outputs.into_iter().map(|v| g.tensor_type(v)).collect()),
        Err(GraphError::Shape { reason, .. }) => Err(reason),
        Err(other) => panic!("{other}"),
    }
}

#[track_caller]
fn refused(op: impl Into<Op>, types: &[TensorType], part: &str) {
    let reason = infer(op, types).expect_err("must be refused");
    assert!(reason.contains(part), "{reason}");
}

const F32: DType = DType::F32;
const BF16: DType = DType::Bf16;

#[test]
fn types_have_sizes_and_names() {
    assert_eq!(bf16s(&[3, 5]).bytes(), 30);
    assert_eq!(bf16s(&[3, 5]).to_string(), "bf16[3, 5]");
    assert_eq!(bf16s(&[3, 5]).with_dtype(F32), f32s(&[3, 5]));
    assert!(BF16.is_float() && !DType::I32.is_float());
}

#[test]
fn products_take_one_type_and_round_only_what_was_rounded() {
    let (x, w, y) = ([4, 6], [5, 6], [4, 5]);
    let linear = |epilogue, dtype| Linear { epilogue, dtype };
    let grad = |dtype| LinearGradInput { relu_squared: false, dtype };
    for dtype in [F32, BF16] {
        let (halves, out) = ([bf16s(&x), bf16s(&w)], f32s(&y).with_dtype(dtype));
        assert_eq!(infer(linear(Epilogue::None, dtype), &halves), Ok(vec![out]));
        let [x, w] = halves;
        assert_eq!(infer(linear(Epilogue::Residual, dtype), &[x, w, out]), Ok(vec![out]));
        let dx = x.with_dtype(dtype);
        assert_eq!(infer(grad(dtype), &[bf16s(&y), w]), Ok(vec![dx]));
        let fused = LinearGradInput { relu_squared: true, dtype };
        assert_eq!(infer(fused.clone(), &[bf16s(&y), w, dx]), Ok(vec![dx]));
        refused(fused, &[bf16s(&y), w, f32s(&[4, 7])], "h must be");
    }
    refused(linear(Epilogue::None, F32), &[f32s(&x), bf16s(&w)], "not f32 and bf16");
    refused(linear(Epilogue::None, BF16), &[f32s(&x), f32s(&w)], "products of f32 yield f32");
    refused(linear(Epilogue::None, DType::I32), &[f32s(&x), f32s(&w)], "not i32");
    let (x, w, r) = (bf16s(&x), bf16s(&w), bf16s(&y));
    refused(linear(Epilogue::Residual, F32), &[x, w, r], "the residual must be f32");
    assert_eq!(infer(LinearGradWeight, &[bf16s(&y), x]), Ok(vec![f32s(&[5, 6])]));
    // Sums are f32: a bf16 gradient is added onto nothing.
    let [dx32, dx16] = [f32s(&[4, 6]), bf16s(&[4, 6])];
    assert!(infer(grad(F32), &[bf16s(&y), w, dx32]).is_ok());
    refused(grad(BF16), &[bf16s(&y), w, dx16], "takes 2 inputs");
}

#[test]
fn the_rest_of_a_layer_takes_halves_where_it_is_said_to() {
    let (x, half) = (f32s(&[2, 3, 8]), bf16s(&[2, 3, 8]));
    let rows = f32s(&[2, 3]);
    let norm = |dtype| RmsNorm { eps: 1e-6, dtype };
    assert_eq!(infer(norm(BF16), &[x]), Ok(vec![half, rows]));
    refused(norm(BF16), &[half], "must be f32");
    for (y, dy) in [(x, x), (half, x), (half, half)] {
        assert_eq!(infer(RmsNormGrad, &[y, rows, dy]), Ok(vec![x]));
        assert_eq!(infer(ReluSquaredGrad, &[y, dy]), Ok(vec![y]));
    }
    let (q, lse) = (bf16s(&[2, 3, 4, 2]), f32s(&[2, 4, 3]));
    assert_eq!(infer(Attention { window: 3 }, &[q; 3]), Ok(vec![q, lse]));
    assert_eq!(infer(AttentionGrad { window: 3 }, &[q, q, q, q, lse, q]), Ok(vec![q; 3]));
    refused(Attention { window: 3 }, &[q, q.with_dtype(F32), q], "bf16 and f32 and bf16");
    let table = f32s(&[2, 3, 2]);
    let (statistic, op) = (f32s(&[2, 3, 4]), RopeNorm { scale: 1.0, eps: 1e-6 });
    assert_eq!(infer(op.clone(), &[q, table]), Ok(vec![q, statistic]));
    refused(op, &[q, table.with_dtype(BF16)], "must be f32");
    assert_eq!(infer(RopeNormGrad { scale: 1.0 }, &[q, statistic, q, table]), Ok(vec![q]));
    let gates = f32s(&[2, 3]);
    assert_eq!(infer(GatedAdd { scale: 1.0 }, &[half, half, gates]), Ok(vec![half]));
    assert_eq!(infer(GatedAddGrad { scale: 1.0 }, &[half, gates, half]), Ok(vec![half, gates]));
    refused(GatedAdd { scale: 1.0 }, &[half, half, gates.with_dtype(BF16)], "gates are f32");
    refused(GatedAdd { scale: 1.0 }, &[half, x, gates], "bf16 and f32");
    let ids = TensorType::i32(&[2, 3]);
    assert_eq!(infer(Embed { dtype: BF16 }, &[f32s(&[9, 8]), ids]), Ok(vec![half]));
    refused(Embed { dtype: BF16 }, &[bf16s(&[9, 8]), ids], "f32 table");
    assert_eq!(infer(EmbedGrad { rows: 9 }, &[half, ids]), Ok(vec![f32s(&[9, 8])]));
    let slice = SliceLast { start: 1, len: 2, dtype: F32 };
    assert_eq!(infer(slice, &[half]), Ok(vec![f32s(&[2, 3, 2])]));
    let (cache, start) = (bf16s(&[2, 7, 4, 2]), TensorType::i32(&[2]));
    assert_eq!(infer(CacheWrite, &[cache, q, start]), Ok(vec![cache]));
    refused(CacheWrite, &[cache, q.with_dtype(F32), start], "bf16 and f32");
    let cached = AttentionCached { window: 3 };
    assert_eq!(infer(cached, &[q, cache, cache, start]), Ok(vec![q]));
}

#[test]
fn losses_and_their_gradients_are_f32() {
    let (x, w, targets) = (bf16s(&[3, 8]), bf16s(&[64, 8]), TensorType::i32(&[3]));
    let op = LinearCrossEntropy { vocab: 60, softcap: 15.0, reduction: Reduction::Mean };
    let one = f32s(&[1]);
    assert_eq!(infer(op.clone(), &[x, w, targets]), Ok(vec![one]));
    let grads = vec![one, f32s(&[3, 8]), f32s(&[64, 8])];
    assert_eq!(infer(LinearCrossEntropyGrad(op.clone()), &[x, w, targets, one]), Ok(grads));
    refused(op, &[x, w.with_dtype(F32), targets], "bf16 and f32");
    let logits = Logits { vocab: 60, softcap: 15.0 };
    assert_eq!(infer(logits, &[x, w]), Ok(vec![f32s(&[3, 60])]));
}

#[test]
fn ops_that_are_not_said_to_take_halves_refuse_them() {
    let (half, one) = (bf16s(&[4, 4]), f32s(&[1]));
    for op in [Op::from(Add), Op::from(Mul), Op::from(SwiGlu), Op::from(Sub)] {
        refused(op, &[half, half], "must be f32");
    }
    refused(Accumulate, &[half, half, one], "must be f32");
    refused(PadLast { start: 0, width: 9 }, &[half], "must be f32");
    refused(Sum, &[half], "must be f32");
}

#[test]
fn a_cast_is_made_once_and_only_where_it_changes_something() {
    let mut g = Graph::new();
    let x = g.input("x", f32s(&[3]));
    let ids = g.input("ids", TensorType::i32(&[3]));
    assert_eq!(g.cast(x, F32).unwrap(), x);
    let half = g.cast(x, BF16).unwrap();
    let nodes = g.nodes().len();
    assert_eq!(g.cast(x, BF16).unwrap(), half);
    assert_eq!(g.nodes().len(), nodes);
    assert!(g.cast(ids, BF16).is_err());
    assert!(g.cast(x, DType::I32).is_err());
    refused(Cast { dtype: F32 }, &[f32s(&[3])], "not f32 into f32");
}

/// x rounded, through a hidden layer of relu², its sum; returns the graph, the loss, and x and both weights.
fn mlp(reads_of_hidden: usize) -> (Graph, ValueId, ValueId, [ValueId; 3]) {
    let mut g = Graph::new();
    let x = g.variable("x", f32s(&[4, 6]));
    let up = g.variable("up", bf16s(&[8, 6]));
    let down = g.variable("down", bf16s(&[6, 8]));
    let half = g.cast(x, BF16).unwrap();
    let hidden = g.linear_relu_squared(half, up).unwrap();
    let mut sum = x;
    for _ in 0..reads_of_hidden {
        sum = g.linear_residual(hidden, down, sum).unwrap();
    }
    let loss = g.sum(sum).unwrap();
    (g, loss, hidden, [x, up, down])
}

fn count(g: &Graph, name: &str) -> usize {
    g.nodes().iter().filter(|n| n.op.name() == name).count()
}

#[test]
fn the_gradient_of_a_hidden_layer_goes_through_relu_squared_as_it_is_made() {
    let (mut g, loss, hidden, wrt) = mlp(1);
    let gradients = differentiate(&mut g, loss, &wrt).unwrap();
    assert_eq!(count(&g, "ReluSquaredGrad"), 0);
    let fused = |n: &&kiln_graph::Node| matches!(&n.op, Op::LinearGradInput(op) if op.relu_squared && op.dtype == BF16);
    let node = g.nodes().iter().find(fused).expect("it is fused");
    assert_eq!(node.inputs[2], hidden);
    for (gradient, value) in gradients.into_iter().zip(wrt) {
        assert_eq!(g.tensor_type(gradient), g.tensor_type(value).with_dtype(F32));
    }
    // The gradient of the sum is cast once for both of the products that read it; that of x, cast in the forward pass, is
    // made in bf16 and cast to be added; and x is cast anew for the gradient of its weight, rather than kept.
    assert_eq!(count(&g, "Cast"), 1 + 1 + 1 + 1);
}

#[test]
fn a_hidden_layer_that_is_read_twice_or_wanted_has_a_gradient_of_its_own() {
    let (mut g, loss, _, wrt) = mlp(2);
    differentiate(&mut g, loss, &wrt).unwrap();
    assert_eq!(count(&g, "ReluSquaredGrad"), 1);
    let products = g.nodes().iter().filter_map(|n| match &n.op {
        Op::LinearGradInput(op) if g.tensor_type(n.outputs[0]).shape().last() == 8 => Some(op),
        _ => None,
    });
    let kinds: Vec<_> = products.map(|op| (op.relu_squared, op.dtype)).collect();
    assert_eq!(kinds, [(false, F32); 2], "sums of gradients are f32");
    let (mut g, loss, hidden, _) = mlp(1);
    let gradient = differentiate(&mut g, loss, &[hidden]).unwrap()[0];
    assert_eq!(g.tensor_type(gradient), f32s(&[4, 8]));
    assert!(matches!(&g.producer(gradient).op, Op::LinearGradInput(op) if !op.relu_squared));
}

#[test]
fn gradients_of_f32_are_f32_and_those_of_halves_follow_their_use() {
    let mut g = Graph::new();
    let x = g.variable("x", f32s(&[2, 3, 8]));
    let [wq, wk] = ["q", "k"].map(|name| g.variable(name, bf16s(&[8, 8])));
    let normed = g.rms_norm_as(x, BF16).unwrap();
    let start = g.zero_positions(2);
    let mut heads = |w| {
        let y = g.linear(normed, w).unwrap();
        let y = g.reshape(y, &[2, 3, 4, 2]).unwrap();
        g.rope_norm(y, start, 100.0, 1.0).unwrap()
    };
    let (q, k) = (heads(wq), heads(wk));
    // k is the values too: its gradient has two parts, which are added in f32.
    let y = g.attention(q, k, k, 2).unwrap();
    let y = g.cast(y, F32).unwrap();
    let loss = g.sum(y).unwrap();
    let gradients = differentiate(&mut g, loss, &[x, wq, wk]).unwrap();
    let types: Vec<TensorType> = gradients.iter().map(|&v| g.tensor_type(v)).collect();
    assert_eq!(types, [f32s(&[2, 3, 8]), f32s(&[8, 8]), f32s(&[8, 8])]);
    let sums: Vec<DType> = g
        .nodes()
        .iter()
        .filter(|n| matches!(n.op, Op::Add(_)))
        .map(|n| g.tensor_type(n.outputs[0]).dtype())
        .collect();
    assert_eq!(sums, [F32]);
    // Two products read the norm's result: their gradients are summed up by the second of them.
    let grads = g.nodes().iter().filter(|n| matches!(n.op, Op::LinearGradInput(_)));
    let inputs: Vec<usize> = grads.map(|n| n.inputs.len()).collect();
    assert_eq!(inputs, [2, 3]);
}

#[test]
fn values_that_are_looked_up_are_looked_up_again() {
    let mut g = Graph::new();
    let ids = g.input("ids", TensorType::i32(&[512]));
    let table = g.variable("table", f32s(&[9, 64]));
    let gates = g.variable("gates", f32s(&[512]));
    let y = g.embed(table, ids).unwrap();
    let x = g.constant(1.0, &[512, 64]);
    let added = g.gated_add(x, y, gates, 1.0).unwrap();
    let mut z = added;
    for _ in 0..3 {
        z = g.tanh(z).unwrap();
    }
    let loss = g.sum(z).unwrap();
    let gradients = differentiate(&mut g, loss, &[table, gates]).unwrap();
    gradients.iter().for_each(|v| g.output("gradient", *v));
    assert_eq!(count(&g, "Embed"), 2);
    // Three results of tanh and the gradient are alive at once, but no embedding.
    let plan = Plan::new(&g, &|_, _| 0).unwrap();
    let unit = 512 * 64 * 4;
    assert!(plan.arena_bytes() < 4 * unit + unit / 2, "{}", plan.arena_bytes());
}
