//! BPE training: from piece counts to merges.
//!
//! The text begins as bytes, with the merges of the kind that come before all others made, and without the
//! pieces that are fixed tokens, which are never merged. At each step the pair with the highest count becomes a token; of equal counts the smallest
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
use crate::merges::{MergeScratch, Merges, pack};

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

/// The merges of the kind and those of a corpus in order, until `wanted` tokens are learned (fixed tokens that a
/// merge makes do not count) or no pair is left.
///
/// # Errors
/// [`Error::TooLarge`] when the distinct pieces have 1.4 GB or more in all.
pub(crate) fn train(counts: &PieceCounts, wanted: usize) -> Result<Merges> {
    let fixed = counts.kind().fixed();
    let mut merges = Merges::new(counts.kind().base_merges());
    let mut trainer = Trainer::new(counts, &merges)?;
    let mut learned = 0;
    while learned < wanted
        && let Some((left, right)) = trainer.step()
    {
        merges.push(left, right);
        if fixed.place(merges.token(merges.len() as u32 - 1)).is_none() {
            learned += 1;
        }
    }
    Ok(merges)
}

impl Trainer {
    fn new(counts: &PieceCounts, base: &Merges) -> Result<Trainer> {
        let mut trainer = Trainer {
            slots: fill_slots(counts, base)?,
            positions: Vec::new(),
            heap: BinaryHeap::new(),
            lens: (0..base.len() as u32).map(|id| base.token(id).len() as u32).collect(),
            lefts: Side::default(),
            rights: Side::default(),
            merged_at: Vec::new(),
        };
        trainer.list_first_pairs();
        Ok(trainer)
    }

    fn list_first_pairs(&mut self) {
        let tokens = self.lens.len();
        let mut found = vec![Neighbour::default(); tokens * tokens];
        for_each_pair(&self.slots, &self.lens, |_, left, right, weight| {
            let pair = &mut found[left as usize * tokens + right as usize];
            pair.count += u64::from(weight);
            pair.len += 1;
        });
        let mut total = 0;
        let mut candidates = Vec::new();
        for (index, pair) in found.iter_mut().enumerate().filter(|(_, pair)| pair.len > 0) {
            pair.cursor = total;
            candidates.push(Candidate {
                count: pair.count,
                pair: Reverse(pack((index / tokens) as u32, (index % tokens) as u32)),
                first: total,
                len: pair.len,
            });
            total += pair.len;
        }
        let positions = &mut self.positions;
        positions.resize(total as usize, 0);
        for_each_pair(&self.slots, &self.lens, |at, left, right, _| {
            let pair = &mut found[left as usize * tokens + right as usize];
            positions[pair.cursor as usize] = at;
            pair.cursor += 1;
        });
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

/// Calls `visit` with position, both ids and weight of each pair, in order.
#[inline]
fn for_each_pair(slots: &[Slot], lens: &[u32], mut visit: impl FnMut(u32, u32, u32, u32)) {
    // The first slot of all and the one behind each piece are gaps.
    let mut at = 1;
    while let Some(slot) = slots.get(at) {
        let next = at + lens[slot.id as usize] as usize;
        let right = slots[next].id;
        if right == NONE {
            at = next + 1;
        } else {
            visit(at as u32, slot.id, right, slot.weight);
            at = next;
        }
    }
}

/// Lays the distinct pieces of two bytes and more out in a row, a gap before and behind each.
fn fill_slots(counts: &PieceCounts, base: &Merges) -> Result<Vec<Slot>> {
    let fixed = counts.kind().fixed();
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
    let mut first_merges = FirstMerges::new(base);
    counts.for_each(|piece, count| {
        if piece.len() < 2 || fixed.place(piece).is_some() {
            return;
        }
        // A count beyond u32 is spread over copies of the piece, which changes no pair's count.
        let mut left = count;
        while left > 0 {
            let weight = left.min(u64::from(u32::MAX)) as u32;
            let first = slots.len();
            slots.extend(piece.iter().map(|byte| Slot { id: u32::from(*byte), weight }));
            first_merges.apply(piece, &mut slots[first..]);
            slots.push(gap);
            left -= u64::from(weight);
        }
    });
    Ok(slots)
}

/// Makes the merges that come before those that are learned.
struct FirstMerges<'a> {
    base: &'a Merges,
    /// By byte: whether a merge makes a token that begins with it.
    begins: [bool; 256],
    scratch: MergeScratch,
    ids: Vec<u32>,
}

impl FirstMerges<'_> {
    fn new(base: &Merges) -> FirstMerges<'_> {
        let mut begins = [false; 256];
        base.pairs().iter().for_each(|(left, _)| begins[usize::from(base.token(*left)[0])] = true);
        FirstMerges { base, begins, scratch: MergeScratch::default(), ids: Vec::new() }
    }

    fn apply(&mut self, piece: &[u8], slots: &mut [Slot]) {
        if !piece.iter().any(|byte| self.begins[usize::from(*byte)]) {
            return;
        }
        self.ids.clear();
        self.base.merge(piece, &mut self.scratch, &mut self.ids);
        let mut at = 0;
        for id in &self.ids {
            let end = at + self.base.token(*id).len();
            slots[at..end].iter_mut().for_each(|slot| slot.id = NONE);
            (slots[at].id, slots[end - 1].id) = (*id, *id);
            at = end;
        }
    }
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
        assert_eq!(train(&counts, 9).unwrap().pairs(), [pair(b"cd"), pair(b"ef"), pair(b"ab")]);
    }
}
