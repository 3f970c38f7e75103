//! Against rustbpe and tiktoken: the committed vocabulary and strings always; training and the ids
//! of a whole corpus where `KILN_CORPUS` and `KILN_REFERENCE` name their folders.

use std::fs;
use std::path::{Path, PathBuf};

use kiln_tokenizer::{Kind, Tokenizer};
use serde_json::Value;
use sha2::{Digest, Sha256};

const SUFFIXES: [&str; 9] = ["c", "cc", "cpp", "cxx", "h", "hh", "hpp", "hxx", "inc"];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn reference(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("bpe-reference.json")).unwrap()).unwrap()
}

fn hex(digest: impl IntoIterator<Item = u8>) -> String {
    digest.into_iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check_strings(tokenizer: &Tokenizer, reference: &Value, name: &str) {
    let strings = reference["strings"].as_array().unwrap();
    assert!(strings.len() > 30);
    for string in strings {
        let text = string["text"].as_str().unwrap().as_bytes();
        let expected: Vec<u32> = serde_json::from_value(string[name].clone()).unwrap();
        let ids = tokenizer.encode_ordinary(text);
        assert_eq!(ids, expected, "{name}: {}", string["text"]);
        assert_eq!(tokenizer.decode(&ids).unwrap(), text);
    }
}

#[test]
fn strings_have_the_ids_of_tiktoken() {
    let tokenizer = Tokenizer::from_tiktoken(fixtures().join("bpe-4096.tiktoken")).unwrap();
    assert_eq!(tokenizer.vocab_size(), 4096);
    check_strings(&tokenizer, &reference(&fixtures()), "bpe-4096");
}

#[test]
fn corpus_gives_the_merges_of_rustbpe_and_the_ids_of_tiktoken() {
    let folder = |name| std::env::var_os(name).map(PathBuf::from);
    let (Some(corpus), Some(folder)) = (folder("KILN_CORPUS"), folder("KILN_REFERENCE")) else {
        println!("skipped: set KILN_CORPUS and KILN_REFERENCE to check against a corpus");
        return;
    };
    let reference = reference(&folder);
    let documents = read_corpus(&corpus, &reference);
    for (name, vocab_size) in [("bpe-4096", 4096), ("bpe-32768", 32768)] {
        let tokenizer = Tokenizer::train(Kind::Bpe, &documents, vocab_size).unwrap();
        let mut file = Vec::new();
        tokenizer.write_tiktoken(&mut file).unwrap();
        let expected = fs::read(folder.join(format!("{name}.tiktoken"))).unwrap();
        assert!(
            file == expected,
            "{name}: merges differ from line {}",
            first_difference(&file, &expected)
        );
        check_strings(&tokenizer, &reference, name);
        check_corpus_ids(&tokenizer, &documents, &reference["vocabularies"][name]);
    }
}

fn check_corpus_ids(tokenizer: &Tokenizer, documents: &[Vec<u8>], expected: &Value) {
    let mut serial = Vec::new();
    documents.iter().for_each(|document| tokenizer.encode_into(document, &mut serial));
    assert_eq!(serial.len() as u64, expected["tokens_total"].as_u64().unwrap());
    let mut hasher = Sha256::new();
    serial.iter().for_each(|id| hasher.update(id.to_le_bytes()));
    assert_eq!(hex(hasher.finalize()), expected["ids_sha256"].as_str().unwrap());
    assert!(tokenizer.encode_documents(documents).concat() == serial);
    assert!(tokenizer.decode(&serial).unwrap() == documents.concat());
}

fn first_difference(left: &[u8], right: &[u8]) -> usize {
    let same = left.iter().zip(right).take_while(|(left, right)| left == right).count();
    left[..same].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// The documents in the order of the reference, checked against it.
fn read_corpus(corpus: &Path, reference: &Value) -> Vec<Vec<u8>> {
    let mut paths = Vec::new();
    find_sources(corpus, &mut paths);
    paths.sort_by_key(|path| path.as_os_str().as_encoded_bytes().to_vec());
    let documents: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    assert_eq!(documents.len() as u64, reference["documents"].as_u64().unwrap());
    let mut hasher = Sha256::new();
    documents.iter().for_each(|document| hasher.update(document));
    assert_eq!(hex(hasher.finalize()), reference["text_sha256"].as_str().unwrap());
    documents
}

fn find_sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find_sources(&path, found);
        } else if path.extension().is_some_and(|end| SUFFIXES.iter().any(|suffix| end == *suffix)) {
            found.push(path);
        }
    }
}
