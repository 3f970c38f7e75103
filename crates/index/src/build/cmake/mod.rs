//! What `CMakeLists.txt` says about definitions, folders and language standards, without running anything of it.
//!
//! A tolerant evaluator of the CMake language for a Linux machine with gcc: variables, conditions, loops, functions and
//! the commands that say how to compile. Checks for headers, symbols and snippets are answered by looking and parsing.
//! Commands that it does not know do nothing.

mod checks;
mod condition;
mod configure;
mod evaluate;
mod flow;
mod generator;
mod lists;
mod pattern;
mod probe;
mod syntax;
mod targets;
#[cfg(test)]
mod tests;

pub(super) use evaluate::evaluate;
#[cfg(test)]
use probe::Probe;
pub(super) use probe::SystemProbe;
pub(super) use targets::{FileSettings, Settings};
