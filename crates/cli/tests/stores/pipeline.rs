//! From sources to a model on an object store: the same bytes as on this machine.

use crate::kiln::samples;
use crate::places::{Places, SMALL, files, metrics, wait_until};

const TRAIN: &str = "--num-iterations 60 --save-every 10 --eval-every 20 --keep 2 --seed 3";

#[test]
fn the_whole_way_gives_the_same_bytes_as_locally() {
    let Some(places) = Places::new() else { return };
    let samples = samples();
    let folder = &places.folder;

    // Locally.
    let sources = format!("{samples}/ringlog {samples}/exprcalc");
    folder.run(&format!("corpus files {sources} --out docs --validation-share 0.1")).success();
    folder.run("tokenizer train --data docs --out tok --vocab-size 512").success();
    folder.run(&format!("train --data docs --tokenizer tok --out run {SMALL} {TRAIN}")).success();

    // The same with everything on the store.
    for project in ["ringlog", "exprcalc"] {
        places.run(&format!("copy {samples}/{project} s3://bucket/src/{project}")).success();
    }
    let ran = places.run(
        "corpus files s3://bucket/src/ringlog/ s3://bucket/src/exprcalc --out s3://bucket/docs \
         --validation-share 0.1",
    );
    assert!(ran.success().contains("to s3://bucket/docs\n"), "{}", ran.success());
    assert_eq!(places.files("s3://bucket/docs"), files(&folder.path("docs")));
    let line = "corpus files s3://bucket/src/ringlog --out s3://bucket/docs";
    places.run(line).fails(1, &["s3://bucket/docs", "--overwrite"]);

    let ran = places
        .run("tokenizer train --data s3://bucket/docs --out s3://bucket/tok --vocab-size 512");
    assert!(ran.success().contains("wrote the tokenizer to s3://bucket/tok"), "{}", ran.success());
    assert_eq!(places.files("s3://bucket/tok"), files(&folder.path("tok")));
    places
        .run("tokenizer export --tokenizer s3://bucket/tok --format hf --out s3://bucket/x/hf.json")
        .success();
    let exported = places.files("s3://bucket/x");
    assert_eq!(exported["hf.json"], folder.read("tok/tokenizer.json"));
    places.assert_clean();

    train_killed_and_resumed(&places);
    let local = files(&folder.path("run"));
    let remote = places.files("s3://bucket/run");
    // What differs is when it was made, and where from.
    let differs = |name: &str| name.ends_with("config.json") || name.ends_with("state.json");
    let names = |files: &std::collections::BTreeMap<String, Vec<u8>>| -> Vec<String> {
        files.keys().cloned().collect()
    };
    assert_eq!(names(&remote), names(&local));
    for (name, content) in &remote {
        if name == "metrics.jsonl" {
            assert_eq!(metrics(content), metrics(&local[name]));
        } else if !differs(name) && !name.ends_with("MANIFEST") {
            assert_eq!(content, &local[name], "{name}");
        }
    }
    let config: serde_json::Value =
        serde_json::from_slice(&remote["step-000060/config.json"]).unwrap();
    assert_eq!(config["train"]["data"][0]["path"], "s3://bucket/docs");
    assert_eq!(config["train"]["tokenizer"], "s3://bucket/tok");

    let generate = "--prompt int --max-tokens 20 --temperature 0 --threads 1";
    let expected = folder.run(&format!("generate --checkpoint run {generate}"));
    for checkpoint in ["s3://bucket/run", "s3://bucket/run/step-60", "s3://bucket/run/step-000060/"]
    {
        let ran = places.run(&format!("generate --checkpoint {checkpoint} {generate}"));
        assert_eq!(ran.success(), expected.success(), "{checkpoint}");
    }
    let eval = "--json --threads 1";
    let expected = folder.run(&format!("eval bpb --checkpoint run --data docs {eval}")).json();
    let found = places
        .run(&format!("eval bpb --checkpoint s3://bucket/run --data s3://bucket/docs {eval}"))
        .json();
    assert_eq!(found["bits_per_byte"], expected["bits_per_byte"]);
    assert_eq!(found["checkpoint"], "s3://bucket/run/step-000060");
    let planned = places.run("plan --depth 1 --aspect-ratio 32 --tokenizer s3://bucket/tok --json");
    assert_eq!(planned.json()["config"]["model"]["vocab_size"], 512);
}

/// Trains to the end in three sittings, two of which are killed after a checkpoint was published.
fn train_killed_and_resumed(places: &Places) {
    let line = format!(
        "train --data s3://bucket/docs --tokenizer s3://bucket/tok --out s3://bucket/run {SMALL} {TRAIN}"
    );
    let mut seen = String::new();
    for _ in 0..2 {
        let mut child = places.start(&line);
        wait_until("a checkpoint", || {
            let latest = latest(places);
            let is_new = latest.as_ref().is_some_and(|latest| *latest != seen);
            is_new || child.try_wait().unwrap().is_some()
        });
        let _ = child.kill();
        child.wait().unwrap();
        seen = latest(places).unwrap();
    }
    let ran = places.run(&line);
    ran.success();
    assert!(ran.stderr.contains("resuming from s3://bucket/run/step-0000"), "{}", ran.stderr);
    assert!(ran.stderr.contains("saved s3://bucket/run/step-000060"), "{}", ran.stderr);
    assert!(ran.stderr.contains("saved in s3://bucket/run\n"), "{}", ran.stderr);
    let again = places.run(&line);
    again.success();
    assert!(again.stderr.contains("this run is finished"), "{}", again.stderr);
}

fn latest(places: &Places) -> Option<String> {
    let ran = places.run("copy s3://bucket/run/latest latest");
    (ran.code == Some(0)).then(|| String::from_utf8(places.folder.read("latest")).unwrap())
}

#[test]
fn indexed_documents_grow_on_the_store() {
    let Some(places) = Places::new() else { return };
    let samples = samples();
    let flags = "--parser tree-sitter";
    for (project, more) in [("ringlog", ""), ("exprcalc", "--append")] {
        let line = format!("corpus index {samples}/{project} {flags} {more}");
        places.folder.run(&format!("{line} --out docs")).success();
        places.run(&format!("{line} --out s3://bucket/docs")).success();
    }
    assert_eq!(places.files("s3://bucket/docs"), files(&places.folder.path("docs")));
    places.run(&format!("copy {samples}/ringlog s3://bucket/src/ringlog")).success();
    places.folder.write("list.txt", "# mine\ns3://bucket/src/ringlog\n");
    places.run(&format!("corpus index --projects-list list.txt {flags} --out one")).success();
    places.folder.run(&format!("corpus index {samples}/ringlog {flags} --out two")).success();
    assert_eq!(files(&places.folder.path("one")), files(&places.folder.path("two")));
    let line = format!("corpus graph s3://bucket/src/ringlog {flags} --format json");
    places.run(&format!("{line} --out s3://bucket/graph.json")).success();
    places.run("copy s3://bucket/graph.json graph.json").success();
    let expected =
        places.folder.run(&format!("corpus graph {samples}/ringlog {flags} --format json"));
    let found: serde_json::Value =
        serde_json::from_slice(&places.folder.read("graph.json")).unwrap();
    assert_eq!(found, expected.json());
    places.assert_clean();
}

#[test]
fn a_smaller_set_of_documents_replaces_a_larger_one() {
    let Some(places) = Places::new() else { return };
    let samples = samples();
    let line = format!("corpus files {samples} --projects-dir --out s3://bucket/docs");
    places.run(&format!("{line} --shard-bytes 10k")).success();
    assert!(places.files("s3://bucket/docs").len() > 3);
    places.run(&format!("{line} --overwrite")).success();
    let names: Vec<_> = places.files("s3://bucket/docs").into_keys().collect();
    assert_eq!(names, ["_COMPLETE", "documents.jsonl"]);
}

#[test]
fn quickstart_begins_and_goes_on_on_a_store() {
    let Some(places) = Places::new() else { return };
    let line = "quickstart --num-iterations 3 --out s3://bucket/quick --threads 1";
    let ran = places.run(line);
    ran.success();
    assert!(ran.stderr.contains("in s3://bucket/quick/tokenizer"), "{}", ran.stderr);
    let made = places.files("s3://bucket/quick");
    for name in ["corpus.txt", "documents/_COMPLETE", "tokenizer/tokenizer.json", "run/latest"] {
        assert!(made.contains_key(name), "{name} of {:?}", made.keys());
    }
    assert_eq!(made["run/latest"], b"step-000003\n");
    let ran = places.run(line);
    ran.success();
    assert!(ran.stderr.contains("this run is finished (3 steps)"), "{}", ran.stderr);
    places.assert_clean();
}
