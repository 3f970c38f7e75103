//! What indexing did, for people and for machines.

use std::collections::BTreeMap;

use kiln_index::{Failure, FailureCause, Parser};
use serde::{Deserialize, Serialize};

use crate::summary::{MAX_EXAMPLES, OutputFile, SkipCause, SkippedFile, SkippedFiles};

/// What [`index_projects`](crate::index_projects) did. The same in JSON is the content of `_COMPLETE`; when
/// projects were appended, it covers the earlier ones, too.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct IndexSummary {
    /// Over all projects.
    pub totals: IndexTotals,
    /// Of the documents, those that were held out.
    pub validation_documents: u64,
    /// Bytes of their texts.
    pub validation_text_bytes: u64,
    /// The share of files that was asked to be held out.
    pub validation_share: f64,
    /// Whether tokens are those of a tokenizer; else every four bytes count as one.
    pub tokenizer: bool,
    /// The written files.
    pub files: Vec<OutputFile>,
    /// The projects, in the order of their documents.
    pub projects: Vec<IndexedProject>,
    /// Projects that gave no documents, and why.
    pub failed_projects: Vec<FailedProject>,
    /// Projects of this run that were in the folder already, so left as they were.
    #[serde(default)]
    pub kept_projects: Vec<String>,
    /// What the parsers had to say, each once.
    pub notices: Vec<String>,
    /// Files that could not be parsed or only in part, by cause.
    pub failures: BTreeMap<String, SkippedFiles>,
    /// Source files that were not read, by cause.
    pub skipped: BTreeMap<SkipCause, SkippedFiles>,
    /// Files without a C or C++ extension.
    pub other_files: u64,
    /// Folders that the skip list kept out.
    pub skipped_folders: u64,
}

/// Counts of one project or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexTotals {
    /// Source files that were read.
    pub source_files: u64,
    /// Their bytes.
    pub source_bytes: u64,
    /// Functions with a body.
    pub functions: u64,
    /// Classes, structs and unions.
    pub classes: u64,
    /// Distinct pairs of caller and callee.
    pub edges: u64,
    /// Levels of the call graph: of all projects, the most.
    pub levels: u64,
    /// Documents written.
    pub documents: u64,
    /// Bytes of their texts.
    pub text_bytes: u64,
    /// Tokens of their texts.
    pub tokens: u64,
    /// Units that were parsed.
    pub units: u64,
    /// Units in which the parser met errors.
    pub units_with_errors: u64,
    /// Errors in all units.
    pub errors: u64,
}

impl IndexTotals {
    pub(crate) fn add(&mut self, other: &Self) {
        self.source_files += other.source_files;
        self.source_bytes += other.source_bytes;
        self.functions += other.functions;
        self.classes += other.classes;
        self.edges += other.edges;
        self.levels = self.levels.max(other.levels);
        self.documents += other.documents;
        self.text_bytes += other.text_bytes;
        self.tokens += other.tokens;
        self.units += other.units;
        self.units_with_errors += other.units_with_errors;
        self.errors += other.errors;
    }
}

/// One project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexedProject {
    /// Its name, as in the documents.
    pub name: String,
    /// What its licence files say, if a known licence was found.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub licence: Option<String>,
    /// Which parser read it.
    pub parser: Parser,
    /// What was found and written.
    #[serde(flatten)]
    pub totals: IndexTotals,
}

/// A project that gave no documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedProject {
    /// Its name, or the path that was given.
    pub name: String,
    /// Why.
    pub reason: String,
}

impl IndexSummary {
    /// Number of source files that were skipped, whatever the cause.
    pub fn skipped_files(&self) -> u64 {
        self.skipped.values().map(|s| s.count).sum()
    }

    pub(crate) fn skip(&mut self, cause: SkipCause, path: String, detail: String) {
        add_example(self.skipped.entry(cause).or_default(), path, detail);
    }

    pub(crate) fn fail(&mut self, project: &str, failure: &Failure) {
        let path = format!("{project}/{}", failure.file);
        let failures = self.failures.entry(describe(failure.cause)).or_default();
        add_example(failures, path, failure.detail.clone());
    }

    pub(crate) fn notice(&mut self, notice: String) {
        if !self.notices.contains(&notice) {
            self.notices.push(notice);
        }
    }
}

fn add_example(skipped: &mut SkippedFiles, path: String, detail: String) {
    skipped.count += 1;
    if skipped.files.len() < MAX_EXAMPLES {
        skipped.files.push(SkippedFile { path, detail });
    }
}

/// The cause in words: its name in JSON.
fn describe(cause: FailureCause) -> String {
    let name = serde_json::to_value(cause).expect("a plain name always serialises");
    name.as_str().unwrap_or_default().replace('_', " ")
}
