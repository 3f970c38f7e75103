//! What a run tells while it goes on.

use std::path::PathBuf;
use std::time::Duration;

/// One optimizer step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Number of the step, from 0.
    pub step: u64,
    /// Steps of the run, as far as known.
    pub total: Option<u64>,
    /// Mean loss of the step's micro-batches, in nats per token.
    pub loss: f32,
    /// That of the token after the next, of models that learn to predict it.
    pub mtp_loss: Option<f32>,
    /// Factor of the learning rates.
    pub lr_multiplier: f64,
    /// Tokens trained on so far.
    pub tokens: u64,
    /// Speed of this step.
    pub tokens_per_second: f64,
    /// Share of the machine's peak that the model's own operations reached.
    pub mfu: f64,
    /// Share of the step that was spent waiting for data.
    pub data_stall: f64,
    /// Time left, as far as known.
    pub eta: Option<Duration>,
}

/// An event of a run.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// Training begins.
    Started {
        /// First step to run.
        step: u64,
        /// Steps of the run, as far as known.
        total: Option<u64>,
    },
    /// A step was made.
    Step(&'a StepReport),
    /// The model was evaluated.
    Evaluated {
        /// Steps made before.
        step: u64,
        /// Bits per byte.
        bits_per_byte: f64,
        /// Tokens that were predicted.
        tokens: u64,
    },
    /// A checkpoint was written.
    Saved {
        /// Steps made before.
        step: u64,
        /// Its folder.
        path: PathBuf,
    },
    /// The model wrote something.
    Sampled {
        /// Steps made before.
        step: u64,
        /// Prompt and continuation.
        text: &'a str,
    },
    /// Something that a user should know although the run goes on.
    Warning(String),
}

/// Receives the events of a run.
pub trait Observer {
    /// Takes note of an event.
    fn event(&mut self, event: Event<'_>);
}

/// An observer that takes no note.
pub struct Silent;

impl Observer for Silent {
    fn event(&mut self, _: Event<'_>) {}
}
