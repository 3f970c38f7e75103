//! Walks the tree of one unit.

use std::ops::Range;

use kiln_clang::{Cursor, CursorKind, FileHandle, Position, TranslationUnit, Visit};
use rustc_hash::{FxHashMap, FxHashSet};

use super::files::FileTable;
use super::symbols::{Callee, Found, UnitSymbols};
use crate::{DefinitionKind, FileId, InputFile};

/// Templates of templates of members: deeper chains do not occur.
const MAX_SPECIALISATION_DEPTH: usize = 8;

/// Definitions and calls of the project's files in `unit`.
pub(super) fn symbols(
    unit: &TranslationUnit<'_>,
    table: &FileTable,
    files: &[InputFile],
) -> UnitSymbols {
    let mut walk = Walk {
        table,
        files,
        handles: FxHashMap::default(),
        callees: FxHashMap::default(),
        seen_calls: FxHashSet::default(),
        symbols: UnitSymbols::default(),
    };
    unit.cursor().visit(|cursor| {
        // Whole headers of the system are passed over by the places of their outermost declarations.
        if walk.place(cursor.position()).is_none() {
            return Visit::Continue;
        }
        walk.node(cursor, None)
    });
    walk.symbols.files =
        unit.inclusions().into_iter().filter_map(|(file, _)| table.get(file)).collect();
    walk.symbols
}

struct Walk<'a, 't> {
    table: &'a FileTable,
    files: &'a [InputFile],
    handles: FxHashMap<FileHandle<'t>, Option<FileId>>,
    /// Of each function that was called, its place in `symbols.callees`; none outside the project.
    callees: FxHashMap<Cursor<'t>, Option<usize>>,
    seen_calls: FxHashSet<(usize, usize)>,
    symbols: UnitSymbols,
}

impl<'t> Walk<'_, 't> {
    /// File and offset, in a file of the project.
    fn place(&mut self, position: Position<'t>) -> Option<(FileId, u32)> {
        let handle = position.file?;
        let table = self.table;
        let file = *self.handles.entry(handle).or_insert_with(|| table.get(handle));
        Some((file?, position.offset))
    }

    fn node(&mut self, cursor: Cursor<'t>, caller: Option<usize>) -> Visit {
        let kind = cursor.kind();
        if kind.is_function() {
            self.function(cursor);
            Visit::Continue
        } else if kind.is_class() || kind == CursorKind::Enum {
            self.class(cursor, caller);
            Visit::Continue
        } else {
            if kind == CursorKind::Call
                && let Some(caller) = caller
            {
                self.call(cursor, caller);
            }
            Visit::Recurse
        }
    }

    fn class(&mut self, cursor: Cursor<'t>, caller: Option<usize>) {
        if !cursor.is_definition() {
            return;
        }
        let kind = if cursor.kind() == CursorKind::Enum {
            DefinitionKind::Enum
        } else {
            DefinitionKind::Class
        };
        if let Some(found) = self.definition(cursor, kind) {
            self.symbols.found.push(found);
        }
        cursor.visit(|child| self.node(child, caller));
    }

    /// A function counts when it has a body: not a declaration, nor defaulted, nor deleted, nor an instantiation.
    fn function(&mut self, cursor: Cursor<'t>) {
        if !cursor.is_definition() || cursor.is_defaulted() || is_instantiation(cursor) {
            return;
        }
        let Some(found) = self.definition(cursor, function_kind(cursor)) else {
            return;
        };
        let file = found.file;
        let Some(body) = body_of(cursor).and_then(|body| self.range(body.extent(), file)) else {
            return;
        };
        let this = self.symbols.found.len();
        self.symbols.found.push(Found { body, ..found });
        cursor.visit(|child| self.node(child, Some(this)));
    }

    fn definition(&mut self, cursor: Cursor<'t>, kind: DefinitionKind) -> Option<Found> {
        let position = cursor.position();
        let (file, name_at) = self.place(position)?;
        let extent = self
            .range(cursor.extent(), file)
            .or_else(|| self.extent_of_abbreviated(cursor, file, name_at))?;
        let name = name_of(cursor);
        if name.is_empty() {
            return None;
        }
        let key = self.key(cursor)?;
        let parent = cursor.semantic_parent();
        let class =
            parent.filter(|parent| parent.kind().is_class()).and_then(|class| self.key(class));
        let from_macro = !self.stands_at(file, name_at, &name);
        Some(Found {
            key,
            kind,
            qualified_name: qualified(parent, name),
            file,
            line: position.line,
            name_at,
            body: extent.clone(),
            extent,
            class,
            from_macro,
        })
    }

    /// Of a template that is only written with `auto` the parser says no extent: it goes from the beginning of the
    /// declaration, by the look of its lines, to the end of the body.
    fn extent_of_abbreviated(
        &mut self,
        cursor: Cursor<'t>,
        file: FileId,
        name_at: u32,
    ) -> Option<Range<u32>> {
        if cursor.kind() != CursorKind::FunctionTemplate {
            return None;
        }
        let body = body_of(cursor).and_then(|body| self.range(body.extent(), file))?;
        let head = self.files[file as usize].text.get(..name_at as usize)?;
        Some(beginning_of_declaration(head) as u32..body.end)
    }

    /// Byte range of an extent that lies in `file`.
    fn range(
        &mut self,
        (start, end): (Position<'t>, Position<'t>),
        file: FileId,
    ) -> Option<Range<u32>> {
        let (first, start) = self.place(start)?;
        let (last, end) = self.place(end)?;
        let inside = end as usize <= self.files[file as usize].text.len();
        (first == file && last == file && start < end && inside).then_some(start..end)
    }

    /// Whether the file has the first word of `name` at `at`.
    fn stands_at(&self, file: FileId, at: u32, name: &str) -> bool {
        let text = self.files[file as usize].text.as_bytes();
        let word = name.find([' ', '(', '<']).map_or(name, |end| &name[..end]);
        let word = if name.starts_with("operator") { "operator" } else { word };
        text.get(at as usize..).is_some_and(|rest| rest.starts_with(word.as_bytes()))
    }

    /// The USR. For internal linkage it names the file without its folders, and of nested namespaces perhaps the
    /// innermost alone: there the file's whole name and the qualified name are added.
    fn key(&mut self, cursor: Cursor<'t>) -> Option<String> {
        let mut usr = cursor.usr();
        if usr.is_empty() {
            return None;
        }
        if !usr.starts_with("c:@") {
            let (file, _) = self.place(cursor.position())?;
            usr.push('|');
            usr.push_str(&self.files[file as usize].name);
            usr.push('|');
            usr.push_str(&qualified(cursor.semantic_parent(), name_of(cursor)));
        }
        Some(usr)
    }

    fn call(&mut self, cursor: Cursor<'t>, caller: usize) {
        let Some(function) = cursor.referenced() else {
            return;
        };
        let callee = match self.callees.get(&function) {
            Some(known) => *known,
            None => {
                let callee = self.callee(function);
                let index = callee.map(|callee| {
                    self.symbols.callees.push(callee);
                    self.symbols.callees.len() - 1
                });
                self.callees.insert(function, index);
                index
            }
        };
        if let Some(callee) = callee
            && self.seen_calls.insert((caller, callee))
        {
            self.symbols.calls.push((caller, callee));
        }
    }

    fn callee(&mut self, function: Cursor<'t>) -> Option<Callee> {
        if !function.kind().is_function() {
            return None;
        }
        let place = self.place(function.position())?;
        let mut keys: Vec<String> = Vec::new();
        let mut next = Some(function);
        while let Some(cursor) = next.filter(|_| keys.len() < MAX_SPECIALISATION_DEPTH) {
            keys.extend(self.key(cursor));
            next = cursor.specialized_template();
        }
        (!keys.is_empty()).then_some(Callee { keys, place })
    }
}

/// Where the declaration begins whose name stands behind `head`: its line, and those before it that do not end anything.
fn beginning_of_declaration(head: &str) -> usize {
    let mut start = head.rfind('\n').map_or(0, |feed| feed + 1);
    while let Some(above) = head[..start].strip_suffix('\n') {
        let line_start = above.rfind('\n').map_or(0, |feed| feed + 1);
        let line = above[line_start..].trim();
        let ends = line.is_empty() || line.ends_with([';', '{', '}', ':']) || line.ends_with("*/");
        if ends || line.starts_with("//") || line.starts_with('#') {
            break;
        }
        start = line_start;
    }
    start + (head[start..].len() - head[start..].trim_start().len())
}

/// An instantiation stands where its template, or the definition of its template, stands; a specialisation of its own
/// stands elsewhere.
fn is_instantiation(cursor: Cursor<'_>) -> bool {
    let Some(template) = cursor.specialized_template() else {
        return false;
    };
    let here = cursor.position();
    template.position() == here
        || template.definition().is_some_and(|definition| definition.position() == here)
}

/// The statement that is the function's body: of its own children the last such, as initialisers come before.
fn body_of(function: Cursor<'_>) -> Option<Cursor<'_>> {
    let mut body = None;
    function.visit(|child| {
        if matches!(child.kind(), CursorKind::CompoundStatement | CursorKind::TryStatement) {
            body = Some(child);
        }
        Visit::Continue
    });
    body
}

fn function_kind(cursor: Cursor<'_>) -> DefinitionKind {
    let kind = match cursor.kind() {
        CursorKind::FunctionTemplate => cursor.template_kind(),
        kind => kind,
    };
    match kind {
        CursorKind::Constructor => DefinitionKind::Constructor,
        CursorKind::Destructor => DefinitionKind::Destructor,
        CursorKind::Conversion => DefinitionKind::Conversion,
        _ if is_operator(&cursor.spelling()) => DefinitionKind::Operator,
        CursorKind::Method => DefinitionKind::Method,
        _ => DefinitionKind::Function,
    }
}

fn is_operator(name: &str) -> bool {
    name.strip_prefix("operator")
        .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// The name without template arguments, which constructors and destructors of templates carry; empty if it has none.
fn name_of(cursor: Cursor<'_>) -> String {
    let mut name = cursor.spelling();
    if name.starts_with('(') {
        return String::new();
    }
    if !name.starts_with("operator")
        && let Some(arguments) = name.find('<')
    {
        name.truncate(arguments);
    }
    name
}

/// `name` behind the names of the namespaces, classes and functions around it.
fn qualified(parent: Option<Cursor<'_>>, name: String) -> String {
    let mut parts = vec![name];
    let mut next = parent;
    while let Some(cursor) = next {
        let kind = cursor.kind();
        if !(kind == CursorKind::Namespace || kind.is_class() || kind.is_function()) {
            break;
        }
        let name = name_of(cursor);
        if !name.is_empty() {
            parts.push(name);
        }
        next = cursor.semantic_parent();
    }
    parts.reverse();
    parts.join("::")
}

#[cfg(test)]
mod tests {
    use super::beginning_of_declaration;

    #[test]
    fn declarations_begin_behind_what_ends() {
        let text = "int x;\n  // Of f.\n  inline auto\n  name(auto x) {}\n";
        let at = beginning_of_declaration(&text[..text.find("name").unwrap()]);
        assert!(text[at..].starts_with("inline auto\n"));
        assert_eq!(beginning_of_declaration("int "), 0);
    }
}
