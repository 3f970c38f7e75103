//! The conditions of `#if` and its like.

use std::cell::Cell;

use super::directives::DirectiveKind;
use super::macros::{Macro, Role, expand};
use super::predefined;

/// The macros that a condition sees.
pub(crate) trait Environment {
    /// What follows the macro's name where it was defined; `Some(None)` if it is known to be undefined, `None` if
    /// nothing is known of it.
    fn definition(&self, name: &str) -> Option<Option<&str>>;
    /// Whether the project defines the macro anywhere.
    fn defines(&self, name: &str) -> bool;
    /// Whether the file is C, not C++.
    fn is_c(&self) -> bool;
    /// Whether the project has a file that an include of `path` would mean.
    fn has_file(&self, path: &str) -> bool;
}

/// Whether the branch that a directive begins is read; `other` tells whether its group has
/// another after it, or nothing but directives in it.
pub(crate) fn takes(
    kind: DirectiveKind,
    operand: &str,
    other: bool,
    environment: &dyn Environment,
) -> bool {
    let value = |assume| {
        let budget = Cell::new(BUDGET);
        let mut condition = Condition::new(operand, environment, &budget);
        condition.assume = assume;
        match kind {
            DirectiveKind::Else => Some(1),
            DirectiveKind::Ifdef | DirectiveKind::Elifdef => condition.defined(operand),
            DirectiveKind::Ifndef | DirectiveKind::Elifndef => not(condition.defined(operand)),
            _ => condition.value(),
        }
    };
    // A guess at what a build defines is no reason to leave out a header.
    let name = first_word(operand);
    let guard = matches!(kind, DirectiveKind::Ifndef | DirectiveKind::Elifndef)
        && environment.definition(name).is_none()
        && predefined::is_guess(name);
    // Nobody has defined an unknown macro, so where there is a choice the branch for that is taken.
    match value(false) {
        Some(value) if !guard => value != 0,
        _ => guard || !other || value(true).is_some_and(|value| value != 0),
    }
}

/// The words of an expression.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with(|c: char| c.is_alphabetic() || c == '_'))
}

fn first_word(text: &str) -> &str {
    words(text).next().unwrap_or("")
}

fn not(value: Option<i64>) -> Option<i64> {
    value.map(|value| i64::from(value == 0))
}

/// Words that one condition may look up, those of the macros that it uses too.
const BUDGET: u32 = 2_000;
/// Macros that stand for macros.
const EXPANSIONS: u8 = 20;

/// An `#if` expression and the place reached in it.
struct Condition<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
    environment: &'a dyn Environment,
    budget: &'a Cell<u32>,
    expansions: u8,
    /// Whether what is unknown counts as undefined.
    assume: bool,
}

impl<'a> Condition<'a> {
    fn new(text: &'a str, environment: &'a dyn Environment, budget: &'a Cell<u32>) -> Self {
        Self {
            text: text.as_bytes(),
            at: 0,
            depth: 0,
            environment,
            budget,
            expansions: 0,
            assume: false,
        }
    }

    fn value(&mut self) -> Option<i64> {
        self.binary(0)
    }

    fn blanks(&mut self) {
        while let Some(&byte) = self.text.get(self.at) {
            let rest = &self.text[self.at..];
            if rest.starts_with(b"//") {
                self.at = self.text.len();
            } else if rest.starts_with(b"/*") {
                self.at +=
                    rest.windows(2).position(|pair| pair == b"*/").map_or(rest.len(), |p| p + 2);
            } else if byte.is_ascii_whitespace() || byte == b'\\' {
                self.at += 1;
            } else {
                return;
            }
        }
    }

    fn binary(&mut self, lowest: u8) -> Option<i64> {
        let mut left = self.unary();
        loop {
            self.blanks();
            if lowest == 0 && self.text.get(self.at) == Some(&b'?') {
                self.at += 1;
                let middle = self.binary(0);
                self.blanks();
                self.at += usize::from(self.text.get(self.at) == Some(&b':'));
                let right = self.binary(0);
                return if left? != 0 { middle } else { right };
            }
            let Some((operator, precedence)) = operator(&self.text[self.at..]) else {
                return left;
            };
            if precedence < lowest {
                return left;
            }
            self.at += operator.len();
            let right = self.binary(precedence + 1);
            left = apply(operator, left, right);
        }
    }

    fn unary(&mut self) -> Option<i64> {
        self.blanks();
        let byte = *self.text.get(self.at)?;
        self.depth += 1;
        if self.depth > 100 {
            self.at = self.text.len();
            return None;
        }
        let value = match byte {
            b'!' => {
                self.at += 1;
                not(self.unary())
            }
            b'-' => {
                self.at += 1;
                self.unary().map(i64::wrapping_neg)
            }
            b'+' => {
                self.at += 1;
                self.unary()
            }
            b'~' => {
                self.at += 1;
                self.unary().map(|value| !value)
            }
            b'(' => {
                self.at += 1;
                let value = self.binary(0);
                self.blanks();
                self.at += usize::from(self.text.get(self.at) == Some(&b')'));
                value
            }
            _ if byte.is_ascii_alphanumeric() || byte == b'_' => self.word(),
            _ => {
                self.at = self.text.len();
                None
            }
        };
        self.depth -= 1;
        value
    }

    fn take_word(&mut self) -> &'a str {
        let start = self.at;
        while self
            .text
            .get(self.at)
            .is_some_and(|&b| b.is_ascii_alphanumeric() || b == b'_' || b == b'\'')
        {
            self.at += 1;
        }
        std::str::from_utf8(&self.text[start..self.at]).unwrap_or("")
    }

    fn word(&mut self) -> Option<i64> {
        let word = self.take_word();
        if word.as_bytes()[0].is_ascii_digit() {
            let digits = word.trim_end_matches(['u', 'U', 'l', 'L']).replace('\'', "");
            return match digits.strip_prefix("0x") {
                Some(hex) => i64::from_str_radix(hex, 16).ok(),
                None => digits.parse().ok(),
            };
        }
        self.blanks();
        if word == "defined" {
            let parenthesis = self.text.get(self.at) == Some(&b'(');
            self.at += usize::from(parenthesis);
            self.blanks();
            let name = self.take_word();
            self.blanks();
            self.at += usize::from(parenthesis && self.text.get(self.at) == Some(&b')'));
            return self.defined(name);
        }
        match word {
            "true" => Some(1),
            "false" => Some(0),
            "__has_include" | "__has_include_next" => self.has_include(),
            _ => self.named(word),
        }
    }

    /// Whether a macro is defined.
    fn defined(&self, operand: &str) -> Option<i64> {
        let name = first_word(operand);
        match self.environment.definition(name) {
            Some(definition) => Some(i64::from(definition.is_some())),
            None => self.predefined(name).map(|value| i64::from(value.is_some())),
        }
    }

    /// The value of a macro that the project has not defined here.
    fn predefined(&self, name: &str) -> Option<Option<i64>> {
        let guess = predefined::is_guess(name);
        let value = if guess && self.environment.defines(name) {
            None
        } else {
            predefined::value(name, self.environment.is_c())
        };
        value.or(self.assume.then_some(None))
    }

    /// The value of a macro or of a use of one with arguments.
    fn named(&mut self, word: &str) -> Option<i64> {
        let group = self.text.get(self.at) == Some(&b'(');
        let definition = self.environment.definition(word);
        let Some(Some(rest)) = definition else {
            let arguments = group.then(|| self.group());
            return match (definition, arguments) {
                (None, Some(arguments)) => {
                    predefined::function(word, arguments).or(self.assume.then_some(0))
                }
                (None, None) => self.predefined(word).map(|value| value.unwrap_or(0)),
                _ => Some(0),
            };
        };
        self.budget.set(self.budget.get().checked_sub(1)?);
        if self.expansions >= EXPANSIONS {
            return None;
        }
        let (assume, expansions) = (self.assume, self.expansions + 1);
        let inner = |text: &str| {
            let condition = Condition::new(text, self.environment, self.budget);
            Condition { expansions, assume, ..condition }.value()
        };
        match rest.strip_prefix('(') {
            Some(list) if group => {
                let (parameters, body) = list.split_once(')')?;
                let body = body.to_owned();
                let parameters: Vec<String> = parameters
                    .split(',')
                    .map(|p| p.trim().to_owned())
                    .filter(|p| !p.is_empty())
                    .collect();
                let arguments = self.group();
                let arguments: Vec<&str> = split_arguments(arguments);
                let definition =
                    Macro { parameters: None, body, role: Role::Other, file: 0, default: false };
                let text = expand(&definition, &parameters, &arguments)?;
                let condition = Condition::new(&text, self.environment, self.budget);
                Condition { expansions, assume, ..condition }.value()
            }
            Some(_) => None,
            None if rest.trim().is_empty() => None,
            None => inner(rest),
        }
    }

    fn has_include(&mut self) -> Option<i64> {
        let path = self.group().trim();
        let standard = path.starts_with('<');
        let path = path.trim_matches(['<', '>', '"', ' ']);
        if self.environment.has_file(path) {
            return Some(1);
        }
        standard.then(|| predefined::has_header(path)).flatten().map(i64::from)
    }

    /// What stands between the parentheses here; goes past them.
    fn group(&mut self) -> &'a str {
        let start = self.at;
        self.skip_group();
        let inner = self.text.get(start + 1..self.at.saturating_sub(1)).unwrap_or(&[]);
        std::str::from_utf8(inner).unwrap_or("")
    }

    fn skip_group(&mut self) {
        let mut depth = 0usize;
        while let Some(&byte) = self.text.get(self.at) {
            self.at += 1;
            match byte {
                b'(' => depth += 1,
                b')' if depth <= 1 => return,
                b')' => depth -= 1,
                _ => {}
            }
        }
    }
}

fn operator(rest: &[u8]) -> Option<(&'static str, u8)> {
    const OPERATORS: [(&str, u8); 18] = [
        ("||", 1),
        ("&&", 2),
        ("|", 3),
        ("^", 4),
        ("&", 5),
        ("==", 6),
        ("!=", 6),
        ("<<", 8),
        (">>", 8),
        ("<=", 7),
        (">=", 7),
        ("<", 7),
        (">", 7),
        ("+", 9),
        ("-", 9),
        ("*", 10),
        ("/", 10),
        ("%", 10),
    ];
    OPERATORS.into_iter().find(|(text, _)| rest.starts_with(text.as_bytes()))
}

fn apply(operator: &str, left: Option<i64>, right: Option<i64>) -> Option<i64> {
    match operator {
        "&&" if left == Some(0) || right == Some(0) => return Some(0),
        "||" if left.is_some_and(|v| v != 0) || right.is_some_and(|v| v != 0) => return Some(1),
        _ => {}
    }
    let (left, right) = (left?, right?);
    Some(match operator {
        "&&" => i64::from(left != 0 && right != 0),
        "||" => i64::from(left != 0 || right != 0),
        "==" => i64::from(left == right),
        "!=" => i64::from(left != right),
        "<=" => i64::from(left <= right),
        ">=" => i64::from(left >= right),
        "<" => i64::from(left < right),
        ">" => i64::from(left > right),
        "+" => left.wrapping_add(right),
        "-" => left.wrapping_sub(right),
        "*" => left.wrapping_mul(right),
        "|" => left | right,
        "^" => left ^ right,
        "&" => left & right,
        "<<" => left.checked_shl(u32::try_from(right).ok()?)?,
        ">>" => left.checked_shr(u32::try_from(right).ok()?)?,
        "%" => left.checked_rem(right)?,
        _ => left.checked_div(right)?,
    })
}

/// The pieces between commas outside parentheses.
fn split_arguments(text: &str) -> Vec<&str> {
    let (mut depth, mut from, mut pieces) = (0usize, 0, Vec::new());
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                pieces.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&text[from..]);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some macros.
    struct Macros;

    impl Environment for Macros {
        fn definition(&self, name: &str) -> Option<Option<&str>> {
            match name {
                "TWO" => Some(Some(" 2")),
                "FOUR" => Some(Some(" (TWO * TWO)")),
                "EMPTY" => Some(Some("")),
                "GONE" => Some(None),
                "AT_LEAST" => Some(Some("(a, b) ((FOUR * 10 + TWO) >= ((a) * 10 + (b)))")),
                "SELF" => Some(Some(" SELF + SELF")),
                _ => None,
            }
        }

        fn defines(&self, name: &str) -> bool {
            name == "HAVE_REGEX"
        }

        fn is_c(&self) -> bool {
            false
        }

        fn has_file(&self, path: &str) -> bool {
            path == "mine.h"
        }
    }

    fn value(text: &str) -> Option<i64> {
        Condition::new(text, &Macros, &Cell::new(BUDGET)).value()
    }

    #[test]
    fn conditions_on_what_is_known_are_decided() {
        assert_eq!(value("0"), Some(0));
        assert_eq!(value("defined(_WIN32) && FOO"), Some(0));
        assert_eq!(value("!defined(_WIN32) || FOO"), Some(1));
        assert_eq!(value("__cplusplus >= 201402L"), Some(1));
        assert_eq!(value("FOO(1, 2) > 3"), None);
        assert_eq!(value(&"(".repeat(10_000)), None);
    }

    #[test]
    fn macros_stand_for_their_values() {
        assert_eq!(value("FOUR - TWO == 2"), Some(1));
        assert_eq!(value("AT_LEAST(4, TWO) && !AT_LEAST(4, 3)"), Some(1));
        assert_eq!(value("defined(EMPTY) && defined EMPTY"), Some(1));
        assert_eq!(value("EMPTY"), None);
        assert_eq!(value("GONE || defined(GONE)"), Some(0));
        assert_eq!(value("SELF"), None);
        assert_eq!(value("TWO ? 5 : FOO"), Some(5));
        assert_eq!(value("(1 << 3 | 1) % 4 ^ ~0"), Some(-2));
        assert_eq!(value("__has_include(\"mine.h\") && __has_include(<vector>)"), Some(1));
        assert_eq!(value("__has_include(<windows.h>)"), Some(0));
        assert_eq!(
            value("defined(__has_cpp_attribute) && __has_cpp_attribute(nodiscard)"),
            Some(1)
        );
    }

    #[test]
    fn an_unknown_macro_counts_as_undefined_where_there_is_a_choice() {
        let takes = |kind, operand, other| takes(kind, operand, other, &Macros);
        assert!(!takes(DirectiveKind::Ifdef, " FOO", true));
        assert!(takes(DirectiveKind::Ifdef, " FOO", false));
        assert!(!takes(DirectiveKind::Elif, " FOO", true));
        assert!(takes(DirectiveKind::Ifndef, " FOO", true));
        assert!(takes(DirectiveKind::Ifdef, " TWO", true));
        assert!(!takes(DirectiveKind::Ifdef, " GONE", false));
        assert!(takes(DirectiveKind::Else, "", false));
        assert!(!takes(DirectiveKind::If, " FOO && !BAR", true));
        assert!(takes(DirectiveKind::If, " !FOO && !defined(BAR)", true));
        assert!(takes(DirectiveKind::Ifdef, " HAVE_UNISTD", true));
        assert!(!takes(DirectiveKind::Ifdef, " HAVE_REGEX", true));
    }
}
