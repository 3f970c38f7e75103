//! Files to objects: small ones at once, large ones in parts.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use object_store::path::Path as Key;
use object_store::{MultipartUpload, ObjectStoreExt, PutMultipartOptions, PutPayload};

use crate::connect::Connection;
use crate::error::{Operation, StoreError};
use crate::location::Remote;
use crate::retry::{PartPolicy, Patience, persist};
use crate::store::{failed, key};

/// A file of more bytes goes in parts of so many.
pub const PART_BYTES: u64 = 8 << 20;
/// S3 takes 10,000 parts, so those of very large files are larger.
const MOST_PARTS: u64 = 9_000;
/// Parts on their way at once. Each is in memory meanwhile.
const PARALLEL_PARTS: usize = 4;

pub(crate) async fn file(
    connection: &Connection,
    patience: &Patience,
    from: &Path,
    to: &Remote,
) -> Result<u64, StoreError> {
    let key = key(to)?;
    let open = || File::open(from).and_then(|file| Ok((file.metadata()?.len(), file)));
    let (size, mut file) = open().map_err(StoreError::io(from))?;
    if size <= PART_BYTES {
        let content: bytes::Bytes = read(&mut file, size).map_err(StoreError::io(from))?.into();
        let put = || connection.store.put(&key, content.clone().into());
        let answer = persist(connection, patience, put).await;
        answer.map_err(failed(Operation::Write, to))?;
        return Ok(size);
    }
    // Parts are repeated one by one. What begins and ends an upload is not, but for the whole of it.
    let upload = || parts(connection, patience, from, size, &key);
    match persist(connection, patience, upload).await.map_err(failed(Operation::Write, to))? {
        Ok(()) => Ok(size),
        Err(source) => Err(StoreError::Io { path: from.to_owned(), source }),
    }
}

/// Uploads in parts. The outer error is the store's, the inner one the file's.
async fn parts(
    connection: &Connection,
    patience: &Patience,
    from: &Path,
    size: u64,
    key: &Key,
) -> object_store::Result<io::Result<()>> {
    let policy = PartPolicy(patience.later);
    let options = PutMultipartOptions::default().with_retry_policy(std::sync::Arc::new(policy));
    let mut upload = connection.store.put_multipart_opts(key, options).await?;
    connection.set_reached();
    let sent = match send(upload.as_mut(), from, size).await {
        Ok(Ok(())) => upload.complete().await.map(|_| Ok(())),
        failed => failed,
    };
    if !matches!(sent, Ok(Ok(()))) {
        // Parts that nobody will ever complete cost money; the first error is the one to tell.
        let _ = upload.abort().await;
    }
    sent
}

async fn send(
    upload: &mut dyn MultipartUpload,
    from: &Path,
    size: u64,
) -> object_store::Result<io::Result<()>> {
    let part = PART_BYTES.max(size.div_ceil(MOST_PARTS));
    let mut on_their_way = FuturesUnordered::new();
    let mut file = match File::open(from) {
        Ok(file) => file,
        Err(error) => return Ok(Err(error)),
    };
    let mut at = 0;
    while at < size {
        if on_their_way.len() == PARALLEL_PARTS {
            on_their_way.next().await.transpose()?;
        }
        let content = match read(&mut file, part.min(size - at)) {
            Ok(content) => content,
            Err(error) => return Ok(Err(error)),
        };
        at += content.len() as u64;
        on_their_way.push(upload.put_part(PutPayload::from(content)));
    }
    while let Some(sent) = on_their_way.next().await {
        sent?;
    }
    Ok(Ok(()))
}

/// Exactly so many bytes: a file that has become shorter is an error.
fn read(file: &mut File, bytes: u64) -> io::Result<Vec<u8>> {
    let mut content = vec![0; bytes as usize];
    file.read_exact(&mut content)?;
    Ok(content)
}
