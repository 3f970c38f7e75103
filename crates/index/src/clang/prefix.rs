//! Precompiled prefixes: the system headers that most units of a group include.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use kiln_clang::{Diagnostic, Index, Library, ParseFlags, Severity, TranslationUnit};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::build::{HeaderIndex, Include, Language, Plan, Unit, includes};
use crate::{FileId, InputFile};

/// Groups of fewer units are parsed faster without.
const MIN_UNITS: usize = 4;
/// Headers that fewer units of a group include are left to them.
const MIN_USES: usize = 2;
/// How often headers that do not parse are taken out before there is no prefix.
const MAX_ATTEMPTS: usize = 4;

/// Units that can share a prefix, and the headers for it.
pub(super) struct Group {
    /// Of its units' arguments, those that matter to system headers.
    pub arguments: Vec<String>,
    /// Places in the plan's list.
    pub units: Vec<usize>,
    /// Names between angles, in order.
    pub headers: Vec<String>,
}

/// Puts units with like arguments together and counts the system headers that they reach.
pub(super) fn groups(plan: &Plan, files: &[InputFile]) -> Vec<Group> {
    let mut by_arguments: BTreeMap<(Language, Vec<String>), Vec<usize>> = BTreeMap::new();
    for (index, unit) in plan.units.iter().enumerate() {
        by_arguments.entry((unit.language, shared_arguments(unit))).or_default().push(index);
    }
    let reach = Reach::new(plan, files);
    by_arguments
        .into_iter()
        .map(|((_, arguments), units)| {
            let headers =
                if units.len() < MIN_UNITS { Vec::new() } else { reach.headers(plan, &units) };
            Group { arguments, units, headers }
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

/// Which files and system headers each file includes.
struct Reach {
    own: Vec<Vec<FileId>>,
    system: Vec<Vec<u32>>,
    headers: Vec<String>,
    ids: FxHashMap<String, FileId>,
}

impl Reach {
    fn new(plan: &Plan, files: &[InputFile]) -> Self {
        let index = HeaderIndex::new(files);
        let mut known: FxHashMap<Include, Option<u32>> = FxHashMap::default();
        let mut reach = Self {
            own: Vec::new(),
            system: Vec::new(),
            headers: Vec::new(),
            ids: files
                .iter()
                .enumerate()
                .map(|(id, file)| (file.name.clone(), id as FileId))
                .collect(),
        };
        for file in files {
            let (mut own, mut system) = (Vec::new(), Vec::new());
            for include in includes(&file.text) {
                let candidates = index.candidates(&file.name, &include);
                if !include.angled && !candidates.is_empty() {
                    own.extend_from_slice(candidates);
                    continue;
                }
                let headers = &mut reach.headers;
                let header = *known.entry(include.clone()).or_insert_with(|| {
                    plan.system.iter().any(|folder| folder.join(&include.name).is_file()).then(
                        || {
                            headers.push(include.name.clone());
                            headers.len() as u32 - 1
                        },
                    )
                });
                match header {
                    Some(header) => system.push(header),
                    None => own.extend_from_slice(candidates),
                }
            }
            reach.own.push(own);
            reach.system.push(system);
        }
        reach
    }

    /// System headers that at least [`MIN_USES`] of `units` reach, the most used first.
    fn headers(&self, plan: &Plan, units: &[usize]) -> Vec<String> {
        let mut uses = vec![0_usize; self.headers.len()];
        for unit in units {
            for header in self.reached(&plan.units[*unit].name) {
                uses[header as usize] += 1;
            }
        }
        let mut used: Vec<usize> =
            (0..uses.len()).filter(|header| uses[*header] >= MIN_USES).collect();
        used.sort_by_key(|header| (std::cmp::Reverse(uses[*header]), &self.headers[*header]));
        let mut names: Vec<String> =
            used.into_iter().map(|header| self.headers[header].clone()).collect();
        names.dedup();
        names
    }

    fn reached(&self, name: &str) -> FxHashSet<u32> {
        let mut headers = FxHashSet::default();
        let Some(first) = self.ids.get(name) else {
            return headers;
        };
        let mut seen = vec![false; self.own.len()];
        let mut open = vec![*first];
        while let Some(file) = open.pop() {
            if !std::mem::replace(&mut seen[file as usize], true) {
                headers.extend(&self.system[file as usize]);
                open.extend(&self.own[file as usize]);
            }
        }
        headers
    }
}

/// Parses the group's headers and writes them to `folder`; the path of the result, or none if it is of no use.
pub(super) fn build(
    library: Library,
    group: &Group,
    folder: &Path,
    number: usize,
) -> Option<PathBuf> {
    let mut headers = group.headers.clone();
    let source = folder.join(format!("prefix-{number}.h"));
    let target = folder.join(format!("prefix-{number}.pch"));
    let arguments = header_arguments(&group.arguments);
    for _ in 0..MAX_ATTEMPTS {
        if headers.is_empty() {
            return None;
        }
        fs::write(&source, text(&headers)).ok()?;
        let index = Index::new(library, false);
        let unit = index
            .parse(&source, &arguments, ParseFlags { incomplete: true, keep_going: true })
            .ok()?;
        let faulty = faulty_lines(&unit, &source);
        if faulty.is_empty() {
            return unit.save(&target).ok().map(|()| target);
        }
        let before = headers.len();
        let mut line = 0;
        headers.retain(|_| {
            line += 1;
            !faulty.contains(&line)
        });
        if headers.len() == before {
            return None;
        }
    }
    None
}

/// One header a line, so that a line's number is its header's.
fn text(headers: &[String]) -> String {
    let mut text = String::new();
    for header in headers {
        let _ = writeln!(text, "#include <{header}>");
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
    let errors: Vec<Diagnostic<'_>> = unit
        .diagnostics()
        .into_iter()
        .filter(|diagnostic| diagnostic.severity >= Severity::Error)
        .collect();
    if errors.is_empty() {
        return FxHashSet::default();
    }
    let mut outermost = FxHashMap::default();
    for (file, stack) in unit.inclusions() {
        if let Some(place) = stack.last() {
            outermost.entry(file).or_insert(place.line);
        }
    }
    errors
        .iter()
        .filter_map(|error| {
            let file = error.position.file?;
            if file.path() == source {
                Some(error.position.line)
            } else {
                outermost.get(&file).copied()
            }
        })
        .collect()
}
