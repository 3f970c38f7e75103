//! Saving where there is no room.

#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::kiln::Ran;
use crate::project::{Project, files, names, train_line};

const RUN: &str = "--num-iterations 40 --save-every 5 --eval-every 10";

/// `kiln` in a shell that lets it write files of at most `blocks` x 512 or 1024 bytes.
fn with_small_files(project: &Project, blocks: u32, line: &str) -> Ran {
    // Without the trap the signal of too large a file ends the process before it can tell.
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" {line}");
    let mut command = Command::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_kiln")]).current_dir(project.path("."));
    Ran::from(command.stdin(Stdio::null()).output().unwrap())
}

#[test]
fn a_save_that_fails_leaves_the_checkpoints_before_it() {
    let project = Project::new();
    project.train(&format!("--out whole {RUN}")).success();
    // A run that is killed after its first checkpoint.
    project.start(&format!("--out run {RUN}")).wait_until(|run| run.join("latest").exists()).kill();
    let latest = project.latest("run");
    let before = files(&project.path(&format!("run/{latest}")));

    let ran = with_small_files(&project, 100, &train_line(&format!("--out run {RUN}")));
    ran.fails(1, &["cannot save run/step-0000", "/model.safetensors: File too large", "hint: "]);
    assert_eq!(project.latest("run"), latest);
    assert_eq!(files(&project.path(&format!("run/{latest}"))), before);
    let left = names(&project.path("run"));
    assert!(!left.iter().any(|name| name.starts_with('.')), "{left:?}");

    project.train(&format!("--out run {RUN}")).success();
    assert_eq!(project.metrics("run"), project.metrics("whole"));
}

#[test]
fn metrics_that_cannot_be_written_are_named() {
    let project = Project::new();
    let ran = with_small_files(&project, 0, &train_line("--out run"));
    ran.fails(1, &["run/metrics.jsonl: "]);
    // Whatever could be written is whole.
    project.train("--out run --save-every 10").success();
    project.train("--out whole --save-every 10").success();
    assert_eq!(project.metrics("run"), project.metrics("whole"));
}

/// A small file system of its own, which only root can have.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, bytes: u32) -> Option<Self> {
        std::fs::create_dir(at).unwrap();
        let size = format!("size={bytes}");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        mount.is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).output();
    }
}

#[test]
fn a_full_disk_leaves_the_checkpoint_before() {
    let project = Project::new();
    project.train(&format!("--out whole {RUN} --keep 1")).success();
    let checkpoint: usize =
        files(&project.path("whole/step-000040")).values().map(|bytes| bytes.len()).sum();
    // Room for one checkpoint and half of another.
    let Some(_disk) = Disk::mount(&project.path("disk"), checkpoint as u32 * 3 / 2) else {
        eprintln!("skipped: no file system can be mounted here");
        return;
    };
    let ran = project.train(&format!("--out disk/run {RUN} --keep 1"));
    ran.fails(1, &["cannot save disk/run/step-000010/", "No space left on device", "hint: "]);
    assert_eq!(names(&project.path("disk/run")), ["latest", "metrics.jsonl", "step-000005"]);
    let generate = "generate --checkpoint disk/run --prompt x --max-tokens 3";
    let ran = project.run(generate);
    ran.success();
    assert_eq!(ran.stderr, "");
}
