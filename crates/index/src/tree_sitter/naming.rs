//! What the names of an expression stand for: variables, functions, types, members.

use super::body::Body;
use super::calls::functions;
use super::lexer::Kind;
use super::lookup::Component;
use super::source::Source;
use super::standard;
use super::symbols::{Entity, Entry, GLOBAL, ScopeKind};
use super::types::{Base, Name, ScopeId, Type, name};
use super::value::{Callee, Functions, Value};

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
        if source.kind(next) == Kind::ColonColon
            && source.kind(next + 1) == Kind::Operator
            && next + 1 < end
        {
            return self.qualified_operator(source, i, end, &components, rooted);
        }
        if components.len() == 1 && !rooted {
            return self.unqualified(source, components[0]);
        }
        self.qualified(source, &components, rooted)
    }

    pub(super) fn template_arguments(&self, source: &Source, component: Component) -> Vec<Type> {
        component.arguments.map_or_else(Vec::new, |(start, end)| {
            self.symbols.type_arguments(source, start, end, self.place())
        })
    }

    pub(super) fn unqualified(&mut self, source: &Source, component: Component) -> Value {
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
    pub(super) fn entries_value(
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
        let this = self.this.as_ref().and_then(Type::class);
        let member = in_class && this.is_some_and(|this| self.symbols.inherits(this, scope, 0));
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

    /// What `using path;` brings: functions, or a type.
    pub(super) fn used(&self, id: u32, wanted: Name) -> (Vec<u32>, Option<Type>) {
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

    pub(super) fn qualified(
        &mut self,
        source: &Source,
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
        let found = self.symbols.in_scope(scope, name(text), self.file);
        let found = self.symbols.preferred(found, self.file);
        if found.is_empty() {
            return self.standard_name(source, components, rooted);
        }
        let template = self.template_arguments(source, *last);
        self.entries_value(source, *last, scope, &found, template, false)
    }

    /// Whether a class is none of those around the body.
    pub(super) fn outside(&self, ty: &Type) -> bool {
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
    pub(super) fn standard_name(
        &mut self,
        source: &Source,
        components: &[Component],
        rooted: bool,
    ) -> Value {
        let [first, .., last] = components else {
            return Value::unknown();
        };
        if source.text(first.at) != "std" {
            return Value::unknown();
        }
        let text = source.text(last.at);
        let named = self.symbols.components_type(source, components, rooted, self.place());
        if !named.is_unknown() {
            return Value::calling(Callee::Type(named));
        }
        let variable = standard::variable(text);
        if !variable.is_unknown() {
            return Value::left(variable);
        }
        let text = text.to_owned();
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
            let class = object_type.class().map(|class| &self.symbols.scope(class).name);
            return match class {
                Some(class) => {
                    self.member_value(object_type.clone(), &format!("~{class}"), Vec::new())
                }
                None => Value::unknown(),
            };
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
    pub(super) fn arrow(&mut self, mut ty: Type) -> Type {
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

    pub(super) fn member_value(&mut self, object: Type, text: &str, template: Vec<Type>) -> Value {
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
                Entity::Variable(_) if object.is_dependent() => {
                    return Value::temporary(Type::of(Base::Dependent));
                }
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
}
