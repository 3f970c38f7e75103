//! Texts that are too long, cut at the ends of lines.

use super::units::CountTokens;

/// `text` in pieces that, each after `head`, have at most `max` tokens. Lines stay whole unless one alone is too
/// long. A single character is taken even if it has more tokens, so there is always an end.
pub(crate) fn pieces<'a>(
    head: &str,
    text: &'a str,
    max: usize,
    count: CountTokens<'_>,
) -> Vec<&'a str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let piece = first_piece(head, rest, max, count);
        pieces.push(piece);
        rest = &rest[piece.len()..];
    }
    pieces
}

/// The first of these pieces; nothing of an empty text.
pub(crate) fn first_piece<'a>(
    head: &str,
    text: &'a str,
    max: usize,
    count: CountTokens<'_>,
) -> &'a str {
    &text[..longest_start(head, text, max, count)]
}

/// Bytes of a start of `text` that, after `head`, has at most `max` tokens.
fn longest_start(head: &str, text: &str, max: usize, count: CountTokens<'_>) -> usize {
    let mut joined = String::with_capacity(head.len() + text.len());
    joined.push_str(head);
    let mut tokens_of = |len: usize| {
        joined.truncate(head.len());
        joined.push_str(&text[..len]);
        count(&joined)
    };
    // A text of one token to the byte is the worst there is, but much longer ones need not be counted as a whole.
    let mut len = boundary(text, text.len().min(max.saturating_mul(16)));
    while len > 0 {
        let tokens = tokens_of(len);
        if tokens <= max {
            return len;
        }
        let guess = (len as u128 * max as u128 / tokens as u128) as usize;
        len = boundary(text, guess.min(len - len.div_ceil(32)));
    }
    text.chars().next().map_or(0, char::len_utf8)
}

/// The last end of a line up to `len`, or else the last place between two characters.
fn boundary(text: &str, len: usize) -> usize {
    if len >= text.len() {
        return text.len();
    }
    let len = text.floor_char_boundary(len);
    text[..len].rfind('\n').map_or(len, |newline| newline + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_stay_whole_and_nothing_is_lost() {
        let text = "one\ntwo\nthree\nfour\n";
        let found = pieces("", text, 8, &|text| text.len());
        assert_eq!(found, ["one\ntwo\n", "three\n", "four\n"]);
        let after = pieces("##\n", text, 8, &|text| text.len());
        assert_eq!(after.concat(), text);
        assert!(after.iter().all(|piece| piece.len() <= 5 || piece == &"three\n"), "{after:?}");
    }

    #[test]
    fn one_long_line_is_cut_between_characters() {
        let text = "ü".repeat(50);
        let found = pieces("", &text, 7, &|text| text.len());
        assert_eq!(found.concat(), text);
        assert!(found.iter().all(|piece| piece.len() <= 7));
        for too_little in [0, 1] {
            assert_eq!(pieces("", "üü", too_little, &|text| text.len()), ["ü", "ü"]);
        }
    }

    proptest! {
        #[test]
        fn pieces_fit_and_make_the_whole(text in "[a-z \n]{0,300}", max in 12usize..60) {
            let count = |text: &str| text.split_inclusive(' ').map(|w| w.len().div_ceil(3)).sum();
            let found = pieces("// head\n", &text, max, &count);
            prop_assert_eq!(found.concat(), text.clone());
            for piece in found {
                let document = format!("// head\n{piece}");
                prop_assert!(count(&document) <= max);
            }
        }
    }
}
