//! Nodes of the syntax tree.

use std::any::Any;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use clang_sys::{
    CXChildVisit_Break, CXChildVisit_Continue, CXChildVisit_Recurse, CXChildVisitResult,
    CXClientData, CXCursor,
};

use crate::functions::Functions;
use crate::location::{Position, position};
use crate::string;

/// A node of the syntax tree of the unit whose lifetime is `'t`. Small; copied freely.
#[derive(Clone, Copy)]
pub struct Cursor<'t> {
    pub(crate) raw: CXCursor,
    pub(crate) functions: &'static Functions,
    pub(crate) unit: PhantomData<&'t ()>,
}

/// The kinds that Kiln tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum CursorKind {
    Struct,
    Union,
    Class,
    ClassTemplate,
    ClassTemplatePartialSpecialization,
    Enum,
    Function,
    Method,
    Constructor,
    Destructor,
    Conversion,
    FunctionTemplate,
    Namespace,
    /// A call, also of a constructor, an operator or a conversion.
    Call,
    Lambda,
    CompoundStatement,
    TryStatement,
    /// Any other declaration.
    Declaration,
    /// Any other reference, expression, statement or attribute.
    Other,
}

impl CursorKind {
    fn from_raw(kind: i32) -> Self {
        match kind {
            2 => Self::Struct,
            3 => Self::Union,
            4 => Self::Class,
            5 => Self::Enum,
            8 => Self::Function,
            21 => Self::Method,
            22 => Self::Namespace,
            24 => Self::Constructor,
            25 => Self::Destructor,
            26 => Self::Conversion,
            30 => Self::FunctionTemplate,
            31 => Self::ClassTemplate,
            32 => Self::ClassTemplatePartialSpecialization,
            103 => Self::Call,
            144 => Self::Lambda,
            202 => Self::CompoundStatement,
            224 => Self::TryStatement,
            1..=39 | 600..=699 => Self::Declaration,
            _ => Self::Other,
        }
    }

    /// Whether it declares a function of any sort.
    pub fn is_function(self) -> bool {
        matches!(
            self,
            Self::Function
                | Self::Method
                | Self::Constructor
                | Self::Destructor
                | Self::Conversion
                | Self::FunctionTemplate
        )
    }

    /// Whether it declares a class, struct or union, or a template of one.
    pub fn is_class(self) -> bool {
        matches!(
            self,
            Self::Struct
                | Self::Union
                | Self::Class
                | Self::ClassTemplate
                | Self::ClassTemplatePartialSpecialization
        )
    }
}

/// What a visitor wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visit {
    /// The next sibling.
    Continue,
    /// The children of this node.
    Recurse,
    /// No more.
    Stop,
}

impl<'t> Cursor<'t> {
    /// None where libclang means "nothing".
    pub(crate) fn new(raw: CXCursor, functions: &'static Functions) -> Option<Self> {
        // SAFETY: takes a number.
        let invalid = unsafe { (functions.clang_isInvalid)(raw.kind) } != 0;
        (!invalid).then_some(Self { raw, functions, unit: PhantomData })
    }

    /// What it is.
    pub fn kind(self) -> CursorKind {
        CursorKind::from_raw(self.raw.kind)
    }

    /// What a template is a template of.
    pub fn template_kind(self) -> CursorKind {
        // SAFETY: the unit lives, as `'t` says.
        CursorKind::from_raw(unsafe { (self.functions.clang_getTemplateCursorKind)(self.raw) })
    }

    /// Where it stands: for a declaration, where its name stands.
    pub fn position(self) -> Position<'t> {
        // SAFETY: the unit lives, as `'t` says; the location is that of a cursor of it.
        unsafe { position(self.functions, (self.functions.clang_getCursorLocation)(self.raw)) }
    }

    /// Its first byte and the one after its last.
    pub fn extent(self) -> (Position<'t>, Position<'t>) {
        // SAFETY: the unit lives, as `'t` says; range and locations are of it.
        unsafe {
            let range = (self.functions.clang_getCursorExtent)(self.raw);
            let start = position(self.functions, (self.functions.clang_getRangeStart)(range));
            let end = position(self.functions, (self.functions.clang_getRangeEnd)(range));
            (start, end)
        }
    }

    /// The Unified Symbol Resolution string, equal for the same entity in every unit; empty for what has none.
    pub fn usr(self) -> String {
        // SAFETY: the unit lives, as `'t` says; the string is this library's.
        unsafe { string::take(self.functions, (self.functions.clang_getCursorUSR)(self.raw)) }
    }

    /// Its name.
    pub fn spelling(self) -> String {
        // SAFETY: the unit lives, as `'t` says; the string is this library's.
        unsafe { string::take(self.functions, (self.functions.clang_getCursorSpelling)(self.raw)) }
    }

    /// What a reference or call refers to.
    pub fn referenced(self) -> Option<Self> {
        // SAFETY: the unit lives, as `'t` says.
        Self::new(unsafe { (self.functions.clang_getCursorReferenced)(self.raw) }, self.functions)
    }

    /// The namespace, class or function that it belongs to by its meaning, not by its place.
    pub fn semantic_parent(self) -> Option<Self> {
        // SAFETY: the unit lives, as `'t` says.
        Self::new(
            unsafe { (self.functions.clang_getCursorSemanticParent)(self.raw) },
            self.functions,
        )
    }

    /// The template, or the template's member, of which this is a specialisation.
    pub fn specialized_template(self) -> Option<Self> {
        // SAFETY: the unit lives, as `'t` says.
        Self::new(
            unsafe { (self.functions.clang_getSpecializedCursorTemplate)(self.raw) },
            self.functions,
        )
    }

    /// The definition, in this unit, of what it declares or refers to.
    pub fn definition(self) -> Option<Self> {
        // SAFETY: the unit lives, as `'t` says.
        Self::new(unsafe { (self.functions.clang_getCursorDefinition)(self.raw) }, self.functions)
    }

    /// Whether it is a definition and not merely a declaration.
    pub fn is_definition(self) -> bool {
        // SAFETY: the unit lives, as `'t` says.
        unsafe { (self.functions.clang_isCursorDefinition)(self.raw) != 0 }
    }

    /// Whether it is a member written `= default`, whose body the compiler makes up where it is needed.
    pub fn is_defaulted(self) -> bool {
        // SAFETY: the unit lives, as `'t` says; cursors of other kinds give 0.
        unsafe { (self.functions.clang_CXXMethod_isDefaulted)(self.raw) != 0 }
    }

    /// Calls `visitor` on each child in order, and on their children where it answers [`Visit::Recurse`].
    pub fn visit<F: FnMut(Cursor<'t>) -> Visit>(self, visitor: F) {
        let mut state = Visitor { visitor, functions: self.functions, panic: None };
        // SAFETY: the unit lives, as `'t` says; `visit_child::<F>` reads the pointer as the very type it is made from,
        // and only during this call.
        unsafe {
            (self.functions.clang_visitChildren)(
                self.raw,
                visit_child::<F>,
                (&raw mut state).cast(),
            );
        }
        if let Some(payload) = state.panic {
            resume_unwind(payload);
        }
    }
}

struct Visitor<F> {
    visitor: F,
    functions: &'static Functions,
    /// A panic must not cross libclang's frames: it is kept, and goes on when they are left.
    panic: Option<Box<dyn Any + Send>>,
}

extern "C" fn visit_child<'t, F: FnMut(Cursor<'t>) -> Visit>(
    child: CXCursor,
    _parent: CXCursor,
    data: CXClientData,
) -> CXChildVisitResult {
    // SAFETY: `Cursor::visit` passes a pointer to a `Visitor<F>` that outlives the walk and is not used meanwhile.
    let state = unsafe { &mut *data.cast::<Visitor<F>>() };
    let cursor = Cursor { raw: child, functions: state.functions, unit: PhantomData };
    match catch_unwind(AssertUnwindSafe(|| (state.visitor)(cursor))) {
        Ok(Visit::Continue) => CXChildVisit_Continue,
        Ok(Visit::Recurse) => CXChildVisit_Recurse,
        Ok(Visit::Stop) => CXChildVisit_Break,
        Err(payload) => {
            state.panic = Some(payload);
            CXChildVisit_Break
        }
    }
}

impl PartialEq for Cursor<'_> {
    fn eq(&self, other: &Self) -> bool {
        // SAFETY: compares fields; both units live, as the lifetimes say.
        unsafe { (self.functions.clang_equalCursors)(self.raw, other.raw) != 0 }
    }
}

impl Eq for Cursor<'_> {}

impl Hash for Cursor<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // SAFETY: hashes fields; the unit lives, as `'t` says.
        unsafe { (self.functions.clang_hashCursor)(self.raw) }.hash(state);
    }
}
