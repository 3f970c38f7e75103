//! One interface to everything that a [`Location`] may name.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path as Key;
use object_store::{Attribute, GetOptions, GetResult, ObjectStoreExt};

use crate::catalogue;
use crate::connect::Connection;
use crate::environment::Environment;
use crate::error::{Cause, Operation, StoreError};
use crate::failure;
use crate::local;
use crate::location::{Location, Remote, is_plain};
use crate::retry::{Patience, persist};
use crate::runtime::wait_for;

/// A file below a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its path relative to the folder, parts separated by `/`.
    pub name: String,
    /// Its size in bytes, as far as known: web servers do not always tell.
    pub size: Option<u64>,
    /// What changes when its content does (ETag, or size and time), as far as known.
    pub version: Option<String>,
    /// When it was written, as far as known.
    pub modified: Option<SystemTime>,
}

/// What lies at a location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A folder, or a prefix under which something lies.
    Folder,
}

/// Access to files and objects, with the connections made so far. It costs nothing until a remote location is used.
/// All calls block; any number of threads may make them at once.
#[derive(Default)]
pub struct Store {
    connections: Mutex<HashMap<String, Arc<Connection>>>,
    environment: Environment,
    pub(crate) patience: Patience,
}

impl Store {
    /// A store with the default patience. Credentials, endpoints and regions come from the environment, when they are
    /// first needed.
    /// `KILN_STORE_PATIENCE` is the time in seconds for which failing requests are repeated.
    pub fn new() -> Self {
        let environment = Environment::default();
        let asked = environment.get("KILN_STORE_PATIENCE").and_then(|text| text.parse().ok());
        let patience = asked.map_or_else(Patience::default, |seconds: u32| {
            let later = Duration::from_secs(u64::from(seconds));
            Patience { first: later.min(Patience::default().first), later }
        });
        Self { environment, patience, ..Self::default() }
    }

    /// A store that takes these variables for the whole environment.
    pub fn with_variables(variables: &[(&str, &str)], patience: Patience) -> Self {
        Self { environment: Environment::of(variables), patience, ..Self::default() }
    }

    /// A store in which these buckets (`s3://name`) are empty and in this process's memory, for tests.
    pub fn in_memory(buckets: &[&str]) -> Self {
        let memory = |bucket: &&str| {
            let store = Arc::new(object_store::memory::InMemory::new());
            (format!("{bucket}?"), Arc::new(Connection::new(store)))
        };
        let connections = Mutex::new(buckets.iter().map(memory).collect());
        Self { connections, ..Self::default() }
    }

    /// The connection to where a location lies; made when it is first asked for.
    pub(crate) fn connection(&self, remote: &Remote) -> Result<Arc<Connection>, StoreError> {
        let (scheme, query) = (remote.scheme.name(), remote.query.as_deref().unwrap_or(""));
        let name = format!("{scheme}://{}?{query}", remote.authority);
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = connections.get(&name) {
            return Ok(connection.clone());
        }
        let connection = Arc::new(Connection::open(remote, &self.environment)?);
        connections.insert(name, connection.clone());
        Ok(connection)
    }

    /// Everything below a folder, in all its folders, sorted by name; nothing if there is no such folder.
    ///
    /// # Errors
    /// [`StoreError::Request`]; [`StoreError::Name`] for an object whose name could leave the folder.
    pub fn list(&self, folder: &Location) -> Result<Vec<Entry>, StoreError> {
        match folder {
            Location::Local(path) => local::list(path),
            Location::Remote(remote) if remote.scheme.is_web() => self.list_web(folder, remote),
            Location::Remote(remote) => self.list_remote(remote),
        }
    }

    /// Few web servers list; what Kiln writes has its own lists.
    fn list_web(&self, folder: &Location, remote: &Remote) -> Result<Vec<Entry>, StoreError> {
        let entries = catalogue::list(self, folder)?;
        if !entries.is_empty() {
            return Ok(entries);
        }
        match self.list_remote(remote) {
            Ok(entries) if !entries.is_empty() => Ok(entries),
            Err(error) if error.cause() == Some(Cause::Unreachable) => Err(error),
            _ => Err(StoreError::Request {
                operation: Operation::List,
                url: remote.to_string(),
                scheme: remote.scheme,
                cause: Cause::NoListing,
                reason: "the web server does not tell what is in its folders".to_owned(),
            }),
        }
    }

    fn list_remote(&self, remote: &Remote) -> Result<Vec<Entry>, StoreError> {
        let connection = self.connection(remote)?;
        let prefix = key(remote)?;
        let list = || connection.store.list(Some(&prefix)).try_collect::<Vec<_>>();
        let objects = wait_for(persist(&connection, &self.patience, list))
            .map_err(failed(Operation::List, remote))?;
        let mut entries = Vec::with_capacity(objects.len());
        for object in objects {
            let full = object.location.as_ref();
            let relative = full.strip_prefix(prefix.as_ref()).unwrap_or(full);
            let relative = relative.strip_prefix('/').unwrap_or(relative);
            // The folder itself, as some programs mark it by an empty object.
            if relative.is_empty() {
                continue;
            }
            if !is_plain(relative) {
                let reason = "cannot be the name of a local file";
                let (name, folder) = (relative.to_owned(), remote.to_string());
                return Err(StoreError::Name { name, folder, reason });
            }
            let changed = || format!("{}-{}", object.size, object.last_modified);
            let version = Some(object.e_tag.clone().unwrap_or_else(changed));
            let modified = Some(SystemTime::from(object.last_modified));
            let name = relative.to_owned();
            entries.push(Entry { name, size: Some(object.size), version, modified });
        }
        entries.sort();
        remove_folder_marks(&mut entries);
        Ok(entries)
    }

    /// What lies at a location, if anything does.
    ///
    /// # Errors
    /// [`StoreError::Request`] and [`StoreError::Io`].
    pub fn kind(&self, location: &Location) -> Result<Option<Kind>, StoreError> {
        let remote = match location {
            Location::Local(path) => return local::kind(path),
            Location::Remote(remote) => remote,
        };
        if !remote.is_folder {
            match self.head(remote) {
                Ok(Some(head)) if remote.scheme.is_web() && is_page_of_folder(remote, &head) => {
                    return Ok(Some(Kind::Folder));
                }
                Ok(Some(_)) => return Ok(Some(Kind::File)),
                Ok(None) => {}
                // A URL that was signed for reading may not be asked about; reading it will tell.
                Err(error)
                    if remote.scheme.is_web() && error.cause() != Some(Cause::Unreachable) =>
                {
                    return Ok(Some(Kind::File));
                }
                Err(error) => return Err(error),
            }
        }
        if remote.scheme.is_web() {
            // It cannot be asked; reading what is in it will tell.
            return Ok(remote.is_folder.then_some(Kind::Folder));
        }
        Ok(self.holds_something(remote)?.then_some(Kind::Folder))
    }

    /// The size of a file in bytes, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Request`] and [`StoreError::Io`].
    pub fn size(&self, location: &Location) -> Result<Option<u64>, StoreError> {
        match location {
            Location::Local(path) => local::size(path),
            Location::Remote(remote) => Ok(self.head(remote)?.map(|head| head.meta.size)),
        }
    }

    fn head(&self, remote: &Remote) -> Result<Option<GetResult>, StoreError> {
        let connection = self.connection(remote)?;
        let key = key(remote)?;
        let head = || {
            let options = GetOptions { head: true, ..GetOptions::default() };
            connection.store.get_opts(&key, options)
        };
        let answer = wait_for(persist(&connection, &self.patience, head));
        found(answer, failed(Operation::Read, remote))
    }

    fn holds_something(&self, remote: &Remote) -> Result<bool, StoreError> {
        let connection = self.connection(remote)?;
        let prefix = key(remote)?;
        let first = || async { connection.store.list(Some(&prefix)).next().await.transpose() };
        let answer = wait_for(persist(&connection, &self.patience, first));
        Ok(answer.map_err(failed(Operation::List, remote))?.is_some())
    }

    /// The content of a small file, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Request`] and [`StoreError::Io`].
    pub fn read(&self, location: &Location) -> Result<Option<Vec<u8>>, StoreError> {
        let remote = match location {
            Location::Local(path) => return local::read(path),
            Location::Remote(remote) => remote,
        };
        let connection = self.connection(remote)?;
        let key = key(remote)?;
        let read = || async { connection.store.get(&key).await?.bytes().await };
        let answer = wait_for(persist(&connection, &self.patience, read));
        Ok(found(answer, failed(Operation::Read, remote))?.map(|bytes| bytes.to_vec()))
    }

    /// Removes files; those that are not there are no error. Folders stay.
    ///
    /// # Errors
    /// [`StoreError::Request`] and [`StoreError::Io`] naming the first that could not be removed.
    pub fn delete(&self, locations: &[Location]) -> Result<(), StoreError> {
        for location in locations {
            let remote = match location {
                Location::Local(path) => {
                    local::delete(path)?;
                    continue;
                }
                Location::Remote(remote) => writable(remote, Operation::Delete)?,
            };
            let connection = self.connection(remote)?;
            let key = key(remote)?;
            let delete = || connection.store.delete(&key);
            let answer = wait_for(persist(&connection, &self.patience, delete));
            found(answer, failed(Operation::Delete, remote))?;
        }
        Ok(())
    }

    /// Writes a small file.
    ///
    /// # Errors
    /// [`StoreError::Request`] and [`StoreError::Io`].
    pub fn put(&self, content: &[u8], to: &Location) -> Result<(), StoreError> {
        let remote = match to {
            Location::Local(path) => return local::put(content, path),
            Location::Remote(remote) => writable(remote, Operation::Write)?,
        };
        let connection = self.connection(remote)?;
        let key = key(remote)?;
        let content = bytes::Bytes::copy_from_slice(content);
        let put = || connection.store.put(&key, content.clone().into());
        let answer = wait_for(persist(&connection, &self.patience, put));
        answer.map(drop).map_err(failed(Operation::Write, remote))
    }

    /// Writes a file, in parts if it is large. It appears whole or not at all. What is appended to it meanwhile is left
    /// out. Returns the bytes written.
    ///
    /// # Errors
    /// [`StoreError::Request`] and [`StoreError::Io`].
    pub fn put_file(&self, from: &Path, to: &Location) -> Result<u64, StoreError> {
        match to {
            Location::Local(path) => local::copy(from, path),
            Location::Remote(remote) => {
                let connection = self.connection(writable(remote, Operation::Write)?)?;
                wait_for(crate::upload::file(&connection, &self.patience, from, remote))
            }
        }
    }

    /// Copies a file here, under a temporary name until it is whole. Interrupted, it goes on where it stopped. Returns its
    /// bytes.
    ///
    /// # Errors
    /// [`StoreError::Request`] and [`StoreError::Io`].
    pub fn fetch(&self, from: &Location, to: &Path) -> Result<u64, StoreError> {
        match from {
            Location::Local(path) => local::copy(path, to),
            Location::Remote(remote) => {
                let connection = self.connection(remote)?;
                wait_for(crate::download::file(&connection, &self.patience, remote, to))
            }
        }
    }
}

/// A web server's answer for `/data` may be the page of the folder `/data/`.
fn is_page_of_folder(remote: &Remote, head: &GetResult) -> bool {
    let name = remote.key.rsplit('/').next().unwrap_or_default();
    let is_page = head
        .attributes
        .get(&Attribute::ContentType)
        .is_some_and(|content_type| content_type.starts_with("text/html"));
    is_page && !name.ends_with(".html") && !name.ends_with(".htm")
}

/// Empty objects that only stand for folders: others' names go on where theirs end.
fn remove_folder_marks(entries: &mut Vec<Entry>) {
    let marks: Vec<String> = entries
        .iter()
        .filter(|mark| mark.size == Some(0))
        .filter(|mark| {
            let folder = format!("{}/", mark.name);
            let next = entries.partition_point(|entry| entry.name < folder);
            entries.get(next).is_some_and(|entry| entry.name.starts_with(&folder))
        })
        .map(|mark| mark.name.clone())
        .collect();
    entries.retain(|entry| !(entry.size == Some(0) && marks.contains(&entry.name)));
}

/// The key as the client wants it.
pub(crate) fn key(remote: &Remote) -> Result<Key, StoreError> {
    Key::parse(&remote.key)
        .map_err(|error| StoreError::Url { url: remote.to_string(), reason: error.to_string() })
}

pub(crate) fn failed(
    operation: Operation,
    remote: &Remote,
) -> impl Fn(object_store::Error) -> StoreError {
    let (url, scheme) = (remote.to_string(), remote.scheme);
    move |error| StoreError::Request {
        operation,
        url: url.clone(),
        scheme,
        cause: failure::cause(&error),
        reason: failure::reason(&error),
    }
}

/// Nothing, where the store says that there is no such object (though there is a bucket).
fn found<T>(
    answer: object_store::Result<T>,
    failed: impl Fn(object_store::Error) -> StoreError,
) -> Result<Option<T>, StoreError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if failure::cause(&error) == Cause::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

fn writable(remote: &Remote, operation: Operation) -> Result<&Remote, StoreError> {
    if !remote.scheme.is_web() {
        return Ok(remote);
    }
    Err(StoreError::Request {
        operation,
        url: remote.to_string(),
        scheme: remote.scheme,
        cause: Cause::ReadOnly,
        reason: "web servers can only be read from".to_owned(),
    })
}
