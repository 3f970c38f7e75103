//! What a folder on a web server holds, where the server does not tell: the lists that Kiln puts into what it writes.

use crate::error::StoreError;
use crate::location::{Location, is_plain};
use crate::store::{Entry, Store};

/// Of a finished folder of documents: JSON with the written files.
const COMPLETE: &str = "_COMPLETE";
/// Of a checkpoint: a line with hash, size and name for each file.
const MANIFEST: &str = "MANIFEST";
/// Of a run: the name of its newest checkpoint.
const LATEST: &str = "latest";
/// Of a tokenizer: its files' names.
const TOKENIZER: [&str; 2] = ["tokenizer.json", "token_bytes.json"];

/// The files of a folder that Kiln wrote, by its own lists; none where there are no such lists.
pub(crate) fn list(store: &Store, folder: &Location) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::new();
    if let Some(json) = text(store, folder, COMPLETE)? {
        entries.extend(documents(&json).into_iter().map(entry));
        entries.push(entry(COMPLETE.to_owned()));
    } else if let Some(manifest) = text(store, folder, MANIFEST)? {
        entries.extend(manifest_names(&manifest).map(entry));
        entries.push(entry(MANIFEST.to_owned()));
    } else if let Some(latest) = text(store, folder, LATEST)? {
        let name = latest.trim_end();
        if is_plain(name) && !name.contains('/') {
            let below = list(store, &folder.join(name))?;
            let inside = |of: Entry| entry(format!("{name}/{}", of.name));
            entries.extend(below.into_iter().map(inside));
            entries.push(entry(LATEST.to_owned()));
        }
    } else {
        for name in TOKENIZER {
            if store.size(&folder.join(name))?.is_some() {
                entries.push(entry(name.to_owned()));
            }
        }
    }
    entries.retain(|entry| is_plain(&entry.name));
    entries.sort();
    entries.dedup();
    Ok(entries)
}

fn entry(name: String) -> Entry {
    Entry { name, size: None, version: None, modified: None }
}

fn text(store: &Store, folder: &Location, name: &str) -> Result<Option<String>, StoreError> {
    let content = store.read(&folder.join(name))?;
    Ok(content.and_then(|bytes| String::from_utf8(bytes).ok()))
}

/// `name` of each of the `files` of a summary.
fn documents(json: &str) -> Vec<String> {
    let summary: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
    let files = summary["files"].as_array().into_iter().flatten();
    files.filter_map(|file| file["name"].as_str().or(file.as_str()).map(str::to_owned)).collect()
}

/// What follows hash and size in each line.
fn manifest_names(manifest: &str) -> impl Iterator<Item = String> {
    let name = |line: &str| line.splitn(3, ' ').nth(2).map(str::to_owned);
    manifest.lines().filter_map(name)
}
