//! Training on folders that are still being written, on several data sets, and on rearranged documents.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::project::{Project, steps};

const RUN: &str = "--data stream=0.7 other=0.3 --stream --tokenizer cpp --fim-rate 0.5 --fim-body-rate 0.5 \
    --pairs pairs.jsonl --num-iterations 100 --save-every 10 --eval-every 20 --total-batch-size 256 --seq-len 64";

/// A project with a tokenizer of kind `cpp`, two finished data sets, pairs, and the shards of a stream yet to appear.
fn project() -> Project {
    let project = Project::new();
    project.run("tokenizer train --kind cpp --data docs --out cpp --vocab-size 3300").success();
    project
        .run("corpus shard docs/train.jsonl --out made --documents-per-shard 3 --dedup 0")
        .success();
    let small: String = (0..120)
        .map(|n| format!("{{\"text\":\"int twice_{n}(int a) {{ return {n} + 2 * a; }}\\n\"}}\n"))
        .collect();
    project.write("other/a.jsonl", small).write("other/_COMPLETE", "");
    let pairs: String = (0..20)
        .map(|n| format!("{{\"docstring\":\"Gives {n}.\",\"signature\":\"int f{n}()\",\"body\":\" return {n}; \"}}\n"))
        .collect();
    project.write("pairs.jsonl", pairs);
    project
}

/// The shards in the order of their names, the marker last.
fn parts(project: &Project) -> Vec<String> {
    let mut names = crate::project::names(&project.path("made"));
    names.sort_by_key(|name| (name == "_COMPLETE", !name.starts_with("validation"), name.clone()));
    names
}

/// Makes parts of the stream be there.
fn appear(project: &Project, folder: &str, parts: &[String]) {
    fs::create_dir_all(project.path(folder)).unwrap();
    for part in parts {
        let (hidden, name) = (format!("{folder}/.{part}"), format!("{folder}/{part}"));
        fs::copy(project.path(&format!("made/{part}")), project.path(&hidden)).unwrap();
        fs::rename(project.path(&hidden), project.path(&name)).unwrap();
    }
}

#[test]
fn a_run_killed_while_its_data_grow_goes_on_bit_for_bit() {
    let project = project();
    let parts = parts(&project);
    assert!(parts.len() >= 6, "{parts:?}");
    appear(&project, "all", &parts);
    let whole = RUN.replace("stream=0.7", "all=0.7");
    project.train(&format!("--out whole {whole}")).success();
    let lines = project.metrics("whole");
    assert_eq!(steps(&lines).len(), 100);
    let state = project.read("whole/step-000100/state.json");
    let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
    let stream = &state["loader"]["sets"][0];
    assert!(stream["epoch"].as_u64().unwrap() >= 1, "the stream is read to its end: {stream}");
    assert_eq!(stream["stream"]["complete"], true);
    let fim = &state["loader"]["fim"];
    assert!(
        fim["body"].as_u64().unwrap() > 10 && fim["structured"].as_u64().unwrap() > 10,
        "{fim}"
    );

    // The validation file and some shards; the run waits for more and is killed in the midst of it, more than once.
    let mut there = 0;
    let mut killed = 0;
    for (more, step) in
        [(3, 2), (4, 8), (parts.len() - 1, 24), (parts.len(), 33), (parts.len(), 51)]
    {
        appear(&project, "stream", &parts[there..more]);
        there = more;
        let caught = project.start(&format!("--out run {RUN}"));
        let enough = |run: &Path| {
            let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
            text.matches("\"loss\"").count() >= step
        };
        killed += usize::from(caught.wait_until_or(enough, Duration::from_secs(3)).kill());
    }
    assert!(killed >= 3, "only {killed} of 5 runs were caught");
    project.train(&format!("--out run {RUN}")).success();
    let (found, expected) = (project.metrics("run"), project.metrics("whole"));
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
    let model = |run: &str| project.read(&format!("{run}/step-000100/model.safetensors"));
    assert_eq!(model("run"), model("whole"));
}

#[test]
fn a_stream_that_stops_is_told_and_nothing_is_lost() {
    let project = project();
    let parts = parts(&project);
    // Packing begins with sixteen documents; these are eighteen and one to validate on.
    appear(&project, "stream", &parts[..7]);
    project.write("stream/z.parquet", "PAR1 is how it begins");
    let line = "--data stream --stream --stream-patience 1 --num-iterations 120 --save-every 0 --eval-every 0";
    let ran = project.train(&format!("--out run {line}"));
    ran.fails(
        1,
        &[
            "no new file in stream",
            "and no _COMPLETE",
            "half-written: z.parquet",
            "--stream-patience",
        ],
    );
    let done = steps(&project.metrics("run")).len();
    assert!(done > 0);
    assert_eq!(project.latest("run"), format!("step-{done:06}"), "what was trained is saved");

    appear(&project, "stream", &parts[7..]);
    let ran = project.train(&format!("--out run {line}"));
    ran.success();
    let part = "z.parquet cannot be read and was skipped";
    assert!(ran.stderr.contains(part), "{}", ran.stderr);
    project
        .train(&format!("--out other-run {line} --strict"))
        .fails(1, &["z.parquet cannot be read"]);
}

#[test]
#[cfg(unix)]
fn ctrl_c_is_heard_while_waiting_for_files() {
    let project = project();
    let parts = parts(&project);
    appear(&project, "stream", &parts[..3]);
    let line = "--data stream --stream --num-iterations 500 --save-every 0 --eval-every 0";
    let training = project.start(&format!("--out run {line}"));
    let training = training.wait_until_or(|_| false, Duration::from_secs(3));
    let (status, stderr) = training.interrupt();
    assert_eq!(status.code(), Some(130), "{stderr}");
    let done = steps(&project.metrics("run")).len();
    if done > 0 {
        assert_eq!(project.latest("run"), format!("step-{done:06}"));
    }
}

#[test]
fn settings_of_the_data_that_do_not_go_together_name_the_flag() {
    let project = Project::new();
    let cases: [(&str, i32, &[&str]); 12] = [
        ("--fim-rate 0.5", 1, &["fill-in-the-middle needs tokens", "--kind cpp"]),
        ("--fim-rate 1.5", 2, &["--fim-rate is a share from 0 to 1, not 1.5"]),
        ("--fim-rate 0.5 --fim-spm-rate -1", 2, &["--fim-spm-rate is a share"]),
        ("--fim-spm-rate 0.5", 2, &["--fim-spm-rate means nothing without --fim-rate"]),
        ("--fim-body-rate 0.5", 2, &["--fim-body-rate means nothing without --fim-rate"]),
        ("--pairs-share 0.5", 2, &["--pairs-share means nothing without --pairs"]),
        ("--pairs docs --pairs-share 1", 2, &["--pairs-share is a share", "not 1"]),
        ("--stream-patience 5", 2, &["--stream-patience means nothing without --stream"]),
        ("--data docs=0.5 docs", 2, &["give each --data a weight"]),
        ("--data docs=0 docs=1", 2, &["a weight of --data must be more than 0, not 0"]),
        ("--data docs docs --stream", 2, &["give each --data a weight", "--stream"]),
        ("--data docs --data nowhere", 1, &["nowhere does not exist"]),
    ];
    for (flags, code, parts) in cases {
        project.train(&format!("{flags} --out run")).fails(code, parts);
        assert!(!project.path("run").exists(), "{flags}");
    }
}

#[test]
fn data_sets_may_be_named_in_a_file_and_be_of_any_kind() {
    let project = project();
    project.write(
        "run.toml",
        "data = ['made=3', 'other=1']\ntokenizer = 'cpp'\ndepth = 1\naspect_ratio = 32\nhead_dim = 32\nseq_len = 32\n\
         device_batch_size = 4\ntotal_batch_size = 128\nnum_iterations = 4\nfim_rate = 0.5\n",
    );
    project.run("train --config run.toml --out run").success();
    let config = project.read("run/step-000004/config.json");
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["train"]["data"][0]["path"], "made");
    assert_eq!(config["train"]["data"][1]["weight"], 1.0);
    let other = project.run("train --config run.toml --out run --fim-rate 0.4");
    other.fails(1, &["the rate of fill-in-the-middle was 0.5 and is 0.4"]);
    project.run("tokenizer train --data made --out from-parquet --vocab-size 400").success();
    project.run("eval bpb --checkpoint run --data made").success();
}
