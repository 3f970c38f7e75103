//! The plan of a graph: an order of execution, and a place in memory for every value. Made once per graph, it fixes the
//! peak of memory before anything runs.

use crate::arena::{Lifetime, assign};
use crate::schedule::schedule;
use crate::{Graph, GraphError, NodeId, Op, Rule, TensorType, ValueId};

/// Where a value lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// In the working memory, at this offset in bytes.
    Arena(usize),
    /// In a variable (its number among the graph's), at this offset in bytes.
    Variable(usize, usize),
    /// In an input (its number among the graph's), at this offset in bytes.
    Input(usize, usize),
}

impl Place {
    fn advance(self, bytes: usize) -> Place {
        match self {
            Place::Arena(o) => Place::Arena(o + bytes),
            Place::Variable(i, o) => Place::Variable(i, o + bytes),
            Place::Input(i, o) => Place::Input(i, o + bytes),
        }
    }
}

/// One op to execute, with the places of what it reads and writes. An output whose place equals an input's is to be
/// computed in place.
#[derive(Clone, Debug)]
pub struct Step {
    /// What to compute; none: copy the only input to the only output.
    pub op: Option<Op>,
    /// Inputs.
    pub inputs: Vec<(Place, TensorType)>,
    /// Outputs.
    pub outputs: Vec<(Place, TensorType)>,
    /// Working memory of the op: offset in the arena and size in bytes.
    pub scratch: (usize, usize),
}

/// Bytes of working memory that an executor needs for an op, by the types of its inputs.
pub type ScratchSize<'a> = &'a dyn Fn(&Op, &[TensorType]) -> usize;

/// An order of execution with a place for every value.
#[derive(Clone, Debug)]
pub struct Plan {
    steps: Vec<Step>,
    arena_bytes: usize,
    variables: Vec<(String, TensorType)>,
    inputs: Vec<(String, TensorType)>,
    outputs: Vec<(String, Place, TensorType)>,
}

impl Plan {
    /// Plans a graph for an executor whose ops need `scratch` bytes of working memory.
    ///
    /// # Errors
    /// [`GraphError::Cycle`] when a loss was differentiated although its own gradient depends on it.
    pub fn new(graph: &Graph, scratch: ScratchSize<'_>) -> Result<Plan, GraphError> {
        Ok(Planner::new(&graph.with_fused_accumulations())?.plan(scratch))
    }

    /// Steps in order of execution.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Size of the working memory.
    pub fn arena_bytes(&self) -> usize {
        self.arena_bytes
    }

    /// Names and types of the variables, in order of declaration.
    pub fn variables(&self) -> &[(String, TensorType)] {
        &self.variables
    }

    /// Names and types of the inputs, in order of declaration.
    pub fn inputs(&self) -> &[(String, TensorType)] {
        &self.inputs
    }

    /// Names, places and types of the outputs, in order of declaration.
    pub fn outputs(&self) -> &[(String, Place, TensorType)] {
        &self.outputs
    }
}

/// Where a buffer of the arena begins and ends its life.
#[derive(Clone, Copy)]
struct Buffer {
    first: usize,
    last: usize,
    bytes: usize,
}

/// What a value without a place of its own in the arena is.
#[derive(Clone, Copy, PartialEq)]
enum Home {
    Nowhere,
    Buffer(usize),
    Variable(usize),
    Input(usize),
}

struct Planner<'g> {
    graph: &'g Graph,
    order: Vec<NodeId>,
    /// For each value, the value that owns its memory and the offset in it in bytes.
    root: Vec<(ValueId, usize)>,
    /// For each root, the last step that reads it; `usize::MAX` when it is needed after the run.
    last_use: Vec<usize>,
    home: Vec<Home>,
    buffers: Vec<Buffer>,
    /// Variables whose new value is copied into them at the end.
    copies: Vec<(usize, ValueId)>,
}

impl<'g> Planner<'g> {
    fn new(graph: &'g Graph) -> Result<Self, GraphError> {
        let order = schedule(graph)?;
        let mut planner = Planner {
            root: roots(graph),
            last_use: vec![0; graph.value_count()],
            home: vec![Home::Nowhere; graph.value_count()],
            buffers: Vec::new(),
            copies: Vec::new(),
            order,
            graph,
        };
        for (i, variable) in graph.variables().iter().enumerate() {
            planner.home[variable.value.index()] = Home::Variable(i);
        }
        for (i, input) in graph.inputs().iter().enumerate() {
            planner.home[input.value.index()] = Home::Input(i);
        }
        Ok(planner)
    }

    fn node(&self, at: usize) -> &'g crate::Node {
        &self.graph.nodes()[self.order[at].index()]
    }

    fn root_of(&self, value: ValueId) -> ValueId {
        self.root[value.index()].0
    }

    fn plan(mut self, scratch: ScratchSize<'_>) -> Plan {
        for at in 0..self.order.len() {
            for &input in &self.node(at).inputs {
                let root = self.root_of(input);
                self.last_use[root.index()] = at;
            }
        }
        for (_, value) in self.graph.outputs() {
            let root = self.root_of(*value);
            self.last_use[root.index()] = usize::MAX;
        }
        self.place_updates();
        for at in 0..self.order.len() {
            self.place_outputs(at);
        }
        self.finish(scratch)
    }

    /// Decides which new values of variables are computed right where the variable lies: those of a node after every
    /// other reader of the old value.
    fn place_updates(&mut self) {
        let mut position = vec![usize::MAX; self.graph.nodes().len()];
        self.order.iter().enumerate().for_each(|(at, id)| position[id.index()] = at);
        for (i, variable) in self.graph.variables().iter().enumerate() {
            let Some(update) = variable.update else { continue };
            let root = self.root_of(update);
            let at = position[self.graph.producer_id(root).index()];
            let whole = root == update && self.home[root.index()] == Home::Nowhere;
            let named =
                self.graph.outputs().iter().any(|(_, v)| self.root_of(*v) == variable.value);
            if whole && !named && self.may_overwrite(variable.value, update, at) {
                self.home[update.index()] = Home::Variable(i);
                self.place_sums(i, update, &position);
            } else {
                self.last_use[root.index()] = usize::MAX;
                self.copies.push((i, update));
            }
        }
    }

    /// Puts what a new value is added onto right where it lies, too, and so on: sums of a gradient grow in its accumulator.
    fn place_sums(&mut self, variable: usize, update: ValueId, position: &[usize]) {
        let mut sum = update;
        loop {
            let maker = self.graph.producer(sum);
            let onto = maker.op.accumulates().filter(|&o| maker.outputs[o] == sum);
            let Some(&earlier) = onto.and_then(|_| maker.inputs.get(maker.op.arity())) else {
                return;
            };
            let at = position[self.graph.producer_id(sum).index()];
            let before = position[self.graph.producer_id(earlier).index()];
            let free = self.home[earlier.index()] == Home::Nowhere
                && self.root_of(earlier) == earlier
                && self.in_place_input(at, sum) == Some(earlier)
                && self.last_use[earlier.index()] == at
                && self.read_once(earlier);
            let old = self.graph.variables()[variable].value;
            if !free || !self.may_overwrite(old, earlier, before) {
                return;
            }
            self.home[earlier.index()] = Home::Variable(variable);
            sum = earlier;
        }
    }

    /// Whether one node reads a value, once, and no variable takes it over.
    fn read_once(&self, value: ValueId) -> bool {
        let read = self.order.iter().flat_map(|id| &self.graph.nodes()[id.index()].inputs);
        let kept = self.graph.variables().iter().filter_map(|v| v.update.as_ref());
        read.chain(kept).filter(|v| self.root_of(**v) == value).count() == 1
    }

    fn may_overwrite(&self, variable: ValueId, update: ValueId, at: usize) -> bool {
        let readers = (0..self.order.len())
            .filter(|&step| self.node(step).inputs.iter().any(|&v| self.root_of(v) == variable));
        readers.into_iter().all(|step| {
            step < at
                || (step == at && self.in_place_input(step, update).is_some_and(|v| v == variable))
        })
    }

    /// The input that the op at a step may overwrite with `output`, provided that it reads it only there.
    fn in_place_input(&self, at: usize, output: ValueId) -> Option<ValueId> {
        let node = self.node(at);
        node.op.in_place().iter().find_map(|&(o, i)| {
            let input = *node.inputs.get(i).filter(|_| node.outputs[o] == output)?;
            let reads =
                node.inputs.iter().filter(|&&v| self.root_of(v) == self.root_of(input)).count();
            (reads == 1 && self.root_of(input) == input).then_some(input)
        })
    }

    fn place_outputs(&mut self, at: usize) {
        let node = self.node(at);
        let mut taken: Vec<usize> = Vec::new();
        for (o, &output) in node.outputs.iter().enumerate() {
            if self.home[output.index()] != Home::Nowhere {
                continue;
            }
            let bytes = self.graph.tensor_type(output).bytes();
            let last = self.last_use[output.index()].max(at);
            let reusable = node.op.in_place().iter().filter(|(out, _)| *out == o);
            let reused = reusable.filter_map(|&(_, i)| node.inputs.get(i)).find_map(|&input| {
                self.reusable_buffer(at, node, input, bytes).filter(|b| !taken.contains(b))
            });
            let buffer = reused.unwrap_or_else(|| {
                self.buffers.push(Buffer { first: at, last, bytes });
                self.buffers.len() - 1
            });
            self.buffers[buffer].last = last;
            self.home[output.index()] = Home::Buffer(buffer);
            taken.push(buffer);
        }
    }

    /// The buffer of an input that nobody needs after this step.
    fn reusable_buffer(
        &self,
        at: usize,
        node: &crate::Node,
        input: ValueId,
        bytes: usize,
    ) -> Option<usize> {
        let (root, _) = self.root[input.index()];
        let Home::Buffer(buffer) = self.home[root.index()] else { return None };
        let reads = node.inputs.iter().filter(|&&v| self.root_of(v) == root).count();
        let free = self.buffers[buffer].last == at && self.buffers[buffer].bytes == bytes;
        let whole = self.graph.tensor_type(input).bytes() == bytes;
        (free && whole && reads == 1).then_some(buffer)
    }

    /// A buffer for the old value of a variable that changes, when that is where an output lies.
    fn save(&mut self, output: ValueId, end: usize) -> Option<usize> {
        let root = self.root_of(output);
        let old = self.graph.variables().iter().any(|v| v.value == root && v.update.is_some());
        old.then(|| {
            let bytes = self.graph.tensor_type(output).bytes();
            self.buffers.push(Buffer { first: end, last: end, bytes });
            self.buffers.len() - 1
        })
    }

    fn finish(mut self, scratch: ScratchSize<'_>) -> Plan {
        let graph = self.graph;
        let end = self.order.len();
        let values = self.buffers.len();
        for at in 0..end {
            let node = self.node(at);
            let bytes = scratch(&node.op, &graph.input_types(node));
            self.buffers.push(Buffer { first: at, last: at, bytes });
        }
        // Old values of variables that change are named by outputs: they are saved before the variables change.
        let saved: Vec<Option<usize>> =
            graph.outputs().iter().map(|(_, v)| self.save(*v, end)).collect();
        let lifetimes: Vec<Lifetime> = self
            .buffers
            .iter()
            .map(|b| Lifetime { first: b.first, last: b.last.min(end), bytes: b.bytes })
            .collect();
        let (offsets, arena_bytes) = assign(&lifetimes);
        let place = |value: ValueId| {
            let (root, offset) = self.root[value.index()];
            let base = match self.home[root.index()] {
                Home::Buffer(b) => Place::Arena(offsets[b]),
                Home::Variable(i) => Place::Variable(i, 0),
                Home::Input(i) => Place::Input(i, 0),
                Home::Nowhere => unreachable!("every scheduled value has a home"),
            };
            (base.advance(offset), graph.tensor_type(value))
        };
        let mut steps: Vec<Step> = (0..end)
            .map(|at| Step {
                op: Some(self.node(at).op.clone()),
                inputs: self.node(at).inputs.iter().map(|&v| place(v)).collect(),
                outputs: self.node(at).outputs.iter().map(|&v| place(v)).collect(),
                scratch: (offsets[values + at], self.buffers[values + at].bytes),
            })
            .collect();
        let outputs: Vec<(String, Place, TensorType)> = graph
            .outputs()
            .iter()
            .zip(saved)
            .map(|((name, value), saved)| {
                let (from, ty) = place(*value);
                let at = saved.map_or(from, |buffer| Place::Arena(offsets[buffer]));
                if at != from {
                    let (inputs, outputs) = (vec![(from, ty)], vec![(at, ty)]);
                    steps.push(Step { op: None, inputs, outputs, scratch: (0, 0) });
                }
                (name.clone(), at, ty)
            })
            .collect();
        steps.extend(self.copies.iter().map(|&(i, value)| Step {
            op: None,
            inputs: vec![place(value)],
            outputs: vec![(Place::Variable(i, 0), graph.tensor_type(value))],
            scratch: (0, 0),
        }));
        let named = |name: &String, value| (name.clone(), graph.tensor_type(value));
        Plan {
            steps,
            arena_bytes,
            variables: graph.variables().iter().map(|v| named(&v.name, v.value)).collect(),
            inputs: graph.inputs().iter().map(|v| named(&v.name, v.value)).collect(),
            outputs,
        }
    }
}

/// For each value, the value that owns its memory and the offset in it: views are looked through.
fn roots(graph: &Graph) -> Vec<(ValueId, usize)> {
    let mut root: Vec<(ValueId, usize)> =
        (0..graph.value_count()).map(|i| (ValueId(i as u32), 0)).collect();
    for node in graph.nodes() {
        let shift = match &node.op {
            Op::Reshape(_) => 0,
            Op::SliceLeading(slice) => {
                let ty = graph.tensor_type(node.inputs[0]);
                slice.start * (ty.bytes() / ty.shape().dims()[0].max(1))
            }
            _ => continue,
        };
        let (base, offset) = root[node.inputs[0].index()];
        root[node.outputs[0].index()] = (base, offset + shift);
    }
    root
}
