//! What runs planned graphs: the CPU today, other devices behind the same interface.

use crate::{Graph, GraphError, TensorType};

/// Number of a graph that an executor has prepared.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ProgramId(pub usize);

/// Data of one input of one run, row-major.
#[derive(Clone, Copy, Debug)]
pub enum Feed<'a> {
    /// f32 values.
    F32(&'a [f32]),
    /// i32 values.
    I32(&'a [i32]),
}

/// An error of an executor.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The graph cannot be planned.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A run was given other inputs than its graph declares.
    #[error("input {name} needs {expected}, got {found}")]
    Input {
        /// Name of the input, or what is wrong with their number.
        name: String,
        /// What the graph declares.
        expected: String,
        /// What was given.
        found: String,
    },
    /// No variable has that name.
    #[error("there is no variable {name}")]
    NoVariable {
        /// Name that was asked for.
        name: String,
    },
    /// A variable has another type.
    #[error("variable {name} is {found}, not {expected}")]
    VariableType {
        /// Name of the variable.
        name: String,
        /// Type it has.
        found: TensorType,
        /// Type that was asked for, or number of values given.
        expected: String,
    },
    /// The device has no room.
    #[error("no memory for {bytes} bytes ({what})")]
    OutOfMemory {
        /// Size that was asked for.
        bytes: usize,
        /// What it was for.
        what: String,
    },
}

/// Owns variables, prepares graphs, runs them. Variables belong to the executor and are shared by name among graphs.
pub trait Executor {
    /// Plans a graph and creates the variables it names that do not exist yet, zeroed.
    ///
    /// # Errors
    /// When the graph is wrong, a variable exists with another type, or memory is short.
    fn prepare(&mut self, graph: &Graph) -> Result<ProgramId, ExecuteError>;

    /// Runs a prepared graph on inputs in the order of their declaration.
    ///
    /// # Errors
    /// When the inputs do not fit.
    fn run(&mut self, program: ProgramId, feeds: &[Feed<'_>]) -> Result<(), ExecuteError>;

    /// An f32 output of the latest run, by its place in the graph's outputs. Valid until the next run of any program.
    ///
    /// # Panics
    /// When the latest run was not of this program, or the output is not f32.
    fn output(&self, program: ProgramId, index: usize) -> &[f32];

    /// Names and types of all variables, in order of creation.
    fn variables(&self) -> Vec<(String, TensorType)>;

    /// The values of an f32 variable.
    ///
    /// # Errors
    /// When there is none of that name, or it is not f32.
    fn read(&self, name: &str) -> Result<&[f32], ExecuteError>;

    /// Gives an f32 variable new values, creating it when it does not exist.
    ///
    /// # Errors
    /// When it has another type, or `values` another length.
    fn write(&mut self, name: &str, ty: TensorType, values: &[f32]) -> Result<(), ExecuteError>;

    /// Bytes that the executor holds: variables, and the largest working memory of the prepared graphs.
    fn memory(&self) -> (usize, usize);
}
