//! Folders and targets with what they are compiled with.

use std::path::{Path, PathBuf};

use rustc_hash::{FxHashMap, FxHashSet};

/// What is said of a folder (for all its targets) or of a target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// `NAME` or `NAME=VALUE`.
    pub definitions: Vec<String>,
    pub folders: Vec<PathBuf>,
    pub cxx_standard: Option<u32>,
}

impl Usage {
    pub(super) fn add(&mut self, other: &Usage) {
        for definition in &other.definitions {
            if !self.definitions.contains(definition) {
                self.definitions.push(definition.clone());
            }
        }
        for folder in &other.folders {
            if !self.folders.contains(folder) {
                self.folders.push(folder.clone());
            }
        }
        self.cxx_standard = self.cxx_standard.max(other.cxx_standard);
    }

    /// Takes `-DNAME`, `-IFOLDER` and `-std=` out of compiler flags.
    pub(super) fn add_flags<'a>(&mut self, flags: impl IntoIterator<Item = &'a str>, base: &Path) {
        for flag in flags {
            if let Some(definition) = flag.strip_prefix("-D").or_else(|| flag.strip_prefix("/D")) {
                self.add_definition(definition);
            } else if let Some(folder) = flag.strip_prefix("-I") {
                self.folders.push(base.join(folder));
            } else if let Some(standard) = flag.strip_prefix("-std=") {
                self.cxx_standard = self.cxx_standard.max(standard_number(standard));
            }
        }
    }

    pub(super) fn add_definition(&mut self, definition: &str) {
        // The language takes definitions with and without the option before them.
        let definition = definition.strip_prefix("-D").unwrap_or(definition);
        let name = definition.split(['=', '(']).next().unwrap_or_default();
        let is_name = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if is_name && !self.definitions.iter().any(|known| known == definition) {
            self.definitions.push(definition.to_string());
        }
    }
}

/// `17` of `c++17` and `gnu++1z`.
pub(super) fn standard_number(text: &str) -> Option<u32> {
    let number = text.rsplit("++").next()?;
    match number {
        "1z" => Some(17),
        "2a" => Some(20),
        "2b" => Some(23),
        "2c" => Some(26),
        number => number.parse().ok().filter(|number| (11..90).contains(number)),
    }
}

/// A library or program.
#[derive(Debug, Clone, Default)]
pub(super) struct Target {
    /// Its folder, of [`Targets::folders`].
    pub folder: usize,
    pub sources: Vec<PathBuf>,
    pub own: Usage,
    /// What those that link it get.
    pub passed_on: Usage,
    pub links: Vec<String>,
}

/// A folder with a `CMakeLists.txt`.
#[derive(Debug, Clone, Default)]
pub(super) struct Folder {
    pub path: PathBuf,
    pub parent: Option<usize>,
    pub usage: Usage,
}

/// Everything that was said.
#[derive(Debug, Clone, Default)]
pub(super) struct Targets {
    pub folders: Vec<Folder>,
    pub by_name: FxHashMap<String, usize>,
    pub all: Vec<Target>,
}

/// How the files of a project are compiled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::build) struct Settings {
    /// All folders that any target searches, in order; absolute.
    pub folders: Vec<PathBuf>,
    /// Of each source file (absolute) that belongs to a target.
    pub files: FxHashMap<PathBuf, FileSettings>,
    /// For all other files: those of the target with the most sources.
    pub default: FileSettings,
}

/// What differs from file to file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::build) struct FileSettings {
    /// `NAME` or `NAME=VALUE`.
    pub definitions: Vec<String>,
    /// `17` for C++17.
    pub cxx_standard: Option<u32>,
}

impl Targets {
    /// The target named, or the one that the name is an alias of.
    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Target> {
        let index = *self.by_name.get(name)?;
        self.all.get_mut(index)
    }

    pub(super) fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        let mut folders = Usage::default();
        for folder in &self.folders {
            folders.add(&folder.usage);
        }
        let mut largest: Option<(usize, FileSettings)> = None;
        for target in &self.all {
            let usage = self.usage(target);
            folders.add(&usage);
            let file =
                FileSettings { definitions: usage.definitions, cxx_standard: usage.cxx_standard };
            for source in &target.sources {
                settings.files.entry(source.clone()).or_insert_with(|| file.clone());
            }
            if largest.as_ref().is_none_or(|(sources, _)| target.sources.len() > *sources) {
                largest = Some((target.sources.len(), file));
            }
        }
        settings.folders = folders.folders;
        settings.default = match (largest, self.folders.first()) {
            (Some((_, default)), _) => default,
            (None, Some(root)) => FileSettings {
                definitions: root.usage.definitions.clone(),
                cxx_standard: root.usage.cxx_standard,
            },
            (None, None) => FileSettings::default(),
        };
        settings
    }

    /// Of the target's folder and those above it, of the target, and of what it links, directly or not.
    fn usage(&self, target: &Target) -> Usage {
        let mut chain = Vec::new();
        let mut next = Some(target.folder);
        while let Some(folder) = next.and_then(|index| self.folders.get(index)) {
            chain.push(&folder.usage);
            next = folder.parent;
        }
        let mut usage = Usage::default();
        for folder in chain.into_iter().rev() {
            usage.add(folder);
        }
        usage.add(&target.own);
        let mut seen = FxHashSet::default();
        let mut open: Vec<&str> = target.links.iter().map(String::as_str).collect();
        while let Some(name) = open.pop() {
            if let Some(index) = self.by_name.get(name).filter(|index| seen.insert(**index)) {
                usage.add(&self.all[*index].passed_on);
                open.extend(self.all[*index].links.iter().map(String::as_str));
            }
        }
        usage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_flags() {
        let mut usage = Usage::default();
        usage.add_flags(
            ["-DA=1", "-Wall", "-Iinclude", "-std=gnu++2a", "-D", "-DA=1"],
            Path::new("/p"),
        );
        assert_eq!(usage.definitions, ["A=1"]);
        assert_eq!(usage.folders, [Path::new("/p/include")]);
        assert_eq!(usage.cxx_standard, Some(20));
    }
}
