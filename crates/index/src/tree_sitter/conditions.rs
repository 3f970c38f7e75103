//! Conditional compilation without a compiler: conditions on what is known are decided, of the rest the likelier
//! branch is read.

/// Whether the text after a directive is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Take,
    Skip,
}

/// The groups that are open, innermost last: whether one of their branches has been taken.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    taken: Vec<bool>,
}

impl Conditions {
    /// A group begins with `#if`, `#ifdef` or `#ifndef`.
    pub(crate) fn open(
        &mut self,
        name: &[u8],
        operand: &str,
        has_alternative: impl FnOnce() -> bool,
    ) -> Verdict {
        let value = match name {
            b"ifdef" => defined(operand.trim()),
            // A guess at what a build defines is no reason to leave out a header.
            b"ifndef" => not(defined(operand.trim())).filter(|_| !is_guess(operand.trim())),
            _ => Condition::new(operand).value(),
        };
        // Nobody has defined an unknown macro, so where there is a choice the branch for that is taken.
        let take = match value {
            Some(value) => value != 0,
            None => name == b"ifndef" || operand.contains('!') || !has_alternative(),
        };
        self.taken.push(take);
        if take { Verdict::Take } else { Verdict::Skip }
    }

    /// `#elif` or `#else`.
    pub(crate) fn alternative(&mut self, name: &[u8], operand: &str) -> Verdict {
        let Some(taken) = self.taken.last_mut() else {
            return Verdict::Take;
        };
        if *taken {
            return Verdict::Skip;
        }
        let value = match name {
            b"else" => Some(1),
            b"elifdef" => defined(operand.trim()),
            b"elifndef" => not(defined(operand.trim())),
            _ => Condition::new(operand).value(),
        };
        *taken = value != Some(0);
        if *taken { Verdict::Take } else { Verdict::Skip }
    }

    /// `#endif`.
    pub(crate) fn close(&mut self) {
        self.taken.pop();
    }
}

fn not(value: Option<i64>) -> Option<i64> {
    value.map(|value| i64::from(value == 0))
}

fn defined(name: &str) -> Option<i64> {
    let name = name.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or("");
    macro_value(name).map(|value| i64::from(value.is_some()))
}

/// The value of a macro that compilers or builds set: `None` if nobody can know, `Some(None)` if it is not defined.
fn macro_value(name: &str) -> Option<Option<i64>> {
    Some(match name {
        "__cplusplus" => Some(201_703),
        "__GNUC__" => Some(12),
        "__clang__" | "__linux__" | "__linux" | "linux" | "__unix__" | "__unix" | "__x86_64__"
        | "__amd64__" | "__EXCEPTIONS" | "__STDC__" | "__LP64__" | "__cpp_exceptions"
        | "__cpp_rtti" | "__GXX_RTTI" => Some(1),
        "__clang_major__" => Some(18),
        "NDEBUG" | "_WIN32" | "_WIN64" | "WIN32" | "_MSC_VER" | "__MINGW32__" | "__MINGW64__"
        | "__CYGWIN__" | "__APPLE__" | "__MACH__" | "TARGET_OS_MAC" | "__ANDROID__" | "ANDROID"
        | "__CUDACC__" | "__CUDA_ARCH__" | "__HIPCC__" | "__INTEL_COMPILER" | "__ICL"
        | "__SUNPRO_CC" | "__sun" | "__FreeBSD__" | "__NetBSD__" | "__OpenBSD__"
        | "__DragonFly__" | "__HAIKU__" | "__QNX__" | "__BORLANDC__" | "__NVCC__"
        | "__EMSCRIPTEN__" | "_AIX" | "OS_WIN" | "OS_WINDOWS" | "OS_MACOSX" | "OS_ANDROID"
        | "OS_FREEBSD" | "OS_SOLARIS" | "OS_AIX" | "__aarch64__" | "__arm__" | "__powerpc64__"
        | "__s390x__" | "__riscv" | "SWIG" | "DOXYGEN" | "_ARCH_PPC" | "_LIBCPP_VERSION" => None,
        _ if is_guess(name) => Some(1),
        _ => return None,
    })
}

/// Names that a build on a POSIX system likely defines.
fn is_guess(name: &str) -> bool {
    let guard = name.ends_with("_H")
        || name.ends_with("_H_")
        || name.ends_with("_HPP")
        || name.ends_with("INCLUDED");
    !guard && (name.starts_with("HAVE_") || name.contains("POSIX") || name.contains("LINUX"))
}

/// An `#if` expression and the place reached in it.
struct Condition<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Condition<'a> {
    fn new(text: &'a str) -> Self {
        Self { text: text.as_bytes(), at: 0, depth: 0 }
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
            return defined(name);
        }
        if self.text.get(self.at) == Some(&b'(') {
            self.skip_group();
            return None;
        }
        match word {
            "true" => Some(1),
            "false" => Some(0),
            _ => macro_value(word).map(|value| value.unwrap_or(0)),
        }
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
    const OPERATORS: [(&str, u8); 12] = [
        ("||", 0),
        ("&&", 1),
        ("==", 2),
        ("!=", 2),
        ("<=", 3),
        (">=", 3),
        ("<", 3),
        (">", 3),
        ("+", 4),
        ("-", 4),
        ("*", 5),
        ("/", 5),
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
        _ => left.checked_div(right)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_on_what_is_known_are_decided() {
        let value = |text: &str| Condition::new(text).value();
        assert_eq!(value("0"), Some(0));
        assert_eq!(value("defined(_WIN32) && FOO"), Some(0));
        assert_eq!(value("!defined(_WIN32) || FOO"), Some(1));
        assert_eq!(value("__cplusplus >= 201402L"), Some(1));
        assert_eq!(value("FOO(1, 2) > 3"), None);
        assert_eq!(value(&"(".repeat(10_000)), None);
    }

    #[test]
    fn an_unknown_macro_counts_as_undefined_where_there_is_a_choice() {
        let mut conditions = Conditions::default();
        assert_eq!(conditions.open(b"ifdef", " FOO", || true), Verdict::Skip);
        assert_eq!(conditions.alternative(b"else", ""), Verdict::Take);
        conditions.close();
        assert_eq!(conditions.open(b"ifdef", " FOO", || false), Verdict::Take);
        assert_eq!(conditions.alternative(b"else", ""), Verdict::Skip);
    }
}
