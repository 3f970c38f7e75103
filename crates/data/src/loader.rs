//! Batches, made ahead of training on a thread of their own.

use std::any::Any;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::batch::Batch;
use crate::encode::Encode;
use crate::engine::Engine;
use crate::error::DataError;
use crate::feed;
use crate::fingerprint::LoaderFingerprint;
use crate::source::{Source, Split};
use crate::state::{LoaderState, Progress};

/// No tokenizer makes tokens that are this long on average, so only smaller data sets can have fewer tokens than
/// a row, and only those are counted.
const MAX_MEAN_TOKEN_BYTES: u64 = 256;

/// What a loader's batches look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoaderOptions {
    /// Rows in a batch, B.
    pub rows: usize,
    /// Length of a row, T.
    pub seq_len: usize,
    /// Decides, with the epoch, the order of the documents.
    pub seed: u64,
    /// Which share of the documents this loader deals with, 0 <= rank < world.
    pub rank: usize,
    /// Number of shares.
    pub world: usize,
    /// So many documents at least are packed from at a time (a quarter of the epoch in small data sets). The more,
    /// the further apart are the rows that a long document is cut into.
    pub buffer_documents: usize,
    /// So many batches are made ahead.
    pub prefetch: usize,
}

impl LoaderOptions {
    /// B rows of T tokens; seed 0, one rank, 128 buffered documents, 4 batches ahead.
    pub fn new(rows: usize, seq_len: usize) -> Self {
        Self { rows, seq_len, seed: 0, rank: 0, world: 1, buffer_documents: 128, prefetch: 4 }
    }

    fn check(&self, documents: usize) -> Result<(), DataError> {
        let bad = |option, value: usize, why| {
            Err(DataError::BadOption { option, value: value.to_string(), why })
        };
        let at_least_1 = [
            ("rows", self.rows),
            ("sequence length", self.seq_len),
            ("number of ranks", self.world),
            ("packing buffer", self.buffer_documents),
            ("prefetch", self.prefetch),
        ];
        for (option, value) in at_least_1 {
            if value == 0 {
                return bad(option, value, "expected at least 1");
            }
        }
        if self.rank >= self.world {
            return bad("rank", self.rank, "expected less than the number of ranks");
        }
        // A billion tokens is far beyond any batch; it keeps every size computed from them in range.
        if self.rows.saturating_mul(self.seq_len.saturating_add(1)) > 1 << 30 {
            return bad("rows", self.rows, "a batch has more than 2^30 tokens");
        }
        if self.prefetch > 1 << 16 {
            return bad("prefetch", self.prefetch, "expected at most 65536");
        }
        if documents < self.world {
            return Err(DataError::TooFewForRanks {
                documents: documents as u64,
                world: self.world,
            });
        }
        Ok(())
    }
}

/// A batch on its way, and where the loader stands after it.
#[derive(Default)]
struct Slot {
    batch: Batch,
    progress: Progress,
}

/// Endless training batches. Dropping it ends its thread.
pub struct Loader {
    fingerprint: LoaderFingerprint,
    /// `None` once the thread has ended.
    channels: Option<Channels>,
    thread: Option<JoinHandle<()>>,
    /// What was handed out last.
    current: Slot,
    stall_seconds: f64,
    warnings: Vec<String>,
}

struct Channels {
    filled: Receiver<Result<Slot, DataError>>,
    used: SyncSender<Slot>,
}

impl Loader {
    /// Starts at the beginning of the first epoch.
    ///
    /// # Errors
    ///
    /// A bad option; no training documents, or no tokens in them; fewer documents than ranks; a tokenizer whose
    /// special ids lie outside its vocabulary.
    pub fn new(
        source: Arc<Source>,
        encoder: Arc<dyn Encode>,
        options: LoaderOptions,
    ) -> Result<Self, DataError> {
        check_data(&source, encoder.as_ref(), &options)?;
        let fingerprint = LoaderFingerprint::new(source.fingerprint(), encoder.as_ref(), &options);
        Self::start(source, encoder, options, fingerprint, Progress::default())
    }

    /// Goes on after the batch that `state` belongs to: the next batches are those that the loader which gave the
    /// state would have made. The number of rows in a batch may differ; the rows are the same.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new); [`DataError::ResumeMismatch`] when documents, tokenizer or settings are not
    /// those of the state; [`DataError::BadState`] when it contradicts itself (what only reading the documents
    /// can show comes from the first [`next_batch`](Self::next_batch)).
    pub fn resume(
        source: Arc<Source>,
        encoder: Arc<dyn Encode>,
        options: LoaderOptions,
        state: &LoaderState,
    ) -> Result<Self, DataError> {
        check_data(&source, encoder.as_ref(), &options)?;
        let fingerprint = LoaderFingerprint::new(source.fingerprint(), encoder.as_ref(), &options);
        let changes = fingerprint.changes_since(&state.fingerprint);
        if !changes.is_empty() {
            return Err(DataError::ResumeMismatch { changes });
        }
        let documents = source.len(Split::Train) as u64;
        if state.position > documents {
            let why = format!("position {} in an epoch of {documents} documents", state.position);
            return Err(DataError::BadState { why });
        }
        let counters = [state.epoch, state.rows, state.content_tokens, state.next_sequence];
        if counters.iter().any(|n| *n > u64::MAX / 2) {
            return Err(DataError::BadState { why: "a counter is beyond 2^63".to_owned() });
        }
        Self::start(source, encoder, options, fingerprint, Progress::of(state))
    }

    fn start(
        source: Arc<Source>,
        encoder: Arc<dyn Encode>,
        options: LoaderOptions,
        fingerprint: LoaderFingerprint,
        progress: Progress,
    ) -> Result<Self, DataError> {
        let warnings = warnings(&source, encoder.as_ref(), &options)?;
        let (filled_sender, filled) = sync_channel(options.prefetch);
        // Room for every slot there can be, so that giving one back never waits.
        let (used, used_receiver) = sync_channel(options.prefetch + 2);
        let current = Slot { batch: Batch::default(), progress: progress.clone() };
        let run = move || {
            let made = Engine::new(&source, &encoder, &options, &progress);
            let ended =
                made.and_then(|engine| produce(engine, &options, &filled_sender, &used_receiver));
            if let Err(e) = ended {
                // The consumer may be gone; then nobody needs to know.
                let _ = filled_sender.send(Err(e));
            }
        };
        let thread = std::thread::Builder::new().name("kiln-data".to_owned()).spawn(run);
        let thread = thread.map_err(|source| DataError::Io {
            action: "start the thread of",
            path: "the data loader".into(),
            source,
        })?;
        let channels = Some(Channels { filled, used });
        let thread = Some(thread);
        Ok(Self { fingerprint, channels, thread, current, stall_seconds: 0.0, warnings })
    }

    /// The next batch, which lives until the next call. Once the loader runs in its stride this allocates nothing
    /// and waits for nothing.
    ///
    /// # Errors
    ///
    /// What ended the loader's thread: a file that changed or cannot be read, an id outside the vocabulary, a
    /// damaged state, a panic of the tokenizer. After an error there are no more batches.
    pub fn next_batch(&mut self) -> Result<&Batch, DataError> {
        let channels = self.channels.as_ref().ok_or(DataError::LoaderStopped)?;
        let received = match channels.filled.try_recv() {
            Err(TryRecvError::Empty) => {
                let start = Instant::now();
                let slot = channels.filled.recv();
                self.stall_seconds += start.elapsed().as_secs_f64();
                slot.ok()
            }
            ready => ready.ok(),
        };
        match received {
            Some(Ok(slot)) => {
                let used = std::mem::replace(&mut self.current, slot);
                // Fails only when the thread has ended, which the next call will find.
                let _ = channels.used.try_send(used);
                Ok(&self.current.batch)
            }
            Some(Err(e)) => {
                self.stop();
                Err(e)
            }
            None => Err(DataError::LoaderPanicked { message: self.stop().unwrap_or_default() }),
        }
    }

    /// Where the loader stands after the last batch that was handed out, however far it has run ahead.
    pub fn state(&self) -> LoaderState {
        self.current.progress.with(self.fingerprint.clone())
    }

    /// Epoch of the documents that entered the packing buffer last, for the last batch handed out.
    pub fn epoch(&self) -> u64 {
        self.current.progress.epoch
    }

    /// Content tokens (neither BOS nor EOS) in the batches handed out, resumed ones included.
    pub fn content_tokens(&self) -> u64 {
        self.current.progress.content_tokens
    }

    /// Seconds that [`next_batch`](Self::next_batch) has waited for the thread in all.
    pub fn stall_seconds(&self) -> f64 {
        self.stall_seconds
    }

    /// What a user should know although nothing failed.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Ends the thread. What it panicked with, if it did.
    fn stop(&mut self) -> Option<String> {
        // Both ends closed: the thread's next send fails and it returns.
        self.channels = None;
        let panic = self.thread.take()?.join().err()?;
        Some(panic_message(panic.as_ref()))
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Fills slots until the consumer is gone or something fails.
fn produce(
    mut engine: Engine,
    options: &LoaderOptions,
    filled: &SyncSender<Result<Slot, DataError>>,
    used: &Receiver<Slot>,
) -> Result<(), DataError> {
    loop {
        let mut slot = used.try_recv().unwrap_or_default();
        if slot.batch.rows == 0 {
            slot.batch = Batch::new(options.rows, options.seq_len);
        }
        engine.fill(&mut slot.batch)?;
        engine.progress(&mut slot.progress);
        if filled.send(Ok(slot)).is_err() {
            return Ok(());
        }
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

fn check_data(
    source: &Source,
    encoder: &dyn Encode,
    options: &LoaderOptions,
) -> Result<(), DataError> {
    if source.is_empty(Split::Train) {
        let validation = source.len(Split::Validation) as u64;
        return Err(DataError::NoTrainingDocuments { validation });
    }
    options.check(source.len(Split::Train))?;
    check_ids(encoder)
}

/// Special ids must have rows in the model, and all ids must fit the batches' i32.
pub(crate) fn check_ids(encoder: &dyn Encode) -> Result<(), DataError> {
    let vocab_size = encoder.vocab_size();
    if vocab_size > i32::MAX as usize {
        let (option, value) = ("vocabulary size", vocab_size.to_string());
        return Err(DataError::BadOption { option, value, why: "expected less than 2^31" });
    }
    for id in [Some(encoder.bos_id()), encoder.eos_id()].into_iter().flatten() {
        if id as usize >= vocab_size {
            return Err(DataError::TokenOutOfRange { id, vocab_size });
        }
    }
    Ok(())
}

/// Says when all the data together does not fill one row.
fn warnings(
    source: &Source,
    encoder: &dyn Encode,
    options: &LoaderOptions,
) -> Result<Vec<String>, DataError> {
    let row_len = options.seq_len as u64 + 1;
    if source.report().train_text_bytes > row_len.saturating_mul(MAX_MEAN_TOKEN_BYTES) {
        return Ok(Vec::new());
    }
    let mut tokens = 0;
    for index in 0..source.len(Split::Train) {
        let document = feed::encode(source, encoder, Split::Train, index)?;
        tokens += document.len() as u64 + u64::from(!document.is_empty());
    }
    if tokens == 0 {
        return Err(DataError::NoTokens);
    }
    let warning = format!(
        "the training documents have {tokens} tokens in all, fewer than the {row_len} of one row: every row \
         repeats them"
    );
    Ok(if tokens < row_len { vec![warning] } else { Vec::new() })
}
