//! Which documents the tokens of batches are of, measured from outside.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use kiln_data::{Batch, Encode, Loader, LoaderOptions, LoaderState, Source, SourceOptions, Split};

/// Encodes a document as its number, repeated as often as it has tokens: so a batch shows whose tokens it holds.
struct Numbers {
    /// By the text's hash: number and tokens.
    documents: HashMap<blake3::Hash, (u32, usize)>,
}

impl Encode for Numbers {
    fn encode_into(&self, text: &[u8], out: &mut Vec<u32>) {
        // The loader also encodes a text of its own, for its fingerprint.
        if let Some((number, tokens)) = self.documents.get(&blake3::hash(text)) {
            out.extend(std::iter::repeat_n(*number, *tokens));
        }
    }

    fn bos_id(&self) -> u32 {
        self.documents.len() as u32
    }

    fn eos_id(&self) -> Option<u32> {
        None
    }

    fn vocab_size(&self) -> usize {
        self.documents.len() + 1
    }
}

/// Documents whose lengths lie between powers of four.
#[derive(Debug)]
#[allow(dead_code, reason = "the example prints all, the test checks some")]
pub struct Class {
    /// Tokens of the shortest that would be in it.
    pub from: u64,
    pub documents: u64,
    /// Share of all tokens of the data.
    pub share: f64,
    /// Share of the tokens packed in the first tenth of the epoch.
    pub packed: f64,
    /// Share of the tokens drawn by then, whether packed or still in the buffer.
    pub drawn: f64,
}

/// What was found in an epoch and a little more.
#[derive(Debug)]
pub struct Measured {
    pub documents: usize,
    pub tokens: u64,
    pub classes: Vec<Class>,
    /// Positions that hold neither a token nor BOS.
    pub padding: u64,
    /// Documents that were not drawn once in the epoch, or of which tokens are lost or doubled.
    pub miscounted: u64,
    /// Share of the positions that BOS takes.
    pub bos: f64,
    /// Documents that a batch of 32 rows comes from, on average.
    pub documents_of_batch: f64,
}

/// Packs the training documents at `path` for an epoch. `tokens` gives the number of tokens of a text.
pub fn measure(path: &Path, seq_len: usize, tokens: &dyn Fn(&str) -> usize) -> Measured {
    let options = SourceOptions { validation_share: 0.0, ..SourceOptions::default() };
    let source = Arc::new(Source::open(path, &options).unwrap());
    let mut documents = HashMap::new();
    let (mut numbers, mut lengths) = (Vec::new(), Vec::new());
    for text in source.texts(Split::Train) {
        let text = text.unwrap();
        let count = documents.len() as u32;
        let known = documents.entry(blake3::hash(text.as_bytes()));
        let (number, length) = *known.or_insert_with(|| (count, tokens(&text)));
        if number == count {
            lengths.push(Length { tokens: length as u64, copies: 0 });
        }
        lengths[number as usize].copies += 1;
        numbers.push(number as usize);
    }
    let encoder = Arc::new(Numbers { documents });
    let options = LoaderOptions::new(ROWS, seq_len);
    let mut loader = Loader::new(Arc::clone(&source), encoder, options).unwrap();
    let packed = vec![0; lengths.len()];
    Epoch { numbers, lengths, packed, padding: 0, bos: 0, batches: 0, seen: 0 }.run(&mut loader)
}

/// Rows of the batches.
const ROWS: usize = 32;

/// A text's tokens, and how many documents have it.
struct Length {
    tokens: u64,
    copies: u64,
}

struct Epoch {
    /// Of each document, the number of its text.
    numbers: Vec<usize>,
    /// Of each text.
    lengths: Vec<Length>,
    /// Tokens of each text in batches so far.
    packed: Vec<u64>,
    padding: u64,
    bos: u64,
    batches: u64,
    /// Documents in each of the batches, added up.
    seen: u64,
}

impl Epoch {
    fn run(mut self, loader: &mut Loader) -> Measured {
        let total: u64 = self.lengths.iter().map(|length| length.copies * length.tokens).sum();
        let mut tenth = None;
        loop {
            self.add(loader.next_batch().unwrap());
            if tenth.is_none() && self.packed.iter().sum::<u64>() >= total / 10 {
                tenth = Some((self.packed.clone(), self.drawn(&loader.state())));
            }
            let state = loader.state();
            if state.sets[0].epoch >= 1 {
                return self.finish(&state, tenth.unwrap());
            }
        }
    }

    fn add(&mut self, batch: &Batch) {
        let bos = self.lengths.len();
        let mut seen = vec![false; bos];
        let rows = batch.ids.chunks(batch.seq_len).zip(batch.targets.chunks(batch.seq_len));
        for (ids, targets) in rows {
            for id in ids.iter().chain(targets.last()) {
                match usize::try_from(*id) {
                    Ok(id) if id < bos => {
                        self.packed[id] += 1;
                        seen[id] = true;
                    }
                    Ok(id) if id == bos => self.bos += 1,
                    _ => self.padding += 1,
                }
            }
        }
        self.batches += 1;
        self.seen += seen.iter().filter(|seen| **seen).count() as u64;
    }

    /// Tokens of each text that were drawn: those packed and those in the buffer.
    fn drawn(&self, state: &LoaderState) -> Vec<u64> {
        let mut drawn = self.packed.clone();
        for piece in &state.buffer {
            let number = self.numbers[piece.document as usize];
            drawn[number] += self.lengths[number].tokens - u64::from(piece.offset);
        }
        drawn
    }

    fn finish(self, state: &LoaderState, (packed, drawn): (Vec<u64>, Vec<u64>)) -> Measured {
        let whole: Vec<u64> = self.lengths.iter().map(|l| l.copies * l.tokens).collect();
        let part = |of: &[u64], members: &[usize]| {
            let tokens: u64 = members.iter().map(|at| of[*at]).sum();
            tokens as f64 / of.iter().sum::<u64>() as f64
        };
        let mut classes = Vec::new();
        let mut from = 1;
        while whole.iter().any(|tokens| *tokens >= from) {
            let range = from..4 * from;
            let members = 0..whole.len();
            let members: Vec<usize> =
                members.filter(|at| range.contains(&self.lengths[*at].tokens)).collect();
            if !members.is_empty() {
                classes.push(Class {
                    from,
                    documents: members.iter().map(|at| self.lengths[*at].copies).sum(),
                    share: part(&whole, &members),
                    packed: part(&packed, &members),
                    drawn: part(&drawn, &members),
                });
            }
            from *= 4;
        }
        // The epoch is over, and some documents of the next one have been drawn: all others once.
        let (mut miscounted, mut copies) = (0, 0);
        for (length, drawn) in self.lengths.iter().zip(self.drawn(state)) {
            let times = drawn / length.tokens;
            let fits = drawn % length.tokens == 0;
            miscounted +=
                u64::from(!(fits && (length.copies..=2 * length.copies).contains(&times)));
            copies += times;
        }
        let expected = self.numbers.len() as u64 + state.sets[0].position;
        let positions = self.batches * ROWS as u64 * (state.fingerprint.seq_len + 1);
        Measured {
            documents: self.numbers.len(),
            tokens: whole.iter().sum(),
            classes,
            padding: self.padding,
            miscounted: miscounted + copies.abs_diff(expected),
            bos: self.bos as f64 / positions as f64,
            documents_of_batch: self.seen as f64 / self.batches as f64,
        }
    }
}
