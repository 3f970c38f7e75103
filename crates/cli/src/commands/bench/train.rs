//! `kiln bench train`: how fast training steps are, next to plain matrix products.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use kiln_cpu::{Cpu, OpTime};
use kiln_data::{Loader, LoaderOptions};
use kiln_graph::{Executor, Feed, ProgramId};
use kiln_model::initialize;
use kiln_optim::Schedules;
use kiln_tokenizer::Tokenizer;
use kiln_train::config::RunConfig;
use kiln_train::data_set::DataSet;
use kiln_train::micro_batch::{MicroBatches, Step};
use kiln_train::process;
use kiln_train::programs::{make_compute_copies, optimizer_step_graph};
use serde::Serialize;

use super::host::Host;
use super::kernels::product_rate;
use super::{median, reference, with_default};
use crate::args::{Globals, TableFormat};
use crate::commands::train::open_data;
use crate::location::{Located, Paths};
use crate::machine;
use crate::output::{self, Align, Console, Table, bytes, count};
use crate::run_options::{ModelOptions, RunOptions};

/// The reference benchmark, by option.
const REFERENCE: [(&str, usize); 3] = [("depth", 6), ("head_dim", 64), ("seq_len", 512)];
/// Its vocabulary.
const VOCABULARY: usize = 32_768;
/// Micro-batches in a row over which the share of waiting for data is taken: more than are made ahead.
const STALL_BATCHES: usize = 12;

/// Speed of training steps, next to that of plain matrix products
///
/// Runs training steps on made-up tokens and, between them, plain matrix products of the model's shapes: what counts is the
/// share of the product rate that a whole step reaches, since both see the same machine at the same moment. With --data
/// the tokens are those of documents, and the share of the time spent waiting for them is measured, too. Without flags it
/// is the reference benchmark: 6 layers, width 384, 6 heads, T 512, vocabulary 32,768, micro-batch 8.
#[derive(Debug, Args)]
#[command(mut_args = |arg| with_default(arg, &REFERENCE), after_help = "\
Examples:
  kiln bench train
  kiln bench train --depth 12 --seq-len 1024 --device-batch-size 4 --runs 3
  kiln bench train --data documents --tokenizer tokenizer
  KILN_ISA=avx2 kiln bench train --preset classic --json")]
pub struct TrainArgs {
    /// Measured steps; the median counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Rows per micro-batch, B
    #[arg(long, value_name = "B", default_value_t = 8)]
    device_batch_size: usize,
    /// Micro-batches per optimizer step in the figure that includes the optimizer
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    accumulation: u16,
    /// Tokens of the vocabulary, where no tokenizer is named
    #[arg(long, value_name = "N", default_value_t = VOCABULARY)]
    vocab_size: usize,
    /// Documents to take tokens from: a .jsonl or .jsonl.zst file, or a folder of them
    #[arg(long, value_name = "PATH", requires = "tokenizer")]
    data: Option<PathBuf>,
    /// Folder of the tokenizer that reads them
    #[arg(long, value_name = "DIR", requires = "data", conflicts_with = "vocab_size")]
    tokenizer: Option<PathBuf>,
    /// How Muon orthogonalises: polar-express or newton-schulz
    #[arg(long, value_name = "NAME", default_value = "polar-express",
        value_parser = ["polar-express", "newton-schulz"])]
    muon: String,
    /// Iterations of it
    #[arg(long, value_name = "N", default_value_t = 5)]
    muon_steps: usize,
    /// Orthogonalise each attention head on its own
    #[arg(long)]
    muon_per_head: bool,
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    format: TableFormat,
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    host: Host,
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
    /// Share of the time that steps one right after the other wait for data, where there are data.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_stall: Option<f64>,
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

/// One measured step.
#[derive(Clone, Copy)]
struct Sample {
    product: f64,
    step_seconds: f64,
    optimizer_seconds: f64,
}

/// Seconds that something takes.
fn timed(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let begin = Instant::now();
    work()?;
    Ok(begin.elapsed().as_secs_f64())
}

impl Located for TrainArgs {
    fn locate(&mut self, paths: &mut Paths<'_>) -> anyhow::Result<()> {
        paths.inputs(&mut self.data)?;
        paths.inputs(&mut self.tokenizer)
    }
}

/// Measures and prints.
pub fn run(args: TrainArgs, globals: &Globals, console: &Console) -> anyhow::Result<()> {
    let tokenizer = args.tokenizer.as_ref().map(Tokenizer::load).transpose()?.map(Arc::new);
    let config = args.config(tokenizer.as_ref().map_or(args.vocab_size, |t| t.vocab_size()))?;
    let batches = match tokenizer {
        Some(tokenizer) => Batches::Read(Box::new(loader(&config, tokenizer, console)?)),
        None => Batches::made_up(&config),
    };
    let mut bench = Bench::new(config, batches, globals)?;
    bench.train(0)?;
    // The operands of the products that steps are compared with are no part of training.
    let peak_rss_bytes = process::peak_rss_bytes();
    bench.step(0)?;
    bench.executor.reset_times();
    let runs = usize::from(args.runs);
    let mut samples = Vec::new();
    for run in 1..=runs {
        let progress = console.progress_count("measuring", runs as u64);
        progress.set(run as u64 - 1, runs as u64);
        samples.push(bench.step(run)?);
    }
    let report = bench.report(&samples, usize::from(args.accumulation), peak_rss_bytes)?;
    if args.format.json {
        return output::print_json(&report);
    }
    print_report(&report)
}

impl TrainArgs {
    /// The run whose steps are measured.
    fn config(&self, vocab_size: usize) -> anyhow::Result<RunConfig> {
        let options = RunOptions {
            data: self.data.as_ref().map(|path| vec![DataSet::new(path)]),
            tokenizer: self.tokenizer.clone(),
            device_batch_size: Some(self.device_batch_size),
            muon: Some(self.muon.clone()),
            muon_steps: Some(self.muon_steps),
            muon_per_head: Some(self.muon_per_head),
            ..RunOptions::from(self.model.clone()).over(reference(&REFERENCE))
        };
        // The size of the optimizer's batch changes nothing but its rates: that of one micro-batch always divides.
        let rows = self.device_batch_size.max(1);
        let tokens = options.seq_len.map_or(rows, |seq_len| rows.saturating_mul(seq_len));
        let options = RunOptions { total_batch_size: Some(tokens), ..options };
        let mut config = options.resolve(vocab_size)?;
        config.train.dtype = machine::compute(options.dtype)?;
        Ok(config)
    }
}

fn loader(
    config: &RunConfig,
    tokenizer: Arc<Tokenizer>,
    console: &Console,
) -> anyhow::Result<Loader> {
    let mut paths = Paths::new(console);
    let data = open_data(config, None, &mut paths, console)?;
    let options = LoaderOptions::new(config.train.device_batch_size, config.train.seq_len);
    let loader = Loader::new(data, tokenizer, options)?;
    loader.warnings().iter().for_each(|warning| console.warn(output::printable(warning)));
    Ok(loader)
}

/// Where tokens come from.
enum Batches {
    /// Anything, changing from step to step: B x T tokens and one more of a vocabulary of some size.
    MadeUp { ids: Vec<i32>, vocab: usize, step: usize },
    /// Documents.
    Read(Box<Loader>),
}

impl Batches {
    fn made_up(config: &RunConfig) -> Self {
        let tokens = config.train.device_batch_size * config.train.seq_len;
        Batches::MadeUp { ids: vec![0; tokens + 1], vocab: config.model.vocab_size, step: 0 }
    }

    /// The next micro-batch: ids and targets.
    fn next(&mut self) -> anyhow::Result<(&[i32], &[i32])> {
        match self {
            Batches::MadeUp { ids, vocab, step } => {
                for (i, id) in ids.iter_mut().enumerate() {
                    *id = ((i * 7919 + *step * 104_729) % *vocab) as i32;
                }
                *step += 1;
                Ok((&ids[..ids.len() - 1], &ids[1..]))
            }
            Batches::Read(loader) => {
                let batch = loader.next_batch()?;
                Ok((&batch.ids, &batch.targets))
            }
        }
    }
}

struct Bench {
    config: RunConfig,
    executor: Cpu,
    train: MicroBatches,
    optimize: ProgramId,
    batches: Batches,
}

impl Bench {
    fn new(config: RunConfig, batches: Batches, globals: &Globals) -> anyhow::Result<Self> {
        let mut executor = machine::executor(globals)?;
        let (model, train) = (&config.model, &config.train);
        let (rows, tokens) = (train.device_batch_size, train.seq_len);
        let step = MicroBatches::prepare(&mut executor, model, train.dtype, rows, tokens)?;
        let optimize = executor.prepare(&optimizer_step_graph(&config)?)?;
        initialize(model, 0, |p, values| executor.write(&p.name, p.tensor_type(), values))?;
        make_compute_copies(&mut executor, model, train.dtype)?;
        Ok(Bench { config, executor, train: step, optimize, batches })
    }

    /// Forward and backward of one micro-batch and one optimizer step, with products before and after.
    fn step(&mut self, step: usize) -> anyhow::Result<Sample> {
        let before = self.product_rate();
        let step_seconds = timed(|| self.micro_batch())?;
        let after = self.product_rate();
        let optimizer_seconds = timed(|| self.optimizer_step(step))?;
        Ok(Sample { product: (before + after) / 2.0, step_seconds, optimizer_seconds })
    }

    /// The same without products.
    fn train(&mut self, step: usize) -> anyhow::Result<()> {
        self.micro_batch()?;
        self.optimizer_step(step)
    }

    fn optimizer_step(&mut self, step: usize) -> anyhow::Result<()> {
        let schedules = Schedules::new(&self.config.optim, 1000, self.config.model.n_layer);
        Ok(self.executor.run(self.optimize, &[Feed::F32(&schedules.values(step))])?)
    }

    /// In the type that the run computes in and for its micro-batch.
    fn product_rate(&self) -> f64 {
        let (model, train) = (&self.config.model, &self.config.train);
        let rows = train.device_batch_size * train.seq_len;
        product_rate(self.executor.context(), train.dtype, rows, model.n_embd)
    }

    fn micro_batch(&mut self) -> anyhow::Result<()> {
        let (ids, targets) = self.batches.next()?;
        let step = Step { keep: 0.0, loss_scale: 1.0, key: [0, 0] };
        self.train.run(&mut self.executor, (ids, targets), step)?;
        Ok(())
    }

    /// Share of the time that steps wait for data when nothing stands between them: what is measured in between gives the
    /// loader time that training does not.
    fn data_stall(&mut self) -> anyhow::Result<Option<f64>> {
        let stalled = |batches: &Batches| match batches {
            Batches::Read(loader) => Some(loader.stall_seconds()),
            Batches::MadeUp { .. } => None,
        };
        let Some(before) = stalled(&self.batches) else { return Ok(None) };
        let begin = Instant::now();
        for _ in 0..STALL_BATCHES {
            self.micro_batch()?;
        }
        let seconds = begin.elapsed().as_secs_f64();
        Ok(stalled(&self.batches).map(|after| (after - before) / seconds))
    }

    fn report(
        &mut self,
        samples: &[Sample],
        accumulation: usize,
        peak_rss_bytes: Option<u64>,
    ) -> anyhow::Result<Report> {
        let ops = [("step", self.train.program()), ("optimizer", self.optimize)];
        let ops = ops
            .iter()
            .flat_map(|&(name, id)| op_rows(name, self.executor.op_times(id), samples.len()));
        let ops = ops.collect();
        let data_stall = self.data_stall()?;
        let (model, train) = (&self.config.model, &self.config.train);
        let n = (train.device_batch_size * train.seq_len) as f64;
        let per_token = model.flops_per_token(train.seq_len) as f64;
        let rate = |s: &Sample| n * per_token / s.step_seconds / 1e9;
        let with_optimizer = |s: &Sample| {
            let k = accumulation as f64;
            k * n / (k * s.step_seconds + s.optimizer_seconds)
        };
        let middle = |f: &dyn Fn(&Sample) -> f64| median(samples.iter().map(f));
        let (variable_bytes, activation_bytes) = self.executor.memory();
        Ok(Report {
            host: Host::new(self.executor.context()),
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
            register_gflops: machine::register_rate(self.executor.context(), train.dtype),
            data_stall,
            peak_rss_bytes,
            variable_bytes,
            activation_bytes,
            ops,
            config: self.config.clone(),
        })
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

fn print_report(r: &Report) -> anyhow::Result<()> {
    let mut table = Table::pairs();
    let (model, train) = (&r.config.model, &r.config.train);
    r.host.row(&mut table);
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
    if let Some(stall) = r.data_stall {
        table.row(["waiting for data", &format!("{:.2} %", 100.0 * stall)]);
    }
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
