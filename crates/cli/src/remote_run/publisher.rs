//! Publishing a run while it goes on: on a thread of its own, so that no step waits for the network.
//!
//! A saved checkpoint is linked into an outbox, from which the trainer's own housekeeping cannot remove it. The thread
//! writes what lies there, oldest first, then metrics, then `latest`; what fails is tried again until it succeeds, and after
//! training a last time. Then the local folder is kept and named.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use kiln_store::StoreError;
use kiln_train::checkpoint::step_name;
use kiln_train::metrics::METRICS_FILE;
use kiln_train::observe::{Event, Observer};
use kiln_train::run_folder::STEPS_FILE;

use super::Result;
use super::remote::RemoteFolder;

/// So many saved checkpoints may wait where all are kept; each takes its space on the disk.
const MOST_WAITING: usize = 4;
/// After a failure, though the store has been patient itself.
const PAUSE: Duration = Duration::from_secs(20);

/// Publishes a run.
pub struct Publisher {
    image: PathBuf,
    outbox: PathBuf,
    url: String,
    keep: usize,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Checkpoints in the outbox.
    waiting: BTreeSet<u64>,
    /// The one that is being written.
    writing: Option<u64>,
    /// Whether metrics have changed since they were written last.
    metrics: bool,
    /// Whether the last attempt failed.
    failing: bool,
    /// Training is over.
    ending: bool,
    /// What to tell the user.
    warnings: Vec<String>,
    /// Why not everything could be published.
    failed: Option<StoreError>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Publisher {
    pub(super) fn start(
        image: PathBuf,
        outbox: PathBuf,
        folder: RemoteFolder,
        keep: usize,
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(&outbox)?;
        let shared = Arc::new(Shared::default());
        let url = folder.to_string();
        let mut work = Work {
            folder,
            image: image.clone(),
            outbox: outbox.clone(),
            keep,
            shared: shared.clone(),
        };
        let thread =
            thread::Builder::new().name("kiln-publish".into()).spawn(move || work.run())?;
        Ok(Self { image, outbox, url, keep, shared, thread: Some(thread) })
    }

    /// Hands a saved checkpoint over. Waits only where too many are waiting already.
    fn saved(&self, step: u64, path: &Path) -> std::io::Result<()> {
        let mut state = self.shared.lock();
        // A slow store may hold training up; one that is not there must not.
        while self.keep == 0 && state.waiting.len() >= MOST_WAITING && !state.failing {
            state = self.shared.wait(state);
        }
        // One of the same step from another course of the run: its turn must be over first.
        while state.writing == Some(step) {
            state = self.shared.wait(state);
        }
        let to = self.outbox.join(step_name(step));
        let _ = fs::remove_dir_all(&to);
        link(path, &to)?;
        state.waiting.insert(step);
        if self.keep > 0 {
            // Those that would be removed as soon as they are there need not go there.
            let writing = state.writing;
            let waiting: Vec<u64> = state.waiting.iter().rev().skip(self.keep).copied().collect();
            for old in waiting.into_iter().filter(|old| Some(*old) != writing) {
                state.waiting.remove(&old);
                let _ = fs::remove_dir_all(self.outbox.join(step_name(old)));
            }
        }
        drop(state);
        self.shared.changed.notify_all();
        self.remove_others(step);
        Ok(())
    }

    /// The image needs one checkpoint only: the others are published, or in the outbox.
    fn remove_others(&self, step: u64) {
        let checkpoints = kiln_train::checkpoint::list(&self.image).unwrap_or_default();
        for (_, path) in checkpoints.into_iter().filter(|(other, _)| *other != step) {
            let _ = fs::remove_dir_all(path);
        }
    }

    fn metrics_changed(&self) {
        self.shared.lock().metrics = true;
        self.shared.changed.notify_all();
    }

    fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.lock().warnings)
    }

    /// An observer that publishes and passes everything on.
    pub fn observe<'a>(&'a self, inner: &'a mut dyn Observer) -> Publishing<'a> {
        Publishing { publisher: self, inner }
    }

    /// Whether a checkpoint is still to be published.
    pub fn is_behind(&self) -> bool {
        !self.shared.lock().waiting.is_empty()
    }

    /// Publishes the rest and waits for it. What cannot be published is then in the run's local folder.
    ///
    /// # Errors
    /// Why not everything is published.
    pub fn finish(mut self) -> Result<()> {
        self.end();
        let failed = self.shared.lock().failed.take();
        failed.map_or(Ok(()), Err)
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        let mut state = self.shared.lock();
        state.ending = true;
        state.metrics = true;
        drop(state);
        self.shared.changed.notify_all();
        let ended = thread.join();
        let mut state = self.shared.lock();
        if ended.is_err() {
            let source = std::io::Error::other("publishing ended early");
            state.failed = Some(StoreError::Io { path: self.image.clone(), source });
        }
        for step in std::mem::take(&mut state.waiting) {
            let to = self.image.join(step_name(step));
            if !to.exists() {
                let _ = fs::rename(self.outbox.join(step_name(step)), to);
            }
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.end();
    }
}

/// Publishes what a run saves, tells where it will be, and passes everything on.
pub struct Publishing<'a> {
    publisher: &'a Publisher,
    inner: &'a mut dyn Observer,
}

impl Observer for Publishing<'_> {
    fn event(&mut self, event: Event<'_>) {
        for warning in self.publisher.take_warnings() {
            self.inner.event(Event::Warning(warning));
        }
        match event {
            Event::Saved { step, path } => {
                if let Err(error) = self.publisher.saved(step, &path) {
                    let what = format!("{} is not published: {error}", path.display());
                    self.inner.event(Event::Warning(what));
                }
                let url =
                    format!("{}/{}", self.publisher.url.trim_end_matches('/'), step_name(step));
                self.inner.event(Event::Saved { step, path: PathBuf::from(url) });
            }
            Event::Evaluated { .. } => {
                self.publisher.metrics_changed();
                self.inner.event(event);
            }
            _ => self.inner.event(event),
        }
    }
}

/// What the thread works with.
struct Work {
    folder: RemoteFolder,
    image: PathBuf,
    outbox: PathBuf,
    keep: usize,
    shared: Arc<Shared>,
}

impl Work {
    fn run(&mut self) {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        loop {
            let ending = state.ending;
            let next = state.waiting.first().copied();
            if next.is_none() && !state.metrics {
                if ending {
                    return;
                }
                state = shared.wait(state);
                continue;
            }
            state.writing = next;
            state.metrics = false;
            drop(state);
            let done = self.publish(next);
            state = shared.lock();
            state.writing = None;
            state.failing = done.is_err();
            shared.changed.notify_all();
            match done {
                Ok(()) => {
                    if let Some(step) = next {
                        state.waiting.remove(&step);
                    }
                }
                // It was tried again for a while; with nothing left to train there is nothing to wait for.
                Err(error) if ending => {
                    state.failed = Some(error);
                    shared.changed.notify_all();
                    return;
                }
                Err(error) => {
                    state.metrics = true;
                    if state.warnings.is_empty() {
                        state.warnings.push(format!("{error}; trying again"));
                    }
                    let pause = |state: &mut State| !state.ending;
                    let (resumed, _) = shared
                        .changed
                        .wait_timeout_while(state, PAUSE, pause)
                        .unwrap_or_else(PoisonError::into_inner);
                    state = resumed;
                }
            }
            shared.changed.notify_all();
        }
    }

    fn publish(&mut self, step: Option<u64>) -> Result<()> {
        if let Some(step) = step {
            let from = self.outbox.join(step_name(step));
            self.folder.put_step(step, &from)?;
        }
        // Before `latest`: how long the run is to be was found by steps that it stands for.
        self.folder.put_file(STEPS_FILE, &self.image)?;
        self.folder.put_file(METRICS_FILE, &self.image)?;
        if let Some(step) = step {
            self.folder.set_latest(step)?;
            let _ = fs::remove_dir_all(self.outbox.join(step_name(step)));
            if self.keep > 0 {
                self.folder.keep_last(step, self.keep)?;
            }
        }
        Ok(())
    }
}

/// Makes a folder with the same files, without copying them where the file system can do that.
fn link(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            link(&entry.path(), &target)?;
        } else if fs::hard_link(entry.path(), &target).is_err() {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
