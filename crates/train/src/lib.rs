//! The training loop, checkpoints, evaluation, generation and metrics.

pub mod config;
mod error;
pub mod generate;
pub mod horizon;
pub mod programs;
pub mod sampler;

pub use error::TrainError;
