//! Rates of single kernels, each beside what bounds it, measured by turns in the same run.
//!
//! `cargo run --release -p kiln-cpu --example rates -- KERNEL [ARGUMENT...]`; each kernel's file says what it takes.

mod attention;
mod cross_entropy;
mod few_rows;
mod gemm;
mod rows;
mod sparse_attention;

use kiln_cpu::{Context, Isa};
use memmap2::MmapMut;

type Measure = fn(&[String]);

const KERNELS: [(&str, Measure); 6] = [
    ("attention", attention::run),
    ("cross-entropy", cross_entropy::run),
    ("few-rows", few_rows::run),
    ("gemm", gemm::run),
    ("rows", rows::run),
    ("sparse-attention", sparse_attention::run),
];

/// What `KILN_ISA` names, or the best set of this machine.
fn context(threads: usize) -> Context {
    Context::new(
        Isa::from_env().expect("KILN_ISA names an instruction set of this machine"),
        threads,
    )
}

fn numbers(words: &[String]) -> Vec<usize> {
    words.iter().map(|word| word.parse().expect("arguments are numbers")).collect()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Memory in huge pages, as the executor has it.
fn huge(bytes: usize) -> MmapMut {
    let map = MmapMut::map_anon(bytes).expect("memory for operands");
    #[cfg(target_os = "linux")]
    let _ = map.advise(memmap2::Advice::HugePage);
    map
}

/// As results name it.
fn type_name<T>() -> &'static str {
    if size_of::<T>() == 2 { "bf16" } else { " f32" }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let name = words.first().map_or("", String::as_str);
    match KERNELS.iter().find(|(kernel, _)| *kernel == name) {
        Some((_, run)) => run(&words[1..]),
        None => {
            eprintln!("KERNEL is one of {}", KERNELS.map(|(kernel, _)| kernel).join(", "));
            std::process::exit(2);
        }
    }
}
