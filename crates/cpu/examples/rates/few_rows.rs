//! Bytes of weights that products of a few rows stream per second, as shares of what the memory gives, measured in turns
//! with weights that no cache holds: `few-rows [THREADS [ROWS OF X...]]`.

#![allow(unsafe_code)]

use crate::{context, huge, median, numbers, type_name};
use half::bf16;
use kiln_cpu::gemm::{Epilogue, Matrix, Operand, gemm, gemm_scratch_len};
use kiln_cpu::{Context, peak};
use memmap2::MmapMut;
use std::time::Instant;

/// Rows of w and length of each.
const SHAPES: [(usize, usize); 4] = [(3072, 768), (768, 3072), (768, 768), (32768, 768)];
/// Longest rows of those shapes.
const LONGEST: usize = 3072;
/// Rows of x.
const ROWS: [usize; 8] = [1, 2, 4, 8, 12, 16, 24, 32];
/// Bytes of weights to go through in turn: far more than caches hold.
const WEIGHTS: usize = 384 << 20;
const TURNS: usize = 7;

/// Small values of either type.
fn memory(bytes: usize) -> MmapMut {
    let mut map = huge(bytes);
    map.chunks_exact_mut(4).for_each(|v| v.copy_from_slice(&[0x80, 0x3c, 0x80, 0x3c]));
    map
}

fn values<T: Operand>(bytes: &[u8]) -> &[T] {
    // SAFETY: f32 and bf16 hold any bits; a map is aligned to pages.
    unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len() / size_of::<T>()) }
}

struct Bench<'a> {
    cx: &'a Context,
    weights: &'a [u8],
}

impl Bench<'_> {
    /// GB/s of one pass through all weights. Packed: whether x lies such that only the packed path takes it.
    fn rate<T: Operand>(&self, x: &[T], m: usize, (n, k): (usize, usize), packed: bool) -> f64 {
        let x = &x[..m * k];
        let x = if packed { Matrix::row_major(x, k, m).t() } else { Matrix::row_major(x, m, k) };
        let mut y = vec![T::ZERO; m * n];
        let mut scratch = vec![0.0; gemm_scratch_len(self.cx, m, n, k)];
        let copies = values::<T>(self.weights).chunks_exact(n * k);
        let bytes = copies.len() * n * k * size_of::<T>();
        let start = Instant::now();
        for w in copies {
            let w = Matrix::row_major(w, n, k);
            gemm(self.cx, x, w.t(), &mut y, Epilogue::Set, &mut scratch);
        }
        bytes as f64 / start.elapsed().as_secs_f64() / 1e9
    }

    fn measure<T: Operand>(&self, rows: &[usize]) {
        let x = memory(rows.iter().max().copied().unwrap_or(1) * LONGEST * size_of::<T>());
        let x = values::<T>(&x);
        for &m in rows {
            for shape in SHAPES {
                let (mut roofs, mut rates, mut shares, mut gains) =
                    (vec![], vec![], vec![], vec![]);
                for _ in 0..TURNS {
                    let before = peak::read_bandwidth(self.cx);
                    let rate = self.rate(x, m, shape, false);
                    let roof = (before + peak::read_bandwidth(self.cx)) / 2.0;
                    let packed = if m > 1 { self.rate(x, m, shape, true) } else { f64::NAN };
                    roofs.push(roof);
                    rates.push(rate);
                    shares.push(rate / roof);
                    gains.push(rate / packed);
                }
                println!(
                    "{} {m:2} rows, w {:5} x {:4}: {:5.1} of {:5.1} GB/s, share {:.3}; {:.2} times the packed path",
                    type_name::<T>(),
                    shape.0,
                    shape.1,
                    median(&mut rates),
                    median(&mut roofs),
                    median(&mut shares),
                    median(&mut gains),
                );
            }
        }
    }
}

pub(crate) fn run(words: &[String]) {
    let args = numbers(words);
    let cx = context(args.first().copied().unwrap_or(2));
    let rows = if args.len() > 1 { &args[1..] } else { &ROWS };
    println!("{} on {} threads", cx.isa, cx.pool.threads());
    let weights = memory(WEIGHTS);
    let bench = Bench { cx: &cx, weights: &weights };
    bench.measure::<bf16>(rows);
    bench.measure::<f32>(rows);
}
