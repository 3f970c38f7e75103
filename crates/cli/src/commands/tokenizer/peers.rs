//! Tokenizers behind one interface: Kiln's, and OpenAI's two that `tiktoken-rs` carries.

use kiln_tokenizer::Tokenizer;
use rayon::prelude::*;
use tiktoken_rs::{CoreBPE, cl100k_base_singleton, o200k_base_singleton};

/// A tokenizer to compare.
pub struct Peer {
    pub name: String,
    /// Kind of one of Kiln's.
    pub kind: Option<&'static str>,
    pub vocab_size: usize,
    /// Length in bytes of each id, 0 where there is none.
    lengths: Vec<u32>,
    encoder: PeerEncoder,
}

enum PeerEncoder {
    Kiln(Box<Tokenizer>),
    Tiktoken(&'static CoreBPE),
}

impl Peer {
    /// One of Kiln's.
    pub fn kiln(name: String, tokenizer: Tokenizer) -> Peer {
        Peer {
            name,
            kind: Some(tokenizer.kind().name()),
            vocab_size: tokenizer.vocab_size(),
            lengths: tokenizer.token_bytes().to_vec(),
            encoder: PeerEncoder::Kiln(Box::new(tokenizer)),
        }
    }

    /// `cl100k_base` of GPT-4.
    pub fn cl100k() -> Peer {
        Peer::tiktoken("cl100k", cl100k_base_singleton(), 100_277)
    }

    /// `o200k_base` of GPT-4o.
    pub fn o200k() -> Peer {
        Peer::tiktoken("o200k", o200k_base_singleton(), 200_019)
    }

    fn tiktoken(name: &str, encoder: &'static CoreBPE, vocab_size: usize) -> Peer {
        let length = |id| encoder.decode_bytes(&[id]).map_or(0, |bytes| bytes.len() as u32);
        Peer {
            name: name.into(),
            kind: None,
            vocab_size,
            lengths: (0..vocab_size as u32).map(length).collect(),
            encoder: PeerEncoder::Tiktoken(encoder),
        }
    }

    /// Ids of each document, on all threads of the current pool; names of special tokens are ordinary text.
    pub fn encode(&self, documents: &[String]) -> Vec<Vec<u32>> {
        match &self.encoder {
            PeerEncoder::Kiln(tokenizer) => tokenizer.encode_documents(documents),
            PeerEncoder::Tiktoken(encoder) => {
                documents.par_iter().map(|text| encoder.encode_ordinary(text)).collect()
            }
        }
    }

    /// The bytes that ids stand for; nothing if one of them stands for none.
    pub fn decode(&self, ids: &[u32]) -> Option<Vec<u8>> {
        match &self.encoder {
            PeerEncoder::Kiln(tokenizer) => tokenizer.decode(ids).ok(),
            PeerEncoder::Tiktoken(encoder) => encoder.decode_bytes(ids).ok(),
        }
    }

    /// Where in the text each token ends.
    pub fn ends(&self, ids: &[u32]) -> Vec<usize> {
        let mut end = 0;
        let after = |id: &u32| {
            end += self.lengths.get(*id as usize).map_or(0, |length| *length as usize);
            end
        };
        ids.iter().map(after).collect()
    }
}
