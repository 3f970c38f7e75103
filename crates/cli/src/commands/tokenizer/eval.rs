//! `kiln tokenizer eval`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::bail;
use clap::Args;
use kiln_store::with_urls;
use rayon::prelude::*;
use serde::Serialize;

use super::keywords::Keywords;
use super::peers::Peer;
use crate::args::TableFormat;
use crate::documents::{Documents, DocumentsReport, Selection};
use crate::location::{Located, Paths};
use crate::output::{self, Align, Console, Table, bytes, count};

/// Compare tokenizers on documents
///
/// Encodes all documents with each tokenizer given and with OpenAI's cl100k and o200k: bytes per token, tokens per line, the
/// share of C++ keywords (standing as words) that are one token, whether every document comes back from its ids, and
/// the speed of encoding on all threads. PATH is what `tokenizer train` takes; held-out documents are encoded, too.
/// A tokenizer fits the documents that it was trained on better than others: measure on those it has not seen.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln tokenizer eval --tokenizer tokenizer --data documents/validation.jsonl
  kiln tokenizer eval --tokenizer cpp --tokenizer bpe ~/src/leveldb
  kiln tokenizer eval --tokenizer cpp ~/src/leveldb --json")]
pub struct EvalArgs {
    /// Folder of a tokenizer; may be given more than once
    #[arg(long = "tokenizer", value_name = "DIR", required = true)]
    tokenizers: Vec<PathBuf>,
    /// What to encode
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// What to encode, too
    #[arg(long, value_name = "PATH", num_args = 1..)]
    data: Vec<PathBuf>,
    /// Times to encode for the speed; the median counts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Fail at the first JSONL line that is no document, instead of naming and skipping it
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    format: TableFormat,
}

impl Located for EvalArgs {
    fn locate(&mut self, paths: &mut Paths<'_>) -> anyhow::Result<()> {
        paths.inputs(&mut self.tokenizers)?;
        paths.inputs(&mut self.paths)?;
        paths.inputs(&mut self.data)
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    threads: usize,
    lines: u64,
    /// Keywords that stand as words.
    keywords: u64,
    tokenizers: Vec<Row>,
    data: DocumentsReport,
}

#[derive(Serialize)]
struct Row {
    name: String,
    kind: Option<&'static str>,
    vocab_size: usize,
    tokens: u64,
    bytes_per_token: f64,
    tokens_per_line: f64,
    /// Share of the keywords that lie in one token with no other letter or digit, 1 of none.
    keyword_integrity: f64,
    /// Whether every document comes back.
    round_trip: bool,
    /// Median.
    megabytes_per_second: f64,
}

/// Measures each tokenizer and prints.
pub fn run(args: &EvalArgs, console: &Console) -> anyhow::Result<()> {
    let paths = [&args.paths[..], &args.data].concat();
    if paths.is_empty() {
        bail!("nothing to encode: give a PATH");
    }
    let mut peers = Vec::new();
    for folder in &args.tokenizers {
        peers.push(Peer::kiln(
            with_urls(&folder.display().to_string()).into_owned(),
            super::load(folder)?,
        ));
    }
    let selection = Selection { strict: args.strict, held_out: true };
    let documents = Documents::open(&paths, selection, console)?;
    let mut texts = Vec::new();
    documents.for_each_batch(|batch| texts.extend(batch))?;
    let data = documents.into_report();
    peers.extend([Peer::cl100k(), Peer::o200k()]);

    let keywords: Vec<Keywords> = texts.par_iter().map(|text| Keywords::find(text)).collect();
    let lines = texts.par_iter().map(|text| text.lines().count() as u64).sum();
    let progress = console.progress_count("tokenizers", peers.len() as u64);
    let mut rows = Vec::new();
    for peer in &peers {
        rows.push(measure(peer, &texts, &keywords, lines, usize::from(args.runs)));
        progress.set(rows.len() as u64, peers.len() as u64);
    }
    drop(progress);
    let found = keywords.iter().map(|keywords| keywords.len() as u64).sum();
    let threads = rayon::current_num_threads();
    let report = Report { threads, lines, keywords: found, tokenizers: rows, data };
    if args.format.json {
        return output::print_json(&report);
    }
    output::print(|out| write_report(&report, out))
}

fn measure(peer: &Peer, texts: &[String], keywords: &[Keywords], lines: u64, runs: usize) -> Row {
    let bytes: u64 = texts.iter().map(|text| text.len() as u64).sum();
    let encoded = peer.encode(texts);
    let tokens: u64 = encoded.iter().map(|ids| ids.len() as u64).sum();
    let found: u64 = keywords.iter().map(|keywords| keywords.len() as u64).sum();
    let whole = |(keywords, ids): (&Keywords, &Vec<u32>)| keywords.whole(&peer.ends(ids)) as u64;
    let whole: u64 = keywords.par_iter().zip(&encoded).map(whole).sum();
    let comes_back = |(text, ids): (&String, &Vec<u32>)| {
        peer.decode(ids).is_some_and(|decoded| decoded == text.as_bytes())
    };
    let round_trip = texts.par_iter().zip(&encoded).all(comes_back);
    drop(encoded);
    let mut seconds: Vec<f64> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(peer.encode(texts));
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    Row {
        name: peer.name.clone(),
        kind: peer.kind,
        vocab_size: peer.vocab_size,
        tokens,
        bytes_per_token: ratio(bytes as f64, tokens as f64),
        tokens_per_line: ratio(tokens as f64, lines as f64),
        keyword_integrity: if found == 0 { 1.0 } else { whole as f64 / found as f64 },
        round_trip,
        megabytes_per_second: ratio(bytes as f64 / 1e6, seconds[seconds.len() / 2]),
    }
}

fn ratio(numerator: f64, denominator: f64) -> f64 {
    if denominator == 0.0 { 0.0 } else { numerator / denominator }
}

fn write_report(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let data = &report.data;
    let (documents, lines) = (count(data.documents), count(report.lines));
    let size = bytes(data.text_bytes);
    let keywords = count(report.keywords);
    writeln!(out, "{documents} documents, {size}, {lines} lines, {keywords} keywords\n")?;
    let right = Align::Right;
    let mut table = Table::new(&[Align::Left, right, right, right, right, right, right, right]);
    table.row([
        "Tokenizer",
        "Ids",
        "Tokens",
        "Bytes/token",
        "Tokens/line",
        "Whole keywords",
        "Round trip",
        "MB/s",
    ]);
    for row in &report.tokenizers {
        let name = match row.kind {
            Some(kind) => format!("{} ({kind})", row.name),
            None => row.name.clone(),
        };
        table.row([
            &name,
            &count(row.vocab_size as u64),
            &count(row.tokens),
            &format!("{:.3}", row.bytes_per_token),
            &format!("{:.2}", row.tokens_per_line),
            &format!("{:.2} %", 100.0 * row.keyword_integrity),
            if row.round_trip { "exact" } else { "LOSSY" },
            &format!("{:.1}", row.megabytes_per_second),
        ]);
    }
    table.write(out)
}
