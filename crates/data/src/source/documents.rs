//! The documents of one side of a data set, numbered over its files.

use std::sync::Arc;

use crate::error::DataError;
use crate::record::Record;
use crate::shard::Shard;
use crate::shard::scan::Entry;
use crate::source::Split;

/// Documents of some files, one file after the other.
#[derive(Clone)]
pub(crate) struct Documents {
    split: Split,
    shards: Vec<Arc<Shard>>,
    /// Number of documents up to each file, itself included.
    ends: Vec<usize>,
}

impl Documents {
    pub(crate) fn new(split: Split) -> Self {
        Self { split, shards: Vec::new(), ends: Vec::new() }
    }

    pub(crate) fn push(&mut self, shard: Arc<Shard>) {
        self.ends.push(self.len() + entries(&shard, self.split).len());
        self.shards.push(shard);
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    pub(crate) fn shards(&self) -> &[Arc<Shard>] {
        &self.shards
    }

    /// Number of the first document of file `at`.
    pub(crate) fn start(&self, at: usize) -> usize {
        at.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    /// Reads document `index` < `len`.
    pub(crate) fn read(&self, index: usize) -> Result<Record, DataError> {
        let at = self.ends.partition_point(|end| *end <= index);
        let shard = &self.shards[at];
        shard.read(&entries(shard, self.split)[index - self.start(at)])
    }
}

fn entries(shard: &Shard, split: Split) -> &[Entry] {
    match split {
        Split::Train => &shard.train,
        Split::Validation => &shard.validation,
    }
}
