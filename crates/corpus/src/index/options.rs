//! What a user can choose.

use std::path::PathBuf;

use kiln_index::ParseOptions;

use crate::CorpusError;
use crate::options::{OutputOptions, SourceFilter, check_share};

/// Tokens in a document.
pub const DEFAULT_MAX_TOKENS: usize = 16_384;
/// Calls between a root and what its document brings along.
pub const DEFAULT_MAX_DEP_DEPTH: u32 = 5;
/// Documents that a definition is brought along into. One shows every definition once, beside one of its users,
/// and leaves most other users without it. Every further one adds a copy of the widely used ones; text that is
/// seen a few times still teaches about as much as new text, more often it does not.
pub const DEFAULT_MAX_REPEAT: u32 = 2;
/// Below this, hardly a definition stays whole.
const LEAST_MAX_TOKENS: usize = 64;

/// Options of [`index_projects`](crate::index_projects).
#[derive(Debug, Clone)]
pub struct IndexOptions {
    /// Folders to walk, in this order. Each is one project, unless `projects_dir` is set.
    pub sources: Vec<PathBuf>,
    /// Every first-level folder of a source is one project; files beside them belong to a project named like
    /// the source.
    pub projects_dir: bool,
    /// Folders that are one project each, after the sources. One that is missing is reported and passed over.
    pub projects: Vec<PathBuf>,
    /// How to parse.
    pub parse: ParseOptions,
    /// Tokens in a document, at most.
    pub max_tokens: usize,
    /// Calls between a root and what its document brings along.
    pub max_dep_depth: u32,
    /// Documents that a definition is brought along into.
    pub max_repeat: u32,
    /// One document for each root instead of one for neighbouring roots of a file.
    pub separate_roots: bool,
    /// Which files are read.
    pub filter: SourceFilter,
    /// Share of the source files whose documents are held out, in [0, 1), chosen by a hash of the file's content:
    /// the same files that [`collect_files`](crate::collect_files) holds out. No document has text from both
    /// sides.
    pub validation_share: f64,
    /// What is written, and where.
    pub output: OutputOptions,
    /// Add projects to a finished set of documents in the output folder. Those that are there already are left as they are.
    pub append: bool,
}

impl IndexOptions {
    /// The defaults: every source one project, the default skip list, one plain `documents.jsonl`.
    pub fn new<P: Into<PathBuf>>(
        sources: impl IntoIterator<Item = P>,
        out: impl Into<PathBuf>,
    ) -> Self {
        Self {
            sources: sources.into_iter().map(Into::into).collect(),
            projects_dir: false,
            projects: Vec::new(),
            parse: ParseOptions::default(),
            max_tokens: DEFAULT_MAX_TOKENS,
            max_dep_depth: DEFAULT_MAX_DEP_DEPTH,
            max_repeat: DEFAULT_MAX_REPEAT,
            separate_roots: false,
            filter: SourceFilter::default(),
            validation_share: 0.0,
            output: OutputOptions::new(out),
            append: false,
        }
    }

    pub(crate) fn check(&self) -> Result<(), CorpusError> {
        if self.sources.is_empty() && self.projects.is_empty() {
            return Err(CorpusError::NoSources);
        }
        if self.max_tokens < LEAST_MAX_TOKENS {
            return Err(CorpusError::BadOption {
                option: "max tokens",
                value: self.max_tokens.to_string(),
                why: "expected at least 64",
            });
        }
        if self.append && self.output.overwrite {
            return Err(CorpusError::BadOption {
                option: "append",
                value: "true".to_owned(),
                why: "overwriting leaves nothing to append to",
            });
        }
        check_share(self.validation_share)?;
        self.output.check()
    }
}
