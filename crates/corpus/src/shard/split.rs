//! Which documents are held out, and in which order all are written.

use rustc_hash::FxHashMap;

use super::survey::Kept;
use crate::clean::{Clusters, mix};

/// Sides of the hold-out.
pub(crate) struct Choice {
    /// For each document, whether it is held out.
    pub held_out: Vec<bool>,
    /// Number of families.
    pub families: u64,
    /// Documents of the largest.
    pub largest_family: u64,
}

/// One family of similar documents.
#[derive(Default)]
struct Family {
    documents: u32,
    /// The smallest of its documents' hashes, so that it does not depend on their order.
    hash: u64,
}

/// Holds out about `share` of the documents, in (0, 1), family by family.
///
/// Families come in the order of a hash of their content and are held out as long as they fit into the share; so
/// which ones it are changes little when documents come or go, and a family that is larger than the share is for
/// training. At least one family is held out when there are two.
pub(crate) fn choose(kept: &[Kept], mut clusters: Clusters, share: f64) -> Choice {
    let firsts: Vec<u32> = (0..kept.len() as u32).map(|n| clusters.first(n)).collect();
    let mut families: FxHashMap<u32, Family> = FxHashMap::default();
    for (document, first) in kept.iter().zip(&firsts) {
        let family = families.entry(*first).or_insert(Family { documents: 0, hash: u64::MAX });
        family.documents += 1;
        family.hash = family.hash.min(document.hash);
    }
    // The smallest of many hashes is small: without mixing it again, large families would come first.
    let mut order: Vec<(u64, u32)> =
        families.iter().map(|(first, family)| (mix(family.hash), *first)).collect();
    order.sort_unstable();

    let size = |first: &u32| u64::from(families[first].documents);
    let target = ((kept.len() as f64 * share).round() as u64).max(1);
    let mut taken: FxHashMap<u32, ()> = FxHashMap::default();
    let mut held = 0;
    for (_, first) in &order {
        if held + size(first) <= target && taken.len() + 1 < order.len() {
            taken.insert(*first, ());
            held += size(first);
        }
    }
    if taken.is_empty() && order.len() > 1 {
        let smallest = order.iter().min_by_key(|(hash, first)| (size(first), *hash));
        taken.extend(smallest.map(|(_, first)| (*first, ())));
    }
    Choice {
        held_out: firsts.iter().map(|first| taken.contains_key(first)).collect(),
        families: families.len() as u64,
        largest_family: families.values().map(|f| u64::from(f.documents)).max().unwrap_or(0),
    }
}

/// The documents in the order in which they are written: training first, each side shuffled by the seed.
pub(crate) fn shuffled(kept: &[Kept], held_out: &[bool], seed: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..kept.len() as u32).collect();
    let key = |n: &u32| {
        let n = *n as usize;
        (held_out[n], mix(mix(seed) ^ kept[n].hash), n)
    };
    order.sort_by_cached_key(key);
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clean::{SetStore, Signature, cluster};

    fn documents(count: u64) -> Vec<Kept> {
        (0..count).map(|n| Kept { hash: mix(n), bytes: 1 }).collect()
    }

    /// Documents with equal sets are one family.
    fn families_of(numbers: &[u32]) -> Clusters {
        let folder = tempfile::tempdir().unwrap();
        let mut sets = SetStore::new(folder.path()).unwrap();
        let set = |n: u32| -> Vec<u32> {
            let mut set: Vec<u32> = (0..20).map(|k| mix(u64::from(n) * 100 + k) as u32).collect();
            set.sort_unstable();
            set
        };
        numbers.iter().for_each(|n| sets.push(&set(*n)).unwrap());
        let signatures: Vec<_> = numbers.iter().map(|n| Signature::of(&set(*n))).collect();
        cluster(&signatures, &sets, 0.5).unwrap()
    }

    fn held(choice: &Choice) -> usize {
        choice.held_out.iter().filter(|held| **held).count()
    }

    #[test]
    fn the_share_is_met_by_whole_families() {
        let numbers: Vec<u32> = (0..600).map(|n| n % 200).collect();
        let choice = choose(&documents(600), families_of(&numbers), 0.1);
        assert_eq!((held(&choice), choice.families, choice.largest_family), (60, 200, 3));
        for n in 0..200 {
            let sides = [0, 200, 400].map(|k| choice.held_out[n + k]);
            assert!(sides.iter().all(|side| *side == sides[0]), "family {n}");
        }
    }

    #[test]
    fn a_family_beyond_the_share_is_for_training() {
        let numbers: Vec<u32> = (0..100).map(|n| if n < 60 { 0 } else { n }).collect();
        let choice = choose(&documents(100), families_of(&numbers), 0.05);
        assert_eq!(held(&choice), 5);
        assert!(choice.held_out[..60].iter().all(|held| !held));
    }

    #[test]
    fn neither_side_stays_empty_when_there_are_two_families() {
        let small = choose(&documents(2), families_of(&[0, 1]), 0.01);
        assert_eq!(held(&small), 1);
        let large = choose(&documents(2), families_of(&[0, 1]), 0.99);
        assert_eq!(held(&large), 1);
        let big = choose(&documents(9), families_of(&[0, 0, 0, 0, 1, 1, 1, 1, 1]), 0.01);
        assert_eq!(big.held_out, [true, true, true, true, false, false, false, false, false]);
        let one = choose(&documents(2), families_of(&[0, 0]), 0.5);
        assert_eq!(held(&one), 0);
    }

    #[test]
    fn most_choices_stay_when_documents_come() {
        let numbers: Vec<u32> = (0..1000).collect();
        let before = choose(&documents(990), families_of(&numbers[..990]), 0.1);
        let after = choose(&documents(1000), families_of(&numbers), 0.1);
        let moved = (0..990).filter(|n| before.held_out[*n] != after.held_out[*n]).count();
        assert!(moved <= 20, "{moved} of 990 moved");
    }

    #[test]
    fn the_order_is_the_seeds() {
        let kept = documents(50);
        let mut sides = vec![false; 50];
        sides[7] = true;
        let order = shuffled(&kept, &sides, 1);
        assert_eq!(order[49], 7, "what is held out comes last");
        assert_eq!(order, shuffled(&kept, &sides, 1));
        assert_ne!(order, shuffled(&kept, &sides, 2));
        let mut all = order.clone();
        all.sort_unstable();
        assert_eq!(all, (0..50).collect::<Vec<_>>());
        assert!(order.iter().zip(&all).filter(|(a, b)| a == b).count() < 10);
    }
}
