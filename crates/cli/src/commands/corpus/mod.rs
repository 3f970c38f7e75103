//! `kiln corpus`: source trees to documents. One file for each command.

mod files;

use clap::Subcommand;

use crate::location;
use crate::output::Console;

/// Of the group's help.
pub const EXAMPLES: &str = "\
Examples:
  kiln corpus files ~/src/leveldb --out documents
  kiln corpus files ~/src --projects-dir --out documents --validation-share 0.05";

/// What to make of source trees.
#[derive(Debug, Subcommand)]
pub enum Command {
    Files(files::FilesArgs),
}

/// Runs one of the commands.
pub fn run(command: Command, console: &Console) -> anyhow::Result<()> {
    match command {
        Command::Files(args) => location::run(args, console, |args| files::run(args, console)),
    }
}
