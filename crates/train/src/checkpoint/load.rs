//! Loading: only what `MANIFEST` vouches for is read.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use kiln_model::{SafetensorsFile, WeightsError};
use serde::de::DeserializeOwned;

use super::error::{CheckpointError, Damaged, io_error};
use super::manifest::Manifest;
use super::run::{as_checkpoint, latest, list_some};
use super::{LATEST_FILE, parse_step_name, step_name};

/// A checkpoint whose every file has been found to be as it was saved.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    dir: PathBuf,
    step: Option<u64>,
    files: Vec<String>,
}

impl Checkpoint {
    /// Opens one checkpoint's folder and verifies it.
    ///
    /// # Errors
    ///
    /// As [`verify`].
    pub fn open(dir: &Path) -> Result<Self, CheckpointError> {
        let manifest = verified(dir)?;
        let step = dir.file_name().and_then(|name| name.to_str()).and_then(parse_step_name);
        Ok(Self { dir: dir.to_path_buf(), step, files: manifest.files.into_keys().collect() })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Steps done when it was saved, if the folder has still the name that it was given.
    pub fn step(&self) -> Option<u64> {
        self.step
    }

    /// The names of its files, sorted, relative to [`dir`](Self::dir).
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// The path of one of its files, whether it has such a file or not.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Opens a file of tensors, to be read one by one.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] if there is no such file, or it is no safetensors file.
    pub fn tensors(&self, name: &str) -> Result<SafetensorsFile, WeightsError> {
        SafetensorsFile::open(&self.path(name))
    }

    /// Reads a file of JSON.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Io`] if it cannot be read, [`CheckpointError::Json`] if it is no such
    /// value.
    pub fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, CheckpointError> {
        let path = self.path(name);
        let file = File::open(&path).map_err(io_error(&path))?;
        serde_json::from_reader(BufReader::new(file))
            .map_err(|source| CheckpointError::Json { path, source })
    }
}

/// A checkpoint that can be used, and those that were passed over for it.
#[derive(Debug)]
pub struct Loaded {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Newer ones that are damaged, in the order of trying; to be shown to the user.
    pub damaged: Vec<Damaged>,
}

/// Checks every file of a checkpoint against `MANIFEST`: all sizes first, which costs nothing, then
/// all bytes. Files that it does not list are no part of the checkpoint and are not looked at.
///
/// # Errors
///
/// The first thing found wrong: [`CheckpointError::ManifestMissing`],
/// [`ManifestDamaged`](CheckpointError::ManifestDamaged),
/// [`FileMissing`](CheckpointError::FileMissing), [`Size`](CheckpointError::Size),
/// [`Hash`](CheckpointError::Hash) or [`Io`](CheckpointError::Io).
pub fn verify(dir: &Path) -> Result<(), CheckpointError> {
    verified(dir).map(|_| ())
}

fn verified(dir: &Path) -> Result<Manifest, CheckpointError> {
    if !dir.is_dir() {
        return Err(CheckpointError::NotFound { path: dir.to_path_buf() });
    }
    let manifest = Manifest::read(dir)?;
    manifest.check_sizes(dir)?;
    manifest.check_hashes(dir)?;
    Ok(manifest)
}

/// Loads what a user names: `RUN` means its newest checkpoint that is not damaged, `RUN/step-100`
/// that one and no other.
///
/// # Errors
///
/// As [`verify`] and [`load_latest_valid`]; [`CheckpointError::NoStep`] if the run has no such
/// step.
pub fn load(path: &Path) -> Result<Loaded, CheckpointError> {
    match as_checkpoint(path) {
        Some((_, dir)) => Ok(Loaded { checkpoint: Checkpoint::open(&dir)?, damaged: Vec::new() }),
        None => load_latest_valid(path),
    }
}

/// Loads the newest checkpoint of a run that is not damaged. The one that `latest` names is tried
/// first, then those before it, newest first, and then later ones, which a run that went back to an
/// earlier step may have left.
///
/// # Errors
///
/// [`CheckpointError::NotFound`] and [`NoCheckpoint`](CheckpointError::NoCheckpoint) if there is
/// none; [`NoneValid`](CheckpointError::NoneValid) if all are damaged.
pub fn load_latest_valid(run: &Path) -> Result<Loaded, CheckpointError> {
    let mut damaged = Vec::new();
    let mut candidates = list_some(run)?;
    candidates.reverse();
    match latest(run) {
        Ok(Some(newest)) => {
            if !candidates.iter().any(|(step, _)| *step == newest) {
                let path = run.join(step_name(newest));
                let error = CheckpointError::NotFound { path: path.clone() };
                damaged.push(Damaged { path, error });
            }
            // Stable: each side of `latest` keeps its order.
            candidates.sort_by_key(|(step, _)| *step > newest);
        }
        Ok(None) => {}
        Err(error) => damaged.push(Damaged { path: run.join(LATEST_FILE), error }),
    }
    for (_, dir) in candidates {
        match Checkpoint::open(&dir) {
            Ok(checkpoint) => return Ok(Loaded { checkpoint, damaged }),
            Err(error) => damaged.push(Damaged { path: dir, error }),
        }
    }
    Err(CheckpointError::NoneValid { run: run.to_path_buf(), damaged })
}
