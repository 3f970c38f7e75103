//! The skeleton of a file: its declarations without bodies, initialisers, template arguments, attributes and macros,
//! which is a small part of the text and has the syntax that the grammar knows. Every token of it leads back to a
//! token of the file.

mod class;
mod declaration;

use super::lexer::Kind;
use super::macros::{Macros, Role};
use super::source::{Source, is_capitals};

/// What the parser is given, and what was left out of it.
#[derive(Debug, Default)]
pub(crate) struct Skeleton {
    pub(crate) text: String,
    /// (byte in `text`, token of the file), ascending in both.
    places: Vec<(u32, u32)>,
    /// (token of the body's `{`, token of the `:` before the initialisers), ascending.
    pub(crate) initialisers: Vec<(u32, u32)>,
    /// Tokens of macros that make functions, ascending.
    pub(crate) macro_functions: Vec<u32>,
    /// The first tokens of declarations, with what was left out before them, ascending.
    starts: Vec<u32>,
}

impl Skeleton {
    /// The token at or after byte `at` of the skeleton.
    pub(crate) fn token(&self, at: usize) -> usize {
        let place = self.places.partition_point(|&(start, _)| (start as usize) < at);
        self.places.get(place).map_or(usize::MAX, |&(_, token)| token as usize)
    }

    /// The first token of the declaration that `token` belongs to.
    pub(crate) fn start_of(&self, token: usize) -> usize {
        let place = self.starts.partition_point(|&start| start as usize <= token);
        place.checked_sub(1).map_or(token, |place| self.starts[place] as usize)
    }

    /// The last token that begins before byte `at` of the skeleton.
    pub(crate) fn last_token(&self, at: usize) -> usize {
        let place = self.places.partition_point(|&(start, _)| (start as usize) < at);
        place.checked_sub(1).map_or(0, |place| self.places[place].1 as usize)
    }
}

/// Writes the skeleton of a file.
pub(crate) fn skeleton<'a>(source: Source<'a>, macros: &'a Macros) -> Skeleton {
    let mut writer = Writer { source, macros, out: Skeleton::default(), open: Vec::new() };
    writer.out.text.reserve(source.text.len() / 4);
    let mut at = 0;
    while at < source.len() {
        at = writer.statement(at).max(at + 1);
    }
    for _ in 0..writer.open.len() {
        writer.out.text.push_str("};");
    }
    writer.out
}

enum Open<'a> {
    Namespace,
    Class(&'a str),
}

struct Writer<'a> {
    source: Source<'a>,
    macros: &'a Macros,
    out: Skeleton,
    open: Vec<Open<'a>>,
}

impl<'a> Writer<'a> {
    fn kind(&self, at: usize) -> Kind {
        self.source.kind(at)
    }

    fn put(&mut self, at: usize, text: &str) {
        self.out.places.push((self.out.text.len() as u32, at as u32));
        self.out.text.push_str(text);
        self.out.text.push(' ');
    }

    fn copy(&mut self, at: usize) {
        let text = self.source.text(at);
        self.put(at, text);
    }

    /// Writes the declaration that begins at `at`; returns the place after it.
    fn statement(&mut self, mut at: usize) -> usize {
        while self.kind(at) == Kind::Extern
            && self.kind(at + 1) == Kind::Str
            && self.kind(at + 2) != Kind::LBrace
        {
            self.out.starts.push(at as u32);
            at += 2;
        }
        self.out.starts.push(at as u32);
        let at = self.prefix(at);
        match self.kind(at) {
            Kind::RBrace => {
                let class = matches!(self.open.pop(), Some(Open::Class(_)));
                self.copy(at);
                self.out.starts.pop();
                if class { self.declaration(at + 1) } else { at + 1 }
            }
            Kind::Semi => at + 1,
            Kind::Access => {
                // Also Qt's `public slots:`.
                let colon = (at + 1..at + 3).find(|&i| self.kind(i) == Kind::Colon);
                colon.unwrap_or(at) + 1
            }
            Kind::StaticAssert | Kind::Concept | Kind::Asm => self.past_semicolon(at),
            Kind::Template => self.past_semicolon(at),
            Kind::Using if self.kind(at + 2) == Kind::Assign => self.alias(at),
            Kind::Namespace => self.namespace(at),
            Kind::Specifier if self.kind(at + 1) == Kind::Namespace => {
                self.copy(at);
                self.namespace(at + 1)
            }
            // A macro for `private`, or Qt's `signals`.
            Kind::Ident
                if self.kind(at + 1) == Kind::Colon
                    && matches!(self.open.last(), Some(Open::Class(_)))
                    && self.kind(at + 2) != Kind::Number =>
            {
                at + 2
            }
            Kind::Extern if self.kind(at + 1) == Kind::Str => {
                self.out.text.push_str("extern \"C\" ");
                self.copy(at + 2);
                self.open.push(Open::Namespace);
                at + 3
            }
            Kind::Ident if self.kind(at + 1) == Kind::LParen => self.call_like(at),
            _ => self.declaration(at),
        }
    }

    /// Template headers, attributes and macros before a declaration.
    fn prefix(&mut self, mut at: usize) -> usize {
        loop {
            let past = self.source.past_attribute(at);
            if past > at {
                at = past;
                continue;
            }
            match self.kind(at) {
                Kind::Template if self.kind(at + 1) == Kind::Lt => {
                    let Some(past) = self.source.past_angles(at + 1, self.source.len()) else {
                        return at + 2;
                    };
                    self.put(at, if past == at + 3 { "template<>" } else { "template<class T>" });
                    at = self.past_requires(past);
                }
                Kind::Ident => {
                    let past = self.macro_prefix(at);
                    if past == at {
                        return at;
                    }
                    at = past;
                }
                Kind::Specifier if self.source.text(at) == "__extension__" => at += 1,
                _ => return at,
            }
        }
    }

    /// Past a macro that stands before a declaration, its braces and template headers written out.
    fn macro_prefix(&mut self, at: usize) -> usize {
        let name = self.source.text(at);
        let group = self.kind(at + 1) == Kind::LParen;
        match self.macros.get(name) {
            Some(definition) if definition.role == Role::Decoration => {
                if group && definition.parameters.is_some() {
                    self.source.past(at + 1)
                } else {
                    at + 1
                }
            }
            Some(definition) if definition.role == Role::Structure => {
                let body = definition.body.clone();
                self.structure(at, &body);
                if body.contains(['{', '}']) {
                    self.out.starts.push(at as u32 + 1);
                }
                at + 1
            }
            None if is_capitals(name) && !group && self.starts_declaration(at + 1) => at + 1,
            _ => at,
        }
    }

    /// Whether an unknown name before `at` must be a macro: a whole declaration follows.
    fn starts_declaration(&self, at: usize) -> bool {
        match self.kind(at) {
            Kind::Builtin
            | Kind::Class
            | Kind::Static
            | Kind::Virtual
            | Kind::Specifier
            | Kind::Template
            | Kind::Typedef
            | Kind::Using
            | Kind::Namespace
            | Kind::Enum
            | Kind::Friend
            | Kind::Auto
            | Kind::Access
            | Kind::RBrace
            | Kind::Typename
            | Kind::Extern => true,
            Kind::Ident => matches!(
                self.kind(at + 1),
                Kind::Ident | Kind::Star | Kind::Amp | Kind::Lt | Kind::ColonColon
            ),
            _ => false,
        }
    }

    /// Writes what a macro does to the nesting: `namespace a { namespace b {`, `}}` or `template <class T>`.
    fn structure(&mut self, at: usize, body: &str) {
        let tokens = super::lexer::lex(body);
        let source = Source::new(body, &tokens);
        let mut i = 0;
        while i < source.len() {
            match source.kind(i) {
                Kind::LBrace => {
                    self.put(at, "{");
                    self.open.push(Open::Namespace);
                }
                Kind::RBrace => {
                    let closes = self.open.pop().is_some();
                    self.put(at, if closes { "}" } else { ";" });
                }
                Kind::Template if source.kind(i + 1) == Kind::Lt => {
                    self.put(at, "template<class T>");
                    i = source.past_angles(i + 1, source.len()).unwrap_or(source.len());
                    continue;
                }
                Kind::Ident if source.kind(i + 1) == Kind::LParen => i = source.mate(i + 1),
                Kind::Ident
                    if self
                        .macros
                        .get(source.text(i))
                        .is_some_and(|m| m.role == Role::Decoration) => {}
                Kind::Ident => {
                    let text = self.resolved_name(source.text(i)).to_owned();
                    self.put(at, &text);
                }
                Kind::Namespace | Kind::ColonColon => self.put(at, source.text(i)),
                Kind::Specifier if source.text(i) == "inline" => self.put(at, "inline"),
                _ => {}
            }
            i += 1;
        }
    }

    /// The name that a macro stands for, or the name itself.
    fn resolved_name<'n>(&'n self, name: &'n str) -> &'n str {
        match self.macros.get(name) {
            Some(definition) if definition.role == Role::Name => &definition.body,
            _ => name,
        }
    }

    fn past_requires(&self, mut at: usize) -> usize {
        if self.kind(at) != Kind::Requires {
            return at;
        }
        at += 1;
        loop {
            match self.kind(at) {
                Kind::LParen => at = self.source.past(at),
                Kind::Not | Kind::ColonColon => {
                    at += 1;
                    continue;
                }
                Kind::Requires => {
                    at += 1;
                    if self.kind(at) == Kind::LParen {
                        at = self.source.past(at);
                    }
                    at = self.source.past(at);
                }
                _ => {
                    at += 1;
                    if self.kind(at) == Kind::Lt {
                        at = self.source.past_angles(at, self.source.len()).unwrap_or(at + 1);
                    }
                    if self.kind(at) == Kind::ColonColon {
                        continue;
                    }
                }
            }
            if !matches!(self.kind(at), Kind::AmpAmp | Kind::PipePipe) {
                return at;
            }
            at += 1;
        }
    }

    fn past_semicolon(&self, mut at: usize) -> usize {
        while at < self.source.len() {
            match self.kind(at) {
                Kind::Semi => return at + 1,
                Kind::RBrace => return at,
                _ => at = self.source.past(at),
            }
        }
        at
    }

    /// `using Name = ...;`: the parser is told the name only.
    fn alias(&mut self, at: usize) -> usize {
        self.copy(at);
        self.copy(at + 1);
        self.out.text.push_str("= int ");
        let past = self.past_semicolon(at);
        self.put(past - 1, ";");
        past
    }

    fn namespace(&mut self, at: usize) -> usize {
        self.copy(at);
        let mut i = at + 1;
        loop {
            let past = self.source.past_attribute(i);
            if past > i {
                i = past;
                continue;
            }
            match self.kind(i) {
                Kind::Ident => {
                    let name = self.source.text(i);
                    let decoration =
                        self.macros.get(name).is_some_and(|m| m.role == Role::Decoration);
                    if !decoration {
                        let name = self.resolved_name(name).to_owned();
                        self.put(i, &name);
                    }
                    i += 1;
                }
                Kind::ColonColon | Kind::Specifier => {
                    self.copy(i);
                    i += 1;
                }
                Kind::LBrace => {
                    self.copy(i);
                    self.open.push(Open::Namespace);
                    return i + 1;
                }
                Kind::Assign => {
                    for token in i..self.past_semicolon(i) {
                        self.copy(token);
                    }
                    return self.past_semicolon(i);
                }
                _ => {
                    self.out.text.push_str("; ");
                    return i;
                }
            }
        }
    }

    /// A statement that begins like a call: a constructor, a function without a type, or a macro.
    fn call_like(&mut self, at: usize) -> usize {
        let name = self.source.text(at);
        let past = self.source.past(at + 1);
        let constructor = matches!(self.open.last(), Some(Open::Class(class)) if *class == name);
        if constructor {
            return self.declaration(at);
        }
        let known = self.macros.get(name).is_some();
        match self.kind(past) {
            Kind::LBrace if known || is_capitals(name) => {
                self.out.macro_functions.push(at as u32);
                self.out.text.push_str("void ");
                self.copy(at);
                self.out.text.push_str("() ");
                self.body(past)
            }
            Kind::LBrace | Kind::Try => self.declaration(at),
            Kind::Semi => past + 1,
            Kind::LParen | Kind::Arrow | Kind::Colon | Kind::Noexcept | Kind::Const => {
                self.declaration(at)
            }
            _ if known || is_capitals(name) => past,
            Kind::Ident if !is_capitals(self.source.text(past)) => past,
            _ => self.declaration(at),
        }
    }

    /// Writes `{}` for the body at `at`, its local classes between the braces.
    fn body(&mut self, at: usize) -> usize {
        self.put(at, "{");
        let mate = self.source.mate(at);
        // A body that never ends goes on to the end of the file.
        let mate = if mate == at { self.source.len() - 1 } else { mate };
        let mut i = at + 1;
        while i < mate {
            i = if self.kind(i) == Kind::Class && self.begins_local_class(i) {
                self.local_class(i)
            } else {
                i + 1
            };
        }
        self.put(mate, "}");
        mate + 1
    }
}
