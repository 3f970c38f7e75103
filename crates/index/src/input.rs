//! What the parsers are given.

use std::path::PathBuf;

/// The files of one project. They have been read already: whatever is not UTF-8, too large or unreadable is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectInput {
    /// Its folder.
    pub root: PathBuf,
    /// Sources and headers by name.
    pub files: Vec<InputFile>,
}

/// A source or header file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFile {
    /// Path below the root, with `/`.
    pub name: String,
    /// Its whole text.
    pub text: String,
}
