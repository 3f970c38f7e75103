//! Parquet files, whoever wrote them.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row as ParquetRow};
use serde_json::{Number, Value};

use super::{BATCH_BYTES, BATCH_DOCUMENTS, Batch, OnBatch, ReadError, row};
use crate::error::CorpusError;
use crate::shard::record::Record;

pub(super) fn read(path: &Path, bytes: u64, on_batch: OnBatch<'_>) -> Result<(), ReadError> {
    let damaged = |e: ParquetError| ReadError::Damaged(e.to_string());
    let file = File::open(path).map_err(|e| ReadError::Damaged(e.to_string()))?;
    let reader = SerializedFileReader::new(file).map_err(damaged)?;
    let groups = reader.num_row_groups();
    let mut number = 0;
    for at in 0..groups {
        let position = |done: usize| (bytes as f64 * done as f64 / groups as f64) as u64;
        let group = reader.get_row_group(at).map_err(damaged)?;
        let mut batch = Batch { rows: Vec::new(), position: position(at) };
        let mut size = 0;
        for found in group.get_row_iter(None).map_err(damaged)? {
            let record = record(found.map_err(damaged)?);
            number += 1;
            size += record.content().map_or(0, |content| content.len());
            batch.rows.push(row(number, Ok(record)));
            if size >= BATCH_BYTES || batch.rows.len() >= BATCH_DOCUMENTS {
                let rows = std::mem::take(&mut batch.rows);
                on_batch(Batch { rows, position: batch.position })?;
                size = 0;
            }
        }
        batch.position = position(at + 1);
        on_batch(batch)?;
    }
    Ok(())
}

/// Reads everything and keeps nothing.
pub(super) fn check(path: &Path, bytes: u64) -> Result<(), String> {
    let all = || read(path, bytes, &mut |_| Ok::<(), CorpusError>(()));
    // The decoders answer most damage with an error, but not all of it.
    match catch_unwind(AssertUnwindSafe(all)) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(ReadError::Damaged(why))) => Err(why),
        Ok(Err(ReadError::Stopped(why))) => Err(why.to_string()),
        Err(_) => Err("its pages cannot be decoded".to_owned()),
    }
}

fn record(found: ParquetRow) -> Record {
    Record::new(
        found.into_columns().into_iter().map(|(name, field)| (name, value(field))).collect(),
    )
}

/// Strings stay strings, numbers numbers, and nested values what JSON has for them; anything else is shown as text.
fn value(field: Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(b) => Value::Bool(b),
        Field::Byte(n) => n.into(),
        Field::Short(n) => n.into(),
        Field::Int(n) | Field::Date(n) | Field::TimeMillis(n) => n.into(),
        Field::Long(n)
        | Field::TimeMicros(n)
        | Field::TimestampMillis(n)
        | Field::TimestampMicros(n) => n.into(),
        Field::UByte(n) => n.into(),
        Field::UShort(n) => n.into(),
        Field::UInt(n) => n.into(),
        Field::ULong(n) => n.into(),
        Field::Float(x) => number(f64::from(x)),
        Field::Double(x) => number(x),
        Field::Str(text) => Value::String(text),
        // Some writers leave out that their strings are UTF-8.
        Field::Bytes(bytes) => {
            String::from_utf8(bytes.data().to_vec()).map_or(Value::Null, Value::String)
        }
        Field::Group(group) => Value::Object(
            group.into_columns().into_iter().map(|(name, field)| (name, value(field))).collect(),
        ),
        Field::ListInternal(list) => {
            Value::Array(list.elements().iter().cloned().map(value).collect())
        }
        other => Value::String(other.to_string()),
    }
}

/// JSON has no infinities.
fn number(x: f64) -> Value {
    Number::from_f64(x).map_or(Value::Null, Value::Number)
}
