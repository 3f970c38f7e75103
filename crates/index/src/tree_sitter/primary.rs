//! What expressions are made of: literals, names, casts, `new`, lambdas.

use super::arithmetic;
use super::body::Body;
use super::calls::functions;
use super::lexer::Kind;
use super::lookup::Component;
use super::source::Source;
use super::symbols::ScopeKind;
use super::types::{Base, Reference, Type, name};
use super::value::{Callee, Functions, Value};

impl Body<'_, '_> {
    pub(super) fn primary(&mut self, source: &Source, i: &mut usize, end: usize) -> Value {
        let at = *i;
        *i += 1;
        match source.kind(at) {
            Kind::Number => {
                let text = source.text(at);
                let value = Value::temporary(arithmetic::literal(text));
                // A suffix of the project's own begins with an underscore.
                match text.find('_') {
                    Some(place) => self.literal(&text[place..], vec![value]),
                    None => value,
                }
            }
            Kind::Str => {
                while *i < end && matches!(source.kind(*i), Kind::Str) {
                    *i += 1;
                }
                // Pasted macros such as PRIu64, and suffixes.
                while *i < end
                    && source.kind(*i) == Kind::Ident
                    && matches!(source.kind(*i + 1), Kind::Str)
                {
                    *i += 2;
                }
                let text = Type { constant: true, ..Type::of(Base::Char).pointer_to() };
                let value = Value::temporary(text);
                if *i < end && source.kind(*i) == Kind::Ident && source.adjacent(*i - 1) {
                    let suffix = source.text(*i);
                    *i += 1;
                    return self.literal(suffix, vec![value, Value::of(Base::SIZE)]);
                }
                value
            }
            Kind::Char => Value::of(Base::Char),
            Kind::True | Kind::False => Value::of(Base::Bool),
            Kind::Nullptr => Value::of(Base::Null),
            Kind::This => self
                .this
                .clone()
                .map_or_else(Value::unknown, |ty| Value::temporary(ty.pointer_to())),
            Kind::LParen => {
                let close = source.mate(at);
                let mut inner = at + 1;
                let value = self.expression(source, &mut inner, close, 0);
                // What could not be read as one expression.
                while inner < close {
                    inner += 1;
                    self.expression(source, &mut inner, close, 0);
                }
                *i = close.max(at) + 1;
                Value { local: false, ..value }
            }
            Kind::LBrace => {
                let values = self.arguments(source, at);
                *i = source.past(at);
                Value { callee: Callee::List(values), ..Value::of(Base::List) }
            }
            Kind::LBracket => self.lambda(source, i, at, end),
            Kind::New => self.new_expression(source, i, end),
            Kind::Cast if source.kind(at + 1) == Kind::Lt => self.named_cast(source, i, end),
            Kind::Builtin | Kind::Typename | Kind::Decltype | Kind::Auto | Kind::Const => {
                match self.symbols.parse_type(source, at, end, self.place()) {
                    Some((ty, next)) => {
                        *i = next;
                        Value::calling(Callee::Type(ty))
                    }
                    None => Value::unknown(),
                }
            }
            Kind::Ident | Kind::ColonColon => {
                *i = at;
                self.named(source, i, end)
            }
            Kind::Operator => self.operator_name(source, i, at, end),
            Kind::Semi | Kind::RBrace => {
                *i = at;
                Value::unknown()
            }
            _ => Value::unknown(),
        }
    }

    /// A literal with a suffix of the project's own.
    fn literal(&mut self, suffix: &str, arguments: Vec<Value>) -> Value {
        let operator = self.unqualified_functions(name(&format!("operator\"\"{suffix}")));
        self.call(operator, arguments)
    }

    pub(super) fn named_cast(&mut self, source: &Source, i: &mut usize, end: usize) -> Value {
        let Some(past) = source.past_angles(*i, end) else {
            return Value::unknown();
        };
        let ty = self
            .symbols
            .parse_type(source, *i + 1, past - 1, self.place())
            .map_or(Type::UNKNOWN, |(ty, _)| ty);
        *i = past;
        if source.kind(past) == Kind::LParen {
            let arguments = self.arguments(source, past);
            *i = source.past(past);
            if let Some(operand) = arguments.first() {
                self.cast(&ty, operand);
            }
        }
        Value::returned(ty)
    }

    /// A cast to a class makes an object, one from a class may run its conversion.
    pub(super) fn cast(&mut self, ty: &Type, operand: &Value) {
        if ty.reference == Reference::None
            && ty.class().is_some()
            && operand.ty.class() != ty.class()
        {
            self.construct(ty, std::slice::from_ref(operand));
        } else if ty.pointer == 0 && operand.ty.class().is_some() && ty.class().is_none() {
            self.copy(operand, ty);
        }
    }

    pub(super) fn new_expression(&mut self, source: &Source, i: &mut usize, end: usize) -> Value {
        if source.kind(*i) == Kind::LParen {
            let open = *i;
            // Placement, unless it is the type that stands in parentheses.
            self.arguments(source, open);
            *i = source.past(open);
        }
        let Some((ty, next)) = self.symbols.parse_type(source, *i, end, self.place()) else {
            return Value::unknown();
        };
        *i = next;
        let mut array = false;
        while source.kind(*i) == Kind::LBracket && *i < end {
            let mut inner = *i + 1;
            self.expression(source, &mut inner, source.mate(*i), 0);
            *i = source.past(*i);
            array = true;
        }
        let arguments = if matches!(source.kind(*i), Kind::LParen | Kind::LBrace) && *i < end {
            let arguments = self.arguments(source, *i);
            *i = source.past(*i);
            arguments
        } else {
            Vec::new()
        };
        if !array || arguments.is_empty() {
            self.construct(&ty, &arguments);
        }
        Value::temporary(ty.pointer_to())
    }

    /// A lambda: what it calls is called by the function around it.
    pub(super) fn lambda(
        &mut self,
        source: &Source,
        i: &mut usize,
        at: usize,
        end: usize,
    ) -> Value {
        let captures = source.mate(at);
        let locals = self.locals.len();
        for (start, stop) in source.split_commas(at + 1, captures) {
            if let Some(assign) = (start..stop).find(|&t| source.kind(t) == Kind::Assign) {
                let mut inner = assign + 1;
                let value = self.expression(source, &mut inner, stop, 2);
                self.locals.push((name(source.text(assign - 1)), value.ty));
            }
        }
        *i = captures + 1;
        if source.kind(*i) == Kind::Lt {
            *i = source.past_angles(*i, end).unwrap_or(*i + 1);
        }
        if source.kind(*i) == Kind::LParen && *i < end {
            let (parameters, _) = self.symbols.parameters(source, *i, self.place());
            for parameter in parameters {
                let ty = if matches!(parameter.ty.base, Base::Auto) {
                    Type::of(Base::Dependent)
                } else {
                    parameter.ty
                };
                self.locals.push((parameter.name, ty.without_reference()));
            }
            *i = source.past(*i);
        }
        let mut result = None;
        while *i < end && source.kind(*i) != Kind::LBrace {
            match source.kind(*i) {
                Kind::Arrow => {
                    let parsed = self.symbols.parse_type(source, *i + 1, end, self.place());
                    let Some((ty, next)) = parsed else { break };
                    result = Some(ty);
                    *i = next;
                }
                Kind::Specifier | Kind::Noexcept | Kind::Const => *i += 1,
                Kind::LParen => *i = source.past(*i),
                _ => break,
            }
        }
        if source.kind(*i) != Kind::LBrace || *i >= end {
            self.locals.truncate(locals);
            return Value::unknown();
        }
        let (open, close) = (*i, source.mate(*i));
        *i = close.max(open) + 1;
        let outer_result =
            std::mem::replace(&mut self.result, result.clone().unwrap_or(Type::UNKNOWN));
        let outer_returned = self.returned.take();
        self.statements(source, open + 1, close);
        let returned = std::mem::replace(&mut self.returned, outer_returned);
        self.result = outer_result;
        self.locals.truncate(locals);
        let result = result.or(returned);
        Value::of(Base::Lambda(result.map(std::sync::Arc::new)))
    }

    /// `operator==(a, b)`, called by name.
    pub(super) fn operator_name(
        &mut self,
        source: &Source,
        i: &mut usize,
        at: usize,
        end: usize,
    ) -> Value {
        let text = operator_text(source, i, at, end);
        self.unqualified_functions(name(&text))
    }

    /// `A::operator==(b)`, where all of `components` qualify.
    pub(super) fn qualified_operator(
        &mut self,
        source: &Source,
        i: &mut usize,
        end: usize,
        components: &[Component],
        rooted: bool,
    ) -> Value {
        let at = *i + 1;
        *i = at + 1;
        let text = operator_text(source, i, at, end);
        let place = self.place();
        match self.symbols.qualifier(source, components, rooted, place) {
            Ok(ty) if ty.is_dependent() && self.outside(&ty) => {
                Value::temporary(Type::of(Base::Dependent))
            }
            Ok(Type { base: Base::Class(scope, _), .. }) => {
                let found = self.symbols.in_scope(scope, name(&text), self.file);
                let member = self.symbols.scope(scope).kind == ScopeKind::Class;
                Value::calling(Callee::Functions(Functions {
                    name: name(&text),
                    candidates: functions(&found),
                    object: self.this.clone().filter(|_| member),
                    implicit: true,
                    unqualified: false,
                    template: Vec::new(),
                    otherwise: Type::UNKNOWN,
                }))
            }
            Err(ty) if ty.is_dependent() => Value::temporary(Type::of(Base::Dependent)),
            _ => Value::unknown(),
        }
    }

    /// `(T)x`, or nothing if the parentheses hold an expression.
    pub(super) fn c_cast(&mut self, source: &Source, i: &mut usize, end: usize) -> Option<Value> {
        let open = *i;
        let close = source.mate(open);
        let starts = matches!(
            source.kind(open + 1),
            Kind::Ident
                | Kind::ColonColon
                | Kind::Builtin
                | Kind::Const
                | Kind::Class
                | Kind::Enum
                | Kind::Typename
        );
        if !starts || close == open || close + 1 >= end {
            return None;
        }
        let operand = matches!(
            source.kind(close + 1),
            Kind::Ident
                | Kind::Number
                | Kind::Str
                | Kind::Char
                | Kind::LParen
                | Kind::This
                | Kind::Nullptr
                | Kind::Tilde
                | Kind::True
                | Kind::False
                | Kind::ColonColon
                | Kind::Cast
                | Kind::Sizeof
                | Kind::New
                | Kind::Star
                | Kind::Amp
                | Kind::Minus
                | Kind::Not
                | Kind::Builtin
                | Kind::LBrace
        );
        if !operand
            || (source.kind(open + 1) == Kind::Ident && self.is_local(name(source.text(open + 1))))
        {
            return None;
        }
        let (ty, next) = self.symbols.parse_type(source, open + 1, close, self.place())?;
        if next != close || (ty.is_unknown() && ty.pointer == 0) {
            return None;
        }
        *i = close + 1;
        if source.kind(*i) == Kind::LBrace {
            let arguments = self.arguments(source, *i);
            *i = source.past(*i);
            self.construct(&ty, &arguments);
            return Some(Value::temporary(ty));
        }
        let operand = self.nested_unary(source, i, end);
        self.cast(&ty, &operand);
        Some(Value::returned(ty))
    }
}

/// The operator's name, from the tokens after `operator` at `at`.
fn operator_text(source: &Source, i: &mut usize, at: usize, end: usize) -> String {
    let mut text = String::from("operator");
    if source.kind(*i) == Kind::LParen && source.kind(*i + 1) == Kind::RParen {
        text.push_str("()");
        *i += 2;
    }
    while *i < end && source.kind(*i) != Kind::LParen && *i < at + 5 {
        text.push_str(source.text(*i));
        *i += 1;
    }
    text
}
