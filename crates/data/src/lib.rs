//! Documents to batches: readers, packing, prefetch and exact resume.
//!
//! ```text
//! JSONL files -> Source (index, train/validation split) -> Loader (order, tokens, packing, prefetch) -> Batch
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
mod hold_out;
mod jsonl;
mod loader;
mod order;
mod packer;
mod scan;
mod source;
mod state;
mod store;
mod validation;

pub use batch::Batch;
pub use encode::Encode;
pub use error::DataError;
pub use fingerprint::{DataFingerprint, FileFingerprint, LoaderFingerprint};
pub use loader::{Loader, LoaderOptions};
pub use scan::{MAX_LINE_BYTES, Problem};
pub use source::{FileReport, Source, SourceOptions, SourceReport, Split};
pub use state::{BufferedPiece, LoaderState};
pub use validation::ValidationBatches;
