//! Compile databases: `compile_commands.json`.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::arguments::{absolute, parser_arguments};
use super::{Language, Unit};
use crate::IndexError;

/// Response files within response files; one that names itself must end.
const MAX_RESPONSE_FILES: usize = 8;

/// How one file is compiled.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Command {
    /// Absolute.
    pub file: PathBuf,
    /// As the parser takes them, paths absolute.
    pub arguments: Vec<String>,
}

#[derive(Deserialize)]
struct Entry {
    directory: String,
    file: String,
    command: Option<String>,
    arguments: Option<Vec<String>>,
}

/// The database that is named, or that of the project: in its root, or in its build folder.
pub(super) fn find(root: &Path, named: Option<&Path>) -> Option<PathBuf> {
    match named {
        Some(path) if path.is_dir() => Some(path.join("compile_commands.json")),
        Some(path) => Some(path.to_path_buf()),
        None => ["compile_commands.json", "build/compile_commands.json"]
            .into_iter()
            .map(|name| root.join(name))
            .find(|path| path.is_file()),
    }
}

/// Reads a database. Folders count from the database's own where they are not absolute.
pub(super) fn read(path: &Path) -> Result<Vec<Command>, IndexError> {
    let text = fs::read_to_string(path)
        .map_err(|source| IndexError::ReadCompileCommands { path: path.to_path_buf(), source })?;
    let failed = |detail: String| IndexError::CompileCommands { path: path.to_path_buf(), detail };
    let entries: Vec<Entry> =
        serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
    let base = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let base = base.parent().unwrap_or(Path::new("/"));
    let command = |(number, entry): (usize, Entry)| {
        let directory = absolute(base, &entry.directory);
        let file = absolute(&directory, &entry.file);
        let words = match (entry.arguments, entry.command) {
            (Some(arguments), _) => arguments,
            (None, Some(command)) => shlex::split(&command).ok_or_else(|| {
                failed(format!("entry {number} ({}): a quote is not closed", entry.file))
            })?,
            (None, None) => {
                return Err(failed(format!("entry {number} ({}): no command", entry.file)));
            }
        };
        let words = with_response_files(words, &directory, 0);
        let arguments = parser_arguments(&words, &directory, &file);
        Ok(Command { file, arguments })
    };
    entries.into_iter().enumerate().map(command).collect()
}

/// Puts the words of response files (`@FILE`) in their place. One that cannot be read or has an open quote holds nothing
/// that could be used.
fn with_response_files(words: Vec<String>, directory: &Path, depth: usize) -> Vec<String> {
    let mut all = Vec::with_capacity(words.len());
    for word in words {
        match word.strip_prefix('@').filter(|_| depth < MAX_RESPONSE_FILES) {
            Some(name) => {
                let text = fs::read_to_string(absolute(directory, name)).ok();
                let inner = text.and_then(|text| shlex::split(&text)).unwrap_or_default();
                all.extend(with_response_files(inner, directory, depth + 1));
            }
            None => all.push(word),
        }
    }
    all
}

/// Writes a database of the units as they are parsed.
pub(crate) fn write(units: &[Unit], root: &Path, path: &Path) -> Result<(), IndexError> {
    let entries: Vec<_> = units
        .iter()
        .map(|unit| {
            let compiler = if unit.language == Language::C { "cc" } else { "c++" };
            let arguments: Vec<&str> = [compiler]
                .into_iter()
                .chain(unit.arguments.iter().map(String::as_str))
                .chain(["-c", &unit.name])
                .collect();
            serde_json::json!({ "directory": root, "file": unit.name, "arguments": arguments })
        })
        .collect();
    let mut text = serde_json::Value::Array(entries).to_string();
    text.push('\n');
    fs::write(path, text)
        .map_err(|source| IndexError::WriteCompileCommands { path: path.to_path_buf(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<Command>, IndexError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("compile_commands.json");
        fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn splits_commands_as_a_shell_would() {
        let text = r#"[{"directory": "/p/my build", "file": "../a b.cc",
            "command": "g++ '-I../in clude' -DNAME=\"\\\"x y\\\"\" -DQ=\\ z -c '../a b.cc'"}]"#;
        let commands = read_text(text).unwrap();
        assert_eq!(commands[0].file, Path::new("/p/a b.cc"));
        assert_eq!(commands[0].arguments, ["-I/p/in clude", "-DNAME=\"x y\"", "-DQ= z"]);
    }

    #[test]
    fn takes_lists_of_arguments() {
        let text = r#"[{"directory": "/p", "file": "a.cc", "arguments": ["c++", "-I", "x y", "a.cc"], "output": "a.o"}]"#;
        assert_eq!(read_text(text).unwrap()[0].arguments, ["-I/p/x y"]);
    }

    #[test]
    fn folders_count_from_the_databases_own() {
        let folder = tempfile::tempdir().unwrap();
        let build = folder.path().join("build");
        fs::create_dir(&build).unwrap();
        let path = build.join("compile_commands.json");
        let text = r#"[{"directory": "sub", "file": "../../a.cc", "command": "c++ -I../include -isystem ../../ext -c ../../a.cc"},
            {"directory": ".", "file": "../b.cc", "arguments": ["c++", "-I.", "../b.cc"]}]"#;
        fs::write(&path, text).unwrap();
        let commands = read(&path).unwrap();
        let shown = |path: &Path| path.to_string_lossy().into_owned();
        let (root, include) = (folder.path(), shown(&build.join("include")));
        assert_eq!(commands[0].file, root.join("a.cc"));
        let system = ["-isystem".to_string(), shown(&root.join("ext"))];
        assert_eq!(commands[0].arguments, [&[format!("-I{include}")], &system[..]].concat());
        assert_eq!(commands[1].file, root.join("b.cc"));
        assert_eq!(commands[1].arguments, [format!("-I{}", shown(&build))]);
    }

    #[test]
    fn response_files_stand_for_their_words() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("flags.rsp"), "-DA=1 '-Ix y'\n@more.rsp\n").unwrap();
        fs::write(at("more.rsp"), "-DB @more.rsp").unwrap();
        fs::write(at("open.rsp"), "-DC 'x").unwrap();
        let text = r#"[{"directory": ".", "file": "a.cc",
            "command": "c++ @flags.rsp @missing.rsp @open.rsp -DD -c a.cc"}]"#;
        fs::write(at("db.json"), text).unwrap();
        let arguments = read(&at("db.json")).unwrap().remove(0).arguments;
        let folder = format!("-I{}", at("x y").display());
        assert_eq!(arguments[..3], ["-DA=1", folder.as_str(), "-DB"]);
        assert_eq!(arguments.last().unwrap(), "-DD");
        assert!(!arguments.iter().any(|argument| argument.contains('@')), "{arguments:?}");
    }

    #[test]
    fn reads_what_it_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.json");
        let arguments = ["-xc++", "-DA=\"x y\"", "-I/p/in clude"].map(String::from).to_vec();
        let unit = Unit {
            name: "a b.cc".into(),
            language: Language::Cxx,
            arguments: arguments.clone(),
            newer: None,
        };
        write(&[unit], Path::new("/p"), &path).unwrap();
        let commands = read(&path).unwrap();
        assert_eq!(commands, [Command { file: "/p/a b.cc".into(), arguments }]);
        assert!(write(&[], Path::new("/p"), folder.path()).is_err());
    }

    #[test]
    fn says_what_is_wrong() {
        let open = r#"[{"directory": "/p", "file": "a.cc", "command": "g++ 'x"}]"#;
        assert!(
            read_text(open)
                .unwrap_err()
                .to_string()
                .contains("entry 0 (a.cc): a quote is not closed")
        );
        assert!(read_text("{").unwrap_err().to_string().contains("line 1"));
        let nothing = r#"[{"directory": "/p", "file": "a.cc"}]"#;
        assert!(read_text(nothing).unwrap_err().to_string().contains("no command"));
        assert!(matches!(
            read(Path::new("/nowhere/x.json")),
            Err(IndexError::ReadCompileCommands { .. })
        ));
    }
}
