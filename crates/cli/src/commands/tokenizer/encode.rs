//! `kiln tokenizer encode`.

use std::fs;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::ids::{self, IdFormat};
use crate::location::{Located, Paths};
use crate::output::{self, Console};

/// Inputs are encoded together until they have this many bytes.
const BATCH_BYTES: usize = 64 << 20;

/// Turn text into token ids
///
/// Encodes each FILE, or standard input, as one document of any bytes. No BOS is added, and names of special
/// tokens are ordinary text.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  echo 'int main() {}' | kiln tokenizer encode --tokenizer tokenizer
  kiln tokenizer encode --tokenizer tokenizer --format json a.cpp b.cpp
  kiln tokenizer encode --tokenizer tokenizer --format u32le a.cpp > a.ids")]
pub struct EncodeArgs {
    /// Folder of the tokenizer
    #[arg(long, value_name = "DIR")]
    tokenizer: PathBuf,
    /// How to write the ids
    #[arg(long, value_enum, default_value_t = IdFormat::Text)]
    format: IdFormat,
    /// Files to encode; `-` is standard input [default: -]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Located for EncodeArgs {
    fn locate(&mut self, paths: &mut Paths<'_>) -> anyhow::Result<()> {
        paths.input(&mut self.tokenizer)?;
        paths.inputs(&mut self.files)
    }
}

/// Encodes all inputs to standard output.
pub fn run(args: &EncodeArgs, console: &Console) -> anyhow::Result<()> {
    let tokenizer = super::load(&args.tokenizer)?;
    let stdin = [PathBuf::from("-")];
    let inputs: &[PathBuf] = if args.files.is_empty() { &stdin } else { &args.files };
    let mut out = output::stdout();
    let mut batch = Vec::new();
    let mut batch_bytes = 0;
    for (at, path) in inputs.iter().enumerate() {
        let text = read_input(path, console)?;
        batch_bytes += text.len();
        batch.push(text);
        if batch_bytes >= BATCH_BYTES || at + 1 == inputs.len() {
            let encoded = tokenizer.encode_documents(&batch);
            encoded
                .iter()
                .try_for_each(|ids| ids::write(args.format, ids, &mut out))
                .context("cannot write to standard output")?;
            batch.clear();
            batch_bytes = 0;
        }
    }
    out.flush().context("cannot write to standard output")
}

/// The bytes of a file, or of standard input for `-`.
pub fn read_input(path: &Path, console: &Console) -> anyhow::Result<Vec<u8>> {
    if path != Path::new("-") {
        return fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    }
    let mut stdin = io::stdin().lock();
    if stdin.is_terminal() {
        console.note("reading standard input; Ctrl-D ends it");
    }
    let mut bytes = Vec::new();
    stdin.read_to_end(&mut bytes).context("cannot read standard input")?;
    Ok(bytes)
}
