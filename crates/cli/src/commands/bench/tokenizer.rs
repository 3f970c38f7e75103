//! `kiln bench tokenizer`: training and encoding on given documents.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use kiln_tokenizer::{Kind, PieceCounts, Tokenizer};
use serde::Serialize;

use super::median;
use crate::args::TableFormat;
use crate::commands::tokenizer::peers::Peer;
use crate::documents::{Documents, DocumentsReport, Selection};
use crate::location::{Located, Paths};
use crate::output::{self, Align, Console, Table, bytes, count};

/// How fast tokenizers are trained and encode
///
/// For each kind: seconds from documents in memory to a trained vocabulary, and what of them merging takes (the rest is
/// counting the pieces); megabytes of text encoded a second with a new tokenizer, when its cache is empty, and after.
/// For comparison tiktoken's encoding with cl100k, in its Rust form, once. Everything on all threads; medians count.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln bench tokenizer --data ~/src/leveldb --vocab-size 8192
  kiln bench tokenizer --data documents --threads 2 --runs 9 --json")]
pub struct TokenizerArgs {
    /// What to train on and to encode: as of `tokenizer train`
    #[arg(long, value_name = "PATH", required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    /// Number of ids
    #[arg(long, value_name = "N", default_value_t = 32768)]
    vocab_size: usize,
    /// Measurements of each kind; the median counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    #[command(flatten)]
    format: TableFormat,
}

#[derive(Serialize)]
struct Report {
    threads: usize,
    runs: u16,
    vocab_size: usize,
    kinds: Vec<Row>,
    /// tiktoken's with cl100k.
    tiktoken_megabytes_per_second: f64,
    data: DocumentsReport,
}

/// Medians.
#[derive(Serialize)]
struct Row {
    kind: &'static str,
    tokens: u64,
    train_seconds: f64,
    merge_seconds: f64,
    first_megabytes_per_second: f64,
    megabytes_per_second: f64,
}

/// One measurement.
struct Times {
    tokens: u64,
    train: f64,
    merge: f64,
    first: f64,
    again: f64,
}

impl Located for TokenizerArgs {
    fn locate(&mut self, paths: &mut Paths<'_>) -> anyhow::Result<()> {
        paths.inputs(&mut self.data)
    }
}

/// Measures and prints.
pub fn run(args: &TokenizerArgs, console: &Console) -> anyhow::Result<()> {
    let documents =
        Documents::open(&args.data, Selection { strict: false, held_out: true }, console)?;
    let mut texts = Vec::new();
    documents.for_each_batch(|batch| texts.extend(batch))?;
    let data = documents.into_report();
    let megabytes = data.text_bytes as f64 / 1e6;
    let total = u64::from(args.runs) * Kind::ALL.len() as u64;
    let progress = console.progress_count("runs", total);
    // In turn, so that a disturbance of the machine does not hit one kind alone.
    let mut times = Kind::ALL.map(|_| Vec::new());
    for run in 0..u64::from(args.runs) {
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            times[at].push(measure(kind, &texts, args.vocab_size)?);
            progress.set(run * Kind::ALL.len() as u64 + at as u64 + 1, total);
        }
    }
    drop(progress);
    let row = |(kind, times): (Kind, Vec<Times>)| Row {
        kind: kind.name(),
        tokens: times[0].tokens,
        train_seconds: median(times.iter().map(|times| times.train)),
        merge_seconds: median(times.iter().map(|times| times.merge)),
        first_megabytes_per_second: median(times.iter().map(|times| megabytes / times.first)),
        megabytes_per_second: median(times.iter().map(|times| megabytes / times.again)),
    };
    let kinds = Kind::ALL.into_iter().zip(times).map(row).collect();
    let tiktoken = Peer::cl100k();
    let seconds = timed(|| tiktoken.encode(&texts)).1;
    let report = Report {
        threads: rayon::current_num_threads(),
        runs: args.runs,
        vocab_size: args.vocab_size,
        kinds,
        tiktoken_megabytes_per_second: megabytes / seconds,
        data,
    };
    if args.format.json {
        return output::print_json(&report);
    }
    output::print(|out| write_report(&report, out))
}

fn measure(kind: Kind, texts: &[String], vocab_size: usize) -> anyhow::Result<Times> {
    let (counts, counting) = timed(|| {
        let mut counts = PieceCounts::new(kind);
        counts.add_documents(texts);
        counts
    });
    let (tokenizer, merge) = timed(|| Tokenizer::train_from_counts(&counts, vocab_size));
    let tokenizer = tokenizer?;
    let (ids, first) = timed(|| tokenizer.encode_documents(texts));
    let tokens = ids.iter().map(|ids| ids.len() as u64).sum();
    drop(ids);
    let again = timed(|| tokenizer.encode_documents(texts)).1;
    Ok(Times { tokens, train: counting + merge, merge, first, again })
}

/// What `work` gives and the seconds that it takes.
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed().as_secs_f64())
}

fn write_report(report: &Report, out: &mut impl std::io::Write) -> std::io::Result<()> {
    let (documents, size) = (count(report.data.documents), bytes(report.data.text_bytes));
    let (ids, threads) = (count(report.vocab_size as u64), report.threads);
    writeln!(out, "{documents} documents, {size}, {ids} ids, {threads} threads\n")?;
    let right = Align::Right;
    let mut table = Table::new(&[Align::Left, right, right, right, right, right]);
    table.row(["Kind", "Tokens", "Training s", "of it merging", "First MB/s", "MB/s"]);
    for row in &report.kinds {
        table.row([
            row.kind,
            &count(row.tokens),
            &format!("{:.3}", row.train_seconds),
            &format!("{:.3}", row.merge_seconds),
            &format!("{:.1}", row.first_megabytes_per_second),
            &format!("{:.1}", row.megabytes_per_second),
        ]);
    }
    let tiktoken = format!("{:.1}", report.tiktoken_megabytes_per_second);
    table.row(["tiktoken cl100k", "", "", "", "", &tiktoken]);
    table.write(out)
}
