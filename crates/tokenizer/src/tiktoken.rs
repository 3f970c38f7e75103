//! The tiktoken vocabulary file: lines of base64(token bytes) SPACE rank, in rank order.
//!
//! The file has no special tokens and no merges. A merge is found by merging the token's bytes
//! with all lower ranks: two parts must remain, and they are the pair.

use std::io::{self, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Error, Result};
use crate::kind::Kind;
use crate::merges::{BYTES, MergeScratch, Merges};
use crate::store;
use crate::tokenizer::Tokenizer;

impl Tokenizer {
    /// A `bpe` tokenizer from a tiktoken vocabulary file whose ranks 0-255 are the bytes in order;
    /// the special tokens take the ids after the last rank.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Format`] with the line that is not a token, not in rank order, or
    /// not a merge of two lower ranks.
    pub fn from_tiktoken(path: impl AsRef<Path>) -> Result<Tokenizer> {
        let path = path.as_ref();
        let text = store::read_to_string(path)?;
        let merges =
            parse(&text).map_err(|reason| Error::Format { path: path.to_path_buf(), reason })?;
        Ok(Tokenizer::from_merges(Kind::Bpe, merges))
    }

    /// Writes the vocabulary without special tokens in tiktoken's format.
    ///
    /// A rank of that format is both an id and the order of merging. With `cpp` these differ: there the ranks are the
    /// order of merging, so that text is cut into the same tokens, and not Kiln's ids. Fixed tokens that no merge
    /// makes come last; tiktoken may use one inside a longer piece, which Kiln never does.
    ///
    /// # Errors
    /// What `writer` returns.
    pub fn write_tiktoken(&self, mut writer: impl Write) -> io::Result<()> {
        let merges = self.merges();
        let merged = (0..merges.len() as u32).map(|rank| merges.token(rank));
        for (rank, token) in merged.chain(self.vocabulary().whole_only()).enumerate() {
            writeln!(writer, "{} {rank}", STANDARD.encode(token))?;
        }
        writer.flush()
    }
}

fn parse(text: &str) -> Result<Merges, String> {
    let mut merges = Merges::new(Vec::new());
    let mut scratch = MergeScratch::default();
    let mut parts = Vec::new();
    let mut lines = 0;
    for (rank, line) in text.lines().enumerate() {
        lines += 1;
        let token = parse_line(line, rank).map_err(|what| format!("line {lines}: {what}"))?;
        if rank < BYTES {
            if token != [rank as u8] {
                return Err(format!("line {lines}: rank {rank} must be the byte {rank}"));
            }
            continue;
        }
        parts.clear();
        merges.merge(&token, &mut scratch, &mut parts);
        let [left, right] = parts[..] else {
            return Err(format!(
                "line {lines}: rank {rank} is not a merge of two lower ranks but of {}",
                parts.len()
            ));
        };
        merges.push(left, right);
    }
    if lines < BYTES {
        return Err(format!("{lines} lines: the first {BYTES} must be the bytes"));
    }
    Ok(merges)
}

fn parse_line(line: &str, rank: usize) -> Result<Vec<u8>, String> {
    let (encoded, number) = line.split_once(' ').ok_or("expected base64, a blank and a rank")?;
    if number.parse() != Ok(rank) {
        return Err(format!("expected rank {rank}, found `{number}`"));
    }
    STANDARD.decode(encoded).map_err(|error| format!("not base64: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes() -> String {
        (0..=255u8).map(|byte| format!("{} {byte}\n", STANDARD.encode([byte]))).collect()
    }

    #[test]
    fn export_reads_back() {
        let tokenizer = Tokenizer::train(Kind::Bpe, &["the thesis of the theatre"], 275).unwrap();
        let mut text = Vec::new();
        tokenizer.write_tiktoken(&mut text).unwrap();
        let merges = parse(std::str::from_utf8(&text).unwrap()).unwrap();
        assert_eq!(merges.pairs(), tokenizer.merges().pairs());
    }

    #[test]
    fn errors_name_the_line() {
        let fails = |text: String, part: &str| {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        fails(String::new(), "0 lines");
        fails(bytes().replace("AA== 0", "AQ== 0"), "line 1: rank 0 must be the byte 0");
        fails(bytes() + "YWI=\n", "line 257: expected base64, a blank and a rank");
        fails(bytes() + "YWI= 300\n", "line 257: expected rank 256, found `300`");
        fails(bytes() + "Y?I= 256\n", "line 257: not base64");
        fails(
            bytes() + "YWJj 256\n",
            "line 257: rank 256 is not a merge of two lower ranks but of 3",
        );
        fails(bytes() + "YWI= 256\nYWI= 257\n", "line 258: rank 257 is not a merge");
        fails(bytes() + " 256\n", "of 0");
    }
}
