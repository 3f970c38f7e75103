//! Temporary folders for what is on its way between this machine and a store.
//!
//! A folder goes when its owner does. One whose process was killed is found by its lock, which nobody holds any more, and
//! removed by the next process that needs a folder.

use std::borrow::Cow;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

use crate::error::StoreError;

const PREFIX: &str = "kiln-staging-";
const LOCK: &str = ".lock";
/// A folder is locked right after it is made; a younger one may be about to be.
const YOUNG: Duration = Duration::from_secs(60);

/// Folders in use by this process, each with whether it goes when the process is ended.
static LIVE: Mutex<Vec<(PathBuf, bool)>> = Mutex::new(Vec::new());
/// Local paths, and the URLs that they stand for.
static URLS: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// A temporary folder.
pub struct Staging {
    folder: Option<TempDir>,
    lock: Option<File>,
}

impl Staging {
    /// A new folder in the system's folder for temporary files (`TMPDIR`).
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn new() -> Result<Self, StoreError> {
        let parent = std::env::temp_dir();
        remove_orphans(&parent);
        let make = || {
            let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&parent)?;
            let lock = File::create(folder.path().join(LOCK))?;
            // Where files cannot be locked, nobody removes what nobody locks.
            let _ = lock.try_lock();
            Ok(Self { folder: Some(folder), lock: Some(lock) })
        };
        let staging = make().map_err(StoreError::io(&parent))?;
        let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
        live.push((staging.path().to_owned(), true));
        Ok(staging)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.as_ref().map_or(Path::new(""), |folder| folder.path())
    }

    /// Says that what the folder holds is worth keeping when the process is ended early.
    pub fn hold_results(&self) {
        let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
        live.iter_mut().filter(|(path, _)| path == self.path()).for_each(|(_, goes)| *goes = false);
    }

    /// Lets the folder stay. Returns its path.
    pub fn keep(mut self) -> PathBuf {
        self.forget();
        let folder = self.folder.take().expect("only keeping takes it");
        let path = folder.keep();
        // Without a lock it is nobody's orphan.
        let _ = fs::remove_file(path.join(LOCK));
        path
    }

    fn forget(&self) {
        let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
        live.retain(|(path, _)| path != self.path());
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        self.forget();
        drop(self.lock.take());
    }
}

/// Removes this process's temporary folders, but for those that hold results: these stay, and are returned. For the moment
/// before a process ends without running destructors.
pub fn clean_up() -> Vec<PathBuf> {
    let live = std::mem::take(&mut *LIVE.lock().unwrap_or_else(PoisonError::into_inner));
    let (goes, stays): (Vec<_>, Vec<_>) = live.into_iter().partition(|(_, goes)| *goes);
    for (folder, _) in goes {
        let _ = fs::remove_dir_all(folder);
    }
    let stay = |(folder, _): (PathBuf, bool)| {
        let _ = fs::remove_file(folder.join(LOCK));
        folder
    };
    stays.into_iter().map(stay).collect()
}

/// Notes that a local path stands for a location elsewhere; see [`with_urls`].
pub fn stands_for(local: &Path, url: &str) {
    let mut urls = URLS.lock().unwrap_or_else(PoisonError::into_inner);
    urls.push((local.display().to_string(), url.trim_end_matches('/').to_owned()));
    // The longer of two that begin alike says more.
    urls.sort_by_key(|(local, _)| std::cmp::Reverse(local.len()));
}

/// Notes that a local path is from now on what the user should be told.
pub fn forget(local: &Path) {
    let mut urls = URLS.lock().unwrap_or_else(PoisonError::into_inner);
    let local = local.display().to_string();
    urls.retain(|(other, _)| *other != local);
}

/// A text in which paths of temporary folders are replaced by the locations that the user knows them as.
pub fn with_urls(text: &str) -> Cow<'_, str> {
    let urls = URLS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut text = Cow::Borrowed(text);
    for (local, url) in urls.iter() {
        if text.contains(local.as_str()) {
            text = Cow::Owned(text.replace(local.as_str(), url));
        }
    }
    text
}

/// Removes the folders of processes that were killed.
fn remove_orphans(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let is_staging = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if is_staging && is_orphan(&path) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

fn is_orphan(folder: &Path) -> bool {
    let path = folder.join(LOCK);
    let Ok(about) = fs::symlink_metadata(&path) else { return false };
    let age = about.modified().ok().and_then(|time| time.elapsed().ok());
    let Ok(lock) = File::open(&path) else { return false };
    about.is_file() && age.is_some_and(|age| age > YOUNG) && lock.try_lock().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_go_with_their_owners_unless_kept() {
        let staging = Staging::new().unwrap();
        let path = staging.path().to_owned();
        assert!(path.is_dir());
        drop(staging);
        assert!(!path.exists());
        let kept = Staging::new().unwrap().keep();
        assert!(kept.is_dir() && !kept.join(LOCK).exists());
        fs::remove_dir_all(kept).unwrap();
    }

    #[test]
    fn only_old_folders_that_nobody_locks_are_orphans() {
        let parent = tempfile::tempdir().unwrap();
        let age = |path: &Path, seconds: u64| {
            let time = std::time::SystemTime::now() - Duration::from_secs(seconds);
            File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        };
        let folder = |name: &str, seconds: Option<u64>| {
            let path = parent.path().join(name);
            fs::create_dir(&path).unwrap();
            if let Some(seconds) = seconds {
                File::create(path.join(LOCK)).unwrap();
                age(&path.join(LOCK), seconds);
            }
            path
        };
        let old = folder("kiln-staging-old", Some(3600));
        let young = folder("kiln-staging-young", Some(1));
        let kept = folder("kiln-staging-kept", None);
        let other = folder("other", Some(3600));
        let held = folder("kiln-staging-held", Some(3600));
        let lock = File::open(held.join(LOCK)).unwrap();
        lock.lock().unwrap();
        remove_orphans(parent.path());
        assert!(!old.exists());
        for stays in [young, kept, other, held] {
            assert!(stays.exists(), "{}", stays.display());
        }
    }

    #[test]
    fn paths_are_told_as_what_the_user_knows() {
        stands_for(Path::new("/t/kiln-x/0"), "s3://b/run/");
        stands_for(Path::new("/t/kiln-x/0/in"), "s3://b/other");
        assert_eq!(
            with_urls("/t/kiln-x/0/step-1: bad; /t/kiln-x/0/in/a"),
            "s3://b/run/step-1: bad; s3://b/other/a"
        );
    }
}
