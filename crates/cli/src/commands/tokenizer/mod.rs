//! `kiln tokenizer`: training, use, exchange and measures of tokenizers.

mod decode;
mod encode;
mod export;
mod ids;
mod stats;
mod train;

use std::path::Path;

use anyhow::Context;
use clap::Subcommand;
use kiln_tokenizer::Tokenizer;

use crate::output::Console;

/// What to do with a tokenizer.
#[derive(Debug, Subcommand)]
pub enum Command {
    Train(train::TrainArgs),
    Encode(encode::EncodeArgs),
    Decode(decode::DecodeArgs),
    Export(export::ExportArgs),
    Stats(stats::StatsArgs),
}

/// Runs one of the commands.
pub fn run(command: Command, console: &Console) -> anyhow::Result<()> {
    match command {
        Command::Train(args) => train::run(&args, console),
        Command::Encode(args) => encode::run(&args, console),
        Command::Decode(args) => decode::run(&args, console),
        Command::Export(args) => export::run(&args, console),
        Command::Stats(args) => stats::run(&args, console),
    }
}

fn load(folder: &Path) -> anyhow::Result<Tokenizer> {
    Tokenizer::load(folder).context("cannot load the tokenizer")
}
