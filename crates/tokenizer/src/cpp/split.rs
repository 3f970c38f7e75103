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
            Some((Char::Small | Char::Upper, _)) => self.word_at(text, at).1,
            Some((Char::Number, next)) => self.number_end(text, at, next),
            Some((Char::Mark | Char::Underscore, _)) => {
                self.joined_end(text, at).unwrap_or_else(|| self.run_end(text, start))
            }
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

    /// End of the piece whose word or part of an identifier begins at `at`, a letter, and what it is.
    #[inline]
    fn word_at(self, text: &[u8], at: usize) -> (Word, usize) {
        let part = self.part_end(text, at);
        if !self.lexicon.has_words_with(text[at]) {
            return (Word::Other, part);
        }
        // Of most words the first part is all there is.
        let limit = text.len().min(at + Lexicon::MAX_LEN + 1);
        let mut end = part;
        while end < limit && is_word(BYTE[usize::from(text[end])]) {
            end += 1;
        }
        match self.lexicon.find(text, at, end) {
            Word::Other => (Word::Other, part),
            _ if self.goes_on(text, end) => (Word::Other, part),
            word => (word, end),
        }
    }

    /// Whether a letter or digit outside ASCII is at `at`.
    fn goes_on(self, text: &[u8], at: usize) -> bool {
        at < text.len() && text[at] >= 0x80 && is_word(self.char_outside_ascii(text, at).0)
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
        // Eight bytes at once: most words end within them, without a branch to mispredict.
        while let Some(block) = text[at..].first_chunk() {
            let small = leading_small_letters(u64::from_le_bytes(*block));
            at += small;
            if small < 8 {
                if block[small] < 0x80 {
                    return at;
                }
                break;
            }
        }
        self.small_end_by_char(text, at)
    }

    fn small_end_by_char(self, text: &[u8], mut at: usize) -> usize {
        while let Some((Char::Small, next)) = self.char_after(text, at) {
            at = next;
        }
        at
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

    /// End of the word or part of an identifier to which the punctuation or underscores at `at` belong, if they do:
    /// `[^\s\p{L}\p{N}_]{0,2}(?!keyword)(?:name|_*part)`.
    #[inline]
    fn joined_end(self, text: &[u8], at: usize) -> Option<usize> {
        let mut word = at;
        for marks in 0..=2 {
            match self.char_after(text, word)? {
                (Char::Small | Char::Upper, _) => {
                    let (is, end) = self.word_at(text, word);
                    return (is != Word::Keyword).then_some(end);
                }
                (Char::Underscore, _) => {
                    let letter = underscores_end(text, word);
                    let found = self.char_after(text, letter)?.0;
                    let is_letter = matches!(found, Char::Small | Char::Upper);
                    return is_letter.then(|| self.part_end(text, letter));
                }
                (Char::Mark, next) if marks < 2 => word = next,
                _ => return None,
            }
        }
        None
    }

    /// Whether the punctuation or underscores at `at` belong to the word behind them.
    #[inline]
    fn is_joined(self, text: &[u8], at: usize) -> bool {
        let mut word = at;
        for marks in 0..=2 {
            match self.char_after(text, word) {
                Some((Char::Small | Char::Upper, _)) => {
                    return !self.lexicon.has_words_with(text[word])
                        || self.word_at(text, word).0 != Word::Keyword;
                }
                Some((Char::Underscore, _)) => {
                    let behind = self.char_after(text, underscores_end(text, word));
                    return matches!(behind, Some((Char::Small | Char::Upper, _)));
                }
                Some((Char::Mark, next)) if marks < 2 => word = next,
                _ => return false,
            }
        }
        false
    }

    /// End of the run of punctuation and line breaks at `start`, which has at least one of them.
    fn run_end(self, text: &[u8], start: usize) -> usize {
        let mut at = start;
        while at < text.len() {
            let mark = at + usize::from(text[at] == b' ');
            match self.char_after(text, mark) {
                Some((Char::Mark, _)) if self.is_joined(text, mark) => return at,
                Some((Char::Mark, next)) => at = next,
                // All of them together, or looking for what follows them would take quadratic time.
                Some((Char::Underscore, _)) if self.is_joined(text, mark) => return at,
                Some((Char::Underscore, _)) => at = underscores_end(text, mark),
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

/// How many of eight bytes, from the lowest on, are `a` to `z` before the first that is not.
#[inline]
fn leading_small_letters(block: u64) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES * 0x80;
    // In each byte without its high bit, adding sets that bit from `a` on or behind `z` and never carries
    // into the next byte.
    let low = block & !HIGH;
    let from_a = low + ONES * u64::from(0x80 - b'a');
    let behind_z = low + ONES * u64::from(0x7f - b'z');
    let letters = from_a & !behind_z & !block & HIGH;
    ((letters ^ HIGH).trailing_zeros() / 8) as usize
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_small_letters_of_every_byte_at_every_place() {
        for byte in 0..=u8::MAX {
            for place in 0..8 {
                let mut block = *b"azbycxdw";
                block[place] = byte;
                let expected = if byte.is_ascii_lowercase() { 8 } else { place };
                assert_eq!(leading_small_letters(u64::from_le_bytes(block)), expected, "{block:?}");
            }
        }
    }
}
