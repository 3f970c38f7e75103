//! A folder in which `kiln` knows of a server with a bucket.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::kiln::{Folder, Ran};
use crate::moto::{Moto, variables};

/// What `train` gets: one layer of width 32, steps of a few milliseconds.
pub const SMALL: &str = "--depth 1 --aspect-ratio 32 --head-dim 32 --seq-len 32 --device-batch-size 4 \
                         --total-batch-size 128 --eval-tokens 512 --threads 1";

/// A folder, a server, and the bucket `bucket`.
pub struct Places {
    pub folder: Folder,
    pub moto: Moto,
    /// Where clients reach it: itself, or something between.
    pub endpoint: String,
}

impl Places {
    /// None where there is no server; that has been told then.
    pub fn new() -> Option<Self> {
        let moto = Moto::start()?;
        moto.make_bucket("bucket");
        let folder = Folder::new();
        fs::create_dir(folder.path("tmp")).unwrap();
        let endpoint = moto.endpoint();
        Some(Self { folder, moto, endpoint })
    }

    pub fn command(&self, line: &str) -> Command {
        let mut command = self.folder.command(line);
        command.envs(variables(&self.endpoint)).env("TMPDIR", self.folder.path("tmp"));
        command.env("KILN_STORE_PATIENCE", "3").stdin(Stdio::null());
        command
    }

    pub fn run(&self, line: &str) -> Ran {
        Ran::from(self.command(line).output().unwrap())
    }

    /// Starts a command, quietly.
    pub fn start(&self, line: &str) -> Child {
        self.command(line).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// What lies below a URL, by name.
    pub fn files(&self, url: &str) -> BTreeMap<String, Vec<u8>> {
        let to = self.folder.path("fetched");
        let _ = fs::remove_dir_all(&to);
        self.run(&format!("copy {url} fetched")).success();
        files(&to)
    }

    /// Nothing is left of what commands needed for a while.
    #[track_caller]
    pub fn assert_clean(&self) {
        let left: Vec<_> = fs::read_dir(self.folder.path("tmp")).unwrap().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// Every file below a folder, by name.
pub fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            let below = files(&entry.path());
            found.extend(below.into_iter().map(|(n, content)| (format!("{name}/{n}"), content)));
        } else {
            found.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    found
}

/// The lines of metrics without what differs between two runs of the same: times.
pub fn metrics(text: &[u8]) -> Vec<serde_json::Value> {
    let mut lines: Vec<serde_json::Value> = std::str::from_utf8(text)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for line in &mut lines {
        for time in ["tokens_per_second", "mfu", "data_stall", "seconds"] {
            line.as_object_mut().unwrap().remove(time);
        }
    }
    lines
}

/// Waits until something is so.
pub fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !reached() {
        assert!(begin.elapsed() < Duration::from_secs(120), "{what} does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}
