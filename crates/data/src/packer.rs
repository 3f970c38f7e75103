//! Documents of any length to rows of exactly T+1 tokens: no padding, nothing thrown away.
//!
//! The buffer holds pieces: whole documents, and the rests of documents that were cut. In a row every piece is
//! preceded by BOS. A row is filled piece by piece:
//!
//! 1. the largest piece that fits goes in, the oldest of several;
//! 2. when none fits, one is cut: the row's tail takes its beginning, and its rest goes back to the buffer. Pieces
//!    longer than a row have to be cut anyway, so they are taken first; a document that some row could hold whole is
//!    cut only when there is no longer one.
//!
//! That alone would silt the buffer up with documents of the lengths that fit worst: with long ones, of which nothing
//! but tails of rows would be left, and with the shortest. So a row starts with a document of the lengths that are
//! furthest behind: of which, in proportion to what was drawn, most still waits. Documents longer than a row are read
//! side by side and in step, each the faster the longer it is (weighted fair queueing), so that all wait equally long.
//!
//! A document that is rearranged as a whole goes in as it is or not at all. While there are such, the last piece that can be
//! cut is kept for the tails. One longer than a row is cut, and its pieces leave room for the sentinels that they get. Where nothing can be cut, the longest whole one is used unrearranged and loses that
//! protection ([`Packer::to_loosen`]).
//!
//! A row starts with the oldest piece, whatever its length, once that has waited for
//! [`MAX_WAIT_ROWS`] rows, so that nothing waits for ever. Every choice costs O(log n).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use crate::feed::Drawn;
use crate::fim::{ADDED, ByPiece, Cuts, LEAST};
use crate::state::BufferedPiece;

/// No piece waits for (about) more rows than this and the number of buffered documents together.
pub(crate) const MAX_WAIT_ROWS: u64 = 1024;

/// Classes of lengths: documents have less than 2^32 tokens.
pub(crate) const CLASSES: usize = 17;
/// The time in which every long document is read once, on the clock that they have in common.
const DOCUMENT_TIME: u64 = 1 << 32;

/// A document, or what is left of one.
struct Piece {
    drawn: Drawn,
    /// The whole document.
    tokens: Vec<u32>,
    /// So many of them are packed already; fewer than all.
    offset: usize,
    entered_row: u64,
    /// When it is its turn, on the clock that long documents have in common.
    due: u64,
    cuts: Cuts,
    /// It was to be rearranged and is not.
    loosened: bool,
}

impl Piece {
    fn len(&self) -> usize {
        self.tokens.len() - self.offset
    }

    /// Room that it takes in a row: where it is rearranged, with three sentinels; it has its EOS already.
    fn size(&self) -> usize {
        self.len() + if self.is_rearranged() { ADDED - 1 } else { 0 }
    }

    fn is_rearranged(&self) -> bool {
        matches!(self.cuts, Cuts::ByPiece(_)) && self.len() >= LEAST
    }

    /// How many tokens go where there is room for so many, and how they are rearranged there.
    fn fill(&self, room: usize) -> (usize, Option<Arc<ByPiece>>) {
        match &self.cuts {
            Cuts::ByPiece(by_piece) if self.is_rearranged() && room >= ADDED + LEAST => {
                let count = if self.size() <= room { self.len() } else { room - ADDED };
                (count, Some(Arc::clone(by_piece)))
            }
            _ => (self.len().min(room), None),
        }
    }

    /// Which lengths its document belongs to: those longer than a row are one class, the others go by powers of four.
    fn class(&self, row_len: usize) -> usize {
        let len = self.tokens.len();
        if len < row_len { len.ilog2() as usize / 2 } else { CLASSES - 1 }
    }
}

/// What one step put into a row after a BOS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    pub drawn: Drawn,
    /// Which tokens of the document. Empty when only BOS found room.
    pub range: Range<usize>,
    /// Whether the document ends here.
    pub ends: bool,
    /// How they are still to be rearranged: there is room for it.
    pub by_piece: Option<Arc<ByPiece>>,
}

/// The buffer of pieces.
pub(crate) struct Packer {
    /// T+1.
    row_len: usize,
    bos: u32,
    rows: u64,
    next_sequence: u64,
    buffered_tokens: u64,
    /// By order of entry.
    pieces: BTreeMap<u64, Piece>,
    /// Those that fit a row, by length and then age: the last one up to a length is the largest and oldest.
    fitting: BTreeSet<(usize, Reverse<u64>)>,
    /// Those of them that may be cut.
    loose: BTreeSet<u64>,
    /// Those that do not fit, by when it is their turn.
    longer: BTreeSet<(u64, u64)>,
    /// Those that fit, by their documents' class and then age.
    by_class: BTreeSet<(usize, u64)>,
    /// Of each class.
    flow: [Flow; CLASSES],
}

/// Tokens of some documents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Flow {
    drawn: u64,
    waiting: u64,
}

/// What goes into a row next.
enum Choice {
    /// This piece, or as much of it as there is room for.
    Piece(u64),
    /// Nothing as it is: this whole piece has to be loosened.
    Loosen(u64),
}

impl Packer {
    /// For rows of `row_len` >= 2 tokens.
    pub(crate) fn new(row_len: usize, bos: u32) -> Self {
        debug_assert!(row_len >= 2);
        Self {
            row_len,
            bos,
            rows: 0,
            next_sequence: 0,
            buffered_tokens: 0,
            pieces: BTreeMap::new(),
            fitting: BTreeSet::new(),
            loose: BTreeSet::new(),
            longer: BTreeSet::new(),
            by_class: BTreeSet::new(),
            flow: [Flow::default(); CLASSES],
        }
    }

    /// Continues the numbering of an earlier packer.
    pub(crate) fn with_counters(mut self, rows: u64, next_sequence: u64, drawn: &[u64]) -> Self {
        (self.rows, self.next_sequence) = (rows, next_sequence);
        self.flow.iter_mut().zip(drawn).for_each(|(flow, drawn)| flow.drawn = *drawn);
        self
    }

    /// Tokens drawn of the documents of each class.
    pub(crate) fn drawn(&self) -> impl Iterator<Item = u64> + '_ {
        self.flow.iter().map(|flow| flow.drawn)
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    pub(crate) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Number of buffered pieces, which are of as many documents.
    pub(crate) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Number of buffered tokens.
    pub(crate) fn buffered_tokens(&self) -> u64 {
        self.buffered_tokens
    }

    /// Adds a document with at least one token. One that may be cut nowhere is no longer than a row.
    pub(crate) fn add(&mut self, drawn: Drawn, tokens: Vec<u32>, cuts: Cuts) {
        debug_assert!(cuts != Cuts::Nowhere || tokens.len() < self.row_len);
        let entered_row = self.rows;
        // It joins those that are being read, at the place where they are.
        let due = self.longer.first().map_or(0, |(due, _)| *due);
        let piece = Piece { drawn, tokens, offset: 0, entered_row, due, cuts, loosened: false };
        self.flow[piece.class(self.row_len)].drawn += piece.len() as u64;
        self.enter(piece);
    }

    /// Puts a piece back where it was. Its offset is below the number of tokens, and 0 where it may be cut nowhere.
    pub(crate) fn restore(&mut self, piece: &BufferedPiece, tokens: Vec<u32>, cuts: Cuts) {
        let (offset, entered_row) = (piece.offset as usize, piece.entered_row);
        let (drawn, loosened, due) = (Drawn::of(piece), piece.plain, piece.due);
        let restored = Piece { drawn, tokens, offset, entered_row, due, cuts, loosened };
        self.insert(piece.sequence, restored);
    }

    /// References to all pieces, by order of entry.
    pub(crate) fn buffered(&self) -> impl Iterator<Item = BufferedPiece> + '_ {
        self.pieces.iter().map(|(sequence, piece)| BufferedPiece {
            sequence: *sequence,
            entered_row: piece.entered_row,
            due: piece.due,
            set: piece.drawn.set,
            epoch: piece.drawn.epoch,
            document: piece.drawn.document,
            offset: piece.offset as u32,
            plain: piece.loosened,
        })
    }

    /// The whole document that has to be loosened before a row can be extended, with its number; mostly none.
    pub(crate) fn to_loosen(&self, row: &[u32]) -> Option<(u64, Drawn)> {
        let free = self.row_len - row.len();
        match self.choose(row.is_empty(), free - 1)? {
            Choice::Loosen(sequence) if free > 1 => Some((sequence, self.pieces[&sequence].drawn)),
            _ => None,
        }
    }

    /// Gives a whole document its plain tokens: from now on it may be cut.
    pub(crate) fn loosen(&mut self, sequence: u64, tokens: Vec<u32>) {
        let piece = self.remove(sequence);
        self.insert(sequence, Piece { tokens, cuts: Cuts::Anywhere, loosened: true, ..piece });
    }

    /// Extends a row that is not full by BOS and (part of) one piece. `None` when the buffer is empty. Nothing has
    /// [to be loosened](Self::to_loosen).
    pub(crate) fn place(&mut self, row: &mut Vec<u32>) -> Option<Placed> {
        let free = self.row_len - row.len();
        let (Choice::Piece(sequence) | Choice::Loosen(sequence)) =
            self.choose(row.is_empty(), free - 1)?;
        row.push(self.bos);
        if free == 1 {
            let piece = &self.pieces[&sequence];
            let range = piece.offset..piece.offset;
            return Some(Placed { drawn: piece.drawn, range, ends: false, by_piece: None });
        }
        let mut piece = self.remove(sequence);
        let (count, by_piece) = piece.fill(free - 1);
        let range = piece.offset..piece.offset + count;
        row.extend_from_slice(&piece.tokens[range.clone()]);
        let drawn = piece.drawn;
        let ends = range.end == piece.tokens.len();
        if !ends {
            piece.offset = range.end;
            piece.entered_row = self.rows;
            let time = DOCUMENT_TIME * range.len() as u64 / piece.tokens.len() as u64;
            piece.due = piece.due.saturating_add(time);
            self.enter(piece);
        }
        Some(Placed { drawn, range, ends, by_piece })
    }

    /// To be called after each full row: ages are counted in rows.
    pub(crate) fn end_row(&mut self) {
        self.rows += 1;
    }

    /// The piece to place in a row that has room for `room` tokens after BOS.
    fn choose(&self, row_starts: bool, room: usize) -> Option<Choice> {
        let (oldest, piece) = self.pieces.first_key_value()?;
        if row_starts && self.rows.saturating_sub(piece.entered_row) > MAX_WAIT_ROWS {
            return Some(Choice::Piece(*oldest));
        }
        if row_starts && let Some(sequence) = self.furthest_behind() {
            return Some(Choice::Piece(sequence));
        }
        if let Some(sequence) = self.largest(room) {
            return Some(Choice::Piece(sequence));
        }
        match self.longer.first().map(|(_, sequence)| sequence).or(self.loose.first()) {
            Some(sequence) => Some(Choice::Piece(*sequence)),
            None => self.fitting.last().map(|(_, Reverse(sequence))| Choice::Loosen(*sequence)),
        }
    }

    /// The largest piece of at most `room` tokens, the oldest of several; not the last one that could be cut, if
    /// there is another.
    fn largest(&self, room: usize) -> Option<u64> {
        let mut fits = self.fitting.range(..=(room, Reverse(0))).rev();
        let (_, Reverse(largest)) = fits.next()?;
        let instead = if self.spares(*largest) { fits.next() } else { None };
        Some(instead.map_or(*largest, |(_, Reverse(sequence))| *sequence))
    }

    /// Whether a piece is the last one that can be cut.
    fn spares(&self, sequence: u64) -> bool {
        self.longer.is_empty() && self.loose.len() == 1 && self.loose.contains(&sequence)
    }

    /// The next document of the class of which the largest part of what was drawn still waits.
    fn furthest_behind(&self) -> Option<u64> {
        let waits_longer = |a: &Flow, b: &Flow| {
            let product = |x: u64, y: u64| u128::from(x) * u128::from(y);
            product(a.waiting, b.drawn).cmp(&product(b.waiting, a.drawn))
        };
        let flows = self.flow.iter().enumerate().filter(|(_, flow)| flow.waiting > 0);
        let (class, _) = flows.max_by(|(_, a), (_, b)| waits_longer(a, b))?;
        if class == CLASSES - 1
            && let Some((_, sequence)) = self.longer.first()
        {
            return Some(*sequence);
        }
        let fitting = || self.by_class.range((class, 0)..=(class, u64::MAX)).map(|(_, at)| *at);
        fitting().find(|sequence| !self.spares(*sequence)).or_else(|| fitting().next())
    }

    fn enter(&mut self, piece: Piece) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.insert(sequence, piece);
    }

    fn insert(&mut self, sequence: u64, piece: Piece) {
        let size = piece.size();
        self.buffered_tokens += piece.len() as u64;
        self.flow[piece.class(self.row_len)].waiting += piece.len() as u64;
        if size < self.row_len {
            self.fitting.insert((size, Reverse(sequence)));
            self.by_class.insert((piece.class(self.row_len), sequence));
            if piece.cuts != Cuts::Nowhere {
                self.loose.insert(sequence);
            }
        } else {
            self.longer.insert((piece.due, sequence));
        }
        self.pieces.insert(sequence, piece);
    }

    fn remove(&mut self, sequence: u64) -> Piece {
        let piece = self.pieces.remove(&sequence).expect("the indexes hold numbers of pieces");
        let size = piece.size();
        self.buffered_tokens -= piece.len() as u64;
        self.flow[piece.class(self.row_len)].waiting -= piece.len() as u64;
        if size < self.row_len {
            self.fitting.remove(&(size, Reverse(sequence)));
            self.by_class.remove(&(piece.class(self.row_len), sequence));
            self.loose.remove(&sequence);
        } else {
            self.longer.remove(&(piece.due, sequence));
        }
        piece
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    const BOS: u32 = 0;

    fn document(number: u32, len: usize) -> (Drawn, Vec<u32>) {
        let tokens = (0..len as u32).map(|n| 1 + number * 10_000 + n).collect();
        (Drawn { set: 0, epoch: 0, document: number }, tokens)
    }

    fn packer(row_len: usize, lengths: &[usize]) -> Packer {
        let mut packer = Packer::new(row_len, BOS);
        for (number, len) in lengths.iter().enumerate() {
            let (drawn, tokens) = document(number as u32, *len);
            packer.add(drawn, tokens, Cuts::Anywhere);
        }
        packer
    }

    /// Packs rows until the buffer is empty; the last row may be short. (document, range) of each row.
    fn pack_all(packer: &mut Packer) -> Vec<Vec<(u32, Range<usize>)>> {
        let mut rows = Vec::new();
        while packer.len() > 0 {
            let (mut row, mut placed) = (Vec::new(), Vec::new());
            while row.len() < packer.row_len {
                let Some(step) = packer.place(&mut row) else { break };
                placed.push((step.drawn.document, step.range));
            }
            packer.end_row();
            rows.push(placed);
        }
        rows
    }

    #[test]
    fn the_largest_that_fits_goes_in_and_the_oldest_of_equals() {
        let rows = pack_all(&mut packer(11, &[3, 6, 2, 6]));
        // BOS 6 + BOS 3 = 11; BOS 6 + BOS 2, and then nothing is left for the last token.
        assert_eq!(rows, [vec![(1, 0..6), (0, 0..3)], vec![(3, 0..6), (2, 0..2)]]);
    }

    #[test]
    fn long_documents_fill_the_tails_before_any_that_fits_is_cut() {
        let rows = pack_all(&mut packer(8, &[5, 5, 5, 5, 5, 5, 80]));
        // Six tails of one token, after BOS 5 BOS, and the rest in rows of their own.
        let tails: Vec<_> = rows.iter().filter(|row| row.len() > 1).collect();
        assert_eq!(tails.len(), 6);
        for tail in tails {
            assert_eq!((tail[0].1.clone(), tail[1].0, tail[1].1.len()), (0..5, 6, 1));
        }
    }

    #[test]
    fn long_documents_are_read_in_step() {
        // The second is twice as long and has two rows for each of the first.
        let rows = pack_all(&mut packer(5, &[40, 80]));
        let documents: Vec<u32> = rows.iter().map(|row| row[0].0).collect();
        for (number, three) in documents.chunks(3).enumerate() {
            assert_eq!(three.iter().sum::<u32>(), 2, "rows from {} on: {documents:?}", 3 * number);
        }
        // One that comes later joins them at once, and does not catch up.
        let mut packer = packer(5, &[400, 400]);
        let begin = |packer: &mut Packer| {
            let mut row = Vec::new();
            let placed = packer.place(&mut row).unwrap();
            packer.end_row();
            placed.drawn.document
        };
        for _ in 0..50 {
            begin(&mut packer);
        }
        let (drawn, tokens) = document(2, 400);
        packer.add(drawn, tokens, Cuts::Anywhere);
        let next: Vec<u32> = (0..30).map(|_| begin(&mut packer)).collect();
        let of_third = next.iter().filter(|document| **document == 2).count();
        assert!(next[..3].contains(&2) && (9..=11).contains(&of_third), "{next:?}");
    }

    /// Half of the tokens are of documents of 4 tokens and half of one of 4,000: so are they at any time.
    #[test]
    fn no_length_waits_longer_than_another() {
        let mut lengths = vec![4; 1000];
        lengths.push(4000);
        let mut packer = packer(64, &lengths);
        let mut long = 0;
        for row_number in 1..=50 {
            let mut row = Vec::new();
            while row.len() < 64 {
                let placed = packer.place(&mut row).unwrap();
                long += if placed.drawn.document == 1000 { placed.range.len() } else { 0 };
            }
            packer.end_row();
            // A row of the others holds 4 tokens in 5 places.
            let share = long as f64 / (row_number as f64 * 56.0);
            assert!(
                row_number < 10 || (0.45..0.6).contains(&share),
                "{share} after {row_number} rows"
            );
        }
    }

    #[test]
    fn a_single_free_slot_takes_a_bos_and_nothing_else() {
        let mut packer = packer(4, &[2, 2]);
        let mut row = Vec::new();
        assert_eq!(packer.place(&mut row).unwrap().range, 0..2);
        let placed = packer.place(&mut row).unwrap();
        assert_eq!((placed.drawn.document, placed.range), (1, 0..0));
        assert_eq!((row.len(), row[3], packer.len()), (4, BOS, 1));
    }

    #[test]
    fn nothing_waits_for_ever_behind_an_endless_supply_of_larger_pieces() {
        // So much of the shortest has been drawn that a single one never is far behind.
        let mut packer = Packer::new(9, BOS).with_counters(0, 0, &[1_000_000]);
        let (drawn, tokens) = document(0, 1);
        packer.add(drawn, tokens, Cuts::Anywhere);
        let mut waited = None;
        for row_number in 0..2 * MAX_WAIT_ROWS {
            let (drawn, tokens) = document(1 + row_number as u32 % 2, 8);
            packer.add(drawn, tokens, Cuts::Anywhere);
            let mut row = Vec::new();
            while row.len() < 9 {
                let step = packer.place(&mut row).unwrap();
                if step.drawn.document == 0 && !step.range.is_empty() {
                    waited.get_or_insert(row_number);
                }
            }
            packer.end_row();
        }
        assert_eq!(waited, Some(MAX_WAIT_ROWS + 1));
    }

    fn add_whole(packer: &mut Packer, number: u32, len: usize) {
        let (drawn, tokens) = document(number, len);
        packer.add(drawn, tokens, Cuts::Nowhere);
    }

    #[test]
    fn a_whole_document_is_never_cut() {
        let mut packer = packer(10, &[30]);
        (1..=20).for_each(|number| add_whole(&mut packer, number, 3 + number as usize % 5));
        while packer.len() > 1 {
            let mut row = Vec::new();
            while row.len() < 10 && packer.len() > 0 && packer.to_loosen(&row).is_none() {
                let Some(placed) = packer.place(&mut row) else { break };
                let whole = placed.range.is_empty() || placed.range.start == 0 && placed.ends;
                assert!(placed.drawn.document == 0 || whole, "{placed:?}");
            }
            packer.end_row();
        }
    }

    #[test]
    fn the_last_piece_that_can_be_cut_is_kept_for_the_tails() {
        let mut packer = packer(10, &[5]);
        (1..=3).for_each(|number| add_whole(&mut packer, number, 6));
        let mut tails = Vec::new();
        for _ in 0..3 {
            let mut row = Vec::new();
            assert_eq!(packer.place(&mut row).unwrap().range, 0..6);
            assert!(packer.to_loosen(&row).is_none());
            tails.push(packer.place(&mut row).unwrap());
            packer.end_row();
        }
        // The piece of 5 tokens would have fitted a row with nothing else.
        assert_eq!(
            tails.iter().map(|tail| tail.range.clone()).collect::<Vec<_>>(),
            [0..2, 2..4, 4..5]
        );
    }

    #[test]
    fn where_nothing_can_be_cut_the_longest_loses_its_protection() {
        let mut packer = Packer::new(10, BOS);
        [7, 6, 5]
            .into_iter()
            .enumerate()
            .for_each(|(at, len)| add_whole(&mut packer, at as u32, len));
        let mut row = Vec::new();
        assert!(packer.to_loosen(&row).is_none(), "a row begins with one that fits");
        packer.place(&mut row).unwrap();
        let (sequence, drawn) = packer.to_loosen(&row).unwrap();
        assert_eq!(drawn.document, 1, "7 tokens are placed, 6 are the longest left");
        packer.loosen(sequence, vec![1, 2, 3, 4]);
        assert!(packer.to_loosen(&row).is_none());
        assert_eq!(packer.place(&mut row).unwrap().range, 0..1);
        assert!(packer.buffered().any(|piece| piece.plain && piece.offset == 1));
    }

    /// Lengths with many short and a few very long documents.
    fn lengths() -> impl Strategy<Value = Vec<usize>> {
        let length = prop_oneof![4 => 1usize..12, 2 => 12usize..60, 1 => 60usize..700];
        proptest::collection::vec(length, 1..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn every_token_is_packed_once_and_in_order(
            lengths in lengths(),
            row_len in 2usize..80,
            buffer in 1usize..20,
        ) {
            let mut packer = Packer::new(row_len, BOS);
            let mut waiting = lengths.iter().enumerate();
            let mut packed: HashMap<u32, Vec<u32>> = HashMap::new();
            loop {
                let mut row = Vec::new();
                while row.len() < row_len {
                    while packer.len() < buffer {
                        let Some((number, len)) = waiting.next() else { break };
                        let (drawn, tokens) = document(number as u32, *len);
                        packer.add(drawn, tokens, Cuts::Anywhere);
                    }
                    let before = row.len();
                    let Some(step) = packer.place(&mut row) else { break };
                    prop_assert_eq!(row[before], BOS);
                    let content = &row[before + 1..];
                    prop_assert_eq!(content.len(), step.range.len());
                    packed.entry(step.drawn.document).or_default().extend(content);
                }
                packer.end_row();
                prop_assert!(row.len() <= row_len);
                if row.len() < row_len {
                    break;
                }
            }
            prop_assert_eq!((packer.len(), packer.buffered_tokens()), (0, 0));
            for (number, len) in lengths.iter().enumerate() {
                let (drawn, tokens) = document(number as u32, *len);
                prop_assert_eq!(&packed[&drawn.document], &tokens);
            }
        }

        /// After each row, a packer restored from references goes on like the original.
        #[test]
        fn a_restored_packer_goes_on_alike(lengths in lengths(), row_len in 2usize..80, at in 0usize..40) {
            let mut original = packer(row_len, &lengths);
            for _ in 0..at {
                let mut row = Vec::new();
                while row.len() < row_len && original.place(&mut row).is_some() {}
                original.end_row();
            }
            let mut restored = Packer::new(row_len, BOS)
                .with_counters(original.rows(), original.next_sequence(), &original.drawn().collect::<Vec<_>>());
            for piece in original.buffered() {
                let tokens = document(piece.document, lengths[piece.document as usize]).1;
                restored.restore(&piece, tokens, Cuts::Anywhere);
            }
            prop_assert_eq!(pack_all(&mut original), pack_all(&mut restored));
        }
    }
}
