//! `kiln plan` and `kiln bench train`: figures for machines.

use crate::project::Project;

fn plan(project: &Project, flags: &str) -> serde_json::Value {
    let line = "plan --json --aspect-ratio 32 --head-dim 32 --seq-len 64 --device-batch-size 2 --total-batch-size 512";
    project.run(&format!("{line} {flags}")).json()
}

fn number(value: &serde_json::Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Parameters of a plan by kind.
fn parameters(plan: &serde_json::Value) -> std::collections::BTreeMap<String, u64> {
    let rows = plan["parameters"].as_array().unwrap().iter();
    rows.map(|row| (row[0].as_str().unwrap().to_owned(), number(&row[1]))).collect()
}

#[test]
fn the_numbers_of_a_plan_add_up() {
    let project = Project::new();
    let found = plan(&project, "--depth 2 --vocab-size 500 --preset classic --num-iterations 5");
    let by_kind = parameters(&found);
    assert_eq!(number(&found["parameters_total"]), by_kind.values().sum::<u64>());
    let (layers, width, padded) = (2, 64, 512);
    assert_eq!(by_kind["token embedding"], padded * width);
    assert_eq!(by_kind["output layer"], padded * width);
    // Four projections of attention, and an MLP of four times the width.
    let matrices = layers * 12 * width * width;
    assert_eq!(by_kind["matrices"], matrices);
    assert_eq!(by_kind["scalars"], 2 * layers);
    // Six for each parameter of a product, and twelve for each width and position attended to.
    let flops = 6 * (matrices + padded * width) + layers * 12 * width * 64;
    assert_eq!(number(&found["flops_per_token"]), flops);
    assert_eq!((number(&found["micro_batches"]), number(&found["iterations"])), (4, 5));
    let memory = &found["memory"];
    let parts = ["parameters", "gradients", "optimizer", "copies", "activations", "process"];
    let sum: u64 = parts.iter().map(|part| number(&memory[*part])).sum();
    assert_eq!(number(&memory["peak"]), sum);
    assert_eq!(number(&memory["parameters"]), 4 * number(&found["parameters_total"]));
    assert_eq!(memory["gradients"], memory["parameters"]);
}

/// The sizes of the reference model that has every option.
const REFERENCE: &str = "plan --json --preset modern --n-embd 64 --n-head 4 --n-kv-head 2 --seq-len 96 --vocab-size 301 \
                         --window-pattern SL --device-batch-size 2 --total-batch-size 192 --dtype f32";

#[test]
fn options_have_rows_of_their_own() {
    let project = Project::new();
    let plan = |flags: &str| project.run(&format!("{REFERENCE} --depth 3 {flags}")).json();
    let plain = plan("");
    let all = plan("--engram --mhc --mtp");
    let (without, with) = (parameters(&plain), parameters(&all));
    assert_eq!(with["engrams"], 2 * (2 * 16 * 64 + 3 * 16 * 16));
    assert_eq!(with["branch mixing"], 3 * (16 * 64 + 16 * 16));
    let block = 2 * 64 * 64 + 2 * 32 * 64 + 2 * 4 * 64 * 64;
    assert_eq!(with["multi-token prediction"], 64 * 128 + block);
    assert_eq!((with["matrices"], with["indexers"]), (without["matrices"], 0));
    assert_eq!(number(&all["parameters_total"]), with.values().sum::<u64>());
    // The reference has 262,736 with indexers of 3,328.
    assert_eq!(number(&all["parameters_total"]), 262_736 - 3_328);
    let added = with["engrams"] + with["branch mixing"] + with["multi-token prediction"] + 320 * 64;
    assert_eq!(
        number(&all["flops_per_token"]) - number(&plain["flops_per_token"]),
        6 * added + 12 * 64 * 96
    );
    let memory = &all["memory"];
    assert_eq!(number(&memory["parameters"]), 4 * number(&all["parameters_total"]));
    assert_eq!(memory["gradients"], memory["parameters"]);
}

#[test]
fn both_ways_of_keeping_activations_are_planned() {
    let project = Project::new();
    let plan = |flags: &str| project.run(&format!("{REFERENCE} --depth 8 {flags}")).json();
    let (kept, recomputed) = (plan(""), plan("--checkpoint-blocks"));
    for found in [&kept, &recomputed] {
        assert_eq!(found["memory_kept"]["peak"], kept["memory"]["peak"]);
        assert_eq!(found["memory_kept"]["activations"], kept["memory"]["activations"]);
        assert_eq!(found["memory_recomputed"]["peak"], recomputed["memory"]["peak"]);
        assert_eq!(found["memory_recomputed"]["activations"], recomputed["memory"]["activations"]);
    }
    let activations = |found: &serde_json::Value| number(&found["memory"]["activations"]);
    assert!(2 * activations(&recomputed) < activations(&kept), "{kept} and {recomputed}");
    let table = project.run("plan --depth 2");
    for part in ["without --checkpoint-blocks", "with --checkpoint-blocks"] {
        assert!(table.success().contains(part), "{part} is not in {}", table.success());
    }
}

#[test]
fn a_plan_in_bf16_takes_copies_of_weights_and_half_of_most_activations() {
    let project = Project::new();
    let memory = |flags: &str| {
        let found = plan(&project, &format!("--depth 4 --vocab-size 500 --preset classic {flags}"));
        let bytes = ["copies", "activations", "optimizer"].map(|k| number(&found["memory"][k]));
        (bytes, found["config"]["train"]["dtype"].as_str().unwrap().to_owned())
    };
    let ([none, full, state], dtype) = memory("--dtype f32");
    assert_eq!((none, dtype.as_str()), (0, "f32"));
    let ([copies, halved, same], dtype) = memory("--dtype bf16");
    assert_eq!(dtype, "bf16");
    // Four projections of attention and an MLP per layer, and the output layer.
    assert_eq!(copies, 2 * (4 * 12 * 128 * 128 + 512 * 128));
    assert_eq!(state, same);
    assert!(halved * 10 < full * 8, "{halved} and {full}");
    let table = project.run("plan --depth 2 --dtype bf16");
    assert!(table.success().contains("bf16"), "{}", table.success());
}

#[test]
fn a_plan_takes_what_train_takes() {
    let project = Project::new();
    let sizes = |flags: &str| {
        let found = plan(&project, flags);
        (number(&found["parameters_total"]), number(&found["config"]["model"]["vocab_size"]))
    };
    let by_tokenizer = sizes("--depth 1 --tokenizer tok");
    assert_eq!(by_tokenizer, sizes("--depth 1 --vocab-size 512"));
    assert_eq!(by_tokenizer.1, 512);
    project.write("run.toml", "depth = 3\npreset = 'classic'\n");
    assert_eq!(sizes("--config run.toml"), sizes("--depth 3 --preset classic"));
    // Eight tokens for each parameter that counts, unless told otherwise.
    let ratio = |flags: &str| number(&plan(&project, &format!("--depth 1 {flags}"))["iterations"]);
    let (eight, sixteen) = (ratio(""), ratio("--target-param-data-ratio 16"));
    assert!(sixteen.abs_diff(2 * eight) <= 1, "{eight} and {sixteen}");
    let table = project.run("plan --depth 2");
    for part in ["parameters", "peak memory", "MFLOP per token", "micro-batches"] {
        assert!(table.success().contains(part), "{part} is not in {}", table.success());
    }
    project.run("plan --depth 2 --total-batch-size 5").fails(2, &["5", "--total-batch-size"]);
}
