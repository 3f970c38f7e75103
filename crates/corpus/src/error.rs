//! What can end a corpus run.

use std::path::{Path, PathBuf};

use kiln_index::IndexError;

use crate::summary::FilesSummary;

/// Why no documents were written. A bad source file is not among the reasons: it is reported and skipped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CorpusError {
    /// The list of sources is empty.
    #[error("no source folder was given")]
    NoSources,
    /// A source does not exist.
    #[error("source folder {path} does not exist")]
    SourceMissing {
        /// The folder as it was given.
        path: PathBuf,
    },
    /// A source exists and is no folder.
    #[error("source {path} is not a folder")]
    SourceNotFolder {
        /// The path as it was given.
        path: PathBuf,
    },
    /// Two sources are one folder, or one lies inside the other, so files would be written twice.
    #[error("source {inner} lies inside source {outer}: its files would be written twice")]
    SourcesOverlap {
        /// The folder that holds the other.
        outer: PathBuf,
        /// The folder that is held (or is the same one).
        inner: PathBuf,
    },
    /// The sources hold no file with a C or C++ extension.
    #[error("no C or C++ source file below {}", list(.paths))]
    NoSourceFiles {
        /// The sources as they were given.
        paths: Vec<PathBuf>,
    },
    /// The sources hold source files, but every one had to be skipped.
    #[error("none of the source files below {} can be used: {}", list(.paths), .summary.describe_skipped())]
    NothingUsable {
        /// The sources as they were given.
        paths: Vec<PathBuf>,
        /// What was skipped and why.
        summary: Box<FilesSummary>,
    },
    /// A file or folder of documents does not exist.
    #[error("{path} does not exist")]
    InputMissing {
        /// The path as it was given.
        path: PathBuf,
    },
    /// A file whose name ends in none of the formats of documents.
    #[error("{path} is not a file of documents (.jsonl, .jsonl.zst or .parquet)")]
    InputUnknown {
        /// The path as it was given.
        path: PathBuf,
    },
    /// The sources hold no file of documents.
    #[error("no documents (.jsonl, .jsonl.zst or .parquet) in {}", list(.paths))]
    NoInputFiles {
        /// The sources as they were given.
        paths: Vec<PathBuf>,
    },
    /// A file of documents, or a line of one, is damaged, and that is not to be passed over.
    #[error("{path}: {why}")]
    InputDamaged {
        /// The file, and the line where only one is bad.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// Some documents have a text and others are pairs, and a reader of the result could use only one of them.
    #[error(
        "{pair} is a docstring pair while others are plain documents; make shards of each on their own"
    )]
    MixedDocuments {
        /// The first pair.
        pair: String,
    },
    /// There are documents, but every one was dropped.
    #[error("none of the {documents} documents is left: {why}")]
    NothingLeft {
        /// How many were read.
        documents: u64,
        /// How many were dropped for which cause.
        why: String,
    },
    /// An option has a value that cannot work.
    #[error("{option} = {value}: {why}")]
    BadOption {
        /// Name of the option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What is expected.
        why: &'static str,
    },
    /// The output folder holds a finished run and overwriting was not asked for.
    #[error(
        "{path} already holds a finished set of documents; choose another folder or ask to overwrite it"
    )]
    OutputFinished {
        /// The output folder.
        path: PathBuf,
    },
    /// The output folder holds documents that some other program wrote and that readers would mix in.
    #[error("{path} holds {name}, which is not this command's; choose another folder")]
    OutputForeign {
        /// The output folder.
        path: PathBuf,
        /// The file that is in the way.
        name: String,
    },
    /// A project could not be parsed at all.
    #[error("cannot parse {project}")]
    Parse {
        /// Its name.
        project: String,
        /// Why.
        source: IndexError,
    },
    /// The output folder holds a finished run of another kind or with other settings, so nothing can be added.
    #[error("cannot append to {path}: {why}")]
    CannotAppend {
        /// The output folder.
        path: PathBuf,
        /// What does not match.
        why: String,
    },
    /// Writing failed (a full disk, missing rights). Nothing that was there before has been touched.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The progress callback asked to stop. Nothing was written.
    #[error("cancelled")]
    Cancelled,
}

impl CorpusError {
    /// Puts the action and the path around a system error.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
}
