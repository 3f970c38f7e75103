//! Commands that ask about the machine.

use super::evaluate::{State, split_list};
use super::flow::Flow;
use crate::build::Language;

impl State<'_> {
    /// Whether `name` is a check; its answer goes to the variable that it names.
    pub(super) fn check(&mut self, name: &str, arguments: &[String]) -> bool {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let language =
            if name.contains("cxx") || name.contains("cpp") { Language::Cxx } else { Language::C };
        let (variable, answer) = match (name, words.as_slice()) {
            (
                "check_include_file" | "check_include_file_cxx" | "check_include_files",
                [headers, variable, ..],
            ) => (variable, split_list(headers).iter().all(|header| self.probe.has_header(header))),
            (
                "check_symbol_exists" | "check_cxx_symbol_exists",
                [symbol, headers, variable, ..],
            ) => {
                let source = symbol_source(symbol, &split_list(headers));
                (variable, self.probe.compiles(&source, language))
            }
            ("check_function_exists", [function, variable, ..]) => {
                // No header is named: the C library has what these usually hold.
                let headers = [
                    "unistd.h",
                    "stdlib.h",
                    "string.h",
                    "stdio.h",
                    "time.h",
                    "sys/mman.h",
                    "fcntl.h",
                    "math.h",
                ];
                let source = symbol_source(function, &headers.map(ToString::to_string));
                (variable, self.probe.compiles(&source, Language::C))
            }
            ("check_library_exists", [library, _, _, variable, ..]) => {
                (variable, self.probe.has_library(library))
            }
            (
                "check_c_source_compiles"
                | "check_cxx_source_compiles"
                | "check_c_source_runs"
                | "check_cxx_source_runs",
                [source, variable, ..],
            ) => (variable, self.probe.compiles(source, language)),
            ("check_c_compiler_flag" | "check_cxx_compiler_flag", [flag, variable, ..]) => {
                // Flags for other processors and compilers are refused; warnings and the like are not.
                (
                    variable,
                    !flag.starts_with('/')
                        && !flag.starts_with("-march=")
                        && !flag.starts_with("-maltivec"),
                )
            }
            ("check_struct_has_member", [structure, member, headers, variable, ..]) => {
                let source = format!(
                    "{}int main() {{ {structure} s; (void)s.{member}; }}\n",
                    include_lines(&split_list(headers))
                );
                (variable, self.probe.compiles(&source, Language::Cxx))
            }
            ("check_type_size", [kind, variable, ..]) => {
                let headers = ["stdint.h", "stddef.h", "sys/types.h"].map(ToString::to_string);
                let source = format!("{}int size = sizeof({kind});\n", include_lines(&headers));
                let exists = self.probe.compiles(&source, Language::C);
                self.set_global(&format!("HAVE_{variable}"), if exists { "1" } else { "" });
                (variable, exists)
            }
            ("test_big_endian", [variable, ..]) => (variable, cfg!(target_endian = "big")),
            ("find_path" | "find_file", [variable, rest @ ..]) => {
                let found = rest.iter().any(|header| self.probe.has_header(header));
                let value =
                    if found { "/usr/include".to_string() } else { format!("{variable}-NOTFOUND") };
                self.set_global(variable, &value);
                return true;
            }
            ("find_library", [variable, rest @ ..]) => {
                let found = rest.iter().find(|library| self.probe.has_library(library));
                let value = found.map_or(format!("{variable}-NOTFOUND"), ToString::to_string);
                self.set_global(variable, &value);
                return true;
            }
            ("find_program", [variable, ..]) => {
                self.set_global(variable, &format!("{variable}-NOTFOUND"));
                return true;
            }
            _ => return false,
        };
        // An answer that a user or an earlier check has given stays.
        if self.lookup(variable).is_none() {
            self.set_global(variable, if answer { "1" } else { "" });
            if answer && !name.ends_with("_flag") {
                self.answers.push(variable.to_string());
            }
        }
        true
    }

    pub(super) fn find_package(&mut self, arguments: &[String]) -> Flow {
        let Some(name) = arguments.first() else {
            return Flow::Next;
        };
        let found = self.probe.has_package(name);
        self.found(name, found, arguments)
    }

    pub(super) fn find_modules(&mut self, arguments: &[String]) -> Flow {
        let Some(name) = arguments.first() else {
            return Flow::Next;
        };
        let words = ["REQUIRED", "QUIET", "IMPORTED_TARGET", "GLOBAL", "NO_CMAKE_PATH"];
        let modules = arguments[1..].iter().filter(|word| !words.contains(&word.as_str()));
        let package =
            |module: &String| module.split(['>', '=', '<']).next().unwrap_or_default().to_string();
        let found = modules.map(package).all(|module| self.probe.has_package(&module));
        self.found(name, found, arguments)
    }

    fn found(&mut self, name: &str, found: bool, arguments: &[String]) -> Flow {
        let value = if found { "TRUE" } else { "FALSE" };
        self.set(&format!("{name}_FOUND"), value);
        self.set(&format!("{}_FOUND", name.to_uppercase()), value);
        let required = arguments.iter().any(|word| word == "REQUIRED");
        if required && !found && self.option_blocks > 0 { Flow::GiveUp } else { Flow::Next }
    }
}

fn include_lines(headers: &[String]) -> String {
    headers.iter().map(|header| format!("#include <{header}>\n")).collect()
}

fn symbol_source(symbol: &str, headers: &[String]) -> String {
    let use_it = format!("#ifndef {symbol}\n  (void)sizeof(&{symbol});\n#endif\n");
    // A symbol with template arguments or a scope is no name for the preprocessor.
    let plain = symbol.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let body = if plain { use_it } else { format!("  (void)sizeof(&{symbol});\n") };
    format!("{}int main(void) {{\n{body}  return 0;\n}}\n", include_lines(headers))
}
