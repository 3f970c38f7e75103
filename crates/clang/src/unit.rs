//! Translation units.

use std::ffi::{CString, NulError, c_int, c_uint};
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::rc::Rc;

use clang_sys::{
    CXClientData, CXDiagnostic_Error, CXDiagnostic_Fatal, CXDiagnosticSeverity, CXError_Crashed,
    CXError_InvalidArguments, CXError_Success, CXFile, CXIndex, CXSaveError_None, CXSourceLocation,
    CXTranslationUnit, CXTranslationUnit_Flags, CXTranslationUnit_ForSerialization,
    CXTranslationUnit_Incomplete, CXTranslationUnit_KeepGoing, CXTranslationUnit_None,
};
use thiserror::Error;

use crate::cursor::Cursor;
use crate::diagnostic::{Diagnostic, Severity};
use crate::functions::Functions;
use crate::library::Library;
use crate::location::{FileHandle, Position, position};
use crate::string;

/// A set of units that are parsed one after another on one thread.
pub struct Index {
    raw: CXIndex,
    functions: &'static Functions,
    /// libclang lets an index be used by one thread at a time.
    not_sync: PhantomData<Rc<()>>,
}

/// How a unit is parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ParseFlags {
    /// Something may follow, so that what belongs to the end of a unit is left out: above all the bodies of templates
    /// that it instantiates, which nobody sees. For precompiled headers, and wherever only what is written counts.
    pub incomplete: bool,
    /// The unit is to be saved; needed where a precompiled header lies below it.
    pub for_saving: bool,
    /// Go on after a header that is missing, to find what can be found.
    pub keep_going: bool,
}

/// Why there is no unit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseError {
    /// The parser crashed and was recovered.
    #[error("the parser crashed")]
    Crashed,
    /// The arguments make no compiler invocation.
    #[error("the parser does not take the arguments")]
    Arguments,
    /// A path or an argument holds a NUL byte.
    #[error("a path or argument holds a NUL byte")]
    Nul,
    /// Anything else, such as a file that cannot be read.
    #[error("the parser failed")]
    Failed,
}

impl From<NulError> for ParseError {
    fn from(_: NulError) -> Self {
        Self::Nul
    }
}

/// A unit could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the unit cannot be saved (code {code})")]
pub struct SaveError {
    /// libclang's code.
    pub code: i32,
}

impl Index {
    /// `exclude_prefix`: whether declarations of a precompiled header are left out of walks.
    pub fn new(library: Library, exclude_prefix: bool) -> Self {
        let functions = library.functions();
        // SAFETY: takes two switches; diagnostics are not printed.
        let raw = unsafe { (functions.clang_createIndex)(c_int::from(exclude_prefix), 0) };
        Self { raw, functions, not_sync: PhantomData }
    }

    /// Parses `file` with the compiler arguments `arguments` (neither the compiler nor the file among them).
    pub fn parse<A: AsRef<str>>(
        &self,
        file: &Path,
        arguments: &[A],
        flags: ParseFlags,
    ) -> Result<TranslationUnit<'_>, ParseError> {
        let file = CString::new(file.as_os_str().as_bytes())?;
        let arguments: Vec<CString> = arguments
            .iter()
            .map(|argument| CString::new(argument.as_ref()))
            .collect::<Result<_, _>>()?;
        let pointers: Vec<_> = arguments.iter().map(|argument| argument.as_ptr()).collect();
        let count = c_int::try_from(pointers.len()).map_err(|_| ParseError::Arguments)?;
        let mut raw: CXTranslationUnit = ptr::null_mut();
        // SAFETY: the index lives; all pointers are to live, NUL-terminated strings, `count` of them; there are no
        // unsaved files; the result goes to a live variable.
        let code = unsafe {
            (self.functions.clang_parseTranslationUnit2)(
                self.raw,
                file.as_ptr(),
                pointers.as_ptr(),
                count,
                ptr::null_mut(),
                0,
                flags.raw(),
                &mut raw,
            )
        };
        if code == CXError_Success && !raw.is_null() {
            Ok(TranslationUnit { raw, functions: self.functions, index: PhantomData })
        } else if code == CXError_Crashed {
            Err(ParseError::Crashed)
        } else if code == CXError_InvalidArguments {
            Err(ParseError::Arguments)
        } else {
            Err(ParseError::Failed)
        }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        // SAFETY: the index is ours and its units, which borrow it, are gone.
        unsafe { (self.functions.clang_disposeIndex)(self.raw) };
    }
}

impl ParseFlags {
    fn raw(self) -> CXTranslationUnit_Flags {
        let mut flags = CXTranslationUnit_None;
        if self.incomplete {
            flags |= CXTranslationUnit_Incomplete;
        }
        if self.for_saving {
            flags |= CXTranslationUnit_ForSerialization;
        }
        if self.keep_going {
            flags |= CXTranslationUnit_KeepGoing;
        }
        flags
    }
}

/// A parsed unit; its memory is given back when it is dropped.
pub struct TranslationUnit<'i> {
    raw: CXTranslationUnit,
    functions: &'static Functions,
    index: PhantomData<&'i Index>,
}

impl TranslationUnit<'_> {
    /// The root of its tree.
    pub fn cursor(&self) -> Cursor<'_> {
        // SAFETY: the unit lives.
        let raw = unsafe { (self.functions.clang_getTranslationUnitCursor)(self.raw) };
        Cursor { raw, functions: self.functions, unit: PhantomData }
    }

    /// Writes it as a precompiled header.
    pub fn save(&self, path: &Path) -> Result<(), SaveError> {
        let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| SaveError { code: -1 })?;
        // SAFETY: the unit lives; the path is a live, NUL-terminated string; 0 is the only option there is.
        let code =
            unsafe { (self.functions.clang_saveTranslationUnit)(self.raw, path.as_ptr(), 0) };
        if code == CXSaveError_None { Ok(()) } else { Err(SaveError { code }) }
    }

    /// All diagnostics, in order.
    pub fn diagnostics(&self) -> Vec<Diagnostic<'_>> {
        // SAFETY: the unit lives.
        let count = unsafe { (self.functions.clang_getNumDiagnostics)(self.raw) };
        (0..count).map(|number| self.diagnostic(number)).collect()
    }

    fn diagnostic(&self, number: c_uint) -> Diagnostic<'_> {
        let functions = self.functions;
        // SAFETY: the unit lives and has more than `number` diagnostics; this one is disposed of once, at the end, and
        // its location belongs to the unit.
        unsafe {
            let raw = (functions.clang_getDiagnostic)(self.raw, number);
            let severity = severity((functions.clang_getDiagnosticSeverity)(raw));
            let message = string::take(functions, (functions.clang_getDiagnosticSpelling)(raw));
            let position = position(functions, (functions.clang_getDiagnosticLocation)(raw));
            (functions.clang_disposeDiagnostic)(raw);
            Diagnostic { severity, message, position }
        }
    }

    /// Each file of the unit, and the places of the `#include`s that led to it, innermost first.
    pub fn inclusions(&self) -> Vec<(FileHandle<'_>, Vec<Position<'_>>)> {
        let mut state = Inclusions { functions: self.functions, found: Vec::new() };
        // SAFETY: the unit lives; `inclusion` reads the pointer as the type it is made from, only during this call.
        unsafe {
            (self.functions.clang_getInclusions)(self.raw, inclusion, (&raw mut state).cast())
        };
        state.found
    }
}

fn severity(raw: CXDiagnosticSeverity) -> Severity {
    if raw == CXDiagnostic_Fatal {
        Severity::Fatal
    } else if raw == CXDiagnostic_Error {
        Severity::Error
    } else {
        Severity::Mild
    }
}

struct Inclusions<'t> {
    functions: &'static Functions,
    found: Vec<(FileHandle<'t>, Vec<Position<'t>>)>,
}

extern "C" fn inclusion(
    file: CXFile,
    stack: *mut CXSourceLocation,
    depth: c_uint,
    data: CXClientData,
) {
    // SAFETY: `inclusions` passes a pointer to its live state; libclang passes `depth` locations of the unit.
    unsafe {
        let state = &mut *data.cast::<Inclusions>();
        let stack =
            if depth == 0 { &[] } else { std::slice::from_raw_parts(stack, depth as usize) };
        let places = stack.iter().map(|location| position(state.functions, *location)).collect();
        state.found.push((FileHandle::new(file, state.functions), places));
    }
}

impl Drop for TranslationUnit<'_> {
    fn drop(&mut self) {
        // SAFETY: the unit is ours; cursors, which borrow it, are gone.
        unsafe { (self.functions.clang_disposeTranslationUnit)(self.raw) };
    }
}
