//! Parquet files: the columns that make a document, a row group at a time.
//!
//! A row group is what can be read on its own; single rows cannot. Files come from anywhere, so nothing in a footer is
//! trusted: offsets and sizes are checked before they are used, and a panic of the decoder is a corrupt file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::{Buf, Bytes};
use parquet::basic::Type as PhysicalType;
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;
use rayon::prelude::*;

use crate::error::DataError;
use crate::record::Schema;
use crate::shard::Unreadable;
use crate::shard::scan::{Problem, Row, ScanOptions, Scanned, weigh};

/// Row groups that are decoded side by side while a file is scanned: a bound of the memory that it takes.
const SCANNED_TOGETHER: usize = 8;

/// An open Parquet file.
pub(crate) struct ParquetFile {
    path: PathBuf,
    file: Mutex<File>,
    /// Its length in bytes.
    size: u64,
    metadata: ParquetMetaData,
    /// Places of the wanted columns among all.
    columns: Vec<usize>,
}

/// The wanted columns of a row group, decoded: for each row its values, `None` for null.
pub(crate) struct RowGroup {
    columns: Vec<Vec<Option<ByteArray>>>,
    bytes: u64,
}

impl ParquetFile {
    /// Reads the footer and finds the columns of `schema`.
    pub(crate) fn open(path: &Path, schema: &Schema) -> Result<Self, Unreadable> {
        let file = File::open(path).map_err(DataError::io("open", path))?;
        let metadata = guarded(|| ParquetMetaDataReader::new().parse_and_finish(&file))?;
        let columns = schema.fields().into_iter().map(|name| find(&metadata, name));
        let columns = columns.collect::<Result<_, _>>()?;
        let size = file.metadata().map_err(DataError::io("open", path))?.len();
        Ok(Self { path: path.to_owned(), file: Mutex::new(file), size, metadata, columns })
    }

    /// Reads every row once, as a scan of lines does.
    pub(crate) fn scan(
        &self,
        schema: &Schema,
        options: &ScanOptions<'_>,
    ) -> Result<Scanned, Unreadable> {
        let mut found = Scanned::default();
        let groups: Vec<usize> = (0..self.metadata.num_row_groups()).collect();
        let mut line = 0;
        for some in groups.chunks(SCANNED_TOGETHER) {
            let rows = some.par_iter().map(|group| Ok(self.read(*group)?.rows(schema)));
            let rows: Vec<Vec<Row>> = rows.collect::<Result<_, Unreadable>>()?;
            for (group, rows) in some.iter().zip(rows) {
                for (row, result) in rows.into_iter().enumerate() {
                    line += 1;
                    match result {
                        Ok(Some((hash, text_bytes))) => {
                            found.document((place(*group, row), 0), &hash, text_bytes);
                        }
                        Ok(None) => found.empty_documents += 1,
                        Err(why) => {
                            let problem = Problem { file: self.path.clone(), line, why };
                            found.problem(problem, options)?;
                        }
                    }
                }
            }
        }
        found.bytes = self.size;
        Ok(found)
    }

    /// Decodes the wanted columns of row group `group`.
    pub(crate) fn read(&self, group: usize) -> Result<RowGroup, Unreadable> {
        let metadata = self.metadata.row_group(group);
        let rows = metadata.num_rows();
        let rows = u32::try_from(rows)
            .map_err(|_| Unreadable::new(format!("{rows} rows in a row group")))?;
        let mut decoded = RowGroup { columns: Vec::new(), bytes: 0 };
        for column in &self.columns {
            let chunk = metadata.column(*column);
            let bytes = self.chunk(chunk)?;
            let values = guarded(|| decode(bytes, chunk, rows as usize))?;
            decoded.bytes += values.iter().flatten().map(|v| v.len() as u64).sum::<u64>();
            decoded.columns.push(values);
        }
        Ok(decoded)
    }

    /// The bytes of a column in a row group, in one read.
    fn chunk(&self, chunk: &ColumnChunkMetaData) -> Result<ColumnChunk, Unreadable> {
        let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
        let start = start.min(chunk.data_page_offset());
        let outside = || Unreadable::new("a column lies outside the file".to_owned());
        let start = u64::try_from(start).map_err(|_| outside())?;
        let length = u64::try_from(chunk.compressed_size()).map_err(|_| outside())?;
        if start.checked_add(length).is_none_or(|end| end > self.size) {
            return Err(outside());
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| outside())?];
        // A panic cannot leave the file in a bad state: every use starts with a seek.
        let mut file = self.file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let read = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut bytes));
        read.map_err(DataError::io("read", &self.path))?;
        Ok(ColumnChunk { start, bytes: bytes.into() })
    }
}

impl RowGroup {
    /// Bytes of all values.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The values of a row, or what is wrong with it.
    pub(crate) fn row(&self, row: usize, schema: &Schema) -> Result<Vec<&str>, String> {
        let fields = schema.fields();
        let values = self.columns.iter().zip(fields).map(|(column, name)| {
            let value = column.get(row).ok_or_else(|| "no such row".to_owned())?;
            let value = value.as_ref().ok_or_else(|| format!("`{name}` is null"))?;
            std::str::from_utf8(value.data())
                .map_err(|e| format!("`{name}` is not UTF-8 (byte {})", e.valid_up_to() + 1))
        });
        values.collect()
    }

    fn rows(&self, schema: &Schema) -> Vec<Row> {
        let count = self.columns.first().map_or(0, Vec::len);
        (0..count).map(|row| self.row(row, schema).map(|texts| weigh(schema, &texts))).collect()
    }
}

/// Row group and row as the place of an entry.
pub(crate) fn place(group: usize, row: usize) -> u64 {
    (group as u64) << 32 | row as u64
}

/// The row group and the row of an entry's place.
pub(crate) fn group_and_row(place: u64) -> (usize, usize) {
    ((place >> 32) as usize, (place & u64::from(u32::MAX)) as usize)
}

/// Finds a column of strings by its path.
fn find(metadata: &ParquetMetaData, name: &str) -> Result<usize, Unreadable> {
    let columns = metadata.file_metadata().schema_descr().columns();
    let at = columns.iter().position(|column| column.path().string() == name).ok_or_else(|| {
        let names: Vec<String> =
            columns.iter().map(|c| format!("`{}`", c.path().string())).collect();
        Unreadable::new(format!("no column `{name}`; there are {}", names.join(", ")))
    })?;
    let column = &columns[at];
    if column.physical_type() != PhysicalType::BYTE_ARRAY || column.max_rep_level() > 0 {
        return Err(Unreadable::new(format!("column `{name}` does not hold strings")));
    }
    Ok(at)
}

/// Decodes the pages of one column of a row group.
fn decode(
    bytes: ColumnChunk,
    chunk: &ColumnChunkMetaData,
    rows: usize,
) -> ParquetResult<Vec<Option<ByteArray>>> {
    let pages = SerializedPageReader::new(Arc::new(bytes), chunk, rows, None)?;
    let column = chunk.column_descr_ptr();
    let defined = column.max_def_level();
    let mut reader = ColumnReaderImpl::<ByteArrayType>::new(column, Box::new(pages));
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    let mut read = 0;
    while read < rows {
        let (n, _, _) = reader.read_records(rows - read, Some(&mut levels), None, &mut values)?;
        if n == 0 {
            let message = format!("{read} of {rows} rows of a row group");
            return Err(ParquetError::EOF(message));
        }
        read += n;
    }
    if defined == 0 {
        return Ok(values.into_iter().map(Some).collect());
    }
    let mut values = values.into_iter();
    let rows = levels.iter().map(|level| if *level == defined { values.next() } else { None });
    Ok(rows.collect())
}

/// Turns errors and panics of the decoder into a file that cannot be read.
fn guarded<T>(decode: impl FnOnce() -> ParquetResult<T>) -> Result<T, Unreadable> {
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(result) => result.map_err(|e| Unreadable::new(e.to_string())),
        Err(_) => Err(Unreadable::new("its pages contradict themselves".to_owned())),
    }
}

/// A column chunk in memory that answers to offsets in its file.
struct ColumnChunk {
    start: u64,
    bytes: Bytes,
}

impl ColumnChunk {
    fn range(&self, start: u64, length: Option<usize>) -> ParquetResult<Bytes> {
        let outside = || ParquetError::EOF("a page lies outside its column".to_owned());
        let from = start.checked_sub(self.start).and_then(|n| usize::try_from(n).ok());
        let from = from.filter(|from| *from <= self.bytes.len()).ok_or_else(outside)?;
        let end = length.map_or(Some(self.bytes.len()), |length| from.checked_add(length));
        let end = end.filter(|end| *end <= self.bytes.len()).ok_or_else(outside)?;
        Ok(self.bytes.slice(from..end))
    }
}

impl Length for ColumnChunk {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for ColumnChunk {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(self.range(start, None)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        self.range(start, Some(length))
    }
}
