use crate::simd::Simd;
use crate::sparse::select::{Cut, cut};
use crate::{Isa, simd_fn};
use proptest::prelude::*;

simd_fn! { fn find(scores: &[f32], n: usize, wanted: usize, buffer: &mut [f32]) -> Cut = find_kernel }
#[inline(always)]
fn find_kernel<S: Simd>(s: S, scores: &[f32], n: usize, wanted: usize, buffer: &mut [f32]) -> Cut {
    cut(s, scores, n, wanted, buffer)
}

fn check(values: &[f32], wanted: usize) {
    let mut order: Vec<usize> = (0..values.len()).rev().collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    let mut best = order[..wanted.min(values.len())].to_vec();
    best.sort_unstable();
    let mut scores = values.to_vec();
    // What lies behind must not matter.
    scores.resize(values.len().next_multiple_of(64), f32::INFINITY);
    let mut buffer = vec![f32::NAN; scores.len() + 16];
    for isa in Isa::available() {
        let cut = find(isa, &scores, values.len(), wanted, &mut buffer);
        let above = |&i: &usize| {
            values[i] > cut.threshold || (values[i] == cut.threshold && i >= cut.boundary)
        };
        let found: Vec<usize> = (0..values.len()).filter(above).collect();
        assert_eq!(found, best, "{isa}: {} of {}", wanted, values.len());
    }
}

proptest! {
    #[test]
    fn the_best_are_found(
        values in prop::collection::vec(-1000.0f32..1000.0, 1..900),
        share in 0.0f64..1.1,
    ) {
        check(&values, (share * values.len() as f64) as usize);
    }

    #[test]
    fn among_equals_the_later_ones_are_found(
        values in prop::collection::vec(-2i8..3, 1..900),
        share in 0.0f64..1.1,
    ) {
        let values: Vec<f32> = values.into_iter().map(f32::from).collect();
        check(&values, (share * values.len() as f64) as usize);
    }
}

/// A sample of every so-many-th value sees nothing of these.
#[test]
fn a_sample_that_misleads_costs_only_time() {
    for n in [640, 1000, 4096] {
        let periodic: Vec<f32> =
            (0..n).map(|i| if i % (n / 64) == 0 { 5.0 } else { -(i as f32) }).collect();
        let rising: Vec<f32> = (0..n).map(|i| i as f32).collect();
        for values in [periodic, rising, vec![f32::NEG_INFINITY; n]] {
            for wanted in [1, 2, 63, 64, 65, n / 8, n / 2, n - 1, n] {
                check(&values, wanted);
            }
        }
    }
}
