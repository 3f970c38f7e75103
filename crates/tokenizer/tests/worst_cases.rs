//! Megabytes of what would take quadratic time: training and encoding, of every kind. With a quadratic step one of these would run
//! for hours.

use kiln_tokenizer::{Error, Kind, Tokenizer};

const LEN: usize = 10_000_000;

/// Of what differs from the others in little.
const SHORTER: usize = 1_000_000;

/// Numbers that look like chance, the same every time.
fn noise() -> impl Iterator<Item = u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    std::iter::from_fn(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Some((state >> 32) as u8)
    })
}

fn texts() -> Vec<(&'static str, Vec<u8>)> {
    let long = ["a", " ", "\n", "("].map(|unit| (unit, LEN));
    let shorter = [
        "A", "aB", "\r\n", "\t", "_", "1", "0x", "\u{301}", "é", "\n    ", "\\", "//", "ab(", "((_",
    ]
    .map(|unit| (unit, SHORTER));
    let repeat = |(unit, len): (&'static str, usize)| {
        (unit, unit.as_bytes().iter().copied().cycle().take(len).collect())
    };
    let mut texts: Vec<_> = long.into_iter().chain(shorter).map(repeat).collect();
    texts.push(("any bytes", noise().take(LEN).collect()));
    let marks = |byte| b"(){}<>;:.,"[usize::from(byte % 10)];
    texts.push(("punctuation", noise().map(marks).take(SHORTER).collect()));
    texts.push(("letters", noise().map(|byte| b'a' + byte % 26).take(SHORTER).collect()));
    texts.push(("invalid bytes", noise().map(|byte| 0x80 | byte).take(SHORTER).collect()));
    texts
}

fn check(kind: Kind) {
    let least = match Tokenizer::train::<&str>(kind, &[], 0) {
        Err(Error::VocabTooSmall { minimum, .. }) => minimum,
        other => panic!("{other:?}"),
    };
    for (name, text) in texts() {
        let tokenizer = match Tokenizer::train(kind, &[&text], least + 300) {
            Err(Error::VocabTooLarge { available, .. }) => {
                Tokenizer::train(kind, &[&text], available)
            }
            other => other,
        };
        let tokenizer = tokenizer.unwrap_or_else(|error| panic!("{kind} {name}: {error}"));
        let ids = tokenizer.encode_ordinary(&text);
        assert!(tokenizer.decode(&ids).unwrap() == text, "{kind} {name}");
    }
}

#[test]
fn bpe_takes_linear_time() {
    check(Kind::Bpe);
}

#[test]
fn cpp_takes_linear_time() {
    check(Kind::Cpp);
}

#[test]
fn one_letter_for_ten_megabytes_is_a_few_tokens() {
    let text = vec![b'a'; LEN];
    let tokenizer = Tokenizer::train(Kind::Bpe, &[&text], 265 + 20).unwrap();
    assert_eq!(tokenizer.token_bytes()[256 + 19], 1 << 20);
    assert!(tokenizer.encode_ordinary(&text).len() < 40);
}
