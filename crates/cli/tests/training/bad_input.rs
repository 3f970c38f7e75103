//! What users do wrong: each told in a line that names the file, the line or the flag, and what to do.

use crate::project::{Project, steps, train_line};

#[test]
fn data_that_are_missing_or_empty_are_named() {
    let project = Project::new();
    project.write("empty/a.jsonl", "").write("text.txt", "int a;").write("none/read.me", "");
    project.write("blank.jsonl", "{\"text\": \"\"}\n").write("torn.jsonl", "{\"text\": \"int");
    let cases: [(&str, &[&str]); 6] = [
        ("nodata", &["nodata does not exist", "kiln corpus files"]),
        ("empty", &["empty holds no document", "kiln corpus files"]),
        ("none", &["none holds no .jsonl", "kiln corpus files"]),
        ("text.txt", &["text.txt is neither a .jsonl", "kiln corpus files"]),
        ("blank.jsonl", &["blank.jsonl"]),
        ("torn.jsonl", &["torn.jsonl:1: not JSON"]),
    ];
    for (data, parts) in cases {
        let ran = project.train(&format!("--data {data} --out run"));
        ran.fails(1, parts);
        assert!(!project.path("run").exists(), "{data}");
    }
    project.run("train --tokenizer tok --out run").fails(2, &["--data is missing", "--config"]);
    project.run("train --data docs --out run").fails(2, &["--tokenizer is missing"]);
    project.run("train --data docs --tokenizer tok").fails(2, &["--out"]);
    project
        .train("--tokenizer nowhere --out run")
        .fails(1, &["nowhere/tokenizer.json", "kiln tokenizer"]);
}

#[test]
fn lines_that_are_no_documents_are_named_counted_and_skipped() {
    let project = Project::new();
    let good = String::from_utf8(project.read("docs/train.jsonl")).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    let bad = [&lines[..2], &["{\"text\": oops", "{\"body\": \"x\"}", "[1]"], &lines[2..]].concat();
    project.write("good.jsonl", &good).write("bad.jsonl", bad.join("\n") + "\n");
    let ran = project.train("--data bad.jsonl --out run");
    ran.success();
    for part in
        ["bad.jsonl:3: not JSON", "bad.jsonl:4: no field `text`", "bad.jsonl:5: ", "3 lines"]
    {
        assert!(ran.stderr.contains(part), "{part} is not in {}", ran.stderr);
    }
    assert_eq!(ran.stderr.matches("3 lines").count(), 1, "counted once: {}", ran.stderr);
    // The other documents are what is trained on.
    project.train("--data good.jsonl --out same").success();
    assert_eq!(project.metrics("run"), project.metrics("same"));

    let strict = project.train("--data bad.jsonl --out strict --strict");
    strict.fails(1, &["bad.jsonl:3: not JSON", "--strict"]);
    assert!(!project.path("strict").exists());
    project.train("--data good.jsonl --out strict --strict").success();
}

#[test]
fn sizes_that_do_not_fit_name_the_flag() {
    let project = Project::new();
    let cases: [(&str, &[&str]); 17] = [
        ("--total-batch-size 200", &["200", "128", "256 would be", "--total-batch-size"]),
        ("--total-batch-size 0", &["total_batch_size", "--total-batch-size"]),
        ("--device-batch-size 0", &["at least 1", "--device-batch-size"]),
        (
            "--device-batch-size 9223372036854775807",
            &["--device-batch-size can be 16777216 at the most"],
        ),
        ("--depth 0", &["0 is not within", "--depth"]),
        ("--depth 99999999999", &["--depth can be 4096 at the most", "99999999999"]),
        ("--seq-len 0", &["0 is not within", "--seq-len"]),
        ("--n-head 3", &["3 heads do not divide the width 32", "--n-head"]),
        ("--n-kv-head 3", &["--n-kv-head"]),
        ("--window-pattern SX", &["SX", "--window-pattern"]),
        ("--head-dim 0", &["--head-dim"]),
        ("--matrix-lr NaN", &["matrix_lr", "--matrix-lr"]),
        ("--matrix-lr -0.1", &["matrix_lr", "-0.1", "--matrix-lr"]),
        ("--num-iterations 0", &["--num-iterations must be more than 0"]),
        ("--minutes nan", &["--minutes must be more than 0, not NaN"]),
        (
            "--aspect-ratio 16",
            &["--smear: needs a width of at least 24", "--n-embd", "--smear false"],
        ),
        ("--aspect-ratio 8 --smear false", &["--value-embeds: ", "12", "--value-embeds false"]),
    ];
    for (flags, parts) in cases {
        project.train(&format!("{flags} --out run")).fails(2, parts);
    }
    let wrong: [(&str, &str); 6] = [
        ("--preset fancy", "classic"),
        ("--dtype f8", "f32"),
        ("--muon sgd", "polar-express"),
        ("--validation-share 1.5", "less than 1"),
        ("--resume later", "auto, never or a step"),
        ("--depth two", "--depth"),
    ];
    for (flags, part) in wrong {
        project.train(&format!("{flags} --out run")).fails(2, &[part]);
    }
    let line = train_line("--out run --minutes inf").replace("--num-iterations 20", "");
    project.run(&line).fails(2, &["--minutes"]);
    assert!(!project.path("run").exists());
}

#[test]
fn a_file_of_options_is_checked_with_its_lines() {
    let project = Project::new();
    project.write("key.toml", "depth = 2\n\n# more\ndeptth = 3\n");
    let ran = project.train("--config key.toml --out run");
    ran.fails(1, &["key.toml:4: unknown field `deptth`", "kiln train --help"]);
    assert!(ran.stderr.len() < 300, "no list of fifty keys: {}", ran.stderr);
    project.write("type.toml", "seed = 1\ndepth = 'two'\n");
    project.train("--config type.toml --out run").fails(1, &["type.toml:2:", "two"]);
    project.write("torn.toml", "depth = \n");
    project.train("--config torn.toml --out run").fails(1, &["torn.toml:1:"]);
    project.train("--config nowhere.toml --out run").fails(1, &["cannot read nowhere.toml"]);
    assert!(!project.path("run").exists());
}

#[test]
fn a_place_that_cannot_be_written_is_named_before_training() {
    let project = Project::new();
    project.write("file", "precious");
    for out in ["file", "file/run"] {
        let ran = project.train(&format!("--out {out}"));
        ran.fails(1, &[&format!("{out}: Not a directory")]);
    }
    assert_eq!(project.read("file"), b"precious");
    if cfg!(target_os = "linux") {
        // Nobody can make folders there, root included.
        let ran = project.train("--out /proc/run");
        ran.fails(1, &["/proc/run"]);
        assert!(!ran.stderr.contains("step 0"), "{}", ran.stderr);
    }
}

#[test]
fn a_folder_with_a_run_is_not_begun_anew() {
    let project = Project::with_run();
    let before = crate::project::files(&project.path("run"));
    project.train("--out run --resume never").fails(1, &["run already holds a run", "--out"]);
    assert_eq!(crate::project::files(&project.path("run")), before);
    project.train("--out new --resume never").success();
    assert_eq!(steps(&project.metrics("new")).len(), 20);
}

#[test]
fn prompts_and_samplings_that_make_no_sense_are_refused() {
    let project = Project::with_run();
    project.write("latin1.cpp", b"// gr\xf6\xdfe");
    let generate = |flags: &str| project.run(&format!("generate --checkpoint run {flags}"));
    generate("--prompt-file latin1.cpp").fails(1, &["latin1.cpp is not UTF-8 (byte 5)", "hint: "]);
    generate("--prompt-file nowhere.cpp").fails(1, &["cannot read nowhere.cpp"]);
    let ran = project.run_with_input("generate --checkpoint run", b"\xff");
    ran.fails(1, &["standard input is not UTF-8 (byte 0)"]);
    generate("--prompt x --temperature -1").fails(2, &["--temperature", "-1"]);
    generate("--prompt x --temperature NaN").fails(2, &["--temperature", "NaN"]);
    generate("--prompt x --top-p 0").fails(2, &["--top-p", "0"]);
    generate("--prompt x --top-p 1.5").fails(2, &["--top-p", "1.5"]);
    generate("--prompt x --prompt-file y").fails(2, &["--prompt-file"]);
    generate("--prompt x --max-tokens 18446744073709551615").fails(2, &["--max-tokens"]);
    generate("--prompt x --num-samples 0").fails(2, &["--num-samples"]);
}

#[test]
fn evaluations_without_text_are_refused() {
    let project = Project::with_run();
    let eval = |flags: &str| project.run(&format!("eval bpb --checkpoint run {flags}"));
    let none = eval("--data docs/train.jsonl --validation-share 0");
    none.fails(1, &["validation", "--validation-share"]);
    eval("--data nowhere").fails(1, &["nowhere does not exist"]);
    eval("--data docs --max-tokens 0").fails(2, &["--max-tokens"]);
    eval("--data docs --device-batch-size 0").fails(2, &["--device-batch-size"]);
    eval("--data docs --validation-share 2").fails(2, &["less than 1"]);
}

#[test]
#[cfg(target_os = "linux")]
fn threads_that_the_system_cannot_start_are_told() {
    let project = Project::new();
    // A thread takes some address space for its stack: of this much, hundreds do not fit.
    for line in ["plan --depth 1 --threads 1024", "bench peak --threads 1024"] {
        let script = format!("ulimit -v 1500000; exec \"$0\" {line}");
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_kiln")]);
        let ran = crate::kiln::Ran::from(command.current_dir(project.path(".")).output().unwrap());
        ran.fails(1, &["cannot start 1024 threads", "--threads"]);
    }
}
