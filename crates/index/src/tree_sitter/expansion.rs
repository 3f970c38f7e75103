//! Uses of the project's macros in bodies.

use super::body::Body;
use super::lexer::{Kind, lex};
use super::macros::{Macro, Role, expand};
use super::source::Source;
use super::types::name;
use super::value::{Callee, Value};

/// Macros within macros within macros.
const EXPANSIONS: usize = 8;
/// Bytes that the macros of one body may grow to.
const LONGEST_EXPANSION: usize = 512 * 1024;

impl Body<'_, '_> {
    /// A use of one of the project's macros: what it stands for is read in its place.
    pub(super) fn macro_use(
        &mut self,
        source: &Source,
        i: &mut usize,
        end: usize,
    ) -> Option<Value> {
        let at = *i;
        let text = source.text(at);
        let definition = self.symbols.macros.seen(
            text,
            self.file,
            |other| self.symbols.sees(self.file, other),
            &self.symbols.headers,
        )?;
        let group = source.kind(at + 1) == Kind::LParen;
        let wanted = name(text);
        if self.expanding.len() >= EXPANSIONS || self.expanding.contains(&wanted) {
            return None;
        }
        // Another name, of a macro or of what it is followed by.
        if definition.role == Role::Name && self.symbols.macros.get(&definition.body).is_none() {
            return self.renamed(source, i, &definition.body);
        }
        let expansion = match &definition.parameters {
            Some(parameters) if group => {
                let close = source.mate(at + 1);
                let pieces = source.split_commas(at + 2, close);
                let arguments: Vec<&str> = pieces
                    .iter()
                    .map(|&(start, end)| {
                        let first =
                            source.tokens.get(start).map_or(0, |token| token.start as usize);
                        let last = source
                            .tokens
                            .get(end.wrapping_sub(1))
                            .map_or(first, |token| token.end as usize);
                        source.text.get(first..last.max(first)).unwrap_or("")
                    })
                    .collect();
                let expansion = expand(definition, parameters, &arguments)?;
                self.read_instead(definition, text, &arguments);
                *i = source.past(at + 1);
                expansion
            }
            // A name that stands for a macro with arguments: they follow.
            None if group && self.takes_arguments(&definition.body) => {
                *i = source.past(at + 1);
                let last = source.tokens.get(*i - 1)?.end as usize;
                let first = source.tokens.get(at)?.end as usize;
                format!("{}{}", definition.body, source.text.get(first..last)?)
            }
            None if definition.role != Role::Structure => {
                *i = at + 1;
                definition.body.clone()
            }
            _ => return None,
        };
        if expansion.is_empty() {
            return Some(Value::unknown());
        }
        self.expanded += expansion.len();
        if self.expanded > LONGEST_EXPANSION {
            return Some(Value::unknown());
        }
        self.expanding.push(wanted);
        let value = self.expanded(source, i, end, expansion);
        self.expanding.pop();
        Some(value)
    }

    /// Reads what a use of a header's default stands for where another header has defined the macro: both are called.
    fn read_instead(&mut self, default: &Macro, text: &str, arguments: &[&str]) {
        let symbols = self.symbols;
        if !symbols.headers[self.file as usize] {
            return;
        }
        let other = symbols.macros.instead(text, default, &symbols.headers);
        let Some((other, parameters)) = other.and_then(|o| Some((o, o.parameters.as_ref()?)))
        else {
            return;
        };
        let Some(expansion) = expand(other, parameters, arguments) else { return };
        self.expanded += expansion.len();
        if self.expanded > LONGEST_EXPANSION {
            return;
        }
        let tokens = lex(&expansion);
        let inner = Source::new(&expansion, &tokens);
        self.expanding.push(name(text));
        if is_statement(&inner) {
            self.statements(&inner, 0, inner.len());
        } else {
            self.expression(&inner, &mut 0, inner.len(), 0);
        }
        self.expanding.pop();
    }

    /// Reads what a macro stands for. Where it leaves its last operand open, as `if (ok) ; else out() = message()` does
    /// before `<< x`, it is read together with the rest of its statement.
    fn expanded(&mut self, source: &Source, i: &mut usize, end: usize, mut text: String) -> Value {
        let mut tokens = lex(&text);
        let mut statement = is_statement(&Source::new(&text, &tokens));
        // What is called is what the macro stands for.
        if source.kind(*i) == Kind::LParen && *i < end && !statement {
            let past = source.past(*i);
            text.push_str(source.slice(*i, past));
            *i = past;
            tokens = lex(&text);
            statement = is_statement(&Source::new(&text, &tokens));
        }
        if source.kind(*i) == Kind::Shl && *i < end {
            let stop = operand_end(source, *i, end);
            let rest = source.slice(*i, stop);
            self.expanded += rest.len();
            text.push(' ');
            text.push_str(rest);
            *i = stop;
            tokens = lex(&text);
            statement = is_statement(&Source::new(&text, &tokens));
        }
        let inner = Source::new(&text, &tokens);
        if statement {
            self.statements(&inner, 0, inner.len());
            return Value::unknown();
        }
        let mut at = 0;
        let value = self.expression(&inner, &mut at, inner.len(), 0);
        if at < inner.len() { Value::unknown() } else { value }
    }

    /// A macro that is another name of a function or variable; of types and scopes [`names`](super::merge) knows.
    fn renamed(&mut self, source: &Source, i: &mut usize, body: &str) -> Option<Value> {
        let tokens = lex(body);
        let inner = Source::new(body, &tokens);
        let component = super::lookup::Component { at: 0, arguments: None };
        let value = self.unqualified(&inner, component);
        let found = match &value.callee {
            Callee::Functions(functions) => !functions.candidates.is_empty(),
            Callee::Type(_) => false,
            _ => !value.ty.is_unknown(),
        };
        if found && !self.is_local(name(source.text(*i))) {
            *i += 1;
            return Some(value);
        }
        None
    }

    /// Whether the text is the name of a macro with parameters.
    fn takes_arguments(&self, body: &str) -> bool {
        self.symbols.macros.get(body).is_some_and(|definition| definition.parameters.is_some())
    }
}

/// Whether a text is statements, not one expression.
fn is_statement(source: &Source) -> bool {
    let first = matches!(
        source.kind(0),
        Kind::Do | Kind::If | Kind::For | Kind::While | Kind::Switch | Kind::LBrace | Kind::Return
    );
    first || source.tokens.iter().any(|token| token.kind == Kind::Semi)
}

/// Where the expression that begins at `at` ends, at a comma at the latest.
fn operand_end(source: &Source, at: usize, end: usize) -> usize {
    let mut i = at;
    while i < end {
        match source.kind(i) {
            Kind::Semi | Kind::Comma | Kind::Colon | Kind::Question => return i,
            Kind::RParen | Kind::RBracket | Kind::RBrace => return i,
            _ => i = source.past(i),
        }
    }
    i.min(end)
}
