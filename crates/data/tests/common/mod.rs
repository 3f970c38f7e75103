//! Data sets and encoders that the tests write themselves.

#[allow(dead_code, reason = "each test file uses its own part")]
pub mod parquet;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use kiln_data::{DataError, Encode, Loader, LoaderOptions, Source, SourceOptions};

/// One token per byte; 256 is BOS and 257 may be EOS.
pub struct Bytes {
    pub eos: bool,
}

impl Encode for Bytes {
    fn encode_into(&self, text: &[u8], out: &mut Vec<u32>) {
        out.extend(text.iter().map(|b| u32::from(*b)));
    }

    fn bos_id(&self) -> u32 {
        256
    }

    fn eos_id(&self) -> Option<u32> {
        self.eos.then_some(257)
    }

    fn vocab_size(&self) -> usize {
        258
    }
}

/// A folder that is removed when the test ends.
pub struct Folder {
    folder: tempfile::TempDir,
}

#[allow(dead_code, reason = "each test file uses its own part")]
impl Folder {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A file of documents with these texts.
    pub fn documents<S: AsRef<str>>(&self, name: &str, texts: &[S]) -> PathBuf {
        self.write(name, jsonl(texts))
    }
}

pub fn jsonl<S: AsRef<str>>(texts: &[S]) -> String {
    texts.iter().map(|t| format!("{}\n", serde_json::json!({ "text": t.as_ref() }))).collect()
}

/// All documents of one file for training.
#[allow(dead_code, reason = "each test file uses its own part")]
pub fn training(folder: &Folder, texts: &[String]) -> Arc<Source> {
    let path = folder.documents("documents.jsonl", texts);
    let options = SourceOptions { validation_share: 0.0, ..SourceOptions::default() };
    Arc::new(Source::open(&path, &options).unwrap())
}

#[allow(dead_code, reason = "each test file uses its own part")]
pub fn loader(source: &Arc<Source>, options: &LoaderOptions) -> Result<Loader, DataError> {
    Loader::new(Arc::clone(source), Arc::new(Bytes { eos: false }), options.clone())
}

/// The rows of T+1 tokens that a batch was made of.
#[allow(dead_code, reason = "each test file uses its own part")]
pub fn rows(batch: &kiln_data::Batch) -> Vec<Vec<i32>> {
    let (ids, targets) = (batch.ids.chunks(batch.seq_len), batch.targets.chunks(batch.seq_len));
    ids.zip(targets)
        .map(|(ids, targets)| {
            assert_eq!(ids[1..], targets[..targets.len() - 1]);
            let mut row = ids.to_vec();
            row.push(targets[targets.len() - 1]);
            row
        })
        .collect()
}

/// A byte of every text tells its document, so that a test can tell pieces apart.
#[allow(dead_code, reason = "each test file uses its own part")]
pub fn texts(lengths: &[usize]) -> Vec<String> {
    let text =
        |(n, len): (usize, &usize)| char::from(b'!' + (n % 90) as u8).to_string().repeat(*len);
    lengths.iter().enumerate().map(text).collect()
}
