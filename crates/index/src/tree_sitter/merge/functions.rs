//! One function from all its declarations.

use super::super::calls::functions;
use super::super::declarations::{RawFunction, RawScopeKind};
use super::super::lexer::Kind;
use super::super::lookup::Place;
use super::super::macros::Role;
use super::super::names::{FunctionName, function_name, parameter_tokens, signature};
use super::super::source::Source;
use super::super::symbols::*;
use super::super::templates::{normalised, shape, template_parameters};
use super::super::types::{Base, Name, ScopeId, Type, name};
use super::Merger;

impl Merger<'_> {
    /// The functions of a file whose names are qualified, or those whose names are not.
    pub(super) fn functions(&mut self, file: u32, qualified: bool) {
        let files = self.symbols.files;
        let data = &files[file as usize];
        for (number, raw) in data.declarations.functions.iter().enumerate() {
            let source = data.source();
            let path = function_name(&source, raw.name.0 as usize, raw.name.1 as usize);
            if path.qualifiers.is_empty() == qualified {
                continue;
            }
            let id = self.function(file, number as u32, raw, &source, path);
            self.symbols.function_of[file as usize][number] = id;
        }
    }

    /// Puts the scopes of functions with local classes where the functions belong.
    pub(super) fn local_scopes(&mut self, file: u32) {
        let files = self.symbols.files;
        let data = &files[file as usize];
        for (number, raw) in data.declarations.scopes.iter().enumerate() {
            if let RawScopeKind::Function(function) = raw.kind {
                let id = self.symbols.function_of[file as usize][function as usize];
                let parent = self.symbols.functions[id as usize].scope;
                let (scope, _) = self.symbols.file_scopes[file as usize][number];
                if parent != scope {
                    self.symbols.scopes[scope as usize].parent = parent;
                }
            }
        }
    }

    /// The function that a declaration declares, made if it is new.
    pub(super) fn function(
        &mut self,
        file: u32,
        number: u32,
        raw: &RawFunction,
        source: &Source,
        path: FunctionName,
    ) -> u32 {
        let (mut scope, mut local_to) = self.symbols.file_scopes[file as usize][raw.scope as usize];
        let in_class = self.symbols.scope(scope).kind == ScopeKind::Class;
        let friend_of = Some(scope).filter(|_| raw.friend && in_class);
        if raw.friend {
            // A friend belongs to the namespace around the class.
            while self.symbols.scope(scope).kind != ScopeKind::Namespace {
                scope = self.symbols.scope(scope).parent;
            }
        }
        let is_static = (raw.start..raw.name.0).any(|i| self.is_static(source, i as usize));
        if !path.qualifiers.is_empty() {
            let found =
                self.symbols.qualifier(source, &path.qualifiers, false, Place::new(file, scope));
            if let Ok(Type { base: Base::Class(owner, _), .. }) = found {
                scope = owner;
                local_to = self.symbols.scope(owner).local_to;
            }
        } else if is_static && !in_class && !self.headers[file as usize] {
            local_to = file;
        }
        let open = raw.name.1 as usize;
        let (parameters, variadic) =
            if raw.from_macro { (Vec::new(), false) } else { parameter_tokens(source, open) };
        let after = source.past(open);
        let constant = source.kind(after) == Kind::Const;
        let mut template = raw.template.map_or_else(Vec::new, |at| {
            template_parameters(source, at as usize, self.symbols.macros)
        });
        let mut text = format!("({})", signature(source, &parameters, variadic));
        if constant {
            text.push_str(" const");
        }
        match source.kind(after + usize::from(constant)) {
            Kind::Amp => text.push_str(" &"),
            Kind::AmpAmp => text.push_str(" &&"),
            _ => {}
        }
        let wanted = identity(&path);
        if raw.from_macro {
            text = (open..=source.mate(open)).map(|i| source.text(i)).collect();
        }
        let shape = self.shape(raw, source, &path, &template);
        let signature = text.clone();
        if let Some(shape) = &shape {
            text.push_str(shape);
        }
        if let Some(owner) = friend_of.and_then(|class| self.symbols.template_owner(class)) {
            template.extend_from_slice(&self.symbols.scope(owner).template);
        }
        let key = (scope, wanted, text, local_to);
        let mut known = self.known.get(&key).copied();
        if known.is_none() && !path.qualifiers.is_empty() {
            let like = Likeness {
                parameters: parameters.len(),
                constant,
                signature: &signature,
                shape: &shape,
            };
            known = self.likely_declaration(scope, wanted, &like);
        }
        let id = known.unwrap_or_else(|| {
            let function = Function {
                scope,
                file,
                raw: number,
                signature,
                shape,
                parameters: Vec::new(),
                variadic,
                result: Type::UNKNOWN,
                constant,
                is_static,
                explicit: (raw.start..raw.name.0).any(|i| source.text(i as usize) == "explicit"),
                template,
                local_to,
                friend_of,
                declarations: Vec::new(),
                definitions: Vec::new(),
            };
            self.symbols.functions.push(function);
            let id = self.symbols.functions.len() as u32 - 1;
            self.register(id, &path, file);
            id
        });
        self.known.entry(key).or_insert(id);
        let function = &mut self.symbols.functions[id as usize];
        function.declarations.push((file, number));
        if friend_of.is_none() {
            function.friend_of = None;
        }
        if raw.body.is_some() {
            function.definitions.push((file, number));
        }
        id
    }

    /// Whether token `at` is `static` or a macro for it.
    fn is_static(&self, source: &Source, at: usize) -> bool {
        match source.kind(at) {
            Kind::Static => true,
            Kind::Ident => self.symbols.macros.get(source.text(at)).is_some_and(|definition| {
                definition.role == Role::Decoration
                    && definition.body.split_whitespace().any(|word| word == "static")
            }),
            _ => false,
        }
    }

    /// What tells a function template apart from others with the same parameters.
    fn shape(
        &self,
        raw: &RawFunction,
        source: &Source,
        path: &FunctionName,
        template: &[Name],
    ) -> Option<String> {
        let classes = path.qualifiers.iter().filter(|c| c.arguments.is_some()).count();
        let mut text = shape(source, raw.template? as usize, classes, self.symbols.macros)?;
        let open = raw.name.1 as usize;
        if text.is_empty() {
            // An explicit specialisation.
            text.push('<');
            normalised(source, path.at + 1, open, &[], &mut text);
            text.push('>');
        }
        text.push(':');
        normalised(source, raw.result as usize, raw.name.0 as usize, template, &mut text);
        let (start, end) = tail(source, source.past(open));
        normalised(source, start, end, template, &mut text);
        Some(text)
    }

    pub(super) fn register(&mut self, id: u32, path: &FunctionName, file: u32) {
        let function = &self.symbols.functions[id as usize];
        let (scope, local_to) = (function.scope, function.local_to);
        if function.is_specialisation() {
            let list = self.symbols.specialisations.entry((scope, name(&path.text))).or_default();
            return list.push(id);
        }
        let data = &mut self.symbols.scopes[scope as usize];
        if data.kind == ScopeKind::Class && path.conversion {
            data.conversions.push(id);
        } else if data.kind == ScopeKind::Class && data.name == path.text {
            data.constructors.push(id);
        } else {
            self.enter(scope, name(&path.text), Entity::Function(id), file, local_to);
        }
    }

    /// The declaration that an out-of-class definition means though it is spelled otherwise: the likest.
    fn likely_declaration(&self, scope: ScopeId, wanted: Name, like: &Likeness) -> Option<u32> {
        let data = self.symbols.scope(scope);
        let members: Vec<u32> = if wanted == name(&data.name) && data.kind == ScopeKind::Class {
            data.constructors.clone()
        } else {
            functions(self.symbols.entries(scope, wanted))
        };
        let unlike = |&id: &u32| {
            let function = self.symbols.function(id);
            (function.signature != like.signature, function.shape != *like.shape)
        };
        members.into_iter().filter(|&id| self.may_declare(id, like)).min_by_key(unlike)
    }

    fn may_declare(&self, id: u32, like: &Likeness) -> bool {
        let function = self.symbols.function(id);
        let source = self.symbols.source(function.file);
        let raw = &self.symbols.files[function.file as usize].declarations.functions
            [function.raw as usize];
        function.definitions.is_empty()
            && function.constant == like.constant
            && function.shape.is_some() == like.shape.is_some()
            && parameter_tokens(&source, raw.name.1 as usize).0.len() == like.parameters
    }
}

/// The name that all declarations of a function share: a conversion's type may be qualified in some.
fn identity(path: &FunctionName) -> Name {
    if !path.conversion {
        return name(&path.text);
    }
    let unqualified = path.text.rsplit("::").next().unwrap_or("");
    name(&format!("operator {}", unqualified.trim_start_matches("operator ")))
}

/// What a declaration and its definition have in common.
struct Likeness<'l> {
    parameters: usize,
    constant: bool,
    signature: &'l str,
    shape: &'l Option<String>,
}

/// What follows a template's parameters at `at`: a trailing result, a `requires` clause.
fn tail(source: &Source, at: usize) -> (usize, usize) {
    const LONGEST: usize = 400;
    let mut start = None;
    let mut i = at;
    while i < source.len().min(at + LONGEST) {
        match source.kind(i) {
            Kind::Semi | Kind::LBrace | Kind::RBrace | Kind::Colon | Kind::Assign => break,
            Kind::Arrow | Kind::Requires => start = start.or(Some(i)),
            _ => {}
        }
        i = source.past(i);
    }
    (start.unwrap_or(i), i)
}
