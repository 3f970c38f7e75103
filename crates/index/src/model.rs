//! What a parser finds in a project. Everything is ordered by file and place, so equal input gives equal output.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Index into [`Project::files`].
pub type FileId = u32;
/// Index into [`Project::definitions`].
pub type DefinitionId = u32;

/// The parser that was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Parser {
    /// The embedded one, which needs nothing but the sources.
    TreeSitter,
    /// libclang, which needs the flags of each unit.
    Clang,
}

/// A parsed project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Which parser made it.
    pub parser: Parser,
    /// Sources and headers, by name.
    pub files: Vec<File>,
    /// By file, then by where the name stands.
    pub definitions: Vec<Definition>,
    /// Who calls whom: (caller, callee), both functions, sorted, distinct.
    pub calls: Vec<(DefinitionId, DefinitionId)>,
    /// Translation units that were parsed; with the embedded parser every file is one.
    pub units: u64,
    /// Units in which the parser met errors (their definitions still count).
    pub units_with_errors: u64,
    /// Errors in all units.
    pub errors: u64,
    /// Files that could not be parsed or were parsed only in part, by name.
    pub failures: Vec<Failure>,
}

/// A source or header file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Path below the project's root, with `/`.
    pub name: String,
    /// Its whole text. All ranges are byte ranges of it.
    pub text: String,
    /// Includes, using directives and declarations, typedefs, aliases, macros and namespace aliases outside
    /// functions and classes, in order, each a range of whole lines where it has its lines to itself.
    pub preamble: Vec<Range<usize>>,
}

/// What a definition defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DefinitionKind {
    /// A free function, also a template of one.
    Function,
    /// A member function that is none of the below.
    Method,
    /// A constructor.
    Constructor,
    /// A destructor.
    Destructor,
    /// An overloaded operator, member or free.
    Operator,
    /// A conversion such as `operator bool`.
    Conversion,
    /// A class, struct or union, also a template or specialisation of one.
    Class,
    /// An enumeration.
    Enum,
}

impl DefinitionKind {
    /// Whether it has a body that runs.
    pub fn is_function(self) -> bool {
        !matches!(self, Self::Class | Self::Enum)
    }
}

/// A function with a body, or a class or enumeration with its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Equal for definitions of the same entity: libclang's USR, or scope, name and parameters.
    pub key: String,
    /// What it is.
    pub kind: DefinitionKind,
    /// With namespaces and classes, without template arguments: `leveldb::Slice::compare`.
    pub qualified_name: String,
    /// Where it stands.
    pub file: FileId,
    /// The line of its name, from 1.
    pub line: u32,
    /// From `template<...>`, attributes or the return type to the closing brace (and the `;` of a class).
    pub extent: Range<usize>,
    /// The body with its braces; the initialisers of a constructor stand before it.
    pub body: Range<usize>,
    /// The comment directly above, if there is one: consecutive `//` lines or one `/* */`.
    pub doc: Option<Range<usize>>,
    /// The class of this project whose member it is, wherever the definition stands.
    pub class: Option<DefinitionId>,
    /// Whether the name was put together by a macro, as `TEST(A, B)` does.
    pub from_macro: bool,
}

/// A file and why nothing, or not everything, was found in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Failure {
    /// Path below the project's root.
    pub file: String,
    /// Why.
    pub cause: FailureCause,
    /// Particulars for the user, such as the first error.
    pub detail: String,
}

/// Why a file could not be parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCause {
    /// The file's syntax is broken beyond repair, such as braces that never close.
    Syntax,
    /// A header that the file includes is not there.
    MissingHeader,
    /// Nested deeper than the parser follows.
    TooDeep,
    /// libclang could not make anything of the unit.
    ParserFailed,
    /// The parser took too long.
    TimedOut,
}
