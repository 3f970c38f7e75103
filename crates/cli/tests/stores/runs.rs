//! Runs on an object store when something goes wrong.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

use crate::kiln::{Ran, samples};
use crate::places::{Places, SMALL, wait_until};
use crate::proxy;

/// Places with documents in `docs` and a tokenizer in `tok`, both on this machine.
fn places() -> Option<Places> {
    let places = Places::new()?;
    let samples = samples();
    places.folder.run(&format!("corpus files {samples}/ringlog --out docs")).success();
    places.folder.run("tokenizer train --data docs --out tok --vocab-size 512").success();
    Some(places)
}

fn train(flags: &str) -> String {
    format!("train --data docs --tokenizer tok {SMALL} {flags}")
}

#[test]
fn what_cannot_be_saved_to_is_refused_before_training() {
    let Some(places) = places() else { return };
    let line = train("--num-iterations 5 --out s3://no-such-bucket/run");
    let ran = places.run(&line);
    ran.fails(
        1,
        &[
            "s3://no-such-bucket/run",
            "The specified bucket does not exist",
            "hint: make the bucket",
        ],
    );
    assert!(!ran.stderr.contains("first step"), "{}", ran.stderr);
    let ran = places.run(&train("--num-iterations 5 --out http://127.0.0.1:9/run"));
    ran.fails(1, &["http://127.0.0.1:9/run"]);
}

#[test]
fn a_run_is_not_begun_over_another_and_steps_are_found() {
    let Some(places) = places() else { return };
    places
        .run(&train("--num-iterations 6 --save-every 2 --keep 0 --out s3://bucket/run"))
        .success();
    let line = |more: &str| {
        train(&format!("--num-iterations 6 --save-every 2 --keep 0 --out s3://bucket/run {more}"))
    };
    places
        .run(&line("--resume never"))
        .fails(1, &["s3://bucket/run already holds a run", "--resume auto"]);
    places
        .run(&line("--resume 3"))
        .fails(1, &["s3://bucket/run holds no checkpoint of step 3, but of 2, 4, 6"]);
    let generate = "generate --prompt x --max-tokens 1 --checkpoint";
    places
        .run(&format!("{generate} s3://bucket/run/step-3"))
        .fails(1, &["of step 3, but of 2, 4, 6"]);
    places
        .run(&format!("{generate} s3://bucket/docs"))
        .fails(1, &["s3://bucket/docs", "holds no checkpoint"]);
    let ran = places.run(&line("--resume 4"));
    ran.success();
    assert!(ran.stderr.contains("resuming from s3://bucket/run/step-000004"), "{}", ran.stderr);
    places.assert_clean();
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_is_used() {
    let Some(places) = places() else { return };
    let line = train("--num-iterations 6 --save-every 2 --out s3://bucket/run");
    places.run(&line).success();
    places.folder.write("bad", "no weights");
    places.run("copy bad s3://bucket/run/step-000006/model.safetensors").success();
    let ran = places.run(&line);
    ran.success();
    assert!(
        ran.stderr.contains("s3://bucket/run/step-000006/model.safetensors is truncated"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("resuming from s3://bucket/run/step-000004"), "{}", ran.stderr);
    // Damaged no more.
    let ran =
        places.run("generate --prompt x --max-tokens 1 --checkpoint s3://bucket/run/step-000006");
    ran.success();
    assert_eq!(ran.stderr.matches("warning").count(), 0, "{}", ran.stderr);
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_is_published() {
    let Some(places) = places() else { return };
    let mut child =
        places.start(&train("--num-iterations 1000000 --save-every 20 --out s3://bucket/run"));
    wait_until("a checkpoint", || {
        places.run("copy s3://bucket/run/latest latest").code == Some(0)
            || child.try_wait().unwrap().is_some()
    });
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    places.run("copy s3://bucket/run/latest latest").success();
    let latest = String::from_utf8(places.folder.read("latest")).unwrap();
    let saved =
        ran.stderr.lines().rev().find_map(|line| line.strip_prefix("saved s3://bucket/run/"));
    assert_eq!(saved.unwrap(), latest.trim_end(), "{}", ran.stderr);
    places.assert_clean();
}

#[test]
fn nothing_is_lost_when_the_store_goes_away() {
    let Some(mut places) = places() else { return };
    let (port, plan) = proxy::start(places.moto.port());
    places.endpoint = format!("http://127.0.0.1:{port}");
    let mut child =
        places.start(&train("--num-iterations 400 --save-every 20 --keep 3 --out s3://bucket/run"));
    // The connections break as soon as the first checkpoint is there.
    let direct = places.moto.endpoint();
    wait_until("a checkpoint", || {
        let mut command = places.command("copy s3://bucket/run/latest latest");
        let ran = command.env("AWS_ENDPOINT_URL", &direct).output().unwrap();
        ran.status.success() || child.try_wait().unwrap().is_some()
    });
    plan.dead.store(true, Ordering::SeqCst);
    let ran = Ran::from(child.wait_with_output().unwrap());
    ran.fails(1, &["what was made is kept in ", "hint: "]);
    // What broke may as well have been the removal of an old checkpoint.
    let broken = ["error: cannot write s3://bucket/run/", "error: cannot delete s3://bucket/run/"];
    assert!(broken.iter().any(|told| ran.stderr.contains(told)), "{}", ran.stderr);
    let kept = ran.stderr.split("is kept in ").nth(1).unwrap().lines().next().unwrap().to_owned();
    assert!(Path::new(&kept).join("step-000400/MANIFEST").exists(), "{kept}");
    assert_eq!(fs::read_to_string(Path::new(&kept).join("latest")).unwrap(), "step-000400\n");

    // As the hint says.
    plan.dead.store(false, Ordering::SeqCst);
    assert!(ran.stderr.contains(&format!("`kiln copy {kept} URL`")), "{}", ran.stderr);
    places.run(&format!("copy {kept} s3://bucket/run")).success();
    let ran =
        places.run(&train("--num-iterations 400 --save-every 20 --keep 3 --out s3://bucket/run"));
    ran.success();
    assert!(ran.stderr.contains("this run is finished"), "{}", ran.stderr);
}

#[test]
fn shards_are_followed_while_they_are_written() {
    let Some(places) = places() else { return };
    let folder = &places.folder;
    let samples = samples();
    folder
        .run(&format!("corpus files {samples} --projects-dir --out all --validation-share 0.1"))
        .success();
    folder
        .run("corpus shard all --out shards --documents-per-shard 8 --dedup 0 --validation-share 0.1")
        .success();
    let flags = format!("--tokenizer tok {SMALL} --num-iterations 60 --stream");
    folder.run(&format!("train --data shards --out whole {flags}")).success();

    let shards = crate::places::files(&folder.path("shards"));
    let train: Vec<&String> = shards.keys().filter(|name| name.starts_with("train-")).collect();
    assert!(train.len() >= 3, "{:?}", shards.keys());
    let put = |name: &str| {
        places.run(&format!("copy shards/{name} s3://bucket/shards/{name}")).success();
    };
    // Validation and the first shard are there at the beginning, the others appear, the marker comes last.
    shards.keys().filter(|name| name.starts_with("validation")).for_each(|name| put(name));
    put(train[0]);
    let child =
        places.start(&format!("train --data s3://bucket/shards --out s3://bucket/run {flags}"));
    train[1..].iter().for_each(|name| put(name));
    put("_COMPLETE");
    let ran = Ran::from(child.wait_with_output().unwrap());
    ran.success();
    let model = "step-000060/model.safetensors";
    places.run(&format!("copy s3://bucket/run/{model} model")).success();
    assert_eq!(folder.read("model"), folder.read(&format!("whole/{model}")));
    places.assert_clean();
}
