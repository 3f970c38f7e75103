//! Plans to documents that keep the budget exactly.

use std::ops::Range;

use kiln_index::{FileId, Project};
use rayon::prelude::*;

use super::fit;
use super::plan::{Costs, Opening, Part, Plan};
use super::text::{Slice, assemble};
use super::units::{CountTokens, UnitId, Units, slices};

/// A finished document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Document {
    /// Whose roots it holds.
    pub file: FileId,
    /// Of its first root, if that is a definition.
    pub root: Option<UnitId>,
    /// All roots.
    pub roots: Vec<UnitId>,
    pub text: String,
    pub tokens: usize,
}

/// Makes texts of plans.
pub(crate) struct Composer<'a> {
    pub project: &'a Project,
    pub units: &'a Units,
    pub max_tokens: usize,
    pub count: CountTokens<'a>,
}

impl Composer<'_> {
    /// Counts everything once, in parallel.
    pub(crate) fn costs(&self) -> Costs {
        let unit = self.units.list.par_iter().map(|unit| self.tokens(unit.file, &[&unit.text]));
        let once = self.units.list.par_iter().map(|unit| {
            if unit.before.is_empty() && unit.after.is_empty() {
                return 0;
            }
            let around =
                [&unit.before[..], &unit.after[..]].map(|part| self.tokens(unit.file, &[part]));
            around.iter().sum::<usize>() + 2
        });
        let heads = self.units.heads.par_iter().enumerate();
        let preamble =
            heads.clone().map(|(file, head)| self.tokens(file as FileId, &[&head.preamble]));
        let intro = heads.map(|(file, head)| self.tokens(file as FileId, &[&head.intro]));
        Costs {
            unit: unit.collect(),
            once: once.collect(),
            preamble: preamble.collect(),
            intro: intro.collect(),
        }
    }

    fn tokens(&self, file: FileId, parts: &[&[Range<usize>]]) -> usize {
        let slices: Vec<_> = parts.iter().flat_map(|ranges| slices(file, ranges)).collect();
        if slices.is_empty() { 0 } else { (self.count)(&assemble(&self.project.files, &slices)) }
    }

    /// All documents, in the order of the plans.
    pub(crate) fn documents(&self, plans: Vec<Plan>) -> Vec<Document> {
        let composed: Vec<_> = plans.into_par_iter().map(|plan| self.compose(plan)).collect();
        composed.into_iter().flatten().collect()
    }

    fn compose(&self, mut plan: Plan) -> Vec<Document> {
        let mut stranded = Vec::new();
        let fitting = loop {
            let document = self.document(&plan);
            if document.tokens <= self.max_tokens {
                break vec![document];
            }
            if plan.parts.len() <= 1 {
                break self.compose_long(&plan);
            }
            // The pieces have a few more tokens together than one by one.
            let farthest = (0..plan.parts.len()).max_by_key(|at| {
                let part = &plan.parts[*at];
                (part.distance, part.unit)
            });
            let part = plan.parts.remove(farthest.unwrap_or(0));
            if part.first {
                stranded.push(part);
            }
        };
        let alone = stranded.into_iter().flat_map(|part| {
            let file = self.units.list[part.unit as usize].file;
            let opening = if part.intro { Opening::Intro } else { Opening::Preamble };
            let part = Part { distance: 0, intro: false, ..part };
            self.compose(Plan { file, opening, parts: vec![part] })
        });
        let alone: Vec<_> = alone.collect();
        fitting.into_iter().chain(alone).collect()
    }

    /// A single part that has no room beside its opening: the opening's tail goes. A part that is too long alone
    /// is cut.
    fn compose_long(&self, plan: &Plan) -> Vec<Document> {
        let mut documents = Vec::new();
        let mut slices = Vec::new();
        plan.parts.iter().for_each(|part| self.add_part(*part, &mut slices));
        let body = assemble(&self.project.files, &slices);
        if plan.opening == Opening::Intro {
            let intro = Plan { file: plan.file, opening: Opening::Intro, parts: Vec::new() };
            documents.push(self.document(&intro));
        }
        let preamble = if plan.opening == Opening::Nothing {
            String::new()
        } else {
            assemble(&self.project.files, &self.opening(plan.file, Opening::Preamble))
        };
        let body_tokens = (self.count)(&body);
        if body_tokens <= self.max_tokens {
            documents.push(self.beside(plan, &preamble, &body));
            return documents;
        }
        let parted = |lines: String| if lines.is_empty() { lines } else { lines + "\n" };
        let (mut head, mut rest) = (parted(preamble), &body[..]);
        // What has the includes in it begins with them; its later pieces need them as others do.
        if plan.parts.iter().any(|part| self.units.list[part.unit as usize].has_preamble) {
            let first = fit::first_piece(&head, rest, self.max_tokens, self.count);
            documents.push(self.finish(plan, format!("{head}{first}")));
            (head, rest) = (parted(self.includes(plan.file)), &rest[first.len()..]);
        }
        for piece in fit::pieces(&head, rest, self.max_tokens, self.count) {
            documents.push(self.finish(plan, format!("{head}{piece}")));
        }
        documents
    }

    /// The lines of a file that include others, as many as fit a quarter of a document.
    fn includes(&self, file: FileId) -> String {
        let preamble = assemble(
            &self.project.files,
            &slices(file, &self.project.files[file as usize].preamble),
        );
        let is_include = |line: &&str| {
            let directive = line.trim_start().strip_prefix('#');
            directive.is_some_and(|name| name.trim_start().starts_with("include"))
        };
        let lines: String = preamble.split_inclusive('\n').filter(is_include).collect();
        let first = fit::first_piece("", &lines, self.max_tokens / 4, self.count);
        // Half a line says nothing.
        if first.ends_with('\n') { first.to_owned() } else { String::new() }
    }

    /// As many lines of the preamble as there is room for, then the body.
    fn beside(&self, plan: &Plan, preamble: &str, body: &str) -> Document {
        let mut lines: Vec<&str> = preamble.split_inclusive('\n').collect();
        loop {
            let parting = if lines.is_empty() { "" } else { "\n" };
            let document = self.finish(plan, format!("{}{parting}{body}", lines.concat()));
            if document.tokens <= self.max_tokens || lines.is_empty() {
                return document;
            }
            let over = document.tokens - self.max_tokens;
            // Few lines have more than 16 tokens, so this does not take away much too much.
            lines.truncate(lines.len() - over.div_ceil(16).min(lines.len()));
        }
    }

    fn document(&self, plan: &Plan) -> Document {
        let mut slices = self.opening(plan.file, plan.opening);
        plan.parts.iter().for_each(|part| self.add_part(*part, &mut slices));
        self.finish(plan, assemble(&self.project.files, &slices))
    }

    fn finish(&self, plan: &Plan, text: String) -> Document {
        let roots = plan.parts.iter().filter(|part| part.distance == 0);
        let roots: Vec<UnitId> = roots.map(|part| part.unit).collect();
        let is_definition = |unit: &&UnitId| self.units.list[**unit as usize].definition.is_some();
        let root = roots.iter().find(is_definition).copied();
        let tokens = (self.count)(&text);
        Document { file: plan.file, root, roots, text, tokens }
    }

    fn opening(&self, file: FileId, opening: Opening) -> Vec<Slice> {
        let head = &self.units.heads[file as usize];
        match opening {
            Opening::Intro => slices(file, &head.intro),
            Opening::Preamble => slices(file, &head.preamble),
            Opening::Nothing => Vec::new(),
        }
    }

    fn add_part(&self, part: Part, out: &mut Vec<Slice>) {
        let unit = &self.units.list[part.unit as usize];
        if part.intro {
            out.extend(self.opening(unit.file, Opening::Intro));
        }
        if part.first {
            out.extend(slices(unit.file, &unit.before));
        }
        out.extend(slices(unit.file, &unit.text));
        if part.first {
            out.extend(slices(unit.file, &unit.after));
        }
    }
}
