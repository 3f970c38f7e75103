//! Locality-sensitive hashing: signatures that agree in a band of places are candidates.

use super::minhash::{PERMUTATIONS, Signature};
use super::mix;

/// At most this share of the pairs whose similarity is exactly the threshold may go unnoticed.
const MISSES: f64 = 0.005;
/// More rows would make the hashes no more selective than this many already do.
const MAX_ROWS: usize = 16;

/// How a signature is cut into bands: `count` bands of `rows` places.
///
/// Two sets of similarity s agree in at least one band with probability `1 - (1 - s^rows)^count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Banding {
    /// Places in a band.
    pub rows: usize,
    /// Number of bands.
    pub count: usize,
}

impl Banding {
    /// The most selective banding that misses at most 0.5 % of the pairs at `threshold`, in (0, 1]: fewer above it.
    pub fn for_threshold(threshold: f64) -> Self {
        let of_rows = |rows: usize| Self { rows, count: PERMUTATIONS / rows };
        (1..=MAX_ROWS)
            .rev()
            .map(of_rows)
            .find(|banding| 1.0 - banding.recall(threshold) <= MISSES)
            .unwrap_or(of_rows(1))
    }

    /// The probability that a pair of this similarity becomes a candidate.
    pub fn recall(self, similarity: f64) -> f64 {
        1.0 - (1.0 - similarity.powi(self.rows as i32)).powi(self.count as i32)
    }

    /// The key of band number `band`, 0 <= band < `count`. Keys of different bands differ.
    pub(super) fn key(self, signature: &[u32], band: usize) -> u64 {
        let places = &signature[band * self.rows..][..self.rows];
        places.iter().fold(mix(band as u64), |key, place| mix(key ^ u64::from(*place)))
    }

    /// The keys of all bands.
    pub(super) fn keys(self, signature: &Signature) -> impl Iterator<Item = u64> + '_ {
        (0..self.count).map(move |band| self.key(signature.places(), band))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearly_all_pairs_at_the_threshold_are_found() {
        for threshold in [0.05, 0.3, 0.5, 0.7, 0.85, 0.99, 1.0] {
            let banding = Banding::for_threshold(threshold);
            assert!(banding.rows * banding.count <= PERMUTATIONS);
            assert!(banding.recall(threshold) >= 1.0 - MISSES, "{threshold}: {banding:?}");
        }
        assert_eq!(Banding::for_threshold(0.85), Banding { rows: 7, count: 18 });
        assert_eq!(Banding::for_threshold(0.5), Banding { rows: 3, count: 42 });
    }

    #[test]
    fn higher_thresholds_make_fewer_candidates() {
        let rows: Vec<usize> =
            [0.3, 0.5, 0.7, 0.85, 0.95].map(|t| Banding::for_threshold(t).rows).to_vec();
        assert!(rows.is_sorted(), "{rows:?}");
        assert!(Banding::for_threshold(0.85).recall(0.3) < 0.01);
    }

    #[test]
    fn equal_places_in_another_band_are_no_match() {
        let banding = Banding { rows: 2, count: 2 };
        let places = [7, 8, 7, 8];
        assert_ne!(banding.key(&places, 0), banding.key(&places, 1));
        assert_eq!(banding.key(&places, 0), banding.key(&[7, 8, 0, 0], 0));
    }
}
