//! `kiln bench peak`: what the machine can do, kernel by kernel.

use clap::{Args, ValueEnum};
use kiln_cpu::{Cpu, Isa, peak};
use kiln_model::Compute;
use serde::Serialize;

use super::host::Host;
use super::kernels::{Kernel, Orientation, product_rate};
use super::median;
use crate::args::{Globals, TableFormat};
use crate::machine;
use crate::output::{self, Align, Console, Progress, Table};

/// Sizes of the reference benchmark of training: width, and vocabulary.
const WIDTH: usize = 384;
const VOCAB: usize = 32_768;
/// Its rows, and those for a machine on which as many would take minutes.
const TOKENS: usize = 4096;
const FEW_TOKENS: usize = 512;
/// A machine below this many GFLOP/s gets [`FEW_TOKENS`].
const SLOW: f64 = 60.0;
/// Attention: positions, heads of what size.
const POSITIONS: usize = 2048;
const HEAD_DIM: usize = 64;

/// What this machine can do: instructions, products, loss, attention, memory
///
/// Measures each step of the way from the instruction to the kernels that training consists of, and what share each keeps
/// of the one before: multiply-adds from registers alone; matrix products at the sizes of training, as a share of the
/// registers' rate; the loss with both gradients and attention (forward and backward), as a share of the product rate,
/// which is that of the two products of an MLP. A share's two rates are measured one right after the other; medians count.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln bench peak
  kiln bench peak --dtype bf16 --runs 9 --json
  KILN_ISA=avx2 kiln bench peak --threads 1")]
pub struct PeakArgs {
    /// Element types of products [default: f32, and bf16 where the machine multiplies it by itself]
    #[arg(long, value_enum)]
    dtype: Option<Types>,
    /// Measurements of each rate; the median counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Rows of the products [default: 4096, or 512 on a slow machine]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    tokens: Option<u32>,
    #[command(flatten)]
    format: TableFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Types {
    /// 32-bit floats
    F32,
    /// 16-bit floats, summed up in f32
    Bf16,
    /// Both
    All,
}

impl Types {
    fn list(self) -> &'static [Compute] {
        match self {
            Types::F32 => &[Compute::F32],
            Types::Bf16 => &[Compute::Bf16],
            Types::All => &[Compute::F32, Compute::Bf16],
        }
    }
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    host: Host,
    runs: u16,
    read_gb_per_second: f64,
    rows: Vec<Row>,
}

/// One rate.
#[derive(Serialize)]
struct Row {
    dtype: Compute,
    /// What was measured.
    name: &'static str,
    size: String,
    gflops: f64,
    /// Of the rate that is this one's roof.
    share: Option<f64>,
    share_of: Option<Roof>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Roof {
    Registers,
    Products,
}

/// What can be measured on an executor, in GFLOP/s.
type Measure = Box<dyn FnMut(&mut Cpu) -> anyhow::Result<f64>>;

/// Something to measure, next to its roof.
struct Probe {
    name: &'static str,
    size: String,
    roof: Roof,
    measure: Measure,
    /// Its rates, and what share of the roof they were.
    samples: Vec<(f64, f64)>,
}

/// Measures and prints.
pub fn run(args: &PeakArgs, globals: &Globals, console: &Console) -> anyhow::Result<()> {
    let default = if Isa::from_env()?.has_bf16() { Types::All } else { Types::F32 };
    let types = args.dtype.unwrap_or(default).list();
    let cx = machine::context(globals)?;
    let host = Host::new(&cx);
    let progress = console.progress_count("measuring", 1);
    let bandwidth = median((0..args.runs).map(|_| peak::read_bandwidth(&cx)));
    drop(cx);
    let mut rows = Vec::new();
    for (i, &compute) in types.iter().enumerate() {
        // One of its own for each type, so that no memory is held for the other.
        let mut cpu = machine::executor(globals)?;
        rows.extend(measure(&mut cpu, compute, args, &progress, (i, types.len()))?);
    }
    drop(progress);
    let report = Report { host, runs: args.runs, read_gb_per_second: bandwidth, rows };
    if args.format.json {
        return output::print_json(&report);
    }
    print_report(&report)
}

/// All rates of one type, the `part`-th of so many.
fn measure(
    cpu: &mut Cpu,
    compute: Compute,
    args: &PeakArgs,
    progress: &Progress,
    (part, parts): (usize, usize),
) -> anyhow::Result<Vec<Row>> {
    let mut registers = vec![machine::register_rate(cpu.context(), compute)];
    let usual = if registers[0] < SLOW { FEW_TOKENS } else { TOKENS };
    let tokens = args.tokens.map_or(usual, |tokens| tokens as usize);
    let mut probes = probes(cpu, compute, tokens)?;
    let count = probes.len();
    let total = (parts * usize::from(args.runs) * count) as u64;
    for run in 0..usize::from(args.runs) {
        for (i, probe) in probes.iter_mut().enumerate() {
            progress.set(((part * usize::from(args.runs) + run) * count + i) as u64, total);
            let mut roof = |cpu: &Cpu| match probe.roof {
                Roof::Products => product_rate(cpu.context(), compute, tokens, WIDTH),
                Roof::Registers => {
                    registers.push(machine::register_rate(cpu.context(), compute));
                    registers[registers.len() - 1]
                }
            };
            let before = roof(cpu);
            let rate = (probe.measure)(cpu)?;
            let after = roof(cpu);
            probe.samples.push((rate, 2.0 * rate / (before + after)));
        }
    }
    let registers = Row {
        dtype: compute,
        name: "registers",
        size: String::new(),
        gflops: median(registers),
        share: None,
        share_of: None,
    };
    Ok([registers].into_iter().chain(probes.into_iter().map(|probe| probe.row(compute))).collect())
}

impl Probe {
    fn row(self, compute: Compute) -> Row {
        Row {
            dtype: compute,
            name: self.name,
            size: self.size,
            gflops: median(self.samples.iter().map(|s| s.0)),
            share: Some(median(self.samples.iter().map(|s| s.1))),
            share_of: Some(self.roof),
        }
    }
}

/// What is measured in one type.
fn probes(cpu: &mut Cpu, compute: Compute, tokens: usize) -> anyhow::Result<Vec<Probe>> {
    let hidden = 4 * WIDTH;
    let sizes = [
        ("forward", Orientation::Forward, [tokens, hidden, WIDTH]),
        ("forward", Orientation::Forward, [tokens, WIDTH, hidden]),
        ("gradient_input", Orientation::GradInput, [tokens, WIDTH, hidden]),
        ("loss_gradient_input", Orientation::GradInput, [tokens, WIDTH, VOCAB]),
        ("gradient_weight", Orientation::GradWeight, [hidden, WIDTH, tokens]),
    ];
    let mut probes = Vec::new();
    for (name, orientation, size) in sizes {
        let kernel = Kernel::product(cpu, compute, orientation, size)?;
        probes.push(Probe {
            name,
            size: size.map(|n| n.to_string()).join(" x "),
            roof: Roof::Registers,
            measure: Box::new(move |cpu| kernel.rate(cpu)),
            samples: Vec::new(),
        });
    }
    probes.push(Probe {
        name: "products",
        size: format!("MLP of width {WIDTH}"),
        roof: Roof::Registers,
        measure: Box::new(move |cpu| Ok(product_rate(cpu.context(), compute, tokens, WIDTH))),
        samples: Vec::new(),
    });
    let loss = Kernel::cross_entropy(cpu, compute, [tokens, WIDTH, VOCAB])?;
    let (positions, batch) = (POSITIONS.min(tokens), (tokens / 1024).max(1));
    let heads = WIDTH / HEAD_DIM;
    let attention = Kernel::attention(cpu, compute, [batch, positions, heads, HEAD_DIM])?;
    let kernels = [
        ("linear_cross_entropy", format!("{tokens} x {WIDTH}, vocabulary {VOCAB}"), loss),
        ("attention", format!("{batch} x {heads} heads of {HEAD_DIM}, T {positions}"), attention),
    ];
    probes.extend(kernels.into_iter().map(|(name, size, kernel)| Probe {
        name,
        size,
        roof: Roof::Products,
        measure: Box::new(move |cpu| kernel.rate(cpu)),
        samples: Vec::new(),
    }));
    Ok(probes)
}

/// A row's name for people.
fn label(name: &str) -> &str {
    match name {
        "forward" => "product, forward: x wT",
        "gradient_input" => "product, input gradient: dy w",
        "loss_gradient_input" => "product, loss gradient: g w",
        "gradient_weight" => "product, weight gradient: dyT x",
        "products" => "product rate",
        "linear_cross_entropy" => "loss with both gradients",
        "attention" => "attention, forward and backward",
        other => other,
    }
}

fn print_report(report: &Report) -> anyhow::Result<()> {
    let mut machine = Table::pairs();
    report.host.row(&mut machine);
    machine.row(["memory", &format!("{:.1} GB/s read", report.read_gb_per_second)]);
    let mut rates = Table::new(&[
        Align::Left,
        Align::Left,
        Align::Left,
        Align::Right,
        Align::Right,
        Align::Left,
    ]);
    rates.row(["Type", "Measured", "Size", "GFLOP/s", "Share", ""]);
    for row in &report.rows {
        let share = row.share.map_or(String::new(), |share| format!("{share:.3}"));
        let of = match row.share_of {
            None => "",
            Some(Roof::Registers) => "of registers",
            Some(Roof::Products) => "of product rate",
        };
        let dtype = row.dtype.to_string();
        rates.row([&dtype, label(row.name), &row.size, &format!("{:.0}", row.gflops), &share, of]);
    }
    output::print(|out| {
        machine.write(out)?;
        std::io::Write::write_all(out, b"\n")?;
        rates.write(out)
    })
}
