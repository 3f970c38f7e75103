//! Muon and AdamW as graph updates, with learning-rate, momentum and decay schedules.
//!
//! ```
//! use kiln_graph::TensorType;
//! use kiln_optim::{Heads, Precision, Schedules, Settings, groups, optimizer_graph};
//!
//! let settings = Settings::default();
//! let parameters = [
//!     ("lm_head.weight".to_string(), TensorType::f32(&[320, 64])),
//!     ("transformer.h.0.attn.c_q.weight".to_string(), TensorType::f32(&[64, 64])),
//! ];
//! let groups = groups(&parameters, 64, 1 << 14, &settings);
//! let graph = optimizer_graph(&groups, Heads { n_head: 4, n_kv_head: 4 }, &settings, &Precision::F32)?;
//! assert_eq!(graph.inputs()[0].name, "schedule");
//! let schedules = Schedules::new(&settings, 100, 6);
//! assert_eq!(schedules.values(0)[0], 1.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod groups;
mod horizon;
mod schedule;
mod settings;
mod updates;

pub use error::OptimError;
pub use groups::{Kind, ParamGroup, groups};
pub use horizon::{Horizon, accumulation_steps};
pub use schedule::Schedules;
pub use settings::{MuonMethod, Settings};
pub use updates::{Heads, Precision, optimizer_graph, refresh_copy};
