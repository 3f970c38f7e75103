//! Token ids as text, JSON or bytes.

use std::io::{self, Write};

use anyhow::{Context, bail};
use clap::ValueEnum;

/// How ids are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum IdFormat {
    /// Decimal numbers separated by spaces, one line for each input
    Text,
    /// One JSON array for each input, each on a line
    Json,
    /// Little-endian 32-bit numbers, nothing between inputs
    U32le,
}

/// Writes the ids of one input.
pub fn write(format: IdFormat, ids: &[u32], out: &mut impl Write) -> io::Result<()> {
    match format {
        IdFormat::Text => write_separated(ids, b" ", out)?,
        IdFormat::Json => {
            out.write_all(b"[")?;
            write_separated(ids, b",", out)?;
            out.write_all(b"]")?;
        }
        IdFormat::U32le => return ids.iter().try_for_each(|id| out.write_all(&id.to_le_bytes())),
    }
    out.write_all(b"\n")
}

fn write_separated(ids: &[u32], separator: &[u8], out: &mut impl Write) -> io::Result<()> {
    for (at, id) in ids.iter().enumerate() {
        if at > 0 {
            out.write_all(separator)?;
        }
        write!(out, "{id}")?;
    }
    Ok(())
}

/// Reads what [`write()`] wrote for any number of inputs, all in one.
pub fn read(format: IdFormat, bytes: &[u8]) -> anyhow::Result<Vec<u32>> {
    match format {
        IdFormat::Text => read_text(bytes),
        IdFormat::Json => {
            let arrays = serde_json::Deserializer::from_slice(bytes).into_iter::<Vec<u32>>();
            let arrays: Vec<_> =
                arrays.collect::<Result<_, _>>().context("not JSON arrays of token ids")?;
            Ok(arrays.concat())
        }
        IdFormat::U32le => {
            let (ids, rest) = bytes.as_chunks::<4>();
            if !rest.is_empty() {
                bail!("{} bytes are no whole number of 4-byte ids", bytes.len());
            }
            Ok(ids.iter().map(|id| u32::from_le_bytes(*id)).collect())
        }
    }
}

fn read_text(bytes: &[u8]) -> anyhow::Result<Vec<u32>> {
    let mut ids = Vec::new();
    for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        for word in words {
            let id = std::str::from_utf8(word).ok().and_then(|word| word.parse().ok());
            let Some(id) = id else {
                bail!("line {}: `{}` is no token id", at + 1, word.escape_ascii());
            };
            ids.push(id);
        }
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: IdFormat, inputs: &[&[u32]]) -> Vec<u8> {
        let mut out = Vec::new();
        inputs.iter().for_each(|ids| write(format, ids, &mut out).unwrap());
        out
    }

    #[test]
    fn formats_are_as_documented() {
        let inputs: &[&[u32]] = &[&[1, 22, 333], &[], &[4]];
        assert_eq!(written(IdFormat::Text, inputs), b"1 22 333\n\n4\n");
        assert_eq!(written(IdFormat::Json, inputs), b"[1,22,333]\n[]\n[4]\n");
        assert_eq!(
            written(IdFormat::U32le, inputs),
            [1, 0, 0, 0, 22, 0, 0, 0, 77, 1, 0, 0, 4, 0, 0, 0]
        );
    }

    #[test]
    fn what_is_written_is_read() {
        let inputs: &[&[u32]] = &[&[0, u32::MAX], &[], &[7]];
        for format in IdFormat::value_variants() {
            let bytes = written(*format, inputs);
            assert_eq!(read(*format, &bytes).unwrap(), [0, u32::MAX, 7], "{format:?}");
            assert_eq!(read(*format, b"").unwrap(), Vec::<u32>::new(), "{format:?}");
        }
    }

    #[test]
    fn what_is_no_id_is_named() {
        let error = |format, bytes| format!("{:#}", read(format, bytes).unwrap_err());
        assert_eq!(error(IdFormat::Text, b"1 2\n3 x\xff"), "line 2: `x\\xff` is no token id");
        assert_eq!(error(IdFormat::Text, b"4294967296"), "line 1: `4294967296` is no token id");
        assert_eq!(error(IdFormat::U32le, b"12345"), "5 bytes are no whole number of 4-byte ids");
        let json = error(IdFormat::Json, b"[1,2]\n[3,-4]");
        assert!(json.starts_with("not JSON arrays") && json.contains("line 2"), "{json}");
    }
}
