//! Checkpoints: all that a run needs to go on as if it had never stopped.
//!
//! ```text
//! RUN/step-000100/            after 100 steps; the next is step 100, as steps count from 0
//!         model.safetensors
//!         optimizer.safetensors
//!         config.json         what was asked for, in full
//!         state.json          step, loader, schedules
//!         tokenizer/          the tokenizer's files
//!         MANIFEST            BLAKE3, size and name of every file
//! RUN/latest                  the name of the checkpoint to resume from
//! RUN/metrics.jsonl           one line per step and per evaluation
//! ```
//!
//! A checkpoint is there as a whole or not at all. [`CheckpointWriter`] writes to a hidden folder
//! beside it, makes it last, and renames it; [`load`] reads nothing that `MANIFEST` does not vouch
//! for, and passes a damaged checkpoint over for the one before it. Which files a checkpoint holds
//! and what is in them is the caller's.

mod error;
mod leftovers;
mod load;
mod manifest;
mod run;
mod writer;

pub use error::{CheckpointError, Damaged};
pub use leftovers::clean_leftovers;
pub use load::{Checkpoint, Loaded, load, load_latest_valid, verify};
pub use run::{Which, find, keep_last, latest, list, set_latest};
pub use writer::CheckpointWriter;

/// The model's parameters.
pub const MODEL_FILE: &str = "model.safetensors";
/// The optimizer's state.
pub const OPTIMIZER_FILE: &str = "optimizer.safetensors";
/// The resolved configuration.
pub const CONFIG_FILE: &str = "config.json";
/// Step, data loader, schedules.
pub const STATE_FILE: &str = "state.json";
/// The folder of the tokenizer's files.
pub const TOKENIZER_FOLDER: &str = "tokenizer";
/// The list of a checkpoint's files.
pub const MANIFEST_FILE: &str = "MANIFEST";
/// In the run folder: the name of the newest complete checkpoint.
pub const LATEST_FILE: &str = "latest";

/// The name of the checkpoint after so many steps: `step-000100`.
pub fn step_name(step: u64) -> String {
    format!("step-{step:06}")
}

/// The step of a checkpoint's name, padded or not: `step-100` is 100.
pub fn parse_step_name(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("step-")?;
    // `parse` alone would take a sign.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_names() {
        assert_eq!(step_name(100), "step-000100");
        assert_eq!(step_name(12_345_678), "step-12345678");
        for step in [0, 7, 999_999, 1_000_000, u64::MAX] {
            assert_eq!(parse_step_name(&step_name(step)), Some(step));
        }
        assert_eq!(parse_step_name("step-100"), Some(100));
        for name in
            ["step-", "step-+1", "step--1", "step-1a", "Step-1", "step-18446744073709551616"]
        {
            assert_eq!(parse_step_name(name), None, "{name}");
        }
    }
}
