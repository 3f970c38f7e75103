//! Puts the declarations of all files into one table of scopes and names.

mod functions;

use rustc_hash::FxHashMap;

use super::declarations::{RawScopeKind, RawUsingKind};
use super::includes::Includes;
use super::lexer::Kind;
use super::lookup::Place;
use super::macros::Macros;
use super::names::function_name;
use super::symbols::*;
use super::templates::{normalised, template_parameters};
use super::types::{Base, Name, ScopeId, Type, name};

/// Merges the files' declarations. Headers come first, so that what they declare is known when sources define it.
pub(crate) fn merge<'a>(
    names: &[&str],
    files: &'a [ParsedFile<'a>],
    macros: &'a Macros,
    includes: Includes,
) -> Symbols<'a> {
    let global = new_scope(ScopeKind::Namespace, GLOBAL, String::new(), 0, EVERYWHERE);
    let symbols = Symbols {
        files,
        macros,
        scopes: vec![global],
        functions: Vec::new(),
        variables: Vec::new(),
        aliases: Vec::new(),
        usings: Vec::new(),
        enums: Vec::new(),
        members: FxHashMap::default(),
        specialisations: FxHashMap::default(),
        file_scopes: files
            .iter()
            .map(|file| Vec::with_capacity(file.declarations.scopes.len()))
            .collect(),
        function_of: files
            .iter()
            .map(|file| vec![u32::MAX; file.declarations.functions.len()])
            .collect(),
        headers: names.iter().map(|name| is_header(name)).collect(),
        includes,
    };
    let headers = symbols.headers.clone();
    let mut order: Vec<u32> = (0..files.len() as u32).collect();
    order.sort_by_key(|&file| !headers[file as usize]);
    let mut merger = Merger { symbols, headers, known: FxHashMap::default() };
    for &file in &order {
        merger.scopes(file);
    }
    merger.inline_twins();
    for &file in &order {
        merger.names(file);
    }
    merger.macro_names();
    for &file in &order {
        merger.usings(file);
    }
    merger.bases();
    // Definitions out of their classes may stand in files that come before those of the classes.
    for qualified in [false, true] {
        for &file in &order {
            merger.functions(file, qualified);
        }
    }
    for &file in &order {
        merger.local_scopes(file);
    }
    merger.symbols
}

/// Whether other files include it.
pub(crate) fn is_header(name: &str) -> bool {
    !matches!(name.rsplit('.').next(), Some("c" | "cc" | "cpp" | "cxx" | "C" | "c++"))
}

fn new_scope(kind: ScopeKind, parent: ScopeId, name: String, file: u32, local_to: u32) -> Scope {
    Scope {
        kind,
        parent,
        name,
        file,
        local_to,
        bases: Vec::new(),
        base_range: (0, 0),
        template: Vec::new(),
        specialisation: String::new(),
        usings: Vec::new(),
        constructors: Vec::new(),
        conversions: Vec::new(),
        definition: None,
    }
}

struct Merger<'a> {
    symbols: Symbols<'a>,
    headers: Vec<bool>,
    /// Functions by scope, name and signature, and by file if only it sees them.
    known: FxHashMap<(ScopeId, Name, String, u32), u32>,
}

impl<'a> Merger<'a> {
    fn add_scope(&mut self, scope: Scope) -> ScopeId {
        self.symbols.scopes.push(scope);
        self.symbols.scopes.len() as u32 - 1
    }

    fn enter(&mut self, scope: ScopeId, name: Name, entity: Entity, file: u32, local_to: u32) {
        let entries = self.symbols.members.entry((scope, name)).or_default();
        if !entries.iter().any(|entry| entry.entity == entity) {
            entries.push(Entry { entity, local_to, file });
        }
    }

    /// Namespaces and classes with bodies.
    fn scopes(&mut self, file: u32) {
        let macros = self.symbols.macros;
        let files = self.symbols.files;
        let data = &files[file as usize];
        let source = data.source();
        for raw in &data.declarations.scopes {
            let (parent, local_to) = self.symbols.file_scopes[file as usize]
                .get(raw.parent as usize)
                .copied()
                .unwrap_or((GLOBAL, EVERYWHERE));
            let entered = match &raw.kind {
                RawScopeKind::File => (GLOBAL, EVERYWHERE),
                RawScopeKind::Namespace { name: text, .. } if text.is_empty() => {
                    (parent, if self.headers[file as usize] { local_to } else { file })
                }
                RawScopeKind::Namespace { name: text, inline } => {
                    (self.namespace(parent, text, *inline, file), local_to)
                }
                RawScopeKind::Class(class) => {
                    let class = &data.declarations.classes[*class as usize];
                    let path = function_name(&source, class.name.0 as usize, class.name.1 as usize);
                    let mut parent = parent;
                    if !path.qualifiers.is_empty()
                        && let Ok(ty) = self.symbols.qualifier(
                            &source,
                            &path.qualifiers,
                            false,
                            Place::new(file, parent),
                        )
                        && let Base::Class(scope, _) = ty.base
                    {
                        parent = scope;
                    }
                    let text = if class.name.0 == class.name.1 { String::new() } else { path.text };
                    let specialised = source.kind(path.at + 1) == Kind::Lt;
                    let mut scope =
                        new_scope(ScopeKind::Class, parent, text.clone(), file, local_to);
                    scope.base_range = class.bases;
                    scope.template = class.template.map_or_else(Vec::new, |at| {
                        template_parameters(&source, at as usize, macros)
                    });
                    if !path.qualifiers.is_empty() {
                        // The first list is that of the class around it.
                        let outer = self.symbols.scope(parent).template.len();
                        scope.template = scope.template.split_off(outer.min(scope.template.len()));
                    }
                    scope.definition = Some((file, class_number(raw)));
                    if specialised {
                        let start = path.at + 1;
                        let end = source.past_angles(start, source.len()).unwrap_or(start);
                        let text = &mut scope.specialisation;
                        normalised(&source, start, end, &scope.template, text);
                    }
                    let id = self.add_scope(scope);
                    if text.is_empty() {
                        // The members of an anonymous struct or union are those of the class around it.
                        self.symbols.scopes[parent as usize].usings.push((id, local_to));
                    }
                    if !text.is_empty() && !specialised {
                        self.enter(parent, name(&text), Entity::Class(id), file, local_to);
                    }
                    (id, local_to)
                }
                RawScopeKind::Function(function) => {
                    let function = &data.declarations.functions[*function as usize];
                    let path =
                        function_name(&source, function.name.0 as usize, function.name.1 as usize);
                    let mut scope = new_scope(ScopeKind::Function, parent, path.text, file, file);
                    scope.template = function.template.map_or_else(Vec::new, |at| {
                        template_parameters(&source, at as usize, macros)
                    });
                    (self.add_scope(scope), file)
                }
            };
            self.symbols.file_scopes[file as usize].push(entered);
        }
    }

    fn namespace(&mut self, parent: ScopeId, text: &str, inline: bool, file: u32) -> ScopeId {
        let wanted = name(text);
        let known =
            self.symbols.entries(parent, wanted).iter().find_map(|entry| match entry.entity {
                Entity::Namespace(scope) => Some(scope),
                _ => None,
            });
        let scope = known.unwrap_or_else(|| {
            let scope = self.add_scope(new_scope(
                ScopeKind::Namespace,
                parent,
                text.to_owned(),
                file,
                EVERYWHERE,
            ));
            self.enter(parent, wanted, Entity::Namespace(scope), file, EVERYWHERE);
            scope
        });
        let usings = &mut self.symbols.scopes[parent as usize].usings;
        if inline && !usings.contains(&(scope, EVERYWHERE)) {
            usings.push((scope, EVERYWHERE));
        }
        scope
    }

    /// `a::detail` and `a::v1::detail` of an inline `v1` are found under one name.
    fn inline_twins(&mut self) {
        for id in 0..self.symbols.scopes.len() as u32 {
            let inner = self.symbols.scope(id);
            let middle = self.symbols.scope(inner.parent);
            let is_inline = inner.parent != GLOBAL
                && self.symbols.scope(middle.parent).usings.contains(&(inner.parent, EVERYWHERE));
            if inner.kind != ScopeKind::Namespace || !is_inline {
                continue;
            }
            let entries = self.symbols.entries(middle.parent, name(&inner.name));
            let twin = entries.iter().find_map(|entry| match entry.entity {
                Entity::Namespace(scope) if scope != id => Some(scope),
                _ => None,
            });
            if let Some(twin) = twin {
                self.symbols.scopes[twin as usize].usings.push((id, EVERYWHERE));
            }
        }
    }

    /// Classes without bodies, enumerations, variables and aliases.
    fn names(&mut self, file: u32) {
        let macros = self.symbols.macros;
        let files = self.symbols.files;
        let data = &files[file as usize];
        let source = data.source();
        let place =
            |merger: &Self, scope: u32| merger.symbols.file_scopes[file as usize][scope as usize];
        for class in data.declarations.classes.iter().filter(|class| class.body.is_none()) {
            let (scope, local_to) = place(self, class.scope);
            let path = function_name(&source, class.name.0 as usize, class.name.1 as usize);
            let wanted = name(&path.text);
            let specialised = class.name.1 as usize > path.at + 1;
            if self.is_std(scope)
                || (path.qualifiers.is_empty() && self.announce(scope, wanted, file))
            {
                continue;
            }
            let known = !self.symbols.unqualified(Place::new(file, scope), wanted).1.is_empty();
            if path.qualifiers.is_empty() && !known && !specialised {
                let mut opaque = new_scope(ScopeKind::Class, scope, path.text, file, local_to);
                opaque.template = class
                    .template
                    .map_or_else(Vec::new, |at| template_parameters(&source, at as usize, macros));
                let id = self.add_scope(opaque);
                self.enter(scope, wanted, Entity::Class(id), file, local_to);
            }
        }
        for raw in &data.declarations.enums {
            let (scope, local_to) = place(self, raw.scope);
            self.symbols.enums.push(scope);
            let id = self.symbols.enums.len() as u32 - 1;
            if let Some(at) = raw.name {
                self.enter(scope, name(source.text(at as usize)), Entity::Enum(id), file, local_to);
            }
            if !raw.scoped {
                for (start, _) in source.split_commas(raw.body.0 as usize + 1, raw.body.1 as usize)
                {
                    self.enter(
                        scope,
                        name(source.text(start)),
                        Entity::Enumerator(id),
                        file,
                        local_to,
                    );
                }
            }
        }
        for (number, raw) in data.declarations.variables.iter().enumerate() {
            let (scope, local_to) = place(self, raw.scope);
            let path = function_name(&source, raw.name.0 as usize, raw.name.1 as usize);
            if !path.qualifiers.is_empty() {
                continue;
            }
            let mutable = (raw.result.saturating_sub(2)..raw.name.0)
                .any(|i| source.text(i as usize) == "mutable");
            self.symbols.variables.push(Variable {
                scope,
                file,
                raw: number as u32,
                ty: Type::UNKNOWN,
                mutable,
            });
            let id = self.symbols.variables.len() as u32 - 1;
            self.enter(scope, name(&path.text), Entity::Variable(id), file, local_to);
        }
        for raw in &data.declarations.aliases {
            let (scope, local_to) = place(self, raw.scope);
            let template = raw
                .template
                .map_or_else(Vec::new, |at| template_parameters(&source, at as usize, macros));
            self.symbols.aliases.push(Alias { scope, file, target: raw.target, template });
            let id = self.symbols.aliases.len() as u32 - 1;
            let wanted = name(source.text(raw.name as usize));
            // `typedef struct X X;` says nothing new.
            let (start, end) = (raw.target.0 as usize, raw.target.1 as usize);
            let plain = !(start..end).any(|i| source.kind(i) == Kind::ColonColon);
            let again =
                plain && end > start && source.text(end - 1) == source.text(raw.name as usize);
            if again || self.is_std(scope) {
                continue;
            }
            self.enter(scope, wanted, Entity::Alias(id), file, local_to);
        }
    }

    /// Whether it is the standard library's namespace, whose own classes are known better than by a declaration.
    fn is_std(&self, scope: ScopeId) -> bool {
        let scope = self.symbols.scope(scope);
        scope.kind == ScopeKind::Namespace && scope.parent == GLOBAL && scope.name == "std"
    }

    /// A class that a source defines is seen by all who see its declaration in a header.
    fn announce(&mut self, scope: ScopeId, wanted: Name, file: u32) -> bool {
        let headers = &self.headers;
        let Some(entries) = self.symbols.members.get_mut(&(scope, wanted)) else {
            return false;
        };
        for entry in entries.iter_mut() {
            if matches!(entry.entity, Entity::Class(_)) && entry.local_to == EVERYWHERE {
                if headers[file as usize] && !headers[entry.file as usize] {
                    entry.file = file;
                }
                return true;
            }
        }
        false
    }

    /// Macros that stand for the name of a namespace or class.
    fn macro_names(&mut self) {
        let macros = self.symbols.macros;
        for (alias, target) in macros.names() {
            for entry in self.symbols.entries(GLOBAL, name(target)).to_vec() {
                if matches!(entry.entity, Entity::Namespace(_) | Entity::Class(_)) {
                    self.enter(GLOBAL, name(alias), entry.entity, entry.file, entry.local_to);
                }
            }
        }
    }

    fn usings(&mut self, file: u32) {
        let files = self.symbols.files;
        let data = &files[file as usize];
        let source = data.source();
        let header = self.headers[file as usize];
        for raw in &data.declarations.usings {
            let (scope, local_to) = self.symbols.file_scopes[file as usize][raw.scope as usize];
            let local = if header { local_to } else { file };
            let (start, end) = (raw.path.0 as usize, raw.path.1 as usize);
            match raw.kind {
                RawUsingKind::Name => {
                    self.symbols.usings.push((scope, file, raw.path));
                    let id = self.symbols.usings.len() as u32 - 1;
                    let last = source.text(end.saturating_sub(1));
                    if source.text(start) != "std" {
                        self.enter(scope, name(last), Entity::Using(id), file, local);
                    }
                }
                RawUsingKind::Namespace | RawUsingKind::Alias(_) => {
                    let Some((components, rooted, _)) =
                        self.symbols.path(&source, start, end, |_| true)
                    else {
                        continue;
                    };
                    let found = self.symbols.qualifier(
                        &source,
                        &components,
                        rooted,
                        Place::new(file, scope),
                    );
                    let Ok(Type { base: Base::Class(target, _), .. }) = found else {
                        continue;
                    };
                    if let RawUsingKind::Alias(at) = raw.kind {
                        let wanted = name(source.text(at as usize));
                        self.enter(scope, wanted, Entity::Namespace(target), file, local);
                    } else {
                        self.symbols.scopes[scope as usize].usings.push((target, local));
                    }
                }
            }
        }
    }

    fn bases(&mut self) {
        for id in 0..self.symbols.scopes.len() {
            let scope = &self.symbols.scopes[id];
            let (start, end) = scope.base_range;
            if end <= start {
                continue;
            }
            let place = Place { template: &scope.template, ..Place::new(scope.file, scope.parent) };
            let source = self.symbols.source(scope.file);
            let bases = source
                .split_commas(start as usize, end as usize)
                .into_iter()
                .filter_map(|(start, end)| {
                    let first = (start..end).find(|&i| {
                        !matches!(source.kind(i), Kind::Access | Kind::Virtual | Kind::Colon)
                    })?;
                    self.symbols.parse_type(&source, first, end, place).map(|(ty, _)| ty)
                })
                .filter(|ty| ty.class() != Some(id as u32))
                .collect();
            self.symbols.scopes[id].bases = bases;
        }
    }
}

fn class_number(raw: &super::declarations::RawScope) -> u32 {
    match raw.kind {
        RawScopeKind::Class(class) => class,
        _ => 0,
    }
}
