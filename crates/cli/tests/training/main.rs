//! From source files to a model, with the `kiln` binary: runs, their resumption, and what users do wrong.

mod bad_input;
mod bench;
mod damage;
mod end_to_end;
mod full_disk;
mod init_from;
mod interrupted;
#[path = "../cli/kiln.rs"]
mod kiln;
mod model_options;
mod option_runs;
mod plan;
mod project;
mod quickstart;
mod streaming;
