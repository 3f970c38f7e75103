//! The options of a run: as flags, as keys of a TOML file, and resolved.

mod checks;
mod model;
mod numbers;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use kiln_model::{Compute, ModelConfig};
use kiln_optim::{MuonMethod, Settings};
use kiln_train::config::{Horizon, RunConfig, TrainSettings};
use kiln_train::data_set::{DataSet, one_or_more};
use serde::{Deserialize, Deserializer};

use crate::args::parse_share;
use crate::error::{Advised, wrong_usage};
use checks::positive;
pub use model::notice;
pub use numbers::Numbers;

/// Element type of products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit floats
    F32,
    /// 16-bit floats, summed up in f32; parameters stay f32
    Bf16,
}

impl From<Dtype> for Compute {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F32 => Compute::F32,
            Dtype::Bf16 => Compute::Bf16,
        }
    }
}

/// Declares the options once: as clap groups, as TOML keys (the flags' names with `_`), and how one set lies over another.
macro_rules! options {
    (
        first { $($(#[$meta:meta])* $name:ident: $ty:ty,)* }
        model { $($(#[$model_meta:meta])* $model_name:ident: $model_ty:ty,)* }
        rest { $($(#[$rest_meta:meta])* $rest_name:ident: $rest_ty:ty,)* }
    ) => {
        /// Every option of a run; none is given unless the user gave it.
        #[derive(Args, Clone, Debug, Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct RunOptions {
            $($(#[$meta])* #[arg(allow_negative_numbers = true)] pub $name: Option<$ty>,)*
            $($(#[$model_meta])* #[arg(allow_negative_numbers = true)]
              pub $model_name: Option<$model_ty>,)*
            $($(#[$rest_meta])* #[arg(allow_negative_numbers = true)]
              pub $rest_name: Option<$rest_ty>,)*
        }

        impl RunOptions {
            /// These options, and those of `base` where these say nothing.
            pub fn over(self, base: RunOptions) -> RunOptions {
                RunOptions {
                    $($name: self.$name.or(base.$name),)*
                    $($model_name: self.$model_name.or(base.$model_name),)*
                    $($rest_name: self.$rest_name.or(base.$rest_name),)*
                }
            }
        }

        /// The options of a model alone, for commands that train nothing.
        #[derive(Args, Clone, Debug, Default)]
        pub struct ModelOptions {
            $($(#[$model_meta])* #[arg(allow_negative_numbers = true)]
              pub $model_name: Option<$model_ty>,)*
        }

        impl From<ModelOptions> for RunOptions {
            fn from(model: ModelOptions) -> RunOptions {
                RunOptions { $($model_name: model.$model_name,)* ..RunOptions::default() }
            }
        }
    };
}

options! {
    first {
        /// Documents: a .jsonl, .jsonl.zst or .parquet file, or a folder of them (those called validation, or else the
        /// last, are for validation). Several are mixed by weight, their share of the tokens: --data a=0.7 b=0.3; without
        /// weights, by size
        #[arg(long, value_name = "PATH[=WEIGHT]", num_args = 1.., help_heading = "Data")]
        #[serde(deserialize_with = "some_data_sets")]
        data: Vec<DataSet>,
        /// Folder of the tokenizer
        #[arg(long, value_name = "DIR", help_heading = "Data")]
        tokenizer: PathBuf,
        /// Field or column of the documents that holds the text [default: text]
        #[arg(long, value_name = "NAME", help_heading = "Data")]
        field: String,
        /// Share of the documents held out, where the data are one file, or a stream without a validation file
        /// [default: 0.05]
        #[arg(long, value_name = "X", value_parser = parse_share, help_heading = "Data")]
        validation_share: f64,
        /// Fail at the first line that is no document and the first file that cannot be read
        #[arg(long, num_args = 0..=1, default_missing_value = "true", help_heading = "Data")]
        strict: bool,
        /// Files are still being added to the folders of --data: train on them as they come, in the order of their names,
        /// until _COMPLETE is there
        #[arg(long, num_args = 0..=1, default_missing_value = "true", help_heading = "Data")]
        stream: bool,
        /// Seconds without a change in such a folder after which to give up [default: 600]
        #[arg(long, value_name = "SECONDS", help_heading = "Data")]
        stream_patience: u64,
        /// Documented functions with the fields docstring, signature and body, such as `kiln corpus pairs` writes: the
        /// model learns to write the body
        #[arg(long, value_name = "PATH", help_heading = "Fill-in-the-middle (tokenizers of kind cpp)")]
        pairs: PathBuf,
        /// Their share of the tokens [default: 0.1]
        #[arg(long, value_name = "X", help_heading = "Fill-in-the-middle (tokenizers of kind cpp)")]
        pairs_share: f64,
        /// Share of the documents whose parts are rearranged to prefix, suffix, middle; those longer than a row piece by
        /// piece [default: 0]
        #[arg(long, value_name = "X", help_heading = "Fill-in-the-middle (tokenizers of kind cpp)")]
        fim_rate: f64,
        /// Share of these in which the suffix comes first [default: 0.5]
        #[arg(long, value_name = "X", help_heading = "Fill-in-the-middle (tokenizers of kind cpp)")]
        fim_spm_rate: f64,
        /// Share of these whose middle is the body of a function, where the document has one; else it is cut at random
        /// [default: 0]
        #[arg(long, value_name = "X", help_heading = "Fill-in-the-middle (tokenizers of kind cpp)")]
        fim_body_rate: f64,
    }
    model {
        /// Layers; width, heads and rates follow from it [default: 4]
        #[arg(long, value_name = "N", help_heading = "Model")]
        depth: usize,
        /// Width per layer [default: 64]
        #[arg(long, value_name = "N", help_heading = "Model")]
        aspect_ratio: usize,
        /// Head size to come near to [default: 128]
        #[arg(long, value_name = "N", help_heading = "Model")]
        head_dim: usize,
        /// Width, in place of depth x aspect ratio
        #[arg(long, value_name = "N", help_heading = "Model")]
        n_embd: usize,
        /// Query heads, in place of what the head size gives
        #[arg(long, value_name = "N", help_heading = "Model")]
        n_head: usize,
        /// Key/value heads, a divisor of the query heads [default: as many]
        #[arg(long, value_name = "N", help_heading = "Model")]
        n_kv_head: usize,
        /// classic: the plain GPT; modern: with value embeddings, smear, backout, sharper attention; engram: modern and
        /// --engram [default: engram]
        #[arg(long, value_name = "NAME", value_parser = model::PRESETS, help_heading = "Model")]
        preset: String,
        /// Tokens per row, T [default: 512]
        #[arg(long, value_name = "T", help_heading = "Model")]
        seq_len: usize,
        /// Windows of the layers, repeated: L the whole row, S a short one; the last layer is always L [default: L]
        #[arg(long, value_name = "LETTERS", help_heading = "Model")]
        window_pattern: String,
        /// Positions that a short window reaches back [default: a quarter of T; half of it in classic]
        #[arg(long, value_name = "W", help_heading = "Model", value_parser = clap::value_parser!(u32).range(1..))]
        short_window: u32,
        /// Base of the rotary angles [default: of the preset]
        #[arg(long, value_name = "X", help_heading = "Model")]
        rope_base: f32,
        /// Factor of queries and keys after their norm [default: of the preset]
        #[arg(long, value_name = "X", help_heading = "Model")]
        qk_scale: f32,
        /// Value embeddings on every other layer [default: of the preset]
        #[arg(long, num_args = 0..=1, default_missing_value = "true", help_heading = "Model")]
        value_embeds: bool,
        /// Mix each embedding with the one before [default: of the preset]
        #[arg(long, num_args = 0..=1, default_missing_value = "true", help_heading = "Model")]
        smear: bool,
        /// Take a middle layer's state off the last one [default: of the preset]
        #[arg(long, num_args = 0..=1, default_missing_value = "true", help_heading = "Model")]
        backout: bool,
        /// Compute each block's activations again in the backward pass: less memory for a third more products
        /// [default: false]
        #[arg(long, num_args = 0..=1, default_missing_value = "true", help_heading = "Model")]
        checkpoint_blocks: bool,
        /// Element type of products [default: bf16 where the machine multiplies it by itself, else f32]
        #[arg(long, value_enum, help_heading = "Model")]
        dtype: Dtype,
        /// Add a branch that remembers the last few tokens to some layers [default: of the preset]
        #[arg(long, num_args = 0..=1, default_missing_value = "true", help_heading = "Engram")]
        engram: bool,
        /// These layers, counted from 0, or from the end with -1 for the last [default: 0,-1]
        #[arg(long, value_name = "LIST", allow_hyphen_values = true, help_heading = "Engram")]
        engram_layers: Numbers,
        /// How many of the latest positions each of its means takes [default: 2,3,4]
        #[arg(long, value_name = "LIST", allow_hyphen_values = true, help_heading = "Engram")]
        engram_orders: Numbers,
        /// Its width [default: a quarter of the model's]
        #[arg(long, value_name = "N", help_heading = "Engram")]
        engram_bottleneck: usize,
        /// Share of its outputs that training drops [default: 0]
        #[arg(long, value_name = "X", help_heading = "Engram")]
        engram_dropout: f32,
        /// Make each layer's output a learned mixture of its branches: the output, the input, an Engram [default: false]
        #[arg(long, num_args = 0..=1, default_missing_value = "true", help_heading = "Branch mixing (mHC)")]
        mhc: bool,
        /// Iterations that make the mixture doubly stochastic [default: 5]
        #[arg(long, value_name = "N", help_heading = "Branch mixing (mHC)")]
        mhc_iters: usize,
        /// Divisor of the scores between branches [default: 1]
        #[arg(long, value_name = "X", help_heading = "Branch mixing (mHC)")]
        mhc_temperature: f32,
        /// Least entry that the iterations begin with [default: 1e-6]
        #[arg(long, value_name = "X", help_heading = "Branch mixing (mHC)")]
        mhc_epsilon: f32,
        /// How much of the mixture becomes the output, from 0 to 1; what is beyond counts as the bound [default: 1]
        #[arg(long, value_name = "X", help_heading = "Branch mixing (mHC)")]
        mhc_alpha: f32,
        /// Learn to predict the token after the next with a further block, which inference leaves out [default: false]
        #[arg(long, num_args = 0..=1, default_missing_value = "true", help_heading = "Multi-token prediction (MTP)")]
        mtp: bool,
        /// Weight of that loss [default: 0.3]
        #[arg(long, value_name = "X", help_heading = "Multi-token prediction (MTP)")]
        mtp_lambda: f32,
        /// Attend to the latest keys and to the earlier ones that an indexer selects [default: false]
        #[arg(long, num_args = 0..=1, default_missing_value = "true", help_heading = "Sparse attention (DSA)")]
        dsa: bool,
        /// First layer that does, counted from 0 [default: 7]
        #[arg(long, value_name = "N", help_heading = "Sparse attention (DSA)")]
        dsa_start_layer: usize,
        /// Share of T that each query attends to, if that is more than the local keys [default: 0.5]
        #[arg(long, value_name = "X", help_heading = "Sparse attention (DSA)")]
        dsa_ratio: f32,
        /// Latest keys that are always among them, the query's own included [default: 128]
        #[arg(long, value_name = "N", help_heading = "Sparse attention (DSA)")]
        dsa_local: usize,
        /// Heads of the indexer [default: 16]
        #[arg(long, value_name = "N", help_heading = "Sparse attention (DSA)")]
        dsa_indexer_heads: usize,
        /// Their size [default: 32]
        #[arg(long, value_name = "N", help_heading = "Sparse attention (DSA)")]
        dsa_indexer_dim: usize,
    }

    rest {
        /// Begin with the parameters of a checkpoint, RUN or RUN/step-N: those of the same name are taken, new ones begin as
        /// the seed says. Its model is what flags of this group then change, and its tokenizer the default
        #[arg(long, value_name = "CKPT", help_heading = "Model")]
        init_from: PathBuf,
        /// Rows per micro-batch, B [default: 8]
        #[arg(long, value_name = "B", help_heading = "Batches and length")]
        device_batch_size: usize,
        /// Tokens per optimizer step, a multiple of B x T [default: 16384, or B x T if more]
        #[arg(long, value_name = "TOKENS", help_heading = "Batches and length")]
        total_batch_size: usize,
        /// Number of optimizer steps
        #[arg(long, value_name = "N", help_heading = "Batches and length")]
        num_iterations: u64,
        /// Spend so many floating-point operations
        #[arg(long, value_name = "F", help_heading = "Batches and length")]
        target_flops: f64,
        /// Train on so many tokens per parameter [default: 8]
        #[arg(long, value_name = "R", help_heading = "Batches and length")]
        target_param_data_ratio: f64,
        /// Train for about so many minutes
        #[arg(long, value_name = "M", help_heading = "Batches and length")]
        minutes: f64,

        /// Steps between evaluations; 0: at the end only [default: 250]
        #[arg(long, value_name = "N", help_heading = "Loop")]
        eval_every: u64,
        /// Most held-out tokens of an evaluation [default: 262144]
        #[arg(long, value_name = "N", help_heading = "Loop")]
        eval_tokens: u64,
        /// Steps between checkpoints; 0: at the end only [default: 250]
        #[arg(long, value_name = "N", help_heading = "Loop")]
        save_every: u64,
        /// Checkpoints that are kept; 0: all [default: 3]
        #[arg(long, value_name = "K", help_heading = "Loop")]
        keep: usize,
        /// Steps between samples; 0: none [default: 0]
        #[arg(long, value_name = "N", help_heading = "Loop")]
        sample_every: u64,
        /// Seed of initial values and of the documents' order [default: 0]
        #[arg(long, value_name = "S", help_heading = "Loop")]
        seed: u64,

        /// Muon's rate [default: 0.02]
        #[arg(long, value_name = "X", help_heading = "Optimizer")]
        matrix_lr: f64,
        /// AdamW's rate of the token embedding [default: 0.3]
        #[arg(long, value_name = "X", help_heading = "Optimizer")]
        embedding_lr: f64,
        /// AdamW's rate of the output layer [default: 0.004]
        #[arg(long, value_name = "X", help_heading = "Optimizer")]
        unembedding_lr: f64,
        /// Muon's weight decay [default: 0.2]
        #[arg(long, value_name = "X", help_heading = "Optimizer")]
        weight_decay: f64,
        /// How Muon orthogonalises: polar-express or newton-schulz [default: polar-express]
        #[arg(long, value_name = "NAME", value_parser = ["polar-express", "newton-schulz"], help_heading = "Optimizer")]
        muon: String,
        /// Iterations of it [default: 5]
        #[arg(long, value_name = "N", help_heading = "Optimizer")]
        muon_steps: usize,
        /// Orthogonalise each attention head on its own
        #[arg(long, num_args = 0..=1, default_missing_value = "true", help_heading = "Optimizer")]
        muon_per_head: bool,
        /// Share of the steps in which rates rise [default: 0]
        #[arg(long, value_name = "X", help_heading = "Optimizer")]
        warmup_ratio: f64,
        /// Share of the steps in which rates fall [default: 0.4]
        #[arg(long, value_name = "X", help_heading = "Optimizer")]
        warmdown_ratio: f64,
        /// What is left of the rates at the end [default: 0]
        #[arg(long, value_name = "X", help_heading = "Optimizer")]
        final_lr_frac: f64,
    }
}

impl RunOptions {
    /// Reads a TOML file whose keys are the flags' names with `_` in place of `-`.
    pub fn from_file(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| {
            anyhow::Error::new(e).context(format!("cannot read {}", path.display()))
        })?;
        toml::from_str(&text).map_err(|e| {
            let line = e.span().map_or(0, |span| text[..span.start].matches('\n').count() + 1);
            // The list of all keys is what --help shows, with a word on each.
            let what = e.message().split(", expected one of").next().unwrap_or_default();
            Advised::new(
                format!("{}:{line}: {what}", path.display()),
                "keys are the flags of `kiln train --help` with _ in place of -, such as total_batch_size = 16384",
            )
            .into()
        })
    }

    fn optim(&self) -> anyhow::Result<Settings> {
        let mut settings = Settings::default();
        set(&mut settings.matrix_lr, self.matrix_lr);
        set(&mut settings.embedding_lr, self.embedding_lr);
        set(&mut settings.unembedding_lr, self.unembedding_lr);
        set(&mut settings.weight_decay, self.weight_decay);
        if let Some(name) = &self.muon {
            settings.muon = name.parse::<MuonMethod>()?;
        }
        set(&mut settings.muon_steps, self.muon_steps);
        set(&mut settings.muon_per_head, self.muon_per_head);
        set(&mut settings.warmup_ratio, self.warmup_ratio);
        set(&mut settings.warmdown_ratio, self.warmdown_ratio);
        set(&mut settings.final_lr_frac, self.final_lr_frac);
        settings.validate()?;
        Ok(settings)
    }

    /// The first of the horizons that is set; time comes last.
    fn horizon(&self) -> Horizon {
        if let Some(n) = self.num_iterations {
            Horizon::Iterations(n)
        } else if let Some(flops) = self.target_flops {
            Horizon::Flops(flops)
        } else if let Some(ratio) = self.target_param_data_ratio {
            Horizon::ParamDataRatio(ratio)
        } else {
            self.minutes.map_or_else(Horizon::default, Horizon::Minutes)
        }
    }

    /// The whole run, for a tokenizer of `vocab_size` tokens. Products are f32 unless an option says otherwise: the
    /// machine's own choice is the caller's. What does not fit is wrong usage.
    pub fn resolve(&self, vocab_size: usize) -> anyhow::Result<RunConfig> {
        self.resolve_over(None, vocab_size)
    }

    /// [`resolve`](Self::resolve) with a model that says what options do not.
    pub fn resolve_over(
        &self,
        base: Option<&ModelConfig>,
        vocab_size: usize,
    ) -> anyhow::Result<RunConfig> {
        self.resolve_values(base, vocab_size).map_err(wrong_usage)
    }

    fn resolve_values(
        &self,
        base: Option<&ModelConfig>,
        vocab_size: usize,
    ) -> anyhow::Result<RunConfig> {
        self.check_sizes(vocab_size)?;
        let model = self.model(base, vocab_size)?;
        let mut train = TrainSettings { seq_len: model.sequence_len, ..TrainSettings::default() };
        set(&mut train.data, self.data.clone());
        set(&mut train.field, self.field.clone());
        set(&mut train.validation_share, self.validation_share);
        set(&mut train.strict, self.strict);
        set(&mut train.stream, self.stream);
        set(&mut train.stream_patience, self.stream_patience);
        train.pairs = self.pairs.clone();
        set(&mut train.pairs_share, self.pairs_share);
        set(&mut train.fim.rate, self.fim_rate);
        set(&mut train.fim.spm_rate, self.fim_spm_rate);
        set(&mut train.fim.body_rate, self.fim_body_rate);
        self.check_data(&train)?;
        set(&mut train.tokenizer, self.tokenizer.clone());
        train.init_from = self.init_from.clone();
        set(&mut train.dtype, self.dtype.map(Compute::from));
        set(&mut train.device_batch_size, self.device_batch_size);
        let micro = train.device_batch_size.saturating_mul(train.seq_len);
        train.total_batch_size = self.total_batch_size.unwrap_or(train.total_batch_size.max(micro));
        train.horizon = self.horizon();
        set(&mut train.eval_every, self.eval_every);
        set(&mut train.eval_tokens, self.eval_tokens);
        set(&mut train.save_every, self.save_every);
        set(&mut train.keep, self.keep);
        set(&mut train.sample_every, self.sample_every);
        set(&mut train.seed, self.seed);
        let run = RunConfig { model, optim: self.optim()?, train };
        run.accumulation()?;
        positive("--minutes", self.minutes)?;
        positive("--target-flops", self.target_flops)?;
        positive("--target-param-data-ratio", self.target_param_data_ratio)?;
        positive("--head-dim", self.head_dim.map(|n| n as f64))?;
        positive("--num-iterations", self.num_iterations.map(|n| n as f64))?;
        Ok(run)
    }
}

fn some_data_sets<'de, D: Deserializer<'de>>(data: D) -> Result<Option<Vec<DataSet>>, D::Error> {
    one_or_more(data).map(Some)
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}
