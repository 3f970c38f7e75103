//! One project to documents.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use kiln_index::{Failure, Notice, ParseOptions, Parser, Progress, Project};
use rayon::prelude::*;

use super::compose::{Composer, Document};
use super::options::IndexOptions;
use super::plan::{self, Limits, Scene};
use super::summary::IndexTotals;
use super::units::{self, CountTokens, Longest, UnitId, Units};
use crate::document::{self, Line, Root, Skip};
use crate::error::CorpusError;
use crate::graph::{Condensation, Graph};
use crate::hold_out::{HoldOut, content_hash};
use crate::licence;
use crate::project_input;
use crate::projects;
use crate::walk::SourceFile;

/// A document that is ready to be written.
pub(crate) struct Ready {
    pub line: Line,
    pub tokens: u64,
    pub held_out: bool,
}

/// What came of a project.
pub(crate) struct Indexed {
    pub documents: Vec<Ready>,
    pub parser: Parser,
    pub totals: IndexTotals,
    pub failures: Vec<Failure>,
    pub notices: Vec<Notice>,
}

/// A project and the files that could not be read. Without a readable file there is nothing else.
pub(crate) struct Outcome {
    pub skipped: Vec<(String, Skip)>,
    pub indexed: Option<Indexed>,
}

/// What all projects have in common.
pub(crate) struct Indexer<'a> {
    pub options: &'a IndexOptions,
    pub parse: ParseOptions,
    pub hold_out: HoldOut,
    pub count: CountTokens<'a>,
    pub cancelled: &'a AtomicBool,
}

impl Indexer<'_> {
    /// Reads, parses and arranges a project. `progress` is told the share of its units that are parsed.
    pub(crate) fn index(
        &self,
        about: &projects::Project,
        files: &[SourceFile],
        progress: &(dyn Fn(f64) + Sync),
    ) -> Result<Outcome, CorpusError> {
        self.check_cancelled()?;
        let (input, skipped) =
            project_input::read(&about.root, files, self.options.filter.max_file_bytes);
        if input.files.is_empty() {
            return Ok(Outcome { skipped, indexed: None });
        }
        self.check_cancelled()?;
        let parsed = kiln_index::parse(input, &self.parse, &|done: Progress| {
            progress(done.done as f64 / done.total.max(1) as f64);
            let cancelled = self.cancelled.load(Ordering::Relaxed);
            if cancelled { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let parsed =
            parsed.map_err(|source| CorpusError::Parse { project: about.name.clone(), source })?;
        self.check_cancelled()?;
        let mut indexed = self.arrange(about, parsed.project)?;
        indexed.notices = parsed.notices;
        Ok(Outcome { skipped, indexed: Some(indexed) })
    }

    fn check_cancelled(&self) -> Result<(), CorpusError> {
        if self.cancelled.load(Ordering::Relaxed) { Err(CorpusError::Cancelled) } else { Ok(()) }
    }

    fn arrange(
        &self,
        about: &projects::Project,
        mut project: Project,
    ) -> Result<Indexed, CorpusError> {
        let held_out: Vec<bool> = (project.files.par_iter())
            .map(|file| self.hold_out.takes(content_hash(&file.text)))
            .collect();
        let max_tokens = self.options.max_tokens;
        let longest = Longest { intro: max_tokens / 4, gap: max_tokens / 8 };
        let units = Units::of(&project, longest, self.count);
        let composer = Composer { project: &project, units: &units, max_tokens, count: self.count };
        let arrangement = self.plan(&composer, &held_out);
        self.check_cancelled()?;
        let level = |unit: &UnitId| arrangement.condensation.level(*unit);
        let documents = composer.documents(arrangement.plans);
        self.check_cancelled()?;
        let documents: Vec<Ready> = (documents.into_par_iter())
            .map(|document| {
                let held_out = held_out[document.file as usize];
                let level = document.roots.iter().map(level).max().unwrap_or(0);
                ready(about, &composer, &document, level, held_out)
            })
            .collect();
        let mut totals = totals(&project);
        totals.documents = documents.len() as u64;
        totals.text_bytes = documents.iter().map(|document| document.line.text_bytes).sum();
        totals.tokens = documents.iter().map(|document| document.tokens).sum();
        let failures = std::mem::take(&mut project.failures);
        Ok(Indexed { documents, parser: project.parser, totals, failures, notices: Vec::new() })
    }

    fn plan(&self, composer: &Composer<'_>, held_out: &[bool]) -> Arrangement {
        let (project, units) = (composer.project, composer.units);
        // Text of held-out files must not come into documents to train on, nor the other way round.
        let linked = |a, b| held_out[a as usize] == held_out[b as usize];
        let graph = units.graph(project, linked);
        let condensation = Condensation::of(&graph);
        let file_of: Vec<_> = units.list.iter().map(|unit| unit.file).collect();
        let has_preamble: Vec<_> = units.list.iter().map(|unit| unit.has_preamble).collect();
        let scene = Scene {
            limits: Limits {
                tokens: self.options.max_tokens,
                depth: self.options.max_dep_depth,
                repeat: self.options.max_repeat,
                separate: self.options.separate_roots,
            },
            graph: &graph,
            condensation: &condensation,
            costs: &composer.costs(),
            file_of: &file_of,
            has_preamble: &has_preamble,
        };
        let plans = plan::plan(&scene);
        Arrangement { plans, condensation }
    }
}

struct Arrangement {
    plans: Vec<plan::Plan>,
    condensation: Condensation,
}

fn ready(
    about: &projects::Project,
    composer: &Composer<'_>,
    document: &Document,
    level: u32,
    held_out: bool,
) -> Ready {
    let file = &composer.project.files[document.file as usize];
    let definition = document.root.and_then(|root| composer.units.list[root as usize].definition);
    let name =
        definition.map(|id| composer.project.definitions[id as usize].qualified_name.as_str());
    let own = licence::of_text(&file.text);
    let licence = own.as_deref().or(about.licence.as_deref());
    let root = Root { name, level };
    let line = document::indexed_line(&document.text, &about.name, &file.name, licence, &root);
    Ready { line, tokens: document.tokens as u64, held_out }
}

fn totals(project: &Project) -> IndexTotals {
    let calls = Graph::new(project.definitions.len(), project.calls.clone());
    IndexTotals {
        source_files: project.files.len() as u64,
        source_bytes: project.files.iter().map(|file| file.text.len() as u64).sum(),
        functions: units::functions(project).count() as u64,
        classes: units::classes(project).count() as u64,
        edges: calls.edges() as u64,
        levels: Condensation::of(&calls).depth(),
        units: project.units,
        units_with_errors: project.units_with_errors,
        errors: project.errors,
        ..IndexTotals::default()
    }
}
