//! One micro-batch: its losses, and its gradients added to those of the ones before.

use kiln_graph::{Executor, Feed, ProgramId};
use kiln_model::{Compute, ModelConfig};

use crate::TrainError;
use crate::programs::training_graph;

/// The program of a [`training_graph`].
#[derive(Clone, Copy, Debug)]
pub struct MicroBatches {
    program: ProgramId,
    drops: bool,
    predicts: bool,
}

/// Mean losses in nats per token.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Losses {
    /// Of the next token.
    pub main: f64,
    /// Of the token after it, where the model learns to predict it.
    pub mtp: Option<f64>,
}

impl Losses {
    /// Adds those of another micro-batch.
    pub fn add(&mut self, other: Losses) {
        self.main += other.main;
        self.mtp = other.mtp.map(|mtp| mtp + self.mtp.unwrap_or(0.0));
    }

    /// Of the sum of `n` micro-batches, their mean.
    pub fn mean(self, n: usize) -> Losses {
        let n = n as f64;
        Losses { main: self.main / n, mtp: self.mtp.map(|mtp| mtp / n) }
    }

    /// Whether both are numbers.
    pub fn are_finite(&self) -> bool {
        self.main.is_finite() && self.mtp.is_none_or(f64::is_finite)
    }
}

/// What a micro-batch is trained with beside its tokens.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Factor of the gradients that earlier micro-batches left: 0 for a step's first.
    pub keep: f32,
    /// 1 over the number of micro-batches.
    pub loss_scale: f32,
    /// Decides what dropout drops.
    pub key: [i32; 2],
}

/// The key of a micro-batch, counted from the beginning of the run: a run that is resumed drops what it would have dropped.
pub fn dropout_key(seed: u64, micro_batch: u64) -> [i32; 2] {
    let seed = (seed ^ (seed >> 32)) as u32;
    let high = (micro_batch >> 32) as u32;
    [(seed ^ high.rotate_left(16)) as i32, micro_batch as u32 as i32]
}

impl MicroBatches {
    /// Prepares the graph for `batch` rows of `seq_len` tokens.
    ///
    /// # Errors
    /// When memory is short.
    pub fn prepare(
        executor: &mut dyn Executor,
        config: &ModelConfig,
        compute: Compute,
        batch: usize,
        seq_len: usize,
    ) -> Result<Self, TrainError> {
        let program = executor.prepare(&training_graph(config, compute, batch, seq_len)?)?;
        Ok(MicroBatches { program, drops: config.drops(), predicts: config.mtp })
    }

    /// The program.
    pub fn program(&self) -> ProgramId {
        self.program
    }

    /// Runs one: `ids` and `targets` are `[B, T]`.
    ///
    /// # Errors
    /// When the executor fails.
    pub fn run(
        &self,
        executor: &mut dyn Executor,
        (ids, targets): (&[i32], &[i32]),
        step: Step,
    ) -> Result<Losses, TrainError> {
        let mut feeds = vec![Feed::I32(ids), Feed::I32(targets)];
        if self.drops {
            feeds.push(Feed::I32(&step.key));
        }
        let (keep, scale) = ([step.keep], [step.loss_scale]);
        feeds.extend([Feed::F32(&keep), Feed::F32(&scale)]);
        executor.run(self.program, &feeds)?;
        let output = |index| f64::from(executor.output(self.program, index)[0]);
        Ok(if self.predicts {
            Losses { main: output(1), mtp: Some(output(2)) }
        } else {
            Losses { main: output(0), mtp: None }
        })
    }
}
