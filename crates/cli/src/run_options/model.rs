//! The model that a run's options describe.

use kiln_model::{ConfigError, ModelConfig, Preset, Proportions, heads_near};
use kiln_train::config::TrainSettings;

use super::{RunOptions, set};
use crate::error::Advised;
use crate::hint;

/// Names of presets.
pub const PRESETS: [&str; 3] = ["classic", "modern", "engram"];

/// The preset of a new model: the one that learned most in equal time (`docs/model.md`).
const DEFAULT_PRESET: &str = "engram";

/// Layers with an Engram where none are named.
const ENGRAM_LAYERS: &str = "0,-1";

impl RunOptions {
    /// The model, with its vocabulary: `base`, or the one that follows from the depth, with what options change of it.
    pub(super) fn model(
        &self,
        base: Option<&ModelConfig>,
        vocab_size: usize,
    ) -> anyhow::Result<ModelConfig> {
        let mut model = match base {
            Some(base) => self.sizes_over(base),
            None => self.sizes(),
        };
        model.vocab_size = vocab_size;
        set(&mut model.sequence_len, self.seq_len);
        let standard = base.is_none().then_some(DEFAULT_PRESET);
        if let Some(name) = self.preset.as_deref().or(standard) {
            apply_preset(&mut model, name)?;
        }
        self.set_fields(&mut model)?;
        self.check_model(&model)?;
        model.validate().map_err(by_flag)?;
        Ok(model)
    }

    /// Sizes of one dial. Heads follow from the width, whatever that follows from.
    fn sizes(&self) -> ModelConfig {
        let standard = Proportions::default();
        let aspect_ratio = self.aspect_ratio.unwrap_or(standard.aspect_ratio);
        let head_dim = self.head_dim.unwrap_or(standard.head_dim).max(1);
        let n_layer = self.depth.unwrap_or(4);
        let n_embd = self.n_embd.unwrap_or(n_layer * aspect_ratio);
        let n_head = self.n_head.unwrap_or_else(|| heads_near(n_embd, head_dim));
        ModelConfig {
            n_layer,
            n_embd,
            n_head,
            n_kv_head: self.n_kv_head.unwrap_or(n_head),
            sequence_len: TrainSettings::default().seq_len,
            ..ModelConfig::default()
        }
    }

    /// The sizes of another model, but for those that options name.
    fn sizes_over(&self, base: &ModelConfig) -> ModelConfig {
        let mut model = base.clone();
        set(&mut model.n_layer, self.depth);
        set(&mut model.n_embd, self.aspect_ratio.map(|ratio| ratio * model.n_layer));
        set(&mut model.n_embd, self.n_embd);
        set(&mut model.n_head, self.head_dim.map(|size| heads_near(model.n_embd, size.max(1))));
        set(&mut model.n_head, self.n_head);
        if base.n_kv_head == base.n_head {
            model.n_kv_head = model.n_head;
        }
        set(&mut model.n_kv_head, self.n_kv_head);
        model
    }

    /// Sets what options say of their own.
    fn set_fields(&self, model: &mut ModelConfig) -> anyhow::Result<()> {
        set(&mut model.window_pattern, self.window_pattern.clone());
        set(&mut model.short_window, self.short_window.map(|w| w as usize));
        set(&mut model.rope_base, self.rope_base);
        set(&mut model.qk_scale, self.qk_scale);
        set(&mut model.value_embeds, self.value_embeds);
        set(&mut model.smear, self.smear);
        set(&mut model.backout, self.backout);
        set(&mut model.checkpoint_blocks, self.checkpoint_blocks);
        self.set_engram(model)?;
        set(&mut model.mhc, self.mhc);
        set(&mut model.mhc_iters, self.mhc_iters);
        set(&mut model.mhc_temperature, self.mhc_temperature);
        set(&mut model.mhc_epsilon, self.mhc_epsilon);
        set(&mut model.mhc_alpha, self.mhc_alpha);
        set(&mut model.mtp, self.mtp);
        set(&mut model.mtp_lambda, self.mtp_lambda);
        set(&mut model.dsa, self.dsa);
        set(&mut model.dsa_start, self.dsa_start_layer);
        set(&mut model.dsa_ratio, self.dsa_ratio);
        set(&mut model.dsa_local, self.dsa_local);
        set(&mut model.indexer_heads, self.dsa_indexer_heads);
        set(&mut model.indexer_dim, self.dsa_indexer_dim);
        Ok(())
    }

    fn set_engram(&self, model: &mut ModelConfig) -> anyhow::Result<()> {
        let named = self.engram_layers.as_ref().map(super::Numbers::joined);
        match self.engram {
            Some(true) => add_engram(model),
            Some(false) => model.engram.clear(),
            _ => {}
        }
        if !model.engram.is_empty() {
            set(&mut model.engram, named);
        }
        if let Some(orders) = &self.engram_orders {
            let order = |&order: &i64| {
                usize::try_from(order)
                    .map_err(|_| anyhow::anyhow!("--engram-orders are counts, not {order}"))
            };
            model.engram_orders = orders.values().iter().map(order).collect::<Result<_, _>>()?;
        }
        set(&mut model.engram_bottleneck, self.engram_bottleneck);
        set(&mut model.engram_dropout, self.engram_dropout);
        Ok(())
    }

    /// Refuses settings of options that are off, and a local window that no row fills.
    fn check_model(&self, model: &ModelConfig) -> anyhow::Result<()> {
        let engram = ("--engram", !model.engram.is_empty());
        let (mhc, mtp, dsa) = (("--mhc", model.mhc), ("--mtp", model.mtp), ("--dsa", model.dsa));
        let needs = [
            ("--engram-layers", self.engram_layers.is_some(), engram),
            ("--engram-orders", self.engram_orders.is_some(), engram),
            ("--engram-bottleneck", self.engram_bottleneck.is_some(), engram),
            ("--engram-dropout", self.engram_dropout.is_some(), engram),
            ("--mhc-iters", self.mhc_iters.is_some(), mhc),
            ("--mhc-temperature", self.mhc_temperature.is_some(), mhc),
            ("--mhc-epsilon", self.mhc_epsilon.is_some(), mhc),
            ("--mhc-alpha", self.mhc_alpha.is_some(), mhc),
            ("--mtp-lambda", self.mtp_lambda.is_some(), mtp),
            ("--dsa-start-layer", self.dsa_start_layer.is_some(), dsa),
            ("--dsa-ratio", self.dsa_ratio.is_some(), dsa),
            ("--dsa-local", self.dsa_local.is_some(), dsa),
            ("--dsa-indexer-heads", self.dsa_indexer_heads.is_some(), dsa),
            ("--dsa-indexer-dim", self.dsa_indexer_dim.is_some(), dsa),
        ];
        for (flag, given, (other, on)) in needs {
            if given && !on {
                anyhow::bail!("{flag} means nothing without {other}");
            }
        }
        let length = model.sequence_len;
        if let Some(local) = self.dsa_local.filter(|local| *local > length) {
            anyhow::bail!("--dsa-local {local} is more than the {length} tokens of --seq-len");
        }
        Ok(())
    }
}

/// The model's presets, and `engram`: `modern` with what `--engram` adds.
fn apply_preset(model: &mut ModelConfig, name: &str) -> anyhow::Result<()> {
    if name == "engram" {
        model.apply_preset(Preset::Modern);
        add_engram(model);
        return Ok(());
    }
    let preset = name.parse().map_err(|_| {
        anyhow::anyhow!("--preset: there is no preset {name:?}; there are {}", PRESETS.join(", "))
    })?;
    model.apply_preset(preset);
    Ok(())
}

/// An Engram in the usual layers, unless there is one.
fn add_engram(model: &mut ModelConfig) {
    if model.engram.is_empty() {
        // One layer is both the first and the last.
        let layers = if model.n_layer == 1 { "0" } else { ENGRAM_LAYERS };
        model.engram = layers.to_owned();
    }
}

/// What a user should know of a model that is valid: sparse attention that leaves nothing out.
pub fn notice(model: &ModelConfig) -> Option<String> {
    if !model.dsa || model.selects_keys() {
        return None;
    }
    Some(format!(
        "no keys are selected in rows of {} tokens, as without --dsa: --dsa-ratio {} and --dsa-local {} leave {} keys, and leaving out the few others \
         is not worth while",
        model.sequence_len,
        model.dsa_ratio,
        model.dsa_local,
        model.dsa_top_k().min(model.sequence_len)
    ))
}

/// Names the flag in place of the field.
fn by_flag(error: ConfigError) -> anyhow::Error {
    match &error {
        ConfigError::Invalid { field, reason } => {
            let message = format!("{}: {reason}", hint::flag(field));
            Advised::new(message, hint::of_model(field, reason)).into()
        }
        _ => error.into(),
    }
}
