//! Products of few rows of x with rows of w as they lie.

use super::*;

/// Lengths of rows around those of vectors, of cache lines and of pairs.
const LENGTHS: [usize; 17] = [0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 65, 129, 191, 300];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn they_agree_with_the_naive_product(
        m in 1usize..=32, n in 1usize..70, k in prop::sample::select(LENGTHS.to_vec()),
        a in prop::sample::select(vec![Layout::RowMajor, Layout::Part]),
        b in prop::sample::select(vec![Layout::ColMajor, Layout::PartTransposed]),
        threads in 1usize..4, seed in 0u64..1 << 32,
    ) {
        for cx in every_isa(threads) {
            Case { m, n, k, a, b, seed }.check(&cx)?;
        }
    }
}

/// Enough of w for several threads, its last block cut short.
#[test]
fn every_number_of_rows_agrees_on_several_threads() {
    for cx in every_isa(2) {
        for m in 1..=32 {
            let (a, b) = (Layout::RowMajor, Layout::ColMajor);
            Case { m, n: 331, k: 197, a, b, seed: m as u64 }.check(&cx).unwrap();
        }
    }
}

#[test]
fn their_bits_do_not_depend_on_threads() {
    fn check<T: Operand>((n, k): (usize, usize)) {
        let w = values_of::<T>(n * k, 2);
        for (isa, m) in Isa::available().into_iter().flat_map(|isa| (1..=32).map(move |m| (isa, m)))
        {
            let x = values_of::<T>(m * k, m as u64);
            let (x, w) = (Matrix::row_major(&x, m, k), Matrix::row_major(&w, n, k));
            let product = |threads: usize| {
                let cx = Context::new(isa, threads);
                let mut y = vec![T::from_f32(0.5); m * n];
                let mut scratch = vec![f32::NAN; gemm_scratch_len(&cx, m, n, k)];
                gemm(&cx, x, w.t(), &mut y, Epilogue::Accumulate { beta: 1.0 }, &mut scratch);
                y.iter().map(|y| y.to_f32().to_bits()).collect::<Vec<_>>()
            };
            let first = product(1);
            for threads in [2, 3, 19] {
                assert!(product(threads) == first, "{isa}, {m} rows, {threads} threads");
            }
        }
    }
    check::<f32>((555, 97));
    check::<bf16>((555, 193));
}

/// What lies next to the operands, and what scratch holds, never reaches a sum.
#[test]
fn they_read_nothing_else() {
    fn surrounded<T: Operand>(rows: usize, cols: usize) -> Vec<T> {
        let mut all = vec![T::from_f32(f32::NAN); (rows + 2) * (cols + 2)];
        for row in all.chunks_mut(cols + 2).skip(1).take(rows) {
            row[1..][..cols].fill(T::from_f32(1.0));
        }
        all
    }
    fn check<T: Operand>(cx: &Context, m: usize, n: usize, k: usize) {
        let (x, w) = (surrounded::<T>(m, k), surrounded::<T>(n, k));
        let x = Matrix::row_major(&x, m + 2, k + 2).part(1, 1, m, k);
        let w = Matrix::row_major(&w, n + 2, k + 2).part(1, 1, n, k);
        let mut y = vec![0.0f32; m * n];
        let mut scratch = vec![f32::NAN; gemm_scratch_len(cx, m, n, k)];
        gemm(cx, x, w.t(), &mut y, Epilogue::Set, &mut scratch);
        assert!(y.iter().all(|&y| y == k as f32), "{} {m} x {n} x {k}: {y:?}", cx.isa);
    }
    for cx in every_isa(1) {
        for m in 1..=32 {
            for k in LENGTHS {
                check::<f32>(&cx, m, 19, k);
                check::<bf16>(&cx, m, 19, k);
            }
        }
    }
}
