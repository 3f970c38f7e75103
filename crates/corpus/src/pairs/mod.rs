//! Functions with what is said about them: docstring, signature, body.

mod body;
mod docstring;
mod summary;

use std::ops::{ControlFlow, RangeInclusive};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use kiln_index::{Definition, File, ParseOptions, Progress, Project};
use rayon::prelude::*;
use serde::Serialize;

use self::body::{Worthless, worth};
use self::docstring::{NoDocstring, docstring};
use crate::clean::generated_marker;
use crate::error::CorpusError;
use crate::licence;
use crate::options::{OutputOptions, SourceFilter};
use crate::output::{self, Sink};
use crate::project_input;
use crate::projects::{self, Projects};
use crate::summary::{FilesSummary, MAX_EXAMPLES, ProjectSummary, SkippedFile, Split};
use crate::walk::{self, SourceFile};

pub use summary::{PairCause, PairsSummary};

/// Bytes of a docstring.
pub const DEFAULT_DOCSTRING_BYTES: RangeInclusive<usize> = 12..=4_000;
/// Bytes of a signature, at most.
pub const DEFAULT_MAX_SIGNATURE_BYTES: usize = 1_000;
/// Bytes of a body.
pub const DEFAULT_BODY_BYTES: RangeInclusive<usize> = 16..=16_000;

/// Options of [`write_pairs`].
#[derive(Debug, Clone)]
pub struct PairsOptions {
    /// Folders to walk, in this order. Each is one project, unless `projects_dir` is set.
    pub sources: Vec<PathBuf>,
    /// Every first-level folder of a source is one project.
    pub projects_dir: bool,
    /// How to parse.
    pub parse: ParseOptions,
    /// Which files are read.
    pub filter: SourceFilter,
    /// Bytes that a docstring may have.
    pub docstring_bytes: RangeInclusive<usize>,
    /// Bytes that a signature may have at most.
    pub max_signature_bytes: usize,
    /// Bytes that a body may have, white space around it not counted.
    pub body_bytes: RangeInclusive<usize>,
    /// Take functions also from files that a program wrote.
    pub keep_generated: bool,
    /// What is written, and where.
    pub output: OutputOptions,
}

impl PairsOptions {
    /// The defaults: every source one project, the default skip list, one plain `documents.jsonl`.
    pub fn new<P: Into<PathBuf>>(
        sources: impl IntoIterator<Item = P>,
        out: impl Into<PathBuf>,
    ) -> Self {
        Self {
            sources: sources.into_iter().map(Into::into).collect(),
            projects_dir: false,
            parse: ParseOptions::default(),
            filter: SourceFilter::default(),
            docstring_bytes: DEFAULT_DOCSTRING_BYTES,
            max_signature_bytes: DEFAULT_MAX_SIGNATURE_BYTES,
            body_bytes: DEFAULT_BODY_BYTES,
            keep_generated: false,
            output: OutputOptions::new(out),
        }
    }

    fn check(&self) -> Result<(), CorpusError> {
        if self.sources.is_empty() {
            return Err(CorpusError::NoSources);
        }
        for (option, bounds) in
            [("docstring bytes", &self.docstring_bytes), ("body bytes", &self.body_bytes)]
        {
            if bounds.is_empty() {
                return Err(CorpusError::BadOption {
                    option,
                    value: format!("{} to {}", bounds.start(), bounds.end()),
                    why: "the least is more than the most",
                });
            }
        }
        self.output.check()
    }
}

/// A function and what is said about it, as it is written.
#[derive(Debug, PartialEq, Serialize)]
struct Pair<'a> {
    docstring: String,
    signature: &'a str,
    body: &'a str,
    path: &'a str,
    project: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    licence: Option<&'a str>,
}

/// Told how many source files of how many are done; `Break` ends the run with [`CorpusError::Cancelled`] and leaves
/// the folder as it was.
type OnProgress<'a> = &'a (dyn Fn(u64, u64) -> ControlFlow<()> + Sync);

/// Parses the projects and writes one line of JSONL for each documented function: `docstring` (the comment directly
/// above, without its markers), `signature` (from the return type or `template` to the body), `body` (as it stands
/// between the braces), `path`, `project`, `name` and `licence`.
///
/// Licences and commented-out code are no docstrings; empty and trivial bodies are left out; so is what is shorter or
/// longer than the options say. The same input gives the same bytes.
///
/// # Errors
///
/// As [`collect_files`](crate::collect_files); [`CorpusError::NothingLeft`] when there is no pair.
pub fn write_pairs(
    options: &PairsOptions,
    progress: OnProgress<'_>,
) -> Result<PairsSummary, CorpusError> {
    options.check()?;
    let sources = projects::resolve(&options.sources, options.projects_dir)?;
    let mut listing = FilesSummary::default();
    let mut found = Projects::default();
    let files = walk::list(&options.filter.skip, &sources, &mut found, &mut listing);
    if files.is_empty() {
        return Err(CorpusError::NoSourceFiles { paths: options.sources.clone() });
    }
    let output = &options.output;
    output::prepare(output)?;
    let sink = Sink::new(output, Split::All);
    let total = files.len() as u64;
    let mut run =
        Run { options, progress, done: 0, total, listing, sink, summary: PairsSummary::default() };
    for (number, about) in found.list.iter().enumerate() {
        let own: Vec<&SourceFile> = files.iter().filter(|file| file.project == number).collect();
        run.project(about, &own)?;
    }
    run.finish(output)
}

struct Run<'a> {
    options: &'a PairsOptions,
    progress: OnProgress<'a>,
    /// Files of the projects that are done.
    done: u64,
    total: u64,
    listing: FilesSummary,
    sink: Sink<'a>,
    summary: PairsSummary,
}

impl Run<'_> {
    fn project(
        &mut self,
        about: &projects::Project,
        files: &[&SourceFile],
    ) -> Result<(), CorpusError> {
        let (input, skipped) =
            project_input::read(&about.root, files, self.options.filter.max_file_bytes);
        for (file, (cause, detail)) in skipped {
            self.listing.skip(cause, format!("{}/{file}", about.name), detail);
        }
        let cancelled = AtomicBool::new(false);
        let tell = |done: Progress| {
            let share = done.done as f64 / done.total.max(1) as f64;
            let now = self.done + (share * files.len() as f64) as u64;
            let flow = (self.progress)(now, self.total);
            if flow.is_break() {
                cancelled.store(true, Ordering::Relaxed);
            }
            flow
        };
        if !input.files.is_empty() {
            let parsed = kiln_index::parse(input, &self.options.parse, &tell)
                .map_err(|source| CorpusError::Parse { project: about.name.clone(), source })?;
            if cancelled.load(Ordering::Relaxed) {
                return Err(CorpusError::Cancelled);
            }
            for notice in parsed.notices {
                let notice = notice.to_string();
                if !self.summary.notices.contains(&notice) {
                    self.summary.notices.push(notice);
                }
            }
            self.write(about, &parsed.project)?;
        }
        self.done += files.len() as u64;
        Ok(())
    }

    fn write(&mut self, about: &projects::Project, project: &Project) -> Result<(), CorpusError> {
        for failure in &project.failures {
            self.summary.failures.count += 1;
            if self.summary.failures.files.len() < MAX_EXAMPLES {
                let path = format!("{}/{}", about.name, failure.file);
                self.summary
                    .failures
                    .files
                    .push(SkippedFile { path, detail: failure.detail.clone() });
            }
        }
        let licences: Vec<_> =
            project.files.par_iter().map(|file| licence::of_text(&file.text)).collect();
        let generated: Vec<bool> = (project.files.par_iter())
            .map(|file| !self.options.keep_generated && generated_marker(&file.text).is_some())
            .collect();
        let functions: Vec<&Definition> =
            project.definitions.iter().filter(|d| d.kind.is_function()).collect();
        let lines: Vec<Result<(Vec<u8>, u64), PairCause>> = functions
            .par_iter()
            .map(|function| {
                let at = function.file as usize;
                if generated[at] {
                    return Err(PairCause::Generated);
                }
                let licence = licences[at].as_deref().or(about.licence.as_deref());
                let pair = pair(self.options, &project.files[at], function)?;
                Ok(line(&Pair { project: &about.name, licence, ..pair }))
            })
            .collect();
        let mut written = ProjectSummary {
            name: about.name.clone(),
            licence: about.licence.clone(),
            documents: 0,
            text_bytes: 0,
        };
        self.summary.functions += lines.len() as u64;
        for line in lines {
            match line {
                Ok((json, text_bytes)) => {
                    self.sink.write(&json, text_bytes)?;
                    written.documents += 1;
                    written.text_bytes += text_bytes;
                }
                Err(cause) => *self.summary.left_out.entry(cause).or_default() += 1,
            }
        }
        self.summary.pairs += written.documents;
        self.summary.text_bytes += written.text_bytes;
        self.summary.projects.push(written);
        Ok(())
    }

    fn finish(mut self, output: &OutputOptions) -> Result<PairsSummary, CorpusError> {
        self.summary.skipped = self.listing.skipped;
        if self.summary.pairs == 0 {
            let left_out = self.summary.left_out.iter();
            let causes: Vec<String> =
                left_out.map(|(cause, count)| format!("{count} {}", cause.describe())).collect();
            return Err(CorpusError::NothingLeft {
                documents: self.summary.functions,
                why: causes.join(", "),
            });
        }
        self.sink.end_shard()?;
        let summary = self.summary;
        output::publish(output, vec![self.sink], |files| PairsSummary { files, ..summary })
    }
}

/// The parts of a function, or why they are no pair. Project and licence are left open.
fn pair<'a>(
    options: &PairsOptions,
    file: &'a File,
    function: &'a Definition,
) -> Result<Pair<'a>, PairCause> {
    let text = |range: std::ops::Range<usize>| file.text.get(range);
    let comment = function.doc.clone().and_then(text).ok_or(PairCause::NoComment)?;
    let docstring = docstring(comment).map_err(|why| match why {
        NoDocstring::Licence => PairCause::LicenceComment,
        NoDocstring::Code => PairCause::CommentedOutCode,
        NoDocstring::NoWords => PairCause::NoWords,
    })?;
    let signature = text(function.extent.start..function.body.start).map(str::trim);
    let body = text(function.body.clone())
        .and_then(|body| body.strip_prefix('{')?.strip_suffix('}'))
        .ok_or(PairCause::NoBraces)?;
    let signature = signature.filter(|s| !s.is_empty()).ok_or(PairCause::NoBraces)?;
    worth(body).map_err(|why| match why {
        Worthless::Empty => PairCause::EmptyBody,
        Worthless::Trivial => PairCause::TrivialBody,
    })?;
    within(docstring.len(), &options.docstring_bytes).map_err(|long| {
        [PairCause::DocstringTooShort, PairCause::DocstringTooLong][usize::from(long)]
    })?;
    within(body.trim().len(), &options.body_bytes)
        .map_err(|long| [PairCause::BodyTooShort, PairCause::BodyTooLong][usize::from(long)])?;
    if signature.len() > options.max_signature_bytes {
        return Err(PairCause::SignatureTooLong);
    }
    let name = &function.qualified_name;
    Ok(Pair { docstring, signature, body, path: &file.name, project: "", name, licence: None })
}

/// Whether a length lies within bounds; if not, whether it is too long.
fn within(length: usize, bounds: &RangeInclusive<usize>) -> Result<(), bool> {
    if bounds.contains(&length) { Ok(()) } else { Err(length > *bounds.end()) }
}

/// A line of JSONL and the bytes of the parts.
fn line(pair: &Pair<'_>) -> (Vec<u8>, u64) {
    let bytes = pair.docstring.len() + pair.signature.len() + pair.body.len();
    let mut json = Vec::with_capacity(bytes + bytes / 8 + 128);
    serde_json::to_writer(&mut json, pair).expect("strings into memory always serialise");
    json.push(b'\n');
    (json, bytes as u64)
}

#[cfg(test)]
mod tests;
