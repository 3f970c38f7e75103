//! How each unit of a project is to be compiled: from its compile database, or found out.

mod arguments;
mod cmake;
mod database;
mod headers;
mod plan;
mod system;

pub(crate) use database::write as write_database;
pub(crate) use headers::{HeaderIndex, Include, includes};
pub(crate) use plan::{Plan, plan};

/// The language of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Language {
    C,
    Cxx,
}

impl Language {
    /// By the file's extension; headers are C++ unless a caller knows better.
    pub(crate) fn of_file(name: &str) -> Self {
        if name.ends_with(".c") { Self::C } else { Self::Cxx }
    }
}

/// A translation unit and the compiler arguments for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    /// Path below the project's root, with `/`.
    pub name: String,
    pub language: Language,
    /// Complete, without the compiler and the file: language, standard, folders, definitions, system headers.
    pub arguments: Vec<String>,
    /// The same for a newer standard, to be tried where the one that was guessed brings errors.
    pub newer: Option<Vec<String>>,
}

/// Whether the file is compiled for itself, and not only included.
pub(crate) fn is_source(name: &str) -> bool {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    matches!(extension, "c" | "cc" | "cpp" | "cxx" | "c++" | "C" | "CPP")
}
