//! Text to ids: split, look the piece up, merge what is not a token.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use rustc_hash::FxHashMap;

use crate::cpp::CppSplitter;
use crate::kind::Kind;
use crate::merges::MergeScratch;
use crate::short_map::{ShortKey, ShortMap};
use crate::split::{Split, Splitter, cut_behind_words};
use crate::vocabulary::Vocabulary;

/// Bytes that a worker takes at once when many documents are encoded.
const PART_BYTES: usize = 1 << 18;

/// log2 of the slots of a [`PieceCache`]. Measured: on C++ 2^14 slots are 7 % slower.
const CACHE_BITS: u32 = 16;

/// Ids that a slot of the cache holds; pieces with more are merged each time.
const CACHED_IDS: usize = 3;

/// Tokens by their bytes, and the merges for pieces that are not tokens.
pub(crate) struct Encoder {
    vocabulary: Vocabulary,
    short: ShortMap<u32>,
    long: FxHashMap<Box<[u8]>, u32>,
    /// Caches of finished calls, for the next ones: a warm cache is worth several times its lock.
    idle: Mutex<Vec<PieceCache>>,
}

/// The ids of pieces seen lately, one slot per hash value. Owned by one thread at a time.
struct PieceCache {
    slots: Vec<CacheSlot>,
    scratch: MergeScratch,
}

#[derive(Clone, Copy, Default)]
struct CacheSlot {
    key: ShortKey,
    ids: [u32; CACHED_IDS],
    len: u32,
}

impl Encoder {
    pub(crate) fn new(vocabulary: Vocabulary) -> Encoder {
        let mut short = ShortMap::with_capacity(vocabulary.len());
        let mut long = FxHashMap::default();
        for (id, bytes) in vocabulary.ordinary() {
            match ShortKey::of(bytes, 0, bytes.len()) {
                Some(key) => *short.entry(key) = id,
                None => {
                    long.insert(bytes.into(), id);
                }
            }
        }
        Encoder { vocabulary, short, long, idle: Mutex::default() }
    }

    pub(crate) fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Appends the ids of `bytes` to `out`.
    pub(crate) fn encode_into(&self, bytes: &[u8], out: &mut Vec<u32>) {
        let mut cache = self.take_cache();
        self.encode_with(&mut cache, bytes, out);
        self.give_back(cache);
    }

    /// The ids of each document, on all threads of the current pool.
    pub(crate) fn encode_documents<D: AsRef<[u8]> + Sync>(&self, documents: &[D]) -> Vec<Vec<u32>> {
        let parts: Vec<(usize, &[u8])> = documents
            .iter()
            .enumerate()
            .flat_map(|(index, document)| {
                cut_behind_words(document.as_ref(), PART_BYTES).map(move |part| (index, part))
            })
            .collect();
        let taken = AtomicUsize::new(0);
        let encode_until_none_left = |_worker| {
            let mut cache = self.take_cache();
            let mut done = Vec::new();
            loop {
                let index = taken.fetch_add(1, Ordering::Relaxed);
                let Some((_, part)) = parts.get(index) else { break };
                // Most text has three bytes per id and more.
                let mut ids = Vec::with_capacity(part.len() / 3 + 1);
                self.encode_with(&mut cache, part, &mut ids);
                done.push((index, ids));
            }
            self.give_back(cache);
            done
        };
        let workers = rayon::current_num_threads().min(parts.len());
        let encoded: Vec<Vec<(usize, Vec<u32>)>> =
            (0..workers).into_par_iter().with_max_len(1).map(encode_until_none_left).collect();
        join_parts(documents.len(), &parts, encoded)
    }

    fn encode_with(&self, cache: &mut PieceCache, bytes: &[u8], out: &mut Vec<u32>) {
        match self.vocabulary.kind() {
            Kind::Bpe => self.encode_split::<Splitter>(cache, bytes, out),
            Kind::Cpp => self.encode_split::<CppSplitter>(cache, bytes, out),
        }
    }

    fn encode_split<S: Split>(&self, cache: &mut PieceCache, bytes: &[u8], out: &mut Vec<u32>) {
        S::for_each_piece(bytes, |text, start, end| {
            self.encode_piece(cache, text, start, end, out)
        });
    }

    #[inline]
    fn encode_piece(
        &self,
        cache: &mut PieceCache,
        text: &[u8],
        start: usize,
        end: usize,
        out: &mut Vec<u32>,
    ) {
        let Some(key) = ShortKey::of(text, start, end) else {
            return self.encode_long(cache, &text[start..end], out);
        };
        let slot = &cache.slots[(key.hash() >> (u64::BITS - CACHE_BITS)) as usize];
        if slot.key == key {
            // A copy of fixed length is a few instructions, one of unknown length a call.
            let len = out.len() + slot.len as usize;
            out.extend_from_slice(&slot.ids);
            out.truncate(len);
        } else {
            self.encode_uncached(cache, key, out);
        }
    }

    #[inline(never)]
    fn encode_uncached(&self, cache: &mut PieceCache, key: ShortKey, out: &mut Vec<u32>) {
        let first = out.len();
        match self.short.get(key) {
            Some(id) => out.push(id),
            None => self.merge(&key.bytes()[..key.len()], &mut cache.scratch, out),
        }
        let found = &out[first..];
        if found.len() <= CACHED_IDS {
            let slot = &mut cache.slots[(key.hash() >> (u64::BITS - CACHE_BITS)) as usize];
            slot.key = key;
            slot.len = found.len() as u32;
            slot.ids[..found.len()].copy_from_slice(found);
        }
    }

    #[inline(never)]
    fn encode_long(&self, cache: &mut PieceCache, piece: &[u8], out: &mut Vec<u32>) {
        match self.long.get(piece) {
            Some(id) => out.push(*id),
            None => self.merge(piece, &mut cache.scratch, out),
        }
    }

    fn merge(&self, piece: &[u8], scratch: &mut MergeScratch, out: &mut Vec<u32>) {
        let first = out.len();
        self.vocabulary.merges().merge(piece, scratch, out);
        let ids = self.vocabulary.ids();
        out[first..].iter_mut().for_each(|token| *token = ids[*token as usize]);
    }

    fn take_cache(&self) -> PieceCache {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_else(|| PieceCache {
            slots: vec![CacheSlot::default(); 1 << CACHE_BITS],
            scratch: MergeScratch::default(),
        })
    }

    fn give_back(&self, cache: PieceCache) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(cache);
    }
}

/// Puts the ids of the parts together by document; parts of a document stand in order.
fn join_parts(
    documents: usize,
    parts: &[(usize, &[u8])],
    encoded: Vec<Vec<(usize, Vec<u32>)>>,
) -> Vec<Vec<u32>> {
    let mut by_part = vec![Vec::new(); parts.len()];
    for (index, ids) in encoded.into_iter().flatten() {
        by_part[index] = ids;
    }
    let mut joined = vec![Vec::new(); documents];
    for ((document, _), ids) in parts.iter().zip(by_part) {
        let all = &mut joined[*document];
        if all.is_empty() {
            *all = ids;
        } else {
            all.extend_from_slice(&ids);
        }
    }
    joined
}
