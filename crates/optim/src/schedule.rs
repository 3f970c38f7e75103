//! What changes from step to step.

use kiln_graph::ops::{SCHEDULE_LEN, Schedule};

use crate::Settings;

/// Depth that the weight decay is given for.
const REFERENCE_DEPTH: f64 = 12.0;
/// Muon's momentum at the first step, and after [`MOMENTUM_STEPS`].
const MOMENTUM: (f64, f64) = (0.85, 0.95);
/// Steps over which Muon's momentum rises.
const MOMENTUM_STEPS: f64 = 300.0;

/// Factors of a run of `num_iterations` steps, which are counted from 0.
#[derive(Clone, PartialEq, Debug)]
pub struct Schedules {
    num_iterations: f64,
    warmup: f64,
    warmdown: f64,
    final_lr_frac: f64,
    weight_decay: f64,
    betas: (f64, f64),
}

impl Schedules {
    /// The schedules of a run of a model of `depth` layers.
    pub fn new(settings: &Settings, num_iterations: usize, depth: usize) -> Schedules {
        let n = num_iterations as f64;
        // Halves go to the even number, as Python rounds.
        let part = |ratio: f64| (ratio * n).round_ties_even();
        Schedules {
            num_iterations: n,
            warmup: part(settings.warmup_ratio),
            warmdown: part(settings.warmdown_ratio),
            final_lr_frac: settings.final_lr_frac,
            weight_decay: settings.weight_decay * (REFERENCE_DEPTH / depth as f64).powi(2),
            betas: (settings.adam_beta1, settings.adam_beta2),
        }
    }

    /// Factor of every learning rate: rises to 1, stays, falls to `final_lr_frac`.
    pub fn lr_multiplier(&self, step: usize) -> f64 {
        let (t, n) = (step as f64, self.num_iterations);
        if t < self.warmup {
            return (t + 1.0) / self.warmup;
        }
        if t <= n - self.warmdown {
            return 1.0;
        }
        // Beyond the end of the run, the rate stays where it fell to.
        let left = ((n - t) / self.warmdown.max(1.0)).max(0.0);
        left + (1.0 - left) * self.final_lr_frac
    }

    /// Muon's momentum.
    pub fn momentum(&self, step: usize) -> f64 {
        let (first, last) = MOMENTUM;
        first + (last - first) * (step as f64 / MOMENTUM_STEPS).min(1.0)
    }

    /// Muon's weight decay: falls linearly to 0 over the run; deeper models get less.
    pub fn weight_decay(&self, step: usize) -> f64 {
        self.weight_decay * (1.0 - step as f64 / self.num_iterations).max(0.0)
    }

    /// The `schedule` input of an optimizer graph at a step.
    pub fn values(&self, step: usize) -> [f32; SCHEDULE_LEN] {
        let bias = |beta: f64| 1.0 - beta.powf(step as f64 + 1.0);
        let mut values = [0.0; SCHEDULE_LEN];
        values[Schedule::LrMultiplier as usize] = self.lr_multiplier(step) as f32;
        values[Schedule::Momentum as usize] = self.momentum(step) as f32;
        values[Schedule::WeightDecay as usize] = self.weight_decay(step) as f32;
        values[Schedule::Bias1 as usize] = bias(self.betas.0) as f32;
        values[Schedule::Bias2 as usize] = bias(self.betas.1) as f32;
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
    }

    /// 50 steps at depth 6 with warm-up 0.1, warm-down 0.4 to 0.05: values of the reference.
    #[test]
    fn a_run_with_warmup_and_warmdown() {
        let settings = Settings { warmup_ratio: 0.1, final_lr_frac: 0.05, ..Settings::default() };
        let schedules = Schedules::new(&settings, 50, 6);
        let lr = [
            (0, 0.2),
            (1, 0.4),
            (3, 0.8),
            (4, 1.0),
            (5, 1.0),
            (30, 1.0),
            (31, 0.9525),
            (32, 0.905),
            (40, 0.525),
            (48, 0.145),
            (49, 0.0975),
            (50, 0.05),
            (60, 0.05),
        ];
        lr.iter().for_each(|&(t, value)| assert_close(schedules.lr_multiplier(t), value));
        let decay = [(0, 0.8), (1, 0.784), (25, 0.4), (49, 0.016), (50, 0.0), (51, 0.0)];
        decay.iter().for_each(|&(t, value)| assert_close(schedules.weight_decay(t), value));
        let momentum = [
            (0, 0.85),
            (1, 0.8503333333333333),
            (150, 0.9),
            (290, 0.9466666666666667),
            (300, 0.95),
            (490, 0.95),
        ];
        momentum.iter().for_each(|&(t, value)| assert_close(schedules.momentum(t), value));
    }

    /// 20 steps at depth 3 with the defaults: values of the reference.
    #[test]
    fn a_short_run_with_the_defaults() {
        let schedules = Schedules::new(&Settings::default(), 20, 3);
        let lr = [(0, 1.0), (12, 1.0), (13, 0.875), (19, 0.125)];
        lr.iter().for_each(|&(t, value)| assert_close(schedules.lr_multiplier(t), value));
        assert_close(schedules.weight_decay(0), 3.2);
        assert_close(schedules.weight_decay(19), 0.16);
    }

    #[test]
    fn halves_round_to_even() {
        let warmup = |ratio, n| {
            let settings = Settings { warmup_ratio: ratio, ..Settings::default() };
            Schedules::new(&settings, n, 6).lr_multiplier(0)
        };
        // 0.25·10 = 2.5 -> 2, 0.25·14 = 3.5 -> 4, 0.25·2 = 0.5 -> 0.
        assert_close(warmup(0.25, 10), 0.5);
        assert_close(warmup(0.25, 14), 0.25);
        assert_close(warmup(0.25, 2), 1.0);
    }

    #[test]
    fn no_warmdown_keeps_the_full_rate() {
        let settings = Settings { warmdown_ratio: 0.0, ..Settings::default() };
        let schedules = Schedules::new(&settings, 10, 6);
        (0..=10).for_each(|t| assert_close(schedules.lr_multiplier(t), 1.0));
    }

    #[test]
    fn values_are_in_the_order_of_the_graph() {
        let schedules = Schedules::new(&Settings::default(), 20, 3);
        let expected = [1.0, 0.85, 3.2, 0.2, 0.05];
        for (found, expected) in schedules.values(0).into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
        }
        let [.., bias1, bias2] = schedules.values(2);
        assert!((bias1 - (1.0 - 0.8f32.powi(3))).abs() < 1e-6);
        assert!((bias2 - (1.0 - 0.95f32.powi(3))).abs() < 1e-6);
    }
}
