//! Cuts a file into tokens, leaving out comments. Directives are kept beside the tokens.

use super::directives::{self, Directive};

/// What a token is. Brackets and operators have kinds of their own; `>` always stands alone, so that `>>` can close
/// two template lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[rustfmt::skip]
pub(crate) enum Kind {
    Ident, Number, Str, Char,
    LParen, RParen, LBracket, RBracket, LBrace, RBrace,
    Semi, Comma, Colon, ColonColon, Dot, Arrow, MemberPointer, Question, Ellipsis,
    Star, Amp, AmpAmp, Lt, Gt, Le, Ge, EqEq, Ne, Spaceship, Assign, OpAssign,
    Plus, Minus, Slash, Percent, Caret, Pipe, PipePipe, Not, Tilde, PlusPlus, MinusMinus, Shl, Other,
    Alignas, Asm, Auto, Break, Builtin, Case, Cast, Catch, Class, Const, Continue, Decltype, Default, Delete, Do,
    Else, Enum, Extern, False, Final, For, Friend, Goto, If, Namespace, New, Noexcept, Nullptr, Operator, Override,
    Access, Requires, Return, Sizeof, Specifier, Static, StaticAssert, Switch, Template, This, Throw, True, Try,
    Typedef, Typename, Using, Virtual, Volatile, While, Concept,
}

/// A token: its kind and its byte range.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// A `#define` line: its byte range.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Define {
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// Whether it counts only where nothing else has defined the name, as in `#ifndef NAME`.
    pub(crate) default: bool,
}

/// The tokens of a file.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    pub(crate) list: Vec<Token>,
    /// For every bracket the index of its partner; for the others, and for brackets without one, their own.
    pub(crate) mate: Vec<u32>,
    /// The `#define` lines that count.
    pub(crate) defines: Vec<Define>,
    /// The preprocessor's lines.
    pub(crate) directives: Vec<Directive>,
    /// Byte place of the first bracket without a partner.
    pub(crate) unbalanced: Option<u32>,
    /// How deep brackets nest.
    pub(crate) depth: usize,
}

/// Cuts `text` into tokens, all of which count.
pub(crate) fn lex(text: &str) -> Tokens {
    let mut tokens = scan(text);
    tokens.match_brackets();
    tokens
}

/// Cuts a file into tokens, also those that conditional compilation may switch off; its brackets are not paired yet.
pub(crate) fn scan(text: &str) -> Tokens {
    let mut lexer = Lexer { bytes: text.as_bytes(), at: 0, tokens: Tokens::default() };
    lexer.tokens.list.reserve(text.len() / 5);
    if text.starts_with('\u{feff}') {
        lexer.at = 3;
    }
    lexer.run();
    lexer.tokens
}

struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
    tokens: Tokens,
}

impl Lexer<'_> {
    fn run(&mut self) {
        let mut line_start = true;
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b'\n' => {
                    line_start = true;
                    self.at += 1;
                }
                b' ' | b'\t' | b'\r' | 0x0b | 0x0c | b'\\' => self.at += 1,
                b'/' if self.peek(1) == b'/' => self.at = line_end(self.bytes, self.at),
                b'/' if self.peek(1) == b'*' => self.at = block_comment_end(self.bytes, self.at),
                b'#' if line_start => self.directive(),
                _ => {
                    line_start = false;
                    self.token(byte);
                }
            }
        }
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn push(&mut self, kind: Kind, end: usize) {
        let end = end.min(self.bytes.len());
        self.tokens.list.push(Token { kind, start: self.at as u32, end: end as u32 });
        self.at = end;
    }

    fn token(&mut self, byte: u8) {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$' | 0x80.. => self.word(),
            b'0'..=b'9' => self.number(),
            b'.' if self.peek(1).is_ascii_digit() => self.number(),
            b'"' => {
                let end = quoted_end(self.bytes, self.at, b'"');
                self.push(Kind::Str, end);
            }
            b'\'' => {
                let end = quoted_end(self.bytes, self.at, b'\'');
                self.push(Kind::Char, end);
            }
            _ => {
                let (kind, length) = operator(byte, self.peek(1), self.peek(2));
                self.push(kind, self.at + length);
            }
        }
    }

    fn word(&mut self) {
        let mut end = self.at + 1;
        while self.bytes.get(end).is_some_and(|&b| is_word(b)) {
            end += 1;
        }
        let word = &self.bytes[self.at..end];
        let next = self.bytes.get(end).copied().unwrap_or(0);
        if next == b'"' && matches!(word, b"R" | b"LR" | b"uR" | b"UR" | b"u8R") {
            let end = raw_string_end(self.bytes, end);
            return self.push(Kind::Str, end);
        }
        if (next == b'"' || next == b'\'') && matches!(word, b"L" | b"u" | b"U" | b"u8") {
            let end = quoted_end(self.bytes, end, next);
            return self.push(if next == b'"' { Kind::Str } else { Kind::Char }, end);
        }
        let kind = keyword(word);
        self.push(kind, end);
    }

    /// A preprocessing number: exponents may carry a sign, `'` separates digits.
    fn number(&mut self) {
        let mut end = self.at + 1;
        while let Some(&byte) = self.bytes.get(end) {
            let sign = matches!(byte, b'+' | b'-')
                && matches!(self.bytes[end - 1], b'e' | b'E' | b'p' | b'P')
                && !(self.bytes[self.at..end].starts_with(b"0x")
                    && matches!(self.bytes[end - 1], b'e' | b'E'));
            let separator =
                byte == b'\'' && self.bytes.get(end + 1).is_some_and(u8::is_ascii_alphanumeric);
            if !(is_word(byte) || byte == b'.' || sign || separator) {
                break;
            }
            end += 1;
        }
        self.push(Kind::Number, end);
    }

    fn directive(&mut self) {
        let place = self.tokens.list.len() as u32;
        self.at = match directives::read(self.bytes, self.at, place) {
            Ok(directive) => {
                let end = directive.end as usize;
                self.tokens.directives.push(directive);
                end
            }
            Err(end) => end,
        };
    }
}

pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// The end of the line, past continuations, before its newline.
pub(super) fn line_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        if bytes[at] == b'\n' {
            let before = &bytes[..at];
            let before = before.strip_suffix(b"\r").unwrap_or(before);
            if before.last() != Some(&b'\\') {
                return at;
            }
        }
        at += 1;
    }
    bytes.len()
}

pub(super) fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 2;
    while at + 1 < bytes.len() {
        if bytes[at] == b'*' && bytes[at + 1] == b'/' {
            return at + 2;
        }
        at += 1;
    }
    bytes.len()
}

/// The end of a string or character; an unfinished one ends with its line.
pub(super) fn quoted_end(bytes: &[u8], start: usize, quote: u8) -> usize {
    let mut at = start + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' if bytes[at + 1..].starts_with(b"\r\n") => at += 3,
            b'\\' => at += 2,
            b'\n' => return at,
            _ if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The end of a raw string whose opening quote is at `quote`.
fn raw_string_end(bytes: &[u8], quote: usize) -> usize {
    let mut open = quote + 1;
    while bytes.get(open).is_some_and(|&b| b != b'(') && open - quote <= 17 {
        open += 1;
    }
    if bytes.get(open) != Some(&b'(') {
        return quoted_end(bytes, quote, b'"');
    }
    let delimiter = &bytes[quote + 1..open];
    let mut at = open + 1;
    while at < bytes.len() {
        let rest = &bytes[at + 1..];
        if bytes[at] == b')'
            && rest.starts_with(delimiter)
            && rest.get(delimiter.len()) == Some(&b'"')
        {
            return at + 2 + delimiter.len();
        }
        at += 1;
    }
    bytes.len()
}

fn operator(byte: u8, second: u8, third: u8) -> (Kind, usize) {
    match (byte, second, third) {
        (b'<', b'=', b'>') => (Kind::Spaceship, 3),
        (b'<', b'<', b'=') => (Kind::OpAssign, 3),
        (b'-', b'>', b'*') => (Kind::MemberPointer, 3),
        (b'.', b'.', b'.') => (Kind::Ellipsis, 3),
        (b':', b':', _) => (Kind::ColonColon, 2),
        (b'-', b'>', _) => (Kind::Arrow, 2),
        (b'.', b'*', _) => (Kind::MemberPointer, 2),
        (b'&', b'&', _) => (Kind::AmpAmp, 2),
        (b'|', b'|', _) => (Kind::PipePipe, 2),
        (b'<', b'<', _) => (Kind::Shl, 2),
        (b'<', b'=', _) => (Kind::Le, 2),
        (b'>', b'=', _) => (Kind::Ge, 2),
        (b'=', b'=', _) => (Kind::EqEq, 2),
        (b'!', b'=', _) => (Kind::Ne, 2),
        (b'+', b'+', _) => (Kind::PlusPlus, 2),
        (b'-', b'-', _) => (Kind::MinusMinus, 2),
        (b'+' | b'-' | b'*' | b'/' | b'%' | b'^' | b'&' | b'|', b'=', _) => (Kind::OpAssign, 2),
        _ => (single_operator(byte), 1),
    }
}

fn single_operator(byte: u8) -> Kind {
    match byte {
        b'(' => Kind::LParen,
        b')' => Kind::RParen,
        b'[' => Kind::LBracket,
        b']' => Kind::RBracket,
        b'{' => Kind::LBrace,
        b'}' => Kind::RBrace,
        b';' => Kind::Semi,
        b',' => Kind::Comma,
        b':' => Kind::Colon,
        b'.' => Kind::Dot,
        b'?' => Kind::Question,
        b'*' => Kind::Star,
        b'&' => Kind::Amp,
        b'<' => Kind::Lt,
        b'>' => Kind::Gt,
        b'=' => Kind::Assign,
        b'+' => Kind::Plus,
        b'-' => Kind::Minus,
        b'/' => Kind::Slash,
        b'%' => Kind::Percent,
        b'^' => Kind::Caret,
        b'|' => Kind::Pipe,
        b'!' => Kind::Not,
        b'~' => Kind::Tilde,
        _ => Kind::Other,
    }
}

#[rustfmt::skip]
fn keyword(word: &[u8]) -> Kind {
    if !(2..=16).contains(&word.len()) || !(word[0].is_ascii_lowercase() || word[0] == b'_') {
        return Kind::Ident;
    }
    match word {
        b"alignas" | b"_Alignas" => Kind::Alignas,
        b"asm" | b"__asm__" | b"__asm" => Kind::Asm,
        b"auto" => Kind::Auto,
        b"break" => Kind::Break,
        b"void" | b"bool" | b"char" | b"short" | b"int" | b"long" | b"float" | b"double" | b"signed" | b"unsigned"
        | b"wchar_t" | b"char8_t" | b"char16_t" | b"char32_t" | b"__int128" | b"__int128_t" | b"__uint128_t"
        | b"_Bool" => Kind::Builtin,
        b"case" => Kind::Case,
        b"static_cast" | b"dynamic_cast" | b"reinterpret_cast" | b"const_cast" => Kind::Cast,
        b"catch" => Kind::Catch,
        b"class" | b"struct" | b"union" => Kind::Class,
        b"concept" => Kind::Concept,
        b"const" => Kind::Const,
        b"continue" => Kind::Continue,
        b"decltype" | b"typeof" | b"__typeof__" => Kind::Decltype,
        b"default" => Kind::Default,
        b"delete" => Kind::Delete,
        b"do" => Kind::Do,
        b"else" => Kind::Else,
        b"enum" => Kind::Enum,
        b"extern" => Kind::Extern,
        b"false" => Kind::False,
        b"final" => Kind::Final,
        b"for" => Kind::For,
        b"friend" => Kind::Friend,
        b"goto" => Kind::Goto,
        b"if" => Kind::If,
        b"namespace" => Kind::Namespace,
        b"new" => Kind::New,
        b"noexcept" | b"throw_" => Kind::Noexcept,
        b"nullptr" => Kind::Nullptr,
        b"operator" => Kind::Operator,
        b"override" => Kind::Override,
        b"public" | b"private" | b"protected" => Kind::Access,
        b"requires" => Kind::Requires,
        b"return" | b"co_return" | b"co_yield" => Kind::Return,
        b"sizeof" | b"alignof" | b"typeid" | b"_Alignof" | b"__alignof__" => Kind::Sizeof,
        b"inline" | b"constexpr" | b"consteval" | b"constinit" | b"explicit" | b"mutable" | b"register"
        | b"thread_local" | b"__inline" | b"__inline__" | b"__forceinline" | b"_Thread_local" | b"__thread"
        | b"__restrict" | b"__restrict__" | b"restrict" | b"__extension__" => Kind::Specifier,
        b"static" => Kind::Static,
        b"static_assert" | b"_Static_assert" => Kind::StaticAssert,
        b"switch" => Kind::Switch,
        b"template" => Kind::Template,
        b"this" => Kind::This,
        b"throw" => Kind::Throw,
        b"true" => Kind::True,
        b"try" => Kind::Try,
        b"typedef" => Kind::Typedef,
        b"typename" => Kind::Typename,
        b"using" => Kind::Using,
        b"virtual" => Kind::Virtual,
        b"volatile" => Kind::Volatile,
        b"while" => Kind::While,
        b"and" => Kind::AmpAmp,
        b"or" => Kind::PipePipe,
        b"not" => Kind::Not,
        _ => Kind::Ident,
    }
}

impl Tokens {
    /// Pairs the brackets. A closing bracket closes the nearest opening one of its sort unless a brace stands between;
    /// parentheses that a brace leaves open are their own partners.
    pub(super) fn match_brackets(&mut self) {
        self.mate = (0..self.list.len() as u32).collect();
        let mut open: Vec<(Kind, u32)> = Vec::new();
        for at in 0..self.list.len() {
            let opener = match self.list[at].kind {
                kind @ (Kind::LParen | Kind::LBracket | Kind::LBrace) => {
                    open.push((kind, at as u32));
                    self.depth = self.depth.max(open.len());
                    continue;
                }
                Kind::RParen => Kind::LParen,
                Kind::RBracket => Kind::LBracket,
                Kind::RBrace => Kind::LBrace,
                _ => continue,
            };
            let place = if opener == Kind::LBrace {
                open.iter().rposition(|&(kind, _)| kind == Kind::LBrace)
            } else {
                open.iter().rposition(|&(kind, _)| kind == opener || kind == Kind::LBrace)
            };
            match place {
                Some(place) if open[place].0 == opener => {
                    let partner = open[place].1;
                    if place + 1 < open.len() {
                        self.unbalanced.get_or_insert(self.list[open[place + 1].1 as usize].start);
                    }
                    open.truncate(place);
                    self.mate[at] = partner;
                    self.mate[partner as usize] = at as u32;
                }
                _ => {
                    self.unbalanced.get_or_insert(self.list[at].start);
                }
            }
        }
        if let Some(&(_, first)) = open.first() {
            self.unbalanced.get_or_insert(self.list[first as usize].start);
        }
    }
}
