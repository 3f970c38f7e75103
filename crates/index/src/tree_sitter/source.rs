//! A text with its tokens, and the small questions that every reader of tokens asks.

use super::lexer::{Kind, Token, Tokens};

/// A text with its tokens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) text: &'a str,
    pub(crate) tokens: &'a [Token],
    mate: &'a [u32],
}

impl<'a> Source<'a> {
    pub(crate) fn new(text: &'a str, tokens: &'a Tokens) -> Self {
        Self { text, tokens: &tokens.list, mate: &tokens.mate }
    }

    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The kind of token `at`; past the end [`Kind::Other`].
    pub(crate) fn kind(&self, at: usize) -> Kind {
        self.tokens.get(at).map_or(Kind::Other, |token| token.kind)
    }

    /// The text of token `at`; past the end nothing.
    pub(crate) fn text(&self, at: usize) -> &'a str {
        self.tokens
            .get(at)
            .and_then(|token| self.text.get(token.start as usize..token.end as usize))
            .unwrap_or("")
    }

    /// The text from token `start` to the one before `end`.
    pub(crate) fn slice(&self, start: usize, end: usize) -> &'a str {
        let bytes = |start: usize, end: usize| {
            let (first, last) = (self.tokens.get(start)?, self.tokens.get(end.checked_sub(1)?)?);
            self.text.get(first.start as usize..last.end as usize)
        };
        bytes(start, end).unwrap_or("")
    }

    /// The partner of bracket `at`; a bracket without one is its own, so this never goes back.
    pub(crate) fn mate(&self, at: usize) -> usize {
        self.mate.get(at).map_or(at, |&mate| (mate as usize).max(at))
    }

    /// Past the group that begins at `at`, if one does, else past the token.
    pub(crate) fn past(&self, at: usize) -> usize {
        self.mate(at) + 1
    }

    /// Past the `>` that closes the `<` at `at`; `None` if it is no template list that ends before `end`.
    pub(crate) fn past_angles(&self, at: usize, end: usize) -> Option<usize> {
        // A limit keeps a file full of less-than signs linear.
        const LONGEST: usize = 2000;
        let end = end.min(at + LONGEST);
        if self.kind(at) != Kind::Lt {
            return None;
        }
        let mut depth = 0usize;
        let mut i = at;
        while i < end {
            match self.kind(i) {
                Kind::Lt => depth += 1,
                Kind::Gt => {
                    depth -= 1;
                    if depth == 0 {
                        return Some(i + 1);
                    }
                }
                Kind::LParen | Kind::LBracket | Kind::LBrace => i = self.mate(i),
                Kind::Semi | Kind::RBrace | Kind::RParen | Kind::RBracket => return None,
                _ => {}
            }
            i += 1;
        }
        None
    }

    /// The body's `{` of a function as C once wrote it, `f(a, b) int a; char *b; {`, whose `(` is at `open`.
    pub(crate) fn past_old_style(&self, open: usize) -> Option<usize> {
        const LONGEST: usize = 400;
        let close = self.mate(open);
        let names = (open + 1..close).all(|i| matches!(self.kind(i), Kind::Ident | Kind::Comma));
        if !names || close <= open + 1 {
            return None;
        }
        let mut i = close + 1;
        while i < self.len().min(close + LONGEST) {
            match self.kind(i) {
                Kind::LBrace if self.kind(i - 1) == Kind::Semi => return Some(i),
                Kind::Ident
                | Kind::Builtin
                | Kind::Const
                | Kind::Volatile
                | Kind::Specifier
                | Kind::Class
                | Kind::Enum
                | Kind::Star
                | Kind::Comma
                | Kind::Semi => i += 1,
                Kind::LParen | Kind::LBracket if i > close + 1 => i = self.past(i),
                _ => return None,
            }
        }
        None
    }

    /// Whether tokens `at` and `at + 1` touch.
    pub(crate) fn adjacent(&self, at: usize) -> bool {
        at + 1 < self.len() && self.tokens[at].end == self.tokens[at + 1].start
    }

    /// The pieces between the commas of `start..end`, brackets and template lists taken as wholes.
    pub(crate) fn split_commas(&self, start: usize, end: usize) -> Vec<(usize, usize)> {
        let mut pieces = Vec::new();
        let (mut from, mut i) = (start, start);
        while i < end {
            match self.kind(i) {
                Kind::Comma => {
                    pieces.push((from, i));
                    from = i + 1;
                }
                Kind::LParen | Kind::LBracket | Kind::LBrace => i = self.mate(i),
                Kind::Lt if i > start && self.kind(i - 1) == Kind::Ident => {
                    i = self.past_angles(i, end).map_or(i, |past| past - 1);
                }
                _ => {}
            }
            i += 1;
        }
        if from < end {
            pieces.push((from, end));
        }
        pieces
    }

    /// Past an attribute (`[[x]]`, `__attribute__((x))`, `alignas(x)`), or `at` if none stands there.
    pub(crate) fn past_attribute(&self, at: usize) -> usize {
        match self.kind(at) {
            Kind::LBracket if self.kind(at + 1) == Kind::LBracket => self.past(at),
            Kind::Alignas | Kind::Asm if self.kind(at + 1) == Kind::LParen => self.past(at + 1),
            Kind::Ident
                if self.kind(at + 1) == Kind::LParen
                    && matches!(self.text(at), "__attribute__" | "__attribute" | "__declspec") =>
            {
                self.past(at + 1)
            }
            _ => at,
        }
    }
}

/// Whether a name looks like a macro's: capitals, digits and underscores, at least two of them.
pub(crate) fn is_capitals(name: &str) -> bool {
    name.len() >= 2
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        && name.bytes().any(|b| b.is_ascii_uppercase())
}
