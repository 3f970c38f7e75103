//! Documents to numbered files, under temporary names until all are written.

use std::io::{self, BufWriter, IntoInnerError, Write};
use std::sync::Arc;

use tempfile::NamedTempFile;

use super::columns::Column;
use super::options::{ShardFormat, ShardOptions, ShardSize};
use super::parquet::ParquetWriter;
use super::record::Record;
use crate::error::CorpusError;
use crate::output;
use crate::summary::{OutputFile, Split};

const ZSTD_LEVEL: i32 = 3;

type File = BufWriter<NamedTempFile>;

enum Writer {
    Plain(File),
    Zstd(zstd::Encoder<'static, File>),
    Parquet(Box<ParquetWriter<File>>),
}

/// Writes one side of the hold-out.
pub(crate) struct Shards<'a> {
    options: &'a ShardOptions,
    split: Split,
    columns: Arc<[Column]>,
    /// Documents in all that stay.
    documents: u64,
    open: Option<Shard>,
    written: Vec<(NamedTempFile, OutputFile)>,
}

/// A file that is being written.
struct Shard {
    writer: Writer,
    documents: u64,
    text_bytes: u64,
}

impl<'a> Shards<'a> {
    pub(crate) fn new(
        options: &'a ShardOptions,
        split: Split,
        columns: Arc<[Column]>,
        documents: u64,
    ) -> Self {
        Self { options, split, columns, documents, open: None, written: Vec::new() }
    }

    /// Appends a document that is given as its line of JSONL.
    pub(crate) fn push(&mut self, line: &[u8], text_bytes: u64) -> Result<(), CorpusError> {
        let shard = match &mut self.open {
            Some(shard) => shard,
            None => {
                let start = Shard::start(self.options, &self.columns, self.documents);
                self.open
                    .insert(start.map_err(CorpusError::io("make a file in", &self.options.out))?)
            }
        };
        let pushed = shard.push(line, text_bytes);
        pushed.map_err(CorpusError::io("write documents to", &self.options.out))?;
        let full = match self.options.shard_size {
            ShardSize::Bytes(limit) => shard.text_bytes >= limit,
            ShardSize::Documents(limit) => shard.documents >= limit,
        };
        // Readers take the last file for validation, so it has to be one.
        if full && self.split != Split::Validation { self.end_shard() } else { Ok(()) }
    }

    /// Everything that was written, on the disk and under temporary names.
    pub(crate) fn finish(mut self) -> Result<Vec<(NamedTempFile, OutputFile)>, CorpusError> {
        self.end_shard()?;
        Ok(self.written)
    }

    fn end_shard(&mut self) -> Result<(), CorpusError> {
        let Some(shard) = self.open.take() else { return Ok(()) };
        let (documents, text_bytes) = (shard.documents, shard.text_bytes);
        let ended = shard.end();
        let (file, file_bytes) =
            ended.map_err(CorpusError::io("write documents to", &self.options.out))?;
        let (name, split) = (self.name(), self.split);
        self.written.push((file, OutputFile { name, split, documents, text_bytes, file_bytes }));
        Ok(())
    }

    fn name(&self) -> String {
        let end = match (self.options.format, self.options.compress) {
            (ShardFormat::Parquet, _) => "parquet",
            (ShardFormat::Jsonl, false) => "jsonl",
            (ShardFormat::Jsonl, true) => "jsonl.zst",
        };
        match self.split {
            Split::Validation => format!("validation.{end}"),
            Split::Train | Split::All => format!("train-{:05}.{end}", self.written.len()),
        }
    }
}

impl Shard {
    fn start(options: &ShardOptions, columns: &Arc<[Column]>, documents: u64) -> io::Result<Self> {
        let file = output::new_temporary(&options.out)?;
        let writer = match (options.format, options.compress) {
            (ShardFormat::Parquet, _) => {
                let writer = ParquetWriter::new(file, columns.clone(), documents);
                Writer::Parquet(Box::new(writer.map_err(io::Error::other)?))
            }
            (ShardFormat::Jsonl, false) => Writer::Plain(file),
            (ShardFormat::Jsonl, true) => {
                let mut encoder = zstd::Encoder::new(file, ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                Writer::Zstd(encoder)
            }
        };
        Ok(Self { writer, documents: 0, text_bytes: 0 })
    }

    fn push(&mut self, line: &[u8], text_bytes: u64) -> io::Result<()> {
        self.documents += 1;
        self.text_bytes += text_bytes;
        match &mut self.writer {
            Writer::Plain(file) => file.write_all(line),
            Writer::Zstd(encoder) => encoder.write_all(line),
            Writer::Parquet(writer) => {
                let record = Record::from_json(line).map_err(io::Error::other)?;
                writer.push(record, text_bytes).map_err(io::Error::other)
            }
        }
    }

    /// The file and its size.
    fn end(self) -> io::Result<(NamedTempFile, u64)> {
        let buffered = match self.writer {
            Writer::Plain(file) => file,
            Writer::Zstd(encoder) => encoder.finish()?,
            Writer::Parquet(writer) => writer.finish().map_err(io::Error::other)?,
        };
        let file = buffered.into_inner().map_err(IntoInnerError::into_error)?;
        file.as_file().sync_all()?;
        let bytes = file.as_file().metadata()?.len();
        Ok((file, bytes))
    }
}
