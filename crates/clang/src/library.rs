//! A loaded libclang.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use thiserror::Error;

use crate::functions::Functions;
use crate::string;

/// The oldest libclang that Kiln is tested with.
pub(crate) const OLDEST: u32 = 14;

/// Why a library cannot be used.
#[derive(Debug, Clone, Error)]
pub enum LoadError {
    /// The loader refused, or a function is missing.
    #[error("{path}: {detail}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the loader said.
        detail: String,
    },
    /// The library is too old, or says no version that Kiln understands.
    #[error("{path}: version {version:?} is older than {OLDEST}", path = path.display())]
    TooOld {
        /// The file.
        path: PathBuf,
        /// What the library calls itself.
        version: String,
    },
}

/// A loaded libclang. Copies are handles to the same library, which stays loaded until the process ends: libclang keeps
/// thread-local state whose destructors must not outlive its code.
#[derive(Debug, Clone, Copy)]
pub struct Library {
    loaded: &'static Loaded,
}

#[derive(Debug)]
struct Loaded {
    path: PathBuf,
    version: String,
    major: u32,
    functions: Functions,
    /// Keeps the code mapped.
    _library: libloading::Library,
}

static LOADED: Mutex<Vec<&'static Loaded>> = Mutex::new(Vec::new());

impl Library {
    /// Loads the library file `path`, once per process.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let mut all = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = all.iter().find(|loaded| loaded.path == path) {
            return Ok(Self { loaded });
        }
        let loaded: &'static Loaded = Box::leak(Box::new(Loaded::open(path)?));
        all.push(loaded);
        Ok(Self { loaded })
    }

    /// The library's file.
    pub fn path(self) -> &'static Path {
        &self.loaded.path
    }

    /// What it calls itself, such as `Debian clang version 14.0.6`.
    pub fn version(self) -> &'static str {
        &self.loaded.version
    }

    /// Its major version.
    pub fn major(self) -> u32 {
        self.loaded.major
    }

    pub(crate) fn functions(self) -> &'static Functions {
        &self.loaded.functions
    }
}

impl Loaded {
    fn open(path: &Path) -> Result<Self, LoadError> {
        let failed = |error: libloading::Error| LoadError::Open {
            path: path.to_path_buf(),
            detail: error.to_string(),
        };
        // SAFETY: loading runs the library's initialisers; the file was named by the user or found under libclang's
        // name in a folder of libraries, and libclang's initialisers only fill its own tables.
        let library = unsafe { libloading::Library::new(path) }.map_err(failed)?;
        // SAFETY: a library that has all of these names is a libclang, whose C interface is stable.
        let functions = unsafe { Functions::load(&library) }.map_err(failed)?;
        // SAFETY: takes no argument and returns a string of its own.
        let version = unsafe { string::take(&functions, (functions.clang_getClangVersion)()) };
        let major = major_version(&version).filter(|major| *major >= OLDEST);
        let Some(major) = major else {
            return Err(LoadError::TooOld { path: path.to_path_buf(), version });
        };
        // SAFETY: a plain switch; on by default, stated here because the safety of parsing rests on it.
        unsafe { (functions.clang_toggleCrashRecovery)(1) };
        Ok(Self { path: path.to_path_buf(), version, major, functions, _library: library })
    }
}

/// `14` of `Debian clang version 14.0.6`.
fn major_version(version: &str) -> Option<u32> {
    let (_, number) = version.split_once("version ")?;
    let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_major_version() {
        assert_eq!(major_version("Debian clang version 14.0.6"), Some(14));
        assert_eq!(
            major_version("clang version 18.1.1 (https://github.com/llvm/llvm-project.git abc)"),
            Some(18)
        );
        assert_eq!(major_version("Apple clang version 15.0.0"), Some(15));
        assert_eq!(major_version("nothing"), None);
    }

    #[test]
    fn a_file_that_is_no_library_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libclang.so");
        assert!(matches!(Library::load(&path), Err(LoadError::Open { .. })));
        std::fs::write(&path, "not ELF").unwrap();
        let error = Library::load(&path).unwrap_err().to_string();
        assert!(error.contains("libclang.so"), "{error}");
    }
}
