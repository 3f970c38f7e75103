//! Projects to documents that have definitions after what they use.
//!
//! ```text
//! files -> definitions and calls -> units and their graph -> plans -> texts within the budget -> JSONL
//! ```

mod append;
mod compose;
mod fit;
mod options;
mod plan;
mod project;
mod run;
mod summary;
#[cfg(test)]
mod tests;
mod text;
mod units;

pub use options::{DEFAULT_MAX_DEP_DEPTH, DEFAULT_MAX_REPEAT, DEFAULT_MAX_TOKENS, IndexOptions};
pub use run::{IndexProgress, index_projects};
pub use summary::{FailedProject, IndexSummary, IndexTotals, IndexedProject};
