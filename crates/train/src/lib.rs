//! The training loop, checkpoints, evaluation, generation and metrics.

pub mod bits_per_byte;
pub mod checkpoint;
pub mod config;
pub mod data_set;
mod durable;
mod error;
pub mod evaluate;
pub mod generate;
pub mod horizon;
pub mod init_from;
pub mod metrics;
pub mod micro_batch;
pub mod observe;
pub mod process;
pub mod programs;
pub mod run_folder;
pub mod sample_text;
pub mod sampler;
pub mod speculate;
pub mod state;
pub mod trainer;

pub use error::TrainError;
