//! Whether sizes and options fit together.

use kiln_graph::ops::MOST_ITERATIONS;

use crate::{ConfigError, ModelConfig};

/// Columns of the attention input that a value gate reads.
pub(crate) const VALUE_GATE_WIDTH: usize = 12;
/// Columns of the embedding that the smear gate reads.
pub(crate) const SMEAR_GATE_WIDTH: usize = 24;

/// Bounds that no sensible model reaches; below them no product of sizes overflows.
const MAX_LAYERS: usize = 1 << 12;
const MAX_WIDTH: usize = 1 << 17;
const MAX_TOKENS: usize = 1 << 24;
/// Scores are divided by it, and must stay numbers.
const LEAST_TEMPERATURE: f32 = 1e-6;
const MAX_ORDER: usize = 1 << 10;
const MAX_INDEXER: usize = 1 << 10;

impl ModelConfig {
    /// Checks that sizes and options fit together.
    ///
    /// # Errors
    /// The first thing that is wrong, by the field's name.
    pub fn validate(&self) -> Result<(), ConfigError> {
        within("n_layer", self.n_layer, MAX_LAYERS)?;
        within("n_embd", self.n_embd, MAX_WIDTH)?;
        within("n_head", self.n_head, self.n_embd)?;
        within("n_kv_head", self.n_kv_head, self.n_head)?;
        within("sequence_len", self.sequence_len, MAX_TOKENS)?;
        within("vocab_size", self.vocab_size, MAX_TOKENS)?;
        self.validate_heads()?;
        self.validate_options()
    }

    fn validate_heads(&self) -> Result<(), ConfigError> {
        let (c, h, k) = (self.n_embd, self.n_head, self.n_kv_head);
        ensure(c.is_multiple_of(h), "n_head", || format!("{h} heads do not divide the width {c}"))?;
        ensure(h.is_multiple_of(k), "n_kv_head", || {
            format!("{k} key/value heads do not divide {h} query heads")
        })?;
        let d = self.head_dim();
        ensure(d.is_multiple_of(2), "n_head", || {
            format!(
                "{h} heads of width {c} have the odd size {d}, and rotary embedding takes pairs"
            )
        })
    }

    fn validate_options(&self) -> Result<(), ConfigError> {
        let pattern = &self.window_pattern;
        let letters = !pattern.is_empty() && pattern.chars().all(|c| matches!(c, 'L' | 'S'));
        ensure(letters, "window_pattern", || format!("{pattern:?} must be letters L and S"))?;
        positive("softcap", self.softcap)?;
        positive("rope_base", self.rope_base)?;
        positive("qk_scale", self.qk_scale)?;
        let c = self.n_embd;
        ensure(!self.smear || c >= SMEAR_GATE_WIDTH, "smear", || {
            format!("needs a width of at least {SMEAR_GATE_WIDTH}, not {c}")
        })?;
        ensure(!self.value_embeds || c >= VALUE_GATE_WIDTH, "value_embeds", || {
            format!("needs a width of at least {VALUE_GATE_WIDTH}, not {c}")
        })?;
        self.validate_engram()?;
        self.validate_mhc()?;
        let lambda = self.mtp_lambda;
        ensure(lambda.is_finite() && lambda >= 0.0, "mtp_lambda", || {
            format!("{lambda} is no number of at least 0")
        })?;
        self.validate_dsa()
    }

    fn validate_engram(&self) -> Result<(), ConfigError> {
        self.engram_layers()?;
        ensure(!self.engram_orders.is_empty(), "engram_orders", || "there must be one".into())?;
        for &order in &self.engram_orders {
            within("engram_orders", order, MAX_ORDER)?;
        }
        within("engram_bottleneck", self.engram_width(), MAX_WIDTH)?;
        let dropout = self.engram_dropout;
        ensure((0.0..1.0).contains(&dropout), "engram_dropout", || {
            format!("{dropout} is no share from 0 to less than 1")
        })
    }

    fn validate_mhc(&self) -> Result<(), ConfigError> {
        within("mhc_iters", self.mhc_iters, MOST_ITERATIONS)?;
        positive("mhc_temperature", self.mhc_temperature)?;
        let temperature = self.mhc_temperature;
        ensure(temperature >= LEAST_TEMPERATURE, "mhc_temperature", || {
            format!("{temperature} is less than {LEAST_TEMPERATURE}")
        })?;
        let (alpha, epsilon) = (self.mhc_alpha, self.mhc_epsilon);
        ensure(alpha.is_finite(), "mhc_alpha", || format!("{alpha} is no number"))?;
        // The largest entry of each row is 1.
        ensure(epsilon > 0.0 && epsilon < 1.0, "mhc_epsilon", || {
            format!("{epsilon} is not between 0 and 1")
        })
    }

    fn validate_dsa(&self) -> Result<(), ConfigError> {
        let (start, layers) = (self.dsa_start, self.n_layer);
        ensure(!self.dsa || start < layers, "dsa_start", || {
            format!("sparse attention from layer {start} on, but the last layer is {}", layers - 1)
        })?;
        let ratio = self.dsa_ratio;
        ensure(ratio > 0.0 && ratio <= 1.0, "dsa_ratio", || {
            format!("{ratio} is no share of more than 0 to 1")
        })?;
        within("dsa_local", self.dsa_local, MAX_TOKENS)?;
        within("indexer_heads", self.indexer_heads, MAX_INDEXER)?;
        within("indexer_dim", self.indexer_dim, MAX_INDEXER)
    }
}

fn ensure(
    holds: bool,
    field: &'static str,
    reason: impl FnOnce() -> String,
) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError::Invalid { field, reason: reason() }) }
}

fn within(field: &'static str, value: usize, most: usize) -> Result<(), ConfigError> {
    ensure((1..=most).contains(&value), field, || format!("{value} is not within 1 to {most}"))
}

fn positive(field: &'static str, value: f32) -> Result<(), ConfigError> {
    ensure(value.is_finite() && value > 0.0, field, || format!("{value} is not a positive number"))
}

#[cfg(test)]
mod tests {
    use crate::{ConfigError, ModelConfig, Preset};

    fn refused(change: impl Fn(&mut ModelConfig)) -> String {
        let mut config = ModelConfig::default();
        change(&mut config);
        let error = config.validate().expect_err("must be refused");
        assert!(matches!(error, ConfigError::Invalid { .. }));
        error.to_string()
    }

    #[test]
    fn what_does_not_fit_is_named() {
        assert!(ModelConfig::default().validate().is_ok());
        assert_eq!(refused(|c| c.n_layer = 0), "n_layer: 0 is not within 1 to 4096");
        assert_eq!(refused(|c| c.n_head = 5), "n_head: 5 heads do not divide the width 384");
        assert_eq!(
            refused(|c| c.n_kv_head = 2),
            "n_kv_head: 2 key/value heads do not divide 3 query heads"
        );
        assert!(refused(|c| c.n_kv_head = 4).starts_with("n_kv_head: 4 is not within 1 to 3"));
        assert!(refused(|c| (c.n_head, c.n_kv_head) = (128, 128)).contains("odd size 3"));
        assert!(refused(|c| c.window_pattern = String::new()).starts_with("window_pattern"));
        assert!(refused(|c| c.window_pattern = "Ls".into()).contains("\"Ls\""));
        assert!(refused(|c| c.vocab_size = usize::MAX).starts_with("vocab_size"));
        assert!(refused(|c| c.softcap = 0.0).starts_with("softcap"));
        assert!(refused(|c| c.rope_base = f32::NAN).starts_with("rope_base"));
        assert!(refused(|c| c.qk_scale = f32::INFINITY).starts_with("qk_scale"));
    }

    #[test]
    fn options_out_of_range_are_named() {
        let sparse_from = |start| {
            move |c: &mut ModelConfig| {
                (c.dsa, c.dsa_start) = (true, start);
            }
        };
        assert_eq!(
            refused(sparse_from(6)),
            "dsa_start: sparse attention from layer 6 on, but the last layer is 5"
        );
        let mut config = ModelConfig::default();
        sparse_from(5)(&mut config);
        assert!(config.validate().is_ok());
        assert!(refused(|c| c.dsa_ratio = 0.0).starts_with("dsa_ratio"));
        assert!(refused(|c| c.dsa_ratio = f32::NAN).starts_with("dsa_ratio"));
        assert!(refused(|c| c.dsa_local = 0).starts_with("dsa_local"));
        assert!(refused(|c| c.indexer_heads = 0).starts_with("indexer_heads"));
        assert!(refused(|c| c.indexer_dim = 0).starts_with("indexer_dim"));
        assert!(refused(|c| c.engram = "9".into()).starts_with("engram: \"9\" is no layer"));
        assert!(refused(|c| c.engram_orders = vec![]).starts_with("engram_orders"));
        assert!(refused(|c| c.engram_orders = vec![2, 0]).starts_with("engram_orders: 0"));
        assert!(refused(|c| c.engram_dropout = 1.0).starts_with("engram_dropout"));
        assert!(refused(|c| c.mhc_iters = 0).starts_with("mhc_iters"));
        assert!(refused(|c| c.mhc_temperature = 1e-45).starts_with("mhc_temperature"));
        assert!(refused(|c| c.mhc_temperature = 0.0).starts_with("mhc_temperature"));
        assert!(refused(|c| c.mhc_epsilon = 1.0).starts_with("mhc_epsilon"));
        assert!(refused(|c| c.mhc_alpha = f32::NAN).starts_with("mhc_alpha"));
        assert!(refused(|c| c.mtp_lambda = -0.1).starts_with("mtp_lambda"));
    }

    #[test]
    fn gates_need_columns_to_read() {
        let narrow = |width| {
            move |c: &mut ModelConfig| {
                c.apply_preset(Preset::Modern);
                (c.n_embd, c.n_head, c.n_kv_head) = (width, 1, 1);
            }
        };
        assert!(refused(narrow(22)).starts_with("smear: needs a width of at least 24"));
        let no_smear = |c: &mut ModelConfig| {
            narrow(10)(c);
            c.smear = false;
        };
        assert!(refused(no_smear).starts_with("value_embeds: needs a width of at least 12"));
    }
}
