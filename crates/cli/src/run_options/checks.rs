//! What is refused: sizes that no machine holds, and settings that do not go together.

use kiln_train::config::TrainSettings;

use super::RunOptions;

impl RunOptions {
    /// Refuses sizes that no machine has memory for, before anything is computed from them.
    pub(super) fn check_sizes(&self, vocab_size: usize) -> anyhow::Result<()> {
        let sizes = [
            ("--depth", self.depth, 1 << 12),
            ("--aspect-ratio", self.aspect_ratio, 1 << 12),
            ("--head-dim", self.head_dim, 1 << 20),
            ("--n-embd", self.n_embd, 1 << 20),
            ("--seq-len", self.seq_len, 1 << 24),
            ("--device-batch-size", self.device_batch_size, 1 << 24),
            ("--vocab-size", Some(vocab_size), 1 << 26),
        ];
        for (flag, value, most) in sizes {
            if let Some(value) = value.filter(|value| *value > most) {
                anyhow::bail!("{flag} can be {most} at the most, not {value}");
            }
        }
        let train = TrainSettings::default();
        let rows = self.device_batch_size.unwrap_or(train.device_batch_size);
        let tokens = rows * self.seq_len.unwrap_or(train.seq_len);
        if tokens > 1 << 30 {
            anyhow::bail!(
                "--device-batch-size times --seq-len is {tokens} tokens; 2^30 is the most"
            );
        }
        Ok(())
    }

    /// Refuses settings of the data that do not go together.
    pub(super) fn check_data(&self, train: &TrainSettings) -> anyhow::Result<()> {
        let rates = [
            ("--fim-rate", train.fim.rate),
            ("--fim-spm-rate", train.fim.spm_rate),
            ("--fim-body-rate", train.fim.body_rate),
        ];
        for (flag, rate) in rates {
            if !(0.0..=1.0).contains(&rate) {
                anyhow::bail!("{flag} is a share from 0 to 1, not {rate}");
            }
        }
        if !(train.pairs_share > 0.0 && train.pairs_share < 1.0) {
            let share = train.pairs_share;
            anyhow::bail!("--pairs-share is a share of more than 0 and less than 1, not {share}");
        }
        let needs = [
            ("--fim-spm-rate", self.fim_spm_rate.is_some(), "--fim-rate", train.fim.rate > 0.0),
            ("--fim-body-rate", self.fim_body_rate.is_some(), "--fim-rate", train.fim.rate > 0.0),
            ("--pairs-share", self.pairs_share.is_some(), "--pairs", train.pairs.is_some()),
            ("--stream-patience", self.stream_patience.is_some(), "--stream", train.stream),
        ];
        for (flag, given, other, there) in needs {
            if given && !there {
                anyhow::bail!("{flag} means nothing without {other}");
            }
        }
        let sets = &train.data;
        let weights: Vec<f64> = sets.iter().filter_map(|set| set.weight).collect();
        if let Some(weight) = weights.iter().find(|weight| !(**weight > 0.0 && weight.is_finite()))
        {
            anyhow::bail!("a weight of --data must be more than 0, not {weight}");
        }
        if !weights.is_empty() && weights.len() < sets.len() {
            anyhow::bail!("give each --data a weight, as in a=0.7 b=0.3, or none");
        }
        if train.stream && sets.len() > 1 && weights.is_empty() {
            anyhow::bail!(
                "give each --data a weight: the size of what --stream reads is not known"
            );
        }
        Ok(())
    }
}

/// Refuses a number that is not more than 0.
pub(super) fn positive(flag: &str, value: Option<f64>) -> anyhow::Result<()> {
    match value {
        Some(value) if !(value > 0.0 && value.is_finite()) => {
            anyhow::bail!("{flag} must be more than 0, not {value}")
        }
        _ => Ok(()),
    }
}
