//! Counting the pieces of a corpus: all that training needs to know about it.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use rustc_hash::FxHashMap;

use crate::cpp::CppSplitter;
use crate::kind::Kind;
use crate::short_map::{ShortKey, ShortMap};
use crate::split::{Split, Splitter, cut_behind_words};

/// Bytes that a worker takes at once: small enough to balance, large enough not to matter.
const PART_BYTES: usize = 1 << 18;

/// How often each distinct piece occurs. Adding documents in any order or grouping gives the same
/// counts, so a corpus larger than memory can be added part by part.
#[derive(Clone)]
pub struct PieceCounts {
    kind: Kind,
    short: ShortMap<u64>,
    long: FxHashMap<Box<[u8]>, u64>,
}

impl PieceCounts {
    /// Counts of nothing; `kind` says how text is split.
    pub fn new(kind: Kind) -> PieceCounts {
        PieceCounts { kind, short: ShortMap::with_capacity(1 << 14), long: FxHashMap::default() }
    }

    /// The kind whose pieces are counted.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Adds every piece of `documents`, each split on its own, on all threads of the current pool.
    pub fn add_documents<D: AsRef<[u8]> + Sync>(&mut self, documents: &[D]) {
        let parts: Vec<&[u8]> =
            documents.iter().flat_map(|text| cut_behind_words(text.as_ref(), PART_BYTES)).collect();
        let workers = rayon::current_num_threads().min(parts.len());
        if workers <= 1 {
            parts.iter().for_each(|part| self.add_part(part));
            return;
        }
        let taken = AtomicUsize::new(0);
        let count_until_none_left = |mut counts: PieceCounts| {
            while let Some(part) = parts.get(taken.fetch_add(1, Ordering::Relaxed)) {
                counts.add_part(part);
            }
            counts
        };
        let seeds = vec![PieceCounts::new(self.kind); workers];
        let counted: Vec<PieceCounts> =
            seeds.into_par_iter().with_max_len(1).map(count_until_none_left).collect();
        for counts in counted {
            self.absorb(counts);
        }
    }

    /// Number of distinct pieces.
    pub fn distinct(&self) -> usize {
        self.short.len() + self.long.len()
    }

    /// Calls `visit` with every distinct piece and its count, in no particular order.
    pub fn for_each(&self, mut visit: impl FnMut(&[u8], u64)) {
        for (key, count) in self.short.iter() {
            visit(&key.bytes()[..key.len()], count);
        }
        for (piece, count) in &self.long {
            visit(piece, *count);
        }
    }

    fn add_part(&mut self, part: &[u8]) {
        match self.kind {
            Kind::Bpe => self.add_split::<Splitter>(part),
            Kind::Cpp => self.add_split::<CppSplitter>(part),
        }
    }

    fn add_split<S: Split>(&mut self, part: &[u8]) {
        S::for_each_piece(part, |text, start, end| self.add_piece(text, start, end, 1));
    }

    /// Adds `times` occurrences of the piece `text[start..end]`.
    #[inline]
    pub(crate) fn add_piece(&mut self, text: &[u8], start: usize, end: usize, times: u64) {
        match ShortKey::of(text, start, end) {
            Some(key) => *self.short.entry(key) += times,
            None => self.add_long(&text[start..end], times),
        }
    }

    fn add_long(&mut self, piece: &[u8], times: u64) {
        match self.long.get_mut(piece) {
            Some(count) => *count += times,
            None => {
                self.long.insert(piece.into(), times);
            }
        }
    }

    fn absorb(&mut self, other: PieceCounts) {
        if self.distinct() < other.distinct() {
            let smaller = std::mem::replace(self, other);
            return self.absorb(smaller);
        }
        for (key, count) in other.short.iter() {
            *self.short.entry(key) += count;
        }
        for (piece, count) in other.long {
            *self.long.entry(piece).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(counts: &PieceCounts) -> Vec<(Vec<u8>, u64)> {
        let mut all = Vec::new();
        counts.for_each(|piece, count| all.push((piece.to_vec(), count)));
        all.sort();
        all
    }

    #[test]
    fn counts_do_not_depend_on_grouping_or_threads() {
        let documents: Vec<Vec<u8>> = (0..40)
            .map(|n| {
                let text = format!("word{n} a_very_long_identifierWithoutEnd{n}\n");
                [text.as_bytes(), b"\xff"].concat().repeat(n)
            })
            .collect();
        let mut one = PieceCounts::new(Kind::Bpe);
        documents.iter().for_each(|document| one.add_documents(&[document]));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let mut many = PieceCounts::new(Kind::Bpe);
        pool.install(|| {
            many.add_documents(&documents[..7]);
            many.add_documents(&documents[7..]);
        });
        assert_eq!(sorted(&one), sorted(&many));
        assert_eq!(one.distinct(), sorted(&one).len());
        let total: u64 = sorted(&one).iter().map(|(piece, count)| piece.len() as u64 * count).sum();
        assert_eq!(total, documents.iter().map(|document| document.len() as u64).sum::<u64>());
    }
}
