//! Which folders make a project's own `#include`s resolve.

use std::path::{Path, PathBuf};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::lexical::{self, LexemeKind};
use crate::{FileId, InputFile};

/// An `#include`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Include {
    /// What stands between the quotes or angles.
    pub name: String,
    /// Whether it stands between angles.
    pub angled: bool,
}

/// The `#include`s of a file, in order. Those that a condition leaves out are among them.
pub(crate) fn includes(text: &str) -> Vec<Include> {
    let mut found = Vec::new();
    // Lines without a `#` hold none, and most lines have none: the lexer looks at the others only.
    let mut at = 0;
    while let Some(hash) = text[at..].find('#').map(|offset| at + offset) {
        let line_start = text[..hash].rfind('\n').map_or(0, |feed| feed + 1);
        at = hash + 1;
        if !text[line_start..hash].trim().is_empty() {
            continue;
        }
        if let Some(lexeme) =
            lexical::next(text, hash).filter(|lexeme| lexeme.kind == LexemeKind::Directive)
        {
            found.extend(include(&text[lexeme.range.clone()]));
            at = lexeme.range.end.max(at);
        }
    }
    found
}

fn include(directive: &str) -> Option<Include> {
    let (name, rest) = lexical::directive(directive);
    if !matches!(name, "include" | "include_next" | "import") {
        return None;
    }
    let (open, close, angled) =
        if rest.starts_with('<') { ('<', '>', true) } else { ('"', '"', false) };
    let rest = rest.strip_prefix(open)?;
    let name = rest.split_once(close)?.0.trim();
    (!name.is_empty()).then(|| Include { name: name.to_string(), angled })
}

/// The project's files by every tail of their paths.
pub(crate) struct HeaderIndex {
    by_tail: FxHashMap<String, Vec<FileId>>,
    by_name: FxHashMap<String, FileId>,
}

impl HeaderIndex {
    pub(crate) fn new(files: &[InputFile]) -> Self {
        let mut by_tail: FxHashMap<String, Vec<FileId>> = FxHashMap::default();
        let mut by_name = FxHashMap::default();
        for (id, file) in files.iter().enumerate() {
            let id = id as FileId;
            by_name.insert(file.name.clone(), id);
            let mut tail = file.name.as_str();
            loop {
                by_tail.entry(tail.to_string()).or_default().push(id);
                match tail.split_once('/') {
                    Some((_, rest)) => tail = rest,
                    None => break,
                }
            }
        }
        Self { by_tail, by_name }
    }

    /// Whether `folder/include` is a file of the project.
    pub(crate) fn resolves(&self, folder: &str, include: &str) -> bool {
        join(folder, include).is_some_and(|name| self.by_name.contains_key(&name))
    }

    /// The file that lies beside `from` under this name.
    fn beside(&self, from: &str, include: &str) -> Option<FileId> {
        let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
        self.by_name.get(&join(folder, include)?).copied()
    }

    /// Files of the project that the include may mean.
    pub(crate) fn candidates(&self, from: &str, include: &Include) -> &[FileId] {
        if !include.angled
            && let Some(beside) = self.beside(from, &include.name)
            && let Some(name) = self.by_tail.get(tail(&include.name))
            && let Some(place) = name.iter().position(|id| *id == beside)
        {
            return &name[place..=place];
        }
        self.by_tail.get(tail(&include.name)).map_or(&[], Vec::as_slice)
    }
}

/// An include without leading `./` and `../`.
fn tail(name: &str) -> &str {
    let mut name = name;
    while let Some(rest) = name.strip_prefix("../").or_else(|| name.strip_prefix("./")) {
        name = rest;
    }
    name
}

/// `folder/name` with `.` and `..` taken away; none above the root.
fn join(folder: &str, name: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The folders below `root` that are to be searched, best first: those by which the most includes resolve that do not
/// resolve beside their file, nor in `system` folders, nor in `known` ones (names below the root).
pub(super) fn include_folders(
    files: &[InputFile],
    index: &HeaderIndex,
    known: &[String],
    system: &[PathBuf],
) -> Vec<String> {
    let mut open: Vec<Vec<String>> = Vec::new();
    let mut in_system: FxHashMap<String, bool> = FxHashMap::default();
    for file in files {
        for include in includes(&file.text) {
            if !include.angled && index.beside(&file.name, &include.name).is_some() {
                continue;
            }
            let candidates = index.candidates(&file.name, &include);
            if candidates.is_empty()
                || known.iter().any(|folder| index.resolves(folder, &include.name))
            {
                continue;
            }
            let of_system = || system.iter().any(|folder| folder.join(&include.name).is_file());
            if include.angled
                && !is_of_a_library(&include.name)
                && *in_system.entry(include.name.clone()).or_insert_with(of_system)
            {
                continue;
            }
            open.push(
                candidates
                    .iter()
                    .filter_map(|id| root_of(&files[*id as usize].name, &include.name))
                    .collect(),
            );
        }
    }
    let mut chosen = Vec::new();
    loop {
        let mut votes: FxHashMap<&str, usize> = FxHashMap::default();
        for folders in &open {
            for folder in folders {
                *votes.entry(folder).or_default() += 1;
            }
        }
        // The most votes; of equals the shallowest, then the first by name.
        let depth = |folder: &str| if folder.is_empty() { 0 } else { folder.split('/').count() };
        let best = votes
            .into_iter()
            .max_by(|(a, m), (b, n)| m.cmp(n).then(depth(b).cmp(&depth(a))).then(b.cmp(a)));
        let Some((best, _)) = best else {
            return chosen;
        };
        let best = best.to_string();
        open.retain(|folders| !folders.contains(&best));
        chosen.push(best);
    }
}

/// Folders in which the C library and the kernel keep headers.
const PLATFORM_FOLDERS: &[&str] = &[
    "arpa",
    "asm",
    "asm-generic",
    "bits",
    "debug",
    "drm",
    "experimental",
    "ext",
    "gnu",
    "linux",
    "misc",
    "mtd",
    "net",
    "netinet",
    "netipx",
    "nfs",
    "protocols",
    "rdma",
    "rpc",
    "scsi",
    "sound",
    "sys",
    "tr1",
    "tr2",
    "video",
    "xen",
];

/// Whether a header of this name belongs to a library and not to the platform, such as `fmt/core.h`: a project that has
/// such a header means its own, though the library be installed.
fn is_of_a_library(name: &str) -> bool {
    name.split_once('/').is_some_and(|(folder, _)| !PLATFORM_FOLDERS.contains(&folder))
}

/// The folder from which `include` leads to the file `name`.
fn root_of(name: &str, include: &str) -> Option<String> {
    let rest = name.strip_suffix(tail(include))?;
    let mut root = rest.trim_end_matches('/').to_string();
    if !rest.is_empty() && !rest.ends_with('/') {
        return None;
    }
    // `../x.h` counts from a folder below.
    for _ in 0..include.matches("../").count() {
        root.push_str("/..");
    }
    (!root.contains("..")).then_some(root)
}

/// Whether a file directly in `folder` is called like a header of the system, such as `version`: then the folder must
/// not be searched for what stands between angles.
pub(super) fn shadows(folder: &Path, system: &[PathBuf]) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return false;
    };
    let names: FxHashSet<_> = entries
        .flatten()
        .filter(|entry| entry.path().is_file())
        .map(|entry| entry.file_name())
        .collect();
    names.iter().any(|name| system.iter().any(|folder| folder.join(name).is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(all: &[(&str, &str)]) -> Vec<InputFile> {
        all.iter()
            .map(|(name, text)| InputFile { name: name.to_string(), text: text.to_string() })
            .collect()
    }

    #[test]
    fn reads_includes() {
        let text = "#include <a/b.h>\n  # include \"c.h\" // x\nint x; #include \"no.h\"\n#include MACRO\n#define X \\\n \
                    #include <no>\n#import <d>";
        let names: Vec<String> = includes(text).into_iter().map(|include| include.name).collect();
        assert_eq!(names, ["a/b.h", "c.h", "d"]);
    }

    #[test]
    fn votes_for_folders() {
        let files = files(&[
            (
                "app/a.cc",
                "#include \"util/x.h\"\n#include <lib/y.h>\n#include \"beside.h\"\n#include <vector>\n",
            ),
            ("app/beside.h", ""),
            ("app/b.cc", "#include \"z.h\"\n"),
            ("src/util/x.h", "#include <lib/y.h>\n"),
            ("include/lib/y.h", ""),
            ("include/z.h", ""),
            ("other/z.h", ""),
        ]);
        let index = HeaderIndex::new(&files);
        assert_eq!(include_folders(&files, &index, &[], &[]), ["include", "src"]);
        assert_eq!(include_folders(&files, &index, &["include".into()], &[]), ["src"]);
    }

    #[test]
    fn a_header_of_the_system_needs_no_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("string.h"), "").unwrap();
        let files = files(&[("a.cc", "#include <string.h>\n"), ("compat/string.h", "")]);
        let index = HeaderIndex::new(&files);
        assert!(include_folders(&files, &index, &[], &[folder.path().to_path_buf()]).is_empty());
        assert_eq!(include_folders(&files, &index, &[], &[]), ["compat"]);
    }

    #[test]
    fn a_project_means_its_own_library_though_it_is_installed() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["lib/core.h", "sys/time.h"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let files = files(&[
            ("a.cc", "#include <lib/core.h>\n#include <sys/time.h>\n"),
            ("include/lib/core.h", ""),
            ("compat/sys/time.h", ""),
        ]);
        let index = HeaderIndex::new(&files);
        let system = [folder.path().to_path_buf()];
        assert_eq!(include_folders(&files, &index, &[], &system), ["include"]);
    }

    #[test]
    fn knows_what_lies_beside() {
        let files = files(&[("a/x.h", ""), ("b/x.h", ""), ("b/u.cc", "")]);
        let index = HeaderIndex::new(&files);
        let include = Include { name: "x.h".into(), angled: false };
        assert_eq!(index.candidates("b/u.cc", &include), [1]);
        assert_eq!(index.candidates("u.cc", &include), [0, 1]);
        assert_eq!(
            index.candidates("b/u.cc", &Include { name: "../a/x.h".into(), angled: false }),
            [0]
        );
    }
}
