//! Sources, checked, and the projects in them.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::error::CorpusError;
use crate::licence;

/// One source folder.
pub(crate) struct Source {
    /// Resolved: absolute and without links.
    pub root: PathBuf,
    /// Last part of the resolved path.
    pub name: String,
    /// Whether its first-level folders are projects.
    pub projects_dir: bool,
}

/// One project: a whole source, or a first-level folder of one.
pub(crate) struct Project {
    /// Unique in the run.
    pub name: String,
    pub root: PathBuf,
    pub licence: Option<String>,
}

/// Resolves the sources and refuses those that are missing or would give files twice.
pub(crate) fn resolve(sources: &[PathBuf], projects_dir: bool) -> Result<Vec<Source>, CorpusError> {
    let mut resolved: Vec<Source> = Vec::with_capacity(sources.len());
    for path in sources {
        let root = resolve_one(path)?;
        let clash =
            resolved.iter().position(|s| s.root.starts_with(&root) || root.starts_with(&s.root));
        if let Some(earlier) = clash {
            let other = sources[earlier].clone();
            let (outer, inner) = if resolved[earlier].root.starts_with(&root) {
                (path.clone(), other)
            } else {
                (other, path.clone())
            };
            return Err(CorpusError::SourcesOverlap { outer, inner });
        }
        // Only `/` has no last part.
        let name = root.file_name().map_or("root".into(), |n| n.to_string_lossy()).into_owned();
        resolved.push(Source { root, name, projects_dir });
    }
    Ok(resolved)
}

fn resolve_one(path: &Path) -> Result<PathBuf, CorpusError> {
    match path.canonicalize() {
        Ok(root) if root.is_dir() => Ok(root),
        Ok(_) => Err(CorpusError::SourceNotFolder { path: path.to_owned() }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Err(CorpusError::SourceMissing { path: path.to_owned() })
        }
        Err(e) => Err(CorpusError::io("open the source folder", path)(e)),
    }
}

/// Gives every project a number and a name that no other one has: the second `src` becomes `src-2`.
#[derive(Default)]
pub(crate) struct Projects {
    pub list: Vec<Project>,
    numbers: HashMap<(usize, Option<String>), usize>,
    names: HashSet<String>,
}

impl Projects {
    /// Whether a source has given a project.
    pub(crate) fn has(&self, at: usize) -> bool {
        self.numbers.keys().any(|(source, _)| *source == at)
    }

    /// The number of the project in this first-level folder of a source, or of the source itself.
    pub(crate) fn number(&mut self, at: usize, source: &Source, folder: Option<&str>) -> usize {
        let key = (at, folder.map(str::to_owned));
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        let root = folder.map_or_else(|| source.root.clone(), |f| source.root.join(f));
        let name = self.unused_name(folder.unwrap_or(&source.name));
        let licence = licence::of_project(&root);
        self.list.push(Project { name, root, licence });
        self.numbers.insert(key, self.list.len() - 1);
        self.list.len() - 1
    }

    fn unused_name(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        for n in 2.. {
            if self.names.insert(name.clone()) {
                break;
            }
            name = format!("{wanted}-{n}");
        }
        name
    }
}
