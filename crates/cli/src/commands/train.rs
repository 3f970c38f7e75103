//! `kiln train`: documents and a tokenizer to a model.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use kiln_data::{FimCounts, Mixture};
use kiln_tokenizer::Tokenizer;
use kiln_train::config::RunConfig;
use kiln_train::init_from::InitFrom;
use kiln_train::process;
use kiln_train::run_folder::{self, Resume, Resumed};
use kiln_train::trainer::{Outcome, Setup, Trainer};

use crate::args::Globals;
use crate::checkpoint;
use crate::error::Advised;
use crate::init_from::Source;
use crate::interrupt::{self, Interrupted};
use crate::location::Paths;
use crate::machine;
use crate::output::{Console, count};
use crate::progress::TrainingProgress;
use crate::remote_run::RunFolder;
use crate::run_options::{RunOptions, notice};
use crate::training_data;

/// Train a model
///
/// Trains a GPT on documents, with Muon and AdamW, and writes checkpoints, metrics and the resolved configuration to the
/// run folder. Run it again and it goes on from the newest checkpoint, to the same losses bit for bit. Ctrl-C finishes
/// the step at hand, saves and exits with 130.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln train --data documents --tokenizer tokenizer --out run --depth 4 --minutes 10
  kiln train --config run.toml --out run --seed 1       flags lie over the file
  kiln train --data documents --init-from run --mtp --out further     the model of a run, and more
  kiln train --data shards --stream --tokenizer tokenizer --out run      while shards are being written
  kiln train --data code=0.8 tests=0.2 --pairs pairs --fim-rate 0.5 --tokenizer tokenizer --out run
  kiln train --data documents --tokenizer tokenizer --out run --depth 6 --preset classic \\
      --device-batch-size 8 --total-batch-size 32768 --num-iterations 2000 --save-every 100

The length is the first of --num-iterations, --target-flops, --target-param-data-ratio, --minutes that is given.")]
pub struct TrainArgs {
    /// Run folder: checkpoints step-N/, latest, metrics.jsonl
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// TOML file of options: the flags below with _ in place of -
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to go on: auto (the newest checkpoint), never (an error where there is a run), or a step
    #[arg(long, value_name = "auto|never|STEP", default_value = "auto", value_parser = parse_resume)]
    resume: Resume,
    #[command(flatten)]
    options: RunOptions,
}

fn parse_resume(text: &str) -> Result<Resume, String> {
    match text {
        "auto" => Ok(Resume::Auto),
        "never" => Ok(Resume::Never),
        step => {
            step.parse().map(Resume::Step).map_err(|_| "expected auto, never or a step".to_owned())
        }
    }
}

/// Trains to the end, or until Ctrl-C.
pub fn run(args: TrainArgs, globals: &Globals, console: &Console) -> anyhow::Result<()> {
    let mut paths = Paths::new(console);
    let options = options(&args, &mut paths)?;
    let mut place = None;
    let source = match &options.init_from {
        Some(from) => {
            let (_, resumed) = place.insert(open_run(&args, console)?);
            // A run that has begun goes on as it is.
            Some(match resumed {
                Some(resumed) => Source::of_run(resumed)?,
                None => Source::open(from, &mut paths)?,
            })
        }
        None => None,
    };
    let (tokenizer, tokenizer_folder) = tokenizer(&options, source.as_ref(), &mut paths)?;
    let model = source.as_ref().map(Source::model);
    let mut config = options.resolve_over(model, tokenizer.vocab_size())?;
    notice(&config.model).into_iter().for_each(|notice| console.note(notice));
    let (mut run, resumed) = place.map_or_else(|| open_run(&args, console), Ok)?;
    let init = match (&source, &resumed) {
        (Some(source), None) => Some(source.initialise(&config.model, console)?),
        _ => None,
    };
    if let (Some(source), None) = (&source, &options.tokenizer) {
        config.train.tokenizer = source.tokenizer_name();
    }
    if let Some(resumed) = resumed.as_ref().filter(|_| options.init_from.is_none()) {
        config.train.init_from.clone_from(&resumed.config.train.init_from);
    }
    let data = open_data(&config, resumed.as_ref(), &mut paths, console)?;
    config.train.dtype = match &resumed {
        // A run goes on as it began, on whatever machine.
        Some(resumed) if options.dtype.is_none() => resumed.config.train.dtype,
        _ => machine::compute(options.dtype)?,
    };
    let ready = Ready { config, data, tokenizer, tokenizer_folder, init, resumed };
    let outcome = train(&mut run, ready, globals, console)?;
    report(&outcome, &args.out, console);
    if outcome.finished { Ok(()) } else { Err(Interrupted.into()) }
}

/// The options of flags and file, with what cannot be done without.
fn options(args: &TrainArgs, paths: &mut Paths<'_>) -> anyhow::Result<RunOptions> {
    let mut config_file = args.config.clone();
    paths.inputs(&mut config_file)?;
    let file = config_file.as_deref().map(RunOptions::from_file).transpose()?.unwrap_or_default();
    let options = args.options.clone().over(file);
    let missing = |flag: &str, what: &str| {
        let hint = format!("{flag} {what}, as a flag or in --config FILE");
        Err(Advised::new(format!("{flag} is missing"), hint).usage())
    };
    if options.data.is_none() {
        return missing("--data", "names the documents");
    }
    if options.tokenizer.is_none() && options.init_from.is_none() {
        return missing("--tokenizer", "names the folder of the tokenizer");
    }
    Ok(options)
}

/// The run folder, and the checkpoint in it to go on from.
fn open_run(args: &TrainArgs, console: &Console) -> anyhow::Result<(RunFolder, Option<Resumed>)> {
    let run = RunFolder::open(&args.out, args.resume, console)?;
    let resumed = find(run.path(), args.resume, console)?;
    Ok((run, resumed))
}

/// The tokenizer that options name, or that of the checkpoint that the run follows, with the folder of its files.
fn tokenizer(
    options: &RunOptions,
    source: Option<&Source>,
    paths: &mut Paths<'_>,
) -> anyhow::Result<(Arc<Tokenizer>, PathBuf)> {
    match (&options.tokenizer, source) {
        (None, Some(source)) => Ok((source.tokenizer(), source.tokenizer_folder())),
        (named, source) => {
            let folder = paths.local(named.as_deref().unwrap_or(Path::new("")))?;
            let tokenizer = Tokenizer::load(&folder)?;
            source.map_or(Ok(()), |source| source.expect_tokenizer(&tokenizer, &folder))?;
            Ok((Arc::new(tokenizer), folder))
        }
    }
}

/// Opens the run's documents and tells what is wrong with them. Those that lie elsewhere are fetched to where `paths` has
/// its place, or shard by shard while training goes on.
pub fn open_data(
    config: &RunConfig,
    resumed: Option<&Resumed>,
    paths: &mut Paths<'_>,
    console: &Console,
) -> anyhow::Result<Mixture> {
    let saved = resumed.map(|resumed| &resumed.state.loader);
    training_data::open(&config.train, paths, saved, console)
}

/// The checkpoint to go on from; damaged ones are named.
pub fn find(out: &Path, resume: Resume, console: &Console) -> anyhow::Result<Option<Resumed>> {
    let resumed = run_folder::find(out, resume)?;
    if let Some(resumed) = &resumed {
        checkpoint::tell(&resumed.checkpoint, &resumed.damaged, &resumed.unknown_keys, console);
        if !resumed.state.is_finished() {
            console.note(format_args!("resuming from {}", resumed.checkpoint.dir().display()));
        }
    }
    Ok(resumed)
}

/// All that a run needs but its folder.
pub struct Ready {
    /// The run.
    pub config: RunConfig,
    /// Its documents.
    pub data: Mixture,
    /// Its tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// The local folder that the tokenizer was read from.
    pub tokenizer_folder: PathBuf,
    /// What it takes from another run's checkpoint, if it begins.
    pub init: Option<InitFrom>,
    /// The checkpoint to go on from.
    pub resumed: Option<Resumed>,
}

/// Trains with a progress bar; what is saved in a remote run folder is published meanwhile.
pub fn train(
    run: &mut RunFolder,
    ready: Ready,
    globals: &Globals,
    console: &Console,
) -> anyhow::Result<Outcome> {
    let Ready { config, data, tokenizer, tokenizer_folder, init, resumed } = ready;
    let executor = machine::executor(globals)?;
    let peak_flops = 1e9 * machine::register_rate(executor.context(), config.train.dtype);
    let finished = resumed.as_ref().is_some_and(|resumed| resumed.state.is_finished());
    let from = resumed.as_ref().map(|resumed| resumed.state.step);
    let publisher = run.publisher(from, config.train.keep)?;
    let out = run.path().to_owned();
    let setup = Setup { config, data, tokenizer, tokenizer_folder, out, peak_flops };
    let mut trainer = Trainer::new(setup, Box::new(executor), resumed)?;
    init.map_or(Ok(()), |init| trainer.begin_from(&init))?;
    let graceful = interrupt::claim();
    let mut progress = TrainingProgress::new(console);
    if finished {
        console.note("this run is finished: no step is left");
    } else if let Some(uptime) = process::uptime() {
        console
            .note(format_args!("first step begins {:.2} s after the start", uptime.as_secs_f64()));
    }
    let stop: &AtomicBool = graceful.flag();
    let outcome = match &publisher {
        Some(publisher) => trainer.run(&mut publisher.observe(&mut progress), stop),
        None => trainer.run(&mut progress, stop),
    };
    drop(progress);
    tell_rearranged(&trainer.fim_counts(), console);
    let published = run.finish(publisher, console);
    match (outcome, published) {
        (Ok(outcome), published) => published.map(|()| outcome),
        (Err(error), Ok(())) => Err(error.into()),
        (Err(error), Err(other)) => {
            console.warn(format_args!("{other:#}"));
            Err(error.into())
        }
    }
}

/// Says how many documents were rearranged.
fn tell_rearranged(counts: &FimCounts, console: &Console) {
    if counts.rearranged + counts.structured == 0 {
        return;
    }
    console.note(format_args!(
        "fill-in-the-middle: {} of {} documents ({} suffix first, {} by bodies), {} of {} pairs",
        count(counts.rearranged - counts.undone.min(counts.rearranged)),
        count(counts.documents),
        count(counts.spm),
        count(counts.body),
        count(counts.structured),
        count(counts.pairs)
    ));
}

fn report(outcome: &Outcome, out: &Path, console: &Console) {
    if outcome.step == 0 {
        return console.note("stopped before the first step; there is nothing to save");
    }
    let bpb = outcome
        .bits_per_byte
        .map_or(String::new(), |b| format!(", {b:.4} bits per byte on held-out text"));
    let peak = process::peak_rss_bytes()
        .map_or(String::new(), |b| format!(", peak memory {:.2} GB", b as f64 / 1e9));
    let ended = if outcome.finished { "finished" } else { "stopped" };
    console.note(format_args!(
        "{ended} after {} steps, {:.1} minutes of training{bpb}{peak}; saved in {}",
        count(outcome.step),
        outcome.seconds / 60.0,
        out.display()
    ));
}
