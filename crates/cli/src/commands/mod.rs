//! The commands: arguments and printing of each in a file of its own.

mod corpus;
mod tokenizer;

use clap::Subcommand;

use crate::output::Console;

/// The first word after `kiln`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Turn C and C++ source trees into documents
    #[command(subcommand)]
    Corpus(corpus::Command),
    /// Train tokenizers, encode and decode with them
    #[command(subcommand)]
    Tokenizer(tokenizer::Command),
}

/// Runs a command to its end.
pub fn run(command: Command, console: &Console) -> anyhow::Result<()> {
    match command {
        Command::Corpus(command) => corpus::run(command, console),
        Command::Tokenizer(command) => tokenizer::run(command, console),
    }
}
