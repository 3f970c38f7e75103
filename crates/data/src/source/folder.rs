//! Where the files of a data set lie.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tempfile::TempPath;

use crate::error::DataError;
use crate::shard::is_data;

/// Written last into a folder that is finished.
pub const COMPLETE_MARKER: &str = "_COMPLETE";

/// A file of a folder, as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderEntry {
    /// Name without the folder.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// When it was changed last, where that is known.
    pub modified: Option<SystemTime>,
}

/// A folder of files, on this machine or elsewhere. What is read of it is fetched file by file.
pub trait Folder: Send + Sync {
    /// What messages call it.
    fn location(&self) -> &Path;

    /// Its files, in any order; no folders.
    ///
    /// # Errors
    ///
    /// The folder does not exist or cannot be read.
    fn list(&self) -> Result<Vec<FolderEntry>, DataError>;

    /// Makes the content of a file readable on this machine.
    ///
    /// # Errors
    ///
    /// There is no such file, or it cannot be fetched.
    fn fetch(&self, name: &str) -> Result<LocalFile, DataError>;
}

/// A file on this machine.
#[derive(Debug)]
pub struct LocalFile {
    path: PathBuf,
    _copy: Option<TempPath>,
}

impl LocalFile {
    /// The file itself.
    pub fn in_place(path: PathBuf) -> Self {
        Self { path, _copy: None }
    }

    /// A copy that is removed when nobody reads it any more.
    pub fn copy(copy: TempPath) -> Self {
        Self { path: copy.to_path_buf(), _copy: Some(copy) }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A folder of this machine, or a single file of one.
#[derive(Debug)]
pub struct LocalFolder {
    path: PathBuf,
    single: bool,
}

impl LocalFolder {
    /// A folder, or a file that counts as a folder with nothing else in it.
    ///
    /// # Errors
    ///
    /// Nothing at the path, or a file that cannot hold documents.
    pub fn new(path: &Path) -> Result<Self, DataError> {
        let kind = match fs::metadata(path) {
            Ok(kind) => kind,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(DataError::Missing { path: path.to_owned() });
            }
            Err(e) => return Err(DataError::io("open", path)(e)),
        };
        let single = !kind.is_dir();
        if single && !(kind.is_file() && is_data(&file_name(path))) {
            return Err(DataError::UnknownFormat { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), single })
    }
}

impl Folder for LocalFolder {
    fn location(&self) -> &Path {
        &self.path
    }

    fn list(&self) -> Result<Vec<FolderEntry>, DataError> {
        if self.single {
            let kind = fs::metadata(&self.path).map_err(DataError::io("open", &self.path))?;
            return Ok(vec![entry(file_name(&self.path), &kind)]);
        }
        let read = || -> std::io::Result<Vec<FolderEntry>> {
            let mut entries = Vec::new();
            for found in fs::read_dir(&self.path)? {
                let path = found?.path();
                // A file may vanish between two looks at it: temporary ones are renamed.
                if let Ok(kind) = fs::metadata(&path)
                    && kind.is_file()
                {
                    entries.push(entry(file_name(&path), &kind));
                }
            }
            Ok(entries)
        };
        read().map_err(DataError::io("list", &self.path))
    }

    fn fetch(&self, name: &str) -> Result<LocalFile, DataError> {
        let path = if self.single { self.path.clone() } else { self.path.join(name) };
        Ok(LocalFile::in_place(path))
    }
}

fn entry(name: String, kind: &fs::Metadata) -> FolderEntry {
    FolderEntry { name, bytes: kind.len(), modified: kind.modified().ok() }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What the files of a folder are for.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Files of documents, by name. Those called `validation` are not among them.
    pub shards: Vec<FolderEntry>,
    /// Files called `validation`, by name.
    pub validation: Vec<FolderEntry>,
    /// All others.
    pub others: Vec<String>,
    /// Whether the writer has finished.
    pub complete: bool,
}

impl Listing {
    pub(crate) fn of(folder: &dyn Folder) -> Result<Self, DataError> {
        let mut listing = Self::sort(folder.list()?);
        if listing.complete {
            // The marker is written last: what is seen after it is all there is.
            listing = Self { complete: true, ..Self::sort(folder.list()?) };
        }
        Ok(listing)
    }

    fn sort(mut entries: Vec<FolderEntry>) -> Self {
        entries.sort_unstable_by(by_name);
        let mut listing = Self::default();
        for entry in entries {
            listing.complete |= entry.name == COMPLETE_MARKER;
            // A dot marks a file that is being written, an underscore a marker.
            if !is_data(&entry.name) || entry.name.starts_with(['.', '_']) {
                listing.others.push(entry.name);
            } else if is_validation(&entry.name) {
                listing.validation.push(entry);
            } else {
                listing.shards.push(entry);
            }
        }
        listing
    }
}

fn by_name(a: &FolderEntry, b: &FolderEntry) -> Ordering {
    a.name.as_bytes().cmp(b.name.as_bytes())
}

/// `validation.jsonl`, `validation-00000.parquet` and the like.
pub(crate) fn is_validation(name: &str) -> bool {
    name.strip_prefix("validation").is_some_and(|rest| rest.starts_with(['.', '-']))
}
