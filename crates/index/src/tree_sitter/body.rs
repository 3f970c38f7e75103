//! Statements of a function's body: declarations of locals, conditions, loops.

use super::lexer::Kind;
use super::lookup::Place;
use super::source::Source;
use super::standard;
use super::symbols::Symbols;
use super::types::{Base, Name, Reference, ScopeId, Type, name};
use super::value::{Category, Value};

/// A body under analysis.
pub(crate) struct Body<'s, 'a> {
    pub(crate) symbols: &'s Symbols<'a>,
    pub(crate) file: u32,
    pub(crate) scope: ScopeId,
    pub(crate) template: Vec<Name>,
    /// The type of `*this`.
    pub(crate) this: Option<Type>,
    pub(crate) locals: Vec<(Name, Type)>,
    pub(crate) types: Vec<(Name, Type)>,
    /// What `return` converts to.
    pub(crate) result: Type,
    /// The functions that are called.
    pub(crate) calls: Vec<u32>,
    pub(crate) depth: usize,
    /// Macros that are being expanded.
    pub(crate) expanding: Vec<Name>,
    /// Bytes that macros have been expanded to.
    pub(crate) expanded: usize,
    pub(crate) too_deep: bool,
    /// What the body's returns gave last, for lambdas without a written result.
    pub(crate) returned: Option<Type>,
}

impl<'s, 'a> Body<'s, 'a> {
    pub(crate) fn place(&self) -> Place<'_> {
        Place {
            file: self.file,
            scope: self.scope,
            template: &self.template,
            types: &self.types,
            depth: 0,
        }
    }

    /// Analyses the statements between `start` and `end`.
    pub(crate) fn statements(&mut self, source: &Source, start: usize, end: usize) {
        let mut blocks: Vec<(usize, usize, usize)> = Vec::new();
        let mut i = start;
        while i < end {
            while let Some(&(close, locals, types)) = blocks.last()
                && i >= close
            {
                self.locals.truncate(locals);
                self.types.truncate(types);
                blocks.pop();
            }
            i = match source.kind(i) {
                Kind::LBrace => {
                    let close = source.mate(i);
                    if close > i {
                        blocks.push((close, self.locals.len(), self.types.len()));
                    }
                    i + 1
                }
                _ => self.statement(source, i, end).max(i + 1),
            };
        }
    }

    fn statement(&mut self, source: &Source, at: usize, end: usize) -> usize {
        match source.kind(at) {
            Kind::RBrace
            | Kind::Semi
            | Kind::Else
            | Kind::Do
            | Kind::Try
            | Kind::Break
            | Kind::Continue
            | Kind::Default
            | Kind::Colon
            | Kind::Access => at + 1,
            Kind::If | Kind::While | Kind::Switch => {
                let open = (at + 1..at + 3).find(|&i| source.kind(i) == Kind::LParen);
                let Some(open) = open else { return at + 1 };
                let close = source.mate(open);
                let truth = source.kind(at) != Kind::Switch;
                self.condition(source, open + 1, close, truth);
                close + 1
            }
            Kind::For if source.kind(at + 1) == Kind::LParen => {
                self.for_head(source, at + 2, source.mate(at + 1));
                source.past(at + 1)
            }
            Kind::Catch if source.kind(at + 1) == Kind::LParen => {
                self.declaration(source, at + 2, source.mate(at + 1));
                source.past(at + 1)
            }
            Kind::Return => self.return_statement(source, at + 1, end),
            Kind::Case => {
                let stop = (at + 1..end).find(|&i| source.kind(i) == Kind::Colon).unwrap_or(end);
                stop + 1
            }
            Kind::Goto | Kind::StaticAssert | Kind::Asm | Kind::Namespace | Kind::Friend => {
                self.past_semicolon(source, at, end)
            }
            Kind::Using => self.using(source, at, end),
            Kind::Typedef => self.typedef(source, at, end),
            Kind::Enum => self.past_semicolon(source, at, end),
            Kind::Class => self.class(source, at, end),
            Kind::Ident if source.kind(at + 1) == Kind::Colon => at + 2,
            _ => match self.declaration(source, at, end) {
                Some(past) => past,
                None => {
                    let mut i = at;
                    self.expression(source, &mut i, end, 0);
                    i
                }
            },
        }
    }

    fn past_semicolon(&self, source: &Source, at: usize, end: usize) -> usize {
        let mut i = at;
        while i < end && source.kind(i) != Kind::Semi {
            i = source.past(i);
        }
        i + 1
    }

    /// A condition, which may declare a variable or begin with a statement.
    fn condition(&mut self, source: &Source, start: usize, end: usize, truth: bool) {
        let mut i = start;
        while i < end {
            if let Some(past) = self.declaration(source, i, end) {
                i = past.max(i + 1);
                if truth
                    && i >= end
                    && let Some((_, ty)) = self.locals.last()
                {
                    let declared = Value::left(ty.clone());
                    self.truth(&declared);
                }
                continue;
            }
            let value = self.expression(source, &mut i, end, 0);
            if i >= end {
                if truth {
                    self.truth(&value);
                }
                return;
            }
            i += 1;
        }
    }

    /// A value is asked whether it is true.
    pub(crate) fn truth(&mut self, value: &Value) {
        if let Some(class) = value.ty.class()
            && !value.ty.is_dependent()
            && let Some(id) = self.symbols.conversion_function(class, &Type::of(Base::Bool))
        {
            self.calls.push(id);
        }
    }

    fn for_head(&mut self, source: &Source, start: usize, end: usize) {
        let mut colon = None;
        let mut i = start;
        while i < end {
            match source.kind(i) {
                Kind::Semi | Kind::Question => break,
                Kind::Colon => {
                    colon = Some(i);
                    break;
                }
                _ => i = source.past(i),
            }
        }
        let Some(colon) = colon else {
            return self.condition(source, start, end, false);
        };
        let mut i = colon + 1;
        let container = self.expression(source, &mut i, end, 0);
        let element = self.element(&container);
        let Some((ty, next)) = self.symbols.parse_type(source, start, colon, self.place()) else {
            return;
        };
        if source.kind(next) == Kind::LBracket {
            return self.bind(source, next, &element);
        }
        let ty = if matches!(ty.base, Base::Auto) {
            Type {
                pointer: element.pointer.max(ty.pointer),
                constant: ty.constant || element.constant,
                ..element.clone()
            }
        } else {
            ty
        };
        if ty.pointer == 0
            && source.kind(next - 1) != Kind::Amp
            && source.kind(next - 1) != Kind::AmpAmp
        {
            self.copy(&Value::left(element), &ty);
        }
        self.locals.push((name(source.text(next)), ty.without_reference()));
    }

    /// What iterating over a container gives.
    fn element(&mut self, container: &Value) -> Type {
        if let Base::Standard(..) = container.ty.base {
            return standard::element(&container.ty);
        }
        if let Some(class) = container.ty.class() {
            let begin = self.symbols.in_scope(class, name("begin"), self.file);
            let id = begin.iter().find_map(|entry| match entry.entity {
                super::symbols::Entity::Function(id) => Some(id),
                _ => None,
            });
            if let Some(id) = id {
                let iterator = self
                    .symbols
                    .function(id)
                    .result
                    .substitute(&self.symbols.bindings(&container.ty));
                if iterator.pointer > 0 {
                    return Type { pointer: iterator.pointer - 1, ..iterator };
                }
                if iterator.class().is_some() {
                    let found = self.unary_operator("operator*", &Value::left(iterator));
                    return found.map_or(Type::UNKNOWN, |value| value.ty);
                }
                return standard::pointee(&iterator);
            }
        }
        Type::UNKNOWN
    }

    /// `[a, b]` of a structured binding.
    fn bind(&mut self, source: &Source, open: usize, whole: &Type) {
        for (place, (start, _)) in
            source.split_commas(open + 1, source.mate(open)).into_iter().enumerate()
        {
            let ty = match whole.base {
                Base::Standard("pair" | "tuple", _) => whole.argument(place),
                _ => Type::UNKNOWN,
            };
            self.locals.push((name(source.text(start)), ty));
        }
    }

    fn return_statement(&mut self, source: &Source, at: usize, end: usize) -> usize {
        let mut i = at;
        if source.kind(i) == Kind::Semi {
            return i + 1;
        }
        let result = self.result.clone();
        if source.kind(i) == Kind::LBrace && result.class().is_some() {
            let arguments = self.arguments(source, i);
            self.construct(&result, &arguments);
            return source.past(i);
        }
        let mut value = self.expression(source, &mut i, end, 0);
        self.returned = Some(value.ty.clone());
        if value.local && value.category == Category::Left && result.reference == Reference::None {
            value.category = Category::Expiring;
        }
        self.copy(&value, &result);
        i
    }

    fn using(&mut self, source: &Source, at: usize, end: usize) -> usize {
        let past = self.past_semicolon(source, at, end);
        if source.kind(at + 1) == Kind::Ident && source.kind(at + 2) == Kind::Assign {
            let ty = self
                .symbols
                .parse_type(source, at + 3, past - 1, self.place())
                .map_or(Type::UNKNOWN, |(ty, _)| ty);
            self.types.push((name(source.text(at + 1)), ty));
        } else if source.kind(at + 1) != Kind::Namespace
            && let Some((ty, _)) = self.symbols.parse_type(source, at + 1, past - 1, self.place())
            && !ty.is_unknown()
        {
            self.types.push((name(source.text(past - 2)), ty));
        }
        past
    }

    fn typedef(&mut self, source: &Source, at: usize, end: usize) -> usize {
        let past = self.past_semicolon(source, at, end);
        if let Some((ty, next)) = self.symbols.parse_type(source, at + 1, past - 1, self.place())
            && source.kind(next) == Kind::Ident
        {
            self.types.push((name(source.text(next)), ty));
        }
        past
    }

    /// A local class, whose members are functions of their own, or a type with `struct` before its name.
    fn class(&mut self, source: &Source, at: usize, end: usize) -> usize {
        let mut i = at + 1;
        while i < end
            && !matches!(source.kind(i), Kind::LBrace | Kind::Semi | Kind::Assign | Kind::LParen)
        {
            i += 1;
        }
        if source.kind(i) != Kind::LBrace {
            return self.declaration(source, at, end).unwrap_or(i);
        }
        let past = source.past(i);
        if source.kind(past) == Kind::Ident {
            let component = super::lookup::Component { at: at + 1, arguments: None };
            let ty =
                self.symbols.type_named(source, component, self.place()).unwrap_or(Type::UNKNOWN);
            return self.declarators(source, past, end, &ty);
        }
        past
    }

    /// Reads a declaration of variables; `None` if there is none at `at`.
    pub(crate) fn declaration(&mut self, source: &Source, at: usize, end: usize) -> Option<usize> {
        if !matches!(
            source.kind(at),
            Kind::Ident
                | Kind::ColonColon
                | Kind::Builtin
                | Kind::Auto
                | Kind::Const
                | Kind::Static
                | Kind::Specifier
                | Kind::Class
                | Kind::Enum
                | Kind::Typename
                | Kind::Volatile
                | Kind::Decltype
                | Kind::Extern
                | Kind::LBracket
        ) {
            return None;
        }
        if source.kind(at) == Kind::Ident {
            // The quickest of all: what cannot be a type by what follows it.
            if !matches!(
                source.kind(at + 1),
                Kind::Ident
                    | Kind::ColonColon
                    | Kind::Lt
                    | Kind::Star
                    | Kind::Amp
                    | Kind::AmpAmp
                    | Kind::Const
            ) {
                return None;
            }
            if source.kind(at + 1) != Kind::ColonColon && self.is_local(name(source.text(at))) {
                return None;
            }
        }
        let (ty, next) = self.symbols.parse_type(source, at, end, self.place())?;
        if matches!(ty.base, Base::Auto) && source.kind(next) == Kind::LBracket {
            let mut i = source.past(next) + 1;
            let value = self.expression(source, &mut i, end, 1);
            self.bind(source, next, &value.ty);
            return Some(i);
        }
        if next >= end || source.kind(next) != Kind::Ident {
            return None;
        }
        let after = source.kind(next + 1);
        let ends = next + 1 >= end;
        if !ends
            && !matches!(
                after,
                Kind::Semi
                    | Kind::Assign
                    | Kind::LParen
                    | Kind::LBrace
                    | Kind::LBracket
                    | Kind::Comma
                    | Kind::Colon
            )
        {
            return None;
        }
        let known = !matches!(ty.base, Base::Unknown | Base::Foreign(_));
        let adjacent = matches!(
            source.kind(next - 1),
            Kind::Ident | Kind::Gt | Kind::Const | Kind::Builtin | Kind::Auto
        );
        if !known && !adjacent && !matches!(after, Kind::Semi | Kind::Assign) {
            return None;
        }
        Some(self.declarators(source, next, end, &ty))
    }

    pub(crate) fn is_local(&self, wanted: Name) -> bool {
        self.locals.iter().rev().any(|(known, _)| *known == wanted)
    }

    /// The variables after a type, up to the `;` or `end`.
    fn declarators(&mut self, source: &Source, at: usize, end: usize, ty: &Type) -> usize {
        let mut i = at;
        let mut ty = ty.clone();
        loop {
            let variable = name(source.text(i));
            i += 1;
            let mut declared = ty.clone();
            while source.kind(i) == Kind::LBracket && i < end {
                let mut inner = i + 1;
                self.expression(source, &mut inner, source.mate(i), 0);
                declared = Type { reference: Reference::None, ..declared.pointer_to() };
                i = source.past(i);
            }
            let array = declared.pointer > ty.pointer;
            let declared = self.initialise(source, &mut i, end, &ty, declared, array);
            self.locals.push((variable, declared.without_reference()));
            if source.kind(i) != Kind::Comma || i >= end {
                return if source.kind(i) == Kind::Semi { i + 1 } else { i };
            }
            i += 1;
            ty.pointer = 0;
            ty.reference = Reference::None;
            while i < end {
                match source.kind(i) {
                    Kind::Star => ty.pointer += 1,
                    Kind::Amp => ty.reference = Reference::Left,
                    Kind::Const => {}
                    _ => break,
                }
                i += 1;
            }
            if source.kind(i) != Kind::Ident || i >= end {
                return i;
            }
        }
    }

    /// The initialiser of a variable; gives its type, which `auto` takes from there.
    fn initialise(
        &mut self,
        source: &Source,
        i: &mut usize,
        end: usize,
        ty: &Type,
        declared: Type,
        array: bool,
    ) -> Type {
        match source.kind(*i) {
            Kind::Assign if *i < end => {
                *i += 1;
                if source.kind(*i) == Kind::LBrace {
                    let arguments = self.arguments(source, *i);
                    *i = source.past(*i);
                    if !array {
                        self.construct(&declared, &arguments);
                    }
                    return declared;
                }
                let value = self.expression(source, i, end, 2);
                if matches!(declared.base, Base::Auto) {
                    let inferred = Type { pointer: value.ty.pointer, ..value.ty.clone() };
                    if declared.reference == Reference::None && declared.pointer == 0 {
                        self.copy(&value, &inferred);
                    }
                    return Type {
                        constant: inferred.constant
                            && (inferred.pointer > 0 || declared.reference != Reference::None)
                            || declared.constant,
                        ..inferred
                    };
                }
                self.copy(&value, &declared);
                declared
            }
            Kind::LParen | Kind::LBrace if *i < end => {
                let arguments = self.arguments(source, *i);
                *i = source.past(*i);
                if matches!(declared.base, Base::Auto) {
                    return arguments.into_iter().next().map_or(Type::UNKNOWN, |value| value.ty);
                }
                self.construct(&declared, &arguments);
                declared
            }
            Kind::Colon => declared,
            _ => {
                let is_extern = false;
                if ty.reference == Reference::None && ty.pointer == 0 && !is_extern {
                    self.construct(ty, &[]);
                }
                declared
            }
        }
    }
}
