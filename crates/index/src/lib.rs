//! C and C++ projects to definitions, preambles and a call graph.
//!
//! Two parsers stand behind one interface: an embedded one and libclang. Both give a [`Project`], whose order
//! depends on nothing but the input.

mod input;
mod model;

pub use input::{InputFile, ProjectInput};
pub use model::{
    Definition, DefinitionId, DefinitionKind, Failure, FailureCause, File, FileId, Parser, Project,
};
