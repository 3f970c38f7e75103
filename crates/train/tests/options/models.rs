//! Small models, one for each option.

use kiln_model::{ModelConfig, Preset};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub const VOCAB: usize = 211;
/// Windows close, and sparse attention selects, long before it.
pub const SEQUENCE: usize = 96;

fn plain() -> ModelConfig {
    ModelConfig {
        n_layer: 3,
        n_embd: 64,
        n_head: 4,
        n_kv_head: 4,
        sequence_len: SEQUENCE,
        vocab_size: VOCAB,
        engram_orders: vec![2, 3, 5],
        dsa_start: 1,
        dsa_local: 8,
        dsa_ratio: 0.25,
        indexer_heads: 3,
        indexer_dim: 16,
        ..ModelConfig::default()
    }
}

/// Each option alone, all of them together, and both presets.
pub fn all() -> Vec<(&'static str, ModelConfig)> {
    let mut modern = plain();
    modern.apply_preset(Preset::Modern);
    let mut everything = modern.clone();
    (everything.engram, everything.mhc, everything.mtp) = ("0,-1".into(), true, true);
    everything.dsa = true;
    (everything.n_kv_head, everything.window_pattern) = (2, "SL".into());
    let models = vec![
        ("classic", plain()),
        ("modern", modern),
        ("grouped heads", ModelConfig { n_kv_head: 2, ..plain() }),
        ("windows", ModelConfig { window_pattern: "SSL".into(), ..plain() }),
        ("value embeddings", ModelConfig { value_embeds: true, ..plain() }),
        ("smear", ModelConfig { smear: true, ..plain() }),
        ("backout", ModelConfig { backout: true, ..plain() }),
        ("engram", ModelConfig { engram: "0,-1".into(), ..plain() }),
        ("mhc", ModelConfig { mhc: true, ..plain() }),
        ("engram and mhc", ModelConfig { engram: "1".into(), mhc: true, ..plain() }),
        ("mtp", ModelConfig { mtp: true, ..plain() }),
        ("dsa", ModelConfig { dsa: true, ..plain() }),
        ("everything", everything),
    ];
    for (name, model) in &models {
        model.validate().unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    models
}

pub fn tokens(count: usize, seed: u64) -> Vec<i32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| (rng.next_u32() % VOCAB as u32) as i32).collect()
}
