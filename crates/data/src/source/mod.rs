//! A data set: its files, its documents, and which of them are for validation.

mod documents;
mod folder;
mod hold_out;
mod report;
mod stream;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::fingerprint::{DataFingerprint, FileFingerprint};
use crate::record::Schema;
use crate::shard::groups::RowGroups;
use crate::shard::{Opening, Shard, Unreadable};

pub(crate) use documents::Documents;
use folder::Listing;
pub use folder::{COMPLETE_MARKER, Folder, FolderEntry, LocalFile, LocalFolder};
use hold_out::HoldOut;
pub use report::{FileReport, SkippedFile, SourceReport};
pub use stream::StreamOptions;
pub(crate) use stream::{Patience, Stream, TakeUp};

/// Bytes of decoded row groups that are kept: those of two windows of the order.
const KEPT_ROW_GROUP_BYTES: u64 = 2 * crate::order::WINDOW_BYTES;

/// How a data set is opened.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// What makes a document.
    pub schema: Schema,
    /// Share of the documents to hold out, in [0, 1], when the data is a single file, or a stream without a
    /// `validation` file. With several files the last one is for validation, whatever this says. 1 makes all of a
    /// single file validation data.
    pub validation_share: f64,
    /// Make a line that is no document, and a file that cannot be read, an error instead of counting and skipping it.
    pub strict: bool,
    /// So many bad lines are kept for the report.
    pub kept_problems: usize,
    /// The texts of compressed JSONL files are kept in memory up to this many bytes, beyond in temporary files.
    pub memory_limit: usize,
}

impl Default for SourceOptions {
    fn default() -> Self {
        Self {
            schema: Schema::Text { field: "text".to_owned() },
            validation_share: 0.05,
            strict: false,
            kept_problems: 10,
            memory_limit: 64 << 20,
        }
    }
}

impl SourceOptions {
    fn check(&self) -> Result<(), DataError> {
        if (0.0..=1.0).contains(&self.validation_share) {
            return Ok(());
        }
        Err(DataError::BadOption {
            option: "validation share",
            value: self.validation_share.to_string(),
            why: "expected 0 to 1",
        })
    }
}

/// The two sides of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Documents to train on.
    Train,
    /// Documents that were held out.
    Validation,
}

/// An opened data set. Texts are not held in memory (but see [`SourceOptions::memory_limit`]): each is read when
/// it is asked for, a Parquet file's a row group at a time.
pub struct Source {
    train: Documents,
    validation: Documents,
    schema: Schema,
    report: SourceReport,
    fingerprint: DataFingerprint,
    /// More to come, where the data are a stream.
    stream: Option<Stream>,
}

impl Source {
    /// Opens a `.jsonl`, `.jsonl.zst` or `.parquet` file, or a folder of them.
    ///
    /// In a folder the files called `validation` (`validation.jsonl`, `validation-00000.parquet`) are for
    /// validation, or the last file in the order of names where none is called so; the others are for training. Of a
    /// single file, `validation_share` of the documents is held out, chosen by their content; when it has two
    /// different documents, neither side is empty. Pairs are all for training, but for files called `validation`,
    /// which are left alone.
    ///
    /// Every line and row is read once, so that all bad ones are known and counted before training starts.
    ///
    /// # Errors
    ///
    /// Nothing at the path, no such file in the folder, another kind of file, no document in all of them, a JSONL
    /// file that cannot be read or decompressed, and with `strict` the first bad line or Parquet file.
    pub fn open(path: &Path, options: &SourceOptions) -> Result<Self, DataError> {
        options.check()?;
        Self::open_folder(&LocalFolder::new(path)?, options)
    }

    /// Opens the files of a folder, wherever it lies.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub fn open_folder(folder: &dyn Folder, options: &SourceOptions) -> Result<Self, DataError> {
        options.check()?;
        let mut opener = Opener::new(options);
        let listing = Listing::of(folder)?;
        let ignored = listing.others.iter().map(|name| folder.location().join(name)).collect();
        let mut report = SourceReport { ignored, ..SourceReport::default() };
        let pairs = options.schema == Schema::Pairs;
        let (mut files, mut held) = (listing.shards, listing.validation);
        if files.is_empty() {
            // Nothing else is there to train on or to hold out from.
            std::mem::swap(&mut files, &mut held);
        } else if pairs {
            report.ignored.extend(held.drain(..).map(|e| folder.location().join(e.name)));
        }
        if files.is_empty() {
            return Err(DataError::NoFiles { path: folder.location().to_owned() });
        }
        let mut shards = Vec::with_capacity(files.len());
        for file in &files {
            shards.extend(opener.open(folder, &file.name, &mut report)?);
        }
        let mut validation = Vec::new();
        for file in &held {
            validation.extend(opener.open(folder, &file.name, &mut report)?);
        }
        if validation.is_empty() && !pairs && shards.len() > 1 {
            validation.extend(shards.pop());
        }
        validation.iter_mut().for_each(Shard::hold_out_all);
        if let ([single], true, false) = (&mut shards[..], validation.is_empty(), pairs) {
            let hashes = single.train.iter().map(|entry| entry.hash);
            let rule = HoldOut::of(options.validation_share, hashes);
            single.hold_out(|hash| rule.takes(hash));
        }
        Self::build(folder.location(), options, shards, validation, report)
    }

    fn build(
        path: &Path,
        options: &SourceOptions,
        shards: Vec<Shard>,
        validation: Vec<Shard>,
        mut report: SourceReport,
    ) -> Result<Self, DataError> {
        let all = || shards.iter().chain(&validation);
        all().for_each(|shard| report.add(shard, options.kept_problems));
        if report.train_documents + report.validation_documents == 0 {
            return Err(no_documents(path, &report));
        }
        if report.train_documents > u64::from(u32::MAX) {
            return Err(DataError::TooManyDocuments { path: path.to_owned() });
        }
        report.warn(options.schema != Schema::Pairs && options.validation_share > 0.0);
        let fingerprint = DataFingerprint {
            files: all().map(FileFingerprint::of).collect(),
            train_documents: report.train_documents,
        };
        let mut source = Self {
            train: Documents::new(Split::Train),
            validation: Documents::new(Split::Validation),
            schema: options.schema.clone(),
            report,
            fingerprint,
            stream: None,
        };
        for shard in shards.into_iter().map(Arc::new) {
            source.train.push(Arc::clone(&shard));
            source.validation.push(shard);
        }
        validation.into_iter().for_each(|shard| source.validation.push(Arc::new(shard)));
        Ok(source)
    }

    /// What was found.
    pub fn report(&self) -> &SourceReport {
        &self.report
    }

    /// Stands for the documents, their order and their split; of a stream, for what had been found at first.
    pub fn fingerprint(&self) -> &DataFingerprint {
        &self.fingerprint
    }

    /// What makes a document.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Whether more files may come while training.
    pub fn is_stream(&self) -> bool {
        self.stream.is_some()
    }

    /// Number of documents on one side; of a stream, of those found at first.
    pub fn len(&self, split: Split) -> usize {
        self.documents(split).len()
    }

    /// Whether one side has no documents.
    pub fn is_empty(&self, split: Split) -> bool {
        self.len(split) == 0
    }

    /// The text of document `index` of one side, 0 <= index < [`len`](Self::len); of a pair, as it would stand in a
    /// source file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or holds another text there than when it was opened.
    ///
    /// # Panics
    ///
    /// When the index is out of range.
    pub fn text(&self, split: Split, index: usize) -> Result<String, DataError> {
        Ok(self.documents(split).read(index)?.plain().into_owned())
    }

    /// The texts of one side in file order, read one by one.
    pub fn texts(&self, split: Split) -> impl Iterator<Item = Result<String, DataError>> + '_ {
        (0..self.len(split)).map(move |index| self.text(split, index))
    }

    pub(crate) fn documents(&self, split: Split) -> &Documents {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
        }
    }

    pub(crate) fn stream(&self) -> Option<&Stream> {
        self.stream.as_ref()
    }
}

fn no_documents(path: &Path, report: &SourceReport) -> DataError {
    if let [file, ..] = &report.skipped[..]
        && report.files.is_empty()
    {
        return DataError::Corrupt { path: file.path.clone(), why: file.why.clone() };
    }
    let (problem_count, first) = (report.problem_count, report.problems.first().cloned());
    DataError::NoDocuments { path: path.to_owned(), problem_count, first }
}

/// Opens the files of one data set, which share what they may hold in memory.
pub(crate) struct Opener {
    options: SourceOptions,
    memory: AtomicU64,
    groups: Arc<RowGroups>,
}

impl Opener {
    fn new(options: &SourceOptions) -> Self {
        let memory = AtomicU64::new(options.memory_limit as u64);
        let groups = Arc::new(RowGroups::new(KEPT_ROW_GROUP_BYTES));
        Self { options: options.clone(), memory, groups }
    }

    /// Opens a file that is whole, whatever it holds.
    fn try_open(&self, folder: &dyn Folder, name: &str) -> Result<Shard, Unreadable> {
        let opening = Opening {
            schema: &self.options.schema,
            strict: self.options.strict,
            kept_problems: self.options.kept_problems,
            memory: &self.memory,
            groups: &self.groups,
        };
        let path = self.path(folder, name);
        Shard::open(folder.fetch(name)?, (name.to_owned(), path), &opening)
    }

    /// Opens a file; one that cannot be decoded is put down as skipped, unless that is an error.
    fn open(
        &mut self,
        folder: &dyn Folder,
        name: &str,
        report: &mut SourceReport,
    ) -> Result<Option<Shard>, DataError> {
        let path = self.path(folder, name);
        match self.try_open(folder, name) {
            Ok(shard) => Ok(Some(shard)),
            Err(Unreadable::Content(why)) if !self.options.strict => {
                report.skipped.push(SkippedFile { path, why });
                Ok(None)
            }
            Err(unreadable) => Err(unreadable.into_error(&path)),
        }
    }

    /// Of a single file, the file itself.
    fn path(&self, folder: &dyn Folder, name: &str) -> std::path::PathBuf {
        let at = folder.location();
        if at.file_name().is_some_and(|last| last == name) && at.is_file() {
            at.to_owned()
        } else {
            at.join(name)
        }
    }
}
