//! Runs that are killed or interrupted and go on: as if nothing had happened.

use std::path::Path;

use crate::project::{Project, names, steps};

/// Steps of four micro-batches, so that there is time to kill a run; the 14,000 tokens of the documents are seen
/// more than once.
const RUN: &str =
    "--num-iterations 100 --save-every 10 --eval-every 20 --depth 2 --total-batch-size 512";

/// Checks that a run's metrics are those of `whole`, line by line, and that nothing hidden is left in its folder.
#[track_caller]
fn assert_same(project: &Project, run: &str, whole: &str) {
    let (found, expected) = (project.metrics(run), project.metrics(whole));
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
    let hidden = names(&project.path(run)).into_iter().filter(|name| name.starts_with('.'));
    assert_eq!(hidden.collect::<Vec<_>>(), [""; 0]);
}

fn model(project: &Project, run: &str) -> Vec<u8> {
    let latest = project.latest(run);
    project.read(&format!("{run}/{latest}/model.safetensors"))
}

#[test]
fn a_run_killed_at_any_moment_goes_on_bit_for_bit() {
    let project = Project::new();
    project.train(&format!("--out whole {RUN}")).success();
    let lines = project.metrics("whole");
    assert_eq!(steps(&lines).len(), 100);
    let state = project.read("whole/step-000100/state.json");
    let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
    assert!(
        state["loader"]["sets"][0]["epoch"].as_u64().unwrap() >= 2,
        "a border of epochs is crossed"
    );

    let mut killed = 0;
    // Before the first checkpoint, just after one, between two, where an evaluation is due, near the end.
    for step in [4, 11, 37, 61, 96] {
        killed +=
            usize::from(project.start(&format!("--out run {RUN}")).wait_for_steps(step).kill());
    }
    assert!(killed >= 3, "only {killed} of 5 runs were caught");
    let ran = project.train(&format!("--out run {RUN}"));
    ran.success();
    assert!(ran.stderr.contains("resuming from run/step-0000"), "{}", ran.stderr);
    assert_same(&project, "run", "whole");
    assert_eq!(model(&project, "run"), model(&project, "whole"));
}

#[test]
fn a_run_killed_while_saving_goes_on_bit_for_bit() {
    let project = Project::new();
    let line = "--num-iterations 30 --save-every 3 --eval-every 6 --preset classic";
    project.train(&format!("--out whole {line}")).success();
    let saving = |run: &Path| names(run).iter().any(|name| name.contains(".tmp-"));
    let mut caught = 0;
    for _ in 0..4 {
        project.start(&format!("--out run {line}")).wait_until(saving).kill();
        caught += usize::from(saving(&project.path("run")));
    }
    assert!(caught >= 1, "no run was caught while saving");
    project.train(&format!("--out run {line}")).success();
    assert_same(&project, "run", "whole");
    assert_eq!(model(&project, "run"), model(&project, "whole"));
}

/// Two threads share the work in the same way every time.
#[test]
fn a_run_on_two_threads_goes_on_bit_for_bit() {
    let project = Project::new();
    let line = "--threads 2 --num-iterations 24 --save-every 4 --seq-len 64 --total-batch-size 256";
    project.train(&format!("--out whole {line}")).success();
    for step in [2, 9] {
        project.start(&format!("--out run {line}")).wait_for_steps(step).kill();
    }
    project.train(&format!("--out run {line}")).success();
    assert_same(&project, "run", "whole");
    assert_eq!(model(&project, "run"), model(&project, "whole"));
}

/// A kill between a step's line and the end of the disk's write leaves half a line.
#[test]
fn half_a_line_of_metrics_is_dropped() {
    let project = Project::new();
    project.train("--out whole --save-every 10").success();
    project.train("--out run --save-every 10 --keep 0").success();
    let whole = project.metrics("run");
    project.edit("run/metrics.jsonl", |bytes| bytes.truncate(bytes.len() / 2));
    assert!(project.metrics("run").len() < whole.len());
    std::fs::remove_dir_all(project.path("run/step-000020")).unwrap();
    project.write("run/latest", "step-000010\n");
    // The metrics must reach to the checkpoint: lines that were lost before it are lost.
    let text = String::from_utf8(project.read("whole/metrics.jsonl")).unwrap();
    let torn: String = text.split_inclusive('\n').take(14).collect();
    project.write("run/metrics.jsonl", &torn[..torn.len() - 9]);
    project.train("--out run --save-every 10 --keep 0").success();
    assert_same(&project, "run", "whole");
}

#[test]
fn a_run_goes_on_from_the_step_that_is_named() {
    let project = Project::new();
    let line =
        "--num-iterations 40 --save-every 10 --eval-every 10 --keep 0 --total-batch-size 256";
    project.train(&format!("--out run {line}")).success();
    project.train(&format!("--out whole {line}")).success();
    for step in [10, 30] {
        let ran = project.train(&format!("--out run {line} --resume {step}"));
        ran.success();
        let from = format!("resuming from run/step-0000{step}");
        assert!(ran.stderr.contains(&from), "{}", ran.stderr);
        assert_same(&project, "run", "whole");
    }
    // Killed before the next save: later checkpoints are of another course, and not gone on from.
    let at_10 =
        |run: &Path| std::fs::read_to_string(run.join("latest")).unwrap() == "step-000010\n";
    project
        .start(&format!("--out run {line} --resume 10"))
        .wait_until(at_10)
        .wait_for_steps(12)
        .kill();
    project.train(&format!("--out run {line}")).success();
    assert_same(&project, "run", "whole");
}

#[test]
fn a_resumption_that_is_refused_changes_nothing() {
    let project = Project::new();
    project.train("--out run --save-every 5 --keep 0").success();
    let before = crate::project::files(&project.path("run"));
    project.train("--out run --resume 5 --seed 1").fails(1, &["the seed was 0 and is 1"]);
    project.train("--out run --resume 5 --depth 2").fails(1, &["n_layer: 1 -> 2"]);
    project.train("--out run --resume 7").fails(1, &["no checkpoint of step 7", "5, 10, 15, 20"]);
    project.train("--out run --resume never").fails(1, &["run already holds a run", "--out"]);
    assert_eq!(crate::project::files(&project.path("run")), before);
}

#[test]
#[cfg(unix)]
fn ctrl_c_finishes_the_step_saves_and_exits_with_130() {
    let project = Project::new();
    project.train(&format!("--out whole {RUN}")).success();
    // Before the first checkpoint, and where an evaluation is due but the checkpoint has not been made for it.
    for step in [3, 45] {
        let training = project.start(&format!("--out run {RUN}")).wait_for_steps(step);
        let (status, stderr) = training.interrupt();
        assert_eq!(status.code(), Some(130), "{stderr}");
        let done = steps(&project.metrics("run")).len();
        assert!(done >= step && done < 100, "{done} steps");
        assert_eq!(project.latest("run"), format!("step-{done:06}"));
        for part in [&format!("saved run/step-{done:06}"), &format!("stopped after {done} steps")] {
            assert!(stderr.contains(part), "{part} is not in {stderr}");
        }
        assert!(stderr.ends_with("interrupted\n"), "{stderr}");
    }
    project.train(&format!("--out run {RUN}")).success();
    assert_same(&project, "run", "whole");
    assert_eq!(model(&project, "run"), model(&project, "whole"));
}

/// An evaluation after a save that Ctrl-C made exactly there belongs into the metrics, once.
#[test]
fn an_evaluation_due_at_the_checkpoint_is_made_again() {
    let project = Project::new();
    let line = "--num-iterations 20 --save-every 5 --eval-every 5 --keep 0";
    project.train(&format!("--out whole {line}")).success();
    project.train(&format!("--out run {line}")).success();
    project.train(&format!("--out run {line} --resume 15")).success();
    assert_same(&project, "run", "whole");
}

#[test]
fn a_finished_run_is_left_as_it_is() {
    let project = Project::with_run();
    let before = crate::project::files(&project.path("run"));
    let ran = project.train("--out run --save-every 10");
    ran.success();
    assert!(ran.stderr.contains("this run is finished"), "{}", ran.stderr);
    assert_eq!(crate::project::files(&project.path("run")), before);
}
