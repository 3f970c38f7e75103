//! What was found, as the crate's model: definitions in order, calls between them.

use rayon::prelude::*;

use super::analysis;
use super::declarations::RawScopeKind;
use super::lexer::Kind;
use super::names::{FunctionName, function_name};
use super::source::Source;
use super::symbols::{EVERYWHERE, GLOBAL, Scope, ScopeKind, Symbols};
use super::types::ScopeId;
use crate::{
    Definition, DefinitionId, DefinitionKind, Failure, FailureCause, File, FileId, Parser, Project,
    ProjectInput, comment_above, preamble,
};

/// What the analysis found, free of borrowed text.
pub(crate) struct Found {
    definitions: Vec<Definition>,
    calls: Vec<(DefinitionId, DefinitionId)>,
    too_deep: Vec<FileId>,
}

/// A definition and where it came from.
struct Candidate {
    definition: Definition,
    origin: Origin,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Function(u32),
    /// The scope of a class.
    Class(ScopeId),
    Enum,
}

/// Makes definitions and finds their calls.
pub(crate) fn assemble(symbols: &Symbols, names: &[&str]) -> Found {
    let lists: Vec<Vec<Candidate>> = (0..symbols.files.len() as u32)
        .into_par_iter()
        .map(|file| candidates(symbols, names, file))
        .collect();
    let mut definitions = Vec::new();
    let mut function_ids: Vec<Vec<u32>> = symbols
        .files
        .iter()
        .map(|file| vec![u32::MAX; file.declarations.functions.len()])
        .collect();
    let mut class_ids = vec![u32::MAX; symbols.scopes.len()];
    let mut owners = Vec::new();
    for (file, list) in lists.into_iter().enumerate() {
        for Candidate { definition, origin } in list {
            let id = definitions.len() as u32;
            match origin {
                Origin::Function(number) => {
                    function_ids[file][number as usize] = id;
                    owners.push(symbols.function(symbols.function_of[file][number as usize]).scope);
                }
                Origin::Class(scope) => {
                    class_ids[scope as usize] = id;
                    owners.push(symbols.scope(scope).parent);
                }
                Origin::Enum => owners.push(GLOBAL),
            }
            definitions.push(definition);
        }
    }
    for (definition, owner) in definitions.iter_mut().zip(owners) {
        definition.class = Some(class_ids[owner as usize]).filter(|&id| id != u32::MAX);
    }
    let (calls, too_deep) = all_calls(symbols, &function_ids);
    Found { definitions, calls, too_deep }
}

fn all_calls(
    symbols: &Symbols,
    ids: &[Vec<u32>],
) -> (Vec<(DefinitionId, DefinitionId)>, Vec<FileId>) {
    let bodies: Vec<(u32, u32, u32)> = ids
        .iter()
        .enumerate()
        .flat_map(|(file, list)| {
            list.iter()
                .enumerate()
                .filter(|(_, id)| **id != u32::MAX)
                .map(move |(number, &id)| (file as u32, number as u32, id))
        })
        .collect();
    let results: Vec<(Vec<(u32, u32)>, bool)> = bodies
        .par_iter()
        .map(|&(file, number, caller)| {
            let found = analysis::calls(symbols, file, number, local_scope(symbols, file, number));
            let mut edges = Vec::new();
            for callee in found.functions {
                edges.extend(targets(symbols, ids, file, callee).map(|target| (caller, target)));
            }
            (edges, found.too_deep)
        })
        .collect();
    let mut calls = Vec::new();
    let mut too_deep = Vec::new();
    for ((edges, deep), &(file, ..)) in results.into_iter().zip(&bodies) {
        calls.extend(edges);
        if deep && too_deep.last() != Some(&file) {
            too_deep.push(file);
        }
    }
    calls.sort_unstable();
    calls.dedup();
    (calls, too_deep)
}

/// The scope of a function with local classes.
fn local_scope(symbols: &Symbols, file: u32, number: u32) -> Option<ScopeId> {
    let scopes = &symbols.files[file as usize].declarations.scopes;
    let place = scopes.iter().position(
        |raw| matches!(raw.kind, RawScopeKind::Function(function) if function == number),
    )?;
    Some(symbols.file_scopes[file as usize][place].0)
}

/// The definitions that a call of a function means: the one in the same file, else those the file can see, else all.
fn targets<'t>(
    symbols: &'t Symbols,
    ids: &'t [Vec<u32>],
    file: u32,
    callee: u32,
) -> impl Iterator<Item = DefinitionId> + 't {
    let definitions = &symbols.function(callee).definitions;
    let here = definitions.iter().any(|&(at, _)| at == file);
    let seen = here || definitions.iter().any(|&(at, _)| symbols.sees(file, at));
    definitions
        .iter()
        .filter(move |&&(at, _)| !seen || if here { at == file } else { symbols.sees(file, at) })
        .map(|&(at, number)| ids[at as usize][number as usize])
        .filter(|&id| id != u32::MAX)
}

/// The definitions of one file, by the place of their names.
fn candidates(symbols: &Symbols, names: &[&str], file: u32) -> Vec<Candidate> {
    let data = &symbols.files[file as usize];
    let source = data.source();
    let lines = line_starts(data.text);
    let mut list = Vec::new();
    for (number, raw) in data.declarations.functions.iter().enumerate() {
        let Some(body) = raw.body else { continue };
        let path = function_name(&source, raw.name.0 as usize, raw.name.1 as usize);
        let id = symbols.function_of[file as usize][number];
        let function = symbols.function(id);
        let class = symbols.scope(function.scope).kind == ScopeKind::Class;
        let owner = &symbols.scope(function.scope).name;
        let text = if raw.from_macro {
            macro_name(&source, raw.name.0 as usize)
        } else {
            path.text.clone()
        };
        let kind = function_kind(&path, class, owner);
        let qualified_name = qualified(symbols, function.scope, &text);
        // In C a function is its name.
        let signature =
            if names[file as usize].ends_with(".c") { " in C" } else { &function.signature };
        let mut key = format!("{}{signature}", keyed(symbols, function.scope, &text));
        if let Some(shape) = &function.shape {
            key.push_str(&format!("<{shape}>"));
        } else if !function.template.is_empty() {
            key.push_str(&format!("<{}>", function.template.len()));
        }
        if function.local_to != EVERYWHERE || qualified_name == "main" || raw.from_macro {
            key.push('@');
            key.push_str(names[file as usize]);
        }
        list.push((
            path.at,
            Origin::Function(number as u32),
            key,
            kind,
            qualified_name,
            raw.start,
            body,
            raw.from_macro,
        ));
    }
    for (number, raw) in data.declarations.scopes.iter().enumerate() {
        let RawScopeKind::Class(class) = raw.kind else { continue };
        let class = &data.declarations.classes[class as usize];
        let Some(body) = class.body else { continue };
        let (scope, local_to) = symbols.file_scopes[file as usize][number];
        let path = function_name(&source, class.name.0 as usize, class.name.1 as usize);
        let text = &symbols.scope(scope).name;
        let at = if text.is_empty() { body.0 as usize } else { path.at };
        let qualified_name = qualified(
            symbols,
            symbols.scope(scope).parent,
            if text.is_empty() { "(anonymous)" } else { text },
        );
        let key = local_key(
            format!("class {qualified_name}{}", symbols.scope(scope).specialisation),
            local_to,
            names[file as usize],
        );
        list.push((
            at,
            Origin::Class(scope),
            key,
            DefinitionKind::Class,
            qualified_name,
            class.start,
            body,
            false,
        ));
    }
    for raw in &data.declarations.enums {
        let (scope, local_to) = symbols.file_scopes[file as usize][raw.scope as usize];
        let at = raw.name.unwrap_or(raw.body.0) as usize;
        let text = raw.name.map_or("(anonymous)", |at| source.text(at as usize));
        let qualified_name = qualified(symbols, scope, text);
        let key = local_key(format!("enum {qualified_name}"), local_to, names[file as usize]);
        list.push((
            at,
            Origin::Enum,
            key,
            DefinitionKind::Enum,
            qualified_name,
            raw.start,
            raw.body,
            false,
        ));
    }
    list.sort_by_key(|entry| (entry.0, entry.5));
    list.into_iter()
        .filter_map(|(at, origin, key, kind, qualified_name, start, (open, close), from_macro)| {
            let byte = |token: usize| source.tokens.get(token).map(|token| token.start as usize);
            let name = byte(at)?;
            let body = byte(open as usize)?..source.tokens.get(close as usize)?.end as usize;
            let start = byte(start as usize)?.min(name).min(body.start);
            let mut end = body.end;
            if !kind.is_function() && source.kind(close as usize + 1) == Kind::Semi {
                end = source.tokens.get(close as usize + 1)?.end as usize;
            }
            let definition = Definition {
                key,
                kind,
                qualified_name,
                file,
                line: lines.partition_point(|&line| line <= name) as u32,
                extent: start..end,
                doc: comment_above(data.text, start),
                body,
                class: None,
                from_macro,
            };
            Some(Candidate { definition, origin })
        })
        .collect()
}

fn local_key(mut key: String, local_to: u32, file: &str) -> String {
    if local_to != EVERYWHERE {
        key.push('@');
        key.push_str(file);
    }
    key
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0)
        .chain(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1))
        .collect()
}

fn function_kind(path: &FunctionName, class: bool, owner: &str) -> DefinitionKind {
    if path.conversion {
        DefinitionKind::Conversion
    } else if path.text.starts_with('~') {
        DefinitionKind::Destructor
    } else if path.text.starts_with("operator")
        && !path.text.as_bytes().get(8).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_')
    {
        DefinitionKind::Operator
    } else if class && path.text == owner {
        DefinitionKind::Constructor
    } else if class {
        DefinitionKind::Method
    } else {
        DefinitionKind::Function
    }
}

/// `TEST(A, B)` makes `A_B_Test::TestBody`; what other macros make is named after all their words.
fn macro_name(source: &Source, at: usize) -> String {
    let close = source.mate(at + 1);
    let words: Vec<&str> = (at + 2..close)
        .filter(|&i| source.kind(i) == Kind::Ident)
        .map(|i| source.text(i))
        .take(4)
        .collect();
    if source.text(at).contains("TEST") && words.len() == 2 {
        return format!("{}_{}_Test::TestBody", words[0], words[1]);
    }
    let mut name = source.text(at).to_owned();
    for word in words {
        name.push('_');
        name.push_str(word);
    }
    name
}

fn qualified(symbols: &Symbols, scope: ScopeId, text: &str) -> String {
    path(symbols, scope, text, |scope| scope.name.clone())
}

/// The qualified name with the arguments of specialisations.
fn keyed(symbols: &Symbols, scope: ScopeId, text: &str) -> String {
    path(symbols, scope, text, |scope| format!("{}{}", scope.name, scope.specialisation))
}

fn path(symbols: &Symbols, scope: ScopeId, text: &str, part: impl Fn(&Scope) -> String) -> String {
    let mut parts = vec![text.to_owned()];
    let mut scope = scope;
    while scope != GLOBAL {
        let data = symbols.scope(scope);
        if !data.name.is_empty() {
            parts.push(part(data));
        }
        scope = data.parent;
    }
    parts.reverse();
    parts.join("::")
}

/// Adds the texts and preambles.
pub(crate) fn finish(
    input: ProjectInput,
    found: Found,
    mut failures: Vec<Failure>,
    units_with_errors: u64,
    errors: u64,
) -> Project {
    let mut occupied: Vec<Vec<std::ops::Range<usize>>> = vec![Vec::new(); input.files.len()];
    for definition in &found.definitions {
        occupied[definition.file as usize].push(definition.extent.clone());
    }
    for &file in &found.too_deep {
        let name = &input.files[file as usize].name;
        if !failures.iter().any(|failure| failure.file == *name) {
            let detail = String::from("an expression nests too deeply; calls in it are missing");
            failures.push(Failure { file: name.clone(), cause: FailureCause::TooDeep, detail });
        }
    }
    failures.sort();
    let units = input.files.len() as u64;
    let files: Vec<File> = input
        .files
        .into_par_iter()
        .zip(occupied)
        .map(|(file, mut occupied)| {
            occupied.sort_by_key(|range| range.start);
            File { preamble: preamble(&file.text, &occupied), name: file.name, text: file.text }
        })
        .collect();
    Project {
        parser: Parser::TreeSitter,
        files,
        definitions: found.definitions,
        calls: found.calls,
        units,
        units_with_errors,
        errors,
        failures,
    }
}
