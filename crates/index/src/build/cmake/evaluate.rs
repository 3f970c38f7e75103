//! The state of an evaluation: variables, and how they are put into arguments.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::condition::Facts;
use super::generator;
use super::probe::Probe;
use super::syntax::{Argument, ArgumentKind, Command, commands};
use super::targets::{Folder, Settings, Targets};
use crate::InputFile;
use crate::build::arguments::absolute;

/// Commands that are run at most, loops and calls counted in.
const MAX_STEPS: usize = 300_000;
/// Files, functions and blocks within one another.
pub(super) const MAX_DEPTH: usize = 64;
/// Files that are made at most.
const MAX_FILES: usize = 256;
/// Longest value of a variable, in bytes.
const MAX_VALUE: usize = 1 << 20;

/// Reads the `CMakeLists.txt` of `root` and of the folders that it adds. None where there is none. `files` are the
/// project's own, for globs; `binary` is an empty folder, into which configured headers are written.
pub(in crate::build) fn evaluate(
    root: &Path,
    binary: &Path,
    files: &[InputFile],
    probe: &dyn Probe,
) -> Option<Settings> {
    let list = root.join("CMakeLists.txt");
    if !list.is_file() {
        return None;
    }
    let mut state = State {
        root,
        binary,
        files,
        probe,
        scopes: vec![FxHashMap::default()],
        options: FxHashSet::default(),
        functions: FxHashMap::default(),
        targets: Targets::default(),
        folder: 0,
        steps: MAX_STEPS,
        depth: 0,
        option_blocks: 0,
        answers: Vec::new(),
        template_missing: false,
        may_write: MAX_FILES,
    };
    state.predefine();
    state.enter_folder(root, binary);
    state.stand_in_for_templates();
    Some(state.targets.settings())
}

/// A function or macro of the project.
#[derive(Clone)]
pub(super) struct Function {
    pub parameters: Vec<String>,
    pub body: Rc<[Command]>,
    /// A macro runs in its caller's scope.
    pub is_macro: bool,
}

pub(super) struct State<'a> {
    pub root: &'a Path,
    pub binary: &'a Path,
    pub files: &'a [InputFile],
    pub probe: &'a dyn Probe,
    /// The innermost last.
    scopes: Vec<FxHashMap<String, String>>,
    /// Variables that a user may switch.
    pub options: FxHashSet<String>,
    pub functions: FxHashMap<String, Function>,
    pub targets: Targets,
    /// The current one, of `targets.folders`.
    pub folder: usize,
    steps: usize,
    pub depth: usize,
    /// Blocks around the current command that an option guards.
    pub option_blocks: usize,
    /// Variables that checks have found true.
    pub answers: Vec<String>,
    /// Whether a header is made from a template that is not there.
    pub template_missing: bool,
    /// Files that may still be written.
    pub may_write: usize,
}

impl State<'_> {
    fn predefine(&mut self) {
        let arch = std::env::consts::ARCH;
        for (name, value) in [
            ("UNIX", "1"),
            ("LINUX", "1"),
            ("CMAKE_SYSTEM_NAME", "Linux"),
            ("CMAKE_HOST_SYSTEM_NAME", "Linux"),
            ("CMAKE_HOST_UNIX", "1"),
            ("CMAKE_SYSTEM_PROCESSOR", arch),
            ("CMAKE_HOST_SYSTEM_PROCESSOR", arch),
            ("CMAKE_CXX_COMPILER_ID", "GNU"),
            ("CMAKE_C_COMPILER_ID", "GNU"),
            ("CMAKE_CXX_COMPILER_VERSION", "12.2.0"),
            ("CMAKE_C_COMPILER_VERSION", "12.2.0"),
            ("CMAKE_COMPILER_IS_GNUCXX", "1"),
            ("CMAKE_COMPILER_IS_GNUCC", "1"),
            ("CMAKE_CXX_COMPILER", "/usr/bin/c++"),
            ("CMAKE_C_COMPILER", "/usr/bin/cc"),
            (
                "CMAKE_CXX_COMPILE_FEATURES",
                "cxx_std_98;cxx_std_11;cxx_std_14;cxx_std_17;cxx_std_20;cxx_std_23",
            ),
            ("CMAKE_CXX_COMPILER_LOADED", "1"),
            ("CMAKE_VERSION", "3.25.1"),
            ("CMAKE_MAJOR_VERSION", "3"),
            ("CMAKE_MINOR_VERSION", "25"),
            ("CMAKE_SIZEOF_VOID_P", "8"),
            ("CMAKE_GENERATOR", "Unix Makefiles"),
            // Assertions and whatever else only debugging builds have are code too.
            ("CMAKE_BUILD_TYPE", "Debug"),
            ("BUILD_TESTING", "ON"),
            ("CMAKE_INSTALL_INCLUDEDIR", "include"),
            ("CMAKE_INSTALL_LIBDIR", "lib"),
            ("CMAKE_INSTALL_BINDIR", "bin"),
            ("CMAKE_CXX_FLAGS", ""),
            ("CMAKE_C_FLAGS", ""),
        ] {
            self.set(name, value);
        }
        let (root, binary) = (self.root.to_string_lossy(), self.binary.to_string_lossy());
        for name in ["CMAKE_SOURCE_DIR", "PROJECT_SOURCE_DIR", "CMAKE_HOME_DIRECTORY"] {
            self.set(name, &root);
        }
        for name in ["CMAKE_BINARY_DIR", "PROJECT_BINARY_DIR"] {
            self.set(name, &binary);
        }
    }

    /// Runs a folder's `CMakeLists.txt` in a scope of its own.
    pub(super) fn enter_folder(&mut self, path: &Path, binary: &Path) {
        let known = self.targets.folders.iter().any(|folder| folder.path == path);
        if known || self.depth >= MAX_DEPTH || !path.starts_with(self.root) {
            return;
        }
        let Ok(text) = fs::read_to_string(path.join("CMakeLists.txt")) else {
            return;
        };
        let parent = (!self.targets.folders.is_empty()).then_some(self.folder);
        self.targets.folders.push(Folder { path: path.to_path_buf(), parent, ..Folder::default() });
        let before = std::mem::replace(&mut self.folder, self.targets.folders.len() - 1);
        self.scopes.push(FxHashMap::default());
        self.set("CMAKE_CURRENT_SOURCE_DIR", &path.to_string_lossy());
        self.set("CMAKE_CURRENT_LIST_DIR", &path.to_string_lossy());
        self.set("CMAKE_CURRENT_BINARY_DIR", &binary.to_string_lossy());
        self.run_file(&text);
        self.take_flags();
        self.scopes.pop();
        self.folder = before;
    }

    pub(super) fn run_file(&mut self, text: &str) {
        self.depth += 1;
        let all: Rc<[Command]> = commands(text).into();
        self.run(&all);
        self.depth -= 1;
    }

    /// Where the template of a header is missing, what it would have said of the machine is defined for all files.
    fn stand_in_for_templates(&mut self) {
        if !self.template_missing {
            return;
        }
        for answer in std::mem::take(&mut self.answers) {
            if self.files.iter().any(|file| file.text.contains(&answer)) {
                self.targets.folders[0].usage.add_definition(&format!("{answer}=1"));
            }
        }
    }

    /// Flags and standard hold for a folder as they stand at its end.
    fn take_flags(&mut self) {
        let flags =
            format!("{} {}", self.get("CMAKE_CXX_FLAGS"), self.get("CMAKE_CXX_FLAGS_DEBUG"));
        let standard = self.get("CMAKE_CXX_STANDARD").parse().ok();
        let base = self.source_folder();
        let usage = &mut self.targets.folders[self.folder].usage;
        usage.add_flags(flags.split_whitespace(), &base);
        usage.cxx_standard = usage.cxx_standard.max(standard);
    }

    /// Whether one more command may run.
    pub(super) fn may_step(&mut self) -> bool {
        self.steps = self.steps.saturating_sub(1);
        self.steps > 0
    }

    pub(super) fn lookup(&self, name: &str) -> Option<&str> {
        self.scopes.iter().rev().find_map(|scope| scope.get(name)).map(String::as_str)
    }

    /// Empty where it is not set.
    pub(super) fn get(&self, name: &str) -> String {
        self.lookup(name).unwrap_or_default().to_string()
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        if let Some(scope) = self.scopes.last_mut()
            && value.len() <= MAX_VALUE
        {
            scope.insert(name.to_string(), value.to_string());
        }
    }

    /// Cache entries and the like, which outlive scopes.
    pub(super) fn set_global(&mut self, name: &str, value: &str) {
        if value.len() <= MAX_VALUE {
            self.scopes[0].insert(name.to_string(), value.to_string());
        }
    }

    pub(super) fn set_in_parent(&mut self, name: &str, value: &str) {
        let parent = self.scopes.len().saturating_sub(2);
        if value.len() <= MAX_VALUE {
            self.scopes[parent].insert(name.to_string(), value.to_string());
        }
    }

    pub(super) fn unset(&mut self, name: &str) {
        for scope in &mut self.scopes {
            scope.remove(name);
        }
    }

    pub(super) fn push_scope(&mut self) {
        self.scopes.push(FxHashMap::default());
    }

    pub(super) fn pop_scope(&mut self) {
        self.scopes.pop();
    }

    pub(super) fn source_folder(&self) -> PathBuf {
        PathBuf::from(self.get("CMAKE_CURRENT_SOURCE_DIR"))
    }

    /// A path that counts from the current folder.
    pub(super) fn path(&self, text: &str) -> PathBuf {
        absolute(&self.source_folder(), text)
    }

    /// Arguments with variables and generator expressions put in, lists split.
    pub(super) fn expand(&self, arguments: &[Argument]) -> Vec<String> {
        let mut all = Vec::new();
        for argument in arguments {
            let text = self.expand_one(argument);
            match argument.kind {
                ArgumentKind::Plain => all.extend(split_list(&text)),
                ArgumentKind::Quoted | ArgumentKind::Bracket => all.push(text),
            }
        }
        all
    }

    pub(super) fn expand_one(&self, argument: &Argument) -> String {
        if argument.kind == ArgumentKind::Bracket {
            return argument.text.clone();
        }
        let text = self.substitute(&argument.text, 0);
        if text.contains("$<") { generator::evaluate(&text) } else { text }
    }

    /// Puts in `${NAME}`, also where the name holds another, and resolves escapes.
    pub(super) fn substitute(&self, text: &str, depth: usize) -> String {
        let mut result = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['$', '\\']) {
            result.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(escaped) = rest.strip_prefix('\\') {
                let next = escaped.chars().next();
                match next {
                    Some('n') => result.push('\n'),
                    Some('t') => result.push('\t'),
                    // An escaped semicolon stays escaped until lists are split.
                    Some(';') => result.push_str("\\;"),
                    Some(other) => result.push(other),
                    None => {}
                }
                rest = &escaped[next.map_or(0, char::len_utf8)..];
                continue;
            }
            let body = rest
                .strip_prefix("${")
                .or_else(|| rest.strip_prefix("$ENV{"))
                .or_else(|| rest.strip_prefix("$CACHE{"));
            let Some((body, end)) = body
                .and_then(|body| Some((body, closing_brace(body)?)))
                .filter(|_| depth < MAX_DEPTH)
            else {
                result.push('$');
                rest = &rest[1..];
                continue;
            };
            if !rest.starts_with("$ENV") {
                let name = self.substitute(&body[..end], depth + 1);
                result.push_str(self.lookup(&name).unwrap_or_default());
            }
            rest = &body[end + 1..];
            if result.len() > MAX_VALUE {
                return result;
            }
        }
        result + rest
    }
}

/// Where the `}` stands that belongs to a `${` before `text`.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The items of a list; empty ones vanish.
pub(super) fn split_list(text: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(next) = chars.next() {
        match next {
            '\\' if chars.peek() == Some(&';') => {
                chars.next();
                if let Some(item) = items.last_mut() {
                    item.push(';');
                }
            }
            ';' => items.push(String::new()),
            other => {
                if let Some(item) = items.last_mut() {
                    item.push(other);
                }
            }
        }
    }
    items.retain(|item| !item.is_empty());
    items
}

impl Facts for State<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.lookup(name).map(ToString::to_string)
    }

    fn is_target(&self, name: &str) -> bool {
        self.targets.by_name.contains_key(name)
    }

    fn is_command(&self, name: &str) -> bool {
        self.functions.contains_key(&name.to_ascii_lowercase())
    }

    fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }
}
