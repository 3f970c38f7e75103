//! A data set: its files, its documents, and which of them are for validation.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::fingerprint::{DataFingerprint, FileFingerprint};
use crate::hold_out::HoldOut;
use crate::jsonl;
use crate::scan::{self, Entry, MAX_LINE_BYTES, Problem, ScanOptions, Scanned};
use crate::store::Store;

/// How a data set is opened.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// Field of each JSON object that holds the text.
    pub field: String,
    /// Share of the documents to hold out, in [0, 1], when the data is a single file. With several files the
    /// last one is for validation, whatever this says. 1 makes all of a single file validation data.
    pub validation_share: f64,
    /// Make a line that is no document an error instead of counting and skipping it.
    pub strict: bool,
    /// So many bad lines are kept for the report.
    pub kept_problems: usize,
    /// A compressed file's text is kept in memory up to this many bytes, beyond in a temporary file.
    pub memory_limit: usize,
}

impl Default for SourceOptions {
    fn default() -> Self {
        Self {
            field: "text".to_owned(),
            validation_share: 0.05,
            strict: false,
            kept_problems: 10,
            memory_limit: 64 << 20,
        }
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

/// One file of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileReport {
    /// Its path.
    pub path: PathBuf,
    /// Bytes of JSONL in it, after decompression.
    pub bytes: u64,
    /// Documents in it.
    pub documents: u64,
}

/// What was found when a data set was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SourceReport {
    /// The files in the order in which they are read.
    pub files: Vec<FileReport>,
    /// Files of the folder that were left alone.
    pub ignored: Vec<PathBuf>,
    /// Documents to train on.
    pub train_documents: u64,
    /// Bytes of their texts.
    pub train_text_bytes: u64,
    /// Documents for validation.
    pub validation_documents: u64,
    /// Bytes of their texts.
    pub validation_text_bytes: u64,
    /// Documents with an empty text, which were passed over.
    pub empty_documents: u64,
    /// Lines that are no documents, which were passed over.
    pub problem_count: u64,
    /// The first of them.
    pub problems: Vec<Problem>,
    /// What a user should know although nothing failed.
    pub warnings: Vec<String>,
}

/// An opened data set. Texts are not held in memory (but see [`SourceOptions::memory_limit`]): each is read when
/// it is asked for.
pub struct Source {
    stores: Vec<Store>,
    train: Vec<Entry>,
    validation: Vec<Entry>,
    field: String,
    report: SourceReport,
    fingerprint: DataFingerprint,
}

impl Source {
    /// Opens a `.jsonl` or `.jsonl.zst` file, or a folder of them. In a folder the last file in the order of
    /// names is for validation and the others are for training. Of a single file, `validation_share` of the
    /// documents is held out, chosen by their content; when it has two different documents, neither side is
    /// empty.
    ///
    /// Every line is parsed once, so that all bad lines are known and counted before training starts.
    ///
    /// # Errors
    ///
    /// Nothing at the path, no such file in the folder, another kind of file, no document in all of them, a file
    /// that cannot be read or decompressed, and with `strict` the first bad line.
    pub fn open(path: &Path, options: &SourceOptions) -> Result<Self, DataError> {
        if !(0.0..=1.0).contains(&options.validation_share) {
            return Err(DataError::BadOption {
                option: "validation share",
                value: options.validation_share.to_string(),
                why: "expected 0 to 1",
            });
        }
        let (paths, ignored) = data_files(path)?;
        let mut stores = Vec::with_capacity(paths.len());
        let mut files = Vec::with_capacity(paths.len());
        for (number, file) in paths.iter().enumerate() {
            let scan_options = ScanOptions {
                field: &options.field,
                strict: options.strict,
                keep: options.kept_problems,
                max_line_bytes: MAX_LINE_BYTES,
            };
            let (store, scanned) = Store::open(file, options.memory_limit, |reader| {
                scan::scan(reader, file, number as u32, &scan_options)
            })?;
            stores.push(store);
            files.push(scanned);
        }
        Self::build(path, options, stores, files, ignored)
    }

    fn build(
        path: &Path,
        options: &SourceOptions,
        stores: Vec<Store>,
        mut files: Vec<Scanned>,
        ignored: Vec<PathBuf>,
    ) -> Result<Self, DataError> {
        let fingerprints = stores.iter().zip(&files).map(|(store, file)| FileFingerprint {
            name: file_name(&store.path),
            documents: file.entries.len() as u64,
            hash: file.content_hash(),
        });
        let fingerprints: Vec<FileFingerprint> = fingerprints.collect();
        let mut report = report(&stores, &files, options.kept_problems);
        report.ignored = ignored;

        let last = files.pop().map(|file| file.entries).unwrap_or_default();
        let (train, validation): (Vec<Entry>, Vec<Entry>) = if files.is_empty() {
            let rule = HoldOut::of(options.validation_share, last.iter().map(|e| e.hash));
            last.into_iter().partition(|entry| !rule.takes(entry.hash))
        } else {
            (files.into_iter().flat_map(|file| file.entries).collect(), last)
        };
        if train.len() + validation.len() == 0 {
            let (problem_count, first) = (report.problem_count, report.problems.first().cloned());
            return Err(DataError::NoDocuments { path: path.to_owned(), problem_count, first });
        }
        if train.len() > u32::MAX as usize {
            return Err(DataError::TooManyDocuments { path: path.to_owned() });
        }
        report.train_documents = train.len() as u64;
        report.validation_documents = validation.len() as u64;
        report.train_text_bytes = text_bytes(&train);
        report.validation_text_bytes = text_bytes(&validation);
        report.warnings = warnings(&report, options);
        let fingerprint =
            DataFingerprint { files: fingerprints, train_documents: report.train_documents };
        let field = options.field.clone();
        Ok(Self { stores, train, validation, field, report, fingerprint })
    }

    /// What was found.
    pub fn report(&self) -> &SourceReport {
        &self.report
    }

    /// Stands for the documents, their order and their split.
    pub fn fingerprint(&self) -> &DataFingerprint {
        &self.fingerprint
    }

    /// Number of documents on one side.
    pub fn len(&self, split: Split) -> usize {
        self.entries(split).len()
    }

    /// Whether one side has no documents.
    pub fn is_empty(&self, split: Split) -> bool {
        self.entries(split).is_empty()
    }

    /// The text of document `index` of one side, 0 <= index < [`len`](Self::len).
    ///
    /// # Errors
    ///
    /// The file cannot be read, or holds another text there than when it was opened.
    ///
    /// # Panics
    ///
    /// When the index is out of range.
    pub fn text(&self, split: Split, index: usize) -> Result<String, DataError> {
        let entry = self.entries(split)[index];
        let store = &self.stores[entry.file as usize];
        let mut line = Vec::new();
        store.read(entry.offset, entry.length, &mut line)?;
        let changed = || DataError::Changed { path: store.path.clone(), offset: entry.offset };
        let text = jsonl::text(&line, &self.field).map_err(|_| changed())?;
        // Batches must be the same on every pass, so an edited file is an error and not a surprise.
        if scan::short_hash(&blake3::hash(text.as_bytes())) != entry.hash {
            return Err(changed());
        }
        Ok(text.into_owned())
    }

    /// The texts of one side in file order, read one by one.
    pub fn texts(&self, split: Split) -> impl Iterator<Item = Result<String, DataError>> + '_ {
        (0..self.len(split)).map(move |index| self.text(split, index))
    }

    fn entries(&self, split: Split) -> &[Entry] {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
        }
    }
}

/// The files to read, in order, and those of a folder to leave alone.
fn data_files(path: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), DataError> {
    let kind = match fs::metadata(path) {
        Ok(kind) => kind,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(DataError::Missing { path: path.to_owned() });
        }
        Err(e) => return Err(DataError::io("open", path)(e)),
    };
    if !kind.is_dir() {
        let is_data = kind.is_file() && is_jsonl(&file_name(path));
        let unknown = DataError::UnknownFormat { path: path.to_owned() };
        return if is_data { Ok((vec![path.to_owned()], Vec::new())) } else { Err(unknown) };
    }
    let list = || -> std::io::Result<Vec<PathBuf>> {
        fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect()
    };
    let mut all = list().map_err(DataError::io("list", path))?;
    all.sort_unstable_by(|a, b| {
        let bytes = |p: &PathBuf| p.as_os_str().as_encoded_bytes().to_vec();
        bytes(a).cmp(&bytes(b))
    });
    // A dot marks a file that is being written, an underscore a marker such as `_COMPLETE`.
    let usable = |p: &PathBuf| {
        let name = file_name(p);
        is_jsonl(&name) && !name.starts_with(['.', '_']) && p.is_file()
    };
    let (files, ignored): (Vec<_>, Vec<_>) = all.into_iter().partition(usable);
    if files.is_empty() {
        return Err(DataError::NoFiles { path: path.to_owned() });
    }
    Ok((files, ignored))
}

fn is_jsonl(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with(".jsonl") || name.ends_with(".jsonl.zst")
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn text_bytes(entries: &[Entry]) -> u64 {
    entries.iter().map(|e| u64::from(e.text_bytes)).sum()
}

/// All of the report that does not depend on the split.
fn report(stores: &[Store], files: &[Scanned], keep: usize) -> SourceReport {
    let file_report = |(store, file): (&Store, &Scanned)| FileReport {
        path: store.path.clone(),
        bytes: file.bytes,
        documents: file.entries.len() as u64,
    };
    SourceReport {
        files: stores.iter().zip(files).map(file_report).collect(),
        empty_documents: files.iter().map(|f| f.empty_documents).sum(),
        problem_count: files.iter().map(|f| f.problem_count).sum(),
        problems: files.iter().flat_map(|f| f.problems.iter().cloned()).take(keep).collect(),
        ..SourceReport::default()
    }
}

fn warnings(report: &SourceReport, options: &SourceOptions) -> Vec<String> {
    let mut warnings = Vec::new();
    if report.problem_count > 0 {
        let first =
            report.problems.first().map(|p| format!(", the first: {p}")).unwrap_or_default();
        warnings.push(format!(
            "{} lines are no documents and were skipped{first}",
            report.problem_count
        ));
    }
    if report.validation_documents == 0 && options.validation_share > 0.0 {
        warnings.push("there are no validation documents".to_owned());
    }
    warnings
}
