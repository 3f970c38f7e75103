//! Generation with a key/value cache.

use kiln_graph::{Executor, Feed, ProgramId};
use kiln_model::{Compute, ModelConfig, decode_graph};

use crate::TrainError;
use crate::sampler::{Sampler, Sampling};

/// Tokens that one prefill step takes: prompts go through in pieces of these sizes, the last padded to the smallest that
/// holds it.
const PREFILL: [usize; 3] = [16, 64, 256];

/// Those of the sizes that a cache has room for.
pub(crate) fn prefill_sizes(capacity: usize) -> impl Iterator<Item = usize> {
    PREFILL.into_iter().filter(move |&tokens| tokens <= capacity)
}

/// The size of the step that takes the next of `left` tokens of a prompt.
pub(crate) fn piece(left: usize, capacity: usize) -> usize {
    let sizes = || prefill_sizes(capacity);
    let fitting = sizes().find(|&tokens| tokens >= left).or_else(|| sizes().last());
    fitting.filter(|_| left > 1).unwrap_or(1)
}

/// Whether a prompt can be continued.
///
/// # Errors
/// When it is empty or longer than the capacity, or has a token that the model does not.
pub(crate) fn check_prompt(
    prompt: &[u32],
    capacity: usize,
    vocab: usize,
) -> Result<(), TrainError> {
    if prompt.is_empty() || prompt.len() > capacity {
        return Err(TrainError::Prompt { tokens: prompt.len(), capacity });
    }
    match prompt.iter().find(|&&id| id as usize >= vocab) {
        Some(&id) => Err(TrainError::Token { id, vocab }),
        None => Ok(()),
    }
}

/// Continues prompts, `rows` at a time, with the model whose parameters an executor holds.
pub struct Generator {
    rows: usize,
    capacity: usize,
    vocab: usize,
    decode: ProgramId,
    prefill: Vec<(usize, ProgramId)>,
    seen: Vec<i32>,
    ids: Vec<i32>,
    last: Vec<i32>,
    /// Tokens that are never made.
    masked: Vec<u32>,
    samplers: Vec<Sampler>,
    /// The program whose output are the logits of the next tokens; none when `ids` must go through the model first.
    latest: Option<ProgramId>,
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
            Ok(executor.prepare(&built.graph)?)
        };
        let decode = prepare(1)?;
        let sizes = prefill_sizes(capacity);
        let prefill: Result<Vec<_>, TrainError> = sizes.map(|t| Ok((t, prepare(t)?))).collect();
        Ok(Generator {
            rows,
            capacity,
            vocab: config.vocab_size,
            decode,
            prefill: prefill?,
            seen: vec![0; rows],
            ids: Vec::new(),
            last: vec![0; rows],
            masked: Vec::new(),
            samplers: Vec::new(),
            latest: None,
        })
    }

    /// Tokens that are never to be made, from now on.
    pub fn mask(&mut self, tokens: Vec<u32>) {
        self.masked = tokens;
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
        self.begin(executor, prompt, sampling)?;
        let mut running = vec![true; self.rows];
        let mut made = 0;
        for _ in 0..max_tokens {
            if !running.contains(&true) || !self.has_room() {
                break;
            }
            let tokens = self.next_tokens(executor)?;
            for (row, (running, &token)) in running.iter_mut().zip(tokens).enumerate() {
                if *running {
                    made += 1;
                    *running = emit(row, token as u32) == Flow::Continue;
                }
            }
        }
        Ok(made)
    }

    /// Feeds one prompt (at least one token) to every row; [`next_tokens`](Self::next_tokens) goes on from there.
    ///
    /// # Errors
    /// As of [`generate`](Self::generate).
    pub fn begin(
        &mut self,
        executor: &mut dyn Executor,
        prompt: &[u32],
        sampling: Sampling,
    ) -> Result<(), TrainError> {
        check_prompt(prompt, self.capacity, self.vocab)?;
        self.samplers.clear();
        self.samplers.extend((0..self.rows).map(|i| Sampler::new(sampling, i)));
        self.latest = Some(self.feed_prompt(executor, prompt)?);
        Ok(())
    }

    /// Whether there is room for what [`next_tokens`](Self::next_tokens) would feed.
    pub fn has_room(&self) -> bool {
        self.latest.is_some() || (self.seen[0] as usize) < self.capacity
    }

    /// The next token of each row, after the ones before went through the model.
    ///
    /// # Errors
    /// When the executor fails.
    ///
    /// # Panics
    /// Without a prompt, or without [room](Self::has_room).
    pub fn next_tokens(&mut self, executor: &mut dyn Executor) -> Result<&[i32], TrainError> {
        assert!(!self.samplers.is_empty() && self.has_room(), "a prompt, and room for more tokens");
        let program = match self.latest.take() {
            Some(program) => program,
            None => self.feed_tokens(executor)?,
        };
        let logits = executor.output(program, 0);
        self.ids.clear();
        for (sampler, logits) in self.samplers.iter_mut().zip(logits.chunks_exact(self.vocab)) {
            self.ids.push(sampler.sample(logits, &self.masked) as i32);
        }
        Ok(&self.ids)
    }

    fn feed_tokens(&mut self, executor: &mut dyn Executor) -> Result<ProgramId, TrainError> {
        self.last.fill(0);
        let feeds = [Feed::I32(&self.ids), Feed::I32(&self.seen), Feed::I32(&self.last)];
        executor.run(self.decode, &feeds)?;
        self.seen.iter_mut().for_each(|seen| *seen += 1);
        Ok(self.decode)
    }

    /// Runs the prompt through in pieces; returns the program whose output are the logits after it.
    fn feed_prompt(
        &mut self,
        executor: &mut dyn Executor,
        prompt: &[u32],
    ) -> Result<ProgramId, TrainError> {
        self.seen.fill(0);
        let mut at = 0;
        let mut program = self.decode;
        while at < prompt.len() {
            let left = prompt.len() - at;
            let tokens = piece(left, self.capacity);
            let prepared = self.prefill.iter().find(|(size, _)| *size == tokens);
            let chosen = prepared.map_or(self.decode, |(_, program)| *program);
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
