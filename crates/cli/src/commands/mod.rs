//! The commands: arguments and printing of each in a file of its own.

mod bench;
mod copy;
mod corpus;
mod eval;
mod generate;
mod plan;
mod quickstart;
mod tokenizer;
mod train;

use clap::Subcommand;

use crate::args::Globals;
use crate::location;
use crate::output::Console;

/// The first word after `kiln`.
#[derive(Debug, Subcommand)]
pub enum Command {
    Quickstart(quickstart::QuickstartArgs),
    /// Turn C and C++ source trees into documents
    #[command(subcommand, after_help = corpus::EXAMPLES)]
    Corpus(corpus::Command),
    /// Train tokenizers, encode and decode with them
    #[command(subcommand, after_help = tokenizer::EXAMPLES)]
    Tokenizer(tokenizer::Command),
    Train(Box<train::TrainArgs>),
    /// Measure how good a model is
    #[command(subcommand, after_help = eval::EXAMPLES)]
    Eval(eval::Command),
    Generate(generate::GenerateArgs),
    Plan(Box<plan::PlanArgs>),
    Copy(copy::CopyArgs),
    /// Measure how fast this machine is
    #[command(subcommand, after_help = bench::EXAMPLES)]
    Bench(Box<bench::Command>),
}

/// Runs a command to its end.
pub fn run(command: Command, globals: &Globals, console: &Console) -> anyhow::Result<()> {
    match command {
        Command::Corpus(command) => corpus::run(command, console),
        Command::Tokenizer(command) => tokenizer::run(command, console),
        Command::Quickstart(args) => quickstart::run(&args, globals, console),
        Command::Train(args) => train::run(*args, globals, console),
        Command::Eval(command) => eval::run(command, globals, console),
        Command::Generate(args) => {
            location::run(args, console, |args| generate::run(&args, globals, console))
        }
        Command::Plan(args) => plan::run(*args, globals, console),
        Command::Copy(args) => copy::run(&args, console),
        Command::Bench(command) => bench::run(*command, globals, console),
    }
}
