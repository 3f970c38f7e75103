//! Parquet files: what is read of them, and what is wrong with some.

mod common;

use std::path::Path;
use std::sync::Arc;

use common::parquet::{write, write_texts};
use common::{Bytes, Folder, jsonl};
use kiln_data::{DataError, Loader, LoaderOptions, Schema, Source, SourceOptions, Split};
use parquet::basic::{Compression, ZstdLevel};

fn training() -> SourceOptions {
    SourceOptions { validation_share: 0.0, ..SourceOptions::default() }
}

fn texts(source: &Source, split: Split) -> Vec<String> {
    source.texts(split).map(Result::unwrap).collect()
}

fn error(result: Result<Source, DataError>) -> String {
    match result {
        Ok(_) => panic!("opened"),
        Err(e) => e.to_string(),
    }
}

fn open(path: &Path) -> Result<Source, DataError> {
    Source::open(path, &training())
}

#[test]
fn rows_are_documents_however_they_are_compressed() {
    let folder = Folder::new();
    let all: Vec<String> = (0..100).map(|n| format!("ü {n} {}", "x".repeat(n * 40))).collect();
    let rows: Vec<_> = all.iter().map(|text| vec![Some("other"), Some(text.as_str())]).collect();
    let zstd = Compression::ZSTD(ZstdLevel::default());
    for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY, zstd] {
        let path = folder.path("a.parquet");
        write(&path, &["id", "text"], &rows, 7, compression);
        let source = open(&path).unwrap();
        assert_eq!(texts(&source, Split::Train), all);
        // In any order.
        for index in [99, 0, 50, 7, 6, 98] {
            assert_eq!(source.text(Split::Train, index).unwrap(), all[index]);
        }
    }
}

#[test]
fn kinds_of_files_may_be_mixed_and_hold_the_same_documents() {
    let folder = Folder::new();
    write_texts(&folder.write("d/a.parquet", ""), &["a1", "a2"], 1);
    folder.documents("d/b.jsonl", &["b1"]);
    folder.write("d/c.jsonl.zst", zstd::encode_all(jsonl(&["c1"]).as_bytes(), 3).unwrap());
    write_texts(&folder.write("d/d.parquet", ""), &["d1"], 9);
    let source = open(&folder.path("d")).unwrap();
    assert_eq!(texts(&source, Split::Train), ["a1", "a2", "b1", "c1"]);
    assert_eq!(texts(&source, Split::Validation), ["d1"]);
}

#[test]
fn files_called_validation_are_for_validation_wherever_they_stand() {
    let folder = Folder::new();
    write_texts(&folder.write("d/validation-00000.parquet", ""), &["v1"], 9);
    folder.documents("d/validation.jsonl", &["v2"]);
    folder.documents("d/zebra.jsonl", &["z"]);
    let source = open(&folder.path("d")).unwrap();
    assert_eq!(texts(&source, Split::Train), ["z"]);
    assert_eq!(texts(&source, Split::Validation), ["v1", "v2"]);
    let names: Vec<_> = source.report().files.iter().map(|f| f.validation).collect();
    assert_eq!(names, [false, true, true]);
}

#[test]
fn nulls_and_wrong_columns_are_named() {
    let folder = Folder::new();
    let path = folder.path("a.parquet");
    let rows = [vec![Some("a")], vec![None], vec![Some("")], vec![Some("b")]];
    write(&path, &["text"], &rows, 3, Compression::SNAPPY);
    let source = open(&path).unwrap();
    assert_eq!(texts(&source, Split::Train), ["a", "b"]);
    let report = source.report();
    assert_eq!((report.problem_count, report.empty_documents), (1, 1));
    assert!(report.problems[0].to_string().ends_with("a.parquet:2: `text` is null"));
    let strict = SourceOptions { strict: true, ..training() };
    assert!(error(Source::open(&path, &strict)).ends_with("a.parquet:2: `text` is null"));

    let body = Schema::Text { field: "body".to_owned() };
    let other = SourceOptions { schema: body, ..training() };
    let message = error(Source::open(&path, &other));
    assert!(
        message.ends_with("a.parquet cannot be read: no column `body`; there are `text`"),
        "{message}"
    );
}

#[test]
fn pairs_are_read_of_their_columns() {
    let folder = Folder::new();
    let options = SourceOptions { schema: Schema::Pairs, ..SourceOptions::default() };
    let columns = ["path", "body", "signature", "docstring"];
    let rows = [
        vec![Some("a.cc"), Some(" return 1; "), Some("int one()"), Some("One.")],
        vec![Some("a.cc"), Some(""), Some("int two()"), Some("Two.")],
        vec![Some("a.cc"), Some(" three(); "), Some("void three()"), Some("")],
    ];
    write(&folder.write("d/a.parquet", ""), &columns, &rows, 2, Compression::SNAPPY);
    folder.write(
        "d/b.jsonl",
        "{\"docstring\":\"x\",\"signature\":\"int f()\",\"body\":\"y\"}\n{\"body\":\"y\"}\n",
    );
    folder.write("d/validation.jsonl", "{}\n");
    let source = Source::open(&folder.path("d"), &options).unwrap();
    let expected = [
        "/*\nOne.\n*/\nint one() { return 1; }",
        "void three() { three(); }",
        "/*\nx\n*/\nint f() {y}",
    ];
    assert_eq!(texts(&source, Split::Train), expected);
    assert!(source.is_empty(Split::Validation));
    let report = source.report();
    assert_eq!((report.empty_documents, report.problem_count, report.ignored.len()), (1, 1, 1));
    assert!(report.problems[0].to_string().ends_with("b.jsonl:2: no field `docstring`"));
}

#[test]
fn a_corrupt_file_is_named_and_skipped_or_fatal() {
    let folder = Folder::new();
    let good = folder.write("d/a.parquet", "");
    write_texts(&good, &["a1", "a2"], 1);
    folder.documents("d/z.jsonl", &["z"]);
    let bytes = std::fs::read(&good).unwrap();
    let mut middle = bytes.clone();
    middle[4..20].fill(0xff);
    let cut = &bytes[..bytes.len() - 5];
    for (what, content) in
        [("empty", &[][..]), ("cut", cut), ("middle", &middle), ("text", b"int main() {}")]
    {
        folder.write("d/b.parquet", content);
        let source = open(&folder.path("d")).unwrap();
        assert_eq!(texts(&source, Split::Train), ["a1", "a2"], "{what}");
        let report = source.report();
        assert_eq!(report.skipped.len(), 1, "{what}");
        assert_eq!(report.skipped[0].path, folder.path("d/b.parquet"));
        let warning = &report.warnings[0];
        assert!(warning.starts_with("1 file cannot be read and was skipped: "), "{warning}");
        assert!(warning.contains("b.parquet: "), "{warning}");
        let strict = SourceOptions { strict: true, ..training() };
        let message = error(Source::open(&folder.path("d"), &strict));
        assert!(message.contains("b.parquet cannot be read: "), "{message}");
    }
}

/// Whatever is wrong with a file: an error or other rows, and never a panic or an endless wait.
#[test]
fn flipped_bytes_do_no_harm() {
    let folder = Folder::new();
    let path = folder.path("a.parquet");
    let texts: Vec<String> = (0..40).map(|n| format!("int f{n}() {{ return {n}; }}")).collect();
    for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY] {
        let rows: Vec<_> = texts.iter().map(|text| vec![Some(text.as_str())]).collect();
        write(&path, &["text"], &rows, 16, compression);
        let good = std::fs::read(&path).unwrap();
        for at in (0..good.len()).step_by(2) {
            for flip in [0x01, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                std::fs::write(&path, &bad).unwrap();
                if let Ok(source) = open(&path) {
                    assert!(source.len(Split::Train) <= 40);
                    source.texts(Split::Train).for_each(drop);
                }
            }
        }
    }
}

#[test]
fn a_file_that_changes_later_is_found_out() {
    let folder = Folder::new();
    let path = folder.path("a.parquet");
    write_texts(&path, &["first", "second"], 1);
    let source = open(&path).unwrap();
    // In place, as the file is held open.
    let before = std::fs::read(&path).unwrap();
    write_texts(&folder.path("b.parquet"), &["FIRST", "SECOND"], 1);
    let after = std::fs::read(folder.path("b.parquet")).unwrap();
    assert_eq!(before.len(), after.len());
    std::fs::write(&path, after).unwrap();
    let message = source.text(Split::Train, 1).unwrap_err().to_string();
    assert!(
        message.ends_with("has changed since it was opened (row 0 of row group 1)"),
        "{message}"
    );
}

/// Rows of 50 tokens hold one text of 50 bytes each: rows are documents.
fn first_epoch(source: &Arc<Source>, rank: usize, world: usize, count: usize) -> Vec<i32> {
    let options = LoaderOptions { rank, world, buffer_documents: 1, ..LoaderOptions::new(1, 50) };
    let encoder = Arc::new(Bytes { eos: false });
    let mut loader = Loader::new(Arc::clone(source), encoder, options).unwrap();
    (0..count)
        .map(|_| {
            let digits = &loader.next_batch().unwrap().ids[1..6];
            digits.iter().fold(0, |number, digit| 10 * number + digit - i32::from(b'0'))
        })
        .collect()
}

#[test]
fn ranks_get_whole_row_groups_and_together_every_document_once() {
    let folder = Folder::new();
    let texts: Vec<String> = (0..700).map(|n| format!("{n:05}{}", "x".repeat(45))).collect();
    let path = folder.path("a.parquet");
    write_texts(&path, &texts, 100);
    let source = Arc::new(open(&path).unwrap());
    for world in [1, 2, 3, 7] {
        let mut all = Vec::new();
        for rank in 0..world {
            let expected = (7 + world - 1 - rank) / world;
            let read = first_epoch(&source, rank, world, 100 * expected);
            let mut groups: Vec<i32> = read.iter().map(|n| n / 100).collect();
            assert!(groups.windows(2).any(|pair| pair[0] > pair[1]) || expected == 1, "shuffled");
            groups.sort_unstable();
            groups.dedup();
            assert_eq!(groups.len(), expected, "rank {rank} of {world}");
            all.extend(read);
        }
        all.sort_unstable();
        assert_eq!(all, (0..700).collect::<Vec<_>>(), "{world} ranks");
    }
    // More ranks than row groups: documents are dealt.
    let mut all: Vec<i32> = (0..10).flat_map(|rank| first_epoch(&source, rank, 10, 70)).collect();
    all.sort_unstable();
    assert_eq!(all, (0..700).collect::<Vec<_>>());
}
