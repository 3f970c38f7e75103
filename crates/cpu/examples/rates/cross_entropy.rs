//! Rate of the output layer with loss and gradients (6·N·C·V FLOP) beside that of plain products and of the instruction
//! from registers, measured in turns: `cross-entropy [THREADS]`.

use crate::{context, median, numbers, type_name};
use half::bf16;
use kiln_cpu::cross_entropy::{Dims, Scale, forward_backward, mean_loss, scratch_len};
use kiln_cpu::gemm::Operand;
use kiln_cpu::{Context, peak};
use std::time::Instant;

fn measure<T: Operand>(cx: &Context, roof: &dyn Fn() -> f64, product: &dyn Fn() -> f64) {
    let dims = Dims { n: 4096, c: 384, vocab: 32_768, padded_vocab: 32_768, softcap: 15.0 };
    let value = |i: usize| T::from_f32((i % 13) as f32 * 0.1 - 0.6);
    let x: Vec<T> = (0..dims.n * dims.c).map(value).collect();
    let w: Vec<T> = (0..dims.padded_vocab * dims.c).map(|i| value(i / 7)).collect();
    let targets: Vec<i32> = (0..dims.n).map(|i| (i * 7919 % dims.vocab) as i32).collect();
    let (mut losses, mut dx) = (vec![0.0; dims.n], vec![0.0; x.len()]);
    let mut dw = vec![0.0; w.len()];
    let mut scratch = vec![0.0; scratch_len::<T>(cx, dims, true)];
    let flops = 6.0 * dims.n as f64 * dims.c as f64 * dims.vocab as f64;
    let (mut roofs, mut products, mut rates, mut shares) = (vec![], vec![], vec![], vec![]);
    for _ in 0..7 {
        roofs.push(roof());
        products.push(product());
        let start = Instant::now();
        let scale = Scale::Mean(1.0);
        forward_backward(
            cx,
            &x,
            &w,
            &targets,
            dims,
            scale,
            &mut losses,
            &mut dx,
            &mut dw,
            0.0,
            &mut scratch,
        );
        rates.push(flops / start.elapsed().as_secs_f64() / 1e9);
        shares.push(rates[rates.len() - 1] / products[products.len() - 1]);
    }
    println!(
        "{}: loss {:.4}; registers {:.1}, product {:.1}, whole operation {:.1} GFLOP/s, share of product {:.3}; scratch {} MB",
        type_name::<T>(),
        mean_loss(&losses, &targets),
        median(&mut roofs),
        median(&mut products),
        median(&mut rates),
        median(&mut shares),
        scratch.len() * 4 / 1_000_000
    );
}

pub(crate) fn run(words: &[String]) {
    let cx = context(numbers(words).first().copied().unwrap_or(2));
    let (m, n, k) = (4096, 1536, 384);
    measure::<f32>(&cx, &|| peak::register_rate(&cx), &|| peak::gemm_rate::<f32>(&cx, m, n, k));
    measure::<bf16>(&cx, &|| peak::register_rate_bf16(&cx), &|| {
        peak::gemm_rate::<bf16>(&cx, m, n, k)
    });
}
