//! The same operations on files of this machine.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use crate::error::StoreError;
use crate::location::is_plain;
use crate::store::{Entry, Kind};

fn missing_is_none<T>(path: &Path, result: io::Result<T>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(source) => Err(StoreError::Io { path: path.to_owned(), source }),
    }
}

/// Every file below a folder, sorted. Links are followed; temporary files of ours are left out.
pub(crate) fn list(folder: &Path) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::new();
    list_below(folder, "", &mut entries)?;
    entries.sort();
    Ok(entries)
}

fn list_below(folder: &Path, prefix: &str, entries: &mut Vec<Entry>) -> Result<(), StoreError> {
    let Some(found) = missing_is_none(folder, fs::read_dir(folder))? else { return Ok(()) };
    for entry in found {
        let entry = entry.map_err(StoreError::io(folder))?;
        let path = entry.path();
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| is_plain(name)) else {
            return Err(StoreError::Name {
                name: name.to_string_lossy().into_owned(),
                folder: folder.display().to_string(),
                reason: "cannot be part of a URL",
            });
        };
        // A link into nothing is passed over.
        let Some(about) = missing_is_none(&path, fs::metadata(&path))? else { continue };
        let relative = format!("{prefix}{name}");
        if about.is_dir() {
            // A link to a folder could lead around in circles.
            if !entry.file_type().map_err(StoreError::io(&path))?.is_symlink() {
                list_below(&path, &format!("{relative}/"), entries)?;
            }
        } else if !name.starts_with(TEMPORARY_PREFIX) {
            let modified = about.modified().ok();
            let version = modified.map(|time| format!("{}-{time:?}", about.len()));
            entries.push(Entry { name: relative, size: Some(about.len()), version, modified });
        }
    }
    Ok(())
}

pub(crate) fn kind(path: &Path) -> Result<Option<Kind>, StoreError> {
    let about = missing_is_none(path, fs::metadata(path))?;
    Ok(about.map(|about| if about.is_dir() { Kind::Folder } else { Kind::File }))
}

pub(crate) fn size(path: &Path) -> Result<Option<u64>, StoreError> {
    let about = missing_is_none(path, fs::metadata(path))?;
    Ok(about.filter(|about| !about.is_dir()).map(|about| about.len()))
}

pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    missing_is_none(path, fs::read(path))
}

pub(crate) fn delete(path: &Path) -> Result<(), StoreError> {
    missing_is_none(path, fs::remove_file(path)).map(drop)
}

pub(crate) fn put(content: &[u8], to: &Path) -> Result<(), StoreError> {
    let mut file = temporary_beside(to)?;
    file.write_all(content).map_err(StoreError::io(to))?;
    persist(file, to)
}

pub(crate) fn copy(from: &Path, to: &Path) -> Result<u64, StoreError> {
    let mut source = File::open(from).map_err(StoreError::io(from))?;
    let mut file = temporary_beside(to)?;
    let bytes = io::copy(&mut source, &mut file).map_err(StoreError::io(to))?;
    persist(file, to)?;
    Ok(bytes)
}

const TEMPORARY_PREFIX: &str = ".kiln-part-";

/// A new file in the folder of `path`, which is made if it is missing.
pub(crate) fn temporary_beside(path: &Path) -> Result<tempfile::NamedTempFile, StoreError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(StoreError::io(folder))?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY_PREFIX);
    // Temporary files are private by default; what was fetched should be as readable as any other file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder).map_err(StoreError::io(folder))
}

pub(crate) fn persist(file: tempfile::NamedTempFile, to: &Path) -> Result<(), StoreError> {
    file.persist(to).map(drop).map_err(|error| StoreError::io(to)(error.error))
}
