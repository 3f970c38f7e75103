//! Declarations of functions and variables, cut down to what the grammar must see.

use super::super::lexer::Kind;
use super::super::macros::Role;
use super::super::source::is_capitals;
use super::Writer;

impl Writer<'_> {
    /// A declaration up to its `;` or the end of its body.
    pub(super) fn declaration(&mut self, start: usize) -> usize {
        let mut i = start;
        let mut parameters = false;
        while i < self.source.len() {
            let past = self.source.past_attribute(i);
            if past > i {
                i = past;
                continue;
            }
            match self.kind(i) {
                Kind::Semi => {
                    self.copy(i);
                    return i + 1;
                }
                Kind::RBrace => {
                    self.out.text.push_str("; ");
                    return i;
                }
                Kind::Class if !parameters => match self.class(i) {
                    Ok(past) => return past,
                    Err(next) => i = next,
                },
                Kind::Enum => i = self.enumeration(i),
                Kind::Operator => {
                    i = self.operator(i);
                    if self.kind(i) == Kind::LParen {
                        i = self.parameters(i);
                        parameters = true;
                    }
                }
                Kind::LParen => {
                    let open = i;
                    i = self.parameters(i);
                    parameters = true;
                    i = self.source.past_old_style(open).unwrap_or(i);
                }
                Kind::LBracket => {
                    self.out.text.push_str("[] ");
                    i = self.source.past(i);
                }
                Kind::Lt => match self.source.past_angles(i, self.source.len()) {
                    Some(past) => i = past,
                    None => i += 1,
                },
                Kind::Assign => i = self.initialiser(i),
                Kind::Colon if parameters => {
                    let body = self.past_member_initialisers(i);
                    if self.kind(body) == Kind::LBrace {
                        self.out.initialisers.push((body as u32, i as u32));
                    }
                    i = body;
                }
                // A bit field's width.
                Kind::Colon => i = self.past_expression(i),
                Kind::Requires => i = self.past_requires(i),
                Kind::Arrow if parameters => i = self.trailing_type(i),
                Kind::LBrace if parameters => return self.function_end(i),
                Kind::LBrace => i = self.source.past(i),
                Kind::Noexcept | Kind::Decltype | Kind::Throw
                    if self.kind(i + 1) == Kind::LParen =>
                {
                    if self.kind(i) == Kind::Decltype {
                        self.put(i, "auto");
                    }
                    i = self.source.past(i + 1);
                }
                Kind::Noexcept | Kind::Override | Kind::Final | Kind::Try => i += 1,
                Kind::Template | Kind::Namespace | Kind::Access | Kind::Using
                    if i > start
                        && self.kind(start) != Kind::Using
                        && self.kind(start) != Kind::Friend =>
                {
                    self.out.text.push_str("; ");
                    return i;
                }
                Kind::Extern if self.kind(i + 1) == Kind::Str => i += 2,
                Kind::Ident if !parameters && self.wraps_parameters(i) => {
                    self.parameters(i + 2);
                    parameters = true;
                    i = self.source.past(i + 1);
                }
                Kind::Ident => i = self.identifier(start, i, parameters),
                _ => {
                    self.copy(i);
                    i += 1;
                }
            }
        }
        i
    }

    /// Whether a macro such as `OF` in `int f OF((int n));` stands at `at`: compilers that know no prototypes leave out
    /// what it holds.
    fn wraps_parameters(&self, at: usize) -> bool {
        let nested = self.kind(at + 1) == Kind::LParen
            && self.kind(at + 2) == Kind::LParen
            && self.source.past(at + 2) == self.source.mate(at + 1);
        nested
            && self.macros.get(self.source.text(at)).is_some_and(|definition| {
                let parameters = definition.parameters.as_deref().unwrap_or(&[]);
                let [parameter] = parameters else { return false };
                definition.body == *parameter || definition.body == "()"
            })
    }

    /// A name in a declaration, unless it is a macro that decorates it.
    pub(super) fn identifier(&mut self, start: usize, at: usize, parameters: bool) -> usize {
        let name = self.source.text(at);
        let group = self.kind(at + 1) == Kind::LParen;
        let known = self.macros.get(name);
        if known.is_some_and(|m| m.role == Role::Decoration) {
            return if group && known.is_some_and(|m| m.parameters.is_some()) {
                self.source.past(at + 1)
            } else {
                at + 1
            };
        }
        // After the parameters, and after a variable's name, capitals are annotations.
        let after_name =
            group && at >= start + 2 && self.kind(at - 1) == Kind::Ident && self.ends_type(at - 2);
        if is_capitals(name)
            && (parameters || (after_name && self.ends_declarator(self.source.past(at + 1))))
        {
            return if group { self.source.past(at + 1) } else { at + 1 };
        }
        if is_capitals(name)
            && known.is_none()
            && !group
            && at + 1 < self.source.len()
            && self.starts_declaration(at + 1)
        {
            return at + 1;
        }
        if parameters && self.kind(at + 1) == Kind::Lt {
            self.copy(at);
            return at + 1;
        }
        self.copy(at);
        at + 1
    }

    /// Whether a type may end with token `at`, so that the word after it is a name.
    pub(super) fn ends_type(&self, at: usize) -> bool {
        matches!(
            self.kind(at),
            Kind::Ident
                | Kind::Gt
                | Kind::Star
                | Kind::Amp
                | Kind::Builtin
                | Kind::Const
                | Kind::Auto
        ) && !self.macros.get(self.source.text(at)).is_some_and(|m| m.role == Role::Decoration)
    }

    pub(super) fn ends_declarator(&self, at: usize) -> bool {
        matches!(self.kind(at), Kind::Semi | Kind::Assign | Kind::LBrace | Kind::Comma)
    }

    pub(super) fn function_end(&mut self, at: usize) -> usize {
        let mut past = self.body(at);
        while self.kind(past) == Kind::Catch && self.kind(past + 1) == Kind::LParen {
            past = self.source.past(past + 1);
            if self.kind(past) == Kind::LBrace {
                past = self.source.past(past);
            }
        }
        past
    }

    /// Writes the parameters at `at` without defaults and template arguments.
    pub(super) fn parameters(&mut self, at: usize) -> usize {
        let close = self.source.mate(at);
        self.copy(at);
        if close == at {
            return at + 1;
        }
        let mut i = at + 1;
        while i < close {
            match self.kind(i) {
                Kind::Lt => i = self.source.past_angles(i, close).unwrap_or(i + 1),
                Kind::Assign => {
                    i += 1;
                    while i < close && self.kind(i) != Kind::Comma {
                        i = match self.kind(i) {
                            Kind::Lt if self.kind(i - 1) == Kind::Ident => {
                                self.source.past_angles(i, close).unwrap_or(i + 1)
                            }
                            _ => self.source.past(i),
                        };
                    }
                }
                Kind::LParen => i = self.nested_parameters(i),
                Kind::LBrace | Kind::LBracket => i = self.source.past(i),
                Kind::Number | Kind::Str | Kind::Char | Kind::Noexcept => i += 1,
                Kind::Ident
                    if self
                        .macros
                        .get(self.source.text(i))
                        .is_some_and(|m| m.role == Role::Decoration) =>
                {
                    i += 1;
                    if self.kind(i) == Kind::LParen {
                        i = self.source.past(i);
                    }
                }
                _ => {
                    self.copy(i);
                    i += 1;
                }
            }
        }
        self.copy(close);
        close + 1
    }

    /// A group inside parameters: a pointer to function keeps its shape.
    pub(super) fn nested_parameters(&mut self, at: usize) -> usize {
        if matches!(self.kind(at + 1), Kind::Star | Kind::Amp) {
            for i in at..=self.source.mate(at) {
                self.copy(i);
            }
        } else {
            self.out.text.push_str("() ");
        }
        self.source.past(at)
    }

    /// `= default`, `= delete` and `= 0` stay; any other initialiser goes, up to the comma or semicolon.
    pub(super) fn initialiser(&mut self, at: usize) -> usize {
        let pure = self.source.text(at + 1) == "0" && self.kind(at + 2) == Kind::Semi;
        if pure || matches!(self.kind(at + 1), Kind::Default | Kind::Delete) {
            self.copy(at);
            self.copy(at + 1);
            return at + 2;
        }
        self.past_expression(at)
    }

    /// Past an expression that ends a declarator.
    pub(super) fn past_expression(&self, mut at: usize) -> usize {
        while at < self.source.len() {
            match self.kind(at) {
                Kind::Semi | Kind::Comma | Kind::RBrace => return at,
                Kind::Lt if self.kind(at - 1) == Kind::Ident => {
                    at = self.source.past_angles(at, self.source.len()).unwrap_or(at + 1);
                }
                _ => at = self.source.past(at),
            }
        }
        at
    }

    pub(super) fn trailing_type(&mut self, mut at: usize) -> usize {
        self.out.text.push_str("-> int ");
        at += 1;
        while !matches!(
            self.kind(at),
            Kind::Semi | Kind::LBrace | Kind::RBrace | Kind::Assign | Kind::Requires
        ) && at < self.source.len()
        {
            at = match self.kind(at) {
                Kind::Lt => self.source.past_angles(at, self.source.len()).unwrap_or(at + 1),
                _ => self.source.past(at),
            };
        }
        at
    }

    /// From the `:` to the body of a constructor.
    pub(super) fn past_member_initialisers(&self, mut at: usize) -> usize {
        at += 1;
        while at < self.source.len() {
            match self.kind(at) {
                Kind::LParen => at = self.source.past(at),
                Kind::Lt => at = self.source.past_angles(at, self.source.len()).unwrap_or(at + 1),
                // A brace after a name initialises a member; any other is the body.
                Kind::LBrace if matches!(self.kind(at - 1), Kind::Ident | Kind::Gt) => {
                    at = self.source.past(at)
                }
                Kind::LBrace | Kind::Semi | Kind::RBrace => return at,
                _ => at += 1,
            }
        }
        at
    }

    /// An operator's name, written as one identifier.
    pub(super) fn operator(&mut self, at: usize) -> usize {
        self.put(at, "operator_");
        let mut i = at + 1;
        if self.kind(i) == Kind::LParen && self.kind(i + 1) == Kind::RParen {
            return i + 2;
        }
        while i < self.source.len()
            && !matches!(self.kind(i), Kind::LParen | Kind::Semi | Kind::LBrace)
        {
            i = match self.kind(i) {
                Kind::Lt if self.kind(i - 1) == Kind::Ident => {
                    self.source.past_angles(i, self.source.len()).unwrap_or(i + 1)
                }
                Kind::LBracket => self.source.past(i),
                _ => i + 1,
            };
        }
        i
    }
}
