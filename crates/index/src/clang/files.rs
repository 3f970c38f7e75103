//! The project's files as libclang sees them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kiln_clang::FileHandle;
use rustc_hash::FxHashMap;

use crate::{FileId, InputFile};

/// Tells the project's files from all others, whatever the path by which a unit reaches them.
pub(super) struct FileTable {
    by_inode: FxHashMap<(u64, u64), Names>,
}

/// The names of one file: more than one where there are hard links to it, as patch tools leave them.
#[derive(Default)]
struct Names(Vec<(PathBuf, FileId)>);

impl FileTable {
    /// `files` lie below `root`, which is without links; ids are their places in the list. Files that are gone are left
    /// out.
    pub(super) fn new(root: &Path, files: &[InputFile]) -> Self {
        let mut by_inode: FxHashMap<(u64, u64), Names> = FxHashMap::default();
        for (id, file) in files.iter().enumerate() {
            let path = root.join(&file.name);
            if let (Ok(data), Ok(id)) = (fs::metadata(&path), FileId::try_from(id)) {
                by_inode.entry((data.dev(), data.ino())).or_default().0.push((path, id));
            }
        }
        Self { by_inode }
    }

    /// The project's file that this is.
    pub(super) fn get(&self, file: FileHandle<'_>) -> Option<FileId> {
        let id = file.id()?;
        self.by_inode.get(&(id[0], id[1]))?.of(|| file.path())
    }
}

impl Names {
    /// The only one, or that of this path, or the first.
    fn of(&self, path: impl Fn() -> PathBuf) -> Option<FileId> {
        let (_, first) = self.0.first()?;
        if self.0.len() == 1 {
            return Some(*first);
        }
        let path = path().canonicalize().ok()?;
        let named = self.0.iter().find(|(name, _)| *name == path);
        Some(named.map_or(*first, |(_, id)| *id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hard_links_are_told_apart_by_their_paths() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::write(root.join("a.h"), "").unwrap();
        fs::hard_link(root.join("a.h"), root.join("b.h")).unwrap();
        fs::write(root.join("c.h"), "").unwrap();
        let files =
            ["a.h", "b.h", "c.h"].map(|name| InputFile { name: name.into(), text: String::new() });
        let table = FileTable::new(&root, &files);
        let of = |name: &str, path: &str| {
            let data = fs::metadata(root.join(name)).unwrap();
            table.by_inode[&(data.dev(), data.ino())].of(|| root.join(path))
        };
        assert_eq!(of("a.h", "a.h"), Some(0));
        assert_eq!(of("a.h", "./b.h"), Some(1));
        assert_eq!(of("c.h", "elsewhere/c.h"), Some(2));
    }
}
