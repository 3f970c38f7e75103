//! `index_projects` and `call_graph` on trees that a test writes, good and bad.

use std::collections::HashSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use kiln_corpus::{
    COMPLETE_MARKER, CorpusError, FilesOptions, GraphOptions, IndexOptions, IndexSummary,
    SkipCause, call_graph, collect_files, index_projects,
};
use kiln_index::ParserChoice;
use serde_json::Value;

struct Tree {
    folder: tempfile::TempDir,
}

impl Tree {
    fn new(files: &[(&str, &str)]) -> Self {
        let tree = Self { folder: tempfile::tempdir().unwrap() };
        files.iter().for_each(|(path, text)| tree.write(path, text.as_bytes()));
        tree
    }

    fn demo() -> Self {
        Self::new(&[
            (
                "demo/LICENSE",
                "Permission is hereby granted, free of charge, to ... \
              The above copyright notice",
            ),
            ("demo/main.cpp", "#include \"util.h\"\n\nint main() { return twice(2); }\n"),
            (
                "demo/util.cpp",
                "#include \"util.h\"\n\n// Adds.\nstatic int add(int a, int b) {\n  return a + b;\n}\n\n\
              int twice(int a) { return add(a, a); }\n",
            ),
            ("demo/util.h", "#pragma once\n#define LIMIT 3\nint twice(int a);\n"),
            ("other/a.c", "static int table[] = {1, 2};\n"),
        ])
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), bytes).unwrap();
    }

    fn options(&self, sources: &[&str]) -> IndexOptions {
        let sources = sources.iter().map(|source| self.path(source));
        let mut options = IndexOptions::new(sources, self.path("out"));
        options.parse.parser = ParserChoice::TreeSitter;
        options
    }

    fn documents(&self, name: &str) -> Vec<Value> {
        let jsonl = fs::read_to_string(self.path("out").join(name)).unwrap();
        jsonl.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Names and contents of everything in the output folder.
    fn out(&self) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(self.path("out")).unwrap().map(Result::unwrap);
        let mut all: Vec<_> = entries
            .map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap()))
            .collect();
        all.sort();
        all
    }
}

fn run(options: &IndexOptions) -> Result<IndexSummary, CorpusError> {
    index_projects(options, None, &|_| ControlFlow::Continue(()))
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn texts(documents: &[Value]) -> Vec<&str> {
    documents.iter().map(|d| d["text"].as_str().unwrap()).collect()
}

#[test]
fn documents_go_bottom_up_across_files() {
    let tree = Tree::demo();
    let summary = run(&tree.options(&["demo"])).unwrap();
    let documents = tree.documents("documents.jsonl");
    let main = &documents[0];
    assert_eq!((&main["file"], &main["name"]), (&"main.cpp".into(), &"main".into()));
    assert_eq!((&main["project"], &main["licence"]), (&"demo".into(), &"MIT".into()));
    assert_eq!(main["level"], 2);
    let text = main["text"].as_str().unwrap();
    assert!(text.starts_with("#include \"util.h\"\n"));
    let places =
        ["// Adds.\nstatic int add(", "int twice(int a) {", "int main()"].map(|p| text.find(p));
    assert!(places.is_sorted() && places.iter().all(Option::is_some), "{text}");
    assert_eq!((summary.totals.functions, summary.totals.edges, summary.totals.levels), (3, 2, 3));
    let marker = fs::read(tree.path("out").join(COMPLETE_MARKER)).unwrap();
    assert_eq!(serde_json::from_slice::<IndexSummary>(&marker).unwrap(), summary);
    // The header has declarations and macros only, which no definition holds.
    assert!(texts(&documents).contains(&"#pragma once\n#define LIMIT 3\nint twice(int a);\n"));
}

#[test]
fn the_same_input_gives_the_same_bytes_on_any_number_of_threads() {
    let tree = Tree::demo();
    let mut options = tree.options(&["demo", "other"]);
    options.output.overwrite = true;
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(&options)).unwrap();
        tree.out()
    };
    let one = on(1);
    assert_eq!(one, on(4));
    assert_eq!(one, on(1));
}

#[test]
fn tokens_are_counted_as_asked_and_bounded() {
    let tree = Tree::demo();
    let body: String = (0..400).map(|at| format!("  step({at});\n")).collect();
    tree.write("demo/long.cpp", format!("#include <x>\nvoid f() {{\n{body}}}\n").as_bytes());
    let mut options = tree.options(&["demo"]);
    options.max_tokens = 100;
    let words = |text: &str| text.split_whitespace().count();
    let progress = |_| ControlFlow::Continue(());
    let summary = index_projects(&options, Some(&words), &progress).unwrap();
    let documents = tree.documents("documents.jsonl");
    assert!(texts(&documents).iter().all(|text| words(text) <= 100));
    let words: usize = texts(&documents).iter().map(|text| words(text)).sum();
    assert_eq!(summary.totals.tokens, words as u64);
    assert!(summary.tokenizer);
}

#[test]
fn what_cannot_be_used_is_named_and_does_not_end_the_run() {
    let tree = Tree::demo();
    tree.write("demo/binary.c", b"int\0a;");
    tree.write("demo/latin1.cpp", b"// caf\xe9\n");
    tree.write("demo/unbalanced.h", b"namespace a { void f() { if (x) {\n");
    tree.write(
        "demo/deep.c",
        format!("int x = {}1{};", "(".repeat(10_000), ")".repeat(10_000)).as_bytes(),
    );
    tree.write("empty/readme.md", b"nothing");
    tree.write("unusable/a.c", b"\0");
    let mut options = tree.options(&["demo", "empty", "unusable"]);
    options.projects = vec![tree.path("no/such/folder")];
    let summary = run(&options).unwrap();
    assert_eq!(summary.projects.len(), 1);
    let failed: Vec<_> = summary.failed_projects.iter().map(|p| p.reason.as_str()).collect();
    assert_eq!(
        failed,
        ["no such folder", "no C or C++ source file", "none of its source files can be used"]
    );
    assert_eq!(summary.skipped[&SkipCause::Binary].count, 2);
    assert_eq!(summary.skipped[&SkipCause::InvalidUtf8].files[0].path, "demo/latin1.cpp");
    let failures: Vec<_> = summary.failures.values().flat_map(|f| &f.files).collect();
    assert!(failures.iter().any(|f| f.path == "demo/unbalanced.h"), "{failures:?}");
    let documents = tree.documents("documents.jsonl");
    assert!(texts(&documents).iter().any(|text| text.contains("namespace a { void f()")));
}

#[cfg(target_os = "linux")]
#[test]
fn link_loops_and_odd_paths_are_borne() {
    use std::os::unix::ffi::OsStrExt;
    let tree = Tree::demo();
    std::os::unix::fs::symlink(tree.path("demo"), tree.path("demo/loop")).unwrap();
    fs::write(tree.path("demo").join(std::ffi::OsStr::from_bytes(b"b\xff.c")), "int a;").unwrap();
    let summary = run(&tree.options(&["demo"])).unwrap();
    assert_eq!(summary.skipped[&SkipCause::SymbolicLink].count, 1);
    assert_eq!(summary.skipped[&SkipCause::PathNotUtf8].count, 1);
    assert_eq!(summary.totals.source_files, 3);
}

#[test]
fn without_anything_to_index_the_reason_is_told() {
    let tree = Tree::new(&[("docs/readme.md", "text"), ("bad/a.c", "\0")]);
    let reason = |sources: &[&str]| run(&tree.options(sources)).unwrap_err();
    assert!(matches!(reason(&[]), CorpusError::NoSources));
    assert!(matches!(reason(&["docs"]), CorpusError::NoSourceFiles { .. }));
    assert!(matches!(reason(&["bad"]), CorpusError::NothingUsable { .. }));
    assert!(matches!(reason(&["none"]), CorpusError::SourceMissing { .. }));
    let mut options = tree.options(&["bad"]);
    options.max_tokens = 10;
    assert!(matches!(run(&options), Err(CorpusError::BadOption { option: "max tokens", .. })));
}

#[test]
fn cancelling_leaves_the_folder_as_it_was() {
    let tree = Tree::demo();
    run(&tree.options(&["other"])).unwrap();
    let before = tree.out();
    let mut options = tree.options(&["demo"]);
    for (overwrite, append) in [(true, false), (false, true)] {
        (options.output.overwrite, options.append) = (overwrite, append);
        let cancelled = index_projects(&options, None, &|_| ControlFlow::Break(()));
        assert!(matches!(cancelled, Err(CorpusError::Cancelled)));
        assert_eq!(tree.out(), before);
    }
}

#[test]
fn projects_are_appended_once() {
    let tree = Tree::demo();
    let mut options = tree.options(&["other"]);
    options.append = true;
    run(&options).unwrap();
    let earlier = fs::read(tree.path("out/documents.jsonl")).unwrap();

    options.sources = vec![tree.path("other"), tree.path("demo")];
    let summary = run(&options).unwrap();
    assert_eq!(summary.kept_projects, ["other"]);
    assert_eq!(summary.projects.len(), 2);
    let names = [COMPLETE_MARKER, "documents-00001.jsonl", "documents.jsonl"];
    assert_eq!(names_in(&tree.path("out")), names);
    assert_eq!(fs::read(tree.path("out/documents.jsonl")).unwrap(), earlier);
    assert!(tree.documents("documents-00001.jsonl").iter().all(|d| d["project"] == "demo"));
    let documents: u64 = summary.files.iter().map(|file| file.documents).sum();
    assert_eq!(documents, summary.totals.documents);

    let before = tree.out();
    let again = run(&options).unwrap();
    assert_eq!(again.kept_projects, ["other", "demo"]);
    assert_eq!(tree.out(), before);
}

#[test]
fn held_out_documents_are_appended_to_their_file() {
    for compress in [false, true] {
        let tree = Tree::demo();
        let more =
            [("more/a.c", "int a() { return 1; }\n"), ("more/b.c", "int b() { return 2; }\n")];
        more.iter().for_each(|(path, text)| tree.write(path, text.as_bytes()));
        let mut options = tree.options(&["demo"]);
        (options.append, options.output.compress, options.validation_share) = (true, compress, 0.6);
        let before = run(&options).unwrap();
        options.sources.push(tree.path("more"));
        let after = run(&options).unwrap();
        let end = if compress { ".jsonl.zst" } else { ".jsonl" };
        let validation = fs::read(tree.path(&format!("out/validation{end}"))).unwrap();
        let jsonl = if compress { zstd::decode_all(&validation[..]).unwrap() } else { validation };
        let lines = jsonl.split(|byte| *byte == b'\n').count() as u64 - 1;
        assert_eq!(lines, after.validation_documents);
        assert!(after.totals.documents > before.totals.documents);
        let sizes = after.files.iter().map(|file| (file.name.as_str(), file.file_bytes));
        for (name, size) in sizes {
            assert_eq!(fs::metadata(tree.path("out").join(name)).unwrap().len(), size, "{name}");
        }
    }
}

#[test]
fn what_a_killed_append_left_is_taken_away() {
    let tree = Tree::demo();
    let mut options = tree.options(&["demo"]);
    (options.append, options.validation_share) = (true, 0.4);
    run(&options).unwrap();
    let before = tree.out();
    tree.write("out/train-00001.jsonl", b"{\"text\": \"half");
    tree.write("out/.kiln-corpus-abc", b"half");
    let mut longer = fs::read(tree.path("out/validation.jsonl")).unwrap();
    longer.extend(b"{\"text\"");
    tree.write("out/validation.jsonl", &longer);
    assert_eq!(run(&options).unwrap().kept_projects, ["demo"]);
    assert_eq!(tree.out(), before);

    fs::write(tree.path("out/train.jsonl"), "").unwrap();
    assert!(matches!(run(&options), Err(CorpusError::CannotAppend { .. })));
}

#[test]
fn only_indexed_documents_of_the_same_form_can_be_appended_to() {
    let tree = Tree::demo();
    let mut options = tree.options(&["demo"]);
    options.append = true;
    let files = FilesOptions::new([tree.path("other")], tree.path("out"));
    collect_files(&files, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(matches!(run(&options), Err(CorpusError::CannotAppend { .. })));

    fs::remove_dir_all(tree.path("out")).unwrap();
    run(&options).unwrap();
    options.validation_share = 0.5;
    assert!(matches!(run(&options), Err(CorpusError::CannotAppend { .. })));
    options.validation_share = 0.0;
    let progress = |_| ControlFlow::Continue(());
    let tokens = index_projects(&options, Some(&str::len), &progress);
    assert!(matches!(tokens, Err(CorpusError::CannotAppend { .. })));
    options.append = false;
    assert!(matches!(run(&options), Err(CorpusError::OutputFinished { .. })));
}

#[test]
fn the_files_that_are_held_out_are_those_of_plain_documents() {
    let tree = Tree::new(&[]);
    for at in 0..40 {
        let callee = (at + 1) % 40;
        let text = format!("int f{callee}();\nint f{at}() {{\n  return f{callee}() + {at};\n}}\n");
        tree.write(&format!("p/{at}.c"), text.as_bytes());
    }
    let mut options = tree.options(&["p"]);
    options.validation_share = 0.3;
    run(&options).unwrap();
    let mut plain = FilesOptions::new([tree.path("p")], tree.path("plain"));
    plain.validation_share = 0.3;
    collect_files(&plain, &mut |_| ControlFlow::Continue(())).unwrap();

    let lines = |path: &str| -> HashSet<String> {
        let jsonl = fs::read_to_string(tree.path(path)).unwrap();
        let texts = jsonl.lines().map(|line| {
            let document: Value = serde_json::from_str(line).unwrap();
            document["text"].as_str().unwrap().to_owned()
        });
        let code = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
        texts.flat_map(code).filter(|line| line.contains("return")).collect()
    };
    assert_eq!(lines("out/train.jsonl"), lines("plain/train.jsonl"));
    assert_eq!(lines("out/validation.jsonl"), lines("plain/validation.jsonl"));
    assert!(lines("out/train.jsonl").is_disjoint(&lines("out/validation.jsonl")));
}

#[test]
fn folders_of_projects_and_lists_go_together() {
    let tree = Tree::demo();
    tree.write("src/a/x.c", b"int x() { return 1; }\n");
    tree.write("src/b/y.c", b"int y() { return 1; }\n");
    let mut options = tree.options(&["src"]);
    options.projects_dir = true;
    options.projects = vec![tree.path("demo"), tree.path("other")];
    let summary = run(&options).unwrap();
    let names: Vec<_> = summary.projects.iter().map(|project| project.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "demo", "other"]);
    let files = summary.projects.iter().map(|project| project.totals.source_files);
    assert_eq!(files.sum::<u64>(), summary.totals.source_files);
}

#[test]
fn the_call_graph_of_a_folder_can_be_asked() {
    let tree = Tree::demo();
    let mut options = GraphOptions::new(tree.path("demo"));
    options.parse.parser = ParserChoice::TreeSitter;
    let graph = call_graph(&options, &|_, _| ControlFlow::Continue(())).unwrap();
    let twice = graph.find("twice")[0].id;
    let name = |function: &kiln_corpus::GraphFunction| function.qualified_name.clone();
    assert_eq!(graph.callers(twice).map(name).collect::<Vec<_>>(), ["main"]);
    assert_eq!(graph.callees(twice).map(name).collect::<Vec<_>>(), ["add"]);
    assert_eq!((graph.functions[twice as usize].line, graph.edges()), (8, 2));

    let cancelled = call_graph(&options, &|_, _| ControlFlow::Break(()));
    assert!(matches!(cancelled, Err(CorpusError::Cancelled)));
    let missing = call_graph(&GraphOptions::new(tree.path("none")), &|_, _| ControlFlow::Break(()));
    assert!(matches!(missing, Err(CorpusError::SourceMissing { .. })));
}
