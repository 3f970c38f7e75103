//! Files that no unit reaches: code for other platforms, headers that nobody includes.

use rustc_hash::FxHashSet;

use crate::tree_sitter;
use crate::{Definition, DefinitionId, FileId, InputFile, ProjectInput};

/// Adds what the embedded parser finds in the files that are not `covered`, so that they are not lost. Their calls among
/// themselves are known, those to other files are not.
pub(super) fn add_rest(
    input: &ProjectInput,
    covered: &FxHashSet<FileId>,
    definitions: Vec<Definition>,
    calls: Vec<(DefinitionId, DefinitionId)>,
) -> (Vec<Definition>, Vec<(DefinitionId, DefinitionId)>) {
    let rest: Vec<FileId> =
        (0..input.files.len() as FileId).filter(|file| !covered.contains(file)).collect();
    if rest.is_empty() {
        return (definitions, calls);
    }
    let files: Vec<InputFile> =
        rest.iter().map(|file| input.files[*file as usize].clone()).collect();
    let mut found = tree_sitter::parse(ProjectInput { root: input.root.clone(), files });
    for definition in &mut found.definitions {
        definition.file = rest[definition.file as usize];
    }
    interleave((definitions, calls), (found.definitions, found.calls))
}

type Part = (Vec<Definition>, Vec<(DefinitionId, DefinitionId)>);

/// Both are in order, and no file is in both.
fn interleave(first: Part, second: Part) -> Part {
    let mut order: Vec<(FileId, usize, DefinitionId)> = Vec::new();
    for (part, (definitions, _)) in [&first, &second].into_iter().enumerate() {
        order.extend(
            definitions
                .iter()
                .enumerate()
                .map(|(id, definition)| (definition.file, part, id as DefinitionId)),
        );
    }
    order.sort_unstable();
    let mut new_ids = [vec![0; first.0.len()], vec![0; second.0.len()]];
    for (new, (_, part, old)) in order.iter().enumerate() {
        new_ids[*part][*old as usize] = new as DefinitionId;
    }
    let mut calls = Vec::new();
    let mut definitions: Vec<Option<Definition>> = vec![None; order.len()];
    for (part, ids) in [first, second].into_iter().zip(&new_ids) {
        for (old, mut definition) in part.0.into_iter().enumerate() {
            definition.class = definition.class.map(|class| ids[class as usize]);
            definitions[ids[old] as usize] = Some(definition);
        }
        calls.extend(part.1.into_iter().map(|(from, to)| (ids[from as usize], ids[to as usize])));
    }
    calls.sort_unstable();
    (definitions.into_iter().flatten().collect(), calls)
}
