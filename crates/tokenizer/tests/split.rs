//! The hand-written splitter equals the split pattern in a regex engine.

use fancy_regex::Regex;
use kiln_tokenizer::{PATTERN, pieces};
use proptest::prelude::*;

/// Text where the alternatives of the pattern meet: every class, its borders, and C++.
fn text() -> impl Strategy<Value = String> {
    let fragment = prop_oneof![
        6 => prop::sample::select(vec![" ", "  ", "\t", "\n", "\r\n", "\r", "\n\n", "\u{b}", "\u{c}"]),
        2 => prop::sample::select(vec!["\u{85}", "\u{a0}", "\u{2003}", "\u{2028}", "\u{3000}"]),
        // Look like blanks, are not.
        1 => prop::sample::select(vec!["\u{200b}", "\u{feff}", "\u{180e}", "\u{1c}", "\u{1f}"]),
        4 => prop::sample::select(vec!["'", "''", "'s", "'S", "'ſ", "'ll", "'lL", "'l", "'ve", "'v",
            "'Re", "'r", "'d", "'M", "'t", "'k", "'K"]),
        3 => prop::sample::select(vec!["a", "Z", "word", "é", "ſ", "ß", "Ω", "Ж", "ה", "字", "ᄒ", "ª", "𝒳"]),
        3 => prop::sample::select(vec!["0", "12", "345", "½", "²", "Ⅷ", "१", "٣", "𝟘"]),
        2 => prop::sample::select(vec!["\u{301}", "\u{200d}", "\u{fe0f}", "😀", "_", "\0", "\u{7f}"]),
        4 => prop::sample::select(vec!["::", "->", "(", ");", "{\n", "}", "//", "/* ", " */", "#include <",
            "\"", "0x1F", "std", " operator", "&&", "\\n", "R\"(", "m_x", "i++"]),
    ];
    let any = any::<char>().prop_map(|character| character.to_string());
    prop::collection::vec(prop_oneof![9 => fragment.prop_map(String::from), 1 => any], 0..24)
        .prop_map(|fragments| fragments.concat())
}

fn regex_pieces<'a>(regex: &Regex, text: &'a str) -> Vec<&'a str> {
    regex.find_iter(text).map(|found| found.unwrap().as_str()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn equals_the_pattern(text in text()) {
        thread_local!(static REGEX: Regex = Regex::new(PATTERN).unwrap());
        let expected = REGEX.with(|regex| regex_pieces(regex, &text));
        let found: Vec<&str> =
            pieces(text.as_bytes()).map(|piece| std::str::from_utf8(piece).unwrap()).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_byte_is_lost(parts in prop::collection::vec(
        (text(), prop::collection::vec(any::<u8>(), 0..4)), 0..6))
    {
        let bytes: Vec<u8> =
            parts.into_iter().flat_map(|(text, raw)| [text.into_bytes(), raw].concat()).collect();
        let found: Vec<&[u8]> = pieces(&bytes).collect();
        prop_assert_eq!(found.concat(), bytes.as_slice());
        prop_assert!(found.iter().all(|piece| !piece.is_empty()));
    }

    #[test]
    fn valid_stretches_are_split_on_their_own(
        parts in prop::collection::vec(text().prop_filter("stretch", |text| !text.is_empty()), 1..5),
    ) {
        let invalid = b"\xff\xfe".as_slice();
        let texts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
        let joined = texts.join(invalid);
        let mut expected: Vec<&[u8]> = Vec::new();
        for text in texts {
            expected.extend(pieces(text));
            expected.push(invalid);
        }
        expected.pop();
        prop_assert_eq!(pieces(&joined).collect::<Vec<_>>(), expected);
    }
}

/// Every code point between characters of each class.
#[test]
fn equals_the_pattern_at_every_code_point() {
    let regex = Regex::new(PATTERN).unwrap();
    let mut text = String::new();
    for character in '\0'..=char::MAX {
        for neighbour in ["a", " ", "1", "."] {
            text.push_str(neighbour);
            text.push(character);
        }
        if text.len() > 4096 || character == char::MAX {
            let found: Vec<&[u8]> = pieces(text.as_bytes()).collect();
            let expected: Vec<&[u8]> =
                regex_pieces(&regex, &text).into_iter().map(str::as_bytes).collect();
            assert_eq!(found, expected, "up to U+{:04X}", u32::from(character));
            text.clear();
        }
    }
}

/// Where backtracking over a run at each of its positions would take quadratic time, the test would
/// not end.
#[test]
fn time_is_linear_on_long_runs() {
    const LEN: usize = 1 << 22;
    for unit in [" ", "\n", "\n ", "\t\u{a0}", "'", "a", "1", "(", "\u{301}"] {
        let text = unit.repeat(LEN / unit.len());
        assert_eq!(pieces(text.as_bytes()).map(<[u8]>::len).sum::<usize>(), text.len());
    }
    let invalid = [b"\xff".repeat(LEN), b"\xe2\x82".repeat(LEN / 2), b"a\xff".repeat(LEN / 2)];
    for bytes in invalid {
        assert_eq!(pieces(&bytes).map(<[u8]>::len).sum::<usize>(), bytes.len());
    }
}
