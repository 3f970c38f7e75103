//! Byte-level BPE: training, encoding, decoding and exchange formats.
//!
//! ```text
//! bytes -> split into pieces -> each piece: a token, or merged from its bytes -> ids
//! ```
//!
//! Two kinds share this: `bpe`, general, and `cpp`, whose pre-tokenizer cuts as a C++ lexer would and whose
//! vocabulary begins with the words of C++ ([`Kind`]). Training `bpe` gives the merges of `rustbpe`, encoding the ids of `tiktoken` and of Hugging Face's
//! `tokenizers` on the `tokenizer.json` that [`Tokenizer::save`] writes. Every byte string comes
//! back from its ids unchanged, UTF-8 or not.

mod classes;
mod count;
mod cpp;
mod decode;
mod encode;
mod error;
mod folder;
mod hugging_face;
mod kind;
mod merges;
mod short_map;
mod split;
mod stats;
mod store;
mod tiktoken;
mod tokenizer;
mod train;
mod vocabulary;

pub use count::PieceCounts;
pub use cpp::KEYWORDS;
pub use decode::Utf8Stream;
pub use error::{Error, Result};
pub use folder::{TOKEN_BYTES_FILE, TOKENIZER_FILE};
pub use kind::Kind;
pub use split::pieces;
pub use stats::{Stats, TokenCount};
pub use tokenizer::Tokenizer;
