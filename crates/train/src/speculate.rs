//! Speculative decoding (Leviathan et al. 2023): the block of multi-token prediction drafts a token, the trunk checks it
//! together with the one before. What comes out is what plain greedy decoding yields; a draft that is right saves a pass.
//!
//! With the tokens up to position n known and n the last of them, a step runs the trunk on that token and on the draft
//! after it. The logits of the first say what token n+1 is; if that is the draft, those of the second say what n+2 is.
//! Caches are indexed by position, so a draft that was wrong is simply written over.

use kiln_graph::{Executor, Feed, ProgramId};
use kiln_model::{Compute, DecodeShape, LogitsOf, ModelConfig, draft_graph, trunk_graph};

use crate::TrainError;
use crate::generate::{Flow, check_prompt, piece, prefill_sizes};
use crate::sampler::{Sampler, Sampling};

/// Drafts are chosen among so many ids. Tokenizers number tokens by how early they were learned, so that the first ones are
/// by far the most of any text; a draft need not be right, but it must cost little, and the output layer is most of it.
const DRAFT_VOCAB: usize = 8192;

/// Tokens of a checking step: one that is known, and a draft.
const CHECKED: usize = 2;

/// The trunk for so many tokens, and the drafts after them.
#[derive(Clone, Copy)]
struct Pass {
    tokens: usize,
    trunk: ProgramId,
    draft: ProgramId,
}

/// What came of the drafts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Speculation {
    /// Tokens that were made.
    pub made: usize,
    /// Drafts that were checked.
    pub drafted: usize,
    /// Those that were right.
    pub accepted: usize,
}

/// Continues a prompt greedily, with drafts.
pub struct Speculator {
    capacity: usize,
    vocab: usize,
    draft_vocab: usize,
    prefill: Vec<Pass>,
    check: Pass,
    sampler: Sampler,
    masked: Vec<u32>,
    /// Tokens that went through the trunk.
    seen: usize,
}

impl Speculator {
    /// Prepares graphs and caches for at most `capacity` tokens, prompt included; as
    /// [`Generator::new`](crate::generate::Generator::new).
    ///
    /// # Errors
    /// When the model has no multi-token prediction, or memory is short.
    pub fn new(
        executor: &mut dyn Executor,
        config: &ModelConfig,
        compute: Compute,
        capacity: usize,
    ) -> Result<Self, TrainError> {
        if !config.mtp {
            return Err(TrainError::NoDrafts);
        }
        let draft_vocab = config.vocab_size.min(DRAFT_VOCAB);
        let mut prepare = |tokens, logits_of| -> Result<Pass, TrainError> {
            let shape = DecodeShape { rows: 1, tokens, capacity };
            let trunk = trunk_graph(config, compute, shape, logits_of)?;
            let draft = draft_graph(config, compute, shape, draft_vocab)?;
            let (trunk, draft) = (&trunk.graph, &draft.graph);
            Ok(Pass { tokens, trunk: executor.prepare(trunk)?, draft: executor.prepare(draft)? })
        };
        let sizes = std::iter::once(1).chain(prefill_sizes(capacity));
        let prefill: Result<Vec<Pass>, _> = sizes.map(|t| prepare(t, LogitsOf::Last)).collect();
        let greedy = Sampling { temperature: 0.0, ..Sampling::default() };
        Ok(Speculator {
            capacity,
            vocab: config.vocab_size,
            draft_vocab,
            prefill: prefill?,
            check: prepare(CHECKED, LogitsOf::Every)?,
            sampler: Sampler::new(greedy, 0),
            masked: Vec::new(),
            seen: 0,
        })
    }

    /// Tokens that are never to be made, from now on.
    pub fn mask(&mut self, tokens: Vec<u32>) {
        self.masked = tokens;
    }

    /// Continues a prompt (at least one token) by at most `max_tokens`; `emit` is called for each as it is made, and says
    /// whether to go on.
    ///
    /// # Errors
    /// As of [`Generator::generate`](crate::generate::Generator::generate).
    pub fn generate(
        &mut self,
        executor: &mut dyn Executor,
        prompt: &[u32],
        max_tokens: usize,
        mut emit: impl FnMut(u32) -> Flow,
    ) -> Result<Speculation, TrainError> {
        check_prompt(prompt, self.capacity, self.vocab)?;
        let mut counts = Speculation::default();
        if max_tokens == 0 {
            return Ok(counts);
        }
        let (mut token, mut draft) = self.feed_prompt(executor, prompt)?;
        counts.made = 1;
        while emit(token) == Flow::Continue && counts.made < max_tokens && self.seen < self.capacity
        {
            if counts.made + 1 == max_tokens || self.seen + CHECKED > self.capacity {
                token = self.last_token(executor, token)?;
                counts.made += 1;
                continue;
            }
            let [first, second] = self.check(executor, token, draft)?;
            counts.drafted += 1;
            counts.made += 1;
            if first != draft {
                draft = self.draft(executor, self.check, &[first])?;
                token = first;
                continue;
            }
            counts.accepted += 1;
            if emit(first) == Flow::Stop {
                break;
            }
            counts.made += 1;
            draft = self.draft(executor, self.check, &[first, second])?;
            token = second;
        }
        Ok(counts)
    }

    /// Runs the prompt through in the pieces of plain generation; returns the token after it and a draft of the next.
    fn feed_prompt(
        &mut self,
        executor: &mut dyn Executor,
        prompt: &[u32],
    ) -> Result<(u32, u32), TrainError> {
        self.seen = 0;
        loop {
            let left = prompt.len() - self.seen;
            let tokens = piece(left, self.capacity);
            let pass = *self.prefill.iter().find(|p| p.tokens == tokens).expect("all are there");
            let taken = left.min(tokens);
            let end = self.seen + taken;
            self.run(executor, pass.trunk, tokens, &prompt[self.seen..end], Some(taken - 1))?;
            if end < prompt.len() {
                self.draft(executor, pass, &prompt[self.seen + 1..=end])?;
                continue;
            }
            let token = self.likeliest(executor.output(pass.trunk, 0));
            let next = [&prompt[self.seen + 1..], &[token]].concat();
            let draft = self.draft(executor, pass, &next)?;
            return Ok((token, draft));
        }
    }

    /// The tokens after `token` and, if it is right, after `draft`.
    fn check(
        &mut self,
        executor: &mut dyn Executor,
        token: u32,
        draft: u32,
    ) -> Result<[u32; CHECKED], TrainError> {
        self.run(executor, self.check.trunk, CHECKED, &[token, draft], None)?;
        let logits = executor.output(self.check.trunk, 0);
        let (first, second) = logits.split_at(self.vocab);
        Ok([self.likeliest(first), self.likeliest(second)])
    }

    /// The token after `token`, when none is wanted after it.
    fn last_token(&mut self, executor: &mut dyn Executor, token: u32) -> Result<u32, TrainError> {
        let pass = self.prefill[0];
        self.run(executor, pass.trunk, 1, &[token], Some(0))?;
        self.seen += 1;
        Ok(self.likeliest(executor.output(pass.trunk, 0)))
    }

    /// Takes note that the tokens of the latest pass up to those before `next`, its followers, are right; returns a draft of
    /// what comes after these.
    fn draft(
        &mut self,
        executor: &mut dyn Executor,
        pass: Pass,
        next: &[u32],
    ) -> Result<u32, TrainError> {
        self.run(executor, pass.draft, pass.tokens, next, Some(next.len() - 1))?;
        self.seen += next.len();
        let logits = &executor.output(pass.draft, 0)[..self.draft_vocab];
        Ok(self.likeliest(logits))
    }

    fn run(
        &self,
        executor: &mut dyn Executor,
        program: ProgramId,
        tokens: usize,
        ids: &[u32],
        last: Option<usize>,
    ) -> Result<(), TrainError> {
        let mut padded: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
        padded.resize(tokens, 0);
        let (start, last) = ([self.seen as i32], last.map(|last| [last as i32]));
        let mut feeds = vec![Feed::I32(&padded), Feed::I32(&start)];
        feeds.extend(last.as_ref().map(|last| Feed::I32(last)));
        Ok(executor.run(program, &feeds)?)
    }

    fn likeliest(&mut self, logits: &[f32]) -> u32 {
        self.sampler.sample(logits, &self.masked)
    }
}
