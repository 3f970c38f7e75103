//! `kiln corpus pairs`: functions with their doc comments.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;
use kiln_corpus::{
    DEFAULT_BODY_BYTES, DEFAULT_DOCSTRING_BYTES, DEFAULT_MAX_SIGNATURE_BYTES, PairsOptions,
    PairsSummary, write_pairs,
};

use super::files::list_names;
use super::parser::ParserArgs;
use super::source_args::{FilterArgs, OutputArgs};
use crate::args::{TableFormat, parse_bytes};
use crate::interrupt;
use crate::location::{Located, Paths};
use crate::output::{Align, Console, Table, bytes, count, printable};

/// Write functions with their doc comments
///
/// Parses every project and writes one JSONL line for each function that a comment stands directly above: docstring
/// (without the comment's markers), signature, body (as it stands between the braces), path, project, name and
/// licence. Licences and commented-out code are no docstrings; functions that are empty or a single return or
/// assignment are left out. The same input gives the same bytes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln corpus pairs ~/src/leveldb --out pairs
  kiln corpus pairs ~/src --projects-dir --out pairs --parser tree-sitter --max-body-bytes 4k")]
pub struct PairsArgs {
    /// Source folders, each one project
    #[arg(required = true, value_name = "SRC")]
    sources: Vec<PathBuf>,
    /// Make a project of every first-level folder of a SRC
    #[arg(long)]
    projects_dir: bool,
    #[command(flatten)]
    parser: ParserArgs,
    /// Bytes of a docstring, at least
    #[arg(long, value_name = "N", value_parser = parse_bytes, default_value_t = *DEFAULT_DOCSTRING_BYTES.start() as u64)]
    min_docstring_bytes: u64,
    /// Bytes of a docstring, at most
    #[arg(long, value_name = "N", value_parser = parse_bytes, default_value_t = *DEFAULT_DOCSTRING_BYTES.end() as u64)]
    max_docstring_bytes: u64,
    /// Bytes of a signature, at most
    #[arg(long, value_name = "N", value_parser = parse_bytes, default_value_t = DEFAULT_MAX_SIGNATURE_BYTES as u64)]
    max_signature_bytes: u64,
    /// Bytes of a body, at least
    #[arg(long, value_name = "N", value_parser = parse_bytes, default_value_t = *DEFAULT_BODY_BYTES.start() as u64)]
    min_body_bytes: u64,
    /// Bytes of a body, at most
    #[arg(long, value_name = "N", value_parser = parse_bytes, default_value_t = *DEFAULT_BODY_BYTES.end() as u64)]
    max_body_bytes: u64,
    /// Take functions also from files that a program wrote
    #[arg(long)]
    keep_generated: bool,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    format: TableFormat,
}

impl Located for PairsArgs {
    fn locate(&mut self, paths: &mut Paths<'_>) -> anyhow::Result<()> {
        paths.sources(&mut self.sources)?;
        paths.inputs(&mut self.parser.compile_commands)?;
        paths.folder_out(&mut self.output.out)
    }
}

/// Runs the command.
pub fn run(args: PairsArgs, console: &Console) -> anyhow::Result<()> {
    let json = args.format.json;
    let options = args.into_options();
    let graceful = interrupt::claim();
    let progress = console.progress_count("reading", 0);
    let written = write_pairs(&options, &|done, total| {
        progress.set(done, total);
        if graceful.requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    drop(progress);
    let summary = written?;
    summary.notices.iter().for_each(|notice| console.note(printable(notice)));
    console.summary(json, &summary, |out| {
        write_summary(&summary, out)?;
        let names: Vec<_> = summary.files.iter().map(|file| file.name.as_str()).collect();
        writeln!(out, "\nwrote {} to {}", list_names(&names), options.output.out.display())
    })
}

impl PairsArgs {
    fn into_options(self) -> PairsOptions {
        // A machine whose addresses are shorter cannot hold longer texts either.
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let mut options = PairsOptions::new(self.sources, &self.output.out);
        options.output = self.output.into_options();
        options.filter = self.filter.into_filter();
        options.projects_dir = self.projects_dir;
        options.parse = self.parser.into_options();
        options.docstring_bytes = size(self.min_docstring_bytes)..=size(self.max_docstring_bytes);
        options.max_signature_bytes = size(self.max_signature_bytes);
        options.body_bytes = size(self.min_body_bytes)..=size(self.max_body_bytes);
        options.keep_generated = self.keep_generated;
        options
    }
}

fn write_summary(summary: &PairsSummary, out: &mut impl Write) -> io::Result<()> {
    let mut table = Table::new(&[Align::Left, Align::Left, Align::Right, Align::Right]);
    table.row(["Project", "Licence", "Pairs", "Bytes"]);
    for project in &summary.projects {
        let licence = project.licence.as_deref().unwrap_or("-");
        let (pairs, size) = (count(project.documents), bytes(project.text_bytes));
        table.row([&project.name, licence, &pairs, &size]);
    }
    table.row(["total", "", &count(summary.pairs), &bytes(summary.text_bytes)]);
    table.write(out)?;

    writeln!(out)?;
    let mut table = Table::new(&[Align::Left, Align::Right]);
    table.row(["Left out", "Functions"]);
    for (cause, functions) in &summary.left_out {
        table.row([cause.describe(), &count(*functions)]);
    }
    table.row(["of all", &count(summary.functions)]);
    table.write(out)?;

    let skipped: u64 = summary.skipped.values().map(|files| files.count).sum();
    if skipped + summary.failures.count > 0 {
        let failures = summary.failures.count;
        writeln!(out, "\n{} files skipped, {} not parsed whole", count(skipped), count(failures))?;
        let files = summary.skipped.values().chain([&summary.failures]).flat_map(|s| &s.files);
        for file in files.take(3) {
            writeln!(out, "  {}: {}", printable(&file.path), printable(&file.detail))?;
        }
    }
    Ok(())
}
