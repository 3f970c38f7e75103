//! Opening data sets, good and bad.

mod common;

use std::path::Path;

use common::{Folder, jsonl};
use kiln_data::{DataError, Schema, Source, SourceOptions, Split};

fn open(path: &Path) -> Result<Source, DataError> {
    Source::open(path, &SourceOptions::default())
}

fn all_texts(source: &Source, split: Split) -> Vec<String> {
    source.texts(split).map(Result::unwrap).collect()
}

fn error(result: Result<Source, DataError>) -> String {
    match result {
        Ok(_) => panic!("opened"),
        Err(e) => e.to_string(),
    }
}

#[test]
fn the_last_file_of_a_folder_is_for_validation() {
    let folder = Folder::new();
    folder.documents("d/train-00001.jsonl", &["c"]);
    folder.documents("d/train-00000.jsonl", &["b", "a"]);
    folder.documents("d/validation.jsonl", &["v"]);
    folder.write("d/_COMPLETE", "{}");
    folder.write("d/.hidden.jsonl", "half written");
    folder.write("d/readme.md", "x");
    let source = open(&folder.path("d")).unwrap();
    assert_eq!(all_texts(&source, Split::Train), ["b", "a", "c"]);
    assert_eq!(all_texts(&source, Split::Validation), ["v"]);
    let report = source.report();
    assert_eq!((report.train_documents, report.validation_documents), (3, 1));
    assert_eq!((report.files.len(), report.ignored.len(), report.problem_count), (3, 3, 0));
    assert!(report.warnings.is_empty());
}

#[test]
fn of_a_single_file_a_stable_share_is_held_out() {
    let folder = Folder::new();
    let mut texts: Vec<String> = (0..600).map(|n| format!("int f{n}();")).collect();
    let source = open(&folder.documents("d/all.jsonl", &texts)).unwrap();
    let held = all_texts(&source, Split::Validation);
    assert!((12..=55).contains(&held.len()), "{}", held.len());
    assert_eq!(held.len() + source.len(Split::Train), 600);

    // Neither order nor other documents matter, nor whether the file or its folder is named.
    texts.reverse();
    texts.push("another".to_owned());
    folder.documents("d/all.jsonl", &texts);
    let mut again = all_texts(&open(&folder.path("d")).unwrap(), Split::Validation);
    again.retain(|t| t != "another");
    again.reverse();
    assert_eq!(again, held);
}

#[test]
fn small_files_still_have_both_sides() {
    let folder = Folder::new();
    let two = open(&folder.documents("two.jsonl", &["a", "b"])).unwrap();
    assert_eq!((two.len(Split::Train), two.len(Split::Validation)), (1, 1));
    let one = open(&folder.documents("one.jsonl", &["a"])).unwrap();
    assert_eq!((one.len(Split::Train), one.len(Split::Validation)), (1, 0));
    assert_eq!(one.report().warnings, ["there are no validation documents"]);

    let all = SourceOptions { validation_share: 1.0, ..SourceOptions::default() };
    let all = Source::open(&folder.path("two.jsonl"), &all).unwrap();
    assert_eq!((all.len(Split::Train), all.len(Split::Validation)), (0, 2));
}

#[test]
fn compressed_files_hold_the_same_documents_in_memory_and_on_disk() {
    let folder = Folder::new();
    let texts: Vec<String> =
        (0..300).map(|n| format!("{n} ü \"q\" \\ {}\n", "x".repeat(n))).collect();
    let lines = jsonl(&texts);
    let plain = open(&folder.write("plain.jsonl", &lines)).unwrap();
    let packed = zstd::encode_all(lines.as_bytes(), 3).unwrap();
    let path = folder.write("packed.jsonl.zst", &packed);
    for memory_limit in [1 << 20, 100] {
        let options = SourceOptions { memory_limit, ..SourceOptions::default() };
        let source = Source::open(&path, &options).unwrap();
        for split in [Split::Train, Split::Validation] {
            assert_eq!(all_texts(&source, split), all_texts(&plain, split));
        }
        assert_eq!(source.report().files[0].bytes, lines.len() as u64);
    }

    let cut = folder.write("cut.jsonl.zst", &packed[..packed.len() / 2]);
    assert!(error(open(&cut)).contains("cut.jsonl.zst"));
    let no_zstd = folder.write("no.jsonl.zst", &lines);
    assert!(error(open(&no_zstd)).contains("no.jsonl.zst"));
}

#[test]
fn another_field_can_hold_the_text() {
    let folder = Folder::new();
    let path = folder.write("d.jsonl", "{\"text\":\"no\",\"content\":\"yes\"}\n");
    let schema = Schema::Text { field: "content".to_owned() };
    let options = SourceOptions { schema, ..SourceOptions::default() };
    let source = Source::open(&path, &options).unwrap();
    assert_eq!(all_texts(&source, Split::Train), ["yes"]);
}

#[test]
fn bad_lines_are_named_counted_and_skipped_or_fatal() {
    let folder = Folder::new();
    folder
        .write("d/a.jsonl", "{\"text\":\"good\"}\nint main() {}\n{\"text\":\"\"}\n{\"text\":7}\n");
    folder.write("d/b.jsonl", b"{\"body\":\"x\"}\n{\"text\":\"\xff\"}\n\n{\"text\":\"held\"}\n");
    let source = open(&folder.path("d")).unwrap();
    let report = source.report();
    assert_eq!(all_texts(&source, Split::Train), ["good"]);
    assert_eq!((report.problem_count, report.empty_documents), (4, 1));
    let said: Vec<_> = report
        .problems
        .iter()
        .map(|p| p.to_string().replace(&folder.path("d").display().to_string(), "d"))
        .collect();
    assert_eq!(
        said,
        [
            "d/a.jsonl:2: not JSON: expected value (column 1)",
            "d/a.jsonl:4: invalid type: integer `7`, expected a string in field `text` (column 9)",
            "d/b.jsonl:1: no field `text`",
            "d/b.jsonl:2: not UTF-8 (byte 10 of the line)",
        ]
    );
    assert!(report.warnings[0].starts_with("4 lines are no documents and were skipped"));

    let few = SourceOptions { kept_problems: 1, ..SourceOptions::default() };
    let few = Source::open(&folder.path("d"), &few).unwrap();
    assert_eq!((few.report().problems.len(), few.report().problem_count), (1, 4));

    let strict = SourceOptions { strict: true, ..SourceOptions::default() };
    let strict = error(Source::open(&folder.path("d"), &strict));
    assert!(strict.contains("a.jsonl:2: not JSON"), "{strict}");
}

#[test]
fn missing_and_empty_data_is_named() {
    let folder = Folder::new();
    let message = error(open(&folder.path("nowhere")));
    assert!(message.contains("nowhere does not exist"), "{message}");
    std::fs::create_dir(folder.path("empty")).unwrap();
    let message = error(open(&folder.path("empty")));
    assert!(message.contains("empty holds no .jsonl"), "{message}");
    for content in ["", "\n\n", "{\"text\":\"\"}\n"] {
        let message = error(open(&folder.write("none.jsonl", content)));
        assert!(message.ends_with("none.jsonl holds no document"), "{message}");
    }
    let message = error(open(&folder.write("bad.jsonl", "x\ny\n")));
    assert!(message.contains("(2 bad lines, the first: "), "{message}");
    let message = error(open(&folder.write("code.cpp", "int x;")));
    assert!(message.contains("code.cpp is neither"), "{message}");
}

#[test]
fn a_file_that_changes_later_is_found_out() {
    let folder = Folder::new();
    let path = folder.documents("d.jsonl", &["first", "second"]);
    let options = SourceOptions { validation_share: 0.0, ..SourceOptions::default() };
    let source = Source::open(&path, &options).unwrap();
    let edited = std::fs::read_to_string(&path).unwrap().replace("second", "SECOND");
    std::fs::write(&path, edited).unwrap();
    assert_eq!(source.text(Split::Train, 0).unwrap(), "first");
    let changed = source.text(Split::Train, 1);
    assert!(changed.unwrap_err().to_string().ends_with("(document at byte 17)"));
    std::fs::write(&path, "").unwrap();
    assert!(matches!(source.text(Split::Train, 0), Err(DataError::Changed { .. })));
}

#[test]
fn shares_outside_the_range_are_refused() {
    let folder = Folder::new();
    let path = folder.documents("d.jsonl", &["a"]);
    for validation_share in [-0.1, 1.1, f64::NAN] {
        let options = SourceOptions { validation_share, ..SourceOptions::default() };
        let refused = Source::open(&path, &options).map(|_| ());
        assert!(matches!(refused, Err(DataError::BadOption { .. })), "{validation_share}");
    }
}
