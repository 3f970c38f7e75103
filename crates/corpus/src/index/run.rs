//! Many projects, a few at a time.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rayon::prelude::*;

use super::append::{self, Earlier};
use super::options::IndexOptions;
use super::project::{Indexed, Indexer, Outcome};
use super::summary::{FailedProject, IndexSummary, IndexedProject};
use super::units::CountTokens;
use crate::document;
use crate::error::CorpusError;
use crate::hold_out::{HoldOut, content_hash};
use crate::options::OutputOptions;
use crate::output::{self, Sink};
use crate::projects::{self, Projects};
use crate::summary::{FilesSummary, Split};
use crate::walk::{self, SourceFile};

/// Projects of so many bytes of source together are worked on at the same time, which bounds the memory. A larger
/// project is alone.
const BATCH_BYTES: u64 = 8 << 20;
/// ... and so many projects.
const BATCH_PROJECTS: usize = 64;
/// Where fewer documents than this are to be expected on one side, it may stay empty.
const FEW: f64 = 64.0;

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexProgress {
    /// Projects that are done.
    pub projects: u64,
    /// Projects in all.
    pub total_projects: u64,
    /// Bytes of source parsed so far.
    pub bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

/// Called from many threads; `Break` ends the run with [`CorpusError::Cancelled`] and leaves the folder as it was.
type OnProgress<'a> = &'a (dyn Fn(IndexProgress) -> ControlFlow<()> + Sync);

/// Parses the projects and writes documents that have definitions after what they use.
///
/// Every document opens with the preamble of its file, then come the definitions that its roots call, transitively
/// and those called first, then the roots themselves: what nothing else calls. Every text is a piece of a source,
/// and every piece of a source is in some document. Tokens are counted by `count_tokens`, such as a tokenizer's
/// encoder without BOS and EOS; without one every four bytes count as one.
///
/// The folder gets files as [`collect_files`](crate::collect_files) names them, and `_COMPLETE`, which holds the
/// summary. The same input gives the same bytes on any number of threads.
///
/// # Errors
///
/// As [`collect_files`](crate::collect_files), and projects of which none could be parsed; one of several that
/// cannot is in the summary instead. [`CorpusError::CannotAppend`] when the folder's content has another form.
pub fn index_projects(
    options: &IndexOptions,
    count_tokens: Option<CountTokens<'_>>,
    progress: OnProgress<'_>,
) -> Result<IndexSummary, CorpusError> {
    options.check()?;
    let output = options.output.clone();
    let mut work = Work::find(options)?;
    let earlier =
        if options.append { append::open(options, count_tokens.is_some())? } else { None };
    if let Some(earlier) = &earlier {
        work.leave_out(&earlier.summary);
        if work.projects.iter().all(|project| project.files.is_empty()) {
            return Ok(work.unchanged(earlier));
        }
    } else {
        output::prepare(&output)?;
    }
    let hold_out = work.hold_out(options, earlier.is_some());
    let cancelled = AtomicBool::new(false);
    let indexer = Indexer {
        options,
        parse: options.parse.clone(),
        hold_out,
        count: count_tokens.unwrap_or(&quarter_of_bytes),
        cancelled: &cancelled,
    };
    let mut run = Run::new(options, &output, earlier.as_ref(), work);
    run.summary.tokenizer = count_tokens.is_some();
    run.index_all(indexer, progress)?;
    run.finish(earlier)
}

fn quarter_of_bytes(text: &str) -> usize {
    text.len().div_ceil(4)
}

/// A project and its files.
struct Task {
    about: projects::Project,
    files: Vec<SourceFile>,
}

impl Task {
    fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// What is to be done.
struct Work {
    projects: Vec<Task>,
    listing: FilesSummary,
    failed: Vec<FailedProject>,
    kept: Vec<String>,
    paths: Vec<PathBuf>,
}

impl Work {
    fn find(options: &IndexOptions) -> Result<Self, CorpusError> {
        let mut failed = Vec::new();
        let (listed, missing): (Vec<_>, Vec<_>) =
            options.projects.iter().cloned().partition(|path| path.is_dir());
        failed.extend(missing.iter().map(|path| FailedProject {
            name: path.display().to_string(),
            reason: "no such folder".to_owned(),
        }));
        let paths: Vec<PathBuf> = options.sources.iter().chain(&listed).cloned().collect();
        let mut sources = projects::resolve(&paths, false)?;
        let own = sources.iter_mut().take(options.sources.len());
        own.for_each(|source| source.projects_dir = options.projects_dir);

        let mut listing = FilesSummary::default();
        let mut found = Projects::default();
        let files = walk::list(&options.filter.skip, &sources, &mut found, &mut listing);
        if files.is_empty() {
            return Err(nothing_found(options.sources.iter().chain(&options.projects), listing));
        }
        let without = (0..sources.len()).filter(|at| !found.has(*at));
        failed.extend(without.map(|at| FailedProject {
            name: sources[at].name.clone(),
            reason: "no C or C++ source file".to_owned(),
        }));
        let task = |about| Task { about, files: Vec::new() };
        let mut projects: Vec<Task> = found.list.into_iter().map(task).collect();
        files.into_iter().for_each(|file| projects[file.project].files.push(file));
        Ok(Self { projects, listing, failed, kept: Vec::new(), paths })
    }

    fn leave_out(&mut self, earlier: &IndexSummary) {
        for task in &mut self.projects {
            if earlier.projects.iter().any(|project| project.name == task.about.name) {
                self.kept.push(task.about.name.clone());
                task.files.clear();
            }
        }
    }

    fn unchanged(self, earlier: &Earlier) -> IndexSummary {
        IndexSummary {
            kept_projects: self.kept,
            failed_projects: self.failed,
            ..earlier.summary.clone()
        }
    }

    /// The rule by which files are held out. When it may leave one side empty, all files are looked at first.
    fn hold_out(&self, options: &IndexOptions, appending: bool) -> HoldOut {
        let share = options.validation_share;
        let rule = HoldOut::share(share);
        let files: Vec<_> = self.projects.iter().flat_map(|task| &task.files).collect();
        if share == 0.0 || appending || files.len() as f64 * share.min(1.0 - share) > FEW {
            return rule;
        }
        let hash = |file: &&SourceFile| {
            let text = document::read_text(&file.path, options.filter.max_file_bytes).ok()?;
            Some(content_hash(&text))
        };
        let hashes: Vec<u64> = files.par_iter().filter_map(hash).collect();
        let range = hashes.iter().min().copied().zip(hashes.iter().max().copied());
        rule.corrected(range).unwrap_or(rule)
    }
}

fn nothing_found<'a>(
    paths: impl Iterator<Item = &'a PathBuf>,
    listing: FilesSummary,
) -> CorpusError {
    let paths = paths.cloned().collect();
    if listing.skipped.is_empty() {
        CorpusError::NoSourceFiles { paths }
    } else {
        CorpusError::NothingUsable { paths, summary: Box::new(listing) }
    }
}

/// The documents so far, under temporary names.
struct Run<'a> {
    sinks: Vec<Sink<'a>>,
    summary: IndexSummary,
    work: Work,
    /// The first reason why a project could not be parsed.
    error: Option<CorpusError>,
}

impl<'a> Run<'a> {
    fn new(
        options: &IndexOptions,
        output: &'a OutputOptions,
        earlier: Option<&Earlier>,
        mut work: Work,
    ) -> Self {
        let splits: &[Split] = if options.validation_share > 0.0 {
            &[Split::Train, Split::Validation]
        } else {
            &[Split::All]
        };
        let number = earlier.map_or(0, |earlier| earlier.next_number);
        let sinks = splits.iter().map(|split| Sink::numbered_from(output, *split, number));
        let listing = std::mem::take(&mut work.listing);
        let summary = IndexSummary {
            validation_share: options.validation_share,
            skipped: listing.skipped,
            other_files: listing.other_files,
            skipped_folders: listing.skipped_folders,
            failed_projects: std::mem::take(&mut work.failed),
            kept_projects: std::mem::take(&mut work.kept),
            ..IndexSummary::default()
        };
        Self { sinks: sinks.collect(), summary, work, error: None }
    }

    fn index_all(
        &mut self,
        mut indexer: Indexer<'_>,
        progress: OnProgress<'_>,
    ) -> Result<(), CorpusError> {
        let tasks = std::mem::take(&mut self.work.projects);
        let tasks: Vec<Task> = tasks.into_iter().filter(|task| !task.files.is_empty()).collect();
        let gauge = Gauge::new(&tasks, indexer.cancelled, progress);
        let mut rest = &tasks[..];
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(batch_len(rest));
            rest = after;
            // Projects that are parsed side by side share the processors.
            if indexer.options.parse.threads == 0 && batch.len() > 1 {
                indexer.parse.threads = (rayon::current_num_threads() / batch.len()).max(1);
            } else {
                indexer.parse.threads = indexer.options.parse.threads;
            }
            let one = |task: &Task| {
                gauge.follow(task, |progress| indexer.index(&task.about, &task.files, progress))
            };
            let outcomes: Vec<_> = batch.par_iter().map(one).collect();
            for (task, outcome) in batch.iter().zip(outcomes) {
                self.add(task, outcome)?;
            }
        }
        self.sinks.iter_mut().try_for_each(Sink::end_shard)
    }

    fn add(
        &mut self,
        task: &Task,
        outcome: Result<Outcome, CorpusError>,
    ) -> Result<(), CorpusError> {
        let name = &task.about.name;
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error @ CorpusError::Parse { .. }) => {
                let reason = std::error::Error::source(&error).map(ToString::to_string);
                self.fail(name, reason.unwrap_or_default());
                self.error.get_or_insert(error);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        for (file, (cause, detail)) in outcome.skipped {
            self.summary.skip(cause, format!("{name}/{file}"), detail);
        }
        match outcome.indexed {
            Some(indexed) => self.write(task, indexed),
            None => {
                self.fail(name, "none of its source files can be used".to_owned());
                Ok(())
            }
        }
    }

    fn fail(&mut self, name: &str, reason: String) {
        self.summary.failed_projects.push(FailedProject { name: name.to_owned(), reason });
    }

    fn write(&mut self, task: &Task, indexed: Indexed) -> Result<(), CorpusError> {
        let Indexed { documents, parser, totals, failures, notices } = indexed;
        let name = &task.about.name;
        for document in documents {
            let bytes = document.line.text_bytes;
            if document.held_out {
                self.summary.validation_documents += 1;
                self.summary.validation_text_bytes += bytes;
            }
            self.sinks[usize::from(document.held_out)].write(&document.line.json, bytes)?;
        }
        failures.iter().for_each(|failure| self.summary.fail(name, failure));
        notices.iter().for_each(|notice| self.summary.notice(notice.to_string()));
        self.summary.totals.add(&totals);
        let licence = task.about.licence.clone();
        let project = IndexedProject { name: name.clone(), licence, parser, totals };
        self.summary.projects.push(project);
        Ok(())
    }

    fn finish(mut self, earlier: Option<Earlier>) -> Result<IndexSummary, CorpusError> {
        if self.summary.projects.is_empty() {
            return Err(self.error.take().unwrap_or_else(|| {
                let skipped = std::mem::take(&mut self.summary.skipped);
                let summary = FilesSummary { skipped, ..FilesSummary::default() };
                nothing_found(self.work.paths.iter(), summary)
            }));
        }
        match earlier {
            Some(earlier) => append::publish(earlier, self.sinks, self.summary),
            None => {
                let output = self.sinks.first().map(Sink::options);
                let Some(output) = output else { return Ok(self.summary) };
                let summary = self.summary;
                output::publish(output, self.sinks, |files| IndexSummary { files, ..summary })
            }
        }
    }
}

/// Number of projects in the next batch, at least 1.
fn batch_len(tasks: &[Task]) -> usize {
    let mut bytes = 0;
    let fits = |task: &&Task| {
        bytes += task.bytes();
        bytes <= BATCH_BYTES
    };
    tasks.iter().take(BATCH_PROJECTS).take_while(fits).count().max(1)
}

/// Adds up the progress of projects that are worked on side by side.
struct Gauge<'a> {
    projects: AtomicU64,
    bytes: AtomicU64,
    total_projects: u64,
    total_bytes: u64,
    cancelled: &'a AtomicBool,
    progress: OnProgress<'a>,
}

impl<'a> Gauge<'a> {
    fn new(tasks: &[Task], cancelled: &'a AtomicBool, progress: OnProgress<'a>) -> Self {
        Self {
            projects: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            total_projects: tasks.len() as u64,
            total_bytes: tasks.iter().map(Task::bytes).sum(),
            cancelled,
            progress,
        }
    }

    fn follow<T>(&self, task: &Task, work: impl FnOnce(&(dyn Fn(f64) + Sync)) -> T) -> T {
        let bytes = task.bytes();
        let told = AtomicU64::new(0);
        let tell = |share: f64| {
            let done = ((bytes as f64 * share) as u64).min(bytes);
            let before = told.fetch_max(done, Ordering::Relaxed);
            self.bytes.fetch_add(done.saturating_sub(before), Ordering::Relaxed);
            self.report();
        };
        tell(0.0);
        let done = work(&tell);
        self.projects.fetch_add(1, Ordering::Relaxed);
        tell(1.0);
        done
    }

    fn report(&self) {
        let now = IndexProgress {
            projects: self.projects.load(Ordering::Relaxed),
            total_projects: self.total_projects,
            bytes: self.bytes.load(Ordering::Relaxed),
            total_bytes: self.total_bytes,
        };
        if (self.progress)(now).is_break() {
            self.cancelled.store(true, Ordering::Relaxed);
        }
    }
}
