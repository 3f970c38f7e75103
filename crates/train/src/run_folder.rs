//! A run on disk: saving it, and finding where it stopped.

use std::path::{Path, PathBuf};

use kiln_graph::{Executor, TensorType};
use kiln_model::{Compute, SafetensorsFile, TensorData};
use kiln_tokenizer::{TOKEN_BYTES_FILE, TOKENIZER_FILE, Tokenizer};

use crate::TrainError;
use crate::checkpoint::{
    self, CONFIG_FILE, Checkpoint, CheckpointWriter, Damaged, MODEL_FILE, OPTIMIZER_FILE,
    STATE_FILE, TOKENIZER_FOLDER, Which,
};
use crate::config::RunConfig;
use crate::horizon::Steps;
use crate::programs::make_compute_copies;
use crate::state::RunState;
use crate::trainer::Trainer;

/// In the run folder of a run bounded by time: how many steps it is to have, as found from its speed.
pub const STEPS_FILE: &str = "steps.json";

/// From where a run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// The newest checkpoint that is not damaged, or the beginning where there is none.
    Auto,
    /// The beginning; an error where the folder holds a run.
    Never,
    /// The checkpoint after so many steps.
    Step(u64),
}

/// A checkpoint to go on from.
pub struct Resumed {
    /// The checkpoint, verified.
    pub checkpoint: Checkpoint,
    /// Its configuration.
    pub config: RunConfig,
    /// Keys of the configuration that this version does not know.
    pub unknown_keys: Vec<String>,
    /// Where the run stood.
    pub state: RunState,
    /// Newer checkpoints that are damaged.
    pub damaged: Vec<Damaged>,
}

/// Finds the checkpoint from which a run goes on; none for a run that begins.
///
/// # Errors
/// When the folder holds a run and none is wanted, when every checkpoint is damaged, or there is none of that step.
pub fn find(run: &Path, resume: Resume) -> Result<Option<Resumed>, TrainError> {
    // A replacement that a killed process left half-done is undone first.
    checkpoint::clean_leftovers(run)?;
    let checkpoints = checkpoint::list(run)?;
    let loaded = match resume {
        Resume::Never | Resume::Auto if checkpoints.is_empty() => return Ok(None),
        Resume::Never => return Err(TrainError::Occupied { path: run.to_owned() }),
        Resume::Auto => checkpoint::load(run)?,
        Resume::Step(step) => checkpoint::load(&checkpoint::find(run, Which::Step(step))?)?,
    };
    open(loaded.checkpoint, loaded.damaged).map(Some)
}

fn open(checkpoint: Checkpoint, damaged: Vec<Damaged>) -> Result<Resumed, TrainError> {
    let (config, unknown_keys) = read_config(&checkpoint)?;
    let mut state: RunState = checkpoint.json(STATE_FILE)?;
    let folder = checkpoint.dir().parent().unwrap_or(Path::new("."));
    // A run bounded by time may have learned its length after the checkpoint: steps after it were made by that.
    if let Some(steps) = read_steps(&folder.join(STEPS_FILE))? {
        state.steps = steps;
    }
    Ok(Resumed { checkpoint, config, unknown_keys, state, damaged })
}

/// The configuration of a checkpoint, and the keys in it that this version does not know.
///
/// # Errors
/// When it cannot be read.
pub fn read_config(checkpoint: &Checkpoint) -> Result<(RunConfig, Vec<String>), TrainError> {
    let value: serde_json::Value = checkpoint.json(CONFIG_FILE)?;
    let config: RunConfig = serde_json::from_value(value.clone())
        .map_err(|source| TrainError::Json { path: checkpoint.path(CONFIG_FILE), source })?;
    let known = serde_json::to_value(&config).expect("configurations have a JSON form");
    let mut unknown = Vec::new();
    unknown_keys("", &value, &known, &mut unknown);
    Ok((config, unknown))
}

fn unknown_keys(
    at: &str,
    found: &serde_json::Value,
    known: &serde_json::Value,
    unknown: &mut Vec<String>,
) {
    let (Some(found), Some(known)) = (found.as_object(), known.as_object()) else { return };
    for (key, value) in found {
        let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        match known.get(key) {
            Some(known) => unknown_keys(&path, value, known, unknown),
            None => unknown.push(path),
        }
    }
}

impl Resumed {
    /// Gives an executor the parameters and the optimizer's state.
    ///
    /// # Errors
    /// When a file does not hold what the configuration says.
    pub fn load_into(&self, executor: &mut dyn Executor) -> Result<(), TrainError> {
        load_model(&self.checkpoint, &self.config, self.config.train.dtype, executor)?;
        let path = self.checkpoint.path(OPTIMIZER_FILE);
        let mut file = SafetensorsFile::open(&path)?;
        let wanted = optimizer_variables(&self.config)?;
        file.expect(wanted.iter().map(|(name, _, dims)| (name.as_str(), dims.as_slice())))?;
        let mut values = Vec::new();
        for (name, ty, _) in &wanted {
            file.read(name, &mut values)?;
            executor.write(name, *ty, &values)?;
        }
        Ok(())
    }
}

/// Gives an executor a checkpoint's parameters, and the copies of them that graphs computing in type `compute` read.
///
/// # Errors
/// When the file does not hold what the configuration says.
pub fn load_model(
    checkpoint: &Checkpoint,
    config: &RunConfig,
    compute: Compute,
    executor: &mut dyn Executor,
) -> Result<(), TrainError> {
    let path = checkpoint.path(MODEL_FILE);
    kiln_model::load(&path, &config.model, |parameter, values| {
        executor.write(&parameter.name, parameter.tensor_type(), values).map_err(TrainError::from)
    })?;
    make_compute_copies(executor, &config.model, compute)
}

/// The tokenizer that a checkpoint carries.
///
/// # Errors
/// When it cannot be read.
pub fn load_tokenizer(checkpoint: &Checkpoint) -> Result<Tokenizer, TrainError> {
    Ok(Tokenizer::load(checkpoint.path(TOKENIZER_FOLDER))?)
}

/// Names, types and extents of the optimizer's state.
fn optimizer_variables(
    config: &RunConfig,
) -> Result<Vec<(String, TensorType, Vec<usize>)>, TrainError> {
    let graph = crate::programs::optimizer_step_graph(config)?;
    let variables = graph.variables().iter().filter(|v| is_optimizer_state(&v.name));
    Ok(variables
        .map(|v| {
            let ty = graph.tensor_type(v.value);
            (v.name.clone(), ty, ty.shape().dims().to_vec())
        })
        .collect())
}

fn is_optimizer_state(name: &str) -> bool {
    name.starts_with("adamw.") || name.starts_with("muon.")
}

/// Saves a run as it stands; returns the checkpoint's folder.
///
/// # Errors
/// When a file cannot be written; then the checkpoints that were there still are.
pub(crate) fn save(trainer: &Trainer) -> Result<PathBuf, TrainError> {
    let setup = &trainer.setup;
    let executor = trainer.executor.as_ref();
    let config = &setup.config;
    let parameters: Vec<(String, Vec<usize>)> =
        config.model.parameters().into_iter().map(|p| (p.name, p.shape)).collect();
    let state: Vec<(String, Vec<usize>)> =
        optimizer_variables(config)?.into_iter().map(|(name, _, dims)| (name, dims)).collect();
    let mut writer = CheckpointWriter::create(&setup.out, trainer.state.step)?;
    for (file, variables) in [(MODEL_FILE, &parameters), (OPTIMIZER_FILE, &state)] {
        let tensors = tensors(executor, variables)?;
        writer.tensors(file, &tensors)?;
    }
    writer.json(CONFIG_FILE, config)?;
    writer.json(STATE_FILE, &trainer.state)?;
    for name in [TOKENIZER_FILE, TOKEN_BYTES_FILE] {
        writer.copy(&format!("{TOKENIZER_FOLDER}/{name}"), &setup.tokenizer_folder.join(name))?;
    }
    let path = writer.commit()?;
    if config.train.keep > 0 {
        checkpoint::keep_last(&setup.out, config.train.keep)?;
    }
    Ok(path)
}

fn tensors<'a>(
    executor: &'a dyn Executor,
    variables: &'a [(String, Vec<usize>)],
) -> Result<Vec<TensorData<'a>>, TrainError> {
    let tensor = |(name, shape): &'a (String, Vec<usize>)| {
        Ok(TensorData { name, shape, values: executor.read(name)? })
    };
    variables.iter().map(tensor).collect()
}

/// Keeps the number of steps of a run bounded by time as soon as it is known: steps that follow depend on it.
pub(crate) fn write_steps(run: &Path, steps: &Steps) -> Result<(), TrainError> {
    let path = run.join(STEPS_FILE);
    let json = serde_json::to_vec(steps).expect("numbers have a JSON form");
    crate::durable::write_atomically(&path, &json).map_err(|source| TrainError::Io { path, source })
}

/// Makes a checkpoint the one to resume from: from here on later ones are of another course.
pub(crate) fn make_latest(run: &Path, from: &Checkpoint) -> Result<(), TrainError> {
    match from.step() {
        Some(step) if checkpoint::latest(run).ok().flatten() != Some(step) => {
            Ok(checkpoint::set_latest(run, step)?)
        }
        _ => Ok(()),
    }
}

/// Forgets the number of steps that an earlier run in this folder found: a new one finds its own.
pub(crate) fn remove_steps(run: &Path) -> Result<(), TrainError> {
    let path = run.join(STEPS_FILE);
    match std::fs::remove_file(&path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(TrainError::Io { path, source })
        }
        _ => Ok(()),
    }
}

fn read_steps(path: &Path) -> Result<Option<Steps>, TrainError> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| TrainError::Json { path: path.to_owned(), source }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(TrainError::Io { path: path.to_owned(), source }),
    }
}
