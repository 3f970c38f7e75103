//! `kiln bench`: how fast this machine is at what Kiln does.

use std::time::Instant;

use clap::{Args, Subcommand};
use half::bf16;
use kiln_cpu::{Cpu, OpTime, peak};
use kiln_graph::{Executor, Feed, ProgramId};
use kiln_model::{Compute, initialize};
use kiln_optim::Schedules;
use kiln_train::config::RunConfig;
use kiln_train::process;
use kiln_train::programs::{make_compute_copies, optimizer_step_graph, training_graph};
use serde::Serialize;

use crate::args::{Globals, TableFormat};
use crate::machine;
use crate::output::{self, Align, Console, Table, bytes, count};
use crate::run_options::RunOptions;

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Command {
    Train(TrainArgs),
}

/// Speed of training steps, next to that of plain matrix products
///
/// Runs training steps on made-up tokens and, between them, plain matrix products of the model's shapes: what counts is the
/// share of the product rate that a whole step reaches, since both see the same machine at the same moment. Without flags
/// it is the reference benchmark: 6 layers, width 384, 6 heads, T 512, vocabulary 32,768, micro-batch 8.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln bench train
  kiln bench train --depth 12 --seq-len 1024 --device-batch-size 4 --runs 3
  KILN_ISA=avx2 kiln bench train --preset classic --json")]
pub struct TrainArgs {
    /// Measured steps; the median counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Micro-batches per optimizer step in the figure that includes the optimizer
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    accumulation: u16,
    /// Tokens of the vocabulary
    #[arg(long, value_name = "N", default_value_t = 32_768)]
    vocab_size: usize,
    #[command(flatten)]
    options: RunOptions,
    #[command(flatten)]
    format: TableFormat,
}

#[derive(Serialize)]
struct Report {
    isa: &'static str,
    threads: usize,
    config: RunConfig,
    mflop_per_token: f64,
    /// Medians over the runs.
    product_gflops: f64,
    step_gflops: f64,
    step_tokens_per_second: f64,
    step_share_of_product_rate: f64,
    optimizer_seconds: f64,
    with_optimizer_tokens_per_second: f64,
    with_optimizer_share_of_product_rate: f64,
    register_gflops: f64,
    peak_rss_bytes: Option<u64>,
    variable_bytes: usize,
    activation_bytes: usize,
    ops: Vec<OpRow>,
}

#[derive(Serialize)]
struct OpRow {
    program: &'static str,
    op: &'static str,
    calls: u64,
    milliseconds: f64,
    gflops: f64,
}

/// Runs one of the benchmarks.
pub fn run(command: Command, globals: &Globals, console: &Console) -> anyhow::Result<()> {
    match command {
        Command::Train(args) => train(args, globals, console),
    }
}

/// The reference benchmark, where the user says nothing else.
fn reference() -> RunOptions {
    RunOptions { depth: Some(6), head_dim: Some(64), seq_len: Some(512), ..RunOptions::default() }
}

/// One measured step.
#[derive(Clone, Copy)]
struct Sample {
    product: f64,
    step_seconds: f64,
    optimizer_seconds: f64,
}

fn train(args: TrainArgs, globals: &Globals, console: &Console) -> anyhow::Result<()> {
    let options = args.options.over(reference());
    let mut config = options.resolve(args.vocab_size)?;
    config.train.dtype = machine::compute(options.dtype)?;
    let mut executor = machine::executor(globals)?;
    let model = &config.model;
    let (dtype, rows, tokens) =
        (config.train.dtype, config.train.device_batch_size, config.train.seq_len);
    let train = executor.prepare(&training_graph(model, dtype, rows, tokens)?)?;
    let optimize = executor.prepare(&optimizer_step_graph(&config)?)?;
    initialize(model, 0, |p, values| executor.write(&p.name, p.tensor_type(), values))?;
    make_compute_copies(&mut executor, model, dtype)?;
    let runs = usize::from(args.runs);
    let bench = Bench { config: &config, train, optimize };
    bench.step(&mut executor, 0)?;
    executor.reset_times();
    let mut samples = Vec::new();
    for run in 1..=runs {
        let progress = console.progress_count("measuring", runs as u64);
        progress.set(run as u64 - 1, runs as u64);
        samples.push(bench.step(&mut executor, run)?);
    }
    let report = bench.report(&executor, &samples, usize::from(args.accumulation));
    if args.format.json {
        return output::print_json(&report);
    }
    print_report(&report)
}

struct Bench<'a> {
    config: &'a RunConfig,
    train: ProgramId,
    optimize: ProgramId,
}

impl Bench<'_> {
    /// Forward and backward of one micro-batch and one optimizer step, with products before and after.
    fn step(&self, executor: &mut Cpu, step: usize) -> anyhow::Result<Sample> {
        let n = self.config.train.device_batch_size * self.config.train.seq_len;
        let vocab = self.config.model.vocab_size;
        let ids: Vec<i32> =
            (0..n + 1).map(|i| ((i * 7919 + step * 104_729) % vocab) as i32).collect();
        let feeds =
            [Feed::I32(&ids[..n]), Feed::I32(&ids[1..]), Feed::F32(&[0.0]), Feed::F32(&[1.0])];
        let before = self.product_rate(executor);
        let begin = Instant::now();
        executor.run(self.train, &feeds)?;
        let step_seconds = begin.elapsed().as_secs_f64();
        let after = self.product_rate(executor);
        let schedules = Schedules::new(&self.config.optim, 1000, self.config.model.n_layer);
        let begin = Instant::now();
        executor.run(self.optimize, &[Feed::F32(&schedules.values(step))])?;
        let optimizer_seconds = begin.elapsed().as_secs_f64();
        Ok(Sample { product: (before + after) / 2.0, step_seconds, optimizer_seconds })
    }

    /// Rate of the products of an MLP, up and down, in the type that the run computes in, in GFLOP/s.
    fn product_rate(&self, executor: &Cpu) -> f64 {
        let (n, c) = (
            self.config.train.device_batch_size * self.config.train.seq_len,
            self.config.model.n_embd,
        );
        let rate = match self.config.train.dtype {
            Compute::F32 => peak::gemm_rate::<f32>,
            Compute::Bf16 => peak::gemm_rate::<bf16>,
        };
        let up = rate(executor.context(), n, 4 * c, c);
        let down = rate(executor.context(), n, c, 4 * c);
        2.0 / (1.0 / up + 1.0 / down)
    }

    fn report(&self, executor: &Cpu, samples: &[Sample], accumulation: usize) -> Report {
        let n = (self.config.train.device_batch_size * self.config.train.seq_len) as f64;
        let per_token = self.config.model.flops_per_token(self.config.train.seq_len) as f64;
        let rate = |s: &Sample| n * per_token / s.step_seconds / 1e9;
        let with_optimizer = |s: &Sample| {
            let k = accumulation as f64;
            k * n / (k * s.step_seconds + s.optimizer_seconds)
        };
        let middle = |f: &dyn Fn(&Sample) -> f64| median(samples.iter().map(f).collect());
        let (variable_bytes, activation_bytes) = executor.memory();
        Report {
            isa: executor.context().isa.name(),
            threads: executor.context().pool.threads(),
            config: self.config.clone(),
            mflop_per_token: per_token / 1e6,
            product_gflops: middle(&|s| s.product),
            step_gflops: middle(&rate),
            step_tokens_per_second: middle(&|s| n / s.step_seconds),
            step_share_of_product_rate: middle(&|s| rate(s) / s.product),
            optimizer_seconds: middle(&|s| s.optimizer_seconds),
            with_optimizer_tokens_per_second: middle(&with_optimizer),
            with_optimizer_share_of_product_rate: middle(&|s| {
                with_optimizer(s) * per_token / 1e9 / s.product
            }),
            register_gflops: machine::register_rate(executor.context(), self.config.train.dtype),
            peak_rss_bytes: process::peak_rss_bytes(),
            variable_bytes,
            activation_bytes,
            ops: [("step", self.train), ("optimizer", self.optimize)]
                .iter()
                .flat_map(|&(name, id)| op_rows(name, executor.op_times(id), samples.len()))
                .collect(),
        }
    }
}

fn op_rows(program: &'static str, times: Vec<OpTime>, runs: usize) -> Vec<OpRow> {
    let row = |t: OpTime| OpRow {
        program,
        op: t.op,
        calls: t.calls / runs as u64,
        milliseconds: 1e3 * t.time.as_secs_f64() / runs as f64,
        gflops: t.flops as f64 / t.time.as_secs_f64().max(1e-9) / 1e9,
    };
    times.into_iter().map(row).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    if n % 2 == 1 { values[n / 2] } else { (values[n / 2 - 1] + values[n / 2]) / 2.0 }
}

fn print_report(r: &Report) -> anyhow::Result<()> {
    let mut table = Table::pairs();
    let (model, train) = (&r.config.model, &r.config.train);
    table.row(["machine", &format!("{}, {} threads", r.isa, r.threads)]);
    table.row([
        "model",
        &format!(
            "{} in {}, {} layers, width {}, {} heads, T {}, vocabulary {}, micro-batch {}",
            model.preset,
            train.dtype,
            model.n_layer,
            model.n_embd,
            model.n_head,
            train.seq_len,
            count(model.vocab_size as u64),
            train.device_batch_size
        ),
    ]);
    table.row(["operations", &format!("{:.1} MFLOP per token", r.mflop_per_token)]);
    table.row(["register rate", &format!("{:.0} GFLOP/s", r.register_gflops)]);
    table.row(["matrix products", &format!("{:.0} GFLOP/s", r.product_gflops)]);
    table.row([
        "forward + backward",
        &format!("{:.0} GFLOP/s, {:.0} tokens/s", r.step_gflops, r.step_tokens_per_second),
    ]);
    table.row(["  share of products", &format!("{:.3}", r.step_share_of_product_rate)]);
    table.row(["optimizer step", &format!("{:.0} ms", 1e3 * r.optimizer_seconds)]);
    table.row([
        "with the optimizer",
        &format!("{:.0} tokens/s", r.with_optimizer_tokens_per_second),
    ]);
    table.row(["  share of products", &format!("{:.3}", r.with_optimizer_share_of_product_rate)]);
    table.row(["variables", &bytes(r.variable_bytes as u64)]);
    table.row(["activations", &bytes(r.activation_bytes as u64)]);
    if let Some(peak) = r.peak_rss_bytes {
        table.row(["peak resident memory", &bytes(peak)]);
    }
    let mut ops = Table::new(&[Align::Left, Align::Left, Align::Right, Align::Right, Align::Right]);
    ops.row(["Program", "Op", "Calls", "ms", "GFLOP/s"]);
    for row in r.ops.iter().filter(|row| row.milliseconds >= 0.05) {
        let gflops = if row.gflops > 0.0 { format!("{:.0}", row.gflops) } else { "-".to_owned() };
        ops.row([
            row.program,
            row.op,
            &row.calls.to_string(),
            &format!("{:.1}", row.milliseconds),
            &gflops,
        ]);
    }
    output::print(|out| {
        table.write(out)?;
        std::io::Write::write_all(out, b"\n")?;
        ops.write(out)
    })
}
