//! Makes the arguments of a compiler command fit for the parser.

use std::path::{Component, Path, PathBuf};

/// Options that are followed by a value of their own which the parser has no use for.
const DROPPED_WITH_VALUE: &[&str] = &[
    "-o",
    "-MF",
    "-MT",
    "-MQ",
    "-MJ",
    "-Xlinker",
    "-Xassembler",
    "-T",
    "-z",
    "-u",
    "-wrapper",
    "-dumpdir",
    "-dumpbase",
    "-aux-info",
    "--param",
    "-L",
    "-l",
    "-framework",
    "-arch",
    "-Xarch_host",
    "-mllvm",
    "-index-store-path",
];

/// Options that only say what to do with the result, or that clang does not know.
const DROPPED: &[&str] = &[
    "-c",
    "-S",
    "-E",
    "-M",
    "-MM",
    "-MD",
    "-MMD",
    "-MG",
    "-MP",
    "-pipe",
    "-s",
    "-v",
    "-###",
    "-pg",
    "-p",
    "-save-temps",
    "-Werror",
    "-pedantic-errors",
    "-fconserve-stack",
    "-fno-allow-store-data-races",
    "-fno-canonical-system-headers",
    "-fno-var-tracking-assignments",
    "-fno-keep-static-consts",
    "-fcoroutines",
    "-fconcepts",
    "-fmodules-ts",
    "-static-libgcc",
    "-static-libstdc++",
    "-rdynamic",
    "-no-canonical-prefixes",
    "-gsplit-dwarf",
    "-static",
    "-shared",
];

/// Prefixes of such options.
const DROPPED_PREFIXES: &[&str] = &[
    "-Wl,",
    "-Wa,",
    "-W",
    "-O",
    "-g",
    "-MF",
    "-MT",
    "-MQ",
    "-l",
    "-L",
    "-flto",
    "-fsanitize",
    "-fno-sanitize",
    "-fprofile",
    "-ftest-coverage",
    "-fcoverage",
    "-finstrument",
    "-fdiagnostics",
    "-fmax-errors",
    "-ferror-limit",
    "-fdump",
    "-fstack-",
    "-save-temps=",
    "-fcf-protection",
    "-fno-tree",
    "-ftree",
    "-fipa",
    "-fno-ipa",
    "-falign",
    "-fplugin",
    "-specs=",
    "--param=",
    "-fuse-ld",
    "-fdebug-prefix-map",
    "-ffile-prefix-map",
    "-fmacro-prefix-map",
    "-fira",
    "-march=native",
    "-mtune=",
    "-fmodule",
    "-fpch",
    "-fcolor",
];

/// Options whose value is a path that counts from the command's folder, joined to it or as the next argument.
const PATHS: &[&str] = &[
    "-include-pch",
    "-include",
    "-imacros",
    "-isystem",
    "-iquote",
    "-idirafter",
    "-isysroot",
    "-iprefix",
    "-iwithprefixbefore",
    "-iwithprefix",
    "-cxx-isystem",
    "-I",
    "-F",
];

/// What compilers are called behind a launcher such as ccache.
fn is_launcher(word: &str) -> bool {
    let name = word.rsplit(['/', '\\']).next().unwrap_or(word);
    matches!(
        name,
        "ccache"
            | "sccache"
            | "distcc"
            | "icecc"
            | "colorgcc"
            | "gomacc"
            | "env"
            | "nice"
            | "cmake"
    )
}

/// The arguments of the command `words`, run in `directory` to compile `file`, that say how to parse: without the
/// launcher, the compiler, the file, outputs and what clang does not take; paths are absolute.
pub(super) fn parser_arguments(words: &[String], directory: &Path, file: &Path) -> Vec<String> {
    let mut rest = words
        .iter()
        .map(String::as_str)
        .skip_while(|word| is_launcher(word) || is_assignment(word))
        .skip(1);
    let mut kept = Vec::new();
    while let Some(word) = rest.next() {
        if word == "--" {
            break;
        } else if DROPPED_WITH_VALUE.contains(&word) {
            rest.next();
        } else if word == "-D"
            || word == "-U"
            || word == "-x"
            || word == "-std"
            || word == "-target"
        {
            let value = rest.next().unwrap_or_default();
            kept.push(if word == "-target" {
                format!("--target={value}")
            } else {
                format!("{word}{value}")
            });
        } else if word == "-Xclang" || word == "-Xpreprocessor" {
            // Plugins, precompiled headers and the like: options for one compiler's inner workings.
            rest.next();
        } else if let Some((option, value)) = path_option(word) {
            let value = if value.is_empty() { rest.next().unwrap_or_default() } else { value };
            if option != "-include-pch" {
                push_path(&mut kept, option, &absolute(directory, value));
            }
        } else if let Some(value) = word.strip_prefix("--sysroot=") {
            kept.push(format!("--sysroot={}", absolute(directory, value).display()));
        } else if is_kept(word) && absolute(directory, word) != file {
            kept.push(word.to_string());
        }
    }
    kept
}

/// `NAME=value` before a command.
fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

fn is_kept(word: &str) -> bool {
    word.len() > 1
        && word.starts_with('-')
        && !DROPPED.contains(&word)
        && !DROPPED_PREFIXES.iter().any(|prefix| word.starts_with(prefix))
}

fn path_option(word: &str) -> Option<(&'static str, &str)> {
    PATHS.iter().find_map(|option| word.strip_prefix(option).map(|value| (*option, value)))
}

fn push_path(kept: &mut Vec<String>, option: &str, path: &Path) {
    let path = path.to_string_lossy();
    if option == "-I" || option == "-F" {
        kept.push(format!("{option}{path}"));
    } else {
        kept.push(option.to_string());
        kept.push(path.into_owned());
    }
}

/// `path` counted from `directory`, without `.` and, where no link can stand in the way, `..`.
pub(super) fn absolute(directory: &Path, path: &str) -> PathBuf {
    let mut result = PathBuf::new();
    for part in directory.join(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if result.parent().is_some() => {
                result.pop();
            }
            part => result.push(part),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Vec<String> {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        parser_arguments(&words, Path::new("/p/build"), Path::new("/p/src/a.cc"))
    }

    #[test]
    fn drops_outputs_launchers_and_the_file() {
        let words = [
            "/usr/bin/ccache",
            "/usr/bin/g++-12",
            "-DA=1",
            "-D",
            "B",
            "-O2",
            "-Wall",
            "-fno-rtti",
            "-std=c++17",
            "-MD",
            "-MF",
            "x.d",
            "-o",
            "a.o",
            "-c",
            "../src/a.cc",
            "-flto=auto",
            "-pthread",
        ];
        assert_eq!(parsed(&words), ["-DA=1", "-DB", "-fno-rtti", "-std=c++17", "-pthread"]);
        assert_eq!(parsed(&["A=b", "c++", "-UNDEBUG", "-c", "--", "/p/src/a.cc"]), ["-UNDEBUG"]);
    }

    #[test]
    fn paths_count_from_the_folder() {
        let words = [
            "g++",
            "-I../include",
            "-I",
            "gen",
            "-isystem",
            "/opt/x",
            "-isystem../y",
            "-iquote",
            ".",
            "-include",
            "c.h",
        ];
        assert_eq!(
            parsed(&words),
            [
                "-I/p/include",
                "-I/p/build/gen",
                "-isystem",
                "/opt/x",
                "-isystem",
                "/p/y",
                "-iquote",
                "/p/build",
                "-include",
                "/p/build/c.h",
            ]
        );
    }

    #[test]
    fn ends_in_broken_commands() {
        assert_eq!(parsed(&[]), [""; 0]);
        assert_eq!(parsed(&["g++", "-o"]), [""; 0]);
        assert_eq!(parsed(&["ccache"]), [""; 0]);
    }
}
