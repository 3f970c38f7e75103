//! Everything that can go wrong, with what and where.

use std::path::PathBuf;

/// Why a tokenizer could not be trained, loaded, saved or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not the JSON that it should be.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        source: serde_json::Error,
    },
    /// A file is readable but its content is not a tokenizer of Kiln.
    #[error("{}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, naming line, token or merge.
        reason: String,
    },
    /// A token id outside the vocabulary.
    #[error("unknown token id {id}: the vocabulary has ids 0 to {}", vocab_size - 1)]
    UnknownId {
        /// The id.
        id: u32,
        /// Number of ids, specials included.
        vocab_size: usize,
    },
    /// The training corpus has fewer pairs than the vocabulary needs.
    #[error(
        "a vocabulary of {requested} tokens is larger than this corpus can give: it gives {available} \
         (256 bytes, {fixed} fixed tokens, {merges} learned ones, {specials} special tokens)"
    )]
    VocabTooLarge {
        /// The vocabulary size that was asked for.
        requested: usize,
        /// The largest vocabulary size that this corpus allows.
        available: usize,
        /// Tokens of the kind's fixed vocabulary among `available`.
        fixed: usize,
        /// Tokens that merges make, without fixed ones, among `available`.
        merges: usize,
        /// Special tokens among `available`.
        specials: usize,
    },
    /// The vocabulary has no room for what every vocabulary of its kind has.
    #[error(
        "a vocabulary of {requested} tokens is too small: it needs at least {minimum} \
         (256 bytes, fixed and special tokens)"
    )]
    VocabTooSmall {
        /// The vocabulary size that was asked for.
        requested: usize,
        /// The smallest possible vocabulary size.
        minimum: usize,
    },
    /// More data than 32-bit positions and ids can address.
    #[error("{what} is {size}, more than the supported {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        size: u64,
        /// The largest supported size.
        limit: u64,
    },
    /// A tokenizer kind that does not exist.
    #[error("unknown tokenizer kind `{0}`: expected `bpe` or `cpp`")]
    UnknownKind(String),
}

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
