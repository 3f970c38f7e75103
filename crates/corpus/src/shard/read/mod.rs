//! Files of documents, read in batches.

mod jsonl;
mod parquet;

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::CorpusError;

use super::record::Record;

/// A batch ends after this many bytes of the file's decompressed content ...
const BATCH_BYTES: usize = 8 << 20;
/// ... or after this many documents.
const BATCH_DOCUMENTS: usize = 1024;

/// How a file holds documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Jsonl { zstd: bool },
    Parquet,
}

/// A file of documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Input {
    pub path: PathBuf,
    /// Its size on the disk.
    pub bytes: u64,
    format: Format,
}

/// One line or row: a document with content, or what is wrong with it.
pub(crate) struct Row {
    /// From 1.
    pub number: u64,
    pub record: Result<Record, String>,
}

/// Some rows and how much of the file, in bytes on the disk, has been read with them.
pub(crate) struct Batch {
    pub rows: Vec<Row>,
    pub position: u64,
}

/// Why reading ended early.
pub(crate) enum ReadError {
    /// The file is damaged, or cannot be read.
    Damaged(String),
    /// Whoever got the batches wants to stop.
    Stopped(CorpusError),
}

impl From<CorpusError> for ReadError {
    fn from(error: CorpusError) -> Self {
        Self::Stopped(error)
    }
}

/// Takes batches in order.
pub(crate) type OnBatch<'a> = &'a mut dyn FnMut(Batch) -> Result<(), CorpusError>;

impl Input {
    /// Reads the whole file.
    pub(crate) fn read(&self, on_batch: OnBatch<'_>) -> Result<(), ReadError> {
        match self.format {
            Format::Jsonl { zstd } => jsonl::read(&self.path, zstd, on_batch),
            Format::Parquet => parquet::read(&self.path, self.bytes, on_batch),
        }
    }

    /// Whether the whole file can be read. Lines of a text file are judged one by one later, so only formats that can
    /// be damaged as a whole cost anything.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self.format {
            Format::Jsonl { zstd } => jsonl::check(&self.path, zstd),
            Format::Parquet => parquet::check(&self.path, self.bytes),
        }
    }

    fn of(path: PathBuf, bytes: u64) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
        let format = if name.ends_with(".jsonl") {
            Format::Jsonl { zstd: false }
        } else if name.ends_with(".jsonl.zst") {
            Format::Jsonl { zstd: true }
        } else if name.ends_with(".parquet") {
            Format::Parquet
        } else {
            return None;
        };
        Some(Self { path, bytes, format })
    }
}

/// The files of documents that the sources name: files as they are given, folders by the bytes of the names. Names
/// with a dot or an underscore are files that are being written, and markers.
pub(crate) fn list(sources: &[PathBuf]) -> Result<Vec<Input>, CorpusError> {
    if sources.is_empty() {
        return Err(CorpusError::NoSources);
    }
    let mut inputs = Vec::new();
    for source in sources {
        let about = fs::metadata(source).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => CorpusError::InputMissing { path: source.clone() },
            _ => CorpusError::io("open", source)(e),
        })?;
        if about.is_dir() {
            list_folder(source, &mut inputs)?;
        } else {
            let unknown = CorpusError::InputUnknown { path: source.clone() };
            let input = Input::of(source.clone(), about.len()).filter(|_| about.is_file());
            inputs.push(input.ok_or(unknown)?);
        }
    }
    if inputs.is_empty() {
        return Err(CorpusError::NoInputFiles { paths: sources.to_vec() });
    }
    Ok(inputs)
}

fn list_folder(folder: &Path, inputs: &mut Vec<Input>) -> Result<(), CorpusError> {
    let failed = CorpusError::io("list", folder);
    let entries = || -> std::io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    };
    let mut paths = entries().map_err(failed)?;
    paths.sort_unstable_by(|a, b| {
        a.as_os_str().as_encoded_bytes().cmp(b.as_os_str().as_encoded_bytes())
    });
    for path in paths {
        let hidden = path
            .file_name()
            .is_some_and(|name| matches!(name.as_encoded_bytes().first(), Some(b'.' | b'_')));
        let Ok(about) = fs::metadata(&path) else { continue };
        if !hidden && about.is_file() {
            inputs.extend(Input::of(path, about.len()));
        }
    }
    Ok(())
}

/// A row whose record has content, or says what it lacks.
fn row(number: u64, record: Result<Record, String>) -> Row {
    let lacks = "no field `text`, nor `signature` and `body`, that holds a string";
    let record =
        record.and_then(|r| if r.content().is_some() { Ok(r) } else { Err(lacks.to_owned()) });
    Row { number, record }
}

#[cfg(test)]
mod tests;
