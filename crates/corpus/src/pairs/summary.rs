//! What a run did, for people and for machines.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::summary::{OutputFile, ProjectSummary, SkipCause, SkippedFiles};

/// Why a function did not become a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairCause {
    /// No comment stands directly above it.
    NoComment,
    /// The comment is a copyright notice or a licence.
    LicenceComment,
    /// The comment is code that somebody took out.
    CommentedOutCode,
    /// The comment has no words, or only a note such as TODO.
    NoWords,
    /// The docstring is shorter than asked for.
    DocstringTooShort,
    /// The docstring is longer than asked for.
    DocstringTooLong,
    /// The signature is longer than asked for.
    SignatureTooLong,
    /// The body holds no code.
    EmptyBody,
    /// The body is one `return` or one assignment.
    TrivialBody,
    /// The body is shorter than asked for.
    BodyTooShort,
    /// The body is longer than asked for.
    BodyTooLong,
    /// The body does not stand between braces: a macro made it.
    NoBraces,
    /// A program wrote its file.
    Generated,
}

impl PairCause {
    /// A few words for a message.
    pub fn describe(self) -> &'static str {
        match self {
            Self::NoComment => "no comment above",
            Self::LicenceComment => "licence above",
            Self::CommentedOutCode => "commented-out code above",
            Self::NoWords => "comment without words",
            Self::DocstringTooShort => "docstring too short",
            Self::DocstringTooLong => "docstring too long",
            Self::SignatureTooLong => "signature too long",
            Self::EmptyBody => "empty body",
            Self::TrivialBody => "trivial body",
            Self::BodyTooShort => "body too short",
            Self::BodyTooLong => "body too long",
            Self::NoBraces => "body of a macro",
            Self::Generated => "generated file",
        }
    }
}

/// What [`write_pairs`](crate::write_pairs) did. The same in JSON is the content of `_COMPLETE`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PairsSummary {
    /// Functions with a body.
    pub functions: u64,
    /// Pairs written.
    pub pairs: u64,
    /// Bytes of their docstrings, signatures and bodies.
    pub text_bytes: u64,
    /// The written files.
    pub files: Vec<OutputFile>,
    /// The projects, in the order of their pairs.
    pub projects: Vec<ProjectSummary>,
    /// Functions that did not become pairs, by cause.
    pub left_out: BTreeMap<PairCause, u64>,
    /// Source files that could not be used, by cause.
    pub skipped: BTreeMap<SkipCause, SkippedFiles>,
    /// Files that the parser could not read, or not whole.
    pub failures: SkippedFiles,
    /// What the parsers had to say.
    pub notices: Vec<String>,
}
