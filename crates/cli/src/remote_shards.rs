//! A folder of shards in an object store, followed while it grows: shards are fetched one by one, and those fetched last
//! are kept for a while, in a bounded space.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use kiln_data::{DataError, Folder, FolderEntry, LocalFile};
use kiln_store::{Entry, Location, Staging, Store, StoreError};
use tempfile::TempPath;

use crate::location::store;

/// Fetched shards are kept up to so many bytes. Those in use stay until they are not, whatever this says.
const KEPT_BYTES: u64 = 2 << 30;

/// Shards elsewhere.
pub struct RemoteShards {
    store: std::sync::Arc<Store>,
    location: Location,
    /// What messages call it.
    url: PathBuf,
    kept: Mutex<Kept>,
}

struct Kept {
    staging: Staging,
    limit: u64,
    /// What the last listing said, by name.
    listed: HashMap<String, Entry>,
    /// Fetched shards, the oldest first.
    files: VecDeque<KeptFile>,
    bytes: u64,
    /// Names of local files are numbered: two versions of a shard may be in use at once.
    next: u64,
}

struct KeptFile {
    name: String,
    version: Option<String>,
    path: PathBuf,
    bytes: u64,
}

impl RemoteShards {
    /// A folder at a location; nothing is fetched yet.
    ///
    /// # Errors
    /// When there is no place for temporary files.
    pub fn new(location: Location) -> anyhow::Result<Self> {
        Self::with(store(), location, KEPT_BYTES)
    }

    fn with(store: std::sync::Arc<Store>, location: Location, limit: u64) -> anyhow::Result<Self> {
        let staging = Staging::new()?;
        let url = PathBuf::from(location.to_string().trim_end_matches('/'));
        let kept = Kept {
            staging,
            limit,
            listed: HashMap::new(),
            files: VecDeque::new(),
            bytes: 0,
            next: 0,
        };
        Ok(Self { store, location, url, kept: Mutex::new(kept) })
    }

    fn error(&self, operation: &'static str, name: &str) -> impl Fn(StoreError) -> DataError {
        let path = if name.is_empty() { self.url.clone() } else { self.url.join(name) };
        move |error| io_error(operation, &path)(io::Error::other(error))
    }
}

impl Folder for RemoteShards {
    fn location(&self) -> &Path {
        &self.url
    }

    fn list(&self) -> Result<Vec<FolderEntry>, DataError> {
        let mut entries = self.store.list(&self.location).map_err(self.error("list", ""))?;
        entries.retain(|entry| !entry.name.contains('/'));
        let shown = |entry: &Entry| FolderEntry {
            name: entry.name.clone(),
            bytes: entry.size.unwrap_or(0),
            modified: entry.modified,
        };
        let shown = entries.iter().map(shown).collect();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.listed = entries.into_iter().map(|entry| (entry.name.clone(), entry)).collect();
        Ok(shown)
    }

    fn fetch(&self, name: &str) -> Result<LocalFile, DataError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let version = kept.listed.get(name).and_then(|entry| entry.version.clone());
        let found = kept.files.iter().position(|file| file.name == name && file.version == version);
        let at = match found.filter(|_| version.is_some()) {
            Some(at) => at,
            None => {
                let path = kept.new_path(name).map_err(io_error("fetch", &self.url))?;
                let from = self.location.join(name);
                let bytes = self.store.fetch(&from, &path).map_err(self.error("fetch", name))?;
                kept.bytes += bytes;
                kept.files.push_back(KeptFile { name: name.to_owned(), version, path, bytes });
                kept.files.len() - 1
            }
        };
        let copy = kept.link(at).map_err(io_error("fetch", &self.url))?;
        kept.make_room();
        Ok(LocalFile::copy(copy))
    }
}

fn io_error(action: &'static str, path: &Path) -> impl Fn(io::Error) -> DataError {
    let path = path.to_owned();
    move |source| DataError::Io { action, path: path.clone(), source }
}

impl Kept {
    fn new_path(&mut self, name: &str) -> io::Result<PathBuf> {
        let folder = self.staging.path().join(self.next.to_string());
        self.next += 1;
        fs::create_dir(&folder)?;
        Ok(folder.join(name))
    }

    /// A file that its reader may remove, with the same content.
    fn link(&mut self, at: usize) -> io::Result<TempPath> {
        let name = self.files[at].name.clone();
        let to = self.new_path(&name)?;
        let from = &self.files[at].path;
        if fs::hard_link(from, &to).is_err() {
            fs::copy(from, &to)?;
        }
        TempPath::try_from_path(to)
    }

    /// Removes what was fetched longest ago; whoever reads it has a link of their own.
    fn make_room(&mut self) {
        while self.bytes > self.limit {
            let Some(file) = self.files.pop_front() else { return };
            self.bytes -= file.bytes;
            let _ = fs::remove_file(&file.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn shards(limit: u64) -> (Arc<Store>, Location, RemoteShards) {
        let store = Arc::new(Store::in_memory(&["s3://bucket"]));
        let at = Location::parse("s3://bucket/shards/").unwrap();
        for name in ["train-0.jsonl", "train-1.jsonl", "below/x.jsonl", "_COMPLETE"] {
            store.put(name.as_bytes(), &at.join(name)).unwrap();
        }
        let folder = RemoteShards::with(store.clone(), at.clone(), limit).unwrap();
        (store, at, folder)
    }

    #[test]
    fn files_are_listed_without_folders_and_fetched_under_their_names() {
        let (_, _, folder) = shards(1000);
        let mut names: Vec<_> =
            folder.list().unwrap().into_iter().map(|e| (e.name, e.bytes)).collect();
        names.sort();
        let expected = [("_COMPLETE", 9), ("train-0.jsonl", 13), ("train-1.jsonl", 13)];
        assert_eq!(names, expected.map(|(name, bytes)| (name.to_owned(), bytes)));
        let file = folder.fetch("train-1.jsonl").unwrap();
        assert_eq!(fs::read_to_string(file.path()).unwrap(), "train-1.jsonl");
        assert!(file.path().ends_with("train-1.jsonl"));
        let path = file.path().to_owned();
        drop(file);
        assert!(!path.exists());
        let error = folder.fetch("none").unwrap_err().to_string();
        assert!(error.contains("s3://bucket/shards/none"), "{error}");
    }

    #[test]
    fn a_shard_is_fetched_once_until_it_changes_or_there_is_no_room() {
        let (store, at, folder) = shards(20);
        folder.list().unwrap();
        let read = |name: &str| fs::read_to_string(folder.fetch(name).unwrap().path()).unwrap();
        assert_eq!(read("train-0.jsonl"), "train-0.jsonl");
        // What is not fetched again does not show what it has become.
        store.put(b"changed", &at.join("train-0.jsonl")).unwrap();
        assert_eq!(read("train-0.jsonl"), "train-0.jsonl");
        folder.list().unwrap();
        assert_eq!(read("train-0.jsonl"), "changed");
        let held = folder.fetch("train-0.jsonl").unwrap();
        assert_eq!(read("train-1.jsonl"), "train-1.jsonl");
        assert_eq!(fs::read_to_string(held.path()).unwrap(), "changed", "in use, it stays");
        assert!(folder.kept.lock().unwrap().bytes <= 20);
    }
}
