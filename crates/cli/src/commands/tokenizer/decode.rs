//! `kiln tokenizer decode`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::encode::read_input;
use super::ids::{self, IdFormat};
use crate::location::{Located, Paths};
use crate::output::{self, Console};

/// Turn token ids back into text
///
/// Reads ids from FILE, or standard input, in the format that `encode` wrote them in, and writes the bytes that
/// they stand for and nothing else. Special tokens give their names.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln tokenizer encode --tokenizer tokenizer a.cpp | kiln tokenizer decode --tokenizer tokenizer
  echo 105 110 116 | kiln tokenizer decode --tokenizer tokenizer
  kiln tokenizer decode --tokenizer tokenizer --format u32le a.ids > a.cpp")]
pub struct DecodeArgs {
    /// Folder of the tokenizer
    #[arg(long, value_name = "DIR")]
    tokenizer: PathBuf,
    /// How the ids are written
    #[arg(long, value_enum, default_value_t = IdFormat::Text)]
    format: IdFormat,
    /// File of ids; `-` is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
}

impl Located for DecodeArgs {
    fn locate(&mut self, paths: &mut Paths<'_>) -> anyhow::Result<()> {
        paths.input(&mut self.tokenizer)?;
        paths.input(&mut self.file)
    }
}

/// Decodes all ids to standard output.
pub fn run(args: &DecodeArgs, console: &Console) -> anyhow::Result<()> {
    let tokenizer = super::load(&args.tokenizer)?;
    let input = read_input(&args.file, console)?;
    let decoded = ids::read(args.format, &input).and_then(|ids| Ok(tokenizer.decode(&ids)?));
    let name = || match args.file.to_str() {
        Some("-") => "standard input".to_owned(),
        _ => args.file.display().to_string(),
    };
    let bytes = decoded.with_context(name)?;
    output::print(|out| std::io::Write::write_all(out, &bytes))
}
