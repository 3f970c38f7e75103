//! `tokenizer.json` in the format of Hugging Face's `tokenizers`.
//!
//! That library writes bytes as printable characters (GPT-2's byte alphabet). The file says: split
//! with the pattern, take bytes, merge, and keep special tokens apart; which is what Kiln does, so
//! both give the same ids.

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
    vocab: &'a [String],
    /// As pairs: in the older form `"left right"` readers skip a line that begins with `#version`.
    merges: Vec<[&'a str; 2]>,
}

fn vocab_by_id<S: Serializer>(tokens: &&[String], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(tokens.len()))?;
    for (id, token) in tokens.iter().enumerate() {
        map.serialize_entry(token, &id)?;
    }
    map.end()
}

impl Tokenizer {
    /// Writes the whole tokenizer as Hugging Face's `tokenizer.json`.
    ///
    /// # Errors
    /// What `writer` returns.
    pub fn write_hugging_face(&self, mut writer: impl Write) -> io::Result<()> {
        let merges = self.merges();
        let tokens: Vec<String> =
            (0..merges.len() as u32).map(|id| spell(merges.token(id))).collect();
        let file = FileOut {
            version: "1.0",
            truncation: Value::Null,
            padding: Value::Null,
            added_tokens: added_tokens(self.kind(), merges.len()),
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
                ignore_merges: false,
                vocab: &tokens,
                merges: merges
                    .pairs()
                    .iter()
                    .map(|(left, right)| [*left, *right].map(|id| tokens[id as usize].as_str()))
                    .collect(),
            },
        };
        serde_json::to_writer(&mut writer, &file)?;
        writer.write_all(b"\n")?;
        writer.flush()
    }
}

fn added_tokens(kind: Kind, first: usize) -> Vec<AddedToken<'static>> {
    let token = |(content, id): (&&'static str, u32)| AddedToken {
        id,
        content: Cow::Borrowed(*content),
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
    };
    kind.special_tokens().iter().zip(first as u32..).map(token).collect()
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
    check_model(&file)?;
    let tokens = tokens_by_id(&file.model.vocab)?;
    check_specials(&file.added_tokens, kind, tokens.len())?;
    let merges = read_merges(&file.model, &tokens)?;
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

fn check_model(file: &FileIn<'_>) -> Result<(), String> {
    let model = &file.model;
    if model.model != "BPE" {
        return Err(format!("`model.type` must be BPE, not {}", model.model));
    }
    let affixes = [&model.continuing_subword_prefix, &model.end_of_word_suffix];
    if model.dropout.is_some() || affixes.into_iter().flatten().any(|affix| !affix.is_empty()) {
        return Err("`model` must be without dropout, subword prefix and word suffix".into());
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
    let tokens: Vec<&str> = tokens.into_iter().flatten().collect();
    for (byte, character) in ALPHABET.iter().enumerate() {
        let expected = character.to_string();
        if tokens.get(byte).is_none_or(|token| *token != expected) {
            return Err(format!("id {byte} must be the byte {byte}, spelled `{expected}`"));
        }
    }
    Ok(tokens)
}

fn check_specials(found: &[AddedToken<'_>], kind: Kind, first: usize) -> Result<(), String> {
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

fn read_merges(model: &ModelIn<'_>, tokens: &[&str]) -> Result<Merges, String> {
    let expected = tokens.len() - BYTES;
    if model.merges.len() != expected {
        return Err(format!(
            "{} merges for {} tokens: {BYTES} bytes leave {expected}",
            model.merges.len(),
            tokens.len()
        ));
    }
    let mut pairs = Vec::with_capacity(expected);
    for (index, merge) in model.merges.iter().enumerate() {
        let pair = read_merge(merge, &model.vocab, tokens, BYTES + index)
            .map_err(|reason| format!("merge {index}: {reason}"))?;
        pairs.push(pair);
    }
    Merges::new(pairs).checked().map_err(|id| {
        format!("token `{}` (id {id}) never comes out of the merges", tokens[id as usize])
    })
}

/// The pair of the merge that makes token `id`.
fn read_merge(
    merge: &MergeIn<'_>,
    vocab: &FxHashMap<Cow<'_, str>, u32>,
    tokens: &[&str],
    id: usize,
) -> Result<(u32, u32), String> {
    let (left, right) = match merge {
        MergeIn::Pair([left, right]) => (left.as_ref(), right.as_ref()),
        MergeIn::Line(line) => {
            line.split_once(' ').ok_or_else(|| format!("`{line}` is not two tokens"))?
        }
    };
    let part = |token: &str| match vocab.get(token) {
        Some(part) if (*part as usize) < id => Ok(*part),
        Some(part) => Err(format!("`{token}` (id {part}) only exists after this merge")),
        None => Err(format!("unknown token `{token}`")),
    };
    let pair = (part(left)?, part(right)?);
    // Also bounds the table by the size of the file.
    if tokens[id].strip_prefix(left) != Some(right) {
        return Err(format!("`{left}` and `{right}` do not make token {id}, `{}`", tokens[id]));
    }
    Ok(pair)
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
