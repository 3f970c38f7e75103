//! Ctrl-C: long commands that ask for it stop at a place of their choice, all others at once.

use std::fmt;
use std::io::{self, Write};
use std::process;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::Context;

/// Exit code after Ctrl-C, 128 + SIGINT as shells count.
pub const EXIT_CODE: u8 = 130;

static REQUESTED: AtomicBool = AtomicBool::new(false);
static CLAIMS: AtomicUsize = AtomicUsize::new(0);

/// From here on Ctrl-C ends the process with 130, but for code that holds a [`Graceful`].
pub fn install() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        let earlier = REQUESTED.swap(true, Ordering::SeqCst);
        if exits_at_once(CLAIMS.load(Ordering::SeqCst), earlier) {
            for folder in kiln_store::clean_up() {
                let _ = writeln!(io::stderr(), "not published, and kept: {}", folder.display());
            }
            process::exit(i32::from(EXIT_CODE));
        }
    })
    .context("cannot handle Ctrl-C")
}

/// Nobody would notice the request, or whoever should has not reacted to an earlier one.
fn exits_at_once(claims: usize, requested_earlier: bool) -> bool {
    claims == 0 || requested_earlier
}

/// While it lives, the first Ctrl-C only sets a flag that its holder polls. A second one still ends the process.
pub struct Graceful(());

/// Takes over the handling of Ctrl-C.
pub fn claim() -> Graceful {
    CLAIMS.fetch_add(1, Ordering::SeqCst);
    Graceful(())
}

impl Graceful {
    /// Whether to stop.
    pub fn requested(&self) -> bool {
        REQUESTED.load(Ordering::SeqCst)
    }

    /// The flag that is set when it was asked to stop.
    pub fn flag(&self) -> &'static AtomicBool {
        &REQUESTED
    }

    /// [`Interrupted`] once it was asked to stop.
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.requested() { Err(Interrupted) } else { Ok(()) }
    }
}

impl Drop for Graceful {
    fn drop(&mut self) {
        CLAIMS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A command stopped because of Ctrl-C; the process ends with 130.
#[derive(Debug)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_request_can_be_claimed() {
        assert!(exits_at_once(0, false));
        assert!(!exits_at_once(1, false));
        assert!(exits_at_once(1, true));
    }

    #[test]
    fn a_claim_ends_with_its_holder() {
        let claimed = claim();
        assert_eq!(CLAIMS.load(Ordering::SeqCst), 1);
        assert!(!claimed.requested() && claimed.check().is_ok());
        drop(claimed);
        assert_eq!(CLAIMS.load(Ordering::SeqCst), 0);
    }
}
