//! GPT as graph-building functions: configuration, parameter names, initialisation, weights on disk.
//!
//! A [`ModelConfig`] is all there is to know of a model. From it follow its [`Parameter`]s with nanochat's names, and
//! three graphs that share one definition of the layers: [`loss_graph`] for training and evaluation, [`logits_graph`] for
//! scoring whole sequences, [`decode_graph`] for generation with a key/value cache.
//!
//! ```
//! use kiln_graph::ops::Reduction;
//! use kiln_model::{Compute, ModelConfig, Preset, Proportions, loss_graph};
//!
//! let config = ModelConfig::from_depth(2, Proportions::default(), Preset::Modern, 1000, 64)?;
//! let built = loss_graph(&config, Compute::Bf16, 4, 64, Reduction::Mean)?;
//! assert_eq!(built.graph.tensor_type(built.loss).shape().dims(), [1]);
//! assert_eq!(config.parameters()[0].name, "transformer.wte.weight");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod compute;
mod config;
mod count;
mod decode;
mod error;
mod graphs;
mod initialize;
mod layers;
mod options;
mod parameters;
mod safetensors_file;
#[cfg(test)]
mod testing;
mod validate;
mod weights;

pub use compute::{Compute, compute_copy_name};
pub use config::{ModelConfig, Preset, Proportions, heads_near};
pub use count::ParameterCount;
pub use decode::{DecodeGraph, DecodeShape, LogitsOf, decode_graph, draft_graph, trunk_graph};
pub use error::{ConfigError, WeightsError};
pub use graphs::{LogitsGraph, LossGraph, logits_graph, loss_graph};
pub use initialize::initialize;
pub use parameters::{Init, Parameter, ParameterKind};
pub use safetensors_file::{SafetensorsFile, TensorData, save, write};
pub use weights::{load, load_parameters};
