//! Which files of the project a file includes.

use std::sync::OnceLock;

use rustc_hash::FxHashMap;

/// The include graph.
#[derive(Debug)]
pub(crate) struct Includes {
    direct: Vec<Vec<u32>>,
    /// For every file all that it sees, itself too, sorted; computed when asked for.
    reached: Vec<OnceLock<Vec<u32>>>,
}

impl Includes {
    /// Of the files that each file includes by itself.
    pub(crate) fn new(direct: Vec<Vec<u32>>) -> Self {
        let reached = direct.iter().map(|_| OnceLock::new()).collect();
        Self { direct, reached }
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
pub(crate) fn operand(line: &str) -> Option<&str> {
    let open = line.find(['"', '<'])?;
    let rest = &line[open + 1..];
    let close = rest.find(['"', '>'])?;
    Some(rest[..close].trim_start_matches("./"))
}

/// Finds the files that includes mean.
pub(crate) struct Resolver<'a> {
    pub(crate) names: &'a [&'a str],
    by_last: FxHashMap<&'a str, Vec<u32>>,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(names: &'a [&'a str]) -> Self {
        let mut by_last: FxHashMap<&str, Vec<u32>> = FxHashMap::default();
        for (file, name) in names.iter().enumerate() {
            by_last.entry(last_part(name)).or_default().push(file as u32);
        }
        Self { names, by_last }
    }

    /// The files that an include may mean: beside the including file, else all whose path ends so.
    pub(crate) fn meant(&self, path: &str, from: u32) -> Vec<u32> {
        let from = self.names[from as usize];
        let mut folder = &from[..from.len() - last_part(from).len()];
        let mut path = path;
        while let Some(rest) = path.strip_prefix("../") {
            let parent = folder.trim_end_matches('/');
            folder = &parent[..parent.len() - last_part(parent).len()];
            path = rest;
        }
        let candidates = self.by_last.get(last_part(path)).map_or(&[][..], Vec::as_slice);
        let name = |file: u32| self.names[file as usize];
        let beside = |file: &u32| name(*file).strip_prefix(folder).is_some_and(|rest| rest == path);
        if let Some(file) = candidates.iter().copied().find(beside) {
            return vec![file];
        }
        let ends = |file: &u32| {
            let before = name(*file).strip_suffix(path);
            before.is_some_and(|before| before.is_empty() || before.ends_with('/'))
        };
        candidates.iter().copied().filter(ends).collect()
    }

    /// Of several files the one that shares the most folders with the including one.
    pub(crate) fn nearest(&self, files: &[u32], from: u32) -> Option<u32> {
        let from = self.names[from as usize];
        let shared = |file: &u32| {
            let parts = self.names[*file as usize].split('/').zip(from.split('/'));
            std::cmp::Reverse(parts.take_while(|(left, right)| left == right).count())
        };
        files.iter().copied().min_by_key(shared)
    }
}
