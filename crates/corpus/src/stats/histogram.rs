//! How long documents are.

use serde::{Deserialize, Serialize};

/// Documents of similar length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LengthBucket {
    /// The shortest length in tokens that belongs here.
    pub from: u64,
    /// The first that does not.
    pub below: u64,
    /// Documents.
    pub documents: u64,
    /// Their tokens.
    pub tokens: u64,
}

/// Lengths in tokens.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Lengths {
    /// All tokens.
    pub tokens: u64,
    /// The shortest document.
    pub shortest: u64,
    /// Half of the documents are at most this long.
    pub median: u64,
    /// Nine of ten documents are at most this long.
    pub p90: u64,
    /// 99 of a hundred documents are at most this long.
    pub p99: u64,
    /// The longest document.
    pub longest: u64,
    /// By powers of two, from the shortest document's to the longest one's.
    pub histogram: Vec<LengthBucket>,
}

impl Lengths {
    /// Of the documents' lengths in any order.
    pub(super) fn of(mut lengths: Vec<u32>) -> Self {
        lengths.sort_unstable();
        let (Some(shortest), Some(longest)) = (lengths.first(), lengths.last()) else {
            return Self::default();
        };
        // The smallest length that so many documents do not exceed.
        let quantile = |share: f64| {
            let rank = (lengths.len() as f64 * share).ceil() as usize;
            u64::from(lengths[rank.clamp(1, lengths.len()) - 1])
        };
        let histogram = (bucket(*shortest)..=bucket(*longest)).map(|number| {
            let from = if number == 0 { 0 } else { 1 << (number - 1) };
            let below = 1 << number;
            let first = lengths.partition_point(|length| u64::from(*length) < from);
            let last = lengths.partition_point(|length| u64::from(*length) < below);
            let tokens = lengths[first..last].iter().map(|length| u64::from(*length)).sum();
            LengthBucket { from, below, documents: (last - first) as u64, tokens }
        });
        Self {
            tokens: lengths.iter().map(|length| u64::from(*length)).sum(),
            shortest: u64::from(*shortest),
            median: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            longest: u64::from(*longest),
            histogram: histogram.collect(),
        }
    }
}

/// 0 for 0, 1 for 1, 2 for 2 and 3, 3 for 4 to 7, ...
fn bucket(length: u32) -> u32 {
    u32::BITS - length.leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_is_in_one_bucket() {
        let lengths = Lengths::of(vec![0, 1, 2, 3, 4, 7, 8, 1000, u32::MAX]);
        let all: u64 = lengths.histogram.iter().map(|bucket| bucket.documents).sum();
        let tokens: u64 = lengths.histogram.iter().map(|bucket| bucket.tokens).sum();
        assert_eq!((all, tokens), (9, lengths.tokens));
        let first: Vec<_> =
            lengths.histogram[..4].iter().map(|b| (b.from, b.below, b.documents)).collect();
        assert_eq!(first, [(0, 1, 1), (1, 2, 1), (2, 4, 2), (4, 8, 2)]);
        assert!(lengths.histogram.windows(2).all(|pair| pair[0].below == pair[1].from));
    }

    #[test]
    fn quantiles_are_lengths_that_occur() {
        let lengths = Lengths::of((1..=100).rev().collect());
        assert_eq!((lengths.shortest, lengths.median, lengths.p90), (1, 50, 90));
        assert_eq!((lengths.p99, lengths.longest, lengths.tokens), (99, 100, 5050));
        assert_eq!(Lengths::of(Vec::new()), Lengths::default());
        assert_eq!(Lengths::of(vec![7]).median, 7);
    }
}
