//! What a function's body is worth.

/// Why a body teaches nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Worthless {
    /// Nothing but white space and comments.
    Empty,
    /// One `return` or one assignment.
    Trivial,
}

/// A longer statement is more than an accessor.
const TRIVIAL_BYTES: usize = 120;

/// Looks at what stands between the braces.
pub(crate) fn worth(inner: &str) -> Result<(), Worthless> {
    let code = without_comments(inner);
    let code = code.trim();
    // Stray semicolons do nothing.
    if code.bytes().all(|byte| byte == b';' || byte.is_ascii_whitespace()) {
        return Err(Worthless::Empty);
    }
    let Some(statement) = code.strip_suffix(';') else { return Ok(()) };
    if code.len() > TRIVIAL_BYTES || statement.contains([';', '{', '}']) {
        return Ok(());
    }
    let returns = statement.strip_prefix("return").is_some_and(|rest| {
        rest.is_empty() || !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')
    });
    if returns || is_assignment(statement) { Err(Worthless::Trivial) } else { Ok(()) }
}

/// `a = b` on the outermost level, and none of `==`, `<=`, `!=`, `for (a = b ...)`.
fn is_assignment(statement: &str) -> bool {
    let bytes = statement.as_bytes();
    let mut depth = 0usize;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b'=' if depth == 0 => {
                let before = at.checked_sub(1).map_or(b' ', |before| bytes[before]);
                let after = bytes.get(at + 1).copied().unwrap_or(b' ');
                return after != b'=' && !matches!(before, b'=' | b'!' | b'<' | b'>');
            }
            _ => {}
        }
    }
    false
}

/// The code with a blank for every comment and `""` for every literal.
fn without_comments(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['/', '"', '\'']) {
        let (before, from) = rest.split_at(at);
        code.push_str(before);
        let length = if from.starts_with("//") {
            code.push(' ');
            line_end(from)
        } else if let Some(comment) = from.strip_prefix("/*") {
            code.push(' ');
            comment.find("*/").map_or(from.len(), |end| end + 4)
        } else if from.starts_with('/') {
            code.push('/');
            1
        } else if from.starts_with('\'') && before.ends_with(|c: char| c.is_ascii_hexdigit()) {
            // Between the digits of 1'000.
            1
        } else {
            code.push_str("\"\"");
            if before.ends_with('R') { raw_literal(from) } else { literal(from) }
        };
        rest = &from[length..];
    }
    code + rest
}

fn line_end(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}

/// Length of the literal that opens here, also of one that never closes.
fn literal(text: &str) -> usize {
    let quote = text.as_bytes()[0];
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'\n' => return at,
            _ if byte == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Length of `"name(...)name"`, the `R` being before it.
fn raw_literal(text: &str) -> usize {
    let Some(open) = text.find('(').filter(|open| *open <= 17) else { return literal(text) };
    let end = format!("){}\"", &text[1..open]);
    text.find(&end).map_or(text.len(), |at| at + end.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_bodies_hold_no_code() {
        for body in ["", " \n", "// nothing", " /* nothing */ ", ";", " ; // x"] {
            assert_eq!(worth(body), Err(Worthless::Empty), "{body}");
        }
    }

    #[test]
    fn one_return_or_assignment_is_trivial() {
        for body in [
            "return size_;",
            " return; ",
            "\n  // The size.\n  return impl_->size(1, 2);\n",
            "return(x);",
            "size_ = size;",
            "x[1] += f(a == b);",
            "auto x = 5;",
            "return \"a;b{\";",
            "return 1'000'000;",
        ] {
            assert_eq!(worth(body), Err(Worthless::Trivial), "{body}");
        }
    }

    #[test]
    fn anything_more_is_worth_reading() {
        let long = format!("return {};", "x + ".repeat(40) + "x");
        for body in [
            "a(); return b;",
            "if (x) return y;\nreturn z;",
            "Run();",
            "return [] { return 1; }();",
            "returned();",
            "assert(a <= b);",
            "for (int i = 0; i < n; ++i) f(i);",
            "a = 1; b = 2;",
            "#define X 1",
            &long,
        ] {
            assert_eq!(worth(body), Ok(()), "{body}");
        }
    }

    #[test]
    fn comments_and_literals_are_passed_over() {
        assert_eq!(without_comments("a /* ; */ b // c\nd"), "a   b  \nd");
        assert_eq!(without_comments("f(\"// \\\" x\") / 'c'"), "f(\"\") / \"\"");
        assert_eq!(without_comments("R\"x(a\")\" //)x\" + 1"), "R\"\" + 1");
        assert_eq!(without_comments("/* open"), " ");
        assert_eq!(without_comments("\"open\nnext"), "\"\"\nnext");
    }

    #[test]
    fn any_body_can_be_looked_at() {
        use proptest::prelude::*;
        proptest!(|(body in "[a/*\"'R(){};=\n\\\\ ü1]{0,60}")| {
            let _ = worth(&body);
        });
    }
}
