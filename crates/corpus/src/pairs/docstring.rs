//! A comment above a definition to the words in it.

use crate::licence;

/// Why a comment says nothing about the function below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoDocstring {
    /// It is a copyright notice or a licence.
    Licence,
    /// It is code that somebody took out.
    Code,
    /// It has no words, or only directives to tools and notes to oneself.
    NoWords,
}

/// Lines for tools: they say nothing about the code.
const DIRECTIVES: &[&str] = &[
    "nolint",
    "clang-format ",
    "clang-tidy ",
    "cppcheck-suppress",
    "lint ",
    "gcov_excl",
    "lcov_excl",
];
/// Notes to oneself: what is missing, not what is there.
const NOTES: &[&str] = &["todo", "fixme", "xxx", "hack"];

/// The text of a comment without its markers: `//`, `///`, `//!`, `/** */` and the `*` of each line.
pub(crate) fn docstring(comment: &str) -> Result<String, NoDocstring> {
    let mut lines = unmarked(comment);
    if is_licence(comment, &lines) {
        return Err(NoDocstring::Licence);
    }
    lines.retain(|line| !is_ruler(line) && !is_directive(line));
    let text = block(&lines);
    if !text.chars().any(char::is_alphabetic) || is_note(&text) || is_jni_stub(&lines) {
        return Err(NoDocstring::NoWords);
    }
    if is_code(&lines) {
        return Err(NoDocstring::Code);
    }
    Ok(text)
}

/// The lines between the markers. Indentation beyond one blank stays: it lays out lists and examples.
fn unmarked(comment: &str) -> Vec<&str> {
    let trimmed = comment.trim();
    let Some(inner) = trimmed.strip_prefix("/*") else {
        return trimmed.lines().map(without_slashes).collect();
    };
    let inner = inner.strip_suffix("*/").unwrap_or(inner);
    // The rest of `/**`, `/*!` and `**/`.
    let inner = inner.trim_start_matches(['*', '!', '<']).trim_end_matches('*');
    let mut lines = inner.lines();
    let first = lines.next().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
    let rest: Vec<&str> = lines.map(str::trim_end).collect();
    // A list or bold text in a comment whose lines have no margin of stars keeps its own.
    let written = rest.iter().filter(|line| !line.is_empty()).count();
    let starred = rest.iter().filter(|line| line.trim_start().starts_with('*')).count();
    let has_margin = starred * 2 > written;
    let rest = rest.into_iter().map(|line| if has_margin { without_star(line) } else { line });
    first.into_iter().chain(rest).collect()
}

fn without_slashes(line: &str) -> &str {
    let line = line.trim();
    let line = line.trim_start_matches('/');
    let line = line.strip_prefix(['!', '<']).unwrap_or(line);
    let line = line.strip_prefix('<').unwrap_or(line);
    line.strip_prefix(' ').unwrap_or(line)
}

fn without_star(line: &str) -> &str {
    match line.trim_start().strip_prefix('*') {
        Some(rest) => rest.strip_prefix(' ').unwrap_or(rest),
        None => line,
    }
}

/// Joins lines, without blank ones around them and without the indentation that all share.
fn block(lines: &[&str]) -> String {
    let is_blank = |line: &&str| line.trim().is_empty();
    let Some(first) = lines.iter().position(|line| !is_blank(line)) else { return String::new() };
    let last = lines.iter().rposition(|line| !is_blank(line)).unwrap_or(first);
    let lines = &lines[first..=last];
    let indent = |line: &&str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let shared = lines.iter().filter(|line| !is_blank(line)).map(indent).min().unwrap_or(0);
    // Tabs and blanks are one byte each, and a blank line may be shorter.
    let cut = |line: &&str| line.get(shared..).unwrap_or("").trim_end().to_owned();
    // The first line may be indented deeper than others, or by characters that are no indentation.
    lines.iter().map(cut).collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// `-----`, `=====`, `// *** //`: a line that only separates.
fn is_ruler(line: &str) -> bool {
    let line = line.trim();
    line.len() >= 3
        && !line.chars().any(char::is_alphanumeric)
        && !line.contains(['"', '`', '(', '@', '\\'])
}

fn is_directive(line: &str) -> bool {
    let lower = line.trim().to_ascii_lowercase();
    DIRECTIVES.iter().any(|directive| lower.starts_with(directive)) && lower.len() < 40
}

fn is_note(text: &str) -> bool {
    let start: String = text.chars().take(8).collect::<String>().to_ascii_lowercase();
    NOTES.iter().any(|note| {
        start.strip_prefix(note).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
    })
}

/// What the Java tools write above native methods: names that the signature holds already.
fn is_jni_stub(lines: &[&str]) -> bool {
    lines
        .iter()
        .map(|line| line.trim())
        .filter(|line| !line.is_empty())
        .all(|line| ["Class:", "Method:", "Signature:"].iter().any(|word| line.starts_with(word)))
}

fn is_licence(comment: &str, lines: &[&str]) -> bool {
    let text = lines.join(" ").to_lowercase();
    text.contains("copyright (c)")
        || text.contains("copyright \u{a9}")
        || text.trim_start().starts_with("copyright")
        || text.contains("all rights reserved")
        || text.contains("use of this source code is governed by")
        || licence::of_text(comment).is_some()
}

/// Whether at least half of the lines look like code rather than sentences. Examples within a description are fewer.
fn is_code(lines: &[&str]) -> bool {
    let lines: Vec<&str> =
        lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
    let code = lines.iter().filter(|line| looks_like_code(line)).count();
    code * 2 >= lines.len()
}

fn looks_like_code(line: &str) -> bool {
    if line.starts_with(['@', '\\']) {
        return false;
    }
    let directive = ["#include", "#if", "#endif", "#else", "#define", "#pragma", "#undef"]
        .iter()
        .any(|word| line.starts_with(word));
    let statement =
        line.ends_with(';') && (line.contains(['(', '=', '<', '[']) || words(line) <= 3);
    let brace =
        matches!(line, "{" | "}" | "};" | "});") || line.ends_with('{') || line.starts_with("} ");
    directive || statement || brace
}

fn words(line: &str) -> usize {
    line.split_whitespace().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_go_and_words_stay() {
        for (comment, expected) in [
            ("// Adds two numbers.", "Adds two numbers."),
            ("/// Adds.\n///   Indented.\n  /// Last.", "Adds.\n  Indented.\nLast."),
            ("//! Adds.\r\n//!\r\n//! More.", "Adds.\n\nMore."),
            ("/* Adds. */", "Adds."),
            ("/** Adds. */", "Adds."),
            ("/**\n * Adds.\n *\n * @param a The *first*.\n */", "Adds.\n\n@param a The *first*."),
            ("/*!\n   Adds.\n     More.\n */", "Adds.\n  More."),
            ("/****\n ** Adds.\n ****/", "* Adds."),
            ("// -------------\n// Adds.\n// =====", "Adds."),
            ("// Adds.\n// NOLINTNEXTLINE(foo)", "Adds."),
            (
                "// REQUIRES: x > 0; the caller holds the lock;\n// otherwise nothing happens.",
                "REQUIRES: x > 0; the caller holds the lock;\notherwise nothing happens.",
            ),
            ("///< Größe der Datei", "Größe der Datei"),
        ] {
            assert_eq!(docstring(comment).as_deref(), Ok(expected), "{comment}");
        }
    }

    #[test]
    fn licences_are_no_docstrings() {
        for comment in [
            "// Copyright (c) 2011 The LevelDB Authors. All rights reserved.\n// Use of this source code is governed by a BSD-style license.",
            "/* SPDX-License-Identifier: MIT */",
            "// Licensed under the Apache License, Version 2.0",
        ] {
            assert_eq!(docstring(comment), Err(NoDocstring::Licence), "{comment}");
        }
    }

    #[test]
    fn code_that_was_taken_out_is_no_docstring() {
        for comment in [
            "// int old = f(x);",
            "/*\nif (a) {\n  return b;\n}\n*/",
            "// #include <map>",
            "// static int counter;\n// counter++;",
            "// for (;;) {\n//   g();\n// }",
        ] {
            assert_eq!(docstring(comment), Err(NoDocstring::Code), "{comment}");
        }
        let example = "// Opens it.\n// Example:\n// the handle is closed by the caller.\n//   auto h = Open(\"x\");";
        assert!(docstring(example).is_ok());
    }

    #[test]
    fn notes_and_rulers_have_no_words() {
        for comment in [
            "//",
            "/**/",
            "/***/",
            "/* */",
            "// ------",
            "// 42",
            "// TODO(x): do it",
            "// FIXME",
            "// NOLINT",
            "/*\n * Class:     org_x_Y\n * Method:    z\n * Signature: (J)J\n */",
        ] {
            assert_eq!(docstring(comment), Err(NoDocstring::NoWords), "{comment}");
        }
        assert!(docstring("// Todos are listed here.").is_ok());
    }

    #[test]
    fn any_comment_can_be_read() {
        use proptest::prelude::*;
        proptest!(|(comment in "[/*! \\-a<ü;{}\n\t\r@]{0,80}")| {
            if let Ok(text) = docstring(&comment) {
                prop_assert_eq!(text.trim(), &text[..]);
            }
        });
    }

    #[test]
    fn stars_of_a_margin_go_and_those_of_the_text_stay() {
        let with = "/**\n * Sells.\n *\n * * the first\n   and more\n */";
        assert_eq!(docstring(with).unwrap(), "Sells.\n\n* the first\n   and more");
        let without = "/**\n  Sells.\n\n  **Example**::\n\n    sell();\n*/";
        assert_eq!(docstring(without).unwrap(), "Sells.\n\n**Example**::\n\n  sell();");
    }
}
