//! `kiln corpus pairs`, `shard` and `stats`.

use std::fs;

use crate::kiln::Folder;

/// Sources of which every file is a document of its own.
fn sources() -> Folder {
    let folder = Folder::new();
    for n in 0..30 {
        let words: Vec<String> = (0..40).map(|k| format!("v{n}_{k}")).collect();
        let text = format!(
            "// Adds {n} values.\nint f{n}() {{ g({n}); return {}; }}\n",
            words.join(" + ")
        );
        folder.write(&format!("src/f{n}.cc"), text);
    }
    folder
}

#[test]
fn documents_become_shards() {
    let folder = sources();
    folder.write("src/copy.cc", folder.read("src/f1.cc"));
    folder.write("src/generated.cc", "// @generated\nint generated;\n");
    folder.run("corpus files src --out d").success();
    let ran = folder.run("corpus shard d --out s --validation-share 0.1");
    let table = ran.success();
    for part in
        ["training", "validation", "duplicate", "generated", "src/", "wrote train-00000.parquet"]
    {
        assert!(table.contains(part), "`{part}` is not in: {table}");
    }
    assert!(folder.path("s/_COMPLETE").exists() && folder.path("s/validation.parquet").exists());
    let json =
        folder.run("corpus shard d --out t --format jsonl --validation-share 0.1 --json").json();
    assert_eq!(
        (json["documents"].as_u64(), json["validation_documents"].as_u64()),
        (Some(30), Some(3))
    );
    assert_eq!(json["dropped"]["duplicate"]["count"], 1);
    folder.run("corpus shard d --out t").fails(1, &["t already holds", "--overwrite"]);
    folder.run("corpus shard d --out t --overwrite --seed 4 --documents-per-shard 10").success();
    assert!(
        folder.path("t/train-00002.parquet").exists()
            && !folder.path("t/train-00000.jsonl").exists()
    );

    let stats = folder.run("corpus stats t --json").json();
    assert_eq!(stats["total"]["documents"], 30);
    let ran = folder.run("corpus stats t");
    let table = ran.success();
    for part in ["train-00000.parquet", "Bytes/4", "median", "near copies", "src"] {
        assert!(table.contains(part), "`{part}` is not in: {table}");
    }
}

#[test]
fn damaged_documents_are_named() {
    let folder = sources();
    folder.run("corpus files src --out d").success();
    folder.write("d/bad.parquet", "PAR1 is not enough");
    let ran = folder.run("corpus shard d --out s");
    ran.success();
    assert!(
        ran.stderr.contains("1 damaged files") && ran.stderr.contains("bad.parquet"),
        "{}",
        ran.stderr
    );
    folder.run("corpus shard d --out t --strict").fails(1, &["bad.parquet", "--strict"]);
    folder.run("corpus stats d --strict").fails(1, &["bad.parquet"]);
    folder.run("corpus shard none --out t").fails(1, &["none does not exist"]);
    folder.run("corpus shard d --out t --dedup 2").fails(2, &["--dedup"]);
    folder
        .run("corpus shard d --out t --documents-per-shard 5 --shard-bytes 5")
        .fails(2, &["cannot be used with"]);
    assert!(!folder.path("t/_COMPLETE").exists());
}

#[test]
fn documented_functions_become_pairs() {
    let folder = sources();
    let ran = folder.run("corpus pairs src --out p --parser tree-sitter");
    let table = ran.success();
    assert!(table.contains("30") && table.contains("wrote documents.jsonl to p"), "{table}");
    let first = fs::read_to_string(folder.path("p/documents.jsonl")).unwrap();
    assert!(
        first.starts_with(
            "{\"docstring\":\"Adds 0 values.\",\"signature\":\"int f0()\",\"body\":\" g(0); "
        ),
        "{first}"
    );
    folder.run("corpus shard p --out s").success();
    folder
        .run("corpus pairs src --out q --parser tree-sitter --min-docstring-bytes 500")
        .fails(1, &["too short"]);
    assert!(!folder.path("q/_COMPLETE").exists());
}
