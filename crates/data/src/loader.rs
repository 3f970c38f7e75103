//! Batches, made ahead of training on a thread of their own.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::batch::Batch;
use crate::encode::Encode;
use crate::engine::Engine;
use crate::error::DataError;
use crate::feed;
use crate::fim::{FimCounts, FimOptions};
use crate::fingerprint::LoaderFingerprint;
use crate::mixture::Mixture;
use crate::source::{Patience, Split};
use crate::state::{LoaderState, Progress};

/// No tokenizer makes tokens that are this long on average, so only smaller data sets can have fewer tokens than
/// a row, and only those are counted.
const MAX_MEAN_TOKEN_BYTES: u64 = 256;

/// What a loader's batches look like.
#[derive(Debug, Clone, PartialEq)]
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
    /// What is rearranged for fill-in-the-middle.
    pub fim: FimOptions,
}

impl LoaderOptions {
    /// B rows of T tokens; seed 0, one rank, 128 buffered documents, 4 batches ahead, nothing rearranged.
    pub fn new(rows: usize, seq_len: usize) -> Self {
        let fim = FimOptions::default();
        Self { rows, seq_len, seed: 0, rank: 0, world: 1, buffer_documents: 128, prefetch: 4, fim }
    }

    fn check(&self, data: &Mixture) -> Result<(), DataError> {
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
        for part in data.parts().iter().filter(|part| !part.source.is_stream()) {
            let (documents, world) = (part.source.len(Split::Train) as u64, self.world);
            if documents < world as u64 {
                return Err(DataError::TooFewForRanks { documents, world });
            }
        }
        self.fim.check()
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
    shared: Arc<Shared>,
    /// What was handed out last.
    current: Slot,
    /// What has arrived and was not asked for yet.
    arrived: Option<Result<Slot, DataError>>,
    stall_seconds: f64,
    warnings: Vec<String>,
}

/// What the loader and its thread tell each other beside batches.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// The thread waits for files of a stream.
    waits: AtomicBool,
    notices: Mutex<Vec<String>>,
}

/// The thread's side of it.
struct Thread(Arc<Shared>);

impl Patience for Thread {
    fn tell(&mut self, message: String) {
        self.0.notices.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(message);
    }

    fn goes_on(&mut self) -> bool {
        self.0.waits.store(true, Ordering::Relaxed);
        !self.0.stop.load(Ordering::Relaxed)
    }
}

struct Channels {
    filled: Receiver<Result<Slot, DataError>>,
    used: SyncSender<Slot>,
}

impl Loader {
    /// Starts at the beginning of the first epoch of a data set, or of several.
    ///
    /// # Errors
    ///
    /// A bad option; no training documents, or no tokens in them; fewer documents than ranks; a tokenizer whose
    /// special ids lie outside its vocabulary, or that has none for what is to be rearranged.
    pub fn new(
        data: impl Into<Mixture>,
        encoder: Arc<dyn Encode>,
        options: LoaderOptions,
    ) -> Result<Self, DataError> {
        let data = data.into();
        check_data(&data, encoder.as_ref(), &options)?;
        let fingerprint = LoaderFingerprint::new(&data, encoder.as_ref(), &options);
        let sets = data.parts().iter().map(|part| feed::beginning(&part.source)).collect();
        let progress = Progress { sets, ..Progress::default() };
        Self::start(data, encoder, options, fingerprint, progress)
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
        data: impl Into<Mixture>,
        encoder: Arc<dyn Encode>,
        options: LoaderOptions,
        state: &LoaderState,
    ) -> Result<Self, DataError> {
        let data = data.into();
        check_data(&data, encoder.as_ref(), &options)?;
        let fingerprint = LoaderFingerprint::new(&data, encoder.as_ref(), &options);
        let changes = fingerprint.changes_since(&state.fingerprint);
        if !changes.is_empty() {
            return Err(DataError::ResumeMismatch { changes });
        }
        check_state(&data, state)?;
        Self::start(data, encoder, options, fingerprint, Progress::of(state))
    }

    fn start(
        data: Mixture,
        encoder: Arc<dyn Encode>,
        options: LoaderOptions,
        fingerprint: LoaderFingerprint,
        progress: Progress,
    ) -> Result<Self, DataError> {
        let warnings = warnings(&data, encoder.as_ref(), &options)?;
        let (filled_sender, filled) = sync_channel(options.prefetch);
        // Room for every slot there can be, so that giving one back never waits.
        let (used, used_receiver) = sync_channel(options.prefetch + 2);
        let current = Slot { batch: Batch::default(), progress: progress.clone() };
        let shared = Arc::new(Shared::default());
        let patience = Box::new(Thread(Arc::clone(&shared)));
        let waits = Arc::clone(&shared);
        let run = move || {
            let made = Engine::new(&data, &encoder, &options, &progress, patience);
            let ended = made.and_then(|engine| {
                produce(engine, &options, (&filled_sender, &used_receiver), &waits)
            });
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
        Ok(Self {
            fingerprint,
            channels: Some(Channels { filled, used }),
            thread: Some(thread),
            shared,
            current,
            arrived: None,
            stall_seconds: 0.0,
            warnings,
        })
    }

    /// Waits up to `time` until [`next_batch`](Self::next_batch) need not wait; whether that is so.
    pub fn wait(&mut self, time: Duration) -> bool {
        let Some(channels) = &self.channels else { return true };
        if self.arrived.is_none() {
            self.arrived = channels.filled.try_recv().ok();
        }
        if self.arrived.is_none() {
            let start = Instant::now();
            match channels.filled.recv_timeout(time) {
                Ok(slot) => self.arrived = Some(slot),
                Err(RecvTimeoutError::Timeout) => {}
                // What the thread panicked with is for `next_batch` to find.
                Err(RecvTimeoutError::Disconnected) => return true,
            }
            self.stall_seconds += start.elapsed().as_secs_f64();
        }
        self.arrived.is_some()
    }

    /// Whether the thread waits for files of a stream, rather than for the machine.
    pub fn waits_for_files(&self) -> bool {
        self.shared.waits.load(Ordering::Relaxed)
    }

    /// What a user should know of what has happened since this was asked last.
    pub fn take_notices(&self) -> Vec<String> {
        std::mem::take(
            &mut *self.shared.notices.lock().unwrap_or_else(|poisoned| poisoned.into_inner()),
        )
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
        let received = match self.arrived.take() {
            Some(arrived) => Some(arrived),
            None => match channels.filled.try_recv() {
                Err(TryRecvError::Empty) => {
                    let start = Instant::now();
                    let slot = channels.filled.recv();
                    self.stall_seconds += start.elapsed().as_secs_f64();
                    slot.ok()
                }
                ready => ready.ok(),
            },
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

    /// Epoch of the documents that entered the packing buffer last, for the last batch handed out; of several data
    /// sets, that of the first.
    pub fn epoch(&self) -> u64 {
        self.current.progress.sets.first().map_or(0, |set| set.epoch)
    }

    /// What was rearranged of the documents drawn up to the last batch handed out.
    pub fn fim_counts(&self) -> FimCounts {
        self.current.progress.fim
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
        // Both ends closed: the thread's next send fails and it returns. It may also be waiting for files.
        self.shared.stop.store(true, Ordering::Relaxed);
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
    (filled, used): (&SyncSender<Result<Slot, DataError>>, &Receiver<Slot>),
    shared: &Shared,
) -> Result<(), DataError> {
    loop {
        let mut slot = used.try_recv().unwrap_or_default();
        if slot.batch.rows == 0 {
            slot.batch = Batch::new(options.rows, options.seq_len);
        }
        engine.fill(&mut slot.batch)?;
        shared.waits.store(false, Ordering::Relaxed);
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
    data: &Mixture,
    encoder: &dyn Encode,
    options: &LoaderOptions,
) -> Result<(), DataError> {
    for part in data.parts() {
        if part.source.is_empty(Split::Train) && !part.source.is_stream() {
            let validation = part.source.len(Split::Validation) as u64;
            return Err(DataError::NoTrainingDocuments { validation });
        }
    }
    options.check(data)?;
    check_ids(encoder)?;
    if !data.has_pairs() && options.fim.rate == 0.0 {
        return Ok(());
    }
    let ids = encoder.fim_sentinels().ok_or(DataError::NoSentinels)?;
    let vocab_size = encoder.vocab_size();
    match [ids.prefix, ids.middle, ids.suffix, ids.eos].into_iter().max() {
        Some(id) if id as usize >= vocab_size => Err(DataError::TokenOutOfRange { id, vocab_size }),
        _ => Ok(()),
    }
}

/// What can be seen of a state without reading documents.
fn check_state(data: &Mixture, state: &LoaderState) -> Result<(), DataError> {
    let bad = |why: String| Err(DataError::BadState { why });
    if state.sets.len() != data.parts().len() {
        return bad(format!("{} data sets of {}", state.sets.len(), data.parts().len()));
    }
    let mut counters = vec![state.rows, state.content_tokens, state.next_sequence];
    counters.extend(&state.drawn);
    counters.extend(state.buffer.iter().map(|piece| piece.due));
    for (part, set) in data.parts().iter().zip(&state.sets) {
        let documents = part.source.len(Split::Train) as u64;
        if set.position > documents && !part.source.is_stream() {
            return bad(format!("position {} in an epoch of {documents} documents", set.position));
        }
        if set.stream.is_some() != part.source.is_stream() {
            return bad("a stream without its files".to_owned());
        }
        counters.extend([set.epoch, set.position, set.tokens]);
    }
    if counters.iter().any(|n| *n > u64::MAX / 2) {
        return bad("a counter is beyond 2^63".to_owned());
    }
    Ok(())
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
    data: &Mixture,
    encoder: &dyn Encode,
    options: &LoaderOptions,
) -> Result<Vec<String>, DataError> {
    let row_len = options.seq_len as u64 + 1;
    let bytes: u64 = data.parts().iter().map(|part| part.source.report().train_text_bytes).sum();
    if data.is_stream() || bytes > row_len.saturating_mul(MAX_MEAN_TOKEN_BYTES) {
        return Ok(Vec::new());
    }
    let mut tokens = 0;
    for part in data.parts() {
        for index in 0..part.source.len(Split::Train) {
            let document = feed::encode(&part.source, encoder, Split::Train, index)?;
            tokens += document.len() as u64 + u64::from(!document.is_empty());
        }
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
