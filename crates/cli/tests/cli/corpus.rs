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

/// A project whose `main` in one file calls a function of another.
fn two_files() -> Folder {
    let folder = Folder::new();
    folder
        .write("demo/main.cpp", "#include \"one.h\"\n\nint main() { return app::one(1); }\n")
        .write("demo/one.cpp", "#include \"one.h\"\n\nint app::one(int a) {\n  return a;\n}\n")
        .write("demo/one.h", "#pragma once\nnamespace app { int one(int); }\n");
    folder
}

#[test]
fn projects_are_indexed_bottom_up() {
    let folder = two_files();
    folder.write("list.txt", "# one a line\n\ndemo\nmissing\n");
    let ran = folder
        .run("corpus index --projects-list list.txt --out d --parser tree-sitter --max-tokens 100");
    let table = ran.success();
    for part in ["demo", "tree-sitter", "Functions", "bytes of documents", "documents.jsonl"] {
        assert!(table.contains(part), "`{part}` is not in: {table}");
    }
    let documents = texts(&folder.read("d/documents.jsonl"));
    let main = documents.iter().find(|text| text.contains("int main")).unwrap();
    assert!(main.starts_with("#include \"one.h\"\n"));
    assert!(main.find("int app::one(int a)") < main.find("int main"), "{main}");

    let again = "corpus index demo --out d --parser tree-sitter";
    folder.run(again).fails(1, &["d already holds", "--overwrite"]);
    let json = folder.run(&format!("{again} --append --json")).json();
    assert_eq!(json["kept_projects"][0], "demo");
    assert_eq!(json["totals"]["functions"], 2);
    folder.run("corpus index missing --out e").fails(1, &["missing does not exist"]);
    folder.run("corpus index --out e").fails(2, &["SRC"]);
    folder.run("corpus index demo --out d --append --overwrite").fails(2, &["--overwrite"]);
}

#[test]
fn a_tokenizer_counts_the_tokens_of_documents() {
    let folder = Folder::new();
    let samples = samples();
    folder.run(&format!("corpus files {samples} --out plain")).success();
    folder.run("tokenizer train --kind bpe --vocab-size 512 --data plain --out t").success();
    let index = format!("corpus index {samples} --out d --parser tree-sitter --tokenizer t");
    let json = folder.run(&format!("{index} --max-tokens 700 --json")).json();
    let mut all = 0;
    for text in texts(&folder.read("d/documents.jsonl")) {
        let encode = "tokenizer encode --tokenizer t --format u32le";
        let tokens = folder.run_with_input(encode, text.as_bytes()).bytes.len() / 4;
        assert!(tokens <= 700, "{tokens}: {text}");
        all += tokens;
    }
    assert_eq!(json["totals"]["tokens"], all);
}

#[test]
fn call_graphs_are_shown_in_three_formats() {
    let folder = two_files();
    let graph = "corpus graph demo --parser tree-sitter";
    let ran = folder.run(&format!("{graph} --function one"));
    assert_eq!(ran.success(), "app::one  one.cpp:3\n  called by main  main.cpp:3\n");
    let json = folder.run(&format!("{graph} --format json")).json();
    assert_eq!(json["functions"][1]["qualified_name"], "app::one");
    assert_eq!(json["functions"][1]["file"], "one.cpp");
    assert_eq!(json["edges"], serde_json::json!([[0, 1]]));
    let dot = folder.run(&format!("{graph} --dot"));
    assert!(dot.success().starts_with("digraph calls {\n") && dot.success().contains("f0 -> f1;"));
    folder.run(&format!("{graph} --format json --out g.json")).success();
    let written: Value = serde_json::from_slice(&folder.read("g.json")).unwrap();
    assert_eq!(written, json);
    folder.run(&format!("{graph} --function mian")).fails(1, &["no function `mian`", "main"]);
}
