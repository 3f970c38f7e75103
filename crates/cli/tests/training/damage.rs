//! Checkpoints that are damaged, of another model, or of another version of Kiln.

use std::fs;
use std::path::Path;

use kiln_train::checkpoint::CheckpointWriter;
use serde_json::Value;

use crate::project::Project;

const GENERATE: &str = "generate --checkpoint run --prompt x --max-tokens 4";
const EVAL: &str = "eval bpb --checkpoint run --data docs";

/// Saves `run/step-000020` anew with changes, as a Kiln would have that wrote it so: `MANIFEST` vouches for it.
fn rewrite(project: &Project, change: impl Fn(&str, Vec<u8>) -> Vec<u8>) {
    let run = project.path("run");
    let checkpoint = kiln_train::checkpoint::load(&run.join("step-000020")).unwrap().checkpoint;
    let files: Vec<_> = checkpoint
        .files()
        .iter()
        .map(|name| (name.clone(), change(name, fs::read(checkpoint.path(name)).unwrap())))
        .collect();
    let mut writer = CheckpointWriter::create(&run, 20).unwrap();
    for (name, bytes) in files {
        writer.file(&name, |out| out.write_all(&bytes)).unwrap();
    }
    writer.commit().unwrap();
}

fn change_config(project: &Project, change: impl Fn(&mut Value)) {
    rewrite(project, |name, bytes| {
        if name != "config.json" {
            return bytes;
        }
        let mut config = serde_json::from_slice(&bytes).unwrap();
        change(&mut config);
        serde_json::to_vec(&config).unwrap()
    });
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_it_used() {
    type Damage = fn(&mut Vec<u8>);
    let cases: [(&str, Damage, &str); 4] = [
        ("model.safetensors", |bytes| bytes.truncate(1000), "truncated"),
        ("optimizer.safetensors", |bytes| bytes[5000] ^= 1, "damaged"),
        ("state.json", |bytes| bytes[10] ^= 1, "damaged"),
        ("MANIFEST", |bytes| bytes.truncate(70), "damaged"),
    ];
    let project = Project::with_run();
    let expected = project.metrics("run");
    for (file, damage, what) in cases {
        project.edit(&format!("run/step-000020/{file}"), damage);
        let parts = [format!("run/step-000020/{file}"), what.into(), "run/step-000010".into()];
        for line in [GENERATE, EVAL] {
            let ran = project.run(line);
            ran.success();
            for part in &parts {
                assert!(ran.stderr.contains(part), "{part} is not in {}", ran.stderr);
            }
        }
        let named = GENERATE.replace("run", "run/step-000020");
        project.run(&named).fails(1, &[&parts[0], what]);
        let ran = project.train("--out run --save-every 10");
        ran.success();
        assert!(ran.stderr.contains(&parts[0]), "{}", ran.stderr);
        assert!(ran.stderr.contains("resuming from run/step-000010"), "{}", ran.stderr);
        // The run has replaced the damaged checkpoint on its way.
        assert_eq!(project.metrics("run"), expected);
        project.run(&named).success();
    }
}

#[test]
fn a_run_without_a_whole_checkpoint_is_refused() {
    let project = Project::with_run();
    for step in [10, 20] {
        project.edit(&format!("run/step-0000{step}/config.json"), |bytes| bytes.push(b' '));
    }
    let parts = [
        "no checkpoint of run can be used",
        "run/step-000020/config.json is too long",
        "run/step-000010/config.json is too long",
        "hint: ",
    ];
    project.run(GENERATE).fails(1, &parts);
    let ran = project.train("--out run");
    ran.fails(1, &parts);
    assert_eq!(ran.stderr.lines().count(), 2, "{}", ran.stderr);
    project.train("--out run --resume 20").fails(1, &["run/step-000020/config.json is too long"]);
}

#[test]
fn a_missing_run_or_checkpoint_is_told() {
    let project = Project::with_run();
    let generate = |path| project.run(&GENERATE.replace("run", path));
    generate("nowhere").fails(1, &["no run or checkpoint at nowhere", "kiln train"]);
    generate("docs").fails(1, &["docs holds no checkpoint", "kiln train"]);
    generate("run/step-000033").fails(1, &["no checkpoint of step 33", "10, 20"]);
    project.train("--out other --resume 7").fails(1, &["other"]);
    assert!(!project.path("other").exists());
}

#[test]
fn keys_that_this_version_does_not_know_are_told() {
    let project = Project::with_run();
    change_config(&project, |config| {
        config["model"]["hologram"] = true.into();
        config["colour"] = "blue".into();
    });
    for line in [GENERATE, EVAL] {
        let ran = project.run(line);
        ran.success();
        for key in
            ["unknown key model.hologram", "unknown key colour", "run/step-000020/config.json"]
        {
            assert!(ran.stderr.contains(key), "{key} is not in {}", ran.stderr);
        }
    }
    let ran = project.train("--out run --save-every 10");
    ran.success();
    assert!(ran.stderr.contains("unknown key model.hologram"), "{}", ran.stderr);
}

#[test]
fn a_key_that_is_missing_has_its_default() {
    let project = Project::with_run();
    let expected = project.run(GENERATE).success().to_owned();
    change_config(&project, |config| {
        config["model"].as_object_mut().unwrap().remove("softcap");
        config["train"].as_object_mut().unwrap().remove("field");
    });
    let ran = project.run(GENERATE);
    assert_eq!(ran.success(), expected);
    assert_eq!(ran.stderr, "");
}

#[test]
fn a_configuration_that_does_not_fit_the_weights_is_refused() {
    let project = Project::with_run();
    change_config(&project, |config| config["model"]["n_layer"] = 2.into());
    for line in [GENERATE, EVAL] {
        project.run(line).fails(1, &["run/step-000020/model.safetensors", "transformer.h.1."]);
    }
    change_config(&project, |config| {
        config["model"]["n_layer"] = 1.into();
        config["model"]["n_embd"] = 64.into();
    });
    project
        .run(GENERATE)
        .fails(1, &["run/step-000020/model.safetensors", "transformer.wte.weight"]);
    change_config(&project, |config| config["model"]["n_embd"] = 0.into());
    project.run(GENERATE).fails(1, &["run/step-000020/config.json", "n_embd"]);
    change_config(&project, |config| config["model"]["n_embd"] = "wide".into());
    project.run(GENERATE).fails(1, &["run/step-000020/config.json", "wide"]);
}

#[test]
fn a_checkpoint_of_another_run_is_not_gone_on_from() {
    let project = Project::with_run();
    project.train("--out run --depth 2").fails(1, &["of another run", "n_layer: 1 -> 2", "--out"]);
    project.train("--out run --matrix-lr 0.5").fails(1, &["matrix_lr: 0.02 -> 0.5"]);
    project.train("--out run --num-iterations 50").fails(1, &["horizon", "50"]);
    let longer = project.train("--out run --seq-len 64 --total-batch-size 256");
    longer.fails(1, &["sequence length was 32 and is 64", "--out"]);
    project.write("docs/untold.jsonl", "{\"text\": \"int x;\"}\n");
    project.train("--out run").fails(1, &["is new", "--out"]);
}

#[test]
fn a_run_goes_on_in_the_type_that_it_began_in() {
    let project = Project::new();
    project.train("--out run --save-every 10 --dtype f32").success();
    let other = project.train("--out run --resume 10 --dtype bf16");
    other.fails(1, &["of another run", "dtype: \"f32\" -> \"bf16\"", "--out"]);
    // Whatever this machine would choose for a run that begins.
    project.train("--out run --resume 10").success();
    // Of a run from before there was a choice.
    change_config(&project, |config| {
        config["train"].as_object_mut().unwrap().remove("dtype").expect("it is saved");
    });
    project.train("--out run").success();
}

#[test]
fn a_tokenizer_that_is_not_the_models_is_refused() {
    let project = Project::with_run();
    project.run("tokenizer train --data docs --out small --vocab-size 300").success();
    project
        .train("--out run --tokenizer small")
        .fails(1, &["the tokenizer is another one", "--out"]);
    let small = project.path("small");
    rewrite(&project, |name, bytes| match name.strip_prefix("tokenizer/") {
        Some(file) => fs::read(Path::new(&small).join(file)).unwrap(),
        None => bytes,
    });
    for line in [GENERATE, EVAL] {
        project.run(line).fails(1, &["run/step-000020", "300", "512"]);
    }
}
