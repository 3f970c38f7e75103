//! What a run did, for people and for machines.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::options::ShardFormat;
use crate::clean::SecretKind;
use crate::summary::{MAX_EXAMPLES, OutputFile, ProjectSummary, SkippedFile, SkippedFiles};

/// Why a document was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropCause {
    /// Nothing but white space.
    Empty,
    /// A program wrote it.
    Generated,
    /// It holds a credential.
    Secret,
    /// Its licence was not wanted.
    Licence,
    /// The same words as in an earlier document.
    Duplicate,
    /// Nearly the same as an earlier document.
    NearDuplicate,
}

impl DropCause {
    /// A few words for a message.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Generated => "generated",
            Self::Secret => "secret",
            Self::Licence => "licence",
            Self::Duplicate => "duplicate",
            Self::NearDuplicate => "near duplicate",
        }
    }
}

/// The documents that were left out for one cause.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// How many.
    pub count: u64,
    /// Bytes of their texts.
    pub text_bytes: u64,
    /// The first [`MAX_EXAMPLES`] of them.
    pub documents: Vec<SkippedFile>,
}

/// What [`write_shards`](crate::write_shards) did. The same in JSON is the content of `_COMPLETE`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShardSummary {
    /// Format of the shards.
    pub format: ShardFormat,
    /// Of the shuffle.
    pub seed: u64,
    /// Documents written.
    pub documents: u64,
    /// Bytes of their texts.
    pub text_bytes: u64,
    /// Of `documents`, those that were held out.
    pub validation_documents: u64,
    /// Of `text_bytes`, those that were held out.
    pub validation_text_bytes: u64,
    /// The columns, in order.
    pub columns: Vec<String>,
    /// The written files.
    pub files: Vec<OutputFile>,
    /// The projects, in the order of their documents.
    pub projects: Vec<ProjectSummary>,
    /// Documents written, by licence; `unknown` where none was found.
    pub licences: BTreeMap<String, u64>,
    /// Documents read.
    pub read_documents: u64,
    /// Bytes of their texts.
    pub read_text_bytes: u64,
    /// Documents that were left out, by cause.
    pub dropped: BTreeMap<DropCause, Dropped>,
    /// Of those left out for a secret, how many for which kind.
    pub secrets: BTreeMap<SecretKind, u64>,
    /// Of those left out as generated, how many for which marker.
    pub generated: BTreeMap<String, u64>,
    /// Similarity from which on near duplicates were left out.
    pub dedup: f64,
    /// Similarity from which on documents are on the same side of the hold-out.
    pub split_similarity: f64,
    /// Families of documents of that similarity; 0 when nothing was held out.
    pub families: u64,
    /// Documents of the largest of them.
    pub largest_family: u64,
    /// Files that were passed over because they are damaged.
    pub damaged_files: SkippedFiles,
    /// Lines and rows that are no documents.
    pub bad_rows: SkippedFiles,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl ShardSummary {
    /// Documents that were left out, whatever the cause.
    pub fn dropped_documents(&self) -> u64 {
        self.dropped.values().map(|d| d.count).sum()
    }

    /// `3 generated, 1 secret (p/a.h: AWS access key in line 17)`; the first of a cause stands for the rest.
    pub fn describe_dropped(&self) -> String {
        let describe = |(cause, dropped): (&DropCause, &Dropped)| {
            let what = format!("{} {}", dropped.count, cause.describe());
            match dropped.documents.first() {
                Some(first) if first.detail.is_empty() => format!("{what} ({})", first.path),
                Some(first) => format!("{what} ({}: {})", first.path, first.detail),
                None => what,
            }
        };
        let parts: Vec<String> = self.dropped.iter().map(describe).collect();
        if parts.is_empty() { "nothing was left out".to_owned() } else { parts.join(", ") }
    }

    pub(super) fn drop(&mut self, cause: DropCause, text_bytes: u64, path: String, detail: String) {
        let dropped = self.dropped.entry(cause).or_default();
        dropped.count += 1;
        dropped.text_bytes += text_bytes;
        if dropped.documents.len() < MAX_EXAMPLES {
            dropped.documents.push(SkippedFile { path, detail });
        }
    }
}

/// Counts one more and keeps the first ones.
pub(super) fn note(list: &mut SkippedFiles, path: String, detail: String) {
    list.count += 1;
    if list.files.len() < MAX_EXAMPLES {
        list.files.push(SkippedFile { path, detail });
    }
}
