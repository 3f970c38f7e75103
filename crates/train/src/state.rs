//! What a checkpoint holds beside tensors: where the run stands.

use kiln_data::LoaderState;
use serde::{Deserialize, Serialize};

use crate::horizon::Steps;
use crate::trainer::Outcome;

/// Where a run stands after some steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// Steps made; the number of the next one.
    pub step: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// Seconds of training so far, over all sittings.
    pub seconds: f64,
    /// Number of steps of the run.
    pub steps: Steps,
    /// Position in the data.
    pub loader: LoaderState,
    /// The latest evaluation, (steps made before it, bits per byte).
    pub evaluation: Option<(u64, f64)>,
}

impl RunState {
    /// Whether the last step was made.
    pub fn is_finished(&self) -> bool {
        self.steps.latest().is_some_and(|total| self.step >= total)
    }

    /// The run so far, told as the end of a sitting without steps.
    pub fn outcome(&self) -> Outcome {
        Outcome {
            step: self.step,
            finished: self.is_finished(),
            seconds: self.seconds,
            bits_per_byte: self.evaluation.map(|(_, bpb)| bpb),
            loss: None,
        }
    }
}
