//! The vocabulary: ids and the bytes they stand for.
//!
//! | kind  | ids in order |
//! |-------|--------------|
//! | `bpe` | 256 bytes, learned tokens, special tokens |
//! | `cpp` | special tokens, 256 bytes, fixed tokens, learned tokens |
//!
//! Merging knows none of this: its tokens are numbered in the order of the merges ([`Merges`]). A merge may make a
//! fixed token, which then has the fixed id; a fixed token that no merge makes is used as a whole piece only.

use crate::kind::Kind;
use crate::merges::{BYTES, Merges};

/// Merges of a kind, with the ids of what they make.
pub(crate) struct Vocabulary {
    kind: Kind,
    merges: Merges,
    /// Id of each token of `merges`.
    ids: Vec<u32>,
    /// Bytes of all tokens by id.
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Vocabulary {
    /// The vocabulary of merges that begin with those of the kind and make no token twice.
    pub(crate) fn new(kind: Kind, merges: Merges) -> Vocabulary {
        let fixed = kind.fixed();
        let first_byte = if kind.specials_first() { kind.special_tokens().len() } else { 0 };
        let first_fixed = first_byte + BYTES;
        let mut learned = Vec::new();
        let mut ids = Vec::with_capacity(merges.len());
        for token in 0..merges.len() as u32 {
            ids.push(match fixed.place(merges.token(token)) {
                _ if (token as usize) < BYTES => first_byte as u32 + token,
                Some(place) => first_fixed as u32 + place,
                None => {
                    learned.push(token);
                    (first_fixed + fixed.tokens().len() + learned.len() - 1) as u32
                }
            });
        }
        let mut vocabulary = Vocabulary { kind, merges, ids, bytes: Vec::new(), ends: Vec::new() };
        if kind.specials_first() {
            vocabulary.append_specials();
        }
        (0..=u8::MAX).for_each(|byte| vocabulary.append(&[byte]));
        fixed.tokens().iter().for_each(|token| vocabulary.append(token));
        for token in learned {
            let bytes = vocabulary.merges.token(token).to_vec();
            vocabulary.append(&bytes);
        }
        if !kind.specials_first() {
            vocabulary.append_specials();
        }
        vocabulary
    }

    /// Number of ids of a vocabulary of `kind` in which nothing is learned.
    pub(crate) fn smallest(kind: Kind) -> usize {
        kind.special_tokens().len() + BYTES + kind.fixed().tokens().len()
    }

    fn append_specials(&mut self) {
        self.kind.special_tokens().iter().for_each(|name| self.append(name.as_bytes()));
    }

    fn append(&mut self, token: &[u8]) {
        self.bytes.extend_from_slice(token);
        self.ends.push(self.bytes.len());
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn merges(&self) -> &Merges {
        &self.merges
    }

    /// Number of ids.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of an id, the name of a special token; `None` outside the vocabulary.
    pub(crate) fn token(&self, id: u32) -> Option<&[u8]> {
        let id = id as usize;
        let end = *self.ends.get(id)?;
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        Some(&self.bytes[start..end])
    }

    /// Id of the first special token; the others follow.
    pub(crate) fn first_special(&self) -> u32 {
        if self.kind.specials_first() {
            return 0;
        }
        (self.len() - self.kind.special_tokens().len()) as u32
    }

    pub(crate) fn is_special(&self, id: u32) -> bool {
        let first = self.first_special() as usize;
        (first..first + self.kind.special_tokens().len()).contains(&(id as usize))
    }

    /// The ids that are no special tokens, with their bytes, in order.
    pub(crate) fn ordinary(&self) -> impl Iterator<Item = (u32, &[u8])> {
        (0..self.len() as u32)
            .filter(|id| !self.is_special(*id))
            .filter_map(|id| Some((id, self.token(id)?)))
    }

    /// Ids of the tokens of [`Self::merges`], one for one.
    pub(crate) fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The fixed tokens that no merge makes.
    pub(crate) fn whole_only(&self) -> impl Iterator<Item = &[u8]> {
        let fixed = self.kind.fixed();
        let mut made = vec![false; fixed.tokens().len()];
        for token in BYTES as u32..self.merges.len() as u32 {
            if let Some(place) = fixed.place(self.merges.token(token)) {
                made[place as usize] = true;
            }
        }
        let tokens = fixed.tokens().iter().zip(made);
        tokens.filter(|(_, made)| !made).map(|(token, _)| &**token)
    }
}
