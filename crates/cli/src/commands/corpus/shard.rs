//! `kiln corpus shard`: documents to cleaned and shuffled shards.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use kiln_corpus::{
    ShardFormat, ShardOptions, ShardProgress, ShardSize, ShardStage, ShardSummary, SkippedFiles,
    write_shards,
};

use super::files::list_names;
use crate::args::{TableFormat, parse_bytes, parse_share, parse_similarity};
use crate::interrupt;
use crate::location::{Located, Paths};
use crate::output::{Align, Console, Table, bytes, count};

/// So many examples are shown for each cause; `--json` has more.
const SHOWN_EXAMPLES: usize = 3;
/// So many projects and licences are shown.
const SHOWN_ROWS: usize = 10;

/// Format of the shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Jsonl,
    Parquet,
}

/// Clean documents, shuffle them and write training shards
///
/// Reads documents (.jsonl, .jsonl.zst or .parquet) that `corpus files`, `index` or `pairs` made, leaves out copies,
/// near copies, files that a program wrote and documents that hold credentials, shuffles the rest and writes shards.
/// A share of the documents is held out for validation, chosen by their content; documents that are alike are never
/// on both sides. The same input and options give the same bytes. `_COMPLETE` appears when everything is written.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln corpus shard documents --out shards
  kiln corpus shard documents more.jsonl --out shards --format jsonl --compress --seed 7
  kiln corpus shard documents --out shards --validation-share 0.02 --dedup 0.8 \\
      --deny-licence 'GPL-*' --deny-licence unknown")]
pub struct ShardArgs {
    /// Files of documents, and folders of them
    #[arg(required = true, value_name = "SRC")]
    sources: Vec<PathBuf>,
    /// Folder to write; made if it is missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Format of the shards
    #[arg(long, value_enum, default_value_t = Format::Parquet)]
    format: Format,
    /// Write .jsonl.zst instead of .jsonl; Parquet is compressed always
    #[arg(long)]
    compress: bool,
    /// Start a new shard after so many bytes of documents, before compression; takes suffixes k, M and G
    #[arg(long, value_name = "N", value_parser = parse_bytes, default_value = "256M")]
    shard_bytes: u64,
    /// Start a new shard after so many documents
    #[arg(long, value_name = "N", conflicts_with = "shard_bytes", value_parser = clap::value_parser!(u64).range(1..))]
    documents_per_shard: Option<u64>,
    /// Seed of the shuffle
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Share of the documents to hold out for validation
    #[arg(long, value_name = "X", value_parser = parse_share, default_value_t = 0.01)]
    validation_share: f64,
    /// Documents at least this similar stay on one side of the hold-out
    #[arg(long, value_name = "X", value_parser = parse_similarity, default_value_t = 0.5)]
    split_similarity: f64,
    /// Leave out documents at least this similar to an earlier one (Jaccard similarity of runs of 5 words); 1 leaves
    /// out copies only, 0 nothing
    #[arg(long, value_name = "X", value_parser = parse_similarity, default_value_t = 0.85)]
    dedup: f64,
    /// Keep only documents under this licence (an SPDX name; `*` stands for any characters, `unknown` for none);
    /// repeat for more
    #[arg(long, value_name = "LICENCE", value_delimiter = ',')]
    allow_licence: Vec<String>,
    /// Leave out documents under this licence; repeat for more
    #[arg(long, value_name = "LICENCE", value_delimiter = ',')]
    deny_licence: Vec<String>,
    /// Keep files that a program wrote
    #[arg(long)]
    keep_generated: bool,
    /// Keep documents that hold credentials
    #[arg(long)]
    keep_secrets: bool,
    /// Fail at the first damaged file or line instead of passing over it
    #[arg(long)]
    strict: bool,
    /// Replace the finished documents in DIR
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    format_of_summary: TableFormat,
}

impl Located for ShardArgs {
    fn locate(&mut self, paths: &mut Paths<'_>) -> anyhow::Result<()> {
        paths.inputs(&mut self.sources)?;
        paths.folder_out(&mut self.out)
    }
}

/// Runs the command.
pub fn run(args: ShardArgs, console: &Console) -> anyhow::Result<()> {
    let json = args.format_of_summary.json;
    let options = args.into_options();
    let graceful = interrupt::claim();
    let mut progress = None;
    let mut shown = None;
    let written = write_shards(&options, &mut |done: ShardProgress| {
        if shown != Some(done.stage) {
            // The bar of the stage before has to go first.
            drop(progress.take());
            progress = Some(console.progress_bytes(describe(done.stage), done.total_bytes));
            shown = Some(done.stage);
        }
        if let Some(progress) = &progress {
            progress.set(done.bytes, done.total_bytes);
        }
        if graceful.requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    drop(progress);
    let summary = written?;
    warn(&summary, console);
    console.summary(json, &summary, |out| {
        write_summary(&summary, out)?;
        let names: Vec<_> = summary.files.iter().map(|file| file.name.as_str()).collect();
        writeln!(out, "\nwrote {} to {}", list_names(&names), options.out.display())
    })
}

impl ShardArgs {
    fn into_options(self) -> ShardOptions {
        let mut options = ShardOptions::new(self.sources, self.out);
        options.format = match self.format {
            Format::Jsonl => ShardFormat::Jsonl,
            Format::Parquet => ShardFormat::Parquet,
        };
        options.compress = self.compress;
        options.shard_size = match self.documents_per_shard {
            Some(documents) => ShardSize::Documents(documents),
            None => ShardSize::Bytes(self.shard_bytes),
        };
        options.seed = self.seed;
        options.validation_share = self.validation_share;
        options.split_similarity = self.split_similarity;
        options.dedup = self.dedup;
        options.allow_licences = self.allow_licence;
        options.deny_licences = self.deny_licence;
        options.keep_generated = self.keep_generated;
        options.keep_secrets = self.keep_secrets;
        options.strict = self.strict;
        options.overwrite = self.overwrite;
        options
    }
}

fn describe(stage: ShardStage) -> &'static str {
    match stage {
        ShardStage::Reading => "reading",
        ShardStage::Shuffling => "shuffling",
        ShardStage::Writing => "writing",
    }
}

/// Tells of what was passed over, also to those who see no summary.
fn warn(summary: &ShardSummary, console: &Console) {
    let tell = |what: &str, list: &SkippedFiles| {
        if let Some(first) = list.files.first() {
            console.warn(format_args!(
                "{} {what}; the first: {}: {}",
                count(list.count),
                first.path,
                first.detail
            ));
        }
    };
    tell("damaged files were passed over", &summary.damaged_files);
    tell("lines or rows are no documents and were passed over", &summary.bad_rows);
    summary.warnings.iter().for_each(|warning| console.warn(warning));
}

fn write_summary(summary: &ShardSummary, out: &mut impl Write) -> io::Result<()> {
    files_table(summary).write(out)?;
    if !summary.dropped.is_empty() {
        writeln!(out)?;
        dropped_table(summary).write(out)?;
    }
    writeln!(out)?;
    licences_table(summary).write(out)?;
    if summary.families > 0 {
        writeln!(
            out,
            "\n{} families of documents at least {} similar, the largest of {}; each is on one side",
            count(summary.families),
            summary.split_similarity,
            count(summary.largest_family)
        )?;
    }
    Ok(())
}

fn files_table(summary: &ShardSummary) -> Table {
    let mut table = Table::new(&[Align::Left, Align::Right, Align::Right, Align::Right]);
    table.row(["", "Documents", "Text", "On disk"]);
    let mut row = |what: &str, documents: u64, text: u64, disk: Option<u64>| {
        let disk = disk.map(bytes).unwrap_or_default();
        table.row([what, &count(documents), &bytes(text), &disk]);
    };
    let disk = |wanted: kiln_corpus::Split| {
        summary.files.iter().filter(|f| f.split == wanted).map(|f| f.file_bytes).sum()
    };
    let (documents, text) = (summary.read_documents, summary.read_text_bytes);
    row("read", documents, text, None);
    row("left out", documents - summary.documents, text - summary.text_bytes, None);
    let (held, held_text) = (summary.validation_documents, summary.validation_text_bytes);
    let train = kiln_corpus::Split::Train;
    row("training", summary.documents - held, summary.text_bytes - held_text, Some(disk(train)));
    row("validation", held, held_text, Some(disk(kiln_corpus::Split::Validation)));
    table
}

fn dropped_table(summary: &ShardSummary) -> Table {
    let mut table = Table::new(&[Align::Left, Align::Right, Align::Right, Align::Left]);
    table.row(["Left out", "Documents", "Text", "Examples"]);
    for (cause, dropped) in &summary.dropped {
        let mut cells =
            [cause.describe().to_owned(), count(dropped.count), bytes(dropped.text_bytes)];
        for document in dropped.documents.iter().take(SHOWN_EXAMPLES) {
            let detail = if document.detail.is_empty() { "" } else { ": " };
            let example = format!("{}{detail}{}", document.path, document.detail);
            table.row([&cells[0], &cells[1], &cells[2], &example]);
            cells = Default::default();
        }
    }
    table
}

fn licences_table(summary: &ShardSummary) -> Table {
    let mut table = Table::new(&[Align::Left, Align::Right]);
    table.row(["Licence", "Documents"]);
    let mut licences: Vec<_> = summary.licences.iter().collect();
    licences.sort_by_key(|(name, documents)| (std::cmp::Reverse(**documents), *name));
    for (name, documents) in licences.iter().take(SHOWN_ROWS) {
        table.row([name.as_str(), &count(**documents)]);
    }
    if let Some(rest) = licences.get(SHOWN_ROWS..)
        && !rest.is_empty()
    {
        let documents = rest.iter().map(|(_, documents)| **documents).sum();
        table.row([&format!("{} others", rest.len()), &count(documents)]);
    }
    table
}
