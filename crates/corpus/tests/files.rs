//! `collect_files` on trees that a test writes, good and bad.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use kiln_corpus::{
    COMPLETE_MARKER, CorpusError, FilesOptions, FilesSummary, SkipCause, Split, collect_files,
};
use serde_json::Value;

struct Tree {
    folder: tempfile::TempDir,
}

impl Tree {
    fn new(files: &[(&str, &str)]) -> Self {
        let tree = Self { folder: tempfile::tempdir().unwrap() };
        for (path, text) in files {
            tree.write(path, text.as_bytes());
        }
        tree
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), bytes).unwrap();
    }

    fn options(&self, sources: &[&str]) -> FilesOptions {
        FilesOptions::new(sources.iter().map(|s| self.path(s)), self.path("out"))
    }

    fn documents(&self, name: &str) -> Vec<Value> {
        parse(&fs::read(self.path("out").join(name)).unwrap())
    }
}

fn parse(jsonl: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(jsonl).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn run(options: &FilesOptions) -> Result<FilesSummary, CorpusError> {
    collect_files(options, &mut |_| ControlFlow::Continue(()))
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn files_of(documents: &[Value]) -> Vec<&str> {
    documents.iter().map(|d| d["file"].as_str().unwrap()).collect()
}

#[test]
fn one_document_per_file_in_the_order_of_path_bytes() {
    let tree = Tree::new(&[
        ("proj/a/x.c", "int x;"),
        ("proj/a-b/y.HPP", "int y;"),
        ("proj/Z.cc", "int z;"),
        ("proj/notes.md", "no code"),
        ("proj/cmake", "no extension"),
    ]);
    let summary = run(&tree.options(&["proj"])).unwrap();
    let documents = tree.documents("documents.jsonl");
    // `-` sorts before `/`, so folders listed one after the other would give another order.
    assert_eq!(files_of(&documents), ["Z.cc", "a-b/y.HPP", "a/x.c"]);
    assert_eq!(documents[2]["text"], "int x;");
    assert!(documents.iter().all(|d| d["project"] == "proj"));
    assert_eq!((summary.documents, summary.text_bytes, summary.other_files), (3, 18, 2));
    assert_eq!(summary.files.len(), 1);
    assert_eq!(summary.files[0].split, Split::All);
    assert_eq!(names_in(&tree.path("out")), [COMPLETE_MARKER, "documents.jsonl"]);
    let marker = fs::read(tree.path("out").join(COMPLETE_MARKER)).unwrap();
    assert_eq!(serde_json::from_slice::<FilesSummary>(&marker).unwrap(), summary);
}

#[test]
fn every_extension_counts_in_either_case() {
    let names = [
        "c", "cc", "cpp", "cxx", "h", "hh", "hpp", "hxx", "inc", "inl", "ipp", "tcc", "tpp", "txx",
    ];
    let tree = Tree::new(&[("p/x.cu", "no"), ("p/.c", "a hidden file, not an extension")]);
    for name in names {
        tree.write(&format!("p/lower.{name}"), b"int a;");
        tree.write(&format!("p/upper.{}", name.to_uppercase()), b"int a;");
    }
    assert_eq!(run(&tree.options(&["p"])).unwrap().documents, 2 * names.len() as u64);
}

#[test]
fn the_skip_list_can_be_extended_and_replaced() {
    let tree = Tree::new(&[
        ("build/ok.c", "a source itself is entered whatever its name"),
        ("build/third_party/x.c", "x"),
        ("build/sub/cmake-build-debug/x.c", "x"),
        ("build/mine/x.c", "x"),
    ]);
    let mut options = tree.options(&["build"]);
    let summary = run(&options).unwrap();
    assert_eq!((summary.documents, summary.skipped_folders), (2, 2));

    options.output.overwrite = true;
    options.filter.skip.push("min?".to_owned());
    assert_eq!(run(&options).unwrap().documents, 2, "? is an ordinary character");
    options.filter.skip.push("min*".to_owned());
    assert_eq!(run(&options).unwrap().documents, 1);
    options.filter.skip = Vec::new();
    assert_eq!(run(&options).unwrap().documents, 4);
}

#[test]
fn bad_files_are_counted_by_cause_and_skipped() {
    let tree = Tree::new(&[("p/good.c", "int a;"), ("p/empty.c", ""), ("p/blank.h", "\n \n")]);
    tree.write("p/binary.c", b"int\0a;");
    tree.write("p/latin1.cpp", b"// caf\xe9\n");
    tree.write("p/big.inc", &vec![b'x'; 500_001]);
    tree.write("p/limit.inc", &vec![b'x'; 500_000]);
    let summary = run(&tree.options(&["p"])).unwrap();
    assert_eq!(summary.documents, 2);
    let count = |cause| summary.skipped.get(&cause).map_or(0, |s| s.count);
    assert_eq!(count(SkipCause::Empty), 2);
    assert_eq!(count(SkipCause::Binary), 1);
    assert_eq!(count(SkipCause::InvalidUtf8), 1);
    assert_eq!(count(SkipCause::TooLarge), 1);
    assert_eq!(summary.skipped_files(), 5);
    let bad = &summary.skipped[&SkipCause::InvalidUtf8].files[0];
    assert_eq!((bad.path.as_str(), bad.detail.as_str()), ("p/latin1.cpp", "bad byte at offset 6"));
    assert_eq!(
        summary.describe_skipped(),
        "1 too large (p/big.inc: 500001 bytes, the limit is 500000), \
         1 binary (p/binary.c: NUL byte at offset 3), \
         1 invalid UTF-8 (p/latin1.cpp: bad byte at offset 6), \
         2 empty (p/blank.h: 3 bytes)"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn links_loops_sockets_and_odd_names_are_reported() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    let tree = Tree::new(&[("p/a.c", "int a;"), ("p/sub/b.c", "int b;")]);
    symlink(tree.path("p"), tree.path("p/sub/loop")).unwrap();
    symlink(tree.path("p/a.c"), tree.path("p/again.c")).unwrap();
    symlink("nowhere", tree.path("p/dangling.c")).unwrap();
    symlink("nowhere", tree.path("p/dangling.txt")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(tree.path("p/socket.c")).unwrap();
    fs::write(tree.path("p").join(OsStr::from_bytes(b"bad\xff.c")), "int c;").unwrap();

    let summary = run(&tree.options(&["p"])).unwrap();
    assert_eq!(summary.documents, 2);
    assert_eq!(summary.skipped[&SkipCause::SymbolicLink].count, 3);
    assert_eq!(summary.skipped[&SkipCause::NotRegularFile].files[0].path, "p/socket.c");
    assert_eq!(summary.skipped[&SkipCause::PathNotUtf8].files[0].path, "p/bad\u{fffd}.c");
    assert_eq!(summary.other_files, 1);
}

#[test]
fn a_source_that_is_missing_empty_or_a_file_is_named() {
    let tree = Tree::new(&[("p/readme.txt", "x"), ("bad/a.c", "\0")]);
    let missing = run(&tree.options(&["nowhere"])).unwrap_err();
    assert!(matches!(missing, CorpusError::SourceMissing { .. }));
    assert!(missing.to_string().contains("nowhere"), "{missing}");
    let empty = run(&tree.options(&["p"])).unwrap_err();
    assert!(matches!(empty, CorpusError::NoSourceFiles { .. }));
    assert!(empty.to_string().contains(&tree.path("p").display().to_string()), "{empty}");
    let file = run(&tree.options(&["p/readme.txt"])).unwrap_err();
    assert!(matches!(file, CorpusError::SourceNotFolder { .. }));
    let unusable = run(&tree.options(&["bad"])).unwrap_err();
    assert!(unusable.to_string().contains("bad/a.c: NUL byte at offset 0"), "{unusable}");
    assert!(matches!(run(&tree.options(&[])), Err(CorpusError::NoSources)));
    assert!(!tree.path("out").join(COMPLETE_MARKER).exists());
}

#[test]
fn overlapping_sources_are_refused_in_either_order() {
    let tree = Tree::new(&[("p/sub/a.c", "int a;")]);
    for sources in [["p", "p/sub"], ["p/sub", "p"]] {
        match run(&tree.options(&sources)) {
            Err(CorpusError::SourcesOverlap { outer, inner }) => {
                assert_eq!((outer, inner), (tree.path("p"), tree.path("p/sub")));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(run(&tree.options(&["p", "p/."])), Err(CorpusError::SourcesOverlap { .. })));
}

#[test]
fn projects_are_sources_or_their_subfolders() {
    let tree = Tree::new(&[
        ("all/beta/src/b.c", "int b;"),
        ("all/alpha/a.c", "int a;"),
        ("all/loose.c", "int l;"),
        ("other/beta/c.c", "int c;"),
        ("all/alpha/LICENSE", "Apache License Version 2.0, January 2004"),
    ]);
    let mut options = tree.options(&["all", "other/beta"]);
    let summary = run(&options).unwrap();
    let names: Vec<_> = summary.projects.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["all", "beta"]);

    options = tree.options(&["all", "other"]);
    options.projects_dir = true;
    options.output.overwrite = true;
    let summary = run(&options).unwrap();
    let names: Vec<_> = summary.projects.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["alpha", "beta", "all", "beta-2"]);
    let documents = tree.documents("documents.jsonl");
    assert_eq!(files_of(&documents), ["a.c", "src/b.c", "loose.c", "c.c"]);
    assert_eq!(documents[0]["licence"], "Apache-2.0");
    assert_eq!(documents[1].get("licence"), None);
}

#[test]
fn held_out_documents_come_last_and_are_chosen_by_content() {
    let files: Vec<_> = (0..400)
        .map(|n| (format!("p/f{n}.c"), format!("int f{n}() {{ return {n}; }}\n")))
        .collect();
    let tree = Tree::new(&[]);
    for (path, text) in &files {
        tree.write(path, text.as_bytes());
    }
    let mut options = tree.options(&["p"]);
    options.validation_share = 0.1;
    options.output.shard_bytes = Some(4000);
    let summary = run(&options).unwrap();
    assert!((15..=70).contains(&summary.validation_documents), "{}", summary.validation_documents);
    let names = names_in(&tree.path("out"));
    assert_eq!(names.last().unwrap(), "validation.jsonl");
    assert!(names.len() > 5, "{names:?}");
    let validation = tree.documents("validation.jsonl");
    assert_eq!(validation.len() as u64, summary.validation_documents);

    // Another file changes nothing for the others.
    tree.write("p/new.c", b"int another;");
    options.output.overwrite = true;
    options.output.shard_bytes = None;
    run(&options).unwrap();
    let mut again = tree.documents("validation.jsonl");
    again.retain(|d| d["file"] != "new.c");
    assert_eq!(again, validation);
    assert_eq!(names_in(&tree.path("out")), [COMPLETE_MARKER, "train.jsonl", "validation.jsonl"]);
}

#[test]
fn two_documents_always_give_both_sides() {
    for (share, salt) in [(0.001, "a"), (0.001, "b"), (0.999, "a"), (0.999, "b")] {
        let tree = Tree::new(&[]);
        tree.write("p/x.c", format!("int x_{salt};").as_bytes());
        tree.write("p/y.c", format!("int y_{salt};").as_bytes());
        let mut options = tree.options(&["p"]);
        options.validation_share = share;
        assert_eq!(run(&options).unwrap().validation_documents, 1);
        assert_eq!(tree.documents("train.jsonl").len(), 1);
        assert_eq!(tree.documents("validation.jsonl").len(), 1);
    }
}

#[test]
fn compressed_documents_are_the_same_documents() {
    let tree = Tree::new(&[("p/a.c", "int a; // ü"), ("p/b.c", "int b;")]);
    let mut options = tree.options(&["p"]);
    run(&options).unwrap();
    let plain = fs::read(tree.path("out/documents.jsonl")).unwrap();
    options.output.compress = true;
    options.output.overwrite = true;
    run(&options).unwrap();
    assert_eq!(names_in(&tree.path("out")), [COMPLETE_MARKER, "documents.jsonl.zst"]);
    let packed = fs::read(tree.path("out/documents.jsonl.zst")).unwrap();
    assert_eq!(zstd::decode_all(&packed[..]).unwrap(), plain);
}

#[test]
fn a_finished_folder_survives_unless_overwriting_is_asked_for() {
    let tree = Tree::new(&[("p/a.c", "int a;")]);
    let mut options = tree.options(&["p"]);
    run(&options).unwrap();
    let before = fs::read(tree.path("out/documents.jsonl")).unwrap();
    tree.write("p/a.c", b"int changed;");
    assert!(matches!(run(&options), Err(CorpusError::OutputFinished { .. })));
    assert_eq!(fs::read(tree.path("out/documents.jsonl")).unwrap(), before);

    // Nor does a run that fails or is stopped touch it.
    options.output.overwrite = true;
    let stopped = collect_files(&options, &mut |_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(CorpusError::Cancelled)));
    assert_eq!(fs::read(tree.path("out/documents.jsonl")).unwrap(), before);
    assert_eq!(names_in(&tree.path("out")), [COMPLETE_MARKER, "documents.jsonl"]);
}

#[test]
fn an_unfinished_folder_is_cleaned_and_a_foreign_one_refused() {
    let tree = Tree::new(&[("p/a.c", "int a;"), ("out/train-00003.jsonl", "left over\n")]);
    tree.write("out/.kiln-corpus-x1", b"left over by a kill");
    tree.write("out/keep.txt", b"mine");
    run(&tree.options(&["p"])).unwrap();
    assert_eq!(names_in(&tree.path("out")), [COMPLETE_MARKER, "documents.jsonl", "keep.txt"]);

    let tree = Tree::new(&[("p/a.c", "int a;"), ("out/shard.jsonl", "somebody's\n")]);
    let error = run(&tree.options(&["p"])).unwrap_err();
    assert!(error.to_string().contains("shard.jsonl"), "{error}");
    assert_eq!(names_in(&tree.path("out")), ["shard.jsonl"]);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let tree = Tree::new(&[]);
    for n in 0..1500 {
        tree.write(&format!("p/d{}/f{n}.c", n % 7), format!("int f{n};").as_bytes());
    }
    let mut options = tree.options(&["p"]);
    options.validation_share = 0.05;
    let mut calls = Vec::new();
    let keep = |calls: &mut Vec<_>, progress| {
        calls.push(progress);
        ControlFlow::Continue(())
    };
    let first = collect_files(&options, &mut |p| keep(&mut calls, p)).unwrap();
    let train = fs::read(tree.path("out/train.jsonl")).unwrap();
    options.output.overwrite = true;
    assert_eq!(run(&options).unwrap(), first);
    assert_eq!(fs::read(tree.path("out/train.jsonl")).unwrap(), train);

    let last = calls.last().unwrap();
    assert!(calls.len() >= 3 && calls.is_sorted_by_key(|p| p.files));
    assert_eq!((last.files, last.bytes), (1500, last.total_bytes));
}

#[test]
fn an_output_path_that_is_a_file_is_named_and_kept() {
    let tree = Tree::new(&[("p/a.c", "int a;"), ("out", "a file")]);
    let error = run(&tree.options(&["p"])).unwrap_err();
    assert!(matches!(&error, CorpusError::Io { path, .. } if *path == tree.path("out")), "{error}");
    assert_eq!(fs::read(tree.path("out")).unwrap(), b"a file");
}

#[test]
fn shares_outside_the_range_are_refused() {
    let tree = Tree::new(&[("p/a.c", "int a;")]);
    for share in [-0.1, 1.0, f64::NAN] {
        let mut options = tree.options(&["p"]);
        options.validation_share = share;
        assert!(matches!(run(&options), Err(CorpusError::BadOption { .. })), "{share}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(100))]

    /// Whatever the bytes, a file becomes a document with exactly its text, or is counted as skipped.
    #[test]
    fn no_file_is_lost_or_altered(
        contents in proptest::collection::vec(
            proptest::collection::vec(proptest::prop_oneof![
                4 => b' '..b'~',
                1 => proptest::prelude::any::<u8>(),
            ], 0..40),
            1..12,
        ),
        share in 0.0..0.9f64,
    ) {
        let tree = Tree::new(&[("p/zz_usable.c", "int usable;")]);
        for (n, content) in contents.iter().enumerate() {
            tree.write(&format!("p/{n:02}.c"), content);
        }
        let mut options = tree.options(&["p"]);
        options.validation_share = share;
        let summary = run(&options).unwrap();
        assert_eq!((summary.documents + summary.skipped_files()) as usize, contents.len() + 1);

        let names = summary.files.iter().map(|f| f.name.as_str());
        for document in names.flat_map(|name| tree.documents(name)) {
            let file = tree.path("p").join(document["file"].as_str().unwrap());
            assert_eq!(fs::read(file).unwrap(), document["text"].as_str().unwrap().as_bytes());
        }
    }
}
