//! Parses all units of a project.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use kiln_clang::{Index, Library, ParseError, ParseFlags, Severity, TranslationUnit};
use rayon::prelude::*;

use super::files::FileTable;
use super::merge::Merge;
use super::prefix::{self, Part, use_prefix};
use super::reach::Reach;
use super::resolve::resolve;
use super::rest::add_rest;
use super::symbols::UnitSymbols;
use super::visit::symbols;
use crate::build::{self, Plan, Unit};
use crate::preamble::preamble;
use crate::{
    Failure, FailureCause, File, FileId, IndexError, ParseOptions, Parser, Progress, Project,
    ProjectInput,
};

/// Trees are walked by recursion.
const STACK_BYTES: usize = 256 << 20;

/// Parses the project with `library`, `threads` units at a time.
pub(crate) fn parse(
    input: ProjectInput,
    library: Library,
    options: &ParseOptions,
    threads: usize,
    progress: &(dyn Fn(Progress) -> ControlFlow<()> + Sync),
) -> Result<Project, IndexError> {
    let root = input.root.canonicalize().unwrap_or_else(|_| input.root.clone());
    let folder = tempfile::tempdir().map_err(|source| IndexError::Temporary { source })?;
    let plan =
        build::plan(&input, &root, folder.path(), library, options.compile_commands.as_deref())?;
    if let Some(path) = &options.write_compile_commands {
        build::write_database(&plan.units, &root, path)?;
    }
    let table = FileTable::new(&root, &input.files);
    let reach = Reach::new(&plan, &root, &input.files);
    let total = plan.units.len();
    let run = Run {
        root: &root,
        input: &input,
        table: &table,
        library,
        threads,
        folder: folder.path(),
        progress,
        total,
        done: AtomicUsize::new(0),
        cancelled: AtomicBool::new(false),
        outcome: Mutex::default(),
    };
    run.project(&plan, &reach);
    let outcome = run.outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(finish(input, outcome, total as u64))
}

/// A unit to parse.
struct Job<'a> {
    unit: &'a Unit,
    /// Prefixes to try, the best first.
    prefixes: Vec<&'a Path>,
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
    threads: usize,
    /// For prefixes.
    folder: &'a Path,
    progress: &'a (dyn Fn(Progress) -> ControlFlow<()> + Sync),
    total: usize,
    done: AtomicUsize,
    cancelled: AtomicBool,
    outcome: Mutex<Outcome>,
}

impl Run<'_> {
    /// First the samples and the units that share nothing with others, then all others behind their prefixes.
    fn project(&self, plan: &Plan, reach: &Reach) {
        let groups = prefix::groups(plan, reach);
        let system = self.parallel(&groups, |number, group| {
            prefix::build(
                self.library,
                &prefix::system_recipe(group, number),
                self.folder,
                &mut |_| (),
            )
        });
        let parts: Vec<(&Part, Option<&Path>)> = groups
            .iter()
            .zip(&system)
            .flat_map(|(group, prefix)| group.parts.iter().map(|part| (part, prefix.as_deref())))
            .collect();
        let job = |unit: &usize, prefixes: Vec<_>| Job { unit: &plan.units[*unit], prefixes };
        let first = parts.iter().flat_map(|(part, system)| {
            let units = if part.samples.is_empty() { &part.units } else { &part.samples };
            units.iter().map(|unit| job(unit, system.iter().copied().collect()))
        });
        self.all(first.collect());

        let own = self.parallel(&parts, |number, (part, system)| {
            self.own_prefix(plan, part, *system, number)
        });
        let mut rest = Vec::new();
        for ((part, system), own) in parts.iter().zip(&own) {
            let (path, headers) = own
                .as_ref()
                .map_or((None, &[][..]), |(path, headers)| (Some(path.as_path()), headers));
            for unit in part
                .units
                .iter()
                .filter(|unit| !part.samples.is_empty() && !part.samples.contains(unit))
            {
                let path = path
                    .filter(|_| prefix::helps(headers, &reach.closure(&plan.units[*unit].name)));
                rest.push(job(unit, path.into_iter().chain(*system).collect()));
            }
        }
        self.all(rest);
    }

    /// The prefix of a part's own headers, and the headers. Their definitions are found here.
    fn own_prefix(
        &self,
        plan: &Plan,
        part: &Part,
        below: Option<&Path>,
        number: usize,
    ) -> Option<(PathBuf, Vec<FileId>)> {
        let unit = &plan.units[*part.samples.first()?];
        let headers = part.own_headers(&self.outcome().merge.covered);
        let recipe =
            prefix::own_recipe(self.root, &self.input.files, &headers, unit, below, number);
        let path = prefix::build(self.library, &recipe, self.folder, &mut |unit| {
            let symbols = symbols(unit, self.table, &self.input.files);
            self.outcome().merge.add(symbols);
        })?;
        Some((path, headers))
    }

    fn outcome(&self) -> MutexGuard<'_, Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `work` on each of `items`, several at a time; the results in order.
    fn parallel<T: Sync, R: Send>(
        &self,
        items: &[T],
        work: impl Fn(usize, &T) -> Option<R> + Sync,
    ) -> Vec<Option<R>> {
        let results: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
        let next = AtomicUsize::new(0);
        on_threads(self.threads.min(items.len()), || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= items.len() || self.cancelled.load(Ordering::Relaxed) {
                    break;
                }
                let result = work(number, &items[number]);
                *results[number].lock().unwrap_or_else(PoisonError::into_inner) = result;
            }
        });
        results
            .into_iter()
            .map(|result| result.into_inner().unwrap_or_else(PoisonError::into_inner))
            .collect()
    }

    fn all(&self, mut jobs: Vec<Job<'_>>) {
        // Long ones first, so that no thread is left alone with one at the end.
        let size = |job: &Job<'_>| {
            let files = &self.input.files;
            let place = files.binary_search_by(|file| file.name.as_str().cmp(&job.unit.name));
            place.map_or(0, |place| files[place].text.len())
        };
        jobs.sort_by_cached_key(|job| (std::cmp::Reverse(size(job)), job.unit.name.clone()));
        self.parallel(&jobs, |_, job| -> Option<()> {
            let parsed = self.unit(job);
            self.outcome().add(&job.unit.name, parsed);
            let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
            if (self.progress)(Progress { done: done as u64, total: self.total as u64 }).is_break()
            {
                self.cancelled.store(true, Ordering::Relaxed);
            }
            None
        });
    }

    /// Behind the best prefix; where that brings errors, behind the next, or none, or by a newer standard; the best of
    /// all counts.
    fn unit(&self, job: &Job<'_>) -> Result<ParsedUnit, ParseError> {
        let index = Index::new(self.library, true);
        let mut best: Result<ParsedUnit, ParseError> = Err(ParseError::Failed);
        let with = |prefix| [job.unit.arguments.clone(), use_prefix(prefix)].concat();
        let prefixes = job.prefixes.iter().copied().map(Some).chain([None]);
        for arguments in prefixes.map(with).chain(job.unit.newer.clone()) {
            let parsed = self.attempt(&index, job.unit, &arguments);
            // A header that is not there is no fault of a prefix, nor of the standard.
            let done = parsed.as_ref().is_ok_and(|unit| unit.errors == 0 || unit.missing_header);
            let better = match (&best, &parsed) {
                (Ok(best), Ok(parsed)) => parsed.errors <= best.errors,
                (Ok(_), Err(_)) => false,
                (Err(_), _) => true,
            };
            if better {
                best = parsed;
            }
            if done {
                break;
            }
        }
        best
    }

    fn attempt(
        &self,
        index: &Index,
        unit: &Unit,
        arguments: &[String],
    ) -> Result<ParsedUnit, ParseError> {
        let path = self.root.join(&unit.name);
        let parsed = index.parse(
            &path,
            arguments,
            ParseFlags { incomplete: true, for_saving: false, keep_going: true },
        )?;
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
    let covered = merge.covered.clone();
    let (definitions, calls) = resolve(merge, &input.files);
    let (definitions, calls) = add_rest(&input, &covered, definitions, calls);
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
