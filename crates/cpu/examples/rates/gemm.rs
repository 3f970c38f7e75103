//! Rates of matrix products as shares of what the instruction reaches from registers, measured in turns:
//! `gemm [THREADS [M N K]]`.

#![allow(unsafe_code)]

use crate::{context, huge, median, numbers, type_name};
use half::bf16;
use kiln_cpu::gemm::{Epilogue, Matrix, Operand, gemm, gemm_scratch_len};
use kiln_cpu::{Context, peak};
use std::time::Instant;

const SHAPES: [(usize, usize, usize); 5] = [
    (4096, 1536, 384),
    (4096, 384, 1536),
    (4096, 384, 32768),
    (1536, 384, 4096),
    (4096, 32768, 384),
];

fn measure<T: Operand>(cx: &Context, (m, n, k): (usize, usize, usize), roof: &dyn Fn() -> f64) {
    let len = (m * k).max(n * k);
    let (mut data, mut c) = (huge(len * size_of::<T>()), huge(m * n * 4));
    let mut scratch = huge(4 * gemm_scratch_len(cx, m, n, k));
    // SAFETY: as many bytes as the maps have, page-aligned; any bits are values.
    let (data, c, scratch) = unsafe {
        (
            std::slice::from_raw_parts_mut(data.as_mut_ptr().cast::<T>(), len),
            std::slice::from_raw_parts_mut(c.as_mut_ptr().cast::<f32>(), m * n),
            std::slice::from_raw_parts_mut(scratch.as_mut_ptr().cast::<f32>(), scratch.len() / 4),
        )
    };
    for (i, x) in data.iter_mut().enumerate() {
        *x = T::from_f32((i % 13) as f32 * 0.1 - 0.6);
    }
    let data = &*data;
    let flops = 2.0 * m as f64 * n as f64 * k as f64;
    let runs = (3e10 / flops).clamp(5.0, 15.0) as usize;
    for (name, a, b) in [
        ("A B ", Matrix::row_major(data, m, k), Matrix::row_major(data, k, n)),
        ("A Bt", Matrix::row_major(data, m, k), Matrix::row_major(data, n, k).t()),
        ("At B", Matrix::row_major(data, k, m).t(), Matrix::row_major(data, k, n)),
    ] {
        let (mut roofs, mut rates, mut shares) = (vec![], vec![], vec![]);
        for _ in 0..runs {
            let before = roof();
            let start = Instant::now();
            gemm(cx, a, b, c, Epilogue::Set, scratch);
            let rate = flops / start.elapsed().as_secs_f64() / 1e9;
            roofs.push(before);
            rates.push(rate);
            shares.push(rate / before);
        }
        println!(
            "{} {m:5} x {n:5} x {k:5} {name}: {:6.1} of {:6.1} GFLOP/s, share {:.3}",
            type_name::<T>(),
            median(&mut rates),
            median(&mut roofs),
            median(&mut shares)
        );
    }
}

pub(crate) fn run(words: &[String]) {
    let args = numbers(words);
    let cx = context(args.first().copied().unwrap_or(2));
    let shapes = match args[..] {
        [_, m, n, k] => vec![(m, n, k)],
        _ => SHAPES.to_vec(),
    };
    println!("{} on {} threads", cx.isa, cx.pool.threads());
    for shape in shapes {
        measure::<f32>(&cx, shape, &|| peak::register_rate(&cx));
        measure::<bf16>(&cx, shape, &|| peak::register_rate_bf16(&cx));
    }
}
