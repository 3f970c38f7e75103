//! Run folders: which checkpoints there are, which is the newest, which may go.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::{CheckpointError, io_error, save_error};
use super::leftovers::removed_name;
use super::manifest::Manifest;
use super::{LATEST_FILE, MANIFEST_FILE, parse_step_name, step_name};
use crate::durable::{sync_folder, write_atomically};

/// Which checkpoint of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The one that `latest` names, or that of the highest step if `latest` names none.
    Latest,
    /// The one saved after this many steps.
    Step(u64),
}

/// The checkpoints of a run folder, ascending by step; none for a missing folder. Nothing is said
/// about their state.
///
/// # Errors
///
/// [`CheckpointError::Io`] if the folder cannot be read.
pub fn list(run: &Path) -> Result<Vec<(u64, PathBuf)>, CheckpointError> {
    let entries = match fs::read_dir(run) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io_error(run))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io_error(run))?;
        if let Some(step) = entry.file_name().to_str().and_then(parse_step_name)
            && entry.path().is_dir()
        {
            found.push((step, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// The step that `latest` names; `None` without such a file.
///
/// # Errors
///
/// [`CheckpointError::LatestDamaged`] if it holds no checkpoint's name.
pub fn latest(run: &Path) -> Result<Option<u64>, CheckpointError> {
    let path = run.join(LATEST_FILE);
    match fs::read(&path) {
        Ok(bytes) => {
            let name = std::str::from_utf8(&bytes).ok().map(str::trim_end);
            let step = name.and_then(parse_step_name);
            step.map(Some).ok_or(CheckpointError::LatestDamaged { path })
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CheckpointError::Io { path, source }),
    }
}

/// Makes a checkpoint the one to resume from. Saving does it; so should going back to an earlier
/// step, or a run that is killed before its next save would resume from the later one.
///
/// # Errors
///
/// [`CheckpointError::Save`] naming `latest`.
pub fn set_latest(run: &Path, step: u64) -> Result<(), CheckpointError> {
    let path = run.join(LATEST_FILE);
    let content = format!("{}\n", step_name(step));
    write_atomically(&path, content.as_bytes()).map_err(save_error(&path))
}

/// The folder of a checkpoint. `path` is a run folder, or itself a checkpoint (`RUN/step-000100`,
/// or `RUN/step-100` for short), which then must be of the step that is asked for. The checkpoint
/// is not verified.
///
/// # Errors
///
/// [`CheckpointError::NotFound`], [`NoCheckpoint`](CheckpointError::NoCheckpoint),
/// [`NoStep`](CheckpointError::NoStep), or [`Io`](CheckpointError::Io).
pub fn find(path: &Path, which: Which) -> Result<PathBuf, CheckpointError> {
    if let Some((step, dir)) = as_checkpoint(path) {
        return match which {
            Which::Step(wanted) if step != Some(wanted) => {
                let have = step.into_iter().collect();
                Err(CheckpointError::NoStep { run: path.to_path_buf(), step: wanted, have })
            }
            _ => Ok(dir),
        };
    }
    let checkpoints = list_some(path)?;
    let wanted = match which {
        Which::Step(step) => Some(step),
        Which::Latest => latest(path).ok().flatten(),
    };
    let of_step = checkpoints.iter().rev().find(|(step, _)| Some(*step) == wanted);
    match (of_step, which) {
        (Some((_, dir)), _) => Ok(dir.clone()),
        (None, Which::Latest) => Ok(checkpoints[checkpoints.len() - 1].1.clone()),
        (None, Which::Step(step)) => {
            let have = checkpoints.iter().map(|(step, _)| *step).collect();
            Err(CheckpointError::NoStep { run: path.to_path_buf(), step, have })
        }
    }
}

/// A path that means one checkpoint, with its step if its name tells.
pub(super) fn as_checkpoint(path: &Path) -> Option<(Option<u64>, PathBuf)> {
    let step = path.file_name().and_then(|name| name.to_str()).and_then(parse_step_name);
    if path.is_dir() {
        // A damaged checkpoint may have lost its list, a copied one its name.
        let is_checkpoint = step.is_some() || path.join(MANIFEST_FILE).exists();
        return is_checkpoint.then(|| (step, path.to_path_buf()));
    }
    let padded = path.with_file_name(step_name(step?));
    padded.is_dir().then_some((step, padded))
}

/// [`list`], with an error if it would be empty.
pub(super) fn list_some(run: &Path) -> Result<Vec<(u64, PathBuf)>, CheckpointError> {
    if !run.exists() {
        // RUN/step-N of a run that there is: say which steps it has.
        let name = run.file_name().and_then(|name| name.to_str());
        let parent = run.parent().unwrap_or(Path::new(""));
        if let Some(step) = name.and_then(parse_step_name) {
            let have: Vec<u64> = list(parent)?.into_iter().map(|(step, _)| step).collect();
            if !have.is_empty() {
                return Err(CheckpointError::NoStep { run: parent.to_path_buf(), step, have });
            }
        }
        return Err(CheckpointError::NotFound { path: run.to_path_buf() });
    }
    let checkpoints = list(run)?;
    if checkpoints.is_empty() {
        return Err(CheckpointError::NoCheckpoint { run: run.to_path_buf() });
    }
    Ok(checkpoints)
}

/// Removes old checkpoints: of those up to `latest`, the `k` newest stay (at least one), where only
/// those count whose files are all there in their sizes. Checkpoints of later steps than `latest`,
/// which a run that went back to an earlier step has, are left alone. To be called after a save;
/// without a whole newest checkpoint nothing is removed. Returns what was removed, newest first.
///
/// # Errors
///
/// [`CheckpointError::Io`] naming the checkpoint that could not be removed.
pub fn keep_last(run: &Path, k: usize) -> Result<Vec<PathBuf>, CheckpointError> {
    let newest = latest(run)?;
    let mut candidates = list(run)?;
    candidates.retain(|(step, _)| Some(*step) <= newest);
    let is_whole = |dir: &Path| Manifest::read(dir).and_then(|list| list.check_sizes(dir)).is_ok();
    match candidates.last() {
        Some((step, dir)) if Some(*step) == newest && is_whole(dir) => {}
        _ => return Ok(Vec::new()),
    }
    let mut kept = 0;
    let mut removed = Vec::new();
    for (step, dir) in candidates.into_iter().rev() {
        if kept >= k.max(1) {
            remove(run, step, &dir)?;
            removed.push(dir);
        } else if is_whole(&dir) {
            kept += 1;
        }
    }
    Ok(removed)
}

/// Renames before removing: a checkpoint that is half gone must not look like a damaged one.
fn remove(run: &Path, step: u64, dir: &Path) -> Result<(), CheckpointError> {
    let aside = run.join(removed_name(step));
    fs::rename(dir, &aside).map_err(io_error(dir))?;
    sync_folder(run).map_err(io_error(run))?;
    fs::remove_dir_all(&aside).map_err(io_error(&aside))
}
