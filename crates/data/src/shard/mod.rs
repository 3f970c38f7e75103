//! One file of documents: JSONL, plain or compressed, or Parquet.

pub(crate) mod groups;
mod jsonl;
pub(crate) mod parquet;
pub(crate) mod scan;
mod store;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::DataError;
use crate::record::{Record, Schema, content_hash, short_hash};
use crate::shard::groups::RowGroups;
use crate::shard::parquet::{ParquetFile, group_and_row};
use crate::shard::scan::{Entry, MAX_LINE_BYTES, ScanOptions, Scanned};
use crate::shard::store::Store;
use crate::source::LocalFile;

/// Documents of a JSONL file that make up a block: as many as `kiln corpus shard` puts into a row group.
const BLOCK_DOCUMENTS: u32 = 1024;

/// A file that holds something else than its name says, or less than it should.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// What is wrong with its content.
    Content(String),
    /// Something that has nothing to do with its content.
    Other(DataError),
}

impl Unreadable {
    pub(crate) fn new(why: String) -> Self {
        Self::Content(why)
    }

    /// As an error, where nothing can go on without the file.
    pub(crate) fn into_error(self, path: &Path) -> DataError {
        match self {
            Self::Content(why) => DataError::Corrupt { path: path.to_owned(), why },
            Self::Other(error) => error,
        }
    }
}

impl From<DataError> for Unreadable {
    fn from(error: DataError) -> Self {
        Self::Other(error)
    }
}

/// How the files of a data set are opened.
pub(crate) struct Opening<'a> {
    pub schema: &'a Schema,
    pub strict: bool,
    pub kept_problems: usize,
    /// Bytes of decompressed text that may still be kept in memory.
    pub memory: &'a AtomicU64,
    pub groups: &'a Arc<RowGroups>,
}

/// An open file: where its documents lie, and how to read them.
pub(crate) struct Shard {
    /// Name without the folder.
    pub name: String,
    /// Where it lies, as messages name it.
    pub path: PathBuf,
    /// What a scan of it found, without the entries.
    pub found: Scanned,
    pub train: Vec<Entry>,
    pub validation: Vec<Entry>,
    schema: Schema,
    reader: Reader,
    /// A temporary copy lives as long as it is read.
    _local: LocalFile,
}

enum Reader {
    Lines(Store),
    Rows { file: ParquetFile, groups: Arc<RowGroups>, number: u64 },
}

/// Documents of a shard that lie together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    /// Number of the first.
    pub start: u32,
    pub len: u32,
    /// Bytes of their texts.
    pub text_bytes: u64,
}

impl Shard {
    /// Opens a file and reads all of it once. All documents are for training at first.
    pub(crate) fn open(
        local: LocalFile,
        (name, path): (String, PathBuf),
        opening: &Opening<'_>,
    ) -> Result<Self, Unreadable> {
        let options = ScanOptions {
            schema: opening.schema,
            strict: opening.strict,
            keep: opening.kept_problems,
            max_line_bytes: MAX_LINE_BYTES,
        };
        let (reader, mut found) = if is_parquet(&name) {
            let file = ParquetFile::open(local.path(), opening.schema)?;
            let found = file.scan(opening.schema, &options)?;
            let (groups, number) = (Arc::clone(opening.groups), opening.groups.next_file());
            (Reader::Rows { file, groups, number }, found)
        } else {
            let memory = opening.memory.load(Ordering::Relaxed);
            let limit = usize::try_from(memory).unwrap_or(usize::MAX);
            let (store, found) = Store::open(local.path(), &path, limit, |reader| {
                scan::scan(reader, &path, &options)
            })?;
            if store.in_memory() {
                opening.memory.store(memory.saturating_sub(found.bytes), Ordering::Relaxed);
            }
            (Reader::Lines(store), found)
        };
        for problem in &mut found.problems {
            problem.file.clone_from(&path);
        }
        let train = std::mem::take(&mut found.entries);
        let (schema, validation) = (opening.schema.clone(), Vec::new());
        Ok(Self { name, path, found, train, validation, schema, reader, _local: local })
    }

    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Documents of both sides.
    pub(crate) fn documents(&self) -> u64 {
        (self.train.len() + self.validation.len()) as u64
    }

    /// Makes all documents validation ones.
    pub(crate) fn hold_out_all(&mut self) {
        self.validation = std::mem::take(&mut self.train);
    }

    /// Makes those validation documents that `takes` says so of, by their hash.
    pub(crate) fn hold_out(&mut self, takes: impl Fn(u64) -> bool) {
        let entries = std::mem::take(&mut self.train);
        (self.validation, self.train) = entries.into_iter().partition(|entry| takes(entry.hash));
    }

    /// Whether documents are read best a block at a time.
    pub(crate) fn reads_blocks(&self) -> bool {
        matches!(self.reader, Reader::Rows { .. })
    }

    /// The training documents in blocks: row groups, or runs of as many lines.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut last = None;
        for (number, entry) in self.train.iter().enumerate() {
            let key = match self.reader {
                Reader::Lines(_) => number / BLOCK_DOCUMENTS as usize,
                Reader::Rows { .. } => group_and_row(entry.offset).0,
            };
            if last.replace(key) != Some(key) {
                blocks.push(Block { start: number as u32, len: 0, text_bytes: 0 });
            }
            if let Some(block) = blocks.last_mut() {
                block.len += 1;
                block.text_bytes += u64::from(entry.text_bytes);
            }
        }
        blocks
    }

    /// Reads a document again.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or holds another text there than when it was opened.
    pub(crate) fn read(&self, entry: &Entry) -> Result<Record, DataError> {
        let texts = match &self.reader {
            Reader::Lines(store) => {
                let mut line = Vec::new();
                store.read(entry.offset, entry.length, &mut line)?;
                let texts = jsonl::strings(&line, &self.schema.fields());
                texts.map(|texts| texts.into_iter().map(|text| text.into_owned()).collect())
            }
            Reader::Rows { file, groups, number } => {
                let (group, row) = group_and_row(entry.offset);
                let read = || file.read(group).map_err(|e| e.into_error(&self.path));
                let decoded = groups.get((*number, group), read)?;
                let texts = decoded.row(row, &self.schema);
                texts.map(|texts| texts.into_iter().map(str::to_owned).collect::<Vec<_>>())
            }
        };
        // Batches must be the same on every pass, so an edited file is an error and not a surprise.
        match texts {
            Ok(texts) if short_hash(&content_hash(&texts)) == entry.hash => {
                Ok(Record::new(&self.schema, texts))
            }
            _ => Err(DataError::Changed { path: self.path.clone(), at: self.place(entry) }),
        }
    }

    fn place(&self, entry: &Entry) -> String {
        match self.reader {
            Reader::Lines(_) => format!("document at byte {}", entry.offset),
            Reader::Rows { .. } => {
                let (group, row) = group_and_row(entry.offset);
                format!("row {row} of row group {group}")
            }
        }
    }
}

/// Whether a file of this name can hold documents.
pub(crate) fn is_data(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower.ends_with(".jsonl") || lower.ends_with(".jsonl.zst") || is_parquet(name)
}

pub(crate) fn is_parquet(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".parquet")
}
