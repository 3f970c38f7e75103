//! Generation with a key/value cache.

use kiln_graph::{Executor, Feed, ProgramId, TensorType};
use kiln_model::{Compute, ModelConfig, decode_graph};

use crate::TrainError;
use crate::sampler::{Sampler, Sampling};

/// Tokens that one prefill step takes: prompts go through in pieces of these sizes, the last padded to the smallest that
/// holds it.
const PREFILL: [usize; 3] = [16, 64, 256];

/// Continues prompts, `rows` at a time, with the model whose parameters an executor holds.
pub struct Generator {
    rows: usize,
    capacity: usize,
    vocab: usize,
    decode: ProgramId,
    prefill: Vec<(usize, ProgramId)>,
    /// `cache.smear`, which a new generation needs to be zero.
    cleared: Option<(String, TensorType)>,
    seen: Vec<i32>,
    ids: Vec<i32>,
    last: Vec<i32>,
}

/// What becomes of a token that was generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// End the row.
    Stop,
}

impl Generator {
    /// Prepares graphs and caches for `rows` rows of at most `capacity` tokens, prompt included, computed in type
    /// `compute`; with bf16 the executor must hold the copies that it reads, of
    /// [`make_compute_copies`](crate::programs::make_compute_copies).
    ///
    /// # Errors
    /// When memory is short, or the executor holds caches of other sizes.
    pub fn new(
        executor: &mut dyn Executor,
        config: &ModelConfig,
        compute: Compute,
        rows: usize,
        capacity: usize,
    ) -> Result<Self, TrainError> {
        let mut prepare = |tokens| -> Result<_, TrainError> {
            let built = decode_graph(config, compute, rows, tokens, capacity)?;
            Ok((executor.prepare(&built.graph)?, built.caches))
        };
        let (decode, caches) = prepare(1)?;
        let sizes = PREFILL.iter().filter(|&&tokens| tokens <= capacity);
        let prefill: Result<Vec<_>, TrainError> = sizes.map(|&t| Ok((t, prepare(t)?.0))).collect();
        Ok(Generator {
            rows,
            capacity,
            vocab: config.vocab_size,
            decode,
            prefill: prefill?,
            cleared: caches.into_iter().find(|(name, _)| name.ends_with("smear")),
            seen: vec![0; rows],
            ids: Vec::new(),
            last: vec![0; rows],
        })
    }

    /// Feeds one prompt (at least one token) to every row, then generates: `emit(row, token)` is called for each token as
    /// it is made and says whether the row goes on. Returns the number of tokens generated.
    ///
    /// # Errors
    /// When the prompt is empty or longer than the capacity, or has a token that the model does not.
    pub fn generate(
        &mut self,
        executor: &mut dyn Executor,
        prompt: &[u32],
        max_tokens: usize,
        sampling: Sampling,
        mut emit: impl FnMut(usize, u32) -> Flow,
    ) -> Result<usize, TrainError> {
        self.check(prompt)?;
        let mut samplers: Vec<Sampler> =
            (0..self.rows).map(|i| Sampler::new(sampling, i)).collect();
        let mut running = vec![true; self.rows];
        let mut program = self.feed_prompt(executor, prompt)?;
        let mut made = 0;
        for step in 0..max_tokens {
            let logits = executor.output(program, 0);
            self.ids.clear();
            for (row, sampler) in samplers.iter_mut().enumerate() {
                let token = sampler.sample(&logits[row * self.vocab..][..self.vocab]);
                self.ids.push(token as i32);
                if running[row] {
                    made += 1;
                    running[row] = emit(row, token) == Flow::Continue;
                }
            }
            let full = self.seen[0] as usize >= self.capacity;
            if step + 1 == max_tokens || full || !running.contains(&true) {
                break;
            }
            self.last.fill(0);
            let feeds = [Feed::I32(&self.ids), Feed::I32(&self.seen), Feed::I32(&self.last)];
            executor.run(self.decode, &feeds)?;
            program = self.decode;
            self.seen.iter_mut().for_each(|seen| *seen += 1);
        }
        Ok(made)
    }

    fn check(&self, prompt: &[u32]) -> Result<(), TrainError> {
        if prompt.is_empty() || prompt.len() > self.capacity {
            return Err(TrainError::Prompt { tokens: prompt.len(), capacity: self.capacity });
        }
        match prompt.iter().find(|&&id| id as usize >= self.vocab) {
            Some(&id) => Err(TrainError::Token { id, vocab: self.vocab }),
            None => Ok(()),
        }
    }

    /// Runs the prompt through in pieces; returns the program whose output are the logits after it.
    fn feed_prompt(
        &mut self,
        executor: &mut dyn Executor,
        prompt: &[u32],
    ) -> Result<ProgramId, TrainError> {
        if let Some((name, ty)) = &self.cleared {
            executor.write(name, *ty, &vec![0.0; ty.len()])?;
        }
        self.seen.fill(0);
        let mut at = 0;
        let mut program = self.decode;
        while at < prompt.len() {
            let left = prompt.len() - at;
            let fitting = self.prefill.iter().find(|(tokens, _)| *tokens >= left);
            let choice = fitting.or(self.prefill.last()).copied().filter(|_| left > 1);
            let (tokens, chosen) = choice.unwrap_or((1, self.decode));
            let taken = left.min(tokens);
            self.ids.clear();
            for _ in 0..self.rows {
                self.ids.extend(prompt[at..at + taken].iter().map(|&id| id as i32));
                self.ids.resize(self.ids.len() + tokens - taken, 0);
            }
            self.last.fill(taken as i32 - 1);
            let feeds = [Feed::I32(&self.ids), Feed::I32(&self.seen), Feed::I32(&self.last)];
            executor.run(chosen, &feeds)?;
            self.seen.iter_mut().for_each(|seen| *seen += taken as i32);
            (at, program) = (at + taken, chosen);
        }
        Ok(program)
    }
}
