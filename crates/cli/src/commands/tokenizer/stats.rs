//! `kiln tokenizer stats`.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use kiln_tokenizer::{Stats, TokenCount};
use serde::Serialize;

use crate::args::TableFormat;
use crate::documents::{Documents, DocumentsReport, Selection};
use crate::location::{Located, Paths};
use crate::output::{self, Align, Console, Table, bytes, count};

/// Measure how well a vocabulary fits documents
///
/// Encodes all documents, held-out ones included, and counts: bytes per token (higher is a better fit), ids in
/// use, the most frequent and the longest tokens. PATH is what `tokenizer train` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln tokenizer stats --tokenizer tokenizer --data documents
  kiln tokenizer stats --tokenizer tokenizer --data documents/validation.jsonl --top 50 --json")]
pub struct StatsArgs {
    /// Folder of the tokenizer
    #[arg(long, value_name = "DIR")]
    tokenizer: PathBuf,
    /// What to encode
    #[arg(long, value_name = "PATH", required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    /// So many of the most frequent and of the longest tokens are listed
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,
    /// Fail at the first JSONL line that is no document, instead of naming and skipping it
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    format: TableFormat,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    stats: Stats,
    data: DocumentsReport,
}

impl Located for StatsArgs {
    fn locate(&mut self, paths: &mut Paths<'_>) -> anyhow::Result<()> {
        paths.input(&mut self.tokenizer)?;
        paths.inputs(&mut self.data)
    }
}

/// Encodes, counts and prints.
pub fn run(args: &StatsArgs, console: &Console) -> anyhow::Result<()> {
    let tokenizer = super::load(&args.tokenizer)?;
    let selection = Selection { strict: args.strict, held_out: true };
    let documents = Documents::open(&args.data, selection, console)?;
    let mut texts = Vec::new();
    documents.for_each_batch(|batch| texts.extend(batch))?;
    let data = documents.into_report();
    let report = Report { stats: tokenizer.stats(&texts, args.top), data };
    if args.format.json {
        return output::print_json(&report);
    }
    output::print(|out| write_stats(&report.stats, out))
}

fn write_stats(stats: &Stats, out: &mut impl Write) -> io::Result<()> {
    let ids = stats.used_ids + stats.unused_ids;
    let mut table = Table::pairs();
    table.row(["Kind", &stats.kind]);
    table.row(["Vocabulary", &format!("{} ids", count(stats.vocab_size as u64))]);
    table.row(["Documents", &count(stats.documents as u64)]);
    table.row(["Bytes", &bytes(stats.bytes)]);
    table.row(["Tokens", &count(stats.tokens)]);
    table.row(["Bytes per token", &format!("{:.3}", stats.bytes_per_token)]);
    table.row(["Tokens per document", &format!("{:.1}", stats.tokens_per_document)]);
    table.row(["Longest document", &format!("{} tokens", count(stats.longest_document_tokens))]);
    table.row(["Single-byte tokens", &format!("{:.1} %", 100.0 * stats.single_byte_share)]);
    let used = format!("{} of {}", count(stats.used_ids as u64), count(ids as u64));
    table.row(["Ids in use", &used]);
    table.write(out)?;
    write_tokens("Most frequent", &stats.most_frequent, out)?;
    write_tokens("Longest", &stats.longest, out)
}

fn write_tokens(title: &str, tokens: &[TokenCount], out: &mut impl Write) -> io::Result<()> {
    if tokens.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&[Align::Right, Align::Right, Align::Right, Align::Left]);
    table.row(["Id", "Bytes", "Count", title]);
    for token in tokens {
        let (id, size) = (token.id.to_string(), token.bytes.to_string());
        // Quoted, because most tokens begin with a blank.
        table.row([&id, &size, &count(token.count), &format!("{:?}", token.text)]);
    }
    writeln!(out)?;
    table.write(out)
}
