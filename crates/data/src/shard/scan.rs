//! One pass over a JSONL file: where its documents lie, what they hash to, and which lines are none.

use std::fmt;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::record::{Schema, content_hash, short_hash};
use crate::shard::jsonl;

/// A longer line is reported and skipped: a file without newlines must not fill the memory.
pub const MAX_LINE_BYTES: usize = 256 << 20;

/// So much is read before its lines are parsed in parallel.
const BLOCK_BYTES: u64 = 4 << 20;

/// A line or row that is no document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The line, or the row of a Parquet file, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.why)
    }
}

/// Where one document lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Length of its line in bytes, without the newline; 0 in a Parquet file.
    pub length: u32,
    /// Offset of its line; in a Parquet file its row group and, in the lower half, its row there.
    pub offset: u64,
    /// Bytes of its text.
    pub text_bytes: u32,
    /// First eight bytes of its text's BLAKE3 hash.
    pub hash: u64,
}

/// How a file is read, and how much of what is wrong with it is kept.
pub(crate) struct ScanOptions<'a> {
    pub schema: &'a Schema,
    pub strict: bool,
    /// So many problems are kept; the rest is counted.
    pub keep: usize,
    pub max_line_bytes: usize,
}

/// What a file holds.
#[derive(Default)]
pub(crate) struct Scanned {
    pub entries: Vec<Entry>,
    /// Bytes of the file after decompression.
    pub bytes: u64,
    pub empty_documents: u64,
    pub problem_count: u64,
    pub problems: Vec<Problem>,
    /// Over the hashes of all documents in order.
    hasher: blake3::Hasher,
}

/// A row as a scan finds it: the hash and length of its texts, or what is wrong; `None` for an empty document.
pub(crate) type Row = Result<Option<(blake3::Hash, usize)>, String>;

/// Weighs the texts of a row.
pub(crate) fn weigh<S: AsRef<str>>(schema: &Schema, texts: &[S]) -> Option<(blake3::Hash, usize)> {
    let bytes = texts.iter().map(|text| text.as_ref().len()).sum();
    (!schema.is_empty(texts)).then(|| (content_hash(texts), bytes))
}

impl Scanned {
    /// Takes a document.
    pub(crate) fn document(&mut self, place: (u64, u32), hash: &blake3::Hash, text_bytes: usize) {
        self.hasher.update(hash.as_bytes());
        self.entries.push(Entry {
            length: place.1,
            offset: place.0,
            text_bytes: text_bytes as u32,
            hash: short_hash(hash),
        });
    }

    /// Counts a line or row that is none.
    pub(crate) fn problem(
        &mut self,
        problem: Problem,
        options: &ScanOptions<'_>,
    ) -> Result<(), DataError> {
        if options.strict {
            return Err(DataError::BadLine(problem));
        }
        self.problem_count += 1;
        if self.problems.len() < options.keep {
            self.problems.push(problem);
        }
        Ok(())
    }

    /// Stands for the documents and their order. White space and other fields do not count.
    pub(crate) fn content_hash(&self) -> String {
        self.hasher.finalize().to_hex()[..32].to_owned()
    }
}

/// Reads all lines. Blank ones are passed over, documents with an empty text are only counted.
pub(crate) fn scan(
    reader: &mut dyn Read,
    path: &Path,
    options: &ScanOptions<'_>,
) -> Result<Scanned, DataError> {
    let mut scanner = Scanner { path, options, line: 1, found: Scanned::default() };
    let mut buffer: Vec<u8> = Vec::new();
    let mut start = 0; // offset of the buffer in the file
    let mut discarding = false; // inside a line that is too long
    loop {
        let known = buffer.len();
        let n = reader
            .take(BLOCK_BYTES)
            .read_to_end(&mut buffer)
            .map_err(DataError::io("read", path))?;
        let at_end = n == 0;
        let newline = buffer[known..].iter().rposition(|b| *b == b'\n').map(|at| known + at + 1);
        let mut ready = if at_end { buffer.len() } else { newline.unwrap_or(0) };
        if discarding {
            let rest_of_line = buffer[..ready].iter().position(|b| *b == b'\n').map(|at| at + 1);
            let drop = rest_of_line.unwrap_or(buffer.len());
            discarding = rest_of_line.is_none();
            scanner.line += u64::from(rest_of_line.is_some());
            buffer.drain(..drop);
            start += drop as u64;
            ready = ready.saturating_sub(drop);
        }
        scanner.lines(&buffer[..ready], start)?;
        buffer.drain(..ready);
        start += ready as u64;
        if at_end {
            scanner.found.bytes = start;
            return Ok(scanner.found);
        }
        if buffer.len() > options.max_line_bytes {
            scanner.problem(format!("longer than {} bytes", options.max_line_bytes))?;
            discarding = true;
            start += buffer.len() as u64;
            buffer.clear();
        }
    }
}

struct Scanner<'a> {
    path: &'a Path,
    options: &'a ScanOptions<'a>,
    /// Number of the next line, from 1.
    line: u64,
    found: Scanned,
}

impl Scanner<'_> {
    /// Takes a run of whole lines that starts at `offset`. Parses in parallel, files the results in order.
    fn lines(&mut self, block: &[u8], offset: u64) -> Result<(), DataError> {
        let lines = split(block, offset);
        let schema = self.options.schema;
        let fields = schema.fields();
        let row = |(_, line): &(u64, &[u8])| -> Option<Row> {
            if line.iter().all(u8::is_ascii_whitespace) {
                return None;
            }
            Some(jsonl::strings(line, &fields).map(|texts| weigh(schema, &texts)))
        };
        let rows: Vec<_> = lines.par_iter().with_min_len(4).map(row).collect();
        for ((offset, line), row) in lines.iter().zip(rows) {
            match row {
                Some(Ok(Some((hash, text_bytes)))) => {
                    self.document(*offset, line.len(), &hash, text_bytes)?
                }
                Some(Ok(None)) => self.found.empty_documents += 1,
                Some(Err(why)) => self.problem(why)?,
                None => {}
            }
            self.line += 1;
        }
        Ok(())
    }

    fn document(
        &mut self,
        offset: u64,
        length: usize,
        hash: &blake3::Hash,
        text_bytes: usize,
    ) -> Result<(), DataError> {
        // Only the last line of a block can pass the limit unnoticed.
        if length > self.options.max_line_bytes {
            return self.problem(format!("longer than {} bytes", self.options.max_line_bytes));
        }
        if self.found.entries.len() == u32::MAX as usize {
            return Err(DataError::TooManyDocuments { path: self.path.to_owned() });
        }
        self.found.document((offset, length as u32), hash, text_bytes);
        Ok(())
    }

    fn problem(&mut self, why: String) -> Result<(), DataError> {
        let problem = Problem { file: self.path.to_owned(), line: self.line, why };
        self.found.problem(problem, self.options)
    }
}

/// The lines of a block without their newlines, each with its offset in the file.
fn split(block: &[u8], offset: u64) -> Vec<(u64, &[u8])> {
    const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
    let mut lines = Vec::new();
    let mut at = 0;
    if offset == 0 && block.starts_with(BYTE_ORDER_MARK) {
        at = BYTE_ORDER_MARK.len();
    }
    while at < block.len() {
        let mut rest = &block[at..];
        let taken = rest.skip_until(b'\n').expect("a slice can be read");
        let line = &block[at..at + taken];
        lines.push((offset + at as u64, line.strip_suffix(b"\n").unwrap_or(line)));
        at += taken;
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use proptest::prelude::*;

    /// Gives a few bytes at a time, so that lines cross every boundary.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let n = self.1.min(buffer.len()).min(self.0.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    /// The only field of a line.
    fn text(line: &[u8]) -> Result<String, String> {
        jsonl::strings(line, &["text"]).map(|mut texts| texts.remove(0).into_owned())
    }

    fn options() -> ScanOptions<'static> {
        static SCHEMA: LazyLock<Schema> =
            LazyLock::new(|| Schema::Text { field: "text".to_owned() });
        ScanOptions { schema: &SCHEMA, strict: false, keep: 3, max_line_bytes: 1000 }
    }

    fn scan_bytes(bytes: &[u8]) -> Scanned {
        scan(&mut Trickle(bytes, 7), Path::new("x.jsonl"), &options()).unwrap()
    }

    #[test]
    fn entries_point_at_their_lines() {
        let bytes = b"\xef\xbb\xbf{\"text\":\"a\"}\r\n\n  \n{\"text\":\"\"}\n{\"text\":\"bc\"}";
        let scanned = scan_bytes(bytes);
        assert_eq!((scanned.entries.len(), scanned.empty_documents), (2, 1));
        assert_eq!((scanned.problem_count, scanned.bytes), (0, bytes.len() as u64));
        let texts: Vec<_> = scanned
            .entries
            .iter()
            .map(|e| {
                let line = &bytes[e.offset as usize..][..e.length as usize];
                let text = text(line).unwrap();
                assert_eq!(e.text_bytes as usize, text.len());
                text
            })
            .collect();
        assert_eq!(texts, ["a", "bc"]);
    }

    #[test]
    fn bad_lines_are_counted_and_the_first_are_kept() {
        let scanned = scan_bytes(b"nonsense\n\n{\"text\":\"a\"}\n{}\n[]\n{\"text\":1}\n");
        assert_eq!((scanned.entries.len(), scanned.problem_count), (1, 4));
        let said: Vec<_> = scanned.problems.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 3);
        assert_eq!(said[1], "x.jsonl:4: no field `text`");
        assert!(said[0].starts_with("x.jsonl:1: not JSON"), "{}", said[0]);
    }

    #[test]
    fn strict_stops_at_the_first_bad_line() {
        let strict = ScanOptions { strict: true, ..options() };
        let mut bytes: &[u8] = b"{\"text\":\"a\"}\n{}\n{}\n";
        match scan(&mut bytes, Path::new("x.jsonl"), &strict).map(|s| s.problem_count) {
            Err(DataError::BadLine(problem)) => assert_eq!(problem.line, 2),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn white_space_and_other_fields_do_not_change_the_content() {
        let plain = scan_bytes(b"{\"text\":\"a\"}\n{\"text\":\"b\"}\n").content_hash();
        assert_eq!(
            plain,
            scan_bytes(b" {\"id\":1,\"text\":\"\\u0061\"}\n\n{\"text\":\"b\"}").content_hash()
        );
        assert_ne!(plain, scan_bytes(b"{\"text\":\"b\"}\n{\"text\":\"a\"}\n").content_hash());
        assert_ne!(plain, scan_bytes(b"{\"text\":\"ab\"}\n").content_hash());
    }

    #[test]
    fn a_line_without_an_end_is_skipped_in_bounded_memory() {
        let limit = BLOCK_BYTES as usize + 10;
        let long = ScanOptions { max_line_bytes: limit, ..options() };
        for (n, tail) in [(limit + 1, "\n"), (3 * limit, "\n"), (3 * limit, "")] {
            let mut bytes = b"{\"text\":\"a\"}\n".to_vec();
            bytes.extend(format!("{{\"text\":\"{}\"}}", "x".repeat(n)).as_bytes());
            bytes.extend(tail.as_bytes());
            let after = if tail.is_empty() { "" } else { "{\"text\":\"b\"}\n{}\n" };
            bytes.extend(after.as_bytes());
            let scanned = scan(&mut &bytes[..], Path::new("x.jsonl"), &long).unwrap();
            let lines: Vec<_> = scanned.problems.iter().map(|p| p.line).collect();
            assert_eq!(lines, if tail.is_empty() { vec![2] } else { vec![2, 4] }, "{n}");
            assert_eq!(scanned.entries.len(), if tail.is_empty() { 1 } else { 2 });
            let last = scanned.entries.last().unwrap();
            let line = &bytes[last.offset as usize..][..last.length as usize];
            assert_eq!(text(line).unwrap().len(), 1);
            assert_eq!(scanned.bytes, bytes.len() as u64);
        }
    }

    /// What a line is, found in the plainest way. `None` for a blank one.
    fn plainly(line: &[u8]) -> Option<Result<String, ()>> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return None;
        }
        let value: Option<serde_json::Value> =
            std::str::from_utf8(line).ok().and_then(|line| serde_json::from_str(line).ok());
        Some(value.and_then(|v| Some(v.as_object()?.get("text")?.as_str()?.to_owned())).ok_or(()))
    }

    /// Lines that are documents, nearly documents, and anything.
    fn line() -> impl Strategy<Value = Vec<u8>> {
        let document =
            any::<String>().prop_map(|t| serde_json::json!({ "text": t, "n": [1] }).to_string());
        prop_oneof![
            4 => document.clone().prop_map(String::into_bytes),
            2 => (document, any::<u8>(), any::<prop::sample::Index>()).prop_map(|(line, byte, at)| {
                let mut line = line.into_bytes();
                let at = at.index(line.len());
                line[at] = byte;
                line
            }),
            1 => prop::collection::vec(any::<u8>(), 0..30),
            1 => Just(Vec::new()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn every_line_is_judged_as_by_a_plain_reader(
            lines in prop::collection::vec(line(), 0..12),
            step in 1usize..40,
        ) {
            let bytes = lines.join(&b'\n');
            let plain: Vec<_> = bytes.split(|b| *b == b'\n').map(plainly).collect();
            let texts: Vec<&String> = plain.iter().flatten().flatten().collect();
            let scanned = scan(&mut Trickle(&bytes, step), Path::new("x"), &options()).unwrap();
            let bad = plain.iter().flatten().filter(|line| line.is_err()).count();
            prop_assert_eq!(scanned.problem_count as usize, bad);
            let first_bad = plain.iter().position(|line| matches!(line, Some(Err(())))).map(|at| at + 1);
            prop_assert_eq!(scanned.problems.first().map(|p| p.line as usize), first_bad);
            prop_assert_eq!(scanned.entries.len() + scanned.empty_documents as usize, texts.len());
            for (entry, expected) in scanned.entries.iter().zip(texts.iter().filter(|t| !t.is_empty())) {
                let line = &bytes[entry.offset as usize..][..entry.length as usize];
                prop_assert_eq!(&*text(line).unwrap(), expected.as_str());
            }
        }
    }
}
