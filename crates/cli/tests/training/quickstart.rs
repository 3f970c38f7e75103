//! `kiln quickstart`: the whole path, again and again.

use std::process::Stdio;

use crate::kiln::{Folder, Ran, samples};
use crate::project::{files, interrupt};

#[test]
#[cfg(unix)]
fn quickstart_is_interrupted_goes_on_and_is_never_made_twice() {
    let folder = Folder::new();
    let line = "quickstart --num-iterations 3 --out made";
    let mut command = folder.command(line);
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let metrics = folder.path("made/run/metrics.jsonl");
    while !std::fs::read(&metrics).is_ok_and(|text| text.ends_with(b"\n")) {
        assert_eq!(child.try_wait().unwrap(), None, "it ended before it could be interrupted");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    interrupt(&child);
    let ran = Ran::from(child.wait_with_output().unwrap());
    ran.fails(130, &["1/4", "2/4", "3/4", "saved made/run/step-", "run the same command again"]);

    let ran = folder.run(line);
    let parts =
        ["documents: found in", "tokenizer: found in", "resuming from made/run/step-", "4/4"];
    for part in parts.iter().chain(&["kiln generate --checkpoint made/run", "kiln eval bpb"]) {
        assert!(ran.stderr.contains(part), "{part} is not in {}", ran.stderr);
    }
    let completions = ran.success();
    assert_eq!(completions.matches("----").count(), 3, "{completions}");
    let before = files(&folder.path("made"));

    let again = folder.run(line);
    assert_eq!(again.success(), completions, "the same model writes the same");
    assert!(again.stderr.contains("this run is finished (3 steps)"), "{}", again.stderr);
    assert!(
        !again.stderr.contains("resuming") && !again.stderr.contains("(- bits"),
        "{}",
        again.stderr
    );
    let other = folder.run(&format!("{line} --corpus {}", samples()));
    other.fails(1, &["made was made from samples, not from", "--out"]);
    assert_eq!(files(&folder.path("made")), before, "nothing has changed");

    std::fs::remove_file(folder.path("made/corpus.txt")).unwrap();
    let ran = folder.run(line);
    ran.fails(1, &["made holds documents, but corpus.txt does not say", "write `samples` to"]);
}

#[test]
fn what_was_given_wrongly_may_be_corrected() {
    let folder = Folder::new();
    folder.write("file", "").write("notes/read.me", "no source");
    let quickstart = |flags: &str| folder.run(&format!("quickstart {flags}"));
    quickstart("--corpus nowhere --out made").fails(1, &["nowhere"]);
    quickstart("--corpus notes --out made").fails(1, &["no C or C++ source file", ".cpp"]);
    quickstart("--out file").fails(1, &["file"]);
    // The folder was not taken by the corpus that failed.
    folder.write("more/read.me", "no source either");
    quickstart("--corpus more --out made").fails(1, &["no C or C++ source file below more"]);
    quickstart("--minutes 0 --out other").fails(2, &["--minutes"]);
    quickstart("--minutes nan --out other").fails(2, &["--minutes must be more than 0, not NaN"]);
}

#[test]
fn a_corpus_of_one_file_trains_without_anything_held_out() {
    let folder = Folder::new();
    let source = format!("{}/jsonlite/src/parser.cpp", samples());
    std::fs::create_dir(folder.path("one")).unwrap();
    std::fs::copy(source, folder.path("one/parser.cpp")).unwrap();
    let line = "quickstart --num-iterations 2 --corpus one --out made";
    folder.run(line).success();
    let again = folder.run(line);
    assert!(again.stderr.contains("this run is finished (2 steps)"), "{}", again.stderr);
    again.success();
}
