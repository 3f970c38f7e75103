//! Which files of the project a file includes.

use std::sync::OnceLock;

use rustc_hash::FxHashMap;

use super::symbols::ParsedFile;

/// The include graph.
#[derive(Debug)]
pub(crate) struct Includes {
    direct: Vec<Vec<u32>>,
    /// For every file all that it sees, itself too, sorted; computed when asked for.
    reached: Vec<OnceLock<Vec<u32>>>,
}

impl Includes {
    pub(crate) fn new(names: &[&str], files: &[ParsedFile]) -> Self {
        let mut by_last: FxHashMap<&str, Vec<u32>> = FxHashMap::default();
        for (file, name) in names.iter().enumerate() {
            by_last.entry(last_part(name)).or_default().push(file as u32);
        }
        let direct = files
            .iter()
            .zip(names)
            .map(|(file, name)| {
                let mut direct: Vec<u32> = file
                    .tokens
                    .includes
                    .iter()
                    .filter_map(|&(start, end)| {
                        operand(file.text.get(start as usize..end as usize)?)
                    })
                    .flat_map(|path| meant(path, name, names, &by_last))
                    .collect();
                direct.sort_unstable();
                direct.dedup();
                direct
            })
            .collect();
        Self { direct, reached: files.iter().map(|_| OnceLock::new()).collect() }
    }

    /// Whether `file` is or includes `other`.
    pub(crate) fn sees(&self, file: u32, other: u32) -> bool {
        let reached = self.reached[file as usize].get_or_init(|| self.reach(file));
        reached.binary_search(&other).is_ok()
    }

    fn reach(&self, file: u32) -> Vec<u32> {
        let mut seen = vec![false; self.direct.len()];
        let mut reached = vec![file];
        seen[file as usize] = true;
        let mut next = 0;
        while next < reached.len() {
            for &other in &self.direct[reached[next] as usize] {
                if !seen[other as usize] {
                    seen[other as usize] = true;
                    reached.push(other);
                }
            }
            next += 1;
        }
        reached.sort_unstable();
        reached
    }
}

fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// What stands between the quotes or angle brackets.
fn operand(line: &str) -> Option<&str> {
    let open = line.find(['"', '<'])?;
    let rest = &line[open + 1..];
    let close = rest.find(['"', '>'])?;
    Some(rest[..close].trim_start_matches("./"))
}

/// The files that an include may mean: beside the including file, else all whose path ends so.
fn meant(path: &str, from: &str, names: &[&str], by_last: &FxHashMap<&str, Vec<u32>>) -> Vec<u32> {
    let folder = &from[..from.len() - last_part(from).len()];
    let mut folder = folder;
    let mut path = path;
    while let Some(rest) = path.strip_prefix("../") {
        let parent = folder.trim_end_matches('/');
        folder = &parent[..parent.len() - last_part(parent).len()];
        path = rest;
    }
    let candidates = by_last.get(last_part(path)).map_or(&[][..], Vec::as_slice);
    let beside = candidates
        .iter()
        .copied()
        .find(|&file| names[file as usize].strip_prefix(folder).is_some_and(|rest| rest == path));
    if let Some(file) = beside {
        return vec![file];
    }
    candidates
        .iter()
        .copied()
        .filter(|&file| {
            let name = names[file as usize];
            name.strip_suffix(path).is_some_and(|before| before.is_empty() || before.ends_with('/'))
        })
        .collect()
}
