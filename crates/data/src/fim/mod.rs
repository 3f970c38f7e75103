//! Fill-in-the-middle: documents rearranged so that a model learns to complete a gap (Bavarian et al. 2022).

mod bodies;
mod by_piece;
mod infill;
mod lexer;

pub use bodies::function_bodies;
pub(crate) use by_piece::{ADDED, ByPiece, LEAST};
pub(crate) use infill::{Cuts, Dice, Infill, Prepared, plain};
pub use infill::{FimCounts, FimOptions};

/// How the parts follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FimMode {
    /// `[PRE] prefix [SUF] suffix [MID] middle [EOS]`.
    Psm,
    /// `[PRE] [SUF] suffix [MID] prefix middle [EOS]`.
    Spm,
}

/// Ids of the tokens that mark the parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FimSentinels {
    /// Before the prefix.
    pub prefix: u32,
    /// Before the middle.
    pub middle: u32,
    /// Before the suffix.
    pub suffix: u32,
    /// After the middle.
    pub eos: u32,
}

/// A document's content cut in three at two places and rearranged, without BOS, which packing puts before it.
///
/// # Panics
/// Unless `cuts.0 <= cuts.1 <= content.len()`.
pub fn rearrange(
    content: &[u32],
    cuts: (usize, usize),
    mode: FimMode,
    ids: FimSentinels,
) -> Vec<u32> {
    let (prefix, rest) = content.split_at(cuts.0);
    let (middle, suffix) = rest.split_at(cuts.1 - cuts.0);
    let (pre, mid, suf, end) = (&[ids.prefix], &[ids.middle], &[ids.suffix], &[ids.eos]);
    let parts: [&[u32]; 7] = match mode {
        FimMode::Psm => [pre, prefix, suf, suffix, mid, middle, end],
        FimMode::Spm => [pre, suf, suffix, mid, prefix, middle, end],
    };
    parts.concat()
}

/// Texts of a documented function as prefix, suffix and middle: the model is to write the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FimTexts {
    /// The docstring as a comment (none where it is blank), and the signature up to the opening brace.
    pub prefix: String,
    /// The closing brace.
    pub suffix: &'static str,
    /// The body as it stood between the braces.
    pub middle: String,
}

/// Prefix, suffix and middle of a documented function. A `*/` inside the docstring becomes `* /`, so that it does not end
/// the comment.
pub fn structured(docstring: &str, signature: &str, body: &str) -> FimTexts {
    let comment = if docstring.trim().is_empty() {
        String::new()
    } else {
        format!("/*\n{}\n*/\n", docstring.replace("*/", "* /"))
    };
    FimTexts { prefix: format!("{comment}{signature} {{"), suffix: "}", middle: body.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: FimSentinels = FimSentinels { prefix: 4, middle: 5, suffix: 6, eos: 3 };

    #[test]
    fn parts_stand_in_the_order_of_the_mode() {
        let content = [20, 21, 22, 23];
        assert_eq!(rearrange(&content, (1, 3), FimMode::Psm, IDS), [4, 20, 6, 23, 5, 21, 22, 3]);
        assert_eq!(rearrange(&content, (1, 3), FimMode::Spm, IDS), [4, 6, 23, 5, 20, 21, 22, 3]);
        assert_eq!(rearrange(&[], (0, 0), FimMode::Psm, IDS), [4, 6, 5, 3]);
    }

    #[test]
    fn a_docstring_cannot_end_its_comment() {
        let texts = structured("Ends */ early.", "void f()", " g(); ");
        assert_eq!(texts.prefix, "/*\nEnds * / early.\n*/\nvoid f() {");
        assert_eq!((texts.suffix, texts.middle.as_str()), ("}", " g(); "));
        assert_eq!(structured(" \n", "int f()", "").prefix, "int f() {");
    }
}
