//! Prints what the embedded parser finds in a folder as JSON, for `scripts/check_callgraph.py`.
use std::path::{Path, PathBuf};
use std::time::Instant;

use kiln_index::{InputFile, ProjectInput};
use serde_json::json;

fn read(root: &Path, folder: &Path, files: &mut Vec<InputFile>) {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            read(root, &path, files);
            continue;
        }
        let source = matches!(
            path.extension().and_then(|e| e.to_str()),
            Some("c" | "cc" | "cpp" | "cxx" | "h" | "hh" | "hpp" | "hxx" | "inc" | "ipp")
        );
        if let (true, Ok(text)) = (source, std::fs::read_to_string(&path)) {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            files.push(InputFile { name, text });
        }
    }
}

fn main() {
    let root = PathBuf::from(std::env::args().nth(1).expect("a folder"));
    let mut files = Vec::new();
    read(&root, &root, &mut files);
    let bytes: usize = files.iter().map(|file| file.text.len()).sum();
    let start = Instant::now();
    let project = kiln_index::tree_sitter::parse(ProjectInput { root, files });
    let seconds = start.elapsed().as_secs_f64();
    eprintln!(
        "{} files, {} definitions, {} calls, {} failures, {} errors, {:.1} MB in {seconds:.2} s, {:.1} MB/s",
        project.files.len(),
        project.definitions.len(),
        project.calls.len(),
        project.failures.len(),
        project.errors,
        bytes as f64 / 1e6,
        bytes as f64 / 1e6 / seconds
    );
    let functions: Vec<_> = project
        .definitions
        .iter()
        .enumerate()
        .filter(|(_, d)| d.kind.is_function())
        .map(|(id, d)| json!({"id": id, "qualified_name": d.qualified_name, "file": project.files[d.file as usize].name, "line": d.line, "key": d.key, "from_macro": d.from_macro}))
        .collect();
    println!("{}", json!({"functions": functions, "edges": project.calls}));
}
