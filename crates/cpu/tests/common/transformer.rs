//! A small transformer's training step: every part that a real one has, at sizes of a test.

use kiln_cpu::{Context, Cpu, Isa};
use kiln_graph::ops::{
    AdamWStep, CautiousDecayStep, HeadAxis, LinearCrossEntropy, MuonMomentum, MuonNormalize,
    MuonOrthogonalize, Orthogonalization, Reduction,
};
use kiln_graph::{
    DType, Executor, Feed, Graph, GraphError, ProgramId, TensorType, ValueId, differentiate,
};

use super::Random;

/// Extents of the model and of its batch.
#[derive(Clone, Copy)]
pub struct Sizes {
    pub batch: usize,
    pub tokens: usize,
    pub width: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub layers: usize,
    pub vocab: usize,
    pub padded_vocab: usize,
}

/// What a gate reads of its input.
const GATE: usize = 4;

impl Sizes {
    fn head_dim(&self) -> usize {
        self.width / self.heads
    }

    /// Names and extents of all parameters.
    fn parameters(&self) -> Vec<(String, Vec<usize>)> {
        let (c, kv) = (self.width, self.kv_heads * self.head_dim());
        let mut all = vec![
            ("wte".to_owned(), vec![self.padded_vocab, c]),
            ("value_embed".to_owned(), vec![self.padded_vocab, kv]),
            ("lm_head".to_owned(), vec![self.padded_vocab, c]),
            ("resid_lambdas".to_owned(), vec![self.layers]),
            ("x0_lambdas".to_owned(), vec![self.layers]),
            ("smear_gate".to_owned(), vec![1, GATE]),
            ("backout_lambda".to_owned(), vec![1]),
        ];
        for i in 0..self.layers {
            let matrices = [
                ("q", [c, c]),
                ("k", [kv, c]),
                ("v", [kv, c]),
                ("gate", [self.kv_heads, GATE]),
                ("proj", [c, c]),
                ("up", [4 * c, c]),
                ("down", [c, 4 * c]),
            ];
            all.extend(matrices.map(|(name, dims)| (format!("h.{i}.{name}"), dims.to_vec())));
        }
        all
    }

    /// Forward pass, backward pass, and gradients added onto accumulators. Inputs: ids, targets, keep; output: the loss.
    fn gradient_step(&self) -> Result<Graph, GraphError> {
        let mut graph = Graph::new();
        let g = &mut graph;
        let ids = g.input("ids", TensorType::i32(&[self.batch, self.tokens]));
        let targets = g.input("targets", TensorType::i32(&[self.batch, self.tokens]));
        let keep = g.input("keep", TensorType::f32(&[1]));
        let parameters = self.parameters();
        let wrt: Vec<ValueId> =
            parameters.iter().map(|(name, dims)| g.variable(name, TensorType::f32(dims))).collect();
        let x = self.trunk(g, ids)?;
        let head = self.parameter(g, "lm_head");
        let (vocab, reduction) = (self.vocab, Reduction::Mean);
        let op = LinearCrossEntropy { vocab, softcap: 15.0, reduction };
        let loss = g.linear_cross_entropy(x, head, targets, op)?;
        g.output("loss", loss);
        let gradients = differentiate(g, loss, &wrt)?;
        for ((name, dims), gradient) in parameters.iter().zip(gradients) {
            let accumulator = g.variable(&format!("{name}.grad"), TensorType::f32(dims));
            let sum = g.accumulate(gradient, accumulator, keep)?;
            g.update(accumulator, sum)?;
        }
        Ok(graph)
    }

    fn parameter(&self, g: &mut Graph, name: &str) -> ValueId {
        let all = self.parameters();
        let (_, dims) = all.iter().find(|(n, _)| n == name).expect("a parameter's name");
        g.variable(name, TensorType::f32(dims))
    }

    fn trunk(&self, g: &mut Graph, ids: ValueId) -> Result<ValueId, GraphError> {
        let wte = self.parameter(g, "wte");
        let embedded = g.embed(wte, ids)?;
        let normed = g.rms_norm(embedded)?;
        let gate_input = g.slice_last(normed, 0, GATE)?;
        let smear_gate = self.parameter(g, "smear_gate");
        let gate = g.linear(gate_input, smear_gate)?;
        let before = g.shift_time(normed)?;
        let x0 = g.gated_add(normed, before, gate, 1.0)?;
        let (mut x, mut kept) = (x0, x0);
        let resid = self.parameter(g, "resid_lambdas");
        let skip = self.parameter(g, "x0_lambdas");
        for i in 0..self.layers {
            x = g.blend((x, resid), (x0, skip), i)?;
            x = self.attention(g, i, x, ids)?;
            let normed = g.rms_norm(x)?;
            let up = self.parameter(g, &format!("h.{i}.up"));
            let down = self.parameter(g, &format!("h.{i}.down"));
            let hidden = g.linear_relu_squared(normed, up)?;
            x = g.linear_residual(hidden, down, x)?;
            if i == 0 {
                kept = x;
            }
        }
        let lambda = self.parameter(g, "backout_lambda");
        let back = g.scale_by_scalar(kept, lambda, 0)?;
        let x = g.sub(x, back)?;
        g.rms_norm(x)
    }

    fn attention(
        &self,
        g: &mut Graph,
        i: usize,
        x: ValueId,
        ids: ValueId,
    ) -> Result<ValueId, GraphError> {
        let (b, t, d) = (self.batch, self.tokens, self.head_dim());
        let normed = g.rms_norm(x)?;
        let head = |g: &mut Graph, name: &str, heads: usize| {
            let w = self.parameter(g, &format!("h.{i}.{name}"));
            let y = g.linear(normed, w)?;
            g.reshape(y, &[b, t, heads, d])
        };
        let q = head(g, "q", self.heads)?;
        let k = head(g, "k", self.kv_heads)?;
        let v = head(g, "v", self.kv_heads)?;
        let gate_input = g.slice_last(normed, 0, GATE)?;
        let gate = self.parameter(g, &format!("h.{i}.gate"));
        let gate = g.linear(gate_input, gate)?;
        let table = self.parameter(g, "value_embed");
        let embedded = g.embed(table, ids)?;
        let embedded = g.reshape(embedded, &[b, t, self.kv_heads, d])?;
        let v = g.gated_add(v, embedded, gate, 3.0)?;
        let start = g.zero_positions(b);
        let q = g.rope_norm(q, start, 10_000.0, 1.2)?;
        let k = g.rope_norm(k, start, 10_000.0, 1.2)?;
        let window = if i.is_multiple_of(2) { t / 2 } else { t };
        let y = g.attention(q, k, v, window)?;
        let y = g.reshape(y, &[b, t, self.width])?;
        let proj = self.parameter(g, &format!("h.{i}.proj"));
        g.linear_residual(y, proj, x)
    }

    /// Muon on the matrices of the blocks, AdamW on the rest. Input: the schedule.
    fn optimizer_step(&self) -> Result<Graph, GraphError> {
        let mut graph = Graph::new();
        let g = &mut graph;
        let schedule = g.schedule_input();
        for (name, dims) in self.parameters() {
            let ty = TensorType::f32(&dims);
            let w = g.variable(&name, ty);
            let grad = g.variable(&format!("{name}.grad"), ty);
            let m = g.variable(&format!("{name}.m"), ty);
            if name.starts_with("h.") {
                let s = g.variable(&format!("{name}.s"), MuonNormalize::second_moment(&ty));
                let momentum = g.push(MuonMomentum, &[grad, m, schedule])?;
                let (method, axis) = (Orthogonalization::PolarExpress, HeadAxis::Rows);
                let heads = if name.ends_with(".q") { self.heads } else { 1 };
                let op = MuonOrthogonalize { method, steps: 5, heads, axis, dtype: DType::F32 };
                let x = g.push(op, &[momentum[0]])?[0];
                let normed = g.push(MuonNormalize { beta2: 0.95 }, &[x, s])?;
                let next = g.push(CautiousDecayStep { lr: 0.02 }, &[w, normed[0], schedule])?[0];
                g.update(m, momentum[1])?;
                g.update(s, normed[1])?;
                g.update(w, next)?;
            } else {
                let v = g.variable(&format!("{name}.v"), ty);
                let op =
                    AdamWStep { lr: 0.01, beta1: 0.8, beta2: 0.95, eps: 1e-10, weight_decay: 0.0 };
                let next = g.push(op, &[w, grad, m, v, schedule])?;
                for (variable, value) in [w, m, v].into_iter().zip(next) {
                    g.update(variable, value)?;
                }
            }
        }
        Ok(graph)
    }
}

/// A model in training on a fixed batch.
pub struct Trainer {
    pub cpu: Cpu,
    /// Forward and backward, and the optimizer.
    pub graphs: [Graph; 2],
    programs: [ProgramId; 2],
    ids: Vec<i32>,
    targets: Vec<i32>,
    step: i32,
}

impl Trainer {
    /// The parameters depend on nothing but the sizes.
    pub fn new(isa: Isa, threads: usize, sizes: Sizes) -> Self {
        let graphs = [sizes.gradient_step(), sizes.optimizer_step()];
        let graphs = graphs.map(|graph| graph.expect("the model is sound"));
        let mut cpu = Cpu::new(Context::new(isa, threads));
        let programs = [0, 1].map(|i| cpu.prepare(&graphs[i]).expect("the graph can be planned"));
        let mut random = Random(1);
        for (name, dims) in sizes.parameters() {
            let bound = if name.ends_with("lambdas") { 1.0 } else { 0.3 };
            let values = random.values(dims.iter().product(), bound);
            cpu.write(&name, TensorType::f32(&dims), &values).expect("it is a parameter");
        }
        let n = sizes.batch * sizes.tokens;
        let ids = random.ids(n, sizes.vocab);
        let mut targets = random.ids(n, sizes.vocab);
        targets[0] = -1;
        Trainer { cpu, graphs, programs, ids, targets, step: 0 }
    }

    /// One optimizer step after two micro-batches; returns the loss of each.
    pub fn step(&mut self) -> [f32; 2] {
        let mut losses = [0.0; 2];
        for (micro, loss) in losses.iter_mut().enumerate() {
            let keep = [if micro == 0 { 0.0 } else { 1.0 }];
            let feeds = [Feed::I32(&self.ids), Feed::I32(&self.targets), Feed::F32(&keep)];
            self.cpu.run(self.programs[0], &feeds).expect("the feeds fit");
            *loss = self.cpu.output(self.programs[0], 0)[0];
            // The second micro-batch is another one.
            std::mem::swap(&mut self.ids, &mut self.targets);
            self.ids.iter_mut().for_each(|id| *id = (*id).max(0));
            self.targets[0] = -1;
        }
        self.step += 1;
        let bias = |beta: f32| 1.0 - beta.powi(self.step);
        let schedule = [1.0, 0.9, 0.1, bias(0.8), bias(0.95)];
        self.cpu.run(self.programs[1], &[Feed::F32(&schedule)]).expect("the feeds fit");
        losses
    }

    /// Bits of all variables.
    pub fn bits(&self) -> Vec<(String, Vec<u32>)> {
        let bits = |(name, _): (String, TensorType)| {
            let values = self.cpu.read(&name).expect("it is a variable");
            let bits = values.iter().map(|v| v.to_bits()).collect();
            (name, bits)
        };
        self.cpu.variables().into_iter().map(bits).collect()
    }
}
