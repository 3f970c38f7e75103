//! Offsets for buffers that live for a span of steps, so that buffers alive at once do not overlap.

/// Every buffer begins at a multiple of this many bytes: a cache line, and the widest vector.
pub(crate) const ALIGNMENT: usize = 64;

/// A stretch of memory needed from step `first` to step `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime {
    pub first: usize,
    pub last: usize,
    pub bytes: usize,
}

impl Lifetime {
    fn meets(&self, other: &Lifetime) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Offsets of all buffers, and the size of the memory that holds them. The largest are placed first, each into the
/// lowest gap that fits (Pisarchyk & Lee 2020, "greedy by size").
pub(crate) fn assign(buffers: &[Lifetime]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(buffers[i].bytes), buffers[i].first, i));
    let mut offsets = vec![0; buffers.len()];
    // Placed buffers in order of offset.
    let mut placed: Vec<usize> = Vec::with_capacity(buffers.len());
    let mut total = 0;
    for i in order {
        let size = buffers[i].bytes.next_multiple_of(ALIGNMENT);
        let mut offset = 0;
        for &other in placed.iter().filter(|&&other| buffers[other].meets(&buffers[i])) {
            if offset + size <= offsets[other] {
                break;
            }
            offset = offset.max(offsets[other] + buffers[other].bytes.next_multiple_of(ALIGNMENT));
        }
        offsets[i] = offset;
        total = total.max(offset + size);
        let at = placed.partition_point(|&other| offsets[other] <= offset);
        placed.insert(at, i);
    }
    (offsets, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_alive_at_once_do_not_overlap() {
        let mut state = 1u64;
        let mut random = |n: usize| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize % n
        };
        for _ in 0..200 {
            let buffers: Vec<Lifetime> = (0..random(40) + 1)
                .map(|_| {
                    let first = random(30);
                    Lifetime { first, last: first + random(10), bytes: random(1000) }
                })
                .collect();
            let (offsets, total) = assign(&buffers);
            for (i, a) in buffers.iter().enumerate() {
                assert!(offsets[i] % ALIGNMENT == 0 && offsets[i] + a.bytes <= total);
                for (j, b) in buffers.iter().enumerate().take(i) {
                    let apart =
                        offsets[i] + a.bytes <= offsets[j] || offsets[j] + b.bytes <= offsets[i];
                    assert!(!a.meets(b) || apart || a.bytes == 0 || b.bytes == 0);
                }
            }
        }
    }

    #[test]
    fn a_chain_needs_two_buffers() {
        let chain: Vec<Lifetime> =
            (0..10).map(|i| Lifetime { first: i, last: i + 1, bytes: 64 }).collect();
        assert_eq!(assign(&chain).1, 128);
    }
}
