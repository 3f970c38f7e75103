//! Training documents as tokens, epoch after epoch, in the order of each.

use std::collections::VecDeque;
use std::sync::Arc;

use rayon::prelude::*;

use crate::encode::Encode;
use crate::error::DataError;
use crate::order::epoch_order;
use crate::source::{Source, Split};

/// At most so many documents are encoded at a time.
const MAX_CHUNK: usize = 64;

/// Which document, and in which epoch it was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Drawn {
    pub epoch: u64,
    pub document: u32,
}

/// A place in the endless sequence of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub epoch: u64,
    /// In this rank's share of the epoch's order.
    pub position: u64,
}

/// This rank's documents: the epoch's order is dealt round robin.
pub(crate) struct Feed {
    source: Arc<Source>,
    encoder: Arc<dyn Encode>,
    seed: u64,
    rank: usize,
    world: usize,
    /// The order of `order_epoch`.
    order: Vec<u32>,
    order_epoch: u64,
    /// The place after the last document that was handed out.
    place: Place,
    /// Documents that are encoded but not handed out yet, each with the place after it.
    ahead: VecDeque<(Drawn, Place, Vec<u32>)>,
}

impl Feed {
    pub(crate) fn new(
        source: Arc<Source>,
        encoder: Arc<dyn Encode>,
        (seed, rank, world): (u64, usize, usize),
        place: Place,
    ) -> Self {
        let count = source.len(Split::Train) as u32;
        let order = epoch_order(seed, place.epoch, count);
        let (order_epoch, ahead) = (place.epoch, VecDeque::new());
        Self { source, encoder, seed, rank, world, order, order_epoch, place, ahead }
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// Documents of this rank in an epoch.
    pub(crate) fn epoch_len(&self) -> usize {
        let count = self.source.len(Split::Train);
        (count + self.world - 1 - self.rank) / self.world
    }

    /// The next document that has any token: its content and then EOS, where the tokenizer has one. `wanted` is
    /// how many more will be asked for right away; they are encoded in parallel.
    ///
    /// # Errors
    ///
    /// [`DataError::NoTokens`] after a whole epoch of documents without one; whatever reading gives.
    pub(crate) fn next(&mut self, wanted: usize) -> Result<(Drawn, Vec<u32>), DataError> {
        for _ in 0..=self.epoch_len() {
            if self.ahead.is_empty() {
                self.encode_ahead(wanted.clamp(1, MAX_CHUNK))?;
            }
            let Some((drawn, after, tokens)) = self.ahead.pop_front() else { break };
            self.place = after;
            if !tokens.is_empty() {
                return Ok((drawn, tokens));
            }
        }
        Err(DataError::NoTokens)
    }

    fn encode_ahead(&mut self, count: usize) -> Result<(), DataError> {
        let mut next = self.place;
        let mut chunk = Vec::with_capacity(count);
        for _ in 0..count {
            let drawn = self.draw(&mut next);
            chunk.push((drawn, next));
        }
        let documents: Vec<u32> = chunk.iter().map(|(drawn, _)| drawn.document).collect();
        let tokens = encode_all(&self.source, self.encoder.as_ref(), &documents)?;
        let encoded = chunk.into_iter().zip(tokens).map(|((drawn, place), t)| (drawn, place, t));
        self.ahead.extend(encoded);
        Ok(())
    }

    /// The document at a place, which moves on.
    fn draw(&mut self, place: &mut Place) -> Drawn {
        if place.position >= self.epoch_len() as u64 {
            *place = Place { epoch: place.epoch + 1, position: 0 };
        }
        if place.epoch != self.order_epoch {
            self.order = epoch_order(self.seed, place.epoch, self.order.len() as u32);
            self.order_epoch = place.epoch;
        }
        let document = self.order[place.position as usize * self.world + self.rank];
        place.position += 1;
        Drawn { epoch: place.epoch, document }
    }
}

/// The tokens of training documents, in the order of `documents`. A single one is encoded on this thread, so that
/// a loader in its stride leaves the other cores alone.
pub(crate) fn encode_all(
    source: &Source,
    encoder: &dyn Encode,
    documents: &[u32],
) -> Result<Vec<Vec<u32>>, DataError> {
    let one = |document: &u32| encode(source, encoder, Split::Train, *document as usize);
    match documents {
        [document] => Ok(vec![one(document)?]),
        _ => documents.par_iter().map(one).collect(),
    }
}

/// The tokens of a document and then EOS, where the tokenizer has one. None for a text without tokens.
pub(crate) fn encode(
    source: &Source,
    encoder: &dyn Encode,
    split: Split,
    index: usize,
) -> Result<Vec<u32>, DataError> {
    let text = source.text(split, index)?;
    let mut tokens = Vec::with_capacity(text.len() / 3 + 1);
    encoder.encode_into(text.as_bytes(), &mut tokens);
    let vocab_size = encoder.vocab_size();
    if let Some(id) = tokens.iter().copied().max()
        && id as usize >= vocab_size
    {
        return Err(DataError::TokenOutOfRange { id, vocab_size });
    }
    if !tokens.is_empty() {
        tokens.extend(encoder.eos_id());
    }
    Ok(tokens)
}
