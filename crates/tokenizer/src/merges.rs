//! The merge table and the merging of one piece.
//!
//! Merge `k` joins a pair of ids into id `256 + k`; ids 0-255 are the bytes. Merging a piece means:
//! as long as an adjacent pair is in the table, join the leftmost pair of the lowest merged id.
//!
//! Two facts follow from this rule. A merge only names earlier ids, so merged ids only rise while a
//! piece is merged. And the merges inside a token are those of its bytes on their own, because no
//! merge ever crossed the token's ends; so a byte string has one way to become a token, training
//! cannot give it two ids, a piece that is a token needs only a lookup, and looking pairs up by
//! their bytes (as tiktoken does) or by their ids (as Hugging Face does) is the same. Tables that
//! were not trained, but read, are checked for it: see [`Merges::checked`].

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rustc_hash::FxHashMap;

/// Number of byte tokens; the first merge gets this id.
pub(crate) const BYTES: usize = 256;

/// Pieces up to this length are merged by scanning; longer ones by [`LongMerge`].
const SCAN_LEN: usize = 64;

const NONE: u32 = u32::MAX;

/// The merges in order, the bytes of every token, and the lookup by pair.
#[derive(Clone, Debug)]
pub(crate) struct Merges {
    pairs: Vec<(u32, u32)>,
    merged: FxHashMap<u64, u32>,
    bytes: Vec<u8>,
    /// Token `id` is `bytes[ends[id - 1]..ends[id]]`.
    ends: Vec<usize>,
}

impl Merges {
    /// The table of merges that come from training. A pair must name earlier ids.
    pub(crate) fn new(pairs: Vec<(u32, u32)>) -> Merges {
        let mut merges = Merges {
            merged: FxHashMap::with_capacity_and_hasher(pairs.len(), Default::default()),
            bytes: (0..=u8::MAX).collect(),
            ends: (1..=BYTES).collect(),
            pairs: Vec::with_capacity(pairs.len()),
        };
        for (left, right) in pairs {
            merges.push(left, right);
        }
        merges
    }

    /// Appends a merge of two earlier ids.
    pub(crate) fn push(&mut self, left: u32, right: u32) {
        let id = self.len() as u32;
        for part in [left, right] {
            let (start, end) = self.range(part);
            self.bytes.extend_from_within(start..end);
        }
        self.ends.push(self.bytes.len());
        // If a pair came twice the first one would be the one in force.
        self.merged.entry(pack(left, right)).or_insert(id);
        self.pairs.push((left, right));
    }

    /// The same table if merging every token's bytes gives that token, else the first id that does
    /// not come out.
    pub(crate) fn checked(self) -> Result<Merges, u32> {
        let mut scratch = MergeScratch::default();
        let mut ids = Vec::new();
        for id in BYTES as u32..self.len() as u32 {
            ids.clear();
            self.merge(self.token(id), &mut scratch, &mut ids);
            if ids != [id] {
                return Err(id);
            }
        }
        Ok(self)
    }

    /// Number of tokens: bytes and merges.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The pairs in order; pair `k` makes id `256 + k`.
    pub(crate) fn pairs(&self) -> &[(u32, u32)] {
        &self.pairs
    }

    /// Bytes of a token, `id < len()`.
    pub(crate) fn token(&self, id: u32) -> &[u8] {
        let (start, end) = self.range(id);
        &self.bytes[start..end]
    }

    fn range(&self, id: u32) -> (usize, usize) {
        let id = id as usize;
        (if id == 0 { 0 } else { self.ends[id - 1] }, self.ends[id])
    }

    fn token_len(&self, id: u32) -> usize {
        let (start, end) = self.range(id);
        end - start
    }

    /// The id that the pair becomes, [`NONE`] if it is not merged.
    #[inline]
    fn merged(&self, left: u32, right: u32) -> u32 {
        self.merged.get(&pack(left, right)).copied().unwrap_or(NONE)
    }

    /// Appends the ids of `piece` to `out`.
    pub(crate) fn merge(&self, piece: &[u8], scratch: &mut MergeScratch, out: &mut Vec<u32>) {
        if piece.len() <= SCAN_LEN {
            self.merge_by_scan(piece, out);
        } else {
            scratch.merge(self, piece, out);
        }
    }

    fn merge_by_scan(&self, piece: &[u8], out: &mut Vec<u32>) {
        let mut len = piece.len();
        let mut ids = [0; SCAN_LEN];
        // next[i] is what the pair (ids[i], ids[i + 1]) becomes.
        let mut next = [NONE; SCAN_LEN];
        for (id, byte) in ids.iter_mut().zip(piece) {
            *id = u32::from(*byte);
        }
        for at in 1..len {
            next[at - 1] = self.merged(ids[at - 1], ids[at]);
        }
        while len > 1 {
            let pairs = &next[..len - 1];
            let lowest = pairs.iter().copied().min().unwrap_or(NONE);
            if lowest == NONE {
                break;
            }
            let at = pairs.iter().position(|id| *id == lowest).unwrap_or(0);
            ids[at] = lowest;
            ids.copy_within(at + 2..len, at + 1);
            next.copy_within(at + 1..len, at);
            len -= 1;
            if at > 0 {
                next[at - 1] = self.merged(ids[at - 1], lowest);
            }
            next[at] = if at + 1 < len { self.merged(lowest, ids[at + 1]) } else { NONE };
        }
        out.extend_from_slice(&ids[..len]);
    }
}

#[inline]
pub(crate) fn pack(left: u32, right: u32) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

/// Buffers of the long-piece method, kept between calls.
///
/// `slots` has one place per byte; the first and the last byte of each current token hold its id,
/// so that both neighbours are found without links. Candidates wait in one queue per merged id;
/// as merged ids only rise, each queue is sorted and emptied once: O(n log n) in all.
#[derive(Debug, Default)]
pub(crate) struct MergeScratch {
    slots: Vec<u32>,
    queues: FxHashMap<u32, Vec<u32>>,
    order: BinaryHeap<Reverse<u32>>,
}

impl MergeScratch {
    fn merge(&mut self, merges: &Merges, piece: &[u8], out: &mut Vec<u32>) {
        // Positions are u32: a piece of 4 GiB and more is merged in parts of that size.
        for part in piece.chunks(u32::MAX as usize) {
            self.slots.clear();
            self.slots.extend(part.iter().map(|byte| u32::from(*byte)));
            for at in 1..part.len() {
                self.offer(merges, at - 1, self.slots[at - 1], self.slots[at]);
            }
            while let Some(Reverse(id)) = self.order.pop() {
                self.apply(merges, id);
            }
            self.emit(merges, out);
        }
    }

    /// Queues the pair at byte `at` if the table merges it.
    fn offer(&mut self, merges: &Merges, at: usize, left: u32, right: u32) {
        let id = merges.merged(left, right);
        if id != NONE {
            let queue = self.queues.entry(id).or_default();
            if queue.is_empty() {
                self.order.push(Reverse(id));
            }
            queue.push(at as u32);
        }
    }

    /// Makes every merge into `id` that is still possible, from left to right.
    fn apply(&mut self, merges: &Merges, id: u32) {
        let mut queue = self.queues.remove(&id).unwrap_or_default();
        queue.sort_unstable();
        let (left, right) = merges.pairs[id as usize - BYTES];
        let (left_len, len) = (merges.token_len(left), merges.token_len(id));
        for at in queue {
            let start = at as usize;
            let (middle, end) = (start + left_len, start + len);
            if self.slots[start] != left || self.slots.get(middle) != Some(&right) {
                continue;
            }
            self.slots[middle - 1] = NONE;
            self.slots[middle] = NONE;
            self.slots[start] = id;
            self.slots[end - 1] = id;
            if start > 0 {
                let before = self.slots[start - 1];
                self.offer(merges, start - merges.token_len(before), before, id);
            }
            if end < self.slots.len() {
                self.offer(merges, start, id, self.slots[end]);
            }
        }
    }

    fn emit(&mut self, merges: &Merges, out: &mut Vec<u32>) {
        let mut at = 0;
        while at < self.slots.len() {
            let id = self.slots[at];
            out.push(id);
            at += merges.token_len(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(merges: &Merges, piece: &[u8], long: bool) -> Vec<u32> {
        let mut out = Vec::new();
        if long {
            MergeScratch::default().merge(merges, piece, &mut out);
        } else {
            merges.merge_by_scan(piece, &mut out);
        }
        out
    }

    #[test]
    fn lowest_id_first_then_leftmost() {
        let (a, b) = (u32::from(b'a'), u32::from(b'b'));
        let merges = Merges::new(vec![(a, a), (a, b), (256, 256)]).checked().unwrap();
        for long in [false, true] {
            assert_eq!(ids(&merges, b"aaa", long), [256, a]);
            assert_eq!(ids(&merges, b"aab", long), [256, b]);
            assert_eq!(ids(&merges, b"aaaab", long), [258, b]);
            assert_eq!(ids(&merges, b"bab", long), [b, 257]);
            assert_eq!(ids(&merges, b"z", long), [u32::from(b'z')]);
        }
    }

    #[test]
    fn a_token_that_its_bytes_never_become_is_found() {
        let (a, b) = (u32::from(b'a'), u32::from(b'b'));
        // aa is merged before ab, so (a, ab) never meet in aab.
        assert_eq!(Merges::new(vec![(a, a), (a, b), (a, 257)]).checked().unwrap_err(), 258);
        // Two merges with the same bytes.
        assert_eq!(
            Merges::new(vec![(a, b), (256, a), (b, a), (a, 258)]).checked().unwrap_err(),
            259
        );
        // The same pair twice.
        assert_eq!(Merges::new(vec![(a, b), (a, b)]).checked().unwrap_err(), 257);
    }

    #[test]
    fn a_long_run_of_one_letter_is_merged_quickly() {
        let a = u32::from(b'a');
        let merges = Merges::new(vec![(a, a), (256, 256), (257, 257)]);
        let piece = vec![b'a'; 10_000_003];
        let mut expected = vec![258; 10_000_000 / 8];
        expected.extend([256, a]);
        assert_eq!(ids(&merges, &piece, true), expected);
    }
}
