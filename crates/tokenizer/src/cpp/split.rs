//! The `cpp` pre-tokenizer: cuts text as a C++ lexer would, and identifiers into their parts.
//!
//! In order of precedence a piece is
//!
//! 1. a keyword that stands as a word, with the blank before it if there is one;
//! 2. a part of an identifier: its underscores, then a capital with the small letters behind it, small letters,
//!    or capitals; or a whole name of the standard library. Before it one blank, and one or two punctuation
//!    characters, may belong to it (` count`, `::find`, ` (const` not: that is a keyword);
//! 3. up to four hexadecimal digits behind `0x`, or up to three digits, with one blank before;
//! 4. a run of punctuation and of line breaks with their indentation, up to the next word with what belongs to it;
//! 5. other whitespace, less the blank that belongs to what follows.
//!
//! [`crate::cpp::PATTERN`] says the same as a regex. Everything is done in linear time.

use crate::classes::{Class, Classes};
use crate::cpp::lexicon::{Lexicon, Word};
use crate::split::{Split, code_point_at};

/// What a character is to the pattern.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Char {
    /// `[\p{L}--\p{Lu}]`
    Small,
    /// `\p{Lu}`
    Upper,
    /// `\p{N}`
    Number,
    Underscore,
    /// `[^\s\p{L}\p{N}_]`
    Mark,
    /// A blank or a tab.
    Blank,
    /// CR or LF
    Newline,
    /// Any other `\s`
    Space,
    /// Only in the byte table.
    NonAscii,
}

static BYTE: [Char; 256] = byte_table();

const fn byte_table() -> [Char; 256] {
    let mut table = [Char::Mark; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'\r' | b'\n' => Char::Newline,
            b' ' | b'\t' => Char::Blank,
            0x0b | 0x0c => Char::Space,
            b'0'..=b'9' => Char::Number,
            b'a'..=b'z' => Char::Small,
            b'A'..=b'Z' => Char::Upper,
            b'_' => Char::Underscore,
            0x80.. => Char::NonAscii,
            _ => Char::Mark,
        };
        byte += 1;
    }
    table
}

/// The tables that splitting needs.
#[derive(Clone, Copy)]
pub(crate) struct CppSplitter {
    classes: &'static Classes,
    lexicon: &'static Lexicon,
}

impl Split for CppSplitter {
    fn new() -> CppSplitter {
        CppSplitter { classes: Classes::get(), lexicon: Lexicon::get_static() }
    }

    #[inline]
    fn piece_end(self, text: &[u8], start: usize) -> usize {
        // The blank that may belong to a word, a number or punctuation.
        let at = start + usize::from(text[start] == b' ');
        match self.char_after(text, at) {
            Some((Char::Small | Char::Upper, _)) => self.word_end(text, at),
            Some((Char::Number, next)) => self.number_end(text, at, next),
            Some((Char::Mark | Char::Underscore, _)) => match self.joined_word(text, at) {
                Some(word) => self.name_end(text, word),
                None => self.run_end(text, start),
            },
            _ => self.whitespace_end(text, start),
        }
    }
}

impl CppSplitter {
    /// The character at `at` and the position behind it.
    #[inline]
    fn char_at(self, text: &[u8], at: usize) -> (Char, usize) {
        match BYTE[usize::from(text[at])] {
            Char::NonAscii => self.char_outside_ascii(text, at),
            found => (found, at + 1),
        }
    }

    #[inline]
    fn char_after(self, text: &[u8], at: usize) -> Option<(Char, usize)> {
        (at < text.len()).then(|| self.char_at(text, at))
    }

    #[cold]
    #[inline(never)]
    fn char_outside_ascii(self, text: &[u8], at: usize) -> (Char, usize) {
        let (code_point, width) = code_point_at(&text[at..]);
        let found = match self.classes.cased(code_point) {
            Class::Letter => Char::Small,
            Class::Upper => Char::Upper,
            Class::Number => Char::Number,
            Class::Space | Class::Newline => Char::Space,
            Class::Other | Class::NonAscii => Char::Mark,
        };
        (found, at + width)
    }

    /// What the word at `at`, a letter, is as a whole, and its end if it is in the lexicon.
    #[inline]
    fn whole_word(self, text: &[u8], at: usize) -> (Word, usize) {
        let limit = text.len().min(at + Lexicon::MAX_LEN + 1);
        let mut end = at;
        while end < limit && is_word(BYTE[usize::from(text[end])]) {
            end += 1;
        }
        let word = self.lexicon.find(text, at, end);
        let goes_on = word != Word::Other
            && end < text.len()
            && text[end] >= 0x80
            && is_word(self.char_outside_ascii(text, end).0);
        (if goes_on { Word::Other } else { word }, end)
    }

    /// End of the piece whose word or part of an identifier begins at `at`, a letter.
    #[inline]
    fn word_end(self, text: &[u8], at: usize) -> usize {
        match self.whole_word(text, at) {
            (Word::Other, _) => self.part_end(text, at),
            (_, end) => end,
        }
    }

    /// As [`Self::word_end`] behind punctuation or at underscores.
    #[inline]
    fn name_end(self, text: &[u8], at: usize) -> usize {
        if text[at] == b'_' {
            return self.part_end(text, underscores_end(text, at));
        }
        self.word_end(text, at)
    }

    /// End of the part of an identifier that begins at `at`, a letter:
    /// `\p{Lu}?[\p{L}--\p{Lu}]+|\p{Lu}+(?![\p{L}--\p{Lu}])`.
    #[inline]
    fn part_end(self, text: &[u8], at: usize) -> usize {
        let (first, next) = self.char_at(text, at);
        if first == Char::Small {
            return self.small_end(text, next);
        }
        match self.char_after(text, next) {
            Some((Char::Small, end)) => self.small_end(text, end),
            Some((Char::Upper, _)) => self.capitals_end(text, next),
            _ => next,
        }
    }

    #[inline]
    fn small_end(self, text: &[u8], mut at: usize) -> usize {
        loop {
            while at < text.len() && text[at].is_ascii_lowercase() {
                at += 1;
            }
            match self.char_after(text, at) {
                Some((Char::Small, next)) => at = next,
                _ => return at,
            }
        }
    }

    /// End of the capitals of which the second is at `at`; the last one goes to small letters behind it.
    fn capitals_end(self, text: &[u8], mut at: usize) -> usize {
        let mut last = at;
        loop {
            match self.char_after(text, at) {
                Some((Char::Upper, next)) => (last, at) = (at, next),
                Some((Char::Small, _)) => return last,
                _ => return at,
            }
        }
    }

    /// ` ?0[xX][0-9A-Fa-f]{1,4}| ?\p{N}{1,3}`, with the first digit from `at` to `next`.
    #[inline]
    fn number_end(self, text: &[u8], at: usize, next: usize) -> usize {
        if text[at] == b'0' && matches!(text.get(next), Some(b'x' | b'X')) {
            let digits =
                text[next + 1..].iter().take(4).take_while(|byte| byte.is_ascii_hexdigit());
            match digits.count() {
                0 => {}
                count => return next + 1 + count,
            }
        }
        let mut end = next;
        for _ in 1..3 {
            match self.char_after(text, end) {
                Some((Char::Number, next)) => end = next,
                _ => break,
            }
        }
        end
    }

    /// Where the word or part begins to which the punctuation at `at` belongs:
    /// `[^\s\p{L}\p{N}_]{0,2}(?!keyword)_*\p{L}`.
    #[inline]
    fn joined_word(self, text: &[u8], at: usize) -> Option<usize> {
        let mut word = at;
        for marks in 0..=2 {
            match self.char_after(text, word)? {
                (Char::Small | Char::Upper, _) => {
                    return (self.whole_word(text, word).0 != Word::Keyword).then_some(word);
                }
                (Char::Underscore, _) => {
                    let letter = self.char_after(text, underscores_end(text, word))?.0;
                    return matches!(letter, Char::Small | Char::Upper).then_some(word);
                }
                (Char::Mark, next) if marks < 2 => word = next,
                _ => return None,
            }
        }
        None
    }

    /// End of the run of punctuation and line breaks at `start`, which has at least one of them.
    fn run_end(self, text: &[u8], start: usize) -> usize {
        let mut at = start;
        while at < text.len() {
            let mark = at + usize::from(text[at] == b' ');
            match self.char_after(text, mark) {
                Some((Char::Mark, next)) => match self.joined_word(text, mark) {
                    Some(_) => return at,
                    None => at = next,
                },
                // All of them together, or looking for what follows them would take quadratic time.
                Some((Char::Underscore, _)) => match self.joined_word(text, mark) {
                    Some(_) => return at,
                    None => at = underscores_end(text, mark),
                },
                _ => match line_break_end(text, at) {
                    Some(end) => at = end,
                    None => return at,
                },
            }
        }
        at
    }

    /// A run that begins with a line break, or other whitespace:
    /// `[^\S\r\n]+(?= \S)|[^\S\r\n]+`.
    fn whitespace_end(self, text: &[u8], start: usize) -> usize {
        if line_break_end(text, start).is_some() {
            return self.run_end(text, start);
        }
        let (mut at, mut last) = (start, start);
        while let Some((Char::Blank | Char::Space, next)) = self.char_after(text, at) {
            (last, at) = (at, next);
        }
        let keeps_blank = last > start && text[last] == b' ' && at < text.len();
        match self.char_after(text, at) {
            Some((Char::Newline, _)) | None => at,
            _ if keeps_blank => last,
            _ => at,
        }
    }
}

fn is_word(found: Char) -> bool {
    matches!(found, Char::Small | Char::Upper | Char::Number | Char::Underscore)
}

fn underscores_end(text: &[u8], at: usize) -> usize {
    at + text[at..].iter().take_while(|byte| **byte == b'_').count()
}

fn blanks_end(text: &[u8], at: usize) -> usize {
    at + text[at..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
}

/// `[ \t]*(?:\r\n?|\n)[ \t]*` at `at`.
fn line_break_end(text: &[u8], at: usize) -> Option<usize> {
    let newline = blanks_end(text, at);
    let behind = match (text.get(newline)?, text.get(newline + 1)) {
        (b'\r', Some(b'\n')) => newline + 2,
        (b'\r' | b'\n', _) => newline + 1,
        _ => return None,
    };
    Some(blanks_end(text, behind))
}
