//! Where the system's headers lie: asked of the installed compiler. And the parser's own headers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kiln_clang::Library;

use super::Language;

/// Folders of system headers, in the order in which they are searched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SystemHeaders {
    pub c: Vec<PathBuf>,
    pub cxx: Vec<PathBuf>,
}

impl SystemHeaders {
    /// Asks the compiler, and puts the parser's own headers (`stddef.h`, intrinsics) where the compiler's own stand.
    pub(super) fn of_this_machine(library: Library) -> Self {
        let builtin = builtin_headers(library);
        let folders = |language| {
            let asked = ask_compilers(language);
            let asked = if asked.is_empty() { vec![PathBuf::from("/usr/include")] } else { asked };
            with_builtin(asked, builtin.as_deref())
        };
        Self { c: folders(Language::C), cxx: folders(Language::Cxx) }
    }

    pub(super) fn folders(&self, language: Language) -> &[PathBuf] {
        match language {
            Language::C => &self.c,
            Language::Cxx => &self.cxx,
        }
    }

    /// Arguments that make the parser search these folders and no others.
    pub(super) fn arguments(&self, language: Language) -> Vec<String> {
        let mut arguments = vec!["-nostdinc".to_string()];
        for folder in self.folders(language) {
            arguments.push("-isystem".to_string());
            arguments.push(folder.to_string_lossy().into_owned());
        }
        arguments
    }
}

/// The answer of the first compiler that gives one.
fn ask_compilers(language: Language) -> Vec<PathBuf> {
    let (names, code): (&[&str], _) = match language {
        Language::C => (&["cc", "gcc", "clang"], "c"),
        Language::Cxx => (&["c++", "g++", "clang++"], "c++"),
    };
    names.iter().map(|name| ask(name, code)).find(|folders| !folders.is_empty()).unwrap_or_default()
}

fn ask(compiler: &str, language: &str) -> Vec<PathBuf> {
    let output = Command::new(compiler)
        .args(["-v", "-E", "-x", language, "-"])
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output();
    output.map(|output| search_list(&String::from_utf8_lossy(&output.stderr))).unwrap_or_default()
}

/// The folders between the two lines that gcc and clang print around them.
fn search_list(text: &str) -> Vec<PathBuf> {
    text.lines()
        .skip_while(|line| !line.starts_with("#include <...>"))
        .skip(1)
        .take_while(|line| !line.starts_with("End of search list"))
        .map(|line| PathBuf::from(line.trim().trim_end_matches(" (framework directory)")))
        .collect()
}

/// Puts the parser's headers in place of the compiler's: gcc's intrinsics are made of builtins that clang lacks.
fn with_builtin(asked: Vec<PathBuf>, builtin: Option<&Path>) -> Vec<PathBuf> {
    let Some(builtin) = builtin else {
        return asked;
    };
    let own: Vec<bool> = asked.iter().map(|folder| is_builtin(folder)).collect();
    // Before the C library's folders, whose headers lead on to the parser's and back.
    let place =
        own.iter().position(|own| *own).or_else(|| asked.iter().position(|folder| is_libc(folder)));
    let mut folders = Vec::new();
    for (index, folder) in asked.iter().enumerate() {
        if place == Some(index) {
            folders.push(builtin.to_path_buf());
        }
        if !own[index] {
            folders.push(folder.clone());
        }
    }
    if place.is_none() {
        folders.push(builtin.to_path_buf());
    }
    folders
}

/// A folder of headers that belong to one compiler.
fn is_builtin(folder: &Path) -> bool {
    folder.join("stddef.h").is_file()
        && (folder.join("stdarg.h").is_file() || folder.join("mm_malloc.h").is_file())
}

fn is_libc(folder: &Path) -> bool {
    folder.join("stdlib.h").is_file() && folder.join("stdio.h").is_file()
}

/// The headers that come with the parser: beside the library, else those of the installed clang nearest in version.
fn builtin_headers(library: Library) -> Option<PathBuf> {
    let beside = library.path().parent().map(|lib| lib.join("clang"));
    if let Some(headers) = beside.and_then(|clang| newest_resources(&clang)) {
        return Some(headers);
    }
    let major = library.major();
    let mut installed: Vec<(u32, PathBuf)> = Vec::new();
    for root in ["/usr/lib", "/usr/local", "/usr/local/lib", "/opt"] {
        for llvm in entries(Path::new(root)) {
            let name = llvm
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            if name.starts_with("llvm") {
                for lib in ["lib", "lib64"] {
                    installed.extend(resources(&llvm.join(lib).join("clang")));
                }
            }
        }
    }
    for clang in ["/usr/lib/clang", "/usr/lib64/clang", "/usr/local/lib/clang"] {
        installed.extend(resources(Path::new(clang)));
    }
    installed.extend(asked_resources());
    installed.sort_by_key(|(version, path)| (version.abs_diff(major), path.clone()));
    installed.into_iter().next().map(|(_, path)| path)
}

/// `include` folders below `clang/VERSION`, with the major version.
fn resources(clang: &Path) -> Vec<(u32, PathBuf)> {
    let mut found: Vec<(u32, PathBuf)> = entries(clang)
        .into_iter()
        .filter_map(|version| {
            let name = version.file_name()?.to_string_lossy().into_owned();
            let major = name.split('.').next()?.parse().ok()?;
            let include = version.join("include");
            include.join("stddef.h").is_file().then_some((major, include))
        })
        .collect();
    found.sort();
    found
}

fn newest_resources(clang: &Path) -> Option<PathBuf> {
    resources(clang).pop().map(|(_, path)| path)
}

/// What a clang on `PATH` says.
fn asked_resources() -> Option<(u32, PathBuf)> {
    let output =
        Command::new("clang").arg("-print-resource-dir").stdin(Stdio::null()).output().ok()?;
    let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let major = folder.file_name()?.to_string_lossy().split('.').next()?.parse().ok()?;
    let include = folder.join("include");
    include.join("stddef.h").is_file().then_some((major, include))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(folder)
        .map(|all| all.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_search_list() {
        let text = "ignoring nonexistent directory \"/x\"\n#include \"...\" search starts here:\n#include <...> search \
                    starts here:\n /usr/include/c++/12\n /usr/include\nEnd of search list.\n# 0 \"<stdin>\"\n";
        assert_eq!(
            search_list(text),
            [Path::new("/usr/include/c++/12"), Path::new("/usr/include")]
        );
        assert!(search_list("gcc: error").is_empty());
    }

    #[test]
    fn the_parsers_headers_take_the_compilers_place() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (dir, file) in [
            ("cxx", "vector"),
            ("gcc", "stddef.h"),
            ("gcc", "stdarg.h"),
            ("libc", "stdio.h"),
            ("libc", "stdlib.h"),
        ] {
            fs::create_dir_all(at(dir)).unwrap();
            fs::write(at(dir).join(file), "").unwrap();
        }
        let parser = Path::new("/parser");
        let all = vec![at("cxx"), at("gcc"), at("libc")];
        assert_eq!(with_builtin(all.clone(), Some(parser)), [at("cxx"), parser.into(), at("libc")]);
        assert_eq!(
            with_builtin(vec![at("cxx"), at("libc")], Some(parser)),
            [at("cxx"), parser.into(), at("libc")]
        );
        assert_eq!(with_builtin(all.clone(), None), all);
    }
}
