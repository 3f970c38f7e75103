//! C and C++ projects to documents.
//!
//! [`collect_files`] walks source trees and writes one JSONL document per source file, in an order and with
//! bytes that depend on nothing but the input:
//!
//! ```text
//! {"text": "...", "project": "leveldb", "file": "db/builder.cc", "licence": "BSD-3-Clause"}
//! ```
//!
//! A file that cannot become a document (binary, not UTF-8, too large, unreadable, ...) is reported with its
//! cause in the [`FilesSummary`] and skipped; it never ends the run.
//!
//! ```
//! use kiln_corpus::{FilesOptions, collect_files};
//! use std::ops::ControlFlow;
//!
//! let folder = tempfile::tempdir().unwrap();
//! let project = folder.path().join("hello");
//! std::fs::create_dir(&project).unwrap();
//! std::fs::write(project.join("main.cpp"), "int main() {}\n").unwrap();
//!
//! let options = FilesOptions::new([&project], folder.path().join("documents"));
//! let summary = collect_files(&options, &mut |_| ControlFlow::Continue(())).unwrap();
//! assert_eq!(summary.documents, 1);
//! ```

mod call_graph;
mod clean;
mod document;
mod error;
mod files;
mod graph;
mod hold_out;
mod index;
mod licence;
mod options;
mod output;
mod pairs;
mod pattern;
mod project_input;
mod projects;
mod shard;
mod stats;
mod summary;
#[cfg(test)]
mod test_project;
mod walk;

pub use call_graph::{CallGraph, GraphFunction, GraphOptions, call_graph};
pub use clean::{
    Banding, PERMUTATIONS, SHINGLE_WORDS, SecretKind, Shingles, Signature, exact_jaccard,
    find_secret, generated_marker,
};
pub use error::CorpusError;
pub use files::{FilesProgress, collect_files};
pub use index::{
    DEFAULT_MAX_DEP_DEPTH, DEFAULT_MAX_REPEAT, DEFAULT_MAX_TOKENS, FailedProject, IndexOptions,
    IndexProgress, IndexSummary, IndexTotals, IndexedProject, index_projects,
};
pub use options::{
    DEFAULT_MAX_FILE_BYTES, DEFAULT_SKIP, EXTENSIONS, FilesOptions, OutputOptions, SourceFilter,
};
pub use output::COMPLETE_MARKER;
pub use pairs::{
    DEFAULT_BODY_BYTES, DEFAULT_DOCSTRING_BYTES, DEFAULT_MAX_SIGNATURE_BYTES, PairCause,
    PairsOptions, PairsSummary, write_pairs,
};
pub use shard::{
    DropCause, Dropped, ShardFormat, ShardOptions, ShardProgress, ShardSize, ShardStage,
    ShardSummary, write_shards,
};
pub use stats::{Amount, CorpusStats, LengthBucket, Lengths, NamedAmount, corpus_stats};
pub use summary::{
    FilesSummary, MAX_EXAMPLES, OutputFile, ProjectSummary, SkipCause, SkippedFile, SkippedFiles,
    Split,
};
