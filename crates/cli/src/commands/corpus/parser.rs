//! Which parser reads a project, and how.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use kiln_index::{ParseOptions, ParserChoice};

/// Of commands that parse.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Parsing")]
pub struct ParserArgs {
    /// Who reads the sources
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    parser: Choice,
    /// The libclang to load [default: one that is installed]
    #[arg(long, value_name = "PATH")]
    libclang: Option<PathBuf>,
    /// The compile database [default: compile_commands.json in the project or its build folder]
    #[arg(long, value_name = "PATH")]
    pub compile_commands: Option<PathBuf>,
    /// Also write the flags of every unit to FILE, as a compile database
    #[arg(long, value_name = "FILE")]
    write_compile_commands: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Choice {
    /// libclang where it is installed, else tree-sitter
    Auto,
    /// The built-in parser: fast, needs nothing, guesses who is called
    TreeSitter,
    /// libclang: exact, needs the headers that the sources include
    Clang,
}

impl ParserArgs {
    /// What the indexer is told.
    pub fn into_options(self) -> ParseOptions {
        ParseOptions {
            parser: match self.parser {
                Choice::Auto => ParserChoice::Auto,
                Choice::TreeSitter => ParserChoice::TreeSitter,
                Choice::Clang => ParserChoice::Clang,
            },
            libclang: self.libclang,
            compile_commands: self.compile_commands,
            write_compile_commands: self.write_compile_commands,
            ..ParseOptions::default()
        }
    }
}
