//! Which documents of a single file are held out for validation.

/// A document is held out when its content hash is below this. `u128` so that "all" can be said.
///
/// The choice depends on the document's content alone. So it does not change when other documents come or go,
/// and copies of one text are never on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HoldOut {
    below: u128,
}

impl HoldOut {
    /// Holds out `share` of all hashes, in [0, 1]; but where that would leave one side of `hashes` empty, one
    /// document changes sides, if two different ones are there and the share is neither 0 nor 1.
    pub(crate) fn of(share: f64, hashes: impl Iterator<Item = u64>) -> Self {
        let Self { below } = Self::share(share);
        if share <= 0.0 || share >= 1.0 {
            return Self { below };
        }
        let range = hashes.fold(None, |range: Option<(u64, u64)>, hash| {
            let (low, high) = range.unwrap_or((hash, hash));
            Some((low.min(hash), high.max(hash)))
        });
        match range {
            // The only document is for training.
            Some((low, high)) if low == high => Self { below: 0 },
            Some((low, high)) => Self { below: below.clamp(u128::from(low) + 1, u128::from(high)) },
            None => Self { below },
        }
    }

    /// Holds out `share` of all hashes, whichever there are.
    pub(crate) fn share(share: f64) -> Self {
        Self { below: (share * 2f64.powi(64)) as u128 }
    }

    pub(crate) fn takes(self, hash: u64) -> bool {
        u128::from(hash) < self.below
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(share: f64, hashes: &[u64]) -> Vec<u64> {
        let rule = HoldOut::of(share, hashes.iter().copied());
        hashes.iter().copied().filter(|h| rule.takes(*h)).collect()
    }

    #[test]
    fn a_share_is_a_share_of_the_hashes() {
        let hashes: Vec<u64> = (0..100).map(|n| n * (u64::MAX / 100)).collect();
        assert_eq!(held(0.05, &hashes).len(), 6, "multiples 0 to 5 of one hundredth");
        assert_eq!(held(0.0, &hashes).len(), 0);
        assert_eq!(held(1.0, &hashes).len(), 100);
        assert_eq!(held(1.0, &[u64::MAX]), [u64::MAX]);
    }

    #[test]
    fn neither_side_stays_empty_when_two_documents_differ() {
        assert_eq!(held(0.05, &[u64::MAX, 1 << 63]), [1 << 63]);
        assert_eq!(held(0.95, &[7, 3]), [3]);
        assert_eq!(held(0.95, &[7, 7]), [0; 0]);
        assert_eq!(held(0.5, &[]), [0; 0]);
    }
}
