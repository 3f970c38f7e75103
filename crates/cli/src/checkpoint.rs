//! Opening the checkpoint that a command names.

use std::path::Path;

use kiln_tokenizer::Tokenizer;
use kiln_train::checkpoint::{Checkpoint, load};
use kiln_train::config::RunConfig;
use kiln_train::run_folder;

use crate::output::Console;

/// A verified checkpoint with what it says of itself.
pub struct Opened {
    pub checkpoint: Checkpoint,
    pub config: RunConfig,
    pub tokenizer: Tokenizer,
}

/// Opens `RUN` (its newest checkpoint that is not damaged) or `RUN/step-N`; what is odd about it is told.
pub fn open(path: &Path, console: &Console) -> anyhow::Result<Opened> {
    let loaded = load(path)?;
    for damaged in &loaded.damaged {
        console.warn(format_args!("{}: {}", damaged.path.display(), damaged.error));
    }
    let checkpoint = loaded.checkpoint;
    let (config, unknown) = run_folder::read_config(&checkpoint)?;
    for key in unknown {
        console.warn(format_args!("unknown configuration key {key} in {}", checkpoint.dir().display()));
    }
    config.model.validate()?;
    let tokenizer = run_folder::load_tokenizer(&checkpoint)?;
    Ok(Opened { checkpoint, config, tokenizer })
}
