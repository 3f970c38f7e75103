//! `kiln corpus files`: one document for each source file.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;
use kiln_corpus::{FilesOptions, FilesSummary, collect_files};

use super::source_args::{FilterArgs, OutputArgs};
use crate::args::{TableFormat, parse_share};
use crate::interrupt;
use crate::location::{Located, Paths};
use crate::output::{Align, Console, Table, bytes, count};

/// So many skipped files are shown for each cause; `--json` has more.
pub const SHOWN_EXAMPLES: usize = 3;

/// Write one JSONL document for each C and C++ file
///
/// Walks the folders and writes one JSONL line for each C or C++ file: its text, project, path and licence. The
/// same input gives the same bytes. Files that cannot be used (binary, not UTF-8, too large, unreadable) are
/// counted, named and skipped. `_COMPLETE` appears in the output folder when everything is written.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln corpus files ~/src/leveldb ~/src/fmt --out documents
  kiln corpus files ~/src --projects-dir --out documents --validation-share 0.05
  kiln corpus files . --out documents --skip 'test*' --max-file-bytes 2M --compress --json")]
pub struct FilesArgs {
    /// Source folders, each one project
    #[arg(required = true, value_name = "SRC")]
    sources: Vec<PathBuf>,
    /// Make a project of every first-level folder of a SRC
    #[arg(long)]
    projects_dir: bool,
    #[command(flatten)]
    filter: FilterArgs,
    /// Share of the documents to hold out for validation, chosen by their content
    #[arg(long, value_name = "X", value_parser = parse_share, default_value_t = 0.0)]
    validation_share: f64,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    format: TableFormat,
}

impl Located for FilesArgs {
    fn locate(&mut self, paths: &mut Paths<'_>) -> anyhow::Result<()> {
        paths.sources(&mut self.sources)?;
        paths.folder_out(&mut self.output.out)
    }
}

/// Writes the documents and tells what was found.
pub fn run(args: FilesArgs, console: &Console) -> anyhow::Result<()> {
    let json = args.format.json;
    let options = args.into_options();
    let graceful = interrupt::claim();
    let progress = console.progress_bytes("reading", 0);
    let collected = collect_files(&options, &mut |done| {
        progress.set(done.bytes, done.total_bytes);
        if graceful.requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    drop(progress);
    let summary = collected?;
    console.summary(json, &summary, |out| {
        write_summary(&summary, out)?;
        let names: Vec<_> = summary.files.iter().map(|file| file.name.as_str()).collect();
        writeln!(out, "\nwrote {} to {}", list_names(&names), options.output.out.display())
    })
}

impl FilesArgs {
    fn into_options(self) -> FilesOptions {
        let mut options = FilesOptions::new(self.sources, &self.output.out);
        options.output = self.output.into_options();
        options.filter = self.filter.into_filter();
        options.projects_dir = self.projects_dir;
        options.validation_share = self.validation_share;
        options
    }
}

fn write_summary(summary: &FilesSummary, out: &mut impl Write) -> io::Result<()> {
    projects_table(summary).write(out)?;
    if !summary.skipped.is_empty() {
        writeln!(out)?;
        skipped_table(summary).write(out)?;
    }
    write_not_looked_at(summary.other_files, summary.skipped_folders, out)
}

/// Says what the walk passed over because of its name.
pub(super) fn write_not_looked_at(
    files: u64,
    folders: u64,
    out: &mut impl Write,
) -> io::Result<()> {
    if files + folders == 0 {
        return Ok(());
    }
    let (files, folders) = (count(files), count(folders));
    writeln!(
        out,
        "\nnot looked at: {files} files that are not C or C++, {folders} folders on the skip list"
    )
}

fn projects_table(summary: &FilesSummary) -> Table {
    let mut table = Table::new(&[Align::Left, Align::Left, Align::Right, Align::Right]);
    table.row(["Project", "Licence", "Files", "Bytes"]);
    for project in &summary.projects {
        let licence = project.licence.as_deref().unwrap_or("-");
        let (files, size) = (count(project.documents), bytes(project.text_bytes));
        table.row([&project.name, licence, &files, &size]);
    }
    table.row(["total", "", &count(summary.documents), &bytes(summary.text_bytes)]);
    if summary.validation_documents > 0 {
        let (files, size) = (summary.validation_documents, summary.validation_text_bytes);
        table.row(["  held out", "", &count(files), &bytes(size)]);
    }
    table
}

fn skipped_table(summary: &FilesSummary) -> Table {
    let mut table = Table::new(&[Align::Left, Align::Right, Align::Left]);
    table.row(["Skipped", "Files", "Examples"]);
    for (cause, skipped) in &summary.skipped {
        let (mut what, mut files) = (cause.describe(), count(skipped.count));
        for file in skipped.files.iter().take(SHOWN_EXAMPLES) {
            let detail = if file.detail.is_empty() { "" } else { ": " };
            table.row([what, &files, &format!("{}{detail}{}", file.path, file.detail)]);
            (what, files) = ("", String::new());
        }
    }
    table
}

/// `a`, `a, b`, or the first and last of many.
pub fn list_names(names: &[&str]) -> String {
    match names {
        [first, .., last] if names.len() > 4 => {
            format!("{} files ({first} to {last})", names.len())
        }
        _ => names.join(", "),
    }
}
