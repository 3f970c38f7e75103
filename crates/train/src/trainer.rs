//! The training loop.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kiln_data::{DataError, FimCounts, Loader, LoaderOptions, LoaderState, Mixture, Split};
use kiln_graph::{Executor, Feed, ProgramId};
use kiln_optim::Schedules;
use kiln_tokenizer::Tokenizer;

use crate::TrainError;
use crate::config::{Horizon, RunConfig};
use crate::evaluate::Evaluator;
use crate::generate::Generator;
use crate::horizon::Steps;
use crate::init_from::InitFrom;
use crate::metrics::Metrics;
use crate::micro_batch::{Losses, MicroBatches, Step, dropout_key};
use crate::observe::{Event, Observer, StepReport};
use crate::programs::{make_compute_copies, optimizer_step_graph};
use crate::run_folder::{self, Resumed};
use crate::state::RunState;

/// What a run needs apart from its configuration.
pub struct Setup {
    /// The run.
    pub config: RunConfig,
    /// Its documents.
    pub data: Mixture,
    /// Its tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// The folder that the tokenizer was read from. The configuration names where that came from, maybe on another machine.
    pub tokenizer_folder: PathBuf,
    /// Folder of checkpoints and metrics.
    pub out: PathBuf,
    /// Floating-point operations per second that the machine can do, for MFU.
    pub peak_flops: f64,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Steps made in all.
    pub step: u64,
    /// Whether it was the last step, rather than a request to stop.
    pub finished: bool,
    /// Seconds of training over all sittings.
    pub seconds: f64,
    /// The latest evaluation, in bits per byte.
    pub bits_per_byte: Option<f64>,
    /// Loss of the last step of this sitting.
    pub loss: Option<f32>,
}

/// A run under way.
pub struct Trainer {
    pub(crate) setup: Setup,
    pub(crate) executor: Box<dyn Executor>,
    pub(crate) loader: Loader,
    pub(crate) state: RunState,
    micro_batches: MicroBatches,
    optimize: ProgramId,
    evaluator: Option<Evaluator>,
    generator: Option<Generator>,
    accumulation: usize,
    /// Whether an evaluation was due at the step from which the run goes on: its line is not in the metrics any more.
    owes_evaluation: bool,
    metrics: Metrics,
    flops_per_token: f64,
    pace: Pace,
}

/// Speed of the latest steps; the first few of a sitting do not count.
#[derive(Default)]
struct Pace {
    skipped: u64,
    average: Option<f64>,
}

impl Pace {
    /// Weight of the newest step in the average: that of the last ten or so.
    const NEWEST: f64 = 0.1;

    fn add(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        if self.skipped < 2 {
            self.skipped += 1;
        } else {
            let average = self.average.unwrap_or(seconds);
            self.average = Some(average + Self::NEWEST * (seconds - average));
        }
    }

    fn seconds_per_step(&self) -> Option<f64> {
        self.average
    }
}

impl Trainer {
    /// A run from its first step, or from a checkpoint that [`run_folder::find`] found.
    ///
    /// # Errors
    /// When settings do not fit together, data and tokenizer do not fit the model, memory is short, or the checkpoint does
    /// not fit the run.
    pub fn new(
        setup: Setup,
        mut executor: Box<dyn Executor>,
        resumed: Option<Resumed>,
    ) -> Result<Self, TrainError> {
        let config = &setup.config;
        config.model.validate()?;
        let (train, model) = (&config.train, &config.model);
        let accumulation = config.accumulation()?;
        if setup.tokenizer.vocab_size() != model.vocab_size {
            let (tokenizer, model) = (setup.tokenizer.vocab_size(), model.vocab_size);
            return Err(TrainError::Vocabulary { tokenizer, model });
        }
        let mut options = LoaderOptions::new(train.device_batch_size, train.seq_len);
        options.seed = train.seed;
        options.fim = train.fim;
        let encoder: Arc<dyn kiln_data::Encode> = setup.tokenizer.clone();
        let loader = match &resumed {
            Some(at) => Loader::resume(setup.data.clone(), encoder, options, &at.state.loader)?,
            None => Loader::new(setup.data.clone(), encoder, options)?,
        };
        let (rows, tokens) = (train.device_batch_size, train.seq_len);
        let micro_batches =
            MicroBatches::prepare(executor.as_mut(), model, train.dtype, rows, tokens)?;
        let optimize = executor.prepare(&optimizer_step_graph(config)?)?;
        let state = match resumed {
            Some(at) => {
                compare(&at, config)?;
                at.load_into(executor.as_mut())?;
                run_folder::make_latest(&setup.out, &at.checkpoint)?;
                at.state
            }
            None => {
                initialize(executor.as_mut(), config)?;
                run_folder::remove_steps(&setup.out)?;
                fresh_state(config, &loader)?
            }
        };
        let metrics = Metrics::open(&setup.out, state.step)?;
        let owes_evaluation = is_due(train.eval_every, &state);
        let flops_per_token = model.flops_per_token(train.seq_len) as f64;
        Ok(Trainer {
            executor,
            loader,
            state,
            micro_batches,
            optimize,
            evaluator: None,
            generator: None,
            accumulation,
            owes_evaluation,
            metrics,
            flops_per_token,
            pace: Pace::default(),
            setup,
        })
    }

    /// Takes parameters from another run's checkpoint in place of their initial values. It is for a run that has made no
    /// step: its optimizer begins afresh.
    ///
    /// # Errors
    /// When the checkpoint cannot be read.
    ///
    /// # Panics
    /// When the run has made a step.
    pub fn begin_from(&mut self, init: &InitFrom) -> Result<(), TrainError> {
        assert_eq!(self.state.step, 0, "the run is under way");
        init.load_into(&self.setup.config, self.executor.as_mut())
    }

    /// Trains until the last step, or until `stop` is set: then the step at hand is finished and a checkpoint saved.
    ///
    /// # Errors
    /// When data cannot be read, a file not be written, or the loss is no longer a number.
    pub fn run(
        &mut self,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Outcome, TrainError> {
        for warning in self.loader.warnings() {
            observer.event(Event::Warning(warning.clone()));
        }
        observer.event(Event::Started { step: self.state.step, total: self.total() });
        if std::mem::take(&mut self.owes_evaluation) && !stop.load(Ordering::Relaxed) {
            self.evaluate(observer)?;
        }
        let mut loss = None;
        let mut saved = None;
        let settings = self.setup.config.train.clone();
        while !self.state.is_finished() && !stop.load(Ordering::Relaxed) {
            let Some(report) = self.step_or_save(observer, stop)? else { break };
            loss = Some(report.loss);
            observer.event(Event::Step(&report));
            let due = |every| is_due(every, &self.state);
            let (save, evaluate, sample) =
                (due(settings.save_every), due(settings.eval_every), due(settings.sample_every));
            if save {
                self.save(observer)?;
                saved = Some(self.state.step);
            }
            if evaluate {
                self.evaluate(observer)?;
            }
            if sample {
                self.sample(observer)?;
            }
        }
        let finished = self.state.is_finished();
        if saved != Some(self.state.step) && loss.is_some() {
            self.save(observer)?;
        }
        if finished && self.state.evaluation.is_none_or(|(step, _)| step != self.state.step) {
            self.evaluate(observer)?;
        }
        Ok(Outcome { loss, ..self.state.outcome() })
    }

    /// What was rearranged of the documents so far.
    pub fn fim_counts(&self) -> FimCounts {
        self.loader.fim_counts()
    }

    /// Steps of the run, as far as known.
    pub fn total(&self) -> Option<u64> {
        self.state.steps.latest()
    }

    /// One optimizer step; none when it was asked to stop while waiting for files of a stream. What ends a stream is no
    /// reason to lose the steps since the last checkpoint.
    fn step_or_save(
        &mut self,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Option<StepReport>, TrainError> {
        if !self.setup.data.is_stream() {
            return self.step(observer, stop).map(Some);
        }
        // Gradients of micro-batches that were made are overwritten by the first of the next step.
        let before = self.loader.state();
        match self.step(observer, stop) {
            Ok(report) => Ok(Some(report)),
            Err(TrainError::Data(DataError::Stopped)) => {
                self.save_at(before, observer)?;
                Ok(None)
            }
            Err(error @ TrainError::Data(DataError::NoMoreShards { .. }))
                if self.state.step > 0 =>
            {
                self.save_at(before, observer)?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Waits until the loader has a batch, and tells what it waits for.
    fn await_batch(
        loader: &mut Loader,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<(), TrainError> {
        const LOOK: Duration = Duration::from_millis(100);
        loop {
            let ready = loader.wait(LOOK);
            for notice in loader.take_notices() {
                observer.event(Event::Warning(notice));
            }
            if ready {
                return Ok(());
            }
            if loader.waits_for_files() && stop.load(Ordering::Relaxed) {
                return Err(DataError::Stopped.into());
            }
        }
    }

    /// One optimizer step.
    fn step(
        &mut self,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<StepReport, TrainError> {
        let begin = Instant::now();
        let stalled = self.loader.stall_seconds();
        let step = self.state.step;
        let (losses, batch_hash) = self.micro_batches(observer, stop)?;
        let loss = losses.main as f32;
        if !losses.are_finite() {
            return Err(TrainError::Diverged { step, loss });
        }
        let total = self.state.steps.total(step).unwrap_or(UNKNOWN_TOTAL) as usize;
        let config = &self.setup.config;
        let schedules = Schedules::new(&config.optim, total, config.model.n_layer);
        let values = schedules.values(step as usize);
        self.executor.run(self.optimize, &[Feed::F32(&values)])?;
        let time = begin.elapsed();
        self.pace.add(time);
        let seconds = time.as_secs_f64();
        let tokens = self.setup.config.train.total_batch_size as u64;
        self.state.step += 1;
        self.state.tokens += tokens;
        self.state.seconds += seconds;
        if let Some(pace) = self.pace.seconds_per_step()
            && self.state.steps.observe(self.state.step, pace, self.state.seconds)
        {
            run_folder::write_steps(&self.setup.out, &self.state.steps)?;
        }
        let tokens_per_second = tokens as f64 / seconds;
        let report = StepReport {
            step,
            total: self.total(),
            loss,
            mtp_loss: losses.mtp.map(|loss| loss as f32),
            lr_multiplier: schedules.lr_multiplier(step as usize),
            tokens: self.state.tokens,
            tokens_per_second,
            mfu: tokens_per_second * self.flops_per_token / self.setup.peak_flops,
            data_stall: (self.loader.stall_seconds() - stalled) / seconds,
            eta: self.eta(),
        };
        self.metrics.step(&report, &batch_hash)?;
        Ok(report)
    }

    fn eta(&self) -> Option<Duration> {
        let left = self.total()?.saturating_sub(self.state.step);
        Some(Duration::from_secs_f64(self.pace.seconds_per_step()? * left as f64))
    }

    /// Runs the step's micro-batches; returns their mean losses and a hash of their token ids.
    fn micro_batches(
        &mut self,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<(Losses, String), TrainError> {
        let mut sum = Losses::default();
        let mut hash = blake3::Hasher::new();
        for micro in 0..self.accumulation {
            Self::await_batch(&mut self.loader, observer, stop)?;
            let batch = self.loader.next_batch()?;
            batch.ids.iter().chain(&batch.targets).for_each(|id| {
                hash.update(&id.to_le_bytes());
            });
            let number = self.state.step * self.accumulation as u64 + micro as u64;
            let step = Step {
                keep: if micro == 0 { 0.0 } else { 1.0 },
                loss_scale: 1.0 / self.accumulation as f32,
                key: dropout_key(self.setup.config.train.seed, number),
            };
            let tokens = (&batch.ids[..], &batch.targets[..]);
            sum.add(self.micro_batches.run(self.executor.as_mut(), tokens, step)?);
        }
        let hash = hash.finalize().to_hex();
        Ok((sum.mean(self.accumulation), hash[..16].to_owned()))
    }

    fn save(&mut self, observer: &mut dyn Observer) -> Result<(), TrainError> {
        self.save_at(self.loader.state(), observer)
    }

    /// Saves a checkpoint from which the data go on at `loader`.
    fn save_at(
        &mut self,
        loader: LoaderState,
        observer: &mut dyn Observer,
    ) -> Result<(), TrainError> {
        self.state.loader = loader;
        self.metrics.sync()?;
        let path = run_folder::save(self)?;
        observer.event(Event::Saved { step: self.state.step, path });
        Ok(())
    }

    /// Evaluates the model; without held-out documents (opening the data warned of it) there is nothing to do.
    fn evaluate(&mut self, observer: &mut dyn Observer) -> Result<(), TrainError> {
        if self.setup.data.is_empty(Split::Validation) {
            return Ok(());
        }
        let settings = &self.setup.config.train;
        let executor = self.executor.as_mut();
        let evaluator = match self.evaluator.take() {
            Some(evaluator) => evaluator,
            None => Evaluator::new(
                executor,
                &self.setup.config.model,
                settings.dtype,
                settings.device_batch_size,
                settings.seq_len,
            )?,
        };
        let (data, tokenizer) = (&self.setup.data, &self.setup.tokenizer);
        let result = evaluator.run(executor, data, tokenizer, settings.eval_tokens)?;
        self.evaluator = Some(evaluator);
        self.state.evaluation = Some((self.state.step, result.bits_per_byte));
        self.metrics.evaluation(self.state.step, result.bits_per_byte, self.state.seconds)?;
        observer.event(Event::Evaluated {
            step: self.state.step,
            bits_per_byte: result.bits_per_byte,
            tokens: result.tokens,
        });
        Ok(())
    }

    fn sample(&mut self, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let (config, dtype) = (&self.setup.config.model, self.setup.config.train.dtype);
        let executor = self.executor.as_mut();
        let mut generator = match self.generator.take() {
            Some(generator) => generator,
            None => Generator::new(executor, config, dtype, 1, config.sequence_len)?,
        };
        let text = crate::sample_text::write(
            &mut generator,
            executor,
            &self.setup.tokenizer,
            self.state.step,
        )?;
        self.generator = Some(generator);
        observer.event(Event::Sampled { step: self.state.step, text: &text });
        Ok(())
    }

    /// The executor with the run's parameters.
    pub fn executor(&mut self) -> &mut dyn Executor {
        self.executor.as_mut()
    }
}

/// Number of steps by which a run bounded by time goes before it knows its own: the first few steps are far from where
/// the schedules bend.
const UNKNOWN_TOTAL: u64 = 1000;

/// Whether something done every so many steps is due after the steps made so far; after the last one all is done anyway.
fn is_due(every: u64, state: &RunState) -> bool {
    every > 0 && state.step > 0 && state.step.is_multiple_of(every) && !state.is_finished()
}

/// Checks that a checkpoint is of this run: its model, its optimizer, its batches.
fn compare(at: &Resumed, config: &RunConfig) -> Result<(), TrainError> {
    let json = |c: &RunConfig| {
        let mut value = serde_json::to_value(c).expect("configurations have a JSON form");
        // What may change from sitting to sitting.
        let train = value["train"].as_object_mut().expect("an object");
        for key in [
            "data",
            "tokenizer",
            "init_from",
            "eval_every",
            "eval_tokens",
            "save_every",
            "keep",
            "sample_every",
            "strict",
            "pairs",
            "stream_patience",
        ] {
            train.remove(key);
        }
        // Computing again what was not kept yields the same bits.
        value["model"].as_object_mut().expect("an object").remove("checkpoint_blocks");
        value
    };
    let mut differences = Vec::new();
    let (there, here) = (json(&at.config), json(config));
    for section in ["model", "optim", "train"] {
        let (Some(there), Some(here)) = (there[section].as_object(), here[section].as_object())
        else {
            continue;
        };
        let changed = here.iter().filter(|(key, value)| there.get(*key) != Some(value));
        differences.extend(changed.map(|(key, value)| {
            format!("{key}: {} -> {value}", there.get(key).unwrap_or(&serde_json::Value::Null))
        }));
    }
    if differences.is_empty() {
        return Ok(());
    }
    Err(TrainError::OtherRun { path: at.checkpoint.dir().to_owned(), differences })
}

fn initialize(executor: &mut dyn Executor, config: &RunConfig) -> Result<(), TrainError> {
    kiln_model::initialize(&config.model, config.train.seed, |parameter, values| {
        executor.write(&parameter.name, parameter.tensor_type(), values).map_err(TrainError::from)
    })?;
    make_compute_copies(executor, &config.model, config.train.dtype)
}

fn fresh_state(config: &RunConfig, loader: &Loader) -> Result<RunState, TrainError> {
    let steps = match config.train.horizon {
        Horizon::Minutes(minutes) => Steps::timed(60.0 * minutes),
        _ => Steps::fixed(config.iterations()?.unwrap_or_default()),
    };
    Ok(RunState {
        step: 0,
        tokens: 0,
        seconds: 0.0,
        steps,
        loader: loader.state(),
        evaluation: None,
    })
}
