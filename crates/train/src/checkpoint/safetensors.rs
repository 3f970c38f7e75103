//! Tensors in the safetensors format, written and read piece by piece.
//!
//! A file is a `u64` (little-endian) with the length of the header, the header (JSON: for each
//! tensor its dtype, shape and place), and the data. The `safetensors` crate's own writer wants
//! each tensor as bytes, which would hold a second copy of it; here the bytes are made a chunk at a
//! time. Its types check the header when reading.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

/// Values converted to bytes, or back, at once.
const CHUNK_VALUES: usize = 64 * 1024;
/// The format's own limit, so that a damaged length does not ask for all memory.
const MAX_HEADER_BYTES: u64 = 100_000_000;
const LENGTH_BYTES: u64 = 8;

/// A tensor to write.
#[derive(Debug, Clone, Copy)]
pub struct TensorSlice<'a> {
    /// Its name, unique in the file.
    pub name: &'a str,
    /// Its sizes, outermost first; none for a scalar.
    pub shape: &'a [usize],
    /// Its values, row-major; as many as the product of the sizes.
    pub data: &'a [f32],
}

/// A tensor that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Its sizes, outermost first.
    pub shape: Vec<usize>,
    /// Its values, row-major.
    pub data: Vec<f32>,
}

/// Why a safetensors file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SafetensorsError {
    /// The file could not be opened or read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes are not those of a safetensors file.
    #[error("{} is not a safetensors file: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A tensor holds other values than f32.
    #[error("{}: tensor {name:?} holds {dtype}, not F32", path.display())]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What it holds, as the format names it.
        dtype: String,
    },
}

/// Writes tensors in the order given. Memory beyond theirs: the header and a chunk of 256 KiB.
///
/// # Errors
///
/// [`InvalidInput`](io::ErrorKind::InvalidInput), before anything is written, for a name that
/// stands twice or is the format's own, or a shape that does not fit its data; and what `out` says.
pub fn write_safetensors(out: &mut dyn Write, tensors: &[TensorSlice<'_>]) -> io::Result<()> {
    let header = header(tensors)?;
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    let mut bytes = vec![0; CHUNK_VALUES * size_of::<f32>()];
    for chunk in tensors.iter().flat_map(|tensor| tensor.data.chunks(CHUNK_VALUES)) {
        let bytes = &mut bytes[..size_of_val(chunk)];
        for (place, value) in bytes.as_chunks_mut().0.iter_mut().zip(chunk) {
            *place = value.to_le_bytes();
        }
        out.write_all(bytes)?;
    }
    Ok(())
}

fn header(tensors: &[TensorSlice<'_>]) -> io::Result<Vec<u8>> {
    let refuse = |tensor: &TensorSlice<'_>, reason: String| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("tensor {:?}: {reason}", tensor.name))
    };
    let mut names = BTreeSet::from(["__metadata__"]);
    let mut offset = 0;
    let mut infos = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        if !names.insert(tensor.name) {
            return Err(refuse(tensor, "this name is taken".into()));
        }
        let count = tensor.shape.iter().try_fold(1, |count: usize, size| count.checked_mul(*size));
        if count != Some(tensor.data.len()) {
            let (shape, values) = (tensor.shape, tensor.data.len());
            return Err(refuse(tensor, format!("shape {shape:?} does not fit {values} values")));
        }
        let end = offset + size_of_val(tensor.data);
        let info = TensorInfo {
            dtype: Dtype::F32,
            shape: tensor.shape.to_vec(),
            data_offsets: (offset, end),
        };
        infos.push((tensor.name.to_owned(), info));
        offset = end;
    }
    // Hugging Face's loaders refuse a file that does not say whose layout its tensors have.
    let about = [("format".to_owned(), "pt".to_owned())].into();
    let metadata = Metadata::new(Some(about), infos).map_err(io::Error::other)?;
    let mut header = serde_json::to_vec(&metadata)?;
    // The format pads with spaces, so that the data lies aligned when the file is mapped.
    header.resize(header.len().next_multiple_of(LENGTH_BYTES as usize), b' ');
    if header.len() as u64 > MAX_HEADER_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many tensors for a header"));
    }
    Ok(header)
}

/// Reads a file of f32 tensors one at a time, in the order of their data. Only the tensor being
/// read is in memory. Sizes are checked against the file's before anything is allocated.
///
/// ```
/// use kiln_train::checkpoint::{TensorSlice, read_safetensors_f32, write_safetensors};
///
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("model.safetensors");
/// let bias = TensorSlice { name: "bias", shape: &[1, 3], data: &[0.5, 1.0, -2.0] };
/// write_safetensors(&mut std::fs::File::create(&path).unwrap(), &[bias]).unwrap();
/// for tensor in read_safetensors_f32(&path)? {
///     let tensor = tensor?;
///     assert_eq!((tensor.name.as_str(), tensor.shape), ("bias", vec![1, 3]));
///     assert_eq!(tensor.data, [0.5, 1.0, -2.0]);
/// }
/// # Ok::<(), kiln_train::checkpoint::SafetensorsError>(())
/// ```
#[derive(Debug)]
pub struct SafetensorsReader {
    path: PathBuf,
    file: File,
    tensors: std::vec::IntoIter<(String, TensorInfo)>,
    bytes: Vec<u8>,
}

/// Opens a safetensors file and checks its header.
///
/// # Errors
///
/// [`SafetensorsError`] naming the file, and the tensor if it is one's fault.
pub fn read_safetensors_f32(path: &Path) -> Result<SafetensorsReader, SafetensorsError> {
    let io_error = |source| SafetensorsError::Io { path: path.to_path_buf(), source };
    let malformed = |reason: String| SafetensorsError::Malformed { path: path.to_path_buf(), reason };
    let mut file = File::open(path).map_err(io_error)?;
    let file_bytes = file.metadata().map_err(io_error)?.len();
    if file_bytes < LENGTH_BYTES {
        return Err(malformed(format!("{file_bytes} bytes are too few")));
    }
    let mut length = [0; LENGTH_BYTES as usize];
    file.read_exact(&mut length).map_err(io_error)?;
    let header_bytes = u64::from_le_bytes(length);
    let rest = file_bytes - LENGTH_BYTES;
    if header_bytes > rest.min(MAX_HEADER_BYTES) {
        return Err(malformed(format!("a header of {header_bytes} bytes in one of {file_bytes}")));
    }
    let mut header = vec![0; header_bytes as usize];
    file.read_exact(&mut header).map_err(io_error)?;
    let metadata: Metadata =
        serde_json::from_slice(&header).map_err(|error| malformed(error.to_string()))?;
    let data_bytes = rest - header_bytes;
    if metadata.data_len() as u64 != data_bytes {
        let wanted = metadata.data_len();
        return Err(malformed(format!("{data_bytes} bytes of data instead of {wanted}")));
    }
    let tensors = f32_tensors(&metadata).map_err(|(name, dtype)| SafetensorsError::Dtype {
        path: path.to_path_buf(),
        name,
        dtype: dtype.to_string(),
    })?;
    Ok(SafetensorsReader {
        path: path.to_path_buf(),
        file,
        tensors: tensors.into_iter(),
        bytes: vec![0; CHUNK_VALUES * size_of::<f32>()],
    })
}

/// Name and info of every tensor, in the order of their data; the first that is not f32 otherwise.
fn f32_tensors(metadata: &Metadata) -> Result<Vec<(String, TensorInfo)>, (String, Dtype)> {
    let named = metadata.offset_keys().into_iter();
    named
        .filter_map(|name| metadata.info(&name).cloned().map(|info| (name, info)))
        .map(|(name, info)| match info.dtype {
            Dtype::F32 => Ok((name, info)),
            other => Err((name, other)),
        })
        .collect()
}

impl SafetensorsReader {
    /// Names and shapes of the tensors not read yet, in the order of reading.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.as_slice().iter().map(|(name, info)| (name.as_str(), info.shape.as_slice()))
    }

    fn read_values(&mut self, count: usize) -> io::Result<Vec<f32>> {
        let mut values = Vec::with_capacity(count);
        while values.len() < count {
            let chunk = (count - values.len()).min(CHUNK_VALUES);
            let bytes = &mut self.bytes[..chunk * size_of::<f32>()];
            self.file.read_exact(bytes)?;
            values.extend(bytes.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)));
        }
        Ok(values)
    }
}

impl Iterator for SafetensorsReader {
    type Item = Result<Tensor, SafetensorsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (name, info) = self.tensors.next()?;
        let (start, end) = info.data_offsets;
        let values = self.read_values((end - start) / size_of::<f32>());
        let path = &self.path;
        Some(
            values
                .map(|data| Tensor { name, shape: info.shape, data })
                .map_err(|source| SafetensorsError::Io { path: path.clone(), source }),
        )
    }
}
