use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ::parquet::file::reader::{FileReader, SerializedFileReader};

use super::*;
use crate::clean::{Shingles, exact_jaccard};
use crate::output::COMPLETE_MARKER;

/// A function of its own: no two share a run of five words beyond their frame.
fn unique(n: u64) -> String {
    let words: Vec<String> = (0..60).map(|k| format!("v{}_{k}", n * 1000 + k)).collect();
    format!("int f{n}() {{ {} }}\n", words.join(" + "))
}

/// Member of a family: about two thirds of its words are those of all members.
fn relative(family: u64, member: u64) -> String {
    let word = |k: u64| match k {
        0..75 => format!("s{family}_{k}"),
        _ => format!("o{family}_{member}_{k}"),
    };
    (0..100).map(word).collect::<Vec<_>>().join(" ")
}

fn document(text: &str, n: u64) -> serde_json::Value {
    serde_json::json!({"text": text, "project": "p", "file": format!("f{n}.cc"), "licence": "MIT", "level": n})
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn with(documents: impl IntoIterator<Item = serde_json::Value>) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("in.jsonl", documents);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, documents: impl IntoIterator<Item = serde_json::Value>) {
        let lines: String = documents.into_iter().map(|d| format!("{d}\n")).collect();
        fs::write(self.path(name), lines).unwrap();
    }

    fn options(&self) -> ShardOptions {
        let mut options = ShardOptions::new([self.path("in.jsonl")], self.path("out"));
        options.format = ShardFormat::Jsonl;
        options
    }

    /// Names and contents of what was written, markers aside.
    fn output(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.path("out")).unwrap().map(|entry| entry.unwrap());
        let named =
            entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap()));
        named.filter(|(name, _)| name != COMPLETE_MARKER).collect()
    }

    fn is_complete(&self) -> bool {
        self.path("out").join(COMPLETE_MARKER).exists()
    }
}

fn run(options: &ShardOptions) -> Result<ShardSummary, CorpusError> {
    write_shards(options, &mut |_| ControlFlow::Continue(()))
}

fn values(jsonl: &[u8]) -> Vec<serde_json::Value> {
    let lines = std::str::from_utf8(jsonl).unwrap().lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn texts(jsonl: &[u8]) -> Vec<String> {
    values(jsonl).iter().map(|value| value["text"].as_str().unwrap().to_owned()).collect()
}

/// All documents that the shards hold, through the reader.
fn read_back(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for input in read::list(&[folder.to_owned()]).unwrap() {
        let read = input.read(&mut |batch| {
            for row in batch.rows {
                let mut line = Vec::new();
                row.record.unwrap().write_json(&mut line);
                lines.push(String::from_utf8(line).unwrap());
            }
            Ok(())
        });
        assert!(read.is_ok());
    }
    lines.sort_unstable();
    lines
}

#[test]
fn shards_hold_what_was_read_in_every_format() {
    let documents: Vec<_> = (0..300).map(|n| document(&unique(n), n)).collect();
    let folder = Folder::with(documents.clone());
    let mut expected: Vec<String> = documents
        .iter()
        .map(|d| {
            let mut line = Vec::new();
            record::Record::from_json(d.to_string().as_bytes()).unwrap().write_json(&mut line);
            String::from_utf8(line).unwrap()
        })
        .collect();
    expected.sort_unstable();
    for (format, compress) in
        [(ShardFormat::Jsonl, false), (ShardFormat::Jsonl, true), (ShardFormat::Parquet, false)]
    {
        let options = ShardOptions { format, compress, overwrite: true, ..folder.options() };
        let summary = run(&options).unwrap();
        assert_eq!((summary.documents, summary.dropped_documents()), (300, 0));
        assert_eq!(read_back(&options.out), expected, "{format:?}");
        assert_eq!(summary.columns, ["text", "project", "file", "licence", "level"]);
    }
}

#[test]
fn parquet_has_row_groups_types_and_no_statistics_of_texts() {
    let mut documents: Vec<_> = (0..2500).map(|n| document(&unique(n), n)).collect();
    documents[7].as_object_mut().unwrap().remove("file");
    let folder = Folder::with(documents);
    let options = ShardOptions {
        format: ShardFormat::Parquet,
        validation_share: 0.0,
        shard_size: ShardSize::Documents(2048),
        ..folder.options()
    };
    run(&options).unwrap();
    let open = |name: &str| {
        SerializedFileReader::new(fs::File::open(folder.path("out").join(name)).unwrap()).unwrap()
    };
    let first = open("train-00000.parquet");
    let groups = first.metadata().row_groups();
    assert_eq!(groups.iter().map(|g| g.num_rows()).collect::<Vec<_>>(), [1024, 1024]);
    assert!(groups[0].column(0).statistics().is_none());
    assert!(groups[0].column(1).statistics().is_some());
    let schema = first.metadata().file_metadata().schema();
    let described: Vec<_> = schema
        .get_fields()
        .iter()
        .map(|f| (f.name().to_owned(), f.is_optional(), f.get_physical_type().to_string()))
        .collect();
    let expected = [
        ("text", false, "BYTE_ARRAY"),
        ("project", true, "BYTE_ARRAY"),
        ("file", true, "BYTE_ARRAY"),
        ("licence", true, "BYTE_ARRAY"),
        ("level", true, "INT64"),
    ];
    assert_eq!(described, expected.map(|(name, o, t)| (name.to_owned(), o, t.to_owned())));
    assert_eq!(open("train-00001.parquet").metadata().file_metadata().num_rows(), 452);
}

#[test]
fn the_same_input_and_seed_give_the_same_bytes() {
    let folder = Folder::with((0..400).map(|n| document(&unique(n), n)));
    let once = |options: &ShardOptions| {
        run(&ShardOptions { overwrite: true, ..options.clone() }).unwrap();
        folder.output()
    };
    for format in [ShardFormat::Jsonl, ShardFormat::Parquet] {
        let options =
            ShardOptions { format, shard_size: ShardSize::Documents(150), ..folder.options() };
        let first = once(&options);
        assert_eq!(first.len(), 4, "three shards of training and one of validation");
        assert_eq!(once(&options), first);
        // Through many buckets, and on one thread.
        assert_eq!(once(&ShardOptions { shuffle_bytes: 1000, ..options.clone() }), first);
        let single = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(single.install(|| once(&options)), first);
        assert_ne!(once(&ShardOptions { seed: 1, ..options.clone() }), first);
    }
}

#[test]
fn documents_are_shuffled_and_validation_comes_last() {
    let folder = Folder::with((0..200).map(|n| document(&unique(n), n)));
    let options = ShardOptions {
        validation_share: 0.1,
        shard_size: ShardSize::Documents(50),
        ..folder.options()
    };
    let summary = run(&options).unwrap();
    let output = folder.output();
    let names: Vec<&str> = output.keys().map(String::as_str).collect();
    let expected = [
        "train-00000.jsonl",
        "train-00001.jsonl",
        "train-00002.jsonl",
        "train-00003.jsonl",
        "validation.jsonl",
    ];
    assert_eq!(names, expected);
    assert_eq!(summary.files.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), expected);
    assert_eq!(summary.validation_documents, 20);
    let levels: Vec<u64> =
        output.values().flat_map(|f| values(f)).map(|v| v["level"].as_u64().unwrap()).collect();
    assert!(levels.windows(2).filter(|pair| pair[1] == pair[0] + 1).count() < 20);
}

#[test]
fn relatives_are_on_one_side() {
    // 60 families of 5, each member about 0.6 similar to the others, among 100 documents without relatives.
    let families = (0..300).map(|n| relative(n % 60, n));
    let documents =
        families.chain((0..100).map(unique)).zip(0..).map(|(text, n)| document(&text, n));
    let folder = Folder::with(documents);
    let options = ShardOptions { validation_share: 0.2, ..folder.options() };
    let summary = run(&options).unwrap();
    assert_eq!((summary.documents, summary.families, summary.largest_family), (400, 160, 5));
    assert_eq!(summary.validation_documents, 80);
    let output = folder.output();
    let sets = |name: &str| -> Vec<Vec<u32>> {
        texts(&output[name]).iter().map(|text| Shingles::of(text).unwrap().set).collect()
    };
    let (train, validation) = (sets("train-00000.jsonl"), sets("validation.jsonl"));
    for held_out in &validation {
        for other in &train {
            assert!(exact_jaccard(held_out, other) < 0.5);
        }
    }
    let with_relative = validation
        .iter()
        .filter(|a| validation.iter().filter(|b| exact_jaccard(a, b) > 0.5).count() > 1);
    assert!(with_relative.count() >= 5, "some family is held out as a whole");
}

#[test]
fn copies_and_near_copies_go_and_the_first_stays() {
    let near = |n: u64| (0..300).map(|k| format!("w{k} ")).collect::<String>() + &format!("end{n}");
    let texts_in = [near(0), near(1), unique(1), format!("  {}", unique(1)), unique(2)];
    let folder = Folder::with(texts_in.iter().zip(0..).map(|(text, n)| document(text, n)));
    let kept = |dedup: f64| -> BTreeSet<u64> {
        let options =
            ShardOptions { dedup, validation_share: 0.0, overwrite: true, ..folder.options() };
        run(&options).unwrap();
        let levels = folder.output()["train-00000.jsonl"].clone();
        values(&levels).iter().map(|v| v["level"].as_u64().unwrap()).collect()
    };
    assert_eq!(kept(0.85), BTreeSet::from([0, 2, 4]));
    assert_eq!(kept(1.0), BTreeSet::from([0, 1, 2, 4]));
    assert_eq!(kept(0.0), BTreeSet::from([0, 1, 2, 3, 4]));
}

#[test]
fn copies_that_are_kept_are_on_one_side() {
    let folder = Folder::with((0..100).map(|n| document(&unique(n % 50), n)));
    let options = ShardOptions { dedup: 0.0, validation_share: 0.1, ..folder.options() };
    assert_eq!(run(&options).unwrap().documents, 100);
    let output = folder.output();
    let side = |name: &str| -> BTreeSet<String> { texts(&output[name]).into_iter().collect() };
    assert!(side("train-00000.jsonl").is_disjoint(&side("validation.jsonl")));
}

#[test]
fn what_should_not_be_learnt_is_left_out_and_counted() {
    let key = format!("// ghp_{}\n", "a1B2c3D4e5F6".repeat(3));
    let generated = "// Generated by the protocol buffer compiler.  DO NOT EDIT!\n";
    let mut documents: Vec<_> = (0..20).map(|n| document(&unique(n), n)).collect();
    documents.push(document(&(key + &unique(20)), 20));
    documents.push(document(&(generated.to_owned() + &unique(21)), 21));
    documents.push(document(" \n\t", 22));
    let mut gpl = document(&unique(23), 23);
    gpl["licence"] = "GPL-2.0-only".into();
    documents.push(gpl);
    let mut unknown = document(&unique(24), 24);
    unknown.as_object_mut().unwrap().remove("licence");
    documents.push(unknown);
    let folder = Folder::with(documents);
    let options = ShardOptions { allow_licences: vec!["MIT".into()], ..folder.options() };
    let summary = run(&options).unwrap();
    let counts: Vec<_> = summary.dropped.iter().map(|(cause, d)| (*cause, d.count)).collect();
    let expected = [
        (DropCause::Empty, 1),
        (DropCause::Generated, 1),
        (DropCause::Secret, 1),
        (DropCause::Licence, 2),
    ];
    assert_eq!(counts, expected);
    let secret = &summary.dropped[&DropCause::Secret].documents[0];
    assert_eq!(
        (secret.path.as_str(), secret.detail.as_str()),
        ("p/f20.cc", "GitHub token in line 1")
    );
    assert_eq!((summary.read_documents, summary.documents), (25, 20));

    let all = ShardOptions {
        keep_generated: true,
        keep_secrets: true,
        overwrite: true,
        ..folder.options()
    };
    assert_eq!(run(&all).unwrap().documents, 24);
}

#[test]
fn a_licence_that_only_the_text_names_is_written() {
    let plain =
        serde_json::json!({"text": format!("// SPDX-License-Identifier: Zlib\n{}", unique(1))});
    let folder = Folder::with([plain, document(&unique(2), 2)]);
    let summary = run(&ShardOptions { validation_share: 0.0, ..folder.options() }).unwrap();
    assert_eq!(summary.licences, BTreeMap::from([("MIT".to_owned(), 1), ("Zlib".to_owned(), 1)]));
    let licences: BTreeSet<_> = values(&folder.output()["train-00000.jsonl"])
        .iter()
        .map(|v| v["licence"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(licences, BTreeSet::from(["MIT".to_owned(), "Zlib".to_owned()]));
}

#[test]
fn damaged_files_are_named_and_passed_over_unless_strict() {
    let folder = Folder::with((0..20).map(|n| document(&unique(n), n)));
    fs::write(folder.path("bad.parquet"), b"PAR1 nothing PAR1").unwrap();
    fs::write(folder.path("lines.jsonl"), format!("{{\n{}\n", document(&unique(50), 50))).unwrap();
    let sources = ["bad.parquet", "in.jsonl", "lines.jsonl"].map(|name| folder.path(name)).to_vec();
    let options = ShardOptions { sources, ..folder.options() };
    let summary = run(&options).unwrap();
    assert_eq!(
        (summary.documents, summary.damaged_files.count, summary.bad_rows.count),
        (21, 1, 1)
    );
    assert!(summary.damaged_files.files[0].path.ends_with("bad.parquet"));
    assert!(summary.bad_rows.files[0].path.ends_with("lines.jsonl:1"));

    let strict = ShardOptions { strict: true, overwrite: true, ..options.clone() };
    match run(&strict) {
        Err(CorpusError::InputDamaged { path, .. }) => assert!(path.ends_with("bad.parquet")),
        other => panic!("{other:?}"),
    }
    let line = ShardOptions { sources: options.sources[1..].to_vec(), ..strict.clone() };
    match run(&line) {
        Err(CorpusError::InputDamaged { path, .. }) => assert!(path.ends_with("lines.jsonl:1")),
        other => panic!("{other:?}"),
    }
    let only_bad = ShardOptions { sources: options.sources[..1].to_vec(), strict: false, ..strict };
    assert!(matches!(run(&only_bad), Err(CorpusError::InputDamaged { .. })));
    assert!(folder.is_complete(), "the finished set is untouched");
}

#[test]
fn a_run_that_ends_early_leaves_no_trace() {
    let folder = Folder::with((0..300).map(|n| document(&unique(n), n)));
    let options = folder.options();
    let stop_at = |stage: ShardStage, options: &ShardOptions| {
        write_shards(options, &mut |progress| {
            if progress.stage == stage { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    };
    for stage in [ShardStage::Reading, ShardStage::Shuffling, ShardStage::Writing] {
        assert!(matches!(stop_at(stage, &options), Err(CorpusError::Cancelled)));
        assert!(!folder.is_complete() && folder.output().is_empty(), "{stage:?}");
    }
    // A crash is no different.
    let crashed = std::panic::catch_unwind(|| {
        write_shards(&options, &mut |progress| {
            assert!(progress.stage != ShardStage::Writing, "crash");
            ControlFlow::Continue(())
        })
    });
    assert!(crashed.is_err() && !folder.is_complete() && folder.output().is_empty());

    run(&options).unwrap();
    let before = folder.output();
    let again = ShardOptions { seed: 9, overwrite: true, ..options.clone() };
    assert!(stop_at(ShardStage::Writing, &again).is_err());
    assert!(folder.is_complete() && folder.output() == before);
    assert!(matches!(run(&options), Err(CorpusError::OutputFinished { .. })));
    fs::write(folder.path("out/.kiln-corpus-left"), "by a run that was killed").unwrap();
    run(&again).unwrap();
    assert!(folder.is_complete() && folder.output() != before);
    assert!(!folder.path("out/.kiln-corpus-left").exists());
}

#[test]
fn documents_that_change_between_the_passes_are_an_error() {
    let folder = Folder::with((0..30).map(|n| document(&unique(n), n)));
    let mut told = 0;
    let ended = write_shards(&folder.options(), &mut |_| {
        told += 1;
        if told == 1 {
            folder.write("in.jsonl", (0..20).map(|n| document(&unique(n), n)));
        }
        ControlFlow::Continue(())
    });
    assert!(matches!(ended, Err(CorpusError::InputDamaged { .. })), "{ended:?}");
    assert!(!folder.is_complete());
}

#[test]
fn wishes_that_cannot_be_met_are_refused() {
    let pair = serde_json::json!({"docstring": "Adds.", "signature": "int f()", "body": " g(); ", "path": "a.cc"});
    let folder = Folder::with([document(&unique(1), 1), pair.clone()]);
    assert!(matches!(run(&folder.options()), Err(CorpusError::MixedDocuments { .. })));
    let into_source = ShardOptions { out: folder.0.path().to_owned(), ..folder.options() };
    assert!(matches!(
        run(&into_source),
        Err(CorpusError::BadOption { option: "out", .. } | CorpusError::OutputForeign { .. })
    ));
    for options in [
        ShardOptions { dedup: 1.5, ..folder.options() },
        ShardOptions { dedup: f64::NAN, ..folder.options() },
        ShardOptions { split_similarity: 0.0, ..folder.options() },
        ShardOptions { validation_share: 1.0, ..folder.options() },
        ShardOptions { shard_size: ShardSize::Documents(0), ..folder.options() },
    ] {
        assert!(matches!(run(&options), Err(CorpusError::BadOption { .. })), "{options:?}");
    }
    let nothing = ShardOptions { allow_licences: vec!["none".into()], ..folder.options() };
    match run(&nothing) {
        Err(CorpusError::NothingLeft { documents, why }) => {
            assert_eq!((documents, why.contains("2 licence")), (2, true), "{why}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn pairs_are_sharded_as_they_are() {
    let pair = |n: u64| serde_json::json!({"docstring": format!("Adds {n}."), "signature": format!("int f{n}()"), "body": unique(n), "path": "a.cc"});
    let folder = Folder::with((0..40).map(pair));
    let options = ShardOptions { format: ShardFormat::Parquet, ..folder.options() };
    let summary = run(&options).unwrap();
    assert_eq!(summary.columns, ["docstring", "signature", "body", "path"]);
    assert_eq!((summary.documents, read_back(&options.out).len()), (40, 40));
}

#[test]
fn one_family_cannot_be_split() {
    let folder = Folder::with((0..4).map(|n| document(&relative(1, n), n)));
    let summary = run(&ShardOptions { validation_share: 0.5, ..folder.options() }).unwrap();
    assert_eq!((summary.validation_documents, summary.warnings.len()), (0, 1));
    assert_eq!(folder.output().into_keys().collect::<Vec<_>>(), ["train-00000.jsonl"]);
}
