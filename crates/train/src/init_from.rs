//! Runs that begin with the parameters of another run's checkpoint: options are added to a model that has been trained.

use std::collections::BTreeMap;

use kiln_graph::Executor;
use kiln_model::ModelConfig;

use crate::TrainError;
use crate::checkpoint::{Checkpoint, MODEL_FILE};
use crate::config::RunConfig;
use crate::programs::make_compute_copies;

/// Which parameters a model takes from a checkpoint.
#[derive(Clone, Debug)]
pub struct InitFrom {
    checkpoint: Checkpoint,
    taken: Vec<String>,
    new: Vec<String>,
    left: Vec<String>,
}

impl InitFrom {
    /// Compares a model's parameters with a checkpoint's, by name and shape. No value is read yet.
    ///
    /// # Errors
    /// [`TrainError::OtherShapes`] when parameters of the same name have other shapes, or when the file cannot be read.
    pub fn new(checkpoint: Checkpoint, model: &ModelConfig) -> Result<Self, TrainError> {
        let file = checkpoint.tensors(MODEL_FILE)?;
        let mut there: BTreeMap<&str, &[usize]> = file.tensors().collect();
        let (mut taken, mut new, mut differences) = (Vec::new(), Vec::new(), Vec::new());
        for parameter in model.parameters() {
            let (name, here) = (parameter.name, parameter.shape);
            match there.remove(name.as_str()) {
                None => new.push(name),
                Some(shape) if shape == here => taken.push(name),
                Some(shape) => {
                    differences.push(format!("{name} is {shape:?} there, {here:?} here"))
                }
            }
        }
        let left = there.into_keys().map(str::to_owned).collect();
        if !differences.is_empty() {
            let path = checkpoint.dir().to_owned();
            return Err(TrainError::OtherShapes { path, differences });
        }
        Ok(InitFrom { checkpoint, taken, new, left })
    }

    /// The checkpoint.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Names of the parameters that are taken from it, in the model's order.
    pub fn taken(&self) -> &[String] {
        &self.taken
    }

    /// Names of those that it does not have, in the model's order: they begin as the seed says.
    pub fn new_names(&self) -> &[String] {
        &self.new
    }

    /// Names of those that it has and the model has not, sorted.
    pub fn left(&self) -> &[String] {
        &self.left
    }

    /// Gives an executor whose parameters are initialised those that are taken, and makes the copies anew that products
    /// read.
    ///
    /// # Errors
    /// When the file cannot be read, or memory is short.
    pub(crate) fn load_into(
        &self,
        config: &RunConfig,
        executor: &mut dyn Executor,
    ) -> Result<(), TrainError> {
        let mut file = self.checkpoint.tensors(MODEL_FILE)?;
        let mut parameters = config.model.parameters();
        parameters.retain(|parameter| self.taken.contains(&parameter.name));
        let mut values = Vec::new();
        for parameter in parameters {
            file.read(&parameter.name, &mut values)?;
            executor.write(&parameter.name, parameter.tensor_type(), &values)?;
        }
        make_compute_copies(executor, &config.model, config.train.dtype)
    }
}
