//! What a model is: sizes, options, and what follows from them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ConfigError;

/// Embedding tables have their number of rows padded up to a multiple of this.
const VOCAB_MULTIPLE: usize = 64;

/// A named set of options and initial values.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// The plain dense GPT.
    #[default]
    Classic,
    /// With value embeddings, smear, backout and sharper queries and keys.
    Modern,
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Preset::Classic => "classic",
            Preset::Modern => "modern",
        })
    }
}

impl FromStr for Preset {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, ConfigError> {
        match name {
            "classic" => Ok(Preset::Classic),
            "modern" => Ok(Preset::Modern),
            _ => Err(ConfigError::UnknownPreset { name: name.to_owned() }),
        }
    }
}

/// How width and heads follow from the depth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Proportions {
    /// Width per layer.
    pub aspect_ratio: usize,
    /// Head size to come near to.
    pub head_dim: usize,
}

impl Default for Proportions {
    fn default() -> Self {
        Proportions { aspect_ratio: 64, head_dim: 128 }
    }
}

/// Sizes and options of a model. [`ModelConfig::validate`] says whether they fit together; the other methods may panic or
/// return nonsense when they do not.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelConfig {
    /// Number of layers.
    pub n_layer: usize,
    /// Width, C.
    pub n_embd: usize,
    /// Query heads, H.
    pub n_head: usize,
    /// Key/value heads, K; query head h reads key/value head `h / (H/K)`.
    pub n_kv_head: usize,
    /// Positions that windows are measured by, and the length of training rows.
    pub sequence_len: usize,
    /// Number of token ids, V.
    pub vocab_size: usize,
    /// Windows tiled over the layers: `L` long, `S` short. The last layer is always long.
    pub window_pattern: String,
    /// How far back a short window reaches; 0: what follows from the preset and `sequence_len`.
    pub short_window: usize,
    /// Decides initial values and the short window. Its options stand in the fields below.
    pub preset: Preset,
    /// Bound of the logits: `softcap·tanh(logit / softcap)`.
    pub softcap: f32,
    /// Base of the rotary angles.
    pub rope_base: f32,
    /// Factor of queries and keys after their norm.
    pub qk_scale: f32,
    /// Tables of values per token id on every other layer, the last included.
    pub value_embeds: bool,
    /// A gated part of the previous token's embedding is added to each embedding.
    pub smear: bool,
    /// A part of the middle layer's output is subtracted before the final norm.
    pub backout: bool,
    /// Layers that have an Engram branch, as numbers with commas between them; those below 0 count from the end. Empty: none.
    pub engram: String,
    /// How many of the latest positions each of an Engram's means takes.
    pub engram_orders: Vec<usize>,
    /// Width of an Engram; 0: a quarter of the model's.
    pub engram_bottleneck: usize,
    /// Share of an Engram's outputs that training drops.
    pub engram_dropout: f32,
    /// Each layer's output is a learned mixture of its branches.
    pub mhc: bool,
    /// How much of the mixture becomes the layer's output, clamped to 0..=1.
    pub mhc_alpha: f32,
    /// Divisor of the scores between branches.
    pub mhc_temperature: f32,
    /// Iterations that make the mixture doubly stochastic.
    pub mhc_iters: usize,
    /// Least entry that they begin with.
    pub mhc_epsilon: f32,
    /// A further block learns to predict the token after the next.
    pub mtp: bool,
    /// Weight of its loss.
    pub mtp_lambda: f32,
    /// Attention to the keys that an indexer selects.
    pub dsa: bool,
    /// First layer with such attention.
    pub dsa_start: usize,
    /// Keys that every query sees besides the selected ones: itself and those right before it.
    pub dsa_local: usize,
    /// Share of `sequence_len` that a query sees, these included.
    pub dsa_ratio: f32,
    /// Heads of the indexer, J.
    pub indexer_heads: usize,
    /// Their size, d.
    pub indexer_dim: usize,
    /// The backward pass computes each block's activations again, instead of keeping them.
    pub checkpoint_blocks: bool,
}

impl Default for ModelConfig {
    /// `classic` at depth 6 for 32,768 token ids and rows of 512.
    fn default() -> Self {
        ModelConfig {
            n_layer: 6,
            n_embd: 384,
            n_head: 3,
            n_kv_head: 3,
            sequence_len: 512,
            vocab_size: 32768,
            window_pattern: "L".to_owned(),
            short_window: 0,
            preset: Preset::Classic,
            softcap: 15.0,
            rope_base: 10_000.0,
            qk_scale: 1.0,
            value_embeds: false,
            smear: false,
            backout: false,
            engram: String::new(),
            engram_orders: vec![2, 3, 4],
            engram_bottleneck: 0,
            engram_dropout: 0.0,
            mhc: false,
            mhc_alpha: 1.0,
            mhc_temperature: 1.0,
            mhc_iters: 5,
            mhc_epsilon: 1e-6,
            mtp: false,
            mtp_lambda: 0.3,
            dsa: false,
            dsa_start: 7,
            dsa_local: 128,
            dsa_ratio: 0.5,
            indexer_heads: 16,
            indexer_dim: 32,
            checkpoint_blocks: false,
        }
    }
}

impl ModelConfig {
    /// The model of one dial: width `depth·aspect_ratio`, and as many heads as the divisor of the width that is nearest to
    /// `width / head_dim` (of two as near the larger; head sizes must be even).
    ///
    /// # Errors
    /// When the result is no valid model.
    pub fn from_depth(
        depth: usize,
        proportions: Proportions,
        preset: Preset,
        vocab_size: usize,
        sequence_len: usize,
    ) -> Result<ModelConfig, ConfigError> {
        let n_embd = depth.saturating_mul(proportions.aspect_ratio);
        let mut config = ModelConfig {
            n_layer: depth,
            n_embd,
            sequence_len,
            vocab_size,
            n_head: 1,
            n_kv_head: 1,
            ..ModelConfig::default()
        };
        config.apply_preset(preset);
        config.validate()?;
        config.n_head = heads_near(n_embd, proportions.head_dim.max(1));
        config.n_kv_head = config.n_head;
        config.validate()?;
        Ok(config)
    }

    /// Sets every option that the preset decides, on or off.
    pub fn apply_preset(&mut self, preset: Preset) {
        let modern = preset == Preset::Modern;
        self.preset = preset;
        self.value_embeds = modern;
        self.smear = modern;
        self.backout = modern;
        self.qk_scale = if modern { 1.2 } else { 1.0 };
        self.rope_base = if modern { 100_000.0 } else { 10_000.0 };
    }

    /// Reads and validates a saved configuration. Missing keys take their defaults (as many key/value heads as query
    /// heads); keys that mean nothing here are returned in order. A preset given by name alone turns no option on: options
    /// are what their own keys say, so that a saved model never changes.
    ///
    /// # Errors
    /// When the text is no JSON object, a value has the wrong type, or the result is no valid model.
    pub fn from_json(text: &str) -> Result<(ModelConfig, Vec<String>), ConfigError> {
        let keys: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text)?;
        let mut config: ModelConfig = serde_json::from_str(text)?;
        if !keys.contains_key("n_kv_head") {
            config.n_kv_head = config.n_head;
        }
        config.validate()?;
        let known = field_names();
        let unknown = keys.keys().filter(|key| !known.contains(*key)).cloned().collect();
        Ok((config, unknown))
    }

    /// The configuration as JSON, one field a line.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers, booleans and strings have a JSON form")
    }

    /// Head size, D.
    pub fn head_dim(&self) -> usize {
        self.n_embd / self.n_head
    }

    /// Width of keys and of values, K·D.
    pub fn kv_width(&self) -> usize {
        self.n_kv_head * self.head_dim()
    }

    /// Rows of the embedding tables: the vocabulary padded up to a multiple of 64.
    pub fn padded_vocab(&self) -> usize {
        self.vocab_size.next_multiple_of(VOCAB_MULTIPLE)
    }

    /// How far back each layer sees. Short is `short_window`; else half of `sequence_len`, or with `modern` a quarter of it
    /// in steps of 128.
    pub fn windows(&self) -> Vec<usize> {
        let long = self.sequence_len;
        let short = match (self.short_window, self.preset) {
            (0, Preset::Classic) => long / 2,
            (0, Preset::Modern) => long.div_ceil(512) * 128,
            (given, _) => given,
        };
        let mut windows: Vec<usize> = self
            .window_pattern
            .chars()
            .cycle()
            .take(self.n_layer)
            .map(|letter| if letter == 'L' { long } else { short })
            .collect();
        if let Some(last) = windows.last_mut() {
            *last = long;
        }
        windows
    }

    /// Whether layer `i` has a table of values.
    pub fn has_value_embeds(&self, i: usize) -> bool {
        self.value_embeds && i % 2 == (self.n_layer - 1) % 2
    }

    /// The layer whose output is kept for backout.
    pub fn backout_layer(&self) -> Option<usize> {
        self.backout.then_some(self.n_layer / 2)
    }
}

/// The number of heads that a width is given: the divisor with even head size that is nearest to `width / head_dim`, of
/// two as near the larger; 1 when there is none.
pub fn heads_near(width: usize, head_dim: usize) -> usize {
    // |n - width/head_dim| compared as |n·head_dim - width|, exact in integers.
    let distance = |n: usize| (n * head_dim).abs_diff(width);
    (1..=width)
        .filter(|n| width.is_multiple_of(*n) && (width / n).is_multiple_of(2))
        .min_by_key(|&n| (distance(n), std::cmp::Reverse(n)))
        .unwrap_or(1)
}

fn field_names() -> BTreeSet<String> {
    match serde_json::to_value(ModelConfig::default()) {
        Ok(serde_json::Value::Object(fields)) => fields.into_iter().map(|(key, _)| key).collect(),
        _ => unreachable!("a struct serialises as an object"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depth(depth: usize, head_dim: usize) -> ModelConfig {
        let proportions = Proportions { head_dim, ..Proportions::default() };
        ModelConfig::from_depth(depth, proportions, Preset::Classic, 32768, 512).unwrap()
    }

    #[test]
    fn width_and_heads_follow_from_the_depth() {
        let sizes = |c: ModelConfig| (c.n_layer, c.n_embd, c.n_head, c.n_kv_head);
        assert_eq!(sizes(depth(6, 128)), (6, 384, 3, 3));
        assert_eq!(sizes(depth(6, 64)), (6, 384, 6, 6));
        assert_eq!(sizes(depth(12, 128)), (12, 768, 6, 6));
        // 320/128 = 2.5 lies halfway between 2 and 3; 3 does not divide 320.
        assert_eq!(sizes(depth(5, 128)), (5, 320, 2, 2));
        // 448/128 = 3.5: 4 divides, 3 does not.
        assert_eq!(sizes(depth(7, 128)), (7, 448, 4, 4));
        assert_eq!(sizes(depth(1, 128)), (1, 64, 1, 1));
    }

    #[test]
    fn of_two_numbers_of_heads_as_near_the_larger_is_taken() {
        // 12/8 = 1.5, between the divisors 1 and 2.
        assert_eq!(heads_near(12, 8), 2);
        // Head sizes stay even: 2 divides 6 but leaves 3.
        assert_eq!(heads_near(6, 3), 3);
    }

    #[test]
    fn no_depth_is_an_error_not_a_panic() {
        for depth in [0, usize::MAX] {
            let config =
                ModelConfig::from_depth(depth, Proportions::default(), Preset::Classic, 32768, 512);
            assert!(config.is_err());
        }
    }

    #[test]
    fn windows_follow_the_pattern_and_the_last_is_long() {
        let mut config = ModelConfig { n_layer: 3, sequence_len: 48, ..ModelConfig::default() };
        assert_eq!(config.windows(), [48, 48, 48]);
        config.window_pattern = "SL".into();
        assert_eq!(config.windows(), [24, 48, 48]);
        config.window_pattern = "SSL".into();
        config.n_layer = 5;
        assert_eq!(config.windows(), [24, 24, 48, 24, 48]);
        config.apply_preset(Preset::Modern);
        assert_eq!(config.windows(), [128, 128, 48, 128, 48]);
        config.sequence_len = 1024;
        assert_eq!(config.windows(), [256, 256, 1024, 256, 1024]);
        config.short_window = 100;
        assert_eq!(config.windows(), [100, 100, 1024, 100, 1024]);
    }

    #[test]
    fn missing_keys_take_defaults_and_unknown_ones_are_reported() {
        let (config, unknown) =
            ModelConfig::from_json(r#"{"n_layer": 2, "n_head": 6, "zeta": 1, "alpha": {}}"#)
                .unwrap();
        let expected =
            ModelConfig { n_layer: 2, n_head: 6, n_kv_head: 6, ..ModelConfig::default() };
        assert_eq!(config, expected);
        assert_eq!(unknown, ["alpha", "zeta"]);
    }

    #[test]
    fn json_reads_back_what_it_wrote() {
        let mut config = depth(4, 64);
        config.apply_preset(Preset::Modern);
        let text = config.to_json();
        assert!(text.contains(r#""preset": "modern""#) && text.contains(r#""qk_scale": 1.2"#));
        assert_eq!(ModelConfig::from_json(&text).unwrap(), (config, vec![]));
    }

    #[test]
    fn json_of_the_wrong_kind_is_an_error() {
        for text in
            ["", "[]", "{", r#"{"n_layer": -1}"#, r#"{"n_layer": "six"}"#, r#"{"preset": "x"}"#]
        {
            let error = ModelConfig::from_json(text).unwrap_err();
            assert!(matches!(error, ConfigError::Json(_)), "{text}: {error}");
        }
    }
}
