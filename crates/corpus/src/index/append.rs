//! Adding projects to a finished folder.
//!
//! New documents go to files with new names; held-out ones, of which a folder has one file, to a copy of that file
//! with them at its end. `_COMPLETE` lists every file with its size, and is replaced last, by a rename. So a run
//! that is killed half-way leaves files that it does not list, or a longer file than it lists: the next run
//! removes what is too much.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::options::IndexOptions;
use super::summary::IndexSummary;
use crate::error::CorpusError;
use crate::output::{
    self, COMPLETE_MARKER, Sink, file_names, is_ours, new_temporary, persist, sync_folder,
};
use crate::summary::{OutputFile, SkippedFiles, Split};

/// A finished folder.
pub(crate) struct Earlier {
    pub summary: IndexSummary,
    /// The first number that no file has.
    pub next_number: usize,
    folder: PathBuf,
}

/// Opens a finished folder; `None` when there is none.
pub(crate) fn open(
    options: &IndexOptions,
    tokenizer: bool,
) -> Result<Option<Earlier>, CorpusError> {
    let folder = &options.output.out;
    let marker = folder.join(COMPLETE_MARKER);
    let json = match fs::read(&marker) {
        Ok(json) => json,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(CorpusError::io("read", &marker)(e)),
    };
    let cannot = |why: String| CorpusError::CannotAppend { path: folder.clone(), why };
    let summary: IndexSummary = serde_json::from_slice(&json)
        .map_err(|_| cannot("it holds no indexed documents".to_owned()))?;
    let splits =
        |share: f64| if share > 0.0 { "held-out documents" } else { "one set of documents" };
    let (had, wanted) = (splits(summary.validation_share), splits(options.validation_share));
    if had != wanted {
        return Err(cannot(format!("it has {had}, and {wanted} was asked for")));
    }
    if summary.tokenizer != tokenizer {
        let had = if summary.tokenizer { "a tokenizer" } else { "their bytes" };
        return Err(cannot(format!("its documents were measured by {had}")));
    }
    restore(folder, &summary.files)?;
    let numbers = summary.files.iter().filter_map(|file| number(&file.name));
    let next_number = numbers.max().map_or(1, |last| last + 1);
    Ok(Some(Earlier { summary, next_number, folder: folder.clone() }))
}

/// The number in `train-00012.jsonl`.
fn number(name: &str) -> Option<usize> {
    let (_, rest) = name.split_once('-')?;
    rest.split('.').next()?.parse().ok()
}

/// Takes away what a run that was killed has left.
fn restore(folder: &Path, files: &[OutputFile]) -> Result<(), CorpusError> {
    for file in files {
        let path = folder.join(&file.name);
        let size = fs::metadata(&path).map_err(CorpusError::io("find", &path))?.len();
        if size < file.file_bytes {
            let why = format!("{} has {size} bytes instead of {}", file.name, file.file_bytes);
            return Err(CorpusError::CannotAppend { path: folder.to_owned(), why });
        }
        if size > file.file_bytes {
            let shorten = OpenOptions::new().write(true).open(&path);
            shorten
                .and_then(|open| open.set_len(file.file_bytes))
                .map_err(CorpusError::io("shorten", &path))?;
        }
    }
    let unlisted = |name: &&String| {
        output::is_temporary(name)
            || (is_ours(name) && !files.iter().any(|file| file.name == **name))
    };
    file_names(folder)?
        .iter()
        .filter(unlisted)
        .try_for_each(|name| output::remove(&folder.join(name)))
}

/// Puts the new documents beside the earlier ones.
pub(crate) fn publish(
    earlier: Earlier,
    sinks: Vec<Sink<'_>>,
    new: IndexSummary,
) -> Result<IndexSummary, CorpusError> {
    let Earlier { mut summary, folder, .. } = earlier;
    let mut files: Vec<(NamedTempFile, OutputFile)> = Vec::new();
    let mut held_out = None;
    for (file, about) in sinks.into_iter().flat_map(Sink::into_written) {
        let before = summary.files.iter_mut().find(|f| f.name == about.name);
        match before {
            Some(before) if about.split == Split::Validation => {
                let joined = joined(&folder, &before.name, &file)
                    .map_err(CorpusError::io("write documents to", &folder))?;
                before.documents += about.documents;
                before.text_bytes += about.text_bytes;
                before.file_bytes += about.file_bytes;
                held_out = Some((joined, before.name.clone()));
            }
            _ => {
                summary.files.push(about.clone());
                files.push((file, about));
            }
        }
    }
    merge(&mut summary, new);
    let marker = output::write_marker(&folder, &summary)?;
    for (file, about) in files {
        persist(file, &folder.join(&about.name))?;
    }
    sync_folder(&folder)?;
    if let Some((file, name)) = held_out {
        persist(file, &folder.join(name))?;
        sync_folder(&folder)?;
    }
    persist(marker, &folder.join(COMPLETE_MARKER))?;
    sync_folder(&folder)?;
    Ok(summary)
}

/// The earlier file with the new one at its end; both JSONL and zstd can be joined so.
fn joined(folder: &Path, name: &str, new: &NamedTempFile) -> io::Result<NamedTempFile> {
    let mut out = new_temporary(folder)?;
    io::copy(&mut fs::File::open(folder.join(name))?, &mut out)?;
    io::copy(&mut fs::File::open(new.path())?, &mut out)?;
    out.flush()?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn merge(summary: &mut IndexSummary, new: IndexSummary) {
    summary.totals.add(&new.totals);
    summary.validation_documents += new.validation_documents;
    summary.validation_text_bytes += new.validation_text_bytes;
    summary.projects.extend(new.projects);
    summary.failed_projects = new.failed_projects;
    summary.kept_projects = new.kept_projects;
    new.notices.into_iter().for_each(|notice| summary.notice(notice));
    for (cause, failures) in new.failures {
        extend(summary.failures.entry(cause).or_default(), failures);
    }
    for (cause, skipped) in new.skipped {
        extend(summary.skipped.entry(cause).or_default(), skipped);
    }
    summary.other_files += new.other_files;
    summary.skipped_folders += new.skipped_folders;
}

fn extend(all: &mut SkippedFiles, new: SkippedFiles) {
    all.count += new.count;
    let room = crate::MAX_EXAMPLES.saturating_sub(all.files.len());
    all.files.extend(new.files.into_iter().take(room));
}
