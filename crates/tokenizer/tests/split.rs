//! The hand-written splitters equal the split patterns in a regex engine.

use fancy_regex::Regex;
use kiln_tokenizer::{Kind, pieces};
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
        4 => prop::sample::select(vec!["int", "return", "static_cast", "size_t", "push_back", "uint64_t", "integer",
            "fooBar", "HTTPServer", "ABc", "kMax", "X", "__x", "_t", "___", "_1", "0X", "0xfffff", "\n    ", "\n\t\t",
            "\r\n  ", ";\n", "#include", "//", "(*", "](((", "->", "memory_order_relaxed", "É", "ǅ", "ʰ"]),
    ];
    let any = any::<char>().prop_map(|character| character.to_string());
    prop::collection::vec(prop_oneof![9 => fragment.prop_map(String::from), 1 => any], 0..24)
        .prop_map(|fragments| fragments.concat())
}

fn regex_pieces<'a>(regex: &Regex, text: &'a str) -> Vec<&'a str> {
    regex.find_iter(text).map(|found| found.unwrap().as_str()).collect()
}

fn regex(kind: Kind) -> Regex {
    Regex::new(kind.pattern()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn equals_the_pattern(text in text()) {
        thread_local!(static REGEXES: [Regex; 2] = Kind::ALL.map(regex));
        for (kind, at) in Kind::ALL.into_iter().zip(0..) {
            let expected = REGEXES.with(|regexes| regex_pieces(&regexes[at], &text));
            let found: Vec<&str> = pieces(kind, text.as_bytes())
                .map(|piece| std::str::from_utf8(piece).unwrap())
                .collect();
            prop_assert_eq!(found, expected, "{}", kind);
        }
    }

    #[test]
    fn no_byte_is_lost(parts in prop::collection::vec(
        (text(), prop::collection::vec(any::<u8>(), 0..4)), 0..6))
    {
        let bytes: Vec<u8> =
            parts.into_iter().flat_map(|(text, raw)| [text.into_bytes(), raw].concat()).collect();
        for kind in Kind::ALL {
            let found: Vec<&[u8]> = pieces(kind, &bytes).collect();
            prop_assert_eq!(found.concat(), bytes.as_slice());
            prop_assert!(found.iter().all(|piece| !piece.is_empty()));
        }
    }

    #[test]
    fn valid_stretches_are_split_on_their_own(
        parts in prop::collection::vec(text().prop_filter("stretch", |text| !text.is_empty()), 1..5),
    ) {
        let invalid = b"\xff\xfe".as_slice();
        let texts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
        let joined = texts.join(invalid);
        for kind in Kind::ALL {
            let mut expected: Vec<&[u8]> = Vec::new();
            for text in &texts {
                expected.extend(pieces(kind, text));
                expected.push(invalid);
            }
            expected.pop();
            prop_assert_eq!(pieces(kind, &joined).collect::<Vec<_>>(), expected);
        }
    }
}

/// Every code point of the scripts in common use, and a sample of the others, between characters of each class. (The
/// class tables are checked at every code point where they are made.)
#[test]
fn equals_the_pattern_at_code_points_of_every_block() {
    for kind in Kind::ALL {
        let regex = regex(kind);
        let mut text = String::new();
        let others = ('\u{3000}'..=char::MAX).step_by(61);
        for character in ('\0'..'\u{3000}').chain(others).chain([char::MAX]) {
            for neighbour in ["a", " ", "1", ".", "B", "_", "\n"] {
                text.push_str(neighbour);
                text.push(character);
            }
            if text.len() > 4096 || character == char::MAX {
                let found: Vec<&[u8]> = pieces(kind, text.as_bytes()).collect();
                let expected: Vec<&[u8]> =
                    regex_pieces(&regex, &text).into_iter().map(str::as_bytes).collect();
                assert_eq!(found, expected, "{kind} up to U+{:04X}", u32::from(character));
                text.clear();
            }
        }
    }
}

/// Where backtracking over a run at each of its positions would take quadratic time, the test would
/// not end.
#[test]
fn time_is_linear_on_long_runs() {
    const LEN: usize = 1 << 22;
    let units = [
        " ", "\n", "\r", "\n ", "\t", "\t\u{a0}", "'", "a", "A", "Aa", "1", "0x", "(", "( ",
        "\u{301}", "_", "_ ", "(_", "__(", " \t",
    ];
    for kind in Kind::ALL {
        for unit in units {
            let text = unit.repeat(LEN / unit.len());
            let lengths = pieces(kind, text.as_bytes()).map(<[u8]>::len);
            assert_eq!(lengths.sum::<usize>(), text.len());
        }
        let invalid = [b"\xff".repeat(LEN), b"\xe2\x82".repeat(LEN / 2), b"a\xff".repeat(LEN / 2)];
        for bytes in invalid {
            assert_eq!(pieces(kind, &bytes).map(<[u8]>::len).sum::<usize>(), bytes.len());
        }
    }
}
