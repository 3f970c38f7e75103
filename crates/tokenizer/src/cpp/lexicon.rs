//! The words that are whole pieces wherever they stand as words, and how to recognise them fast.

use std::sync::LazyLock;

use crate::cpp::words::{KEYWORDS, NAMES};
use crate::short_map::{ShortKey, ShortMap};

/// What a word is that the pre-tokenizer never cuts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Word {
    /// None of them.
    #[default]
    Other,
    /// A keyword: a piece of its own, with at most one blank before it.
    Keyword,
    /// A name with an underscore or a digit, which would be cut otherwise.
    Name,
}

/// Names that cutting identifiers would break.
pub(crate) fn whole_names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().copied().filter(|name| {
        name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name.contains(|other: char| other == '_' || other.is_ascii_digit())
    })
}

/// Lookup of the words by their bytes.
pub(crate) struct Lexicon {
    short: ShortMap<Word>,
    /// Words of more than [`ShortKey::MAX_LEN`] bytes, sorted.
    long: Vec<(&'static str, Word)>,
    /// By first byte: bit `n` is set where a word of `n` bytes begins with it.
    lengths: [u32; 256],
}

static LEXICON: LazyLock<Lexicon> = LazyLock::new(Lexicon::new);

impl Lexicon {
    /// No word is longer.
    pub(crate) const MAX_LEN: usize = 31;

    pub(crate) fn get_static() -> &'static Lexicon {
        &LEXICON
    }

    fn new() -> Lexicon {
        let keywords = KEYWORDS.iter().map(|word| (*word, Word::Keyword));
        let names = whole_names().map(|word| (word, Word::Name));
        let mut lexicon =
            Lexicon { short: ShortMap::with_capacity(512), long: Vec::new(), lengths: [0; 256] };
        for (word, is) in keywords.chain(names) {
            debug_assert!(word.len() <= Lexicon::MAX_LEN, "{word}");
            lexicon.lengths[usize::from(word.as_bytes()[0])] |= 1 << word.len();
            match ShortKey::of(word.as_bytes(), 0, word.len()) {
                Some(key) => *lexicon.short.entry(key) = is,
                None => lexicon.long.push((word, is)),
            }
        }
        lexicon.long.sort_unstable_by_key(|(word, _)| *word);
        lexicon
    }

    /// Whether there are words that begin with `byte`.
    #[inline]
    pub(crate) fn has_words_with(&self, byte: u8) -> bool {
        self.lengths[usize::from(byte)] != 0
    }

    /// What `text[start..end]`, not empty, is.
    #[inline]
    pub(crate) fn find(&self, text: &[u8], start: usize, end: usize) -> Word {
        let len = end - start;
        if len > Lexicon::MAX_LEN || self.lengths[usize::from(text[start])] & (1 << len) == 0 {
            return Word::Other;
        }
        match ShortKey::of(text, start, end) {
            Some(key) => self.short.get(key).unwrap_or_default(),
            None => self.find_long(&text[start..end]),
        }
    }

    #[cold]
    fn find_long(&self, word: &[u8]) -> Word {
        let found = self.long.binary_search_by_key(&word, |(word, _)| word.as_bytes());
        found.map_or(Word::Other, |index| self.long[index].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_found_and_nothing_else() {
        let find = |word: &str| LEXICON.find(word.as_bytes(), 0, word.len());
        for word in KEYWORDS {
            assert_eq!(find(word), Word::Keyword, "{word}");
            assert_eq!(find(&format!("{word}s")), Word::Other, "{word}s");
        }
        for word in whole_names() {
            assert_eq!(find(word), Word::Name, "{word}");
        }
        assert_eq!(LEXICON.find(b"xintx", 1, 4), Word::Keyword);
        for word in ["integer", "string", "memory_order_relaxe", "a"] {
            assert_eq!(find(word), Word::Other, "{word}");
        }
        assert_eq!(find(&"x".repeat(100)), Word::Other);
    }
}
