//! A safe interface to libclang, found and loaded at run time.
