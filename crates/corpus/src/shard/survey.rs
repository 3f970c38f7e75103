//! The first pass: which documents stay. Of those it keeps signatures, of the others nothing.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::Value;

use super::columns::Columns;
use super::options::ShardOptions;
use super::policy::LicencePolicy;
use super::read::{Batch, Input, Row};
use super::record::{LICENCE, Record, TEXT};
use super::summary::{DropCause, ShardSummary, note};
use crate::clean::{
    DuplicateIndex, SecretKind, SetStore, Shingles, Signature, find_secret, generated_marker,
};
use crate::error::CorpusError;
use crate::licence;
use crate::summary::ProjectSummary;

/// A document that stays.
pub(crate) struct Kept {
    /// Of its words.
    pub hash: u64,
    /// Of its content.
    pub bytes: u64,
}

/// What the first pass found.
pub(crate) struct Survey {
    /// For each row in reading order, whether it stays.
    pub stays: Vec<bool>,
    pub kept: Vec<Kept>,
    /// Of the documents that stay; empty when nothing is compared.
    pub signatures: Vec<Signature>,
    pub sets: SetStore,
    pub columns: Columns,
    pub summary: ShardSummary,
}

/// Takes rows in order and decides.
pub(crate) struct Surveyor<'a> {
    options: &'a ShardOptions,
    policy: LicencePolicy,
    found: Survey,
    exact: FxHashSet<u128>,
    near: Option<DuplicateIndex>,
    /// Where in the summary each project stands.
    projects: FxHashMap<String, usize>,
    with_text: bool,
    first_pair: Option<String>,
}

/// What one document is on its own.
struct Analysis {
    bytes: u64,
    licence: Option<String>,
    outcome: Result<Content, (DropCause, Reason)>,
}

struct Content {
    shingles: Shingles,
    /// `None` when nothing is compared.
    signature: Option<Signature>,
}

enum Reason {
    None,
    Marker(&'static str),
    Secret(SecretKind, usize),
}

impl<'a> Surveyor<'a> {
    pub(crate) fn new(
        options: &'a ShardOptions,
        summary: ShardSummary,
    ) -> Result<Self, CorpusError> {
        let out = &options.out;
        let sets = SetStore::new(out).map_err(CorpusError::io("make a temporary file in", out))?;
        let found = Survey {
            stays: Vec::new(),
            kept: Vec::new(),
            signatures: Vec::new(),
            sets,
            columns: Columns::default(),
            summary,
        };
        Ok(Self {
            options,
            policy: options.policy(),
            found,
            exact: FxHashSet::default(),
            near: options.removes_near_duplicates().then(|| DuplicateIndex::new(options.dedup)),
            projects: FxHashMap::default(),
            with_text: false,
            first_pair: None,
        })
    }

    pub(crate) fn batch(&mut self, input: &Input, batch: &Batch) -> Result<(), CorpusError> {
        let analyse = |row: &Row| row.record.as_ref().ok().map(|record| self.analyse(record));
        let analyses: Vec<_> = batch.rows.par_iter().map(analyse).collect();
        for (row, analysis) in batch.rows.iter().zip(analyses) {
            let stays = match (&row.record, analysis) {
                (Ok(record), Some(analysis)) => self.decide(input, row, record, analysis)?,
                (Err(why), _) => {
                    self.bad_row(input, row.number, why)?;
                    false
                }
                (Ok(_), None) => unreachable!("every record is analysed"),
            };
            self.found.stays.push(stays);
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<Survey, CorpusError> {
        if self.with_text
            && let Some(pair) = self.first_pair
        {
            return Err(CorpusError::MixedDocuments { pair });
        }
        if self.found.kept.is_empty() {
            let documents = self.found.summary.read_documents;
            let mut why = self.found.summary.describe_dropped();
            if let Some(bad) = self.found.summary.bad_rows.files.first() {
                why = format!("{why}; {}: {}", bad.path, bad.detail);
            }
            return Err(CorpusError::NothingLeft { documents, why });
        }
        Ok(self.found)
    }

    fn bad_row(&mut self, input: &Input, number: u64, why: &str) -> Result<(), CorpusError> {
        let path = format!("{}:{number}", input.path.display());
        if self.options.strict {
            return Err(CorpusError::InputDamaged { path, why: why.to_owned() });
        }
        note(&mut self.found.summary.bad_rows, path, why.to_owned());
        Ok(())
    }

    fn analyse(&self, record: &Record) -> Analysis {
        let content = record.content().unwrap_or_default();
        let licence = licence_of(record);
        let outcome = self.judge(&content, licence.as_deref());
        Analysis { bytes: content.len() as u64, licence, outcome }
    }

    fn judge(&self, content: &str, licence: Option<&str>) -> Result<Content, (DropCause, Reason)> {
        if !self.options.keep_generated
            && let Some(marker) = generated_marker(content)
        {
            return Err((DropCause::Generated, Reason::Marker(marker)));
        }
        if !self.options.keep_secrets
            && let Some((kind, at)) = find_secret(content)
        {
            let line = content[..at].matches('\n').count() + 1;
            return Err((DropCause::Secret, Reason::Secret(kind, line)));
        }
        if !self.policy.allows(licence) {
            return Err((DropCause::Licence, Reason::None));
        }
        let shingles = Shingles::of(content).ok_or((DropCause::Empty, Reason::None))?;
        let signature = self.options.compares().then(|| Signature::of(&shingles.set));
        Ok(Content { shingles, signature })
    }

    /// Counts a document and says whether it stays.
    fn decide(
        &mut self,
        input: &Input,
        row: &Row,
        record: &Record,
        analysis: Analysis,
    ) -> Result<bool, CorpusError> {
        let Analysis { bytes, licence, outcome } = analysis;
        self.found.summary.read_documents += 1;
        self.found.summary.read_text_bytes += bytes;
        let (cause, reason) = match outcome {
            Ok(content) => match self.earlier_copy(&content)? {
                None => {
                    self.keep(record, bytes, licence, content)?;
                    return Ok(true);
                }
                Some(cause) => (cause, Reason::None),
            },
            Err(dropped) => dropped,
        };
        let path = record.origin().unwrap_or_else(|| position(&input.path, row.number));
        let detail = match reason {
            Reason::Marker(marker) => {
                *self.found.summary.generated.entry(marker.to_owned()).or_default() += 1;
                marker.to_owned()
            }
            Reason::Secret(kind, line) => {
                *self.found.summary.secrets.entry(kind).or_default() += 1;
                format!("{} in line {line}", kind.describe())
            }
            Reason::None if cause == DropCause::Licence => licence.unwrap_or("unknown".to_owned()),
            Reason::None => String::new(),
        };
        self.found.summary.drop(cause, bytes, path, detail);
        Ok(false)
    }

    fn earlier_copy(&mut self, content: &Content) -> Result<Option<DropCause>, CorpusError> {
        if self.options.dedup == 0.0 {
            return Ok(None);
        }
        if self.exact.contains(&content.shingles.exact) {
            return Ok(Some(DropCause::Duplicate));
        }
        if let (Some(index), Some(signature)) = (&self.near, &content.signature) {
            let found = index
                .find(signature, &content.shingles.set, &self.found.signatures, &self.found.sets)
                .map_err(|e| self.temporary_failed(e))?;
            if found.is_some() {
                return Ok(Some(DropCause::NearDuplicate));
            }
        }
        Ok(None)
    }

    fn keep(
        &mut self,
        record: &Record,
        bytes: u64,
        licence: Option<String>,
        content: Content,
    ) -> Result<(), CorpusError> {
        let number = self.found.kept.len();
        if number == u32::MAX as usize {
            return Err(CorpusError::BadOption {
                option: "sources",
                value: format!("{number} documents"),
                why: "more than one run can order; make shards of fewer at a time",
            });
        }
        let Content { shingles, signature } = content;
        self.found.kept.push(Kept { hash: shingles.exact as u64, bytes });
        self.exact.insert(shingles.exact);
        if let Some(signature) = signature {
            if let Some(index) = &mut self.near {
                index.insert(number as u32, &signature);
            }
            self.found.signatures.push(signature);
            let pushed = self.found.sets.push(&shingles.set);
            pushed.map_err(|e| self.temporary_failed(e))?;
        }
        self.found.columns.add(record);
        if let Some(licence) = &licence {
            self.found.columns.add_value(LICENCE, &Value::String(licence.clone()));
        }
        match record.string(TEXT) {
            Some(_) => self.with_text = true,
            None if self.first_pair.is_none() => {
                self.first_pair = Some(record.origin().unwrap_or_else(|| "a document".to_owned()));
            }
            None => {}
        }
        self.count(record, bytes, licence);
        Ok(())
    }

    fn count(&mut self, record: &Record, bytes: u64, licence: Option<String>) {
        let summary = &mut self.found.summary;
        summary.documents += 1;
        summary.text_bytes += bytes;
        let name = record.string("project").unwrap_or("unknown");
        let at = match self.projects.get(name) {
            Some(at) => *at,
            None => {
                self.projects.insert(name.to_owned(), summary.projects.len());
                summary.projects.push(ProjectSummary {
                    name: name.to_owned(),
                    licence: None,
                    documents: 0,
                    text_bytes: 0,
                });
                summary.projects.len() - 1
            }
        };
        summary.projects[at].documents += 1;
        summary.projects[at].text_bytes += bytes;
        *summary.licences.entry(licence.unwrap_or("unknown".to_owned())).or_default() += 1;
    }

    fn temporary_failed(&self, error: io::Error) -> CorpusError {
        CorpusError::io("use a temporary file in", &self.options.out)(error)
    }
}

/// The licence of a document: what was found when it was made, which is what the file says or else its project; for
/// documents from elsewhere what their text says.
pub(crate) fn licence_of(record: &Record) -> Option<String> {
    if let Some(known) = record.string(LICENCE) {
        return Some(known.to_owned());
    }
    licence::of_text(&record.content()?).map(Cow::into_owned)
}

fn position(path: &Path, number: u64) -> String {
    format!("{}:{number}", path.display())
}
