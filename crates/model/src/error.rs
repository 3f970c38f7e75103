//! What can be wrong with configurations and weights.

use std::path::PathBuf;

/// A configuration that is no model.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A field's value is impossible, or does not fit to the others.
    #[error("{field}: {reason}")]
    Invalid {
        /// Name of the field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The text is no JSON object, or a value in it has the wrong type.
    #[error("the model configuration cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// No element type of products has that name.
    #[error("there is no type {name:?} to compute in; there are f32 and bf16")]
    UnknownCompute {
        /// The name.
        name: String,
    },
    /// No preset has that name.
    #[error("there is no preset {name:?}; there are classic and modern")]
    UnknownPreset {
        /// The name.
        name: String,
    },
}

/// Weights that cannot be read, written or used.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no safetensors file, or is damaged.
    #[error("{}: not a safetensors file: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file holds other tensors than wanted.
    #[error("{}: {}", path.display(), problems.join("; "))]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// One line for each tensor that is missing, unexpected, or of another shape or type.
        problems: Vec<String>,
    },
}
