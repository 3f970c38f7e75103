//! What unit tests share.

use crate::{ModelConfig, Preset};

/// Three small layers with fewer key/value heads, local windows in two of them.
pub(crate) fn small(preset: Preset) -> ModelConfig {
    let mut config = ModelConfig {
        n_layer: 3,
        n_embd: 64,
        n_head: 4,
        n_kv_head: 2,
        sequence_len: 48,
        vocab_size: 301,
        window_pattern: "SL".into(),
        ..ModelConfig::default()
    };
    config.apply_preset(preset);
    config
}
