//! `kiln eval`: how good a model is.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use kiln_data::{Mixture, Schema, Source, SourceOptions};
use kiln_train::evaluate::{Evaluation, Evaluator};
use kiln_train::run_folder;
use serde::Serialize;

use crate::args::{Globals, TableFormat, parse_share};
use crate::checkpoint;
use crate::location::{self, Located, Paths};
use crate::machine;
use crate::output::{Console, Table, count};
use crate::run_options::Dtype;

/// Of the group's help.
pub const EXAMPLES: &str = "\
Examples:
  kiln eval bpb --checkpoint run --data documents";

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Command {
    Bpb(BpbArgs),
}

/// Bits per byte of a model on held-out documents
///
/// Sums the loss over the validation documents (the last file of a folder, or a share of a single file) and divides by
/// their bytes: lower is better, and it compares models whatever their tokenizers.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln eval bpb --checkpoint run --data documents
  kiln eval bpb --checkpoint run/step-000500 --data documents --max-tokens 1000000 --json")]
pub struct BpbArgs {
    /// Run folder (its newest checkpoint), or one checkpoint of it
    #[arg(long, value_name = "RUN[/step-N]")]
    checkpoint: PathBuf,
    /// Documents: a .jsonl, .jsonl.zst or .parquet file, or a folder of them
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// Most tokens to predict
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true,
        value_parser = clap::value_parser!(u64).range(1..))]
    max_tokens: u64,
    /// Share held out, where the data are one file [default: that of the run]
    #[arg(long, value_name = "X", value_parser = parse_share)]
    validation_share: Option<f64>,
    /// Rows per batch [default: that of the run]
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    device_batch_size: Option<u32>,
    /// Element type of products [default: bf16 where the machine multiplies it by itself, else f32]
    #[arg(long, value_enum)]
    dtype: Option<Dtype>,
    #[command(flatten)]
    format: TableFormat,
}

#[derive(Serialize)]
struct Report {
    checkpoint: PathBuf,
    bits_per_byte: f64,
    loss: f64,
    tokens: u64,
    bytes: u64,
}

/// Runs one of the commands.
pub fn run(command: Command, globals: &Globals, console: &Console) -> anyhow::Result<()> {
    match command {
        Command::Bpb(args) => location::run(args, console, |args| bpb(&args, globals, console)),
    }
}

impl Located for BpbArgs {
    fn locate(&mut self, paths: &mut Paths<'_>) -> anyhow::Result<()> {
        paths.checkpoint(&mut self.checkpoint)?;
        paths.input(&mut self.data)
    }
}

fn bpb(args: &BpbArgs, globals: &Globals, console: &Console) -> anyhow::Result<()> {
    let opened = checkpoint::open(&args.checkpoint, console)?;
    let train = &opened.config.train;
    let options = SourceOptions {
        schema: Schema::Text { field: train.field.clone() },
        validation_share: args.validation_share.unwrap_or(train.validation_share),
        ..SourceOptions::default()
    };
    let data = Mixture::from(Arc::new(Source::open(&args.data, &options)?));
    let compute = machine::compute(args.dtype)?;
    let mut executor = machine::executor(globals)?;
    run_folder::load_model(&opened.checkpoint, &opened.config, compute, &mut executor)?;
    let rows = args.device_batch_size.map_or(train.device_batch_size, |rows| rows as usize);
    let model = &opened.config.model;
    let evaluator = Evaluator::new(&mut executor, model, compute, rows, train.seq_len)?;
    let Evaluation { bits_per_byte, loss, tokens, bytes } =
        evaluator.run(&mut executor, &data, &opened.tokenizer, args.max_tokens)?;
    let checkpoint = opened.checkpoint.dir().to_owned();
    let report = Report { checkpoint, bits_per_byte, loss, tokens, bytes };
    if args.format.json {
        return crate::output::print_json(&report);
    }
    let mut table = Table::pairs();
    table.row(["checkpoint", &report.checkpoint.display().to_string()]);
    table.row(["bits per byte", &format!("{bits_per_byte:.4}")]);
    table.row(["loss per token", &format!("{loss:.4}")]);
    table.row(["tokens", &count(tokens)]);
    table.row(["bytes", &count(bytes)]);
    crate::output::print_text(|out| table.write(out))
}
