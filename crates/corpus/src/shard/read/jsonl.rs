//! JSON lines, plain or compressed with zstd.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use rayon::prelude::*;

use super::{BATCH_BYTES, BATCH_DOCUMENTS, Batch, OnBatch, ReadError, Row, row};
use crate::shard::record::Record;

/// A longer line is no document: a file without newlines must not fill the memory.
const MAX_LINE_BYTES: u64 = 256 << 20;

pub(super) fn read(path: &Path, zstd: bool, on_batch: OnBatch<'_>) -> Result<(), ReadError> {
    let damaged = |e: io::Error| ReadError::Damaged(e.to_string());
    let position = Rc::new(Cell::new(0));
    let mut reader = open(path, zstd, position.clone()).map_err(damaged)?;
    let mut number = 0;
    let mut at_end = false;
    while !at_end {
        let mut lines = Lines { bytes: Vec::new(), ends: Vec::new(), first: number + 1 };
        at_end = lines.fill(&mut *reader).map_err(damaged)?;
        number += lines.ends.len() as u64;
        on_batch(Batch { rows: lines.parse(), position: position.get() })?;
    }
    Ok(())
}

/// Decompresses everything and keeps nothing.
pub(super) fn check(path: &Path, zstd: bool) -> Result<(), String> {
    let check = || -> io::Result<()> {
        let file = File::open(path)?;
        if zstd {
            io::copy(&mut zstd::Decoder::new(file)?, &mut io::sink())?;
        }
        Ok(())
    };
    check().map_err(|e| e.to_string())
}

fn open(path: &Path, zstd: bool, position: Rc<Cell<u64>>) -> io::Result<Box<dyn BufRead>> {
    let file = Counted { file: File::open(path)?, position };
    Ok(if zstd {
        Box::new(BufReader::with_capacity(1 << 20, zstd::Decoder::new(file)?))
    } else {
        Box::new(BufReader::with_capacity(1 << 20, file))
    })
}

/// Counts what is read.
struct Counted {
    file: File,
    position: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.position.set(self.position.get() + n as u64);
        Ok(n)
    }
}

/// Some consecutive lines.
struct Lines {
    bytes: Vec<u8>,
    /// Where each ends, and whether it was cut off for its length.
    ends: Vec<(usize, bool)>,
    /// Number of the first.
    first: u64,
}

impl Lines {
    /// Reads a batch of lines; returns whether the file has ended.
    fn fill(&mut self, reader: &mut dyn BufRead) -> io::Result<bool> {
        while self.bytes.len() < BATCH_BYTES && self.ends.len() < BATCH_DOCUMENTS {
            let start = self.bytes.len();
            let taken = reader.take(MAX_LINE_BYTES).read_until(b'\n', &mut self.bytes)?;
            if taken == 0 {
                return Ok(true);
            }
            let too_long = taken as u64 == MAX_LINE_BYTES && !self.bytes.ends_with(b"\n");
            if too_long {
                self.bytes.truncate(start);
                reader.skip_until(b'\n')?;
            }
            self.ends.push((self.bytes.len(), too_long));
        }
        Ok(false)
    }

    /// The rows of all lines that are not blank.
    fn parse(&self) -> Vec<Row> {
        let start = |at: usize| at.checked_sub(1).map_or(0, |before| self.ends[before].0);
        let parse = |at: usize| -> Option<Row> {
            let (end, too_long) = self.ends[at];
            let number = self.first + at as u64;
            if too_long {
                let why = format!("longer than {MAX_LINE_BYTES} bytes");
                return Some(Row { number, record: Err(why) });
            }
            let mut line = &self.bytes[start(at)..end];
            if number == 1 {
                line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
            }
            let blank = line.iter().all(u8::is_ascii_whitespace);
            (!blank).then(|| row(number, Record::from_json(line)))
        };
        (0..self.ends.len()).into_par_iter().with_min_len(4).filter_map(parse).collect()
    }
}
