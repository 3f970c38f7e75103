//! Precompiled prefixes: what many units include, parsed once.
//!
//! Units whose arguments are alike to system headers share a prefix of system headers. On top of it, units with the
//! very same arguments share one of the project's own headers, whose definitions are then visited once, in the prefix.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use kiln_clang::{Diagnostic, Index, Library, ParseFlags, Severity, TranslationUnit};
use rustc_hash::{FxHashMap, FxHashSet};

use super::reach::Reach;
use crate::build::{Language, Plan, Unit};
use crate::{FileId, InputFile};

/// Groups of fewer units are parsed faster without a prefix of system headers.
const MIN_UNITS: usize = 4;
/// Groups of fewer units are parsed faster without one of their own headers.
const MIN_UNITS_FOR_OWN: usize = 16;
/// System headers that fewer units of a group include are left to them.
const MIN_USES: usize = 2;
/// A project's header is worth a place in the prefix if one unit in so many includes it.
const OWN_SHARE: usize = 10;
/// A unit gets the project's prefix if it includes one in so many of its headers.
const UNIT_SHARE: usize = 4;
/// Units that are parsed first, to see which headers are truly included on this machine.
const SAMPLES: usize = 6;
/// How often headers that do not parse are taken out before there is no prefix.
const MAX_ATTEMPTS: usize = 4;

/// Units that can share a prefix of system headers.
pub(super) struct Group {
    /// Of its units' arguments, those that matter to system headers.
    pub arguments: Vec<String>,
    /// Names between angles, in order.
    pub headers: Vec<String>,
    /// The units by their whole arguments.
    pub parts: Vec<Part>,
}

/// Units with the very same arguments.
pub(super) struct Part {
    /// Places in the plan's list.
    pub units: Vec<usize>,
    /// Those of them to be parsed first; none if there is to be no prefix of the project's own headers.
    pub samples: Vec<usize>,
    /// The project's headers that many of them may include.
    common: Vec<FileId>,
}

/// Puts units with like arguments together.
pub(super) fn groups(plan: &Plan, reach: &Reach) -> Vec<Group> {
    type Parts<'a> = BTreeMap<&'a [String], Vec<usize>>;
    let mut by_arguments: BTreeMap<(Language, Vec<String>), Parts<'_>> = BTreeMap::new();
    for (index, unit) in plan.units.iter().enumerate() {
        let parts = by_arguments.entry((unit.language, shared_arguments(unit))).or_default();
        parts.entry(&unit.arguments).or_default().push(index);
    }
    by_arguments
        .into_iter()
        .map(|((_, arguments), parts)| {
            let names = parts.values().flatten().map(|unit| plan.units[*unit].name.as_str());
            let headers = system_headers(reach, &names.collect::<Vec<_>>());
            Group {
                arguments,
                headers,
                parts: parts.into_values().map(|units| Part::new(plan, reach, units)).collect(),
            }
        })
        .collect()
}

/// A unit's arguments without the project's folders and definitions. Clang lets a unit define more than its prefix did;
/// names that begin with an underscore, and `NDEBUG`, are for the system's headers and stay.
fn shared_arguments(unit: &Unit) -> Vec<String> {
    let mut shared = Vec::new();
    let mut rest = unit.arguments.iter();
    while let Some(argument) = rest.next() {
        if matches!(argument.as_str(), "-include" | "-imacros" | "-iquote") {
            rest.next();
        } else if let Some(name) = argument.strip_prefix("-D").or(argument.strip_prefix("-U")) {
            if name.starts_with('_') || name.starts_with("NDEBUG") {
                shared.push(argument.clone());
            }
        } else {
            shared.push(argument.clone());
        }
    }
    shared
}

/// System headers that several of the units reach, the most used first.
fn system_headers(reach: &Reach, units: &[&str]) -> Vec<String> {
    if units.len() < MIN_UNITS {
        return Vec::new();
    }
    let mut uses = reach.system_uses(units.iter().copied());
    uses.retain(|(_, uses)| *uses >= MIN_USES);
    uses.sort_by(|(a, m), (b, n)| n.cmp(m).then(a.cmp(b)));
    uses.into_iter().map(|(name, _)| name).collect()
}

impl Part {
    fn new(plan: &Plan, reach: &Reach, units: Vec<usize>) -> Self {
        let mut part = Self { units, samples: Vec::new(), common: Vec::new() };
        if part.units.len() < MIN_UNITS_FOR_OWN {
            return part;
        }
        let closures: Vec<FxHashSet<FileId>> =
            part.units.iter().map(|unit| reach.closure(&plan.units[*unit].name)).collect();
        let mut uses: FxHashMap<FileId, usize> = FxHashMap::default();
        for file in closures.iter().flatten().filter(|file| reach.is_steady(**file)) {
            *uses.entry(*file).or_default() += 1;
        }
        let least = (part.units.len() / OWN_SHARE).max(MIN_UNITS);
        let mut common: Vec<(usize, FileId)> = uses
            .into_iter()
            .filter(|(_, uses)| *uses >= least)
            .map(|(file, uses)| (uses, file))
            .collect();
        common.sort_by_key(|(uses, file)| (std::cmp::Reverse(*uses), *file));
        part.common = common.into_iter().map(|(_, file)| file).collect();
        part.choose_samples(&closures);
        part
    }

    /// Few units that together reach as many of the common headers as they can.
    fn choose_samples(&mut self, closures: &[FxHashSet<FileId>]) {
        let mut missing: FxHashSet<FileId> = self.common.iter().copied().collect();
        while self.samples.len() < SAMPLES && !missing.is_empty() {
            let gain = |at: usize| closures[at].intersection(&missing).count();
            // Of equals the one that reaches least besides, then the first.
            let best = (0..self.units.len()).max_by_key(|at| {
                (gain(*at), std::cmp::Reverse(closures[*at].len()), std::cmp::Reverse(*at))
            });
            let Some(best) = best.filter(|best| gain(*best) > 0) else {
                return;
            };
            missing.retain(|file| !closures[best].contains(file));
            self.samples.push(self.units[best]);
        }
    }

    /// Those of the common headers that are among `seen`, the files that the samples turned out to be made of.
    pub(super) fn own_headers(&self, seen: &FxHashSet<FileId>) -> Vec<FileId> {
        self.common.iter().copied().filter(|file| seen.contains(file)).collect()
    }
}

/// Whether a unit of this closure is helped by a prefix of these headers.
pub(super) fn helps(headers: &[FileId], closure: &FxHashSet<FileId>) -> bool {
    let used = headers.iter().filter(|header| closure.contains(header)).count();
    used * UNIT_SHARE >= headers.len()
}

/// A prefix to be made.
pub(super) struct Recipe {
    /// What stands between the word `#include` and the end of the line.
    pub includes: Vec<String>,
    /// As for a unit.
    pub arguments: Vec<String>,
    /// Name of its files, without extension.
    pub name: String,
}

/// The recipe of a group's system headers.
pub(super) fn system_recipe(group: &Group, number: usize) -> Recipe {
    Recipe {
        includes: group.headers.iter().map(|header| format!("<{header}>")).collect(),
        arguments: group.arguments.clone(),
        name: format!("system-{number}"),
    }
}

/// The recipe of a part's own headers, on top of the group's prefix.
pub(super) fn own_recipe(
    root: &Path,
    files: &[InputFile],
    headers: &[FileId],
    unit: &Unit,
    below: Option<&Path>,
    number: usize,
) -> Recipe {
    let path = |header: &FileId| root.join(&files[*header as usize].name);
    let mut arguments = unit.arguments.clone();
    arguments.extend(use_prefix(below));
    Recipe {
        includes: headers.iter().map(|header| format!("\"{}\"", path(header).display())).collect(),
        arguments,
        name: format!("own-{number}"),
    }
}

/// The arguments that put a prefix before a unit.
pub(super) fn use_prefix(prefix: Option<&Path>) -> Vec<String> {
    let arguments =
        |prefix: &Path| vec!["-include-pch".to_string(), prefix.to_string_lossy().into_owned()];
    prefix.map(arguments).unwrap_or_default()
}

/// Parses the headers and writes them to `folder`; the path of the result, or none if it is of no use. `visit` sees the
/// unit that was written, without what lies below it.
pub(super) fn build(
    library: Library,
    recipe: &Recipe,
    folder: &Path,
    visit: &mut dyn FnMut(&TranslationUnit<'_>),
) -> Option<PathBuf> {
    let mut includes = recipe.includes.clone();
    let source = folder.join(format!("{}.h", recipe.name));
    let target = folder.join(format!("{}.pch", recipe.name));
    let arguments = header_arguments(&recipe.arguments);
    for _ in 0..MAX_ATTEMPTS {
        if includes.is_empty() {
            return None;
        }
        fs::write(&source, text(&includes)).ok()?;
        let index = Index::new(library, true);
        let unit = index
            .parse(
                &source,
                &arguments,
                ParseFlags { incomplete: true, for_saving: true, keep_going: true },
            )
            .ok()?;
        let faulty = faulty_lines(&unit, &source);
        if faulty.is_empty() {
            unit.save(&target).ok()?;
            visit(&unit);
            return Some(target);
        }
        let before = includes.len();
        let mut line = 0;
        includes.retain(|_| {
            line += 1;
            !faulty.contains(&line)
        });
        if includes.len() == before {
            return None;
        }
    }
    None
}

/// One header a line, so that a line's number is its header's.
fn text(includes: &[String]) -> String {
    let mut text = String::new();
    for include in includes {
        let _ = writeln!(text, "#include {include}");
    }
    text
}

/// The same arguments for a header, whose templates are instantiated in it: else every unit would do that again, and
/// take longer than without a prefix.
fn header_arguments(arguments: &[String]) -> Vec<String> {
    let mut result: Vec<String> = arguments
        .iter()
        .map(|argument| match argument.as_str() {
            "-xc" => "-xc-header".to_string(),
            "-xc++" => "-xc++-header".to_string(),
            _ => argument.clone(),
        })
        .collect();
    result.push("-fpch-instantiate-templates".to_string());
    result
}

/// The lines of the prefix whose headers have errors.
fn faulty_lines(unit: &TranslationUnit<'_>, source: &Path) -> FxHashSet<u32> {
    let mut errors: Vec<Diagnostic<'_>> = unit.diagnostics();
    errors.retain(|diagnostic| diagnostic.severity >= Severity::Error);
    if errors.is_empty() {
        return FxHashSet::default();
    }
    let mut outermost = FxHashMap::default();
    for (file, stack) in unit.inclusions() {
        if let Some(place) = stack.last() {
            outermost.entry(file).or_insert(place.line);
        }
    }
    let line = |error: &Diagnostic<'_>| {
        let file = error.position.file?;
        if file.path() == source {
            Some(error.position.line)
        } else {
            outermost.get(&file).copied()
        }
    };
    // An error that belongs to no line cannot be taken out.
    errors.iter().map(|error| line(error).unwrap_or(0)).collect()
}
