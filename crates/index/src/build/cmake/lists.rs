//! Commands that compute variables.

use std::path::Path;

use super::evaluate::{State, split_list};
use super::pattern;

impl State<'_> {
    /// Whether `name` is such a command.
    pub(super) fn set_variables(&mut self, name: &str, arguments: &[String]) -> bool {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match (name, words.as_slice()) {
            ("set", [variable, values @ ..]) => self.set_command(variable, values),
            ("unset", [variable, ..]) => self.unset(variable),
            ("option", [variable, _, rest @ ..]) => {
                self.option(variable, rest.first().copied().unwrap_or("OFF"))
            }
            ("cmake_dependent_option", [variable, _, value, _, ..]) => self.option(variable, value),
            ("project", [project, rest @ ..]) => self.project(project, rest),
            ("list", [operation, variable, rest @ ..]) => self.list(operation, variable, rest),
            ("string", [operation, rest @ ..]) => self.string(operation, rest),
            ("file", [operation, variable, rest @ ..]) if operation.starts_with("GLOB") => {
                let found = self.glob(rest);
                self.set(variable, &found);
            }
            ("file", ["WRITE" | "APPEND", path, text @ ..]) => {
                self.write_made_file(path, &text.concat())
            }
            ("get_filename_component", [variable, path, part, ..]) => {
                let value = self.part_of_path(path, part);
                self.set(variable, &value);
            }
            ("cmake_parse_arguments", [prefix, rest @ ..]) => self.parse_arguments(prefix, rest),
            ("execute_process" | "exec_program", words) => {
                // Nothing is run; what it would have said is unknown.
                for pair in words
                    .windows(2)
                    .filter(|pair| matches!(pair[0], "OUTPUT_VARIABLE" | "RESULT_VARIABLE"))
                {
                    self.set(pair[1], "");
                }
            }
            _ => return false,
        }
        true
    }

    fn set_command(&mut self, variable: &str, values: &[&str]) {
        if variable.starts_with("ENV{") {
            return;
        }
        if let Some(cache) = values.iter().position(|value| *value == "CACHE") {
            let forced = values.last() == Some(&"FORCE");
            if values.get(cache + 1) == Some(&"BOOL") {
                self.options.insert(variable.to_string());
            }
            if forced || self.lookup(variable).is_none() {
                self.set_global(variable, &values[..cache].join(";"));
            }
        } else if let Some((&"PARENT_SCOPE", values)) = values.split_last() {
            self.set_in_parent(variable, &values.join(";"));
        } else if values.is_empty() {
            self.unset(variable);
        } else {
            self.set(variable, &values.join(";"));
        }
    }

    fn option(&mut self, variable: &str, value: &str) {
        self.options.insert(variable.to_string());
        if self.lookup(variable).is_none() {
            self.set_global(variable, value);
        }
    }

    fn project(&mut self, name: &str, rest: &[&str]) {
        let folder = self.get("CMAKE_CURRENT_SOURCE_DIR");
        let binary = self.get("CMAKE_CURRENT_BINARY_DIR");
        for (variable, value) in [
            ("PROJECT_NAME".to_string(), name.to_string()),
            ("PROJECT_SOURCE_DIR".to_string(), folder.clone()),
            (format!("{name}_SOURCE_DIR"), folder),
            ("PROJECT_BINARY_DIR".to_string(), binary.clone()),
            (format!("{name}_BINARY_DIR"), binary),
        ] {
            self.set(&variable, &value);
        }
        if self.lookup("CMAKE_PROJECT_NAME").is_none() {
            self.set_global("CMAKE_PROJECT_NAME", name);
        }
        if let Some(version) =
            rest.iter().position(|word| *word == "VERSION").and_then(|at| rest.get(at + 1))
        {
            let mut parts = version.split('.');
            for variable in ["PROJECT_VERSION".to_string(), format!("{name}_VERSION")] {
                self.set(&variable, version);
            }
            for part in ["MAJOR", "MINOR", "PATCH", "TWEAK"] {
                let value = parts.next().unwrap_or_default();
                self.set(&format!("PROJECT_VERSION_{part}"), value);
                self.set(&format!("{name}_VERSION_{part}"), value);
            }
        }
    }

    fn list(&mut self, operation: &str, variable: &str, rest: &[&str]) {
        let mut items = split_list(&self.get(variable));
        match operation {
            "APPEND" => items.extend(rest.iter().map(ToString::to_string)),
            "PREPEND" => {
                items.splice(0..0, rest.iter().map(ToString::to_string));
            }
            "REMOVE_ITEM" => items.retain(|item| !rest.contains(&item.as_str())),
            "REMOVE_DUPLICATES" => {
                let mut seen = rustc_hash::FxHashSet::default();
                items.retain(|item| seen.insert(item.clone()));
            }
            "REVERSE" => items.reverse(),
            "SORT" => items.sort(),
            "FILTER" => {
                if let [mode, "REGEX", regex] = rest {
                    items.retain(|item| {
                        pattern::find(regex, item).is_some() == (*mode == "INCLUDE")
                    });
                }
            }
            _ => return self.ask_list(operation, &items, rest),
        }
        self.set(variable, &items.join(";"));
    }

    fn ask_list(&mut self, operation: &str, items: &[String], rest: &[&str]) {
        match (operation, rest) {
            ("LENGTH", [result, ..]) => self.set(result, &items.len().to_string()),
            ("FIND", [wanted, result, ..]) => {
                let place = items
                    .iter()
                    .position(|item| item == wanted)
                    .map_or("-1".to_string(), |place| place.to_string());
                self.set(result, &place);
            }
            ("GET", [indices @ .., result]) => {
                let get = |index: &&str| {
                    let index: i64 = index.parse().ok()?;
                    let index = if index < 0 { index + items.len() as i64 } else { index };
                    items.get(usize::try_from(index).ok()?).cloned()
                };
                let found: Vec<String> = indices.iter().filter_map(get).collect();
                self.set(result, &found.join(";"));
            }
            ("JOIN", [glue, result, ..]) => self.set(result, &items.join(glue)),
            _ => {}
        }
    }

    fn string(&mut self, operation: &str, rest: &[&str]) {
        match (operation, rest) {
            ("TOUPPER", [text, result, ..]) => self.set(result, &text.to_uppercase()),
            ("TOLOWER", [text, result, ..]) => self.set(result, &text.to_lowercase()),
            ("STRIP", [text, result, ..]) => self.set(result, text.trim()),
            ("LENGTH", [text, result, ..]) => self.set(result, &text.len().to_string()),
            ("REPLACE", [from, to, result, text @ ..]) if !from.is_empty() => {
                self.set(result, &text.concat().replace(from, to));
            }
            ("APPEND", [variable, text @ ..]) => {
                let value = self.get(variable) + &text.concat();
                self.set(variable, &value);
            }
            ("CONCAT", [result, text @ ..]) => self.set(result, &text.concat()),
            ("JOIN", [glue, result, items @ ..]) => self.set(result, &items.join(glue)),
            ("REGEX", ["MATCH", regex, result, text @ ..]) => {
                let text = text.concat();
                let found = pattern::find(regex, &text)
                    .map(|places| text[places[0].0..places[0].1].to_string());
                self.set(result, &found.unwrap_or_default());
            }
            ("REGEX", ["REPLACE", regex, to, result, text @ ..]) => {
                let replaced = replace_all(regex, to, &text.concat());
                self.set(result, &replaced);
            }
            ("COMPARE", [relation, a, b, result]) => {
                let holds = match *relation {
                    "EQUAL" => a == b,
                    "NOTEQUAL" => a != b,
                    "LESS" => a < b,
                    _ => a > b,
                };
                self.set(result, if holds { "1" } else { "0" });
            }
            _ => {}
        }
    }

    /// The project's files that match; those that are not C or C++ are not known.
    fn glob(&self, patterns: &[&str]) -> String {
        let skip = ["CONFIGURE_DEPENDS", "LIST_DIRECTORIES", "true", "false", "FOLLOW_SYMLINKS"];
        let base = self.source_folder();
        let mut found = Vec::new();
        let mut relative = None;
        let mut words = patterns.iter();
        while let Some(word) = words.next() {
            if *word == "RELATIVE" {
                relative = words.next().map(|path| self.path(path));
            } else if !skip.contains(word) {
                let pattern = base.join(word);
                let pattern = pattern.to_string_lossy();
                for file in self.files {
                    let path = self.root.join(&file.name);
                    if matches_glob(pattern.as_bytes(), path.to_string_lossy().as_bytes()) {
                        let shown = relative
                            .as_deref()
                            .and_then(|base: &Path| path.strip_prefix(base).ok())
                            .unwrap_or(&path);
                        found.push(shown.to_string_lossy().into_owned());
                    }
                }
            }
        }
        found.join(";")
    }

    fn part_of_path(&self, path: &str, part: &str) -> String {
        let name = path.rsplit('/').next().unwrap_or(path);
        match part {
            "PATH" | "DIRECTORY" => {
                path.rsplit_once('/').map_or("", |(folder, _)| folder).to_string()
            }
            "NAME" => name.to_string(),
            "NAME_WE" => name.split('.').next().unwrap_or(name).to_string(),
            "EXT" => name.find('.').map_or("", |dot| &name[dot..]).to_string(),
            _ => self.path(path).to_string_lossy().into_owned(),
        }
    }

    /// `cmake_parse_arguments(PREFIX options one-value many-values arguments...)`.
    fn parse_arguments(&mut self, prefix: &str, rest: &[&str]) {
        let [options, one, many, arguments @ ..] = rest else {
            return;
        };
        let (options, one, many) = (split_list(options), split_list(one), split_list(many));
        for option in &options {
            self.set(&format!("{prefix}_{option}"), "FALSE");
        }
        let mut key: Option<&str> = None;
        let mut values: Vec<(String, Vec<String>)> = Vec::new();
        let mut unparsed = Vec::new();
        for argument in arguments {
            let has = |list: &[String]| list.iter().any(|name| name == argument);
            if has(&options) {
                self.set(&format!("{prefix}_{argument}"), "TRUE");
                key = None;
            } else if has(&one) || has(&many) {
                key = Some(argument);
                values.push((argument.to_string(), Vec::new()));
            } else if let (Some(name), Some((_, list))) = (key, values.last_mut()) {
                list.push(argument.to_string());
                // A keyword of one value takes no second one.
                if one.iter().any(|known| known == name) {
                    key = None;
                }
            } else {
                unparsed.push(*argument);
            }
        }
        self.set(&format!("{prefix}_UNPARSED_ARGUMENTS"), &unparsed.join(";"));
        for (key, list) in values {
            self.set(&format!("{prefix}_{key}"), &list.join(";"));
        }
    }
}

fn replace_all(regex: &str, to: &str, text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(places) = pattern::find(regex, rest) {
        let (start, end) = places[0];
        result.push_str(&rest[..start]);
        let mut replacement = to.to_string();
        for (number, (start, end)) in places.iter().enumerate() {
            replacement = replacement.replace(&format!("\\{number}"), &rest[*start..*end]);
        }
        result.push_str(&replacement);
        rest = &rest[end..];
        // An empty match, or one that only the start of the text allows, is not looked for again.
        if start == end || regex.starts_with('^') {
            break;
        }
    }
    result + rest
}

/// `*` and `?`; a `*` also crosses folders, as recursive globs do.
fn matches_glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(byte) if *byte == text[t] || *byte == b'?' => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((after, from)) => {
                    star = Some((after, from + 1));
                    p = after;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        assert!(matches_glob(b"/p/src/*.cc", b"/p/src/a.cc"));
        assert!(!matches_glob(b"/p/src/*.cc", b"/p/src/a.h"));
        assert!(matches_glob(b"*a?c*", b"xxabcd"));
        assert!(!matches_glob(b"", b"a"));
    }

    #[test]
    fn replaces() {
        assert_eq!(replace_all("/EH[a-z]+", "", "x /EHsc y"), "x  y");
        assert_eq!(replace_all("([0-9])", "<\\1>", "a1b2"), "a<1>b<2>");
        assert_eq!(replace_all("^a", "b", "aaa"), "baa");
        assert_eq!(replace_all("x*", "-", "ab"), "-ab");
    }
}
