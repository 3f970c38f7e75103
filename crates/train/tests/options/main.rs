//! What must hold of every option of a model, and of all of them together.

mod cached;
mod causality;
#[path = "../common/mod.rs"]
mod common;
mod mixing;
mod models;
mod recomputed;
mod speculation;
