//! How a failure is told: one line with its causes, then advice where there is some.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use kiln_corpus::CorpusError;
use kiln_store::with_urls;

use crate::hint;
use crate::interrupt::{self, Interrupted};

/// Exit code of wrong usage, as of the parser of arguments.
const USAGE: u8 = 2;

/// A failure of this crate that comes with advice.
#[derive(Debug)]
pub struct Advised {
    message: String,
    hint: String,
}

impl Advised {
    /// `message` says what is wrong, `hint` what to do about it.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }

    /// The same, where what is wrong is how the command was called.
    pub fn usage(self) -> anyhow::Error {
        wrong_usage(self.into())
    }
}

/// Marks a failure as one of how the command was called: it ends with 2.
pub fn wrong_usage(error: anyhow::Error) -> anyhow::Error {
    anyhow::Error::new(WrongUsage(error))
}

/// Stands for the failure that it holds, which it shows as its own.
#[derive(Debug)]
struct WrongUsage(anyhow::Error);

impl fmt::Display for WrongUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for WrongUsage {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.0.as_ref())
    }
}

impl fmt::Display for Advised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Advised {}

/// Prints the failure to stderr and gives the exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    // The reader of a pipe has seen enough: `kiln ... | head`.
    if is_broken_pipe(error) {
        return ExitCode::SUCCESS;
    }
    let mut stderr = io::stderr().lock();
    // Nothing can be done, or told, when stderr cannot be written.
    if is_interrupt(error) {
        let _ = writeln!(stderr, "interrupted");
        return ExitCode::from(interrupt::EXIT_CODE);
    }
    let _ = writeln!(stderr, "error: {}", with_urls(&message(error)));
    if let Some(hint) = hint(error) {
        let _ = writeln!(stderr, "hint: {}", with_urls(&hint));
    }
    if error.chain().any(|cause| cause.is::<WrongUsage>()) {
        ExitCode::from(USAGE)
    } else {
        ExitCode::FAILURE
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kinds = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    kinds.map(io::Error::kind).any(|kind| kind == io::ErrorKind::BrokenPipe)
}

fn is_interrupt(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.is::<Interrupted>()
            || matches!(cause.downcast_ref::<CorpusError>(), Some(CorpusError::Cancelled))
    })
}

/// The chain of causes in one line. Some errors name their cause themselves; it is not said twice.
fn message(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if !parts.last().is_some_and(|last| last.contains(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ").replace('\n', " ")
}

fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(advised) = cause.downcast_ref::<Advised>() {
            return Some(advised.hint.clone());
        }
        hint::of(cause)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;
    use kiln_tokenizer::Error as TokenizerError;

    fn not_found() -> io::Error {
        io::Error::new(io::ErrorKind::NotFound, "gone")
    }

    #[test]
    fn causes_stand_in_one_line_and_none_twice() {
        let error = anyhow::Error::from(not_found()).context("cannot read a.txt\nor b.txt");
        assert_eq!(message(&error), "cannot read a.txt or b.txt: gone");
        let inner = TokenizerError::Io { path: "d/tokenizer.json".into(), source: not_found() };
        let error = anyhow::Error::from(inner).context("cannot load");
        assert_eq!(message(&error), "cannot load: d/tokenizer.json: gone");
    }

    #[test]
    fn advice_is_found_below_contexts() {
        let advised: anyhow::Result<()> = Err(Advised::new("bad", "do this").into());
        let error = advised.context("outer").unwrap_err();
        assert_eq!(hint(&error).as_deref(), Some("do this"));
        let inner = TokenizerError::Io { path: "d/tokenizer.json".into(), source: not_found() };
        assert!(hint(&inner.into()).unwrap().contains("kiln tokenizer train"));
        assert_eq!(hint(&anyhow::anyhow!("plain")), None);
    }

    #[test]
    fn pipes_and_interrupts_are_recognised_below_contexts() {
        let pipe = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&anyhow::Error::from(pipe).context("outer")));
        assert!(!is_broken_pipe(&not_found().into()));
        assert!(is_interrupt(&anyhow::Error::from(Interrupted).context("outer")));
        assert!(is_interrupt(&CorpusError::Cancelled.into()));
        assert!(!is_interrupt(&CorpusError::NoSources.into()));
    }
}
