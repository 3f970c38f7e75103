//! Uses of the project's macros in bodies.

use super::body::Body;
use super::lexer::{Kind, lex};
use super::macros::{Role, expand};
use super::source::Source;
use super::types::name;
use super::value::Value;

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
        _end: usize,
    ) -> Option<Value> {
        let at = *i;
        let text = source.text(at);
        let definition = self
            .symbols
            .macros
            .seen(text, self.file, |other| self.symbols.sees(self.file, other))?;
        let group = source.kind(at + 1) == Kind::LParen;
        let wanted = name(text);
        if self.expanding.len() >= EXPANSIONS
            || self.expanding.contains(&wanted)
            || definition.role == Role::Name
        {
            return None;
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
                *i = source.past(at + 1);
                expansion
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
        let tokens = lex(&expansion);
        let inner = Source::new(&expansion, &tokens);
        let statement = (0..inner.len()).any(|t| matches!(inner.kind(t), Kind::Semi))
            || matches!(
                inner.kind(0),
                Kind::Do
                    | Kind::If
                    | Kind::For
                    | Kind::While
                    | Kind::Switch
                    | Kind::LBrace
                    | Kind::Return
            );
        let value = if statement {
            self.statements(&inner, 0, inner.len());
            Value::unknown()
        } else {
            let mut at = 0;
            let value = self.expression(&inner, &mut at, inner.len(), 0);
            if at < inner.len() { Value::unknown() } else { value }
        };
        self.expanding.pop();
        Some(value)
    }
}
