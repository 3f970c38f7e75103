//! Types as far as calls depend on them.

use std::sync::Arc;

use super::arithmetic::{Float, Integer};

use rustc_hash::FxHasher;
use std::hash::Hasher;

/// A name, hashed: equal names are equal everywhere without a shared table.
pub(crate) type Name = u64;

/// Hashes a name.
pub(crate) fn name(text: &str) -> Name {
    let mut hasher = FxHasher::default();
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// Index into the symbols' scopes.
pub(crate) type ScopeId = u32;
/// Template arguments.
pub(crate) type Arguments = Option<Arc<[Type]>>;

/// What a type is made of, without pointers and references.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Base {
    /// Not of this project, or not understood.
    Unknown,
    /// Not of this project, but known by its name.
    Foreign(Name),
    /// Depends on a template's parameters in a way that is not followed.
    Dependent,
    /// A template's type parameter.
    Parameter(Name),
    Auto,
    Void,
    Bool,
    Char,
    Integer(Integer),
    Float(Float),
    /// `nullptr`.
    Null,
    /// A class of the project.
    Class(ScopeId, Arguments),
    /// An enumeration of the project.
    Enum(u32),
    /// A class of the standard library by its own name.
    Standard(&'static str, Arguments),
    /// A lambda and what it returns.
    Lambda(Option<Arc<Type>>),
    /// A braced list.
    List,
    /// A function, of which nothing more is known.
    Function,
}

/// How a type refers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reference {
    None,
    Left,
    Right,
}

/// A type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Type {
    pub(crate) base: Base,
    pub(crate) pointer: u8,
    pub(crate) reference: Reference,
    /// Whether what it points or refers to, or itself, is `const`.
    pub(crate) constant: bool,
}

impl Type {
    pub(crate) const UNKNOWN: Self = Self::of(Base::Unknown);
    /// A pointer to some function.
    pub(crate) const FUNCTION: Self =
        Self { base: Base::Function, pointer: 1, reference: Reference::None, constant: false };

    pub(crate) const fn of(base: Base) -> Self {
        Self { base, pointer: 0, reference: Reference::None, constant: false }
    }

    pub(crate) fn pointer_to(mut self) -> Self {
        self.pointer = self.pointer.saturating_add(1);
        self.reference = Reference::None;
        self
    }

    pub(crate) fn without_reference(mut self) -> Self {
        self.reference = Reference::None;
        self
    }

    pub(crate) fn standard(name: &'static str, arguments: Vec<Type>) -> Self {
        Self::of(Base::Standard(
            name,
            if arguments.is_empty() { None } else { Some(arguments.into()) },
        ))
    }

    /// The class that an object of this type belongs to; a pointer has none.
    pub(crate) fn class(&self) -> Option<ScopeId> {
        match self.base {
            Base::Class(scope, _) if self.pointer == 0 => Some(scope),
            _ => None,
        }
    }

    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self.base, Base::Unknown | Base::Foreign(_) | Base::Auto)
    }

    /// Whether it depends on a template's parameters.
    pub(crate) fn is_dependent(&self) -> bool {
        match &self.base {
            Base::Dependent | Base::Parameter(_) => true,
            Base::Class(_, arguments) | Base::Standard(_, arguments) => {
                arguments.as_deref().is_some_and(|list| list.iter().any(Self::is_dependent))
            }
            _ => false,
        }
    }

    pub(crate) fn argument(&self, place: usize) -> Self {
        match &self.base {
            Base::Class(_, Some(list)) | Base::Standard(_, Some(list)) => {
                list.get(place).cloned().unwrap_or(Self::UNKNOWN)
            }
            _ => Self::UNKNOWN,
        }
    }

    /// The type where nothing around it depends on parameters any more: what could not be followed is unknown.
    pub(crate) fn settled(self) -> Self {
        let settle = |list: &Arc<[Type]>| list.iter().cloned().map(Self::settled).collect();
        let base = match &self.base {
            Base::Dependent => Base::Unknown,
            Base::Class(scope, Some(list)) => Base::Class(*scope, Some(settle(list))),
            Base::Standard(name, Some(list)) => Base::Standard(name, Some(settle(list))),
            other => other.clone(),
        };
        Self { base, ..self }
    }

    /// The type with parameters replaced; what has no replacement stays.
    pub(crate) fn substitute(&self, bindings: &[(Name, Type)]) -> Self {
        if bindings.is_empty() {
            return self.clone();
        }
        match &self.base {
            Base::Parameter(parameter) => match bindings.iter().find(|(name, _)| name == parameter)
            {
                Some((_, bound)) => Self {
                    base: bound.base.clone(),
                    pointer: bound.pointer.saturating_add(self.pointer),
                    reference: if self.reference == Reference::None {
                        bound.reference
                    } else {
                        self.reference
                    },
                    constant: self.constant || bound.constant,
                },
                None => self.clone(),
            },
            Base::Class(scope, Some(list)) => {
                let list: Arc<[Type]> = list.iter().map(|ty| ty.substitute(bindings)).collect();
                Self { base: Base::Class(*scope, Some(list)), ..self.clone() }
            }
            Base::Standard(name, Some(list)) => {
                let list: Arc<[Type]> = list.iter().map(|ty| ty.substitute(bindings)).collect();
                Self { base: Base::Standard(name, Some(list)), ..self.clone() }
            }
            _ => self.clone(),
        }
    }
}
