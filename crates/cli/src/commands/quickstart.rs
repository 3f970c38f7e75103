//! `kiln quickstart`: C++ sources to a model that completes C++, in one command.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use kiln_corpus::{FilesOptions, collect_files};
use kiln_data::{Source, SourceOptions, Split};
use kiln_store::{Earlier, Location, Output};
use kiln_tokenizer::{Error as TokenizerError, Kind, TOKENIZER_FILE, Tokenizer};
use kiln_train::checkpoint;
use kiln_train::data_set::DataSet;
use kiln_train::generate::Generator;
use kiln_train::metrics;
use kiln_train::run_folder;
use kiln_train::run_folder::Resume;
use kiln_train::sample_text::complete;
use kiln_train::sampler::Sampling;
use kiln_train::trainer::Outcome;

use crate::args::Globals;
use crate::commands::train;
use crate::error::Advised;
use crate::interrupt::{self, Interrupted};
use crate::location::{self, Paths};
use crate::machine;
use crate::output::{Console, count};
use crate::remote_run::RunFolder;
use crate::run_options::RunOptions;

include!(concat!(env!("OUT_DIR"), "/samples.rs"));

/// Beginnings that the finished model completes.
const PROMPTS: [&str; 3] = ["#include <", "/// Returns the ", "int main() {\n"];
/// Minutes of training where the user says nothing: with all the rest the command stays well under three.
const MINUTES: f64 = 1.5;

/// From C++ sources to a model that completes C++, in one command
///
/// Collects documents, trains a tokenizer and a model, measures bits per byte on held-out files and lets the model complete
/// three prompts. Without --corpus it uses the sample projects that come with Kiln. Run it again and it goes on where it
/// stopped, or shows what it made; it never overwrites a finished run.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln quickstart
  kiln quickstart --corpus ~/src/leveldb --minutes 10 --out leveldb-model")]
pub struct QuickstartArgs {
    /// Folder of C++ sources [default: the samples that come with Kiln]
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// Minutes of training
    #[arg(long, value_name = "N", default_value_t = MINUTES, allow_negative_numbers = true)]
    minutes: f64,
    /// Folder for everything that is made
    #[arg(long, value_name = "DIR", default_value = "kiln-quickstart")]
    out: PathBuf,
    /// Train so many steps, in place of --minutes
    #[arg(long, value_name = "N")]
    num_iterations: Option<u64>,
}

/// Where things are.
struct Places {
    samples: PathBuf,
    documents: PathBuf,
    tokenizer: PathBuf,
    run: PathBuf,
}

impl Places {
    fn new(out: &Path, run: &Path) -> Self {
        let place = |name| out.join(name);
        Places {
            samples: place("samples"),
            documents: place("documents"),
            tokenizer: place("tokenizer"),
            run: run.to_owned(),
        }
    }
}

/// Runs the whole path.
pub fn run(args: &QuickstartArgs, globals: &Globals, console: &Console) -> anyhow::Result<()> {
    // Before anything is made: what cannot be trained is refused.
    horizon(args).resolve(512)?;
    let wanted = |name: &str| !name.starts_with("run/");
    let mut out = Output::folder_part(location::store(), &args.out, Earlier::Content, &wanted)?;
    let mut run = RunFolder::open(&args.out.join("run"), Resume::Auto, console)?;
    let places = Places::new(out.path(), run.path());
    same_corpus(args, out.path(), &places)?;
    documents(args, &places, console)?;
    let source = Source::open(&places.documents, &SourceOptions::default())?;
    let tokenizer = Arc::new(tokenizer(&source, &places, console)?);
    location::publish(&mut out, console)?;
    let outcome = train_model(args, &mut run, &places, &source, &tokenizer, globals, console)?;
    if !outcome.finished {
        console.note("run the same command again to go on");
        return Err(Interrupted.into());
    }
    show(&places, &outcome, globals, console)
}

/// Refuses to mix another corpus into what the folder holds.
fn same_corpus(args: &QuickstartArgs, out: &Path, places: &Places) -> anyhow::Result<()> {
    let file = out.join("corpus.txt");
    let corpus = args.corpus.as_ref().map(Location::parse).transpose()?;
    let wanted = match &corpus {
        Some(Location::Remote(remote)) => remote.to_string(),
        Some(Location::Local(corpus)) => fs::canonicalize(corpus)
            .with_context(|| format!("cannot open {}", corpus.display()))?
            .to_string_lossy()
            .into_owned(),
        None => "samples".to_owned(),
    };
    let folder = args.out.display();
    let made = places.documents.join("_COMPLETE").exists();
    match fs::read_to_string(&file) {
        Ok(found) if found.trim_end() == wanted => Ok(()),
        Ok(found) if made => Err(Advised::new(
            format!("{folder} was made from {}, not from {wanted}", found.trim_end()),
            "give another folder with --out",
        )
        .into()),
        // They may be of any corpus: whoever lost the file knows which.
        Err(_) if made => Err(Advised::new(
            format!(
                "{folder} holds documents, but corpus.txt does not say what they were made from"
            ),
            format!("give another folder with --out, or write `{wanted}` to {}", file.display()),
        )
        .into()),
        _ => {
            fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
            fs::write(&file, wanted + "\n")
                .with_context(|| format!("cannot write {}", file.display()))
        }
    }
}

fn documents(args: &QuickstartArgs, places: &Places, console: &Console) -> anyhow::Result<()> {
    if places.documents.join("_COMPLETE").exists() {
        console.note(format_args!("1/4 documents: found in {}", places.documents.display()));
        return Ok(());
    }
    let mut paths = Paths::new(console);
    let mut corpus = args.corpus.clone();
    paths.sources(&mut corpus)?;
    let sources = match corpus {
        Some(corpus) => corpus,
        None => write_samples(&places.samples)?,
    };
    let mut options = FilesOptions::new([sources], &places.documents);
    options.validation_share = 0.05;
    // The samples are five projects side by side.
    options.projects_dir = args.corpus.is_none();
    let graceful = interrupt::claim();
    let summary = collect_files(&options, &mut |_| {
        if graceful.requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if !summary.skipped.is_empty() {
        console.note(format_args!("skipped {}", summary.describe_skipped()));
    }
    console.note(format_args!(
        "1/4 documents: {} files, {} bytes, {} held out, in {}",
        count(summary.documents),
        count(summary.text_bytes),
        count(summary.validation_documents),
        places.documents.display()
    ));
    Ok(())
}

fn write_samples(folder: &Path) -> anyhow::Result<PathBuf> {
    for (name, content) in SAMPLES {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(folder.to_owned())
}

/// A vocabulary that the text can fill: a token for every 80 bytes, a power of two.
fn vocabulary(text_bytes: u64) -> usize {
    let wanted = (text_bytes / 80).clamp(512, 8192) as usize;
    1 << wanted.ilog2()
}

fn tokenizer(source: &Source, places: &Places, console: &Console) -> anyhow::Result<Tokenizer> {
    if places.tokenizer.join(TOKENIZER_FILE).exists() {
        let tokenizer = Tokenizer::load(&places.tokenizer)?;
        console.note(format_args!("2/4 tokenizer: found in {}", places.tokenizer.display()));
        return Ok(tokenizer);
    }
    let texts: Vec<String> = source.texts(Split::Train).collect::<Result<_, _>>()?;
    let wanted = vocabulary(source.report().train_text_bytes);
    let tokenizer = match Tokenizer::train(Kind::Bpe, &texts, wanted) {
        // A very small corpus: take what it gives.
        Err(TokenizerError::VocabTooLarge { available, .. }) => {
            Tokenizer::train(Kind::Bpe, &texts, available)?
        }
        result => result?,
    };
    tokenizer.save(&places.tokenizer)?;
    let size = count(tokenizer.vocab_size() as u64);
    console.note(format_args!("2/4 tokenizer: {size} tokens, in {}", places.tokenizer.display()));
    Ok(tokenizer)
}

/// When training is to end.
fn horizon(args: &QuickstartArgs) -> RunOptions {
    RunOptions {
        num_iterations: args.num_iterations,
        minutes: args.num_iterations.is_none().then_some(args.minutes),
        ..RunOptions::default()
    }
}

fn options(args: &QuickstartArgs, source: &Source) -> RunOptions {
    // A small corpus is seen many times whatever the batch: short rows and batches make more of the minutes.
    let small = source.report().train_text_bytes < 2_000_000;
    let (seq_len, batch) = if small { (256, 4096) } else { (512, 8192) };
    RunOptions {
        data: Some(vec![DataSet::new(args.out.join("documents"))]),
        tokenizer: Some(args.out.join("tokenizer")),
        depth: Some(4),
        seq_len: Some(seq_len),
        device_batch_size: Some(8),
        total_batch_size: Some(batch),
        eval_every: Some(100),
        eval_tokens: Some(65_536),
        save_every: Some(100),
        keep: Some(1),
        ..horizon(args)
    }
}

fn train_model(
    args: &QuickstartArgs,
    run: &mut RunFolder,
    places: &Places,
    source: &Source,
    tokenizer: &Arc<Tokenizer>,
    globals: &Globals,
    console: &Console,
) -> anyhow::Result<Outcome> {
    let resumed = train::find(&places.run, Resume::Auto, console)?;
    if let Some(done) = resumed.as_ref().filter(|r| r.state.is_finished())
        // Without, it was stopped between its last step and the evaluation, which is made up for below.
        && let bpb = metrics::evaluation_at(&places.run, done.state.step)?
        && (bpb.is_some() || source.is_empty(Split::Validation))
    {
        console.note(format_args!(
            "3/4 model: this run is finished ({} steps); remove {} or give another --out to train anew",
            count(done.state.step),
            args.out.display()
        ));
        return Ok(Outcome { bits_per_byte: bpb, ..done.state.outcome() });
    }
    // A run that goes on keeps what it began with, whatever this machine or these flags would choose now.
    let config = match &resumed {
        Some(resumed) => resumed.config.clone(),
        None => {
            let mut config = options(args, source).resolve(tokenizer.vocab_size())?;
            config.train.dtype = machine::compute(None)?;
            config
        }
    };
    console.note(format_args!(
        "3/4 model: {} layers, width {}, {} parameters, in {}",
        config.model.n_layer,
        config.model.n_embd,
        count(config.model.parameter_count().total()),
        places.run.display()
    ));
    let mut paths = Paths::new(console);
    paths.fetched(&args.out.join("documents"), &places.documents);
    let data = train::open_data(&config, resumed.as_ref(), &mut paths, console)?;
    let (tokenizer, tokenizer_folder) = (tokenizer.clone(), places.tokenizer.clone());
    let ready = train::Ready { config, data, tokenizer, tokenizer_folder, init: None, resumed };
    train::train(run, ready, globals, console)
}

/// Completes the prompts and says what to do next.
fn show(
    places: &Places,
    outcome: &Outcome,
    globals: &Globals,
    console: &Console,
) -> anyhow::Result<()> {
    let loaded = checkpoint::load(&places.run)?;
    let (config, _) = run_folder::read_config(&loaded.checkpoint)?;
    let tokenizer = run_folder::load_tokenizer(&loaded.checkpoint)?;
    let (model, compute) = (&config.model, config.train.dtype);
    let mut executor = machine::executor(globals)?;
    run_folder::load_model(&loaded.checkpoint, &config, compute, &mut executor)?;
    let mut generator = Generator::new(&mut executor, model, compute, 1, model.sequence_len)?;
    let sampling = Sampling { temperature: 0.5, ..Sampling::default() };
    let bpb = outcome.bits_per_byte.map_or("-".to_owned(), |b| format!("{b:.3}"));
    console.note(format_args!("4/4 the model writes ({bpb} bits per byte on held-out files):"));
    for prompt in PROMPTS {
        let text = complete(&mut generator, &mut executor, &tokenizer, prompt, 64, sampling)?;
        crate::output::print(|out| {
            use std::io::Write;
            writeln!(out, "\n----\n{prompt}{text}")
        })?;
    }
    next_steps(places, console);
    Ok(())
}

fn next_steps(places: &Places, console: &Console) {
    let run = places.run.display();
    // As the user called it: with `cargo run` it is not on the path.
    let kiln = std::env::args().next().unwrap_or_else(|| "kiln".to_owned());
    console.note(format_args!(
        "\n----\n\
        made: {documents} (documents), {tokenizer} (tokenizer), {run} (checkpoints, metrics.jsonl)\n\n\
        next:\n  \
        {kiln} generate --checkpoint {run} --prompt 'template <typename T>'\n  \
        {kiln} eval bpb --checkpoint {run} --data {documents}\n  \
        {kiln} quickstart --corpus PATH/TO/YOUR/CODE --minutes 10 --out my-model",
        documents = places.documents.display(),
        tokenizer = places.tokenizer.display(),
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vocabulary_grows_with_the_text() {
        assert_eq!(vocabulary(1_000), 512);
        assert_eq!(vocabulary(90_000), 1024);
        assert_eq!(vocabulary(27_000_000), 8192);
    }

    #[test]
    fn samples_are_built_in() {
        let sources = SAMPLES.iter().filter(|(name, _)| name.ends_with(".cpp")).count();
        assert!(sources > 10, "{sources}");
    }
}
