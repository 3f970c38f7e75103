//! Plans against evaluation node by node: whatever a plan overwrites, nobody may miss.

mod common;

use kiln_cpu::{Context, Cpu, Isa};
use kiln_graph::ops::*;
use kiln_graph::{DType, Executor, Feed, Graph, Node, Op, ProgramId, Shape, TensorType, ValueId};
use proptest::prelude::*;

use common::Random;

const X: [usize; 3] = [2, 3, 4];
const FLAT: [usize; 2] = [6, 4];
const PART: [usize; 3] = [1, 3, 4];
const HALF: [usize; 3] = [2, 3, 2];
const MATRIX: [usize; 2] = [4, 4];
const ROWS: [usize; 2] = [2, 3];
const ONE: [usize; 1] = [1];

/// One op to append: which (the lowest byte), and where among the fitting values its inputs come from (11 bits each).
type Choice = u64;

/// A random graph under construction.
struct Grower {
    graph: Graph,
    values: Vec<ValueId>,
    schedule: ValueId,
}

impl Grower {
    fn new() -> Self {
        let mut graph = Graph::new();
        let mut values = Vec::new();
        for (name, dims) in [
            ("xa", &X[..]),
            ("xb", &X),
            ("flat", &FLAT),
            ("part", &PART),
            ("matrix", &MATRIX),
            ("rows", &ROWS),
            ("one", &ONE),
        ] {
            values.push(graph.variable(name, TensorType::f32(dims)));
        }
        for (name, dims) in [("x", &X[..]), ("w", &MATRIX), ("h", &HALF), ("keep", &ONE)] {
            values.push(graph.input(name, TensorType::f32(dims)));
        }
        let schedule = graph.schedule_input();
        Grower { graph, values, schedule }
    }

    /// A value of these extents; there always is one.
    fn pick(&self, dims: &[usize], choice: u16) -> ValueId {
        let ty = TensorType::f32(dims);
        let fits = |v: &&ValueId| self.graph.tensor_type(**v) == ty;
        let fitting: Vec<ValueId> = self.values.iter().filter(fits).copied().collect();
        // Half of the time one of the latest, so that chains grow long.
        let recent = if choice.is_multiple_of(2) { fitting.len().min(3) } else { fitting.len() };
        fitting[fitting.len() - 1 - usize::from(choice >> 1) % recent]
    }

    fn push(&mut self, op: impl Into<Op>, inputs: &[ValueId]) {
        let outputs = self.graph.push(op, inputs).expect("inputs were picked by type");
        self.values.extend(outputs);
    }

    /// Like [`push`](Self::push), with an accumulator of these extents where the choice says so.
    fn push_onto(&mut self, op: impl Into<Op>, inputs: &[ValueId], dims: &[usize], choice: u16) {
        let mut inputs = inputs.to_vec();
        if !choice.is_multiple_of(3) {
            inputs.push(self.pick(dims, choice / 3));
        }
        self.push(op, &inputs);
    }

    fn grow(&mut self, choice: Choice) {
        let kind = choice % 256;
        let c: [u16; 5] = std::array::from_fn(|i| (choice >> (8 + 11 * i) & 0x7ff) as u16);
        let x = |at: usize| self.pick(&X, c[at]);
        let (a, b, d) = (x(0), x(1), x(2));
        let (w, r) = (self.pick(&MATRIX, c[3]), self.pick(&ROWS, c[3]));
        let (s, t) = (self.pick(&ONE, c[3]), self.pick(&ONE, c[4]));
        let dtype = DType::F32;
        let linear = |epilogue| Linear { epilogue, dtype };
        match kind % 40 {
            0 => self.push(Add, &[a, b]),
            1 => self.push(Sub, &[a, b]),
            2 => self.push(Mul, &[a, b]),
            3 => self.push(Scale { factor: -0.75 }, &[a]),
            4 => self.push(Tanh, &[a]),
            5 => self.push(Sigmoid, &[a]),
            6 => self.push(ReluSquared, &[a]),
            7 => self.push(ReluSquaredGrad, &[a, b]),
            8 => self.push(SwiGlu, &[a, b]),
            9 => self.push(SwiGluGrad, &[a, b, d]),
            10 => self.push(RmsNorm { eps: 1e-6, dtype }, &[a]),
            11 => self.push_onto(RmsNormGrad, &[a, r, b], &X, c[4]),
            12 => self.push(linear(Epilogue::None), &[a, w]),
            13 => self.push(linear(Epilogue::Residual), &[a, w, b]),
            14 => self.push(linear(Epilogue::ReluSquared), &[a, w]),
            15 => self.push_onto(LinearGradInput { relu_squared: false, dtype }, &[a, w], &X, c[4]),
            16 => self.push_onto(LinearGradWeight, &[a, b], &MATRIX, c[4]),
            17 => {
                let accumulator = self.pick(&MATRIX, c[3]);
                self.push(LinearGradWeight, &[a, b, accumulator, t]);
            }
            18 => self.push(Blend { index: 0 }, &[a, b, s, t]),
            19 => self.push_onto(BlendGrad { index: 0 }, &[a, b, s, s, d], &X, c[4]),
            20 => self.push(GatedAdd { scale: 3.0 }, &[a, b, r]),
            21 => self.push(GatedAddGrad { scale: 3.0 }, &[a, r, b]),
            22 => self.push(SliceLast { start: 1, len: 2, dtype }, &[a]),
            23 => {
                let half = self.pick(&HALF, c[0]);
                self.push_onto(PadLast { start: 2, width: 4 }, &[half], &X, c[4]);
            }
            24 => self.push_onto(ShiftTime { back: c[3].is_multiple_of(2) }, &[a], &X, c[4]),
            25 => self.push(Sum, &[a]),
            26 => self.push(DotAt { index: 0, len: 1 }, &[a, b]),
            27 => self.push(Expand { shape: Shape::new(&X) }, &[s]),
            28 => self.push(Reshape { shape: Shape::new(&FLAT) }, &[a]),
            29 => {
                let flat = self.pick(&FLAT, c[0]);
                self.push(Reshape { shape: Shape::new(&X) }, &[flat]);
            }
            30 => {
                let (p, q) = (self.pick(&FLAT, c[0]), self.pick(&FLAT, c[1]));
                self.push(Add, &[p, q]);
            }
            31 => self.push(SliceLeading { start: usize::from(c[3] % 2), len: 1 }, &[a]),
            32 => {
                let (p, q) = (self.pick(&PART, c[0]), self.pick(&PART, c[1]));
                self.push(Sub, &[p, q]);
            }
            33 => self.push(Accumulate, &[a, b, s]),
            34 => {
                let (p, q) = (self.pick(&MATRIX, c[0]), self.pick(&MATRIX, c[1]));
                self.push(Accumulate, &[p, q, s]);
            }
            35 => self.push(MuonMomentum, &[a, b, self.schedule]),
            36 => {
                let op =
                    AdamWStep { lr: 0.1, beta1: 0.8, beta2: 0.9, eps: 1e-3, weight_decay: 0.1 };
                // A second moment is no negative number.
                self.push(ReluSquared, &[d]);
                let v = *self.values.last().expect("just pushed");
                self.push(op, &[a, b, d, v, self.schedule]);
            }
            37 => {
                let (p, q) = (self.pick(&MATRIX, c[0]), self.pick(&MATRIX, c[1]));
                self.push(CautiousDecayStep { lr: 0.1 }, &[p, q, self.schedule]);
            }
            38 => {
                // relu² is what the op takes its input for.
                self.push(ReluSquared, &[b]);
                let h = *self.values.last().expect("just pushed");
                self.push(LinearGradInput { relu_squared: true, dtype }, &[a, w, h]);
            }
            _ => {
                let op =
                    if c[3].is_multiple_of(2) { Op::from(SigmoidGrad) } else { Op::from(TanhGrad) };
                self.push(op, &[a, b]);
            }
        }
    }

    /// Names outputs and gives variables new values.
    fn finish(mut self, outputs: &[u16], updates: &[u16]) -> Graph {
        for choice in outputs {
            let value = self.values[usize::from(*choice) % self.values.len()];
            if !lies_in_input(&self.graph, value) {
                self.graph.output("out", value);
            }
        }
        let variables: Vec<ValueId> = self.graph.variables().iter().map(|v| v.value).collect();
        for (variable, choice) in variables.into_iter().zip(updates) {
            let dims = self.graph.tensor_type(variable).shape();
            let value = self.pick(dims.dims(), *choice);
            // Leaves and views are refused: then the variable keeps its value.
            let _ = self.graph.update(variable, value);
        }
        self.graph
    }
}

/// The graph as text, for failures.
fn listing(graph: &Graph) -> String {
    let number = |v: &ValueId| v.index();
    let line = |node: &Node| {
        let (inputs, outputs): (Vec<_>, Vec<_>) =
            (node.inputs.iter().map(number).collect(), node.outputs.iter().map(number).collect());
        format!("{outputs:?} = {}{inputs:?}\n", node.op.name())
    };
    let outputs: Vec<usize> = graph.outputs().iter().map(|(_, v)| v.index()).collect();
    let updates: Vec<_> =
        graph.variables().iter().map(|v| (&v.name, v.update.map(ValueId::index))).collect();
    let nodes: String = graph.nodes().iter().map(line).collect();
    format!("{nodes}outputs {outputs:?}\nupdates {updates:?}")
}

fn lies_in_input(graph: &Graph, value: ValueId) -> bool {
    let node = graph.producer(value);
    match node.op {
        Op::InputValue(_) => true,
        Op::Reshape(_) | Op::SliceLeading(_) => lies_in_input(graph, node.inputs[0]),
        _ => false,
    }
}

/// The variables' values, in order of declaration.
type State = Vec<Vec<f32>>;

/// Evaluates a graph node by node, every value in memory of its own: each op is run as a graph of itself alone.
struct Reference<'g> {
    graph: &'g Graph,
    cpu: Cpu,
    programs: Vec<Option<ProgramId>>,
}

impl<'g> Reference<'g> {
    fn new(graph: &'g Graph) -> Self {
        let mut cpu = Cpu::new(Context::new(Isa::detect(), 1));
        let programs = graph
            .nodes()
            .iter()
            .map(|node| Some(cpu.prepare(&alone(graph, node)?).expect("one op can be planned")))
            .collect();
        Reference { graph, cpu, programs }
    }

    /// Outputs of one run; the state becomes that after it.
    fn run(&mut self, state: &mut State, feeds: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let graph = self.graph;
        let mut values: Vec<Vec<f32>> = vec![Vec::new(); graph.value_count()];
        for (variable, held) in graph.variables().iter().zip(state.iter()) {
            values[variable.value.index()] = held.clone();
        }
        for (input, fed) in graph.inputs().iter().zip(feeds) {
            values[input.value.index()] = fed.clone();
        }
        for (node, program) in graph.nodes().iter().zip(&self.programs) {
            let inputs: Vec<Feed<'_>> =
                node.inputs.iter().map(|v| Feed::F32(&values[v.index()])).collect();
            let outputs: Vec<Vec<f32>> = match (&node.op, program) {
                (Op::Reshape(_), _) => vec![values[node.inputs[0].index()].clone()],
                (Op::SliceLeading(slice), _) => {
                    let x = &values[node.inputs[0].index()];
                    let entry = x.len() / graph.tensor_type(node.inputs[0]).shape().dims()[0];
                    vec![x[slice.start * entry..(slice.start + slice.len) * entry].to_vec()]
                }
                (_, None) => continue,
                (_, Some(program)) => {
                    self.cpu.run(*program, &inputs).expect("the feeds fit");
                    let read = |i| self.cpu.output(*program, i).to_vec();
                    (0..node.outputs.len()).map(read).collect()
                }
            };
            for (value, found) in node.outputs.iter().zip(outputs) {
                values[value.index()] = found;
            }
        }
        for (variable, held) in graph.variables().iter().zip(state) {
            if let Some(update) = variable.update {
                held.clone_from(&values[update.index()]);
            }
        }
        graph.outputs().iter().map(|(_, v)| values[v.index()].clone()).collect()
    }
}

/// A graph of one op on inputs; none for leaves and views.
fn alone(graph: &Graph, node: &Node) -> Option<Graph> {
    if matches!(
        node.op,
        Op::VariableValue(_) | Op::InputValue(_) | Op::Reshape(_) | Op::SliceLeading(_)
    ) {
        return None;
    }
    let mut own = Graph::new();
    let inputs: Vec<ValueId> =
        node.inputs.iter().map(|v| own.input("input", graph.tensor_type(*v))).collect();
    for value in own.push(node.op.clone(), &inputs).expect("the op took such inputs before") {
        own.output("output", value);
    }
    Some(own)
}

/// The same bits; one NaN is as good as another.
fn same(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()))
}

/// Runs a graph twice, planned and node by node, from the same state.
fn compare(graph: &Graph, seed: u64) -> Result<(), TestCaseError> {
    let mut random = Random(seed);
    let mut draw = |ty: TensorType| random.values(ty.len(), 1.0);
    let types = |values: Vec<ValueId>| values.into_iter().map(|v| graph.tensor_type(v));
    let variables: Vec<ValueId> = graph.variables().iter().map(|v| v.value).collect();
    let inputs: Vec<ValueId> = graph.inputs().iter().map(|v| v.value).collect();
    let mut state: State = types(variables).map(&mut draw).collect();
    let mut cpu = Cpu::new(Context::new(Isa::detect(), 1));
    let program = cpu.prepare(graph).expect("the graph can be planned");
    for (variable, values) in graph.variables().iter().zip(&state) {
        cpu.write(&variable.name, graph.tensor_type(variable.value), values).expect("it fits");
    }
    let mut reference = Reference::new(graph);
    for keep in [0.5, 0.0] {
        let mut feeds: Vec<Vec<f32>> = types(inputs.clone()).map(&mut draw).collect();
        feeds[3] = vec![keep];
        feeds[4] = vec![0.7, 0.9, 0.1, 0.5, 0.3];
        let wanted = reference.run(&mut state, &feeds);
        let given: Vec<Feed<'_>> = feeds.iter().map(|f| Feed::F32(f)).collect();
        cpu.run(program, &given).expect("the feeds fit");
        for (i, wanted) in wanted.iter().enumerate() {
            let found = cpu.output(program, i);
            let text = listing(graph);
            prop_assert!(same(found, wanted), "output {i}: {found:?}, not {wanted:?}\n{text}");
        }
        for (variable, wanted) in graph.variables().iter().zip(&state) {
            let found = cpu.read(&variable.name).expect("it exists");
            let (name, text) = (&variable.name, listing(graph));
            prop_assert!(same(found, wanted), "{name}: {found:?}, not {wanted:?}\n{text}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_computes_what_its_graph_says(
        choices in prop::collection::vec(any::<Choice>(), 1..40),
        outputs in prop::collection::vec(any::<u16>(), 1..6),
        updates in prop::collection::vec(any::<u16>(), 7),
        seed in any::<u64>(),
    ) {
        let mut grower = Grower::new();
        choices.into_iter().for_each(|choice| grower.grow(choice));
        compare(&grower.finish(&outputs, &updates), seed)?;
    }
}
