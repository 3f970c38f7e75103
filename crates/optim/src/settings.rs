//! The choices of an optimizer.

use std::fmt;
use std::str::FromStr;

use kiln_graph::ops::Orthogonalization;
use serde::{Deserialize, Serialize};

use crate::OptimError;

/// Steps for which Polar Express has coefficients.
const POLAR_EXPRESS_STEPS: usize = 5;
/// Far more steps than any iteration needs.
const MAX_MUON_STEPS: usize = 100;

/// How Muon orthogonalises.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MuonMethod {
    /// Coefficients that change from step to step (Amsel et al. 2025).
    #[default]
    PolarExpress,
    /// The same coefficients at every step (Jordan 2024).
    NewtonSchulz,
}

impl fmt::Display for MuonMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MuonMethod::PolarExpress => "polar-express",
            MuonMethod::NewtonSchulz => "newton-schulz",
        })
    }
}

impl FromStr for MuonMethod {
    type Err = OptimError;

    fn from_str(name: &str) -> Result<Self, OptimError> {
        match name {
            "polar-express" => Ok(MuonMethod::PolarExpress),
            "newton-schulz" => Ok(MuonMethod::NewtonSchulz),
            _ => Err(OptimError::UnknownMethod { name: name.to_owned() }),
        }
    }
}

impl From<MuonMethod> for Orthogonalization {
    fn from(method: MuonMethod) -> Self {
        match method {
            MuonMethod::PolarExpress => Orthogonalization::PolarExpress,
            MuonMethod::NewtonSchulz => Orthogonalization::NewtonSchulz,
        }
    }
}

/// Learning rates, decay, methods and schedules, as of nanochat. Rates are those of a batch of 2^19 tokens, and where noted
/// of width 768.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Muon's rate, for matrices inside blocks.
    pub matrix_lr: f64,
    /// Rate of the token embeddings, at width 768.
    pub embedding_lr: f64,
    /// Rate of the output layer, at width 768.
    pub unembedding_lr: f64,
    /// Rate of the tables of values per token id, at width 768.
    pub value_embedding_lr: f64,
    /// Rate of the residual stream's factors.
    pub resid_lambda_lr: f64,
    /// Rate of the first state's factors.
    pub x0_lambda_lr: f64,
    /// Rate of the other scalars, and of gates outside of blocks.
    pub scalar_lr: f64,
    /// Muon's weight decay at depth 12 and the beginning of a run.
    pub weight_decay: f64,
    /// How Muon orthogonalises.
    pub muon: MuonMethod,
    /// Iterations of that; Polar Express has 5 at most.
    pub muon_steps: usize,
    /// Orthogonalise each head's part of the attention weights on its own.
    pub muon_per_head: bool,
    /// Decay of Muon's second moment.
    pub muon_beta2: f64,
    /// Decay of AdamW's first moment.
    pub adam_beta1: f64,
    /// Decay of AdamW's second moment.
    pub adam_beta2: f64,
    /// Added to the root of AdamW's second moment.
    pub adam_eps: f64,
    /// AdamW's weight decay.
    pub adam_weight_decay: f64,
    /// Part of the run in which rates rise.
    pub warmup_ratio: f64,
    /// Part of the run in which rates fall.
    pub warmdown_ratio: f64,
    /// What the rates fall to, as a part of their full value.
    pub final_lr_frac: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            matrix_lr: 0.02,
            embedding_lr: 0.3,
            unembedding_lr: 0.004,
            value_embedding_lr: 0.15,
            resid_lambda_lr: 0.005,
            x0_lambda_lr: 0.5,
            scalar_lr: 0.2,
            weight_decay: 0.2,
            muon: MuonMethod::PolarExpress,
            muon_steps: POLAR_EXPRESS_STEPS,
            muon_per_head: false,
            muon_beta2: 0.95,
            adam_beta1: 0.8,
            adam_beta2: 0.95,
            adam_eps: 1e-10,
            adam_weight_decay: 0.0,
            warmup_ratio: 0.0,
            warmdown_ratio: 0.4,
            final_lr_frac: 0.0,
        }
    }
}

impl Settings {
    /// Checks every value's range.
    ///
    /// # Errors
    /// The first setting that is out of range, by name.
    pub fn validate(&self) -> Result<(), OptimError> {
        let rates = [
            ("matrix_lr", self.matrix_lr),
            ("embedding_lr", self.embedding_lr),
            ("unembedding_lr", self.unembedding_lr),
            ("value_embedding_lr", self.value_embedding_lr),
            ("resid_lambda_lr", self.resid_lambda_lr),
            ("x0_lambda_lr", self.x0_lambda_lr),
            ("scalar_lr", self.scalar_lr),
            ("weight_decay", self.weight_decay),
            ("adam_eps", self.adam_eps),
            ("adam_weight_decay", self.adam_weight_decay),
        ];
        for (setting, value) in rates {
            ensure(value.is_finite() && value >= 0.0, setting, || {
                format!("{value} is not a number of at least 0")
            })?;
        }
        let betas = [
            ("muon_beta2", self.muon_beta2),
            ("adam_beta1", self.adam_beta1),
            ("adam_beta2", self.adam_beta2),
        ];
        for (setting, value) in betas {
            ensure((0.0..1.0).contains(&value), setting, || {
                format!("{value} is not at least 0 and less than 1")
            })?;
        }
        let parts = [
            ("warmup_ratio", self.warmup_ratio),
            ("warmdown_ratio", self.warmdown_ratio),
            ("final_lr_frac", self.final_lr_frac),
        ];
        for (setting, value) in parts {
            ensure((0.0..=1.0).contains(&value), setting, || {
                format!("{value} is not within 0 to 1")
            })?;
        }
        self.validate_steps()
    }

    fn validate_steps(&self) -> Result<(), OptimError> {
        let most = match self.muon {
            MuonMethod::PolarExpress => POLAR_EXPRESS_STEPS,
            MuonMethod::NewtonSchulz => MAX_MUON_STEPS,
        };
        ensure((1..=most).contains(&self.muon_steps), "muon_steps", || {
            format!("{} is not within 1 to {most}, the steps of {}", self.muon_steps, self.muon)
        })
    }
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

    fn refused(change: impl Fn(&mut Settings)) -> String {
        let mut settings = Settings::default();
        change(&mut settings);
        settings.validate().expect_err("must be refused").to_string()
    }

    #[test]
    fn values_out_of_range_are_named() {
        assert!(Settings::default().validate().is_ok());
        assert!(refused(|s| s.matrix_lr = -1.0).starts_with("matrix_lr: -1"));
        assert!(refused(|s| s.scalar_lr = f64::NAN).starts_with("scalar_lr"));
        assert!(refused(|s| s.adam_beta2 = 1.0).starts_with("adam_beta2: 1 "));
        assert!(refused(|s| s.warmdown_ratio = 1.5).starts_with("warmdown_ratio"));
        assert!(refused(|s| s.muon_steps = 0).starts_with("muon_steps"));
        assert_eq!(
            refused(|s| s.muon_steps = 6),
            "muon_steps: 6 is not within 1 to 5, the steps of polar-express"
        );
        let settings =
            Settings { muon: MuonMethod::NewtonSchulz, muon_steps: 6, ..Settings::default() };
        assert!(settings.validate().is_ok());
    }

    #[test]
    fn methods_have_the_names_of_the_command_line() {
        for method in [MuonMethod::PolarExpress, MuonMethod::NewtonSchulz] {
            assert_eq!(method.to_string().parse::<MuonMethod>().unwrap(), method);
        }
        let error = "newton".parse::<MuonMethod>().unwrap_err().to_string();
        assert!(error.contains("\"newton\"") && error.contains("newton-schulz"));
    }
}
