//! Runs whose folder lies in an object store: trained in a temporary folder, each checkpoint published as it is saved.

mod publisher;
mod remote;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_store::{Location, Remote, Staging, StoreError, forget, stands_for};
use kiln_train::checkpoint::{self, CheckpointError, LATEST_FILE, parse_step_name, step_name};
use kiln_train::run_folder::Resume;
use kiln_train::{TrainError, metrics::METRICS_FILE, run_folder::STEPS_FILE};

use crate::location::{Paths, store};
use crate::output::Console;
pub use publisher::Publisher;
use remote::RemoteFolder;

/// A run folder: a local one as it is, or the local image of a remote one.
pub struct RunFolder {
    /// Where training reads and writes.
    path: PathBuf,
    remote: Option<Opened>,
}

struct Opened {
    staging: Staging,
    /// Until the publisher has it.
    folder: Option<RemoteFolder>,
}

impl RunFolder {
    /// Opens a run folder; of a remote one, fetches the checkpoint that training goes on from.
    ///
    /// # Errors
    /// When the location is none, cannot be read or written, or does not hold what `resume` asks for.
    pub fn open(path: &Path, resume: Resume, console: &Console) -> anyhow::Result<Self> {
        let remote = match Location::parse(path)? {
            Location::Local(path) => return Ok(Self { path, remote: None }),
            Location::Remote(remote) => remote,
        };
        let staging = Staging::new()?;
        let location = Location::Remote(remote.clone());
        let image = staging.path().join("run").join(location.name().unwrap_or("run"));
        std::fs::create_dir_all(&image)?;
        stands_for(&image, &remote.to_string());
        let folder = RemoteFolder::open(store(), location)?;
        folder.check_writable()?;
        if folder.steps().is_empty() {
            // What a run without a checkpoint left would be taken for the new one's.
            folder.remove(&[STEPS_FILE, METRICS_FILE, LATEST_FILE])?;
        } else {
            fetch_for(&folder, &remote, resume, &image, console)?;
        }
        Ok(Self { path: image, remote: Some(Opened { staging, folder: Some(folder) }) })
    }

    /// Where training reads and writes.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Begins to publish, if the folder is remote: `from` is the step of the checkpoint that training goes on from, `keep`
    /// how many checkpoints stay.
    ///
    /// # Errors
    /// When the remote folder cannot be told from which checkpoint training goes on.
    pub fn publisher(
        &mut self,
        from: Option<u64>,
        keep: usize,
    ) -> anyhow::Result<Option<Publisher>> {
        let Some(Opened { staging, folder }) = &mut self.remote else { return Ok(None) };
        let Some(mut folder) = folder.take() else { return Ok(None) };
        folder.remove_leftovers()?;
        if let Some(step) = from {
            folder.set_latest(step)?;
        }
        staging.hold_results();
        let outbox = staging.path().join("outbox");
        Ok(Some(Publisher::start(self.path.clone(), outbox, folder, keep)?))
    }

    /// Publishes the rest and waits for it.
    ///
    /// # Errors
    /// [`StoreError::Kept`], naming the local folder in which everything is kept.
    pub fn finish(
        &mut self,
        publisher: Option<Publisher>,
        console: &Console,
    ) -> anyhow::Result<()> {
        let Some(publisher) = publisher else { return Ok(()) };
        if publisher.is_behind() {
            console.note("publishing the last checkpoint");
        }
        let Err(source) = publisher.finish() else { return Ok(()) };
        if let Some(opened) = self.remote.take() {
            opened.staging.keep();
        }
        forget(&self.path);
        Err(StoreError::Kept { path: self.path.clone(), source: Box::new(source) }.into())
    }
}

/// Fetches what a run goes on from.
fn fetch_for(
    folder: &RemoteFolder,
    remote: &Remote,
    resume: Resume,
    image: &Path,
    console: &Console,
) -> anyhow::Result<()> {
    let run = PathBuf::from(remote.to_string());
    let steps = match resume {
        Resume::Never => return Err(TrainError::Occupied { path: run }.into()),
        Resume::Step(step) if !folder.steps().contains(&step) => {
            let have = folder.steps().iter().copied().collect();
            return Err(CheckpointError::NoStep { run, step, have }.into());
        }
        Resume::Step(step) => vec![step],
        Resume::Auto => folder.candidates(),
    };
    for name in [STEPS_FILE, METRICS_FILE, LATEST_FILE] {
        folder.fetch_file(name, image)?;
    }
    fetch_first_good(folder, &steps, image, console)
}

/// Fetches checkpoints until one is whole: damaged ones stay, so that whoever loads it names them.
fn fetch_first_good(
    folder: &RemoteFolder,
    steps: &[u64],
    image: &Path,
    console: &Console,
) -> anyhow::Result<()> {
    for step in steps {
        let bar = console.progress_count("fetching the checkpoint's files", 0);
        folder.fetch_step(*step, image, &mut |p| bar.set(p.files, p.total_files))?;
        if checkpoint::verify(&image.join(step_name(*step))).is_ok() {
            break;
        }
    }
    Ok(())
}

/// The local image of a remote run folder or checkpoint, to read from.
///
/// # Errors
/// When it cannot be read, or there is no checkpoint.
pub fn fetch_checkpoint(path: &Path, paths: &mut Paths<'_>) -> anyhow::Result<PathBuf> {
    let location = Location::parse(path)?;
    let image = paths.inputs_mut().place(&location)?;
    let console = paths.console();
    if let Some((run, name)) = location.split()
        && let Some(step) = parse_step_name(&name)
    {
        // `RUN/step-100` for short.
        let folder = RemoteFolder::open(store(), run)?;
        folder.expect_step(step)?;
        let run_image = image.parent().unwrap_or(&image);
        fetch_first_good(&folder, &[step], run_image, console)?;
        let checkpoint = run_image.join(step_name(step));
        let url = format!("{}/{}", folder.to_string().trim_end_matches('/'), step_name(step));
        stands_for(&checkpoint, &url);
        return Ok(checkpoint);
    }
    let folder = RemoteFolder::open(store(), location)?;
    let steps = folder.candidates();
    if steps.is_empty() {
        let run = PathBuf::from(folder.to_string());
        return Err(CheckpointError::NoCheckpoint { run }.into());
    }
    folder.fetch_file(LATEST_FILE, &image)?;
    fetch_first_good(&folder, &steps, &image, console)?;
    Ok(image)
}

/// An error that a run's folder had in its store.
type Result<T> = std::result::Result<T, StoreError>;
/// Shared by the threads that use it.
type SharedStore = Arc<kiln_store::Store>;
