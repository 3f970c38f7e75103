//! `kiln tokenizer train`.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use kiln_tokenizer::{Kind, PieceCounts, TOKENIZER_FILE, Tokenizer};
use serde::Serialize;

use crate::args::TableFormat;
use crate::documents::{Documents, DocumentsReport, Selection};
use crate::error::Advised;
use crate::location::{Located, Paths};
use crate::output::{Console, Table, bytes, count};

/// Learn a vocabulary from documents
///
/// Learns the merges of a byte-level BPE vocabulary and saves it as a Hugging Face tokenizer.json, with
/// token_bytes.json beside it. The result does not depend on the order of the documents or the number of
/// threads.
///
/// PATH is a .jsonl or .jsonl.zst file, a folder of them, or a folder of C and C++ sources. Documents that
/// `corpus files --validation-share` held out are left out of a folder, because a vocabulary that has seen them
/// would flatter the model; name the file itself to take them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln tokenizer train --data documents --out tokenizer --vocab-size 8192
  kiln tokenizer train --kind cpp --data ~/src/leveldb ~/src/fmt --out tokenizer --vocab-size 4096
  kiln tokenizer train --data a.jsonl b.jsonl.zst --strict --out tokenizer --json")]
pub struct TrainArgs {
    /// Kind of tokenizer: bpe is general, cpp is for C and C++ only
    ///
    /// cpp cuts text as a C++ lexer would and identifiers into their parts, has keywords, operators, names of the standard
    /// library, numbers and indentation as tokens from the start, and the tokens for infilling.
    #[arg(long, value_parser = parse_kind, default_value_t = Kind::Bpe)]
    kind: Kind,
    /// Number of ids: 256 bytes, special tokens, those that the kind fixes and those to learn
    #[arg(long, value_name = "N", default_value_t = 32768)]
    vocab_size: usize,
    /// What to learn from
    #[arg(long, value_name = "PATH", required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    /// Folder to write; made if it is missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Fail at the first JSONL line that is no document, instead of naming and skipping it
    #[arg(long)]
    strict: bool,
    /// Replace the tokenizer in DIR
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    format: TableFormat,
}

/// What is printed in the end.
#[derive(Serialize)]
struct Report {
    kind: String,
    vocab_size: usize,
    /// Distinct pieces of text that merges were learned from.
    distinct_pieces: usize,
    fingerprint: String,
    seconds: f64,
    data: DocumentsReport,
}

fn parse_kind(name: &str) -> Result<Kind, String> {
    name.parse().map_err(|_| {
        let kinds: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        format!("kind `{name}` does not exist; available: {}", kinds.join(", "))
    })
}

impl Located for TrainArgs {
    fn locate(&mut self, paths: &mut Paths<'_>) -> anyhow::Result<()> {
        paths.inputs(&mut self.data)?;
        paths.folder_out(&mut self.out)
    }
}

/// Trains and saves.
pub fn run(args: &TrainArgs, console: &Console) -> anyhow::Result<()> {
    if args.out.join(TOKENIZER_FILE).exists() && !args.overwrite {
        let message = format!("{} already holds a tokenizer", args.out.display());
        let hint = "--overwrite replaces it; models that were trained with it keep their own copy";
        return Err(Advised::new(message, hint).into());
    }
    let start = Instant::now();
    let (counts, data) = count_pieces(args, console)?;
    let tokenizer = Tokenizer::train_from_counts(&counts, args.vocab_size)?;
    tokenizer
        .save(&args.out)
        .with_context(|| format!("cannot save the tokenizer in {}", args.out.display()))?;
    let report = Report {
        kind: tokenizer.kind().to_string(),
        vocab_size: tokenizer.vocab_size(),
        distinct_pieces: counts.distinct(),
        fingerprint: tokenizer.fingerprint().to_owned(),
        seconds: start.elapsed().as_secs_f64(),
        data,
    };
    console.summary(args.format.json, &report, |out| {
        table(&report).write(out)?;
        writeln!(out, "\nwrote the tokenizer to {}", args.out.display())
    })
}

/// All that training needs of the documents.
fn count_pieces(
    args: &TrainArgs,
    console: &Console,
) -> anyhow::Result<(PieceCounts, DocumentsReport)> {
    let selection = Selection { strict: args.strict, held_out: false };
    let documents = Documents::open(&args.data, selection, console)?;
    let total = documents.report().text_bytes;
    let progress = console.progress_bytes("counting", total);
    let mut counts = PieceCounts::new(args.kind);
    let mut done = 0;
    documents.for_each_batch(|texts| {
        counts.add_documents(&texts);
        done += texts.iter().map(|text| text.len() as u64).sum::<u64>();
        progress.set(done, total);
    })?;
    Ok((counts, documents.into_report()))
}

fn table(report: &Report) -> Table {
    let data = &report.data;
    let mut table = Table::pairs();
    table.row(["Kind", &report.kind]);
    table.row(["Vocabulary", &format!("{} ids", count(report.vocab_size as u64))]);
    let size = bytes(data.text_bytes);
    table.row(["Learned from", &format!("{} documents, {size}", count(data.documents))]);
    if data.held_out_documents > 0 {
        table.row(["Held out", &format!("{} documents", count(data.held_out_documents))]);
    }
    if data.bad_lines + data.skipped_files > 0 {
        let (lines, files) = (count(data.bad_lines), count(data.skipped_files));
        table.row(["Skipped", &format!("{lines} lines, {files} source files")]);
    }
    table.row(["Distinct pieces", &count(report.distinct_pieces as u64)]);
    table.row(["Time", &format!("{:.2} s", report.seconds)]);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_that_do_not_exist_are_named() {
        assert_eq!(parse_kind("bpe"), Ok(Kind::Bpe));
        assert_eq!(parse_kind("cpp"), Ok(Kind::Cpp));
        assert_eq!(parse_kind("x").unwrap_err(), "kind `x` does not exist; available: bpe, cpp");
    }
}
