//! Rows to a Parquet file: zstd, row groups of [`ROW_GROUP`] rows.

use std::io::Write;
use std::sync::Arc;

use parquet::basic::{
    Compression, ConvertedType, LogicalType, Repetition, Type as PhysicalType, ZstdLevel,
};
use parquet::column::writer::{ColumnWriter, ColumnWriterImpl};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{ColumnPath, Type};
use serde_json::Value;

use super::columns::{Column, ColumnKind};
use super::record::Record;

/// Rows of a row group: the unit by which readers share a file.
pub(crate) const ROW_GROUP: usize = 1024;
/// A group of very long documents ends before, so that writing it does not fill the memory.
const MAX_GROUP_BYTES: u64 = 256 << 20;
/// Pages are cut at multiples of this many rows; documents are long, so at few.
const ROWS_PER_BATCH: usize = 16;
const ZSTD_LEVEL: i32 = 3;

/// Columns whose values hardly repeat: neither a dictionary nor the smallest and largest value help anyone.
const LONG: &[&str] = &["text", "docstring", "signature", "body"];

/// Writes rows.
pub(crate) struct ParquetWriter<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    columns: Arc<[Column]>,
    rows: Vec<Record>,
    bytes: u64,
}

impl<W: Write + Send> ParquetWriter<W> {
    /// `documents` is the number of documents that the columns were taken from: a text that all of them have is
    /// required.
    pub(crate) fn new(
        out: W,
        columns: Arc<[Column]>,
        documents: u64,
    ) -> Result<Self, ParquetError> {
        let fields = columns.iter().map(|column| field(column, documents));
        let fields = fields.collect::<Result<_, _>>()?;
        let schema = Arc::new(Type::group_type_builder("schema").with_fields(fields).build()?);
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_write_batch_size(ROWS_PER_BATCH);
        for name in LONG {
            let column = ColumnPath::from(*name);
            properties = properties
                .set_column_statistics_enabled(column.clone(), EnabledStatistics::None)
                .set_column_dictionary_enabled(column, false);
        }
        let writer = SerializedFileWriter::new(out, schema, Arc::new(properties.build()))?;
        Ok(Self { writer, columns, rows: Vec::new(), bytes: 0 })
    }

    /// Adds a row of `bytes` bytes.
    pub(crate) fn push(&mut self, record: Record, bytes: u64) -> Result<(), ParquetError> {
        self.rows.push(record);
        self.bytes += bytes;
        if self.rows.len() == ROW_GROUP || self.bytes >= MAX_GROUP_BYTES {
            self.end_group()?;
        }
        Ok(())
    }

    /// Writes the last group and the footer.
    pub(crate) fn finish(mut self) -> Result<W, ParquetError> {
        self.end_group()?;
        self.writer.into_inner()
    }

    fn end_group(&mut self) -> Result<(), ParquetError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        for column in &*self.columns {
            write_column(&mut group, column, &self.rows)?;
        }
        group.close()?;
        self.rows.clear();
        self.bytes = 0;
        Ok(())
    }
}

fn field(column: &Column, documents: u64) -> Result<Arc<Type>, ParquetError> {
    let required = column.name == super::record::TEXT && column.values == documents;
    let repetition = if required { Repetition::REQUIRED } else { Repetition::OPTIONAL };
    let builder = match column.kind {
        ColumnKind::Integer => Type::primitive_type_builder(&column.name, PhysicalType::INT64),
        ColumnKind::Text | ColumnKind::Json => {
            Type::primitive_type_builder(&column.name, PhysicalType::BYTE_ARRAY)
                .with_logical_type(Some(LogicalType::String))
                .with_converted_type(ConvertedType::UTF8)
        }
    };
    Ok(Arc::new(builder.with_repetition(repetition).build()?))
}

fn write_column<W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    column: &Column,
    rows: &[Record],
) -> Result<(), ParquetError> {
    let missing = || ParquetError::General(format!("no writer for column {}", column.name));
    let mut writer = group.next_column()?.ok_or_else(missing)?;
    let values = || rows.iter().map(|row| row.value(&column.name));
    match writer.untyped() {
        ColumnWriter::Int64ColumnWriter(writer) => {
            write_values::<Int64Type>(writer, values().map(|v| v.and_then(Value::as_i64)))?;
        }
        ColumnWriter::ByteArrayColumnWriter(writer) => {
            let bytes = |value: &Value| match (column.kind, value) {
                (ColumnKind::Text, Value::String(text)) => {
                    ByteArray::from(text.as_bytes().to_vec())
                }
                _ => ByteArray::from(value.to_string().into_bytes()),
            };
            write_values::<ByteArrayType>(writer, values().map(|v| v.map(bytes)))?;
        }
        _ => return Err(missing()),
    }
    writer.close()
}

/// Values and, for those that may be missing, which are there.
fn write_values<T: DataType>(
    writer: &mut ColumnWriterImpl<'_, T>,
    values: impl Iterator<Item = Option<T::T>>,
) -> Result<(), ParquetError> {
    let mut present = Vec::new();
    let mut found = Vec::new();
    for value in values {
        present.push(i16::from(value.is_some()));
        found.extend(value);
    }
    let optional = writer.get_descriptor().max_def_level() > 0;
    writer.write_batch(&found, optional.then_some(&present[..]), None)?;
    Ok(())
}
