//! Printing: results to stdout, everything about their making to stderr.
//!
//! `println!` and `eprintln!` panic when the reader has gone; nothing here does.

mod number;
mod table;

use std::fmt::Display;
use std::io::{self, BufWriter, StdoutLock, Write};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kiln_store::with_urls;
use serde::Serialize;

pub use number::{bytes, count};
pub use table::{Align, Table, printable};

/// Buffered standard output. Flush it: errors are lost when it is dropped.
pub type Stdout = BufWriter<StdoutLock<'static>>;

/// Locks standard output.
pub fn stdout() -> Stdout {
    BufWriter::with_capacity(1 << 16, io::stdout().lock())
}

/// Writes to standard output and flushes it.
pub fn print(write: impl FnOnce(&mut Stdout) -> io::Result<()>) -> anyhow::Result<()> {
    let mut stdout = stdout();
    write(&mut stdout).and_then(|()| stdout.flush()).context("cannot write to standard output")
}

/// Writes text to standard output in which locations are told as the user knows them.
pub fn print_text(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> anyhow::Result<()> {
    let mut text = Vec::new();
    write(&mut text).context("cannot write to standard output")?;
    print(|out| match str::from_utf8(&text) {
        Ok(text) => out.write_all(with_urls(text).as_bytes()),
        Err(_) => out.write_all(&text),
    })
}

/// Prints a value as indented JSON.
pub fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    let json = serde_json::to_string_pretty(value)?;
    print(|out| writeln!(out, "{}", with_urls(&json)))
}

/// What the user wants to hear about.
pub struct Console {
    quiet: bool,
}

impl Console {
    /// A quiet console prints results, warnings and errors only.
    pub fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    /// Whether only results are wanted.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Tells what goes on.
    pub fn note(&self, message: impl Display) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "{}", with_urls(&message.to_string()));
        }
    }

    /// Tells what may be wrong. Never silenced: a user should not lose data unknowingly.
    pub fn warn(&self, message: impl Display) {
        let _ = writeln!(io::stderr(), "warning: {}", with_urls(&message.to_string()));
    }

    /// Prints the result of a command that was run for something else, such as the files that it wrote: as JSON
    /// when asked for, else as text unless quiet.
    pub fn summary(
        &self,
        json: bool,
        value: &impl Serialize,
        text: impl FnOnce(&mut Vec<u8>) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        match (json, self.quiet) {
            (true, _) => print_json(value),
            (false, true) => Ok(()),
            (false, false) => print_text(text),
        }
    }

    /// A progress bar over `total` bytes. It is seen on terminals only, and not when quiet.
    pub fn progress_bytes(&self, what: &'static str, total: u64) -> Progress {
        self.progress(
            what,
            total,
            "{decimal_bytes}/{decimal_total_bytes} ({decimal_bytes_per_sec})",
        )
    }

    /// A progress bar over `total` pieces of work.
    pub fn progress_count(&self, what: &'static str, total: u64) -> Progress {
        self.progress(what, total, "{pos}/{len}")
    }

    fn progress(&self, what: &'static str, total: u64, figures: &str) -> Progress {
        let target =
            if self.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let template = format!("{{msg}} [{{wide_bar}}] {figures} {{eta}} left");
        let style = ProgressStyle::with_template(&template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        let bar = ProgressBar::with_draw_target(Some(total), target).with_style(style);
        Progress(bar.with_message(what))
    }
}

/// A progress bar that vanishes when it is dropped, so that no command leaves half a line behind.
pub struct Progress(ProgressBar);

impl Progress {
    /// Shows how far the work is, in the units of its total.
    pub fn set(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
