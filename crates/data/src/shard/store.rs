//! Where the lines of a file can be read again: the file itself, or a decompressed copy.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tempfile::SpooledTempFile;

use crate::error::DataError;

trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}

/// Random access to the (decompressed) bytes of one file.
pub(crate) struct Store {
    path: PathBuf,
    reader: Mutex<Box<dyn ReadSeek>>,
    in_memory: bool,
}

impl Store {
    /// Opens a file and lets `scan` read all of it once. What a compressed file holds is kept in memory up to
    /// `memory_limit` bytes and in an unnamed temporary file beyond: zstd has no way to start in the middle.
    /// Messages call the file `path`.
    pub(crate) fn open<T>(
        local: &Path,
        path: &Path,
        memory_limit: usize,
        scan: impl FnOnce(&mut dyn Read) -> Result<T, DataError>,
    ) -> Result<(Self, T), DataError> {
        let mut file = File::open(local).map_err(DataError::io("open", path))?;
        let mut in_memory = false;
        let (reader, scanned): (Box<dyn ReadSeek>, T) = if is_zstd(path) {
            let decoder = zstd::Decoder::new(file).map_err(DataError::io("decompress", path))?;
            let mut tee = Tee { reader: decoder, copy: SpooledTempFile::new(memory_limit) };
            let scanned = scan(&mut tee)?;
            in_memory = !tee.copy.is_rolled();
            (Box::new(tee.copy), scanned)
        } else {
            let scanned = scan(&mut file)?;
            (Box::new(file), scanned)
        };
        Ok((Self { path: path.to_owned(), reader: Mutex::new(reader), in_memory }, scanned))
    }

    /// Whether a decompressed copy is held in memory.
    pub(crate) fn in_memory(&self) -> bool {
        self.in_memory
    }

    /// Replaces `buffer` by `length` bytes from `offset` on.
    pub(crate) fn read(
        &self,
        offset: u64,
        length: u32,
        buffer: &mut Vec<u8>,
    ) -> Result<(), DataError> {
        buffer.clear();
        buffer.resize(length as usize, 0);
        // A panic cannot leave the reader in a bad state: every use starts with a seek.
        let mut reader = self.reader.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let read = reader.seek(SeekFrom::Start(offset)).and_then(|_| reader.read_exact(buffer));
        read.map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => DataError::Changed {
                path: self.path.clone(),
                at: format!("document at byte {offset}"),
            },
            _ => DataError::io("read", &self.path)(e),
        })
    }
}

fn is_zstd(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("zst"))
}

/// Writes down what passes.
struct Tee<R, W> {
    reader: R,
    copy: W,
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.copy.write_all(&buffer[..n])?;
        Ok(n)
    }
}
