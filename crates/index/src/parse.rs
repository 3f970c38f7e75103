//! The one entrance: a project's files in, its definitions and calls out.

use std::fmt;
use std::ops::ControlFlow;
use std::path::PathBuf;

use kiln_clang::Library;

use crate::{IndexError, Project, ProjectInput, clang, tree_sitter};

/// Which parser to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ParserChoice {
    /// libclang where it is found, else the embedded parser.
    #[default]
    Auto,
    /// The embedded parser.
    TreeSitter,
    /// libclang; where none is found, the embedded parser and a notice.
    Clang,
}

/// How to parse.
#[derive(Debug, Clone, Default)]
pub struct ParseOptions {
    /// Which parser to take.
    pub parser: ParserChoice,
    /// The libclang to load, in place of looking for one: the file, or a folder that has it, such as an unpacked wheel or
    /// a Python environment.
    pub libclang: Option<PathBuf>,
    /// The compile database, in place of the project's `compile_commands.json` or `build/compile_commands.json`.
    pub compile_commands: Option<PathBuf>,
    /// Where to write a compile database of the units as libclang parses them, for a look at what was found out.
    pub write_compile_commands: Option<PathBuf>,
    /// Units that are parsed at a time; 0 stands for as many as rayon has threads.
    pub threads: usize,
}

/// How far parsing has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Units that are done.
    pub done: u64,
    /// All units.
    pub total: u64,
}

/// Something the user should hear, though parsing goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// No libclang was found, so that the embedded parser was used.
    LibclangMissing,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LibclangMissing => f.write_str(
                "no libclang found, going on with the embedded parser; for exact call graphs install one \
                 (Debian or Ubuntu: apt install libclang1-14 libclang-common-14-dev; elsewhere: pip install libclang) \
                 or name it with --libclang PATH",
            ),
        }
    }
}

/// A parsed project and what the user should hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// What was found.
    pub project: Project,
    /// In the order in which they arose.
    pub notices: Vec<Notice>,
}

/// Parses a project. `progress` is called from many threads; after `Break` no further unit is begun, and what comes
/// back is of no use.
pub fn parse(
    input: ProjectInput,
    options: &ParseOptions,
    progress: &(dyn Fn(Progress) -> ControlFlow<()> + Sync),
) -> Result<Parsed, IndexError> {
    let mut notices = Vec::new();
    let project = match library(options)? {
        Some(library) => clang::parse(input, library, options, threads(options), progress)?,
        None => {
            if options.parser != ParserChoice::TreeSitter {
                notices.push(Notice::LibclangMissing);
            }
            embedded(input, progress)
        }
    };
    Ok(Parsed { project, notices })
}

/// The libclang to use; none where the embedded parser is asked for or no libclang is found.
fn library(options: &ParseOptions) -> Result<Option<Library>, IndexError> {
    match (&options.libclang, options.parser) {
        (_, ParserChoice::TreeSitter) => Ok(None),
        (Some(path), _) => {
            let found = if path.is_dir() { kiln_clang::find_in(path) } else { Library::load(path) };
            found.map(Some).map_err(|error| IndexError::Libclang {
                path: path.clone(),
                detail: error.to_string(),
            })
        }
        (None, _) => Ok(kiln_clang::find()),
    }
}

fn threads(options: &ParseOptions) -> usize {
    match options.threads {
        0 => rayon::current_num_threads(),
        threads => threads,
    }
}

fn embedded(
    input: ProjectInput,
    progress: &(dyn Fn(Progress) -> ControlFlow<()> + Sync),
) -> Project {
    let total = input.files.len() as u64;
    let project = tree_sitter::parse(input);
    let _ = progress(Progress { done: total, total });
    project
}
