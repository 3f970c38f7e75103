//! The fixed vocabulary: tokens whose ids do not depend on training.
//!
//! A fixed token is used where it is a whole piece. Inside longer pieces it is used where learned merges make
//! it. The exception are line breaks with indentation: merges that come before all learned ones make those, so
//! that indentation is never cut, whatever stands before it.

use std::sync::LazyLock;

use rustc_hash::FxHashMap;

use crate::cpp::words::{AFTER_BLANK, DIRECTIVES, KEYWORDS, NAMES, OPERATORS};
use crate::merges::{BYTES, Merges};

/// Columns of blanks behind a line feed that are one token.
const BLANKS: usize = 32;

/// Tabs behind a line break that are one token, and columns of blanks behind CR LF.
const TABS: usize = 16;

/// Blanks behind at most [`TABS_BEFORE_BLANKS`] tabs that are one token with them.
const BLANKS_BEHIND_TABS: usize = 7;
const TABS_BEFORE_BLANKS: usize = 4;

/// A list of tokens and their places in it.
#[derive(Default)]
pub(crate) struct Fixed {
    tokens: Vec<Box<[u8]>>,
    places: FxHashMap<Box<[u8]>, u32>,
}

/// The fixed vocabulary of `cpp` in the order of its ids.
pub(crate) static FIXED: LazyLock<Fixed> = LazyLock::new(|| {
    let mut fixed = Fixed::default();
    let base = Merges::new(base_merges());
    (BYTES as u32..base.len() as u32).for_each(|id| fixed.add(base.token(id)));
    for len in 2..=BLANKS / 2 {
        fixed.add(" ".repeat(len).as_bytes());
        fixed.add("\t".repeat(len).as_bytes());
    }
    for word in KEYWORDS {
        fixed.add_with_blank(word);
    }
    for directive in DIRECTIVES {
        fixed.add_with_blank(directive);
        fixed.add(format!("#{directive}").as_bytes());
    }
    for operator in OPERATORS {
        fixed.add_with_blank(operator);
    }
    for mark in AFTER_BLANK.chars() {
        fixed.add(format!(" {mark}").as_bytes());
    }
    for name in NAMES {
        fixed.add_with_blank(name);
        fixed.add(format!("::{name}").as_bytes());
    }
    for number in 0..100 {
        fixed.add(format!("{number:02}").as_bytes());
        fixed.add(format!(" {number}").as_bytes());
    }
    for number in 0..1000 {
        fixed.add(format!("{number:03}").as_bytes());
    }
    fixed
});

impl Fixed {
    /// Appends a token unless it is a byte or there already.
    fn add(&mut self, token: &[u8]) {
        if token.len() > 1 && !self.places.contains_key(token) {
            self.places.insert(token.into(), self.tokens.len() as u32);
            self.tokens.push(token.into());
        }
    }

    fn add_with_blank(&mut self, token: &str) {
        self.add(token.as_bytes());
        self.add(format!(" {token}").as_bytes());
    }

    /// The tokens, each of two bytes and more, in order.
    pub(crate) fn tokens(&self) -> &[Box<[u8]>] {
        &self.tokens
    }

    /// The place of `token` in the list.
    pub(crate) fn place(&self, token: &[u8]) -> Option<u32> {
        self.places.get(token).copied()
    }
}

/// The merges that come before all learned ones: a line feed with one blank, with two and so on, the same with tabs,
/// with tabs and blanks, and all of these behind CR.
pub(crate) fn base_merges() -> Vec<(u32, u32)> {
    let (newline, carriage_return) = (u32::from(b'\n'), u32::from(b'\r'));
    let mut chains = Chains { merges: Vec::new() };
    let blanks = chains.append(newline, b' ', BLANKS);
    let tabs = chains.append(newline, b'\t', TABS);
    let mixed: Vec<u32> = tabs[..TABS_BEFORE_BLANKS]
        .iter()
        .flat_map(|tabs| chains.append(*tabs, b' ', BLANKS_BEHIND_TABS))
        .collect();
    let behind_return =
        [newline].into_iter().chain(blanks[..TABS].to_vec()).chain(tabs).chain(mixed);
    behind_return.for_each(|token| _ = chains.push(carriage_return, token));
    chains.merges
}

struct Chains {
    merges: Vec<(u32, u32)>,
}

impl Chains {
    fn push(&mut self, left: u32, right: u32) -> u32 {
        self.merges.push((left, right));
        (BYTES + self.merges.len() - 1) as u32
    }

    /// Tokens of `first` with one `byte` behind it, with two and so on.
    fn append(&mut self, first: u32, byte: u8, times: usize) -> Vec<u32> {
        let mut last = first;
        (0..times)
            .map(|_| {
                last = self.push(last, u32::from(byte));
                last
            })
            .collect()
    }
}
