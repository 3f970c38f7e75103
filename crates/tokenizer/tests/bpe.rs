//! Training and encoding against the plainest programs that do the same, and round trips.

use std::collections::{BTreeMap, HashMap};

use kiln_tokenizer::{Error, Kind, PieceCounts, Tokenizer, Utf8Stream, pieces};
use proptest::prelude::*;

const SPECIALS: usize = 9;
const MINIMUM: usize = 256 + SPECIALS;

/// Counts all pairs anew at every step. The merged tokens' bytes in order.
fn naive_merges(documents: &[Vec<u8>], limit: usize) -> Vec<Vec<u8>> {
    let mut counts: HashMap<Vec<u32>, u64> = HashMap::new();
    for piece in documents.iter().flat_map(|document| pieces(Kind::Bpe, document)) {
        *counts.entry(piece.iter().map(|byte| u32::from(*byte)).collect()).or_default() += 1;
    }
    let mut words: Vec<(Vec<u32>, u64)> = counts.into_iter().collect();
    let mut tokens: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
    while tokens.len() < 256 + limit {
        let mut pairs: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        for (word, count) in &words {
            word.windows(2).for_each(|pair| *pairs.entry((pair[0], pair[1])).or_default() += count);
        }
        // Of equal maxima the first in order of the pair.
        let Some(best) = pairs.iter().rev().max_by_key(|(_, count)| **count) else { break };
        let (left, right) = *best.0;
        let id = tokens.len() as u32;
        tokens.push([&tokens[left as usize][..], &tokens[right as usize]].concat());
        words.iter_mut().for_each(|(word, _)| replace(word, left, right, id));
    }
    tokens.split_off(256)
}

fn replace(word: &mut Vec<u32>, left: u32, right: u32, id: u32) {
    let mut at = 0;
    while at + 1 < word.len() {
        if word[at] == left && word[at + 1] == right {
            word[at] = id;
            word.remove(at + 1);
        }
        at += 1;
    }
}

/// As tiktoken: a piece that is a token, else join the leftmost lowest rank by bytes.
fn naive_encode(tokenizer: &Tokenizer, text: &[u8]) -> Vec<u32> {
    let ranks: HashMap<&[u8], u32> = (0..(tokenizer.vocab_size() - SPECIALS) as u32)
        .map(|id| (tokenizer.token(id).unwrap(), id))
        .collect();
    let mut ids = Vec::new();
    for piece in pieces(Kind::Bpe, text) {
        let mut parts: Vec<&[u8]> = piece.chunks(1).collect();
        loop {
            let joined = |at: usize| &piece[offset(&parts, at)..offset(&parts, at + 2)];
            let best =
                (0..parts.len() - 1).filter_map(|at| Some((*ranks.get(joined(at))?, at))).min();
            let Some((_, at)) = best else { break };
            parts[at] = joined(at);
            parts.remove(at + 1);
        }
        let merged: Vec<u32> = parts.iter().map(|part| ranks[part]).collect();
        match ranks.get(piece) {
            Some(id) => assert_eq!(merged, [*id], "a token is what its bytes merge to"),
            None => assert!(merged.len() > 1),
        }
        ids.extend(merged);
    }
    ids
}

fn offset(parts: &[&[u8]], index: usize) -> usize {
    parts[..index].iter().map(|part| part.len()).sum()
}

/// Few letters in long words: many ties, many overlaps.
fn dense_document() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        4 => "[ab]{1,12}",
        2 => "[abc]{1,100}",
        1 => " {0,5}",
        1 => "[a-e]{1,4}[0-9]{1,3};\n",
        1 => "(é|ß|字){1,4}",
    ];
    prop::collection::vec(
        prop_oneof![12 => word.prop_map(String::into_bytes),
        1 => prop::collection::vec(0x80..=0xffu8, 1..4)],
        0..12,
    )
    .prop_map(|words| words.join(&b' '))
}

fn documents() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(dense_document(), 0..5)
}

fn largest(documents: &[Vec<u8>], limit: usize) -> Tokenizer {
    match Tokenizer::train(Kind::Bpe, documents, limit) {
        Ok(tokenizer) => tokenizer,
        Err(Error::VocabTooLarge { requested, available, merges, specials, .. }) => {
            assert_eq!((requested, available), (limit, 256 + merges + specials));
            Tokenizer::train(Kind::Bpe, documents, available).unwrap()
        }
        Err(error) => panic!("{error}"),
    }
}

proptest! {
    #[test]
    fn merges_equal_the_plain_trainer(documents in documents(), limit in MINIMUM..MINIMUM + 120) {
        let tokenizer = largest(&documents, limit);
        let found: Vec<&[u8]> = (256..(tokenizer.vocab_size() - SPECIALS) as u32)
            .map(|id| tokenizer.token(id).unwrap())
            .collect();
        prop_assert_eq!(found, naive_merges(&documents, limit - MINIMUM));
    }

    #[test]
    fn ids_equal_the_plain_encoder(
        documents in documents(),
        others in prop::collection::vec(dense_document(), 1..4),
        limit in MINIMUM..MINIMUM + 120,
    ) {
        let tokenizer = largest(&documents, limit);
        for text in documents.iter().chain(&others) {
            let ids = tokenizer.encode_ordinary(text);
            prop_assert_eq!(&ids, &naive_encode(&tokenizer, text));
            // Again, now that the cache knows the pieces.
            prop_assert_eq!(&ids, &tokenizer.encode_ordinary(text));
            prop_assert_eq!(&tokenizer.decode(&ids).unwrap(), text);
        }
        let serial: Vec<Vec<u32>> =
            others.iter().map(|text| tokenizer.encode_ordinary(text)).collect();
        prop_assert_eq!(tokenizer.encode_documents(&others), serial);
    }

    #[test]
    fn every_byte_string_comes_back(
        documents in documents(),
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0x20..0x7fu8], 0..300),
    ) {
        let tokenizer = largest(&documents, MINIMUM + 50);
        let ids = tokenizer.encode_ordinary(&bytes);
        prop_assert_eq!(tokenizer.decode(&ids).unwrap(), bytes.clone());
        prop_assert_eq!(tokenizer.decode(&tokenizer.encode_with_special(&bytes)).unwrap(), bytes);
    }

    #[test]
    fn a_stream_gives_the_whole_text_and_never_waits_longer_than_it_must(
        documents in documents(),
        choices in prop::collection::vec(prop_oneof![any::<prop::sample::Index>(),
            any::<prop::sample::Index>()], 0..40),
        text in ".{0,20}",
    ) {
        let tokenizer = largest(&documents, MINIMUM + 50);
        let mut ids: Vec<u32> =
            choices.iter().map(|index| index.index(tokenizer.vocab_size()) as u32).collect();
        ids.extend(text.bytes().map(u32::from));
        let mut stream = Utf8Stream::new(&tokenizer);
        let (mut streamed, mut seen) = (String::new(), Vec::new());
        for id in &ids {
            streamed += &stream.push(*id).unwrap();
            seen.extend_from_slice(tokenizer.token(*id).unwrap());
            let waiting = match std::str::from_utf8(&seen[seen.len().saturating_sub(3)..]) {
                Ok(_) => false,
                Err(_) => {
                    let tail = seen.utf8_chunks().last().unwrap().invalid();
                    std::str::from_utf8(tail).is_err_and(|error| error.error_len().is_none())
                        && seen.ends_with(tail)
                }
            };
            let whole = String::from_utf8_lossy(&seen);
            let expected = if waiting { whole.strip_suffix('\u{fffd}').unwrap() } else { &whole };
            prop_assert_eq!(&streamed, expected);
        }
        streamed += &stream.finish();
        prop_assert_eq!(streamed, String::from_utf8_lossy(&seen));
    }
}

#[test]
fn ties_go_to_the_smaller_pair() {
    // (a, b), (b, c) and (c, d) occur twice each; once ab is merged, (c, d) and (ab, c) do.
    let tokenizer = Tokenizer::train(Kind::Bpe, &["abcd abcd"], MINIMUM + 3).unwrap();
    let tokens: Vec<&[u8]> = (256..259).map(|id| tokenizer.token(id).unwrap()).collect();
    assert_eq!(tokens, [b"ab".as_slice(), b"cd", b"abcd"]);
}

#[test]
fn a_vocabulary_larger_than_the_corpus_can_give_says_how_much_it_gives() {
    let error = Tokenizer::train(Kind::Bpe, &["abc"], 300).unwrap_err();
    assert!(matches!(error, Error::VocabTooLarge { requested: 300, available: 267, .. }));
    assert!(error.to_string().contains("300") && error.to_string().contains("267"), "{error}");
    let error = Tokenizer::train::<&str>(Kind::Bpe, &[], 266).unwrap_err();
    assert!(matches!(error, Error::VocabTooLarge { available: 265, .. }));
    let error = Tokenizer::train(Kind::Bpe, &["abc"], 264).unwrap_err();
    assert!(matches!(error, Error::VocabTooSmall { requested: 264, minimum: 265 }));
    assert!(Tokenizer::train(Kind::Bpe, &["abc"], 0).is_err());
    assert!(Tokenizer::train(Kind::Bpe, &["abc"], usize::MAX).is_err());
}

#[test]
fn counts_made_in_parts_train_the_same() {
    let documents = ["int main() { return 0; }", "int f(int x) { return x; }", "\u{fffd} x"];
    let mut counts = PieceCounts::new(Kind::Bpe);
    documents.iter().rev().for_each(|document| counts.add_documents(&[document]));
    let parts = Tokenizer::train_from_counts(&counts, 280).unwrap();
    assert_eq!(
        parts.fingerprint(),
        Tokenizer::train(Kind::Bpe, &documents, 280).unwrap().fingerprint()
    );
    assert_ne!(
        parts.fingerprint(),
        Tokenizer::train(Kind::Bpe, &documents, 281).unwrap().fingerprint()
    );
}

#[test]
fn special_tokens_take_the_last_ids_and_only_count_where_asked() {
    let tokenizer = Tokenizer::train(Kind::Bpe, &["hello hello"], 269).unwrap();
    assert_eq!(tokenizer.vocab_size(), 269);
    assert_eq!((tokenizer.bos_id(), tokenizer.eos_id()), (260, None));
    assert_eq!(tokenizer.special("<|output_end|>"), Some(268));
    assert_eq!(tokenizer.special("<|endoftext|>"), None);
    assert_eq!(tokenizer.specials().count(), SPECIALS);
    assert_eq!(tokenizer.kind(), Kind::Bpe);
    assert_eq!(tokenizer.token_bytes()[255..], [1, 2, 3, 2, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(tokenizer.token(259), Some(b"hello".as_slice()));
    assert_eq!(tokenizer.token(260), Some(b"<|bos|>".as_slice()));
    assert_eq!(tokenizer.token(269), None);
    assert!(!tokenizer.is_special(259) && tokenizer.is_special(260) && !tokenizer.is_special(269));

    let text = b"<<|bos|>hello<|user_end|><|bos|";
    let ids = tokenizer.encode_with_special(text);
    assert_eq!(ids[..4], [u32::from(b'<'), 260, 259, 262]);
    assert_eq!(tokenizer.decode(&ids).unwrap(), text);
    let ordinary = tokenizer.encode_ordinary(text);
    assert!(ordinary.iter().all(|id| !tokenizer.is_special(*id)));
    assert_eq!(tokenizer.decode(&ordinary).unwrap(), text);
}

#[test]
fn an_unknown_id_is_named() {
    let tokenizer = Tokenizer::train::<&str>(Kind::Bpe, &[], 265).unwrap();
    let error = tokenizer.decode(&[1, 265]).unwrap_err();
    assert!(matches!(error, Error::UnknownId { id: 265, vocab_size: 265 }));
    assert_eq!(error.to_string(), "unknown token id 265: the vocabulary has ids 0 to 264");
    let mut stream = Utf8Stream::new(&tokenizer);
    assert_eq!(stream.push(0xe2).unwrap(), "");
    assert!(stream.push(u32::MAX).is_err());
    assert_eq!(stream.push(0x82).unwrap(), "");
    assert_eq!(stream.push(0xac).unwrap(), "€");
    assert_eq!(stream.push(0xf0).unwrap(), "");
    assert_eq!(stream.push(u32::from(b'x')).unwrap(), "\u{fffd}x");
    assert_eq!(stream.push(0xc3).unwrap(), "");
    assert_eq!(stream.finish(), "\u{fffd}");
}
