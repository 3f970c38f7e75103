//! What a killed process left in a run folder.
//!
//! | Name | Left when killed while | Cleaning |
//! |---|---|---|
//! | `.step-000100.tmp-PID` | saving | removed |
//! | `.step-000100.replaced-PID` | replacing a checkpoint | put back if its place is empty, else removed |
//! | `.step-000100.removed-PID` | removing a checkpoint | removed |

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::error::{CheckpointError, io_error};
use super::{MANIFEST_FILE, parse_step_name, step_name};

pub(super) fn temporary_name(step: u64) -> String {
    hidden_name(step, "tmp")
}

pub(super) fn replaced_name(step: u64) -> String {
    hidden_name(step, "replaced")
}

pub(super) fn removed_name(step: u64) -> String {
    hidden_name(step, "removed")
}

/// Removes what killed processes left in a run folder, and puts back a checkpoint that one of them
/// had moved aside without putting another in its place. A save in progress, of this or another
/// process, is left alone. Returns the folders removed.
///
/// # Errors
///
/// [`CheckpointError::Io`] naming the folder that could not be read or removed.
pub fn clean_leftovers(run: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    let leftovers = find_leftovers(run).map_err(io_error(run))?;
    let saving: Vec<u64> = leftovers
        .iter()
        .filter(|leftover| leftover.kind == "tmp" && is_locked(&leftover.path))
        .map(|leftover| leftover.step)
        .collect();
    let mut removed = Vec::new();
    for Leftover { path, step, kind } in leftovers {
        if saving.contains(&step) {
            continue;
        }
        let target = run.join(step_name(step));
        if kind == "replaced" && target.symlink_metadata().is_err() {
            fs::rename(&path, target).map_err(io_error(&path))?;
            continue;
        }
        fs::remove_dir_all(&path).map_err(io_error(&path))?;
        removed.push(path);
    }
    removed.sort();
    Ok(removed)
}

struct Leftover {
    path: PathBuf,
    step: u64,
    kind: &'static str,
}

fn find_leftovers(run: &Path) -> io::Result<Vec<Leftover>> {
    let entries = match fs::read_dir(run) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if let Some((step, kind)) = name.to_str().and_then(parse_hidden_name)
            && entry.file_type()?.is_dir()
        {
            found.push(Leftover { path: entry.path(), step, kind });
        }
    }
    Ok(found)
}

fn hidden_name(step: u64, kind: &str) -> String {
    format!(".{}.{kind}-{}", step_name(step), std::process::id())
}

fn parse_hidden_name(name: &str) -> Option<(u64, &'static str)> {
    let (step, rest) = name.strip_prefix('.')?.split_once('.')?;
    let (kind, process) = rest.split_once('-')?;
    let kind = ["tmp", "replaced", "removed"].into_iter().find(|known| *known == kind)?;
    process.parse::<u32>().ok()?;
    Some((parse_step_name(step)?, kind))
}

/// Whether a writer still holds the lock on the folder's list of files.
fn is_locked(temporary: &Path) -> bool {
    match File::open(temporary.join(MANIFEST_FILE)) {
        Ok(file) => match file.try_lock() {
            Ok(()) => false,
            // Where files cannot be locked nothing is known, and nothing is removed.
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => true,
        },
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_are_not() {
        assert_eq!(parse_hidden_name(&temporary_name(100)), Some((100, "tmp")));
        assert_eq!(parse_hidden_name(&replaced_name(1_234_567)), Some((1_234_567, "replaced")));
        assert_eq!(parse_hidden_name(&removed_name(0)), Some((0, "removed")));
        for name in
            ["step-000100", ".step-000100.tmp", ".step-x.tmp-1", ".step-1.tmp-x", ".git", "."]
        {
            assert_eq!(parse_hidden_name(name), None, "{name}");
        }
    }
}
