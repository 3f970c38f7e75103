//! The kinds of tokenizer: what differs between them is fixed here.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::split::PATTERN;

/// A family of tokenizers with its own pre-tokenizer and special tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// General byte-level BPE: the 256 bytes, learned merges, nine special tokens for chat.
    Bpe,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 1] = [Kind::Bpe];

    /// The name that users write.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Bpe => "bpe",
        }
    }

    /// The split pattern of the pre-tokenizer, as it stands in `tokenizer.json`.
    pub fn pattern(self) -> &'static str {
        match self {
            Kind::Bpe => PATTERN,
        }
    }

    /// The special tokens in the order of their ids.
    pub fn special_tokens(self) -> &'static [&'static str] {
        match self {
            Kind::Bpe => &[
                "<|bos|>",
                "<|user_start|>",
                "<|user_end|>",
                "<|assistant_start|>",
                "<|assistant_end|>",
                "<|python_start|>",
                "<|python_end|>",
                "<|output_start|>",
                "<|output_end|>",
            ],
        }
    }

    /// The special token that begins every document.
    pub(crate) fn bos(self) -> &'static str {
        match self {
            Kind::Bpe => "<|bos|>",
        }
    }

    /// The special token that ends a document, where the kind has one.
    pub(crate) fn eos(self) -> Option<&'static str> {
        match self {
            Kind::Bpe => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Kind, Error> {
        Kind::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| Error::UnknownKind(name.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for kind in Kind::ALL {
            assert_eq!(kind.to_string().parse::<Kind>().unwrap(), kind);
            assert!(kind.special_tokens().contains(&kind.bos()));
        }
        assert!("wordpiece".parse::<Kind>().unwrap_err().to_string().contains("wordpiece"));
    }
}
