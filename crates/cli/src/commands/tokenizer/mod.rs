//! `kiln tokenizer`: training, use, exchange and measures of tokenizers.

mod decode;
mod encode;
mod eval;
mod export;
mod ids;
mod keywords;
pub mod peers;
mod stats;
mod train;

use std::path::Path;

use anyhow::Context;
use clap::Subcommand;
use kiln_tokenizer::Tokenizer;

use crate::location;
use crate::output::Console;

/// Of the group's help.
pub const EXAMPLES: &str = "\
Examples:
  kiln tokenizer train --data documents --out tokenizer --vocab-size 8192
  echo 'int main() {}' | kiln tokenizer encode --tokenizer tokenizer
  kiln tokenizer stats --tokenizer tokenizer --data documents
  kiln tokenizer eval --tokenizer tokenizer ~/src/leveldb         beside cl100k and o200k";

/// What to do with a tokenizer.
#[derive(Debug, Subcommand)]
pub enum Command {
    Train(train::TrainArgs),
    Encode(encode::EncodeArgs),
    Decode(decode::DecodeArgs),
    Export(export::ExportArgs),
    Stats(stats::StatsArgs),
    Eval(eval::EvalArgs),
}

/// Runs one of the commands.
pub fn run(command: Command, console: &Console) -> anyhow::Result<()> {
    match command {
        Command::Train(args) => location::run(args, console, |args| train::run(&args, console)),
        Command::Encode(args) => location::run(args, console, |args| encode::run(&args, console)),
        Command::Decode(args) => location::run(args, console, |args| decode::run(&args, console)),
        Command::Export(args) => location::run(args, console, |args| export::run(&args, console)),
        Command::Stats(args) => location::run(args, console, |args| stats::run(&args, console)),
        Command::Eval(args) => location::run(args, console, |args| eval::run(&args, console)),
    }
}

fn load(folder: &Path) -> anyhow::Result<Tokenizer> {
    Tokenizer::load(folder).context("cannot load the tokenizer")
}
