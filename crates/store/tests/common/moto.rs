//! A real S3-compatible server on this machine: moto in server mode.
//!
//! `KILN_MOTO` names the program, else `moto_server` is looked for on PATH, else a virtual environment is made for it. Where
//! it cannot be had, tests that need it say so and pass, unless `KILN_REQUIRE_S3=1`: then they fail.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A running server; it ends when this is dropped.
pub struct Moto {
    child: Child,
    port: u16,
}

impl Moto {
    /// Starts a server, or says that there is none.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// The same with variables in its environment.
    pub fn start_with(variables: &[(&str, &str)]) -> Option<Self> {
        let Some(program) = program() else {
            let required = std::env::var("KILN_REQUIRE_S3").is_ok_and(|value| value == "1");
            assert!(!required, "KILN_REQUIRE_S3=1, but there is no moto_server: {HOW}");
            eprintln!("NOT TESTED against S3: there is no moto_server. {HOW}");
            return None;
        };
        // Another process may take the port between finding it and listening on it.
        for _ in 0..5 {
            let port = free_port();
            let mut child = Command::new(program)
                .args(["-H", "127.0.0.1", "-p", &port.to_string()])
                .envs(variables.iter().copied())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("moto_server starts");
            if wait_until_it_listens(&mut child, port) {
                return Some(Self { child, port });
            }
        }
        panic!("moto_server does not start");
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Makes a bucket; a server that has just begun to listen may still drop a connection.
    pub fn make_bucket(&self, name: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match request(self.port, &format!("PUT /{name}")) {
                Ok(answer) if answer.starts_with("HTTP/1.1 200") => return,
                answer => assert!(Instant::now() < deadline, "{answer:?}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Ends the server as a crash would.
    #[allow(dead_code, reason = "not every file of tests that includes this needs it")]
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Variables with which clients find a server at an endpoint.
pub fn variables(endpoint: &str) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ENDPOINT_URL", endpoint.to_owned()),
        ("AWS_ACCESS_KEY_ID", "testing".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "testing".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
    ]
}

const HOW: &str = "pip install 'moto[server]', or set KILN_MOTO to the program";

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn wait_until_it_listens(child: &mut Child, port: u16) -> bool {
    let deadline = Instant::now() + Duration::from_secs(120);
    while Instant::now() < deadline {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = child.kill();
    false
}

/// An unsigned request without a body.
fn request(port: u16, line: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let head = format!(
        "{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || {
        let named = std::env::var_os("KILN_MOTO").map(PathBuf::from);
        let candidates =
            named.map_or_else(|| vec![PathBuf::from("moto_server")], |path| vec![path]);
        candidates.into_iter().find(|path| runs(path)).or_else(from_own_environment)
    };
    PROGRAM.get_or_init(find).as_deref()
}

fn runs(program: &Path) -> bool {
    let mut command = Command::new(program);
    command.arg("--help").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Makes a virtual environment among the build's files, once for all test programs.
fn from_own_environment() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("moto");
    std::fs::create_dir_all(&folder).ok()?;
    let lock = std::fs::File::create(folder.join("lock")).ok()?;
    lock.lock().ok()?;
    let program = folder.join("bin/moto_server");
    if !runs(&program) {
        let quiet = |command: &mut Command| {
            command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
        };
        quiet(Command::new("python3").args(["-m", "venv"]).arg(&folder)).then_some(())?;
        let mut install = Command::new(folder.join("bin/pip"));
        quiet(install.args(["install", "--quiet", "moto[server]"])).then_some(())?;
    }
    runs(&program).then_some(program)
}
