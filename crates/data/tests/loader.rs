//! Batches: what is in them, and that a resumed loader gives the same ones.

mod common;

use std::collections::HashMap;
use std::sync::Arc;

use common::{Bytes, Folder, loader, rows, texts, training};
use kiln_data::{
    Batch, DataError, Encode, Loader, LoaderOptions, LoaderState, Source, SourceOptions, Split,
};
use proptest::prelude::*;

const BOS: i32 = 256;

fn take(loader: &mut Loader, batches: usize) -> Vec<Batch> {
    (0..batches).map(|_| loader.next_batch().unwrap().clone()).collect()
}

fn failure(result: Result<Loader, DataError>) -> DataError {
    match result {
        Ok(_) => panic!("started"),
        Err(e) => e,
    }
}

fn through_json(state: &LoaderState) -> LoaderState {
    serde_json::from_str(&serde_json::to_string(state).unwrap()).unwrap()
}

/// How often each token occurs, BOS left out.
fn count(tokens: impl IntoIterator<Item = i32>) -> HashMap<i32, u64> {
    let mut counts = HashMap::new();
    for token in tokens.into_iter().filter(|t| *t != BOS) {
        *counts.entry(token).or_default() += 1;
    }
    counts
}

/// Tokens that the buffer of a state still holds, and those of the whole epochs that were drawn before it.
fn accounted(source: &Source, state: &LoaderState) -> HashMap<i32, i64> {
    let mut counts: HashMap<i32, i64> = HashMap::new();
    let mut add = |text: &str, times: i64| {
        for byte in text.bytes() {
            *counts.entry(i32::from(byte)).or_default() += times;
        }
    };
    for text in source.texts(Split::Train) {
        add(&text.unwrap(), state.sets[0].epoch as i64);
    }
    for piece in &state.buffer {
        let text = source.text(Split::Train, piece.document as usize).unwrap();
        add(&text[piece.offset as usize..], -1);
    }
    counts.retain(|_, n| *n != 0);
    counts
}

#[test]
fn rows_start_with_bos_and_are_full() {
    let folder = Folder::new();
    let source = training(&folder, &texts(&[3, 50, 7, 200, 1, 1, 30, 12]));
    let mut loader = loader(&source, &LoaderOptions::new(3, 16)).unwrap();
    for _ in 0..30 {
        let batch = loader.next_batch().unwrap();
        assert_eq!((batch.rows, batch.seq_len), (3, 16));
        for row in rows(batch) {
            assert_eq!((row.len(), row[0]), (17, BOS));
        }
    }
    assert!(loader.epoch() >= 4);
    assert!(loader.warnings().is_empty());
}

/// At the very moment when an epoch has been drawn whole, what was given and what waits make up whole epochs.
#[test]
fn every_token_of_every_epoch_is_given_once() {
    let folder = Folder::new();
    let lengths: Vec<usize> =
        (0..40).map(|n| 1 + n * n % 97 + if n % 9 == 0 { 300 } else { 0 }).collect();
    let source = training(&folder, &texts(&lengths));
    let mut loader = loader(&source, &LoaderOptions::new(1, 20)).unwrap();
    let mut given: HashMap<i32, i64> = HashMap::new();
    let mut checked = 0;
    while checked < 3 {
        for (token, n) in count(rows(loader.next_batch().unwrap()).concat()) {
            *given.entry(token).or_default() += n as i64;
        }
        let mut state = loader.state();
        if state.sets[0].position == 40 {
            state.sets[0].epoch += 1;
            assert_eq!(given, accounted(&source, &state));
            checked += 1;
        }
        assert!(state.sets[0].epoch < 60, "the ends of epochs were missed");
    }
    assert_eq!(loader.content_tokens() as i64, given.values().sum::<i64>());
}

#[test]
fn a_document_longer_than_many_rows_drains_in_order() {
    let folder = Folder::new();
    let long: String = (0..1000).map(|n| format!("{n:03} ")).collect();
    let source = training(&folder, std::slice::from_ref(&long));
    let mut loader = loader(&source, &LoaderOptions::new(1, 64)).unwrap();
    let mut text = String::new();
    while text.len() < 2 * long.len() {
        let row = &rows(loader.next_batch().unwrap())[0];
        text.extend(row.iter().filter(|t| **t != BOS).map(|t| char::from(*t as u8)));
    }
    assert!(text.starts_with(&format!("{long}{long}")));
}

#[test]
fn long_documents_are_spread_over_the_rows() {
    let folder = Folder::new();
    let source = training(&folder, &texts(&[2000; 40]));
    let mut loader = loader(&source, &LoaderOptions::new(8, 32)).unwrap();
    for batch in take(&mut loader, 20) {
        let mut documents: Vec<i32> = rows(&batch).iter().map(|row| row[1]).collect();
        documents.sort_unstable();
        documents.dedup();
        assert_eq!(documents.len(), 8, "rows of a batch come from different documents");
    }
}

#[test]
fn every_document_ends_with_eos_where_there_is_one() {
    let folder = Folder::new();
    let source = training(&folder, &texts(&[3, 5, 2]));
    let encoder = Arc::new(Bytes { eos: true });
    let mut loader = Loader::new(Arc::clone(&source), encoder, LoaderOptions::new(4, 400)).unwrap();
    let batch = loader.next_batch().unwrap();
    let row = &rows(batch)[0];
    let documents: Vec<&[i32]> = row.split(|t| *t == BOS).collect();
    assert!(documents[0].is_empty());
    for document in &documents[1..documents.len() - 1] {
        let (eos, content) = document.split_last().unwrap();
        assert_eq!(*eos, 257);
        assert!([3, 5, 2].contains(&content.len()));
    }
    let all = rows(batch).concat();
    let content = all.iter().filter(|t| **t < BOS).count();
    assert_eq!(loader.content_tokens(), content as u64);
}

#[test]
fn a_sequence_length_that_nothing_fills_repeats_the_data_and_says_so() {
    let folder = Folder::new();
    let source = training(&folder, &texts(&[3, 4]));
    let mut short = loader(&source, &LoaderOptions::new(2, 100)).unwrap();
    assert_eq!(
        short.warnings(),
        [
            "the training documents have 9 tokens in all, fewer than the 101 of one row: every row repeats them"
        ]
    );
    let batch = short.next_batch().unwrap();
    let counts = count(rows(batch).concat());
    assert!(counts.values().all(|n| *n >= 60), "{counts:?}");
    assert_eq!(counts.len(), 2);

    // No document fills a row, but together they do.
    let source = training(&folder, &texts(&[7; 30]));
    let mut packed = loader(&source, &LoaderOptions::new(2, 100)).unwrap();
    assert!(packed.warnings().is_empty());
    assert_eq!(rows(packed.next_batch().unwrap())[0].len(), 101);
}

#[test]
fn epochs_have_orders_of_their_own_that_the_seed_decides() {
    let folder = Folder::new();
    let source = training(&folder, &texts(&[1; 60]));
    // BOS and one byte per document: 40 rows of 3 documents are two epochs.
    let first_rows = |seed: u64| {
        let options = LoaderOptions { seed, buffer_documents: 1, ..LoaderOptions::new(40, 5) };
        let mut loader = loader(&source, &options).unwrap();
        let all: Vec<i32> = rows(loader.next_batch().unwrap()).concat();
        all.into_iter().filter(|t| *t != BOS).collect::<Vec<_>>()
    };
    let tokens = first_rows(1);
    assert_ne!(tokens[..60], tokens[60..]);
    assert_eq!(count(tokens.iter().copied()).len(), 60);
    assert_eq!(tokens, first_rows(1));
    assert_ne!(tokens, first_rows(2));
}

#[test]
fn ranks_share_the_documents_of_an_epoch() {
    let folder = Folder::new();
    // A row holds one document, and the buffer one too: rows are documents in the order of drawing.
    let source = training(&folder, &texts(&[40; 31]));
    let mut dealt: Vec<i32> = Vec::new();
    for (rank, share) in [(0, 11), (1, 10), (2, 10)] {
        let options =
            LoaderOptions { rank, world: 3, buffer_documents: 1, ..LoaderOptions::new(1, 40) };
        let mut loader = loader(&source, &options).unwrap();
        let documents: Vec<i32> = take(&mut loader, share).iter().map(|b| b.ids[1]).collect();
        dealt.extend(documents);
        let fingerprint = loader.state().fingerprint;
        assert_eq!((fingerprint.rank, fingerprint.world), (rank as u64, 3));
    }
    dealt.sort_unstable();
    assert_eq!(dealt, (0..31).map(|n| i32::from(b'!') + n).collect::<Vec<_>>());
}

#[test]
fn the_first_batches_are_not_all_beginnings() {
    let folder = Folder::new();
    let texts: Vec<String> = (0..2000).map(|_| format!("!{}", "x".repeat(199))).collect();
    let source = training(&folder, &texts);
    let mut loader = loader(&source, &LoaderOptions::new(32, 20)).unwrap();
    // Ten rows a document: of 32 rows, 3 would start one if all were drawn alike.
    for (number, batch) in take(&mut loader, 20).iter().enumerate() {
        let starts = batch.ids.iter().filter(|t| **t == i32::from(b'!')).count();
        assert!(starts <= 20, "{starts} documents start in batch {number}");
    }
}

/// Batches of an uninterrupted run, and those after each stop of an interrupted one.
fn check_resume(source: &Arc<Source>, options: &LoaderOptions, stops: &[usize]) {
    let total: usize = stops.iter().sum::<usize>() + 4;
    let expected = take(&mut loader(source, options).unwrap(), total);
    let mut running = loader(source, options).unwrap();
    let mut at = 0;
    for stop in stops {
        assert_eq!(take(&mut running, *stop), expected[at..at + stop]);
        at += stop;
        let state = through_json(&running.state());
        assert_eq!(state, running.state());
        drop(running);
        let encoder = Arc::new(Bytes { eos: false });
        running = Loader::resume(Arc::clone(source), encoder, options.clone(), &state).unwrap();
        assert_eq!(running.state(), state);
    }
    assert_eq!(take(&mut running, total - at), expected[at..]);
}

#[test]
fn every_batch_is_a_place_to_resume_from() {
    let folder = Folder::new();
    let lengths: Vec<usize> = (0..25).map(|n| 1 + (n * 37) % 60).collect();
    let source = training(&folder, &texts(&lengths));
    let options = LoaderOptions { seed: 9, ..LoaderOptions::new(2, 11) };
    // 800 tokens an epoch, 22 a batch: the stops pass three ends of epochs.
    check_resume(&source, &options, &[1; 110]);
}

#[test]
fn another_number_of_rows_goes_on_with_the_same_rows() {
    let folder = Folder::new();
    let source = training(&folder, &texts(&[5, 17, 40, 3, 9, 28, 80, 2]));
    let all_rows = |batches: &[Batch]| batches.iter().flat_map(rows).collect::<Vec<_>>();
    let expected = all_rows(&take(&mut loader(&source, &LoaderOptions::new(1, 10)).unwrap(), 60));
    let mut first = loader(&source, &LoaderOptions::new(4, 10)).unwrap();
    let mut given = all_rows(&take(&mut first, 5));
    let encoder = Arc::new(Bytes { eos: false });
    let options = LoaderOptions::new(8, 10);
    let mut second = Loader::resume(source, encoder, options, &first.state()).unwrap();
    given.extend(all_rows(&take(&mut second, 5)));
    assert_eq!(given, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_resumed_loader_gives_the_same_batches(
        lengths in proptest::collection::vec(prop_oneof![3 => 1usize..20, 1 => 20usize..300], 1..40),
        (rows, seq_len, prefetch) in (1usize..5, 1usize..50, 1usize..6),
        (seed, buffer_documents, world) in (any::<u64>(), 1usize..12, 1usize..4),
        stops in proptest::collection::vec(0usize..9, 1..5),
    ) {
        let folder = Folder::new();
        let source = training(&folder, &texts(&lengths));
        let world = world.min(lengths.len());
        let rank = world - 1;
        let new = LoaderOptions::new(rows, seq_len);
        let options = LoaderOptions { seed, buffer_documents, prefetch, rank, world, ..new };
        check_resume(&source, &options, &stops);
    }
}

#[test]
fn other_data_or_settings_are_told_when_resuming() {
    let folder = Folder::new();
    let source = training(&folder, &texts(&[5, 17, 40]));
    let options = LoaderOptions::new(2, 10);
    let state = loader(&source, &options).unwrap().state();
    let resume = |source: &Arc<Source>, encoder: Arc<dyn Encode>, options: &LoaderOptions| {
        failure(Loader::resume(Arc::clone(source), encoder, options.clone(), &state)).to_string()
    };
    let bytes = || -> Arc<dyn Encode> { Arc::new(Bytes { eos: false }) };

    let longer = LoaderOptions { seq_len: 12, seed: 3, ..options.clone() };
    assert_eq!(
        resume(&source, bytes(), &longer),
        "cannot resume: the sequence length was 10 and is 12; the seed was 0 and is 3"
    );
    assert_eq!(
        resume(&source, Arc::new(Bytes { eos: true }), &options),
        "cannot resume: the tokenizer is another one"
    );
    let other = training(&folder, &texts(&[5, 17, 41]));
    assert_eq!(
        resume(&other, bytes(), &options),
        "cannot resume: documents.jsonl has other documents"
    );
}

#[test]
fn a_damaged_state_is_an_error_and_no_panic() {
    let folder = Folder::new();
    let source = training(&folder, &texts(&[50, 60, 70, 80, 90]));
    let options = LoaderOptions { buffer_documents: 8, ..LoaderOptions::new(2, 10) };
    let mut running = loader(&source, &options).unwrap();
    take(&mut running, 2);
    let good = running.state();
    assert!(good.buffer.len() >= 2);
    let damages: [fn(&mut LoaderState); 8] = [
        |s| s.sets[0].position = 6,
        |s| s.sets[0].epoch = u64::MAX,
        |s| s.rows = u64::MAX,
        |s| s.next_sequence = 1,
        |s| s.buffer[0].document = 5,
        |s| s.buffer[0].document = u32::MAX,
        |s| s.buffer[0].offset = 1000,
        |s| s.buffer[1].sequence = s.buffer[0].sequence,
    ];
    for (number, damage) in damages.iter().enumerate() {
        let mut state = good.clone();
        damage(&mut state);
        let encoder = Arc::new(Bytes { eos: false });
        let resumed = Loader::resume(Arc::clone(&source), encoder, options.clone(), &state);
        let error = resumed.and_then(|mut loader| loader.next_batch().map(|_| ()));
        assert!(matches!(error, Err(DataError::BadState { .. })), "damage {number}: {error:?}");
    }
}

#[test]
fn an_error_on_the_thread_reaches_the_consumer() {
    let folder = Folder::new();
    let source = training(&folder, &texts(&[500; 50]));
    let options = LoaderOptions { buffer_documents: 1, prefetch: 1, ..LoaderOptions::new(1, 100) };
    let mut loader = loader(&source, &options).unwrap();
    loader.next_batch().unwrap();
    std::fs::write(folder.path("documents.jsonl"), "").unwrap();
    let error = (0..100).find_map(|_| loader.next_batch().err()).unwrap();
    assert!(matches!(error, DataError::Changed { .. }), "{error}");
    assert!(matches!(loader.next_batch(), Err(DataError::LoaderStopped)));
}

/// An encoder that misbehaves on texts which start with `!`.
struct Faulty {
    panics: bool,
}

impl Encode for Faulty {
    fn encode_into(&self, text: &[u8], out: &mut Vec<u32>) {
        let marked = text.first() == Some(&b'!');
        assert!(!(self.panics && marked), "no such text");
        if marked {
            out.push(2);
        }
    }

    fn bos_id(&self) -> u32 {
        0
    }

    fn eos_id(&self) -> Option<u32> {
        None
    }

    fn vocab_size(&self) -> usize {
        2
    }
}

#[test]
fn faults_of_the_tokenizer_are_errors() {
    let folder = Folder::new();
    let source = training(&folder, &texts(&[90_000]));
    let start = |panics| {
        let options = LoaderOptions::new(1, 10);
        Loader::new(Arc::clone(&source), Arc::new(Faulty { panics }), options).unwrap()
    };
    let error = start(true).next_batch().map(|_| ()).unwrap_err();
    assert!(
        matches!(&error, DataError::LoaderPanicked { message } if message == "no such text"),
        "{error}"
    );
    let error = start(false).next_batch().map(|_| ()).unwrap_err();
    assert!(matches!(error, DataError::TokenOutOfRange { id: 2, vocab_size: 2 }), "{error}");

    // Documents of which the tokenizer makes nothing.
    for lengths in [vec![5, 5], vec![50_000, 50_000]] {
        let texts: Vec<String> = lengths.iter().map(|n| " ".repeat(*n)).collect();
        let nothing = training(&folder, &texts);
        let made =
            Loader::new(nothing, Arc::new(Faulty { panics: false }), LoaderOptions::new(1, 10));
        let error = made.and_then(|mut loader| loader.next_batch().map(|_| ())).unwrap_err();
        assert!(matches!(error, DataError::NoTokens), "{error}");
    }
}

#[test]
fn options_that_cannot_work_are_refused() {
    let folder = Folder::new();
    let source = training(&folder, &texts(&[5, 6]));
    let good = LoaderOptions::new(2, 10);
    let bad = [
        LoaderOptions { rows: 0, ..good.clone() },
        LoaderOptions { seq_len: 0, ..good.clone() },
        LoaderOptions { seq_len: usize::MAX, ..good.clone() },
        LoaderOptions { rows: usize::MAX, ..good.clone() },
        LoaderOptions { world: 0, ..good.clone() },
        LoaderOptions { rank: 1, ..good.clone() },
        LoaderOptions { buffer_documents: 0, ..good.clone() },
        LoaderOptions { prefetch: 0, ..good.clone() },
        LoaderOptions { prefetch: usize::MAX, ..good.clone() },
    ];
    for options in bad {
        let error = failure(loader(&source, &options));
        assert!(matches!(error, DataError::BadOption { .. }), "{options:?}: {error}");
    }
    let ranks = LoaderOptions { world: 3, ..good.clone() };
    assert!(matches!(failure(loader(&source, &ranks)), DataError::TooFewForRanks { .. }));

    let all = SourceOptions { validation_share: 1.0, ..SourceOptions::default() };
    let held_out = Arc::new(Source::open(&folder.path("documents.jsonl"), &all).unwrap());
    assert!(matches!(
        failure(loader(&held_out, &good)),
        DataError::NoTrainingDocuments { validation: 2 }
    ));
}

#[test]
fn dropping_a_loader_ends_its_thread() {
    let folder = Folder::new();
    let source = training(&folder, &texts(&[50; 20]));
    for taken in [0, 1, 20] {
        let mut loader = loader(&source, &LoaderOptions::new(2, 10)).unwrap();
        take(&mut loader, taken);
        drop(loader);
    }
    // The threads held the source too.
    assert_eq!(Arc::strong_count(&source), 1);
}
