//! The same bits from the same inputs, over runs and over numbers of threads.

mod common;

use kiln_cpu::Isa;

use common::transformer::{Sizes, Trainer};

/// Odd sizes; the first is so small that most kernels have one task, the second gives every kernel several.
const SIZES: [Sizes; 2] = [
    Sizes {
        batch: 2,
        tokens: 9,
        width: 24,
        heads: 4,
        kv_heads: 2,
        layers: 3,
        vocab: 61,
        padded_vocab: 64,
    },
    Sizes {
        batch: 2,
        tokens: 67,
        width: 60,
        heads: 6,
        kv_heads: 3,
        layers: 2,
        vocab: 517,
        padded_vocab: 576,
    },
];

/// Losses and variables after some steps.
fn train(isa: Isa, threads: usize, sizes: Sizes) -> (Vec<u32>, Vec<(String, Vec<u32>)>) {
    let mut trainer = Trainer::new(isa, threads, sizes);
    let losses = (0..2).flat_map(|_| trainer.step()).map(f32::to_bits).collect();
    (losses, trainer.bits())
}

#[track_caller]
fn assert_same(
    what: &str,
    found: &(Vec<u32>, Vec<(String, Vec<u32>)>),
    wanted: &(Vec<u32>, Vec<(String, Vec<u32>)>),
) {
    assert_eq!(found.0, wanted.0, "{what}: losses");
    for ((name, found), (_, wanted)) in found.1.iter().zip(&wanted.1) {
        assert!(found == wanted, "{what}: {name}");
    }
}

#[test]
fn runs_repeat_bit_for_bit() {
    for isa in Isa::available() {
        for threads in [1, 2] {
            let first = train(isa, threads, SIZES[0]);
            for _ in 0..3 {
                let again = train(isa, threads, SIZES[0]);
                assert_same(&format!("{isa}, {threads} threads"), &again, &first);
            }
        }
    }
}

/// Every kernel cuts its work by the sizes alone, and adds in the order of the parts.
#[test]
fn the_number_of_threads_changes_no_bit() {
    for isa in Isa::available() {
        for sizes in SIZES {
            let alone = train(isa, 1, sizes);
            for threads in [2, 3] {
                let together = train(isa, threads, sizes);
                assert_same(&format!("{isa}, {threads} threads"), &together, &alone);
            }
        }
    }
}

#[test]
fn training_lowers_the_loss() {
    let mut trainer = Trainer::new(Isa::detect(), 2, SIZES[0]);
    let first = trainer.step()[0];
    let last = (0..30).map(|_| trainer.step()[0]).last().expect("there are steps");
    assert!(first.is_finite() && last < first - 1.0, "{first} -> {last}");
}
