//! What can be wrong with a checkpoint, each naming the file.

use std::io;
use std::path::{Path, PathBuf};

/// Why a checkpoint could not be saved, found or trusted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file of a checkpoint could not be written; the checkpoints saved before are as they were.
    #[error("cannot save {}: {source}", path.display())]
    Save {
        /// Where the file would have been after the save.
        path: PathBuf,
        /// Disk full, no permission and so on.
        source: io::Error,
    },
    /// A file or folder could not be read, renamed or removed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A checkpoint cannot hold a file of this name.
    #[error("{name:?} is no name for a file of a checkpoint: {reason}")]
    Name {
        /// As the caller gave it.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// `commit` after a file of the checkpoint had failed.
    #[error("{} is not saved: one of its files could not be written", path.display())]
    Incomplete {
        /// Where the checkpoint would have been.
        path: PathBuf,
    },
    /// Nothing lies at the path.
    #[error("no run or checkpoint at {}", path.display())]
    NotFound {
        /// As it was given.
        path: PathBuf,
    },
    /// A run folder without a checkpoint.
    #[error("{} holds no checkpoint", run.display())]
    NoCheckpoint {
        /// The run folder.
        run: PathBuf,
    },
    /// A run folder has checkpoints, but not of this step.
    #[error("{} holds no checkpoint of step {step}, but of {}", run.display(), commas(have))]
    NoStep {
        /// The run folder.
        run: PathBuf,
        /// The step that was asked for.
        step: u64,
        /// The steps that there are, ascending.
        have: Vec<u64>,
    },
    /// A checkpoint without its list of files, so that nothing in it can be trusted.
    #[error("{} is missing", path.display())]
    ManifestMissing {
        /// The path of `MANIFEST`.
        path: PathBuf,
    },
    /// A list of files that is itself damaged.
    #[error("{} is damaged: {reason}", path.display())]
    ManifestDamaged {
        /// The path of `MANIFEST`.
        path: PathBuf,
        /// What is wrong, with its line number.
        reason: String,
    },
    /// A file that `MANIFEST` lists is not there.
    #[error("{} is missing", path.display())]
    FileMissing {
        /// The file.
        path: PathBuf,
    },
    /// A file has another size than when it was saved.
    #[error(
        "{} is {}: {found} bytes instead of {expected}",
        path.display(), if found < expected { "truncated" } else { "too long" }
    )]
    Size {
        /// The file.
        path: PathBuf,
        /// Size in bytes when it was saved.
        expected: u64,
        /// Size in bytes now.
        found: u64,
    },
    /// A file has other bytes than when it was saved.
    #[error("{} is damaged: its BLAKE3 is {found} instead of {expected}", path.display())]
    Hash {
        /// The file.
        path: PathBuf,
        /// Hash when it was saved, in hexadecimal.
        expected: String,
        /// Hash now.
        found: String,
    },
    /// `latest` names no checkpoint.
    #[error("{} is damaged: it names no checkpoint", path.display())]
    LatestDamaged {
        /// The path of `latest`.
        path: PathBuf,
    },
    /// All checkpoints of a run are damaged.
    #[error("no checkpoint of {} can be used: {}", run.display(), listed(damaged))]
    NoneValid {
        /// The run folder.
        run: PathBuf,
        /// Each checkpoint with what is wrong with it, in the order of trying.
        damaged: Vec<Damaged>,
    },
    /// A file that should be JSON is not.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
}

/// A checkpoint that was passed over, and why.
#[derive(Debug)]
pub struct Damaged {
    /// The checkpoint's folder, or the path of `latest`.
    pub path: PathBuf,
    /// The first thing found wrong.
    pub error: CheckpointError,
}

pub(super) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> CheckpointError {
    let path = path.to_path_buf();
    move |source| CheckpointError::Io { path, source }
}

pub(super) fn save_error(path: &Path) -> impl FnOnce(io::Error) -> CheckpointError {
    let path = path.to_path_buf();
    move |source| CheckpointError::Save { path, source }
}

fn commas(steps: &[u64]) -> String {
    steps.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

fn listed(damaged: &[Damaged]) -> String {
    damaged.iter().map(|one| one.error.to_string()).collect::<Vec<_>>().join("; ")
}
