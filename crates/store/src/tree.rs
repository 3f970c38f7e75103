//! Whole folders: fetched and published, several files at a time, what completes them last.

use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::error::StoreError;
use crate::location::Location;
use crate::store::{Entry, Store};

/// Files on their way at once. Small ones take a round trip each.
const PARALLEL_FILES: usize = 8;

/// Names that tell a reader that the rest of a folder is there, in the order in which they are written: after all others.
pub const LAST_NAMES: [&str; 4] = ["MANIFEST", "tokenizer.json", "_COMPLETE", "latest"];

/// How far a folder has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Files that are there.
    pub files: u64,
    /// Files in all.
    pub total_files: u64,
    /// Bytes that are there.
    pub bytes: u64,
}

/// Takes note of progress; called from one thread at a time.
pub type OnProgress<'a> = &'a mut (dyn FnMut(Progress) + Send);

impl Store {
    /// Copies the files of a folder for which `wanted` says so, by their names in it. Returns the names.
    ///
    /// # Errors
    /// As [`list`](Store::list) and [`fetch`](Store::fetch); the first error ends it.
    pub fn fetch_tree(
        &self,
        from: &Location,
        to: &Path,
        wanted: &(dyn Fn(&str) -> bool + Sync),
        on_progress: OnProgress<'_>,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut entries = self.list(from)?;
        entries.retain(|entry| wanted(&entry.name));
        std::fs::create_dir_all(to).map_err(StoreError::io(to))?;
        let fetch = |entry: &Entry| self.fetch(&from.join(&entry.name), &to.join(&entry.name));
        in_parallel(&entries, &fetch, on_progress)?;
        Ok(entries)
    }

    /// Copies files of a local folder, given by name, to a folder elsewhere: those of [`LAST_NAMES`] after all others, in
    /// their order, so that whoever finds them finds the rest.
    ///
    /// # Errors
    /// As [`put_file`](Store::put_file); the first error ends it.
    pub fn put_tree(
        &self,
        from: &Path,
        names: &[String],
        to: &Location,
        on_progress: OnProgress<'_>,
    ) -> Result<(), StoreError> {
        let put = |name: &String| self.put_file(&from.join(name), &to.join(name));
        let (last, rest): (Vec<String>, Vec<String>) =
            names.iter().cloned().partition(|name| rank(name) > 0);
        in_parallel(&rest, &put, on_progress)?;
        let mut last = last;
        last.sort_by_key(|name| rank(name));
        last.iter().try_for_each(|name| put(name).map(drop))
    }
}

/// 0 for files that may come in any order, else the place among those that come last.
pub(crate) fn rank(name: &str) -> usize {
    let base = name.rsplit('/').next().unwrap_or(name);
    LAST_NAMES.iter().position(|last| *last == base).map_or(0, |at| at + 1)
}

/// Does something that takes bytes from one place to another for each item.
fn in_parallel<T: Sync>(
    items: &[T],
    transfer: &(dyn Fn(&T) -> Result<u64, StoreError> + Sync),
    on_progress: OnProgress<'_>,
) -> Result<(), StoreError> {
    let next = AtomicUsize::new(0);
    let total_files = items.len() as u64;
    let state = Mutex::new((Progress { total_files, ..Progress::default() }, None, on_progress));
    let work = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            let done = transfer(item);
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            let (progress, failed, on_progress) = &mut *state;
            match done {
                Ok(bytes) => {
                    progress.files += 1;
                    progress.bytes += bytes;
                    on_progress(*progress);
                }
                Err(error) => {
                    failed.get_or_insert(error);
                    next.store(items.len(), Ordering::Relaxed);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..PARALLEL_FILES.min(items.len()) {
            // A thread more or less makes no difference but in speed.
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    let (_, failed, _) = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.map_or(Ok(()), Err)
}
