//! Where a loader stands, small enough to be saved with every checkpoint.

use serde::{Deserialize, Serialize};

use crate::fingerprint::LoaderFingerprint;

/// The rest of a document that waits in the packing buffer, as a reference: its tokens can be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BufferedPiece {
    /// Order in which the pieces entered the buffer.
    pub sequence: u64,
    /// Rows that had been packed when it did.
    pub entered_row: u64,
    /// Epoch in which its document was drawn.
    pub epoch: u64,
    /// Number of its document among the training documents.
    pub document: u32,
    /// Tokens of the document (without BOS) that are packed already.
    pub offset: u32,
}

/// Where a loader stands after a batch. JSON or any other serde format keeps it exactly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoaderState {
    /// What the state depends on.
    pub fingerprint: LoaderFingerprint,
    /// Epoch of the document that is drawn next.
    pub epoch: u64,
    /// Its place in this rank's share of the epoch's order.
    pub position: u64,
    /// Rows packed so far.
    pub rows: u64,
    /// Content tokens (neither BOS nor EOS) packed so far.
    pub content_tokens: u64,
    /// The number that the next piece gets.
    pub next_sequence: u64,
    /// What waits to be packed, by `sequence`.
    pub buffer: Vec<BufferedPiece>,
}

/// A [`LoaderState`] without the part that never changes. It travels with each batch and its memory is used again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub epoch: u64,
    pub position: u64,
    pub rows: u64,
    pub content_tokens: u64,
    pub next_sequence: u64,
    pub buffer: Vec<BufferedPiece>,
}

impl Progress {
    pub(crate) fn of(state: &LoaderState) -> Self {
        Self {
            epoch: state.epoch,
            position: state.position,
            rows: state.rows,
            content_tokens: state.content_tokens,
            next_sequence: state.next_sequence,
            buffer: state.buffer.clone(),
        }
    }

    pub(crate) fn with(&self, fingerprint: LoaderFingerprint) -> LoaderState {
        LoaderState {
            fingerprint,
            epoch: self.epoch,
            position: self.position,
            rows: self.rows,
            content_tokens: self.content_tokens,
            next_sequence: self.next_sequence,
            buffer: self.buffer.clone(),
        }
    }
}
