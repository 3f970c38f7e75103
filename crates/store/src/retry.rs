//! Trying again: briefly where a server has never answered, patiently where it has.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use object_store::Error;
use object_store::client::HttpErrorKind;
use object_store::retry::{RetryContext, RetryFailure, RetryPolicy};

use crate::connect::Connection;
use crate::failure::is_transient;

/// How long to go on trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// With a server that has never answered: an address may be wrong, a network missing.
    pub first: Duration,
    /// With a server that has answered before.
    pub later: Duration,
}

impl Default for Patience {
    /// A few seconds at first, two minutes later.
    fn default() -> Self {
        Self { first: Duration::from_secs(5), later: Duration::from_secs(120) }
    }
}

impl Patience {
    pub(crate) fn with(&self, connection: &Connection) -> Duration {
        if connection.was_reached() { self.later } else { self.first }
    }
}

/// Waits between attempts: half a second, then twice as long each time, up to ten.
pub(crate) struct Attempts {
    began: Instant,
    wait: Duration,
}

impl Attempts {
    const FIRST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(10);

    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), wait: Self::FIRST }
    }

    /// Waits; false, at once, when patience is at its end.
    pub(crate) async fn again(&mut self, patience: Duration) -> bool {
        if self.began.elapsed() + self.wait > patience {
            return false;
        }
        tokio::time::sleep(self.wait).await;
        self.wait = (2 * self.wait).min(Self::LONGEST);
        true
    }
}

/// Makes requests until one succeeds, fails for good, or patience ends.
pub(crate) async fn persist<T, F: Future<Output = Result<T, Error>>>(
    connection: &Connection,
    patience: &Patience,
    mut request: impl FnMut() -> F,
) -> Result<T, Error> {
    let mut attempts = Attempts::new();
    loop {
        match request().await {
            Err(error) if is_transient(&error) => {
                if !attempts.again(patience.with(connection)).await {
                    return Err(error);
                }
            }
            answer => {
                connection.set_reached();
                return answer;
            }
        }
    }
}

/// The same for the parts of one upload, which the client repeats itself.
#[derive(Debug)]
pub(crate) struct PartPolicy(pub Duration);

impl RetryPolicy for PartPolicy {
    fn retry<'a, 'b>(
        &'a self,
        context: RetryContext,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let may_pass = match context.failure {
                RetryFailure::Status(status) => {
                    status.is_server_error() || status.as_u16() == 429 || status.is_success()
                }
                RetryFailure::Transport(kind) => {
                    !matches!(kind, HttpErrorKind::Decode | HttpErrorKind::Unknown)
                }
                _ => false,
            };
            let doublings = context.attempt.min(5) as u32;
            let wait = (Attempts::FIRST * 2u32.pow(doublings)).min(Attempts::LONGEST);
            if !may_pass || context.elapsed + wait > self.0 {
                return false;
            }
            tokio::time::sleep(wait).await;
            true
        })
    }
}
