//! libclang's strings.

use std::ffi::CStr;

use clang_sys::CXString;

use crate::functions::Functions;

/// Copies `string` and gives it back to libclang. Bytes that are not UTF-8 are replaced.
///
/// # Safety
///
/// `string` must come from a function of this libclang and not have been disposed of.
pub(crate) unsafe fn take(functions: &Functions, string: CXString) -> String {
    // SAFETY: the caller vouches for the string; the pointer is null or a C string that lives until it is disposed of.
    unsafe {
        let pointer = (functions.clang_getCString)(string);
        let text = if pointer.is_null() {
            String::new()
        } else {
            CStr::from_ptr(pointer).to_string_lossy().into_owned()
        };
        (functions.clang_disposeString)(string);
        text
    }
}
