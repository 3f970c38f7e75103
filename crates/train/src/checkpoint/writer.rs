//! Saving: all files into a temporary folder, each hashed as it is written, then one rename.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use blake3::Hasher;
use kiln_model::TensorData;
use serde::Serialize;

use super::error::{CheckpointError, io_error, save_error};
use super::leftovers::{clean_leftovers, replaced_name, temporary_name};
use super::manifest::{Entry, Manifest, check_name};
use super::run::set_latest;
use super::{MANIFEST_FILE, step_name};
use crate::durable::sync_folder;

/// Small writes are gathered so that BLAKE3 and the system get large ones.
const BUFFER_BYTES: usize = 256 * 1024;

/// A checkpoint being saved. It appears in the run folder, whole, at [`commit`](Self::commit);
/// dropped before that, it leaves nothing behind.
///
/// ```
/// use kiln_train::checkpoint::{self, CheckpointWriter};
///
/// let run = tempfile::tempdir().unwrap();
/// let mut writer = CheckpointWriter::create(run.path(), 100)?;
/// writer.file("model.safetensors", |out| out.write_all(b"weights"))?;
/// writer.json("state.json", &serde_json::json!({"step": 100}))?;
/// let dir = writer.commit()?;
/// assert!(dir.ends_with("step-000100"));
/// assert_eq!(checkpoint::load(run.path())?.checkpoint.dir(), dir);
/// # Ok::<(), checkpoint::CheckpointError>(())
/// ```
#[derive(Debug)]
pub struct CheckpointWriter {
    run: PathBuf,
    step: u64,
    temporary: PathBuf,
    /// `MANIFEST`, locked as long as this writer lives: a temporary folder whose list is not
    /// locked is what a killed process left. (Its id would not tell: ids are used again, and
    /// another container has its own.)
    manifest_file: Option<File>,
    manifest: Manifest,
    folders: BTreeSet<PathBuf>,
    failed: bool,
}

impl CheckpointWriter {
    /// Begins the checkpoint of `step`, the number of steps done. The run folder is created if it
    /// is missing; what killed processes left in it is removed.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Save`] if the folder cannot be made.
    pub fn create(run: &Path, step: u64) -> Result<Self, CheckpointError> {
        fs::create_dir_all(run).map_err(save_error(run))?;
        clean_leftovers(run)?;
        let temporary = run.join(temporary_name(step));
        let target = run.join(step_name(step));
        fs::create_dir(&temporary).map_err(save_error(&target))?;
        let mut writer = Self {
            run: run.to_path_buf(),
            step,
            manifest_file: None,
            manifest: Manifest::default(),
            folders: BTreeSet::from([temporary.clone()]),
            temporary,
            failed: false,
        };
        let list = writer.temporary.join(MANIFEST_FILE);
        let file = File::create_new(list).map_err(save_error(&target.join(MANIFEST_FILE)))?;
        // Where files cannot be locked, leftovers are left alone: nothing is lost but space.
        let _ = file.try_lock();
        writer.manifest_file = Some(file);
        Ok(writer)
    }

    /// Writes one file. `name` may have folders (`tokenizer/tokenizer.json`). The bytes are hashed
    /// on their way and on the disk when this returns.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Name`] for a name that is used or leads out of the checkpoint;
    /// [`CheckpointError::Save`] if `write` or the disk fails: then the temporary folder is gone,
    /// and the checkpoint cannot be committed.
    pub fn file(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), CheckpointError> {
        let refuse = |reason| CheckpointError::Name { name: name.to_owned(), reason };
        check_name(name).map_err(refuse)?;
        if self.manifest.files.contains_key(name) {
            return Err(refuse("the checkpoint has this file already"));
        }
        if self.failed {
            return Err(CheckpointError::Incomplete { path: self.target() });
        }
        match self.write_file(name, write) {
            Ok(entry) => {
                self.manifest.files.insert(name.to_owned(), entry);
                Ok(())
            }
            Err(source) => {
                // At once and not when dropped: a full disk should not stay full any longer.
                self.discard();
                Err(CheckpointError::Save { path: self.target().join(name), source })
            }
        }
    }

    /// Writes a value as JSON, indented, with a newline at its end.
    ///
    /// # Errors
    ///
    /// As [`file`](Self::file).
    pub fn json(&mut self, name: &str, value: &impl Serialize) -> Result<(), CheckpointError> {
        self.file(name, |out| {
            serde_json::to_writer_pretty(&mut *out, value)?;
            out.write_all(b"\n")
        })
    }

    /// Writes tensors as safetensors, in the order given and without a second copy of them.
    ///
    /// # Errors
    ///
    /// As [`file`](Self::file).
    ///
    /// # Panics
    ///
    /// When a tensor has not as many values as its shape says.
    pub fn tensors(
        &mut self,
        name: &str,
        tensors: &[TensorData<'_>],
    ) -> Result<(), CheckpointError> {
        self.file(name, |mut out| kiln_model::write(&mut out, tensors))
    }

    /// Copies a file from elsewhere.
    ///
    /// # Errors
    ///
    /// As [`file`](Self::file), and [`CheckpointError::Io`] if `from` cannot be opened.
    pub fn copy(&mut self, name: &str, from: &Path) -> Result<(), CheckpointError> {
        let mut source = File::open(from).map_err(io_error(from))?;
        self.file(name, |out| io::copy(&mut source, out).map(|_| ()))
    }

    /// Completes the checkpoint: writes `MANIFEST`, renames the folder to `step-…`, and writes its
    /// name to `latest`. A checkpoint of the same step is replaced: it is moved aside when the new
    /// one lies complete on the disk, and removed when the new one is in its place. Returns the
    /// checkpoint's folder.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Incomplete`] after a file that failed; [`CheckpointError::Save`] or
    /// [`CheckpointError::Io`] naming what failed. The other checkpoints are untouched.
    pub fn commit(mut self) -> Result<PathBuf, CheckpointError> {
        let target = self.target();
        if self.failed {
            return Err(CheckpointError::Incomplete { path: target });
        }
        self.write_manifest().map_err(save_error(&target.join(MANIFEST_FILE)))?;
        for folder in &self.folders {
            sync_folder(folder).map_err(save_error(&target))?;
        }
        if cfg!(windows) {
            // A folder with an open file cannot be renamed there.
            self.manifest_file = None;
        }
        self.rename_to(&target)?;
        set_latest(&self.run, self.step)?;
        Ok(target)
    }

    fn target(&self) -> PathBuf {
        self.run.join(step_name(self.step))
    }

    fn write_file(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<Entry> {
        let path = self.temporary.join(name);
        self.create_folders(name)?;
        let hashing = HashingWriter { file: File::create_new(path)?, hasher: Hasher::new() };
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, hashing);
        write(&mut out)?;
        out.flush()?;
        let HashingWriter { file, hasher } = out.get_ref();
        file.sync_all()?;
        Ok(Entry { hash: hasher.finalize(), size: hasher.count() })
    }

    fn create_folders(&mut self, name: &str) -> io::Result<()> {
        for (end, _) in name.match_indices('/') {
            let folder = self.temporary.join(&name[..end]);
            if !self.folders.contains(&folder) {
                fs::create_dir(&folder)?;
                self.folders.insert(folder);
            }
        }
        Ok(())
    }

    fn write_manifest(&mut self) -> io::Result<()> {
        let text = self.manifest.render();
        let mut file = self.manifest_file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }

    fn rename_to(&self, target: &Path) -> Result<(), CheckpointError> {
        let aside = self.run.join(replaced_name(self.step));
        let replaces = target.symlink_metadata().is_ok();
        if replaces {
            fs::rename(target, &aside).map_err(save_error(target))?;
        }
        if let Err(source) = fs::rename(&self.temporary, target) {
            if replaces {
                // If this fails too, cleaning up before the next save puts it back.
                let _ = fs::rename(&aside, target);
            }
            return Err(CheckpointError::Save { path: target.to_path_buf(), source });
        }
        sync_folder(&self.run).map_err(save_error(target))?;
        if replaces {
            fs::remove_dir_all(&aside).map_err(io_error(&aside))?;
        }
        Ok(())
    }

    fn discard(&mut self) {
        self.failed = true;
        self.manifest_file = None;
        // The folder is gone after a commit; otherwise what cannot be removed now is cleaned up
        // before the next save.
        let _ = fs::remove_dir_all(&self.temporary);
    }
}

impl Drop for CheckpointWriter {
    fn drop(&mut self) {
        self.discard();
    }
}

/// A file and the hash of the bytes that it took.
struct HashingWriter {
    file: File,
    hasher: Hasher,
}

impl Write for HashingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
