//! Rate of the output layer with loss and gradients (6·N·C·V FLOP) beside that of plain products and of multiply-adds
//! from registers, measured in turns: `cargo run --release -p kiln-cpu --example cross_entropy_rate [threads]`.

use kiln_cpu::cross_entropy::{Dims, Scale, forward_backward, mean_loss, scratch_len};
use kiln_cpu::{Context, Isa, peak};
use std::time::Instant;

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let threads = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(2);
    let cx = Context::new(Isa::from_env().expect("KILN_ISA"), threads);
    let dims = Dims { n: 4096, c: 384, vocab: 32_768, padded_vocab: 32_768, softcap: 15.0 };
    let value = |i: usize| (i % 13) as f32 * 0.1 - 0.6;
    let x: Vec<f32> = (0..dims.n * dims.c).map(value).collect();
    let w: Vec<f32> = (0..dims.padded_vocab * dims.c).map(|i| value(i / 7)).collect();
    let targets: Vec<i32> = (0..dims.n).map(|i| (i * 7919 % dims.vocab) as i32).collect();
    let (mut losses, mut dx) = (vec![0.0; dims.n], vec![0.0; x.len()]);
    let mut dw = vec![0.0; w.len()];
    let mut scratch = vec![0.0; scratch_len(&cx, dims, true)];
    println!("scratch {} MB", scratch.len() * 4 / 1_000_000);
    let flops = 6.0 * dims.n as f64 * dims.c as f64 * dims.vocab as f64;
    let (mut roof, mut product, mut rate) = (vec![], vec![], vec![]);
    for _ in 0..7 {
        roof.push(peak::register_rate(&cx));
        product.push(peak::gemm_rate(&cx, 4096, 1536, 384));
        let start = Instant::now();
        let scale = Scale::Mean(1.0);
        forward_backward(
            &cx,
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
        rate.push(flops / start.elapsed().as_secs_f64() / 1e9);
    }
    println!(
        "loss {:.4}; registers {:.1}, product {:.1}, whole operation {:.1} GFLOP/s",
        mean_loss(&losses, &targets),
        median(&mut roof),
        median(&mut product),
        median(&mut rate)
    );
}
