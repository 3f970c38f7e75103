//! What one unit yields.

use std::ops::Range;

use crate::{DefinitionKind, FileId};

/// A definition as one unit shows it. Offsets are bytes of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub key: String,
    pub kind: DefinitionKind,
    pub qualified_name: String,
    pub file: FileId,
    pub line: u32,
    /// Where the name stands.
    pub name_at: u32,
    pub extent: Range<u32>,
    pub body: Range<u32>,
    /// The key of the class whose member it is.
    pub class: Option<String>,
    /// The name as written differs from what stands in the file.
    pub from_macro: bool,
}

/// Whom a call reaches: the keys of the function named and of the templates that it specialises, the most special
/// first, and where the function named stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Callee {
    pub keys: Vec<String>,
    pub place: (FileId, u32),
}

/// All that was found in one unit.
#[derive(Debug, Default)]
pub(super) struct UnitSymbols {
    pub found: Vec<Found>,
    pub callees: Vec<Callee>,
    /// Indices into `found` and `callees`.
    pub calls: Vec<(usize, usize)>,
    /// The project's files that the unit is made of.
    pub files: Vec<FileId>,
}
