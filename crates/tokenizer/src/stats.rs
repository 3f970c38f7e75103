//! How well a vocabulary fits given text.

use rayon::prelude::*;
use serde::Serialize;

use crate::tokenizer::Tokenizer;

/// Documents that are encoded before their ids are counted and dropped.
const BATCH: usize = 256;

/// What [`Tokenizer::stats`] finds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stats {
    /// Kind of the tokenizer.
    pub kind: String,
    /// Number of ids, special tokens included.
    pub vocab_size: usize,
    /// Number of documents.
    pub documents: usize,
    /// Bytes of all documents.
    pub bytes: u64,
    /// Tokens of all documents.
    pub tokens: u64,
    /// `bytes / tokens`, 0 without tokens. Higher is a better fit.
    pub bytes_per_token: f64,
    /// `tokens / documents`, 0 without documents.
    pub tokens_per_document: f64,
    /// Most tokens in one document.
    pub longest_document_tokens: u64,
    /// Share of tokens that are a single byte.
    pub single_byte_share: f64,
    /// Ids, without the special tokens, that occur in the documents.
    pub used_ids: usize,
    /// Ids, without the special tokens, that do not.
    pub unused_ids: usize,
    /// The most frequent tokens, most frequent first.
    pub most_frequent: Vec<TokenCount>,
    /// The longest tokens of the vocabulary, longest first.
    pub longest: Vec<TokenCount>,
}

/// A token and how often it occurs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TokenCount {
    /// Its id.
    pub id: u32,
    /// Its text; U+FFFD for bytes that are not UTF-8.
    pub text: String,
    /// Its length in bytes.
    pub bytes: u32,
    /// Occurrences in the documents.
    pub count: u64,
}

impl Tokenizer {
    /// Encodes `documents` and counts; lists the `top` most frequent and longest tokens.
    pub fn stats<D: AsRef<[u8]> + Sync>(&self, documents: &[D], top: usize) -> Stats {
        let mut counts = vec![0u64; self.vocab_size()];
        let mut longest_document_tokens = 0;
        for batch in documents.chunks(BATCH) {
            for ids in self.encode_documents(batch) {
                longest_document_tokens = longest_document_tokens.max(ids.len() as u64);
                ids.iter().for_each(|id| counts[*id as usize] += 1);
            }
        }
        let bytes = documents.par_iter().map(|document| document.as_ref().len() as u64).sum();
        let tokens: u64 = counts.iter().sum();
        let single: u64 = self
            .token_bytes()
            .iter()
            .zip(&counts)
            .filter(|(bytes, _)| **bytes == 1)
            .map(|(_, count)| count)
            .sum();
        let ordinary = self.vocab_size() - self.kind().special_tokens().len();
        let used_ids = counts.iter().filter(|count| **count > 0).count();
        Stats {
            kind: self.kind().to_string(),
            vocab_size: self.vocab_size(),
            documents: documents.len(),
            bytes,
            tokens,
            bytes_per_token: ratio(bytes, tokens),
            tokens_per_document: ratio(tokens, documents.len() as u64),
            longest_document_tokens,
            single_byte_share: ratio(single, tokens),
            used_ids,
            unused_ids: ordinary - used_ids,
            most_frequent: self.top(top, &counts, |id| counts[id as usize]),
            longest: self.top(top, &counts, |id| u64::from(self.token_bytes()[id as usize])),
        }
    }

    /// The ordinary ids with the highest key above 0, lower ids first among equals.
    fn top(&self, top: usize, counts: &[u64], key: impl Fn(u32) -> u64) -> Vec<TokenCount> {
        let ordinary = self.vocabulary().ordinary().map(|(id, _)| id);
        let mut ids: Vec<u32> = ordinary.filter(|id| key(*id) > 0).collect();
        ids.sort_by_key(|id| std::cmp::Reverse(key(*id)));
        ids.truncate(top);
        ids.into_iter()
            .map(|id| TokenCount {
                id,
                text: String::from_utf8_lossy(self.token(id).unwrap_or_default()).into_owned(),
                bytes: self.token_bytes()[id as usize],
                count: counts[id as usize],
            })
            .collect()
    }
}

fn ratio(numerator: u64, denominator: u64) -> f64 {
    if denominator == 0 { 0.0 } else { numerator as f64 / denominator as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    #[test]
    fn counts_add_up() {
        let documents = ["ab ab ab ab", "", "abc"];
        let tokenizer = Tokenizer::train(Kind::Bpe, &documents, 267).unwrap();
        let stats = tokenizer.stats(&documents, 2);
        // Merges: ab, then " ab".
        assert_eq!((stats.documents, stats.bytes, stats.tokens), (3, 14, 6));
        assert_eq!(stats.longest_document_tokens, 4);
        assert_eq!(stats.bytes_per_token, 14.0 / 6.0);
        assert_eq!(stats.single_byte_share, 1.0 / 6.0);
        assert_eq!((stats.used_ids, stats.unused_ids), (3, 255));
        let frequent: Vec<_> = stats.most_frequent.iter().map(|t| (&*t.text, t.count)).collect();
        assert_eq!(frequent, [(" ab", 3), ("ab", 2)]);
        let longest: Vec<_> = stats.longest.iter().map(|t| (&*t.text, t.bytes)).collect();
        assert_eq!(longest, [(" ab", 3), ("ab", 2)]);
    }

    #[test]
    fn nothing_gives_zeros() {
        let tokenizer = Tokenizer::train::<&str>(Kind::Bpe, &[], 265).unwrap();
        let stats = tokenizer.stats::<&str>(&[], 3);
        assert_eq!((stats.tokens, stats.bytes_per_token, stats.used_ids), (0, 0.0, 0));
        assert!(serde_json::to_string(&stats).unwrap().contains("\"bytes_per_token\":0.0"));
    }
}
