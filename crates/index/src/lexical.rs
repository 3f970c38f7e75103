//! Just enough of C++'s lexical grammar to tell code, text, comments and directives apart.

use std::ops::Range;

/// A stretch of text and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lexeme {
    pub kind: LexemeKind,
    pub range: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LexemeKind {
    /// `//` to the end of the line, or `/* */`.
    Comment,
    /// From `#` at the start of a line to its end, with continuation lines, without a comment at its end.
    Directive,
    /// A string literal, raw or not, or a character literal.
    String,
    /// An identifier, keyword or number.
    Word,
    /// Any other single character.
    Symbol,
}

/// The lexeme at or after byte `at`, past blanks. Text that never ends (an open string or comment) ends with the text.
pub(crate) fn next(text: &str, at: usize) -> Option<Lexeme> {
    let bytes = text.as_bytes();
    let start = (at..bytes.len()).find(|&i| !bytes[i].is_ascii_whitespace())?;
    let rest = &bytes[start..];
    let (kind, end) = match rest[0] {
        b'/' if rest.starts_with(b"//") => (LexemeKind::Comment, line_end(bytes, start)),
        b'/' if rest.starts_with(b"/*") => (LexemeKind::Comment, block_end(bytes, start)),
        b'#' if begins_line(bytes, start) => (LexemeKind::Directive, directive_end(bytes, start)),
        b'"' => (LexemeKind::String, quoted_end(bytes, start)),
        b'\'' => (LexemeKind::String, quoted_end(bytes, start)),
        byte if is_word(byte) => word_or_literal(bytes, start),
        byte => (LexemeKind::Symbol, start + utf8_length(byte)),
    };
    Some(Lexeme { kind, range: start..end.min(bytes.len()) })
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

fn utf8_length(byte: u8) -> usize {
    match byte {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    }
}

/// A word, or a literal whose prefix (`u8R`, `L`) looks like one.
fn word_or_literal(bytes: &[u8], start: usize) -> (LexemeKind, usize) {
    let number = bytes[start].is_ascii_digit();
    let mut end = start;
    while end < bytes.len()
        && (is_word(bytes[end])
            || (number && bytes[end] == b'\'' && bytes.get(end + 1).is_some_and(|b| is_word(*b))))
    {
        end += 1;
    }
    match (&bytes[start..end], bytes.get(end)) {
        (b"R" | b"LR" | b"uR" | b"UR" | b"u8R", Some(b'"')) => {
            (LexemeKind::String, raw_end(bytes, end))
        }
        (b"L" | b"u" | b"U" | b"u8", Some(b'"' | b'\'')) => {
            (LexemeKind::String, quoted_end(bytes, end))
        }
        _ => (LexemeKind::Word, end),
    }
}

/// Whether only blanks precede `at` on its line.
fn begins_line(bytes: &[u8], at: usize) -> bool {
    bytes[..at]
        .iter()
        .rev()
        .take_while(|byte| **byte != b'\n')
        .all(|byte| byte.is_ascii_whitespace())
}

/// The end of the line at `at`, continued lines included, before its line feed.
fn line_end(bytes: &[u8], at: usize) -> usize {
    let mut from = at;
    while let Some(feed) = bytes[from..].iter().position(|byte| *byte == b'\n') {
        let feed = from + feed;
        let head = bytes[at..feed].strip_suffix(b"\r").unwrap_or(&bytes[at..feed]);
        if !head.ends_with(b"\\") {
            return at + head.len();
        }
        from = feed + 1;
    }
    bytes.len()
}

fn block_end(bytes: &[u8], at: usize) -> usize {
    bytes[at + 2..]
        .windows(2)
        .position(|pair| pair == b"*/")
        .map_or(bytes.len(), |found| at + 2 + found + 2)
}

/// The end of a directive: of its line, of its continuation lines, and of a block comment that begins in it and is
/// followed by more of the directive.
fn directive_end(bytes: &[u8], at: usize) -> usize {
    let mut i = at;
    let mut end = at + 1;
    while i < bytes.len() {
        match bytes[i] {
            b'\n' => return end,
            b'\\' if matches!(bytes.get(i + 1), Some(b'\n')) => i += 2,
            b'\\' if bytes[i + 1..].starts_with(b"\r\n") => i += 3,
            b'/' if bytes[i..].starts_with(b"//") => return end,
            b'/' if bytes[i..].starts_with(b"/*") => i = block_end(bytes, i),
            b'"' => {
                i = quoted_end(bytes, i);
                end = i;
            }
            byte => {
                i += 1;
                if !byte.is_ascii_whitespace() {
                    end = i;
                }
            }
        }
    }
    end
}

/// The end of the literal whose opening quote stands at `at`; a literal ends with its line at the latest.
fn quoted_end(bytes: &[u8], at: usize) -> usize {
    let quote = bytes[at];
    let mut i = at + 1;
    while i < bytes.len() {
        match bytes[i] {
            b'\\' if bytes[i + 1..].starts_with(b"\r\n") => i += 3,
            b'\\' => i += 2,
            b'\n' => return i,
            byte if byte == quote => return i + 1,
            _ => i += 1,
        }
    }
    bytes.len()
}

/// The end of a raw string whose opening quote stands at `at`.
fn raw_end(bytes: &[u8], at: usize) -> usize {
    let Some(open) = bytes[at..].iter().take(18).position(|byte| *byte == b'(') else {
        return quoted_end(bytes, at);
    };
    let mut close = vec![b')'];
    close.extend_from_slice(&bytes[at + 1..at + open]);
    close.push(b'"');
    let body = at + open + 1;
    bytes[body..]
        .windows(close.len())
        .position(|window| window == close)
        .map_or(bytes.len(), |found| body + found + close.len())
}

/// A directive's name and what follows it.
pub(crate) fn directive(text: &str) -> (&str, &str) {
    let text = text.strip_prefix('#').unwrap_or(text).trim_start_matches([' ', '\t']);
    let name = first_word(text);
    (name, text[name.len()..].trim_start_matches([' ', '\t']))
}

/// The identifier that `text` begins with, blanks apart; empty if none.
pub(crate) fn first_word(text: &str) -> &str {
    let text = text.trim_start_matches([' ', '\t']);
    let end = text.bytes().position(|byte| !is_word(byte)).unwrap_or(text.len());
    &text[..end]
}

/// The macro of the include guard: the file's first two directives are `#ifndef X` (or `#if !defined(X)`) and
/// `#define X`, and nothing but comments stands before them.
pub(crate) fn include_guard(text: &str) -> Option<&str> {
    let mut at = 0;
    let mut guard = None;
    while let Some(lexeme) = next(text, at) {
        at = lexeme.range.end;
        match (lexeme.kind, guard) {
            (LexemeKind::Comment, _) => {}
            (LexemeKind::Directive, None) => guard = Some(guarded_macro(&text[lexeme.range])?),
            (LexemeKind::Directive, Some(name)) => {
                let (directive, rest) = directive(&text[lexeme.range]);
                return (directive == "define" && first_word(rest) == name).then_some(name);
            }
            _ => return None,
        }
    }
    None
}

fn guarded_macro(text: &str) -> Option<&str> {
    let (name, rest) = directive(text);
    let word = match name {
        "ifndef" => first_word(rest),
        "if" => first_word(
            rest.strip_prefix('!')?
                .trim_start()
                .strip_prefix("defined")?
                .trim_start_matches([' ', '\t', '(']),
        ),
        _ => return None,
    };
    (!word.is_empty()).then_some(word)
}

/// The range, from the start of its first line where only blanks precede it, to the end of its last line (before the
/// line feed) where nothing but blanks or a comment follows.
pub(crate) fn whole_lines(text: &str, range: Range<usize>) -> Range<usize> {
    let bytes = text.as_bytes();
    let start = if begins_line(bytes, range.start) {
        text[..range.start].rfind('\n').map_or(0, |at| at + 1)
    } else {
        range.start
    };
    let line = text[range.end..].find('\n').map_or(text.len(), |at| range.end + at);
    let tail = text[range.end..line].trim();
    let comment = tail.starts_with("//")
        || (tail.starts_with("/*") && tail.find("*/").is_some_and(|at| at + 2 == tail.len()));
    let end = match next(text, range.end) {
        _ if tail.is_empty() => range.end,
        Some(lexeme) if comment => lexeme.range.end.max(range.end),
        _ => range.end,
    };
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(LexemeKind, &str)> {
        let mut at = 0;
        let mut all = Vec::new();
        while let Some(lexeme) = next(text, at) {
            at = lexeme.range.end;
            all.push((lexeme.kind, &text[lexeme.range]));
        }
        all
    }

    #[test]
    fn tells_lexemes_apart() {
        use LexemeKind::{Comment, Directive, String, Symbol, Word};
        let text = "#if A // b\nint x=1'000;/* c */ u8R\"q(\")q\" L'x' \"a\\\"b\"# // d \\\n e\n";
        assert_eq!(
            kinds(text),
            [
                (Directive, "#if A"),
                (Comment, "// b"),
                (Word, "int"),
                (Word, "x"),
                (Symbol, "="),
                (Word, "1'000"),
                (Symbol, ";"),
                (Comment, "/* c */"),
                (String, "u8R\"q(\")q\""),
                (String, "L'x'"),
                (String, "\"a\\\"b\""),
                (Symbol, "#"),
                (Comment, "// d \\\n e"),
            ]
        );
    }

    #[test]
    fn a_directive_goes_on_after_a_block_comment() {
        assert_eq!(kinds("#define A /* x\n y */ 1\n")[0].1, "#define A /* x\n y */ 1");
        assert_eq!(kinds("#define A 1 /* x */\n")[0].1, "#define A 1");
        assert_eq!(
            kinds("#define U \"http://x\" \\\r\n  z\r\n")[0].1,
            "#define U \"http://x\" \\\r\n  z"
        );
    }

    #[test]
    fn finds_include_guards() {
        assert_eq!(include_guard("/* l */\n#ifndef A_H\n#define A_H\n"), Some("A_H"));
        assert_eq!(include_guard("#if !defined(A_H)\n#  define A_H 1\n"), Some("A_H"));
        assert_eq!(include_guard("#ifndef A_H\n#define B_H\n"), None);
        assert_eq!(include_guard("int x;\n#ifndef A_H\n#define A_H\n"), None);
        assert_eq!(include_guard("#pragma once\n"), None);
    }
}
