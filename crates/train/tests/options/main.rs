//! What must hold of every option of a model, and of all of them together.

mod cached;
mod causality;
mod mixing;
mod models;
mod recomputed;
mod speculation;
