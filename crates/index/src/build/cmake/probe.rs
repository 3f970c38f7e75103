//! Answers to a project's questions about the machine.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use kiln_clang::{Index, Library, ParseFlags, Severity};
use rustc_hash::FxHashMap;

use crate::build::Language;
use crate::build::system::SystemHeaders;

/// What can be asked.
pub(in crate::build) trait Probe {
    /// Whether the parser takes the program.
    fn compiles(&self, source: &str, language: Language) -> bool;
    /// Whether the system has the header.
    fn has_header(&self, name: &str) -> bool;
    /// Whether the system has the library.
    fn has_library(&self, name: &str) -> bool;
    /// Whether a package of that name is installed for development.
    fn has_package(&self, name: &str) -> bool;
}

/// Asks this machine.
pub(in crate::build) struct SystemProbe<'a> {
    library: Library,
    headers: &'a SystemHeaders,
    /// A folder for the snippets.
    folder: &'a Path,
    known: RefCell<FxHashMap<(String, Language), bool>>,
}

impl<'a> SystemProbe<'a> {
    pub(in crate::build) fn new(
        library: Library,
        headers: &'a SystemHeaders,
        folder: &'a Path,
    ) -> Self {
        Self { library, headers, folder, known: RefCell::default() }
    }

    fn parses(&self, source: &str, language: Language) -> bool {
        let (name, standard, kind) = match language {
            Language::C => ("probe.c", "-std=c11", "-xc"),
            Language::Cxx => ("probe.cc", "-std=c++17", "-xc++"),
        };
        let path = self.folder.join(name);
        if fs::write(&path, source).is_err() {
            return false;
        }
        let mut arguments = vec![kind.to_string(), standard.to_string(), "-w".to_string()];
        arguments.extend(self.headers.arguments(language));
        let index = Index::new(self.library, false);
        let unit = index.parse(&path, &arguments, ParseFlags::default());
        unit.is_ok_and(|unit| {
            unit.diagnostics().iter().all(|diagnostic| diagnostic.severity < Severity::Error)
        })
    }
}

impl Probe for SystemProbe<'_> {
    fn compiles(&self, source: &str, language: Language) -> bool {
        let question = (source.to_string(), language);
        if let Some(known) = self.known.borrow().get(&question) {
            return *known;
        }
        let answer = self.parses(source, language);
        self.known.borrow_mut().insert(question, answer);
        answer
    }

    fn has_header(&self, name: &str) -> bool {
        self.headers.cxx.iter().any(|folder| folder.join(name).is_file())
    }

    fn has_library(&self, name: &str) -> bool {
        library_folders().iter().any(|folder| {
            [format!("lib{name}.so"), format!("lib{name}.a")]
                .iter()
                .any(|file| folder.join(file).exists())
        })
    }

    fn has_package(&self, name: &str) -> bool {
        let lower = name.to_lowercase();
        if matches!(lower.as_str(), "threads" | "openmp") {
            return true;
        }
        let described = library_folders().iter().any(|folder| {
            folder.join("cmake").join(name).exists()
                || folder.join("cmake").join(&lower).exists()
                || folder.join("pkgconfig").join(format!("{lower}.pc")).exists()
        });
        described
            || [format!("{lower}.h"), format!("{lower}/{lower}.h"), format!("{name}/{name}.h")]
                .iter()
                .any(|header| self.has_header(header))
            || self.has_library(&lower)
    }
}

fn library_folders() -> [PathBuf; 5] {
    let multiarch = format!("{}-linux-gnu", std::env::consts::ARCH);
    ["/usr/lib", "/usr/local/lib", "/usr/lib64", "/usr/share"]
        .map(PathBuf::from)
        .into_iter()
        .chain([Path::new("/usr/lib").join(multiarch)])
        .collect::<Vec<_>>()
        .try_into()
        .unwrap_or_default()
}
