//! The files of a project, read for the parsers.

use std::borrow::Borrow;
use std::path::Path;

use kiln_index::{InputFile, ProjectInput};
use rayon::prelude::*;

use crate::document::{self, Skip};
use crate::walk::SourceFile;

/// Reads the files, and names those that cannot be used.
pub(crate) fn read<F: Borrow<SourceFile> + Sync>(
    root: &Path,
    files: &[F],
    max_file_bytes: u64,
) -> (ProjectInput, Vec<(String, Skip)>) {
    let read = |file: &F| document::read_text(&file.borrow().path, max_file_bytes);
    let texts: Vec<_> = files.par_iter().map(read).collect();
    let mut input = ProjectInput { root: root.to_owned(), files: Vec::new() };
    let mut skipped = Vec::new();
    for (file, text) in files.iter().zip(texts) {
        let name = file.borrow().file.clone();
        match text {
            Ok(text) => input.files.push(InputFile { name, text }),
            Err(skip) => skipped.push((name, skip)),
        }
    }
    (input, skipped)
}
