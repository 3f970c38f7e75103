//! The exact parser: libclang, over every translation unit of a project.
//!
//! Units with the same flags share one precompiled header of the system headers that they include, which is where most
//! of a unit's time goes, and are parsed by several threads. Each unit yields definitions and calls keyed by USR; their
//! union is the project, so the result does not depend on which thread was first.

mod files;
mod merge;
mod prefix;
mod reach;
mod resolve;
mod rest;
mod run;
mod symbols;
mod visit;

pub(crate) use run::parse;
