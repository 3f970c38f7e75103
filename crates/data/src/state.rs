//! Where a loader stands, small enough to be saved with every checkpoint.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::fim::FimCounts;
use crate::fingerprint::{FileFingerprint, LoaderFingerprint};

/// The rest of a document that waits in the packing buffer, as a reference: its tokens can be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BufferedPiece {
    /// Order in which the pieces entered the buffer.
    pub sequence: u64,
    /// Rows that had been packed when it did.
    pub entered_row: u64,
    /// When it is its turn, on the clock that documents longer than a row have in common.
    #[serde(default)]
    pub due: u64,
    /// Number of its data set.
    #[serde(default)]
    pub set: u32,
    /// Epoch in which its document was drawn.
    pub epoch: u64,
    /// Number of its document among the training documents of the set.
    pub document: u32,
    /// Tokens of the document (without BOS) that are packed already.
    pub offset: u32,
    /// Whether it is used as it is although it was to be rearranged.
    #[serde(default)]
    pub plain: bool,
}

/// A file of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenShard {
    /// The file.
    #[serde(flatten)]
    pub file: FileFingerprint,
    /// Training documents in the files before it: the number that its first one has.
    pub entered: u64,
}

/// What has been seen of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamState {
    /// The files for validation; none where documents are held out of all files.
    pub validation: Vec<String>,
    /// The files of training documents in the order in which they were taken up, which numbers the documents.
    pub shards: Vec<TakenShard>,
    /// Whether there will be no more.
    pub complete: bool,
}

/// Where a loader stands in one data set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetState {
    /// Epoch of the document that is drawn next.
    pub epoch: u64,
    /// In the first epoch of a stream, the file that the document is of.
    #[serde(default)]
    pub shard: u32,
    /// The document's place in this rank's share of the order of the epoch, or of the file.
    pub position: u64,
    /// Tokens of all documents drawn so far.
    #[serde(default)]
    pub tokens: u64,
    /// The files, where they come as a stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<Arc<StreamState>>,
}

/// Where a loader stands after a batch. JSON or any other serde format keeps it exactly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoaderState {
    /// What the state depends on.
    pub fingerprint: LoaderFingerprint,
    /// For each data set where it stands.
    pub sets: Vec<SetState>,
    /// Rows packed so far.
    pub rows: u64,
    /// Content tokens (neither BOS nor EOS) packed so far.
    pub content_tokens: u64,
    /// What was rearranged so far.
    #[serde(default)]
    pub fim: FimCounts,
    /// Tokens drawn of the documents of each class of lengths.
    pub drawn: Vec<u64>,
    /// The number that the next piece gets.
    pub next_sequence: u64,
    /// What waits to be packed, by `sequence`.
    pub buffer: Vec<BufferedPiece>,
}

/// A [`LoaderState`] without the part that never changes. It travels with each batch and its memory is used again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub sets: Vec<SetState>,
    pub rows: u64,
    pub content_tokens: u64,
    pub fim: FimCounts,
    pub drawn: Vec<u64>,
    pub next_sequence: u64,
    pub buffer: Vec<BufferedPiece>,
}

impl Progress {
    pub(crate) fn of(state: &LoaderState) -> Self {
        Self {
            sets: state.sets.clone(),
            rows: state.rows,
            content_tokens: state.content_tokens,
            fim: state.fim,
            drawn: state.drawn.clone(),
            next_sequence: state.next_sequence,
            buffer: state.buffer.clone(),
        }
    }

    pub(crate) fn with(&self, fingerprint: LoaderFingerprint) -> LoaderState {
        LoaderState {
            fingerprint,
            sets: self.sets.clone(),
            rows: self.rows,
            content_tokens: self.content_tokens,
            fim: self.fim,
            drawn: self.drawn.clone(),
            next_sequence: self.next_sequence,
            buffer: self.buffer.clone(),
        }
    }
}
