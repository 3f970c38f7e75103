//! One document per source file.

use std::ops::ControlFlow;
use std::path::PathBuf;

use rayon::prelude::*;

use crate::document::{self, Line, Skip};
use crate::error::CorpusError;
use crate::hold_out::HoldOut;
use crate::options::{FilesOptions, OutputOptions};
use crate::output::{self, Sink};
use crate::projects::{self, Project, Projects};
use crate::summary::{FilesSummary, ProjectSummary, Split};
use crate::walk::{self, SourceFile};

/// Files are read in parallel in windows of this many bytes, which bounds the memory ...
const WINDOW_BYTES: u64 = 16 << 20;
/// ... and of this many files, so that progress is reported also on many small ones.
const WINDOW_FILES: usize = 512;

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilesProgress {
    /// Source files read (or skipped) so far.
    pub files: u64,
    /// Source files in all.
    pub total_files: u64,
    /// Bytes of the files read so far.
    pub bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

/// Called now and then; `Break` ends the run with [`CorpusError::Cancelled`] and leaves the folder as it was.
type OnProgress<'a> = &'a mut dyn FnMut(FilesProgress) -> ControlFlow<()>;

/// Walks the sources and writes one document per C or C++ file to `options.out`.
///
/// The folder gets `documents.jsonl`, or `train.jsonl` and `validation.jsonl` when a share is held out, and then
/// `_COMPLETE`, which holds the returned summary as JSON. Documents are ordered by source, then by the bytes of
/// the path below it; the same input gives the same bytes. `progress` is called after every window of files.
///
/// # Errors
///
/// A source that is missing, no folder, or overlaps another; sources without any source file, or with none that
/// can be used; a finished output folder without `overwrite`; a failure to write; [`CorpusError::Cancelled`].
pub fn collect_files(
    options: &FilesOptions,
    progress: OnProgress<'_>,
) -> Result<FilesSummary, CorpusError> {
    options.check()?;
    let sources = projects::resolve(&options.sources, options.projects_dir)?;
    let mut listing = FilesSummary::default();
    let mut projects = Projects::default();
    let files = walk::list(&options.filter.skip, &sources, &mut projects, &mut listing);
    if files.is_empty() {
        return Err(nothing_found(options.sources.clone(), listing));
    }
    let output = &options.output;
    output::prepare(output)?;

    let run = Run { options, output, files: &files, projects: &projects.list, listing: &listing };
    let rule = HoldOut::share(options.validation_share);
    let mut pass = run.pass(rule, progress)?;
    // A handful of documents may all fall on one side. The hashes are known only now, and such a set is small.
    if let Some(corrected) = rule.corrected(pass.hashes) {
        pass = run.pass(corrected, progress)?;
    }
    if pass.summary.documents == 0 {
        let summary = Box::new(pass.summary);
        return Err(CorpusError::NothingUsable { paths: options.sources.clone(), summary });
    }
    let Pass { summary, sinks, .. } = pass;
    output::publish(output, sinks, |files| FilesSummary { files, ..summary })
}

fn nothing_found(paths: Vec<PathBuf>, listing: FilesSummary) -> CorpusError {
    if listing.skipped.is_empty() {
        CorpusError::NoSourceFiles { paths }
    } else {
        CorpusError::NothingUsable { paths, summary: Box::new(listing) }
    }
}

/// What stays the same when the documents have to be written a second time.
struct Run<'a> {
    options: &'a FilesOptions,
    output: &'a OutputOptions,
    files: &'a [SourceFile],
    projects: &'a [Project],
    listing: &'a FilesSummary,
}

/// All documents, written under temporary names.
struct Pass<'a> {
    summary: FilesSummary,
    sinks: Vec<Sink<'a>>,
    /// Smallest and largest content hash.
    hashes: Option<(u64, u64)>,
}

impl<'a> Run<'a> {
    fn pass(&self, rule: HoldOut, progress: OnProgress<'_>) -> Result<Pass<'a>, CorpusError> {
        let mut pass = self.start();
        let mut done = FilesProgress {
            files: 0,
            total_files: self.files.len() as u64,
            bytes: 0,
            total_bytes: self.files.iter().map(|f| f.bytes).sum(),
        };
        let mut rest = self.files;
        while !rest.is_empty() {
            let (window, after) = rest.split_at(window_len(rest));
            rest = after;
            let lines: Vec<Result<Line, Skip>> = window.par_iter().map(|f| self.read(f)).collect();
            for (file, line) in window.iter().zip(lines) {
                pass.add(self, rule, file, line)?;
            }
            done.files += window.len() as u64;
            done.bytes += window.iter().map(|f| f.bytes).sum::<u64>();
            if progress(done).is_break() {
                return Err(CorpusError::Cancelled);
            }
        }
        pass.sinks.iter_mut().try_for_each(Sink::end_shard)?;
        pass.summary.projects.retain(|project| project.documents > 0);
        Ok(pass)
    }

    fn start(&self) -> Pass<'a> {
        let mut summary = self.listing.clone();
        let name_only = |project: &Project| ProjectSummary {
            name: project.name.clone(),
            licence: project.licence.clone(),
            documents: 0,
            text_bytes: 0,
        };
        summary.projects = self.projects.iter().map(name_only).collect();
        let splits: &[Split] = if self.options.validation_share > 0.0 {
            &[Split::Train, Split::Validation]
        } else {
            &[Split::All]
        };
        let sinks = splits.iter().map(|split| Sink::new(self.output, *split)).collect();
        Pass { summary, sinks, hashes: None }
    }

    fn read(&self, file: &SourceFile) -> Result<Line, Skip> {
        let text = document::read_text(&file.path, self.options.filter.max_file_bytes)?;
        let project = &self.projects[file.project];
        Ok(document::line(&text, &project.name, &file.file, project.licence.as_deref()))
    }
}

impl Pass<'_> {
    fn add(
        &mut self,
        run: &Run<'_>,
        rule: HoldOut,
        file: &SourceFile,
        line: Result<Line, Skip>,
    ) -> Result<(), CorpusError> {
        let line = match line {
            Ok(line) => line,
            Err((cause, detail)) => {
                let path = format!("{}/{}", run.projects[file.project].name, file.file);
                self.summary.skip(cause, path, detail);
                return Ok(());
            }
        };
        let (low, high) = self.hashes.unwrap_or((line.hash, line.hash));
        self.hashes = Some((low.min(line.hash), high.max(line.hash)));
        let held_out = rule.takes(line.hash);
        self.sinks[usize::from(held_out)].write(&line.json, line.text_bytes)?;

        let project = &mut self.summary.projects[file.project];
        project.documents += 1;
        project.text_bytes += line.text_bytes;
        self.summary.documents += 1;
        self.summary.text_bytes += line.text_bytes;
        if held_out {
            self.summary.validation_documents += 1;
            self.summary.validation_text_bytes += line.text_bytes;
        }
        Ok(())
    }
}

/// Length of the next window, at least 1.
fn window_len(files: &[SourceFile]) -> usize {
    let mut bytes = 0;
    let fits = |file: &&SourceFile| {
        bytes += file.bytes;
        bytes <= WINDOW_BYTES
    };
    files.iter().take(WINDOW_FILES).take_while(fits).count().max(1)
}
