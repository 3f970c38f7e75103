//! Which documents are rearranged, and how: decided by seed, epoch and number of the document alone.

use std::ops::{AddAssign, Range};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::encode::Encode;
use crate::error::DataError;
use crate::fim::{ADDED, ByPiece, FimMode, FimSentinels, LEAST, bodies, rearrange, structured};
use crate::record::Record;

/// How often documents are rearranged for fill-in-the-middle. Rates are probabilities of single documents, in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FimOptions {
    /// Share of the documents that are rearranged: as a whole, or piece by piece where they are longer than a row.
    pub rate: f64,
    /// Share of the rearranged documents in which the suffix comes first (SPM).
    pub spm_rate: f64,
    /// Share of the rearranged documents whose middle is the body of a function. Where a document (or a piece of it)
    /// has none, it is cut at random.
    pub body_rate: f64,
}

impl Default for FimOptions {
    /// Never; if so, half of them suffix first and none by bodies.
    fn default() -> Self {
        Self { rate: 0.0, spm_rate: 0.5, body_rate: 0.0 }
    }
}

impl FimOptions {
    pub(crate) fn check(&self) -> Result<(), DataError> {
        let rates = [
            ("fim rate", self.rate),
            ("fim spm rate", self.spm_rate),
            ("fim body rate", self.body_rate),
        ];
        match rates.iter().find(|(_, rate)| !(0.0..=1.0).contains(rate)) {
            Some((option, rate)) => Err(DataError::BadOption {
                option,
                value: rate.to_string(),
                why: "expected 0 to 1",
            }),
            None => Ok(()),
        }
    }
}

/// What was done with the documents that have been drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FimCounts {
    /// Documents drawn, pairs not counted.
    pub documents: u64,
    /// Those that were rearranged.
    pub rearranged: u64,
    /// Of these, those with the suffix first.
    pub spm: u64,
    /// Of these, those whose middle is the body of a function.
    pub body: u64,
    /// Pairs drawn.
    pub pairs: u64,
    /// Those of them that were rearranged: all that fit a row.
    pub structured: u64,
    /// Rearranged documents that were used as they are after all, because a row's end had to be filled and nothing
    /// else could be cut.
    pub undone: u64,
}

/// What was done with one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    Left,
    Random(FimMode),
    Body(FimMode),
    Structured,
    PairTooLong,
}

impl AddAssign for FimCounts {
    fn add_assign(&mut self, more: Self) {
        self.documents += more.documents;
        self.rearranged += more.rearranged;
        self.spm += more.spm;
        self.body += more.body;
        self.pairs += more.pairs;
        self.structured += more.structured;
        self.undone += more.undone;
    }
}

impl FimCounts {
    pub(crate) fn add(&mut self, done: Done) {
        match done {
            Done::Structured | Done::PairTooLong => self.pairs += 1,
            _ => self.documents += 1,
        }
        self.structured += u64::from(done == Done::Structured);
        if let Done::Random(mode) | Done::Body(mode) = done {
            self.rearranged += 1;
            self.spm += u64::from(mode == FimMode::Spm);
        }
        self.body += u64::from(matches!(done, Done::Body(_)));
    }
}

/// Where a document may be cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cuts {
    Anywhere,
    /// It is rearranged as a whole.
    Nowhere,
    /// Anywhere; then the pieces are to be rearranged.
    ByPiece(Arc<ByPiece>),
}

/// A document as tokens with EOS, where there is one.
pub(crate) struct Prepared {
    pub tokens: Vec<u32>,
    pub cuts: Cuts,
    pub done: Done,
}

/// Turns records into tokens, some of them rearranged.
pub(crate) struct Infill {
    options: FimOptions,
    sentinels: Option<FimSentinels>,
    /// Tokens of a row after BOS, T.
    room: usize,
}

impl Infill {
    pub(crate) fn new(options: FimOptions, sentinels: Option<FimSentinels>, room: usize) -> Self {
        Self { options, sentinels, room }
    }

    /// The tokens of a document. `throw` gives its random numbers.
    pub(crate) fn prepare(
        &self,
        encoder: &dyn Encode,
        record: &Record,
        throw: impl FnOnce() -> Dice,
    ) -> Prepared {
        match (record, self.sentinels) {
            (Record::Text(text), Some(ids)) if self.options.rate > 0.0 => {
                self.text(encoder, text, ids, throw())
            }
            (Record::Text(_), _) => plain(encoder, record),
            (Record::Pair { docstring, signature, body }, Some(ids)) => {
                let texts = structured(docstring, signature, body);
                let parts = [&texts.prefix, &texts.middle, texts.suffix];
                match self.parts(encoder, parts, FimMode::Psm, ids) {
                    Some(tokens) => {
                        Prepared { tokens, cuts: Cuts::Nowhere, done: Done::Structured }
                    }
                    None => plain(encoder, record),
                }
            }
            (Record::Pair { .. }, None) => plain(encoder, record),
        }
    }

    fn text(
        &self,
        encoder: &dyn Encode,
        text: &str,
        ids: FimSentinels,
        mut dice: Dice,
    ) -> Prepared {
        let chosen = dice.unit() < self.options.rate;
        let mode = if dice.unit() < self.options.spm_rate { FimMode::Spm } else { FimMode::Psm };
        let body = dice.unit() < self.options.body_rate;
        let bodies = if chosen && body { bodies::function_bodies(text) } else { Vec::new() };
        let at = dice.below(bodies.len() as u64) as usize;
        if let Some(range) = bodies.get(at).cloned() {
            let parts = [&text[..range.start], &text[range.clone()], &text[range.end..]];
            if let Some(tokens) = self.parts(encoder, parts, mode, ids) {
                return Prepared { tokens, cuts: Cuts::Nowhere, done: Done::Body(mode) };
            }
        }
        let mut content = encode(encoder, text);
        let n = content.len();
        let (fits, is_room) = (n + ADDED <= self.room, self.room >= ADDED + LEAST);
        if !chosen || n == 0 || !fits && !is_room {
            content.extend(encoder.eos_id().filter(|_| n > 0));
            return Prepared { tokens: content, cuts: Cuts::Anywhere, done: Done::Left };
        }
        if !fits {
            return by_piece(encoder, text, &bodies, mode, ids);
        }
        let tokens = rearrange(&content, dice.cuts(n), mode, ids);
        Prepared { tokens, cuts: Cuts::Nowhere, done: Done::Random(mode) }
    }

    /// Prefix, middle and suffix, each encoded on its own; `None` when they do not fit a row.
    fn parts(
        &self,
        encoder: &dyn Encode,
        [prefix, middle, suffix]: [&str; 3],
        mode: FimMode,
        ids: FimSentinels,
    ) -> Option<Vec<u32>> {
        let mut content = encode(encoder, prefix);
        let from = content.len();
        encoder.encode_into(middle.as_bytes(), &mut content);
        let to = content.len();
        encoder.encode_into(suffix.as_bytes(), &mut content);
        (content.len() + ADDED <= self.room).then(|| rearrange(&content, (from, to), mode, ids))
    }
}

/// A document to be rearranged piece by piece. Bodies are encoded on their own, so that tokens end where they do.
fn by_piece(
    encoder: &dyn Encode,
    text: &str,
    bodies: &[Range<usize>],
    mode: FimMode,
    sentinels: FimSentinels,
) -> Prepared {
    let mut tokens = Vec::with_capacity(text.len() / 3 + ADDED);
    let mut ranges = Vec::with_capacity(bodies.len());
    let mut at = 0;
    for body in bodies {
        encoder.encode_into(&text.as_bytes()[at..body.start], &mut tokens);
        let start = tokens.len() as u32;
        encoder.encode_into(&text.as_bytes()[body.clone()], &mut tokens);
        ranges.push(start..tokens.len() as u32);
        at = body.end;
    }
    encoder.encode_into(&text.as_bytes()[at..], &mut tokens);
    tokens.push(sentinels.eos);
    let done = if bodies.is_empty() { Done::Random(mode) } else { Done::Body(mode) };
    let cuts = Cuts::ByPiece(Arc::new(ByPiece { mode, sentinels, bodies: ranges }));
    Prepared { tokens, cuts, done }
}

/// A document as it is.
pub(crate) fn plain(encoder: &dyn Encode, record: &Record) -> Prepared {
    let mut tokens = encode(encoder, &record.plain());
    if !tokens.is_empty() {
        tokens.extend(encoder.eos_id());
    }
    let pair = matches!(record, Record::Pair { .. });
    let done = if pair { Done::PairTooLong } else { Done::Left };
    Prepared { tokens, cuts: Cuts::Anywhere, done }
}

fn encode(encoder: &dyn Encode, text: &str) -> Vec<u32> {
    let mut tokens = Vec::with_capacity(text.len() / 3 + ADDED);
    encoder.encode_into(text.as_bytes(), &mut tokens);
    tokens
}

/// The random numbers of one document, or of a piece of it.
pub(crate) struct Dice(blake3::OutputReader);

impl Dice {
    pub(crate) fn new(seed: u64, epoch: u64, document: u32) -> Self {
        Self(hasher(seed, epoch, document).finalize_xof())
    }

    /// Those of the piece that begins at token `offset`.
    pub(crate) fn of_piece(seed: u64, epoch: u64, document: u32, offset: u64) -> Self {
        Self(hasher(seed, epoch, document).update(&offset.to_le_bytes()).finalize_xof())
    }

    /// Two sorted places, uniform in 0..=n.
    pub(crate) fn cuts(&mut self, n: usize) -> (usize, usize) {
        let cuts = (self.below(n as u64 + 1) as usize, self.below(n as u64 + 1) as usize);
        (cuts.0.min(cuts.1), cuts.0.max(cuts.1))
    }

    fn next(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A number in [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number below `count`, or 0.
    pub(crate) fn below(&mut self, count: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(count)) >> 64) as u64
    }
}

fn hasher(seed: u64, epoch: u64, document: u32) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new_derive_key("kiln data fill in the middle 1");
    hasher.update(&seed.to_le_bytes());
    hasher.update(&epoch.to_le_bytes());
    hasher.update(&document.to_le_bytes());
    hasher
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One token per byte from 20 on, as the fixtures have it.
    struct Bytes;

    impl Encode for Bytes {
        fn encode_into(&self, text: &[u8], out: &mut Vec<u32>) {
            out.extend(text.iter().map(|byte| 20 + u32::from(*byte)));
        }

        fn bos_id(&self) -> u32 {
            2
        }

        fn eos_id(&self) -> Option<u32> {
            Some(3)
        }

        fn vocab_size(&self) -> usize {
            276
        }

        fn fim_sentinels(&self) -> Option<FimSentinels> {
            Some(IDS)
        }
    }

    const IDS: FimSentinels = FimSentinels { prefix: 4, middle: 5, suffix: 6, eos: 3 };

    fn infill(rate: f64, spm_rate: f64, body_rate: f64) -> Infill {
        Infill::new(FimOptions { rate, spm_rate, body_rate }, Some(IDS), 512)
    }

    fn text(tokens: &[u32]) -> String {
        tokens.iter().filter(|id| **id >= 20).map(|id| char::from((*id - 20) as u8)).collect()
    }

    fn part(tokens: &[u32], from: u32, to: u32) -> String {
        let at = |id| tokens.iter().position(|token| *token == id).unwrap();
        text(&tokens[at(from)..at(to)])
    }

    #[test]
    fn rates_are_those_asked_for() {
        let source = Record::Text("int a; int f() { return a; } int g() {return 2; }".to_owned());
        let infill = infill(0.5, 0.3, 0.4);
        let mut counts = FimCounts::default();
        let mut cuts = [0_u32; 5];
        for document in 0..40_000 {
            let made = infill.prepare(&Bytes, &source, || Dice::new(7, 0, document));
            counts.add(made.done);
            if made.done == Done::Random(FimMode::Psm) {
                cuts[part(&made.tokens, 4, 6).len() / 10] += 1;
            }
        }
        let share = |part: u64, of: u64| part as f64 / of as f64;
        assert_eq!(counts.documents, 40_000);
        // The standard deviation of the first is 0.0025.
        assert!((share(counts.rearranged, counts.documents) - 0.5).abs() < 0.01);
        assert!((share(counts.spm, counts.rearranged) - 0.3).abs() < 0.01);
        assert!((share(counts.body, counts.rearranged) - 0.4).abs() < 0.01);
        // The lower of two uniform cuts falls into the first fifth with 9/25, into the last with 1/25.
        let all = f64::from(cuts.iter().sum::<u32>());
        for (n, expected) in cuts.iter().zip([9.0, 7.0, 5.0, 3.0, 1.0]) {
            assert!((f64::from(*n) / all - expected / 25.0).abs() < 0.03, "{cuts:?}");
        }
    }

    #[test]
    fn bodies_are_middles() {
        let source = "int a;\nint f() { return a; }\nint g() { return 2; }\n";
        let infill = infill(1.0, 0.0, 1.0);
        let mut seen = Vec::new();
        for document in 0..50 {
            let record = Record::Text(source.to_owned());
            let made = infill.prepare(&Bytes, &record, || Dice::new(1, 0, document));
            assert_eq!(made.done, Done::Body(FimMode::Psm));
            let (prefix, suffix) = (part(&made.tokens, 4, 6), part(&made.tokens, 6, 5));
            let middle = part(&made.tokens, 5, 3);
            assert_eq!(format!("{prefix}{middle}{suffix}"), source);
            assert!(prefix.ends_with('{') && suffix.starts_with('}'));
            seen.push(middle);
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen, [" return 2; ", " return a; "]);
        // Without a body it is cut at random.
        let record = Record::Text("int a = 0;".to_owned());
        let made = infill.prepare(&Bytes, &record, || Dice::new(1, 0, 0));
        assert_eq!(made.done, Done::Random(FimMode::Psm));
    }

    #[test]
    fn what_does_not_fit_a_row_is_rearranged_by_piece_and_a_pair_stays_as_it_is() {
        let infill = infill(1.0, 0.5, 0.5);
        for (length, whole) in [(508, true), (509, false)] {
            let record = Record::Text("x".repeat(length));
            let made = infill.prepare(&Bytes, &record, || Dice::new(1, 0, 0));
            assert_eq!((made.cuts == Cuts::Nowhere, made.tokens.len() <= 512), (whole, true));
            assert_eq!(matches!(made.cuts, Cuts::ByPiece(_)), !whole);
            assert!(matches!(made.done, Done::Random(_)));
            let eos = made.tokens.iter().filter(|id| **id == 3).count();
            assert_eq!((made.tokens.last(), eos), (Some(&3), 1));
        }
        let pair = |length| Record::Pair {
            docstring: String::new(),
            signature: "void f()".to_owned(),
            body: "x".repeat(length),
        };
        let made = infill.prepare(&Bytes, &pair(497), || Dice::new(1, 0, 0));
        assert_eq!((made.cuts, made.tokens.len()), (Cuts::Nowhere, 512));
        let made = infill.prepare(&Bytes, &pair(498), || Dice::new(1, 0, 0));
        assert_eq!((made.cuts, made.tokens.len()), (Cuts::Anywhere, 510));
        assert_eq!(text(&made.tokens), format!("void f() {{{}}}", "x".repeat(498)));
    }

    #[test]
    fn the_bodies_of_a_long_document_are_found_among_its_tokens() {
        let source =
            format!("int f() {{ return a; }} // {}\nint g() {{ b(); }}\n", "x".repeat(600));
        let made = infill(1.0, 0.0, 1.0)
            .prepare(&Bytes, &Record::Text(source.clone()), || Dice::new(1, 0, 0));
        assert_eq!((made.done, text(&made.tokens)), (Done::Body(FimMode::Psm), source));
        let Cuts::ByPiece(by_piece) = made.cuts else { panic!("{:?}", made.cuts) };
        let bodies = by_piece.bodies.iter();
        let bodies: Vec<_> =
            bodies.map(|b| text(&made.tokens[b.start as usize..b.end as usize])).collect();
        assert_eq!(bodies, [" return a; ", " b(); "]);
    }

    #[test]
    fn decisions_depend_on_seed_epoch_and_document_alone() {
        let record = Record::Text("int a; int b; int c; int d;".to_owned());
        let infill = infill(1.0, 0.5, 0.0);
        let made = |seed, epoch, document| {
            infill.prepare(&Bytes, &record, || Dice::new(seed, epoch, document)).tokens
        };
        assert_eq!(made(1, 2, 3), made(1, 2, 3));
        for other in [made(2, 2, 3), made(1, 3, 3), made(1, 2, 4)] {
            assert_ne!(made(1, 2, 3), other);
        }
    }

    #[test]
    fn rates_out_of_range_are_refused() {
        for bad in [-0.1, 1.1, f64::NAN] {
            let options = FimOptions { rate: 0.5, spm_rate: 0.5, body_rate: bad };
            assert!(matches!(options.check(), Err(DataError::BadOption { .. })));
        }
    }
}
