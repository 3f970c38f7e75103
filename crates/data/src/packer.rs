//! Documents of any length to rows of exactly T+1 tokens: no padding, nothing thrown away.
//!
//! The buffer holds pieces: whole documents, and the rests of documents that were cut. In a row every piece is
//! preceded by BOS. A row is filled piece by piece:
//!
//! 1. the largest piece that fits goes in, the oldest of several;
//! 2. when none fits, one is cut: the row's tail takes its beginning, and its rest goes back to the buffer as
//!    the youngest piece. Pieces longer than a row have to be cut anyway, so they are taken first, the oldest of
//!    them; a document that some row could hold whole is cut only when there is no longer one.
//!
//! A rearranged document is whole: it goes in as it is or not at all. While there are such, the last piece that can be
//! cut is kept for the tails. Where nothing can be cut, the longest whole one is used unrearranged and loses that
//! protection ([`Packer::to_loosen`]).
//!
//! Pieces longer than a row therefore drain in turn, and rows that follow each other come from different
//! documents. A row starts with the oldest piece, whatever its length, once that has waited for
//! [`MAX_WAIT_ROWS`] rows, so that nothing waits for ever. Every choice costs O(log n).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::feed::Drawn;
use crate::state::BufferedPiece;

/// No piece waits for (about) more rows than this and the number of buffered documents together.
pub(crate) const MAX_WAIT_ROWS: u64 = 1024;

/// A document, or what is left of one.
struct Piece {
    drawn: Drawn,
    /// The whole document.
    tokens: Vec<u32>,
    /// So many of them are packed already; fewer than all.
    offset: usize,
    entered_row: u64,
    /// It must not be cut.
    whole: bool,
    /// It was to be rearranged and is not.
    loosened: bool,
}

impl Piece {
    fn len(&self) -> usize {
        self.tokens.len() - self.offset
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
    /// Those that do not fit.
    longer: BTreeSet<u64>,
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
        }
    }

    /// Continues the numbering of an earlier packer.
    pub(crate) fn with_counters(mut self, rows: u64, next_sequence: u64) -> Self {
        (self.rows, self.next_sequence) = (rows, next_sequence);
        self
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

    /// Adds a document with at least one token. One that is `whole` is no longer than a row and is never cut.
    pub(crate) fn add(&mut self, drawn: Drawn, tokens: Vec<u32>, whole: bool) {
        debug_assert!(!whole || tokens.len() < self.row_len);
        let entered_row = self.rows;
        self.enter(Piece { drawn, tokens, offset: 0, entered_row, whole, loosened: false });
    }

    /// Puts a piece back where it was. Its offset is below the number of tokens, and 0 where it is `whole`.
    pub(crate) fn restore(&mut self, piece: &BufferedPiece, tokens: Vec<u32>, whole: bool) {
        let (offset, entered_row) = (piece.offset as usize, piece.entered_row);
        let (drawn, loosened) = (Drawn::of(piece), piece.plain);
        self.insert(piece.sequence, Piece { drawn, tokens, offset, entered_row, whole, loosened });
    }

    /// References to all pieces, by order of entry.
    pub(crate) fn buffered(&self) -> impl Iterator<Item = BufferedPiece> + '_ {
        self.pieces.iter().map(|(sequence, piece)| BufferedPiece {
            sequence: *sequence,
            entered_row: piece.entered_row,
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
        self.insert(sequence, Piece { tokens, whole: false, loosened: true, ..piece });
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
            return Some(Placed { drawn: piece.drawn, range, ends: false });
        }
        let mut piece = self.remove(sequence);
        let range = piece.offset..piece.offset + piece.len().min(free - 1);
        row.extend_from_slice(&piece.tokens[range.clone()]);
        let drawn = piece.drawn;
        let ends = range.end == piece.tokens.len();
        if !ends {
            piece.offset = range.end;
            piece.entered_row = self.rows;
            self.enter(piece);
        }
        Some(Placed { drawn, range, ends })
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
        if let Some(sequence) = self.largest(room) {
            return Some(Choice::Piece(sequence));
        }
        match self.longer.first().or(self.loose.first()) {
            Some(sequence) => Some(Choice::Piece(*sequence)),
            None => self.fitting.last().map(|(_, Reverse(sequence))| Choice::Loosen(*sequence)),
        }
    }

    /// The largest piece of at most `room` tokens, the oldest of several; not the last one that could be cut, if
    /// there is another.
    fn largest(&self, room: usize) -> Option<u64> {
        let mut fits = self.fitting.range(..=(room, Reverse(0))).rev();
        let (_, Reverse(largest)) = fits.next()?;
        let spared = self.longer.is_empty() && self.loose.len() == 1 && self.loose.contains(largest);
        let instead = if spared { fits.next() } else { None };
        Some(instead.map_or(*largest, |(_, Reverse(sequence))| *sequence))
    }

    fn enter(&mut self, piece: Piece) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.insert(sequence, piece);
    }

    fn insert(&mut self, sequence: u64, piece: Piece) {
        let len = piece.len();
        self.buffered_tokens += len as u64;
        if len < self.row_len {
            self.fitting.insert((len, Reverse(sequence)));
            if !piece.whole {
                self.loose.insert(sequence);
            }
        } else {
            self.longer.insert(sequence);
        }
        self.pieces.insert(sequence, piece);
    }

    fn remove(&mut self, sequence: u64) -> Piece {
        let piece = self.pieces.remove(&sequence).expect("the indexes hold numbers of pieces");
        let len = piece.len();
        self.buffered_tokens -= len as u64;
        if len < self.row_len {
            self.fitting.remove(&(len, Reverse(sequence)));
            self.loose.remove(&sequence);
        } else {
            self.longer.remove(&sequence);
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
            packer.add(drawn, tokens, false);
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
        let rows = pack_all(&mut packer(8, &[7, 5, 5, 20]));
        let expected: Vec<Vec<(u32, Range<usize>)>> = vec![
            vec![(0, 0..7)],
            vec![(1, 0..5), (3, 0..1)],
            vec![(2, 0..5), (3, 1..2)],
            vec![(3, 2..9)],
            vec![(3, 9..16)],
            vec![(3, 16..20)],
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn long_documents_take_turns() {
        let rows = pack_all(&mut packer(5, &[9, 10, 5]));
        let starts: Vec<u32> = rows.iter().map(|row| row[0].0).collect();
        assert_eq!(starts[..3], [0, 1, 2]);
        // A rest that fits goes first, and the tail is the turn of the next long one.
        assert_eq!(rows[3], [(2, 4..5), (0, 4..6)]);
    }

    #[test]
    fn a_single_free_slot_takes_a_bos_and_nothing_else() {
        let mut packer = packer(4, &[2, 5]);
        let mut row = Vec::new();
        assert_eq!(packer.place(&mut row).unwrap().range, 0..2);
        let placed = packer.place(&mut row).unwrap();
        assert_eq!((placed.drawn.document, placed.range), (1, 0..0));
        assert_eq!((row.len(), row[3], packer.len()), (4, BOS, 1));
    }

    #[test]
    fn nothing_waits_for_ever_behind_an_endless_supply_of_larger_pieces() {
        let mut packer = packer(9, &[1]);
        let mut waited = None;
        for row_number in 0..2 * MAX_WAIT_ROWS {
            let (drawn, tokens) = document(1 + row_number as u32 % 2, 8);
            packer.add(drawn, tokens, false);
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
                        packer.add(drawn, tokens, false);
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
                .with_counters(original.rows(), original.next_sequence());
            for piece in original.buffered() {
                let tokens = document(piece.document, lengths[piece.document as usize]).1;
                restored.restore(&piece, tokens, false);
            }
            prop_assert_eq!(pack_all(&mut original), pack_all(&mut restored));
        }
    }
}
