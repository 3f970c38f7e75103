//! `kiln corpus`: source trees to documents. One file for each command.

mod files;
mod graph;
mod index;
mod pairs;
mod parser;
mod shard;
mod source_args;
mod stats;

use clap::Subcommand;

use crate::location;
use crate::output::Console;

/// Of the group's help.
pub const EXAMPLES: &str = "\
Examples:
  kiln corpus files ~/src/leveldb --out documents
  kiln corpus files ~/src --projects-dir --out documents --validation-share 0.05
  kiln corpus index ~/src/leveldb --out documents --tokenizer tokenizer
  kiln corpus graph ~/src/leveldb --function DBImpl::Get";

/// What to make of source trees.
#[derive(Debug, Subcommand)]
pub enum Command {
    Files(files::FilesArgs),
    Index(Box<index::IndexArgs>),
    Graph(Box<graph::GraphArgs>),
    Pairs(Box<pairs::PairsArgs>),
    Shard(Box<shard::ShardArgs>),
    Stats(stats::StatsArgs),
}

/// Runs one of the commands.
pub fn run(command: Command, console: &Console) -> anyhow::Result<()> {
    match command {
        Command::Files(args) => location::run(args, console, |args| files::run(args, console)),
        Command::Index(args) => location::run(*args, console, |args| index::run(args, console)),
        Command::Graph(args) => location::run(*args, console, |args| graph::run(args, console)),
        Command::Pairs(args) => location::run(*args, console, |args| pairs::run(args, console)),
        Command::Shard(args) => location::run(*args, console, |args| shard::run(args, console)),
        Command::Stats(args) => location::run(args, console, |args| stats::run(&args, console)),
    }
}
