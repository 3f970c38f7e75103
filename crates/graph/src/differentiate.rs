//! Reverse-mode differentiation, graph to graph.

use std::collections::HashMap;
use std::ops::Range;

use crate::ops::Rule;
use crate::{DType, Graph, GraphError, Node, NodeId, Op, ValueId};

/// Appends the gradient of the scalar `loss` with respect to each value of `wrt`, and returns the gradients in that order,
/// all f32.
///
/// On the way the gradient of an f32 value is f32. That of a bf16 value may be bf16 where it has one contribution; sums are
/// f32.
///
/// Losses may be replaced on the way by nodes that yield loss and gradient at once; outputs already named stay right.
///
/// # Errors
/// When the loss is no scalar, does not depend on one of `wrt`, or reaches it through an op without derivative.
pub fn differentiate(
    graph: &mut Graph,
    loss: ValueId,
    wrt: &[ValueId],
) -> Result<Vec<ValueId>, GraphError> {
    let seed = seed(graph, loss)?;
    differentiate_from(graph, &[(loss, seed)], wrt)
}

fn seed(graph: &mut Graph, loss: ValueId) -> Result<ValueId, GraphError> {
    let found = graph.tensor_type(loss);
    if found.len() != 1 {
        return Err(GraphError::NotScalar { found });
    }
    Ok(graph.constant(1.0, found.shape().dims()))
}

/// Like [`differentiate`], of `sum(value · cotangent)` over the given pairs.
///
/// # Errors
/// As of [`differentiate`].
pub(crate) fn differentiate_from(
    graph: &mut Graph,
    seeds: &[(ValueId, ValueId)],
    wrt: &[ValueId],
) -> Result<Vec<ValueId>, GraphError> {
    let forward_nodes = graph.nodes().len();
    let mut backward = Backward {
        cotangents: vec![None; graph.value_count()],
        before_epilogue: vec![None; graph.value_count()],
        wanted: depends_on(graph, wrt),
        contributions: contributions(graph, seeds, wrt),
        fresh: 0,
        graph,
    };
    for &(value, cotangent) in seeds {
        backward.add(value, cotangent)?;
    }
    let regions: Vec<Range<usize>> = backward.graph.regions().to_vec();
    let mut end = forward_nodes;
    while end > 0 {
        match regions.iter().find(|region| region.end == end && !region.is_empty()) {
            Some(region) => {
                backward.region(region.clone())?;
                end = region.start;
            }
            None => {
                end -= 1;
                let node = backward.graph.nodes()[end].clone();
                backward.node(&node)?;
            }
        }
    }
    let mut gradients = Vec::with_capacity(wrt.len());
    for &value in wrt {
        let gradient = backward.cotangents[value.index()]
            .ok_or_else(|| GraphError::NoDependence { name: name_of(backward.graph, value) })?;
        gradients.push(backward.graph.cast(gradient, DType::F32)?);
    }
    Ok(gradients)
}

/// For each value, how many gradients may be added up to its own: one for each time that a node reads it, each seed, and
/// each time that it is wanted itself.
fn contributions(graph: &Graph, seeds: &[(ValueId, ValueId)], wrt: &[ValueId]) -> Vec<usize> {
    let mut count = vec![0; graph.value_count()];
    let read = graph.nodes().iter().flat_map(|node| &node.inputs);
    let seeded = seeds.iter().map(|(value, _)| value);
    read.chain(seeded).chain(wrt).for_each(|value| count[value.index()] += 1);
    count
}

fn name_of(graph: &Graph, value: ValueId) -> String {
    let named = graph.variables().iter().find(|v| v.value == value);
    named.map_or_else(|| format!("value {}", value.index()), |v| v.name.clone())
}

/// For each value, whether it depends on one of `wrt`.
fn depends_on(graph: &Graph, wrt: &[ValueId]) -> Vec<bool> {
    let mut depends = vec![false; graph.value_count()];
    wrt.iter().for_each(|v| depends[v.index()] = true);
    for node in graph.nodes() {
        if node.inputs.iter().any(|v| depends[v.index()]) {
            node.outputs.iter().for_each(|v| depends[v.index()] = true);
        }
    }
    depends
}

/// A backward pass under way: what derivative rules read gradients from and add gradients to.
pub struct Backward<'g> {
    /// The graph that grows.
    pub graph: &'g mut Graph,
    cotangents: Vec<Option<ValueId>>,
    /// The gradient of what an epilogue turned into a value, where it was made in place of the value's own.
    before_epilogue: Vec<Option<ValueId>>,
    wanted: Vec<bool>,
    contributions: Vec<usize>,
    /// Nodes from here on were made by the rule that is running.
    fresh: usize,
}

impl Backward<'_> {
    /// Gradient of an output of the node at hand; zeros where nothing depends on that output.
    ///
    /// # Errors
    /// Never in practice; rules pass it on with `?`.
    pub fn upstream(&mut self, output: ValueId) -> Result<ValueId, GraphError> {
        if let Some(found) = self.cotangents[output.index()] {
            return Ok(found);
        }
        let shape = self.graph.tensor_type(output).shape();
        Ok(self.graph.constant(0.0, shape.dims()))
    }

    /// [`upstream`](Self::upstream) with elements of type `dtype`.
    ///
    /// # Errors
    /// When `dtype` is no float.
    pub fn upstream_as(&mut self, output: ValueId, dtype: DType) -> Result<ValueId, GraphError> {
        let gradient = self.upstream(output)?;
        self.graph.cast(gradient, dtype)
    }

    /// [`upstream`](Self::upstream) with elements of the output's own type.
    ///
    /// # Errors
    /// When the output is of no float type.
    pub fn upstream_like(&mut self, output: ValueId) -> Result<ValueId, GraphError> {
        self.upstream_as(output, self.graph.tensor_type(output).dtype())
    }

    /// The element type that a gradient of this value is best made in: bf16 where it is all of the gradient of a bf16 value,
    /// else f32.
    pub fn gradient_dtype(&self, value: ValueId) -> DType {
        match self.graph.tensor_type(value).dtype() {
            DType::Bf16 if self.is_read_once(value) => DType::Bf16,
            _ => DType::F32,
        }
    }

    /// Whether one node reads this value once, and nothing else has a part in its gradient.
    pub fn is_read_once(&self, value: ValueId) -> bool {
        self.contributions[value.index()] == 1
    }

    /// Gives the whole gradient of what an epilogue made `value` from; the value's own is never made then. Only for a
    /// value that [is read once](Self::is_read_once).
    pub fn set_before_epilogue(&mut self, value: ValueId, gradient: ValueId) {
        debug_assert!(self.is_read_once(value) && !self.has_gradient(value));
        self.before_epilogue[value.index()] = Some(gradient);
    }

    /// What [`set_before_epilogue`](Self::set_before_epilogue) gave for an output of the node at hand.
    pub fn before_epilogue(&self, output: ValueId) -> Option<ValueId> {
        self.before_epilogue[output.index()]
    }

    /// Adds the gradients of a node's inputs, where it is reached and they are of use.
    fn node(&mut self, node: &Node) -> Result<(), GraphError> {
        let reached = node.outputs.iter().any(|&v| self.has_gradient(v));
        if reached && node.outputs.iter().any(|&v| self.wanted[v.index()]) {
            self.fresh = self.graph.nodes().len();
            node.op.derive(node, self)?;
        }
        Ok(())
    }

    /// The same for a region, whose nodes are first appended anew: rules then read the values of these, and nothing keeps
    /// those of the forward pass. What of the copies nobody reads is never computed.
    fn region(&mut self, region: Range<usize>) -> Result<(), GraphError> {
        let nodes = self.graph.nodes()[region].to_vec();
        let reached = |node: &Node| node.outputs.iter().any(|&v| self.has_gradient(v));
        if !nodes.iter().any(reached) {
            return Ok(());
        }
        let mut again: HashMap<ValueId, ValueId> = HashMap::new();
        let mut copies = Vec::new();
        for node in nodes {
            // Variables and inputs are there all the time.
            if matches!(node.op, Op::VariableValue(_) | Op::InputValue(_)) {
                continue;
            }
            let inputs = node.inputs.iter().map(|v| *again.get(v).unwrap_or(v)).collect();
            let outputs = self.graph.repeat(&node, inputs);
            again.extend(node.outputs.iter().copied().zip(outputs));
            copies.push(self.graph.nodes()[self.graph.nodes().len() - 1].clone());
        }
        self.take_over(&again);
        for node in copies.iter().rev() {
            self.node(node)?;
        }
        for (&value, &copy) in &again {
            self.cotangents[value.index()] = self.cotangents[copy.index()];
        }
        Ok(())
    }

    /// Gives copies what is known of the values that they are copies of.
    fn take_over(&mut self, again: &HashMap<ValueId, ValueId>) {
        let count = self.graph.value_count();
        self.cotangents.resize(count, None);
        self.before_epilogue.resize(count, None);
        self.wanted.resize(count, false);
        self.contributions.resize(count, 0);
        for (value, copy) in again.iter().map(|(v, c)| (v.index(), c.index())) {
            self.cotangents[copy] = self.cotangents[value];
            self.before_epilogue[copy] = self.before_epilogue[value];
            self.wanted[copy] = self.wanted[value];
            self.contributions[copy] = self.contributions[value];
        }
    }

    fn has_gradient(&self, value: ValueId) -> bool {
        self.cotangents[value.index()].is_some() || self.before_epilogue[value.index()].is_some()
    }

    /// The same value from a look-up or a cast of its own where it comes from a table or from another type, so that it need
    /// not be kept since the forward pass; else the value itself.
    ///
    /// # Errors
    /// Never in practice; rules pass it on with `?`.
    pub fn look_up_again(&mut self, value: ValueId) -> Result<ValueId, GraphError> {
        let node = self.graph.producer(value).clone();
        match node.op {
            Op::Embed(_) | Op::Cast(_) => self.graph.push1(node.op, &node.inputs),
            Op::Reshape(view) => {
                let base = self.look_up_again(node.inputs[0])?;
                if base == node.inputs[0] { Ok(value) } else { self.graph.push1(view, &[base]) }
            }
            _ => Ok(value),
        }
    }

    /// Whether a gradient of this value is of use.
    pub fn wants(&self, value: ValueId) -> bool {
        self.wanted[value.index()]
    }

    /// Adds a contribution to the gradient of a value. An op that can add onto an accumulator does so itself. Sums, and
    /// gradients of f32 values, are f32, whatever the contributions are.
    ///
    /// # Errors
    /// When the shapes differ.
    pub fn add(&mut self, value: ValueId, contribution: ValueId) -> Result<(), GraphError> {
        if !self.wanted[value.index()] {
            return Ok(());
        }
        let sum = match self.cotangents[value.index()] {
            None if self.graph.tensor_type(value).dtype() == DType::Bf16 => contribution,
            None => self.graph.cast(contribution, DType::F32)?,
            Some(earlier) => match self.fuse(contribution, earlier) {
                Some(sum) => sum,
                None => {
                    let earlier = self.graph.cast(earlier, DType::F32)?;
                    let contribution = self.graph.cast(contribution, DType::F32)?;
                    self.graph.add(earlier, contribution)?
                }
            },
        };
        self.cotangents[value.index()] = Some(sum);
        Ok(())
    }

    /// Makes the op that yields `contribution` add it onto `earlier`, where it can and was made by the running rule (so
    /// that nobody else uses it yet).
    fn fuse(&mut self, contribution: ValueId, earlier: ValueId) -> Option<ValueId> {
        let id = self.graph.producer_id(contribution);
        let node = &self.graph.nodes()[id.index()];
        let output = node.op.accumulates()?;
        let fits = node.outputs[output] == contribution
            && self.graph.tensor_type(contribution) == self.graph.tensor_type(earlier)
            && node.inputs.len() == node.op.arity()
            && id.index() >= self.fresh
            && self.graph.producer_id(earlier) < id
            && !self.used_since(contribution, id);
        if !fits {
            return None;
        }
        self.graph.extend_inputs(id, &[earlier]);
        Some(contribution)
    }

    fn used_since(&self, value: ValueId, id: NodeId) -> bool {
        let later = &self.graph.nodes()[id.index() + 1..];
        later.iter().any(|n| n.inputs.contains(&value))
            || matches!(self.graph.producer(value).op, Op::Reshape(_))
    }
}
