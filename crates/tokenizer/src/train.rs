//! BPE training: from piece counts to merges.
//!
//! At each step the pair with the highest count becomes a token; of equal counts the smallest
//! (left id, right id) wins. A pair's count sums, over distinct pieces, the piece's count times the
//! adjacent positions that hold the pair, overlapping ones too.
//!
//! Three facts make this fast without a map from pairs to counts:
//!
//! - All occurrences of a pair arise at once, in the step that makes the younger of its two ids. So
//!   the positions of a pair are listed once, grouped by neighbour in scratch arrays.
//! - After that a pair's count only falls. The heap may hold counts that are too high: a popped
//!   pair is recounted over its positions, and goes back unless the count still stands. Pairs that
//!   never reach the top cost nothing.
//! - With a token's id stored at its first and last byte, both neighbours of a token are found
//!   without links, and every listed position can be checked in place.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::count::PieceCounts;
use crate::error::{Error, Result};
use crate::merges::{BYTES, pack};

/// Marks the inside of tokens and the gaps between pieces.
const NONE: u32 = u32::MAX;

/// One byte of a distinct piece, or the gap before it.
#[derive(Clone, Copy)]
struct Slot {
    /// Id of the token whose first or last byte this is, else [`NONE`].
    id: u32,
    /// How often the piece occurs.
    weight: u32,
}

/// A pair with an upper bound of its count; ordered by what is merged first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    count: u64,
    pair: Reverse<u64>,
    /// First and number of the pair's entries in `positions`.
    first: u32,
    len: u32,
}

/// What one step gathers about the pairs that a neighbour forms with the new token.
#[derive(Clone, Copy, Default)]
struct Neighbour {
    count: u64,
    len: u32,
    /// Where its next position is written.
    cursor: u32,
}

struct Trainer {
    slots: Vec<Slot>,
    /// Byte positions of the left token of each listed pair, ascending within a pair.
    positions: Vec<u32>,
    heap: BinaryHeap<Candidate>,
    /// Length in bytes of each id.
    lens: Vec<u32>,
    lefts: Side,
    rights: Side,
    merged_at: Vec<u32>,
}

/// Scratch for the neighbours on one side of a new token.
#[derive(Default)]
struct Side {
    /// By id; reset after each step through `touched`.
    by_id: Vec<Neighbour>,
    touched: Vec<u32>,
    /// The neighbour at each merged position, [`NONE`] where there is no pair.
    seen: Vec<u32>,
}

/// The merges of a corpus in order, at most `max_merges`; fewer when no pair is left.
///
/// # Errors
/// [`Error::TooLarge`] when the distinct pieces have 4 GiB or more in all.
pub(crate) fn train(counts: &PieceCounts, max_merges: usize) -> Result<Vec<(u32, u32)>> {
    let mut trainer = Trainer::new(counts)?;
    let mut merges = Vec::with_capacity(max_merges.min(1 << 20));
    while merges.len() < max_merges
        && let Some(pair) = trainer.step()
    {
        merges.push(pair);
    }
    Ok(merges)
}

impl Trainer {
    fn new(counts: &PieceCounts) -> Result<Trainer> {
        let mut trainer = Trainer {
            slots: fill_slots(counts)?,
            positions: Vec::new(),
            heap: BinaryHeap::new(),
            lens: vec![1; BYTES],
            lefts: Side::default(),
            rights: Side::default(),
            merged_at: Vec::new(),
        };
        trainer.list_byte_pairs();
        Ok(trainer)
    }

    fn list_byte_pairs(&mut self) {
        let byte_pair = |pair: &[Slot]| {
            (pair[0].id != NONE && pair[1].id != NONE)
                .then(|| pair[0].id as usize * BYTES + pair[1].id as usize)
        };
        let mut found = vec![Neighbour::default(); BYTES * BYTES];
        for pair in self.slots.windows(2) {
            if let Some(index) = byte_pair(pair) {
                found[index].count += u64::from(pair[0].weight);
                found[index].len += 1;
            }
        }
        let mut total = 0;
        let mut candidates = Vec::new();
        for (index, pair) in found.iter_mut().enumerate().filter(|(_, pair)| pair.len > 0) {
            pair.cursor = total;
            candidates.push(Candidate {
                count: pair.count,
                pair: Reverse(pack((index / BYTES) as u32, (index % BYTES) as u32)),
                first: total,
                len: pair.len,
            });
            total += pair.len;
        }
        self.positions.resize(total as usize, 0);
        for (at, pair) in self.slots.windows(2).enumerate() {
            if let Some(index) = byte_pair(pair) {
                self.positions[found[index].cursor as usize] = at as u32;
                found[index].cursor += 1;
            }
        }
        self.heap = candidates.into();
    }

    /// Makes the next merge and tells its pair.
    fn step(&mut self) -> Option<(u32, u32)> {
        while let Some(mut best) = self.heap.pop() {
            let (left, right) = ((best.pair.0 >> 32) as u32, best.pair.0 as u32);
            let bound = best.count;
            self.recount(&mut best, left, right);
            if best.count == bound {
                self.merge(best, left, right);
                return Some((left, right));
            }
            if best.count > 0 {
                self.heap.push(best);
            }
        }
        None
    }

    /// Drops the positions that no longer hold the pair and sets the exact count.
    fn recount(&mut self, candidate: &mut Candidate, left: u32, right: u32) {
        let offset = self.lens[left as usize] as usize;
        let first = candidate.first as usize;
        let mut kept = first;
        candidate.count = 0;
        for index in first..first + candidate.len as usize {
            let position = self.positions[index];
            let at = position as usize;
            let slot = self.slots[at];
            if slot.id == left && self.slots[at + offset].id == right {
                candidate.count += u64::from(slot.weight);
                self.positions[kept] = position;
                kept += 1;
            }
        }
        candidate.len = (kept - first) as u32;
    }

    fn merge(&mut self, best: Candidate, left: u32, right: u32) {
        let id = self.lens.len() as u32;
        let left_len = self.lens[left as usize] as usize;
        let len = left_len + self.lens[right as usize] as usize;
        self.lens.push(len as u32);
        self.merged_at.clear();
        for index in best.first as usize..(best.first + best.len) as usize {
            let position = self.positions[index];
            let at = position as usize;
            // A position that overlapped the one before (aaa) is gone by now.
            if self.slots[at].id == left && self.slots[at + left_len].id == right {
                self.slots[at + left_len - 1].id = NONE;
                self.slots[at + left_len].id = NONE;
                self.slots[at].id = id;
                self.slots[at + len - 1].id = id;
                self.merged_at.push(position);
            }
        }
        self.gather_neighbours(id, len);
        self.list_left_pairs(id);
        self.list_right_pairs(id);
    }

    /// Sums up, for each neighbour of the new token, positions and counts.
    fn gather_neighbours(&mut self, id: u32, len: usize) {
        self.lefts.start(id);
        self.rights.start(id);
        for position in &self.merged_at {
            let at = *position as usize;
            let weight = self.slots[at].weight;
            // The first slot of all is a gap, so `at - 1` exists. A pair of two new tokens is
            // listed once, as the right pair of the first.
            let left = self.slots[at - 1].id;
            self.lefts.see(if left == id { NONE } else { left }, weight);
            self.rights.see(self.slots[at + len].id, weight);
        }
    }

    fn list_left_pairs(&mut self, id: u32) {
        self.lefts.reserve(&mut self.positions, &mut self.heap, |left| pack(left, id));
        for (position, left) in self.merged_at.iter().zip(&self.lefts.seen) {
            if *left != NONE {
                let cursor = &mut self.lefts.by_id[*left as usize].cursor;
                self.positions[*cursor as usize] = position - self.lens[*left as usize];
                *cursor += 1;
            }
        }
        self.lefts.finish();
    }

    fn list_right_pairs(&mut self, id: u32) {
        self.rights.reserve(&mut self.positions, &mut self.heap, |right| pack(id, right));
        for (position, right) in self.merged_at.iter().zip(&self.rights.seen) {
            if *right != NONE {
                let cursor = &mut self.rights.by_id[*right as usize].cursor;
                self.positions[*cursor as usize] = *position;
                *cursor += 1;
            }
        }
        self.rights.finish();
    }
}

impl Side {
    fn start(&mut self, id: u32) {
        self.by_id.resize(id as usize + 1, Neighbour::default());
        self.seen.clear();
    }

    #[inline]
    fn see(&mut self, id: u32, weight: u32) {
        self.seen.push(id);
        if id != NONE {
            let neighbour = &mut self.by_id[id as usize];
            if neighbour.len == 0 {
                self.touched.push(id);
            }
            neighbour.len += 1;
            neighbour.count += u64::from(weight);
        }
    }

    /// Makes room for the positions of every pair that was seen, and candidates of them.
    fn reserve(
        &mut self,
        positions: &mut Vec<u32>,
        heap: &mut BinaryHeap<Candidate>,
        pair: impl Fn(u32) -> u64,
    ) {
        let mut end = positions.len() as u32;
        for id in &self.touched {
            let neighbour = &mut self.by_id[*id as usize];
            neighbour.cursor = end;
            heap.push(Candidate {
                count: neighbour.count,
                pair: Reverse(pair(*id)),
                first: end,
                len: neighbour.len,
            });
            end += neighbour.len;
        }
        positions.resize(end as usize, 0);
    }

    fn finish(&mut self) {
        for id in self.touched.drain(..) {
            self.by_id[id as usize] = Neighbour::default();
        }
    }
}

/// Lays the distinct pieces of two bytes and more out in a row, a gap before and behind each.
fn fill_slots(counts: &PieceCounts) -> Result<Vec<Slot>> {
    let mut size = 1u64;
    counts.for_each(|piece, count| size += (piece.len() as u64 + 1) * copies(count));
    // Each byte starts one pair and each merge, which ends a token, lists at most two new ones.
    let limit = u64::from(u32::MAX) / 3;
    if size > limit {
        return Err(Error::TooLarge { what: "the text of all distinct pieces", size, limit });
    }
    let gap = Slot { id: NONE, weight: 0 };
    let mut slots = Vec::with_capacity(size as usize);
    slots.push(gap);
    counts.for_each(|piece, count| {
        if piece.len() < 2 {
            return;
        }
        // A count beyond u32 is spread over copies of the piece, which changes no pair's count.
        let mut left = count;
        while left > 0 {
            let weight = left.min(u64::from(u32::MAX)) as u32;
            slots.extend(piece.iter().map(|byte| Slot { id: u32::from(*byte), weight }));
            slots.push(gap);
            left -= u64::from(weight);
        }
    });
    Ok(slots)
}

fn copies(count: u64) -> u64 {
    count.div_ceil(u64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;

    #[test]
    fn counts_beyond_32_bits_are_exact() {
        let mut counts = PieceCounts::new(Kind::Bpe);
        let over = u64::from(u32::MAX) * 2;
        for (piece, count) in [(b"ab", over + 1), (b"cd", over + 3), (b"ef", over + 2)] {
            counts.add_piece(piece, 0, 2, count);
        }
        let pair = |text: &[u8; 2]| (u32::from(text[0]), u32::from(text[1]));
        assert_eq!(train(&counts, 9).unwrap(), [pair(b"cd"), pair(b"ef"), pair(b"ab")]);
    }
}
