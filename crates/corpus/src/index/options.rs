//! What a user can choose.

use std::path::PathBuf;

use kiln_index::ParseOptions;

use crate::CorpusError;
use crate::options::{DEFAULT_MAX_FILE_BYTES, DEFAULT_SKIP, check_output};
use crate::output::OutputOptions;

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
    /// Folder to write; it is made if it is missing.
    pub out: PathBuf,
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
    /// Folder names that are not entered, as in [`FilesOptions::skip`](crate::FilesOptions::skip).
    pub skip: Vec<String>,
    /// A file of more bytes is skipped.
    pub max_file_bytes: u64,
    /// Share of the source files whose documents are held out, in [0, 1), chosen by a hash of the file's content:
    /// the same files that [`collect_files`](crate::collect_files) holds out. No document has text from both
    /// sides.
    pub validation_share: f64,
    /// Write `.jsonl.zst` instead of `.jsonl`.
    pub compress: bool,
    /// Start a new file once one has this many bytes of JSONL (before compression).
    pub shard_bytes: Option<u64>,
    /// Replace a finished set of documents in `out`.
    pub overwrite: bool,
    /// Add projects to a finished set of documents in `out`. Those that are there already are left as they are.
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
            out: out.into(),
            parse: ParseOptions::default(),
            max_tokens: DEFAULT_MAX_TOKENS,
            max_dep_depth: DEFAULT_MAX_DEP_DEPTH,
            max_repeat: DEFAULT_MAX_REPEAT,
            separate_roots: false,
            skip: DEFAULT_SKIP.iter().map(|s| (*s).to_owned()).collect(),
            max_file_bytes: DEFAULT_MAX_FILE_BYTES,
            validation_share: 0.0,
            compress: false,
            shard_bytes: None,
            overwrite: false,
            append: false,
        }
    }

    pub(crate) fn output(&self) -> OutputOptions {
        OutputOptions {
            out: self.out.clone(),
            compress: self.compress,
            shard_bytes: self.shard_bytes,
            overwrite: self.overwrite,
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
        if self.append && self.overwrite {
            return Err(CorpusError::BadOption {
                option: "append",
                value: "true".to_owned(),
                why: "overwriting leaves nothing to append to",
            });
        }
        check_output(self.validation_share, self.shard_bytes)
    }
}
