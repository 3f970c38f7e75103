//! The preprocessor's lines.

use super::lexer::{block_comment_end, is_word, line_end, quoted_end};

/// What a directive does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DirectiveKind {
    If,
    Ifdef,
    Ifndef,
    Elif,
    Elifdef,
    Elifndef,
    Else,
    Endif,
    Define,
    Undef,
    Include,
}

/// A directive that matters here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Directive {
    pub(crate) kind: DirectiveKind,
    /// Byte of the `#`.
    pub(crate) start: u32,
    /// Byte after the directive's name.
    pub(crate) operand: u32,
    /// Byte of the end of its line.
    pub(crate) end: u32,
    /// How many tokens stand before it.
    pub(crate) token: u32,
}

impl Directive {
    pub(crate) fn operand<'t>(&self, text: &'t str) -> &'t str {
        text.get(self.operand as usize..self.end as usize).unwrap_or("")
    }
}

/// Reads the directive whose `#` is at `start`; `Err` with its end if it is one that does not matter.
pub(super) fn read(bytes: &[u8], start: usize, token: u32) -> Result<Directive, usize> {
    let end = directive_end(bytes, start);
    let name = skip_blanks(bytes, start + 1).min(end);
    let mut stop = name;
    while stop < end && is_word(bytes[stop]) {
        stop += 1;
    }
    let kind = match &bytes[name..stop] {
        b"if" => DirectiveKind::If,
        b"ifdef" => DirectiveKind::Ifdef,
        b"ifndef" => DirectiveKind::Ifndef,
        b"elif" => DirectiveKind::Elif,
        b"elifdef" => DirectiveKind::Elifdef,
        b"elifndef" => DirectiveKind::Elifndef,
        b"else" => DirectiveKind::Else,
        b"endif" => DirectiveKind::Endif,
        b"define" => DirectiveKind::Define,
        b"undef" => DirectiveKind::Undef,
        b"include" | b"include_next" | b"import" => DirectiveKind::Include,
        _ => return Err(end),
    };
    let (start, operand, end) = (start as u32, stop as u32, end as u32);
    Ok(Directive { kind, start, operand, end, token })
}

/// The end of a directive: its line with continuations and with comments that run on.
fn directive_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while at < bytes.len() {
        match bytes[at] {
            b'\n' => return at,
            b'\\' if bytes.get(at + 1) == Some(&b'\n') => at += 2,
            b'\\' if bytes[at + 1..].starts_with(b"\r\n") => at += 3,
            b'/' if bytes.get(at + 1) == Some(&b'*') => at = block_comment_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'/') => return line_end(bytes, at),
            b'"' => at = quoted_end(bytes, at, b'"'),
            _ => at += 1,
        }
    }
    bytes.len()
}

fn skip_blanks(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t')) {
        at += 1;
    }
    at
}
