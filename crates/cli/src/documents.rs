//! What `--data` may name: JSONL and Parquet files, folders of them, and folders of source files.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::Context;
use kiln_corpus::{FilesOptions, collect_files};
use kiln_data::{
    DataError, FileReport, Problem, SkippedFile, Source, SourceOptions, SourceReport, Split,
};
use rayon::prelude::*;
use serde::Serialize;
use tempfile::TempDir;

use crate::interrupt::{self, Graceful, Interrupted};
use crate::output::{Console, count, printable};

/// Documents are held in memory in batches of about this many bytes ...
const BATCH_BYTES: u64 = 32 << 20;
/// ... and at most this many documents.
const BATCH_DOCUMENTS: u64 = 4096;
/// So many bad lines are named one by one.
const NAMED_PROBLEMS: usize = 5;

/// Which documents to take.
#[derive(Debug, Clone, Copy)]
pub struct Selection {
    /// A line that is no document is an error.
    pub strict: bool,
    /// Take the `validation` file of a folder, too.
    pub held_out: bool,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct DocumentsReport {
    /// Documents taken.
    pub documents: u64,
    /// Bytes of their texts.
    pub text_bytes: u64,
    /// Documents in `validation` files that were left out.
    pub held_out_documents: u64,
    /// Files that cannot be read as what they are called.
    pub unreadable_files: Vec<SkippedFile>,
    /// Lines of JSONL and rows of Parquet that are no documents.
    pub bad_lines: u64,
    /// The first of them.
    pub problems: Vec<Problem>,
    /// Source files that cannot be a document.
    pub skipped_files: u64,
}

/// Opened documents in the order of the paths.
pub struct Documents {
    parts: Vec<Part>,
    report: DocumentsReport,
    /// Held while there are temporary files to remove, which must outlive them; else Ctrl-C needs no care.
    graceful: Option<Graceful>,
}

struct Part {
    source: Source,
    /// The sides to take.
    splits: &'static [Split],
    /// Holds what `source` reads when that was collected from source files.
    _collected: Option<TempDir>,
}

impl Documents {
    /// Opens all paths; bad lines are named on the console.
    pub fn open(
        paths: &[PathBuf],
        selection: Selection,
        console: &Console,
    ) -> anyhow::Result<Self> {
        let report = DocumentsReport::default();
        let mut documents = Self { parts: Vec::new(), report, graceful: None };
        for path in paths {
            documents.check_interrupt()?;
            documents.add(path, selection, console)?;
        }
        documents.name_bad_lines(console);
        Ok(documents)
    }

    fn add(&mut self, path: &Path, selection: Selection, console: &Console) -> anyhow::Result<()> {
        // The last file of a folder is always one side of its own; of a single file nothing is held out.
        let options = SourceOptions {
            validation_share: 0.0,
            strict: selection.strict,
            ..SourceOptions::default()
        };
        let (source, collected) = match Source::open(path, &options) {
            Ok(source) => (source, None),
            Err(DataError::NoFiles { .. }) => {
                let graceful = self.graceful.get_or_insert_with(interrupt::claim);
                let (folder, skipped) = collect(path, console, graceful)?;
                self.report.skipped_files += skipped;
                (Source::open(folder.path(), &options)?, Some(folder))
            }
            Err(error) => return Err(error.into()),
        };
        let leave_out = !selection.held_out && ends_with_held_out(source.report());
        let splits: &[Split] =
            if leave_out { &[Split::Train] } else { &[Split::Train, Split::Validation] };
        self.report.add(source.report(), leave_out);
        self.parts.push(Part { source, splits, _collected: collected });
        Ok(())
    }

    fn name_bad_lines(&self, console: &Console) {
        let report = &self.report;
        for file in &report.unreadable_files {
            let message =
                format!("{} cannot be read and was skipped: {}", file.path.display(), file.why);
            console.warn(printable(&message));
        }
        if report.bad_lines == 0 {
            return;
        }
        for problem in report.problems.iter().take(NAMED_PROBLEMS) {
            console.warn(printable(&problem.to_string()));
        }
        let lines = count(report.bad_lines);
        console.warn(format_args!("lines that are no documents, skipped: {lines}"));
    }

    /// What was found.
    pub fn report(&self) -> &DocumentsReport {
        &self.report
    }

    /// The report alone, once the documents themselves are no longer needed.
    pub fn into_report(self) -> DocumentsReport {
        self.report
    }

    fn check_interrupt(&self) -> Result<(), Interrupted> {
        self.graceful.as_ref().map_or(Ok(()), Graceful::check)
    }

    /// Calls `each` with all documents in order, a batch at a time.
    pub fn for_each_batch(&self, mut each: impl FnMut(Vec<String>)) -> anyhow::Result<()> {
        let mean = self.report.text_bytes / self.report.documents.max(1);
        let size = (BATCH_BYTES / mean.max(1)).clamp(1, BATCH_DOCUMENTS) as usize;
        for part in &self.parts {
            for split in part.splits {
                let len = part.source.len(*split);
                for start in (0..len).step_by(size) {
                    let batch = (start..len.min(start + size)).into_par_iter();
                    let texts = batch.map(|index| part.source.text(*split, index));
                    each(texts.collect::<Result<_, DataError>>()?);
                    self.check_interrupt()?;
                }
            }
        }
        Ok(())
    }
}

impl DocumentsReport {
    fn add(&mut self, found: &SourceReport, leave_out: bool) {
        self.documents += found.train_documents;
        self.text_bytes += found.train_text_bytes;
        if leave_out {
            self.held_out_documents += found.validation_documents;
        } else {
            self.documents += found.validation_documents;
            self.text_bytes += found.validation_text_bytes;
        }
        self.unreadable_files.extend(found.skipped.iter().cloned());
        self.bad_lines += found.problem_count;
        self.problems.extend(found.problems.iter().cloned());
    }
}

/// Whether a folder has files of documents that were held out: those called `validation`.
fn ends_with_held_out(report: &SourceReport) -> bool {
    let held_out = |file: &FileReport| {
        let name = file.path.file_name().and_then(|name| name.to_str());
        file.validation && name.is_some_and(|name| name.starts_with("validation"))
    };
    report.files.len() > 1 && report.files.iter().any(held_out)
}

/// Collects source files into a temporary folder; also says how many had to be skipped.
fn collect(path: &Path, console: &Console, graceful: &Graceful) -> anyhow::Result<(TempDir, u64)> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let progress = console.progress_bytes("reading", 0);
    let summary = collect_files(&FilesOptions::new([path], folder.path()), &mut |done| {
        progress.set(done.bytes, done.total_bytes);
        if graceful.requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .with_context(|| format!("{} holds no .jsonl, .jsonl.zst or .parquet file", path.display()))?;
    drop(progress);
    if !summary.skipped.is_empty() {
        console.warn(format_args!("skipped {}", printable(&summary.describe_skipped())));
    }
    Ok((folder, summary.skipped_files()))
}
