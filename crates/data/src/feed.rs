//! Training documents of one data set as tokens, epoch after epoch, in the order of each.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use rayon::prelude::*;

use crate::encode::Encode;
use crate::error::DataError;
use crate::fim::{Dice, FimCounts, Infill, Prepared, plain};
use crate::fingerprint::FileFingerprint;
use crate::order::Layout;
use crate::shard::Shard;
use crate::source::{Documents, Patience, Source, Split, TakeUp};
use crate::state::{BufferedPiece, SetState, StreamState, TakenShard};

/// At most so many documents are encoded at a time.
const MAX_CHUNK: usize = 64;

/// Which document, and in which epoch it was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Drawn {
    /// Number of the data set.
    pub set: u32,
    pub epoch: u64,
    pub document: u32,
}

impl Drawn {
    pub(crate) fn of(piece: &BufferedPiece) -> Self {
        Self { set: piece.set, epoch: piece.epoch, document: piece.document }
    }
}

/// A place in the endless sequence of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Place {
    epoch: u64,
    /// In the first epoch of a stream, the file in the order of taking up; else 0.
    shard: u32,
    /// In this rank's share of the order.
    position: u64,
}

/// Which share of which data set a feed gives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deal {
    /// Number of the data set.
    pub set: u32,
    /// Seed of its order and of what is rearranged.
    pub seed: u64,
    pub rank: usize,
    pub world: usize,
}

/// This rank's documents of one data set.
pub(crate) struct Feed {
    source: Arc<Source>,
    documents: Documents,
    encoder: Arc<dyn Encode>,
    infill: Infill,
    deal: Deal,
    /// The order of an epoch, or of a file in the first epoch of a stream.
    order: Vec<u32>,
    ordered: Option<(u64, u32)>,
    /// The place after the last document that was handed out.
    place: Place,
    /// Tokens handed out.
    tokens: u64,
    counts: FimCounts,
    /// Documents that are encoded but not handed out yet, each with the place after it.
    ahead: VecDeque<(Drawn, Place, Prepared)>,
    follow: Option<Follow>,
}

/// What a feed knows of its stream.
struct Follow {
    take_up: TakeUp,
    names: HashSet<String>,
    state: Arc<StreamState>,
}

impl Feed {
    /// Stands where `state` says; the default is the beginning.
    ///
    /// # Errors
    ///
    /// A file of a stream that has been taken up is missing, damaged or another one.
    pub(crate) fn new(
        source: Arc<Source>,
        encoder: Arc<dyn Encode>,
        infill: Infill,
        deal: Deal,
        state: &SetState,
    ) -> Result<Self, DataError> {
        let place = Place { epoch: state.epoch, shard: state.shard, position: state.position };
        let mut documents = source.documents(Split::Train).clone();
        let follow = match source.stream() {
            Some(_) => Some(follow(&source, &mut documents, state.stream.as_deref())?),
            None => None,
        };
        if place.shard as usize > documents.shards().len() {
            let why = format!("file {} of a stream of {}", place.shard, documents.shards().len());
            return Err(DataError::BadState { why });
        }
        Ok(Self {
            source,
            documents,
            encoder,
            infill,
            deal,
            order: Vec::new(),
            ordered: None,
            place,
            tokens: state.tokens,
            counts: FimCounts::default(),
            ahead: VecDeque::new(),
            follow,
        })
    }

    /// Where it stands.
    pub(crate) fn state(&self) -> SetState {
        SetState {
            epoch: self.place.epoch,
            shard: self.place.shard,
            position: self.place.position,
            tokens: self.tokens,
            stream: self.follow.as_ref().map(|follow| Arc::clone(&follow.state)),
        }
    }

    /// Tokens of all documents handed out.
    pub(crate) fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Documents that there are, as far as known.
    pub(crate) fn len(&self) -> usize {
        self.documents.len()
    }

    /// Documents of this rank in an epoch, about; none known of a stream.
    pub(crate) fn epoch_len(&self) -> Option<usize> {
        let share = (self.documents.len() + self.deal.world - 1 - self.deal.rank) / self.deal.world;
        self.follow.is_none().then_some(share)
    }

    /// What has been done with the documents handed out since this was asked last.
    pub(crate) fn take_counts(&mut self) -> FimCounts {
        std::mem::take(&mut self.counts)
    }

    /// The next document that has any token. `wanted` is how many more will be asked for right away; they are encoded
    /// in parallel.
    ///
    /// # Errors
    ///
    /// [`DataError::NoTokens`] after a whole epoch of documents without one; whatever reading gives.
    pub(crate) fn next(
        &mut self,
        wanted: usize,
        patience: &mut dyn Patience,
    ) -> Result<(Drawn, Prepared), DataError> {
        let mut empty = 0;
        loop {
            if self.ahead.is_empty() {
                self.encode_ahead(wanted.clamp(1, MAX_CHUNK), patience)?;
            }
            let Some((drawn, after, prepared)) = self.ahead.pop_front() else {
                return Err(DataError::NoTokens);
            };
            self.place = after;
            if !prepared.tokens.is_empty() {
                self.tokens += prepared.tokens.len() as u64;
                self.counts.add(prepared.done);
                return Ok((drawn, prepared));
            }
            empty += 1;
            if empty > self.documents.len() {
                return Err(DataError::NoTokens);
            }
        }
    }

    /// The tokens of documents drawn earlier, in order, rearranged as they were then but where they are to be plain.
    pub(crate) fn again(&self, pieces: &[(Drawn, bool)]) -> Result<Vec<Prepared>, DataError> {
        self.prepare_all(pieces)
    }

    /// The random numbers of the piece of a document that begins at a token.
    pub(crate) fn dice(&self, drawn: Drawn, offset: usize) -> Dice {
        Dice::of_piece(self.deal.seed, drawn.epoch, drawn.document, offset as u64)
    }

    fn encode_ahead(&mut self, count: usize, patience: &mut dyn Patience) -> Result<(), DataError> {
        let mut next = self.place;
        let mut chunk = Vec::with_capacity(count);
        let mut pieces = Vec::with_capacity(count);
        while chunk.len() < count {
            match self.draw(&mut next)? {
                Some(document) => {
                    let drawn = Drawn { set: self.deal.set, epoch: next.epoch, document };
                    chunk.push((drawn, next));
                    pieces.push((drawn, false));
                }
                // What there is comes first: there may be a long time to wait.
                None if !chunk.is_empty() => break,
                None => self.take_up(patience)?,
            }
        }
        let prepared = self.prepare_all(&pieces)?;
        let ahead = chunk.into_iter().zip(prepared);
        self.ahead.extend(ahead.map(|((drawn, place), prepared)| (drawn, place, prepared)));
        Ok(())
    }

    /// The document at a place, which moves on; `None` when another file of the stream is needed for it.
    fn draw(&mut self, place: &mut Place) -> Result<Option<u32>, DataError> {
        let mut passes = 0;
        loop {
            let streams = self.follow.is_some() && place.epoch == 0;
            if streams && place.shard as usize >= self.documents.shards().len() {
                if !self.is_complete() {
                    return Ok(None);
                }
                *place = Place { epoch: 1, shard: 0, position: 0 };
                continue;
            }
            self.make_order(*place);
            if let Some(document) = self.order.get(place.position as usize) {
                place.position += 1;
                return Ok(Some(*document));
            }
            *place = if streams {
                Place { shard: place.shard + 1, position: 0, ..*place }
            } else {
                // A rank without documents would look for ever.
                passes += 1;
                if passes > 2 {
                    return Err(DataError::NoTokens);
                }
                Place { epoch: place.epoch + 1, shard: 0, position: 0 }
            };
        }
    }

    fn is_complete(&self) -> bool {
        self.follow.as_ref().is_none_or(|follow| follow.state.complete)
    }

    /// Makes the order that a place is in.
    fn make_order(&mut self, place: Place) {
        let Deal { seed, rank, world, .. } = self.deal;
        if self.ordered.replace((place.epoch, place.shard)) == Some((place.epoch, place.shard)) {
            return;
        }
        let numbered = |at: usize| (self.documents.start(at), &self.documents.shards()[at]);
        let shards = 0..self.documents.shards().len();
        self.order = if self.follow.is_none() {
            let all: Vec<_> = shards.map(numbered).collect();
            Layout::new(&all).order(seed, place.epoch, (rank, world))
        } else if place.epoch == 0 {
            // By the file's content, so that all ranks agree whenever each of them found it.
            let one = numbered(place.shard as usize);
            let key = shard_key(one.1);
            let rank = (rank + (key % world as u64) as usize) % world;
            Layout::new(&[one]).order(seed ^ key, 0, (rank, world))
        } else {
            let mut all: Vec<_> = shards.map(numbered).collect();
            all.sort_by(|a, b| a.1.name.as_bytes().cmp(b.1.name.as_bytes()));
            Layout::new(&all).order(seed, place.epoch, (rank, world))
        };
    }

    /// Takes up the next file of the stream, or notes that there is none.
    fn take_up(&mut self, patience: &mut dyn Patience) -> Result<(), DataError> {
        let (Some(stream), Some(follow)) = (self.source.stream(), &mut self.follow) else {
            return Ok(());
        };
        let found = follow.take_up.next(stream, &follow.names, patience)?;
        let state = Arc::make_mut(&mut follow.state);
        match found {
            Some(shard) => {
                let file = FileFingerprint::of(&shard);
                follow.names.insert(shard.name.clone());
                let entered = self.documents.len() as u64;
                state.shards.push(TakenShard { file, entered });
                self.documents.push(Arc::new(shard));
                if self.documents.len() > u32::MAX as usize {
                    return Err(DataError::TooManyDocuments { path: stream.location().to_owned() });
                }
            }
            None => state.complete = true,
        }
        Ok(())
    }

    /// A single document is encoded on this thread, so that a loader in its stride leaves the other cores alone.
    fn prepare_all(&self, pieces: &[(Drawn, bool)]) -> Result<Vec<Prepared>, DataError> {
        match pieces {
            [piece] => Ok(vec![self.prepare(piece)?]),
            _ => pieces.par_iter().map(|piece| self.prepare(piece)).collect(),
        }
    }

    fn prepare(&self, (drawn, as_it_is): &(Drawn, bool)) -> Result<Prepared, DataError> {
        let record = self.documents.read(drawn.document as usize)?;
        let encoder = self.encoder.as_ref();
        let prepared = if *as_it_is {
            plain(encoder, &record)
        } else {
            let dice = || Dice::new(self.deal.seed, drawn.epoch, drawn.document);
            self.infill.prepare(encoder, &record, dice)
        };
        check_tokens(encoder, &prepared.tokens)?;
        Ok(prepared)
    }
}

/// Where a loader stands in a data set before its first document.
pub(crate) fn beginning(source: &Source) -> SetState {
    let stream = source.stream().map(|stream| {
        let shards = source.documents(Split::Train).shards().iter();
        let taken =
            |shard: &Arc<Shard>| TakenShard { file: FileFingerprint::of(shard), entered: 0 };
        let validation = stream.validation().to_vec();
        Arc::new(StreamState { validation, shards: shards.map(taken).collect(), complete: false })
    });
    SetState { stream, ..SetState::default() }
}

/// Puts the files of a stream that have been taken up before behind the first, which is open already.
fn follow(
    source: &Source,
    documents: &mut Documents,
    saved: Option<&StreamState>,
) -> Result<Follow, DataError> {
    let mut state = beginning(source).stream.as_deref().cloned().unwrap_or_default();
    if let (Some(saved), Some(stream)) = (saved, source.stream()) {
        for (at, taken) in saved.shards.iter().enumerate() {
            if at >= state.shards.len() {
                let shard = stream.reopen(&taken.file.name)?;
                let entered = documents.len() as u64;
                state.shards.push(TakenShard { file: FileFingerprint::of(&shard), entered });
                documents.push(Arc::new(shard));
            }
            if let Some(change) = state.shards[at].file.change_since(&taken.file) {
                return Err(DataError::ResumeMismatch { changes: vec![change] });
            }
        }
        state.complete = saved.complete;
    }
    let names = state.shards.iter().map(|taken| taken.file.name.clone()).collect();
    Ok(Follow { take_up: TakeUp::default(), names, state: Arc::new(state) })
}

/// A number that stands for a file's content.
fn shard_key(shard: &Shard) -> u64 {
    let hash = blake3::hash(shard.found.content_hash().as_bytes());
    crate::record::short_hash(&hash)
}

/// The tokens of a document and then EOS, where the tokenizer has one. None for a text without tokens.
pub(crate) fn encode(
    source: &Source,
    encoder: &dyn Encode,
    split: Split,
    index: usize,
) -> Result<Vec<u32>, DataError> {
    let tokens = plain(encoder, &source.documents(split).read(index)?).tokens;
    check_tokens(encoder, &tokens)?;
    Ok(tokens)
}

fn check_tokens(encoder: &dyn Encode, tokens: &[u32]) -> Result<(), DataError> {
    let vocab_size = encoder.vocab_size();
    match tokens.iter().copied().max() {
        Some(id) if id as usize >= vocab_size => Err(DataError::TokenOutOfRange { id, vocab_size }),
        _ => Ok(()),
    }
}
