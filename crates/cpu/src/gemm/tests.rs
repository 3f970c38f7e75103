mod few_row_products;

use super::*;
use crate::Isa;
use half::bf16;
use proptest::prelude::*;

/// Values in -1..1 that depend on the seed and the place.
fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = |state: &mut u64| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        (*state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..len).map(|_| step(&mut state)).collect()
}

fn values_of<T: Element>(len: usize, seed: u64) -> Vec<T> {
    values(len, seed).into_iter().map(T::from_f32).collect()
}

fn element<T: Element>(x: &Matrix<'_, T>, i: usize, j: usize) -> f64 {
    x.data()[i * x.row_stride() + j * x.col_stride()].to_f32() as f64
}

/// The product in f64 and, for the bound on rounding, the sum of absolute values.
fn naive<T: Operand>(a: &Matrix<'_, T>, b: &Matrix<'_, T>) -> Vec<(f64, f64)> {
    let mut c = Vec::with_capacity(a.rows() * b.cols());
    for i in 0..a.rows() {
        for j in 0..b.cols() {
            let terms = (0..a.cols()).map(|d| element(a, i, d) * element(b, d, j));
            c.push(terms.fold((0.0, 0.0), |(sum, abs), t| (sum + t, abs + t.abs())));
        }
    }
    c
}

/// How an operand lies in memory.
#[derive(Clone, Copy, Debug)]
enum Layout {
    RowMajor,
    ColMajor,
    /// Inside a wider row-major matrix.
    Part,
    /// Inside a taller column-major matrix.
    PartTransposed,
    /// Neither rows nor columns contiguous.
    Strided,
}

fn layout() -> impl Strategy<Value = Layout> {
    use Layout::*;
    prop::sample::select(vec![RowMajor, ColMajor, Part, PartTransposed, Strided])
}

/// Storage and a function of it that yields a rows x cols view.
fn operand<T: Element>(rows: usize, cols: usize, layout: Layout, seed: u64) -> (Vec<T>, Layout) {
    (values_of((rows + 7) * (cols + 7) * 6 + 1, seed), layout)
}

fn view<T: Element>((data, layout): &(Vec<T>, Layout), rows: usize, cols: usize) -> Matrix<'_, T> {
    match layout {
        Layout::RowMajor => Matrix::row_major(data, rows, cols),
        Layout::ColMajor => Matrix::row_major(data, cols, rows).t(),
        Layout::Part => Matrix::row_major(data, rows + 3, cols + 5).part(2, 3, rows, cols),
        Layout::PartTransposed => {
            Matrix::row_major(data, cols + 3, rows + 5).t().part(4, 1, rows, cols)
        }
        Layout::Strided => Matrix::new(data, rows, cols, 2 * cols + 1, 2),
    }
}

struct Case {
    m: usize,
    n: usize,
    k: usize,
    a: Layout,
    b: Layout,
    seed: u64,
}

impl Case {
    fn check(&self, cx: &Context) -> Result<(), TestCaseError> {
        self.check_types::<f32, f32>(cx)?;
        self.check_types::<bf16, f32>(cx)?;
        self.check_types::<bf16, bf16>(cx)
    }

    /// Runs every epilogue on one set and number of threads, against the naive product.
    fn check_types<T: Operand, C: Element>(&self, cx: &Context) -> Result<(), TestCaseError> {
        let &Case { m, n, k, seed, .. } = self;
        let (a, b) = (operand::<T>(m, k, self.a, seed), operand::<T>(k, n, self.b, seed + 1));
        let (a, b) = (view(&a, m, k), view(&b, k, n));
        let product = naive(&a, &b);
        let ldc = n + 3;
        let old: Vec<C> = values_of(m * ldc, seed + 2);
        let other: Vec<C> =
            values(m * ldc, seed + 3).iter().map(|x| C::from_f32(x.abs())).collect();
        let mut scratch = vec![f32::NAN; gemm_scratch_len(cx, m, n, k)];
        type Expected<'a> = &'a dyn Fn(f64, f64, f64) -> f64;
        let relu_squared = |p: f64| p.max(0.0) * p.max(0.0);
        let cases: [(Epilogue<'_, C>, bool, Expected<'_>); 7] = [
            (Epilogue::Set, false, &|_, _, p| p),
            (Epilogue::Accumulate { beta: 0.0 }, false, &|_, _, p| p),
            (Epilogue::Accumulate { beta: 1.0 }, true, &|c, _, p| c + p),
            (Epilogue::Accumulate { beta: -0.75 }, true, &|c, _, p| -0.75 * c + p),
            (Epilogue::AddResidual(&other), false, &|_, r, p| r + p),
            (Epilogue::ReluSquared, false, &|_, _, p| relu_squared(p)),
            (Epilogue::ReluSquaredGrad(&other), false, &|_, y, p| 2.0 * y.sqrt() * p),
        ];
        let mut cases = cases.to_vec();
        if size_of::<C>() == 2 {
            // A gradient of a negative y is NaN, like y's own root.
            cases.push((Epilogue::ReluSquaredGradInPlace, true, &|c, _, p| 2.0 * c.sqrt() * p));
        }
        // Half a unit in the last of eight places.
        let rounding = if size_of::<C>() == 2 { 2f64.powi(-8) } else { 0.0 };
        for (epilogue, reads, expected) in cases {
            // What is not read may be NaN; what lies between the rows must stay.
            let mut c = old.clone();
            for row in c.chunks_mut(ldc).filter(|_| !reads) {
                row[..n].fill(C::from_f32(f32::NAN));
            }
            gemm_strided(cx, a, b, &mut c, ldc, epilogue, &mut scratch);
            for (i, j) in (0..m).flat_map(|i| (0..ldc).map(move |j| (i, j))) {
                let (got, old) = (c[i * ldc + j].to_f32(), old[i * ldc + j].to_f32());
                if j >= n {
                    prop_assert_eq!(got.to_bits(), old.to_bits());
                    continue;
                }
                let (p, abs) = product[i * n + j];
                let want = expected(old as f64, other[i * ldc + j].to_f32() as f64, p);
                if want.is_nan() {
                    prop_assert!(got.is_nan());
                    continue;
                }
                // A sum of k + 1 terms in any order, each term rounded twice at most.
                let bound = (k + 4) as f64 * f32::EPSILON as f64 * (abs + 1.0) * (1.0 + p.abs());
                prop_assert!(
                    (got as f64 - want).abs() <= bound + rounding * want.abs(),
                    "{} {m}x{n}x{k} {:?}: c[{i}][{j}] = {got}, not {want}",
                    cx.isa,
                    epilogue
                );
            }
        }
        Ok(())
    }
}

fn every_isa(threads: usize) -> Vec<Context> {
    Isa::available().into_iter().map(|isa| Context::new(isa, threads)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn products_agree_with_the_naive_one(
        m in 1usize..70, n in 1usize..140, k in 0usize..90,
        a in layout(), b in layout(), threads in 1usize..4, seed in 0u64..1 << 32,
    ) {
        for cx in every_isa(threads) {
            Case { m, n, k, a, b, seed }.check(&cx)?;
        }
    }

    #[test]
    fn few_rows_columns_or_products_agree_too(
        m in 1usize..14, n in 1usize..9, k in prop::sample::select(vec![1usize, 12, 24, 384, 1000]),
        swap in any::<bool>(), a in layout(), b in layout(), threads in 1usize..4, seed in 0u64..1 << 32,
    ) {
        let (m, n) = if swap { (n, m) } else { (m, n) };
        for cx in every_isa(threads) {
            Case { m, n, k, a, b, seed }.check(&cx)?;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// Several blocks of k and of columns, and enough work for every thread.
    #[test]
    fn blocked_products_agree(
        m in 1usize..160, n in 300usize..1200, k in 380usize..900,
        a in layout(), b in layout(), threads in 1usize..4, seed in 0u64..1 << 32,
    ) {
        for cx in every_isa(threads) {
            Case { m, n, k, a, b, seed }.check(&cx)?;
        }
    }
}

/// A C that cannot hold sums, and so many of them that they are kept beside it: in one block of columns and in two.
#[test]
fn long_sums_of_bf16_agree() -> Result<(), TestCaseError> {
    for (n, k) in [(50, 4701), (790, 3090)] {
        for cx in every_isa(2) {
            let case = Case { m: 34, n, k, a: Layout::RowMajor, b: Layout::Part, seed: 1 };
            case.check_types::<bf16, bf16>(&cx)?;
        }
    }
    Ok(())
}

fn bits_for_any_threads<T: Operand>((m, n, k): (usize, usize, usize)) {
    let (a, b) = (values_of::<T>(m * k, 1), values_of::<T>(n * k, 2));
    let (a, b) = (Matrix::row_major(&a, m, k), Matrix::row_major(&b, n, k).t());
    for isa in Isa::available() {
        let product = |threads: usize| {
            let cx = Context::new(isa, threads);
            let mut c = vec![0.5f32; m * n];
            let mut scratch = vec![f32::NAN; gemm_scratch_len(&cx, m, n, k)];
            gemm(&cx, a, b, &mut c, Epilogue::Accumulate { beta: 1.0 }, &mut scratch);
            c.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
        };
        let first = product(1);
        for threads in [1, 2, 2, 3, 3] {
            assert!(product(threads) == first, "{isa}, {threads} threads");
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads_or_on_the_run() {
    bits_for_any_threads::<f32>((211, 523, 801));
    bits_for_any_threads::<bf16>((211, 523, 1601));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn symmetric_products_agree_and_are_symmetric(
        n in 1usize..150, k in 1usize..60, threads in 1usize..4, transposed in any::<bool>(), seed in 0u64..1 << 32,
    ) {
        let x = values(n * k, seed);
        let x = if transposed { Matrix::row_major(&x, k, n).t() } else { Matrix::row_major(&x, n, k) };
        for cx in every_isa(threads) {
            let mut scratch = vec![f32::NAN; gemm_scratch_len(&cx, n, n, k)];
            let (mut full, mut half) = (vec![1.0; n * n], vec![1.0; n * n]);
            let epilogue = Epilogue::Accumulate { beta: 0.5 };
            gemm(&cx, x, x.t(), &mut full, epilogue, &mut scratch);
            gemm_symmetric(&cx, x, x.t(), &mut half, epilogue, &mut scratch);
            for (i, j) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))) {
                prop_assert_eq!(half[i * n + j].to_bits(), half[j * n + i].to_bits());
                if i >= j {
                    prop_assert_eq!(half[i * n + j].to_bits(), full[i * n + j].to_bits());
                }
            }
        }
    }
}

#[test]
fn scratch_for_a_product_is_enough_for_smaller_ones() {
    let cx = Context::new(Isa::detect(), 2);
    let sizes = [1, 5, 12, 13, 100, 383, 384, 385, 400, 769, 1537, 3000];
    for m in sizes {
        for n in sizes {
            for k in sizes {
                let needed = gemm_scratch_len(&cx, m, n, k);
                assert!(needed <= gemm_scratch_len(&cx, m + 1, n + 1, k + 1));
                assert!(needed <= gemm_scratch_len(&cx, 3000, 3000, 3000));
            }
        }
    }
}

#[test]
#[should_panic(expected = "does not fit")]
fn a_view_outside_its_data_is_refused() {
    Matrix::new(&[0.0; 10], 3, 4, 4, 1);
}

#[test]
#[should_panic(expected = "inner dimensions")]
fn shapes_that_disagree_are_refused() {
    let cx = Context::new(Isa::SCALAR, 1);
    let x = [0.0; 6];
    let (a, b) = (Matrix::row_major(&x, 2, 3), Matrix::row_major(&x, 2, 3));
    gemm(&cx, a, b, &mut [0.0f32; 6], Epilogue::Set, &mut []);
}
