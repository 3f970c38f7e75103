//! The graph IR: shapes, ops, derivative rules, FLOP count and memory plan. It knows no hardware.
//!
//! A model is a function that appends nodes to a [`Graph`]; nothing executes while it is built:
//!
//! ```text
//! build forward -> differentiate (graph -> graph) -> plan (schedule, liveness, buffers) -> execute, many times
//! ```
//!
//! ```
//! use kiln_graph::{Graph, Plan, TensorType, differentiate};
//!
//! let mut g = Graph::new();
//! let x = g.input("x", TensorType::f32(&[4, 3]));
//! let w = g.variable("w", TensorType::f32(&[2, 3]));
//! let y = g.linear(x, w)?;
//! let loss = g.sum(y)?;
//! let grads = differentiate(&mut g, loss, &[w])?;
//! g.output("grad", grads[0]);
//! let plan = Plan::new(&g, &|_, _| 0)?;
//! assert_eq!(g.tensor_type(grads[0]).shape().dims(), [2, 3]);
//! assert!(plan.arena_bytes() > 0);
//! # Ok::<(), kiln_graph::GraphError>(())
//! ```

mod arena;
mod differentiate;
mod error;
mod executor;
mod graph;
pub mod ops;
mod plan;
mod schedule;
mod tensor;

pub use differentiate::{Backward, differentiate};
pub use error::GraphError;
pub use executor::{ExecuteError, Executor, Feed, ProgramId};
pub use graph::{Graph, Input, Node, NodeId, RegionStart, ValueId, Variable};
pub use ops::{Op, Rule};
pub use plan::{Place, Plan, Step};
pub use tensor::{DType, Shape, TensorType};
