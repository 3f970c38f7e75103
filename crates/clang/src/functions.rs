//! The entry points of libclang that Kiln uses, resolved once.

use std::ffi::{c_char, c_int, c_uint, c_ulonglong};

use clang_sys::{
    CXClientData, CXCursor, CXCursorKind, CXCursorVisitor, CXDiagnostic, CXDiagnosticSeverity,
    CXErrorCode, CXFile, CXFileUniqueID, CXInclusionVisitor, CXIndex, CXSaveError,
    CXSourceLocation, CXSourceRange, CXString, CXTranslationUnit, CXTranslationUnit_Flags,
    CXUnsavedFile,
};

macro_rules! functions {
    ($( fn $name:ident($($argument:ty),* $(,)?) $(-> $result:ty)?; )*) => {
        /// Pointers to libclang's functions, each under its own name.
        #[derive(Debug)]
        #[allow(non_snake_case)]
        pub(crate) struct Functions {
            $( pub $name: unsafe extern "C" fn($($argument),*) $(-> $result)?, )*
        }

        impl Functions {
            /// Looks all of them up.
            ///
            /// # Safety
            ///
            /// `library` must be a libclang, so that the symbols have the types given here, and must stay loaded for
            /// as long as the pointers are used.
            pub(crate) unsafe fn load(library: &libloading::Library) -> Result<Self, libloading::Error> {
                Ok(Self {
                    $( $name: {
                        // SAFETY: the caller vouches for the library; the types are those of clang-c/Index.h.
                        let symbol = unsafe { library.get(concat!(stringify!($name), "\0").as_bytes()) };
                        *symbol?
                    }, )*
                })
            }
        }
    };
}

functions! {
    fn clang_getClangVersion() -> CXString;
    fn clang_toggleCrashRecovery(c_uint);
    fn clang_getCString(CXString) -> *const c_char;
    fn clang_disposeString(CXString);
    fn clang_createIndex(c_int, c_int) -> CXIndex;
    fn clang_disposeIndex(CXIndex);
    fn clang_parseTranslationUnit2(
        CXIndex, *const c_char, *const *const c_char, c_int, *mut CXUnsavedFile, c_uint, CXTranslationUnit_Flags,
        *mut CXTranslationUnit,
    ) -> CXErrorCode;
    fn clang_disposeTranslationUnit(CXTranslationUnit);
    fn clang_saveTranslationUnit(CXTranslationUnit, *const c_char, c_uint) -> CXSaveError;
    fn clang_getTranslationUnitCursor(CXTranslationUnit) -> CXCursor;
    fn clang_getInclusions(CXTranslationUnit, CXInclusionVisitor, CXClientData);
    fn clang_getNumDiagnostics(CXTranslationUnit) -> c_uint;
    fn clang_getDiagnostic(CXTranslationUnit, c_uint) -> CXDiagnostic;
    fn clang_disposeDiagnostic(CXDiagnostic);
    fn clang_getDiagnosticSeverity(CXDiagnostic) -> CXDiagnosticSeverity;
    fn clang_getDiagnosticSpelling(CXDiagnostic) -> CXString;
    fn clang_getDiagnosticLocation(CXDiagnostic) -> CXSourceLocation;
    fn clang_getExpansionLocation(CXSourceLocation, *mut CXFile, *mut c_uint, *mut c_uint, *mut c_uint);
    fn clang_getRangeStart(CXSourceRange) -> CXSourceLocation;
    fn clang_getRangeEnd(CXSourceRange) -> CXSourceLocation;
    fn clang_getFileName(CXFile) -> CXString;
    fn clang_getFileUniqueID(CXFile, *mut CXFileUniqueID) -> c_int;
    fn clang_visitChildren(CXCursor, CXCursorVisitor, CXClientData) -> c_uint;
    fn clang_getCursorLocation(CXCursor) -> CXSourceLocation;
    fn clang_getCursorExtent(CXCursor) -> CXSourceRange;
    fn clang_getCursorUSR(CXCursor) -> CXString;
    fn clang_getCursorSpelling(CXCursor) -> CXString;
    fn clang_getCursorReferenced(CXCursor) -> CXCursor;
    fn clang_getCursorSemanticParent(CXCursor) -> CXCursor;
    fn clang_getSpecializedCursorTemplate(CXCursor) -> CXCursor;
    fn clang_getTemplateCursorKind(CXCursor) -> CXCursorKind;
    fn clang_isCursorDefinition(CXCursor) -> c_uint;
    fn clang_CXXMethod_isDefaulted(CXCursor) -> c_uint;
    fn clang_getCursorDefinition(CXCursor) -> CXCursor;
    fn clang_isInvalid(CXCursorKind) -> c_uint;
    fn clang_hashCursor(CXCursor) -> c_uint;
    fn clang_equalCursors(CXCursor, CXCursor) -> c_uint;
}

/// The three numbers of [`CXFileUniqueID`].
pub(crate) type UniqueId = [c_ulonglong; 3];
