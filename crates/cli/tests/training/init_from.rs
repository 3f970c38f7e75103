//! Runs that begin with the parameters of another: options are added to a model that has been trained.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::kiln::Ran;
use crate::project::{Project, steps, train_line};

/// The tensors of a file with their shapes and bytes.
fn tensors(project: &Project, path: &str) -> BTreeMap<String, (Value, Vec<u8>)> {
    let bytes = project.read(path);
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let infos: BTreeMap<String, Value> = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let data = &bytes[8 + header..];
    let tensor = |info: &Value| {
        let [start, end] = [0, 1].map(|i| info["data_offsets"][i].as_u64().unwrap() as usize);
        (info["shape"].clone(), data[start..end].to_vec())
    };
    infos.iter().map(|(name, info)| (name.clone(), tensor(info))).collect()
}

fn model(project: &Project, run: &str) -> Value {
    let config = project.read(&format!("{run}/{}/config.json", project.latest(run)));
    serde_json::from_slice::<Value>(&config).unwrap()["model"].take()
}

/// Trains from a checkpoint, with no flag of the model and no tokenizer but those given. One step whose rates are 0 saves the
/// parameters as they begin.
fn begin(project: &Project, flags: &str) -> Ran {
    let still = "--matrix-lr 0 --embedding-lr 0 --unembedding-lr 0 --num-iterations 1";
    project.run(&further(&format!("{still} {flags}")))
}

fn further(flags: &str) -> String {
    format!(
        "train --data docs --device-batch-size 4 --total-batch-size 128 --eval-tokens 512 --threads 1 {flags}"
    )
}

fn with_classic_run() -> Project {
    let project = Project::new();
    project.train("--out base --preset classic --n-kv-head 1 --save-every 10").success();
    project
}

#[test]
fn options_are_added_to_a_trained_model() {
    let project = with_classic_run();
    let ran = begin(&project, "--init-from base --out more --smear --backout");
    ran.success();
    for part in [
        "initialised from base/step-000020: 10 of 13 parameters",
        "  new: smear_gate.weight, smear_lambda, backout_lambda",
    ] {
        assert!(ran.stderr.contains(part), "{part} is not in {}", ran.stderr);
    }
    assert!(!ran.stderr.contains("not in this model"), "{}", ran.stderr);
    let before = tensors(&project, "base/step-000020/model.safetensors");
    let after = tensors(&project, "more/step-000001/model.safetensors");
    assert_eq!((before.len(), after.len()), (10, 13));
    // Scalars and gates have rates of their own, which no flag turns off.
    let still = |name: &String| !name.ends_with("lambdas");
    for (name, tensor) in before.iter().filter(|(name, _)| still(name)) {
        assert!(after[name] == *tensor, "{name} has changed");
    }
    let (mut base, more) = (model(&project, "base"), model(&project, "more"));
    assert_eq!(more["preset"], "classic");
    for option in ["smear", "backout"] {
        base[option] = Value::Bool(true);
    }
    assert_eq!(more, base, "all else is as it was");
    let config = project.read("more/step-000001/config.json");
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["train"]["init_from"], "base");
    assert_eq!(config["train"]["tokenizer"], "base/step-000020/tokenizer");
    let tokenizer = |run: &str| project.read(&format!("{run}/tokenizer/tokenizer.json"));
    assert!(tokenizer("more/step-000001") == tokenizer("base/step-000020"));
}

#[test]
fn options_that_begin_with_nothing_leave_predictions_as_they_were() {
    let project = with_classic_run();
    let first = |name: &str, flags: &str| {
        let ran = begin(&project, &format!("--init-from base --dtype f32 --out {name} {flags}"));
        ran.success();
        (steps(&project.metrics(name))[0].clone(), ran.stderr)
    };
    let (plain, _) = first("plain", "");
    let (smear, _) = first("smear", "--smear");
    let (engram, told) = first("engram", "--engram");
    assert!(told.contains("  new: transformer.h.0.engram.in_proj.weight, "), "{told}");
    assert_eq!((&smear["loss"], &engram["loss"]), (&plain["loss"], &plain["loss"]));
    let (mtp, told) = first("mtp", "--mtp");
    assert!(told.contains("  new: mtp.proj.weight, mtp.block.attn.c_q.weight, "), "{told}");
    assert_eq!(mtp["loss"], plain["loss"]);
    assert!(mtp["mtp_loss"].is_number(), "{mtp}");
    let (mhc, told) = first("mhc", "--mhc");
    assert!(told.contains("  new: transformer.h.0.mhc.score_proj.weight, "), "{told}");
    assert_ne!(mhc["loss"], plain["loss"], "a plain average is something else");
}

#[test]
fn what_a_model_does_not_have_is_left_and_named() {
    let project = Project::with_run();
    let ran =
        begin(&project, "--init-from run/step-10 --out less --smear false --value-embeds false");
    ran.success();
    for part in [
        "initialised from run/step-000010: 16 of 16 parameters",
        "  not in this model: smear_gate.weight, smear_lambda, transformer.h.0.attn.ve_gate.weight, \
         value_embeds.0.weight",
    ] {
        assert!(ran.stderr.contains(part), "{part} is not in {}", ran.stderr);
    }
    assert!(!ran.stderr.contains("  new: "), "{}", ran.stderr);
}

#[test]
fn a_run_that_began_from_another_goes_on_without_it() {
    let project = with_classic_run();
    let line = "--init-from base --smear --num-iterations 100 --save-every 5 --keep 1";
    project.run(&further(&format!("--out whole {line}"))).success();
    let first = steps(&project.metrics("whole"))[0]["loss"].as_f64().unwrap();
    let fresh = steps(&project.metrics("base"))[0]["loss"].as_f64().unwrap();
    assert!(first < fresh - 0.02, "it begins with what was learned: {first} and {fresh}");

    let killed = project.start_line(&further(&format!("--out run {line}")));
    assert!(
        killed.wait_until(|run| run.join("step-000010").exists()).kill(),
        "it was over too soon"
    );
    fs::remove_dir_all(project.path("base")).unwrap();
    let ran = project.run(&further(&format!("--out run {line}")));
    ran.success();
    assert!(ran.stderr.contains("resuming from run/step-0000"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("initialised from"), "it is not begun again: {}", ran.stderr);
    assert_eq!(project.metrics("run"), project.metrics("whole"));
    let saved = |run: &str| tensors(&project, &format!("{run}/step-000100/model.safetensors"));
    assert!(saved("run") == saved("whole"));
}

#[test]
fn bf16_products_read_what_was_loaded() {
    let project = with_classic_run();
    let loss = |flags: &str| {
        begin(&project, &format!("--init-from base --out {flags}")).success();
        steps(&project.metrics(flags.split(' ').next().unwrap()))[0]["loss"].as_f64().unwrap()
    };
    let (full, half) = (loss("full --dtype f32"), loss("half --dtype bf16"));
    assert!((full - half).abs() < 0.01, "{full} and {half}");
}

#[test]
fn checkpoints_that_do_not_fit_are_refused() {
    let project = with_classic_run();
    let refused = |flags: &str, code: i32, parts: &[&str]| {
        begin(&project, &format!("--out other {flags}")).fails(code, parts);
        assert!(!project.path("other").exists(), "{flags}");
    };
    refused("--init-from nowhere", 1, &["--init-from: no run or checkpoint at nowhere"]);
    refused("--init-from docs", 1, &["--init-from: ", "docs"]);
    refused("--init-from base/step-7", 1, &["no checkpoint of step 7, but of 10, 20"]);
    refused(
        "--init-from base --aspect-ratio 64 --head-dim 64",
        1,
        &[
            "base/step-000020 does not fit: transformer.wte.weight is [512, 32] there, [512, 64] here",
            "and 4 more",
        ],
    );
    refused("--init-from base --n-head 5", 2, &["--n-head: 5 heads do not divide the width 32"]);
    refused("--init-from base --mtp-lambda 1", 2, &["means nothing without --mtp"]);
    project.run("tokenizer train --data docs --out tok2 --vocab-size 300").success();
    refused(
        "--init-from base --tokenizer tok2",
        1,
        &["the vocabulary of tok2 (300 tokens) is not that of base/step-000020 (512 tokens)"],
    );
    // As many tokens, but others.
    project.write(
        "x.jsonl",
        "{\"text\": \"zebra quagga okapi zebra quagga okapi zebra\"}\n".repeat(20),
    );
    project.run("tokenizer train --data x.jsonl --out tok3 --vocab-size 270").success();
    project.run("tokenizer train --data docs --out tok4 --vocab-size 270").success();
    project.run(&train_line("--tokenizer tok4 --out small --num-iterations 1")).success();
    refused("--init-from small --tokenizer tok3", 1, &["the vocabulary of tok3 (270 tokens)"]);
    begin(&project, "--init-from small --tokenizer tok4 --out other").success();
}

#[test]
fn a_plan_follows_the_checkpoint_too() {
    let project = with_classic_run();
    let total = |flags: &str| {
        let plan = project
            .run(&format!("plan --json --device-batch-size 4 --total-batch-size 128 {flags}"));
        plan.json()["parameters_total"].as_u64().unwrap()
    };
    let more = total("--init-from base --smear --backout");
    assert_eq!(more, total("--init-from base") + 24 + 1 + 1);
}

#[test]
fn a_plan_refuses_what_training_would() {
    let project = with_classic_run();
    let refused = |flags: &str, code: i32, part: &str| {
        project.run(&format!("plan --init-from base {flags}")).fails(code, &[part]);
    };
    refused("--vocab-size 600", 2, "--vocab-size cannot be used with --init-from");
    refused(
        "--aspect-ratio 64 --head-dim 64",
        1,
        "does not fit: transformer.wte.weight is [512, 32]",
    );
    project.run("tokenizer train --data docs --out tok2 --vocab-size 300").success();
    refused("--tokenizer tok2", 1, "the vocabulary of tok2 (300 tokens)");
    let named = "plan --tokenizer tok2 --vocab-size 300";
    project.run(named).fails(2, &["--vocab-size cannot be used with --tokenizer"]);
}
