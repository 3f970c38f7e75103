//! The graph: nodes appended in order, the variables that they read and the new values that variables get.

use crate::ops::{Op, Rule};
use crate::{GraphError, TensorType};

/// A value of a graph: one output of one node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ValueId(pub(crate) u32);

/// A node of a graph.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct NodeId(pub(crate) u32);

impl ValueId {
    /// Position among the graph's values.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl NodeId {
    /// Position among the graph's nodes.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// An op with its inputs and outputs.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it computes.
    pub op: Op,
    /// Values that it reads.
    pub inputs: Vec<ValueId>,
    /// Values that it makes.
    pub outputs: Vec<ValueId>,
}

/// State that outlives a run: a parameter, a gradient accumulator, an optimizer moment, a cache. Graphs that name the
/// same variable share it.
#[derive(Clone, Debug)]
pub struct Variable {
    /// Unique name.
    pub name: String,
    /// Its value at the beginning of a run.
    pub value: ValueId,
    /// Its value after the run, when the graph changes it.
    pub update: Option<ValueId>,
}

/// A value given anew for every run.
#[derive(Clone, Debug)]
pub struct Input {
    /// Unique name.
    pub name: String,
    /// The value.
    pub value: ValueId,
}

#[derive(Clone, Debug)]
struct ValueInfo {
    ty: TensorType,
    node: NodeId,
}

/// A computation: ops on values, appended in an order in which they can run.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    values: Vec<ValueInfo>,
    /// Where a value was replaced by another: differentiation fuses a loss with its gradient.
    replaced: Vec<Option<ValueId>>,
    variables: Vec<Variable>,
    inputs: Vec<Input>,
    outputs: Vec<(String, ValueId)>,
    /// Nodes that differentiation computes again, as ranges of node numbers in order.
    regions: Vec<std::ops::Range<usize>>,
}

/// The beginning of a region of a graph.
#[derive(Debug)]
pub struct RegionStart(usize);

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Graph::default()
    }

    /// Appends a node and returns its outputs.
    ///
    /// # Errors
    /// When the op cannot take inputs of these types.
    pub fn push(
        &mut self,
        op: impl Into<Op>,
        inputs: &[ValueId],
    ) -> Result<Vec<ValueId>, GraphError> {
        let op = op.into();
        let inputs: Vec<ValueId> = inputs.iter().map(|&v| self.resolve(v)).collect();
        let types: Vec<TensorType> = inputs.iter().map(|&v| self.tensor_type(v)).collect();
        let outputs = op.infer(&types).map_err(|reason| GraphError::Shape {
            op: op.name(),
            reason,
            inputs: types,
        })?;
        Ok(self.append(op, inputs, &outputs))
    }

    /// Appends a node with one output.
    pub(crate) fn push1(
        &mut self,
        op: impl Into<Op>,
        inputs: &[ValueId],
    ) -> Result<ValueId, GraphError> {
        Ok(self.push(op, inputs)?[0])
    }

    /// Appends a node like another, on inputs of the same types.
    pub(crate) fn repeat(&mut self, node: &Node, inputs: Vec<ValueId>) -> Vec<ValueId> {
        let types: Vec<TensorType> = node.outputs.iter().map(|&v| self.tensor_type(v)).collect();
        self.append(node.op.clone(), inputs, &types)
    }

    fn append(&mut self, op: Op, inputs: Vec<ValueId>, types: &[TensorType]) -> Vec<ValueId> {
        let node = NodeId(self.nodes.len() as u32);
        let first = self.values.len() as u32;
        self.values.extend(types.iter().map(|&ty| ValueInfo { ty, node }));
        self.replaced.resize(self.values.len(), None);
        let outputs: Vec<ValueId> = (first..first + types.len() as u32).map(ValueId).collect();
        self.nodes.push(Node { op, inputs, outputs: outputs.clone() });
        outputs
    }

    /// The value of the variable of that name at the beginning of a run, declared on first use.
    ///
    /// # Panics
    /// When the name was declared with another type.
    pub fn variable(&mut self, name: &str, ty: TensorType) -> ValueId {
        if let Some(variable) = self.variables.iter().find(|v| v.name == name) {
            let found = self.tensor_type(variable.value);
            assert_eq!(found, ty, "variable {name} declared twice");
            return variable.value;
        }
        let value = self.append(Op::from(crate::ops::VariableValue), vec![], &[ty])[0];
        self.variables.push(Variable { name: name.to_owned(), value, update: None });
        value
    }

    /// Declares an input; runs are given inputs in the order of declaration.
    pub fn input(&mut self, name: &str, ty: TensorType) -> ValueId {
        let value = self.append(Op::from(crate::ops::InputValue), vec![], &[ty])[0];
        self.inputs.push(Input { name: name.to_owned(), value });
        value
    }

    /// Begins a region, up to [`end_region`](Self::end_region): its values are not kept for the backward pass but computed
    /// again there, from those that the region reads from outside (gradient checkpointing, Chen et al. 2016).
    pub fn begin_region(&self) -> RegionStart {
        RegionStart(self.nodes.len())
    }

    /// Ends a region.
    ///
    /// # Panics
    /// When another region ended since it began: regions follow one another.
    pub fn end_region(&mut self, start: RegionStart) {
        let before = self.regions.last().map_or(0, |r| r.end);
        assert!(before <= start.0, "regions do not overlap");
        self.regions.push(start.0..self.nodes.len());
    }

    /// The regions, in order.
    pub(crate) fn regions(&self) -> &[std::ops::Range<usize>] {
        &self.regions
    }

    /// Names a value that is to be read after a run.
    pub fn output(&mut self, name: &str, value: ValueId) {
        let value = self.resolve(value);
        self.outputs.push((name.to_owned(), value));
    }

    /// Gives a variable a new value at the end of the run.
    ///
    /// # Errors
    /// When the types differ, when the variable already has a new value, or when the new value is not computed here.
    pub fn update(&mut self, variable: ValueId, value: ValueId) -> Result<(), GraphError> {
        let value = self.resolve(value);
        let (from, to) = (self.tensor_type(value), self.tensor_type(variable));
        let computed = !matches!(
            self.producer(value).op,
            Op::VariableValue(_) | Op::InputValue(_) | Op::Reshape(_) | Op::SliceLeading(_)
        );
        let slot = self.variables.iter_mut().find(|v| v.value == variable);
        let slot = slot.expect("only variables are updated");
        let reason = if from != to {
            "the types differ"
        } else if slot.update.is_some() {
            "it already has a new value"
        } else if !computed {
            "the new value is not computed by this graph"
        } else {
            slot.update = Some(value);
            return Ok(());
        };
        Err(GraphError::Update { name: slot.name.clone(), types: Box::new([to, from]), reason })
    }

    /// Element type and shape of a value.
    pub fn tensor_type(&self, value: ValueId) -> TensorType {
        self.values[value.index()].ty
    }

    /// The node that makes a value.
    pub fn producer(&self, value: ValueId) -> &Node {
        &self.nodes[self.producer_id(value).index()]
    }

    /// The number of the node that makes a value.
    pub fn producer_id(&self, value: ValueId) -> NodeId {
        self.values[value.index()].node
    }

    /// All nodes, in order of creation.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Number of values.
    pub fn value_count(&self) -> usize {
        self.values.len()
    }

    /// The variables, in order of declaration.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// The inputs, in order of declaration.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// The named outputs, in order of declaration.
    pub fn outputs(&self) -> &[(String, ValueId)] {
        &self.outputs
    }

    /// Types of a node's inputs.
    pub fn input_types(&self, node: &Node) -> Vec<TensorType> {
        node.inputs.iter().map(|&v| self.tensor_type(v)).collect()
    }

    /// Floating-point operations of one run: products count 2 per multiply-add, other ops are not counted.
    pub fn flops(&self) -> u64 {
        let live = crate::schedule::live_nodes(self);
        let nodes = self.nodes.iter().zip(live).filter(|(_, live)| *live);
        nodes.map(|(node, _)| node.op.flops(&self.input_types(node))).sum()
    }

    /// What a value was replaced by, or itself.
    pub(crate) fn resolve(&self, mut value: ValueId) -> ValueId {
        while let Some(next) = self.replaced[value.index()] {
            value = next;
        }
        value
    }

    /// Makes every use of `old`, past and future, a use of `new`.
    pub(crate) fn replace(&mut self, old: ValueId, new: ValueId) {
        debug_assert_eq!(self.tensor_type(old), self.tensor_type(new));
        self.replaced[old.index()] = Some(new);
        let swap = |v: &mut ValueId| {
            if *v == old {
                *v = new
            }
        };
        self.nodes.iter_mut().flat_map(|n| &mut n.inputs).for_each(swap);
        self.outputs.iter_mut().map(|(_, v)| v).for_each(swap);
        self.variables.iter_mut().filter_map(|v| v.update.as_mut()).for_each(swap);
    }

    /// Adds inputs to a node that takes optional ones. The caller knows that they exist before it.
    pub(crate) fn extend_inputs(&mut self, node: NodeId, more: &[ValueId]) {
        self.nodes[node.index()].inputs.extend_from_slice(more);
    }

    /// A new value that accumulates: `keep[0]·accumulator + gradient`, where `keep` 0 never reads the accumulator. The
    /// product that made the gradient does it in its own write-back where it can.
    ///
    /// # Errors
    /// When the types do not fit.
    pub fn accumulate(
        &mut self,
        gradient: ValueId,
        accumulator: ValueId,
        keep: ValueId,
    ) -> Result<ValueId, GraphError> {
        self.push1(crate::ops::Accumulate, &[gradient, accumulator, keep])
    }

    /// A copy in which products that feed nothing but an accumulation do it in their own write-back. Of several that add up
    /// to one gradient, the first goes on from the accumulator.
    pub(crate) fn with_fused_accumulations(&self) -> Graph {
        let mut graph = self.clone();
        for index in 0..graph.nodes.len() {
            let node = &graph.nodes[index];
            let (Op::Accumulate(_), &[gradient, accumulator, keep]) = (&node.op, &node.inputs[..])
            else {
                continue;
            };
            let sum = node.outputs[0];
            // Both exist before anything runs, so that the order of nodes stays one in which they can run.
            let leaf = |v| matches!(graph.producer(v).op, Op::VariableValue(_) | Op::InputValue(_));
            if leaf(accumulator)
                && leaf(keep)
                && let Some(first) = graph.first_of_sum(gradient)
            {
                graph.extend_inputs(first, &[accumulator, keep]);
                graph.replace(sum, gradient);
            }
        }
        graph
    }

    /// The node that makes a gradient, or of several that add onto one another the first, where nobody else reads what they
    /// make and it can scale what it adds onto.
    fn first_of_sum(&self, gradient: ValueId) -> Option<NodeId> {
        let id = self.producer_id(gradient);
        let maker = &self.nodes[id.index()];
        let own = maker.op.accumulates().is_some_and(|o| maker.outputs[o] == gradient);
        if !own || self.uses(gradient) != 1 {
            return None;
        }
        match maker.inputs[maker.op.arity()..] {
            [] => {
                let scales = matches!(
                    maker.op,
                    Op::LinearGradWeight(_) | Op::EmbedGrad(_) | Op::LinearCrossEntropyGrad(_)
                );
                scales.then_some(id)
            }
            [earlier] => self.first_of_sum(earlier),
            _ => None,
        }
    }

    /// How often a value is read, named or becomes a variable's.
    fn uses(&self, value: ValueId) -> usize {
        let read = self.nodes.iter().flat_map(|n| &n.inputs);
        let named = self.outputs.iter().map(|(_, v)| v);
        let kept = self.variables.iter().filter_map(|v| v.update.as_ref());
        read.chain(named).chain(kept).filter(|v| **v == value).count()
    }
}
