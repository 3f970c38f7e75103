//! What a checkpoint holds beside tensors: where the run stands.

use kiln_data::LoaderState;
use serde::{Deserialize, Serialize};

use crate::horizon::Steps;

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
