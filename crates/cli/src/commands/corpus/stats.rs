//! `kiln corpus stats`: what a set of documents holds.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use kiln_corpus::{Amount, CorpusStats, NamedAmount, SkippedFiles, corpus_stats};
use kiln_tokenizer::Tokenizer;

use crate::args::TableFormat;
use crate::interrupt;
use crate::location::{Located, Paths};
use crate::output::{Align, Console, Table, bytes, count, print, print_json};

/// So many rows of a table are shown; `--json` has all.
const SHOWN_ROWS: usize = 10;
/// Width of the longest bar of the histogram.
const BAR: u64 = 40;

/// Count what documents hold
///
/// Reads documents (.jsonl, .jsonl.zst or .parquet) and shows how many there are, how large, of which projects and
/// under which licences, how many repeat earlier ones, and how long they are in tokens.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln corpus stats documents
  kiln corpus stats shards --tokenizer tokenizer --json")]
pub struct StatsArgs {
    /// Files of documents, and folders of them
    #[arg(required = true, value_name = "PATH")]
    sources: Vec<PathBuf>,
    /// Count tokens with this tokenizer [default: every four bytes are one]
    #[arg(long, value_name = "DIR")]
    tokenizer: Option<PathBuf>,
    /// Fail at the first damaged file or line instead of passing over it
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    format: TableFormat,
}

impl Located for StatsArgs {
    fn locate(&mut self, paths: &mut Paths<'_>) -> anyhow::Result<()> {
        paths.inputs(&mut self.sources)?;
        paths.inputs(&mut self.tokenizer)
    }
}

/// Runs the command.
pub fn run(args: &StatsArgs, console: &Console) -> anyhow::Result<()> {
    let tokenizer = args.tokenizer.as_deref().map(Tokenizer::load).transpose();
    let tokenizer = tokenizer.context("cannot load the tokenizer")?;
    let encoded = |text: &str| {
        tokenizer.as_ref().map_or(0, |tokenizer| tokenizer.encode_ordinary(text.as_bytes()).len())
    };
    let count_tokens = tokenizer.is_some().then_some(&encoded as &(dyn Fn(&str) -> usize + Sync));

    let graceful = interrupt::claim();
    let progress = console.progress_bytes("reading", 0);
    let found = corpus_stats(&args.sources, count_tokens, args.strict, &mut |done, total| {
        progress.set(done, total);
        if graceful.requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    drop(progress);
    let stats = found?;
    warn("damaged files were passed over", &stats.damaged_files, console);
    warn("lines or rows are no documents and were passed over", &stats.bad_rows, console);
    if args.format.json { print_json(&stats) } else { print(|out| write_stats(&stats, out)) }
}

fn warn(what: &str, list: &SkippedFiles, console: &Console) {
    if let Some(first) = list.files.first() {
        let (path, detail) = (&first.path, &first.detail);
        console.warn(format_args!("{} {what}; the first: {path}: {detail}", count(list.count)));
    }
}

fn write_stats(stats: &CorpusStats, out: &mut impl Write) -> io::Result<()> {
    let tokens = if stats.tokenizer { "Tokens" } else { "Bytes/4" };
    amounts("File", tokens, &stats.files, &stats.total, out)?;
    writeln!(out)?;
    amounts("Project", tokens, &stats.projects, &stats.total, out)?;
    writeln!(out)?;
    amounts("Licence", tokens, &stats.licences, &stats.total, out)?;
    writeln!(out)?;

    let mut table = Table::new(&[Align::Left, Align::Right, Align::Right, Align::Right]);
    table.row(["Repeated", "Documents", "Bytes", "Share"]);
    for (what, amount) in [("copies", &stats.duplicates), ("near copies", &stats.near_duplicates)] {
        let share = amount.text_bytes as f64 / stats.total.text_bytes.max(1) as f64;
        let share = format!("{:.2} %", 100.0 * share);
        table.row([what, &count(amount.documents), &bytes(amount.text_bytes), &share]);
    }
    table.write(out)?;
    writeln!(out)?;
    lengths(stats, out)
}

fn amounts(
    what: &str,
    tokens: &str,
    list: &[NamedAmount],
    total: &Amount,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut table = Table::new(&[Align::Left, Align::Right, Align::Right, Align::Right]);
    table.row([what, "Documents", "Bytes", tokens]);
    let mut row = |name: &str, amount: &Amount| {
        let (documents, size) = (count(amount.documents), bytes(amount.text_bytes));
        table.row([name, &documents, &size, &count(amount.tokens)]);
    };
    list.iter().take(SHOWN_ROWS).for_each(|named| row(&named.name, &named.amount));
    if let Some(rest) = list.get(SHOWN_ROWS..)
        && !rest.is_empty()
    {
        let others = rest.iter().fold(Amount::default(), |sum, named| Amount {
            documents: sum.documents + named.amount.documents,
            text_bytes: sum.text_bytes + named.amount.text_bytes,
            tokens: sum.tokens + named.amount.tokens,
        });
        row(&format!("{} others", rest.len()), &others);
    }
    row("total", total);
    table.write(out)
}

fn lengths(stats: &CorpusStats, out: &mut impl Write) -> io::Result<()> {
    let lengths = &stats.lengths;
    let unit = if stats.tokenizer { "tokens" } else { "tokens, taken as bytes/4" };
    writeln!(
        out,
        "Lengths in {unit}: shortest {}, median {}, 90 % up to {}, 99 % up to {}, longest {}",
        count(lengths.shortest),
        count(lengths.median),
        count(lengths.p90),
        count(lengths.p99),
        count(lengths.longest)
    )?;
    let most = lengths.histogram.iter().map(|bucket| bucket.documents).max().unwrap_or(0).max(1);
    let mut table = Table::new(&[Align::Right, Align::Right, Align::Right, Align::Left]);
    table.row(["From", "Documents", "Tokens", ""]);
    for bucket in &lengths.histogram {
        let bar = "#".repeat((bucket.documents * BAR).div_ceil(most) as usize);
        table.row([&count(bucket.from), &count(bucket.documents), &count(bucket.tokens), &bar]);
    }
    table.write(out)
}
