//! Ids to text as they arrive, whole characters only.

use crate::error::Result;
use crate::tokenizer::Tokenizer;

/// Turns ids that come one at a time into text.
///
/// A token may end inside a character; its bytes wait for the next token. Bytes that can no longer
/// become a character turn into U+FFFD, as [`String::from_utf8_lossy`] does with the whole.
///
/// ```
/// use kiln_tokenizer::{Kind, Tokenizer, Utf8Stream};
///
/// let tokenizer = Tokenizer::train(Kind::Bpe, &["é"], 265)?;
/// let mut stream = Utf8Stream::new(&tokenizer);
/// let ids = tokenizer.encode_ordinary("é!".as_bytes());
/// assert_eq!(stream.push(ids[0])?, "");
/// assert_eq!(stream.push(ids[1])?, "é");
/// assert_eq!(stream.push(ids[2])?, "!");
/// assert_eq!(stream.finish(), "");
/// # Ok::<(), kiln_tokenizer::Error>(())
/// ```
#[derive(Debug)]
pub struct Utf8Stream<'a> {
    tokenizer: &'a Tokenizer,
    /// An incomplete character, at most three bytes between calls.
    pending: Vec<u8>,
}

impl<'a> Utf8Stream<'a> {
    /// A stream at the beginning of a text.
    pub fn new(tokenizer: &'a Tokenizer) -> Utf8Stream<'a> {
        Utf8Stream { tokenizer, pending: Vec::new() }
    }

    /// The characters that `id` completes; a special token gives its name.
    ///
    /// # Errors
    /// [`Error::UnknownId`](crate::Error::UnknownId); the stream is then as it was.
    pub fn push(&mut self, id: u32) -> Result<String> {
        self.pending.extend_from_slice(self.tokenizer.token_or_error(id)?);
        let mut text = String::new();
        let mut used = 0;
        for chunk in self.pending.utf8_chunks() {
            text.push_str(chunk.valid());
            used += chunk.valid().len();
            let invalid = chunk.invalid();
            if used + invalid.len() == self.pending.len() && may_complete(invalid) {
                break;
            }
            if !invalid.is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
                used += invalid.len();
            }
        }
        self.pending.drain(..used);
        Ok(text)
    }

    /// Ends the text: U+FFFD if a character is incomplete, else nothing.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }
}

/// Whether bytes at the end of a text are the beginning of a character.
fn may_complete(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}
