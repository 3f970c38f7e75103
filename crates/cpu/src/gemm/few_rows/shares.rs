//! Dividing blocks among threads such that each works through neighbours, yet none waits while another has work left.

use std::sync::atomic::{AtomicU64, Ordering};

/// Most ranges; threads beyond share them.
const MOST: usize = 16;

/// A range of blocks: its first one in the low half, its end in the high half. (Aligned, since each is written by a
/// thread of its own.)
#[repr(align(128))]
struct Share(AtomicU64);

/// Blocks `0..n`, cut into as many ranges as there are threads. Whoever owns a range takes blocks from its front, in the
/// order of memory; whoever has none left takes others' from the back.
pub(super) struct Shares {
    shares: [Share; MOST],
    count: usize,
}

impl Shares {
    pub(super) fn new(blocks: usize, threads: usize) -> Self {
        let blocks = u32::try_from(blocks).expect("fewer than 2^32 blocks") as u64;
        let count = threads.clamp(1, MOST);
        let bound = |i: usize| blocks * i.min(count) as u64 / count as u64;
        let share = |i: usize| Share(AtomicU64::new(bound(i) | bound(i + 1) << 32));
        Shares { shares: std::array::from_fn(share), count }
    }

    /// Calls `task` for every block that is left when its turn comes, those of thread `number` first.
    pub(super) fn work(&self, number: usize, mut task: impl FnMut(usize)) {
        while let Some(block) = self.take(number % self.count, true) {
            task(block);
        }
        for other in 1..self.count {
            while let Some(block) = self.take((number + other) % self.count, false) {
                task(block);
            }
        }
    }

    fn take(&self, share: usize, front: bool) -> Option<usize> {
        let rest = &self.shares[share].0;
        let taken = rest.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |rest| {
            let (from, to) = (rest & u64::from(u32::MAX), rest >> 32);
            (from < to).then(|| if front { rest + 1 } else { rest - (1 << 32) })
        });
        let rest = taken.ok()?;
        Some(if front { rest & u64::from(u32::MAX) } else { (rest >> 32) - 1 } as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_taken_once() {
        for (blocks, threads) in [(0, 1), (1, 3), (7, 2), (100, 3), (1000, 40)] {
            let shares = Shares::new(blocks, threads);
            let mut counts = vec![0; blocks];
            // The second takes some from the front, others from the back, the first what is left.
            shares.work(1, |block| {
                counts[block] += 1;
                if block % 3 == 0
                    && let Some(block) = shares.take(0, true)
                {
                    counts[block] += 1;
                }
            });
            shares.work(0, |block| counts[block] += 1);
            assert!(
                counts.iter().all(|&n| n == 1),
                "{blocks} blocks, {threads} threads: {counts:?}"
            );
        }
    }
}
