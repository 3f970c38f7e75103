//! A model's weights from disk.

use std::path::Path;

use crate::{ModelConfig, Parameter, SafetensorsFile, WeightsError};

/// Reads the weights of a model, one parameter at a time in the order of [`ModelConfig::parameters`], and hands each to
/// `receive`. bf16 and f16 are converted.
///
/// # Errors
/// When the file cannot be read, is damaged, or does not hold exactly this model's parameters (all of the differences are
/// named), or the first error of `receive`.
pub fn load<E: From<WeightsError>>(
    path: &Path,
    config: &ModelConfig,
    receive: impl FnMut(&Parameter, &[f32]) -> Result<(), E>,
) -> Result<(), E> {
    load_parameters(path, &config.parameters(), receive)
}

/// [`load`] with the parameters already at hand.
///
/// # Errors
/// As of [`load`].
pub fn load_parameters<E: From<WeightsError>>(
    path: &Path,
    parameters: &[Parameter],
    mut receive: impl FnMut(&Parameter, &[f32]) -> Result<(), E>,
) -> Result<(), E> {
    let mut file = SafetensorsFile::open(path)?;
    file.expect(parameters.iter().map(|p| (p.name.as_str(), p.shape.as_slice())))?;
    let mut values = Vec::new();
    for parameter in parameters {
        file.read(&parameter.name, &mut values)?;
        receive(parameter, &values)?;
    }
    Ok(())
}
