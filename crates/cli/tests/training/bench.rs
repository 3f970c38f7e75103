//! What the benchmarks measure, and what their help says. Nothing here depends on how fast the machine is.

use serde_json::Value;

use crate::kiln::Folder;
use crate::project::Project;

const TRAIN: &str = "bench train --depth 1 --aspect-ratio 32 --head-dim 32 --seq-len 64 \
                     --device-batch-size 2 --runs 2 --threads 1";
const DECODE: &str = "bench decode --preset modern --depth 2 --aspect-ratio 32 --head-dim 32 --vocab-size 300 \
                      --prompt-tokens 20 --tokens 3 --runs 2 --threads 1";

#[track_caller]
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[track_caller]
fn assert_positive(report: &Value, keys: &[&str]) {
    for key in keys {
        let value = number(&report[*key]);
        assert!(value.is_finite() && value > 0.0, "{key}: {value}");
    }
}

#[test]
fn training_gives_its_figures() {
    let folder = Folder::new();
    let line = format!("{TRAIN} --vocab-size 300");
    let report = folder.run(&format!("{line} --json")).json();
    let rates = ["product_gflops", "step_gflops", "step_tokens_per_second", "register_gflops"];
    assert_positive(&report, &rates);
    assert_eq!(report["threads"], 1);
    assert_eq!(report["config"]["model"]["vocab_size"], 300);
    assert!(!report["cpu"].as_str().unwrap().is_empty());
    assert!(report.get("data_stall").is_none(), "made-up tokens are never waited for");
    let ops = report["ops"].as_array().unwrap();
    assert!(ops.iter().any(|op| op["op"] == "Attention" && op["calls"] == 1), "{ops:?}");
    let table = folder.run(&line);
    assert!(table.success().contains("share of products"), "{}", table.success());
    assert!(!table.success().contains("waiting for data"), "{}", table.success());
}

#[test]
fn training_on_documents_tells_how_long_they_are_waited_for() {
    let project = Project::new();
    let line = format!("{TRAIN} --data docs --tokenizer tok");
    let report = project.run(&format!("{line} --json")).json();
    let stall = number(&report["data_stall"]);
    assert!((0.0..=1.0).contains(&stall), "{stall}");
    assert_eq!(report["config"]["model"]["vocab_size"], 512);
    let table = project.run(&line);
    assert!(table.success().contains("waiting for data"), "{}", table.success());
    project.run("bench train --data docs").fails(2, &["--tokenizer"]);
    project.run("bench train --tokenizer tok").fails(2, &["--data"]);
    let both = "bench train --data docs --tokenizer tok --vocab-size 300";
    project.run(both).fails(2, &["--vocab-size"]);
    project.run("bench train --data nowhere --tokenizer tok").fails(1, &["nowhere does not exist"]);
}

#[test]
fn the_peak_has_a_row_for_every_kernel_in_every_type() {
    let folder = Folder::new();
    let line = "bench peak --tokens 48 --runs 1 --threads 1";
    let report = folder.run(&format!("{line} --dtype all --json")).json();
    assert_positive(&report, &["read_gb_per_second"]);
    let rows = report["rows"].as_array().unwrap();
    for dtype in ["f32", "bf16"] {
        let mine: Vec<&Value> = rows.iter().filter(|row| row["dtype"] == dtype).collect();
        let names: Vec<&str> = mine.iter().map(|row| row["name"].as_str().unwrap()).collect();
        let expected = [
            "registers",
            "forward",
            "forward",
            "gradient_input",
            "loss_gradient_input",
            "gradient_weight",
            "products",
            "linear_cross_entropy",
            "attention",
        ];
        assert_eq!(names, expected);
        for row in mine {
            assert_positive(row, &["gflops"]);
            let roof = match row["name"].as_str().unwrap() {
                "registers" => Value::Null,
                "linear_cross_entropy" | "attention" => "products".into(),
                _ => "registers".into(),
            };
            assert_eq!(row["share_of"], roof, "{row}");
            assert_eq!(row["share"].is_null(), roof.is_null(), "{row}");
        }
    }
    assert_eq!(rows[1]["size"], "48 x 1536 x 384");
    let table = folder.run(&format!("{line} --dtype f32"));
    for part in ["GB/s read", "of registers", "of product rate", "weight gradient"] {
        assert!(table.success().contains(part), "{part} is not in {}", table.success());
    }
    assert!(!table.success().contains("bf16 "), "{}", table.success());
}

#[test]
fn decoding_counts_what_a_step_reads() {
    let folder = Folder::new();
    let report = folder.run(&format!("{DECODE} --batch 1,3 --dtype f32 --json")).json();
    let first = &report["first_token"];
    assert_positive(first, &["seconds", "product_gflops", "product_seconds", "ratio"]);
    assert_eq!(first["prompt_tokens"], 20);
    // Two layers of width 64 and their gates for every token, the output layer of 320 rows (the vocabulary, padded) for the
    // last.
    let matrices = 2 * 12 * 64 * 64 + 24 + 2 * 12;
    assert_eq!(number(&first["product_flops"]), (2 * (20 * matrices + 320 * 64)) as f64);

    let batches = report["batches"].as_array().unwrap();
    let rows: Vec<u64> = batches.iter().map(|batch| batch["rows"].as_u64().unwrap()).collect();
    assert_eq!(rows, [1, 3]);
    for batch in batches {
        assert_positive(batch, &["tokens_per_second", "read_gb_per_second", "share_of_bandwidth"]);
    }
    // Each row more reads keys and values more: of the 20 tokens of the prompt at the least, and the 8 made at the most.
    let bytes = |i: usize| number(&batches[i]["bytes_per_step"]);
    let row = (bytes(1) - bytes(0)) / 2.0;
    let token = (2 * 2 * 64 * 4) as f64;
    assert!((20.0 * token..=28.0 * token).contains(&row), "{row}");
    let weights = bytes(0) - row;
    assert!((weights - (4 * (matrices + 320 * 64)) as f64).abs() <= 48.0, "{weights}");

    let table = folder.run(&format!("{DECODE} --batch 1"));
    for part in ["first token", "its products", "tokens/s", "share"] {
        assert!(table.success().contains(part), "{part} is not in {}", table.success());
    }
}

#[test]
fn benchmarks_refuse_what_they_cannot_measure() {
    let folder = Folder::new();
    for (line, part) in [
        ("bench peak --runs 0", "--runs"),
        ("bench peak --tokens 0", "--tokens"),
        ("bench peak --dtype f8", "bf16"),
        ("bench decode --batch 1,0", "--batch"),
        ("bench decode --batch 1,,8", "--batch"),
        ("bench decode --prompt-tokens 0", "--prompt-tokens"),
        ("bench decode --n-head 5", "--n-head"),
        ("bench train --device-batch-size 0", "--device-batch-size"),
        ("bench train --muon sgd", "polar-express"),
        ("bench train --muon-steps 99", "--muon-steps"),
        // Of a run, and of no meaning here.
        ("bench train --total-batch-size 4096", "--total-batch-size"),
        ("bench train --save-every 5", "--save-every"),
        ("bench decode --matrix-lr 0.1", "--matrix-lr"),
    ] {
        folder.run(line).fails(2, &[part]);
    }
}

/// The benchmarks' own defaults stand in their help, where those of training would mislead.
#[test]
fn help_tells_true_defaults() {
    let folder = Folder::new();
    let default = |command: &str, flag: &str| {
        let ran = folder.run(&format!("{command} --help"));
        let help = ran.success().split_whitespace().collect::<Vec<_>>().join(" ");
        let (_, rest) = help.split_once(&format!("{flag} <")).expect(flag);
        let (_, rest) = rest.split_once("[default: ").expect(flag);
        rest.split_once(']').unwrap().0.to_owned()
    };
    for (command, flag, expected) in [
        ("bench train", "--depth", "6"),
        ("bench train", "--head-dim", "64"),
        ("bench train", "--seq-len", "512"),
        ("bench decode", "--depth", "12"),
        ("bench decode", "--head-dim", "64"),
        ("bench decode", "--seq-len", "1024"),
        ("train", "--depth", "4"),
        ("train", "--head-dim", "128"),
    ] {
        assert_eq!(default(command, flag), expected, "{command} {flag}");
    }
}
