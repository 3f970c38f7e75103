//! What a run did, for people and for machines.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// So many skipped files are named per cause; the rest is only counted.
pub const MAX_EXAMPLES: usize = 100;

/// Why a source file did not become a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipCause {
    /// More bytes than the limit.
    TooLarge,
    /// Holds a NUL byte.
    Binary,
    /// Not valid UTF-8.
    InvalidUtf8,
    /// Nothing but white space.
    Empty,
    /// The system refused to open, read or list it.
    Unreadable,
    /// A symbolic link. Links are not followed: what they name is in the tree already, or is not of this project.
    SymbolicLink,
    /// A pipe, a socket or a device.
    NotRegularFile,
    /// Its path is not UTF-8, so no document can name it.
    PathNotUtf8,
}

impl SkipCause {
    /// A few words for a message.
    pub fn describe(self) -> &'static str {
        match self {
            Self::TooLarge => "too large",
            Self::Binary => "binary",
            Self::InvalidUtf8 => "invalid UTF-8",
            Self::Empty => "empty",
            Self::Unreadable => "unreadable",
            Self::SymbolicLink => "symbolic link",
            Self::NotRegularFile => "not a regular file",
            Self::PathNotUtf8 => "path is not UTF-8",
        }
    }
}

/// One skipped file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedFile {
    /// Path below its source, after the project's name. What is not UTF-8 is shown as U+FFFD.
    pub path: String,
    /// The particulars: a size, the offset of the first bad byte, the system's reason.
    pub detail: String,
}

/// All files that were skipped for one cause.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedFiles {
    /// How many.
    pub count: u64,
    /// The first [`MAX_EXAMPLES`] of them.
    pub files: Vec<SkippedFile>,
}

/// Which side of the hold-out a file of documents is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Everything: no documents were held out.
    All,
    /// What is left to train on.
    Train,
    /// What was held out.
    Validation,
}

/// One written file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    /// Its name in the output folder.
    pub name: String,
    /// Which side it belongs to.
    pub split: Split,
    /// Documents in it.
    pub documents: u64,
    /// Bytes of their texts.
    pub text_bytes: u64,
    /// Its size on disk.
    pub file_bytes: u64,
}

/// One project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectSummary {
    /// Its name, as in the documents.
    pub name: String,
    /// What its licence files say, if a known licence was found.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub licence: Option<String>,
    /// Documents written.
    pub documents: u64,
    /// Bytes of their texts.
    pub text_bytes: u64,
}

/// What [`collect_files`](crate::collect_files) did. The same in JSON is the content of `_COMPLETE`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FilesSummary {
    /// Documents written.
    pub documents: u64,
    /// Bytes of their texts.
    pub text_bytes: u64,
    /// Of `documents`, those that were held out.
    pub validation_documents: u64,
    /// Of `text_bytes`, those that were held out.
    pub validation_text_bytes: u64,
    /// The written files.
    pub files: Vec<OutputFile>,
    /// The projects, in the order of their documents.
    pub projects: Vec<ProjectSummary>,
    /// Files without a C or C++ extension.
    pub other_files: u64,
    /// Folders that the skip list kept out.
    pub skipped_folders: u64,
    /// Source files that did not become documents, by cause.
    pub skipped: BTreeMap<SkipCause, SkippedFiles>,
}

impl FilesSummary {
    /// Number of source files that were skipped, whatever the cause.
    pub fn skipped_files(&self) -> u64 {
        self.skipped.values().map(|s| s.count).sum()
    }

    /// `3 too large, 1 binary (src/a.h: NUL byte at 17)`; the first file of a cause stands for the rest.
    pub fn describe_skipped(&self) -> String {
        if self.skipped.is_empty() {
            return "nothing skipped".to_owned();
        }
        let parts: Vec<String> = self.skipped.iter().map(describe_cause).collect();
        parts.join(", ")
    }

    pub(crate) fn skip(&mut self, cause: SkipCause, path: String, detail: String) {
        let skipped = self.skipped.entry(cause).or_default();
        skipped.count += 1;
        if skipped.files.len() < MAX_EXAMPLES {
            skipped.files.push(SkippedFile { path, detail });
        }
    }
}

fn describe_cause((cause, skipped): (&SkipCause, &SkippedFiles)) -> String {
    let what = format!("{} {}", skipped.count, cause.describe());
    match skipped.files.first() {
        Some(file) if file.detail.is_empty() => format!("{what} ({})", file.path),
        Some(file) => format!("{what} ({}: {})", file.path, file.detail),
        None => what,
    }
}
