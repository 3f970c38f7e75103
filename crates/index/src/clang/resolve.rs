//! Turns the union of all units into a project's definitions and calls.

use std::collections::BTreeSet;
use std::ops::Range;

use rustc_hash::FxHashMap;

use super::merge::Merge;
use super::symbols::{Callee, Found};
use crate::comments::comment_above;
use crate::{Definition, DefinitionId, FileId, InputFile};

/// Definitions by file and place, and calls between them.
pub(super) fn resolve(
    merge: Merge,
    files: &[InputFile],
) -> (Vec<Definition>, Vec<(DefinitionId, DefinitionId)>) {
    let Merge { definitions, callees, calls, .. } = merge;
    let places = Places::new(&definitions);
    let entities = Entities::new(&definitions, &places);

    let targets: Vec<Vec<DefinitionId>> =
        callees.iter().map(|callee| entities.targets(callee)).collect();
    let mut resolved = BTreeSet::new();
    for (caller, callee) in calls {
        let caller = places.id[caller as usize];
        let from = &definitions[places.of[caller as usize] as usize];
        if !from.kind.is_function() {
            continue;
        }
        let targets = &targets[callee as usize];
        if let Some(callee) = nearest(targets, from.file, &places, &definitions, files) {
            resolved.insert((caller, callee));
        }
    }
    let finished = places.of.iter().map(|&index| {
        finish(&definitions[index as usize], &entities, &places, &definitions, files)
    });
    (finished.collect(), resolved.into_iter().collect())
}

/// The order of the definitions, with those that are one and the same put together.
struct Places {
    /// Of each definition of the union, its id.
    id: Vec<DefinitionId>,
    /// Of each id, the definition of the union that stands for it.
    of: Vec<u32>,
}

impl Places {
    fn new(definitions: &[Found]) -> Self {
        let mut order: Vec<u32> = (0..definitions.len() as u32).collect();
        let sort_key = |index: &u32| {
            let found = &definitions[*index as usize];
            (
                found.file,
                found.name_at,
                found.extent.start,
                found.extent.end,
                &found.qualified_name,
                &found.key,
            )
        };
        order.sort_by(|a, b| sort_key(a).cmp(&sort_key(b)));
        let mut id = vec![0; definitions.len()];
        let mut of: Vec<u32> = Vec::new();
        for index in order {
            let same = of.last().is_some_and(|last| {
                is_same(&definitions[*last as usize], &definitions[index as usize])
            });
            if !same {
                of.push(index);
            }
            id[index as usize] = of.len() as DefinitionId - 1;
        }
        Self { id, of }
    }
}

/// One definition under two keys: a header that C and C++ units share, or types that depend on a unit's macros. What a
/// macro makes stands in one place with others of its kind, so there the keys decide.
fn is_same(a: &Found, b: &Found) -> bool {
    (a.file, a.name_at, &a.extent, &a.qualified_name)
        == (b.file, b.name_at, &b.extent, &b.qualified_name)
        && !a.from_macro
        && !b.from_macro
}

/// Definitions by key and by place.
struct Entities<'a> {
    by_key: FxHashMap<&'a str, Vec<DefinitionId>>,
    /// None where several definitions stand.
    by_place: FxHashMap<(FileId, u32), Option<DefinitionId>>,
}

impl<'a> Entities<'a> {
    fn new(definitions: &'a [Found], places: &Places) -> Self {
        let mut by_key: FxHashMap<&str, Vec<DefinitionId>> = FxHashMap::default();
        let mut by_place: FxHashMap<(FileId, u32), Option<DefinitionId>> = FxHashMap::default();
        for (found, id) in definitions.iter().zip(&places.id) {
            by_key.entry(&found.key).or_default().push(*id);
            by_place
                .entry((found.file, found.name_at))
                .and_modify(|known| *known = known.filter(|known| known == id))
                .or_insert(Some(*id));
        }
        for ids in by_key.values_mut() {
            ids.sort_unstable();
            ids.dedup();
        }
        Self { by_key, by_place }
    }

    /// The definitions of the most special function that has any.
    fn targets(&self, callee: &Callee) -> Vec<DefinitionId> {
        let by_key = callee.keys.iter().find_map(|key| self.by_key.get(key.as_str()).cloned());
        // A member or friend that a template's instantiation brought along stands where its pattern stands.
        let by_place = || self.by_place.get(&callee.place).copied().flatten().into_iter().collect();
        by_key.unwrap_or_else(by_place)
    }
}

/// Programs of one project may define the same function, such as `main`: the one in the caller's file, else the one in
/// the nearest folder, else the first.
fn nearest(
    ids: &[DefinitionId],
    file: FileId,
    places: &Places,
    definitions: &[Found],
    files: &[InputFile],
) -> Option<DefinitionId> {
    let found = |id: &DefinitionId| &definitions[places.of[*id as usize] as usize];
    let mut functions = ids.iter().copied().filter(|id| found(id).kind.is_function());
    let first = functions.next()?;
    let name = |file: FileId| files[file as usize].name.as_str();
    let distance = |id: &DefinitionId| {
        let at = found(id).file;
        (at != file, folders_between(name(at), name(file)))
    };
    // Of equals the first.
    Some(functions.fold(first, |best, id| if distance(&id) < distance(&best) { id } else { best }))
}

/// Folders to leave and to enter on the way from one file to another.
fn folders_between(a: &str, b: &str) -> usize {
    let folders = |name: &str| name.matches('/').count();
    let shared = a.split('/').zip(b.split('/')).take_while(|(a, b)| a == b).count();
    // The files' own names may be equal too.
    let shared = shared.min(folders(a)).min(folders(b));
    folders(a) + folders(b) - 2 * shared
}

fn finish(
    found: &Found,
    entities: &Entities<'_>,
    places: &Places,
    definitions: &[Found],
    files: &[InputFile],
) -> Definition {
    let text = &files[found.file as usize].text;
    let extent = whole_extent(text, found);
    let class = found.class.as_deref().and_then(|key| entities.by_key.get(key)).and_then(|ids| {
        let in_file =
            |id: &&DefinitionId| definitions[places.of[**id as usize] as usize].file == found.file;
        ids.iter().find(in_file).or(ids.first()).copied()
    });
    Definition {
        key: found.key.clone(),
        kind: found.kind,
        qualified_name: found.qualified_name.clone(),
        file: found.file,
        line: found.line,
        doc: comment_above(text, extent.start),
        body: found.body.start as usize..found.body.end as usize,
        extent,
        class,
        from_macro: found.from_macro,
    }
}

/// With the attributes before it, which libclang leaves out, and the semicolon of a class.
fn whole_extent(text: &str, found: &Found) -> Range<usize> {
    let mut start = found.extent.start as usize;
    let mut end = found.extent.end as usize;
    if !found.kind.is_function() {
        let rest = &text[end..];
        let blanks = rest.len() - rest.trim_start().len();
        if rest[blanks..].starts_with(';') {
            end += blanks + 1;
        }
    }
    while let Some(before) = attribute_before(text, start) {
        start = before;
    }
    start..end
}

/// Where a `[[...]]` begins that stands directly before `at`.
fn attribute_before(text: &str, at: usize) -> Option<usize> {
    let head = text[..at].trim_end().strip_suffix("]]")?;
    let open = head.rfind("[[")?;
    (!head[open..].contains([';', '{', '}'])).then_some(open)
}

#[cfg(test)]
mod tests {
    use super::{attribute_before, folders_between};

    #[test]
    fn counts_folders_between_files() {
        assert_eq!(folders_between("a/x.cc", "a/y.cc"), 0);
        assert_eq!(folders_between("x.cc", ".old/fix/x.cc"), 2);
        assert_eq!(folders_between("a/b/x.cc", "a/c/d/x.cc"), 3);
        assert_eq!(folders_between("a/x.cc", "a/x.cc"), 0);
    }

    #[test]
    fn finds_attributes() {
        let text = "int x;\n[[nodiscard]] [[deprecated(\"no\")]]\nint f();";
        let name = text.find("int f").unwrap();
        let last = attribute_before(text, name).unwrap();
        assert!(text[last..].starts_with("[[deprecated"));
        assert!(text[attribute_before(text, last).unwrap()..].starts_with("[[nodiscard"));
        assert_eq!(attribute_before("a[b[1]]; int f();", 9), None);
    }
}
