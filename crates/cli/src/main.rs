//! The `kiln` binary: argument parsing and printing, nothing else.
//!
//! Exit codes: 0 success, 1 failure, 2 wrong usage, 130 interrupted.

mod args;
mod checkpoint;
mod commands;
mod documents;
mod error;
mod hint;
mod init_from;
mod interrupt;
mod location;
mod machine;
mod output;
mod progress;
mod remote_run;
mod remote_shards;
mod run_options;
mod training_data;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Globals};
use crate::output::Console;

fn main() -> ExitCode {
    // Wrong usage ends here, with 2.
    let cli = Cli::parse();
    match start(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error::report(&error),
    }
}

fn start(cli: Cli) -> anyhow::Result<()> {
    interrupt::install()?;
    limit_threads(&cli.globals)?;
    commands::run(cli.command, &cli.globals, &Console::new(cli.globals.quiet))
}

/// Without `--threads` rayon starts one thread for each core when it first needs them.
fn limit_threads(globals: &Globals) -> anyhow::Result<()> {
    let Some(threads) = globals.threads else { return Ok(()) };
    machine::check_threads(usize::from(threads))?;
    rayon::ThreadPoolBuilder::new()
        .num_threads(usize::from(threads))
        .build_global()
        .map_err(|error| machine::too_many_threads(usize::from(threads), &error))
}
