//! Parses all units of a project.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use kiln_clang::{Index, Library, ParseError, ParseFlags, Severity, TranslationUnit};
use rayon::prelude::*;

use super::files::FileTable;
use super::merge::Merge;
use super::prefix::{self, Group};
use super::resolve::resolve;
use super::symbols::UnitSymbols;
use super::visit::symbols;
use crate::build::{self, Unit};
use crate::preamble::preamble;
use crate::{Failure, FailureCause, File, IndexError, Parser, Progress, Project, ProjectInput};

/// Trees are walked by recursion.
const STACK_BYTES: usize = 256 << 20;

/// Parses the project with `library`, `threads` units at a time.
pub(crate) fn parse(
    input: ProjectInput,
    library: Library,
    compile_commands: Option<&Path>,
    threads: usize,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Project, IndexError> {
    let root = input.root.canonicalize().unwrap_or_else(|_| input.root.clone());
    let folder = tempfile::tempdir().map_err(|source| IndexError::Temporary { source })?;
    let plan = build::plan(&input, &root, folder.path(), library, compile_commands)?;
    let table = FileTable::new(&root, &input.files);
    let groups = prefix::groups(&plan, &input.files);
    let prefixes = build_prefixes(library, &groups, folder.path(), threads);

    let mut jobs: Vec<Job<'_>> = Vec::new();
    for (group, prefix) in groups.iter().zip(&prefixes) {
        jobs.extend(
            group
                .units
                .iter()
                .map(|unit| Job { unit: &plan.units[*unit], prefix: prefix.as_deref() }),
        );
    }
    let run =
        Run { root: &root, input: &input, table: &table, library, progress, total: jobs.len() };
    let outcome = run.all(jobs, threads);
    Ok(finish(input, outcome, plan.units.len() as u64))
}

/// A unit to parse.
struct Job<'a> {
    unit: &'a Unit,
    prefix: Option<&'a Path>,
}

/// Everything that comes of the units.
#[derive(Default)]
struct Outcome {
    merge: Merge,
    failures: Vec<Failure>,
    units_with_errors: u64,
    errors: u64,
}

struct Run<'a> {
    root: &'a Path,
    input: &'a ProjectInput,
    table: &'a FileTable,
    library: Library,
    progress: &'a (dyn Fn(Progress) + Sync),
    total: usize,
}

impl Run<'_> {
    fn all(&self, mut jobs: Vec<Job<'_>>, threads: usize) -> Outcome {
        // Long ones first, so that no thread is left alone with one at the end.
        let size = |job: &Job<'_>| {
            let files = &self.input.files;
            let place = files.binary_search_by(|file| file.name.as_str().cmp(&job.unit.name));
            place.map_or(0, |place| files[place].text.len())
        };
        jobs.sort_by_cached_key(|job| (std::cmp::Reverse(size(job)), job.unit.name.clone()));
        let outcome = Mutex::new(Outcome::default());
        let next = AtomicUsize::new(0);
        let done = AtomicUsize::new(0);
        on_threads(threads.min(jobs.len()), || {
            let index = Index::new(self.library, true);
            while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                let parsed = self.unit(&index, job);
                outcome.lock().unwrap_or_else(PoisonError::into_inner).add(&job.unit.name, parsed);
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                (self.progress)(Progress { done: done as u64, total: self.total as u64 });
            }
        });
        outcome.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// With the prefix; where that brings errors, without it, and the better of the two counts.
    fn unit(&self, index: &Index, job: &Job<'_>) -> Result<ParsedUnit, ParseError> {
        let plain = || self.attempt(index, job.unit, &job.unit.arguments);
        let Some(prefix) = job.prefix else {
            return plain();
        };
        let mut arguments = job.unit.arguments.clone();
        arguments.extend(["-include-pch".to_string(), prefix.to_string_lossy().into_owned()]);
        let first = self.attempt(index, job.unit, &arguments);
        if first.as_ref().is_ok_and(|unit| unit.errors == 0) {
            return first;
        }
        match (first, plain()) {
            (Ok(first), Ok(second)) => {
                Ok(if second.errors <= first.errors { second } else { first })
            }
            (first, second) => second.or(first),
        }
    }

    fn attempt(
        &self,
        index: &Index,
        unit: &Unit,
        arguments: &[String],
    ) -> Result<ParsedUnit, ParseError> {
        let path = self.root.join(&unit.name);
        let parsed =
            index.parse(&path, arguments, ParseFlags { incomplete: true, keep_going: true })?;
        let (errors, first_error, missing_header) = self.errors(&parsed);
        let symbols = symbols(&parsed, self.table, &self.input.files);
        Ok(ParsedUnit { symbols, errors, first_error, missing_header })
    }

    fn errors(&self, unit: &TranslationUnit<'_>) -> (u64, Option<String>, bool) {
        let mut count = 0;
        let mut first = None;
        let mut missing = false;
        for diagnostic in unit.diagnostics() {
            if diagnostic.severity < Severity::Error {
                continue;
            }
            count += 1;
            if first.is_none() {
                let file = diagnostic
                    .position
                    .file
                    .map(|file| self.shown(&file.path()))
                    .unwrap_or_default();
                missing = diagnostic.message.ends_with("file not found");
                first =
                    Some(format!("{file}:{}: {}", diagnostic.position.line, diagnostic.message));
            }
        }
        (count, first, missing)
    }

    /// Below the root where it lies there.
    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(self.root).unwrap_or(path).to_string_lossy().into_owned()
    }
}

struct ParsedUnit {
    symbols: UnitSymbols,
    errors: u64,
    first_error: Option<String>,
    missing_header: bool,
}

impl Outcome {
    fn add(&mut self, name: &str, parsed: Result<ParsedUnit, ParseError>) {
        let mut fail =
            |cause, detail| self.failures.push(Failure { file: name.to_string(), cause, detail });
        match parsed {
            Ok(parsed) => {
                if let Some(error) = parsed.first_error {
                    self.units_with_errors += 1;
                    self.errors += parsed.errors;
                    let cause = if parsed.missing_header {
                        FailureCause::MissingHeader
                    } else {
                        FailureCause::Syntax
                    };
                    fail(cause, error);
                }
                self.merge.add(parsed.symbols);
            }
            Err(error) => {
                self.units_with_errors += 1;
                self.errors += 1;
                fail(FailureCause::ParserFailed, error.to_string());
            }
        }
    }
}

fn build_prefixes(
    library: Library,
    groups: &[Group],
    folder: &Path,
    threads: usize,
) -> Vec<Option<PathBuf>> {
    let built: Vec<Mutex<Option<PathBuf>>> = groups.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    on_threads(threads.min(groups.len()), || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(group) = groups.get(number) else {
                break;
            };
            *built[number].lock().unwrap_or_else(PoisonError::into_inner) =
                prefix::build(library, group, folder, number);
        }
    });
    built
        .into_iter()
        .map(|path| path.into_inner().unwrap_or_else(PoisonError::into_inner))
        .collect()
}

/// Runs `work` on that many threads with large stacks, and waits for them.
fn on_threads(threads: usize, work: impl Fn() + Sync) {
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            let started = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, &work);
            if started.is_err() {
                // No more threads can be had: this one does the work, of which the others then find none left.
                work();
            }
        }
    });
}

fn finish(input: ProjectInput, outcome: Outcome, units: u64) -> Project {
    let Outcome { merge, mut failures, units_with_errors, errors } = outcome;
    let (definitions, calls) = resolve(merge, &input.files);
    let mut occupied = vec![Vec::new(); input.files.len()];
    for definition in &definitions {
        occupied[definition.file as usize].push(definition.extent.clone());
    }
    let files = input
        .files
        .into_par_iter()
        .zip(occupied)
        .map(|(file, occupied)| File {
            preamble: preamble(&file.text, &occupied),
            name: file.name,
            text: file.text,
        })
        .collect();
    failures.sort();
    Project {
        parser: Parser::Clang,
        files,
        definitions,
        calls,
        units,
        units_with_errors,
        errors,
        failures,
    }
}
