//! What can go wrong between the files and the batches.

use std::path::{Path, PathBuf};

use crate::shard::scan::Problem;

/// Why there is no data, or no next batch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// Nothing lies at the path.
    #[error("data {path} does not exist")]
    Missing {
        /// As it was given.
        path: PathBuf,
    },
    /// A folder without a file that can hold documents.
    #[error("folder {path} holds no .jsonl, .jsonl.zst or .parquet file")]
    NoFiles {
        /// As it was given.
        path: PathBuf,
    },
    /// A file with another ending.
    #[error("{path} is neither a .jsonl, a .jsonl.zst nor a .parquet file")]
    UnknownFormat {
        /// As it was given.
        path: PathBuf,
    },
    /// The files hold no document.
    #[error("{path} holds no document{}", bad_lines(.problem_count, .first))]
    NoDocuments {
        /// As it was given.
        path: PathBuf,
        /// Lines that could not be used.
        problem_count: u64,
        /// The first of them.
        first: Option<Problem>,
    },
    /// There is nothing to train on, because everything was held out for validation.
    #[error("no training documents: all {validation} documents are for validation")]
    NoTrainingDocuments {
        /// Documents held out.
        validation: u64,
    },
    /// The tokenizer makes no token of any training document.
    #[error("the training documents hold no tokens")]
    NoTokens,
    /// Fewer training documents than ranks.
    #[error("{documents} training documents cannot be dealt to {world} ranks")]
    TooFewForRanks {
        /// Training documents.
        documents: u64,
        /// Number of ranks.
        world: usize,
    },
    /// More documents than an index of 32 bits can count.
    #[error("{path}: more than {} documents", u32::MAX)]
    TooManyDocuments {
        /// The file with one too many.
        path: PathBuf,
    },
    /// In strict mode: a line that is no document.
    #[error("{0}")]
    BadLine(Problem),
    /// A file holds something else than when it was opened.
    #[error("{path} has changed since it was opened ({at})")]
    Changed {
        /// The file.
        path: PathBuf,
        /// Where the document lay.
        at: String,
    },
    /// A file that cannot be decoded, where it cannot be done without: in strict mode, or because it could be before.
    #[error("{path} cannot be read: {why}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Fill-in-the-middle with a tokenizer that has no tokens for it.
    #[error(
        "fill-in-the-middle needs tokens that this tokenizer does not have (FIM_PREFIX, FIM_SUFFIX, FIM_MIDDLE, EOS)"
    )]
    NoSentinels,
    /// A stream whose writer gives nothing more and does not say that it has ended.
    #[error("no new file in {path} for {seconds} seconds, and no _COMPLETE{}", half_written(.unfinished))]
    NoMoreShards {
        /// The folder.
        path: PathBuf,
        /// How long it was waited for.
        seconds: u64,
        /// Files that seem to be half-written, with what is wrong.
        unfinished: Vec<String>,
    },
    /// It was asked to stop while it waited for files.
    #[error("stopped while waiting for new files")]
    Stopped,
    /// The tokenizer gave an id that the model has no row for.
    #[error("the tokenizer gave id {id}, but its vocabulary has {vocab_size}")]
    TokenOutOfRange {
        /// The id.
        id: u32,
        /// All ids must be below this.
        vocab_size: usize,
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
    /// The state belongs to other data or other settings.
    #[error("cannot resume: {}", .changes.join("; "))]
    ResumeMismatch {
        /// Each difference: what it was and what it is.
        changes: Vec<String>,
    },
    /// The state contradicts itself or the data that it names.
    #[error("cannot resume: the loader state is damaged: {why}")]
    BadState {
        /// What is wrong.
        why: String,
    },
    /// The system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The loader's thread panicked.
    #[error("the data loader failed: {message}")]
    LoaderPanicked {
        /// What the panic said.
        message: String,
    },
    /// The loader has reported an error before and gives no more batches.
    #[error("the data loader has stopped after an earlier error")]
    LoaderStopped,
}

impl DataError {
    /// Puts the action and the path around a system error.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

fn bad_lines(count: &u64, first: &Option<Problem>) -> String {
    match first {
        Some(first) => format!(" ({count} bad lines, the first: {first})"),
        None => String::new(),
    }
}

fn half_written(files: &[String]) -> String {
    if files.is_empty() { String::new() } else { format!("; half-written: {}", files.join(", ")) }
}
