//! How many steps a run has, and with them its schedules.

use serde::{Deserialize, Serialize};

/// Steps that a run bounded by time makes before its speed is taken: the first ones are slower.
const FIRST: u64 = 4;
/// A new estimate is made when the run would miss its time by more than this share of it.
const TOLERANCE: f64 = 0.05;
/// Share of the run's steps between looks at the time.
const LOOKS: u64 = 16;

/// The number of optimizer steps, fixed from the start or found from the speed of the run.
///
/// A run bounded by time estimates its number of steps after the first few, and again whenever it would end too early or
/// too late at its present speed. Every estimate is kept with the step from which it holds, so that a resumed run computes
/// each step as the interrupted one did.
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

    /// Takes note of the speed after `done` steps, `seconds_per_step` at present, when `spent` seconds are gone. Returns
    /// whether there is a new estimate.
    pub fn observe(&mut self, done: u64, seconds_per_step: f64, spent: f64) -> bool {
        let Some(budget) = self.seconds else { return false };
        let needed = match self.estimates.last() {
            None => done >= FIRST,
            Some(&(from, n)) => {
                let end = spent + n.saturating_sub(done) as f64 * seconds_per_step;
                // A resumed run may stand before an estimate that it made: until there, it keeps to it.
                let look = done >= from + (n / LOOKS).max(2) && done < n;
                look && (end - budget).abs() > TOLERANCE * budget
            }
        };
        if needed {
            let left = (budget - spent).max(0.0);
            let n = done.saturating_add((left / seconds_per_step.max(1e-9)).round() as u64);
            self.estimates.push((done, n.max(done + 1)));
        }
        needed
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
    fn a_timed_run_follows_its_speed() {
        let mut steps = Steps::timed(100.0);
        assert_eq!(steps.total(0), None);
        assert!(!steps.observe(3, 1.0, 3.0));
        assert!(steps.observe(4, 1.0, 4.0));
        assert_eq!((steps.total(3), steps.total(4)), (None, Some(100)));
        assert!(!steps.observe(30, 1.0, 30.0), "it keeps to its time");
        assert!(!steps.observe(5, 2.0, 6.0), "too soon after the last estimate");
        assert!(!steps.observe(3, 9.0, 6.0), "a resumed run stands before it");
        assert!(steps.observe(40, 2.0, 50.0));
        assert_eq!(steps.total(40), Some(65));
        assert_eq!(steps.total(39), Some(100), "steps already made keep their schedule");
        assert!(steps.observe(60, 1.0, 80.0), "a run that has grown faster makes more steps");
        assert_eq!(steps.latest(), Some(80));
    }

    #[test]
    fn a_run_that_is_out_of_time_ends_with_the_next_step() {
        let mut steps = Steps::timed(1.0);
        assert!(steps.observe(4, 1.0, 4.0));
        assert_eq!(steps.latest(), Some(5));
        let mut slowed = Steps::timed(100.0);
        assert!(slowed.observe(4, 0.1, 1.0));
        assert!(slowed.observe(700, 10.0, 101.0));
        assert_eq!(slowed.latest(), Some(701));
    }
}
