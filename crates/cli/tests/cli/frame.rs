//! What holds for every command: help, usage errors, exit codes, pipes.

use std::io::{Read, Write};
use std::process::Stdio;

use crate::kiln::{Folder, Ran, kiln};

fn help(command: &[&str]) -> String {
    let ran = Ran::from(kiln(command.iter().chain(&["--help"])).output().unwrap());
    ran.success().to_owned()
}

/// The names in the list of commands.
fn subcommands(help: &str) -> Vec<String> {
    let Some((_, list)) = help.split_once("\nCommands:\n") else { return Vec::new() };
    let lines = list.lines().take_while(|line| !line.is_empty());
    // A description that goes on is indented further than a name.
    let names = lines.filter(|line| !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn every_command_explains_itself_with_examples() {
    let mut rest: Vec<Vec<String>> = vec![Vec::new()];
    let mut leaves = Vec::new();
    while let Some(command) = rest.pop() {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let help = help(&words);
        let name = words.join(" ");
        assert!(help.contains("--quiet") && help.contains("--threads"), "{name}: {help}");
        let below = subcommands(&help);
        let (_, examples) = help.split_once("Examples:\n").expect(&name);
        assert!(examples.contains(format!("kiln {name}").trim_end()), "{name}: {examples}");
        if below.is_empty() {
            leaves.push(name);
        }
        rest.extend(below.into_iter().map(|word| [command.clone(), vec![word]].concat()));
    }
    for expected in
        ["corpus files", "tokenizer train", "tokenizer encode", "bench peak", "bench decode"]
    {
        assert!(leaves.iter().any(|leaf| leaf == expected), "{expected} is not in {leaves:?}");
    }
}

#[test]
fn version_is_that_of_the_package() {
    let ran = Ran::from(kiln(["--version"]).output().unwrap());
    assert_eq!(ran.success(), concat!("kiln ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn wrong_usage_exits_with_2() {
    let folder = Folder::new();
    let cases = [
        ("", "Usage"),
        ("corpus", "Usage"),
        ("bake", "bake"),
        ("corpus files --out d", "SRC"),
        ("corpus files . --out d --validation-share 1", "less than 1"),
        ("corpus files . --out d --shard-bytes many", "64M"),
        ("corpus files . --out d --threads 0", "--threads"),
        ("tokenizer train --data d", "--out"),
        ("tokenizer train --data d --out t --kind words", "cpp"),
        ("tokenizer train --data d --out t --vocab-size 3.5", "--vocab-size"),
        ("tokenizer encode --tokenizer t --format xml", "u32le"),
        ("tokenizer encode --tokenizer t --json", "--json"),
    ];
    for (line, part) in cases {
        folder.run(line).fails(2, &[part]);
    }
}

#[test]
fn a_failure_is_one_line_and_a_hint() {
    let ran = Folder::new().run("tokenizer encode --tokenizer nowhere");
    ran.fails(1, &["nowhere/tokenizer.json", "kiln tokenizer train"]);
    let lines: Vec<_> = ran.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{}", ran.stderr);
    assert!(lines[0].starts_with("error: ") && lines[1].starts_with("hint: "), "{}", ran.stderr);
}

#[test]
fn a_reader_that_leaves_ends_the_command_quietly() {
    let folder = Folder::new();
    folder.write("a.cpp", "int a;").run("tokenizer train --vocab-size 265 --data . --out t");
    // Far more than a pipe holds, so that writing must fail once the reader has gone.
    folder.write("large.txt", vec![b'x'; 4 << 20]);
    let mut child = folder
        .command("tokenizer encode --tokenizer t large.txt")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 8];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"120 120 ");
    let ran = Ran::from(child.wait_with_output().unwrap());
    ran.success();
    assert_eq!(ran.stderr, "");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_a_failure() {
    let folder = Folder::new();
    folder.write("a.cpp", "int a;").run("tokenizer train --vocab-size 265 --data . --out t");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = folder.command("tokenizer encode --tokenizer t a.cpp").stdout(full).output();
    Ran::from(output.unwrap()).fails(1, &["cannot write to standard output"]);
}

#[test]
#[cfg(unix)]
fn ctrl_c_exits_with_130() {
    let folder = Folder::new();
    folder.write("a.cpp", "int a;").run("tokenizer train --vocab-size 265 --data . --out t");
    let mut child = folder
        .command("tokenizer encode --tokenizer t - missing")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Once more than a pipe holds has been taken, the command is running and waits for the end of its input.
    child.stdin.as_mut().unwrap().write_all(&vec![b'x'; 1 << 20]).unwrap();
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    // `wait` would close standard input, which ends the command in another way.
    let stdin = child.stdin.take();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(stdin);
}
