//! Places in files.

use std::ffi::c_uint;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::path::PathBuf;
use std::ptr;

use clang_sys::{CXFile, CXFileUniqueID, CXSourceLocation};

use crate::functions::{Functions, UniqueId};
use crate::string;

/// A file of the translation unit whose lifetime is `'t`: equal handles are the same file.
#[derive(Clone, Copy)]
pub struct FileHandle<'t> {
    raw: CXFile,
    functions: &'static Functions,
    unit: PhantomData<&'t ()>,
}

/// What tells a file from any other on the machine, whatever the path that led to it (device, inode, time).
pub type FileId = UniqueId;

/// Where a place lies once macros are expanded: where the outermost macro stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position<'t> {
    /// The file; none for builtins and the command line.
    pub file: Option<FileHandle<'t>>,
    /// From 1.
    pub line: u32,
    /// Bytes from the file's start.
    pub offset: u32,
}

/// # Safety
///
/// `location` must belong to a translation unit that lives for `'t`.
pub(crate) unsafe fn position<'t>(
    functions: &'static Functions,
    location: CXSourceLocation,
) -> Position<'t> {
    let mut file: CXFile = ptr::null_mut();
    let (mut line, mut column, mut offset): (c_uint, c_uint, c_uint) = (0, 0, 0);
    // SAFETY: the caller vouches for the location; the four pointers are to live variables of the right types.
    unsafe {
        (functions.clang_getExpansionLocation)(
            location,
            &mut file,
            &mut line,
            &mut column,
            &mut offset,
        );
    }
    Position { file: (!file.is_null()).then(|| FileHandle::new(file, functions)), line, offset }
}

impl FileHandle<'_> {
    pub(crate) fn new(raw: CXFile, functions: &'static Functions) -> Self {
        Self { raw, functions, unit: PhantomData }
    }

    /// The path under which it was opened.
    pub fn path(self) -> PathBuf {
        // SAFETY: the unit lives, as `'t` says; the string is this library's.
        PathBuf::from(unsafe {
            string::take(self.functions, (self.functions.clang_getFileName)(self.raw))
        })
    }

    /// What tells it from any other file.
    pub fn id(self) -> Option<FileId> {
        let mut id = CXFileUniqueID::default();
        // SAFETY: the unit lives, as `'t` says; `id` is a live variable of the right type.
        let failed = unsafe { (self.functions.clang_getFileUniqueID)(self.raw, &mut id) };
        (failed == 0).then_some(id.data)
    }
}

impl PartialEq for FileHandle<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
    }
}

impl Eq for FileHandle<'_> {}

impl Hash for FileHandle<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.raw.hash(state);
    }
}

impl fmt::Debug for FileHandle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FileHandle").field(&self.raw).finish()
    }
}
