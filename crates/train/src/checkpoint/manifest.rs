//! `MANIFEST`: BLAKE3, size and name of every file of a checkpoint.
//!
//! One file per line, sorted by name, names relative to the checkpoint with `/` between folders:
//!
//! ```text
//! af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262 1234 config.json
//! 2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213 56789 model.safetensors
//! e1ee1b8d6b4c5e5d3f8ff2f5a8ba7d7c4f7bb9ac5d2e3a0f4a4d5b7c7e0d9f10 158 MANIFEST
//! ```
//!
//! The last line stands for the lines above it: without it, a list that lost its end at a line's
//! end would pass, and the files it no longer names would go unchecked.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

use blake3::{Hash, Hasher};

use super::MANIFEST_FILE;
use super::error::{CheckpointError, io_error};

/// Bytes read at once: enough for BLAKE3 to use its widest vectors, few enough for the cache.
const READ_BYTES: usize = 256 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub hash: Hash,
    pub size: u64,
}

/// What a checkpoint's files should be, by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    pub files: BTreeMap<String, Entry>,
}

impl Manifest {
    pub fn render(&self) -> String {
        let mut text = String::new();
        for (name, entry) in &self.files {
            text.push_str(&format!("{} {} {name}\n", entry.hash.to_hex(), entry.size));
        }
        let own_line =
            format!("{} {} {MANIFEST_FILE}\n", blake3::hash(text.as_bytes()), text.len());
        text + &own_line
    }

    pub fn read(dir: &Path) -> Result<Self, CheckpointError> {
        let path = dir.join(MANIFEST_FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(CheckpointError::ManifestMissing { path });
            }
            Err(source) => return Err(CheckpointError::Io { path, source }),
        };
        parse(&bytes).map_err(|reason| CheckpointError::ManifestDamaged { path, reason })
    }

    /// Whether all files are there in their sizes: what can be known without reading them.
    pub fn check_sizes(&self, dir: &Path) -> Result<(), CheckpointError> {
        for (name, entry) in &self.files {
            let path = dir.join(name);
            let found = match fs::metadata(&path) {
                Ok(metadata) if metadata.is_file() => metadata.len(),
                Err(source) if source.kind() != ErrorKind::NotFound => {
                    return Err(CheckpointError::Io { path, source });
                }
                _ => return Err(CheckpointError::FileMissing { path }),
            };
            if found != entry.size {
                return Err(CheckpointError::Size { path, expected: entry.size, found });
            }
        }
        Ok(())
    }

    /// Whether all files have the bytes that were saved; reads every one.
    pub fn check_hashes(&self, dir: &Path) -> Result<(), CheckpointError> {
        for (name, entry) in &self.files {
            let path = dir.join(name);
            let found = hash_file(&path)?;
            if found.hash != entry.hash {
                return Err(CheckpointError::Hash {
                    path,
                    expected: entry.hash.to_string(),
                    found: found.hash.to_string(),
                });
            }
        }
        Ok(())
    }
}

/// Names a file of a checkpoint may have: relative, inside it, and one line of `MANIFEST`.
pub(super) fn check_name(name: &str) -> Result<(), &'static str> {
    if name == MANIFEST_FILE {
        return Err("the list of files has it");
    }
    if name.chars().any(char::is_control) {
        return Err("it holds a control character");
    }
    if name.contains('\\') {
        return Err("folders are separated by /");
    }
    if name.split('/').any(|part| matches!(part, "" | "." | "..")) || name.contains(':') {
        return Err("it is not a plain path inside the checkpoint");
    }
    Ok(())
}

fn parse(bytes: &[u8]) -> Result<Manifest, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let lines = text.strip_suffix('\n').ok_or("its end is missing")?;
    let own_start = lines.rfind('\n').map_or(0, |at| at + 1);
    let (name, own) = parse_line(&lines[own_start..]).ok_or("its end is missing")?;
    if name != MANIFEST_FILE {
        return Err("its end is missing".into());
    }
    let listed = &text[..own_start];
    if own != (Entry { hash: blake3::hash(listed.as_bytes()), size: listed.len() as u64 }) {
        return Err("its lines differ from what was written".into());
    }
    let mut files = BTreeMap::new();
    for (index, line) in listed.lines().enumerate() {
        let malformed = || format!("line {} is not a hash, a size and a name", index + 1);
        let (name, entry) = parse_line(line).ok_or_else(malformed)?;
        check_name(name).map_err(|reason| format!("line {}: {name:?}: {reason}", index + 1))?;
        if files.insert(name.to_owned(), entry).is_some() {
            return Err(format!("line {}: {name} stands twice", index + 1));
        }
    }
    Ok(Manifest { files })
}

fn parse_line(line: &str) -> Option<(&str, Entry)> {
    let (hash, rest) = line.split_once(' ')?;
    let (size, name) = rest.split_once(' ')?;
    Some((name, Entry { hash: Hash::from_hex(hash).ok()?, size: size.parse().ok()? }))
}

fn hash_file(path: &Path) -> Result<Entry, CheckpointError> {
    let mut file = File::open(path).map_err(io_error(path))?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => _ = hasher.update(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(io_error(path)(error)),
        }
    }
    Ok(Entry { hash: hasher.finalize(), size: hasher.count() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let entry = |text: &str| Entry { hash: blake3::hash(text.as_bytes()), size: 7 };
        let files = [("state.json", "a"), ("tokenizer/a b.json", "b"), ("config.json", "c")];
        let files = files.map(|(name, text)| (name.to_owned(), entry(text)));
        Manifest { files: files.into() }
    }

    #[test]
    fn reads_back_what_it_renders() {
        let text = manifest().render();
        assert_eq!(parse(text.as_bytes()).unwrap(), manifest());
        let names: Vec<_> = text.lines().map(|line| line.splitn(3, ' ').nth(2).unwrap()).collect();
        assert_eq!(names, ["config.json", "state.json", "tokenizer/a b.json", "MANIFEST"]);
        assert_eq!(parse(Manifest::default().render().as_bytes()).unwrap(), Manifest::default());
    }

    #[test]
    fn every_truncation_is_seen() {
        let text = manifest().render();
        for end in 0..text.len() {
            assert!(parse(&text.as_bytes()[..end]).is_err(), "cut at {end} of {}", text.len());
        }
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let text = manifest().render();
        for bit in 0..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            // A hash's hexadecimal digits may change their case: the same hash.
            if !bytes.eq_ignore_ascii_case(text.as_bytes()) {
                assert!(parse(&bytes).is_err(), "bit {bit}");
            }
        }
    }

    #[test]
    fn names_stay_inside_the_checkpoint() {
        for name in ["model.safetensors", "tokenizer/tokenizer.json", ".hidden", "a b"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in [
            "",
            "/",
            "/etc/passwd",
            "../x",
            "a/../x",
            "a//b",
            "a/",
            ".",
            "a\nb",
            "MANIFEST",
            "C:x",
            "a\\b",
        ] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }
}
