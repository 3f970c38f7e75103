//! How long to train, and how a step's tokens divide into micro-batches.

use serde::{Deserialize, Serialize};

use crate::OptimError;

/// Tokens per parameter when nothing is asked for.
const DEFAULT_DATA_RATIO: f64 = 8.0;

/// How long to train: the first that is set counts, and 8 tokens per parameter when none is.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Horizon {
    /// Number of steps.
    pub num_iterations: Option<usize>,
    /// Floating-point operations to spend.
    pub target_flops: Option<f64>,
    /// Training tokens per parameter.
    pub target_param_data_ratio: Option<f64>,
}

impl Horizon {
    /// Number of steps, at least 1, of `total_batch_size` tokens each.
    ///
    /// `scaling_parameters` are those that the ratio counts: the weights inside blocks and the output layer, without
    /// look-up tables and scalars. A token trains one row of a table, so a larger table does not call for more tokens.
    ///
    /// # Errors
    /// When a target is not a positive number, the number of steps is 0, or it is beyond counting.
    pub fn num_iterations(
        &self,
        total_batch_size: usize,
        flops_per_token: u64,
        scaling_parameters: u64,
    ) -> Result<usize, OptimError> {
        if let Some(steps) = self.num_iterations {
            ensure(steps > 0, "num_iterations", || "must be at least 1".into())?;
            return Ok(steps);
        }
        let batch = total_batch_size as f64;
        if let Some(flops) = self.target_flops {
            let steps = (flops / (flops_per_token as f64 * batch)).round_ties_even();
            return steps_of("target_flops", flops, steps);
        }
        let ratio = self.target_param_data_ratio.unwrap_or(DEFAULT_DATA_RATIO);
        let steps = (ratio * scaling_parameters as f64 / batch).floor();
        steps_of("target_param_data_ratio", ratio, steps)
    }
}

fn steps_of(setting: &'static str, target: f64, steps: f64) -> Result<usize, OptimError> {
    ensure(target.is_finite() && target > 0.0, setting, || {
        format!("{target} is not a positive number")
    })?;
    ensure(steps <= f64::from(u32::MAX), setting, || format!("{target} takes {steps:e} steps"))?;
    Ok((steps as usize).max(1))
}

/// How many micro-batches of `device_batch_size` rows of `seq_len` tokens each of `ranks` adds up for a step.
///
/// # Errors
/// When a size is 0, or the step's tokens are no multiple of a micro-batch over all ranks.
pub fn accumulation_steps(
    total_batch_size: usize,
    device_batch_size: usize,
    seq_len: usize,
    ranks: usize,
) -> Result<usize, OptimError> {
    let sizes = [
        ("total_batch_size", total_batch_size),
        ("device_batch_size", device_batch_size),
        ("seq_len", seq_len),
        ("ranks", ranks),
    ];
    for (setting, size) in sizes {
        ensure(size > 0, setting, || "must be at least 1".into())?;
    }
    let micro = device_batch_size.saturating_mul(seq_len).saturating_mul(ranks);
    if !total_batch_size.is_multiple_of(micro) {
        let total = total_batch_size;
        return Err(OptimError::Batch { total, micro, device_batch_size, seq_len, ranks });
    }
    Ok(total_batch_size / micro)
}

fn ensure(
    holds: bool,
    setting: &'static str,
    reason: impl FnOnce() -> String,
) -> Result<(), OptimError> {
    if holds { Ok(()) } else { Err(OptimError::Setting { setting, reason: reason() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: usize = 16_384;

    fn steps(horizon: Horizon) -> Result<usize, OptimError> {
        horizon.num_iterations(BATCH, 1_000_000, 23_199_744)
    }

    #[test]
    fn the_first_that_is_set_counts() {
        let ratio = Horizon { target_param_data_ratio: Some(16.0), ..Horizon::default() };
        let flops = Horizon { target_flops: Some(1e13), ..ratio };
        let number = Horizon { num_iterations: Some(7), ..flops };
        // 8·23,199,744/16,384 = 11,328
        assert_eq!(steps(Horizon::default()).unwrap(), 11_328);
        assert_eq!(steps(ratio).unwrap(), 22_656);
        // 1e13 / (1e6·16,384) = 610.35
        assert_eq!(steps(flops).unwrap(), 610);
        assert_eq!(steps(number).unwrap(), 7);
    }

    #[test]
    fn a_run_has_at_least_one_step() {
        let tiny = Horizon { target_flops: Some(1.0), ..Horizon::default() };
        assert_eq!(steps(tiny).unwrap(), 1);
    }

    #[test]
    fn impossible_targets_are_errors() {
        let bad = [
            Horizon { num_iterations: Some(0), ..Horizon::default() },
            Horizon { target_flops: Some(-1.0), ..Horizon::default() },
            Horizon { target_flops: Some(f64::NAN), ..Horizon::default() },
            Horizon { target_param_data_ratio: Some(0.0), ..Horizon::default() },
            Horizon { target_param_data_ratio: Some(1e300), ..Horizon::default() },
        ];
        for horizon in bad {
            assert!(matches!(steps(horizon), Err(OptimError::Setting { .. })), "{horizon:?}");
        }
    }

    #[test]
    fn a_batch_is_a_multiple_of_the_micro_batch() {
        assert_eq!(accumulation_steps(BATCH, 8, 512, 1).unwrap(), 4);
        assert_eq!(accumulation_steps(BATCH, 8, 512, 4).unwrap(), 1);
        let error = accumulation_steps(10_000, 8, 512, 1).unwrap_err().to_string();
        assert_eq!(
            error,
            "the total batch of 10000 tokens is not a multiple of 4096 tokens \
             (8 rows x 512 tokens); 8192 would be"
        );
        let error = accumulation_steps(10_000, 8, 512, 2).unwrap_err().to_string();
        assert!(error.contains("8192 tokens (8 rows x 512 tokens x 2 ranks);"), "{error}");
        let error = accumulation_steps(1000, 8, 512, 1).unwrap_err().to_string();
        assert!(error.ends_with("; 4096 would be"), "{error}");
        assert!(accumulation_steps(0, 8, 512, 1).is_err());
        assert!(accumulation_steps(BATCH, 0, 512, 1).is_err());
        assert!(accumulation_steps(BATCH, usize::MAX, 512, 1).is_err());
    }
}
