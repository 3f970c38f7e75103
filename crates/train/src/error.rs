//! What can go wrong in a run.

use std::path::PathBuf;

use kiln_data::DataError;
use kiln_graph::{ExecuteError, GraphError};
use kiln_model::{ConfigError, WeightsError};
use kiln_optim::OptimError;

/// An error of a training run, an evaluation or a generation.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The model's configuration.
    #[error("model: {0}")]
    Config(#[from] ConfigError),
    /// Optimizer settings, or a batch that does not divide.
    #[error(transparent)]
    Optim(#[from] OptimError),
    /// A graph that does not fit together.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The executor.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A file of weights.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A tokenizer's file, or an id that it does not have.
    #[error(transparent)]
    Tokenizer(#[from] kiln_tokenizer::Error),
    /// A checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] crate::checkpoint::CheckpointError),
    /// The metrics' file.
    #[error(transparent)]
    Metrics(#[from] crate::metrics::MetricsError),
    /// An evaluation without text.
    #[error("validation: {0}")]
    BitsPerByte(#[from] crate::bits_per_byte::BitsPerByteError),
    /// A folder that already holds a run.
    #[error("{} already holds a run", path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// A checkpoint of another model.
    #[error("{} is of another run: {}", path.display(), differences.join("; "))]
    OtherRun {
        /// The checkpoint.
        path: PathBuf,
        /// What differs, as `key: there -> here`.
        differences: Vec<String>,
    },
    /// A checkpoint to begin from whose parameters do not fit the model.
    #[error("{} does not fit: {}", path.display(), some_of(differences))]
    OtherShapes {
        /// The checkpoint.
        path: PathBuf,
        /// The parameters that differ, each with both shapes.
        differences: Vec<String>,
    },
    /// A tokenizer that is not the model's.
    #[error("the tokenizer has {tokenizer} tokens, the model {model}")]
    Vocabulary {
        /// Tokens of the tokenizer.
        tokenizer: usize,
        /// Tokens of the model.
        model: usize,
    },
    /// A prompt that does not fit.
    #[error("the prompt has {tokens} tokens; it must have from 1 to {capacity}")]
    Prompt {
        /// Tokens of the prompt.
        tokens: usize,
        /// Room for prompt and continuation.
        capacity: usize,
    },
    /// A token that the model does not have.
    #[error("token {id} is not among the model's {vocab}")]
    Token {
        /// The token.
        id: u32,
        /// Tokens of the model.
        vocab: usize,
    },
    /// Drafts are asked of a model that was not trained to make any.
    #[error("the model has no multi-token prediction, which would draft tokens")]
    NoDrafts,
    /// The loss is no number any more.
    #[error("the loss of step {step} is {loss}: training has diverged")]
    Diverged {
        /// Step.
        step: u64,
        /// Its loss.
        loss: f32,
    },
    /// A file of the run folder.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// A JSON file that does not hold what it should.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// The first of a list that may be long.
fn some_of(list: &[String]) -> String {
    const SHOWN: usize = 4;
    let shown = list[..list.len().min(SHOWN)].join("; ");
    match list.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}
