//! A text as a set of shingles: what duplicates are measured by.

use super::mix;

/// So many consecutive words make a shingle.
pub const SHINGLE_WORDS: usize = 5;

const BASE: u64 = 0x2d35_8dcc_aa6c_78a5;

/// The words of a text, reduced to what comparing needs.
///
/// A word is an identifier, a number or a single other character; white space only separates. So layout does not
/// count, while every visible character does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shingles {
    /// First 16 bytes of the BLAKE3 hash of the words: equal for equal words.
    pub exact: u128,
    /// Hashes of the distinct runs of [`SHINGLE_WORDS`] words, ascending. A shorter text is one shingle.
    pub set: Vec<u32>,
}

impl Shingles {
    /// Of a text; `None` when it holds nothing but white space.
    pub fn of(text: &str) -> Option<Self> {
        let mut normal = Vec::with_capacity(text.len() + text.len() / 8);
        let mut hashes = Vec::with_capacity(text.len() / 4);
        for word in Words::new(text.as_bytes()) {
            normal.extend_from_slice(word);
            // Without it `int x` and `intx` would be equal.
            normal.push(b' ');
            hashes.push(word_hash(word));
        }
        if hashes.is_empty() {
            return None;
        }
        let mut exact = [0; 16];
        exact.copy_from_slice(&blake3::hash(&normal).as_bytes()[..16]);
        Some(Self { exact: u128::from_le_bytes(exact), set: shingles(&hashes) })
    }
}

/// |A ∩ B| / |A ∪ B| of two ascending sets, 0 when both are empty.
pub fn exact_jaccard(a: &[u32], b: &[u32]) -> f64 {
    let (mut i, mut j, mut common) = (0, 0, 0usize);
    while i < a.len() && j < b.len() {
        common += usize::from(a[i] == b[j]);
        let (x, y) = (a[i], b[j]);
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    match a.len() + b.len() - common {
        0 => 0.0,
        union => common as f64 / union as f64,
    }
}

/// Hashes of all runs of words, sorted, each once.
fn shingles(words: &[u64]) -> Vec<u32> {
    let combine = |run: &[u64]| {
        let sum = run.iter().fold(0u64, |sum, word| sum.wrapping_mul(BASE).wrapping_add(*word));
        (mix(sum) >> 32) as u32
    };
    let mut set: Vec<u32> = if words.len() < SHINGLE_WORDS {
        vec![combine(words)]
    } else {
        words.windows(SHINGLE_WORDS).map(combine).collect()
    };
    set.sort_unstable();
    set.dedup();
    set
}

fn word_hash(word: &[u8]) -> u64 {
    let (chunks, rest) = word.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let start = word.len() as u64;
    chunks
        .iter()
        .chain([&last])
        .fold(start, |hash, chunk| mix(hash.wrapping_mul(BASE) ^ u64::from_le_bytes(*chunk)))
}

struct Words<'a> {
    rest: &'a [u8],
}

impl<'a> Words<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self { rest: text }
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.rest.iter().position(|byte| !is_space(*byte))?;
        let rest = &self.rest[start..];
        let length = rest.iter().take_while(|byte| is_word(**byte)).count().max(1);
        let (word, rest) = rest.split_at(length);
        self.rest = rest;
        Some(word)
    }
}

fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// Bytes of characters beyond ASCII are taken for letters.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> Vec<&str> {
        Words::new(text.as_bytes()).map(|word| std::str::from_utf8(word).unwrap()).collect()
    }

    #[test]
    fn words_are_identifiers_numbers_and_single_other_characters() {
        assert_eq!(
            words(" a_1->größe+=0x1F;\n"),
            ["a_1", "-", ">", "größe", "+", "=", "0x1F", ";"]
        );
        assert_eq!(words(" \t\r\n\x0b\x0c"), [""; 0]);
    }

    #[test]
    fn layout_does_not_count_and_everything_else_does() {
        let exact = |text| Shingles::of(text).unwrap().exact;
        assert_eq!(exact("int f(){return 1;}"), exact("int  f()\r\n{\n\treturn 1;\n}\n"));
        assert_ne!(exact("int x;"), exact("intx;"));
        assert_ne!(exact("int x;"), exact("int y;"));
        assert_eq!(Shingles::of(" \n\t"), None);
    }

    #[test]
    fn a_short_text_is_one_shingle() {
        assert_eq!(Shingles::of("a b c d").unwrap().set.len(), 1);
        assert_eq!(Shingles::of("a b c d e").unwrap().set.len(), 1);
        assert_eq!(Shingles::of("a b c d e f").unwrap().set.len(), 2);
        assert_eq!(Shingles::of("a a a a a a a a").unwrap().set.len(), 1);
    }

    #[test]
    fn words_that_share_a_prefix_differ() {
        let mut hashes: Vec<u64> =
            ["", "a", "a\0", "aaaaaaaa", "aaaaaaaaa", "aaaaaaaab", "aaaaaaaaaaaaaaaa"]
                .map(|word| word_hash(word.as_bytes()))
                .to_vec();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 7);
    }

    #[test]
    fn jaccard_is_the_shared_part_of_the_union() {
        assert_eq!(exact_jaccard(&[1, 2, 3], &[2, 3, 4]), 0.5);
        assert_eq!(exact_jaccard(&[1, 2], &[1, 2]), 1.0);
        assert_eq!(exact_jaccard(&[1], &[2]), 0.0);
        assert_eq!(exact_jaccard(&[], &[2]), 0.0);
        assert_eq!(exact_jaccard(&[], &[]), 0.0);
    }

    proptest! {
        #[test]
        fn jaccard_of_hashes_is_that_of_the_runs_of_words(
            a in proptest::collection::vec("[a-d]", 0..60),
            b in proptest::collection::vec("[a-d]", 0..60),
        ) {
            use std::collections::HashSet;
            let runs = |words: &[String]| -> HashSet<Vec<String>> {
                if words.len() < SHINGLE_WORDS {
                    return (!words.is_empty()).then(|| words.to_vec()).into_iter().collect();
                }
                words.windows(SHINGLE_WORDS).map(<[String]>::to_vec).collect()
            };
            let (x, y) = (runs(&a), runs(&b));
            let expected = match x.union(&y).count() {
                0 => 0.0,
                union => x.intersection(&y).count() as f64 / union as f64,
            };
            let set = |words: &[String]| {
                Shingles::of(&words.join(" ")).map(|s| s.set).unwrap_or_default()
            };
            prop_assert_eq!(exact_jaccard(&set(&a), &set(&b)), expected);
        }
    }
}
