//! The kinds of tokenizer: what differs between them is fixed here.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use crate::cpp::{self, Fixed};
use crate::error::Error;
use crate::split::PATTERN;

/// A family of tokenizers with its own pre-tokenizer and special tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// General byte-level BPE: the 256 bytes, learned merges, nine special tokens for chat.
    Bpe,
    /// For C and C++: twenty special tokens first, the 256 bytes, a fixed vocabulary of keywords, operators,
    /// names, numbers and indentation, learned merges.
    Cpp,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 2] = [Kind::Bpe, Kind::Cpp];

    /// The name that users write.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Bpe => "bpe",
            Kind::Cpp => "cpp",
        }
    }

    /// The split pattern of the pre-tokenizer, as it stands in `tokenizer.json`.
    pub fn pattern(self) -> &'static str {
        match self {
            Kind::Bpe => PATTERN,
            Kind::Cpp => &cpp::PATTERN,
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
            Kind::Cpp => &cpp::SPECIAL_TOKENS,
        }
    }

    /// The special token that begins every document.
    pub(crate) fn bos(self) -> &'static str {
        match self {
            Kind::Bpe => "<|bos|>",
            Kind::Cpp => "<BOS>",
        }
    }

    /// The special token that ends a document, where the kind has one.
    pub(crate) fn eos(self) -> Option<&'static str> {
        match self {
            Kind::Bpe => None,
            Kind::Cpp => Some("<EOS>"),
        }
    }

    /// Whether the special tokens take the first ids, not the last ones.
    pub(crate) fn specials_first(self) -> bool {
        self == Kind::Cpp
    }

    /// The tokens between bytes and learned ones, used wherever one is a whole piece.
    pub(crate) fn fixed(self) -> &'static Fixed {
        static NONE: LazyLock<Fixed> = LazyLock::new(Fixed::default);
        match self {
            Kind::Bpe => &NONE,
            Kind::Cpp => &cpp::FIXED,
        }
    }

    /// The merges that come before those that are learned.
    pub(crate) fn base_merges(self) -> Vec<(u32, u32)> {
        match self {
            Kind::Bpe => Vec::new(),
            Kind::Cpp => cpp::base_merges(),
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
            assert!(kind.eos().is_none_or(|eos| kind.special_tokens().contains(&eos)));
        }
        assert!("wordpiece".parse::<Kind>().unwrap_err().to_string().contains("wordpiece"));
    }
}
