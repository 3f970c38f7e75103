//! The tokenizer: a vocabulary of bytes, merges and special tokens, and what can be done with it.

use std::fmt;

use crate::count::PieceCounts;
use crate::encode::Encoder;
use crate::error::{Error, Result};
use crate::kind::Kind;
use crate::merges::Merges;
use crate::train;
use crate::vocabulary::Vocabulary;

/// A byte-level BPE tokenizer.
///
/// Of kind `bpe` ids 0-255 are the bytes, id `256 + k` is merge `k`, the special tokens take the last ids.
/// Of kind `cpp` ids 0-19 are the special tokens, then come the bytes, the fixed vocabulary and what was
/// learned. Lossless on every byte string.
///
/// ```
/// use kiln_tokenizer::{Kind, Tokenizer};
///
/// let tokenizer = Tokenizer::train(Kind::Bpe, &["int a; int b; int c;"], 267)?;
/// let ids = tokenizer.encode_ordinary(b"int \xff;");
/// assert_eq!(tokenizer.decode(&ids)?, b"int \xff;");
/// # Ok::<(), kiln_tokenizer::Error>(())
/// ```
pub struct Tokenizer {
    encoder: Encoder,
    token_bytes: Vec<u32>,
    fingerprint: String,
}

impl Tokenizer {
    /// Trains a vocabulary of `vocab_size` ids (bytes, merges and special tokens) on `documents`, on
    /// all threads of the current pool. The result does not depend on the order of the documents or
    /// on the number of threads.
    ///
    /// # Errors
    /// [`Error::VocabTooLarge`] when the documents do not have that many pairs to merge,
    /// [`Error::VocabTooSmall`] without room for bytes and special tokens.
    pub fn train<D: AsRef<[u8]> + Sync>(
        kind: Kind,
        documents: &[D],
        vocab_size: usize,
    ) -> Result<Tokenizer> {
        let mut counts = PieceCounts::new(kind);
        counts.add_documents(documents);
        Tokenizer::train_from_counts(&counts, vocab_size)
    }

    /// [`Tokenizer::train`] on pieces counted before, of a corpus of any size.
    ///
    /// # Errors
    /// As [`Tokenizer::train`], and [`Error::TooLarge`] when the distinct pieces have more than
    /// 1.4 GB in all.
    pub fn train_from_counts(counts: &PieceCounts, vocab_size: usize) -> Result<Tokenizer> {
        let kind = counts.kind();
        let minimum = Vocabulary::smallest(kind);
        if vocab_size < minimum {
            return Err(Error::VocabTooSmall { requested: vocab_size, minimum });
        }
        let limit = u64::from(u32::MAX);
        if vocab_size as u64 > limit {
            return Err(Error::TooLarge { what: "the vocabulary", size: vocab_size as u64, limit });
        }
        let merges = train::train(counts, vocab_size - minimum)?;
        let tokenizer = Tokenizer::from_merges(kind, merges);
        let available = tokenizer.vocab_size();
        if available < vocab_size {
            return Err(Error::VocabTooLarge {
                requested: vocab_size,
                available,
                fixed: kind.fixed().tokens().len(),
                merges: available - minimum,
                specials: kind.special_tokens().len(),
            });
        }
        Ok(tokenizer)
    }

    /// A tokenizer of merges that are known to be consistent.
    pub(crate) fn from_merges(kind: Kind, merges: Merges) -> Tokenizer {
        let fingerprint = fingerprint(kind, &merges);
        let vocabulary = Vocabulary::new(kind, merges);
        let mut token_bytes = vec![0; vocabulary.len()];
        vocabulary.ordinary().for_each(|(id, token)| token_bytes[id as usize] = token.len() as u32);
        Tokenizer { encoder: Encoder::new(vocabulary), token_bytes, fingerprint }
    }

    /// The kind, which fixes pre-tokenizer and special tokens.
    pub fn kind(&self) -> Kind {
        self.vocabulary().kind()
    }

    /// Number of ids, special tokens included.
    pub fn vocab_size(&self) -> usize {
        self.token_bytes.len()
    }

    /// The special token that begins every document.
    pub fn bos_id(&self) -> u32 {
        // `from_merges` adds all special tokens of the kind, of which BOS is one.
        self.special(self.kind().bos()).unwrap_or(self.vocabulary().first_special())
    }

    /// The special token that ends a document, where the kind has one.
    pub fn eos_id(&self) -> Option<u32> {
        self.kind().eos().and_then(|name| self.special(name))
    }

    /// Id of a special token by its full name, for example `<|user_start|>`.
    pub fn special(&self, name: &str) -> Option<u32> {
        let index = self.kind().special_tokens().iter().position(|special| *special == name)?;
        Some(self.vocabulary().first_special() + index as u32)
    }

    /// Special tokens and their ids.
    pub fn specials(&self) -> impl Iterator<Item = (&'static str, u32)> {
        self.kind().special_tokens().iter().copied().zip(self.vocabulary().first_special()..)
    }

    /// Whether `id` is a special token.
    pub fn is_special(&self, id: u32) -> bool {
        self.vocabulary().is_special(id)
    }

    /// Length in bytes of each id's text, 0 for special tokens. Shape: `[vocab_size]`.
    pub fn token_bytes(&self) -> &[u32] {
        &self.token_bytes
    }

    /// Bytes of an id, the name of a special token; `None` outside the vocabulary.
    pub fn token(&self, id: u32) -> Option<&[u8]> {
        self.vocabulary().token(id)
    }

    /// A short text that is equal for equal tokenizers: the first 128 bits of a BLAKE3 hash over
    /// kind, special tokens, fixed tokens and merges, in hexadecimal. Runs store it to notice a changed one.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Ids of `text`; names of special tokens in it are ordinary text.
    pub fn encode_ordinary(&self, text: &[u8]) -> Vec<u32> {
        let mut ids = Vec::new();
        self.encode_into(text, &mut ids);
        ids
    }

    /// Appends what [`Tokenizer::encode_ordinary`] gives to `ids`.
    pub fn encode_into(&self, text: &[u8], ids: &mut Vec<u32>) {
        self.encoder.encode_into(text, ids);
    }

    /// [`Tokenizer::encode_ordinary`] of every document, on all threads of the current pool.
    pub fn encode_documents<D: AsRef<[u8]> + Sync>(&self, documents: &[D]) -> Vec<Vec<u32>> {
        self.encoder.encode_documents(documents)
    }

    /// Ids of `text` where names of special tokens become those tokens. Only for trusted text.
    pub fn encode_with_special(&self, text: &[u8]) -> Vec<u32> {
        let mut ids = Vec::new();
        let (mut done, mut at) = (0, 0);
        while let Some(found) = text[at..].iter().position(|byte| *byte == b'<') {
            at += found;
            let special = self.specials().find(|(name, _)| text[at..].starts_with(name.as_bytes()));
            let Some((name, id)) = special else {
                at += 1;
                continue;
            };
            self.encode_into(&text[done..at], &mut ids);
            ids.push(id);
            at += name.len();
            done = at;
        }
        self.encode_into(&text[done..], &mut ids);
        ids
    }

    /// The bytes that `ids` stand for; special tokens give their names.
    ///
    /// # Errors
    /// [`Error::UnknownId`] with the first id outside the vocabulary.
    pub fn decode(&self, ids: &[u32]) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(ids.len() * 4);
        for id in ids {
            bytes.extend_from_slice(self.token_or_error(*id)?);
        }
        Ok(bytes)
    }

    pub(crate) fn token_or_error(&self, id: u32) -> Result<&[u8]> {
        self.token(id).ok_or(Error::UnknownId { id, vocab_size: self.vocab_size() })
    }

    pub(crate) fn vocabulary(&self) -> &Vocabulary {
        self.encoder.vocabulary()
    }

    pub(crate) fn merges(&self) -> &Merges {
        self.vocabulary().merges()
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tokenizer")
            .field("kind", &self.kind())
            .field("vocab_size", &self.vocab_size())
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

fn fingerprint(kind: Kind, merges: &Merges) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut update = |text: &[u8]| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text);
    };
    update(kind.name().as_bytes());
    kind.special_tokens().iter().for_each(|name| update(name.as_bytes()));
    kind.fixed().tokens().iter().for_each(|token| update(token));
    let pairs: Vec<u8> = merges
        .pairs()
        .iter()
        .flat_map(|(left, right)| [left.to_le_bytes(), right.to_le_bytes()])
        .flatten()
        .collect();
    hasher.update(&pairs);
    hasher.finalize().to_hex()[..32].into()
}
