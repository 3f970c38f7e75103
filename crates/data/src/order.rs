//! The order of the documents in an epoch.

use std::ops::Range;
use std::sync::Arc;

use crate::shard::{Block, Shard};

/// Documents are shuffled within so many bytes of text, where reading one means reading its row group.
pub(crate) const WINDOW_BYTES: u64 = 64 << 20;

/// How documents lie, as far as it decides the order in which they are read.
pub(crate) enum Layout {
    /// Each can be read by itself.
    Single(Range<u32>),
    /// They are read a block at a time.
    Blocks(Vec<Block>),
}

impl Layout {
    /// Of training documents that are numbered from `start` on in each of the files, which follow one another.
    pub(crate) fn new(shards: &[(usize, &Arc<Shard>)]) -> Self {
        if shards.iter().any(|(_, shard)| shard.reads_blocks()) {
            return Self::blocks(shards);
        }
        let start = shards.first().map_or(0, |(start, _)| *start as u32);
        let end = shards.last().map_or(0, |(start, shard)| (start + shard.train.len()) as u32);
        Self::Single(start..end)
    }

    /// The same in blocks, whether the files need it or not.
    pub(crate) fn blocks(shards: &[(usize, &Arc<Shard>)]) -> Self {
        let of_shard = |(start, shard): &(usize, &Arc<Shard>)| {
            let start = *start as u32;
            shard.blocks().into_iter().map(move |b| Block { start: b.start + start, ..b })
        };
        Self::Blocks(shards.iter().flat_map(of_shard).collect())
    }

    /// The documents of a rank of `world` in an epoch, in order. Blocks are dealt whole where there are enough.
    pub(crate) fn order(&self, seed: u64, epoch: u64, (rank, world): (usize, usize)) -> Vec<u32> {
        let deal = |all: Vec<u32>| all.into_iter().skip(rank).step_by(world).collect::<Vec<u32>>();
        let blocks = match self {
            Self::Single(range) => {
                let order = epoch_order(seed, epoch, range.len() as u32);
                return deal(order.into_iter().map(|number| range.start + number).collect());
            }
            Self::Blocks(blocks) => blocks,
        };
        let order = epoch_order(seed, epoch, blocks.len() as u32);
        let at = |number: &u32| blocks[*number as usize];
        if blocks.len() >= world {
            let mine: Vec<Block> = deal(order).iter().map(at).collect();
            return shuffle_windows(seed, epoch, &mine);
        }
        let all: Vec<Block> = order.iter().map(at).collect();
        deal(shuffle_windows(seed, epoch, &all))
    }
}

/// Shuffles the documents of blocks that follow one another, as many blocks at a time as can be held in memory.
fn shuffle_windows(seed: u64, epoch: u64, blocks: &[Block]) -> Vec<u32> {
    let mut order = Vec::with_capacity(blocks.iter().map(|block| block.len as usize).sum());
    let mut at = 0;
    while at < blocks.len() {
        let (first, mut bytes) = (blocks[at], 0);
        let mut window = Vec::new();
        while at < blocks.len() && (window.is_empty() || bytes + blocks[at].text_bytes <= WINDOW_BYTES) {
            let block = blocks[at];
            window.extend(block.start..block.start + block.len);
            bytes += block.text_bytes;
            at += 1;
        }
        let mut hasher = blake3::Hasher::new_derive_key("kiln data window order 1");
        hasher.update(&seed.to_le_bytes());
        hasher.update(&epoch.to_le_bytes());
        hasher.update(&first.start.to_le_bytes());
        shuffle(&mut window, &hasher);
        order.append(&mut window);
    }
    order
}

/// A permutation of `0..count` that depends on the seed and the epoch alone, so that any epoch's order can be
/// made at any time.
pub(crate) fn epoch_order(seed: u64, epoch: u64, count: u32) -> Vec<u32> {
    let mut hasher = blake3::Hasher::new_derive_key("kiln data epoch order 1");
    hasher.update(&seed.to_le_bytes());
    hasher.update(&epoch.to_le_bytes());
    let mut order: Vec<u32> = (0..count).collect();
    shuffle(&mut order, &hasher);
    order
}

/// Fisher-Yates over the output stream of a keyed BLAKE3. An index is drawn as the high half of a 64 x 64 bit product:
/// its bias is below count / 2^64, which no run can notice.
fn shuffle(order: &mut [u32], hasher: &blake3::Hasher) {
    let mut stream = hasher.finalize_xof();
    let mut bytes = [0; 8];
    for last in (1..order.len()).rev() {
        stream.fill(&mut bytes);
        let product = u128::from(u64::from_le_bytes(bytes)) * (last as u128 + 1);
        order.swap(last, (product >> 64) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::{Block, Layout, epoch_order};

    #[test]
    fn every_epoch_is_a_permutation_of_its_own() {
        let (a, b) = (epoch_order(1, 0, 500), epoch_order(1, 1, 500));
        assert_ne!(a, b);
        assert_ne!(a, epoch_order(2, 0, 500));
        assert_eq!(a, epoch_order(1, 0, 500));
        for order in [a, b] {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..500).collect::<Vec<_>>());
            assert_ne!(order, sorted);
        }
        assert!(epoch_order(1, 0, 0).is_empty());
        assert_eq!(epoch_order(1, 0, 1), [0]);
    }

    #[test]
    fn every_document_comes_first_equally_often() {
        let mut first = [0; 5];
        for epoch in 0..5000 {
            first[epoch_order(3, epoch, 5)[0] as usize] += 1;
        }
        // Mean 1000, standard deviation 28.
        assert!(first.iter().all(|n| (860..1140).contains(n)), "{first:?}");
    }

    #[test]
    fn the_order_is_the_same_in_every_build() {
        assert_eq!(epoch_order(42, 7, 10), PINNED);
    }

    /// Saved states depend on it: a change breaks every resume.
    const PINNED: [u32; 10] = [4, 7, 2, 8, 0, 5, 9, 6, 1, 3];

    fn blocks(lengths: &[(u32, u64)]) -> Layout {
        let mut start = 0;
        let block = |(len, text_bytes): &(u32, u64)| {
            start += len;
            Block { start: start - len, len: *len, text_bytes: *text_bytes }
        };
        Layout::Blocks(lengths.iter().map(block).collect())
    }

    #[test]
    fn ranks_share_the_blocks_and_every_document_is_in_one_of_them() {
        let lengths: Vec<(u32, u64)> = (0..23).map(|n| (1 + n * 7 % 40, 20 << 20)).collect();
        let layout = blocks(&lengths);
        let count: u32 = lengths.iter().map(|(len, _)| len).sum();
        // With 64 ranks there are fewer blocks than ranks: documents are dealt.
        for world in [1, 2, 3, 23, 64] {
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
        let layout = blocks(&[(100, 16 << 20); 40]);
        let order = layout.order(1, 0, (0, 1));
        // Four blocks of 16 MiB are a window.
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
