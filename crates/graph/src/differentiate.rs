//! Reverse-mode differentiation, graph to graph.

use crate::ops::Rule;
use crate::{Graph, GraphError, NodeId, Op, ValueId};

/// Appends the gradient of the scalar `loss` with respect to each value of `wrt`, and returns the gradients in that order.
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
    let wanted = depends_on(graph, wrt);
    let mut backward =
        Backward { cotangents: vec![None; graph.value_count()], wanted, fresh: 0, graph };
    for &(value, cotangent) in seeds {
        backward.add(value, cotangent)?;
    }
    for index in (0..forward_nodes).rev() {
        let node = backward.graph.nodes()[index].clone();
        let reached = node.outputs.iter().any(|&v| backward.cotangents[v.index()].is_some());
        if reached && node.outputs.iter().any(|&v| backward.wanted[v.index()]) {
            backward.fresh = backward.graph.nodes().len();
            node.op.derive(&node, &mut backward)?;
        }
    }
    let gradient = |&v: &ValueId| {
        backward.cotangents[v.index()]
            .ok_or_else(|| GraphError::NoDependence { name: name_of(backward.graph, v) })
    };
    wrt.iter().map(gradient).collect()
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
    wanted: Vec<bool>,
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

    /// Whether a gradient of this value is of use.
    pub fn wants(&self, value: ValueId) -> bool {
        self.wanted[value.index()]
    }

    /// Adds a contribution to the gradient of a value. An op that can add onto an accumulator does so itself.
    ///
    /// # Errors
    /// When the types differ.
    pub fn add(&mut self, value: ValueId, contribution: ValueId) -> Result<(), GraphError> {
        if !self.wanted[value.index()] {
            return Ok(());
        }
        let sum = match self.cotangents[value.index()] {
            None => contribution,
            Some(earlier) => match self.fuse(contribution, earlier) {
                Some(sum) => sum,
                None => self.graph.add(earlier, contribution)?,
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
