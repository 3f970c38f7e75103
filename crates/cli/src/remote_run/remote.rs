//! A run folder in an object store: its checkpoints, fetched, written and removed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use kiln_store::{Location, OnProgress};
use kiln_train::checkpoint::{
    CheckpointError, LATEST_FILE, MANIFEST_FILE, parse_step_name, step_name,
};

use super::{Result, SharedStore};

/// Written and removed again before training, so that a run that could not be saved is refused at once.
const WRITE_TEST: &str = ".kiln-write-test";

/// A run folder elsewhere. Of its checkpoints those count whose `MANIFEST`, which is written last, is there.
pub struct RemoteFolder {
    store: SharedStore,
    location: Location,
    /// Names of the files of each checkpoint.
    files: BTreeMap<u64, Vec<String>>,
    steps: BTreeSet<u64>,
    latest: Option<u64>,
}

impl RemoteFolder {
    pub fn open(store: SharedStore, location: Location) -> Result<Self> {
        let mut folder =
            Self { files: BTreeMap::new(), steps: BTreeSet::new(), latest: None, store, location };
        for entry in folder.store.list(&folder.location)? {
            let Some((step, name)) = entry.name.split_once('/') else { continue };
            let Some(step) = parse_step_name(step) else { continue };
            if name == MANIFEST_FILE {
                folder.steps.insert(step);
            }
            folder.files.entry(step).or_default().push(name.to_owned());
        }
        let latest = folder.store.read(&folder.location.join(LATEST_FILE))?;
        let name = latest.and_then(|bytes| String::from_utf8(bytes).ok());
        folder.latest = name.and_then(|name| parse_step_name(name.trim_end()));
        Ok(folder)
    }

    /// Steps of the whole checkpoints.
    pub fn steps(&self) -> &BTreeSet<u64> {
        &self.steps
    }

    /// Checkpoints in the order in which to try them: the one that `latest` names, those before it, newest first, and then
    /// later ones, which a run that went back may have left.
    pub fn candidates(&self) -> Vec<u64> {
        let newest = self.latest.unwrap_or(u64::MAX);
        let (before, after): (Vec<u64>, Vec<u64>) =
            self.steps.iter().rev().partition(|step| **step <= newest);
        before.into_iter().chain(after).collect()
    }

    pub fn expect_step(&self, step: u64) -> std::result::Result<(), CheckpointError> {
        if self.steps.contains(&step) {
            return Ok(());
        }
        let have: Vec<u64> = self.steps.iter().copied().collect();
        let run = PathBuf::from(self.to_string());
        if have.is_empty() {
            return Err(CheckpointError::NoCheckpoint { run });
        }
        Err(CheckpointError::NoStep { run, step, have })
    }

    pub fn check_writable(&self) -> Result<()> {
        let test = self.location.join(WRITE_TEST);
        self.store.put(b"", &test)?;
        self.store.delete(&[test])
    }

    pub fn remove(&self, names: &[&str]) -> Result<()> {
        let files: Vec<_> = names.iter().map(|name| self.location.join(name)).collect();
        self.store.delete(&files)
    }

    /// Fetches a file of the run, if there is one.
    pub fn fetch_file(&self, name: &str, image: &Path) -> Result<()> {
        let from = self.location.join(name);
        if self.store.size(&from)?.is_some() {
            self.store.fetch(&from, &image.join(name))?;
        }
        Ok(())
    }

    /// Fetches a checkpoint.
    pub fn fetch_step(&self, step: u64, image: &Path, on_progress: OnProgress<'_>) -> Result<()> {
        let name = step_name(step);
        let from = self.location.join(&name);
        self.store.fetch_tree(&from, &image.join(name), &|_| true, on_progress).map(drop)
    }

    /// Writes a checkpoint; until it is whole it counts for none.
    pub fn put_step(&mut self, step: u64, from: &Path) -> Result<()> {
        let to = self.location.join(&step_name(step));
        // Of another course of the run there may be one of the same step.
        if self.steps.remove(&step) {
            self.store.delete(&[to.join(MANIFEST_FILE)])?;
        }
        let entries = self.store.list(&Location::Local(from.to_owned()))?;
        let names: Vec<String> = entries.into_iter().map(|entry| entry.name).collect();
        self.store.put_tree(from, &names, &to, &mut |_| {})?;
        self.steps.insert(step);
        self.files.insert(step, names);
        Ok(())
    }

    /// Writes a file of the run, if the image has one.
    pub fn put_file(&self, name: &str, image: &Path) -> Result<()> {
        let from = image.join(name);
        if from.exists() {
            self.store.put_file(&from, &self.location.join(name))?;
        }
        Ok(())
    }

    /// Makes a checkpoint the one to go on from.
    pub fn set_latest(&self, step: u64) -> Result<()> {
        let content = format!("{}\n", step_name(step));
        self.store.put(content.as_bytes(), &self.location.join(LATEST_FILE))
    }

    /// Removes the checkpoints before `newest` but for so many, it included.
    pub fn keep_last(&mut self, newest: u64, keep: usize) -> Result<()> {
        let old: Vec<u64> = self.steps.range(..=newest).rev().skip(keep.max(1)).copied().collect();
        old.into_iter().try_for_each(|step| self.remove_step(step))
    }

    /// Removes what a killed process left of checkpoints that it was writing or removing.
    pub fn remove_leftovers(&mut self) -> Result<()> {
        let partial = |step: &u64| !self.steps.contains(step);
        let partial: Vec<u64> = self.files.keys().copied().filter(partial).collect();
        partial.into_iter().try_for_each(|step| self.remove_step(step))
    }

    fn remove_step(&mut self, step: u64) -> Result<()> {
        let folder = self.location.join(&step_name(step));
        let mut names = self.files.get(&step).cloned().unwrap_or_default();
        // What makes it a checkpoint goes first.
        names.sort_by_key(|name| name != MANIFEST_FILE);
        let files: Vec<_> = names.iter().map(|name| folder.join(name)).collect();
        self.steps.remove(&step);
        self.store.delete(&files)?;
        self.files.remove(&step);
        Ok(())
    }
}

impl fmt::Display for RemoteFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.location.fmt(f)
    }
}
