//! Cutting text into pieces, which merges never cross, and the `bpe` pre-tokenizer.
//!
//! A pre-tokenizer is equal to matching its kind's pattern from left to right on every string, in linear
//! time. Byte strings that are not UTF-8 are cut into stretches first: valid stretches are split as text,
//! each maximal run of invalid bytes is one piece, so nothing is lost.

use crate::classes::{BYTE_CLASS, Class, Classes};
use crate::cpp::CppSplitter;
use crate::kind::Kind;

/// The split pattern of `bpe` as regex engines with possessive quantifiers read it.
pub const PATTERN: &str = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";

/// A part of a byte string: text or bytes that are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stretch<'a> {
    Text(&'a str),
    Raw(&'a [u8]),
}

/// Cuts `bytes` into valid UTF-8 and maximal runs of invalid bytes, in order, none empty.
pub(crate) fn stretches(bytes: &[u8]) -> impl Iterator<Item = Stretch<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (stretch, tail) = first_stretch(rest)?;
        rest = tail;
        Some(stretch)
    })
}

fn first_stretch(bytes: &[u8]) -> Option<(Stretch<'_>, &[u8])> {
    // `from_utf8` reads ASCII many bytes at a time, which `utf8_chunks` does not.
    let valid = match std::str::from_utf8(bytes) {
        Ok(text) => return (!text.is_empty()).then_some((Stretch::Text(text), &[])),
        Err(error) => error.valid_up_to(),
    };
    if valid > 0 {
        let (text, tail) = bytes.split_at(valid);
        return std::str::from_utf8(text).ok().map(|text| (Stretch::Text(text), tail));
    }
    let chunks = bytes.utf8_chunks();
    let raw =
        chunks.take_while(|chunk| chunk.valid().is_empty()).map(|chunk| chunk.invalid().len());
    let (raw, tail) = bytes.split_at(raw.sum());
    Some((Stretch::Raw(raw), tail))
}

/// A pre-tokenizer.
pub(crate) trait Split: Copy {
    /// With the tables that it needs.
    fn new() -> Self;

    /// End of the piece that starts at `start < text.len()`. `text` is valid UTF-8 and `start`
    /// a character boundary; then so is the result.
    fn piece_end(self, text: &[u8], start: usize) -> usize;

    /// Calls `visit` with the text and the start and end in it of each piece of `bytes`, in order.
    #[inline]
    fn for_each_piece(bytes: &[u8], mut visit: impl FnMut(&[u8], usize, usize)) {
        let splitter = Self::new();
        for stretch in stretches(bytes) {
            match stretch {
                Stretch::Text(text) => {
                    let text = text.as_bytes();
                    let mut start = 0;
                    while start < text.len() {
                        let end = splitter.piece_end(text, start);
                        visit(text, start, end);
                        start = end;
                    }
                }
                Stretch::Raw(bytes) => visit(bytes, 0, bytes.len()),
            }
        }
    }
}

/// The pieces that `kind` cuts a byte string into, in order; their concatenation is `bytes`.
pub fn pieces(kind: Kind, bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let end_of = match kind {
        Kind::Bpe => |text: &[u8], start| Splitter::new().piece_end(text, start),
        Kind::Cpp => |text: &[u8], start| CppSplitter::new().piece_end(text, start),
    };
    stretches(bytes).flat_map(move |stretch| {
        let (bytes, raw) = match stretch {
            Stretch::Text(text) => (text.as_bytes(), false),
            Stretch::Raw(bytes) => (bytes, true),
        };
        let mut start = 0;
        std::iter::from_fn(move || {
            if start == bytes.len() {
                return None;
            }
            let end = if raw { bytes.len() } else { end_of(bytes, start) };
            let piece = &bytes[start..end];
            start = end;
            Some(piece)
        })
    })
}

/// Cuts `bytes` into parts of about `target` bytes (at least 1) that can be split on their own, of every kind.
///
/// A cut is made between an ASCII letter or digit and an ASCII character that is none and no underscore: in no
/// pattern does an alternative go on from the one to the other, nor does any look behind. Text without
/// such a place stays whole.
pub(crate) fn cut_behind_words(bytes: &[u8], target: usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let skip = target.max(1).min(rest.len());
        let end = rest[skip - 1..]
            .windows(2)
            .position(|pair| pair[0].is_ascii_alphanumeric() && is_no_word(pair[1]))
            .map_or(rest.len(), |found| skip + found);
        let (part, tail) = rest.split_at(end);
        rest = tail;
        Some(part)
    })
}

fn is_no_word(byte: u8) -> bool {
    byte.is_ascii() && !byte.is_ascii_alphanumeric() && byte != b'_'
}

/// The pre-tokenizer of `bpe`: the class tables.
#[derive(Clone, Copy)]
pub(crate) struct Splitter {
    classes: &'static Classes,
}

impl Split for Splitter {
    fn new() -> Splitter {
        Splitter { classes: Classes::get() }
    }

    #[inline]
    fn piece_end(self, text: &[u8], start: usize) -> usize {
        let (class, next) = self.class_at(text, start);
        match class {
            Class::Letter => self.letters_end(text, next),
            Class::Number => match self.class_after(text, next) {
                Some((Class::Number, end)) => end,
                _ => next,
            },
            Class::Other => {
                if text[start] == b'\''
                    && let Some(end) = contraction_end(text, start)
                {
                    return end;
                }
                match self.class_after(text, next) {
                    Some((Class::Letter, end)) => self.letters_end(text, end),
                    Some((Class::Other, end)) => self.symbols_end(text, end),
                    _ => newlines_end(text, next),
                }
            }
            Class::Space => match self.class_after(text, next) {
                Some((Class::Letter, end)) => self.letters_end(text, end),
                Some((Class::Other, end)) if text[start] == b' ' => self.symbols_end(text, end),
                Some((Class::Space | Class::Newline, _)) => self.whitespace_end(text, start),
                _ => next,
            },
            // `class_at` never returns the other two.
            Class::Newline | Class::NonAscii | Class::Upper => self.whitespace_end(text, start),
        }
    }
}

impl Splitter {
    /// Class of the character at `at` and the position behind it.
    #[inline]
    fn class_at(self, text: &[u8], at: usize) -> (Class, usize) {
        match BYTE_CLASS[usize::from(text[at])] {
            Class::NonAscii => self.class_outside_ascii(text, at),
            class => (class, at + 1),
        }
    }

    #[inline]
    fn class_after(self, text: &[u8], at: usize) -> Option<(Class, usize)> {
        (at < text.len()).then(|| self.class_at(text, at))
    }

    #[cold]
    #[inline(never)]
    fn class_outside_ascii(self, text: &[u8], at: usize) -> (Class, usize) {
        let (code_point, width) = code_point_at(&text[at..]);
        (self.classes.of(code_point), at + width)
    }

    /// End of the run of characters of `class` (not `Space`) from `at`.
    #[inline]
    fn run_end(self, text: &[u8], mut at: usize, class: Class) -> usize {
        loop {
            while at < text.len() && BYTE_CLASS[usize::from(text[at])] == class {
                at += 1;
            }
            if at == text.len() || text[at] < 0x80 {
                return at;
            }
            match self.class_outside_ascii(text, at) {
                (found, next) if found == class => at = next,
                _ => return at,
            }
        }
    }

    /// `\p{L}*` from `at`.
    #[inline]
    fn letters_end(self, text: &[u8], mut at: usize) -> usize {
        // Eight bytes at once: most words end within them, without a branch to mispredict.
        while let Some(block) = text[at..].first_chunk() {
            let letters = leading_letters(u64::from_le_bytes(*block));
            at += letters;
            if letters < 8 {
                if block[letters] < 0x80 {
                    return at;
                }
                break;
            }
        }
        self.run_end(text, at, Class::Letter)
    }

    /// `[^\s\p{L}\p{N}]*[\r\n]*` from `at`.
    #[inline]
    fn symbols_end(self, text: &[u8], at: usize) -> usize {
        newlines_end(text, self.run_end(text, at, Class::Other))
    }

    /// `\s*[\r\n]|\s+(?!\S)|\s+` from `start`, where whitespace begins.
    ///
    /// A piece ends behind the last line break of the run, so what is left of the run has none
    /// and is cut at most twice more: the run is read a bounded number of times.
    fn whitespace_end(self, text: &[u8], start: usize) -> usize {
        let (mut at, mut last_start, mut newline_end) = (start, start, None);
        while let Some((class @ (Class::Space | Class::Newline), next)) = self.class_after(text, at)
        {
            if class == Class::Newline {
                newline_end = Some(next);
            }
            last_start = at;
            at = next;
        }
        match newline_end {
            Some(end) => end,
            // The last blank goes with what follows, unless it is all there is.
            None if at < text.len() && last_start > start => last_start,
            None => at,
        }
    }
}

/// How many of eight bytes, from the lowest on, are ASCII letters before the first that is not.
#[inline]
fn leading_letters(block: u64) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES * 0x80;
    // In each byte without its high bit, folded to lower case, adding sets that bit from `a` on
    // or behind `z` and never carries into the next byte.
    let lower = (block | (ONES * 0x20)) & !HIGH;
    let from_a = lower + ONES * u64::from(0x80 - b'a');
    let behind_z = lower + ONES * u64::from(0x7f - b'z');
    let letters = from_a & !behind_z & !block & HIGH;
    ((letters ^ HIGH).trailing_zeros() / 8) as usize
}

#[inline]
fn newlines_end(text: &[u8], mut at: usize) -> usize {
    while at < text.len() && matches!(text[at], b'\r' | b'\n') {
        at += 1;
    }
    at
}

/// `'(?i:[sdmt]|ll|ve|re)` at `start`, where the apostrophe is. U+017F (ſ) folds to s.
fn contraction_end(text: &[u8], start: usize) -> Option<usize> {
    let first = text.get(start + 1)?.to_ascii_lowercase();
    let second = text.get(start + 2).copied();
    match (first, second.map(|byte| byte.to_ascii_lowercase())) {
        (b's' | b'd' | b'm' | b't', _) => Some(start + 2),
        (b'l', Some(b'l')) | (b'v' | b'r', Some(b'e')) => Some(start + 3),
        (0xc5, _) if second == Some(0xbf) => Some(start + 3),
        _ => None,
    }
}

/// First code point of valid UTF-8 and its width in bytes.
pub(crate) fn code_point_at(text: &[u8]) -> (u32, usize) {
    let tail = |index: usize| u32::from(text[index] & 0x3f);
    let lead = u32::from(text[0]);
    match lead {
        0..0x80 => (lead, 1),
        0x80..0xe0 => ((lead & 0x1f) << 6 | tail(1), 2),
        0xe0..0xf0 => ((lead & 0x0f) << 12 | tail(1) << 6 | tail(2), 3),
        _ => ((lead & 0x07) << 18 | tail(1) << 12 | tail(2) << 6 | tail(3), 4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<&str> {
        pieces(Kind::Bpe, text.as_bytes())
            .map(|piece| std::str::from_utf8(piece).unwrap())
            .collect()
    }

    #[test]
    fn code_keeps_one_blank_with_its_word() {
        assert_eq!(
            split("int main() {\n    return 0;\n}\n"),
            ["int", " main", "()", " {\n", "   ", " return", " ", "0", ";\n", "}\n"]
        );
    }

    #[test]
    fn contractions_in_any_case() {
        assert_eq!(split("I'M we'Ll it'ſ 'x"), ["I", "'M", " we", "'Ll", " it", "'ſ", " '", "x"]);
    }

    #[test]
    fn whitespace_runs_end_behind_their_last_line_break() {
        assert_eq!(split("a \n \t\n  b"), ["a", " \n \t\n", " ", " b"]);
        assert_eq!(split("a   "), ["a", "   "]);
        assert_eq!(split("\t\t1"), ["\t", "\t", "1"]);
        assert_eq!(split("x \u{3000}é"), ["x", " ", "\u{3000}é"]);
    }

    #[test]
    fn digits_in_pairs() {
        assert_eq!(split("12345 ½x"), ["12", "34", "5", " ", "½", "x"]);
    }

    #[test]
    fn invalid_bytes_are_pieces_of_their_own() {
        let got: Vec<&[u8]> = pieces(Kind::Bpe, b"ab\xff\xfe cd\xe2\x82").collect();
        assert_eq!(got, [b"ab".as_slice(), b"\xff\xfe", b" cd", b"\xe2\x82"]);
        assert_eq!(pieces(Kind::Bpe, b"\xff").collect::<Vec<_>>(), [b"\xff"]);
        assert_eq!(pieces(Kind::Bpe, b"").count(), 0);
    }

    #[test]
    fn leading_letters_of_every_byte_at_every_place() {
        for byte in 0..=u8::MAX {
            for place in 0..8 {
                let mut block = *b"azAZmMqQ";
                block[place] = byte;
                let expected = if byte.is_ascii_alphabetic() { 8 } else { place };
                assert_eq!(leading_letters(u64::from_le_bytes(block)), expected, "{block:?}");
            }
        }
    }

    #[test]
    fn parts_have_the_pieces_of_the_whole() {
        let text = "a\n\n  b;\nc {\r\n}\n\u{a0}d\nfoo_1 x's(int)0x1F, _y\n".repeat(5);
        for kind in Kind::ALL {
            for target in 1..text.len() + 2 {
                let parts: Vec<&[u8]> = cut_behind_words(text.as_bytes(), target).collect();
                assert_eq!(parts.concat(), text.as_bytes());
                let got: Vec<&[u8]> = parts.iter().flat_map(|part| pieces(kind, part)).collect();
                assert_eq!(got, pieces(kind, text.as_bytes()).collect::<Vec<_>>());
            }
        }
        assert!(cut_behind_words(text.as_bytes(), 1).count() > 40);
    }
}
