//! Expressions: operators by precedence, and what stands between them.

use super::body::Body;
use super::lexer::Kind;
use super::source::Source;
use super::standard;
use super::types::{Base, Type};
use super::value::{Callee, Category, Value};

/// How deep expressions may nest.
const DEEPEST: usize = 128;

/// Precedence of the operator at `at`, its length in tokens and whether it groups from the right.
fn binary(source: &Source, at: usize) -> Option<(u8, usize, bool)> {
    Some(match source.kind(at) {
        Kind::Comma => (1, 1, false),
        Kind::Assign | Kind::OpAssign => (2, 1, true),
        Kind::PipePipe => (4, 1, false),
        Kind::AmpAmp => (5, 1, false),
        Kind::Pipe => (6, 1, false),
        Kind::Caret => (7, 1, false),
        Kind::Amp => (8, 1, false),
        Kind::EqEq | Kind::Ne => (9, 1, false),
        Kind::Gt if source.adjacent(at) && source.kind(at + 1) == Kind::Gt => (12, 2, false),
        Kind::Gt if source.adjacent(at) && source.kind(at + 1) == Kind::Ge => (2, 2, true),
        Kind::Lt | Kind::Gt | Kind::Le | Kind::Ge => (10, 1, false),
        Kind::Spaceship => (11, 1, false),
        Kind::Shl => (12, 1, false),
        Kind::Plus | Kind::Minus => (13, 1, false),
        Kind::Star | Kind::Slash | Kind::Percent => (14, 1, false),
        Kind::MemberPointer => (15, 1, false),
        _ => return None,
    })
}

impl Body<'_, '_> {
    /// Reads an expression whose operators bind at least as tightly as `lowest`: 0 with commas, 2 without.
    pub(crate) fn expression(
        &mut self,
        source: &Source,
        i: &mut usize,
        end: usize,
        lowest: u8,
    ) -> Value {
        if self.depth >= DEEPEST {
            self.too_deep = true;
            *i = end;
            return Value::unknown();
        }
        self.depth += 1;
        let value = self.operators(source, i, end, lowest);
        self.depth -= 1;
        value
    }

    fn operators(&mut self, source: &Source, i: &mut usize, end: usize, lowest: u8) -> Value {
        let mut left = self.unary(source, i, end);
        while *i < end {
            if source.kind(*i) == Kind::Question && lowest <= 3 {
                *i += 1;
                self.truth(&left);
                let middle = self.expression(source, i, end, 1);
                if source.kind(*i) == Kind::Colon && *i < end {
                    *i += 1;
                    let right = self.expression(source, i, end, 2);
                    left = self.conditional(middle, right);
                }
                continue;
            }
            let Some((precedence, length, from_right)) = binary(source, *i) else {
                break;
            };
            if precedence < lowest {
                break;
            }
            let at = *i;
            *i += length;
            if source.kind(at) == Kind::Assign && source.kind(*i) == Kind::LBrace {
                let arguments = self.arguments(source, *i);
                *i = source.past(*i);
                let ty = left.ty.clone();
                self.construct(&ty, &arguments);
                continue;
            }
            let right = self.expression(
                source,
                i,
                end,
                if from_right { precedence } else { precedence + 1 },
            );
            left = match source.kind(at) {
                Kind::Comma => right,
                Kind::AmpAmp | Kind::PipePipe => {
                    self.truth(&left);
                    self.truth(&right);
                    Value::of(Base::Bool)
                }
                _ => {
                    let text: String = (at..at + length).map(|token| source.text(token)).collect();
                    self.operator(&text, left, right)
                }
            };
        }
        left
    }

    fn conditional(&mut self, middle: Value, right: Value) -> Value {
        let (mut chosen, mut other) = if middle.ty.is_unknown() || middle.ty.base == Base::Null {
            (right, middle)
        } else {
            (middle, right)
        };
        if other.ty.class().is_some() && chosen.ty.class().is_none() {
            std::mem::swap(&mut chosen, &mut other);
        }
        if let Some(class) = chosen.ty.class()
            && (other.ty.class() != Some(class) || other.category != chosen.category)
        {
            // Both become an object of one type.
            let object = Type { constant: false, ..chosen.ty.clone() };
            self.copy(&other, &object);
            if other.ty.class() == Some(class) {
                self.copy(&chosen, &object);
            }
            chosen.category = Category::Temporary;
        }
        chosen.local = false;
        chosen.callee = Callee::None;
        chosen
    }

    fn unary(&mut self, source: &Source, i: &mut usize, end: usize) -> Value {
        let at = *i;
        if at >= end {
            return Value::unknown();
        }
        let operator = match source.kind(at) {
            kind @ (Kind::Star
            | Kind::Amp
            | Kind::Not
            | Kind::Minus
            | Kind::Plus
            | Kind::Tilde
            | Kind::PlusPlus
            | Kind::MinusMinus) => kind,
            Kind::AmpAmp => {
                // The address of a label.
                *i += 2;
                return Value::unknown();
            }
            Kind::Sizeof => {
                *i += 1;
                if source.kind(*i) == Kind::Ellipsis {
                    *i += 1;
                }
                if source.kind(*i) == Kind::LParen {
                    *i = source.past(*i);
                } else {
                    self.nested_unary(source, i, end);
                }
                return Value::of(Base::SIZE);
            }
            Kind::Delete => {
                *i += 1;
                if source.kind(*i) == Kind::LBracket {
                    *i = source.past(*i);
                }
                self.nested_unary(source, i, end);
                return Value::of(Base::Void);
            }
            Kind::Throw | Kind::Return => {
                *i += 1;
                return if *i < end && source.kind(*i) != Kind::Semi {
                    self.expression(source, i, end, 2)
                } else {
                    Value::unknown()
                };
            }
            Kind::ColonColon if matches!(source.kind(at + 1), Kind::New | Kind::Delete) => {
                *i += 1;
                return self.nested_unary(source, i, end);
            }
            Kind::Noexcept if source.kind(at + 1) == Kind::LParen => {
                *i = source.past(at + 1);
                return Value::of(Base::Bool);
            }
            Kind::LParen => {
                if let Some(value) = self.c_cast(source, i, end) {
                    return value;
                }
                return self.postfix(source, i, end);
            }
            _ => return self.postfix(source, i, end),
        };
        *i += 1;
        let operand = self.nested_unary(source, i, end);
        self.apply_unary(source.text(at), operator, operand)
    }

    pub(super) fn nested_unary(&mut self, source: &Source, i: &mut usize, end: usize) -> Value {
        if self.depth >= DEEPEST {
            self.too_deep = true;
            *i = end;
            return Value::unknown();
        }
        self.depth += 1;
        let value = self.unary(source, i, end);
        self.depth -= 1;
        value
    }

    fn apply_unary(&mut self, text: &str, operator: Kind, operand: Value) -> Value {
        let ty = operand.ty.clone();
        match operator {
            Kind::Amp => {
                if ty.class().is_none() && ty.is_unknown() {
                    return Value::unknown();
                }
                Value::temporary(ty.pointer_to())
            }
            Kind::Star if ty.pointer > 0 => Value::left(Type { pointer: ty.pointer - 1, ..ty }),
            Kind::Star if matches!(ty.base, Base::Standard(..)) => {
                Value::left(standard::pointee(&ty))
            }
            Kind::Not if ty.class().is_some() => {
                let found = self.unary_operator("operator!", &operand);
                found.unwrap_or_else(|| {
                    self.truth(&operand);
                    Value::of(Base::Bool)
                })
            }
            _ if ty.class().is_some() => self
                .unary_operator(&format!("operator{text}"), &operand)
                .unwrap_or_else(Value::unknown),
            Kind::Not => Value::of(Base::Bool),
            Kind::PlusPlus | Kind::MinusMinus => Value::left(ty),
            _ if ty.pointer == 0 => Value::of(ty.base.promoted()),
            _ => Value::temporary(ty),
        }
    }

    fn postfix(&mut self, source: &Source, i: &mut usize, end: usize) -> Value {
        let mut value = self.primary(source, i, end);
        while *i < end {
            match source.kind(*i) {
                Kind::LParen => {
                    let arguments = self.arguments(source, *i);
                    *i = source.past(*i);
                    value = self.call(value, arguments);
                }
                Kind::LBrace if matches!(value.callee, Callee::Type(_)) => {
                    let arguments = self.arguments(source, *i);
                    *i = source.past(*i);
                    value = self.call(value, arguments);
                }
                Kind::LBracket => {
                    let mut inner = *i + 1;
                    let index = self.expression(source, &mut inner, source.mate(*i), 0);
                    *i = source.past(*i);
                    value = self.subscript(value, index);
                }
                Kind::Dot | Kind::Arrow => {
                    let arrow = source.kind(*i) == Kind::Arrow;
                    *i += 1;
                    value = self.member(source, i, end, value, arrow);
                }
                Kind::PlusPlus | Kind::MinusMinus => {
                    let text = source.text(*i);
                    *i += 1;
                    if value.ty.class().is_some() {
                        let zero = Value::of(Base::INT);
                        value = self.operator(text, value, zero);
                    }
                }
                _ => break,
            }
        }
        value
    }

    fn subscript(&mut self, value: Value, index: Value) -> Value {
        if value.ty.pointer > 0 {
            return Value::left(Type { pointer: value.ty.pointer - 1, ..value.ty });
        }
        if let Base::Standard(..) = value.ty.base {
            let key = standard::accepts(&value.ty, "find");
            self.copy(&index, &key);
            let constant = value.ty.constant;
            let mut element = standard::subscript(&value.ty);
            element.constant |= constant && element.pointer == 0;
            return Value::left(element);
        }
        if value.ty.class().is_some() {
            return self.operator("[]", value, index);
        }
        Value::unknown()
    }

    /// The values between the brackets at `open`.
    pub(crate) fn arguments(&mut self, source: &Source, open: usize) -> Vec<Value> {
        let close = source.mate(open);
        let mut values = Vec::new();
        let mut i = open + 1;
        while i < close {
            let before = i;
            values.push(self.expression(source, &mut i, close, 2));
            if source.kind(i) == Kind::Ellipsis && i < close {
                // However many it expands to.
                values.pop();
                values.push(Value::temporary(Type::of(Base::Dependent)));
                i += 1;
            }
            while i < close && source.kind(i) != Kind::Comma {
                // Something unread, such as a declaration given to a macro.
                let stuck = i;
                if self.declaration_in_arguments(source, &mut i, close) {
                    continue;
                }
                self.expression(source, &mut i, close, 2);
                i = i.max(stuck + 1);
            }
            i = i.max(before) + 1;
        }
        values
    }

    fn declaration_in_arguments(&mut self, source: &Source, i: &mut usize, close: usize) -> bool {
        if matches!(source.kind(*i), Kind::LBrace | Kind::Semi) {
            let past = source.past(*i);
            if past > *i + 1 {
                self.statements(source, *i + 1, past - 1);
            }
            *i = past.min(close);
            return true;
        }
        false
    }
}
