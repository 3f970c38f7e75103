//! Which documents are nearly alike: to remove copies, and to keep families of them together.

use std::io;

use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};

use super::content::exact_jaccard;
use super::lsh::Banding;
use super::minhash::{PERMUTATIONS, Signature};
use super::sets::SetStore;

/// Estimates this many standard deviations from the threshold need no exact comparison.
const SURE_DEVIATIONS: f64 = 4.0;
/// Pairs that were compared exactly and found different are remembered up to this number.
const MAX_REMEMBERED: usize = 4 << 20;

/// End of a chain of documents with one key.
const NONE: u32 = u32::MAX;

/// What an estimate says about whether a similarity reaches a threshold.
struct Judge {
    below: f64,
    above: f64,
}

impl Judge {
    fn new(threshold: f64) -> Self {
        let deviation = (threshold * (1.0 - threshold) / PERMUTATIONS as f64).sqrt();
        let margin = SURE_DEVIATIONS * deviation;
        Self { below: threshold - margin, above: threshold + margin }
    }

    /// `None` when only an exact comparison can tell.
    fn rule(&self, estimate: f64) -> Option<bool> {
        if estimate < self.below {
            return Some(false);
        }
        (estimate > self.above).then_some(true)
    }
}

/// The documents that were kept so far, to find an earlier one that a new one is nearly a copy of.
pub(crate) struct DuplicateIndex {
    threshold: f64,
    judge: Judge,
    banding: Banding,
    /// The last document of each key, as an index into `links`.
    heads: FxHashMap<u64, u32>,
    /// A document and the link before it with the same key.
    links: Vec<(u32, u32)>,
}

impl DuplicateIndex {
    /// `threshold` in (0, 1): the exact Jaccard similarity from which on a document is a near duplicate.
    pub(crate) fn new(threshold: f64) -> Self {
        Self {
            threshold,
            judge: Judge::new(threshold),
            banding: Banding::for_threshold(threshold),
            heads: FxHashMap::default(),
            links: Vec::new(),
        }
    }

    /// The first document that was added and whose similarity to this one is at least the threshold.
    pub(crate) fn find(
        &self,
        signature: &Signature,
        set: &[u32],
        kept: &[Signature],
        sets: &SetStore,
    ) -> io::Result<Option<u32>> {
        for candidate in self.candidates(signature) {
            let estimate = signature.similarity(&kept[candidate as usize]);
            // An estimate alone never removes a document.
            if self.judge.rule(estimate) != Some(false)
                && exact_jaccard(set, &sets.get(candidate as usize)?) >= self.threshold
            {
                return Ok(Some(candidate));
            }
        }
        Ok(None)
    }

    /// Documents that agree in a band, ascending.
    fn candidates(&self, signature: &Signature) -> Vec<u32> {
        let mut found = Vec::new();
        for key in self.banding.keys(signature) {
            let mut at = self.heads.get(&key).copied().unwrap_or(NONE);
            while at != NONE {
                let (document, earlier) = self.links[at as usize];
                found.push(document);
                at = earlier;
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Adds a kept document.
    pub(crate) fn insert(&mut self, document: u32, signature: &Signature) {
        for key in self.banding.keys(signature) {
            let earlier = self.heads.insert(key, self.links.len() as u32).unwrap_or(NONE);
            self.links.push((document, earlier));
        }
    }
}

/// Families of documents.
#[derive(Debug)]
pub(crate) struct Clusters {
    parent: Vec<u32>,
}

impl Clusters {
    fn singles(count: usize) -> Self {
        Self { parent: (0..count as u32).collect() }
    }

    /// The first document of the family that this one belongs to.
    pub(crate) fn first(&mut self, document: u32) -> u32 {
        let mut at = document;
        while self.parent[at as usize] != at {
            // Every other step is cut out, which keeps the paths short.
            let above = self.parent[at as usize];
            self.parent[at as usize] = self.parent[above as usize];
            at = above;
        }
        at
    }

    fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.first(a), self.first(b));
        self.parent[a.max(b) as usize] = a.min(b);
    }
}

/// Puts documents into one family when their similarity is at least `threshold`, in (0, 1), or when others lie
/// between them, each that similar to the next.
///
/// Pairs are found with the recall of [`Banding::for_threshold`] and decided by their exact similarity; those far
/// above the threshold by the estimate, which can only make a family larger.
pub(crate) fn cluster(
    signatures: &[Signature],
    sets: &SetStore,
    threshold: f64,
) -> io::Result<Clusters> {
    let banding = Banding::for_threshold(threshold);
    let mut families = Families {
        clusters: Clusters::singles(signatures.len()),
        judge: Judge::new(threshold),
        threshold,
        signatures,
        sets,
        different: FxHashSet::default(),
    };
    for band in 0..banding.count {
        let mut keys: Vec<(u64, u32)> = signatures
            .par_iter()
            .enumerate()
            .map(|(document, s)| (banding.key(s.places(), band), document as u32))
            .collect();
        keys.par_sort_unstable();
        for group in keys.chunk_by(|a, b| a.0 == b.0).filter(|group| group.len() > 1) {
            families.join_similar(group)?;
        }
    }
    Ok(families.clusters)
}

struct Families<'a> {
    clusters: Clusters,
    judge: Judge,
    threshold: f64,
    signatures: &'a [Signature],
    sets: &'a SetStore,
    /// Pairs below the threshold that had to be compared exactly: they come again in other bands.
    different: FxHashSet<(u32, u32)>,
}

impl Families<'_> {
    /// Compares the documents of one key, as far as they are not in one family already.
    fn join_similar(&mut self, group: &[(u64, u32)]) -> io::Result<()> {
        for (at, (_, document)) in group.iter().enumerate() {
            let mut set = None;
            for (_, earlier) in &group[..at] {
                if self.clusters.first(*document) != self.clusters.first(*earlier)
                    && self.similar(*earlier, *document, &mut set)?
                {
                    self.clusters.join(*earlier, *document);
                }
            }
        }
        Ok(())
    }

    /// `set` keeps the later document's shingles once they were read.
    fn similar(
        &mut self,
        earlier: u32,
        later: u32,
        set: &mut Option<Vec<u32>>,
    ) -> io::Result<bool> {
        let [a, b] = [earlier, later].map(|document| &self.signatures[document as usize]);
        if let Some(known) = self.judge.rule(a.similarity(b)) {
            return Ok(known);
        }
        if self.different.contains(&(earlier, later)) {
            return Ok(false);
        }
        let own = match set {
            Some(own) => own,
            None => set.insert(self.sets.get(later as usize)?),
        };
        let similar = exact_jaccard(own, &self.sets.get(earlier as usize)?) >= self.threshold;
        if !similar && self.different.len() < MAX_REMEMBERED {
            self.different.insert((earlier, later));
        }
        Ok(similar)
    }
}

#[cfg(test)]
mod tests {
    use super::super::mix;
    use super::*;

    /// A sorted set of `size` elements of which the first `shared` are those of `family`.
    fn member(family: u64, own: u64, size: u64, shared: u64) -> Vec<u32> {
        let element = |of: u64, n: u64| (mix(mix(of) ^ n) >> 32) as u32;
        let mut set: Vec<u32> = (0..size)
            .map(|n| if n < shared { element(family, n) } else { element(own + (1 << 32), n) })
            .collect();
        set.sort_unstable();
        set
    }

    struct Corpus {
        sets: SetStore,
        signatures: Vec<Signature>,
        _folder: tempfile::TempDir,
    }

    fn corpus(sets: &[Vec<u32>]) -> Corpus {
        let folder = tempfile::tempdir().unwrap();
        let mut store = SetStore::new(folder.path()).unwrap();
        sets.iter().for_each(|set| store.push(set).unwrap());
        let signatures = sets.iter().map(|set| Signature::of(set)).collect();
        Corpus { sets: store, signatures, _folder: folder }
    }

    #[test]
    fn the_threshold_is_the_exact_similarity() {
        // Families of two whose similarity is 0.80 to 0.90 in steps too small for any estimate to tell apart.
        let (mut wrong, mut missed, mut similar) = (0, 0, 0);
        for family in 0..400 {
            let shared = 888 + family % 60;
            let pair = [
                member(family, 2 * family, 1000, shared),
                member(family, 2 * family + 1, 1000, shared),
            ];
            let exact = exact_jaccard(&pair[0], &pair[1]);
            let corpus = corpus(&pair);
            let mut index = DuplicateIndex::new(0.85);
            index.insert(0, &corpus.signatures[0]);
            let found = index
                .find(&corpus.signatures[1], &pair[1], &corpus.signatures, &corpus.sets)
                .unwrap();
            similar += u32::from(exact >= 0.85);
            wrong += u32::from(found.is_some() && exact < 0.85);
            missed += u32::from(found.is_none() && exact >= 0.85);
        }
        assert!(similar > 100, "{similar}");
        assert_eq!(wrong, 0);
        assert!(missed <= 2, "{missed} of {similar} missed");
    }

    #[test]
    fn the_first_of_several_is_named() {
        let sets: Vec<_> = (0..4).map(|own| member(u64::from(own > 0), own, 400, 390)).collect();
        let corpus = corpus(&sets);
        let mut index = DuplicateIndex::new(0.85);
        (0..3).for_each(|n| index.insert(n, &corpus.signatures[n as usize]));
        let found =
            index.find(&corpus.signatures[3], &sets[3], &corpus.signatures, &corpus.sets).unwrap();
        assert_eq!(found, Some(1));
    }

    #[test]
    fn families_are_found_and_kept_apart() {
        // 40 families of 5 members: similarity within is 0.6, between 0.
        let sets: Vec<_> = (0..200).map(|n| member(n % 40, n, 400, 300)).collect();
        let corpus = corpus(&sets);
        let mut clusters = cluster(&corpus.signatures, &corpus.sets, 0.5).unwrap();
        for n in 0..200u32 {
            assert_eq!(clusters.first(n), n % 40, "document {n}");
        }
    }

    #[test]
    fn less_similar_documents_are_no_family() {
        // Similarity 0.43, well within the reach of the bands.
        let sets: Vec<_> = (0..100).map(|n| member(0, n, 400, 240)).collect();
        let corpus = corpus(&sets);
        let mut clusters = cluster(&corpus.signatures, &corpus.sets, 0.5).unwrap();
        assert!((0..100).all(|n| clusters.first(n) == n));
    }
}
