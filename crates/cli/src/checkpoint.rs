//! Opening the checkpoint that a command names.

use std::path::Path;

use kiln_tokenizer::Tokenizer;
use kiln_train::TrainError;
use kiln_train::checkpoint::{CONFIG_FILE, Checkpoint, Damaged, load};
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
    let checkpoint = loaded.checkpoint;
    let (config, unknown) = run_folder::read_config(&checkpoint)?;
    tell(&checkpoint, &loaded.damaged, &unknown, console);
    let unfit = |e| anyhow::anyhow!("{}: {e}", checkpoint.path(CONFIG_FILE).display());
    config.model.validate().map_err(unfit)?;
    let tokenizer = run_folder::load_tokenizer(&checkpoint)?;
    let (has, needs) = (tokenizer.vocab_size(), config.model.vocab_size);
    if has != needs {
        let error = TrainError::Vocabulary { tokenizer: has, model: needs };
        return Err(anyhow::anyhow!("{}: {error}", checkpoint.dir().display()));
    }
    Ok(Opened { checkpoint, config, tokenizer })
}

/// Tells what is odd about a checkpoint: newer ones that are damaged, and options that this version does not know.
pub fn tell(
    checkpoint: &Checkpoint,
    damaged: &[Damaged],
    unknown_keys: &[String],
    console: &Console,
) {
    let used = checkpoint.dir().display();
    for damaged in damaged {
        console.warn(format_args!("{}; {used} is used instead", damaged.error));
    }
    for key in unknown_keys {
        console.warn(format_args!("{}: unknown key {key}", checkpoint.path(CONFIG_FILE).display()));
    }
}
