//! Paths and URLs of arguments. Commands know of local paths alone: inputs that lie elsewhere are fetched before a command
//! runs, outputs are published after it has succeeded.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::Context;
use kiln_store::{Earlier, Inputs, Location, Output, Store};

use crate::output::{Console, Progress};

/// The connections of this process; none are made until a remote location is used.
pub fn store() -> Arc<Store> {
    static STORE: OnceLock<Arc<Store>> = OnceLock::new();
    STORE.get_or_init(|| Arc::new(Store::new())).clone()
}

/// Arguments that hold paths.
pub trait Located {
    /// Hands over each path, to be replaced by a local one.
    ///
    /// # Errors
    /// What [`Paths`] returns.
    fn locate(&mut self, paths: &mut Paths<'_>) -> anyhow::Result<()>;
}

/// Runs a command on local paths, and publishes what it wrote.
pub fn run<A: Located>(
    mut args: A,
    console: &Console,
    command: impl FnOnce(A) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut paths = Paths::new(console);
    args.locate(&mut paths)?;
    command(args)?;
    paths.publish()
}

/// Local places for the locations of a command.
pub struct Paths<'a> {
    console: &'a Console,
    inputs: Inputs,
    outputs: Vec<Output>,
    /// Where locations are that need not be fetched.
    fetched: HashMap<PathBuf, PathBuf>,
}

impl<'a> Paths<'a> {
    /// None yet.
    pub fn new(console: &'a Console) -> Self {
        Self { console, inputs: Inputs::new(store()), outputs: Vec::new(), fetched: HashMap::new() }
    }

    /// Notes that what a path names is at a local one already.
    pub fn fetched(&mut self, path: &Path, local: &Path) {
        self.fetched.insert(path.to_owned(), local.to_owned());
    }

    /// The local path of something to read: a file, or a folder with all that is in it.
    ///
    /// # Errors
    /// When a remote location cannot be read.
    pub fn local(&mut self, path: &Path) -> anyhow::Result<PathBuf> {
        match self.fetched.get(path) {
            Some(local) => Ok(local.clone()),
            None => self.local_part(path, &|_| true),
        }
    }

    fn local_part(
        &mut self,
        path: &Path,
        wanted: &(dyn Fn(&str) -> bool + Sync),
    ) -> anyhow::Result<PathBuf> {
        let (console, mut bar) = (self.console, None);
        let mut on_fetch = |_: &str, progress: kiln_store::Progress| {
            let bar: &mut Progress =
                bar.get_or_insert_with(|| console.progress_count("fetching files", 0));
            bar.set(progress.files, progress.total_files);
        };
        Ok(self.inputs.local_part(path, wanted, &mut on_fetch)?)
    }

    /// Something to read.
    ///
    /// # Errors
    /// When a remote location cannot be read.
    pub fn input(&mut self, path: &mut PathBuf) -> anyhow::Result<()> {
        *path = self.local(path)?;
        Ok(())
    }

    /// Several things to read, or one that may be left out.
    ///
    /// # Errors
    /// As [`input`](Self::input).
    pub fn inputs<'p>(
        &mut self,
        paths: impl IntoIterator<Item = &'p mut PathBuf>,
    ) -> anyhow::Result<()> {
        paths.into_iter().try_for_each(|path| self.input(path))
    }

    /// Source trees to read: all of them but what version control keeps for itself.
    ///
    /// # Errors
    /// As [`input`](Self::input).
    pub fn sources<'p>(
        &mut self,
        paths: impl IntoIterator<Item = &'p mut PathBuf>,
    ) -> anyhow::Result<()> {
        let wanted = |name: &str| !name.split('/').any(|part| part == ".git");
        for path in paths {
            *path = self.local_part(path, &wanted)?;
        }
        Ok(())
    }

    /// A file that names source trees, one a line, as `corpus index --projects-list` takes it. Those that lie elsewhere are
    /// fetched, and a list with their local paths takes the file's place.
    ///
    /// # Errors
    /// As [`input`](Self::input).
    pub fn source_list(&mut self, list: &mut Option<PathBuf>) -> anyhow::Result<()> {
        let Some(path) = list else { return Ok(()) };
        self.input(path)?;
        // What is wrong with the file is the command's to say.
        let Ok(text) = std::fs::read_to_string(&*path) else { return Ok(()) };
        if !text.contains("://") {
            return Ok(());
        }
        let mut local = String::new();
        for line in text.lines() {
            let name = line.trim();
            if name.is_empty() || name.starts_with('#') {
                local.push_str(line);
            } else {
                let mut source = PathBuf::from(name);
                self.sources([&mut source])?;
                local.push_str(&source.to_string_lossy());
            }
            local.push('\n');
        }
        let place = self.inputs.place(&Location::Local(path.clone()))?;
        std::fs::write(&place, local)
            .with_context(|| format!("cannot write {}", place.display()))?;
        *path = place;
        Ok(())
    }

    /// A run folder, of which the newest good checkpoint is fetched, or one checkpoint of it.
    ///
    /// # Errors
    /// As [`input`](Self::input), and when there is no checkpoint.
    pub fn checkpoint(&mut self, path: &mut PathBuf) -> anyhow::Result<()> {
        *path = match Location::parse(&*path)? {
            Location::Local(local) => local,
            Location::Remote(_) => crate::remote_run::fetch_checkpoint(path, self)?,
        };
        Ok(())
    }

    /// A folder to write anew. What a remote one holds already is seen by name, so that the command refuses or replaces it.
    ///
    /// # Errors
    /// When a remote location cannot be listed.
    pub fn folder_out(&mut self, path: &mut PathBuf) -> anyhow::Result<()> {
        self.output(path, Output::folder(store(), path, Earlier::Names)?);
        Ok(())
    }

    /// A folder to add to: what a remote one holds already is fetched.
    ///
    /// # Errors
    /// When a remote location cannot be read.
    pub fn growing_folder_out(&mut self, path: &mut PathBuf) -> anyhow::Result<()> {
        self.output(path, Output::folder(store(), path, Earlier::Content)?);
        Ok(())
    }

    /// A file to write.
    ///
    /// # Errors
    /// When the location is none.
    pub fn file_out(&mut self, path: &mut PathBuf) -> anyhow::Result<()> {
        self.output(path, Output::file(store(), path)?);
        Ok(())
    }

    fn output(&mut self, path: &mut PathBuf, output: Output) {
        *path = output.path().to_owned();
        self.outputs.push(output);
    }

    /// Brings remote outputs to their places.
    ///
    /// # Errors
    /// When one cannot be written; the local copy is then kept and named.
    pub fn publish(self) -> anyhow::Result<()> {
        self.outputs.into_iter().try_for_each(|mut output| publish(&mut output, self.console))
    }

    /// What the user is told things on.
    pub fn console(&self) -> &'a Console {
        self.console
    }

    /// The place for fetched files and the connections, for what is fetched in its own way.
    pub fn inputs_mut(&mut self) -> &mut Inputs {
        &mut self.inputs
    }
}

/// Brings a remote output to its place, with a progress bar.
///
/// # Errors
/// When it cannot be written; the local copy is then kept and named.
pub fn publish(output: &mut Output, console: &Console) -> anyhow::Result<()> {
    let mut bar = None;
    output.publish(&mut |progress| {
        let bar: &mut Progress =
            bar.get_or_insert_with(|| console.progress_count("publishing files", 0));
        bar.set(progress.files, progress.total_files);
    })?;
    Ok(())
}
