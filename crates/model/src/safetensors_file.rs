//! Safetensors files: written from borrowed values, read one tensor at a time, so that weights are never twice in memory.
//!
//! Layout: length of the header (u64), the header (JSON: name -> dtype, shape, range of bytes), then the tensors' bytes
//! without gaps; all numbers little-endian.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::WeightsError;

/// Largest header, as of the format's own reader.
const MAX_HEADER: u64 = 100_000_000;
/// The header is padded with blanks to a multiple of this.
const HEADER_ALIGNMENT: usize = 8;
/// Bytes converted at a time.
const BLOCK: usize = 1 << 16;

/// A named tensor to write.
#[derive(Clone, Copy, Debug)]
pub struct TensorData<'a> {
    /// Unique name.
    pub name: &'a str,
    /// Extents.
    pub shape: &'a [usize],
    /// Values, row-major, as many as the extents say.
    pub values: &'a [f32],
}

/// Writes tensors as f32 to a new file, and waits until it is on the disk.
///
/// # Errors
/// When the file cannot be written, for instance because the disk is full; a partial file may remain.
///
/// # Panics
/// As of [`write()`].
pub fn save(path: &Path, tensors: &[TensorData<'_>]) -> Result<(), WeightsError> {
    let saved = File::create(path).and_then(|file| {
        let mut writer = BufWriter::with_capacity(BLOCK, file);
        write(&mut writer, tensors)?;
        writer.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
    });
    saved.map_err(|source| WeightsError::Io { path: path.to_owned(), source })
}

/// Writes tensors as f32 in their order, to be read by [`SafetensorsFile`] and by every other reader of the format.
///
/// # Errors
/// Those of the writer.
///
/// # Panics
/// When a tensor has not as many values as its shape says.
pub fn write(writer: &mut impl Write, tensors: &[TensorData<'_>]) -> std::io::Result<()> {
    let header = header(tensors);
    writer.write_all(&(header.len() as u64).to_le_bytes())?;
    writer.write_all(&header)?;
    let mut bytes = vec![0; BLOCK];
    for tensor in tensors {
        for values in tensor.values.chunks(BLOCK / 4) {
            let bytes = &mut bytes[..4 * values.len()];
            for (bytes, value) in bytes.chunks_exact_mut(4).zip(values) {
                bytes.copy_from_slice(&value.to_le_bytes());
            }
            writer.write_all(bytes)?;
        }
    }
    Ok(())
}

fn header(tensors: &[TensorData<'_>]) -> Vec<u8> {
    let mut end = 0;
    let infos = tensors.iter().map(|tensor| {
        let count: usize = tensor.shape.iter().product();
        assert_eq!(tensor.values.len(), count, "{} has other extents", tensor.name);
        let start = end;
        end += 4 * count;
        let shape = tensor.shape.to_vec();
        (
            tensor.name.to_owned(),
            TensorInfo { dtype: Dtype::F32, shape, data_offsets: (start, end) },
        )
    });
    let metadata = Metadata::new(None, infos.collect()).expect("ranges follow one another");
    let mut header = serde_json::to_vec(&metadata).expect("names and numbers have a JSON form");
    header.resize(header.len().next_multiple_of(HEADER_ALIGNMENT), b' ');
    header
}

/// An open safetensors file, whose header has been checked against the file's length.
#[derive(Debug)]
pub struct SafetensorsFile {
    path: PathBuf,
    file: File,
    /// Where the tensors' bytes begin.
    data: u64,
    tensors: BTreeMap<String, TensorInfo>,
}

impl SafetensorsFile {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// When the file cannot be read, or its header is damaged or does not fit to its length.
    pub fn open(path: &Path) -> Result<SafetensorsFile, WeightsError> {
        let io = |source| WeightsError::Io { path: path.to_owned(), source };
        let format = |reason: String| WeightsError::Format { path: path.to_owned(), reason };
        let mut file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let rest = length.checked_sub(8).ok_or_else(|| format(format!("only {length} bytes")))?;
        let mut bytes = [0; 8];
        file.read_exact(&mut bytes).map_err(io)?;
        let header = u64::from_le_bytes(bytes);
        if header > rest.min(MAX_HEADER) {
            return Err(format(format!("a header of {header} bytes in a file of {length}")));
        }
        let mut bytes = vec![0; header as usize];
        file.read_exact(&mut bytes).map_err(io)?;
        let metadata: Metadata =
            serde_json::from_slice(&bytes).map_err(|error| format(format!("header: {error}")))?;
        let (found, expected) = (rest - header, metadata.data_len() as u64);
        if found != expected {
            return Err(format(format!(
                "{found} bytes of tensors where the header has {expected}"
            )));
        }
        let tensors = metadata.tensors().into_iter().map(|(name, info)| (name, info.clone()));
        Ok(SafetensorsFile {
            path: path.to_owned(),
            file,
            data: 8 + header,
            tensors: tensors.collect(),
        })
    }

    /// Names and extents, in order of the names.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.iter().map(|(name, info)| (name.as_str(), info.shape.as_slice()))
    }

    /// Checks that the file holds exactly these tensors, in a type that [`read`](Self::read) takes.
    ///
    /// # Errors
    /// One error that names all differences.
    pub fn expect<'n>(
        &self,
        expected: impl IntoIterator<Item = (&'n str, &'n [usize])>,
    ) -> Result<(), WeightsError> {
        let expected: BTreeMap<&str, &[usize]> = expected.into_iter().collect();
        let mut problems = Vec::new();
        for (&name, &shape) in &expected {
            match self.tensors.get(name) {
                None => problems.push(format!("{name} is missing")),
                Some(info) if info.shape != shape => {
                    problems.push(format!("{name} is {:?}, not {shape:?}", info.shape));
                }
                Some(info) if !is_readable(info.dtype) => {
                    problems.push(format!("{name} is {:?}, not F32, BF16 or F16", info.dtype));
                }
                Some(_) => {}
            }
        }
        let unexpected = self.tensors.keys().filter(|name| !expected.contains_key(name.as_str()));
        problems.extend(unexpected.map(|name| format!("{name} is unexpected")));
        if problems.is_empty() { Ok(()) } else { Err(self.mismatch(problems)) }
    }

    /// Replaces `values` with a tensor's, converted to f32.
    ///
    /// # Errors
    /// When there is no such tensor, it is not f32, bf16 or f16, or the file cannot be read.
    pub fn read(&mut self, name: &str, values: &mut Vec<f32>) -> Result<(), WeightsError> {
        let info = self.tensors.get(name);
        let info = info.ok_or_else(|| self.mismatch(vec![format!("{name} is missing")]))?;
        let convert = converter(info.dtype).ok_or_else(|| {
            self.mismatch(vec![format!("{name} is {:?}, not F32, BF16 or F16", info.dtype)])
        })?;
        let (start, end) = info.data_offsets;
        let width = info.dtype.bitsize() / 8;
        values.clear();
        values.reserve_exact((end - start) / width);
        self.read_blocks(start as u64, end - start, |bytes| convert(bytes, values))
            .map_err(|source| WeightsError::Io { path: self.path.clone(), source })
    }

    fn read_blocks(
        &mut self,
        start: u64,
        length: usize,
        mut take: impl FnMut(&[u8]),
    ) -> std::io::Result<()> {
        self.file.seek(SeekFrom::Start(self.data + start))?;
        let mut bytes = vec![0; BLOCK.min(length)];
        let mut left = length;
        while left > 0 {
            let block = &mut bytes[..BLOCK.min(left)];
            self.file.read_exact(block)?;
            take(block);
            left -= block.len();
        }
        Ok(())
    }

    fn mismatch(&self, problems: Vec<String>) -> WeightsError {
        WeightsError::Mismatch { path: self.path.clone(), problems }
    }
}

type Convert = fn(&[u8], &mut Vec<f32>);

/// How to read a type as f32.
fn converter(dtype: Dtype) -> Option<Convert> {
    fn two(bytes: &[u8]) -> impl Iterator<Item = u16> {
        bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]))
    }
    match dtype {
        Dtype::F32 => Some(|bytes, values| {
            let four = bytes.chunks_exact(4);
            values.extend(four.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
        }),
        Dtype::BF16 => Some(|bytes, values| {
            values.extend(two(bytes).map(|bits| f32::from_bits(u32::from(bits) << 16)));
        }),
        Dtype::F16 => Some(|bytes, values| values.extend(two(bytes).map(f16_to_f32))),
        _ => None,
    }
}

fn is_readable(dtype: Dtype) -> bool {
    converter(dtype).is_some()
}

/// The value of a half-precision number (IEEE 754 binary16).
fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let (exponent, fraction) = (u32::from(bits >> 10) & 31, u32::from(bits) & 0x3ff);
    match exponent {
        // Zero and subnormals: multiples of 2^-24, which f32 holds exactly.
        0 => f32::from_bits(sign | (fraction as f32 / (1 << 24) as f32).to_bits()),
        31 => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 127 - 15) << 23 | fraction << 13),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_numbers_convert_exactly() {
        let cases = [
            (0x0000, 0.0),
            (0x8000, -0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_5e-8),
            (0x83ff, -6.097_555e-5),
            (0x0400, 6.103_515_6e-5),
            (0x7c00, f32::INFINITY),
            (0xfc00, f32::NEG_INFINITY),
        ];
        for (bits, value) in cases {
            assert_eq!(f16_to_f32(bits).to_bits(), f32::to_bits(value), "{bits:#06x}");
        }
        assert!(f16_to_f32(0x7e01).is_nan());
    }
}
