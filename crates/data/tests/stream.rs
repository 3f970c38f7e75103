//! Folders that grow while they are read, several data sets at once, and rearranged documents: what is in the batches,
//! and that a resumed loader gives the same ones.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::parquet::write_texts;
use common::{Folder, jsonl, rows};
use kiln_data::fim::FimSentinels;
use kiln_data::{
    Batch, DataError, Encode, FimOptions, FolderEntry, Loader, LoaderOptions, LoaderState,
    LocalFile, LocalFolder, Mixture, Schema, Source, SourceOptions, Split, StreamOptions,
    StreamState,
};
use proptest::prelude::*;

const BOS: i32 = 256;
const EOS: i32 = 257;
const PRE: i32 = 258;
const MID: i32 = 259;
const SUF: i32 = 260;

/// One token per byte, and what fill-in-the-middle needs.
struct Cpp;

impl Encode for Cpp {
    fn encode_into(&self, text: &[u8], out: &mut Vec<u32>) {
        out.extend(text.iter().map(|byte| u32::from(*byte)));
    }

    fn bos_id(&self) -> u32 {
        BOS as u32
    }

    fn eos_id(&self) -> Option<u32> {
        Some(EOS as u32)
    }

    fn vocab_size(&self) -> usize {
        261
    }

    fn fim_sentinels(&self) -> Option<FimSentinels> {
        let [prefix, middle, suffix, eos] = [PRE, MID, SUF, EOS].map(|id| id as u32);
        Some(FimSentinels { prefix, middle, suffix, eos })
    }
}

fn quick() -> StreamOptions {
    StreamOptions {
        patience: Duration::from_secs(20),
        poll: Duration::from_millis(2),
        settle: Duration::from_millis(20),
    }
}

fn training() -> SourceOptions {
    SourceOptions { validation_share: 0.0, ..SourceOptions::default() }
}

fn open(
    path: &Path,
    options: &SourceOptions,
    saved: Option<&StreamState>,
) -> Result<Arc<Source>, DataError> {
    let folder = Arc::new(LocalFolder::new(path)?);
    Source::open_stream(folder, options, &quick(), saved, &mut |_| {}).map(Arc::new)
}

fn saved(state: &LoaderState, set: usize) -> Option<&StreamState> {
    state.sets[set].stream.as_deref()
}

fn through_json(state: &LoaderState) -> LoaderState {
    serde_json::from_str(&serde_json::to_string(state).unwrap()).unwrap()
}

fn take(loader: &mut Loader, batches: usize) -> Vec<Batch> {
    (0..batches).map(|_| loader.next_batch().unwrap().clone()).collect()
}

/// The first byte of each document tells it: `count` documents of `length` bytes from `first` on.
fn shard(first: u8, count: u8, length: usize) -> Vec<String> {
    (first..first + count).map(|n| char::from(n).to_string().repeat(length)).collect()
}

/// Documents in the order in which they begin, one to a row of their length.
fn documents(loader: &mut Loader, count: usize) -> Vec<u8> {
    take(loader, count).iter().map(|batch| batch.ids[1] as u8).collect()
}

/// A row for each document of 30 bytes with EOS, and hardly a buffer: rows are documents in the order of drawing.
fn one_by_one() -> LoaderOptions {
    LoaderOptions { buffer_documents: 1, prefetch: 1, ..LoaderOptions::new(1, 31) }
}

fn sorted(mut documents: Vec<u8>) -> Vec<u8> {
    documents.sort_unstable();
    documents
}

#[test]
fn files_are_taken_up_as_they_appear_and_the_marker_ends_the_stream() {
    let folder = Folder::new();
    let long = |first| shard(first, 40, 30);
    write_texts(&folder.write("s/a.parquet", ""), &long(b' '), 8);
    let source = open(&folder.path("s"), &training(), None).unwrap();
    let mut loader = Loader::new(Arc::clone(&source), Arc::new(Cpp), one_by_one()).unwrap();
    // The buffer wants 64 rows: the first file is not enough.
    assert!(!loader.wait(Duration::from_millis(200)) && loader.waits_for_files());
    let notice = loader.take_notices().join("\n");
    assert!(
        notice.contains("waiting for more files in") && notice.contains("20 seconds"),
        "{notice}"
    );
    folder.documents("s/b.jsonl", &long(b'H'));
    let first = documents(&mut loader, 10);
    assert!(first.iter().all(|n| (b' '..b'H').contains(n)));
    folder.write("s/_COMPLETE", "");
    let epoch: Vec<u8> = [first, documents(&mut loader, 70)].concat();
    assert_eq!(sorted(epoch[..40].to_vec()), (b' '..b'H').collect::<Vec<_>>());
    assert_eq!(sorted(epoch[40..].to_vec()), (b'H'..b'p').collect::<Vec<_>>());
    // From the second epoch on, all are shuffled together.
    let second = documents(&mut loader, 80);
    assert_eq!(sorted(second.clone()), (b' '..b'p').collect::<Vec<_>>());
    assert!(second[..40].iter().any(|n| *n >= b'H') && second != epoch);
    let state = loader.state();
    let stream = saved(&state, 0).unwrap();
    let taken: Vec<_> = stream.shards.iter().map(|s| (s.file.name.as_str(), s.entered)).collect();
    assert_eq!((taken, stream.complete), (vec![("a.parquet", 0), ("b.jsonl", 40)], true));
}

/// A file is used once it is whole, whatever shape it has before.
#[test]
fn half_written_files_are_not_used_until_they_are_whole() {
    let folder = Folder::new();
    let scratch = folder.path("scratch.parquet");
    write_texts(&scratch, &shard(b'H', 40, 30), 8);
    let parquet = std::fs::read(&scratch).unwrap();
    let lines = jsonl(&shard(b'H', 40, 30)).into_bytes();
    let packed = zstd::encode_all(&lines[..], 3).unwrap();
    // Cut anywhere: no footer, no end of the frame, half a line.
    let kinds: [(&str, &[u8], usize); 3] = [
        ("s/b.parquet", &parquet, parquet.len() - 9),
        ("s/b.jsonl.zst", &packed, packed.len() / 2),
        ("s/b.jsonl", &lines, lines.len() - 20),
    ];
    for (name, whole, cut) in kinds {
        write_texts(&folder.write("s/a.parquet", ""), &shard(b' ', 40, 30), 8);
        folder.write(name, &whole[..cut]);
        let source = open(&folder.path("s"), &training(), None).unwrap();
        let mut loader = Loader::new(source, Arc::new(Cpp), one_by_one()).unwrap();
        assert!(!loader.wait(Duration::from_millis(60)), "{name} is used");
        folder.write(name, whole);
        folder.write("s/_COMPLETE", "");
        let epoch = documents(&mut loader, 80);
        assert_eq!(sorted(epoch), (b' '..b'p').collect::<Vec<_>>(), "{name}");
        std::fs::remove_dir_all(folder.path("s")).unwrap();
    }
}

#[test]
fn a_finished_file_that_cannot_be_read_is_named_and_skipped_or_fatal() {
    let folder = Folder::new();
    write_texts(&folder.write("s/a.parquet", ""), &shard(b' ', 40, 30), 8);
    folder.write("s/b.parquet", "PAR1 and nothing else");
    folder.write("s/c.jsonl.zst", "no frame");
    folder.write("s/_COMPLETE", "");
    let source = open(&folder.path("s"), &training(), None).unwrap();
    let mut loader = Loader::new(source, Arc::new(Cpp), one_by_one()).unwrap();
    assert_eq!(sorted(documents(&mut loader, 40)), (b' '..b'H').collect::<Vec<_>>());
    let notices = loader.take_notices();
    assert_eq!(notices.len(), 2, "{notices:?}");
    assert!(notices[0].contains("b.parquet cannot be read and was skipped: "), "{notices:?}");
    assert!(
        notices[1].contains("c.jsonl.zst") && notices[1].ends_with("(2 files in all)"),
        "{notices:?}"
    );

    let strict = SourceOptions { strict: true, ..training() };
    let source = open(&folder.path("s"), &strict, None).unwrap();
    let mut loader = Loader::new(source, Arc::new(Cpp), one_by_one()).unwrap();
    let error = (0..200).find_map(|_| loader.next_batch().err()).unwrap();
    assert!(error.to_string().contains("b.parquet cannot be read"), "{error}");
}

#[test]
fn patience_has_an_end_and_dropping_a_loader_does_not_wait_for_it() {
    let folder = Folder::new();
    write_texts(&folder.write("s/a.parquet", ""), &["short"], 8);
    folder.write("s/b.parquet", "PAR1");
    let stream = StreamOptions { patience: Duration::from_millis(100), ..quick() };
    let path = folder.path("s");
    let local = || Arc::new(LocalFolder::new(&path).unwrap());
    let source = Source::open_stream(local(), &training(), &stream, None, &mut |_| {})
        .map(Arc::new)
        .unwrap();
    let mut loader = Loader::new(source, Arc::new(Cpp), one_by_one()).unwrap();
    let error = loader.next_batch().map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("no new file in") && error.contains("and no _COMPLETE"), "{error}");
    assert!(error.contains("half-written: b.parquet ("), "{error}");

    let patient = Source::open_stream(local(), &training(), &quick(), None, &mut |_| {}).unwrap();
    let begin = Instant::now();
    let mut loader = Loader::new(Arc::new(patient), Arc::new(Cpp), one_by_one()).unwrap();
    assert!(!loader.wait(Duration::from_millis(30)));
    drop(loader);
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn validation_is_a_file_or_a_share_of_the_first_file() {
    let folder = Folder::new();
    let texts = |kind: &str| -> Vec<String> { (0..300).map(|n| format!("{kind} {n}")).collect() };
    write_texts(&folder.write("s/a.parquet", ""), &texts("a"), 100);
    write_texts(&folder.write("s/b.parquet", ""), &texts("a"), 100);
    let options = SourceOptions { validation_share: 0.2, ..SourceOptions::default() };
    let source = open(&folder.path("s"), &options, None).unwrap();
    let held: Vec<String> = source.texts(Split::Validation).map(Result::unwrap).collect();
    assert!((30..90).contains(&held.len()) && source.len(Split::Train) == 300 - held.len());
    // The same texts are held out of the second file.
    folder.write("s/_COMPLETE", "");
    let options = LoaderOptions { buffer_documents: 1, ..LoaderOptions::new(8, 64) };
    let mut loader = Loader::new(source, Arc::new(Cpp), options).unwrap();
    while loader.state().sets[0].epoch == 0 {
        for row in rows(loader.next_batch().unwrap()) {
            for document in row.split(|id| *id == BOS) {
                let text: String = document
                    .iter()
                    .filter(|id| **id < BOS)
                    .map(|id| char::from(*id as u8))
                    .collect();
                assert!(!held.contains(&text), "{text}");
            }
        }
    }
    let state = loader.state();
    assert_eq!(saved(&state, 0).unwrap().shards.len(), 2);

    write_texts(&folder.write("s/validation.parquet", ""), &["held"], 1);
    let again = open(&folder.path("s"), &SourceOptions::default(), None).unwrap();
    let held: Vec<String> = again.texts(Split::Validation).map(Result::unwrap).collect();
    assert_eq!((held, again.len(Split::Train)), (vec!["held".to_owned()], 300));
    // A run that began without it goes on without it.
    let options = SourceOptions { validation_share: 0.2, ..SourceOptions::default() };
    let resumed = open(&folder.path("s"), &options, saved(&state, 0)).unwrap();
    assert!(resumed.len(Split::Validation) > 1);
}

#[test]
fn a_file_that_was_taken_up_and_changed_is_told_when_resuming() {
    let folder = Folder::new();
    folder.documents("s/a.jsonl", &shard(b' ', 90, 30));
    folder.documents("s/b.jsonl", &shard(b' ', 90, 30));
    folder.write("s/_COMPLETE", "");
    let source = open(&folder.path("s"), &training(), None).unwrap();
    let mut loader = Loader::new(source, Arc::new(Cpp), one_by_one()).unwrap();
    documents(&mut loader, 100);
    let state = loader.state();
    folder.documents("s/b.jsonl", &shard(b' ', 80, 30));
    let source = open(&folder.path("s"), &training(), saved(&state, 0)).unwrap();
    let mut resumed = Loader::resume(source, Arc::new(Cpp), one_by_one(), &state).unwrap();
    let error = resumed.next_batch().map(|_| ()).unwrap_err().to_string();
    assert_eq!(error, "cannot resume: b.jsonl had 90 documents and has 80");
}

#[test]
fn a_folder_may_lie_anywhere() {
    /// Fetches copies, as from a store.
    struct Remote(LocalFolder, AtomicUsize);
    impl kiln_data::Folder for Remote {
        fn location(&self) -> &Path {
            Path::new("store://bucket")
        }

        fn list(&self) -> Result<Vec<FolderEntry>, DataError> {
            Ok(self.0.list()?.into_iter().map(|e| FolderEntry { modified: None, ..e }).collect())
        }

        fn fetch(&self, name: &str) -> Result<LocalFile, DataError> {
            self.1.fetch_add(1, Ordering::Relaxed);
            let mut copy = tempfile::NamedTempFile::new().unwrap();
            let file = self.0.fetch(name)?;
            std::io::copy(&mut std::fs::File::open(file.path()).unwrap(), &mut copy).unwrap();
            Ok(LocalFile::copy(copy.into_temp_path()))
        }
    }
    let folder = Folder::new();
    write_texts(&folder.write("s/a.parquet", ""), &shard(b' ', 40, 30), 8);
    folder.documents("s/b.jsonl", &shard(b'H', 40, 30));
    folder.write("s/_COMPLETE", "");
    let remote =
        Arc::new(Remote(LocalFolder::new(&folder.path("s")).unwrap(), AtomicUsize::new(0)));
    let source = Source::open_folder(remote.as_ref(), &training()).unwrap();
    assert_eq!((source.len(Split::Train), source.len(Split::Validation)), (40, 40));
    assert!(source.report().files[0].path.starts_with("store://bucket"));
    let stream =
        Source::open_stream(remote.clone(), &training(), &quick(), None, &mut |_| {}).unwrap();
    let mut loader = Loader::new(Arc::new(stream), Arc::new(Cpp), one_by_one()).unwrap();
    assert_eq!(sorted(documents(&mut loader, 80)), (b' '..b'p').collect::<Vec<_>>());
    assert!(remote.1.load(Ordering::Relaxed) >= 4);
}

/// Two ranks that find the files at different times read every document once between them.
#[test]
fn ranks_share_the_files_of_a_stream() {
    let folder = Folder::new();
    write_texts(&folder.write("s/a.parquet", ""), &shard(b' ', 48, 30), 8);
    folder.documents("s/b.jsonl", &shard(b'P', 39, 30));
    folder.write("s/_COMPLETE", "");
    let mut all = Vec::new();
    for rank in 0..3 {
        let options = LoaderOptions { rank, world: 3, ..one_by_one() };
        let source = open(&folder.path("s"), &training(), None).unwrap();
        let mut loader = Loader::new(source, Arc::new(Cpp), options).unwrap();
        // Two of the six row groups, and a third of the lines.
        let share = documents(&mut loader, 29);
        let mut groups: Vec<u8> = share[..16].iter().map(|n| (n - b' ') / 8).collect();
        groups.sort_unstable();
        groups.dedup();
        assert_eq!(groups.len(), 2);
        all.extend(share);
    }
    assert_eq!(sorted(all), (b' '..b' ' + 87).collect::<Vec<_>>());
}

/// Tokens of each set: texts of the first are of capital letters.
fn share_of_capitals(batches: &[Batch]) -> f64 {
    let content = batches.iter().flat_map(|b| &b.ids).filter(|id| **id < BOS);
    let (mut capitals, mut all) = (0, 0);
    for id in content {
        all += 1;
        capitals += usize::from((i32::from(b'A')..=i32::from(b'Z')).contains(id));
    }
    capitals as f64 / all as f64
}

#[test]
fn data_sets_give_their_shares_of_the_tokens_at_any_time() {
    let folder = Folder::new();
    let texts = |letter: &str, count: usize| -> Vec<String> {
        (0..count).map(|n| letter.repeat(20 + n * 37 % 150)).collect()
    };
    let open = |name: &str, texts: &[String]| {
        Arc::new(Source::open(&folder.documents(name, texts), &training()).unwrap())
    };
    // Very different in size: the first is read many times.
    let (large, small) = (open("l.jsonl", &texts("l", 2000)), open("S.jsonl", &texts("S", 50)));
    for weight in [0.3, 0.7] {
        let sets = vec![
            (Arc::clone(&small), Some(3.0 * weight)),
            (Arc::clone(&large), Some(3.0 - 3.0 * weight)),
        ];
        let mixture = Mixture::new(sets).unwrap();
        assert!((mixture.parts()[0].weight - weight).abs() < 1e-9);
        let mut loader = Loader::new(mixture, Arc::new(Cpp), LoaderOptions::new(16, 128)).unwrap();
        take(&mut loader, 10);
        for _ in 0..4 {
            let share = share_of_capitals(&take(&mut loader, 10));
            assert!((share - weight).abs() < 0.04, "{share} of {weight}");
        }
    }
    // By size, unless told otherwise.
    let mixture = Mixture::new(vec![(small.clone(), None), (large.clone(), None)]).unwrap();
    let bytes = |source: &Source| source.report().train_text_bytes as f64;
    let expected = bytes(&small) / (bytes(&small) + bytes(&large));
    assert!((mixture.parts()[0].weight - expected).abs() < 1e-9);
    let bad = [
        vec![],
        vec![(small.clone(), Some(0.5)), (large.clone(), None)],
        vec![(small.clone(), Some(0.0)), (large.clone(), Some(1.0))],
        vec![(small.clone(), Some(f64::NAN)), (large.clone(), Some(1.0))],
    ];
    for sets in bad {
        assert!(matches!(Mixture::new(sets), Err(DataError::BadOption { .. })));
    }
}

#[test]
fn validation_takes_of_each_set_its_share() {
    let folder = Folder::new();
    let open = |name: &str, letter: &str| {
        folder.documents(&format!("{name}/a.jsonl"), &["x"]);
        folder.documents(&format!("{name}/validation.jsonl"), &[letter.repeat(500)]);
        Arc::new(Source::open(&folder.path(name), &SourceOptions::default()).unwrap())
    };
    let sets = vec![(open("one", "S"), Some(0.25)), (open("two", "l"), Some(0.75))];
    let mixture = Mixture::new(sets).unwrap();
    let count = |max_tokens| {
        let batches = mixture.validation_batches(&Cpp, 2, 10, max_tokens).unwrap();
        let targets: Vec<i32> = batches.flat_map(|b| b.unwrap().targets).collect();
        let of = |letter: u8| targets.iter().filter(|id| **id == i32::from(letter)).count();
        (of(b'S'), of(b'l'))
    };
    assert_eq!(count(u64::MAX), (500, 500));
    assert_eq!(count(100), (25, 75));
}

/// What stands between two BOS, where that is rearranged: the text it was made of.
fn restored(document: &[i32]) -> Option<String> {
    if document.first() != Some(&PRE) {
        assert!(document.iter().all(|id| ![PRE, MID, SUF].contains(id)), "{document:?}");
        return None;
    }
    // A rearranged document is whole: it ends with EOS and has each sentinel once.
    let at = |wanted: i32| {
        assert_eq!(document.iter().filter(|id| **id == wanted).count(), 1, "{document:?}");
        document.iter().position(|id| *id == wanted).unwrap()
    };
    let (suffix, middle, end) = (at(SUF), at(MID), at(EOS));
    assert_eq!((at(PRE), end), (0, document.len() - 1));
    let text = |ids: &[i32]| ids.iter().map(|id| char::from(*id as u8)).collect::<String>();
    let (prefix, suffix, middle) = (
        text(&document[1..suffix]),
        text(&document[suffix + 1..middle]),
        text(&document[middle + 1..end]),
    );
    Some(format!("{prefix}{middle}{suffix}"))
}

#[test]
fn rearranged_documents_are_packed_whole_at_the_rates_asked_for() {
    let folder = Folder::new();
    let texts: Vec<String> =
        (0..4000).map(|n| format!("int f{n}() {{ return {}; }}", "1".repeat(n % 90))).collect();
    let source = common::training(&folder, &texts);
    let fim = FimOptions { rate: 0.6, spm_rate: 0.25, body_rate: 0.5 };
    let options = LoaderOptions { fim, ..LoaderOptions::new(16, 96) };
    let mut loader = Loader::new(source, Arc::new(Cpp), options).unwrap();
    let (mut rearranged, mut ends) = (0, 0);
    while loader.fim_counts().documents < 16_000 {
        for row in rows(loader.next_batch().unwrap()) {
            for document in row.split(|id| *id == BOS) {
                ends += u64::from(document.last() == Some(&EOS));
                // Suffix first, the text comes out as suffix, prefix, middle in other places: it need not be a text.
                if let Some(text) = restored(document) {
                    rearranged += 1;
                    let known = texts.iter().any(|whole| whole.contains(&text));
                    assert!(document[1] == SUF || known, "{text}");
                }
            }
        }
    }
    let counts = loader.fim_counts();
    let share = |part: u64, of: u64| part as f64 / of as f64;
    // A third of the documents are longer than a row: they count, whatever the number of their pieces.
    assert!((share(counts.rearranged, counts.documents) - 0.6).abs() < 0.01, "{counts:?}");
    assert!((share(counts.spm, counts.rearranged) - 0.25).abs() < 0.01, "{counts:?}");
    assert!((share(counts.body, counts.rearranged) - 0.5).abs() < 0.015, "{counts:?}");
    assert_eq!(counts.undone, 0);
    assert!(ends > 10_000 && rearranged + 200 > counts.rearranged, "{rearranged} of {counts:?}");
}

/// Of documents that are longer than a row every piece is rearranged, and no token is lost or doubled.
#[test]
fn long_documents_are_rearranged_piece_by_piece() {
    let folder = Folder::new();
    let text = |n: usize| format!("int f{n}() {{ return {}; }}\n", n % 7).repeat(40 + n % 11);
    let texts: Vec<String> = (0..60).map(text).collect();
    let source = common::training(&folder, &texts);
    let fim = FimOptions { rate: 1.0, spm_rate: 0.0, body_rate: 0.5 };
    let options = LoaderOptions { fim, buffer_documents: 8, ..LoaderOptions::new(4, 96) };
    let mut loader = Loader::new(source, Arc::new(Cpp), options).unwrap();
    let (mut plain, mut rearranged, mut bodies) = (0, 0, 0);
    for row in take(&mut loader, 400).iter().flat_map(rows) {
        assert_eq!(row.len(), 97);
        for piece in row.split(|id| *id == BOS).skip(1) {
            let Some(text) = restored(piece) else {
                plain += piece.len();
                continue;
            };
            assert!(texts.iter().any(|whole| whole.contains(&text)), "{text}");
            rearranged += piece.len();
            let middle = piece.iter().position(|id| *id == MID).unwrap();
            let middle: Vec<u8> = piece[middle + 1..].iter().map(|id| *id as u8).collect();
            bodies += usize::from(middle.len() == 12 && middle.starts_with(b" return "));
        }
    }
    // What is left over at the ends of rows and documents stays as it is.
    assert!(rearranged > 9 * plain, "{rearranged} tokens and {plain}");
    assert!(bodies > 100, "{bodies}");
    assert_eq!(loader.fim_counts().rearranged, loader.fim_counts().documents);
}

/// Where every document is to be rearranged and none is too long, rows still have no padding.
#[test]
fn rows_are_full_even_if_nothing_may_be_cut() {
    let folder = Folder::new();
    let source = common::training(&folder, &common::texts(&[20, 31, 17, 44, 28, 39].repeat(50)));
    let fim = FimOptions { rate: 1.0, ..FimOptions::default() };
    let options = LoaderOptions { fim, ..LoaderOptions::new(4, 100) };
    let mut loader = Loader::new(source, Arc::new(Cpp), options).unwrap();
    for batch in take(&mut loader, 200) {
        for row in rows(&batch) {
            row.split(|id| *id == BOS).for_each(|document| drop(restored(document)));
        }
    }
    let counts = loader.fim_counts();
    assert_eq!(counts.rearranged, counts.documents);
    assert!(counts.undone > 0 && counts.undone * 12 < counts.documents, "{counts:?}");
}

fn pairs(folder: &Folder) -> Arc<Source> {
    let line = |n: usize| {
        let body = format!(" return {}; ", "9".repeat(1 + n * 13 % 60));
        let fields = serde_json::json!({
            "docstring": format!("Gives {n}."), "signature": format!("int g{n}()"), "body": body, "path": "a.cc",
        });
        format!("{fields}\n")
    };
    let path = folder.write("pairs.jsonl", (0..60).map(line).collect::<String>());
    let options = SourceOptions { schema: Schema::Pairs, ..SourceOptions::default() };
    Arc::new(Source::open(&path, &options).unwrap())
}

#[test]
fn pairs_are_rearranged_so_that_the_body_comes_last() {
    let folder = Folder::new();
    let source = common::training(&folder, &common::texts(&[60; 40]));
    let mixture = Mixture::from(source).with(pairs(&folder), 0.5).unwrap();
    let mut loader = Loader::new(mixture, Arc::new(Cpp), LoaderOptions::new(4, 64)).unwrap();
    let mut found = 0;
    for batch in take(&mut loader, 60) {
        for row in rows(&batch) {
            for text in row.split(|id| *id == BOS).filter_map(restored) {
                assert!(text.starts_with("/*\nGives ") && text.ends_with("9; }"), "{text}");
                found += 1;
            }
        }
    }
    let counts = loader.fim_counts();
    assert!(found > 20 && counts.rearranged == 0);
    assert!(
        counts.structured >= found && counts.structured < counts.pairs,
        "some are too long: {counts:?}"
    );
    assert!((Mixture::from(pairs(&folder)).with(pairs(&folder), 1.0)).is_err());
}

#[test]
fn a_tokenizer_without_sentinels_is_refused() {
    let folder = Folder::new();
    let source = common::training(&folder, &common::texts(&[60; 40]));
    let fim = FimOptions { rate: 0.5, ..FimOptions::default() };
    let options = LoaderOptions { fim, ..LoaderOptions::new(4, 64) };
    let plain = || -> Arc<dyn Encode> { Arc::new(common::Bytes { eos: true }) };
    let refused = Loader::new(Arc::clone(&source), plain(), options);
    assert!(matches!(refused.map(|_| ()), Err(DataError::NoSentinels)));
    let mixture = Mixture::from(source).with(pairs(&folder), 0.5).unwrap();
    let refused = Loader::new(mixture, plain(), LoaderOptions::new(4, 64));
    assert!(matches!(refused.map(|_| ()), Err(DataError::NoSentinels)));
}

/// A stream whose files appear one by one, a data set, and pairs; some documents rearranged.
struct Everything {
    folder: Folder,
    files: Vec<(String, Vec<u8>)>,
}

impl Everything {
    fn new(lengths: &[usize]) -> Self {
        let folder = Folder::new();
        let text = |(n, length): (usize, &usize)| format!("int f{n}() {{{}}}", "x".repeat(*length));
        let texts: Vec<String> = lengths.iter().enumerate().map(text).collect();
        folder.documents("other.jsonl", &common::texts(&[30, 7, 90, 12, 55]));
        pairs(&folder);
        let mut files = Vec::new();
        for (number, texts) in texts.chunks(9).enumerate() {
            let kind = ["jsonl", "parquet", "jsonl.zst"][number % 3];
            let bytes = match kind {
                "jsonl" => jsonl(texts).into_bytes(),
                "parquet" => {
                    write_texts(&folder.path("scratch"), texts, 4);
                    std::fs::read(folder.path("scratch")).unwrap()
                }
                _ => zstd::encode_all(jsonl(texts).as_bytes(), 3).unwrap(),
            };
            files.push((format!("{number:03}.{kind}"), bytes));
        }
        Self { folder, files }
    }

    /// Makes `count` files of the stream be there; all of them, and the marker, if there are no more.
    fn appear(&self, name: &str, count: usize) {
        for (file, bytes) in self.files.iter().take(count) {
            let path = format!("{name}/{file}");
            if !self.folder.path(&path).exists() {
                // As a good writer does it.
                let hidden = self.folder.write(&format!("{name}/.{file}.tmp"), bytes);
                std::fs::rename(hidden, self.folder.path(&path)).unwrap();
            }
        }
        if count >= self.files.len() {
            self.folder.write(&format!("{name}/_COMPLETE"), "");
        }
    }

    fn data(&self, name: &str, state: Option<&LoaderState>) -> Mixture {
        let share = SourceOptions { validation_share: 0.1, ..SourceOptions::default() };
        let stream =
            open(&self.folder.path(name), &share, state.and_then(|s| saved(s, 0))).unwrap();
        let other = Source::open(&self.folder.path("other.jsonl"), &training()).unwrap();
        let sets = vec![(stream, Some(0.7)), (Arc::new(other), Some(0.3))];
        let options = SourceOptions { schema: Schema::Pairs, ..SourceOptions::default() };
        let pairs = Source::open(&self.folder.path("pairs.jsonl"), &options).unwrap();
        Mixture::new(sets).unwrap().with(Arc::new(pairs), 0.2).unwrap()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// The uninterrupted run sees all files at once, the other one sees them appear while it goes on and is stopped.
    #[test]
    fn a_resumed_loader_gives_the_same_batches_whenever_files_appeared(
        lengths in proptest::collection::vec(prop_oneof![3 => 0usize..60, 1 => 60usize..400], 30..80),
        (batch_rows, seq_len) in (1usize..4, 20usize..90),
        (seed, rate, prefetch) in (any::<u64>(), 0.0f64..1.0, 1usize..4),
        stops in proptest::collection::vec(0usize..25, 2..6),
    ) {
        let all = Everything::new(&lengths);
        let fim = FimOptions { rate, spm_rate: 0.5, body_rate: 0.5 };
        let options = LoaderOptions { seed, fim, prefetch, ..LoaderOptions::new(batch_rows, seq_len) };
        all.appear("whole", all.files.len());
        let total = stops.iter().sum::<usize>() + 10;
        let mut whole =
            Loader::new(all.data("whole", None), Arc::new(Cpp), options.clone()).unwrap();
        let expected = take(&mut whole, total);

        all.appear("growing", 1);
        let mut running =
            Loader::new(all.data("growing", None), Arc::new(Cpp), options.clone()).unwrap();
        let (mut at, mut files) = (0, 1);
        for stop in &stops {
            for batch in &expected[at..at + stop] {
                while !running.wait(Duration::from_millis(1)) {
                    if running.waits_for_files() {
                        files += 1;
                        all.appear("growing", files);
                    }
                }
                prop_assert_eq!(running.next_batch().unwrap(), batch);
            }
            at += stop;
            let state = through_json(&running.state());
            prop_assert_eq!(&state, &running.state());
            drop(running);
            let data = all.data("growing", Some(&state));
            running = Loader::resume(data, Arc::new(Cpp), options.clone(), &state).unwrap();
        }
        all.appear("growing", all.files.len());
        prop_assert_eq!(&take(&mut running, total - at), &expected[at..]);
        prop_assert_eq!(running.state(), whole.state());
    }
}
