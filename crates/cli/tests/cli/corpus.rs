//! `kiln corpus`.

use crate::kiln::{Folder, samples};
use serde_json::Value;

fn texts(jsonl: &[u8]) -> Vec<String> {
    let lines = std::str::from_utf8(jsonl).unwrap().lines();
    let text = |line| {
        let document: Value = serde_json::from_str(line).unwrap();
        document["text"].as_str().unwrap().to_owned()
    };
    lines.map(text).collect()
}

#[test]
fn files_become_documents() {
    let folder = Folder::new();
    folder.write("demo/a.cpp", "int a;\n").write("demo/sub/b.h", "int b;\n");
    let ran = folder.run("corpus files demo --out d");
    let table = ran.success();
    assert!(table.contains("demo") && table.contains("wrote documents.jsonl to d"), "{table}");
    assert_eq!(texts(&folder.read("d/documents.jsonl")), ["int a;\n", "int b;\n"]);
    assert!(folder.path("d/_COMPLETE").exists());
}

#[test]
fn unusable_files_are_counted_named_and_skipped() {
    let folder = Folder::new();
    folder
        .write("demo/good.cpp", "int a;\n")
        .write("demo/binary.cpp", b"int\0a;")
        .write("demo/latin1.cpp", b"// \xe9\n")
        .write("demo/large.cpp", "x".repeat(600))
        .write("demo/empty.cpp", " \n")
        .write("demo/notes.md", "text");
    let ran = folder.run("corpus files demo --out d --max-file-bytes 500");
    let table = ran.success();
    for part in ["binary", "invalid UTF-8", "too large", "empty", "demo/latin1.cpp"] {
        assert!(table.contains(part), "`{part}` is not in: {table}");
    }
    let json = folder.run("corpus files demo --out e --max-file-bytes 500 --json").json();
    assert_eq!(json["documents"], 1);
    assert_eq!(json["other_files"], 1);
    for (cause, file) in [
        ("binary", "demo/binary.cpp"),
        ("invalid_utf8", "demo/latin1.cpp"),
        ("too_large", "demo/large.cpp"),
        ("empty", "demo/empty.cpp"),
    ] {
        assert_eq!(json["skipped"][cause]["count"], 1, "{cause}");
        assert_eq!(json["skipped"][cause]["files"][0]["path"], file);
    }
}

#[test]
fn sources_without_documents_are_refused() {
    let folder = Folder::new();
    folder.write("bad/a.cpp", b"\0").write("docs/readme.md", "text").write("a.cpp", "int a;");
    folder.run("corpus files no/such/folder --out d").fails(1, &["error: ", "no/such/folder"]);
    folder.run("corpus files a.cpp --out d").fails(1, &["a.cpp is not a folder", "hint: "]);
    folder.run("corpus files docs --out d").fails(1, &["no C or C++ source file", "docs", ".cpp"]);
    folder.run("corpus files bad --out d").fails(1, &["1 binary", "bad/a.cpp"]);
    folder.run("corpus files bad ./bad --out d").fails(1, &["written twice"]);
    assert!(!folder.path("d/_COMPLETE").exists());
}

#[test]
fn finished_documents_are_replaced_only_when_asked() {
    let folder = Folder::new();
    folder.write("one/a.cpp", "int a;").write("two/b.cpp", "int b;");
    folder.run("corpus files one --out d").success();
    folder.run("corpus files two --out d").fails(1, &["d already holds", "--overwrite"]);
    assert_eq!(texts(&folder.read("d/documents.jsonl")), ["int a;"]);
    folder.run("corpus files two --out d --overwrite").success();
    assert_eq!(texts(&folder.read("d/documents.jsonl")), ["int b;"]);
}

#[test]
fn options_reach_the_corpus() {
    let folder = Folder::new();
    for project in ["src/one", "src/two"] {
        folder
            .write(&format!("{project}/a.cpp"), format!("int {};", project.replace('/', "_")))
            .write(&format!("{project}/vendor/v.cpp"), "int vendored;")
            .write(&format!("{project}/test-1/t.cpp"), "int test;");
    }
    let summary = |flags: &str| {
        folder.run(&format!("corpus files src --out d --overwrite --json {flags}")).json()
    };
    assert_eq!(summary("")["documents"], 4);
    assert_eq!(summary("--skip test-* --skip on*")["documents"], 1);
    assert_eq!(summary("--no-default-skip")["documents"], 6);
    assert_eq!(summary("--projects-dir")["projects"][1]["name"], "two");
    assert_eq!(summary("--shard-bytes 1")["files"].as_array().unwrap().len(), 4);
    let held_out = summary("--validation-share 0.3 --compress");
    assert!(held_out["validation_documents"].as_u64().unwrap() >= 1);
    assert_eq!(held_out["files"][1]["name"], "validation.jsonl.zst");
}

#[test]
fn quiet_prints_no_summary_but_json_when_asked() {
    let folder = Folder::new();
    folder.write("demo/a.cpp", "int a;");
    let ran = folder.run("corpus files demo --out d --quiet");
    assert_eq!((ran.success(), ran.stderr.as_str()), ("", ""));
    let ran = folder.run("--quiet corpus files demo --out e --json");
    assert_eq!(ran.json()["documents"], 1);
}

#[test]
fn samples_give_the_same_bytes_on_any_number_of_threads() {
    let folder = Folder::new();
    let run = |out: &str, threads: usize| {
        let line = format!("corpus files {} --projects-dir --out {out}", samples());
        folder.run(&format!("{line} --threads {threads}")).success();
        folder.read(&format!("{out}/documents.jsonl"))
    };
    assert_eq!(run("one", 1), run("three", 3));
}
