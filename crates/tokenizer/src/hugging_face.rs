//! `tokenizer.json` in the format of Hugging Face's `tokenizers`.
//!
//! That library writes bytes as printable characters (GPT-2's byte alphabet). The file says: split
//! with the pattern, take bytes, merge, and keep special tokens apart; which is what Kiln does, so
//! both give the same ids. Kind `cpp` has two marks of its own: `ignore_merges`, which makes a piece that is in
//! the vocabulary one token, also where no merge makes it; and special tokens in the vocabulary, because that
//! library gives those that are not the ids behind it.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::LazyLock;

use rustc_hash::FxHashMap;
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::kind::Kind;
use crate::merges::{BYTES, Merges};
use crate::tokenizer::Tokenizer;

/// The character of each byte: itself where it is printable Latin-1, else the next one from U+0100.
static ALPHABET: LazyLock<[char; BYTES]> = LazyLock::new(|| {
    let mut shifted = 0x100..;
    std::array::from_fn(|byte| {
        let printable = matches!(byte as u8, b'!'..=b'~' | 0xa1..=0xac | 0xae..);
        let code_point = if printable { byte as u32 } else { shifted.next().unwrap_or(0) };
        char::from_u32(code_point).unwrap_or(char::REPLACEMENT_CHARACTER)
    })
});

fn spell(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| ALPHABET[usize::from(*byte)]).collect()
}

#[derive(Serialize)]
struct FileOut<'a> {
    version: &'static str,
    truncation: Value,
    padding: Value,
    added_tokens: Vec<AddedToken<'a>>,
    normalizer: Value,
    pre_tokenizer: Value,
    post_processor: Value,
    decoder: Value,
    model: ModelOut<'a>,
}

#[derive(Serialize, Deserialize)]
struct AddedToken<'a> {
    id: u32,
    content: Cow<'a, str>,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: bool,
    special: bool,
}

#[derive(Serialize)]
struct ModelOut<'a> {
    #[serde(rename = "type")]
    model: &'static str,
    dropout: Value,
    unk_token: Value,
    continuing_subword_prefix: Value,
    end_of_word_suffix: Value,
    fuse_unk: bool,
    byte_fallback: bool,
    ignore_merges: bool,
    #[serde(serialize_with = "vocab_by_id")]
    vocab: &'a [(String, u32)],
    /// As pairs: in the older form `"left right"` readers skip a line that begins with `#version`.
    merges: Vec<[&'a str; 2]>,
}

fn vocab_by_id<S: Serializer>(tokens: &&[(String, u32)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(tokens.len()))?;
    for (token, id) in *tokens {
        map.serialize_entry(token, id)?;
    }
    map.end()
}

/// Whether a piece that is a token is that token without a look at the merges. With `bpe` it makes no difference.
fn ignore_merges(kind: Kind) -> bool {
    !kind.fixed().tokens().is_empty()
}

impl Tokenizer {
    /// Writes the whole tokenizer as Hugging Face's `tokenizer.json`.
    ///
    /// # Errors
    /// What `writer` returns.
    pub fn write_hugging_face(&self, mut writer: impl Write) -> io::Result<()> {
        let vocabulary = self.vocabulary();
        let merges = vocabulary.merges();
        let merged: Vec<String> =
            (0..merges.len() as u32).map(|token| spell(merges.token(token))).collect();
        let tokens: Vec<(String, u32)> = (0..vocabulary.len() as u32)
            .filter(|id| self.kind().specials_first() || !vocabulary.is_special(*id))
            .filter_map(|id| Some((spell(vocabulary.token(id)?), id)))
            .collect();
        let file = FileOut {
            version: "1.0",
            truncation: Value::Null,
            padding: Value::Null,
            added_tokens: added_tokens(self.kind(), vocabulary.first_special()),
            normalizer: Value::Null,
            pre_tokenizer: pre_tokenizer(self.kind()),
            post_processor: Value::Null,
            decoder: json!({
                "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false
            }),
            model: ModelOut {
                model: "BPE",
                dropout: Value::Null,
                unk_token: Value::Null,
                continuing_subword_prefix: Value::Null,
                end_of_word_suffix: Value::Null,
                fuse_unk: false,
                byte_fallback: false,
                ignore_merges: ignore_merges(self.kind()),
                vocab: &tokens,
                merges: merges
                    .pairs()
                    .iter()
                    .map(|(left, right)| {
                        [*left, *right].map(|token| merged[token as usize].as_str())
                    })
                    .collect(),
            },
        };
        serde_json::to_writer(&mut writer, &file)?;
        writer.write_all(b"\n")?;
        writer.flush()
    }
}

fn added_tokens(kind: Kind, first: u32) -> Vec<AddedToken<'static>> {
    let token = |(content, id): (&&'static str, u32)| AddedToken {
        id,
        content: Cow::Borrowed(*content),
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
    };
    kind.special_tokens().iter().zip(first..).map(token).collect()
}

fn pre_tokenizer(kind: Kind) -> Value {
    json!({
        "type": "Sequence",
        "pretokenizers": [
            {
                "type": "Split",
                "pattern": {"Regex": kind.pattern()},
                "behavior": "Isolated",
                "invert": false
            },
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}
        ]
    })
}

#[derive(Deserialize)]
struct FileIn<'a> {
    #[serde(borrow)]
    added_tokens: Vec<AddedToken<'a>>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    #[serde(borrow)]
    model: ModelIn<'a>,
}

#[derive(Deserialize)]
struct ModelIn<'a> {
    #[serde(rename = "type")]
    model: String,
    dropout: Option<f64>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    ignore_merges: bool,
    #[serde(borrow)]
    vocab: FxHashMap<Cow<'a, str>, u32>,
    #[serde(borrow)]
    merges: Vec<MergeIn<'a>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum MergeIn<'a> {
    #[serde(borrow)]
    Pair([Cow<'a, str>; 2]),
    Line(String),
}

/// Why a `tokenizer.json` was not accepted.
#[derive(Debug)]
pub(crate) enum ReadError {
    Json(serde_json::Error),
    Format(String),
}

impl From<serde_json::Error> for ReadError {
    fn from(error: serde_json::Error) -> ReadError {
        ReadError::Json(error)
    }
}

impl From<String> for ReadError {
    fn from(reason: String) -> ReadError {
        ReadError::Format(reason)
    }
}

/// Reads a `tokenizer.json` and checks everything that ids depend on.
pub(crate) fn read(text: &str) -> Result<Tokenizer, ReadError> {
    let file: FileIn<'_> = serde_json::from_str(text)?;
    let kind = kind_of(&file)?;
    check_model(&file, kind)?;
    let tokens = tokens_by_id(&file.model.vocab)?;
    check_first_tokens(&tokens, kind)?;
    let first_special = if kind.specials_first() { 0 } else { tokens.len() as u32 };
    check_specials(&file.added_tokens, kind, first_special)?;
    let merges = read_merges(&file.model, kind, &tokens)?;
    Ok(Tokenizer::from_merges(kind, merges))
}

/// The kind whose pre-tokenizer this is; unknown keys do not matter.
fn kind_of(file: &FileIn<'_>) -> Result<Kind, String> {
    if file.normalizer.is_some() {
        return Err("`normalizer` must be null".into());
    }
    let found = file.pre_tokenizer.as_ref().unwrap_or(&Value::Null);
    Kind::ALL
        .into_iter()
        .find(|kind| contains(found, &pre_tokenizer(*kind)))
        .ok_or_else(|| "`pre_tokenizer` is not that of a Kiln tokenizer".into())
}

/// Whether `found` has everything that `expected` has, except offsets, which ids do not depend on.
fn contains(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => expected
            .iter()
            .filter(|(key, _)| *key != "trim_offsets")
            .all(|(key, expected)| found.get(key).is_some_and(|found| contains(found, expected))),
        (Value::Array(found), Value::Array(expected)) => {
            found.len() == expected.len()
                && found.iter().zip(expected).all(|(found, expected)| contains(found, expected))
        }
        _ => found == expected,
    }
}

fn check_model(file: &FileIn<'_>, kind: Kind) -> Result<(), String> {
    let model = &file.model;
    if model.model != "BPE" {
        return Err(format!("`model.type` must be BPE, not {}", model.model));
    }
    let affixes = [&model.continuing_subword_prefix, &model.end_of_word_suffix];
    if model.dropout.is_some() || affixes.into_iter().flatten().any(|affix| !affix.is_empty()) {
        return Err("`model` must be without dropout, subword prefix and word suffix".into());
    }
    if ignore_merges(kind) && !model.ignore_merges {
        return Err(format!("`model.ignore_merges` must be true with kind {kind}"));
    }
    Ok(())
}

/// The tokens in the order of their ids, which must be 0, 1, 2 and so on.
fn tokens_by_id<'a>(vocab: &'a FxHashMap<Cow<'a, str>, u32>) -> Result<Vec<&'a str>, String> {
    let mut tokens: Vec<Option<&str>> = vec![None; vocab.len()];
    for (token, id) in vocab {
        match tokens.get_mut(*id as usize) {
            Some(place @ None) => *place = Some(token),
            Some(Some(other)) => {
                return Err(format!("tokens `{other}` and `{token}` both have id {id}"));
            }
            None => {
                return Err(format!(
                    "token `{token}` has id {id}, but {} tokens have ids 0 to {}: ids are missing",
                    vocab.len(),
                    vocab.len() - 1
                ));
            }
        }
    }
    // As many distinct ids below the length as there are tokens: no place is left empty.
    Ok(tokens.into_iter().flatten().collect())
}

/// Special tokens that come first, the bytes and the fixed tokens must have the ids that the kind gives them.
fn check_first_tokens(tokens: &[&str], kind: Kind) -> Result<(), String> {
    let specials = if kind.specials_first() { kind.special_tokens() } else { &[] };
    let specials = specials.iter().map(|name| ("special token".to_owned(), spell(name.as_bytes())));
    let bytes = (0..=u8::MAX).map(|byte| (format!("byte {byte}, spelled"), spell(&[byte])));
    let fixed = kind.fixed().tokens().iter().map(|token| ("fixed token".to_owned(), spell(token)));
    for (id, (what, expected)) in specials.chain(bytes).chain(fixed).enumerate() {
        if tokens.get(id).is_none_or(|token| *token != expected) {
            return Err(format!("id {id} must be the {what} `{expected}`"));
        }
    }
    Ok(())
}

fn check_specials(found: &[AddedToken<'_>], kind: Kind, first: u32) -> Result<(), String> {
    let expected = added_tokens(kind, first);
    for (found, expected) in found.iter().zip(&expected) {
        if found.id != expected.id || found.content != expected.content {
            return Err(format!(
                "added token `{}` with id {}: expected `{}` with id {}",
                found.content, found.id, expected.content, expected.id
            ));
        }
    }
    if found.len() != expected.len() {
        return Err(format!("{} added tokens: expected {}", found.len(), expected.len()));
    }
    Ok(())
}

fn read_merges(model: &ModelIn<'_>, kind: Kind, tokens: &[&str]) -> Result<Merges, String> {
    let mut reader = MergeReader::new(&model.vocab, kind, tokens);
    for (index, merge) in model.merges.iter().enumerate() {
        reader.read(merge).map_err(|reason| format!("merge {index}: {reason}"))?;
    }
    let learned = tokens.len() - reader.first_learned;
    if reader.next_learned != tokens.len() {
        return Err(format!(
            "{} merges for {} tokens: {} bytes, fixed and special ones leave {learned} to make",
            model.merges.len(),
            tokens.len(),
            reader.first_learned,
        ));
    }
    if !reader.pairs.starts_with(&kind.base_merges()) {
        return Err(format!("the first merges are not those of kind {kind}"));
    }
    Merges::new(reader.pairs).checked().map_err(|token| {
        let id = reader.made[token as usize];
        format!("token `{}` (id {id}) never comes out of the merges", tokens[id as usize])
    })
}

/// Turns merges of spelled tokens into pairs, checking each.
struct MergeReader<'a> {
    vocab: &'a FxHashMap<Cow<'a, str>, u32>,
    tokens: &'a [&'a str],
    pairs: Vec<(u32, u32)>,
    /// The number that each id has among the tokens of [`Merges`], [`Self::NOT_YET`] before a merge makes it.
    numbers: Vec<u32>,
    /// The ids in the order of these numbers.
    made: Vec<u32>,
    first_learned: usize,
    /// The id that the next merge makes unless it makes a fixed token.
    next_learned: usize,
}

impl<'a> MergeReader<'a> {
    const NOT_YET: u32 = u32::MAX;

    fn new(
        vocab: &'a FxHashMap<Cow<'a, str>, u32>,
        kind: Kind,
        tokens: &'a [&'a str],
    ) -> MergeReader<'a> {
        let first_byte = if kind.specials_first() { kind.special_tokens().len() } else { 0 };
        let first_learned = first_byte + BYTES + kind.fixed().tokens().len();
        let made: Vec<u32> = (first_byte as u32..).take(BYTES).collect();
        let mut numbers = vec![Self::NOT_YET; tokens.len()];
        for (number, id) in made.iter().enumerate() {
            numbers[*id as usize] = number as u32;
        }
        let next_learned = first_learned;
        MergeReader { vocab, tokens, pairs: Vec::new(), numbers, made, first_learned, next_learned }
    }

    fn read(&mut self, merge: &MergeIn<'_>) -> Result<(), String> {
        let (left, right) = match merge {
            MergeIn::Pair([left, right]) => (left.as_ref(), right.as_ref()),
            MergeIn::Line(line) => {
                line.split_once(' ').ok_or_else(|| format!("`{line}` is not two tokens"))?
            }
        };
        let pair = (self.part(left)?, self.part(right)?);
        let id = self.made_by(left, right)?;
        self.numbers[id] = self.made.len() as u32;
        self.made.push(id as u32);
        self.pairs.push(pair);
        Ok(())
    }

    fn part(&self, token: &str) -> Result<u32, String> {
        let Some(id) = self.vocab.get(token) else {
            return Err(format!("unknown token `{token}`"));
        };
        match self.numbers[*id as usize] {
            Self::NOT_YET => Err(format!("`{token}` (id {id}) only exists after this merge")),
            number => Ok(number),
        }
    }

    /// The id of both together: a fixed token that no merge made before, or the next learned one. That also bounds
    /// the table by the size of the file.
    fn made_by(&mut self, left: &str, right: &str) -> Result<usize, String> {
        let next = self.next_learned;
        if self.tokens.get(next).is_some_and(|token| token.strip_prefix(left) == Some(right)) {
            self.next_learned += 1;
            return Ok(next);
        }
        let id = self.vocab.get(format!("{left}{right}").as_str()).map(|id| *id as usize);
        match id {
            Some(id) if id < self.first_learned && self.numbers[id] == Self::NOT_YET => Ok(id),
            _ => Err(match self.tokens.get(next) {
                Some(token) => {
                    format!("`{left}` and `{right}` do not make token {next}, `{token}`")
                }
                None => format!("`{left}` and `{right}` make no token that is left"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alphabet_is_one_to_one_and_printable() {
        let mut characters = ALPHABET.to_vec();
        characters.sort();
        characters.dedup();
        assert_eq!(characters.len(), BYTES);
        assert_eq!(spell(b" \n\x00a\xff\xad"), "ĠĊĀaÿŃ");
    }

    #[test]
    fn a_written_file_reads_back() {
        let text = "#version 3\n#versions and more versions #versions\n\"quoted\\\" \u{1}";
        let tokenizer = Tokenizer::train(Kind::Bpe, &[text], 285).unwrap();
        let mut json = Vec::new();
        tokenizer.write_hugging_face(&mut json).unwrap();
        let read = read(std::str::from_utf8(&json).unwrap()).unwrap();
        assert_eq!(read.merges().pairs(), tokenizer.merges().pairs());
        assert_eq!(read.fingerprint(), tokenizer.fingerprint());
    }
}
