//! What an expression gives: its type, whether it is a temporary, and what a call of it would call.

use super::types::{Base, Name, Type};

/// Value categories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Category {
    Left,
    /// An expiring object, such as what `std::move` gives.
    Expiring,
    Temporary,
}

/// What a call of an expression calls.
#[derive(Debug, Clone)]
pub(crate) enum Callee {
    None,
    Functions(Functions),
    /// A cast, or an object made.
    Type(Type),
    /// A function of `std`, with its template arguments.
    Standard(String, Vec<Type>),
    /// Nothing: a braced list of these values.
    List(Vec<Value>),
    /// A member function of a class of the standard library.
    StandardMember(Type, String),
}

/// The functions that a name stands for.
#[derive(Debug, Clone)]
pub(crate) struct Functions {
    pub(crate) name: Name,
    pub(crate) candidates: Vec<u32>,
    /// The object that a member function is called on.
    pub(crate) object: Option<Type>,
    /// Whether `this` stands for the object.
    pub(crate) implicit: bool,
    /// Whether the arguments' namespaces are searched too.
    pub(crate) unqualified: bool,
    /// Explicit template arguments.
    pub(crate) template: Vec<Type>,
    /// The result where no candidate fits: that of C's function of this name.
    pub(crate) otherwise: Type,
}

/// The value of an expression.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub(crate) ty: Type,
    pub(crate) category: Category,
    /// A local variable, which `return` moves from.
    pub(crate) local: bool,
    pub(crate) callee: Callee,
}

impl Value {
    pub(crate) fn unknown() -> Self {
        Self::temporary(Type::UNKNOWN)
    }

    pub(crate) fn temporary(ty: Type) -> Self {
        Self { ty, category: Category::Temporary, local: false, callee: Callee::None }
    }

    pub(crate) fn left(ty: Type) -> Self {
        Self {
            ty: ty.without_reference(),
            category: Category::Left,
            local: false,
            callee: Callee::None,
        }
    }

    /// What a call of a function with this result gives.
    pub(crate) fn returned(ty: Type) -> Self {
        use super::types::Reference;
        let category = match ty.reference {
            Reference::None => Category::Temporary,
            Reference::Left => Category::Left,
            Reference::Right => Category::Expiring,
        };
        Self { ty: ty.without_reference(), category, local: false, callee: Callee::None }
    }

    pub(crate) fn calling(callee: Callee) -> Self {
        Self { callee, ..Self::unknown() }
    }

    pub(crate) fn of(base: Base) -> Self {
        Self::temporary(Type::of(base))
    }
}
