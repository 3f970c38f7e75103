//! Gathers the units of a project.

use std::path::{Path, PathBuf};

use kiln_clang::Library;
use rustc_hash::FxHashMap;

use super::cmake::{self, FileSettings, Settings, SystemProbe};
use super::headers::{HeaderIndex, include_folders, shadows};
use super::system::SystemHeaders;
use super::{Language, Unit, database, is_source};
use crate::{IndexError, ProjectInput};

/// What every unit gets: no warnings, every error, and no guesses at misspelt names, which would make up calls.
const ALWAYS: [&str; 3] = ["-w", "-ferror-limit=0", "-fno-spell-checking"];

/// C++17, which old code is taken by, too.
const OLDEST_STANDARD: u32 = 17;

/// The units of a project.
#[derive(Debug)]
pub(crate) struct Plan {
    /// By name.
    pub units: Vec<Unit>,
    /// Folders of system headers for C++.
    pub system: Vec<PathBuf>,
}

/// Finds out how the project is compiled. `root` is absolute; `folder` is an empty one for probes and made headers, to
/// be kept as long as the units are parsed.
pub(crate) fn plan(
    input: &ProjectInput,
    root: &Path,
    folder: &Path,
    library: Library,
    compile_commands: Option<&Path>,
) -> Result<Plan, IndexError> {
    let system = SystemHeaders::of_this_machine(library);
    let mut units = match database::find(root, compile_commands) {
        Some(path) => from_database(input, root, &system, &path)?,
        None => {
            let probe = SystemProbe::new(library, &system, folder);
            let settings = cmake::evaluate(root, &folder.join("made"), &input.files, &probe)
                .unwrap_or_default();
            from_sources(input, root, &system, &settings)
        }
    };
    units.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Plan { units, system: system.cxx })
}

/// Entries for files of the project; of several for one file the first counts.
fn from_database(
    input: &ProjectInput,
    root: &Path,
    system: &SystemHeaders,
    path: &Path,
) -> Result<Vec<Unit>, IndexError> {
    let names: FxHashMap<_, _> =
        input.files.iter().map(|file| (root.join(&file.name), &file.name)).collect();
    let mut units: FxHashMap<&str, Unit> = FxHashMap::default();
    for command in database::read(path)? {
        let real = command.file.canonicalize().unwrap_or_else(|_| command.file.clone());
        let Some(name) = names.get(&command.file).or_else(|| names.get(&real)) else {
            continue;
        };
        units.entry(name).or_insert_with(|| {
            let language = language(&command.arguments, name);
            let arguments = complete(language, None, command.arguments, system);
            Unit { name: name.to_string(), language, arguments, newer: None }
        });
    }
    Ok(units.into_values().collect())
}

fn language(arguments: &[String], name: &str) -> Language {
    match arguments.iter().rev().find_map(|argument| argument.strip_prefix("-x")) {
        Some("c" | "c-header") => Language::C,
        Some("c++" | "c++-header") => Language::Cxx,
        _ => Language::of_file(name),
    }
}

/// Every source file is a unit. Folders are those that the project's own build names, and those by which the other
/// includes resolve.
fn from_sources(
    input: &ProjectInput,
    root: &Path,
    system: &SystemHeaders,
    settings: &Settings,
) -> Vec<Unit> {
    let folders = search_arguments(input, root, system, settings);
    let arguments = |language, file: &FileSettings| {
        let mut own: Vec<String> =
            file.definitions.iter().map(|definition| format!("-D{definition}")).collect();
        own.extend_from_slice(&folders);
        let standard = file.cxx_standard.unwrap_or_default().max(OLDEST_STANDARD);
        complete(language, Some(standard), own, system)
    };
    let units = input.files.iter().filter(|file| is_source(&file.name)).map(|file| {
        let language = Language::of_file(&file.name);
        let settings = settings.files.get(&root.join(&file.name)).unwrap_or(&settings.default);
        let arguments = arguments(language, settings);
        let newer = (language == Language::Cxx).then(|| with_standard(&arguments, "c++20"));
        Unit { name: file.name.clone(), language, arguments, newer }
    });
    units.collect()
}

/// `-I` for each folder; `-iquote` where a file in it is called like a header of the system.
fn search_arguments(
    input: &ProjectInput,
    root: &Path,
    system: &SystemHeaders,
    settings: &Settings,
) -> Vec<String> {
    let index = HeaderIndex::new(&input.files);
    let named: Vec<PathBuf> =
        settings.folders.iter().filter(|folder| folder.is_dir()).cloned().collect();
    let below_root = named
        .iter()
        .filter_map(|folder| Some(folder.strip_prefix(root).ok()?.to_string_lossy().into_owned()));
    let known: Vec<String> = below_root.collect();
    let found = include_folders(&input.files, &index, &known, &system.cxx);
    let mut arguments = Vec::new();
    for folder in named.into_iter().chain(found.iter().map(|folder| root.join(folder))) {
        let path = folder.to_string_lossy().trim_end_matches('/').to_string();
        if system.cxx.contains(&folder) {
            continue;
        }
        if shadows(&folder, &system.cxx) {
            arguments.extend(["-iquote".to_string(), path]);
        } else {
            arguments.push(format!("-I{path}"));
        }
    }
    arguments
}

/// Adds what the project's own arguments lack.
fn complete(
    language: Language,
    standard: Option<u32>,
    own: Vec<String>,
    system: &SystemHeaders,
) -> Vec<String> {
    let mut arguments: Vec<String> = ALWAYS.iter().map(ToString::to_string).collect();
    let has = |prefix: &str| own.iter().any(|argument| argument.starts_with(prefix));
    if !has("-x") {
        arguments.push(if language == Language::C { "-xc" } else { "-xc++" }.to_string());
    }
    if !has("-std=") && !has("--std=") {
        arguments.push(match language {
            Language::C => "-std=c11".to_string(),
            Language::Cxx => format!("-std=c++{}", cxx_name(standard.unwrap_or(OLDEST_STANDARD))),
        });
    }
    let bare = own.iter().any(|argument| argument == "-nostdinc");
    arguments.extend(own);
    if !bare {
        arguments.extend(system.arguments(language));
    }
    arguments
}

/// What the parser calls a standard: the oldest one that Kiln is used with knows C++23 by its working title.
fn cxx_name(standard: u32) -> String {
    if standard >= 23 { "2b".to_string() } else { standard.to_string() }
}

/// The same arguments for another standard.
fn with_standard(arguments: &[String], standard: &str) -> Vec<String> {
    let other = |argument: &String| {
        if argument.starts_with("-std=") { format!("-std={standard}") } else { argument.clone() }
    };
    arguments.iter().map(other).collect()
}
