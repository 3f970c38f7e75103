//! Character classes of the split patterns: `\p{L}` and in it `\p{Lu}`, `\p{N}`, `\s`, line breaks and
//! the rest.
//!
//! ASCII is a 256-byte table. Other code points go through a two-stage table (blocks of 256 code
//! points, equal blocks shared) that is compiled once from the tables of `regex-syntax`, so that
//! the classes are those of the regex engines that the peers use.

use std::sync::LazyLock;

use regex_syntax::hir::{Class as HirClass, HirKind};
use rustc_hash::FxHashMap;

/// What the split pattern distinguishes. Line breaks are whitespace too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Class {
    /// Neither letter, number nor whitespace: punctuation, symbols, marks, controls.
    Other,
    /// `\p{L}`; of [`Classes::cased`] `\p{L}` without `\p{Lu}`
    Letter,
    /// `\p{Lu}`, only told by [`Classes::cased`]
    Upper,
    /// `\p{N}`
    Number,
    /// `\s` except CR and LF
    Space,
    /// CR or LF
    Newline,
    /// Only in the byte table: the first byte of a character outside ASCII.
    NonAscii,
}

const BLOCK: usize = 256;
const CODE_POINTS: usize = 0x11_0000;

/// Class of every byte, [`Class::NonAscii`] from 0x80 on.
pub(crate) static BYTE_CLASS: [Class; 256] = byte_classes();

const fn byte_classes() -> [Class; 256] {
    let mut table = [Class::Other; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'\r' | b'\n' => Class::Newline,
            b' ' | b'\t' | 0x0b | 0x0c => Class::Space,
            b'0'..=b'9' => Class::Number,
            b'a'..=b'z' | b'A'..=b'Z' => Class::Letter,
            0x80.. => Class::NonAscii,
            _ => Class::Other,
        };
        byte += 1;
    }
    table
}

/// Two-stage table over all code points.
pub(crate) struct Classes {
    block_of: Vec<u16>,
    blocks: Vec<[Class; BLOCK]>,
}

static CLASSES: LazyLock<Classes> = LazyLock::new(Classes::compile);

impl Classes {
    /// The table of this process, compiled at the first call.
    pub(crate) fn get() -> &'static Classes {
        &CLASSES
    }

    /// Class of one code point, upper case not told apart; values above U+10FFFF do not occur.
    #[inline]
    pub(crate) fn of(&self, code_point: u32) -> Class {
        match self.cased(code_point) {
            Class::Upper => Class::Letter,
            class => class,
        }
    }

    /// Class of one code point, upper case told apart; values above U+10FFFF do not occur.
    #[inline]
    pub(crate) fn cased(&self, code_point: u32) -> Class {
        let code_point = code_point as usize;
        self.blocks[usize::from(self.block_of[code_point / BLOCK])][code_point % BLOCK]
    }

    fn compile() -> Classes {
        let mut flat = vec![Class::Other; CODE_POINTS];
        for (pattern, class) in [
            (r"\p{L}", Class::Letter),
            (r"\p{Lu}", Class::Upper),
            (r"\p{N}", Class::Number),
            (r"\s", Class::Space),
        ] {
            for (first, last) in ranges(pattern) {
                flat[first as usize..=last as usize].fill(class);
            }
        }
        for newline in ['\r', '\n'] {
            flat[newline as usize] = Class::Newline;
        }
        Classes::share_blocks(&flat)
    }

    fn share_blocks(flat: &[Class]) -> Classes {
        let mut blocks = Vec::new();
        let mut seen: FxHashMap<[u8; BLOCK], u16> = FxHashMap::default();
        let (chunks, _) = flat.as_chunks::<BLOCK>();
        let block_of = chunks
            .iter()
            .map(|block| {
                *seen.entry(block.map(|class| class as u8)).or_insert_with(|| {
                    blocks.push(*block);
                    // At most 0x110000 / 256 = 4352 blocks.
                    (blocks.len() - 1) as u16
                })
            })
            .collect();
        Classes { block_of, blocks }
    }
}

/// Inclusive code point ranges of a one-class pattern.
fn ranges(pattern: &str) -> Vec<(u32, u32)> {
    let hir = regex_syntax::parse(pattern).expect("a constant pattern");
    match hir.kind() {
        HirKind::Class(HirClass::Unicode(class)) => {
            class.ranges().iter().map(|range| (range.start() as u32, range.end() as u32)).collect()
        }
        other => unreachable!("{pattern} is one Unicode class, not {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascii_table_agrees_with_unicode_tables() {
        for byte in 0..0x80u8 {
            assert_eq!(
                BYTE_CLASS[usize::from(byte)],
                Classes::get().of(u32::from(byte)),
                "{byte:#x}"
            );
        }
    }

    #[test]
    fn every_code_point_agrees_with_the_regex_classes() {
        let mut flat = vec![0u8; CODE_POINTS];
        for (pattern, bit) in [(r"\p{L}", 1), (r"\p{N}", 2), (r"\s", 4), (r"\p{Lu}", 8)] {
            for (first, last) in ranges(pattern) {
                flat[first as usize..=last as usize].iter_mut().for_each(|bits| *bits |= bit);
            }
        }
        for (code_point, bits) in flat.iter().enumerate() {
            let expected = match Classes::get().cased(code_point as u32) {
                Class::Letter => 1,
                Class::Upper => 1 | 8,
                Class::Number => 2,
                Class::Space | Class::Newline => 4,
                _ => 0,
            };
            assert_eq!(*bits, expected, "U+{code_point:04X}");
        }
    }

    #[test]
    fn known_characters() {
        let class = |c: char| Classes::get().of(c as u32);
        assert_eq!(class('é'), Class::Letter);
        assert_eq!(class('É'), Class::Letter);
        assert_eq!(Classes::get().cased(u32::from('É')), Class::Upper);
        assert_eq!(class('½'), Class::Number);
        assert_eq!(class('\u{85}'), Class::Space);
        assert_eq!(class('\u{200b}'), Class::Other);
        assert_eq!(class('\u{301}'), Class::Other);
        assert_eq!(class('\u{1f600}'), Class::Other);
    }
}
