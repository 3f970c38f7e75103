//! The kind `cpp`: what its vocabulary fixes, how text is cut, and encoding against the plainest program that does the same.

use std::collections::HashMap;

use kiln_tokenizer::{Error, KEYWORDS, Kind, PieceCounts, Tokenizer, Utf8Stream, pieces};
use proptest::prelude::*;

const SPECIALS: [&str; 20] = [
    "<PAD>",
    "<UNK>",
    "<BOS>",
    "<EOS>",
    "<FIM_PREFIX>",
    "<FIM_MIDDLE>",
    "<FIM_SUFFIX>",
    "<CODE_START>",
    "<CODE_END>",
    "<THOUGHT_START>",
    "<THOUGHT_END>",
    "<QUERY_TOOL>",
    "<INDEX>",
    "<DEBUG_CONTEXT>",
    "<FILE_SEP>",
    "<DIFF_START>",
    "<DIFF_END>",
    "<COMMENT_START>",
    "<COMMENT_END>",
    "<TOOL_RESULT>",
];

/// A vocabulary in which nothing is learned.
fn smallest() -> Tokenizer {
    match Tokenizer::train::<&str>(Kind::Cpp, &[], 0) {
        Err(Error::VocabTooSmall { minimum, .. }) => {
            Tokenizer::train::<&str>(Kind::Cpp, &[], minimum).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

/// As many tokens as the documents give, at most `learned`.
fn trained(documents: &[Vec<u8>], learned: usize) -> Tokenizer {
    let wanted = smallest().vocab_size() + learned;
    match Tokenizer::train(Kind::Cpp, documents, wanted) {
        Ok(tokenizer) => tokenizer,
        Err(Error::VocabTooLarge { available, fixed, merges, specials, .. }) => {
            assert_eq!(available, 256 + fixed + merges + specials);
            Tokenizer::train(Kind::Cpp, documents, available).unwrap()
        }
        Err(error) => panic!("{error}"),
    }
}

/// The tokens of a text, each as text.
fn cut(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
    let ids = tokenizer.encode_ordinary(text.as_bytes());
    ids.iter().map(|id| String::from_utf8_lossy(tokenizer.token(*id).unwrap()).into()).collect()
}

fn split(text: &str) -> Vec<&str> {
    pieces(Kind::Cpp, text.as_bytes()).map(|piece| std::str::from_utf8(piece).unwrap()).collect()
}

const SOURCE: &str = "#include <vector>\n\nnamespace demo {\n\n// Adds all of them, one by one.\nint AddAll(const \
    std::vector<int>& values) {\n    int result = 0;\n    for (const auto& value : values) {\n        result += \
    value;\n    }\n    return result;\n}\n\n}  // namespace demo\n";

fn small() -> Tokenizer {
    trained(&[SOURCE.repeat(3).into_bytes()], 300)
}

#[test]
fn special_tokens_bytes_and_fixed_tokens_have_the_first_ids() {
    for tokenizer in [smallest(), small()] {
        for (id, name) in (0..).zip(SPECIALS) {
            assert_eq!(tokenizer.special(name), Some(id));
            assert_eq!(tokenizer.token(id), Some(name.as_bytes()));
            assert_eq!(tokenizer.token_bytes()[id as usize], 0);
            assert!(tokenizer.is_special(id));
        }
        assert_eq!((tokenizer.bos_id(), tokenizer.eos_id()), (2, Some(3)));
        assert_eq!(tokenizer.specials().count(), 20);
        for byte in 0..=u8::MAX {
            assert_eq!(tokenizer.token(20 + u32::from(byte)), Some([byte].as_slice()));
        }
        assert!(!tokenizer.is_special(20));
        assert_eq!(tokenizer.token(276), Some(b"\n ".as_slice()));
        assert_eq!(tokenizer.token(tokenizer.vocab_size() as u32), None);
        let ids = 20..tokenizer.vocab_size() as u32;
        assert!(ids.into_iter().all(|id| {
            tokenizer.token(id).unwrap().len() == tokenizer.token_bytes()[id as usize] as usize
        }));
    }
    // The fixed part is the same in both, byte for byte.
    let (smallest, small) = (smallest(), small());
    assert!(small.vocab_size() > smallest.vocab_size());
    let ids = 0..smallest.vocab_size() as u32;
    assert!(ids.into_iter().all(|id| smallest.token(id) == small.token(id)));
}

/// The ids of fixed tokens are part of what trained models mean: tokens may only be appended, in a new version.
#[test]
fn the_fixed_vocabulary_is_what_it_was() {
    let tokenizer = smallest();
    assert_eq!(tokenizer.vocab_size(), FIXED_VOCABULARY.0);
    assert_eq!(tokenizer.fingerprint(), FIXED_VOCABULARY.1);
}

const FIXED_VOCABULARY: (usize, &str) = (3257, "176ea76437246b4a587043e4c2369d20");

#[test]
fn every_keyword_is_one_token_wherever_it_stands_as_a_word() {
    for tokenizer in [smallest(), small()] {
        for keyword in KEYWORDS {
            for text in ["", " ", "(", "\n    ", "foo ", "::", "<", "= ", "//", "})"] {
                for behind in ["", " ", ";", "(x)", "\n", ">::"] {
                    let tokens = cut(&tokenizer, &format!("{text}{keyword}{behind}"));
                    let found = tokens.iter().any(|token| token.trim_start() == *keyword);
                    assert!(found, "{text}{keyword}{behind}: {tokens:?}");
                }
            }
        }
        // As parts of words they are not forced.
        assert_eq!(
            split("integer printf newline ifdef"),
            ["integer", " printf", " newline", " ifdef"]
        );
        assert_eq!(split("inté int_ int9"), ["inté", " int", "_", " int", "9"]);
    }
}

#[test]
fn indentation_is_one_token() {
    for tokenizer in [smallest(), small()] {
        for columns in 1..=16 {
            for indentation in [" ".repeat(columns), "\t".repeat(columns)] {
                let one = |text: &str, token: &str| {
                    let tokens = cut(&tokenizer, text);
                    assert!(
                        tokens.iter().any(|found| found.ends_with(token)),
                        "{text:?}: {tokens:?}"
                    );
                };
                for before in ["", "x", "x;", ") {", "*/", "x;\n", "});\n\n"] {
                    for newline in ["\n", "\r\n"] {
                        one(
                            &format!("{before}{newline}{indentation}foo"),
                            &format!("\n{indentation}"),
                        );
                    }
                }
                assert_eq!(cut(&tokenizer, &format!("\n{indentation}")).len(), 1);
                assert_eq!(cut(&tokenizer, &format!("\r\n{indentation}")).len(), 1);
                assert_eq!(cut(&tokenizer, &indentation).len(), 1);
            }
        }
        for (tabs, blanks) in [(1, 1), (1, 4), (2, 7), (4, 7)] {
            let indentation = format!("\n{}{}", "\t".repeat(tabs), " ".repeat(blanks));
            assert_eq!(cut(&tokenizer, &indentation).len(), 1);
        }
    }
}

#[test]
fn numbers_operators_and_names_are_one_token() {
    let tokenizer = smallest();
    let numbers = (0..1000).map(|number| number.to_string());
    let others = [
        "007",
        " 42",
        "::",
        " ->",
        "<=>",
        "#include",
        " size_t",
        "uint64_t",
        "::string",
        "push_back",
    ];
    for text in numbers.chain(others.map(str::to_owned)) {
        assert_eq!(cut(&tokenizer, &text), [text.as_str()]);
    }
}

#[test]
fn text_is_cut_where_a_lexer_would_and_identifiers_at_their_parts() {
    let cases: [(&str, &[&str]); 13] = [
        ("int main() {", &["int", " main", "() {"]),
        ("fooBar HTTPServer kMax ABc", &["foo", "Bar", " HTTP", "Server", " k", "Max", " A", "Bc"]),
        ("snake_case __attribute__", &["snake", "_case", " __attribute", "__"]),
        ("x->foo.bar::baz", &["x", "->foo", ".bar", "::baz"]),
        ("f((int)x, (a))", &["f", "((", "int", ")x", ",", " (a", "))"]),
        ("std::uint64_t my_size_t2", &["std", "::uint64_t", " my", "_size", "_t", "2"]),
        ("a = 12345 + 0xDEADBEEF;", &["a", " =", " 123", "45", " +", " 0xDEAD", "BEEF", ";"]),
        ("{\n    x();\n\n}\n", &["{\n    ", "x", "();\n\n}\n"]),
        ("a  \n\tb", &["a", "  \n\t", "b"]),
        ("a    b\t\tc", &["a", "   ", " b", "\t\t", "c"]),
        ("// one two\n// three", &["//", " one", " two", "\n//", " three"]),
        ("größe Ärger 世界", &["größe", " Ärger", " 世界"]),
        ("x \u{a0} y", &["x", " \u{a0}", " y"]),
    ];
    for (text, expected) in cases {
        assert_eq!(split(text), expected);
    }
}

#[test]
fn names_of_special_tokens_are_text_unless_asked_for() {
    let tokenizer = small();
    for name in SPECIALS {
        let ids = tokenizer.encode_ordinary(name.as_bytes());
        assert!(ids.iter().all(|id| !tokenizer.is_special(*id)), "{name}");
        let id = tokenizer.special(name).unwrap();
        assert_eq!(tokenizer.encode_with_special(name.as_bytes()), [id]);
    }
    let text = b"<FIM_PREFIX>int<FIM_SUFFIX>;<FIM_MIDDLE>";
    let ids = tokenizer.encode_with_special(text);
    assert_eq!((ids[0], ids[2], ids[4]), (4, 6, 5));
    assert_eq!(tokenizer.decode(&ids).unwrap(), text);
}

#[test]
fn vocabularies_have_the_size_asked_for_or_say_what_is_possible() {
    let minimum = smallest().vocab_size();
    let error = Tokenizer::train(Kind::Cpp, &[SOURCE], minimum - 1).unwrap_err();
    assert!(matches!(error, Error::VocabTooSmall { minimum: found, .. } if found == minimum));
    for learned in [0, 1, 17, 50] {
        let tokenizer = Tokenizer::train(Kind::Cpp, &[SOURCE], minimum + learned).unwrap();
        assert_eq!(tokenizer.vocab_size(), minimum + learned);
    }
    let error = Tokenizer::train(Kind::Cpp, &[SOURCE], 30_000).unwrap_err();
    assert!(matches!(error, Error::VocabTooLarge { requested: 30_000, .. }), "{error}");
}

/// As Hugging Face: a piece that is in the vocabulary is that token; else the merges in their order, the first of them that
/// any adjacent pair has, leftmost first.
fn naive_encode(tokenizer: &Tokenizer, text: &[u8]) -> Vec<u32> {
    let mut json = Vec::new();
    tokenizer.write_hugging_face(&mut json).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["model"]["ignore_merges"], true);
    let vocab = json["model"]["vocab"].as_object().unwrap();
    let spelled: HashMap<u8, &str> = (0..=u8::MAX)
        .map(|byte| {
            let id = u64::from(byte) + 20;
            (byte, vocab.iter().find(|(_, found)| found.as_u64() == Some(id)).unwrap().0.as_str())
        })
        .collect();
    let merges: HashMap<(&str, &str), usize> = json["model"]["merges"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
        .map(|(rank, pair)| ((pair[0].as_str().unwrap(), pair[1].as_str().unwrap()), rank))
        .collect();
    let mut ids = Vec::new();
    for piece in pieces(Kind::Cpp, text) {
        let mut parts: Vec<String> = piece.iter().map(|byte| spelled[byte].to_owned()).collect();
        if vocab.contains_key(&parts.concat()) {
            parts = vec![parts.concat()];
        }
        while let Some((_, at)) = (1..parts.len())
            .filter_map(|at| Some((*merges.get(&(&parts[at - 1], &parts[at]))?, at)))
            .min()
        {
            let right = parts.remove(at);
            parts[at - 1] += &right;
        }
        ids.extend(parts.iter().map(|part| vocab[part].as_u64().unwrap() as u32));
    }
    ids
}

/// Few words in many forms: ties, and fixed tokens inside longer pieces.
fn code() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop::sample::select(vec![
        "int",
        "return",
        " ret",
        "returnValue",
        "size_t",
        "_size",
        "12",
        " 345",
        "67890",
        "0xAB",
        "push_back",
        "ab",
        "abab",
        "aB",
        "ABC",
        " ",
        "  ",
        "\n",
        "\n    ",
        "\n\t",
        "\r\n  ",
        ";\n",
        "();",
        ") {",
        "{",
        "::",
        "->",
        ".",
        "(*",
        "//",
        "\"",
        "string",
        "é",
        "_",
        "__",
        "= ",
        "std",
        "#include",
        "<",
        ">",
        "\n                    ",
    ]);
    let raw = prop::collection::vec(any::<u8>(), 1..4);
    let part = prop_oneof![12 => fragment.prop_map(|text| text.as_bytes().to_vec()), 1 => raw];
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn ids_equal_the_plain_encoder(
        documents in prop::collection::vec(code(), 1..5),
        others in prop::collection::vec(code(), 1..4),
        learned in 0..150usize,
    ) {
        let tokenizer = trained(&documents, learned);
        let joined = documents.iter().chain(&others).flatten().copied().collect::<Vec<u8>>();
        let ids = tokenizer.encode_ordinary(&joined);
        prop_assert_eq!(&ids, &naive_encode(&tokenizer, &joined));
        // Again, now that the cache knows the pieces.
        prop_assert_eq!(&ids, &tokenizer.encode_ordinary(&joined));
        let serial: Vec<Vec<u32>> = others.iter().map(|text| tokenizer.encode_ordinary(text)).collect();
        prop_assert_eq!(tokenizer.encode_documents(&others), serial);
    }
}

proptest! {
    #[test]
    fn every_byte_string_comes_back(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0x20..0x7fu8], 0..300),
        code in code(),
    ) {
        thread_local!(static TOKENIZER: Tokenizer = small());
        TOKENIZER.with(|tokenizer| {
            for text in [&bytes, &code] {
                let ids = tokenizer.encode_ordinary(text);
                prop_assert!(ids.iter().all(|id| !tokenizer.is_special(*id)));
                prop_assert_eq!(&tokenizer.decode(&ids).unwrap(), text);
                let special = tokenizer.encode_with_special(text);
                prop_assert_eq!(&tokenizer.decode(&special).unwrap(), text);
                let mut stream = Utf8Stream::new(tokenizer);
                let mut streamed: String =
                    ids.iter().map(|id| stream.push(*id).unwrap()).collect();
                streamed += &stream.finish();
                prop_assert_eq!(streamed, String::from_utf8_lossy(text));
            }
            Ok(())
        })?;
    }
}

#[test]
fn a_long_document_is_encoded_in_parts_as_in_one() {
    let tokenizer = small();
    let one_line = SOURCE.replace('\n', " ").repeat(3000);
    let lines = SOURCE.repeat(3000);
    let documents = [one_line.as_bytes(), b"x", lines.as_bytes(), b""];
    let serial: Vec<Vec<u32>> =
        documents.iter().map(|text| tokenizer.encode_ordinary(text)).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    assert!(pool.install(|| tokenizer.encode_documents(&documents)) == serial);
    let mut counts = PieceCounts::new(Kind::Cpp);
    pool.install(|| counts.add_documents(&documents));
    let whole = Tokenizer::train(Kind::Cpp, &documents, smallest().vocab_size() + 50).unwrap();
    let parts = Tokenizer::train_from_counts(&counts, whole.vocab_size()).unwrap();
    assert_eq!(parts.fingerprint(), whole.fingerprint());
}
