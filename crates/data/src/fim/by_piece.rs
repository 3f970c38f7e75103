//! Documents longer than a row: every piece that a row takes of one is rearranged for itself, so that no sentinel is
//! ever separated from its parts.

use std::ops::Range;

use crate::fim::{Dice, FimMode, FimSentinels, rearrange};

/// Sentinels and EOS of what is rearranged.
pub(crate) const ADDED: usize = 4;
/// Shorter pieces stay as they are: there would be little to see around the middle.
pub(crate) const LEAST: usize = 16;

/// How the pieces of a document are rearranged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ByPiece {
    pub mode: FimMode,
    pub sentinels: FimSentinels,
    /// Bodies of functions, as tokens of the document, in order: the middle is one of those in the piece, if there is
    /// one.
    pub bodies: Vec<Range<u32>>,
}

impl ByPiece {
    /// The tokens of a document from `offset` on, without EOS, rearranged: [`ADDED`] more than before.
    pub(crate) fn rearrange(&self, content: &[u32], offset: usize, mut dice: Dice) -> Vec<u32> {
        let piece = offset as u32..(offset + content.len()) as u32;
        let inside = |body: &&Range<u32>| piece.start <= body.start && body.end <= piece.end;
        let inside: Vec<_> = self.bodies.iter().filter(inside).collect();
        let cuts = match inside.get(dice.below(inside.len() as u64) as usize) {
            Some(body) => ((body.start - piece.start) as usize, (body.end - piece.start) as usize),
            None => dice.cuts(content.len()),
        };
        rearrange(content, cuts, self.mode, self.sentinels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: FimSentinels = FimSentinels { prefix: 4, middle: 5, suffix: 6, eos: 3 };

    #[test]
    fn a_body_in_the_piece_is_the_middle_and_else_chance_decides() {
        let by_piece = ByPiece { mode: FimMode::Psm, sentinels: IDS, bodies: vec![12..14, 30..40] };
        let content: Vec<u32> = (110..130).collect();
        let made = by_piece.rearrange(&content, 10, Dice::of_piece(1, 0, 0, 10));
        let suffix: Vec<u32> = (114..130).collect();
        assert_eq!(made, [&[4, 110, 111, 6][..], &suffix, &[5, 112, 113, 3]].concat());
        // The second body is not whole in this one.
        let made = |offset| by_piece.rearrange(&content, offset, Dice::of_piece(1, 0, 0, 20));
        let mut sorted = made(15);
        assert_eq!((sorted.len(), sorted[0], sorted[23]), (content.len() + ADDED, 4, 3));
        sorted.sort_unstable();
        assert_eq!(sorted[4..], content);
        assert_eq!(made(15), made(15));
    }
}
