//! The instruction sets that kernels are compiled for, and the choice among them.

use std::fmt;

/// An instruction set that this machine has. Values exist only for sets that were detected, which is what makes
/// calling a kernel compiled for it sound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Isa(Level);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Level {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
}

/// A `KILN_ISA` value that names no instruction set, or one that this machine lacks.
#[derive(Debug, thiserror::Error)]
#[error("KILN_ISA={value}: {why}; this machine has: {available}")]
pub struct IsaError {
    value: String,
    why: &'static str,
    available: String,
}

impl Isa {
    /// The portable path: plain Rust that the compiler vectorises for the target's baseline.
    pub const SCALAR: Isa = Isa(Level::Scalar);

    /// Every set that this machine has, the slowest first.
    pub fn available() -> Vec<Isa> {
        #[allow(unused_mut)]
        let mut sets = vec![Isa::SCALAR];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                sets.push(Isa(Level::Avx2));
            }
            if sets.len() == 2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
            {
                sets.push(Isa(Level::Avx512));
            }
            if sets.len() == 3 && is_x86_feature_detected!("avx512bf16") {
                sets.push(Isa(Level::Avx512Bf16));
            }
        }
        sets
    }

    /// The best set of this machine.
    pub fn detect() -> Isa {
        *Isa::available().last().expect("the portable path is always there")
    }

    /// The set that the environment variable `KILN_ISA` names (`scalar`, `avx2`, `avx512`, `avx512bf16`), else the
    /// best one.
    ///
    /// # Errors
    /// When the variable names a set that does not exist or that this machine lacks.
    pub fn from_env() -> Result<Isa, IsaError> {
        match std::env::var("KILN_ISA") {
            Ok(value) if !value.is_empty() => Isa::parse(&value),
            _ => Ok(Isa::detect()),
        }
    }

    /// Looks a set up by name.
    ///
    /// # Errors
    /// When no set has that name, or this machine lacks it.
    pub fn parse(value: &str) -> Result<Isa, IsaError> {
        let sets = Isa::available();
        if let Some(isa) = sets.iter().find(|isa| isa.name() == value) {
            return Ok(*isa);
        }
        let known = ["scalar", "avx2", "avx512", "avx512bf16"].contains(&value);
        let names: Vec<_> = sets.iter().map(|isa| isa.name()).collect();
        Err(IsaError {
            value: value.to_owned(),
            why: if known { "this machine does not have it" } else { "no such instruction set" },
            available: names.join(", "),
        })
    }

    /// `scalar`, `avx2`, `avx512` or `avx512bf16`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Level::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Bf16 => "avx512bf16",
        }
    }

    /// Whether products of bf16 are faster than those of f32 with this set, because it has an instruction for them.
    pub fn has_bf16(self) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Bf16 => true,
            _ => false,
        }
    }

    pub(crate) fn level(self) -> Level {
        self.0
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_set_is_available_and_unknown_names_are_refused() {
        assert!(Isa::available().contains(&Isa::detect()));
        for isa in Isa::available() {
            assert_eq!(Isa::parse(isa.name()).unwrap(), isa);
        }
        let message = Isa::parse("mmx").unwrap_err().to_string();
        assert!(
            message.contains("no such instruction set") && message.contains("scalar"),
            "{message}"
        );
    }
}
