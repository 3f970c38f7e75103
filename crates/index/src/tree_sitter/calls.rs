//! Calls: of names, members, operators, constructors and conversions.

use super::arithmetic::Integer;
use super::body::Body;
use super::standard;
use super::symbols::{EVERYWHERE, Entity, Entry, ScopeKind};
use super::types::{Base, Name, Reference, ScopeId, Type, name};
use super::value::{Callee, Category, Functions, Value};

impl Body<'_, '_> {
    pub(super) fn base_bindings(&self, this: &Type, _owner: ScopeId) -> Vec<(Name, Type)> {
        let own: Vec<Name> =
            this.class().map_or_else(Vec::new, |class| self.symbols.scope(class).template.clone());
        let mut bindings = self.symbols.bindings(this);
        bindings.retain(|(parameter, ty)| !own.contains(parameter) && !ty.is_unknown());
        bindings
    }

    /// Calls a value.
    pub(crate) fn call(&mut self, value: Value, arguments: Vec<Value>) -> Value {
        match value.callee {
            Callee::Functions(functions) => self.call_functions(functions, &arguments),
            Callee::Type(_) if arguments.iter().any(|argument| argument.ty.is_dependent()) => {
                Value::temporary(Type::of(Base::Dependent))
            }
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
        self.retain_friends(&mut functions.candidates, arguments);
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
        let id = self.symbols.specialised(id, functions.name, &bindings, arguments);
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

    /// Leaves out functions that are known as friends of a class only, where no argument belongs to that class.
    fn retain_friends(&self, candidates: &mut Vec<u32>, arguments: &[Value]) {
        let symbols = self.symbols;
        candidates.retain(|&id| {
            symbols.function(id).friend_of.is_none_or(|owner| {
                arguments.iter().any(|argument| symbols.belongs_to(&argument.ty, owner))
            })
        });
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
            let implicit = text == "=" && self.assigns_implicitly(&operands);
            if !implicit && let Some(value) = self.overloaded(&name, &operands) {
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

    /// Whether an object is assigned to one of its class, and the class has no operator of its own for that.
    fn assigns_implicitly(&self, [left, right]: &[Value; 2]) -> bool {
        let (Some(class), Some(from)) = (left.ty.class(), right.ty.class()) else {
            return false;
        };
        let symbols = self.symbols;
        let own = functions(symbols.in_scope(class, name("operator="), self.file).as_slice());
        symbols.inherits(from, class, 0)
            && !own.iter().any(|&id| {
                let first = symbols.function(id).parameters.first();
                first.is_none_or(|parameter| {
                    let ty = &parameter.ty;
                    ty.is_unknown()
                        || ty.is_dependent()
                        || ty.class().is_some_and(|taken| symbols.inherits(from, taken, 0))
                })
            })
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
            "-" if left.ty.pointer > 0 && right.ty.pointer > 0 => {
                Value::of(Base::Integer(Integer::Long))
            }
            "+" | "-" if left.ty.pointer > 0 => Value::temporary(left.ty),
            "+" if right.ty.pointer > 0 => Value::temporary(right.ty),
            "<<" | ">>" => Value::of(left.ty.base.promoted()),
            _ => Value::of(left.ty.base.common(&right.ty.base)),
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
        self.retain_friends(&mut candidates, operands);
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
        if arguments.iter().any(|argument| argument.ty.is_dependent()) {
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
