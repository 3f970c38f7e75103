//! Source files to completions, each command on what the one before made.

use crate::kiln::Ran;
use crate::project::{Project, names, steps};

/// `kiln generate` with arguments that may hold blanks.
fn generate(project: &Project, arguments: &[&str]) -> Ran {
    let mut command = project.command("generate --checkpoint run");
    let output = command.args(arguments).stdin(std::process::Stdio::null()).output();
    Ran::from(output.unwrap())
}

#[test]
fn a_run_folder_holds_checkpoints_and_metrics() {
    let project = Project::new();
    let line = "--out run --num-iterations 60 --save-every 20 --eval-every 25 --keep 2";
    let ran = project.train(line);
    assert_eq!(ran.success(), "", "results of a run are files");
    for part in ["saved run/step-000020", "step 25: ", "bits per byte", "finished after 60 steps"] {
        assert!(ran.stderr.contains(part), "{part} is not in {}", ran.stderr);
    }
    let run = project.path("run");
    assert_eq!(names(&run), ["latest", "metrics.jsonl", "step-000040", "step-000060"]);
    let files = [
        "MANIFEST",
        "config.json",
        "model.safetensors",
        "optimizer.safetensors",
        "state.json",
        "tokenizer",
    ];
    assert_eq!(names(&run.join("step-000060")), files);
    assert_eq!(project.latest("run"), "step-000060");

    let text = String::from_utf8(project.read("run/metrics.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let steps = steps(&lines);
    for (index, line) in steps.iter().enumerate() {
        assert_eq!(line["step"], index);
        assert_eq!(line["tokens"], 128 * (index + 1));
        for number in ["loss", "lr_multiplier", "tokens_per_second", "mfu", "data_stall"] {
            assert!(line[number].is_number(), "{number} in {line}");
        }
    }
    let loss = |range: std::ops::Range<usize>| {
        let sum: f64 = range.clone().map(|i| steps[i]["loss"].as_f64().unwrap()).sum();
        sum / range.len() as f64
    };
    assert_eq!(steps.len(), 60);
    assert!((loss(0..3) - 512f64.ln()).abs() < 0.05, "the first tokens are as good as guessed");
    assert!(loss(50..60) < loss(0..10) - 0.1, "{} to {}", loss(0..10), loss(50..60));
    let evaluations: Vec<_> = lines.iter().filter(|line| line.get("val_bpb").is_some()).collect();
    let at: Vec<_> = evaluations.iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(at, [25, 50, 60]);
    let bits = |index: usize| evaluations[index]["val_bpb"].as_f64().unwrap();
    assert!(bits(2) < bits(0) && bits(2) > 0.5, "{} to {}", bits(0), bits(2));

    let evaluation = project.run("eval bpb --checkpoint run --data docs --max-tokens 512 --json");
    let report = evaluation.json();
    assert_eq!(report["bits_per_byte"].as_f64().unwrap(), bits(2), "as the run itself found");
    assert_eq!(report["checkpoint"], "run/step-000060");
    let per_token = report["loss"].as_f64().unwrap() / std::f64::consts::LN_2;
    let (tokens, bytes) = (report["tokens"].as_f64().unwrap(), report["bytes"].as_f64().unwrap());
    assert!((per_token * tokens / bytes - bits(2)).abs() < 1e-6);
    let table = project.run("eval bpb --checkpoint run/step-40 --data docs");
    let table = table.success();
    assert!(table.contains("bits per byte") && table.contains("run/step-000040"), "{table}");
}

#[test]
fn the_same_flags_make_the_same_run() {
    let project = Project::new();
    for run in ["a", "b"] {
        project.train(&format!("--out {run} --seed 5")).success();
    }
    project.train("--out c --seed 6").success();
    assert_eq!(project.metrics("a"), project.metrics("b"));
    assert_ne!(project.metrics("a"), project.metrics("c"));
    let model = |run| project.read(&format!("{run}/step-000020/model.safetensors"));
    assert!(model("a") == model("b") && model("a") != model("c"));
}

#[test]
fn a_file_of_options_gives_the_same_run_as_flags_and_lies_below_them() {
    let project = Project::new();
    let toml = "data = 'docs'\ntokenizer = 'tok'\ndepth = 1\naspect_ratio = 32\nhead_dim = 32\n\
                seq_len = 32\ndevice_batch_size = 4\ntotal_batch_size = 128\neval_tokens = 512\n\
                num_iterations = 7\nseed = 9\npreset = 'classic'\nmuon_per_head = true\n";
    project.write("run.toml", toml);
    project.run("train --config run.toml --out a --seed 1 --threads 1").success();
    let flags = "--num-iterations 7 --seed 1 --preset classic --muon-per-head";
    project.train(&format!("--out b {flags}")).success();
    assert_eq!(project.metrics("a"), project.metrics("b"));
    assert_eq!(steps(&project.metrics("a")).len(), 7);
    let config = |run| project.read(&format!("{run}/step-000007/config.json"));
    assert_eq!(config("a"), config("b"), "the resolved configuration is saved");
}

#[test]
fn a_run_shows_what_it_writes() {
    let project = Project::new();
    let ran = project.train("--out run --num-iterations 4 --sample-every 2");
    ran.success();
    assert_eq!(ran.stderr.matches("step 2 writes:").count(), 1, "{}", ran.stderr);
    let quiet = project.train("--out other --num-iterations 4 --sample-every 2 --quiet");
    quiet.success();
    assert_eq!(quiet.stderr, "");
    project.train("--out none --num-iterations 4").success();
    assert_eq!(project.metrics("run"), project.metrics("none"), "samples change nothing");
}

#[test]
fn generation_is_repeatable_and_takes_prompts_from_anywhere() {
    let project = Project::with_run();
    project.write("prompt.cpp", "int main(");
    let first = generate(&project, &["--prompt", "int main(", "--max-tokens", "40", "--seed", "3"]);
    let text = first.success();
    assert!(text.len() > 20 && text.ends_with('\n'), "{text:?}");
    assert!(!text.contains("<|"), "special tokens are no text: {text:?}");
    let again = |arguments: &[&str]| {
        let ran = generate(&project, &[&["--max-tokens", "40", "--seed", "3"], arguments].concat());
        ran.success().to_owned()
    };
    assert_eq!(again(&["--prompt", "int main("]), text);
    assert_eq!(again(&["--prompt-file", "prompt.cpp"]), text);
    let line = "generate --checkpoint run --max-tokens 40 --seed 3";
    assert_eq!(project.run_with_input(line, b"int main(").success(), text);
    let line = format!("{line} --prompt-file -");
    assert_eq!(project.run_with_input(&line, b"int main(").success(), text);
    assert_eq!(again(&["--prompt", "int main(", "--echo"]), format!("int main({text}"));
    let other = generate(&project, &["--prompt", "int main(", "--max-tokens", "40", "--seed", "4"]);
    assert_ne!(other.success(), text);
}

#[test]
fn several_samples_differ_unless_they_are_greedy() {
    let project = Project::with_run();
    let three = |flags: &str| {
        let line = format!("generate --checkpoint run --num-samples 3 --max-tokens 12 {flags}");
        let ran = project.run_with_input(&line, b"void log(");
        let text = ran.success().to_owned();
        let parts: Vec<String> = (1..=3)
            .map(|i| {
                let (_, rest) = text.split_once(&format!("--- sample {i} ---\n")).expect(&text);
                let end = rest.find("--- sample ").unwrap_or(rest.len());
                rest[..end].to_owned()
            })
            .collect();
        parts
    };
    let warm = three("--temperature 1.5 --top-k 0 --seed 2");
    assert!(warm[0] != warm[1] && warm[1] != warm[2] && warm[0] != warm[2], "{warm:?}");
    assert_eq!(warm, three("--temperature 1.5 --top-k 0 --seed 2"));
    let greedy = three("--temperature 0 --seed 1");
    assert!(greedy[0] == greedy[1] && greedy[1] == greedy[2], "{greedy:?}");
    assert_eq!(greedy, three("--temperature 0 --seed 2"));
    assert_eq!(greedy, three("--top-k 1"));
    assert_eq!(greedy, three("--top-p 0.000001"));
}

/// A model that has learned nothing picks bytes at random: most are no characters.
#[test]
fn only_whole_characters_are_printed() {
    let project = Project::with_run();
    for seed in 0..3 {
        let flags = format!("--temperature 50 --top-k 0 --max-tokens 300 --seed {seed}");
        let ran = project.run(&format!("generate --checkpoint run --prompt größe= {flags}"));
        assert!(ran.success().contains('\u{fffd}'), "no broken character was made");
    }
}

#[test]
fn an_empty_prompt_begins_a_document_and_no_tokens_make_none() {
    let project = Project::with_run();
    let begun = generate(&project, &["--prompt", "", "--max-tokens", "8"]);
    assert!(begun.success().len() > 1);
    assert_eq!(project.run("generate --checkpoint run --max-tokens 8").success(), begun.success());
    assert_eq!(generate(&project, &["--prompt", "x", "--max-tokens", "0"]).success(), "\n");
}

#[test]
fn a_prompt_longer_than_the_model_was_trained_on_is_told_and_taken() {
    let project = Project::with_run();
    let prompt = "int value = compute(value);\n".repeat(30);
    let ran = project.run_with_input("generate --checkpoint run --max-tokens 5", prompt.as_bytes());
    assert!(!ran.success().is_empty());
    assert!(ran.stderr.contains("the model was trained on 32"), "{}", ran.stderr);
}

#[test]
fn a_sequence_that_no_document_fills_is_trained_on() {
    let project = Project::new();
    // All documents together have some 14,000 tokens.
    let sizes = "--seq-len 20000 --device-batch-size 1 --total-batch-size 20000";
    project.train(&format!("--out run --num-iterations 2 {sizes}")).success();
    assert_eq!(steps(&project.metrics("run")).len(), 2);
    project.write("one.jsonl", "{\"text\": \"int a;\"}\n{\"text\": \"int b;\"}\n");
    let ran = project.train("--data one.jsonl --validation-share 0.5 --out tiny");
    ran.success();
    assert_eq!(steps(&project.metrics("tiny")).len(), 20);
}
