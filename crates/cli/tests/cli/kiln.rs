//! Runs the binary in a folder of its own.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A temporary folder in which `kiln` runs.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    /// Writes a file and the folders above it.
    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) -> &Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        self
    }

    pub fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.path(path)).unwrap()
    }

    /// `kiln` with the arguments in `line`, which blanks separate.
    pub fn command(&self, line: &str) -> Command {
        let mut command = kiln(line.split_whitespace());
        command.current_dir(self.0.path());
        command
    }

    /// Runs `kiln` to its end.
    pub fn run(&self, line: &str) -> Ran {
        Ran::from(self.command(line).stdin(Stdio::null()).output().unwrap())
    }

    /// Runs `kiln` with `input` on its standard input.
    pub fn run_with_input(&self, line: &str, input: &[u8]) -> Ran {
        let mut child = self
            .command(line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&input).unwrap());
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        Ran::from(output)
    }
}

/// `kiln` with arguments, in the test's folder.
pub fn kiln<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    command.args(arguments);
    command
}

/// A finished run.
pub struct Ran {
    pub code: Option<i32>,
    pub bytes: Vec<u8>,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!stderr.contains("panicked"), "{stderr}");
        Self { code: output.status.code(), bytes: output.stdout, stderr }
    }
}

impl Ran {
    /// Checks for success and gives standard output.
    #[track_caller]
    pub fn success(&self) -> &str {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        std::str::from_utf8(&self.bytes).unwrap()
    }

    /// Checks for success and gives standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.success()).unwrap()
    }

    /// Checks the exit code, that nothing was printed as a result, and that stderr holds all `parts`.
    #[track_caller]
    pub fn fails(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        assert!(self.bytes.is_empty());
        for part in parts {
            assert!(self.stderr.contains(part), "`{part}` is not in: {}", self.stderr);
        }
    }
}

/// The C++ projects of the repository.
pub fn samples() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples");
    path.canonicalize().unwrap().to_str().unwrap().to_owned()
}
