//! Objects to files, going on where a broken connection left off.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use object_store::client::{HttpError, HttpErrorKind};
use object_store::{Error, GetOptions, GetRange, ObjectMeta};

use crate::connect::Connection;
use crate::error::{Operation, StoreError};
use crate::failure::{self, is_transient};
use crate::local::{persist, temporary_beside};
use crate::location::Remote;
use crate::retry::{Attempts, Patience};
use crate::store::{failed, key};

/// A connection on which nothing comes for so long is given up for another.
const SILENCE: Duration = Duration::from_secs(30);

/// How far a file has come.
#[derive(Default)]
struct Progress {
    bytes: u64,
    /// Of which object: another one of the same name must not be put together with it.
    of: Option<ObjectMeta>,
}

/// Why an attempt ended.
enum Stopped {
    Store(Error),
    Local(std::io::Error),
    Changed,
}

pub(crate) async fn file(
    connection: &Connection,
    patience: &Patience,
    from: &Remote,
    to: &Path,
) -> Result<u64, StoreError> {
    let mut temporary = temporary_beside(to)?;
    let mut progress = Progress::default();
    let mut attempts = Attempts::new();
    loop {
        let before = progress.bytes;
        let error = match receive(connection, from, temporary.as_file_mut(), &mut progress).await {
            Ok(()) => break,
            Err(Stopped::Local(source)) => {
                return Err(StoreError::Io { path: to.to_owned(), source });
            }
            Err(Stopped::Changed) => changed(),
            Err(Stopped::Store(error)) if progress.bytes > 0 && cannot_go_on(&error) => changed(),
            Err(Stopped::Store(error)) if is_transient(&error) => error,
            Err(Stopped::Store(error)) => return Err(failed(Operation::Read, from)(error)),
        };
        if is_changed(&error) {
            progress = Progress::default();
        } else if progress.bytes > before {
            attempts = Attempts::new();
        }
        if !attempts.again(patience.with(connection)).await {
            return Err(failed(Operation::Read, from)(error));
        }
    }
    persist(temporary, to)?;
    Ok(progress.bytes)
}

/// The object has changed meanwhile, or the server cannot send parts: only from the beginning it may work.
fn cannot_go_on(error: &Error) -> bool {
    failure::chain(error).any(|cause| {
        matches!(
            cause.downcast_ref(),
            Some(Error::Precondition { .. } | Error::NotSupported { .. })
        )
    })
}

/// Receives what is not there yet.
async fn receive(
    connection: &Connection,
    from: &Remote,
    file: &mut File,
    progress: &mut Progress,
) -> Result<(), Stopped> {
    let key = key(from).map_err(|e| Stopped::Local(std::io::Error::other(e)))?;
    file.set_len(progress.bytes).map_err(Stopped::Local)?;
    file.seek(SeekFrom::Start(progress.bytes)).map_err(Stopped::Local)?;
    let goes_on = progress.bytes > 0;
    let options = GetOptions {
        range: goes_on.then_some(GetRange::Offset(progress.bytes)),
        if_match: progress.of.as_ref().and_then(|of| of.e_tag.clone()).filter(|_| goes_on),
        ..GetOptions::default()
    };
    let answer = connection.store.get_opts(&key, options).await.map_err(Stopped::Store)?;
    connection.set_reached();
    if goes_on && progress.of.as_ref() != Some(&answer.meta) {
        return Err(Stopped::Changed);
    }
    let size = answer.meta.size;
    progress.of = Some(answer.meta.clone());
    let mut stream = answer.into_stream();
    while progress.bytes < size {
        let chunk = match tokio::time::timeout(SILENCE, stream.next()).await {
            Ok(Some(chunk)) => chunk.map_err(Stopped::Store)?,
            Ok(None) => return Err(broken("the connection was closed before the end")),
            Err(_) => return Err(broken("the server fell silent")),
        };
        file.write_all(&chunk).map_err(Stopped::Local)?;
        progress.bytes += chunk.len() as u64;
    }
    Ok(())
}

fn broken(what: &'static str) -> Stopped {
    Stopped::Store(interrupted(what))
}

const CHANGED: &str = "the object changed again and again while it was read";

fn changed() -> Error {
    interrupted(CHANGED)
}

fn is_changed(error: &Error) -> bool {
    failure::reason(error) == CHANGED
}

fn interrupted(what: &'static str) -> Error {
    let source = HttpError::new(HttpErrorKind::Interrupted, std::io::Error::other(what));
    Error::Generic { store: "store", source: Box::new(source) }
}
