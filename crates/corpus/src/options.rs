//! What a user can choose.

use std::path::PathBuf;

use crate::CorpusError;

/// Extensions of C and C++ files, compared without regard to case.
pub const EXTENSIONS: &[&str] =
    &["c", "cc", "cpp", "cxx", "h", "hh", "hpp", "hxx", "inc", "inl", "ipp", "tcc", "tpp", "txx"];

/// Names of folders that hold other people's code or build results. `*` stands for any run of characters.
pub const DEFAULT_SKIP: &[&str] =
    &[".git", "build", "cmake-build*", "node_modules", "third_party", "external", "deps", "vendor"];

/// Larger files are amalgamations and tables, not code that a person wrote: 500 KB.
pub const DEFAULT_MAX_FILE_BYTES: u64 = 500_000;

/// Which files of a source are read.
#[derive(Debug, Clone)]
pub struct SourceFilter {
    /// Folder names that are not entered, [`DEFAULT_SKIP`] at first: push to add, assign to replace. `*` stands
    /// for any run of characters. A source itself is always entered.
    pub skip: Vec<String>,
    /// A file of more bytes is skipped.
    pub max_file_bytes: u64,
}

impl Default for SourceFilter {
    fn default() -> Self {
        let skip = DEFAULT_SKIP.iter().map(|name| (*name).to_owned()).collect();
        Self { skip, max_file_bytes: DEFAULT_MAX_FILE_BYTES }
    }
}

/// Where and how documents are written as JSONL.
#[derive(Debug, Clone)]
pub struct OutputOptions {
    /// Folder to write; it is made if it is missing.
    pub out: PathBuf,
    /// Write `.jsonl.zst` instead of `.jsonl`.
    pub compress: bool,
    /// Start a new file once one has this many bytes of JSONL (before compression). The validation documents
    /// always are one file, because readers take the last file of a folder for validation; so hold out a share
    /// when there are shards, or the last shard will serve as validation data.
    pub shard_bytes: Option<u64>,
    /// Replace a finished set of documents in `out`.
    pub overwrite: bool,
}

impl OutputOptions {
    /// The defaults: one plain `documents.jsonl`, and nothing finished is replaced.
    pub fn new(out: impl Into<PathBuf>) -> Self {
        Self { out: out.into(), compress: false, shard_bytes: None, overwrite: false }
    }

    pub(crate) fn check(&self) -> Result<(), CorpusError> {
        if self.shard_bytes == Some(0) {
            return Err(CorpusError::BadOption {
                option: "shard bytes",
                value: "0".to_owned(),
                why: "expected at least 1",
            });
        }
        Ok(())
    }
}

/// Options of [`collect_files`](crate::collect_files).
#[derive(Debug, Clone)]
pub struct FilesOptions {
    /// Folders to walk, in this order. Each is one project, unless `projects_dir` is set.
    pub sources: Vec<PathBuf>,
    /// Every first-level folder of a source is one project; files beside them belong to a project named like
    /// the source.
    pub projects_dir: bool,
    /// Which files are read.
    pub filter: SourceFilter,
    /// Share of the documents to hold out, in [0, 1). Above 0, the documents go to `train*` and `validation*`
    /// files, chosen by a hash of their content, so that a document stays on its side when others come or go.
    /// At least one document goes to each side when there are two different ones.
    pub validation_share: f64,
    /// What is written, and where.
    pub output: OutputOptions,
}

impl FilesOptions {
    /// The defaults: every source one project, the default skip list, one plain `documents.jsonl`.
    pub fn new<P: Into<PathBuf>>(
        sources: impl IntoIterator<Item = P>,
        out: impl Into<PathBuf>,
    ) -> Self {
        Self {
            sources: sources.into_iter().map(Into::into).collect(),
            projects_dir: false,
            filter: SourceFilter::default(),
            validation_share: 0.0,
            output: OutputOptions::new(out),
        }
    }

    pub(crate) fn check(&self) -> Result<(), CorpusError> {
        if self.sources.is_empty() {
            return Err(CorpusError::NoSources);
        }
        check_share(self.validation_share)?;
        self.output.check()
    }
}

/// Refuses a validation share that no output can have.
pub(crate) fn check_share(share: f64) -> Result<(), CorpusError> {
    if !(0.0..1.0).contains(&share) {
        return Err(CorpusError::BadOption {
            option: "validation share",
            value: share.to_string(),
            why: "expected at least 0 and less than 1",
        });
    }
    Ok(())
}
