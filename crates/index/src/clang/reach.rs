//! Which files and system headers each unit includes, by the text alone.

use std::collections::BTreeSet;
use std::path::Path;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::build::{HeaderIndex, Include, Plan, includes, is_source};
use crate::lexical::{self, LexemeKind};
use crate::{FileId, InputFile};

/// The `#include`s of a project. Those that a condition leaves out are among them.
pub(super) struct Reach {
    own: Vec<Vec<FileId>>,
    system: Vec<Vec<u32>>,
    headers: Vec<String>,
    ids: FxHashMap<String, FileId>,
    /// Headers that may be included ahead of all else: guarded, and the same wherever they are included.
    steady: Vec<bool>,
}

impl Reach {
    /// `files` lie below `root`.
    pub(super) fn new(plan: &Plan, root: &Path, files: &[InputFile]) -> Self {
        let index = HeaderIndex::new(files);
        let searched = searched_folders(plan, root);
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
            steady: Vec::new(),
        };
        let mut numbers: FxHashMap<String, u32> = FxHashMap::default();
        for file in files {
            let (mut own, mut system) = (Vec::new(), Vec::new());
            for include in includes(&file.text) {
                let candidates = index.candidates(&file.name, &include);
                let found = || searched.iter().any(|folder| index.resolves(folder, &include.name));
                if !candidates.is_empty() && (!include.angled || found()) {
                    own.extend_from_slice(candidates);
                    continue;
                }
                let headers = &mut reach.headers;
                let header = *known.entry(include.clone()).or_insert_with(|| {
                    let of_system =
                        plan.system.iter().any(|folder| folder.join(&include.name).is_file());
                    of_system.then(|| {
                        *numbers.entry(include.name.clone()).or_insert_with(|| {
                            headers.push(include.name.clone());
                            headers.len() as u32 - 1
                        })
                    })
                });
                match header {
                    Some(header) => system.push(header),
                    None => own.extend_from_slice(candidates),
                }
            }
            reach.own.push(own);
            reach.system.push(system);
        }
        reach.steady = reach.steady_headers(files, &index);
        reach
    }

    /// Names of system headers and how many of `units` (names) reach each.
    pub(super) fn system_uses<'a>(
        &self,
        units: impl Iterator<Item = &'a str>,
    ) -> Vec<(String, usize)> {
        let mut uses = vec![0; self.headers.len()];
        for unit in units {
            let mut seen: FxHashSet<u32> = FxHashSet::default();
            for file in self.closure(unit) {
                seen.extend(&self.system[file as usize]);
            }
            seen.into_iter().for_each(|header| uses[header as usize] += 1);
        }
        self.headers.iter().cloned().zip(uses).collect()
    }

    /// The unit's file and the project's files that it includes, directly or not.
    pub(super) fn closure(&self, unit: &str) -> FxHashSet<FileId> {
        self.ids.get(unit).map(|first| self.closure_of(*first)).unwrap_or_default()
    }

    fn closure_of(&self, first: FileId) -> FxHashSet<FileId> {
        let mut seen = FxHashSet::default();
        let mut open = vec![first];
        while let Some(file) = open.pop() {
            if seen.insert(file) {
                open.extend(&self.own[file as usize]);
            }
        }
        seen
    }

    /// Whether the header may stand in a prefix.
    pub(super) fn is_steady(&self, file: FileId) -> bool {
        self.steady[file as usize]
    }

    fn steady_headers(&self, files: &[InputFile], index: &HeaderIndex) -> Vec<bool> {
        let asked: Vec<FxHashSet<&str>> =
            files.iter().map(|file| asked_macros(&file.text)).collect();
        let mut swayed = FxHashSet::default();
        for file in files {
            for (include, defined) in macros_before_includes(&file.text) {
                for candidate in index.candidates(&file.name, &include) {
                    let mut reached = self.closure_of(*candidate).into_iter();
                    if reached.any(|header| {
                        defined.iter().any(|name| asked[header as usize].contains(name))
                    }) {
                        swayed.insert(*candidate);
                    }
                }
            }
        }
        (0..files.len() as FileId)
            .map(|id| {
                let file = &files[id as usize];
                let guarded = lexical::include_guard(&file.text).is_some()
                    || file.text.contains("#pragma once");
                guarded && !is_source(&file.name) && self.closure_of(id).is_disjoint(&swayed)
            })
            .collect()
    }
}

/// The project's folders that any unit searches, which go before the system's.
fn searched_folders(plan: &Plan, root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for unit in &plan.units {
        let pairs = unit.arguments.windows(2).filter(|pair| pair[0] == "-isystem");
        let joined = unit.arguments.iter().filter_map(|argument| argument.strip_prefix("-I"));
        for folder in joined.chain(pairs.map(|pair| pair[1].as_str())) {
            if let Ok(below) = Path::new(folder).strip_prefix(root) {
                found.insert(below.to_string_lossy().into_owned());
            }
        }
    }
    found
}

/// Macros that conditions of the text ask for.
fn asked_macros(text: &str) -> FxHashSet<&str> {
    let mut asked = FxHashSet::default();
    for (name, rest) in directives(text) {
        if matches!(name, "if" | "ifdef" | "ifndef" | "elif") {
            let words = rest.split(|c: char| !(c.is_alphanumeric() || c == '_'));
            asked.extend(words.filter(|word| !word.is_empty()));
        }
    }
    asked
}

/// Each include of the project's own that macros precede in the same file, with the macros: they may be meant for it.
fn macros_before_includes(text: &str) -> Vec<(Include, Vec<&str>)> {
    let guard = lexical::include_guard(text);
    let mut defined: Vec<&str> = Vec::new();
    let mut found = Vec::new();
    for (name, rest) in directives(text) {
        match name {
            "define" | "undef" => {
                let word = lexical::first_word(rest);
                if Some(word) != guard {
                    defined.push(word);
                }
            }
            "include" if !defined.is_empty() => {
                let line = format!("#include {rest}");
                found.extend(includes(&line).into_iter().map(|include| (include, defined.clone())));
            }
            _ => {}
        }
    }
    found
}

/// Names and rests of the directives of `text`.
fn directives(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let hash = at + text.get(at..)?.find('#')?;
            at = hash + 1;
            let line_start = text[..hash].rfind('\n').map_or(0, |feed| feed + 1);
            if !text[line_start..hash].trim().is_empty() {
                continue;
            }
            if let Some(lexeme) =
                lexical::next(text, hash).filter(|lexeme| lexeme.kind == LexemeKind::Directive)
            {
                at = lexeme.range.end.max(at);
                return Some(lexical::directive(&text[lexeme.range]));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::{Language, Unit};

    #[test]
    fn headers_in_searched_folders_are_the_projects_own() {
        let installed = tempfile::tempdir().unwrap();
        std::fs::create_dir(installed.path().join("lib")).unwrap();
        std::fs::write(installed.path().join("lib/core.h"), "").unwrap();
        let files: Vec<InputFile> =
            [("a.cc", "#include <lib/core.h>\n"), ("include/lib/core.h", "")]
                .map(|(name, text)| InputFile { name: name.into(), text: text.into() })
                .into();
        let reach = |arguments: &[&str]| {
            let unit = Unit {
                name: "a.cc".into(),
                language: Language::Cxx,
                arguments: arguments.iter().map(ToString::to_string).collect(),
                newer: None,
            };
            let system = vec![installed.path().to_path_buf()];
            let reach = Reach::new(&Plan { units: vec![unit], system }, Path::new("/p"), &files);
            (reach.closure("a.cc").len(), reach.system_uses(["a.cc"].into_iter()).len())
        };
        assert_eq!(reach(&["-I/p/include"]), (2, 0));
        assert_eq!(reach(&["-isystem", "/p/include"]), (2, 0));
        assert_eq!(reach(&[]), (1, 1));
    }

    #[test]
    fn headers_that_macros_sway_are_not_steady() {
        let files: Vec<InputFile> = [
            ("a.cc", "#define IMPLEMENT\n#include \"swayed.h\"\n#include \"plain.h\"\n"),
            ("plain.h", "#pragma once\nint x;\n"),
            (
                "swayed.h",
                "#ifndef S_H\n#define S_H\n#ifdef IMPLEMENT\nint f() {}\n#endif\n#endif\n",
            ),
            ("uses.h", "#pragma once\n#include \"swayed.h\"\n"),
            ("bare.h", "int y;\n"),
        ]
        .map(|(name, text)| InputFile { name: name.into(), text: text.into() })
        .into();
        let reach =
            Reach::new(&Plan { units: Vec::new(), system: Vec::new() }, Path::new("/p"), &files);
        let steady: Vec<bool> = (0..5).map(|id| reach.is_steady(id)).collect();
        assert_eq!(steady, [false, true, false, false, false]);
        assert_eq!(reach.closure("a.cc").len(), 3);
    }
}
