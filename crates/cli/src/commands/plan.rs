//! `kiln plan`: what a run will take, before it runs.

use std::path::PathBuf;

use clap::Args;
use kiln_cpu::{Context, Cpu};
use kiln_model::{ModelConfig, Parameter, decode_graph};
use kiln_tokenizer::Tokenizer;
use kiln_train::config::RunConfig;
use kiln_train::programs::{evaluation_graph, optimizer_step_graph, training_graph};
use serde::Serialize;

use crate::args::{Globals, TableFormat};
use crate::error::Advised;
use crate::init_from::Source;
use crate::location::Paths;
use crate::machine;
use crate::output::{self, Console, Table, bytes, count};
use crate::run_options::{RunOptions, notice};

/// Vocabulary of a plan for which no tokenizer is named.
const VOCABULARY: usize = 32_768;
/// Resident memory of the process beside variables and activations: code, tokenizer, prefetched batches, packing buffer.
const PROCESS_BYTES: usize = 24_000_000;

/// Show parameters, operations and memory of a run
///
/// Plans the graphs that `kiln train` would run with these flags, and says what they take: parameters by kind, operations
/// per token, and the peak of memory. Nothing is trained.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln plan --depth 6
  kiln plan --depth 12 --seq-len 1024 --device-batch-size 4 --preset classic --json
  kiln plan --config run.toml --tokenizer tokenizer

Without --tokenizer the vocabulary is that of --vocab-size.")]
pub struct PlanArgs {
    /// TOML file of options, as of `kiln train`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Tokens of the vocabulary, where neither a tokenizer nor a checkpoint says how many there are [default: 32768]
    #[arg(long, value_name = "N")]
    vocab_size: Option<usize>,
    #[command(flatten)]
    options: RunOptions,
    #[command(flatten)]
    format: TableFormat,
}

/// What a run takes.
#[derive(Debug, Serialize)]
pub struct PlanReport {
    config: RunConfig,
    head_dim: usize,
    windows: Vec<usize>,
    parameters: Vec<(&'static str, u64)>,
    parameters_total: u64,
    flops_per_token: u64,
    micro_batches: usize,
    iterations: Option<u64>,
    memory: Memory,
    /// With `checkpoint_blocks` on, and off.
    memory_recomputed: Peak,
    memory_kept: Peak,
}

#[derive(Debug, Serialize)]
struct Memory {
    parameters: usize,
    gradients: usize,
    optimizer: usize,
    /// Of weights, for products.
    copies: usize,
    /// With which samples are generated.
    caches: usize,
    activations: usize,
    process: usize,
    peak: usize,
}

/// What depends on whether activations are kept.
#[derive(Clone, Copy, Debug, Serialize)]
struct Peak {
    activations: usize,
    peak: usize,
}

/// Prints the plan.
pub fn run(mut args: PlanArgs, globals: &Globals, console: &Console) -> anyhow::Result<()> {
    let mut paths = Paths::new(console);
    paths.inputs(&mut args.config)?;
    let file = args.config.as_deref().map(RunOptions::from_file).transpose()?.unwrap_or_default();
    let options = args.options.over(file);
    let source =
        options.init_from.as_ref().map(|from| Source::open(from, &mut paths)).transpose()?;
    let vocab = vocabulary(&options, source.as_ref(), args.vocab_size, &mut paths)?;
    let mut config = options.resolve_over(source.as_ref().map(Source::model), vocab)?;
    notice(&config.model).into_iter().for_each(|notice| console.note(notice));
    if let Some(source) = &source {
        source.initialise(&config.model, console)?;
    }
    config.train.dtype = machine::compute(options.dtype)?;
    let report = report(config, &machine::context(globals)?)?;
    if args.format.json {
        return output::print_json(&report);
    }
    let table = table(&report);
    output::print(|out| table.write(out))
}

/// Tokens of the vocabulary that a run with these options has.
fn vocabulary(
    options: &RunOptions,
    source: Option<&Source>,
    given: Option<usize>,
    paths: &mut Paths<'_>,
) -> anyhow::Result<usize> {
    let counted = match (&options.tokenizer, source) {
        (Some(folder), source) => {
            let tokenizer = Tokenizer::load(paths.local(folder)?)?;
            if let Some(source) = source {
                source.expect_tokenizer(&tokenizer, folder)?;
            }
            ("--tokenizer", tokenizer.vocab_size())
        }
        (None, Some(source)) => ("--init-from", source.model().vocab_size),
        (None, None) => return Ok(given.unwrap_or(VOCABULARY)),
    };
    if given.is_some() {
        let message = format!("--vocab-size cannot be used with {}", counted.0);
        let hint = format!("{} says that there are {} tokens", counted.0, counted.1);
        return Err(Advised::new(message, hint).usage());
    }
    Ok(counted.1)
}

/// Plans a run's graphs on a machine.
pub fn report(config: RunConfig, cx: &Context) -> anyhow::Result<PlanReport> {
    let (model, train) = (&config.model, &config.train);
    let counted = model.parameter_count();
    let flops_per_token = model.flops_per_token(train.seq_len);
    let memory = memory(&config, cx)?;
    let here = Peak { activations: memory.activations, peak: memory.peak };
    let fixed = memory.peak - memory.activations;
    let activations = activations(&config, !model.checkpoint_blocks, cx)?;
    let there = Peak { activations, peak: fixed + activations };
    let (memory_recomputed, memory_kept) =
        if model.checkpoint_blocks { (here, there) } else { (there, here) };
    Ok(PlanReport {
        head_dim: model.head_dim(),
        windows: model.windows(),
        parameters: vec![
            ("token embedding", counted.embedding),
            ("value embeddings", counted.value_embedding),
            ("output layer", counted.unembedding),
            ("matrices", counted.matrix),
            ("engrams", counted.engram),
            ("branch mixing", counted.mixing),
            ("multi-token prediction", counted.prediction),
            ("indexers", counted.indexer),
            ("gates", counted.gate),
            ("scalars", counted.scalar),
        ],
        parameters_total: counted.total(),
        flops_per_token,
        micro_batches: config.accumulation()?,
        iterations: config.iterations()?,
        memory,
        memory_recomputed,
        memory_kept,
        config,
    })
}

/// Bytes of what graphs hold while they run, with or without blocks that are computed again.
fn activations(config: &RunConfig, checkpoint_blocks: bool, cx: &Context) -> anyhow::Result<usize> {
    let (train, compute) = (&config.train, config.train.dtype);
    let model = &ModelConfig { checkpoint_blocks, ..config.model.clone() };
    let (rows, tokens) = (train.device_batch_size, train.seq_len);
    let mut graphs = vec![
        training_graph(model, compute, rows, tokens)?,
        optimizer_step_graph(config)?,
        evaluation_graph(model, compute, rows, tokens)?,
    ];
    if train.sample_every > 0 {
        graphs.push(decode_graph(model, compute, 1, 256.min(tokens), tokens)?.graph);
    }
    let mut most = 0;
    for graph in &graphs {
        most = most.max(Cpu::measure(cx, graph)?.arena);
    }
    Ok(most)
}

fn memory(config: &RunConfig, cx: &Context) -> anyhow::Result<Memory> {
    let (model, compute) = (&config.model, config.train.dtype);
    let bytes = |parameters: &[Parameter]| -> usize {
        parameters.iter().map(|p| p.tensor_type().bytes()).sum()
    };
    let copy_bytes = |parameters: &[Parameter]| -> usize {
        parameters.iter().map(|p| p.variable(compute).1.bytes()).sum()
    };
    let activations = activations(config, model.checkpoint_blocks, cx)?;
    let parameters = bytes(&model.parameters());
    let gradients = bytes(&model.trained_parameters());
    let copied = model.compute_copies(compute);
    let copies = copy_bytes(&copied);
    let trained: Vec<Parameter> =
        copied.into_iter().filter(|parameter| model.trains(&parameter.name)).collect();
    // The optimizer's variables are what it trains, its gradients, the copies that it refreshes, and its own state.
    let step = Cpu::measure(cx, &optimizer_step_graph(config)?)?.variables;
    let optimizer = step - 2 * gradients - copy_bytes(&trained);
    let caches = sample_caches(config)?;
    let peak = parameters + gradients + optimizer + copies + caches + activations + PROCESS_BYTES;
    Ok(Memory {
        parameters,
        gradients,
        optimizer,
        copies,
        caches,
        activations,
        process: PROCESS_BYTES,
        peak,
    })
}

/// Bytes of the caches with which samples are generated.
fn sample_caches(config: &RunConfig) -> anyhow::Result<usize> {
    let train = &config.train;
    if train.sample_every == 0 {
        return Ok(0);
    }
    let graph = decode_graph(&config.model, train.dtype, 1, 1, train.seq_len)?;
    Ok(graph.caches.iter().map(|(_, ty)| ty.bytes()).sum())
}

fn table(report: &PlanReport) -> Table {
    let (model, train) = (&report.config.model, &report.config.train);
    let mut table = Table::pairs();
    table.row([
        "model",
        &format!(
            "{}: {} layers, width {}, {} heads of {} ({} key/value), vocabulary {}",
            model.preset,
            model.n_layer,
            model.n_embd,
            model.n_head,
            report.head_dim,
            model.n_kv_head,
            count(model.vocab_size as u64)
        ),
    ]);
    table.row(["products", &train.dtype.to_string()]);
    let windows: Vec<String> = report.windows.iter().map(usize::to_string).collect();
    table.row(["windows", &windows.join(" ")]);
    for (name, number) in report.parameters.iter().filter(|(_, n)| *n > 0) {
        table.row([&format!("  {name}"), &count(*number)]);
    }
    table.row(["parameters", &count(report.parameters_total)]);
    table.row([
        "operations",
        &format!("{:.1} MFLOP per token", report.flops_per_token as f64 / 1e6),
    ]);
    table.row([
        "batch",
        &format!(
            "{} micro-batches of {} x {} = {} tokens per step",
            report.micro_batches,
            train.device_batch_size,
            train.seq_len,
            count(train.total_batch_size as u64)
        ),
    ]);
    if let Some(n) = report.iterations {
        let tokens = n.saturating_mul(train.total_batch_size as u64);
        table.row([
            "length",
            &format!(
                "{} steps, {} tokens, {:.2e} FLOP",
                count(n),
                count(tokens),
                tokens as f64 * report.flops_per_token as f64
            ),
        ]);
    }
    let memory = &report.memory;
    for (name, size) in [
        ("  parameters", memory.parameters),
        ("  gradients", memory.gradients),
        ("  optimizer state", memory.optimizer),
        ("  copies of weights", memory.copies),
        ("  caches of samples", memory.caches),
        ("  activations", memory.activations),
        ("  process", memory.process),
    ] {
        if size > 0 {
            table.row([name, &bytes(size as u64)]);
        }
    }
    table.row(["peak memory", &bytes(memory.peak as u64)]);
    for (name, peak) in [
        ("  without --checkpoint-blocks", report.memory_kept),
        ("  with --checkpoint-blocks", report.memory_recomputed),
    ] {
        let (all, part) = (bytes(peak.peak as u64), bytes(peak.activations as u64));
        table.row([name, &format!("{all}, {part} of it activations")]);
    }
    table
}
