//! Everything that defines a run. It is saved with every checkpoint.

use std::path::PathBuf;

use kiln_data::FimOptions;
use kiln_model::{Compute, ModelConfig};
use serde::{Deserialize, Serialize};

use crate::data_set::{DataSet, one_or_more};

/// A run, resolved: no option is left to be derived.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunConfig {
    /// The model.
    pub model: ModelConfig,
    /// Optimizers and schedules.
    #[serde(default)]
    pub optim: kiln_optim::Settings,
    /// Data, batches, horizon, what to do when.
    pub train: TrainSettings,
}

/// Settings of the training loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainSettings {
    /// Documents: files, or folders of them.
    #[serde(deserialize_with = "one_or_more")]
    pub data: Vec<DataSet>,
    /// Field of a JSONL object, or column of a Parquet file, that holds the text.
    pub field: String,
    /// Share of the documents held out where the data are one file.
    pub validation_share: f64,
    /// A line that is no document, or a file that cannot be read, ends the run.
    pub strict: bool,
    /// Files are still being added to the folders of documents.
    pub stream: bool,
    /// Seconds without a change in such a folder after which the run ends.
    pub stream_patience: u64,
    /// Pairs of docstrings and functions.
    pub pairs: Option<PathBuf>,
    /// Their share of the tokens.
    pub pairs_share: f64,
    /// How often documents are rearranged for fill-in-the-middle.
    pub fim: FimOptions,
    /// Folder of the tokenizer.
    pub tokenizer: PathBuf,
    /// The checkpoint whose parameters the run began with.
    pub init_from: Option<PathBuf>,
    /// Element type of products. Runs from before there was a choice are f32.
    pub dtype: Compute,
    /// Tokens per row, T.
    pub seq_len: usize,
    /// Rows per micro-batch, B.
    pub device_batch_size: usize,
    /// Tokens per optimizer step.
    pub total_batch_size: usize,
    /// When the run ends.
    pub horizon: Horizon,
    /// Steps between evaluations; 0: only at the end.
    pub eval_every: u64,
    /// Most tokens of an evaluation.
    pub eval_tokens: u64,
    /// Steps between checkpoints; 0: only at the end.
    pub save_every: u64,
    /// Checkpoints that are kept; 0: all.
    pub keep: usize,
    /// Steps between samples; 0: none.
    pub sample_every: u64,
    /// Seed of the initial values and of the order of documents.
    pub seed: u64,
}

impl Default for TrainSettings {
    fn default() -> Self {
        TrainSettings {
            data: Vec::new(),
            field: "text".into(),
            validation_share: 0.05,
            strict: false,
            stream: false,
            stream_patience: 600,
            pairs: None,
            pairs_share: 0.1,
            fim: FimOptions::default(),
            tokenizer: PathBuf::new(),
            init_from: None,
            dtype: Compute::F32,
            seq_len: 512,
            device_batch_size: 8,
            total_batch_size: 16_384,
            horizon: Horizon::default(),
            eval_every: 250,
            eval_tokens: 262_144,
            save_every: 250,
            keep: 3,
            sample_every: 0,
            seed: 0,
        }
    }
}

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Horizon {
    /// After so many optimizer steps.
    Iterations(u64),
    /// When so many floating-point operations were spent.
    Flops(f64),
    /// After so many tokens per parameter.
    ParamDataRatio(f64),
    /// After about so many minutes of training: the number of steps follows from the speed of the first ones.
    Minutes(f64),
}

impl Default for Horizon {
    fn default() -> Self {
        Horizon::ParamDataRatio(8.0)
    }
}

impl RunConfig {
    /// Optimizer steps of the run; none where time decides.
    ///
    /// # Errors
    /// When the horizon is no positive number, or asks for more steps than can be counted.
    pub fn iterations(&self) -> Result<Option<u64>, kiln_optim::OptimError> {
        let mut horizon = kiln_optim::Horizon::default();
        match self.train.horizon {
            Horizon::Iterations(n) => {
                horizon.num_iterations = Some(usize::try_from(n).unwrap_or(usize::MAX));
            }
            Horizon::Flops(flops) => horizon.target_flops = Some(flops),
            Horizon::ParamDataRatio(ratio) => horizon.target_param_data_ratio = Some(ratio),
            Horizon::Minutes(_) => return Ok(None),
        }
        let steps = horizon.num_iterations(
            self.train.total_batch_size,
            self.model.flops_per_token(self.train.seq_len),
            self.model.parameter_count().scaling(),
        )?;
        Ok(Some(steps as u64))
    }

    /// Micro-batches per optimizer step.
    ///
    /// # Errors
    /// When the batch is no multiple of a micro-batch.
    pub fn accumulation(&self) -> Result<usize, kiln_optim::OptimError> {
        let TrainSettings { total_batch_size, device_batch_size, seq_len, .. } = self.train;
        kiln_optim::accumulation_steps(total_batch_size, device_batch_size, seq_len, 1)
    }
}
