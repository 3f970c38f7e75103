//! One function from all its declarations.

use super::super::declarations::{RawFunction, RawScopeKind};
use super::super::lexer::Kind;
use super::super::lookup::Place;
use super::super::names::{
    FunctionName, function_name, parameter_tokens, signature, template_parameters,
};
use super::super::source::Source;
use super::super::symbols::*;
use super::super::types::{Base, Name, ScopeId, Type, name};
use super::Merger;

impl Merger<'_> {
    pub(super) fn functions(&mut self, file: u32) {
        let files = self.symbols.files;
        let data = &files[file as usize];
        for (number, raw) in data.declarations.functions.iter().enumerate() {
            let source = data.source();
            let path = function_name(&source, raw.name.0 as usize, raw.name.1 as usize);
            let id = self.function(file, number as u32, raw, &source, path);
            self.symbols.function_of[file as usize][number] = id;
        }
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
        if raw.friend {
            // A friend belongs to the namespace around the class.
            while self.symbols.scope(scope).kind != ScopeKind::Namespace {
                scope = self.symbols.scope(scope).parent;
            }
        }
        let is_static = (raw.start..raw.name.0).any(|i| source.kind(i as usize) == Kind::Static);
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
        let template = raw.template.map_or_else(Vec::new, |at| {
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
        let wanted = name(&path.text);
        if raw.from_macro {
            text = (open..=source.mate(open)).map(|i| source.text(i)).collect();
        }
        let key = (scope, wanted, text, local_to);
        let mut known = self.known.get(&key).copied();
        if known.is_none() && !path.qualifiers.is_empty() {
            known = self.likely_declaration(scope, wanted, parameters.len(), constant);
        }
        let id = known.unwrap_or_else(|| {
            let function = Function {
                scope,
                file,
                raw: number,
                signature: key.2.clone(),
                parameters: Vec::new(),
                variadic,
                result: Type::UNKNOWN,
                constant,
                is_static,
                explicit: (raw.start..raw.name.0).any(|i| source.text(i as usize) == "explicit"),
                template,
                local_to,
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
        if raw.body.is_some() {
            function.definitions.push((file, number));
        }
        id
    }

    pub(super) fn register(&mut self, id: u32, path: &FunctionName, file: u32) {
        let function = &self.symbols.functions[id as usize];
        let (scope, local_to) = (function.scope, function.local_to);
        let data = &mut self.symbols.scopes[scope as usize];
        if data.kind == ScopeKind::Class && path.conversion {
            data.conversions.push(id);
        } else if data.kind == ScopeKind::Class && data.name == path.text {
            data.constructors.push(id);
        } else {
            self.enter(scope, name(&path.text), Entity::Function(id), file, local_to);
        }
    }

    /// The declaration that an out-of-class definition means though its parameters are spelled otherwise.
    pub(super) fn likely_declaration(
        &self,
        scope: ScopeId,
        wanted: Name,
        parameters: usize,
        constant: bool,
    ) -> Option<u32> {
        let data = self.symbols.scope(scope);
        let members: Vec<u32> = if wanted == name(&data.name) && data.kind == ScopeKind::Class {
            data.constructors.clone()
        } else {
            let entries = self.symbols.entries(scope, wanted).iter();
            entries
                .filter_map(
                    |entry| if let Entity::Function(id) = entry.entity { Some(id) } else { None },
                )
                .collect()
        };
        members.into_iter().find(|&id| {
            let function = self.symbols.function(id);
            let source = self.symbols.source(function.file);
            let raw = &self.symbols.files[function.file as usize].declarations.functions
                [function.raw as usize];
            function.definitions.is_empty()
                && function.constant == constant
                && parameter_tokens(&source, raw.name.1 as usize).0.len() == parameters
        })
    }
}
