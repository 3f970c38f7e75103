//! `kiln bench`: how fast this machine is at what Kiln does.

mod decode;
mod host;
mod kernels;
mod peak;
mod tokenizer;
mod train;

use clap::Subcommand;

use crate::args::Globals;
use crate::location;
use crate::output::Console;
use crate::run_options::RunOptions;

/// Of the group's help.
pub const EXAMPLES: &str = "\
Examples:
  kiln bench peak                                 what the machine can do
  kiln bench train --preset classic               what training makes of it
  kiln bench decode --batch 1,8 --json            what generation makes of it
  kiln bench tokenizer --data documents           training and use of tokenizers";

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Command {
    Peak(peak::PeakArgs),
    Train(Box<train::TrainArgs>),
    Decode(Box<decode::DecodeArgs>),
    Tokenizer(tokenizer::TokenizerArgs),
}

/// Runs one of the benchmarks.
pub fn run(command: Command, globals: &Globals, console: &Console) -> anyhow::Result<()> {
    match command {
        Command::Peak(args) => peak::run(&args, globals, console),
        Command::Train(args) => {
            location::run(*args, console, |args| train::run(args, globals, console))
        }
        Command::Decode(args) => decode::run(*args, globals, console),
        Command::Tokenizer(args) => {
            location::run(args, console, |args| tokenizer::run(&args, console))
        }
    }
}

/// The value in the middle, of an even number the mean of the two; NaN of none.
fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match (values.len(), values.len() / 2) {
        (0, _) => f64::NAN,
        (n, middle) if n % 2 == 1 => values[middle],
        (_, middle) => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// An option whose default is the benchmark's own: `--help` must not tell that of training. `defaults` go by the field.
fn with_default(arg: clap::Arg, defaults: &[(&str, usize)]) -> clap::Arg {
    let Some((_, default)) = defaults.iter().find(|(id, _)| arg.get_id() == id) else {
        return arg;
    };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let what = help.split(" [default").next().unwrap_or_default();
    arg.help(format!("{what} [default: {default}]"))
}

/// The same defaults as options, to lie below those that the user gave.
fn reference(defaults: &[(&str, usize)]) -> RunOptions {
    let default = |id| defaults.iter().find(|(name, _)| *name == id).map(|(_, value)| *value);
    RunOptions {
        depth: default("depth"),
        head_dim: default("head_dim"),
        seq_len: default("seq_len"),
        ..RunOptions::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median([]).is_nan());
    }
}
