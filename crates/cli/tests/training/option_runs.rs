//! Runs of models with options: killed and resumed, recomputed, asked to go on writing.

use crate::project::{Project, steps};

/// Every option alone, and all of them. Rows of 96 tokens are long enough for keys to be selected.
const OPTIONS: [(&str, &str); 8] = [
    ("engram", "--preset classic --engram --engram-layers 0,-1 --engram-dropout 0.2"),
    ("mhc", "--preset classic --mhc"),
    ("mtp", "--preset classic --mtp"),
    ("dsa", "--preset classic --dsa --dsa-start-layer 0 --dsa-ratio 0.25 --dsa-local 8"),
    ("windows", "--preset classic --window-pattern SL"),
    ("heads", "--preset classic --head-dim 16 --n-kv-head 1"),
    ("blocks", "--preset classic --checkpoint-blocks"),
    ("all", ALL),
];

const ALL: &str = "--preset modern --engram --engram-dropout 0.2 --mhc --mtp --dsa --dsa-start-layer 1 --dsa-ratio 0.25 \
                   --dsa-local 8 --head-dim 16 --n-kv-head 1 --window-pattern SL --checkpoint-blocks";

const RUN: &str = "--depth 2 --seq-len 96 --device-batch-size 2 --total-batch-size 384 --num-iterations 12 \
                   --save-every 4 --eval-every 6";

#[test]
fn every_option_resumes_bit_for_bit() {
    let project = Project::new();
    for (name, flags) in OPTIONS {
        let (whole, run) = (format!("whole-{name}"), format!("run-{name}"));
        project.train(&format!("--out {whole} {RUN} {flags}")).success();
        for step in [2, 6] {
            project.start(&format!("--out {run} {RUN} {flags}")).wait_for_steps(step).kill();
        }
        project.train(&format!("--out {run} {RUN} {flags}")).success();
        assert_eq!(project.metrics(&run), project.metrics(&whole), "{name}");
        for file in ["model.safetensors", "optimizer.safetensors"] {
            let of = |run: &str| project.read(&format!("{run}/step-000012/{file}"));
            assert!(of(&run) == of(&whole), "{name}: {file}");
        }
    }
}

/// What is kept for the backward pass is no part of what is computed: a run may go on either way.
#[test]
fn a_run_may_begin_and_end_to_recompute_its_blocks() {
    let project = Project::new();
    project.train(&format!("--out whole {RUN}")).success();
    project.start(&format!("--out run {RUN}")).wait_for_steps(5).kill();
    project.train(&format!("--out run {RUN} --checkpoint-blocks")).success();
    assert_eq!(project.metrics("run"), project.metrics("whole"));
}

#[test]
fn losses_of_further_predictions_are_told_apart() {
    let project = Project::new();
    project.train(&format!("--out run {RUN} --mtp")).success();
    let lines = project.metrics("run");
    for line in steps(&lines) {
        let loss = line["mtp_loss"].as_f64().unwrap();
        assert!(loss > 1.0 && loss < 10.0, "{line}");
    }
}

#[test]
fn drafts_change_no_token() {
    let project = Project::new();
    project.train(&format!("--out run {RUN} {ALL}")).success();
    for prompt in ["int", "#include", "x"] {
        let line = format!("generate --checkpoint run --max-tokens 60 --prompt {prompt}");
        let plain = project.run(&format!("{line} --temperature 0"));
        let drafted = project.run(&format!("{line} --speculative"));
        assert_eq!(drafted.success(), plain.success());
        assert!(drafted.stderr.contains(" drafts were right ("), "{}", drafted.stderr);
    }
    let both = project.run("generate --checkpoint run --prompt x --speculative --temperature 1");
    both.fails(2, &["--speculative", "--temperature"]);
}

#[test]
fn a_model_without_drafts_says_how_to_get_them() {
    let project = Project::with_run();
    let ran = project.run("generate --checkpoint run --prompt x --speculative");
    ran.fails(1, &["no multi-token prediction", "hint: ", "--mtp"]);
}
