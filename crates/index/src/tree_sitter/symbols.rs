//! All that a project declares, by scope and name.

use rustc_hash::FxHashMap;

use super::declarations::{Declarations, Range};
use super::includes::Includes;
use super::lexer::Tokens;
use super::macros::Macros;
use super::source::Source;
use super::types::{Name, ScopeId, Type};

/// No file: visible everywhere.
pub(crate) const EVERYWHERE: u32 = u32::MAX;
/// The global namespace.
pub(crate) const GLOBAL: ScopeId = 0;

/// What a name may stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entity {
    Namespace(ScopeId),
    Class(ScopeId),
    Function(u32),
    Variable(u32),
    Alias(u32),
    Enum(u32),
    Enumerator(u32),
    /// `using path;`, looked up when asked for.
    Using(u32),
}

/// A name's meaning and where it holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) entity: Entity,
    /// The only file that sees it, or [`EVERYWHERE`].
    pub(crate) local_to: u32,
    pub(crate) file: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScopeKind {
    Namespace,
    Class,
    /// A function with local classes.
    Function,
}

#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) kind: ScopeKind,
    pub(crate) parent: ScopeId,
    pub(crate) name: String,
    pub(crate) file: u32,
    pub(crate) local_to: u32,
    pub(crate) bases: Vec<Type>,
    pub(crate) base_range: Range,
    /// A template's parameters.
    pub(crate) template: Vec<Name>,
    /// The arguments of a specialisation, as text.
    pub(crate) specialisation: String,
    /// Namespaces that are searched too: (namespace, file that sees it or [`EVERYWHERE`]).
    pub(crate) usings: Vec<(ScopeId, u32)>,
    pub(crate) constructors: Vec<u32>,
    pub(crate) conversions: Vec<u32>,
    /// File and number of the class with its body.
    pub(crate) definition: Option<(u32, u32)>,
}

#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    pub(crate) ty: Type,
    pub(crate) optional: bool,
    pub(crate) name: Name,
}

/// A function, from all its declarations.
#[derive(Debug, Clone)]
pub(crate) struct Function {
    pub(crate) scope: ScopeId,
    pub(crate) file: u32,
    /// The first declaration's number in its file.
    pub(crate) raw: u32,
    pub(crate) signature: String,
    /// What tells templates with equal parameters apart; `None` if it is no template itself.
    pub(crate) shape: Option<String>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) variadic: bool,
    pub(crate) result: Type,
    pub(crate) constant: bool,
    pub(crate) is_static: bool,
    pub(crate) explicit: bool,
    pub(crate) template: Vec<Name>,
    pub(crate) local_to: u32,
    /// The class whose friend it is, if it is declared nowhere else.
    pub(crate) friend_of: Option<ScopeId>,
    /// The declaration that shows its defaults, others than the first: (file, number).
    pub(crate) declarations: Vec<(u32, u32)>,
    /// Those with bodies: (file, number).
    pub(crate) definitions: Vec<(u32, u32)>,
}

impl Function {
    /// Whether it is one case of a function template, `template <> void f<int>()`.
    pub(crate) fn is_specialisation(&self) -> bool {
        self.shape.as_ref().is_some_and(|shape| shape.starts_with('<'))
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Variable {
    pub(crate) scope: ScopeId,
    pub(crate) file: u32,
    pub(crate) raw: u32,
    pub(crate) ty: Type,
    /// Not `const` in a `const` object.
    pub(crate) mutable: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Alias {
    pub(crate) scope: ScopeId,
    pub(crate) file: u32,
    pub(crate) target: Range,
    pub(crate) template: Vec<Name>,
}

/// What is known of one file.
#[derive(Debug)]
pub(crate) struct ParsedFile<'a> {
    pub(crate) text: &'a str,
    pub(crate) tokens: Tokens,
    pub(crate) declarations: Declarations,
}

impl ParsedFile<'_> {
    pub(crate) fn source(&self) -> Source<'_> {
        Source::new(self.text, &self.tokens)
    }
}

/// The project's symbols.
#[derive(Debug)]
pub(crate) struct Symbols<'a> {
    pub(crate) files: &'a [ParsedFile<'a>],
    pub(crate) macros: &'a Macros,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) functions: Vec<Function>,
    pub(crate) variables: Vec<Variable>,
    pub(crate) aliases: Vec<Alias>,
    pub(crate) usings: Vec<(ScopeId, u32, Range)>,
    pub(crate) enums: Vec<ScopeId>,
    pub(crate) members: FxHashMap<(ScopeId, Name), Vec<Entry>>,
    /// Explicit specialisations of function templates.
    pub(crate) specialisations: FxHashMap<(ScopeId, Name), Vec<u32>>,
    /// The global scope of every scope of every file, and the file it is local to.
    pub(crate) file_scopes: Vec<Vec<(ScopeId, u32)>>,
    /// The function that each declaration belongs to.
    pub(crate) function_of: Vec<Vec<u32>>,
    /// Which files are headers.
    pub(crate) headers: Vec<bool>,
    /// What files include of one another.
    pub(crate) includes: Includes,
}

impl<'a> Symbols<'a> {
    pub(crate) fn scope(&self, id: ScopeId) -> &Scope {
        &self.scopes[id as usize]
    }

    pub(crate) fn function(&self, id: u32) -> &Function {
        &self.functions[id as usize]
    }

    pub(crate) fn source(&self, file: u32) -> Source<'a> {
        self.files[file as usize].source()
    }

    pub(crate) fn entries(&self, scope: ScopeId, name: Name) -> &[Entry] {
        self.members.get(&(scope, name)).map_or(&[], Vec::as_slice)
    }
}
