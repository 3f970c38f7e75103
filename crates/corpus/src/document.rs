//! One source file to one line of JSONL.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Serialize;

use crate::hold_out::content_hash;
use crate::licence;
use crate::summary::SkipCause;

/// The fields of a document, in the order in which they are written.
#[derive(Serialize)]
struct Document<'a> {
    text: &'a str,
    project: &'a str,
    file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    licence: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<u32>,
}

/// What is known of an indexed document beyond its file.
pub(crate) struct Root<'a> {
    /// Of the first definition that nothing else in the document uses, if it has any.
    pub name: Option<&'a str>,
    /// Its level in the call graph.
    pub level: u32,
}

/// A document that is ready to be written.
pub(crate) struct Line {
    /// One JSON object and a newline.
    pub json: Vec<u8>,
    /// Of the text.
    pub hash: u64,
    /// Of the text.
    pub text_bytes: u64,
}

/// A file that is not a document, and the particulars.
pub(crate) type Skip = (SkipCause, String);

/// Reads a file as text, or says why it is none.
pub(crate) fn read_text(path: &Path, max_bytes: u64) -> Result<String, Skip> {
    let unreadable = |e: std::io::Error| (SkipCause::Unreadable, e.to_string());
    let file = File::open(path).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    let too_large =
        |size: u64| (SkipCause::TooLarge, format!("{size} bytes, the limit is {max_bytes}"));
    if size > max_bytes {
        return Err(too_large(size));
    }
    let mut bytes = Vec::with_capacity(size as usize + 1);
    // The file may grow between the question for its size and the reading.
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > max_bytes {
        return Err(too_large(bytes.len() as u64));
    }
    if let Some(at) = bytes.iter().position(|b| *b == 0) {
        return Err((SkipCause::Binary, format!("NUL byte at offset {at}")));
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        (SkipCause::InvalidUtf8, format!("bad byte at offset {}", e.utf8_error().valid_up_to()))
    })?;
    if text.trim().is_empty() {
        return Err((SkipCause::Empty, format!("{} bytes", text.len())));
    }
    Ok(text)
}

/// Renders a document. A licence that the text itself names comes before the project's.
pub(crate) fn line(text: &str, project: &str, file: &str, project_licence: Option<&str>) -> Line {
    let own = licence::of_text(text);
    let licence = own.as_deref().or(project_licence);
    render(&Document { text, project, file, name: None, licence, level: None })
}

/// Renders an indexed document; the licence is the one that applies to its file.
pub(crate) fn indexed_line(
    text: &str,
    project: &str,
    file: &str,
    licence: Option<&str>,
    root: &Root<'_>,
) -> Line {
    render(&Document { text, project, file, name: root.name, licence, level: Some(root.level) })
}

fn render(document: &Document<'_>) -> Line {
    let text = document.text;
    let mut json = Vec::with_capacity(text.len() + text.len() / 8 + 128);
    serde_json::to_writer(&mut json, document).expect("strings into memory always serialise");
    json.push(b'\n');
    Line { json, hash: content_hash(text), text_bytes: text.len() as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn cause_of(content: &[u8]) -> SkipCause {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.cc");
        fs::write(&path, content).unwrap();
        read_text(&path, 10).unwrap_err().0
    }

    #[test]
    fn every_unusable_content_has_its_cause() {
        assert_eq!(cause_of(b"0123456789a"), SkipCause::TooLarge);
        assert_eq!(cause_of(b"int\0"), SkipCause::Binary);
        assert_eq!(cause_of(b"caf\xe9 x"), SkipCause::InvalidUtf8);
        assert_eq!(cause_of(b" \n\t"), SkipCause::Empty);
        assert_eq!(cause_of(b""), SkipCause::Empty);
        let gone = read_text(Path::new("no/such/file.c"), 10).unwrap_err();
        assert_eq!(gone.0, SkipCause::Unreadable);
    }

    #[test]
    fn a_file_of_exactly_the_limit_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.cc");
        fs::write(&path, "0123456789").unwrap();
        assert_eq!(read_text(&path, 10).unwrap(), "0123456789");
    }

    #[test]
    fn fields_have_a_fixed_order_and_text_survives() {
        let text = "// \"q\" \\ \u{7f}\u{1} ü\r\n";
        let with = line(text, "p", "a/b.h", Some("MIT"));
        let start = String::from_utf8(with.json.clone()).unwrap();
        assert!(start.ends_with(",\"project\":\"p\",\"file\":\"a/b.h\",\"licence\":\"MIT\"}\n"));
        let value: serde_json::Value = serde_json::from_slice(&with.json).unwrap();
        assert_eq!(value["text"], text);
        let without = line(text, "p", "a/b.h", None);
        assert!(!String::from_utf8(without.json).unwrap().contains("licence"));
    }

    #[test]
    fn the_licence_in_a_file_comes_before_the_projects() {
        let own = line("// SPDX-License-Identifier: Zlib\nint x;", "p", "x.c", Some("MIT"));
        assert!(String::from_utf8(own.json).unwrap().contains("\"licence\":\"Zlib\""));
    }
}
