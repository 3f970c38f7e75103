//! What a command writes: local paths as they are, others made here and published when complete.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::error::StoreError;
use crate::local;
use crate::location::Location;
use crate::staging::{Staging, forget, stands_for};
use crate::store::Store;
use crate::tree::{OnProgress, rank};

/// What of an earlier output a command needs to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earlier {
    /// Names, and the content of what completes a folder: enough to refuse or to replace it.
    Names,
    /// All of it, to add to it.
    Content,
}

/// A file or folder to write. A remote one is made in a temporary folder; nothing is seen of it until
/// [`publish`](Self::publish).
pub struct Output {
    store: Arc<Store>,
    location: Location,
    path: PathBuf,
    staged: Option<Staged>,
}

struct Staged {
    staging: Staging,
    is_folder: bool,
    /// Files that stand for those of an earlier output, by name.
    earlier: BTreeMap<String, Stand>,
}

/// How to tell whether the command has touched what stands for an earlier file.
#[derive(PartialEq, Eq)]
struct Stand {
    size: u64,
    modified: Option<SystemTime>,
}

impl Output {
    /// A folder to write to. In a remote one's place lies a local folder in which the files of an earlier output are seen,
    /// empty unless `earlier` asks for their content, so that a command refuses, replaces and removes what it would locally.
    ///
    /// # Errors
    /// When the location is none, or cannot be read.
    pub fn folder(store: Arc<Store>, path: &Path, earlier: Earlier) -> Result<Self, StoreError> {
        Self::folder_part(store, path, earlier, &|_| true)
    }

    /// The same, where of the earlier files only those are seen of which `wanted` says so; the others are left alone.
    ///
    /// # Errors
    /// As [`folder`](Self::folder).
    pub fn folder_part(
        store: Arc<Store>,
        path: &Path,
        earlier: Earlier,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Self, StoreError> {
        let location = Location::parse(path)?;
        if let Location::Local(path) = &location {
            let path = path.clone();
            return Ok(Self { store, location, path, staged: None });
        }
        let staging = Staging::new()?;
        let path = staging.path().join("out").join(location.name().unwrap_or("out"));
        stands_for(&path, &location.to_string());
        let earlier = mirror(&store, &location, &path, earlier, wanted)?;
        if earlier.is_empty() {
            // Commands make it, and some look whether it is there.
            let _ = fs::remove_dir_all(&path);
        }
        Ok(Self {
            store,
            location,
            path,
            staged: Some(Staged { staging, is_folder: true, earlier }),
        })
    }

    /// A file to write.
    ///
    /// # Errors
    /// When the location is none.
    pub fn file(store: Arc<Store>, path: &Path) -> Result<Self, StoreError> {
        let location = Location::parse(path)?;
        if let Location::Local(path) = &location {
            let path = path.clone();
            return Ok(Self { store, location, path, staged: None });
        }
        let staging = Staging::new()?;
        let folder = staging.path().join("out");
        fs::create_dir(&folder).map_err(StoreError::io(&folder))?;
        let path = folder.join(location.name().unwrap_or("out"));
        stands_for(&path, &location.to_string());
        let staged = Staged { staging, is_folder: false, earlier: BTreeMap::new() };
        Ok(Self { store, location, path, staged: Some(staged) })
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it will be.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Brings what was written to its place: what completes a folder last, after what was removed here is removed there. A
    /// local output is in its place already. It may be called again after more was written.
    ///
    /// # Errors
    /// [`StoreError::Kept`], naming the local folder in which everything is kept.
    pub fn publish(&mut self, on_progress: OnProgress<'_>) -> Result<(), StoreError> {
        let Some(staged) = &mut self.staged else { return Ok(()) };
        let published = if staged.is_folder {
            publish_folder(&self.store, &self.path, &self.location, &staged.earlier, on_progress)
                .map(|stands| staged.earlier = stands)
        } else if self.path.exists() {
            self.store.put_file(&self.path, &self.location).map(drop)
        } else {
            Ok(())
        };
        published.map_err(|source| {
            if let Some(staged) = self.staged.take() {
                staged.staging.keep();
            }
            forget(&self.path);
            StoreError::Kept { path: self.path.clone(), source: Box::new(source) }
        })
    }
}

/// Lets the files of a remote folder be seen in a local one.
fn mirror(
    store: &Store,
    from: &Location,
    to: &Path,
    earlier: Earlier,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<BTreeMap<String, Stand>, StoreError> {
    fs::create_dir_all(to).map_err(StoreError::io(to))?;
    let mut stands = BTreeMap::new();
    for entry in store.list(from)?.into_iter().filter(|entry| wanted(&entry.name)) {
        let path = to.join(&entry.name);
        if earlier == Earlier::Content || rank(&entry.name) > 0 {
            store.fetch(&from.join(&entry.name), &path)?;
        } else {
            let folder = path.parent().unwrap_or(to);
            fs::create_dir_all(folder).map_err(StoreError::io(folder))?;
            let make = || File::create(&path)?.set_modified(SystemTime::UNIX_EPOCH);
            make().map_err(StoreError::io(&path))?;
        }
        stands.insert(entry.name, stand(&path)?);
    }
    Ok(stands)
}

fn stand(path: &Path) -> Result<Stand, StoreError> {
    let about = fs::metadata(path).map_err(StoreError::io(path))?;
    Ok(Stand { size: about.len(), modified: about.modified().ok() })
}

fn publish_folder(
    store: &Store,
    from: &Path,
    to: &Location,
    earlier: &BTreeMap<String, Stand>,
    on_progress: OnProgress<'_>,
) -> Result<BTreeMap<String, Stand>, StoreError> {
    let entries = local::list(from)?;
    let mut stands = BTreeMap::new();
    let mut written = Vec::new();
    for entry in &entries {
        let now = stand(&from.join(&entry.name))?;
        if earlier.get(&entry.name) != Some(&now) {
            written.push(entry.name.clone());
        }
        stands.insert(entry.name.clone(), now);
    }
    let is_here = |name: &&String| entries.iter().any(|entry| entry.name == **name);
    let removed: Vec<&String> = earlier.keys().filter(|name| !is_here(name)).collect();
    // From here on until the end the folder is not complete, and must not seem so.
    let (marks, rest): (Vec<&String>, Vec<&String>) =
        removed.into_iter().partition(|name| rank(name) > 0);
    let rewritten = written.iter().filter(|name| rank(name) > 0 && earlier.contains_key(*name));
    let at = |name: &String| to.join(name);
    if !written.is_empty() || !rest.is_empty() {
        let marks: Vec<Location> = marks.into_iter().chain(rewritten).map(at).collect();
        store.delete(&marks)?;
    }
    let (last, first): (Vec<String>, Vec<String>) =
        written.into_iter().partition(|name| rank(name) > 0);
    store.put_tree(from, &first, to, on_progress)?;
    store.delete(&rest.into_iter().map(at).collect::<Vec<_>>())?;
    store.put_tree(from, &last, to, &mut |_| {})?;
    Ok(stands)
}
