//! Commands that say how to compile, and headers that are made from templates.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::condition::is_false;
use super::evaluate::{State, split_list};
use super::targets::{Target, Usage, standard_number};

/// Words between the arguments of `target_...` commands.
const KEYWORDS: [&str; 8] =
    ["PUBLIC", "PRIVATE", "INTERFACE", "SYSTEM", "BEFORE", "AFTER", "LINK_PUBLIC", "LINK_PRIVATE"];

fn is_header(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.to_string_lossy().starts_with('h'))
}

impl State<'_> {
    /// Whether `name` is a command that says how to compile.
    pub(super) fn set_flags(&mut self, name: &str, arguments: &[String]) -> bool {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match (name, words.as_slice()) {
            ("add_definitions" | "add_compile_options", flags) => {
                let base = self.source_folder();
                self.usage().add_flags(flags.iter().copied(), &base);
            }
            ("remove_definitions", flags) => {
                let names: Vec<&str> =
                    flags.iter().map(|flag| flag.trim_start_matches("-D")).collect();
                self.usage().definitions.retain(|known| !names.contains(&known.as_str()));
            }
            ("add_compile_definitions", definitions) => {
                definitions.iter().for_each(|definition| self.usage().add_definition(definition));
            }
            ("include_directories", folders) => {
                let folders = self.folders(folders);
                self.usage().folders.extend(folders);
            }
            ("add_library" | "add_executable", [target, rest @ ..]) => {
                self.add_target(target, rest)
            }
            ("set_target_properties", words) => self.set_properties(words),
            ("set_property", ["TARGET", words @ ..]) => {
                let words: Vec<&str> = words
                    .iter()
                    .map(|word| if *word == "PROPERTY" { "PROPERTIES" } else { word })
                    .collect();
                let words: Vec<&str> = words
                    .into_iter()
                    .filter(|word| !matches!(*word, "APPEND" | "APPEND_STRING"))
                    .collect();
                self.set_properties(&words);
            }
            (name, [target, rest @ ..]) if name.starts_with("target_") => {
                return self.target_command(name, target, rest);
            }
            _ => return false,
        }
        true
    }

    fn usage(&mut self) -> &mut Usage {
        let folder = self.folder;
        &mut self.targets.folders[folder].usage
    }

    fn folders(&self, words: &[&str]) -> Vec<PathBuf> {
        let words = words.iter().flat_map(|word| split_list(word));
        words
            .filter(|word| !KEYWORDS.contains(&word.as_str()))
            .map(|word| self.path(&word))
            .collect()
    }

    fn add_target(&mut self, name: &str, rest: &[&str]) {
        if let ["ALIAS", original, ..] = rest {
            if let Some(index) = self.targets.by_name.get(*original).copied() {
                self.targets.by_name.insert(name.to_string(), index);
            }
            return;
        }
        let kinds = [
            "STATIC",
            "SHARED",
            "MODULE",
            "OBJECT",
            "INTERFACE",
            "IMPORTED",
            "UNKNOWN",
            "GLOBAL",
            "EXCLUDE_FROM_ALL",
            "WIN32",
        ];
        let sources: Vec<PathBuf> = rest
            .iter()
            .filter(|word| !kinds.contains(word) && !word.is_empty())
            .map(|word| self.path(word))
            .collect();
        let standard = self.get("CMAKE_CXX_STANDARD").parse().ok();
        let own = Usage { cxx_standard: standard, ..Usage::default() };
        let target = Target { folder: self.folder, sources, own, ..Target::default() };
        let index = self.targets.all.len();
        self.targets.all.push(target);
        self.targets.by_name.insert(name.to_string(), index);
    }

    fn set_properties(&mut self, words: &[&str]) {
        let Some(split) = words.iter().position(|word| *word == "PROPERTIES") else {
            return;
        };
        for target in &words[..split] {
            let Some(target) = self.targets.get_mut(target) else {
                continue;
            };
            match &words[split + 1..] {
                ["COMPILE_DEFINITIONS", definitions @ ..] => {
                    for definition in definitions.iter().flat_map(|list| split_list(list)) {
                        target.own.add_definition(&definition);
                    }
                }
                pairs => {
                    for pair in pairs.chunks(2) {
                        if let ["CXX_STANDARD", value] = pair {
                            target.own.cxx_standard =
                                target.own.cxx_standard.max(value.parse().ok());
                        }
                    }
                }
            }
        }
    }

    /// `target_NAME(target PUBLIC|PRIVATE|INTERFACE items...)`.
    fn target_command(&mut self, name: &str, target: &str, rest: &[&str]) -> bool {
        let known = matches!(
            name,
            "target_sources"
                | "target_compile_definitions"
                | "target_include_directories"
                | "target_compile_options"
                | "target_compile_features"
                | "target_link_libraries"
        );
        let base = self.source_folder();
        let mut scope = "PRIVATE";
        for word in rest {
            if KEYWORDS.contains(word) {
                scope = word;
                continue;
            }
            let path = self.path(word);
            let Some(target) = self.targets.get_mut(target).filter(|_| known) else {
                return known;
            };
            let mut usage = Usage::default();
            match name {
                "target_sources" => target.sources.push(path),
                "target_link_libraries" => target.links.push(word.to_string()),
                "target_compile_definitions" => {
                    split_list(word).iter().for_each(|definition| usage.add_definition(definition));
                }
                "target_include_directories" if !word.is_empty() => usage.folders.push(path),
                "target_compile_options" => usage.add_flags([*word], &base),
                "target_compile_features" => {
                    usage.cxx_standard = word.strip_prefix("cxx_std_").and_then(standard_number)
                }
                _ => {}
            }
            if !matches!(scope, "INTERFACE") {
                target.own.add(&usage);
            }
            if !matches!(scope, "PRIVATE" | "LINK_PRIVATE") {
                target.passed_on.add(&usage);
            }
        }
        known
    }

    /// `configure_file(template result)`: writes the result below the binary folder.
    pub(super) fn configure(&mut self, name: &str, arguments: &[String]) -> bool {
        if name != "configure_file" {
            return false;
        }
        if let [template, result, ..] = arguments {
            let template = self.path(template);
            self.template_missing |= !template.is_file() && is_header(Path::new(result));
            if template.starts_with(self.root)
                && let Ok(text) = fs::read_to_string(&template)
            {
                self.write_made_file(result, &self.configured(&text));
            }
        }
        true
    }

    /// Adds to a file below the binary folder; nothing is ever written into the project or elsewhere.
    pub(super) fn write_made_file(&mut self, path: &str, text: &str) {
        let base = PathBuf::from(self.get("CMAKE_CURRENT_BINARY_DIR"));
        let path = crate::build::arguments::absolute(&base, path);
        let Some(folder) =
            path.parent().filter(|_| path.starts_with(self.binary) && self.may_write > 0)
        else {
            return;
        };
        self.may_write -= 1;
        if fs::create_dir_all(folder).is_ok()
            && let Ok(mut file) = fs::OpenOptions::new().create(true).append(true).open(&path)
        {
            // A header that could not be made is one that is missing: its includers will say so.
            let _ = file.write_all(text.as_bytes());
        }
    }

    fn configured(&self, text: &str) -> String {
        let mut result = String::new();
        for line in text.lines() {
            let line = self.substitute_at(line);
            let trimmed = line.trim_start().strip_prefix('#').map(str::trim_start);
            let word = |prefix: &str| {
                trimmed.and_then(|line| line.strip_prefix(prefix)).map(str::trim_start)
            };
            let name_of =
                |rest: &str| rest.split_whitespace().next().unwrap_or_default().to_string();
            let is_set = |name: &str| self.lookup(name).is_some_and(|value| !is_false(value));
            if let Some(rest) = word("cmakedefine01 ") {
                let name = name_of(rest);
                result.push_str(&format!("#define {name} {}", u8::from(is_set(&name))));
            } else if let Some(rest) = word("cmakedefine ") {
                let name = name_of(rest);
                if is_set(&name) {
                    result.push_str(&format!("#define {rest}"));
                } else {
                    result.push_str(&format!("/* #undef {name} */"));
                }
            } else {
                result.push_str(&line);
            }
            result.push('\n');
        }
        result
    }

    /// Puts in `@NAME@` and `${NAME}`; all else stands as it is.
    fn substitute_at(&self, line: &str) -> String {
        let mut result = String::new();
        let mut rest = line;
        while let Some(at) = rest.find(['@', '$']) {
            result.push_str(&rest[..at]);
            let (open, close) = if rest[at..].starts_with("${") { ("${", '}') } else { ("@", '@') };
            let body = rest[at..].strip_prefix(open);
            let end =
                body.and_then(|body| body.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')));
            match (body, end) {
                (Some(body), Some(end)) if end > 0 && body[end..].starts_with(close) => {
                    result.push_str(self.lookup(&body[..end]).unwrap_or_default());
                    rest = &body[end + 1..];
                }
                _ => {
                    result.push_str(&rest[at..=at]);
                    rest = &rest[at + 1..];
                }
            }
        }
        result + rest
    }
}
