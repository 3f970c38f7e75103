//! `kiln bench decode`: how fast a model writes.

use std::time::Instant;

use clap::Args;
use kiln_cpu::Cpu;
use kiln_cpu::peak::Stream;
use kiln_graph::Executor;
use kiln_model::{Compute, ModelConfig, ParameterKind, decode_graph, initialize};
use kiln_train::generate::Generator;
use kiln_train::process;
use kiln_train::programs::make_compute_copies;
use kiln_train::sampler::Sampling;
use serde::Serialize;

use super::host::Host;
use super::kernels::product_rate;
use super::{median, reference, with_default};
use crate::args::{Globals, TableFormat};
use crate::machine;
use crate::output::{self, Align, Console, Progress, Table, bytes, count};
use crate::run_options::{ModelOptions, RunOptions};

/// The reference benchmark, by option.
const REFERENCE: [(&str, usize); 3] = [("depth", 12), ("head_dim", 64), ("seq_len", 1024)];
/// Rows of the products that a prompt is compared with: enough for their full rate.
const PRODUCT_ROWS: usize = 4096;
/// Tokens between two readings of memory.
const STEPS_PER_READ: usize = 4;

/// How fast a model writes: first token, tokens per second, share of bandwidth
///
/// Feeds a prompt of made-up tokens to a model with initial weights and lets it go on, as `kiln generate` does. The first
/// token is compared with the time that the prompt's matrix products take at the product rate. Each further token reads
/// every weight once, and the keys and values so far: that, per second, is compared with the memory's read bandwidth.
/// Without flags the model is the reference: 12 layers, width 768, 12 heads, T 1024, vocabulary 32,768.
#[derive(Debug, Args)]
#[command(mut_args = |arg| with_default(arg, &REFERENCE), after_help = "\
Examples:
  kiln bench decode
  kiln bench decode --depth 6 --batch 1,4,16 --prompt-tokens 512
  kiln bench decode --dtype f32 --batch 1 --json")]
pub struct DecodeArgs {
    /// Rows that are continued at once, one measurement for each
    #[arg(long, value_name = "B,B", value_delimiter = ',', default_value = "1,8,32",
        value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: Vec<u16>,
    /// Tokens of the prompt
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    prompt_tokens: u32,
    /// Tokens that each run makes
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    tokens: u16,
    /// Measured runs; the median counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Tokens of the vocabulary
    #[arg(long, value_name = "N", default_value_t = 32_768)]
    vocab_size: usize,
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    format: TableFormat,
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    host: Host,
    dtype: Compute,
    model: ModelConfig,
    runs: u16,
    first_token: FirstToken,
    batches: Vec<Batch>,
    peak_rss_bytes: Option<u64>,
}

/// A prompt of one row up to the first token. Medians.
#[derive(Serialize)]
struct FirstToken {
    prompt_tokens: usize,
    seconds: f64,
    product_flops: u64,
    product_gflops: f64,
    /// That the products take at that rate.
    product_seconds: f64,
    /// Of the first to the second.
    ratio: f64,
}

/// What follows the first token. Medians.
#[derive(Serialize)]
struct Batch {
    rows: usize,
    tokens_per_second: f64,
    seconds_per_step: f64,
    /// Weights once, and the keys and values in the middle of the measurement.
    bytes_per_step: u64,
    gb_per_second: f64,
    read_gb_per_second: f64,
    share_of_bandwidth: f64,
    /// Tokens per second, as a multiple of those of the first batch in the same turn.
    times_first: f64,
}

/// One batch at work: an executor of its own, as caches have its size.
struct Writer {
    executor: Cpu,
    generator: Generator,
    rows: usize,
    samples: Vec<Sample>,
}

/// One run of a batch.
struct Sample {
    seconds_per_step: f64,
    gb_per_step: f64,
    /// The memory's bandwidth meanwhile.
    read_gb_per_second: f64,
}

/// Measures and prints.
pub fn run(args: DecodeArgs, globals: &Globals, console: &Console) -> anyhow::Result<()> {
    let compute = machine::compute(args.model.dtype)?;
    let options = RunOptions::from(args.model.clone()).over(reference(&REFERENCE));
    let model = options.resolve(args.vocab_size)?.model;
    let progress = console.progress_count("measuring", 1);
    let bench = Bench { args: &args, globals, model: &model, compute, progress };
    let first_token = bench.first_token()?;
    let batches = bench.batches()?;
    let host = Host::new(&machine::context(globals)?);
    drop(bench);
    let report = Report {
        host,
        dtype: compute,
        runs: args.runs,
        first_token,
        batches,
        peak_rss_bytes: process::peak_rss_bytes(),
        model,
    };
    if args.format.json {
        return output::print_json(&report);
    }
    print_report(&report)
}

struct Bench<'a> {
    args: &'a DecodeArgs,
    globals: &'a Globals,
    model: &'a ModelConfig,
    compute: Compute,
    progress: Progress,
}

impl Bench<'_> {
    /// An executor with initial weights.
    fn executor(&self) -> anyhow::Result<Cpu> {
        let mut executor = machine::executor(self.globals)?;
        initialize(self.model, 0, |p, values| executor.write(&p.name, p.tensor_type(), values))?;
        make_compute_copies(&mut executor, self.model, self.compute)?;
        Ok(executor)
    }

    fn prompt(&self) -> Vec<u32> {
        let vocab = self.model.vocab_size as u64;
        let ids = (0..u64::from(self.args.prompt_tokens)).map(|i| (i * 7919 + 1) % vocab);
        ids.map(|id| id as u32).collect()
    }

    /// Tells how many measurements are done; that of the first token is one.
    fn progress(&self, done: usize) {
        let total = 1 + usize::from(self.args.runs) * self.args.batch.len();
        self.progress.set(done as u64, total as u64);
    }

    fn first_token(&self) -> anyhow::Result<FirstToken> {
        let prompt = self.prompt();
        let mut executor = self.executor()?;
        let products =
            |cpu: &Cpu| product_rate(cpu.context(), self.compute, PRODUCT_ROWS, self.model.n_embd);
        let mut generator =
            Generator::new(&mut executor, self.model, self.compute, 1, prompt.len() + 1)?;
        let flops = decode_graph(self.model, self.compute, 1, prompt.len(), prompt.len())?;
        let flops = flops.graph.flops();
        // Once to warm up.
        let mut first = |executor: &mut Cpu| -> anyhow::Result<f64> {
            let begin = Instant::now();
            generator.begin(executor, &prompt, Sampling::default())?;
            generator.next_tokens(executor)?;
            Ok(begin.elapsed().as_secs_f64())
        };
        first(&mut executor)?;
        let mut samples = Vec::new();
        self.progress(0);
        for _ in 0..self.args.runs {
            let before = products(&executor);
            let seconds = first(&mut executor)?;
            let after = products(&executor);
            samples.push((seconds, (before + after) / 2.0));
        }
        let product_seconds = |gflops: f64| flops as f64 / gflops / 1e9;
        Ok(FirstToken {
            prompt_tokens: prompt.len(),
            seconds: median(samples.iter().map(|s| s.0)),
            product_flops: flops,
            product_gflops: median(samples.iter().map(|s| s.1)),
            product_seconds: median(samples.iter().map(|s| product_seconds(s.1))),
            ratio: median(samples.iter().map(|s| s.0 / product_seconds(s.1))),
        })
    }

    /// Measures the batches in turns, so that what else the machine does meets all of them.
    fn batches(&self) -> anyhow::Result<Vec<Batch>> {
        let writers = self.args.batch.iter().map(|&rows| self.writer(usize::from(rows)));
        let mut writers = writers.collect::<anyhow::Result<Vec<Writer>>>()?;
        let stream = Stream::allocate();
        for run in 0..usize::from(self.args.runs) {
            for (number, writer) in writers.iter_mut().enumerate() {
                self.progress(1 + run * self.args.batch.len() + number);
                let sample = self.sample(writer, &stream, run)?;
                writer.samples.push(sample);
            }
        }
        Ok(writers.iter().map(|writer| summarize(writer, &writers[0])).collect())
    }

    /// A model that has read the prompt and made a token.
    fn writer(&self, rows: usize) -> anyhow::Result<Writer> {
        let prompt = self.prompt();
        let (runs, tokens) = (usize::from(self.args.runs), usize::from(self.args.tokens));
        // The first token needs no room, and one step warms up.
        let capacity = prompt.len() + runs * tokens + 1;
        let mut executor = self.executor()?;
        let mut generator =
            Generator::new(&mut executor, self.model, self.compute, rows, capacity)?;
        generator.begin(&mut executor, &prompt, Sampling::default())?;
        generator.next_tokens(&mut executor)?;
        generator.next_tokens(&mut executor)?;
        Ok(Writer { executor, generator, rows, samples: Vec::new() })
    }

    /// A run of one batch. Between its steps memory is read, so that the share is one of the bandwidth that there was:
    /// medians of both.
    fn sample(&self, writer: &mut Writer, stream: &Stream, run: usize) -> anyhow::Result<Sample> {
        let Writer { executor, generator, rows, .. } = writer;
        let tokens = usize::from(self.args.tokens);
        let (mut steps, mut reads) = (Vec::new(), Vec::new());
        for token in 0..tokens {
            if token % STEPS_PER_READ == 0 {
                reads.push(stream.read(executor.context()));
            }
            let begin = Instant::now();
            generator.next_tokens(executor)?;
            steps.push(begin.elapsed().as_secs_f64());
        }
        // Tokens in the caches at the middle of these.
        let prompt = self.args.prompt_tokens as usize;
        let seen = prompt + run * tokens + tokens.div_ceil(2) + 1;
        let bytes = self.weight_bytes() + *rows as u64 * self.cache_bytes(executor, seen);
        Ok(Sample {
            seconds_per_step: median(steps),
            gb_per_step: bytes as f64 / 1e9,
            read_gb_per_second: median(reads),
        })
    }

    /// Bytes of the weights that every step reads, in the type in which it reads them. Of look-up tables it reads a row.
    fn weight_bytes(&self) -> u64 {
        let parameters = self.model.parameters().into_iter();
        let read = parameters.filter(|p| match p.kind {
            ParameterKind::Prediction => false,
            ParameterKind::Unembedding | ParameterKind::Gate => true,
            kind => kind.is_matrix() && self.model.trains(&p.name),
        });
        read.map(|p| p.variable(self.compute).1.bytes() as u64).sum()
    }

    /// Bytes of the keys and values that a row reads when `seen` tokens are in its caches.
    fn cache_bytes(&self, executor: &Cpu, seen: usize) -> u64 {
        let variables = executor.variables();
        let element = variables.iter().find(|(name, _)| name == "cache.0.k");
        let element = element.map_or(4, |(_, ty)| ty.bytes() / ty.len());
        let positions = self.model.windows().into_iter().map(|window| seen.min(window + 1));
        let positions: usize = positions.sum();
        (2 * positions * self.model.kv_width() * element) as u64
    }
}

fn summarize(writer: &Writer, first: &Writer) -> Batch {
    let Writer { rows, samples, .. } = writer;
    let middle = |f: &dyn Fn(&Sample) -> f64| median(samples.iter().map(f));
    let speed = |rows: usize, sample: &Sample| rows as f64 / sample.seconds_per_step;
    let turns = samples.iter().zip(&first.samples);
    Batch {
        rows: *rows,
        tokens_per_second: middle(&|s| speed(*rows, s)),
        seconds_per_step: middle(&|s| s.seconds_per_step),
        bytes_per_step: middle(&|s| 1e9 * s.gb_per_step) as u64,
        gb_per_second: middle(&|s| s.gb_per_step / s.seconds_per_step),
        read_gb_per_second: middle(&|s| s.read_gb_per_second),
        share_of_bandwidth: middle(&|s| s.gb_per_step / s.seconds_per_step / s.read_gb_per_second),
        times_first: median(turns.map(|(mine, its)| speed(*rows, mine) / speed(first.rows, its))),
    }
}

fn print_report(r: &Report) -> anyhow::Result<()> {
    let (model, first) = (&r.model, &r.first_token);
    let mut table = Table::pairs();
    r.host.row(&mut table);
    table.row([
        "model",
        &format!(
            "{} in {}, {} layers, width {}, {} heads, vocabulary {}",
            model.preset,
            r.dtype,
            model.n_layer,
            model.n_embd,
            model.n_head,
            count(model.vocab_size as u64)
        ),
    ]);
    let milliseconds = |seconds: f64| format!("{:.1} ms", 1e3 * seconds);
    let tokens = count(first.prompt_tokens as u64);
    table.row(["first token", &format!("{} after {tokens}", milliseconds(first.seconds))]);
    table.row([
        "  its products",
        &format!(
            "{} for {:.1} GFLOP at {:.0} GFLOP/s",
            milliseconds(first.product_seconds),
            first.product_flops as f64 / 1e9,
            first.product_gflops
        ),
    ]);
    table.row(["  times as long", &format!("{:.2}", first.ratio)]);
    if let Some(peak) = r.peak_rss_bytes {
        table.row(["peak resident memory", &bytes(peak)]);
    }
    let mut batches = Table::new(&[Align::Right; 8]);
    batches.row([
        "Batch",
        "tokens/s",
        "times",
        "ms/step",
        "read/step",
        "GB/s",
        "of memory's",
        "share",
    ]);
    for batch in &r.batches {
        batches.row([
            &batch.rows.to_string(),
            &format!("{:.1}", batch.tokens_per_second),
            &format!("{:.2}", batch.times_first),
            &format!("{:.2}", 1e3 * batch.seconds_per_step),
            &bytes(batch.bytes_per_step),
            &format!("{:.1}", batch.gb_per_second),
            &format!("{:.1}", batch.read_gb_per_second),
            &format!("{:.3}", batch.share_of_bandwidth),
        ]);
    }
    output::print(|out| {
        table.write(out)?;
        std::io::Write::write_all(out, b"\n")?;
        batches.write(out)
    })
}
