//! What a set of documents holds.

mod histogram;

use std::collections::BTreeMap;
use std::env;
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;

use rayon::prelude::*;
use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};

use crate::clean::{DuplicateIndex, SetStore, Shingles, Signature};
use crate::error::CorpusError;
use crate::shard::read::{self, Batch, Input, ReadError};
use crate::shard::{licence_of, undamaged};
use crate::summary::{MAX_EXAMPLES, SkippedFile, SkippedFiles};

pub use histogram::{LengthBucket, Lengths};

/// Similarity from which on documents count as near duplicates.
const NEAR: f64 = 0.85;

/// Counts the tokens of a text. Called from many threads.
type CountTokens<'a> = &'a (dyn Fn(&str) -> usize + Sync);

/// Some documents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// How many.
    pub documents: u64,
    /// Bytes of their texts.
    pub text_bytes: u64,
    /// Tokens of their texts.
    pub tokens: u64,
}

impl Amount {
    fn add(&mut self, text_bytes: u64, tokens: u64) {
        self.documents += 1;
        self.text_bytes += text_bytes;
        self.tokens += tokens;
    }
}

/// A named part of the documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedAmount {
    /// Name of a project, a licence or a file.
    pub name: String,
    /// What belongs to it.
    #[serde(flatten)]
    pub amount: Amount,
}

/// What [`corpus_stats`] found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CorpusStats {
    /// All documents.
    pub total: Amount,
    /// Whether tokens were counted by a tokenizer; else every four bytes are one.
    pub tokenizer: bool,
    /// Lengths in tokens.
    pub lengths: Lengths,
    /// The files, in the order in which they were read.
    pub files: Vec<NamedAmount>,
    /// The projects, largest first; `unknown` stands for none.
    pub projects: Vec<NamedAmount>,
    /// The licences, largest first; `unknown` stands for none.
    pub licences: Vec<NamedAmount>,
    /// Documents with the same words as an earlier one.
    pub duplicates: Amount,
    /// Documents that are not the same as an earlier one, but 0.85 similar or more.
    pub near_duplicates: Amount,
    /// Files that were passed over because they are damaged.
    pub damaged_files: SkippedFiles,
    /// Lines and rows that are no documents.
    pub bad_rows: SkippedFiles,
}

/// Reads documents (`.jsonl`, `.jsonl.zst`, `.parquet`; folders of them) and counts. `progress` is told bytes on the
/// disk, done and in all.
///
/// # Errors
///
/// Sources that are missing or hold no documents; with `strict` damaged files and bad lines;
/// [`CorpusError::Cancelled`].
pub fn corpus_stats(
    sources: &[PathBuf],
    count_tokens: Option<CountTokens<'_>>,
    strict: bool,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<CorpusStats, CorpusError> {
    let (inputs, damaged_files) = undamaged(read::list(sources)?, strict)?;
    let mut counter = Counter::new(count_tokens.unwrap_or(&quarter_of_bytes))?;
    counter.stats.tokenizer = count_tokens.is_some();
    counter.stats.damaged_files = damaged_files;
    let total = inputs.iter().map(|input| input.bytes).sum();
    let mut before = 0;
    for input in &inputs {
        let name = input.path.display().to_string();
        counter.stats.files.push(NamedAmount { name, amount: Amount::default() });
        let read = input.read(&mut |batch| {
            counter.batch(input, &batch, strict)?;
            let told = progress(before + batch.position, total);
            if told.is_break() { Err(CorpusError::Cancelled) } else { Ok(()) }
        });
        read.map_err(|e| match e {
            ReadError::Stopped(error) => error,
            ReadError::Damaged(why) => {
                CorpusError::InputDamaged { path: input.path.display().to_string(), why }
            }
        })?;
        before += input.bytes;
    }
    Ok(counter.finish())
}

fn quarter_of_bytes(text: &str) -> usize {
    text.len().div_ceil(4)
}

struct Counter<'a> {
    count_tokens: CountTokens<'a>,
    stats: CorpusStats,
    lengths: Vec<u32>,
    projects: BTreeMap<String, Amount>,
    licences: BTreeMap<String, Amount>,
    exact: FxHashSet<u128>,
    near: DuplicateIndex,
    signatures: Vec<Signature>,
    sets: SetStore,
}

/// A document, looked at on its own.
struct Measured {
    bytes: u64,
    tokens: u64,
    project: String,
    licence: String,
    /// `None` of a blank text.
    content: Option<(Shingles, Signature)>,
}

impl<'a> Counter<'a> {
    fn new(count_tokens: CountTokens<'a>) -> Result<Self, CorpusError> {
        let folder = env::temp_dir();
        let failed = CorpusError::io("make a temporary file in", &folder);
        Ok(Self {
            count_tokens,
            stats: CorpusStats::default(),
            lengths: Vec::new(),
            projects: BTreeMap::new(),
            licences: BTreeMap::new(),
            exact: FxHashSet::default(),
            near: DuplicateIndex::new(NEAR),
            signatures: Vec::new(),
            sets: SetStore::new(&folder).map_err(failed)?,
        })
    }

    fn batch(&mut self, input: &Input, batch: &Batch, strict: bool) -> Result<(), CorpusError> {
        let measured: Vec<Result<Measured, &String>> =
            batch.rows.par_iter().map(|row| row.record.as_ref().map(|r| self.measure(r))).collect();
        for (row, measured) in batch.rows.iter().zip(measured) {
            match measured {
                Ok(measured) => self
                    .add(measured)
                    .map_err(|e| CorpusError::io("use a temporary file in", &env::temp_dir())(e))?,
                Err(why) => {
                    let path = format!("{}:{}", input.path.display(), row.number);
                    if strict {
                        return Err(CorpusError::InputDamaged { path, why: why.clone() });
                    }
                    let bad = &mut self.stats.bad_rows;
                    bad.count += 1;
                    if bad.files.len() < MAX_EXAMPLES {
                        bad.files.push(SkippedFile { path, detail: why.clone() });
                    }
                }
            }
        }
        Ok(())
    }

    fn measure(&self, record: &crate::shard::record::Record) -> Measured {
        let content = record.content().unwrap_or_default();
        let unknown = || "unknown".to_owned();
        Measured {
            bytes: content.len() as u64,
            tokens: (self.count_tokens)(&content) as u64,
            project: record.string("project").map_or_else(unknown, str::to_owned),
            licence: licence_of(record).unwrap_or_else(unknown),
            content: Shingles::of(&content).map(|shingles| {
                let signature = Signature::of(&shingles.set);
                (shingles, signature)
            }),
        }
    }

    fn add(&mut self, measured: Measured) -> io::Result<()> {
        let Measured { bytes, tokens, project, licence, content } = measured;
        self.stats.total.add(bytes, tokens);
        if let Some(file) = self.stats.files.last_mut() {
            file.amount.add(bytes, tokens);
        }
        self.projects.entry(project).or_default().add(bytes, tokens);
        self.licences.entry(licence).or_default().add(bytes, tokens);
        self.lengths.push(u32::try_from(tokens).unwrap_or(u32::MAX));
        let Some((shingles, signature)) = content else { return Ok(()) };
        if !self.exact.insert(shingles.exact) {
            self.stats.duplicates.add(bytes, tokens);
            return Ok(());
        }
        let earlier = self.near.find(&signature, &shingles.set, &self.signatures, &self.sets)?;
        if earlier.is_some() {
            self.stats.near_duplicates.add(bytes, tokens);
            return Ok(());
        }
        self.near.insert(self.signatures.len() as u32, &signature);
        self.signatures.push(signature);
        self.sets.push(&shingles.set)
    }

    fn finish(mut self) -> CorpusStats {
        self.stats.lengths = Lengths::of(self.lengths);
        self.stats.projects = largest_first(self.projects);
        self.stats.licences = largest_first(self.licences);
        self.stats
    }
}

fn largest_first(amounts: BTreeMap<String, Amount>) -> Vec<NamedAmount> {
    let mut list: Vec<_> =
        amounts.into_iter().map(|(name, amount)| NamedAmount { name, amount }).collect();
    // Names are in order already, and equal sizes keep it.
    list.sort_by_key(|named| std::cmp::Reverse(named.amount.text_bytes));
    list
}

#[cfg(test)]
mod tests;
