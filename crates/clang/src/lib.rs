//! A safe interface to a libclang that is found and loaded at run time. All of its FFI and all `unsafe` lives here.
//!
//! [`find`] and [`find_in`] look for a library, [`Library::load`] loads one; [`Index::parse`] makes a [`TranslationUnit`], whose
//! [`Cursor`]s are walked with [`Cursor::visit`]. Only symbols of libclang 14 are used, so that any later one will do.
//!
//! libclang parses on a thread of its own behind crash recovery, so a unit that crashes the parser is an error, not the
//! end of the process.

#![allow(unsafe_code)]

mod cursor;
mod diagnostic;
mod find;
mod functions;
mod library;
mod location;
mod string;
mod unit;

pub use cursor::{Cursor, CursorKind, Visit};
pub use diagnostic::{Diagnostic, Severity};
pub use find::{find, find_in};
pub use library::{Library, LoadError};
pub use location::{FileHandle, FileId, Position};
pub use unit::{Index, ParseError, ParseFlags, SaveError, TranslationUnit};
