//! Validation batches.

mod common;

use common::{Bytes, Folder};
use kiln_data::{Batch, DataError, Source, SourceOptions};
use proptest::prelude::*;

const BYTES: Bytes = Bytes { eos: false };

fn held_out(folder: &Folder, texts: &[String]) -> Source {
    folder.documents("a.jsonl", &["training"]);
    folder.documents("b.jsonl", texts);
    Source::open(&folder.path(""), &SourceOptions::default()).unwrap()
}

fn batches(source: &Source, rows: usize, seq_len: usize, max_tokens: u64) -> Vec<Batch> {
    let batches = source.validation_batches(&BYTES, rows, seq_len, max_tokens).unwrap();
    batches.map(Result::unwrap).collect()
}

fn targets(batches: &[Batch]) -> Vec<i32> {
    batches.iter().flat_map(|b| b.targets.iter().copied()).filter(|t| *t != -1).collect()
}

#[test]
fn documents_follow_each_other_and_the_last_row_is_padded() {
    let folder = Folder::new();
    let source = held_out(&folder, &["abc".to_owned(), "de".to_owned(), "fghij".to_owned()]);
    let got = batches(&source, 2, 4, u64::MAX);
    let (a, bos) = (i32::from(b'a'), 256);
    assert_eq!(got.len(), 2);
    assert_eq!(got[0].ids, [bos, a, a + 1, a + 2, bos, a + 3, a + 4, bos]);
    assert_eq!(got[0].targets, [a, a + 1, a + 2, bos, a + 3, a + 4, bos, a + 5]);
    // A document that was cut goes on after a BOS of its own.
    assert_eq!(got[1].ids, [bos, a + 6, a + 7, a + 8, bos, bos, bos, bos]);
    assert_eq!(got[1].targets, [a + 6, a + 7, a + 8, a + 9, -1, -1, -1, -1]);
}

#[test]
fn the_limit_is_exact() {
    let folder = Folder::new();
    let source = held_out(&folder, &["x".repeat(100)]);
    for limit in [0, 1, 7, 8, 9, 99, 100, 1000] {
        let got = batches(&source, 2, 4, limit);
        assert_eq!(targets(&got).len() as u64, limit.min(100));
        assert_eq!(got.len() as u64, limit.min(100).div_ceil(8));
    }
}

#[test]
fn sizes_of_zero_are_refused() {
    let folder = Folder::new();
    let source = held_out(&folder, &["x".to_owned()]);
    for (rows, seq_len) in [(0, 4), (4, 0), (usize::MAX, usize::MAX)] {
        let refused = source.validation_batches(&BYTES, rows, seq_len, 1).map(|_| ());
        assert!(matches!(refused, Err(DataError::BadOption { .. })));
    }
}

#[test]
fn an_error_ends_the_batches() {
    let folder = Folder::new();
    let source = held_out(&folder, &["x".repeat(10), "y".repeat(10)]);
    let edited = std::fs::read_to_string(folder.path("b.jsonl")).unwrap().replace('y', "z");
    std::fs::write(folder.path("b.jsonl"), edited).unwrap();
    let mut batches = source.validation_batches(&BYTES, 1, 5, u64::MAX).unwrap();
    assert!(batches.next().unwrap().is_ok());
    assert!(matches!(batches.find(Result::is_err), Some(Err(DataError::Changed { .. }))));
    assert!(batches.next().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_token_is_predicted_once_whatever_the_shape(
        texts in proptest::collection::vec("[a-z]{1,40}", 1..12),
        rows in 1usize..5,
        seq_len in 1usize..30,
    ) {
        let folder = Folder::new();
        let source = held_out(&folder, &texts);
        let got = batches(&source, rows, seq_len, u64::MAX);
        prop_assert_eq!(&got, &batches(&source, rows, seq_len, u64::MAX));
        let content: Vec<i32> = targets(&got).into_iter().filter(|t| *t != 256).collect();
        let expected: Vec<i32> = texts.concat().bytes().map(i32::from).collect();
        prop_assert_eq!(content, expected);
        for batch in &got {
            prop_assert_eq!((batch.ids.len(), batch.targets.len()), (rows * seq_len, rows * seq_len));
            prop_assert!(batch.ids.iter().all(|id| (0..258).contains(id)));
            prop_assert!(batch.ids.chunks(seq_len).all(|row| row[0] == 256));
        }
        // The predicted set does not depend on the number of rows.
        prop_assert_eq!(targets(&got), targets(&batches(&source, 1, seq_len, u64::MAX)));
    }
}
