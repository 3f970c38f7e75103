//! Choosing among overloads, and the conversions that arguments undergo.

use super::symbols::{Function, Symbols};
use super::types::{Base, Name, Reference, ScopeId, Type};
use super::value::{Category, Value};

/// The cost of a conversion that runs a constructor or conversion function.
const USER_DEFINED: u32 = 20;

impl<'a> Symbols<'a> {
    /// The best of `candidates` for these arguments, if any fits; of equals the first.
    pub(crate) fn pick(
        &self,
        candidates: &[u32],
        arguments: &[Value],
        object: Option<&Type>,
        user_defined: bool,
    ) -> Option<u32> {
        if candidates.is_empty() {
            return None;
        }
        let bindings = object.map_or_else(Vec::new, |ty| self.bindings(ty));
        candidates
            .iter()
            .enumerate()
            .filter_map(|(order, &id)| {
                let function = self.function(id);
                let cost = self.fit(function, arguments, object, &bindings, user_defined)?;
                Some((cost, order, id))
            })
            .min()
            .map(|(_, _, id)| id)
    }

    /// What calling the function with these arguments costs; `None` if it cannot be.
    fn fit(
        &self,
        function: &Function,
        arguments: &[Value],
        object: Option<&Type>,
        bindings: &[(Name, Type)],
        user_defined: bool,
    ) -> Option<u32> {
        let required = function.parameters.iter().filter(|p| !p.optional).count();
        if arguments.len() < required
            || (arguments.len() > function.parameters.len() && !function.variadic)
        {
            return None;
        }
        let mut cost = u32::from(!function.template.is_empty());
        if let Some(object) = object
            && !function.is_static
        {
            match (object.constant, function.constant) {
                (true, false) => cost += 30,
                (false, true) => cost += 1,
                _ => {}
            }
        }
        for (place, argument) in arguments.iter().enumerate() {
            cost += match function.parameters.get(place) {
                Some(parameter) => {
                    self.conversion(argument, &parameter.ty.substitute(bindings), user_defined)?
                }
                None => 10,
            };
        }
        Some(cost)
    }

    /// What converting a value to a parameter's type costs; `None` if it cannot be.
    pub(crate) fn conversion(&self, value: &Value, to: &Type, user_defined: bool) -> Option<u32> {
        let from = &value.ty;
        if let (Base::Foreign(from), Base::Foreign(to)) = (&from.base, &to.base) {
            return Some(if from == to { 1 } else { 6 });
        }
        if from.is_unknown() && to.pointer == 0 && matches!(to.base, Base::Parameter(_)) {
            return Some(2);
        }
        if from.is_unknown() || to.is_unknown() {
            return Some(4);
        }
        // A braced list says nothing of a parameter's type.
        if from.base == Base::List && matches!(to.base, Base::Parameter(_)) {
            return None;
        }
        match (&from.base, &to.base) {
            (Base::Function, Base::Function) => return Some(1),
            (Base::Lambda(_), Base::Function) => return user_defined.then_some(USER_DEFINED),
            _ => {}
        }
        if let Some(cost) = self.template_conversion(value, to, user_defined) {
            return cost;
        }
        if from.is_dependent() || to.is_dependent() {
            // A pointer parameter does not take an object.
            let misfit = to.pointer > from.pointer
                && !from.is_dependent()
                && !matches!(from.base, Base::Null | Base::Class(..));
            // An object that ends with the expression does not bind to a plain reference.
            let bare = matches!(to.base, Base::Parameter(_)) && to.pointer == 0;
            if bare
                && to.reference == Reference::Left
                && !to.constant
                && !from.constant
                && value.category == Category::Temporary
                && !from.is_dependent()
            {
                return None;
            }
            let deduced = matches!(to.base, Base::Parameter(_)) && !from.is_dependent();
            return (!misfit).then_some(if deduced { 1 } else { 5 });
        }
        let same = from.pointer == to.pointer && self.same_base(&from.base, &to.base);
        let temporary = value.category != Category::Left;
        match to.reference {
            Reference::Right if same && !temporary => return None,
            Reference::Left
                if same && !to.constant && to.pointer == 0 && (temporary || from.constant) =>
            {
                return None;
            }
            Reference::Left if same && to.pointer == 0 => {
                return Some(u32::from(temporary || (to.constant && !from.constant)));
            }
            _ => {}
        }
        if same && arguments_differ(from, to) {
            return Some(7);
        }
        if same {
            return if to.pointer > 0 && from.constant && !to.constant {
                None
            } else {
                Some(u32::from(from.constant != to.constant && to.pointer > 0))
            };
        }
        if from.base == Base::List {
            let list = matches!(to.base, Base::Standard("initializer_list", _));
            let copied = to.reference == Reference::Left;
            return Some(if list { 3 } else { 6 + u32::from(copied) });
        }
        if to.pointer > 0 || from.pointer > 0 {
            return self.pointer_conversion(from, to, user_defined);
        }
        match (&from.base, &to.base) {
            (Base::Class(derived, _), Base::Class(base, _))
                if self.inherits(*derived, *base, 0) =>
            {
                match to.reference {
                    Reference::Right if !temporary => None,
                    Reference::Left if temporary && !to.constant => None,
                    Reference::Left if temporary => Some(3),
                    _ => Some(2),
                }
            }
            (Base::Class(from, _), _) if user_defined && self.converts(*from, to) => {
                Some(USER_DEFINED)
            }
            // What is made is a temporary, which is rather moved.
            (_, Base::Class(class, _)) if user_defined => self
                .constructible(*class, value)
                .then_some(USER_DEFINED + u32::from(to.reference == Reference::Left)),
            (_, Base::Class(..)) | (Base::Class(..), _) => None,
            (Base::Standard(..) | Base::Lambda(_), Base::Standard(..)) => {
                user_defined.then_some(USER_DEFINED)
            }
            (Base::Standard(..), _) | (_, Base::Standard(..)) => None,
            (_, Base::Enum(_)) | (_, Base::Null) | (Base::Void, _) | (_, Base::Void) => None,
            (Base::Lambda(_), _) => None,
            (from, to) if from.is_arithmetic() && to.is_arithmetic() => {
                Some(from.arithmetic_conversion(to))
            }
            (Base::Enum(_), Base::Integer(_)) => Some(2),
            (Base::Enum(_) | Base::Null, _) => Some(8),
            _ => Some(3),
        }
    }

    /// To a class template's specialisation whose arguments are open: the class must fit even so. `None` if `to` is
    /// something else.
    fn template_conversion(
        &self,
        value: &Value,
        to: &Type,
        user_defined: bool,
    ) -> Option<Option<u32>> {
        let from = &value.ty;
        let open = matches!(from.base, Base::Dependent | Base::Parameter(_) | Base::List);
        if open || to.pointer > 0 || !to.is_dependent() {
            return None;
        }
        match (&from.base, &to.base) {
            (Base::Class(derived, _), Base::Class(base, _))
                if from.pointer == 0 && self.inherits(*derived, *base, 0) =>
            {
                let temporary = value.category != Category::Left;
                let further = if derived == base { 0 } else { 2 };
                Some(match to.reference {
                    Reference::Right if !temporary => None,
                    Reference::Left if temporary && !to.constant => None,
                    Reference::Left if temporary => Some(2 + further),
                    _ => Some(1 + further),
                })
            }
            (_, Base::Class(class, _)) => {
                let made = user_defined && self.constructible(*class, value);
                Some(made.then_some(USER_DEFINED))
            }
            (Base::Standard(from, _), Base::Standard(to, _)) if from == to => Some(Some(3)),
            (_, Base::Standard(..)) => Some(user_defined.then_some(USER_DEFINED)),
            _ => None,
        }
    }

    fn pointer_conversion(&self, from: &Type, to: &Type, user_defined: bool) -> Option<u32> {
        if to.pointer == 0 {
            return match &to.base {
                Base::Bool => Some(9),
                Base::Class(class, _) if user_defined => self
                    .constructible(*class, &Value::temporary(from.clone()))
                    .then_some(USER_DEFINED),
                Base::Standard("string" | "string_view", _)
                    if from.pointer == 1 && from.base == Base::Char =>
                {
                    user_defined.then_some(USER_DEFINED - 1)
                }
                Base::Standard("unique_ptr" | "shared_ptr" | "function", _) => {
                    user_defined.then_some(USER_DEFINED)
                }
                _ => None,
            };
        }
        if from.base == Base::Null || (from.base == Base::INT && from.pointer == 0) {
            return Some(if from.base == Base::Null { 2 } else { 9 });
        }
        if from.pointer != to.pointer || (from.constant && !to.constant) {
            return (to.base == Base::Void && from.pointer > to.pointer).then_some(5);
        }
        match (&from.base, &to.base) {
            (_, Base::Void) => Some(5),
            (Base::Class(derived, _), Base::Class(base, _))
                if self.inherits(*derived, *base, 0) =>
            {
                Some(2)
            }
            _ => None,
        }
    }

    fn same_base(&self, left: &Base, right: &Base) -> bool {
        match (left, right) {
            (Base::Class(left, _), Base::Class(right, _)) => {
                left == right || self.same_class(*left, *right)
            }
            (Base::Standard(left, _), Base::Standard(right, _)) => left == right,
            (left, right) => left == right,
        }
    }

    /// Classes that several programs of the project define under one name.
    fn same_class(&self, left: ScopeId, right: ScopeId) -> bool {
        let (left, right) = (self.scope(left), self.scope(right));
        left.name == right.name && left.parent == right.parent && left.local_to == right.local_to
    }

    /// Whether a constructor of `class` takes the value implicitly.
    pub(crate) fn constructible(&self, class: ScopeId, value: &Value) -> bool {
        self.converting_constructor(class, value).is_some()
    }

    pub(crate) fn converting_constructor(&self, class: ScopeId, value: &Value) -> Option<u32> {
        let candidates: Vec<u32> = self
            .scope(class)
            .constructors
            .iter()
            .copied()
            .filter(|&id| !self.function(id).explicit)
            .collect();
        let arguments = std::slice::from_ref(value);
        self.pick(&candidates, arguments, None, false)
    }

    /// The copy or move constructor that a project wrote for `class`. Where it wrote none the compiler's is the best,
    /// whatever templates would take.
    pub(crate) fn copying_constructor(&self, class: ScopeId, value: &Value) -> Option<u32> {
        let from = value.ty.class()?;
        let takes_class = |id: &u32| {
            let first = self.function(*id).parameters.first();
            first.and_then(|p| p.ty.class()).is_some_and(|taken| self.inherits(from, taken, 0))
        };
        let candidates: Vec<u32> =
            self.scope(class).constructors.iter().copied().filter(takes_class).collect();
        self.pick(&candidates, std::slice::from_ref(value), None, false)
    }

    /// Whether an operator takes one operand as it is: one that converts all of them is not meant.
    pub(crate) fn takes_one_directly(&self, id: u32, operands: &[Value]) -> bool {
        let function = self.function(id);
        function.parameters.iter().zip(operands).any(|(parameter, operand)| {
            let user_type = matches!(operand.ty.base, Base::Class(..) | Base::Enum(_));
            user_type && self.conversion(operand, &parameter.ty, false).is_some()
        })
    }

    fn converts(&self, class: ScopeId, to: &Type) -> bool {
        self.conversion_function(class, to).is_some()
    }

    /// The conversion function of `class` or its bases that gives `to`.
    pub(crate) fn conversion_function(&self, class: ScopeId, to: &Type) -> Option<u32> {
        let mut classes = vec![class];
        let mut next = 0;
        while next < classes.len() && next < 64 {
            let data = self.scope(classes[next]);
            for &id in &data.conversions {
                let result = &self.function(id).result;
                let fits = result.pointer == to.pointer
                    && (self.same_base(&result.base, &to.base)
                        || (result.base.is_arithmetic()
                            && to.base.is_arithmetic()
                            && !self.function(id).explicit))
                    || (to.base == Base::Bool && to.pointer == 0 && result.pointer > 0);
                if fits {
                    return Some(id);
                }
            }
            for base in &data.bases {
                if let Base::Class(base, _) = base.base {
                    classes.push(base);
                }
            }
            next += 1;
        }
        None
    }

    /// What a template's parameters stand for, from its arguments.
    pub(crate) fn deduce(
        &self,
        function: &Function,
        arguments: &[Value],
        explicit: &[Type],
    ) -> Vec<(Name, Type)> {
        let mut bindings: Vec<(Name, Type)> =
            function.template.iter().copied().zip(explicit.iter().cloned()).collect();
        for (parameter, argument) in function.parameters.iter().zip(arguments) {
            unify(&parameter.ty, &argument.ty, &mut bindings, 0);
        }
        // Packs and what only defaults tell.
        for &parameter in &function.template {
            if !bindings.iter().any(|(known, _)| *known == parameter) {
                bindings.push((parameter, Type::UNKNOWN));
            }
        }
        bindings
    }
}

fn unify(parameter: &Type, argument: &Type, bindings: &mut Vec<(Name, Type)>, depth: usize) {
    if depth > 8 {
        return;
    }
    match (&parameter.base, &argument.base) {
        (Base::Parameter(name), _) => {
            let known = bindings.iter().any(|(bound, _)| bound == name);
            let Some(pointer) = argument.pointer.checked_sub(parameter.pointer).filter(|_| !known)
            else {
                return;
            };
            let bound = Type { pointer, reference: Reference::None, ..argument.clone() };
            bindings.push((*name, bound));
        }
        (Base::Class(left, Some(parameters)), Base::Class(right, Some(arguments)))
            if left == right =>
        {
            for (parameter, argument) in parameters.iter().zip(arguments.iter()) {
                unify(parameter, argument, bindings, depth + 1);
            }
        }
        (Base::Standard(left, Some(parameters)), Base::Standard(right, Some(arguments)))
            if left == right =>
        {
            for (parameter, argument) in parameters.iter().zip(arguments.iter()) {
                unify(parameter, argument, bindings, depth + 1);
            }
        }
        _ => {}
    }
}

/// Whether two types of one template have arguments that are known and not the same.
fn arguments_differ(left: &Type, right: &Type) -> bool {
    let (
        Base::Class(_, Some(left)) | Base::Standard(_, Some(left)),
        Base::Class(_, Some(right)) | Base::Standard(_, Some(right)),
    ) = (&left.base, &right.base)
    else {
        return false;
    };
    let open = |ty: &Type| ty.is_unknown() || ty.is_dependent();
    left.iter().zip(right.iter()).any(|(left, right)| {
        !open(left) && !open(right) && (left.base != right.base || left.pointer != right.pointer)
    })
}
