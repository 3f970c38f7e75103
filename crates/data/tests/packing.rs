//! An epoch of documents whose lengths are spread as those of source files are.

mod common;
#[path = "common/measure.rs"]
mod measure;

use common::Folder;
use common::parquet::write_texts;
use measure::{Measured, measure};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// A normally distributed number, or nearly so.
fn normal(runner: &mut TestRunner) -> f64 {
    let twelve = proptest::collection::vec(0.0f64..1.0, 12);
    twelve.new_tree(runner).unwrap().current().iter().sum::<f64>() - 6.0
}

/// Texts of log-normal lengths: a median of 1,000 tokens, some a hundred times as long.
fn texts(count: usize) -> Vec<String> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    (0..count)
        .map(|n| {
            let length = (1000f64.ln() + 1.5 * normal(&mut runner)).exp() as usize;
            format!("{n} {}", "x".repeat(length))
        })
        .collect()
}

fn check(measured: &Measured) {
    assert_eq!((measured.padding, measured.miscounted), (0, 0));
    let mut seen = 0;
    for class in measured.classes.iter().filter(|class| class.documents >= 50) {
        // What a tenth of an epoch holds of each length is right to within a document or two of the longest.
        let tokens = measured.tokens as f64 / 10.0;
        let tolerance = 0.1 * class.share + 2.0 * (4 * class.from) as f64 / tokens;
        let error = (class.packed - class.share).abs();
        assert!(
            error < tolerance.min(0.25 * class.share + 0.01),
            "{class:?} of {}",
            measured.tokens
        );
        seen += 1;
    }
    assert!(seen >= 4, "{:?}", measured.classes);
}

#[test]
fn every_document_is_packed_once_and_no_length_waits() {
    let folder = Folder::new();
    let texts = texts(3000);
    let lines = folder.documents("a.jsonl", &texts);
    let rows = folder.path("a.parquet");
    write_texts(&rows, &texts, 256);
    for (path, seq_len) in [(&lines, 512), (&lines, 2048), (&rows, 512), (&rows, 2048)] {
        let measured = measure(path, seq_len, &str::len);
        check(&measured);
        assert!(measured.documents_of_batch >= 16.0, "{}", measured.documents_of_batch);
        assert!(measured.bos < 0.01, "{}", measured.bos);
        assert_eq!(measured.documents, 3000);
    }
}
