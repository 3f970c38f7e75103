//! Keywords of C++ in a text, and whether tokens leave them whole.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::LazyLock;

use kiln_tokenizer::KEYWORDS;

static SET: LazyLock<HashSet<&str>> = LazyLock::new(|| KEYWORDS.iter().copied().collect());

/// The words of a text that are keywords, in order.
pub struct Keywords(Vec<Word>);

struct Word {
    /// The keyword.
    range: Range<usize>,
    /// From the end of the word before it to the begin of the one behind it.
    room: Range<usize>,
}

impl Keywords {
    /// Finds them. A word is a run of letters, digits and underscores.
    pub fn find(text: &str) -> Keywords {
        let mut words: Vec<Word> = Vec::new();
        let mut before = 0;
        let mut open = false;
        for range in ranges(text) {
            if open && let Some(word) = words.last_mut() {
                word.room.end = range.start;
            }
            open = SET.contains(&text[range.clone()]);
            let end = range.end;
            if open {
                words.push(Word { range, room: before..text.len() });
            }
            before = end;
        }
        Keywords(words)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// How many lie in one token that has no part of another word. `ends` are those of all tokens of the text.
    pub fn whole(&self, ends: &[usize]) -> usize {
        let is_whole = |word: &&Word| {
            // The token in which the keyword begins.
            let token = ends.partition_point(|end| *end <= word.range.start);
            let start = if token == 0 { 0 } else { ends[token - 1] };
            let reaches = |end: &usize| (word.range.end..=word.room.end).contains(end);
            start >= word.room.start && ends.get(token).is_some_and(reaches)
        };
        self.0.iter().filter(is_whole).count()
    }
}

fn ranges(text: &str) -> impl Iterator<Item = Range<usize>> {
    let is_word = |character: char| character == '_' || character.is_alphanumeric();
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + text[at..].find(is_word)?;
        let end = text[start..].find(|other| !is_word(other)).map_or(text.len(), |len| start + len);
        at = end;
        Some(start..end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_count_and_only_whole_ones_are_whole() {
        let text = "(int)integer int_x return é_int\n  int";
        let keywords = Keywords::find(text);
        assert_eq!(keywords.len(), 3);
        let every_byte: Vec<usize> = (1..=text.len()).collect();
        assert_eq!(keywords.whole(&every_byte), 0);
        // (int | ) | integer | int_x | return é_int\n  int: the second has parts of other words.
        assert_eq!(keywords.whole(&[4, 5, 12, 18, text.len()]), 1);
        assert_eq!(keywords.whole(&[1, 4, 12, 18, 25, 32, text.len()]), 3);
        assert_eq!(keywords.whole(&[text.len()]), 0);
        assert_eq!(Keywords::find("").len(), 0);
    }
}
