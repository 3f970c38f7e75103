//! MinHash signatures (Broder 1997): the share of equal places estimates the Jaccard similarity of two sets.

use super::mix;

/// Places of a signature. The estimate's standard deviation is √(J(1-J)/128), at most 0.044.
pub const PERMUTATIONS: usize = 128;

/// So many places are worked on at once, few enough for the registers of any machine.
const LANES: usize = 16;

/// For each of [`PERMUTATIONS`] hash functions the smallest hash of a set's elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature(Box<[u32; PERMUTATIONS]>);

impl Signature {
    /// Of a set of well-mixed 32-bit hashes, such as [`Shingles::set`](super::Shingles::set). The signature of the
    /// empty set has `u32::MAX` everywhere.
    pub fn of(set: &[u32]) -> Self {
        let mut places = Box::new([u32::MAX; PERMUTATIONS]);
        for (at, chunk) in places.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let functions = &FUNCTIONS[at * LANES..][..LANES];
            let factors: [u32; LANES] = std::array::from_fn(|lane| functions[lane].0);
            let terms: [u32; LANES] = std::array::from_fn(|lane| functions[lane].1);
            let mut smallest = *chunk;
            for element in set {
                for lane in 0..LANES {
                    let hash = element.wrapping_mul(factors[lane]).wrapping_add(terms[lane]);
                    smallest[lane] = smallest[lane].min(hash);
                }
            }
            *chunk = smallest;
        }
        Self(places)
    }

    /// The estimated Jaccard similarity, in [0, 1].
    pub fn similarity(&self, other: &Self) -> f64 {
        similarity(&self.0[..], &other.0[..])
    }

    /// The places.
    pub fn places(&self) -> &[u32; PERMUTATIONS] {
        &self.0
    }
}

/// The share of equal places of two signatures.
pub(super) fn similarity(a: &[u32], b: &[u32]) -> f64 {
    let equal: u32 = a.iter().zip(b).map(|(x, y)| u32::from(x == y)).sum();
    f64::from(equal) / a.len() as f64
}

/// x -> a·x + b mod 2^32 with odd a is a permutation of the 32-bit numbers.
const FUNCTIONS: [(u32, u32); PERMUTATIONS] = {
    let mut functions = [(0, 0); PERMUTATIONS];
    let mut at = 0;
    while at < PERMUTATIONS {
        let random = mix(mix(at as u64));
        functions[at] = ((random >> 32) as u32 | 1, random as u32);
        at += 1;
    }
    functions
};

#[cfg(test)]
mod tests {
    use super::super::{Shingles, exact_jaccard};
    use super::*;
    use proptest::prelude::*;

    /// Two sets of hashes that share `common` elements.
    fn sets(seed: u64, common: u64, own: u64) -> (Vec<u32>, Vec<u32>) {
        let element = |n: u64| (mix(seed.wrapping_mul(1 << 40).wrapping_add(n)) >> 32) as u32;
        let set = |from: u64| -> Vec<u32> {
            let mut set: Vec<u32> = (0..common).chain(from..from + own).map(element).collect();
            set.sort_unstable();
            set.dedup();
            set
        };
        (set(1 << 20), set(1 << 21))
    }

    #[test]
    fn the_error_is_that_of_independent_functions() {
        // 0.5 is where the deviation is largest.
        let errors: Vec<f64> = (0..400)
            .map(|seed| {
                let (a, b) = sets(seed, 200, 100);
                Signature::of(&a).similarity(&Signature::of(&b)) - exact_jaccard(&a, &b)
            })
            .collect();
        let n = errors.len() as f64;
        let mean = errors.iter().sum::<f64>() / n;
        let deviation = (errors.iter().map(|e| e * e).sum::<f64>() / n).sqrt();
        let expected = (0.25 / PERMUTATIONS as f64).sqrt();
        assert!(mean.abs() < 4.0 * expected / n.sqrt(), "bias {mean}");
        assert!((0.8..1.2).contains(&(deviation / expected)), "deviation {deviation}");
    }

    #[test]
    fn equal_sets_have_equal_signatures_and_the_order_does_not_count() {
        let (a, _) = sets(1, 50, 0);
        let reversed: Vec<u32> = a.iter().rev().copied().collect();
        assert_eq!(Signature::of(&a), Signature::of(&reversed));
        assert_eq!(Signature::of(&a).similarity(&Signature::of(&a)), 1.0);
        assert!(Signature::of(&[]).places().iter().all(|place| *place == u32::MAX));
    }

    proptest! {
        #[test]
        fn the_estimate_is_near_the_exact_similarity(seed: u64, common in 0u64..300, own in 0u64..200) {
            prop_assume!(common + own > 0);
            let (a, b) = sets(seed, common, own);
            let (estimate, exact) =
                (Signature::of(&a).similarity(&Signature::of(&b)), exact_jaccard(&a, &b));
            // Six deviations: less than one case in 10^8.
            prop_assert!((estimate - exact).abs() <= 6.0 * (0.25 / PERMUTATIONS as f64).sqrt());
        }
    }

    #[test]
    fn texts_that_differ_in_one_word_of_many_are_similar() {
        let text =
            |last: &str| (0..300).map(|n| format!("int x{n} = {n};\n")).collect::<String>() + last;
        let set = |last: &str| Shingles::of(&text(last)).unwrap().set;
        let (a, b) = (set("return 1;"), set("return 2;"));
        assert!(exact_jaccard(&a, &b) > 0.99);
        assert!(Signature::of(&a).similarity(&Signature::of(&b)) > 0.95);
    }
}
