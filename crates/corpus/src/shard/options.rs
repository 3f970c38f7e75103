//! What a user can choose.

use std::path::PathBuf;

use super::policy::LicencePolicy;
use crate::error::CorpusError;
use crate::options::check_share;

/// How shards are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShardFormat {
    /// One JSON object per line.
    Jsonl,
    /// Parquet, zstd, row groups of 1,024.
    Parquet,
}

/// When a shard is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardSize {
    /// Once its documents hold this many bytes, before compression.
    Bytes(u64),
    /// Once it holds this many documents.
    Documents(u64),
}

/// Options of [`write_shards`](crate::write_shards).
#[derive(Debug, Clone)]
pub struct ShardOptions {
    /// Files of documents (`.jsonl`, `.jsonl.zst`, `.parquet`) and folders of them, in this order.
    pub sources: Vec<PathBuf>,
    /// Folder to write; it is made if it is missing.
    pub out: PathBuf,
    /// Format of the shards.
    pub format: ShardFormat,
    /// Write `.jsonl.zst` instead of `.jsonl`. Parquet is compressed always.
    pub compress: bool,
    /// When the next training shard begins. The validation documents always are one file.
    pub shard_size: ShardSize,
    /// Of the shuffle.
    pub seed: u64,
    /// Share of the documents to hold out, in [0, 1).
    pub validation_share: f64,
    /// Documents whose Jaccard similarity is at least this stay on one side of the hold-out, in (0, 1].
    pub split_similarity: f64,
    /// Remove a document whose Jaccard similarity to an earlier one is at least this, in [0, 1]: 1 removes copies
    /// only, 0 nothing.
    pub dedup: f64,
    /// Keep only documents under these licences (`*` stands for any characters; `unknown` for none); all when empty.
    pub allow_licences: Vec<String>,
    /// Remove documents under these licences.
    pub deny_licences: Vec<String>,
    /// Keep files that a program wrote.
    pub keep_generated: bool,
    /// Keep documents that hold credentials.
    pub keep_secrets: bool,
    /// Fail at the first damaged file or line instead of passing over it.
    pub strict: bool,
    /// Replace a finished set of documents in `out`.
    pub overwrite: bool,
    /// So many bytes of documents are shuffled at once in memory; beyond, the shuffle goes through temporary files.
    pub shuffle_bytes: u64,
}

impl ShardOptions {
    /// The defaults: Parquet, shards of 256 MB, near duplicates from 0.85 on removed, one document of a hundred held
    /// out.
    pub fn new<P: Into<PathBuf>>(
        sources: impl IntoIterator<Item = P>,
        out: impl Into<PathBuf>,
    ) -> Self {
        Self {
            sources: sources.into_iter().map(Into::into).collect(),
            out: out.into(),
            format: ShardFormat::Parquet,
            compress: false,
            shard_size: ShardSize::Bytes(256_000_000),
            seed: 0,
            validation_share: 0.01,
            split_similarity: 0.5,
            dedup: 0.85,
            allow_licences: Vec::new(),
            deny_licences: Vec::new(),
            keep_generated: false,
            keep_secrets: false,
            strict: false,
            overwrite: false,
            shuffle_bytes: 128 << 20,
        }
    }

    /// Whether documents have to be compared by their shingles.
    pub(super) fn compares(&self) -> bool {
        self.validation_share > 0.0 || self.removes_near_duplicates()
    }

    pub(super) fn removes_near_duplicates(&self) -> bool {
        self.dedup > 0.0 && self.dedup < 1.0
    }

    pub(super) fn policy(&self) -> LicencePolicy {
        LicencePolicy::new(&self.allow_licences, &self.deny_licences)
    }

    pub(super) fn check(&self) -> Result<(), CorpusError> {
        let size = match self.shard_size {
            ShardSize::Bytes(n) | ShardSize::Documents(n) => n,
        };
        check_share(self.validation_share)?;
        if size == 0 {
            return Err(bad("shard size", 0.0, "expected at least 1"));
        }
        if !(0.0..=1.0).contains(&self.dedup) {
            return Err(bad("dedup", self.dedup, "expected a similarity of 0 to 1"));
        }
        if !(self.split_similarity > 0.0 && self.split_similarity <= 1.0) {
            let why = "expected a similarity above 0 and at most 1";
            return Err(bad("split similarity", self.split_similarity, why));
        }
        Ok(())
    }
}

fn bad(option: &'static str, value: f64, why: &'static str) -> CorpusError {
    CorpusError::BadOption { option, value: value.to_string(), why }
}
