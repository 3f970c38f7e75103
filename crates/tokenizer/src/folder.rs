//! A tokenizer on disk: a folder with `tokenizer.json` and `token_bytes.json`.

use std::fs;
use std::path::Path;

use crate::error::{Error, Result};
use crate::hugging_face::{self, ReadError};
use crate::store;
use crate::tokenizer::Tokenizer;

/// The whole tokenizer, in Hugging Face's format.
pub const TOKENIZER_FILE: &str = "tokenizer.json";

/// [`Tokenizer::token_bytes`] as a JSON array, for programs that only count bytes.
pub const TOKEN_BYTES_FILE: &str = "token_bytes.json";

impl Tokenizer {
    /// Loads the tokenizer that [`Tokenizer::save`] wrote, after checking all of it.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Json`] or [`Error::Format`], each naming the file.
    pub fn load(folder: impl AsRef<Path>) -> Result<Tokenizer> {
        let path = folder.as_ref().join(TOKENIZER_FILE);
        let tokenizer = match hugging_face::read(&store::read_to_string(&path)?) {
            Ok(tokenizer) => tokenizer,
            Err(ReadError::Json(source)) => return Err(Error::Json { path, source }),
            Err(ReadError::Format(reason)) => return Err(Error::Format { path, reason }),
        };
        tokenizer.check_token_bytes(&folder.as_ref().join(TOKEN_BYTES_FILE))?;
        Ok(tokenizer)
    }

    /// Saves the tokenizer in `folder`, which is made if it is missing. Each file is replaced
    /// whole; `tokenizer.json` comes last.
    ///
    /// # Errors
    /// [`Error::Io`] naming the file; the file is then as it was.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder).map_err(|source| store::io_error(folder, source))?;
        store::write_atomically(&folder.join(TOKEN_BYTES_FILE), |writer| {
            Ok(serde_json::to_writer(writer, self.token_bytes())?)
        })?;
        self.export_hugging_face(folder.join(TOKENIZER_FILE))
    }

    /// Writes Hugging Face's `tokenizer.json` to `path`, atomically.
    ///
    /// # Errors
    /// [`Error::Io`] naming the file.
    pub fn export_hugging_face(&self, path: impl AsRef<Path>) -> Result<()> {
        store::write_atomically(path.as_ref(), |writer| self.write_hugging_face(writer))
    }

    /// Writes tiktoken's vocabulary file to `path`, atomically.
    ///
    /// # Errors
    /// [`Error::Io`] naming the file.
    pub fn export_tiktoken(&self, path: impl AsRef<Path>) -> Result<()> {
        store::write_atomically(path.as_ref(), |writer| self.write_tiktoken(writer))
    }

    fn check_token_bytes(&self, path: &Path) -> Result<()> {
        let found: Vec<u32> = serde_json::from_str(&store::read_to_string(path)?)
            .map_err(|source| Error::Json { path: path.to_path_buf(), source })?;
        let expected = self.token_bytes();
        let format = |reason| Err(Error::Format { path: path.to_path_buf(), reason });
        if found.len() != expected.len() {
            return format(format!(
                "{} lengths, but {TOKENIZER_FILE} has {} ids",
                found.len(),
                expected.len()
            ));
        }
        match found.iter().zip(expected).position(|(found, expected)| found != expected) {
            Some(id) => format(format!(
                "id {id} has {} bytes here, but {} in {TOKENIZER_FILE}",
                found[id], expected[id]
            )),
            None => Ok(()),
        }
    }
}
