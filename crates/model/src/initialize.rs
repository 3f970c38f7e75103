//! Initial values, the same for a seed whatever else a model holds.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use rayon::prelude::*;

use crate::{Init, ModelConfig, Parameter};

/// Values drawn from one random stream. Streams are told apart by parameter and chunk, so chunks can be filled in any
/// order, by any number of threads.
const CHUNK: usize = 1 << 16;

/// Makes the initial values of every parameter, one after the other, and hands each to `receive`.
///
/// Values depend on the seed and on the parameter's own name, shape and rule alone.
///
/// # Errors
/// The first error of `receive`.
pub fn initialize<E>(
    config: &ModelConfig,
    seed: u64,
    mut receive: impl FnMut(&Parameter, &[f32]) -> Result<(), E>,
) -> Result<(), E> {
    let parameters = config.parameters();
    let longest = parameters.iter().map(Parameter::count).max().unwrap_or(0);
    let mut buffer = vec![0.0; longest];
    for parameter in &parameters {
        let values = &mut buffer[..parameter.count()];
        parameter.fill(seed, values);
        receive(parameter, values)?;
    }
    Ok(())
}

impl Parameter {
    /// Fills `values` with the initial values under a seed.
    ///
    /// # Panics
    /// When there are not as many values as the shape says.
    pub fn fill(&self, seed: u64, values: &mut [f32]) {
        assert_eq!(values.len(), self.count(), "{} has other extents", self.name);
        match self.init {
            Init::Constant(value) => values.fill(value),
            Init::Ramp { first, last } => ramp(first, last, values),
            Init::Normal { std } => self.chunks(seed, values, |rng, chunk| normal(rng, std, chunk)),
            Init::Uniform { low, high } => {
                self.chunks(seed, values, |rng, chunk| uniform(rng, low, high, chunk));
            }
        }
    }

    /// Calls `fill` for chunks of the values, each with its own stream, on all cores.
    fn chunks(
        &self,
        seed: u64,
        values: &mut [f32],
        fill: impl Fn(&mut ChaCha8Rng, &mut [f32]) + Sync,
    ) {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&fnv1a(self.name.as_bytes()).to_le_bytes());
        values.par_chunks_mut(CHUNK).enumerate().for_each(|(index, chunk)| {
            let mut rng = ChaCha8Rng::from_seed(key);
            rng.set_stream(index as u64);
            fill(&mut rng, chunk);
        });
    }
}

/// FNV-1a, 64 bits: a hash that stays what it is, unlike the standard library's.
fn fnv1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

fn ramp(first: f32, last: f32, values: &mut [f32]) {
    let steps = values.len().saturating_sub(1).max(1) as f64;
    let slope = (f64::from(last) - f64::from(first)) / steps;
    for (i, value) in values.iter_mut().enumerate() {
        *value = (f64::from(first) + slope * i as f64) as f32;
    }
}

fn normal(rng: &mut ChaCha8Rng, std: f32, values: &mut [f32]) {
    for value in values {
        let sample: f32 = rng.sample(StandardNormal);
        *value = std * sample;
    }
}

fn uniform(rng: &mut ChaCha8Rng, low: f32, high: f32, values: &mut [f32]) {
    // 24 random bits fill an f32's mantissa.
    let scale = (high - low) / (1 << 24) as f32;
    for value in values {
        *value = low + scale * (rng.next_u32() >> 8) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ParameterKind, Preset};

    fn values(name: &str, count: usize, init: Init, seed: u64) -> Vec<f32> {
        let parameter =
            Parameter { name: name.into(), shape: vec![count], init, kind: ParameterKind::Matrix };
        let mut values = vec![f32::NAN; count];
        parameter.fill(seed, &mut values);
        values
    }

    fn moments(values: &[f32]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let square = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
        (mean, square.sqrt())
    }

    #[test]
    fn distributions_are_what_they_are_called() {
        let n = 300_000;
        let (mean, std) = moments(&values("a", n, Init::Normal { std: 0.8 }, 1));
        assert!(mean.abs() < 0.01 && (std - 0.8).abs() < 0.01, "{mean} {std}");
        let uniform = values("a", n, Init::Uniform { low: -0.5, high: 1.0 }, 1);
        let (mean, std) = moments(&uniform);
        assert!((mean - 0.25).abs() < 0.01 && (std - 1.5 / 12f64.sqrt()).abs() < 0.01);
        assert!(uniform.iter().all(|v| (-0.5..1.0).contains(v)));
        let ramp = values("a", 3, Init::Ramp { first: 1.15, last: 1.05 }, 1);
        assert!(ramp.iter().zip([1.15, 1.1, 1.05]).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6));
        assert_eq!(values("a", 1, Init::Ramp { first: 1.15, last: 1.05 }, 1), [1.15]);
        assert_eq!(values("a", 2, Init::Constant(0.2), 1), [0.2, 0.2]);
    }

    #[test]
    fn seed_name_and_chunk_each_give_another_stream() {
        let init = Init::Normal { std: 1.0 };
        let a = values("a", 2 * CHUNK, init, 7);
        assert_eq!(a, values("a", 2 * CHUNK, init, 7));
        assert_ne!(a, values("b", 2 * CHUNK, init, 7));
        assert_ne!(a, values("a", 2 * CHUNK, init, 8));
        assert_ne!(a[..CHUNK], a[CHUNK..]);
        assert_eq!(a[..CHUNK + 5], values("a", CHUNK + 5, init, 7));
    }

    #[test]
    fn values_stay_what_they_are() {
        // A change of these breaks the reproducibility of runs by their seed.
        let normal = values("transformer.wte.weight", 3, Init::Normal { std: 1.0 }, 42);
        let uniform =
            values("transformer.wte.weight", 3, Init::Uniform { low: 0.0, high: 1.0 }, 42);
        assert_eq!(normal, [0.46729633, 0.20845385, -0.18037888]);
        assert_eq!(uniform, [0.81029665, 0.5923483, 0.046352506]);
    }

    #[test]
    fn every_parameter_is_handed_over_once_and_an_error_stops() {
        let mut config = ModelConfig {
            n_layer: 2,
            n_embd: 24,
            n_head: 2,
            n_kv_head: 1,
            vocab_size: 10,
            ..ModelConfig::default()
        };
        config.apply_preset(Preset::Modern);
        let mut names = Vec::new();
        let done: Result<(), ()> = initialize(&config, 1, |p, values| {
            assert_eq!(values.len(), p.count());
            assert!(values.iter().all(|v| v.is_finite()));
            names.push(p.name.clone());
            Ok(())
        });
        assert!(done.is_ok());
        let expected: Vec<String> = config.parameters().into_iter().map(|p| p.name).collect();
        assert_eq!(names, expected);
        let mut calls = 0;
        let stopped = initialize(&config, 1, |_, _| {
            calls += 1;
            Err("full")
        });
        assert_eq!((stopped, calls), (Err("full"), 1));
    }
}
