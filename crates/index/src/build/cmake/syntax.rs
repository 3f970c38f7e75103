//! The grammar of `CMakeLists.txt`: a list of commands with arguments.

/// One command invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    /// In lower case, as names of commands do not depend on case.
    pub name: String,
    pub arguments: Vec<Argument>,
}

/// An argument before variables are put in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Argument {
    pub text: String,
    pub kind: ArgumentKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ArgumentKind {
    /// Splits at semicolons once variables are put in.
    Plain,
    /// `"..."`: one argument, with variables.
    Quoted,
    /// `[[...]]`: one argument, as it stands.
    Bracket,
}

/// The commands of `text`. What is not CMake is passed over.
pub(super) fn commands(text: &str) -> Vec<Command> {
    let mut reader = Reader { text, at: 0 };
    let mut all = Vec::new();
    while reader.at < text.len() {
        reader.skip_blanks();
        let name = reader.word();
        if name.is_empty() {
            reader.skip_one();
            continue;
        }
        reader.skip_blanks();
        if reader.rest().starts_with('(') {
            reader.at += 1;
            all.push(Command { name: name.to_ascii_lowercase(), arguments: reader.arguments() });
        }
    }
    all
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_one(&mut self) {
        self.at += self.rest().chars().next().map_or(1, char::len_utf8);
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let blanks = rest.len() - rest.trim_start().len();
            self.at += blanks;
            if !self.rest().starts_with('#') {
                return;
            }
            self.at += 1;
            if self.bracket().is_none() {
                self.at += self.rest().find('\n').unwrap_or(self.rest().len());
            }
        }
    }

    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let end =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Up to the parenthesis that closes the command; inner ones are arguments of their own.
    fn arguments(&mut self) -> Vec<Argument> {
        let mut all = Vec::new();
        let mut depth = 0;
        loop {
            self.skip_blanks();
            let Some(next) = self.rest().chars().next() else {
                return all;
            };
            match next {
                ')' if depth == 0 => {
                    self.at += 1;
                    return all;
                }
                '(' | ')' => {
                    depth = if next == '(' { depth + 1 } else { depth - 1 };
                    self.at += 1;
                    all.push(Argument { text: next.to_string(), kind: ArgumentKind::Plain });
                }
                '"' => all.push(self.quoted()),
                '[' => match self.bracket() {
                    Some(text) => all.push(Argument { text, kind: ArgumentKind::Bracket }),
                    None => all.push(self.plain()),
                },
                _ => all.push(self.plain()),
            }
        }
    }

    fn quoted(&mut self) -> Argument {
        self.at += 1;
        let rest = self.rest();
        let mut escaped = false;
        let end = rest.find(|c: char| {
            let found = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            found
        });
        let end = end.unwrap_or(rest.len());
        self.at = (self.at + end + 1).min(self.text.len());
        let text = rest[..end].replace("\\\r\n", "").replace("\\\n", "");
        Argument { text, kind: ArgumentKind::Quoted }
    }

    /// An unquoted argument; quotes inside it, as in `-DA="b c"`, hide blanks.
    fn plain(&mut self) -> Argument {
        let rest = self.rest();
        let (mut escaped, mut quoted) = (false, false);
        let end = rest.find(|c: char| {
            if escaped {
                escaped = false;
                return false;
            }
            escaped = c == '\\';
            if c == '"' {
                quoted = !quoted;
            }
            !quoted && (c.is_whitespace() || matches!(c, '(' | ')' | '#'))
        });
        let end = end.unwrap_or(rest.len()).max(1);
        self.at += end;
        Argument { text: rest[..end].to_string(), kind: ArgumentKind::Plain }
    }

    /// `[=[...]=]` at this place.
    fn bracket(&mut self) -> Option<String> {
        let rest = self.rest().strip_prefix('[')?;
        let equals = rest.len() - rest.trim_start_matches('=').len();
        let body = rest[equals..].strip_prefix('[')?;
        let close = format!("]{}]", "=".repeat(equals));
        let end = body.find(&close)?;
        self.at += 2 + equals + end + close.len();
        Some(body[..end].strip_prefix('\n').unwrap_or(&body[..end]).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, Vec<String>)> {
        let texts = |command: Command| {
            command.arguments.into_iter().map(|argument| argument.text).collect()
        };
        commands(text).into_iter().map(|command| (command.name.clone(), texts(command))).collect()
    }

    #[test]
    fn reads_commands() {
        let text = "# c (\nSET(A b \"c d;e\" # x )\n ${F}) #[[ long\n ]] if(NOT (A AND B))\nendif ()\nx([=[ a]]b ]=])";
        let expected: [(&str, &[&str]); 4] = [
            ("set", &["A", "b", "c d;e", "${F}"]),
            ("if", &["NOT", "(", "A", "AND", "B", ")"]),
            ("endif", &[]),
            ("x", &[" a]]b "]),
        ];
        let read = read(text);
        assert_eq!(read.len(), expected.len());
        for ((name, arguments), (expected_name, expected_arguments)) in read.iter().zip(expected) {
            assert_eq!(
                (name.as_str(), arguments.as_slice()),
                (
                    expected_name,
                    &*expected_arguments.iter().map(ToString::to_string).collect::<Vec<_>>()
                )
            );
        }
    }

    #[test]
    fn ends_in_broken_text() {
        for text in ["a(", "a(\"", "a([[", "#[[", "a(\\", ")", "ä(ö", "a((", "a(x\""] {
            read(text);
        }
    }
}
