//! What was found when a data set was opened.

use std::path::PathBuf;

use serde::Serialize;

use crate::shard::Shard;
use crate::shard::scan::Problem;

/// One file of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileReport {
    /// Its path.
    pub path: PathBuf,
    /// Bytes in it: of a JSONL file after decompression, of a Parquet file as it lies there.
    pub bytes: u64,
    /// Documents in it.
    pub documents: u64,
    /// Whether all of them are for validation.
    pub validation: bool,
}

/// A file that had to be left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SkippedFile {
    /// Its path.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

/// What was found when a data set was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SourceReport {
    /// The files in the order in which they are read, those for validation last.
    pub files: Vec<FileReport>,
    /// Files of the folder that were left alone.
    pub ignored: Vec<PathBuf>,
    /// Files that cannot be read as what they are called.
    pub skipped: Vec<SkippedFile>,
    /// Documents to train on.
    pub train_documents: u64,
    /// Bytes of their texts.
    pub train_text_bytes: u64,
    /// Documents for validation.
    pub validation_documents: u64,
    /// Bytes of their texts.
    pub validation_text_bytes: u64,
    /// Documents with an empty text, which were passed over.
    pub empty_documents: u64,
    /// Lines and rows that are no documents, which were passed over.
    pub problem_count: u64,
    /// The first of them.
    pub problems: Vec<Problem>,
    /// What a user should know although nothing failed.
    pub warnings: Vec<String>,
}

impl SourceReport {
    pub(crate) fn add(&mut self, shard: &Shard, keep: usize) {
        let bytes = |entries: &[crate::shard::scan::Entry]| -> u64 {
            entries.iter().map(|entry| u64::from(entry.text_bytes)).sum()
        };
        self.files.push(FileReport {
            path: shard.path.clone(),
            bytes: shard.found.bytes,
            documents: shard.documents(),
            validation: shard.train.is_empty() && !shard.validation.is_empty(),
        });
        self.train_documents += shard.train.len() as u64;
        self.train_text_bytes += bytes(&shard.train);
        self.validation_documents += shard.validation.len() as u64;
        self.validation_text_bytes += bytes(&shard.validation);
        self.empty_documents += shard.found.empty_documents;
        self.problem_count += shard.found.problem_count;
        let room = keep.saturating_sub(self.problems.len());
        self.problems.extend(shard.found.problems.iter().take(room).cloned());
    }

    /// Fills in the warnings. `holds_out` where documents were to be held out.
    pub(crate) fn warn(&mut self, holds_out: bool) {
        if let Some(first) = self.skipped.first() {
            let (count, files) = (self.skipped.len(), plural(self.skipped.len()));
            let (path, why) = (first.path.display(), &first.why);
            let which = if count == 1 { "" } else { ", the first" };
            self.warnings.push(format!(
                "{count} {files} cannot be read and {} skipped{which}: {path}: {why}",
                if count == 1 { "was" } else { "were" }
            ));
        }
        if self.problem_count > 0 {
            let first = self.problems.first().map(|p| format!(", the first: {p}"));
            self.warnings.push(format!(
                "{} lines are no documents and were skipped{}",
                self.problem_count,
                first.unwrap_or_default()
            ));
        }
        if self.validation_documents == 0 && holds_out {
            self.warnings.push("there are no validation documents".to_owned());
        }
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "file" } else { "files" }
}
