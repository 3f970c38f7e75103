//! Row groups that were decoded lately.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use crate::error::DataError;
use crate::shard::parquet::RowGroup;

/// Which file of a data set, and which row group of it.
type Key = (u64, usize);
type Slot = Arc<OnceLock<Arc<RowGroup>>>;

/// Keeps row groups up to a number of bytes; those not used for longest go first.
pub(crate) struct RowGroups {
    limit: u64,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    groups: HashMap<Key, (Slot, u64)>,
    clock: u64,
    files: u64,
}

impl RowGroups {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, kept: Mutex::default() }
    }

    /// A number for one more file.
    pub(crate) fn next_file(&self) -> u64 {
        let mut kept = self.lock();
        kept.files += 1;
        kept.files
    }

    /// The row group, decoded by `read` where it is not kept.
    pub(crate) fn get(
        &self,
        key: Key,
        read: impl FnOnce() -> Result<RowGroup, DataError>,
    ) -> Result<Arc<RowGroup>, DataError> {
        let slot = self.slot(key);
        if let Some(group) = slot.get() {
            return Ok(Arc::clone(group));
        }
        // Two threads may decode the same one at the same time; what both get is the same.
        let group = Arc::new(read()?);
        let _ = slot.set(Arc::clone(&group));
        self.drop_oldest();
        Ok(group)
    }

    fn slot(&self, key: Key) -> Slot {
        let mut kept = self.lock();
        kept.clock += 1;
        let now = kept.clock;
        let (slot, used) = kept.groups.entry(key).or_default();
        *used = now;
        Arc::clone(slot)
    }

    /// Keeps the latest even where it alone is beyond the limit.
    fn drop_oldest(&self) {
        let mut kept = self.lock();
        let size = |slot: &Slot| slot.get().map_or(0, |group| group.bytes());
        let mut bytes: u64 = kept.groups.values().map(|(slot, _)| size(slot)).sum();
        while bytes > self.limit && kept.groups.len() > 1 {
            let oldest = kept.groups.iter().min_by_key(|(_, (_, used))| *used);
            let Some((key, freed)) = oldest.map(|(key, (slot, _))| (*key, size(slot))) else {
                break;
            };
            kept.groups.remove(&key);
            bytes -= freed;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        // A panic elsewhere cannot leave the map half changed.
        self.kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
