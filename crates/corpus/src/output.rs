//! The output folder: files appear whole or not at all, and `_COMPLETE` last.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde::Serialize;
use tempfile::NamedTempFile;

use crate::error::CorpusError;
use crate::options::OutputOptions;
use crate::summary::{OutputFile, Split};

/// Name of the file that says that a folder of documents is finished. It holds the summary as JSON.
pub const COMPLETE_MARKER: &str = "_COMPLETE";

/// Readers pass over names with a dot.
const TEMPORARY_PREFIX: &str = ".kiln-corpus-";
const ZSTD_LEVEL: i32 = 3;

/// Makes the folder if it is missing and refuses one whose content is not ours to replace.
pub(crate) fn prepare(options: &OutputOptions) -> Result<(), CorpusError> {
    let out = &options.out;
    fs::create_dir_all(out).map_err(CorpusError::io("make the output folder", out))?;
    if out.join(COMPLETE_MARKER).exists() && !options.overwrite {
        return Err(CorpusError::OutputFinished { path: out.clone() });
    }
    for name in file_names(out)? {
        if is_temporary(&name) {
            // Left by a run that was killed.
            remove(&out.join(&name))?;
        } else if is_documents(&name) && !is_ours(&name) {
            return Err(CorpusError::OutputForeign { path: out.clone(), name });
        }
    }
    Ok(())
}

pub(crate) fn file_names(folder: &Path) -> Result<Vec<String>, CorpusError> {
    let list = || -> std::io::Result<Vec<String>> {
        fs::read_dir(folder)?.map(|e| Ok(e?.file_name().to_string_lossy().into_owned())).collect()
    };
    let mut names = list().map_err(CorpusError::io("list", folder))?;
    names.sort_unstable();
    Ok(names)
}

/// Whether a file was left by a run that was killed, or belongs to one that goes on.
pub(crate) fn is_temporary(name: &str) -> bool {
    name.starts_with(TEMPORARY_PREFIX)
}

fn is_documents(name: &str) -> bool {
    [".jsonl", ".jsonl.zst", ".parquet"].iter().any(|end| name.ends_with(end))
}

/// Whether the name is one that [`Sink`] gives: `train.jsonl`, `documents-00012.jsonl.zst`, ...
pub(crate) fn is_ours(name: &str) -> bool {
    let ends = [".jsonl", ".jsonl.zst", ".parquet"];
    let Some(stem) = ends.iter().find_map(|end| name.strip_suffix(end)) else { return false };
    let (kind, number) = stem.split_once('-').unwrap_or((stem, "0"));
    matches!(kind, "documents" | "train" | "validation")
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
}

pub(crate) fn remove(path: &Path) -> Result<(), CorpusError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(CorpusError::io("remove", path)(e))
        }
        _ => Ok(()),
    }
}

/// Writes the lines of one split to one file, or to numbered ones of bounded size.
pub(crate) struct Sink<'a> {
    options: &'a OutputOptions,
    split: Split,
    /// Of the first file; from 1 on, all are numbered.
    first_number: usize,
    open: Option<Shard>,
    written: Vec<(NamedTempFile, OutputFile)>,
}

/// A file that is being written, under a temporary name.
struct Shard {
    writer: Writer,
    documents: u64,
    text_bytes: u64,
    json_bytes: u64,
}

enum Writer {
    Plain(BufWriter<NamedTempFile>),
    Zstd(zstd::Encoder<'static, BufWriter<NamedTempFile>>),
}

impl<'a> Sink<'a> {
    pub(crate) fn new(options: &'a OutputOptions, split: Split) -> Self {
        Self { options, split, first_number: 0, open: None, written: Vec::new() }
    }

    /// One whose files stand beside earlier ones.
    pub(crate) fn numbered_from(options: &'a OutputOptions, split: Split, first: usize) -> Self {
        Self { first_number: first, ..Self::new(options, split) }
    }

    pub(crate) fn options(&self) -> &'a OutputOptions {
        self.options
    }

    /// What has been written, under temporary names.
    pub(crate) fn into_written(self) -> Vec<(NamedTempFile, OutputFile)> {
        self.written
    }

    /// Appends one line of JSONL that holds a text of `text_bytes`.
    pub(crate) fn write(&mut self, json: &[u8], text_bytes: u64) -> Result<(), CorpusError> {
        let shard = match &mut self.open {
            Some(shard) => shard,
            None => self.open.insert(Shard::start(self.options)?),
        };
        let written = match &mut shard.writer {
            Writer::Plain(w) => w.write_all(json),
            Writer::Zstd(w) => w.write_all(json),
        };
        written.map_err(CorpusError::io("write documents to", &self.options.out))?;
        shard.documents += 1;
        shard.text_bytes += text_bytes;
        shard.json_bytes += json.len() as u64;
        let one_file = self.split == Split::Validation;
        let full = self.options.shard_bytes.is_some_and(|limit| shard.json_bytes >= limit);
        if full && !one_file { self.end_shard() } else { Ok(()) }
    }

    /// Brings what is written to the disk, still under temporary names.
    pub(crate) fn end_shard(&mut self) -> Result<(), CorpusError> {
        let Some(shard) = self.open.take() else { return Ok(()) };
        let name = self.name(self.first_number + self.written.len());
        let (documents, text_bytes) = (shard.documents, shard.text_bytes);
        let end = || -> std::io::Result<(NamedTempFile, u64)> {
            let buffered = match shard.writer {
                Writer::Plain(w) => w,
                Writer::Zstd(w) => w.finish()?,
            };
            let file = buffered.into_inner().map_err(std::io::IntoInnerError::into_error)?;
            file.as_file().sync_all()?;
            let file_bytes = file.as_file().metadata()?.len();
            Ok((file, file_bytes))
        };
        let (file, file_bytes) =
            end().map_err(CorpusError::io("write documents to", &self.options.out))?;
        let split = self.split;
        self.written.push((file, OutputFile { name, split, documents, text_bytes, file_bytes }));
        Ok(())
    }

    fn name(&self, number: usize) -> String {
        let kind = match self.split {
            Split::All => "documents",
            Split::Train => "train",
            Split::Validation => "validation",
        };
        let several = self.options.shard_bytes.is_some() || self.first_number > 0;
        let numbered = several && self.split != Split::Validation;
        let number = if numbered { format!("-{number:05}") } else { String::new() };
        let end = if self.options.compress { ".jsonl.zst" } else { ".jsonl" };
        format!("{kind}{number}{end}")
    }
}

impl Shard {
    fn start(options: &OutputOptions) -> Result<Self, CorpusError> {
        let start = || -> std::io::Result<Writer> {
            let file = new_temporary(&options.out)?;
            if !options.compress {
                return Ok(Writer::Plain(file));
            }
            let mut encoder = zstd::Encoder::new(file, ZSTD_LEVEL)?;
            encoder.include_checksum(true)?;
            Ok(Writer::Zstd(encoder))
        };
        let writer = start().map_err(CorpusError::io("make a file in", &options.out))?;
        Ok(Self { writer, documents: 0, text_bytes: 0, json_bytes: 0 })
    }
}

pub(crate) fn new_temporary(folder: &Path) -> std::io::Result<BufWriter<NamedTempFile>> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY_PREFIX);
    // Temporary files are private by default; the documents should be as readable as any other file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    Ok(BufWriter::with_capacity(1 << 20, builder.tempfile_in(folder)?))
}

/// Gives the written files their names, in order, then writes `_COMPLETE`. Until the first rename an earlier set
/// is untouched; from then on until the end the folder is not complete.
///
/// `summary` gets the list of the files and gives what `_COMPLETE` holds.
pub(crate) fn publish<S: Serialize>(
    options: &OutputOptions,
    sinks: Vec<Sink<'_>>,
    summary: impl FnOnce(Vec<OutputFile>) -> S,
) -> Result<S, CorpusError> {
    let files = sinks.into_iter().flat_map(Sink::into_written).collect();
    publish_files(&options.out, files, summary)
}

/// The same for files that no [`Sink`] wrote, under the names that they are given.
pub(crate) fn publish_files<S: Serialize>(
    out: &Path,
    files: Vec<(NamedTempFile, OutputFile)>,
    summary: impl FnOnce(Vec<OutputFile>) -> S,
) -> Result<S, CorpusError> {
    let summary = summary(files.iter().map(|(_, file)| file.clone()).collect());
    let marker = write_marker(out, &summary)?;

    remove(&out.join(COMPLETE_MARKER))?;
    for name in file_names(out)?.iter().filter(|name| is_ours(name)) {
        remove(&out.join(name))?;
    }
    for (file, about) in files {
        persist(file, &out.join(&about.name))?;
    }
    sync_folder(out)?;
    persist(marker, &out.join(COMPLETE_MARKER))?;
    sync_folder(out)?;
    Ok(summary)
}

/// The summary as the content of `_COMPLETE`, under a temporary name.
pub(crate) fn write_marker(
    out: &Path,
    summary: &impl Serialize,
) -> Result<NamedTempFile, CorpusError> {
    let mut json = serde_json::to_vec_pretty(summary).expect("a summary always serialises");
    json.push(b'\n');
    let write = || -> std::io::Result<NamedTempFile> {
        let mut buffered = new_temporary(out)?;
        buffered.write_all(&json)?;
        let file = buffered.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    write().map_err(CorpusError::io("write the summary to", out))
}

pub(crate) fn persist(file: NamedTempFile, path: &Path) -> Result<(), CorpusError> {
    file.persist(path).map_err(|e| CorpusError::io("rename a finished file to", path)(e.error))?;
    Ok(())
}

/// A rename is durable once its folder is on the disk. Other systems than Unix cannot open a folder.
pub(crate) fn sync_folder(path: &Path) -> Result<(), CorpusError> {
    if cfg!(unix) {
        let sync = fs::File::open(path).and_then(|folder| folder.sync_all());
        sync.map_err(CorpusError::io("sync", path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_this_crate_gives_are_ours() {
        for name in ["train.jsonl", "documents-00012.jsonl.zst", "validation.parquet"] {
            assert!(is_ours(name), "{name}");
        }
        for name in ["train.json", "training.jsonl", "train-.jsonl", "train-x.jsonl", "a.jsonl"] {
            assert!(!is_ours(name), "{name}");
        }
    }
}
