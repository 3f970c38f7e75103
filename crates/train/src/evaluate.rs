//! Validation: bits per byte over the held-out documents.

use kiln_data::Mixture;
use kiln_graph::{Executor, Feed, ProgramId};
use kiln_model::{Compute, ModelConfig};
use kiln_tokenizer::Tokenizer;

use crate::TrainError;
use crate::bits_per_byte::BitsPerByte;
use crate::programs::evaluation_graph;

/// Evaluates the model whose parameters an executor holds.
pub struct Evaluator {
    program: ProgramId,
    rows: usize,
    seq_len: usize,
}

/// Outcome of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Bits per byte.
    pub bits_per_byte: f64,
    /// Mean loss per token, in nats.
    pub loss: f64,
    /// Tokens that were predicted.
    pub tokens: u64,
    /// Bytes that these tokens stand for.
    pub bytes: u64,
}

impl Evaluator {
    /// Prepares batches of `rows` rows of `seq_len` tokens, computed in type `compute`; with bf16 the executor must hold
    /// the copies that it reads, of [`make_compute_copies`](crate::programs::make_compute_copies).
    ///
    /// # Errors
    /// When memory is short.
    pub fn new(
        executor: &mut dyn Executor,
        config: &ModelConfig,
        compute: Compute,
        rows: usize,
        seq_len: usize,
    ) -> Result<Self, TrainError> {
        let program = executor.prepare(&evaluation_graph(config, compute, rows, seq_len)?)?;
        Ok(Evaluator { program, rows, seq_len })
    }

    /// Bits per byte of the first `max_tokens` held-out tokens; the same ones every time.
    ///
    /// # Errors
    /// When there is no held-out token with bytes, or the data cannot be read.
    pub fn run(
        &self,
        executor: &mut dyn Executor,
        data: &Mixture,
        tokenizer: &Tokenizer,
        max_tokens: u64,
    ) -> Result<Evaluation, TrainError> {
        let mut sum = BitsPerByte::new(tokenizer.token_bytes());
        for batch in data.validation_batches(tokenizer, self.rows, self.seq_len, max_tokens)? {
            let batch = batch?;
            executor.run(self.program, &[Feed::I32(&batch.ids), Feed::I32(&batch.targets)])?;
            sum.add(executor.output(self.program, 0), &batch.targets)?;
        }
        Ok(Evaluation {
            bits_per_byte: sum.finish()?,
            loss: sum.mean_loss(),
            tokens: sum.tokens(),
            bytes: sum.bytes(),
        })
    }
}
