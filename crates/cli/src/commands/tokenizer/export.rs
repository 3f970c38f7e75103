//! `kiln tokenizer export`.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::location::{Located, Paths};
use crate::output::Console;

/// Write a tokenizer in another program's format
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln tokenizer export --tokenizer tokenizer --format hf --out tokenizer.json
  kiln tokenizer export --tokenizer tokenizer --format tiktoken --out kiln.tiktoken")]
pub struct ExportArgs {
    /// Folder of the tokenizer
    #[arg(long, value_name = "DIR")]
    tokenizer: PathBuf,
    /// What to write
    #[arg(long, value_enum)]
    format: ExportFormat,
    /// File to write; an existing one is replaced
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ExportFormat {
    /// A tokenizer.json of Hugging Face's `tokenizers`
    Hf,
    /// A vocabulary file of tiktoken: base64 of each token and its rank, without the special tokens. With kind cpp ranks are the
    /// order of merging and not the ids
    Tiktoken,
}

impl Located for ExportArgs {
    fn locate(&mut self, paths: &mut Paths<'_>) -> anyhow::Result<()> {
        paths.input(&mut self.tokenizer)?;
        paths.file_out(&mut self.out)
    }
}

/// Writes the file.
pub fn run(args: &ExportArgs, console: &Console) -> anyhow::Result<()> {
    let tokenizer = super::load(&args.tokenizer)?;
    match args.format {
        ExportFormat::Hf => tokenizer.export_hugging_face(&args.out),
        ExportFormat::Tiktoken => tokenizer.export_tiktoken(&args.out),
    }
    .context("cannot export the tokenizer")?;
    console.note(format_args!("wrote {}", args.out.display()));
    Ok(())
}
