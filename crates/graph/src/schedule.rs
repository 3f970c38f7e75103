//! The order of execution.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::{Graph, GraphError, NodeId, Op, ValueId};

/// For each node, whether an output or a variable's new value needs it.
pub(crate) fn live_nodes(graph: &Graph) -> Vec<bool> {
    let mut live = vec![false; graph.nodes().len()];
    let updates = graph.variables().iter().filter_map(|v| v.update);
    let mut stack: Vec<ValueId> = graph.outputs().iter().map(|(_, v)| *v).chain(updates).collect();
    while let Some(value) = stack.pop() {
        let node = graph.producer_id(value);
        if !std::mem::replace(&mut live[node.index()], true) {
            stack.extend(&graph.nodes()[node.index()].inputs);
        }
    }
    live
}

/// Whether a node computes anything, as opposed to naming or viewing a value.
fn computes(op: &Op) -> bool {
    !matches!(op, Op::VariableValue(_) | Op::InputValue(_) | Op::Reshape(_) | Op::SliceLeading(_))
}

/// Live nodes that compute, each after those it reads from, else in order of creation.
///
/// # Errors
/// [`GraphError::Cycle`] when nodes wait for one another.
pub(crate) fn schedule(graph: &Graph) -> Result<Vec<NodeId>, GraphError> {
    let live = live_nodes(graph);
    let count = graph.nodes().len();
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); count];
    let mut waits = vec![0usize; count];
    for (i, node) in graph.nodes().iter().enumerate().filter(|(i, _)| live[*i]) {
        for &input in &node.inputs {
            // Variables and inputs are there from the start, however late they were declared.
            if !matches!(graph.producer(input).op, Op::VariableValue(_) | Op::InputValue(_)) {
                users[graph.producer_id(input).index()].push(i);
                waits[i] += 1;
            }
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> =
        (0..count).filter(|&i| live[i] && waits[i] == 0).map(Reverse).collect();
    let mut order = Vec::new();
    while let Some(Reverse(i)) = ready.pop() {
        order.push(NodeId(i as u32));
        for &user in &users[i] {
            waits[user] -= 1;
            if waits[user] == 0 {
                ready.push(Reverse(user));
            }
        }
    }
    if let Some(stuck) = (0..count).find(|&i| live[i] && waits[i] > 0) {
        return Err(GraphError::Cycle { op: graph.nodes()[stuck].op.name() });
    }
    order.retain(|id| computes(&graph.nodes()[id.index()].op));
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{LinearCrossEntropy, Reduction};
    use crate::{TensorType, differentiate};

    #[test]
    fn a_loss_that_its_own_gradient_depends_on_is_refused() {
        let mut g = Graph::new();
        let x = g.variable("x", TensorType::f32(&[3, 4]));
        let w = g.variable("w", TensorType::f32(&[5, 4]));
        let targets = g.input("targets", TensorType::i32(&[3]));
        let op = LinearCrossEntropy { vocab: 5, softcap: 15.0, reduction: Reduction::Mean };
        let loss = g.linear_cross_entropy(x, w, targets, op).unwrap();
        let square = g.mul(loss, loss).unwrap();
        let gradient = differentiate(&mut g, square, &[x]).unwrap();
        g.output("gradient", gradient[0]);
        assert!(matches!(schedule(&g), Err(GraphError::Cycle { .. })));
    }
}
