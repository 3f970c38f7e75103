//! The order of the documents in an epoch.
//!
//! Documents are shuffled in such a way that those of every length are spread evenly: any stretch of an epoch holds
//! about as many short and long ones as any other. Were the order left to chance alone, a tenth of an epoch could hold
//! half or twice its share of the few longest documents, and these are a large part of the tokens.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::shard::{Block, Shard};

/// Documents are shuffled within so many bytes of text, where reading one means reading its row group.
pub(crate) const WINDOW_BYTES: u64 = 64 << 20;

/// How documents lie, as far as it decides the order in which they are read.
pub(crate) struct Layout {
    /// Documents that lie together.
    blocks: Vec<Block>,
    /// Whether they should be read together.
    together: bool,
    /// Number of the first document.
    first: u32,
    /// Bytes of the text of each document from that on.
    text_bytes: Vec<u32>,
}

impl Layout {
    /// Of training documents that are numbered from `start` on in each of the files.
    pub(crate) fn new(shards: &[(usize, &Arc<Shard>)]) -> Self {
        let together = shards.iter().any(|(_, shard)| shard.reads_blocks());
        let first = shards.iter().map(|(start, _)| *start).min().unwrap_or(0);
        let end = shards.iter().map(|(start, shard)| start + shard.train.len()).max().unwrap_or(0);
        let mut text_bytes = vec![0; end - first];
        let mut blocks = Vec::new();
        for (start, shard) in shards {
            for (to, entry) in text_bytes[start - first..].iter_mut().zip(&shard.train) {
                *to = entry.text_bytes;
            }
            let start = *start as u32;
            blocks.extend(shard.blocks().iter().map(|b| Block { start: b.start + start, ..*b }));
        }
        Self { blocks, together, first: first as u32, text_bytes }
    }

    /// The documents of a rank of `world` in an epoch, in order. Blocks that should be read together are dealt whole
    /// where there are enough.
    pub(crate) fn order(&self, seed: u64, epoch: u64, (rank, world): (usize, usize)) -> Vec<u32> {
        let deal = |all: Vec<u32>| all.into_iter().skip(rank).step_by(world).collect::<Vec<u32>>();
        if !self.together {
            return deal(self.spread(seed, epoch, &self.blocks));
        }
        let order = epoch_order(seed, epoch, self.blocks.len() as u32);
        let at = |number: &u32| self.blocks[*number as usize];
        if self.blocks.len() >= world {
            let mine: Vec<Block> = deal(order).iter().map(at).collect();
            return self.spread_windows(seed, epoch, &mine);
        }
        let all: Vec<Block> = order.iter().map(at).collect();
        deal(self.spread_windows(seed, epoch, &all))
    }

    /// Spreads the documents of as many blocks at a time as can be held in memory.
    fn spread_windows(&self, seed: u64, epoch: u64, blocks: &[Block]) -> Vec<u32> {
        let mut order = Vec::with_capacity(blocks.iter().map(|block| block.len as usize).sum());
        let mut rest = blocks;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |block: &&Block| {
                bytes += block.text_bytes;
                bytes <= WINDOW_BYTES
            };
            let (window, after) = rest.split_at(rest.iter().take_while(fits).count().max(1));
            order.extend(self.spread(seed, epoch, window));
            rest = after;
        }
        order
    }

    /// Shuffles the documents of some blocks so that those of every length are spread evenly.
    ///
    /// Documents whose lengths differ by less than a factor of two are shuffled among themselves and laid side by side
    /// over the whole epoch, each over its share of their bytes. A document's place is a random one within its stretch.
    /// So up to any place, what has been read of each length is right to within one document.
    fn spread(&self, seed: u64, epoch: u64, blocks: &[Block]) -> Vec<u32> {
        let mut hasher = blake3::Hasher::new_derive_key("kiln data even order 1");
        hasher.update(&seed.to_le_bytes());
        hasher.update(&epoch.to_le_bytes());
        hasher.update(&blocks.first().map_or(0, |block| block.start).to_le_bytes());
        let mut random = Random(hasher.finalize_xof());
        let documents = blocks.iter().flat_map(|block| block.start..block.start + block.len);
        let mut by_length: BTreeMap<u32, Vec<(u64, u32)>> = BTreeMap::new();
        for document in documents {
            let class = (self.length(document)).ilog2();
            by_length.entry(class).or_default().push((random.next(), document));
        }
        let mut placed = Vec::with_capacity(self.text_bytes.len());
        for mut alike in by_length.into_values() {
            alike.sort_unstable();
            let total: u64 = alike.iter().map(|(_, document)| self.length(*document)).sum();
            let mut before = 0;
            for (_, document) in alike {
                let length = self.length(document);
                let within = u128::from(random.next() >> 32) * u128::from(length);
                let place = (((u128::from(before) << 32) + within) << 24) / u128::from(total);
                placed.push((place as u64, document));
                before += length;
            }
        }
        placed.sort_unstable();
        placed.into_iter().map(|(_, document)| document).collect()
    }

    /// Bytes of a document, at least 1.
    fn length(&self, document: u32) -> u64 {
        u64::from(self.text_bytes[(document - self.first) as usize]).max(1)
    }
}

/// Random numbers of a keyed BLAKE3.
struct Random(blake3::OutputReader);

impl Random {
    fn next(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

/// A permutation of `0..count` that depends on the seed and the epoch alone, so that any epoch's order can be
/// made at any time.
///
/// Fisher-Yates over the output stream of a keyed BLAKE3. An index is drawn as the high half of a 64 x 64 bit product:
/// its bias is below count / 2^64, which no run can notice.
fn epoch_order(seed: u64, epoch: u64, count: u32) -> Vec<u32> {
    let mut hasher = blake3::Hasher::new_derive_key("kiln data epoch order 1");
    hasher.update(&seed.to_le_bytes());
    hasher.update(&epoch.to_le_bytes());
    let mut random = Random(hasher.finalize_xof());
    let mut order: Vec<u32> = (0..count).collect();
    for last in (1..order.len()).rev() {
        let product = u128::from(random.next()) * (last as u128 + 1);
        order.swap(last, (product >> 64) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of so many documents of so many bytes each.
    fn layout(blocks: &[(u32, u32)], together: bool) -> Layout {
        let mut text_bytes = Vec::new();
        let block = |(len, bytes): &(u32, u32)| {
            let start = text_bytes.len() as u32;
            text_bytes.extend(vec![*bytes; *len as usize]);
            Block { start, len: *len, text_bytes: u64::from(len * bytes) }
        };
        Layout { blocks: blocks.iter().map(block).collect(), together, first: 0, text_bytes }
    }

    fn orders(count: u32) -> [impl Fn(u64, u64) -> Vec<u32>; 2] {
        let even = move |seed, epoch| layout(&[(count, 10)], false).order(seed, epoch, (0, 1));
        let plain = move |seed, epoch| epoch_order(seed, epoch, count);
        [
            Box::new(even) as Box<dyn Fn(u64, u64) -> Vec<u32>>,
            Box::new(plain) as Box<dyn Fn(u64, u64) -> Vec<u32>>,
        ]
    }

    #[test]
    fn every_epoch_is_a_permutation_of_its_own() {
        for order in orders(500) {
            let (a, b) = (order(1, 0), order(1, 1));
            assert_ne!(a, b);
            assert_ne!(a, order(2, 0));
            assert_eq!(a, order(1, 0));
            for order in [a, b] {
                let mut sorted = order.clone();
                sorted.sort_unstable();
                assert_eq!(sorted, (0..500).collect::<Vec<_>>());
                assert_ne!(order, sorted);
            }
        }
        assert!(orders(0).iter().all(|order| order(1, 0).is_empty()));
        assert!(orders(1).iter().all(|order| order(1, 0) == [0]));
    }

    #[test]
    fn every_document_comes_first_equally_often() {
        for order in orders(5) {
            let mut first = [0; 5];
            for epoch in 0..5000 {
                first[order(3, epoch)[0] as usize] += 1;
            }
            // Mean 1000, standard deviation 28.
            assert!(first.iter().all(|n| (860..1140).contains(n)), "{first:?}");
        }
    }

    #[test]
    fn documents_do_not_keep_together() {
        let layout = layout(&[(500, 10), (500, 20), (500, 1000)], false);
        let mut neighbours = std::collections::HashMap::new();
        for epoch in 0..200 {
            for pair in layout.order(9, epoch, (0, 1)).windows(2) {
                *neighbours.entry((pair[0], pair[1])).or_insert(0) += 1;
            }
        }
        // Each document has 200 neighbours out of 1,500.
        assert!(neighbours.values().all(|times| *times <= 6), "{:?}", neighbours.values().max());
    }

    #[test]
    fn long_documents_are_spread_evenly() {
        let lengths: Vec<(u32, u32)> =
            (0..2000).map(|n| (1, if n < 60 { 50_000 } else { 500 })).collect();
        let layout = layout(&lengths, false);
        for epoch in 0..50 {
            for tenth in layout.order(4, epoch, (0, 1)).chunks(200) {
                let long = tenth.iter().filter(|document| **document < 60).count();
                assert!((5..=7).contains(&long), "{long} of the 60 longest in a tenth");
            }
        }
    }

    #[test]
    fn the_order_is_the_same_in_every_build() {
        assert_eq!(orders(10).map(|order| order(42, 7)), PINNED);
    }

    /// Saved states depend on it: a change breaks every resume.
    const PINNED: [[u32; 10]; 2] = [[1, 8, 3, 5, 2, 9, 7, 4, 0, 6], [4, 7, 2, 8, 0, 5, 9, 6, 1, 3]];

    #[test]
    fn ranks_share_the_blocks_and_every_document_is_in_one_of_them() {
        let lengths: Vec<(u32, u32)> = (0..23).map(|n| (1 + n * 7 % 40, 1 << 20)).collect();
        let count: u32 = lengths.iter().map(|(len, _)| len).sum();
        // With 64 ranks there are fewer blocks than ranks: documents are dealt.
        for (world, together) in
            [(1, true), (2, true), (3, true), (23, true), (64, true), (3, false)]
        {
            let layout = layout(&lengths, together);
            for epoch in 0..3 {
                let mut all: Vec<u32> =
                    (0..world).flat_map(|rank| layout.order(5, epoch, (rank, world))).collect();
                all.sort_unstable();
                assert_eq!(all, (0..count).collect::<Vec<_>>(), "{world} ranks");
            }
        }
    }

    #[test]
    fn few_blocks_are_open_at_a_time() {
        let layout = layout(&[(100, 160 << 10); 40], true);
        let order = layout.order(1, 0, (0, 1));
        // Four blocks of 16 MB are a window.
        for window in order.chunks(400) {
            let mut of: Vec<u32> = window.iter().map(|document| document / 100).collect();
            assert!(of.windows(2).filter(|pair| pair[0] != pair[1]).count() > 200);
            of.sort_unstable();
            of.dedup();
            assert_eq!(of.len(), 4);
        }
        assert_ne!(order, layout.order(1, 1, (0, 1)));
    }
}
