//! The element type that products read, and the copies of parameters that it asks for.

use std::fmt;
use std::str::FromStr;

use kiln_graph::{DType, TensorType};
use serde::{Deserialize, Serialize};

use crate::{ConfigError, ModelConfig, Parameter, ParameterKind};

/// Element type of what products, attention and the loss read. The residual stream, statistics, losses, parameters and
/// their gradients are f32 with either.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compute {
    /// 32-bit floats.
    #[default]
    F32,
    /// bf16, summed up in f32. Weights are read from copies, which must be made anew whenever a parameter changes.
    Bf16,
}

impl Compute {
    /// As an element type.
    pub fn dtype(self) -> DType {
        match self {
            Compute::F32 => DType::F32,
            Compute::Bf16 => DType::Bf16,
        }
    }
}

impl fmt::Display for Compute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.dtype().fmt(f)
    }
}

impl FromStr for Compute {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, ConfigError> {
        match name {
            "f32" => Ok(Compute::F32),
            "bf16" => Ok(Compute::Bf16),
            _ => Err(ConfigError::UnknownCompute { name: name.to_owned() }),
        }
    }
}

/// Name of the variable that holds the bf16 copy of a parameter.
pub fn compute_copy_name(parameter: &str) -> String {
    format!("bf16.{parameter}")
}

impl Parameter {
    /// Whether products read it, from a copy where they compute in bf16. Tables are looked up, and the gates inside blocks
    /// are too small to matter.
    pub fn has_compute_copy(&self) -> bool {
        let matrix = self.kind.is_matrix() && !self.name.ends_with(".ve_gate.weight");
        matrix || self.kind == ParameterKind::Unembedding
    }

    /// Name and type of the variable that graphs of that type read for this parameter.
    pub fn variable(&self, compute: Compute) -> (String, TensorType) {
        if compute == Compute::Bf16 && self.has_compute_copy() {
            (compute_copy_name(&self.name), self.tensor_type().with_dtype(DType::Bf16))
        } else {
            (self.name.clone(), self.tensor_type())
        }
    }
}

impl ModelConfig {
    /// The parameters whose copies graphs of that type read in their place: none with f32.
    pub fn compute_copies(&self, compute: Compute) -> Vec<Parameter> {
        let mut parameters = self.parameters();
        parameters.retain(|p| compute == Compute::Bf16 && p.has_compute_copy());
        parameters
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Preset;

    #[test]
    fn weights_have_copies_and_tables_scalars_and_gates_have_none() {
        let mut config = ModelConfig { n_layer: 2, ..ModelConfig::default() };
        config.apply_preset(Preset::Modern);
        assert!(config.compute_copies(Compute::F32).is_empty());
        let copies = config.compute_copies(Compute::Bf16);
        assert_eq!(copies.len(), 1 + 2 * 6);
        assert!(copies.iter().all(|p| p.shape.len() == 2 && p.shape[1] >= 384));
        assert!(copies.iter().any(|p| p.name == "lm_head.weight"));
        assert!(copies.iter().all(|p| !p.name.contains("embed") && !p.name.contains("wte")));
    }

    #[test]
    fn a_copy_has_the_shape_of_its_parameter() {
        let config = ModelConfig::default();
        for parameter in config.parameters() {
            assert_eq!(
                parameter.variable(Compute::F32),
                (parameter.name.clone(), parameter.tensor_type())
            );
            let (name, ty) = parameter.variable(Compute::Bf16);
            assert_eq!(ty.shape().dims(), parameter.shape);
            assert_eq!(name.starts_with("bf16."), parameter.has_compute_copy());
            assert_eq!(ty.dtype() == DType::Bf16, parameter.has_compute_copy());
        }
    }

    #[test]
    fn types_have_the_names_of_the_command_line() {
        for compute in [Compute::F32, Compute::Bf16] {
            assert_eq!(compute.to_string().parse::<Compute>().unwrap(), compute);
        }
        let message = "f8".parse::<Compute>().unwrap_err().to_string();
        assert!(message.contains("f8") && message.contains("bf16"), "{message}");
    }
}
