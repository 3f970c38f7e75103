//! Source trees to a sorted list of source files.

use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use crate::options::EXTENSIONS;
use crate::pattern;
use crate::projects::{Projects, Source};
use crate::summary::{FilesSummary, SkipCause};

/// A file to read.
pub(crate) struct SourceFile {
    pub path: PathBuf,
    /// Number of its project.
    pub project: usize,
    /// Path below the project, `/` between the parts.
    pub file: String,
    /// Size when it was listed.
    pub bytes: u64,
}

/// What one source holds. Everything is sorted, because the system lists a folder in any order.
#[derive(Default)]
struct Found {
    /// Path below the source, and the size.
    files: Vec<(String, u64)>,
    skipped: Vec<(String, SkipCause, String)>,
    other_files: u64,
    skipped_folders: u64,
}

/// Lists the source files of all sources: by source, then by the bytes of the path below it. What is left out
/// goes to `summary`.
pub(crate) fn list(
    skip: &[String],
    sources: &[Source],
    projects: &mut Projects,
    summary: &mut FilesSummary,
) -> Vec<SourceFile> {
    let mut all = Vec::new();
    for (at, source) in sources.iter().enumerate() {
        let found = find(&source.root, skip);
        summary.other_files += found.other_files;
        summary.skipped_folders += found.skipped_folders;
        for (path, cause, detail) in found.skipped {
            let path = if source.projects_dir { path } else { format!("{}/{path}", source.name) };
            summary.skip(cause, path, detail);
        }
        for (path, bytes) in found.files {
            let (folder, file) = match path.split_once('/') {
                Some((folder, file)) if source.projects_dir => (Some(folder), file),
                _ => (None, path.as_str()),
            };
            let project = projects.number(at, source, folder);
            let file = file.to_owned();
            all.push(SourceFile { path: source.root.join(&path), project, file, bytes });
        }
    }
    all
}

fn find(root: &Path, skip: &[String]) -> Found {
    let mut found = Found::default();
    // Links are not followed, so a loop of links cannot trap the walk.
    let mut walk = WalkDir::new(root).min_depth(1).into_iter();
    while let Some(entry) = walk.next() {
        match entry {
            Ok(entry) if entry.file_type().is_dir() => {
                if is_skipped(&entry, skip) {
                    found.skipped_folders += 1;
                    walk.skip_current_dir();
                }
            }
            Ok(entry) => found.add(root, &entry),
            Err(e) => {
                let (path, _) = relative(root, e.path().unwrap_or(root));
                let why = e.io_error().map_or_else(|| e.to_string(), ToString::to_string);
                found.skipped.push((path, SkipCause::Unreadable, why));
            }
        }
    }
    found.files.sort_unstable();
    found.skipped.sort_unstable();
    found
}

impl Found {
    fn add(&mut self, root: &Path, entry: &DirEntry) {
        let kind = entry.file_type();
        let to_folder = kind.is_symlink() && entry.path().is_dir();
        if !to_folder && !has_source_extension(entry.path()) {
            self.other_files += 1;
            return;
        }
        let (path, is_utf8) = relative(root, entry.path());
        let skip = if kind.is_symlink() {
            Some((SkipCause::SymbolicLink, "links are not followed".to_owned()))
        } else if !kind.is_file() {
            Some((SkipCause::NotRegularFile, "a pipe, a socket or a device".to_owned()))
        } else if !is_utf8 {
            Some((SkipCause::PathNotUtf8, String::new()))
        } else {
            None
        };
        match skip {
            Some((cause, detail)) => self.skipped.push((path, cause, detail)),
            // A file that has gone since is reported when it is read.
            None => self.files.push((path, entry.metadata().map_or(0, |m| m.len()))),
        }
    }
}

fn is_skipped(entry: &DirEntry, skip: &[String]) -> bool {
    let name = entry.file_name().as_encoded_bytes();
    skip.iter().any(|pattern| pattern::matches(pattern.as_bytes(), name))
}

fn has_source_extension(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str());
    extension.is_some_and(|e| EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(e)))
}

/// The path below `root` with `/` between its parts, and whether all of it is UTF-8.
fn relative(root: &Path, path: &Path) -> (String, bool) {
    let below = path.strip_prefix(root).unwrap_or(path);
    let is_utf8 = below.to_str().is_some();
    let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
    (parts.join("/"), is_utf8)
}
