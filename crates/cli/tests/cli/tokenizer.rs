//! `kiln tokenizer`.

use crate::kiln::{Folder, samples};

/// A folder with a tokenizer in `t` that has merges.
fn with_tokenizer() -> Folder {
    let folder = Folder::new();
    let line = format!("tokenizer train --quiet --vocab-size 600 --data {} --out t", samples());
    folder.run(&line).success();
    folder
}

/// Bytes of every value, text of more than one alphabet, broken UTF-8 and a special token's name.
fn any_bytes() -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
    bytes.extend_from_slice("int größe = 世界; // 🙂\r\n\t<|bos|>".as_bytes());
    bytes.extend_from_slice(b"\xf0\x9f\x98 \xc3\x28 \xed\xa0\x80");
    bytes
}

#[test]
fn any_bytes_come_back_in_every_format() {
    let folder = with_tokenizer();
    for format in ["text", "json", "u32le"] {
        for bytes in [any_bytes(), Vec::new(), b"\n".to_vec()] {
            let encode = format!("tokenizer encode --tokenizer t --format {format}");
            let ids = folder.run_with_input(&encode, &bytes);
            assert_eq!(ids.code, Some(0), "{}", ids.stderr);
            let decode = format!("tokenizer decode --tokenizer t --format {format}");
            let ran = folder.run_with_input(&decode, &ids.bytes);
            assert_eq!((ran.code, &ran.bytes), (Some(0), &bytes), "{format}: {}", ran.stderr);
        }
    }
}

#[test]
fn each_input_is_encoded_on_its_own() {
    let folder = with_tokenizer();
    folder.write("a", "int a").write("b", "").write("c", "struct");
    let run = |format: &str, files: &str| {
        folder.run(&format!("tokenizer encode --tokenizer t --format {format} {files}"))
    };
    let text = run("text", "a b c");
    let lines: Vec<_> = text.success().split('\n').collect();
    assert_eq!((lines.len(), lines[1], lines[3]), (4, "", ""));
    assert_eq!(format!("{}\n", lines[2]), run("text", "c").success());

    let arrays: Vec<Vec<u32>> = run("json", "a b c")
        .success()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of_text = |line: &str| line.split_whitespace().map(|id| id.parse().unwrap()).collect();
    let expected: Vec<Vec<u32>> = lines[..3].iter().map(|line| of_text(line)).collect();
    assert_eq!(arrays, expected);

    let bytes: Vec<u8> = arrays.concat().iter().flat_map(|id| id.to_le_bytes()).collect();
    assert_eq!(run("u32le", "a b c").bytes, bytes);
    // A dash among files is standard input.
    let ran = folder.run_with_input("tokenizer encode --tokenizer t a - c", b"");
    assert_eq!(ran.success(), text.success());
    run("text", "a missing.cpp").fails(1, &["cannot read missing.cpp"]);
}

#[test]
fn what_is_no_token_is_named() {
    let folder = with_tokenizer();
    let decode = |input: &[u8]| folder.run_with_input("tokenizer decode --tokenizer t", input);
    decode(b"1 2\n3 four").fails(1, &["standard input", "line 2", "four"]);
    decode(b"1 600").fails(1, &["unknown token id 600"]);
    assert_eq!(decode(b"591").success(), "<|bos|>");
}

#[test]
fn training_does_not_depend_on_the_form_of_the_data() {
    let folder = Folder::new();
    let samples = samples();
    folder.run(&format!("corpus files {samples} --out plain")).success();
    folder.run(&format!("corpus files {samples} --out shards --shard-bytes 20k")).success();
    folder.run(&format!("corpus files {samples} --out zst --compress")).success();
    let train = |data: &str, out: &str| {
        let line = format!("tokenizer train --vocab-size 500 --data {data} --out {out}");
        folder.run(&line).success();
        folder.read(&format!("{out}/tokenizer.json"))
    };
    let expected = train("plain", "t1");
    assert_eq!(train("plain/documents.jsonl --threads 1", "t2"), expected);
    assert_eq!(train("shards", "t3"), expected);
    assert_eq!(train("zst --threads 3", "t4"), expected);
    assert_eq!(train(&samples, "t5"), expected);
    let projects = ["exprcalc", "graphkit", "jsonlite", "matrixlab", "ringlog"];
    let projects = projects.map(|project| format!("{samples}/{project}"));
    assert_eq!(train(&projects.join(" "), "t6"), expected);
}

#[test]
fn held_out_documents_are_left_out_of_training() {
    let folder = Folder::new();
    folder.run(&format!("corpus files {} --out d --validation-share 0.3", samples())).success();
    let train = |data: &str, out: &str| {
        let line = format!("tokenizer train --vocab-size 500 --json --data {data} --out {out}");
        folder.run(&line).json()
    };
    let json = train("d", "t1");
    let complete: serde_json::Value = serde_json::from_slice(&folder.read("d/_COMPLETE")).unwrap();
    let held_out = complete["validation_documents"].as_u64().unwrap();
    assert!(held_out > 0);
    assert_eq!(json["data"]["held_out_documents"], held_out);
    let all = complete["documents"].as_u64().unwrap();
    assert_eq!(json["data"]["documents"], all - held_out);
    let alone = train("d/train.jsonl", "t2");
    assert_eq!(alone["fingerprint"], json["fingerprint"]);
    let stats = folder.run("tokenizer stats --tokenizer t1 --data d --json").json();
    assert_eq!(stats["documents"], all);
}

#[test]
fn bad_lines_are_named_counted_and_skipped_or_refused() {
    let folder = Folder::new();
    let lines = "{\"text\": \"int a;\"}\nnot json\n{\"text\": 7}\n{\"code\": \"x\"}\n";
    folder.write("d/a.jsonl", lines);
    let train = "tokenizer train --vocab-size 265 --data d --json --out";
    let ran = folder.run(&format!("{train} t"));
    let data = &ran.json()["data"];
    assert_eq!((&data["documents"], &data["bad_lines"]), (&1.into(), &3.into()));
    assert_eq!(data["problems"][0]["line"], 2);
    for part in ["d/a.jsonl:2: not JSON", "d/a.jsonl:3: ", "d/a.jsonl:4: no field `text`", ": 3\n"]
    {
        assert!(ran.stderr.contains(part), "`{part}` is not in: {}", ran.stderr);
    }
    folder.run(&format!("{train} u --strict")).fails(1, &["d/a.jsonl:2: not JSON", "--strict"]);
    assert!(!folder.path("u").exists());
    let stats = "tokenizer stats --tokenizer t --data d --json";
    assert_eq!(folder.run(stats).json()["data"]["bad_lines"], 3);
    folder.run(&format!("{stats} --strict")).fails(1, &["d/a.jsonl:2: not JSON"]);
    folder.write("bad.jsonl", "nonsense\n");
    let bad = "tokenizer train --vocab-size 265 --data bad.jsonl --out u";
    folder.run(bad).fails(1, &["bad.jsonl holds no document", "bad.jsonl:1"]);
}

#[test]
fn vocabularies_that_cannot_be_are_refused() {
    let folder = Folder::new();
    folder.write("src/a.cpp", "ab ab ab");
    let train = |size: usize| {
        folder.run(&format!("tokenizer train --data src --out t --vocab-size {size}"))
    };
    // Merges: `ab` and then ` ab`.
    train(268).fails(1, &["268", "gives 267", "--vocab-size 267"]);
    train(264).fails(1, &["264", "at least 265"]);
    assert!(!folder.path("t").exists());
    train(267).success();
}

#[test]
fn data_that_holds_nothing_is_refused() {
    let folder = Folder::new();
    folder.write("docs/readme.md", "text").write("a.cpp", "int a;").write("empty.jsonl", "");
    folder.write("binary/a.cpp", b"\0");
    let train = |data: &str| folder.run(&format!("tokenizer train --data {data} --out t"));
    train("nowhere").fails(1, &["nowhere does not exist"]);
    train("docs").fails(1, &["docs holds no .jsonl", "no C or C++ source file"]);
    train("a.cpp").fails(1, &["a.cpp is neither", "kiln corpus files"]);
    train("empty.jsonl").fails(1, &["empty.jsonl holds no document"]);
    train("binary").fails(1, &["1 binary", "binary/a.cpp"]);
}

#[test]
fn a_tokenizer_is_replaced_only_when_asked() {
    let folder = with_tokenizer();
    let before = folder.read("t/tokenizer.json");
    let train = format!("tokenizer train --vocab-size 300 --data {} --out t", samples());
    folder.run(&train).fails(1, &["t already holds a tokenizer", "--overwrite"]);
    assert_eq!(folder.read("t/tokenizer.json"), before);
    assert!(folder.run(&format!("{train} --overwrite")).success().contains("300 ids"));
    assert_ne!(folder.read("t/tokenizer.json"), before);
}

#[test]
fn a_damaged_tokenizer_is_named() {
    let folder = with_tokenizer();
    folder.write("t/tokenizer.json", "{\"version\": ");
    let ran = folder.run_with_input("tokenizer decode --tokenizer t", b"");
    ran.fails(1, &["t/tokenizer.json", "line 1"]);
}

#[test]
fn exports_are_what_other_programs_read() {
    let folder = with_tokenizer();
    folder.run("tokenizer export --tokenizer t --format hf --out t.json").success();
    assert_eq!(folder.read("t.json"), folder.read("t/tokenizer.json"));
    folder.run("tokenizer export --tokenizer t --format tiktoken --out t.tiktoken").success();
    let text = String::from_utf8(folder.read("t.tiktoken")).unwrap();
    assert_eq!(text.lines().count(), 600 - 9);
    assert!(text.starts_with("AA== 0\nAQ== 1\n"), "{}", &text[..20]);
    let nowhere = "tokenizer export --tokenizer t --format hf --out no/such/t.json";
    folder.run(nowhere).fails(1, &["cannot export", "no/such"]);
}

#[test]
fn stats_measure_the_fit() {
    let folder = with_tokenizer();
    let stats = format!("tokenizer stats --tokenizer t --data {} --top 3", samples());
    let json = folder.run(&format!("{stats} --json")).json();
    let bytes_per_token = json["bytes_per_token"].as_f64().unwrap();
    let ratio = json["bytes"].as_f64().unwrap() / json["tokens"].as_f64().unwrap();
    assert!(bytes_per_token > 1.5 && (bytes_per_token - ratio).abs() < 1e-9, "{bytes_per_token}");
    assert_eq!(json["vocab_size"], 600);
    assert_eq!(json["most_frequent"].as_array().unwrap().len(), 3);
    let ran = folder.run(&format!("{stats} --quiet"));
    let table = ran.success();
    assert!(table.contains(&format!("{bytes_per_token:.3}")), "{table}");
    assert!(table.contains("Most frequent") && table.contains("Longest"), "{table}");
}

/// A folder with a `cpp` tokenizer in `c`.
fn with_cpp() -> Folder {
    let folder = Folder::new();
    let data = samples();
    let line =
        format!("tokenizer train --quiet --kind cpp --vocab-size 4000 --data {data} --out c");
    folder.run(&line).success();
    folder
}

#[test]
fn the_cpp_kind_works_with_every_command() {
    let folder = with_cpp();
    for bytes in [any_bytes(), Vec::new(), b"\n        return 0;".to_vec()] {
        let ids = folder.run_with_input("tokenizer encode --tokenizer c", &bytes);
        let back = folder.run_with_input("tokenizer decode --tokenizer c", &ids.bytes);
        assert_eq!((back.code, &back.bytes), (Some(0), &bytes), "{}", back.stderr);
    }
    let ids = folder.run_with_input("tokenizer encode --tokenizer c", b"\n        return");
    assert_eq!(ids.success().split_whitespace().count(), 2);
    let decoded = folder.run_with_input("tokenizer decode --tokenizer c", b"0 2 19");
    assert_eq!(decoded.success(), "<PAD><BOS><TOOL_RESULT>");
    folder.run("tokenizer export --tokenizer c --format hf --out c.json").success();
    assert_eq!(folder.read("c.json"), folder.read("c/tokenizer.json"));
    folder.run("tokenizer export --tokenizer c --format tiktoken --out c.tiktoken").success();
    let text = String::from_utf8(folder.read("c.tiktoken")).unwrap();
    assert_eq!(text.lines().count(), 4000 - 20);
    let stats = format!("tokenizer stats --tokenizer c --json --data {}", samples());
    let json = folder.run(&stats).json();
    assert_eq!((&json["kind"], &json["vocab_size"]), (&"cpp".into(), &4000.into()));
    let small = format!("tokenizer train --kind cpp --vocab-size 300 --data {} --out d", samples());
    folder.run(&small).fails(1, &["too small", "at least 32"]);
}

#[test]
fn eval_compares_with_the_tokenizers_of_others() {
    let folder = with_cpp();
    let train = format!("tokenizer train --quiet --vocab-size 3500 --data {} --out b", samples());
    folder.run(&train).success();
    let eval = format!("tokenizer eval --tokenizer c --tokenizer b --runs 1 {}", samples());
    let json = folder.run(&format!("{eval} --json")).json();
    let rows = json["tokenizers"].as_array().unwrap();
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["c", "b", "cl100k", "o200k"]);
    let number = |row: usize, key: &str| rows[row][key].as_f64().unwrap();
    assert_eq!(number(0, "keyword_integrity"), 1.0);
    assert!(number(1, "keyword_integrity") < 1.0);
    assert!(json["keywords"].as_u64().unwrap() > 1000);
    for (at, row) in rows.iter().enumerate() {
        assert_eq!(row["round_trip"], true);
        assert!(number(at, "megabytes_per_second") > 0.0);
        let bytes = json["data"]["text_bytes"].as_f64().unwrap();
        assert_eq!(number(at, "bytes_per_token"), bytes / number(at, "tokens"));
        let lines = json["lines"].as_f64().unwrap();
        assert_eq!(number(at, "tokens_per_line"), number(at, "tokens") / lines);
    }
    let table = folder.run(&format!("{eval} --quiet"));
    for part in ["c (cpp)", "b (bpe)", "cl100k", "o200k", "exact", "100.00 %"] {
        assert!(table.success().contains(part), "`{part}` is not in: {}", table.success());
    }
    folder.run("tokenizer eval --tokenizer c").fails(1, &["give a PATH"]);
    folder.run("tokenizer eval --data x").fails(2, &["--tokenizer"]);
}

#[test]
fn bench_measures_both_kinds() {
    let folder = Folder::new();
    let bench = format!("bench tokenizer --vocab-size 3500 --runs 1 --data {}", samples());
    let json = folder.run(&format!("{bench} --json")).json();
    let kinds: Vec<_> =
        json["kinds"].as_array().unwrap().iter().map(|row| row["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["bpe", "cpp"]);
    for key in ["tokens", "train_seconds", "first_megabytes_per_second", "megabytes_per_second"] {
        assert!(json["kinds"][1][key].as_f64().unwrap() > 0.0, "{key}");
    }
    assert!(folder.run(&bench).success().contains("tiktoken cl100k"));
}
