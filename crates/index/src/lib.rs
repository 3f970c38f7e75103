//! C and C++ projects to definitions, preambles and a call graph.
//!
//! Two parsers stand behind one interface: an embedded one and libclang. Both give a [`Project`], whose order
//! depends on nothing but the input.

mod build;
mod clang;
mod comments;
mod error;
mod input;
mod lexical;
mod model;
mod parse;
mod preamble;
/// The embedded parser.
pub mod tree_sitter;

pub use comments::comment_above;
pub use error::IndexError;
pub use input::{InputFile, ProjectInput};
pub use model::{
    Definition, DefinitionId, DefinitionKind, Failure, FailureCause, File, FileId, Parser, Project,
};
pub use parse::{Notice, ParseOptions, Parsed, ParserChoice, Progress, parse};
pub use preamble::preamble;
