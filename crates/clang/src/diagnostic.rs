//! What the parser has to say about a unit.

use crate::location::Position;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Silenced, a note to another diagnostic, or a warning.
    Mild,
    /// The code is ill-formed.
    Error,
    /// The parser gave up on something, such as a header that is not there.
    Fatal,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic<'t> {
    /// How bad it is.
    pub severity: Severity,
    /// The message, without its place.
    pub message: String,
    /// Where.
    pub position: Position<'t>,
}
