//! Documents to batches: readers, packing, prefetch and exact resume.
//!
//! ```text
//! JSONL and Parquet files -> Source (index, train/validation split) -> Mixture (weights)
//! Mixture -> Loader (order, tokens, fill-in-the-middle, packing, prefetch) -> Batch
//! ```
//!
//! A [`Source`] knows where every document lies; texts stay on the disk. A [`Loader`] shuffles the training
//! documents anew each epoch, tokenizes them, packs them into rows of T+1 tokens without padding and without
//! throwing anything away, and runs ahead of training on a thread of its own. Its [`LoaderState`] belongs to the
//! last batch that was handed out: a loader that resumes from it gives the same batches, bit for bit.
//!
//! ```
//! use std::sync::Arc;
//! use kiln_data::{Encode, Loader, LoaderOptions, Source, SourceOptions};
//!
//! struct Bytes;
//! impl Encode for Bytes {
//!     fn encode_into(&self, text: &[u8], out: &mut Vec<u32>) {
//!         out.extend(text.iter().map(|b| u32::from(*b)));
//!     }
//!     fn bos_id(&self) -> u32 { 256 }
//!     fn eos_id(&self) -> Option<u32> { None }
//!     fn vocab_size(&self) -> usize { 257 }
//! }
//!
//! let folder = tempfile::tempdir().unwrap();
//! let path = folder.path().join("documents.jsonl");
//! std::fs::write(&path, "{\"text\": \"int a;\"}\n{\"text\": \"int b;\"}\n").unwrap();
//!
//! let source = Arc::new(Source::open(&path, &SourceOptions::default()).unwrap());
//! let mut loader = Loader::new(source, Arc::new(Bytes), LoaderOptions::new(2, 8)).unwrap();
//! let batch = loader.next_batch().unwrap();
//! assert_eq!((batch.rows, batch.seq_len, batch.ids[0]), (2, 8, 256));
//! ```

mod batch;
mod encode;
mod engine;
mod error;
mod feed;
pub mod fim;
mod fingerprint;
mod loader;
mod mixture;
mod order;
mod packer;
mod record;
mod shard;
mod source;
mod state;
mod validation;

pub use batch::Batch;
pub use encode::Encode;
pub use error::DataError;
pub use fim::{FimCounts, FimOptions};
pub use fingerprint::{DataFingerprint, FileFingerprint, LoaderFingerprint, SetFingerprint};
pub use loader::{Loader, LoaderOptions};
pub use mixture::{Mixture, Part};
pub use record::Schema;
pub use shard::scan::{MAX_LINE_BYTES, Problem};
pub use source::{
    COMPLETE_MARKER, FileReport, Folder, FolderEntry, LocalFile, LocalFolder, SkippedFile, Source,
    SourceOptions, SourceReport, Split, StreamOptions,
};
pub use state::{BufferedPiece, LoaderState, SetState, StreamState, TakenShard};
pub use validation::ValidationBatches;
