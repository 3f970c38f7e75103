//! Choosing the next token from logits.

use std::cmp::Ordering;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// How tokens are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Logits are divided by it; 0 takes the most likely token.
    pub temperature: f32,
    /// Only this many of the most likely tokens are candidates; 0: all.
    pub top_k: usize,
    /// Only the most likely tokens whose probabilities reach this sum are candidates; 1: all.
    pub top_p: f32,
    /// Seed of the choices; sample `i` of several has a stream of its own.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling { temperature: 0.8, top_k: 50, top_p: 1.0, seed: 0 }
    }
}

impl Sampling {
    /// Checks the ranges.
    ///
    /// # Errors
    /// The name of the setting that is out of range, and its range.
    pub fn validate(&self) -> Result<(), String> {
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return Err(format!("temperature must be 0 or more, not {}", self.temperature));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(format!("top-p must be above 0 and at most 1, not {}", self.top_p));
        }
        Ok(())
    }
}

/// Draws tokens for one sample.
pub struct Sampler {
    sampling: Sampling,
    rng: ChaCha8Rng,
    /// Candidates with their logits, then with their weights; kept to allocate once.
    candidates: Vec<(u32, f32)>,
}

/// Logits that are looked at together: most of them have no candidate among them, which their maximum tells.
const BLOCK: usize = 64;

impl Sampler {
    /// The sampler of sample number `index`.
    pub fn new(sampling: Sampling, index: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(sampling.seed);
        rng.set_stream(index as u64);
        Sampler { sampling, rng, candidates: Vec::new() }
    }

    /// The next token, given the logits of all; it is none of `masked`, as if those did not exist.
    pub fn sample(&mut self, logits: &[f32], masked: &[u32]) -> u32 {
        let Sampling { temperature, top_k, .. } = self.sampling;
        let greedy = temperature == 0.0;
        let kept = if greedy { 1 } else { top_k };
        self.keep_likeliest(logits, masked, if kept > 0 { kept } else { logits.len() });
        if self.candidates.is_empty() {
            // Not one that can be compared: the first that may be drawn.
            return (0..).find(|id| !masked.contains(id)).unwrap_or(0);
        }
        if kept == 1 {
            return self.candidates[0].0;
        }
        self.weigh_candidates();
        let total: f64 = self.candidates.iter().map(|&(_, w)| f64::from(w)).sum();
        // 53 random bits in 0..1.
        let uniform = (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let mut left = uniform * total;
        for &(id, weight) in &self.candidates {
            left -= f64::from(weight);
            if left < 0.0 {
                return id;
            }
        }
        self.candidates[self.candidates.len() - 1].0
    }

    /// Orders candidates by falling logit, and turns logits into weights relative to the largest.
    fn weigh_candidates(&mut self) {
        let Sampling { temperature, top_p, .. } = self.sampling;
        self.candidates.sort_unstable_by(by_logit);
        let max = self.candidates.first().map_or(0.0, |c| c.1);
        for (_, logit) in &mut self.candidates {
            *logit = ((*logit - max) / temperature).exp();
        }
        let likely = self.candidates.partition_point(|(_, weight)| *weight > 0.0);
        self.candidates.truncate(likely);
        if top_p < 1.0 {
            let total: f64 = self.candidates.iter().map(|&(_, w)| f64::from(w)).sum();
            let mut sum = 0.0;
            let needed = self.candidates.iter().position(|&(_, w)| {
                sum += f64::from(w);
                sum >= f64::from(top_p) * total
            });
            self.candidates.truncate(needed.map_or(self.candidates.len(), |i| i + 1));
        }
    }

    /// The `k` (at least 1) largest logits with their tokens, in any order.
    fn keep_likeliest(&mut self, logits: &[f32], masked: &[u32], k: usize) {
        let room = k.saturating_mul(2);
        let mut least = f32::NEG_INFINITY;
        self.candidates.clear();
        for (block, logits) in logits.chunks(BLOCK).enumerate() {
            if largest(logits) <= least {
                continue;
            }
            for (id, &logit) in ((block * BLOCK) as u32..).zip(logits) {
                if logit > least && !masked.contains(&id) {
                    self.candidates.push((id, logit));
                    if self.candidates.len() == room {
                        least = self.drop_unlikely(k);
                    }
                }
            }
        }
        if self.candidates.len() > k {
            self.drop_unlikely(k);
        }
    }

    /// Keeps the `k` likeliest of more candidates; returns the least logit among them.
    fn drop_unlikely(&mut self, k: usize) -> f32 {
        self.candidates.select_nth_unstable_by(k - 1, by_logit);
        self.candidates.truncate(k);
        self.candidates[k - 1].1
    }
}

/// The largest of some logits, lane by lane so that it compiles to vectors; -∞ of none.
fn largest(logits: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 8];
    for part in logits.chunks(8) {
        for (lane, &logit) in lanes.iter_mut().zip(part) {
            *lane = if logit > *lane { logit } else { *lane };
        }
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

/// Falling logits; of equals the first token comes first.
fn by_logit(a: &(u32, f32), b: &(u32, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(sampling: Sampling, logits: &[f32], n: usize) -> Vec<u32> {
        let mut sampler = Sampler::new(sampling, 0);
        (0..n).map(|_| sampler.sample(logits, &[])).collect()
    }

    #[test]
    fn temperature_zero_is_greedy() {
        let sampling = Sampling { temperature: 0.0, ..Sampling::default() };
        assert_eq!(draw(sampling, &[0.0, 3.0, 3.0, 1.0], 3), [1, 1, 1]);
    }

    #[test]
    fn frequencies_follow_the_softmax() {
        let sampling = Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, seed: 7 };
        let logits = [0.0, 1.0, 2.0];
        let drawn = draw(sampling, &logits, 20_000);
        let total: f32 = logits.iter().map(|l| l.exp()).sum();
        for (id, logit) in logits.iter().enumerate() {
            let share = drawn.iter().filter(|&&d| d as usize == id).count() as f32 / 20_000.0;
            assert!((share - logit.exp() / total).abs() < 0.015, "{id}: {share}");
        }
    }

    #[test]
    fn top_k_and_top_p_cut_the_tail() {
        let logits = [1.0, 4.0, 3.0, 0.0, 2.0];
        let top_k = Sampling { temperature: 1.0, top_k: 2, top_p: 1.0, seed: 1 };
        assert!(draw(top_k, &logits, 500).iter().all(|d| [1, 2].contains(d)));
        // Probabilities: 0.64, 0.23, 0.09, ...: two reach 0.8, one alone does not.
        let top_p = Sampling { temperature: 1.0, top_k: 0, top_p: 0.8, seed: 1 };
        let drawn = draw(top_p, &logits, 500);
        assert!(drawn.iter().all(|d| [1, 2].contains(d)) && drawn.contains(&2));
        let tiny = Sampling { top_p: 1e-6, ..top_p };
        assert!(draw(tiny, &logits, 50).iter().all(|d| *d == 1));
    }

    #[test]
    fn a_seed_repeats_and_samples_differ() {
        let sampling = Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, seed: 3 };
        let logits = [0.5; 64];
        assert_eq!(draw(sampling, &logits, 20), draw(sampling, &logits, 20));
        let mut other = Sampler::new(sampling, 1);
        let others: Vec<u32> = (0..20).map(|_| other.sample(&logits, &[])).collect();
        assert_ne!(draw(sampling, &logits, 20), others);
    }

    #[test]
    fn masked_tokens_are_never_drawn() {
        let logits = [5.0, 4.0, 9.0, 4.5];
        for sampling in [
            Sampling { temperature: 0.0, ..Sampling::default() },
            Sampling { temperature: 2.0, top_k: 2, top_p: 1.0, seed: 5 },
            Sampling { temperature: 2.0, top_k: 0, top_p: 0.7, seed: 5 },
        ] {
            let mut sampler = Sampler::new(sampling, 0);
            let drawn: Vec<u32> = (0..200).map(|_| sampler.sample(&logits, &[2, 77])).collect();
            assert!(drawn.iter().all(|id| *id != 2), "{sampling:?}");
            assert!(drawn.contains(&0), "{sampling:?}");
        }
    }

    /// One pass that now and then drops what cannot be among the likeliest any more keeps what sorting all would.
    #[test]
    fn the_likeliest_are_those_of_a_full_sort() {
        let logits: Vec<f32> = (0..1000u32).map(|i| (i * 7919 % 211) as f32 * 0.1).collect();
        for top_k in [1, 2, 3, 50, 999, 1000, 5000] {
            let sampling = Sampling { temperature: 1.0, top_k, top_p: 1.0, seed: 0 };
            let mut sampler = Sampler::new(sampling, 0);
            sampler.keep_likeliest(&logits, &[], top_k);
            sampler.candidates.sort_unstable_by(by_logit);
            let mut all: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
            all.sort_unstable_by(by_logit);
            all.truncate(top_k);
            assert_eq!(sampler.candidates, all, "{top_k}");
        }
    }
}
