//! What all commands share on the command line.

use clap::{Args, Parser};

use crate::commands::Command;

/// Raw C++ source trees to a small language model that completes C++.
#[derive(Debug, Parser)]
#[command(
    name = "kiln",
    version,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "\
Examples:
  kiln corpus files ~/src/leveldb --out documents      one document for each source file
  kiln tokenizer train --data documents --out tokenizer --vocab-size 8192
  echo 'int main() {}' | kiln tokenizer encode --tokenizer tokenizer

`kiln COMMAND --help` explains a command. Exit codes: 0 success, 1 failure, 2 wrong usage,
130 interrupted."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub globals: Globals,
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Print results, warnings and errors only: no progress, no summaries
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Number of threads [default: all cores]
    #[arg(long, value_name = "N", global = true, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

/// Of commands that print a table.
#[derive(Debug, Clone, Copy, Args)]
pub struct TableFormat {
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// `500000`, `500k`, `64M` or `2G` (powers of 1000) to a number of bytes, at least 1.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let (digits, factor) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], 1_000),
        Some((at, 'm' | 'M')) => (&text[..at], 1_000_000),
        Some((at, 'g' | 'G')) => (&text[..at], 1_000_000_000),
        _ => (text, 1),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "expected a number of bytes such as 500000, 500k or 64M".to_owned())?;
    match number.checked_mul(factor) {
        Some(0) => Err("expected at least 1".to_owned()),
        Some(bytes) => Ok(bytes),
        None => Err("too large".to_owned()),
    }
}

/// A share in [0, 1).
pub fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..1.0).contains(&share) => Ok(share),
        _ => Err("expected a number of at least 0 and less than 1".to_owned()),
    }
}

/// A similarity in [0, 1].
pub fn parse_similarity(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(similarity) if (0.0..=1.0).contains(&similarity) => Ok(similarity),
        _ => Err("expected a number of 0 to 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn bytes_take_decimal_suffixes() {
        assert_eq!(parse_bytes("7"), Ok(7));
        assert_eq!(parse_bytes("500k"), Ok(500_000));
        assert_eq!(parse_bytes("64M"), Ok(64_000_000));
        assert_eq!(parse_bytes("2G"), Ok(2_000_000_000));
        for bad in ["", "k", "-1", "1.5M", "0", "0k", "99999999999999999G", "12é"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_share_is_below_one() {
        assert_eq!(parse_share("0"), Ok(0.0));
        assert_eq!(parse_share("0.05"), Ok(0.05));
        for bad in ["1", "-0.1", "NaN", "5%"] {
            assert!(parse_share(bad).is_err(), "{bad}");
        }
    }
}
