//! Shingle sets of many documents, on the disk: exact comparisons without keeping any text in memory.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Mutex;

/// Sets by number, in an unnamed temporary file that vanishes with the process.
pub(crate) struct SetStore {
    file: Mutex<BufWriter<File>>,
    /// Where each set starts, in elements, and where the last one ends.
    starts: Vec<u64>,
}

impl SetStore {
    /// An empty store whose file lies in `folder`.
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        let file = Mutex::new(BufWriter::with_capacity(1 << 20, tempfile::tempfile_in(folder)?));
        Ok(Self { file, starts: vec![0] })
    }

    /// Adds a set; its number is how many there were before.
    pub(crate) fn push(&mut self, set: &[u32]) -> io::Result<()> {
        let writer = self.file.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        // Reading moved the position.
        if self.starts.len() > 1 && writer.buffer().is_empty() {
            writer.seek(SeekFrom::End(0))?;
        }
        for element in set {
            writer.write_all(&element.to_le_bytes())?;
        }
        self.starts.push(self.starts[self.starts.len() - 1] + set.len() as u64);
        Ok(())
    }

    /// Set number `index`.
    pub(crate) fn get(&self, index: usize) -> io::Result<Vec<u32>> {
        let (start, end) = (self.starts[index], self.starts[index + 1]);
        let mut bytes = vec![0; (end - start) as usize * 4];
        {
            // Every use starts with a seek, so a panic elsewhere leaves nothing half done.
            let mut writer = self.file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            writer.flush()?;
            let file = writer.get_mut();
            file.seek(SeekFrom::Start(start * 4))?;
            file.read_exact(&mut bytes)?;
        }
        Ok(bytes.as_chunks::<4>().0.iter().map(|e| u32::from_le_bytes(*e)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_come_back_also_between_additions() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = SetStore::new(folder.path()).unwrap();
        let set = |n: u32| -> Vec<u32> { (n..n + n % 7).collect() };
        for n in 0..50 {
            store.push(&set(n)).unwrap();
            if n % 5 == 0 {
                assert_eq!(store.get(n as usize / 2).unwrap(), set(n / 2));
            }
        }
        for n in 0..50 {
            assert_eq!(store.get(n as usize).unwrap(), set(n));
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the file has no name");
    }
}
