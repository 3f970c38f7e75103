//! Parquet files that the tests write.

use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// Writes rows of nullable strings, `group` rows to a row group.
pub fn write(
    path: &Path,
    columns: &[&str],
    rows: &[Vec<Option<&str>>],
    group: usize,
    compression: Compression,
) {
    let fields: Vec<String> =
        columns.iter().map(|name| format!("OPTIONAL BYTE_ARRAY {name} (UTF8);")).collect();
    let schema = parse_message_type(&format!("message rows {{ {} }}", fields.join(" "))).unwrap();
    let properties = WriterProperties::builder().set_compression(compression).build();
    let file = std::fs::File::create(path).unwrap();
    let mut writer =
        SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties)).unwrap();
    for rows in rows.chunks(group) {
        let mut row_group = writer.next_row_group().unwrap();
        for at in 0..columns.len() {
            let levels: Vec<i16> = rows.iter().map(|row| i16::from(row[at].is_some())).collect();
            let values: Vec<ByteArray> =
                rows.iter().filter_map(|row| row[at]).map(ByteArray::from).collect();
            let mut column = row_group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
            column.close().unwrap();
        }
        row_group.close().unwrap();
    }
    writer.close().unwrap();
}

/// Texts, a few to a row group, compressed with zstd.
pub fn write_texts<S: AsRef<str>>(path: &Path, texts: &[S], group: usize) {
    let rows: Vec<_> = texts.iter().map(|text| vec![Some(text.as_ref())]).collect();
    write(path, &["text"], &rows, group, Compression::ZSTD(ZstdLevel::default()));
}
