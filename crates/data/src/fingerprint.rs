//! What a saved state depends on, and what has changed when it does not fit.

use serde::{Deserialize, Serialize};

use crate::encode::Encode;
use crate::fim::FimOptions;
use crate::loader::LoaderOptions;
use crate::mixture::{Mixture, Part};
use crate::record::Schema;
use crate::shard::Shard;

/// The documents of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFingerprint {
    /// Name without the folder, so that data may be moved.
    pub name: String,
    /// Number of documents.
    pub documents: u64,
    /// Over the hashes of the documents' texts in order.
    pub hash: String,
}

impl FileFingerprint {
    pub(crate) fn of(shard: &Shard) -> Self {
        let (name, documents) = (shard.name.clone(), shard.documents());
        Self { name, documents, hash: shard.found.content_hash() }
    }

    /// What has changed since `saved`. A renamed or recompressed file with the same documents is no change.
    pub(crate) fn change_since(&self, saved: &Self) -> Option<String> {
        if saved.documents != self.documents {
            let (name, was, is) = (&self.name, saved.documents, self.documents);
            return Some(format!("{name} had {was} documents and has {is}"));
        }
        (saved.hash != self.hash).then(|| format!("{} has other documents", self.name))
    }
}

/// The documents of a data set, their order and their split.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFingerprint {
    /// The files in the order in which they are read.
    pub files: Vec<FileFingerprint>,
    /// So many of the documents are for training.
    pub train_documents: u64,
}

/// All that decides which batches a loader gives. The number of rows in a batch is not among it: a run may resume
/// with another one and continues with the same rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoaderFingerprint {
    /// The data sets.
    pub sets: Vec<SetFingerprint>,
    /// [`Encode::fingerprint`] of the tokenizer.
    pub tokenizer: String,
    /// Length of a row, T.
    pub seq_len: u64,
    /// Seed of the order.
    pub seed: u64,
    /// This loader's share of the documents ...
    pub rank: u64,
    /// ... of so many.
    pub world: u64,
    /// Size of the packing buffer.
    pub buffer_documents: u64,
    /// What is rearranged.
    #[serde(default)]
    pub fim: FimOptions,
}

/// A data set and its part of the batches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetFingerprint {
    /// Its documents; none are named where they come as a stream.
    pub data: DataFingerprint,
    /// Its share of the tokens.
    pub weight: f64,
    /// Whether its documents are pairs of docstrings and functions.
    pub pairs: bool,
    /// Whether its files come as a stream.
    pub stream: bool,
}

impl SetFingerprint {
    fn of(part: &Part) -> Self {
        let source = &part.source;
        let (pairs, stream) = (*source.schema() == Schema::Pairs, source.is_stream());
        let data = if stream { DataFingerprint::default() } else { source.fingerprint().clone() };
        Self { data, weight: part.weight, pairs, stream }
    }

    fn changes_since(&self, saved: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        if (self.pairs, self.stream) != (saved.pairs, saved.stream) {
            let kind = |set: &Self| match (set.pairs, set.stream) {
                (false, false) => "documents",
                (false, true) => "a stream of documents",
                (true, false) => "pairs",
                (true, true) => "a stream of pairs",
            };
            return vec![format!("a data set was {} and is {}", kind(saved), kind(self))];
        }
        changes.extend(self.data.changes_since(&saved.data));
        if changes.is_empty() && self.weight != saved.weight {
            changes.push(format!(
                "the weight of a data set was {} and is {}",
                saved.weight, self.weight
            ));
        }
        changes
    }
}

impl LoaderFingerprint {
    pub(crate) fn new(data: &Mixture, encoder: &dyn Encode, options: &LoaderOptions) -> Self {
        Self {
            sets: data.parts().iter().map(SetFingerprint::of).collect(),
            tokenizer: encoder.fingerprint(),
            seq_len: options.seq_len as u64,
            seed: options.seed,
            rank: options.rank as u64,
            world: options.world as u64,
            buffer_documents: options.buffer_documents as u64,
            fim: options.fim,
        }
    }

    /// Every difference from what was saved, in words. Empty when a resumed run gives the same batches.
    pub(crate) fn changes_since(&self, saved: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        if self.sets.len() != saved.sets.len() {
            let (was, is) = (saved.sets.len(), self.sets.len());
            changes.push(format!("there were {was} data sets and are {is}"));
        } else {
            let sets = self.sets.iter().zip(&saved.sets);
            changes.extend(sets.flat_map(|(is, was)| is.changes_since(was)));
        }
        if self.tokenizer != saved.tokenizer {
            changes.push("the tokenizer is another one".to_owned());
        }
        let numbers = [
            ("the sequence length", saved.seq_len, self.seq_len),
            ("the seed", saved.seed, self.seed),
            ("the rank", saved.rank, self.rank),
            ("the number of ranks", saved.world, self.world),
            ("the packing buffer", saved.buffer_documents, self.buffer_documents),
        ];
        let rates = [
            ("the rate of fill-in-the-middle", saved.fim.rate, self.fim.rate),
            ("its share of suffixes first", saved.fim.spm_rate, self.fim.spm_rate),
            ("its share of bodies", saved.fim.body_rate, self.fim.body_rate),
        ];
        for (what, was, is) in rates {
            if was != is {
                changes.push(format!("{what} was {was} and is {is}"));
            }
        }
        for (what, was, is) in numbers {
            if was != is {
                changes.push(format!("{what} was {was} and is {is}"));
            }
        }
        changes
    }
}

impl DataFingerprint {
    fn changes_since(&self, saved: &Self) -> Vec<String> {
        let files = saved.files.iter().zip(&self.files);
        let mut changes: Vec<String> = files.filter_map(|(was, is)| is.change_since(was)).collect();
        for file in saved.files.iter().skip(self.files.len()) {
            changes.push(format!("{} is missing", file.name));
        }
        for file in self.files.iter().skip(saved.files.len()) {
            changes.push(format!("{} is new", file.name));
        }
        if changes.is_empty() && self.train_documents != saved.train_documents {
            let (was, is) = (saved.train_documents, self.train_documents);
            changes.push(format!("{was} documents were for training and {is} are"));
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint() -> LoaderFingerprint {
        let file = |name: &str, hash: &str| FileFingerprint {
            name: name.to_owned(),
            documents: 5,
            hash: hash.to_owned(),
        };
        LoaderFingerprint {
            sets: vec![SetFingerprint {
                data: DataFingerprint {
                    files: vec![file("a", "1"), file("b", "2")],
                    train_documents: 5,
                },
                weight: 1.0,
                pairs: false,
                stream: false,
            }],
            tokenizer: "t".to_owned(),
            seq_len: 8,
            seed: 1,
            rank: 0,
            world: 1,
            buffer_documents: 128,
            fim: FimOptions::default(),
        }
    }

    #[test]
    fn every_change_is_told() {
        let saved = fingerprint();
        let mut now = fingerprint();
        assert_eq!(now.changes_since(&saved), [""; 0]);
        now.sets[0].data.files[0].name = "renamed".to_owned();
        assert_eq!(now.changes_since(&saved), [""; 0]);
        now.sets[0].data.files[0].documents = 6;
        now.sets[0].data.files[1].hash = "3".to_owned();
        now.tokenizer = "u".to_owned();
        now.seq_len = 16;
        now.seed = 2;
        now.fim.rate = 0.5;
        assert_eq!(
            now.changes_since(&saved),
            [
                "renamed had 5 documents and has 6",
                "b has other documents",
                "the tokenizer is another one",
                "the rate of fill-in-the-middle was 0 and is 0.5",
                "the sequence length was 8 and is 16",
                "the seed was 1 and is 2",
            ]
        );
    }

    #[test]
    fn files_and_split_count_too() {
        let saved = fingerprint();
        let mut fewer = fingerprint();
        fewer.sets[0].data.files.pop();
        assert_eq!(fewer.changes_since(&saved), ["b is missing"]);
        assert_eq!(saved.changes_since(&fewer), ["b is new"]);
        let mut split = fingerprint();
        split.sets[0].data.train_documents = 4;
        assert_eq!(split.changes_since(&saved), ["5 documents were for training and 4 are"]);
        let mut stream = fingerprint();
        stream.sets[0].stream = true;
        assert_eq!(
            stream.changes_since(&saved),
            ["a data set was documents and is a stream of documents"]
        );
        let mut two = fingerprint();
        two.sets.push(two.sets[0].clone());
        assert_eq!(two.changes_since(&saved), ["there were 1 data sets and are 2"]);
        let mut weight = fingerprint();
        weight.sets[0].weight = 0.5;
        assert_eq!(weight.changes_since(&saved), ["the weight of a data set was 1 and is 0.5"]);
    }
}
