//! What a saved state depends on, and what has changed when it does not fit.

use serde::{Deserialize, Serialize};

use crate::encode::Encode;
use crate::loader::LoaderOptions;

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

/// The documents of a data set, their order and their split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFingerprint {
    /// The files in the order in which they are read.
    pub files: Vec<FileFingerprint>,
    /// So many of the documents are for training.
    pub train_documents: u64,
}

/// All that decides which batches a loader gives. The number of rows in a batch is not among it: a run may resume
/// with another one and continues with the same rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoaderFingerprint {
    /// The documents.
    pub data: DataFingerprint,
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
}

impl LoaderFingerprint {
    pub(crate) fn new(
        data: &DataFingerprint,
        encoder: &dyn Encode,
        options: &LoaderOptions,
    ) -> Self {
        Self {
            data: data.clone(),
            tokenizer: encoder.fingerprint(),
            seq_len: options.seq_len as u64,
            seed: options.seed,
            rank: options.rank as u64,
            world: options.world as u64,
            buffer_documents: options.buffer_documents as u64,
        }
    }

    /// Every difference from what was saved, in words. Empty when a resumed run gives the same batches.
    pub(crate) fn changes_since(&self, saved: &Self) -> Vec<String> {
        let mut changes = self.data.changes_since(&saved.data);
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
        for (what, was, is) in numbers {
            if was != is {
                changes.push(format!("{what} was {was} and is {is}"));
            }
        }
        changes
    }
}

impl DataFingerprint {
    /// A renamed or recompressed file with the same documents is no change.
    fn changes_since(&self, saved: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        for (was, is) in saved.files.iter().zip(&self.files) {
            if was.documents != is.documents {
                let (name, was, is) = (&is.name, was.documents, is.documents);
                changes.push(format!("{name} had {was} documents and has {is}"));
            } else if was.hash != is.hash {
                changes.push(format!("{} has other documents", is.name));
            }
        }
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
            data: DataFingerprint {
                files: vec![file("a", "1"), file("b", "2")],
                train_documents: 5,
            },
            tokenizer: "t".to_owned(),
            seq_len: 8,
            seed: 1,
            rank: 0,
            world: 1,
            buffer_documents: 128,
        }
    }

    #[test]
    fn every_change_is_told() {
        let saved = fingerprint();
        let mut now = fingerprint();
        assert_eq!(now.changes_since(&saved), [""; 0]);
        now.data.files[0].name = "renamed".to_owned();
        assert_eq!(now.changes_since(&saved), [""; 0]);
        now.data.files[0].documents = 6;
        now.data.files[1].hash = "3".to_owned();
        now.tokenizer = "u".to_owned();
        now.seq_len = 16;
        now.seed = 2;
        assert_eq!(
            now.changes_since(&saved),
            [
                "renamed had 5 documents and has 6",
                "b has other documents",
                "the tokenizer is another one",
                "the sequence length was 8 and is 16",
                "the seed was 1 and is 2",
            ]
        );
    }

    #[test]
    fn files_and_split_count_too() {
        let saved = fingerprint();
        let mut fewer = fingerprint();
        fewer.data.files.pop();
        assert_eq!(fewer.changes_since(&saved), ["b is missing"]);
        assert_eq!(saved.changes_since(&fewer), ["b is new"]);
        let mut split = fingerprint();
        split.data.train_documents = 4;
        assert_eq!(split.changes_since(&saved), ["5 documents were for training and 4 are"]);
    }
}
