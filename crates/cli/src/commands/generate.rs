//! `kiln generate`: let a model go on writing.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use kiln_tokenizer::Utf8Stream;
use kiln_train::generate::{Flow, Generator};
use kiln_train::run_folder;
use kiln_train::sample_text::{ends_document, masked_ids, prompt_ids};
use kiln_train::sampler::Sampling;
use kiln_train::speculate::{Speculation, Speculator};

use crate::args::Globals;
use crate::checkpoint::{self, Opened};
use crate::error::{Advised, wrong_usage};
use crate::location::{Located, Paths};
use crate::machine;
use crate::output::{self, Console};
use crate::run_options::Dtype;

/// Let a model continue a prompt
///
/// Prints the prompt's continuation as it is made, whole characters only, until the model ends the document or
/// --max-tokens are made. The prompt comes from --prompt, from a file, or from standard input.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln generate --checkpoint run --prompt 'int main(' --max-tokens 200
  kiln generate --checkpoint run/step-000500 --prompt-file start.cpp --temperature 0
  head -20 main.cpp | kiln generate --checkpoint run --num-samples 3 --seed 7")]
pub struct GenerateArgs {
    /// Run folder (its newest checkpoint), or one checkpoint of it
    #[arg(long, value_name = "RUN[/step-N]")]
    checkpoint: PathBuf,
    /// Text to continue
    #[arg(long, value_name = "TEXT", conflicts_with = "prompt_file")]
    prompt: Option<String>,
    /// File to continue; - for standard input, as when neither is given
    #[arg(long, value_name = "FILE")]
    prompt_file: Option<PathBuf>,
    /// Most tokens to make
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(..=1 << 24))]
    max_tokens: u32,
    /// Divides the logits; 0 takes the likeliest token each time [default: 0.8]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    temperature: Option<f32>,
    /// Draft tokens with the model's multi-token prediction and check two at a time: yields what --temperature 0 yields, in
    /// less time where drafts are good
    #[arg(long, conflicts_with_all = ["temperature", "top_k", "top_p", "seed", "num_samples"])]
    speculative: bool,
    /// Choose among the K likeliest tokens; 0: all
    #[arg(long, value_name = "K", default_value_t = 50)]
    top_k: usize,
    /// Choose among the likeliest tokens that make up this probability
    #[arg(long, value_name = "P", default_value_t = 1.0, allow_negative_numbers = true)]
    top_p: f32,
    /// Seed of the choices
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Continuations of the prompt
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    num_samples: u16,
    /// Element type of products [default: bf16 where the machine multiplies it by itself, else f32]
    #[arg(long, value_enum)]
    dtype: Option<Dtype>,
    /// Print the prompt before the continuation
    #[arg(long)]
    echo: bool,
}

impl Located for GenerateArgs {
    fn locate(&mut self, paths: &mut Paths<'_>) -> anyhow::Result<()> {
        paths.checkpoint(&mut self.checkpoint)?;
        paths.inputs(&mut self.prompt_file)
    }
}

/// Writes the continuations to standard output.
pub fn run(args: &GenerateArgs, globals: &Globals, console: &Console) -> anyhow::Result<()> {
    let sampling = Sampling {
        temperature: args.temperature.unwrap_or(Sampling::default().temperature),
        top_k: args.top_k,
        top_p: args.top_p,
        seed: args.seed,
    };
    sampling.validate().map_err(|e| wrong_usage(anyhow::anyhow!("--{e}")))?;
    let prompt = read_prompt(args)?;
    let opened = checkpoint::open(&args.checkpoint, console)?;
    let compute = machine::compute(args.dtype)?;
    let mut executor = machine::executor(globals)?;
    run_folder::load_model(&opened.checkpoint, &opened.config, compute, &mut executor)?;
    let ids = prompt_ids(&opened.tokenizer, &prompt);
    let max_tokens = args.max_tokens as usize;
    let capacity = ids.len() + max_tokens;
    let trained = opened.config.model.sequence_len;
    if capacity > trained {
        console.note(format_args!(
            "prompt and continuation make up to {capacity} tokens; the model was trained on {trained}"
        ));
    }
    let rows = usize::from(args.num_samples);
    let mut writer = Writer::new(&opened, rows, args.echo.then_some(prompt.as_str()))?;
    let model = &opened.config.model;
    let masked = masked_ids(&opened.tokenizer);
    if args.speculative {
        let mut speculator = Speculator::new(&mut executor, model, compute, capacity)?;
        speculator.mask(masked);
        let counts =
            speculator.generate(&mut executor, &ids, max_tokens, |id| writer.token(0, id))?;
        writer.finish()?;
        tell(counts, console);
        return Ok(());
    }
    let mut generator = Generator::new(&mut executor, model, compute, rows, capacity)?;
    generator.mask(masked);
    generator
        .generate(&mut executor, &ids, max_tokens, sampling, |row, id| writer.token(row, id))?;
    writer.finish()
}

/// Says what came of the drafts.
fn tell(counts: Speculation, console: &Console) {
    let Speculation { made, drafted, accepted } = counts;
    let share = 100.0 * accepted as f64 / drafted.max(1) as f64;
    console.note(format_args!(
        "{accepted} of {drafted} drafts were right ({share:.0} %); {made} tokens in {} passes",
        made - accepted
    ));
}

fn read_prompt(args: &GenerateArgs) -> anyhow::Result<String> {
    if let Some(prompt) = &args.prompt {
        return Ok(prompt.clone());
    }
    let (name, bytes) = match args.prompt_file.as_deref().filter(|path| path.as_os_str() != "-") {
        Some(path) => {
            let name = path.display().to_string();
            (name.clone(), std::fs::read(path).with_context(|| format!("cannot read {name}"))?)
        }
        None => {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes).context("cannot read standard input")?;
            ("standard input".to_owned(), bytes)
        }
    };
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Advised::new(format!("{name} is not UTF-8 (byte {at})"), "prompts are text").into()
    })
}

/// Prints one sample as it is made; of several, each when it is complete.
struct Writer<'a> {
    opened: &'a Opened,
    out: output::Stdout,
    streams: Vec<Utf8Stream<'a>>,
    texts: Vec<String>,
    /// Why nothing more is written.
    failed: Option<anyhow::Error>,
}

impl<'a> Writer<'a> {
    fn new(opened: &'a Opened, rows: usize, echo: Option<&str>) -> anyhow::Result<Self> {
        let mut writer = Writer {
            opened,
            out: output::stdout(),
            streams: (0..rows).map(|_| Utf8Stream::new(&opened.tokenizer)).collect(),
            texts: vec![String::new(); rows],
            failed: None,
        };
        for row in 0..rows {
            if let Some(prompt) = echo {
                writer.write(row, prompt)?;
            }
        }
        Ok(writer)
    }

    fn token(&mut self, row: usize, id: u32) -> Flow {
        if ends_document(&self.opened.tokenizer, id) {
            return Flow::Stop;
        }
        let pushed = self.streams[row].push(id).map_err(anyhow::Error::from);
        match pushed.and_then(|text| self.write(row, &text)) {
            Ok(()) => Flow::Continue,
            Err(error) => {
                self.failed = Some(error);
                Flow::Stop
            }
        }
    }

    fn write(&mut self, row: usize, text: &str) -> anyhow::Result<()> {
        if self.texts.len() == 1 {
            self.out.write_all(text.as_bytes())?;
            self.out.flush()?;
        } else {
            self.texts[row].push_str(text);
        }
        Ok(())
    }

    fn finish(mut self) -> anyhow::Result<()> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        for row in 0..self.streams.len() {
            let stream =
                std::mem::replace(&mut self.streams[row], Utf8Stream::new(&self.opened.tokenizer));
            let rest = stream.finish();
            self.write(row, &rest)?;
        }
        if self.texts.len() == 1 {
            writeln!(self.out)?;
        } else {
            for (i, text) in self.texts.iter().enumerate() {
                writeln!(self.out, "--- sample {} ---\n{text}", i + 1)?;
            }
        }
        Ok(self.out.flush()?)
    }
}
