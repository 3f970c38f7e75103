//! C++ into words, literals and punctuation, as far as matching braces needs it.

use std::ops::Range;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    /// A string, a character or a number.
    Literal,
    Punctuation(u8),
}

/// A token and the bytes that it spans.
pub(super) struct Token {
    pub kind: Kind,
    pub range: Range<usize>,
}

/// All tokens, without comments and preprocessor lines. What does not end, ends with the text.
pub(super) fn lex(text: &[u8]) -> Vec<Token> {
    let mut lexer = Lexer { text, at: 0, line_start: true, tokens: Vec::new() };
    while lexer.at < text.len() {
        lexer.step();
    }
    lexer.tokens
}

struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    /// Only white space since the line began.
    line_start: bool,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn step(&mut self) {
        let start = self.at;
        let byte = self.text[start];
        match byte {
            b'\n' => {
                self.at += 1;
                self.line_start = true;
                return;
            }
            byte if byte.is_ascii_whitespace() => {
                self.at += 1;
                return;
            }
            b'/' if self.starts_with(b"//") => return self.skip_line(),
            b'/' if self.starts_with(b"/*") => return self.skip_comment(),
            b'#' if self.line_start => return self.directive(),
            _ => {}
        }
        self.line_start = false;
        let kind = match byte {
            b'"' | b'\'' => {
                self.quoted(byte);
                Kind::Literal
            }
            b'0'..=b'9' => {
                self.number();
                Kind::Literal
            }
            byte if is_word(byte) => {
                self.skip_while(is_word);
                self.literal_prefix(start)
            }
            _ => {
                self.at += 1;
                Kind::Punctuation(byte)
            }
        };
        self.tokens.push(Token { kind, range: start..self.at });
    }

    fn starts_with(&self, what: &[u8]) -> bool {
        self.text[self.at..].starts_with(what)
    }

    fn skip_while(&mut self, wanted: impl Fn(u8) -> bool) {
        while self.text.get(self.at).is_some_and(|byte| wanted(*byte)) {
            self.at += 1;
        }
    }

    /// Up to the end of the line, which a backslash before it continues. The newline is left.
    fn skip_line(&mut self) {
        while let Some(byte) = self.text.get(self.at) {
            match byte {
                b'\n' => return,
                b'\\' if self.text[self.at + 1..].starts_with(b"\r\n") => self.at += 3,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at = self.text.len();
    }

    fn skip_comment(&mut self) {
        let inside = &self.text[self.at + 2..];
        let end = inside.windows(2).position(|pair| pair == b"*/");
        self.at = end.map_or(self.text.len(), |end| self.at + 2 + end + 2);
    }

    /// A preprocessor line. Behind `#else` all is passed over up to the `#endif`.
    fn directive(&mut self) {
        if is_alternative(self.directive_name()) {
            let mut depth = 0_usize;
            loop {
                self.directive_line();
                self.skip_to_directive();
                match self.directive_name() {
                    b"" => return,
                    b"endif" if depth == 0 => break,
                    b"endif" => depth -= 1,
                    b"if" | b"ifdef" | b"ifndef" => depth += 1,
                    _ => {}
                }
            }
        }
        self.directive_line();
    }

    /// The word behind the `#` here; nothing at the end of the text.
    fn directive_name(&self) -> &[u8] {
        let Some(line) = self.text.get(self.at + 1..) else { return b"" };
        let blanks = line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let word = line[blanks..].iter().take_while(|byte| is_word(**byte)).count();
        if word == 0 { b"?" } else { &line[blanks..blanks + word] }
    }

    /// The line here and, if a comment begins in it, all of that.
    fn directive_line(&mut self) {
        while let Some(byte) = self.text.get(self.at) {
            match byte {
                b'\n' => return,
                b'/' if self.starts_with(b"/*") => self.skip_comment(),
                b'/' if self.starts_with(b"//") => return self.skip_line(),
                b'"' => self.quoted(b'"'),
                b'\\' if self.text[self.at + 1..].starts_with(b"\r\n") => self.at += 3,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at = self.text.len();
    }

    /// To the `#` of the next preprocessor line, or the end.
    fn skip_to_directive(&mut self) {
        loop {
            self.skip_while(|byte| byte != b'\n');
            self.skip_while(|byte| byte.is_ascii_whitespace());
            if matches!(self.text.get(self.at), None | Some(b'#')) {
                return;
            }
        }
    }

    /// A string or character on one line.
    fn quoted(&mut self, quote: u8) {
        self.at += 1;
        while let Some(byte) = self.text.get(self.at) {
            match byte {
                b'\\' => self.at += 2,
                b'\n' => break,
                byte if *byte == quote => {
                    self.at += 1;
                    break;
                }
                _ => self.at += 1,
            }
        }
        self.at = self.at.min(self.text.len());
    }

    /// Digits with their separators and suffixes.
    fn number(&mut self) {
        loop {
            self.skip_while(|byte| is_word(byte) || byte == b'.');
            let separates = self.text.get(self.at) == Some(&b'\'')
                && self.text.get(self.at + 1).is_some_and(u8::is_ascii_alphanumeric);
            if !separates {
                return;
            }
            self.at += 1;
        }
    }

    /// A word that stands right before a quote may be a part of the literal.
    fn literal_prefix(&mut self, start: usize) -> Kind {
        let quote = self.text.get(self.at).copied();
        match (&self.text[start..self.at], quote) {
            (b"R" | b"LR" | b"uR" | b"UR" | b"u8R", Some(b'"')) => {
                self.raw_string();
                Kind::Literal
            }
            (b"L" | b"u" | b"U" | b"u8", Some(quote @ (b'"' | b'\''))) => {
                self.quoted(quote);
                Kind::Literal
            }
            _ => Kind::Word,
        }
    }

    fn raw_string(&mut self) {
        let rest = &self.text[self.at + 1..];
        let Some(open) = rest.iter().take(17).position(|byte| *byte == b'(') else {
            return self.quoted(b'"');
        };
        let end = [b")", &rest[..open], b"\""].concat();
        let inside = &rest[open + 1..];
        let found = inside.windows(end.len()).position(|window| window == end);
        let length = found.map_or(inside.len(), |at| at + end.len());
        self.at += 1 + open + 1 + length;
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn is_alternative(directive: &[u8]) -> bool {
    matches!(directive, b"else" | b"elif" | b"elifdef" | b"elifndef")
}
