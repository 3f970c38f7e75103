//! Calls: of names, members, operators, constructors and conversions.

use super::body::Body;
use super::lexer::{Kind, lex};
use super::lookup::Component;
use super::macros::{Role, expand};
use super::source::Source;
use super::standard;
use super::symbols::{EVERYWHERE, Entity, Entry, GLOBAL, ScopeKind};
use super::types::{Base, Name, Reference, ScopeId, Type, name};
use super::value::{Callee, Category, Functions, Value};

/// Macros within macros within macros.
const EXPANSIONS: usize = 8;
/// Bytes that the macros of one body may grow to.
const LONGEST_EXPANSION: usize = 512 * 1024;

impl Body<'_, '_> {
    /// A name in an expression: a variable, a function, a type or a macro.
    pub(crate) fn named(&mut self, source: &Source, i: &mut usize, end: usize) -> Value {
        let at = *i;
        if source.kind(at) == Kind::Ident && source.kind(at + 1) != Kind::ColonColon {
            if let Some(value) = self.macro_use(source, i, end) {
                return value;
            }
            let wanted = name(source.text(at));
            if let Some((_, ty)) = self.locals.iter().rev().find(|(known, _)| *known == wanted) {
                *i = at + 1;
                return Value { local: true, ..Value::left(ty.clone()) };
            }
        }
        let symbols = self.symbols;
        let place = self.place();
        let path = symbols.path(source, at, end, |components| {
            let [.., last] = components else { return false };
            if components.len() > 1 {
                return true;
            }
            let (_, found) = symbols.unqualified(place, name(source.text(last.at)));
            found.iter().any(|entry| match entry.entity {
                Entity::Function(id) => !symbols.function(id).template.is_empty(),
                Entity::Variable(_) | Entity::Enumerator(_) => false,
                _ => true,
            }) || (found.is_empty()
                && matches!(
                    source.text(last.at),
                    "vector" | "map" | "unique_ptr" | "shared_ptr" | "pair"
                ))
        });
        let Some((components, rooted, next)) = path else {
            *i = at + 1;
            return Value::unknown();
        };
        *i = next;
        if components.len() == 1 && !rooted {
            return self.unqualified(source, components[0]);
        }
        self.qualified(source, i, &components, rooted)
    }

    fn template_arguments(&self, source: &Source, component: Component) -> Vec<Type> {
        component.arguments.map_or_else(Vec::new, |(start, end)| {
            self.symbols.type_arguments(source, start, end, self.place())
        })
    }

    fn unqualified(&mut self, source: &Source, component: Component) -> Value {
        let text = source.text(component.at);
        let wanted = name(text);
        if self.types.iter().any(|(known, _)| *known == wanted) || self.template.contains(&wanted) {
            let ty = self.symbols.type_named(source, component, self.place());
            return Value::calling(Callee::Type(ty.unwrap_or(Type::UNKNOWN)));
        }
        let (scope, found) = self.symbols.unqualified(self.place(), wanted);
        if found.is_empty() {
            if let Some(ty) = self.symbols.type_named(source, component, self.place()) {
                return Value::calling(Callee::Type(ty));
            }
            let standard = standard::named(text, self.template_arguments(source, component));
            if !standard.is_unknown() {
                return Value::calling(Callee::Type(standard));
            }
        }
        let template = self.template_arguments(source, component);
        self.entries_value(source, component, scope, &found, template, true)
    }

    /// What the entries that a name was found as stand for.
    fn entries_value(
        &mut self,
        source: &Source,
        component: Component,
        scope: ScopeId,
        found: &[Entry],
        template: Vec<Type>,
        unqualified: bool,
    ) -> Value {
        let text = source.text(component.at);
        let in_class = self.symbols.scope(scope).kind == ScopeKind::Class;
        let mut candidates = Vec::new();
        for entry in found {
            match entry.entity {
                Entity::Function(id) => candidates.push(id),
                Entity::Variable(id) => {
                    let variable = &self.symbols.variables[id as usize];
                    let mut ty = variable.ty.clone();
                    if in_class && let Some(this) = &self.this {
                        if this.class() != Some(scope) {
                            ty = ty.substitute(&self.base_bindings(this, scope));
                        }
                        ty.constant |= this.constant && ty.pointer == 0 && !variable.mutable;
                    }
                    return Value::left(ty);
                }
                Entity::Enumerator(id) => return Value::of(Base::Enum(id)),
                Entity::Class(_) | Entity::Alias(_) | Entity::Enum(_) => {
                    let ty =
                        self.symbols.entity_type(entry.entity, source, component, self.place());
                    return Value::calling(Callee::Type(ty.unwrap_or(Type::UNKNOWN)));
                }
                Entity::Using(id) => {
                    let (mut more, ty) = self.used(id, name(text));
                    if let Some(ty) = ty {
                        return Value::calling(Callee::Type(ty));
                    }
                    candidates.append(&mut more);
                }
                Entity::Namespace(_) => {}
            }
        }
        let member = in_class && self.this.is_some();
        Value::calling(Callee::Functions(Functions {
            name: name(text),
            candidates,
            object: if member { self.this.clone() } else { None },
            implicit: true,
            unqualified: unqualified && !in_class,
            template,
            otherwise: if found.is_empty() {
                standard::function(text, &[], &[])
            } else {
                Type::UNKNOWN
            },
        }))
    }

    fn base_bindings(&self, this: &Type, _owner: ScopeId) -> Vec<(Name, Type)> {
        let own: Vec<Name> =
            this.class().map_or_else(Vec::new, |class| self.symbols.scope(class).template.clone());
        let mut bindings = self.symbols.bindings(this);
        bindings.retain(|(parameter, ty)| !own.contains(parameter) && !ty.is_unknown());
        bindings
    }

    /// What `using path;` brings: functions, or a type.
    fn used(&self, id: u32, wanted: Name) -> (Vec<u32>, Option<Type>) {
        let (scope, file, range) = self.symbols.usings[id as usize];
        let source = self.symbols.source(file);
        let place = super::lookup::Place::new(file, scope);
        let Some((components, rooted, _)) =
            self.symbols.path(&source, range.0 as usize, range.1 as usize, |_| true)
        else {
            return (Vec::new(), None);
        };
        let [qualifiers @ .., last] = components.as_slice() else {
            return (Vec::new(), None);
        };
        let Ok(Type { base: Base::Class(owner, _), .. }) =
            self.symbols.qualifier(&source, qualifiers, rooted, place)
        else {
            return (Vec::new(), None);
        };
        let found = self.symbols.in_scope(owner, wanted, self.file);
        let ty = found
            .iter()
            .find_map(|entry| self.symbols.entity_type(entry.entity, &source, *last, place));
        let functions = found.iter().filter_map(|entry| {
            if let Entity::Function(id) = entry.entity { Some(id) } else { None }
        });
        (functions.collect(), ty)
    }

    fn qualified(
        &mut self,
        source: &Source,
        i: &mut usize,
        components: &[Component],
        rooted: bool,
    ) -> Value {
        let [qualifiers @ .., last] = components else {
            return Value::unknown();
        };
        let text = source.text(last.at);
        let qualifier = if qualifiers.is_empty() {
            Ok(super::lookup::scope_type(GLOBAL))
        } else {
            self.symbols.qualifier(source, qualifiers, rooted, self.place())
        };
        // `A::operator==` and `A::~A` go on after the path.
        let scope = match qualifier {
            Ok(ty) if ty.is_dependent() && self.outside(&ty) => {
                return Value::temporary(Type::of(Base::Dependent));
            }
            Ok(Type { base: Base::Class(scope, _), .. }) => scope,
            Ok(Type { base: Base::Enum(id), .. }) | Err(Type { base: Base::Enum(id), .. }) => {
                return Value::of(Base::Enum(id));
            }
            Err(ty) if ty.is_dependent() => return Value::temporary(Type::of(Base::Dependent)),
            Err(ty) => {
                if let Base::Standard(..) = ty.base {
                    return Value::calling(Callee::Type(standard::member_type(&ty, text)));
                }
                return self.standard_name(source, components, rooted);
            }
            Ok(_) => return Value::unknown(),
        };
        if source.kind(*i) == Kind::ColonColon {
            *i += 1;
        }
        let found = self.symbols.in_scope(scope, name(text), self.file);
        let found = self.symbols.preferred(found, self.file);
        if found.is_empty() {
            return self.standard_name(source, components, rooted);
        }
        let template = self.template_arguments(source, *last);
        self.entries_value(source, *last, scope, &found, template, false)
    }

    /// Whether a class is none of those around the body.
    fn outside(&self, ty: &Type) -> bool {
        let mut scope = self.scope;
        while scope != GLOBAL {
            if ty.class() == Some(scope) {
                return false;
            }
            scope = self.symbols.scope(scope).parent;
        }
        true
    }

    /// A type or function of `std`.
    fn standard_name(&mut self, source: &Source, components: &[Component], rooted: bool) -> Value {
        let [first, .., last] = components else {
            return Value::unknown();
        };
        if source.text(first.at) != "std" {
            return Value::unknown();
        }
        let named = self.symbols.components_type(source, components, rooted, self.place());
        if !named.is_unknown() {
            return Value::calling(Callee::Type(named));
        }
        let text = source.text(last.at).to_owned();
        Value::calling(Callee::Standard(text, self.template_arguments(source, *last)))
    }

    /// `.name` or `->name`.
    pub(crate) fn member(
        &mut self,
        source: &Source,
        i: &mut usize,
        end: usize,
        object: Value,
        arrow: bool,
    ) -> Value {
        if source.kind(*i) == Kind::Template {
            *i += 1;
        }
        let mut object_type = object.ty;
        if arrow {
            object_type = self.arrow(object_type);
        }
        if source.kind(*i) == Kind::Tilde {
            *i += 2;
            return Value::unknown();
        }
        if source.kind(*i) == Kind::Operator {
            let at = *i;
            *i += 1;
            let mut text = String::from("operator");
            while *i < end
                && (source.kind(*i) != Kind::LParen
                    || *i == at + 1 && source.kind(*i + 1) == Kind::RParen)
                && *i < at + 5
            {
                text.push_str(source.text(*i));
                *i += 1;
            }
            return self.member_value(object_type, &text, Vec::new());
        }
        let symbols = self.symbols;
        let Some((components, _, next)) = symbols.path(source, *i, end, |components| {
            let [last] = components else { return true };
            source
                .past_angles(last.at + 1, end)
                .is_some_and(|past| matches!(source.kind(past), Kind::LParen | Kind::ColonColon))
        }) else {
            *i += 1;
            return Value::unknown();
        };
        *i = next;
        let [qualifiers @ .., last] = components.as_slice() else {
            return Value::unknown();
        };
        if !qualifiers.is_empty()
            && let Ok(ty) = self.symbols.qualifier(source, qualifiers, false, self.place())
        {
            object_type = Type { constant: object_type.constant, ..ty };
        }
        let template = self.template_arguments(source, *last);
        self.member_value(object_type, source.text(last.at), template)
    }

    /// The object that `->` reaches.
    fn arrow(&mut self, mut ty: Type) -> Type {
        for _ in 0..4 {
            if ty.pointer > 0 {
                return Type { pointer: ty.pointer - 1, ..ty };
            }
            if let Base::Standard(..) = ty.base {
                return standard::pointee(&ty);
            }
            if ty.class().is_none() || ty.is_dependent() {
                return if ty.is_dependent() { Type::of(Base::Dependent) } else { Type::UNKNOWN };
            }
            match self.unary_operator("operator->", &Value::left(ty)) {
                Some(value) => ty = value.ty,
                None => return Type::UNKNOWN,
            }
        }
        Type::UNKNOWN
    }

    fn member_value(&mut self, object: Type, text: &str, template: Vec<Type>) -> Value {
        if object.is_dependent() && object.class().is_none() {
            return Value::temporary(Type::of(Base::Dependent));
        }
        if let Base::Standard(..) = object.base {
            let data = matches!(text, "first" | "second");
            if data {
                return Value::left(standard::member(&object, text));
            }
            return Value::calling(Callee::StandardMember(object, text.to_owned()));
        }
        let Some(class) = object.class() else {
            return Value::unknown();
        };
        let found = self.symbols.in_scope(class, name(text), self.file);
        let mut candidates = Vec::new();
        for entry in &found {
            match entry.entity {
                Entity::Function(id) => candidates.push(id),
                Entity::Variable(id) => {
                    let variable = &self.symbols.variables[id as usize];
                    let mut ty = variable.ty.substitute(&self.symbols.bindings(&object));
                    ty.constant |= object.constant && ty.pointer == 0 && !variable.mutable;
                    return Value::left(ty);
                }
                Entity::Enumerator(id) => return Value::of(Base::Enum(id)),
                Entity::Using(id) => candidates.extend(self.used(id, name(text)).0),
                _ => {}
            }
        }
        Value::calling(Callee::Functions(Functions {
            name: name(text),
            candidates,
            object: Some(object),
            implicit: false,
            unqualified: false,
            template,
            otherwise: Type::UNKNOWN,
        }))
    }

    pub(crate) fn unqualified_functions(&mut self, wanted: Name) -> Value {
        let (scope, found) = self.symbols.unqualified(self.place(), wanted);
        let member = self.symbols.scope(scope).kind == ScopeKind::Class && self.this.is_some();
        Value::calling(Callee::Functions(Functions {
            name: wanted,
            candidates: functions(&found),
            object: if member { self.this.clone() } else { None },
            implicit: true,
            unqualified: true,
            template: Vec::new(),
            otherwise: Type::UNKNOWN,
        }))
    }

    /// Calls a value.
    pub(crate) fn call(&mut self, value: Value, arguments: Vec<Value>) -> Value {
        match value.callee {
            Callee::Functions(functions) => self.call_functions(functions, &arguments),
            Callee::Type(ty) => {
                let same = arguments.len() == 1
                    && arguments[0].ty.class().is_some()
                    && arguments[0].ty.class() == ty.class();
                if !(same && arguments[0].category == Category::Temporary) {
                    self.construct(&ty, &arguments);
                }
                Value::returned(ty)
            }
            Callee::Standard(text, template) => {
                let types: Vec<Type> =
                    arguments.iter().map(|argument| argument.ty.clone()).collect();
                if types.iter().chain(&template).any(Type::is_dependent) {
                    return Value::temporary(Type::of(Base::Dependent));
                }
                Value::returned(standard::function(&text, &template, &types))
            }
            Callee::StandardMember(class, text) => {
                let to = standard::accepts(&class, &text);
                if let Some(first) = arguments.first() {
                    self.copy(first, &to);
                }
                let result = standard::member(&class, &text);
                let dependent = result.is_unknown() && class.is_dependent();
                Value::returned(if dependent { Type::of(Base::Dependent) } else { result })
            }
            Callee::None | Callee::List(_) => match &value.ty.base {
                Base::Lambda(Some(result)) if value.ty.pointer == 0 => {
                    Value::returned((**result).clone())
                }
                Base::Standard("function", _) => Value::returned(value.ty.argument(0)),
                Base::Dependent | Base::Parameter(_) => Value::temporary(Type::of(Base::Dependent)),
                Base::Class(..) if value.ty.pointer == 0 => {
                    let mut operands = vec![value];
                    operands.extend(arguments);
                    self.member_operator("operator()", &operands).unwrap_or_else(Value::unknown)
                }
                _ => Value::unknown(),
            },
        }
    }

    fn call_functions(&mut self, mut functions: Functions, arguments: &[Value]) -> Value {
        let dependent = arguments.iter().any(|argument| argument.ty.is_dependent());
        let object_dependent = functions.object.as_ref().is_some_and(Type::is_dependent);
        if functions.unqualified {
            if dependent {
                return Value::temporary(Type::of(Base::Dependent));
            }
            self.add_associated(functions.name, arguments, &mut functions.candidates);
        }
        self.retain_visible(&mut functions.candidates);
        if object_dependent && !functions.implicit {
            return Value::temporary(Type::of(Base::Dependent));
        }
        let template = functions.template.iter().any(Type::is_dependent)
            || functions
                .candidates
                .iter()
                .any(|&id| !self.symbols.function(id).template.is_empty());
        if functions.template.iter().any(Type::is_dependent)
            || ((dependent || object_dependent) && (functions.candidates.len() > 1 || template))
        {
            return Value::temporary(Type::of(Base::Dependent));
        }
        let Some(id) =
            self.symbols.pick(&functions.candidates, arguments, functions.object.as_ref(), true)
        else {
            return Value::returned(functions.otherwise);
        };
        let function = self.symbols.function(id);
        if object_dependent && !function.is_static {
            // `this` depends on the class's parameters, so do the call's result and its conversions.
            self.calls.push(id);
            return Value::temporary(Type::of(Base::Dependent));
        }
        let mut bindings = functions.object.as_ref().map_or_else(Vec::new, |object| {
            if functions.implicit {
                self.base_bindings(object, function.scope)
            } else {
                self.symbols.bindings(object)
            }
        });
        if !function.template.is_empty() {
            bindings.extend(self.symbols.deduce(function, arguments, &functions.template));
        }
        self.invoke(id, arguments, &bindings)
    }

    /// Notes a call of a function, converts its arguments and gives its result.
    fn invoke(&mut self, id: u32, arguments: &[Value], bindings: &[(Name, Type)]) -> Value {
        self.calls.push(id);
        let function = self.symbols.function(id);
        for (parameter, argument) in function.parameters.iter().zip(arguments) {
            self.copy(argument, &parameter.ty.substitute(bindings));
        }
        let result = function.result.substitute(bindings);
        let open = bindings.iter().any(|(_, ty)| ty.is_dependent())
            || arguments.iter().any(|argument| argument.ty.is_dependent());
        Value::returned(if open { result } else { result.settled() })
    }

    /// Functions of the namespaces that the arguments' types belong to.
    fn add_associated(&self, wanted: Name, arguments: &[Value], candidates: &mut Vec<u32>) {
        let mut searched: Vec<ScopeId> = Vec::new();
        for argument in arguments {
            let mut scope = match argument.ty.base {
                Base::Class(class, _) => class,
                Base::Enum(id) => self.symbols.enums[id as usize],
                _ => continue,
            };
            while self.symbols.scope(scope).kind != ScopeKind::Namespace {
                scope = self.symbols.scope(scope).parent;
            }
            if searched.contains(&scope) {
                continue;
            }
            searched.push(scope);
            for id in functions(&self.symbols.in_scope(scope, wanted, self.file)) {
                if !candidates.contains(&id) {
                    candidates.push(id);
                }
            }
        }
    }

    /// Leaves out functions that the file cannot see, where it sees any or is no header.
    fn retain_visible(&self, candidates: &mut Vec<u32>) {
        let symbols = self.symbols;
        let visible = |id: &u32| {
            let function = symbols.function(*id);
            symbols.scope(function.scope).kind == ScopeKind::Class
                || function.local_to != EVERYWHERE
                || function.declarations.iter().any(|&(file, _)| symbols.sees(self.file, file))
        };
        if candidates.iter().any(visible) || !symbols.headers[self.file as usize] {
            candidates.retain(visible);
        }
    }

    /// A binary operator; only classes and enumerations of the project can have one of their own.
    pub(crate) fn operator(&mut self, text: &str, left: Value, right: Value) -> Value {
        let overloadable = |value: &Value| {
            value.ty.pointer == 0 && matches!(value.ty.base, Base::Class(..) | Base::Enum(_))
        };
        let dependent = left.ty.is_dependent() || right.ty.is_dependent();
        if dependent {
            return Value::temporary(Type::of(Base::Dependent));
        }
        if overloadable(&left) || overloadable(&right) {
            let result = if left.ty.class().is_some() && left.ty.pointer == 0 {
                left.ty.clone()
            } else {
                Type::UNKNOWN
            };
            let name = format!("operator{text}");
            let operands = [left, right];
            if let Some(value) = self.overloaded(&name, &operands) {
                return value;
            }
            let [left, right] = operands;
            if text == "=" {
                self.copy(
                    &right,
                    &Type { reference: Reference::Left, constant: true, ..left.ty.clone() },
                );
                return Value::left(result);
            }
            return self.built_in(text, left, right);
        }
        self.built_in(text, left, right)
    }

    fn built_in(&mut self, text: &str, left: Value, right: Value) -> Value {
        match text {
            "==" | "!=" | "<" | ">" | "<=" | ">=" => Value::of(Base::Bool),
            "=" | "+=" | "-=" | "*=" | "/=" | "|=" | "&=" | "^=" | "<<=" | ">>=" | "%=" => {
                Value::left(left.ty)
            }
            "<<" | ">>" if matches!(left.ty.base, Base::Standard(..)) => Value::left(left.ty),
            "+" if matches!(left.ty.base, Base::Standard("string", _)) => Value::temporary(left.ty),
            "+" if matches!(right.ty.base, Base::Standard("string", _)) => {
                Value::temporary(right.ty)
            }
            "-" if left.ty.pointer > 0 && right.ty.pointer > 0 => Value::of(Base::Integer),
            "+" | "-" if left.ty.pointer > 0 => Value::temporary(left.ty),
            "+" if right.ty.pointer > 0 => Value::temporary(right.ty),
            _ if left.ty.base == Base::Float || right.ty.base == Base::Float => {
                Value::of(Base::Float)
            }
            _ if left.ty.is_unknown() => Value::unknown(),
            _ => Value::of(Base::Integer),
        }
    }

    fn overloaded(&mut self, text: &str, operands: &[Value]) -> Option<Value> {
        if let Some(value) = self.member_operator(text, operands) {
            return Some(value);
        }
        if matches!(text, "operator=" | "operator[]" | "operator->" | "operator()") {
            return None;
        }
        let wanted = name(text);
        let (_, found) = self.free_operators(wanted);
        let mut candidates = found;
        self.add_associated(wanted, operands, &mut candidates);
        candidates.retain(|&id| {
            self.symbols.scope(self.symbols.function(id).scope).kind != ScopeKind::Class
        });
        self.retain_visible(&mut candidates);
        candidates.retain(|&id| self.symbols.takes_one_directly(id, operands));
        let id = self.symbols.pick(&candidates, operands, None, true)?;
        let bindings = self.symbols.deduce(self.symbols.function(id), operands, &[]);
        Some(self.invoke(id, operands, &bindings))
    }

    fn free_operators(&self, wanted: Name) -> (ScopeId, Vec<u32>) {
        let mut place = self.place();
        while self.symbols.scope(place.scope).kind != ScopeKind::Namespace {
            place.scope = self.symbols.scope(place.scope).parent;
        }
        let (scope, found) = self.symbols.unqualified(place, wanted);
        (scope, functions(&found))
    }

    fn member_operator(&mut self, text: &str, operands: &[Value]) -> Option<Value> {
        let (object, arguments) = operands.split_first()?;
        let class = object.ty.class()?;
        if object.ty.is_dependent() || arguments.iter().any(|argument| argument.ty.is_dependent()) {
            return Some(Value::temporary(Type::of(Base::Dependent)));
        }
        let candidates = functions(&self.symbols.in_scope(class, name(text), self.file));
        let id = self.symbols.pick(&candidates, arguments, Some(&object.ty), true)?;
        let bindings = self.symbols.bindings(&object.ty);
        Some(self.invoke(id, arguments, &bindings))
    }

    pub(crate) fn unary_operator(&mut self, text: &str, operand: &Value) -> Option<Value> {
        self.overloaded(text, std::slice::from_ref(operand))
    }

    /// Makes an object of a type from arguments.
    pub(crate) fn construct(&mut self, ty: &Type, arguments: &[Value]) {
        let Some(class) = ty.class() else {
            if let [argument] = arguments {
                self.copy(argument, ty);
            }
            return;
        };
        if ty.is_dependent() || ty.reference != Reference::None {
            return;
        }
        let constructors = &self.symbols.scope(class).constructors;
        if arguments.iter().any(|argument| argument.ty.is_dependent()) && constructors.len() > 1 {
            return;
        }
        if let [argument] = arguments
            && argument.ty.class().is_some_and(|from| self.symbols.inherits(from, class, 0))
        {
            self.calls.extend(self.symbols.copying_constructor(class, argument));
            return;
        }
        let mut bindings = self.symbols.bindings(ty);
        let object = Type { constant: false, ..ty.clone() };
        match self.symbols.pick(constructors, arguments, Some(&object), true) {
            Some(id) => {
                let function = self.symbols.function(id);
                if !function.template.is_empty() {
                    bindings.extend(self.symbols.deduce(function, arguments, &[]));
                }
                self.invoke(id, arguments, &bindings);
            }
            // A copy that the compiler writes, or an aggregate.
            None => {
                if let [argument] = arguments
                    && argument.ty.class().is_some()
                {
                    self.copy(argument, ty);
                }
            }
        }
    }

    /// Initialises a parameter, variable or result of type `to` with a value.
    pub(crate) fn copy(&mut self, value: &Value, to: &Type) {
        if value.ty.is_dependent() || to.is_dependent() || to.is_unknown() || value.ty.is_unknown()
        {
            return;
        }
        if let Some(class) = to.class() {
            let from = value.ty.class();
            if from.is_some_and(|from| self.symbols.inherits(from, class, 0)) {
                let makes = to.reference == Reference::None
                    && (value.category != Category::Temporary || from != Some(class));
                if makes && let Some(id) = self.symbols.copying_constructor(class, value) {
                    self.calls.push(id);
                }
                return;
            }
            if value.ty.base == Base::List {
                if let Callee::List(values) = &value.callee {
                    self.construct(&Type { reference: Reference::None, ..to.clone() }, values);
                }
                return;
            }
            if let Some(id) = self.symbols.converting_constructor(class, value) {
                self.calls.push(id);
                let parameter = self.symbols.function(id).parameters.first().map(|p| p.ty.clone());
                // From a temporary string to a class that takes strings the string is made first; no call of ours.
                let _ = parameter;
                return;
            }
        }
        if let Some(class) = value.ty.class()
            && let Some(id) = self.symbols.conversion_function(class, to)
        {
            self.calls.push(id);
        }
    }

    /// A use of one of the project's macros: what it stands for is read in its place.
    fn macro_use(&mut self, source: &Source, i: &mut usize, _end: usize) -> Option<Value> {
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

pub(crate) fn functions(entries: &[Entry]) -> Vec<u32> {
    entries
        .iter()
        .filter_map(|entry| match entry.entity {
            Entity::Function(id) => Some(id),
            _ => None,
        })
        .collect()
}
