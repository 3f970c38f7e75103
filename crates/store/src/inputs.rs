//! What a command reads: local paths as they are, others fetched.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Cause, Operation, StoreError};
use crate::location::{Location, Remote};
use crate::staging::{Staging, stands_for};
use crate::store::{Kind, Store};
use crate::tree::Progress;

/// Told how far fetching is: the URL, and the progress.
pub type OnFetch<'a> = &'a mut (dyn FnMut(&str, Progress) + Send);

/// Fetches what is not on this machine into a temporary folder that lives as long as this does.
pub struct Inputs {
    store: Arc<Store>,
    staging: Option<Staging>,
    count: usize,
}

impl Inputs {
    /// Nothing fetched yet. Costs nothing where all is local.
    pub fn new(store: Arc<Store>) -> Self {
        Self { store, staging: None, count: 0 }
    }

    /// The local path of an input: itself, or what was fetched, under the same name. A folder comes with all that is in it.
    ///
    /// # Errors
    /// When the location is none, or cannot be read, or nothing is there. (Whether a local path is there is left to whoever
    /// reads it.)
    pub fn local(&mut self, path: &Path, on_fetch: OnFetch<'_>) -> Result<PathBuf, StoreError> {
        self.local_part(path, &|_| true, on_fetch)
    }

    /// The same, where of a folder only those files are wanted of which `wanted` says so.
    ///
    /// # Errors
    /// As [`local`](Self::local).
    pub fn local_part(
        &mut self,
        path: &Path,
        wanted: &(dyn Fn(&str) -> bool + Sync),
        on_fetch: OnFetch<'_>,
    ) -> Result<PathBuf, StoreError> {
        let location = Location::parse(path)?;
        let remote = match &location {
            Location::Local(path) => return Ok(path.clone()),
            Location::Remote(remote) => remote,
        };
        let url = remote.to_string();
        let to = self.place(&location)?;
        match self.kind(&location, remote)? {
            Kind::File => {
                let bytes = self.store.fetch(&location, &to)?;
                on_fetch(&url, Progress { files: 1, total_files: 1, bytes });
            }
            Kind::Folder => {
                let store = self.store.clone();
                store
                    .fetch_tree(&location, &to, wanted, &mut |progress| on_fetch(&url, progress))?;
            }
        }
        Ok(to)
    }

    /// A new place whose last part is the location's name, for what is fetched in another way.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn place(&mut self, location: &Location) -> Result<PathBuf, StoreError> {
        let staging = match self.staging.take() {
            Some(staging) => staging,
            None => Staging::new()?,
        };
        let folder = self.staging.insert(staging).path().join(self.count.to_string());
        self.count += 1;
        std::fs::create_dir(&folder).map_err(StoreError::io(&folder))?;
        let place = folder.join(location.name().unwrap_or("data"));
        stands_for(&place, &location.to_string());
        Ok(place)
    }

    fn kind(&self, location: &Location, remote: &Remote) -> Result<Kind, StoreError> {
        if let Some(kind) = self.store.kind(location)? {
            return Ok(kind);
        }
        // A web server may know nothing of a folder but its files.
        if remote.scheme.is_web() && self.store.list(location).is_ok_and(|list| !list.is_empty()) {
            return Ok(Kind::Folder);
        }
        Err(StoreError::Request {
            operation: Operation::Read,
            url: remote.to_string(),
            scheme: remote.scheme,
            cause: Cause::NotFound,
            reason: "there is no such object, and none whose name begins so".to_owned(),
        })
    }
}
