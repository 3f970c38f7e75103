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
    /// Divides the logits; 0 takes the likeliest token each time
    #[arg(long, value_name = "X", default_value_t = 0.8, allow_negative_numbers = true)]
    temperature: f32,
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
        temperature: args.temperature,
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
    let model = &opened.config.model;
    let mut generator = Generator::new(&mut executor, model, compute, rows, capacity)?;
    generator.mask(masked_ids(&opened.tokenizer));
    let mut writer = Writer::new(&opened, rows, args.echo.then_some(prompt.as_str()))?;
    let mut failed = None;
    generator.generate(&mut executor, &ids, max_tokens, sampling, |row, id| {
        match writer.token(row, id) {
            Ok(flow) => flow,
            Err(error) => {
                failed = Some(error);
                Flow::Stop
            }
        }
    })?;
    match failed {
        Some(error) => Err(error),
        None => writer.finish(),
    }
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
}

impl<'a> Writer<'a> {
    fn new(opened: &'a Opened, rows: usize, echo: Option<&str>) -> anyhow::Result<Self> {
        let mut writer = Writer {
            opened,
            out: output::stdout(),
            streams: (0..rows).map(|_| Utf8Stream::new(&opened.tokenizer)).collect(),
            texts: vec![String::new(); rows],
        };
        for row in 0..rows {
            if let Some(prompt) = echo {
                writer.write(row, prompt)?;
            }
        }
        Ok(writer)
    }

    fn token(&mut self, row: usize, id: u32) -> anyhow::Result<Flow> {
        if ends_document(&self.opened.tokenizer, id) {
            return Ok(Flow::Stop);
        }
        let text = self.streams[row].push(id)?;
        self.write(row, &text)?;
        Ok(Flow::Continue)
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
