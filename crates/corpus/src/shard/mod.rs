//! Documents to shards: cleaned, shuffled, with documents held out for validation that are unlike those to train on.
//!
//! Two passes keep the memory bounded. The first reads everything, decides what stays and keeps a signature of 512
//! bytes of each document; the second reads everything again and writes what stays, through buckets on the disk where
//! the shuffle does not fit into memory.

mod columns;
mod options;
mod parquet;
mod policy;
pub(crate) mod read;
pub(crate) mod record;
mod split;
mod spool;
mod summary;
mod survey;
mod write;

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use rayon::prelude::*;

use self::read::{Batch, Input, ReadError};
use self::record::LICENCE;
use self::split::{Choice, choose, shuffled};
use self::spool::{Spool, bucket_ends};
use self::survey::{Kept, Survey, Surveyor};
use self::write::Shards;
use crate::clean::cluster;
use crate::error::CorpusError;
use crate::options::OutputOptions;
use crate::output;
use crate::summary::{SkippedFiles, Split};

pub(crate) use survey::licence_of;

pub use options::{ShardFormat, ShardOptions, ShardSize};
pub use summary::{DropCause, Dropped, ShardSummary};

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardStage {
    /// Decides which documents stay.
    Reading,
    /// Reads those that stay again, into the order of the shuffle.
    Shuffling,
    /// Writes the shards.
    Writing,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardProgress {
    /// What it is doing.
    pub stage: ShardStage,
    /// Bytes that this stage is done with: of the files when reading, of the documents when writing.
    pub bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

/// Called now and then; `Break` ends the run with [`CorpusError::Cancelled`] and leaves the folder as it was.
type OnProgress<'a> = &'a mut dyn FnMut(ShardProgress) -> ControlFlow<()>;

/// Reads documents, leaves out what should not be trained on, and writes the rest as shards to `options.out`.
///
/// The folder gets `train-00000.parquet` (or `.jsonl`, `.jsonl.zst`) and so on, `validation.parquet` when a share is
/// held out, and then `_COMPLETE`, which holds the returned summary as JSON. The same input and options give the same
/// bytes. Files appear whole or not at all.
///
/// No held-out document has a Jaccard similarity of `split_similarity` or more to one that is to be trained on, as far
/// as locality-sensitive hashing finds the pair (99.6 % of the pairs at 0.5, practically all from 0.6 on).
///
/// # Errors
///
/// Sources that are missing or hold no documents; documents of which nothing is left; with `strict` damaged files and
/// bad lines; a finished output folder without `overwrite`; a failure to write; [`CorpusError::Cancelled`].
pub fn write_shards(
    options: &ShardOptions,
    progress: OnProgress<'_>,
) -> Result<ShardSummary, CorpusError> {
    options.check()?;
    let inputs = read::list(&options.sources)?;
    output::prepare(&OutputOptions {
        out: options.out.clone(),
        compress: options.compress,
        shard_bytes: None,
        overwrite: options.overwrite,
    })?;
    refuse_to_replace(&inputs, options)?;
    let (inputs, damaged) = undamaged(inputs, options.strict)?;
    let mut run = Run { options, inputs, progress };
    let mut summary = empty_summary(options);
    summary.damaged_files = damaged;
    let survey = run.survey(summary)?;
    run.write(survey)
}

/// Writing into a folder that is read from would remove what has just been read.
fn refuse_to_replace(inputs: &[Input], options: &ShardOptions) -> Result<(), CorpusError> {
    let out = fs::canonicalize(&options.out).map_err(CorpusError::io("open", &options.out))?;
    let inside = |input: &Input| {
        fs::canonicalize(&input.path).is_ok_and(|path| path.parent() == Some(out.as_path()))
    };
    if inputs.iter().any(inside) {
        return Err(CorpusError::BadOption {
            option: "out",
            value: options.out.display().to_string(),
            why: "the documents are read from there; choose another folder",
        });
    }
    Ok(())
}

/// Reads what can be damaged as a whole once to its end: a document that was compared must not turn out to be in a bad
/// file.
pub(crate) fn undamaged(
    inputs: Vec<Input>,
    strict: bool,
) -> Result<(Vec<Input>, SkippedFiles), CorpusError> {
    let found: Vec<Result<(), String>> = inputs.par_iter().map(Input::check).collect();
    let mut damaged = SkippedFiles::default();
    let mut good = Vec::new();
    for (input, found) in inputs.into_iter().zip(found) {
        let path = input.path.display().to_string();
        match found {
            Ok(()) => good.push(input),
            Err(why) if strict => return Err(CorpusError::InputDamaged { path, why }),
            Err(why) => summary::note(&mut damaged, path, why),
        }
    }
    match damaged.files.first() {
        Some(first) if good.is_empty() => {
            Err(CorpusError::InputDamaged { path: first.path.clone(), why: first.detail.clone() })
        }
        _ => Ok((good, damaged)),
    }
}

/// What both passes share.
struct Run<'a> {
    options: &'a ShardOptions,
    inputs: Vec<Input>,
    progress: OnProgress<'a>,
}

impl Run<'_> {
    fn survey(&mut self, summary: ShardSummary) -> Result<Survey, CorpusError> {
        let mut surveyor = Surveyor::new(self.options, summary)?;
        self.read(ShardStage::Reading, &mut |input, batch| surveyor.batch(input, batch))?;
        surveyor.finish()
    }

    /// Reads all files in order.
    fn read(
        &mut self,
        stage: ShardStage,
        take: &mut dyn FnMut(&Input, &Batch) -> Result<(), CorpusError>,
    ) -> Result<(), CorpusError> {
        let total_bytes = self.inputs.iter().map(|input| input.bytes).sum();
        let mut before = 0;
        for input in &self.inputs {
            let read = input.read(&mut |batch| {
                take(input, &batch)?;
                let bytes = before + batch.position;
                tell(self.progress, ShardProgress { stage, bytes, total_bytes })
            });
            read.map_err(|e| match e {
                ReadError::Stopped(error) => error,
                // It was whole a moment ago.
                ReadError::Damaged(why) => {
                    CorpusError::InputDamaged { path: input.path.display().to_string(), why }
                }
            })?;
            before += input.bytes;
        }
        Ok(())
    }

    fn write(&mut self, survey: Survey) -> Result<ShardSummary, CorpusError> {
        let Survey { stays, kept, signatures, sets, columns, mut summary } = survey;
        let held_out = if self.options.validation_share > 0.0 {
            let clusters = cluster(&signatures, &sets, self.options.split_similarity)
                .map_err(CorpusError::io("use a temporary file in", &self.options.out))?;
            let choice = choose(&kept, clusters, self.options.validation_share);
            note_choice(&mut summary, &choice, &kept);
            choice.held_out
        } else {
            vec![false; kept.len()]
        };
        drop((signatures, sets));

        let order = shuffled(&kept, &held_out, self.options.seed);
        let spool = self.spool(&stays, &kept, &order)?;
        let columns: Arc<[_]> = columns.into_sorted().into();
        summary.columns = columns.iter().map(|column| column.name.clone()).collect();

        let side = |split| Shards::new(self.options, split, columns.clone(), summary.documents);
        let (mut train, mut validation) = (side(Split::Train), side(Split::Validation));
        let mut written = 0;
        for bucket in spool.into_buckets() {
            let bucket =
                bucket.map_err(CorpusError::io("use a temporary file in", &self.options.out))?;
            for (place, line) in bucket.lines() {
                let document = order[place as usize] as usize;
                let shards = if held_out[document] { &mut validation } else { &mut train };
                shards.push(line, kept[document].bytes)?;
                written += kept[document].bytes;
                // A call for every document would cost more than it tells.
                if place % 64 == 0 {
                    self.tell(ShardStage::Writing, written, summary.text_bytes)?;
                }
            }
        }
        let mut files = train.finish()?;
        files.extend(validation.finish()?);
        self.tell(ShardStage::Writing, written, summary.text_bytes)?;
        output::publish_files(&self.options.out, files, |files| ShardSummary { files, ..summary })
    }

    /// Second pass: every document that stays, in the bucket of its place.
    fn spool(
        &mut self,
        stays: &[bool],
        kept: &[Kept],
        order: &[u32],
    ) -> Result<Spool, CorpusError> {
        let out: PathBuf = self.options.out.clone();
        let failed = || CorpusError::io("use a temporary file in", &out);
        let total = kept.iter().map(|document| document.bytes).sum();
        let sizes = order.iter().map(|n| kept[*n as usize].bytes);
        let ends = bucket_ends(sizes, total, self.options.shuffle_bytes);
        let mut spool = Spool::new(&out, ends).map_err(failed())?;

        let mut places = vec![0u32; order.len()];
        order.iter().zip(0..).for_each(|(document, place)| places[*document as usize] = place);
        let (mut row, mut document) = (0, 0);
        let mut changed = false;
        self.read(ShardStage::Shuffling, &mut |_, batch| {
            let staying = stays.get(row..row + batch.rows.len());
            row += batch.rows.len();
            let Some(staying) = staying else {
                changed = true;
                return Ok(());
            };
            let lines: Vec<Option<Vec<u8>>> = batch
                .rows
                .par_iter()
                .zip(staying)
                .map(|(found, stays)| stays.then(|| line(found)).flatten())
                .collect();
            for line in lines.into_iter().flatten() {
                spool.push(places[document], &line).map_err(failed())?;
                document += 1;
            }
            Ok(())
        })?;
        if changed || document != kept.len() || row != stays.len() {
            let why = "the documents changed while they were read".to_owned();
            let path = self.options.sources.first().map(|p| p.display().to_string());
            return Err(CorpusError::InputDamaged { path: path.unwrap_or_default(), why });
        }
        Ok(spool)
    }

    fn tell(&mut self, stage: ShardStage, bytes: u64, total_bytes: u64) -> Result<(), CorpusError> {
        tell(self.progress, ShardProgress { stage, bytes, total_bytes })
    }
}

fn tell(progress: OnProgress<'_>, done: ShardProgress) -> Result<(), CorpusError> {
    if progress(done).is_break() { Err(CorpusError::Cancelled) } else { Ok(()) }
}

/// A document as it is written: as it was read, and with its licence.
fn line(row: &read::Row) -> Option<Vec<u8>> {
    let mut record = row.record.as_ref().ok()?.clone();
    if let Some(licence) = licence_of(&record) {
        record.set(LICENCE, &licence);
    }
    let mut line = Vec::new();
    record.write_json(&mut line);
    Some(line)
}

fn empty_summary(options: &ShardOptions) -> ShardSummary {
    ShardSummary {
        format: options.format,
        seed: options.seed,
        documents: 0,
        text_bytes: 0,
        validation_documents: 0,
        validation_text_bytes: 0,
        columns: Vec::new(),
        files: Vec::new(),
        projects: Vec::new(),
        licences: Default::default(),
        read_documents: 0,
        read_text_bytes: 0,
        dropped: Default::default(),
        secrets: Default::default(),
        generated: Default::default(),
        dedup: options.dedup,
        split_similarity: options.split_similarity,
        families: 0,
        largest_family: 0,
        damaged_files: SkippedFiles::default(),
        bad_rows: SkippedFiles::default(),
        warnings: Vec::new(),
    }
}

fn note_choice(summary: &mut ShardSummary, choice: &Choice, kept: &[Kept]) {
    let held = || kept.iter().zip(&choice.held_out).filter(|(_, held)| **held);
    summary.validation_documents = held().count() as u64;
    summary.validation_text_bytes = held().map(|(document, _)| document.bytes).sum();
    summary.families = choice.families;
    summary.largest_family = choice.largest_family;
    if summary.validation_documents == 0 {
        summary.warnings.push(
            "all documents are alike, so none could be held out: a reader will take the last shard"
                .to_owned(),
        );
    }
}

#[cfg(test)]
mod tests;
