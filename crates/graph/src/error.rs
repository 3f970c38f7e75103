//! What can be wrong with a graph.

use crate::TensorType;

/// An error while building, differentiating or planning a graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// An op was given inputs that it cannot take.
    #[error("{op}({}): {reason}", list(inputs))]
    Shape {
        /// Name of the op.
        op: &'static str,
        /// What the op wanted.
        reason: String,
        /// Types of the inputs that it got.
        inputs: Vec<TensorType>,
    },
    /// A gradient was wanted through an op that has none.
    #[error("{op} has no derivative")]
    NotDifferentiable {
        /// Name of the op.
        op: &'static str,
    },
    /// The value to differentiate is not a single f32.
    #[error("only a scalar can be differentiated, not {found}")]
    NotScalar {
        /// Type of the value.
        found: TensorType,
    },
    /// The differentiated value does not depend on a value whose gradient is wanted.
    #[error("the loss does not depend on {name}")]
    NoDependence {
        /// Name of the variable, or the value's number.
        name: String,
    },
    /// Nodes that wait for one another: a loss that is fused with its gradient was used in a way that makes the gradient
    /// depend on the loss (its square, say).
    #[error(
        "{op} waits for its own result: the gradient of a fused loss must not depend on the loss"
    )]
    Cycle {
        /// Name of one of the ops.
        op: &'static str,
    },
    /// A variable was given a new value of another type, or twice.
    #[error("variable {name} ({}) cannot be updated with {}: {reason}", types[0], types[1])]
    Update {
        /// Name of the variable.
        name: String,
        /// Types of the variable and of the new value.
        types: Box<[TensorType; 2]>,
        /// What is wrong.
        reason: &'static str,
    },
}

fn list(types: &[TensorType]) -> String {
    types.iter().map(TensorType::to_string).collect::<Vec<_>>().join(", ")
}
