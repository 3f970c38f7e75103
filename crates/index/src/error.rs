//! What can go wrong beyond the faults of single files, which are data.

use std::path::PathBuf;

use thiserror::Error;

/// Why a project could not be parsed at all.
#[derive(Debug, Error)]
pub enum IndexError {
    /// The libclang that was asked for cannot be used.
    #[error("{path}: not a usable libclang: {detail}", path = path.display())]
    Libclang {
        /// The library's file.
        path: PathBuf,
        /// What the loader said.
        detail: String,
    },
    /// The compile database cannot be read.
    #[error("{path}: cannot be read", path = path.display())]
    ReadCompileCommands {
        /// The database's file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A compile database cannot be written.
    #[error("{path}: cannot be written", path = path.display())]
    WriteCompileCommands {
        /// The database's file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The compile database is not what it should be.
    #[error("{path}: not a compile database: {detail}", path = path.display())]
    CompileCommands {
        /// The database's file.
        path: PathBuf,
        /// What is wrong, with the line or entry.
        detail: String,
    },
    /// A temporary file or folder could not be made.
    #[error("cannot make a temporary folder")]
    Temporary {
        /// The cause.
        source: std::io::Error,
    },
}
