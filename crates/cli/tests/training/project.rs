//! Documents, a tokenizer and small runs on them, in a folder of their own.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::kiln::{Folder, Ran, samples};

/// What `train` gets where a test says nothing else: one layer of width 32.
const FLAGS: [(&str, &str); 11] = [
    ("--data", "docs"),
    ("--tokenizer", "tok"),
    ("--depth", "1"),
    ("--aspect-ratio", "32"),
    ("--head-dim", "32"),
    ("--seq-len", "32"),
    ("--device-batch-size", "4"),
    ("--total-batch-size", "128"),
    ("--eval-tokens", "512"),
    ("--num-iterations", "20"),
    // Tests run side by side: more threads than cores would wait for one another.
    ("--threads", "1"),
];

/// A folder with documents in `docs` (35 KB and one held out) and a tokenizer of 512 tokens in `tok`.
pub struct Project(Folder);

impl Deref for Project {
    type Target = Folder;

    fn deref(&self) -> &Folder {
        &self.0
    }
}

impl Project {
    pub fn new() -> Self {
        let folder = Folder::new();
        let samples = samples();
        let sources = format!("{samples}/ringlog {samples}/exprcalc");
        folder.run(&format!("corpus files {sources} --out docs --validation-share 0.1")).success();
        folder.run("tokenizer train --data docs --out tok --vocab-size 512").success();
        Self(folder)
    }

    /// With a run of 20 steps in `run` and checkpoints of steps 10 and 20.
    pub fn with_run() -> Self {
        let project = Self::new();
        project.train("--out run --save-every 10").success();
        project
    }

    /// Trains with `flags`, and with [`FLAGS`] where those say nothing.
    pub fn train(&self, flags: &str) -> Ran {
        self.run(&train_line(flags))
    }

    /// Starts to train.
    pub fn start(&self, flags: &str) -> Training {
        self.start_line(&train_line(flags))
    }

    /// Starts `kiln train` with these arguments.
    pub fn start_line(&self, line: &str) -> Training {
        let run = line.split_whitespace().skip_while(|flag| *flag != "--out").nth(1).unwrap();
        let mut command = self.command(line);
        let child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        Training { child, run: self.path(run) }
    }

    /// The lines of a run's metrics without what differs between two runs of the same: times.
    pub fn metrics(&self, run: &str) -> Vec<Value> {
        let mut lines = raw_metrics(&self.path(run));
        for line in &mut lines {
            for time in ["tokens_per_second", "mfu", "data_stall", "seconds"] {
                line.as_object_mut().unwrap().remove(time);
            }
        }
        lines
    }

    /// What `latest` holds.
    pub fn latest(&self, run: &str) -> String {
        String::from_utf8(self.read(&format!("{run}/latest"))).unwrap().trim_end().to_owned()
    }

    /// Changes a file's bytes.
    pub fn edit(&self, path: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.read(path);
        edit(&mut bytes);
        self.write(path, bytes);
    }
}

pub fn train_line(flags: &str) -> String {
    let given: Vec<&str> = flags.split_whitespace().collect();
    let missing = FLAGS.iter().filter(|(flag, _)| !given.contains(flag));
    let defaults: Vec<_> = missing.map(|(flag, value)| format!("{flag} {value}")).collect();
    format!("train {} {flags}", defaults.join(" "))
}

/// The whole lines of a run's metrics; none while there is no file.
fn raw_metrics(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The lines of steps, which have a loss.
pub fn steps(lines: &[Value]) -> Vec<&Value> {
    lines.iter().filter(|line| line.get("loss").is_some()).collect()
}

/// Every file below a folder with its content.
pub fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

/// Names in a folder, hidden ones too, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A run under way; killed when dropped.
pub struct Training {
    child: Child,
    run: PathBuf,
}

impl Training {
    /// Waits until the metrics have that many steps, or the run has ended.
    pub fn wait_for_steps(self, count: usize) -> Self {
        self.wait_until(|run| steps(&raw_metrics(run)).len() >= count)
    }

    /// Waits until `reached` says so of the run folder, or the run has ended.
    pub fn wait_until(mut self, mut reached: impl FnMut(&Path) -> bool) -> Self {
        let begin = Instant::now();
        while !reached(&self.run) && self.child.try_wait().unwrap().is_none() {
            assert!(begin.elapsed() < Duration::from_secs(120), "the run does not go on");
            std::thread::sleep(Duration::from_micros(200));
        }
        self
    }

    /// Waits until `reached` says so of the run folder, the run has ended, or the time is over.
    pub fn wait_until_or(self, mut reached: impl FnMut(&Path) -> bool, time: Duration) -> Self {
        let begin = Instant::now();
        self.wait_until(|run| reached(run) || begin.elapsed() >= time)
    }

    /// Kills it at once (SIGKILL); false if it had ended by itself.
    pub fn kill(mut self) -> bool {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.code().is_none_or(|code| code == 0), "{status}");
        status.code().is_none()
    }

    /// As Ctrl-C does.
    #[cfg(unix)]
    pub fn interrupt(mut self) -> (ExitStatus, String) {
        interrupt(&self.child);
        let mut stderr = String::new();
        std::io::Read::read_to_string(&mut self.child.stderr.take().unwrap(), &mut stderr).unwrap();
        (self.child.wait().unwrap(), stderr)
    }
}

impl Drop for Training {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends SIGINT.
#[cfg(unix)]
pub fn interrupt(child: &Child) {
    let pid = child.id().to_string();
    let sent = std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(sent.success());
}
