//! What follows from the options of a model.

use crate::{ConfigError, ModelConfig, Parameter};

/// Selecting keys is not worth while when all but so few are selected.
const DENSE_MARGIN: usize = 32;
/// Bounds of the width in which branches are compared.
const MHC_WIDTH: (usize, usize) = (8, 256);

impl ModelConfig {
    /// The layers with an Engram, in order.
    ///
    /// # Errors
    /// When the list holds something else than layers, or one twice.
    pub fn engram_layers(&self) -> Result<Vec<usize>, ConfigError> {
        let mut layers = Vec::new();
        let names = self.engram.split(',').map(str::trim).filter(|name| !name.is_empty());
        for name in names {
            let layer = self.layer_named(name).ok_or_else(|| ConfigError::Invalid {
                field: "engram",
                reason: format!(
                    "{name:?} is no layer; there are 0 to {}, or from the end -1 to -{}",
                    self.n_layer - 1,
                    self.n_layer
                ),
            })?;
            if layers.contains(&layer) {
                let reason = format!("layer {layer} is named twice in {:?}", self.engram);
                return Err(ConfigError::Invalid { field: "engram", reason });
            }
            layers.push(layer);
        }
        layers.sort_unstable();
        Ok(layers)
    }

    fn layer_named(&self, name: &str) -> Option<usize> {
        let (number, layers) = (name.parse::<i64>().ok()?, self.n_layer as i64);
        let layer = if number < 0 { number + layers } else { number };
        (0..layers).contains(&layer).then_some(layer as usize)
    }

    /// Whether layer `i` has an Engram.
    pub fn has_engram(&self, i: usize) -> bool {
        self.engram_layers().is_ok_and(|layers| layers.contains(&i))
    }

    /// Width of an Engram, b.
    pub fn engram_width(&self) -> usize {
        match self.engram_bottleneck {
            0 => (self.n_embd / 4).max(1),
            given => given,
        }
    }

    /// Whether training drops anything.
    pub fn drops(&self) -> bool {
        self.engram_dropout > 0.0 && (0..self.n_layer).any(|i| self.has_engram(i))
    }

    /// Width in which branches are compared, h.
    pub fn mhc_width(&self) -> usize {
        (self.n_embd / 4).clamp(MHC_WIDTH.0, MHC_WIDTH.1)
    }

    /// Keys that a query of sparse attention sees, those of its local window included.
    pub fn dsa_top_k(&self) -> usize {
        // The product in f64, of the ratio as it was written: 0.7 of 10 is 7, and not 6.
        let ratio = self.dsa_ratio.to_string().parse::<f64>().unwrap_or(1.0);
        ((ratio * self.sequence_len as f64) as usize).max(self.dsa_local)
    }

    /// Whether layer `i` has an indexer. It may be that it has nothing to select.
    pub fn has_indexer(&self, i: usize) -> bool {
        self.dsa && i >= self.dsa_start
    }

    /// Whether sparse attention leaves enough keys out to be done: decided by the configured length, so that training,
    /// prefill and decoding agree.
    pub fn selects_keys(&self) -> bool {
        self.sequence_len > self.dsa_top_k() + DENSE_MARGIN
    }

    /// Whether the parameter of that name has a part in the loss: an indexer has none where no keys are selected.
    pub fn trains(&self, name: &str) -> bool {
        self.selects_keys() || !name.contains(".attn.indexer.")
    }

    /// The [parameters](Self::parameters) that have a part in the loss.
    pub fn trained_parameters(&self) -> Vec<Parameter> {
        let mut parameters = self.parameters();
        parameters.retain(|p| self.trains(&p.name));
        parameters
    }

    /// Whether layer `i` attends to selected keys only.
    pub fn is_sparse(&self, i: usize) -> bool {
        self.has_indexer(i) && self.selects_keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engram(layers: &str) -> Result<Vec<usize>, String> {
        let config = ModelConfig { engram: layers.into(), ..ModelConfig::default() };
        config.engram_layers().map_err(|e| e.to_string())
    }

    #[test]
    fn layers_may_be_counted_from_the_end() {
        assert_eq!(engram(""), Ok(vec![]));
        assert_eq!(engram("-1, 0"), Ok(vec![0, 5]));
        assert_eq!(engram("1,3,-6"), Ok(vec![0, 1, 3]));
    }

    #[test]
    fn what_is_no_layer_is_named() {
        let message = engram("0,6").unwrap_err();
        assert!(message.contains("\"6\"") && message.contains("0 to 5"), "{message}");
        assert!(engram("-7").unwrap_err().contains("-1 to -6"));
        assert!(engram("all").unwrap_err().contains("\"all\""));
        assert!(engram("5,-1").unwrap_err().contains("layer 5 is named twice"));
    }

    #[test]
    fn the_number_of_selected_keys_follows_from_the_configured_length() {
        let keys = |sequence_len, dsa_ratio, dsa_local| {
            ModelConfig { sequence_len, dsa_ratio, dsa_local, ..ModelConfig::default() }.dsa_top_k()
        };
        assert_eq!(keys(8192, 0.125, 128), 1024);
        assert_eq!(keys(512, 0.125, 128), 128);
        assert_eq!(keys(10, 0.7, 1), 7);
        let mut config = ModelConfig { dsa: true, dsa_start: 2, ..ModelConfig::default() };
        assert_eq!([1, 2, 5].map(|i| config.is_sparse(i)), [false, true, true]);
        config.sequence_len = 288;
        assert_eq!(config.dsa_top_k(), 144);
        config.dsa_local = 256;
        assert!(!config.selects_keys() && config.has_indexer(5));
    }
}
