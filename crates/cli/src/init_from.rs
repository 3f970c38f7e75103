//! `--init-from`: the checkpoint that a run begins from, which also says what flags do not.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use kiln_model::ModelConfig;
use kiln_store::{Staging, with_urls};
use kiln_tokenizer::{TOKEN_BYTES_FILE, TOKENIZER_FILE, Tokenizer};
use kiln_train::checkpoint::{Checkpoint, TOKENIZER_FOLDER};
use kiln_train::init_from::InitFrom;
use kiln_train::run_folder::{self, Resumed};

use crate::checkpoint;
use crate::error::Advised;
use crate::location::Paths;
use crate::output::{Console, count};

/// A checkpoint that a run follows: the one to begin from, or its own newest one.
pub struct Source {
    checkpoint: Checkpoint,
    model: ModelConfig,
    tokenizer: Arc<Tokenizer>,
    /// Holds the tokenizer's files: the checkpoint may go before the run's last one is saved.
    copy: Staging,
}

impl Source {
    /// The checkpoint that `--init-from` names.
    ///
    /// # Errors
    /// When there is none, it cannot be read, or it is damaged.
    pub fn open(path: &Path, paths: &mut Paths<'_>) -> anyhow::Result<Self> {
        let mut path = path.to_owned();
        paths.checkpoint(&mut path)?;
        let opened = checkpoint::open(&path, paths.console()).context("--init-from")?;
        Self::new(opened.checkpoint, opened.config.model, opened.tokenizer)
    }

    /// The checkpoint of a run that goes on: what it began from may be gone.
    ///
    /// # Errors
    /// When its tokenizer cannot be read.
    pub fn of_run(resumed: &Resumed) -> anyhow::Result<Self> {
        let tokenizer = run_folder::load_tokenizer(&resumed.checkpoint)?;
        Self::new(resumed.checkpoint.clone(), resumed.config.model.clone(), tokenizer)
    }

    fn new(
        checkpoint: Checkpoint,
        model: ModelConfig,
        tokenizer: Tokenizer,
    ) -> anyhow::Result<Self> {
        let copy = Staging::new()?;
        for name in [TOKENIZER_FILE, TOKEN_BYTES_FILE] {
            let from = checkpoint.path(TOKENIZER_FOLDER).join(name);
            std::fs::copy(&from, copy.path().join(name))
                .with_context(|| format!("cannot copy {}", from.display()))?;
        }
        Ok(Self { checkpoint, model, tokenizer: Arc::new(tokenizer), copy })
    }

    /// Its model.
    pub fn model(&self) -> &ModelConfig {
        &self.model
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> Arc<Tokenizer> {
        self.tokenizer.clone()
    }

    /// A folder with that tokenizer's files, there for as long as this is.
    pub fn tokenizer_folder(&self) -> PathBuf {
        self.copy.path().to_owned()
    }

    /// Where the tokenizer came from, to be kept in the configuration.
    pub fn tokenizer_name(&self) -> PathBuf {
        let folder = self.checkpoint.path(TOKENIZER_FOLDER);
        with_urls(&folder.display().to_string()).into_owned().into()
    }

    /// Refuses another tokenizer than the checkpoint's: ids would mean something else.
    ///
    /// # Errors
    /// When `tokenizer`, read from `folder`, has other tokens.
    pub fn expect_tokenizer(&self, tokenizer: &Tokenizer, folder: &Path) -> anyhow::Result<()> {
        if tokenizer.fingerprint() == self.tokenizer.fingerprint() {
            return Ok(());
        }
        let message = format!(
            "the vocabulary of {} ({} tokens) is not that of {} ({} tokens)",
            folder.display(),
            count(tokenizer.vocab_size() as u64),
            self.checkpoint.dir().display(),
            count(self.tokenizer.vocab_size() as u64)
        );
        Err(Advised::new(message, "without --tokenizer, the checkpoint's own is used").into())
    }

    /// What a model takes from the checkpoint; that and what it does not is told.
    ///
    /// # Errors
    /// When parameters of the same name have other shapes.
    pub fn initialise(&self, model: &ModelConfig, console: &Console) -> anyhow::Result<InitFrom> {
        let init = InitFrom::new(self.checkpoint.clone(), model)?;
        let (taken, new) = (init.taken().len(), init.new_names().len());
        console.note(format_args!(
            "initialised from {}: {taken} of {} parameters",
            self.checkpoint.dir().display(),
            taken + new
        ));
        for (what, names) in [("new", init.new_names()), ("not in this model", init.left())] {
            if !names.is_empty() {
                console.note(format_args!("  {what}: {}", names.join(", ")));
            }
        }
        Ok(init)
    }
}
