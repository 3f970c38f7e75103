//! How many steps a run has, and with them its schedules.

use serde::{Deserialize, Serialize};

/// Steps that a run bounded by time makes before its speed is taken: the first ones are slower.
const WARM: u64 = 2;

/// The number of optimizer steps, fixed from the start or found from the speed of the run.
///
/// A run bounded by time estimates its number of steps after a few steps, and again at a quarter and at half of it: all
/// before learning rates begin to fall. Every estimate is kept with the step from which it holds, so that a resumed run
/// computes each step as the interrupted one did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Steps {
    /// (first step for which it holds, number of steps of the run), in order.
    estimates: Vec<(u64, u64)>,
    /// Seconds that the run may take; none where the number of steps is fixed.
    seconds: Option<f64>,
}

impl Steps {
    /// A run of `n` steps.
    pub fn fixed(n: u64) -> Self {
        Steps { estimates: vec![(0, n.max(1))], seconds: None }
    }

    /// A run of about `seconds` of training.
    pub fn timed(seconds: f64) -> Self {
        Steps { estimates: Vec::new(), seconds: Some(seconds) }
    }

    /// The number of steps as known at a step; none while too little is known.
    pub fn total(&self, step: u64) -> Option<u64> {
        self.estimates.iter().rev().find(|(from, _)| *from <= step).map(|(_, n)| *n)
    }

    /// The latest estimate.
    pub fn latest(&self) -> Option<u64> {
        self.estimates.last().map(|(_, n)| *n)
    }

    /// Whether the speed should be taken after `done` steps.
    fn is_due(&self, done: u64) -> bool {
        match (self.seconds, self.estimates.as_slice()) {
            (None, _) => false,
            (Some(_), []) => done >= 2 * WARM,
            (Some(_), [(_, n)]) => done * 4 >= *n,
            (Some(_), [_, (_, n)]) => done * 2 >= *n,
            (Some(_), _) => false,
        }
    }

    /// Takes note of the speed after `done` steps, of which those after the first few took `seconds_per_step` each, when
    /// `spent` seconds are gone. Returns whether there is a new estimate.
    pub fn observe(&mut self, done: u64, seconds_per_step: f64, spent: f64) -> bool {
        if !self.is_due(done) {
            return false;
        }
        let left = (self.seconds.unwrap_or(0.0) - spent).max(0.0);
        let n = done + (left / seconds_per_step.max(1e-9)) as u64;
        self.estimates.push((done, n.max(done + 1)));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_number_is_known_from_the_start() {
        let mut steps = Steps::fixed(10);
        assert_eq!((steps.total(0), steps.total(9)), (Some(10), Some(10)));
        assert!(!steps.observe(5, 1.0, 5.0));
    }

    #[test]
    fn a_timed_run_follows_its_speed_until_half_of_it() {
        let mut steps = Steps::timed(100.0);
        assert_eq!(steps.total(0), None);
        assert!(!steps.observe(3, 1.0, 3.0));
        assert!(steps.observe(4, 1.0, 4.0));
        assert_eq!((steps.total(3), steps.total(4)), (None, Some(100)));
        assert!(!steps.observe(24, 2.0, 44.0));
        assert!(steps.observe(25, 2.0, 46.0));
        assert_eq!(steps.total(25), Some(52));
        assert_eq!(steps.total(24), Some(100), "steps already made keep their schedule");
        assert!(steps.observe(26, 2.0, 48.0));
        assert!(!steps.observe(40, 1.0, 80.0), "no change once rates may fall");
    }

    #[test]
    fn a_run_that_is_out_of_time_ends_with_the_next_step() {
        let mut steps = Steps::timed(1.0);
        assert!(steps.observe(4, 1.0, 4.0));
        assert_eq!(steps.latest(), Some(5));
    }
}
