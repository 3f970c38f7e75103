//! The project's files as libclang sees them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustc_hash::FxHashMap;

use crate::{FileId, InputFile};

/// Tells the project's files from all others, whatever the path by which a unit reaches them.
pub(super) struct FileTable {
    by_inode: FxHashMap<(u64, u64), FileId>,
}

impl FileTable {
    /// `files` lie below `root`; ids are their places in the list. Files that are gone are left out.
    pub(super) fn new(root: &Path, files: &[InputFile]) -> Self {
        let mut by_inode = FxHashMap::default();
        for (id, file) in files.iter().enumerate() {
            if let (Ok(data), Ok(id)) = (fs::metadata(root.join(&file.name)), FileId::try_from(id))
            {
                // Of several names of one file the first counts.
                by_inode.entry((data.dev(), data.ino())).or_insert(id);
            }
        }
        Self { by_inode }
    }

    /// The project's file with this identity.
    pub(super) fn get(&self, id: kiln_clang::FileId) -> Option<FileId> {
        self.by_inode.get(&(id[0], id[1])).copied()
    }
}
