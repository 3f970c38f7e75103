//! The pre-tokenizer of `cpp` as a pattern for regex engines with possessive quantifiers and lookahead.

use std::sync::LazyLock;

use crate::cpp::lexicon::whole_names;
use crate::cpp::words::KEYWORDS;

/// The split pattern, as it stands in `tokenizer.json`. [`crate::cpp::CppSplitter`] tells what it does.
pub(crate) static PATTERN: LazyLock<String> = LazyLock::new(|| {
    const END: &str = r"(?![\p{L}\p{N}_])";
    let keyword = format!("(?:{}){END}", KEYWORDS.join("|"));
    let name = format!("(?:{}){END}", whole_names().collect::<Vec<_>>().join("|"));
    let mark = r"[^\s\p{L}\p{N}_]";
    let small = r"[\p{Ll}\p{Lm}\p{Lo}\p{Lt}]";
    let part = format!(r"_*+(?:\p{{Lu}}?{small}++|\p{{Lu}}+(?!{small}))");
    let word_ahead = format!(r" ?{mark}{{0,2}}(?!{keyword})_*+\p{{L}}");
    [
        format!(" ?{keyword}"),
        format!("(?: ?{mark}{{1,2}}| )?(?!{keyword})(?:{name}|{part})"),
        r" ?0[xX][0-9A-Fa-f]{1,4}".into(),
        r" ?\p{N}{1,3}".into(),
        format!(r"(?:(?!{word_ahead}) ?[^\s\p{{L}}\p{{N}}]|[ \t]*+(?:\r\n?|\n)[ \t]*+)++"),
        r"[^\S\r\n]+(?= \S)".into(),
        r"[^\S\r\n]+".into(),
    ]
    .join("|")
});
