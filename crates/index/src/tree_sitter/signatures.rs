//! The types of functions and variables, once all names are known.

use rayon::prelude::*;

use super::declarations::RawFunction;
use super::lexer::Kind;
use super::lookup::Place;
use super::names::function_name;
use super::source::Source;
use super::symbols::{Parameter, Symbols};
use super::types::{Base, Type};

/// Reads the types of all functions and variables.
pub(crate) fn resolve(symbols: &mut Symbols) {
    let shared = &*symbols;
    let functions: Vec<(Vec<Parameter>, bool, Type)> =
        (0..shared.functions.len()).into_par_iter().map(|id| function(shared, id as u32)).collect();
    let variables: Vec<Type> =
        (0..shared.variables.len()).into_par_iter().map(|id| variable(shared, id)).collect();
    for (function, (parameters, variadic, result)) in symbols.functions.iter_mut().zip(functions) {
        function.parameters = parameters;
        function.variadic = variadic;
        function.result = result;
    }
    for (variable, ty) in symbols.variables.iter_mut().zip(variables) {
        variable.ty = ty;
    }
}

fn function(symbols: &Symbols, id: u32) -> (Vec<Parameter>, bool, Type) {
    let data = symbols.function(id);
    let raw = &symbols.files[data.file as usize].declarations.functions[data.raw as usize];
    let source = symbols.source(data.file);
    let lexical = symbols.file_scopes[data.file as usize][raw.scope as usize].0;
    let scope = if raw.friend { lexical } else { data.scope };
    let place = Place { template: &data.template, ..Place::new(data.file, scope) };
    if raw.from_macro {
        return (Vec::new(), false, Type::of(Base::Void));
    }
    let (mut parameters, variadic) = symbols.parameters(&source, raw.name.1 as usize, place);
    for &(file, number) in data.declarations.iter().skip(1) {
        let other = &symbols.files[file as usize].declarations.functions[number as usize];
        let (tokens, _) =
            super::names::parameter_tokens(&symbols.source(file), other.name.1 as usize);
        for (parameter, tokens) in parameters.iter_mut().zip(tokens) {
            parameter.optional |= tokens.optional;
        }
    }
    (parameters, variadic, result(symbols, &source, raw, place))
}

/// The type that a function returns; of constructors and destructors unknown.
pub(crate) fn result(symbols: &Symbols, source: &Source, raw: &RawFunction, place: Place) -> Type {
    let path = function_name(source, raw.name.0 as usize, raw.name.1 as usize);
    if path.conversion {
        return symbols
            .parse_type(source, path.at + 1, raw.name.1 as usize, place)
            .map_or(Type::UNKNOWN, |(ty, _)| ty);
    }
    let mut i = source.past(raw.name.1 as usize);
    while matches!(
        source.kind(i),
        Kind::Const | Kind::Noexcept | Kind::Amp | Kind::AmpAmp | Kind::LParen
    ) {
        i = source.past(i);
    }
    if source.kind(i) == Kind::Arrow {
        let end = raw.body.map_or(source.len(), |body| body.0 as usize);
        return symbols.parse_type(source, i + 1, end, place).map_or(Type::UNKNOWN, |(ty, _)| ty);
    }
    if raw.result >= raw.name.0 {
        return Type::UNKNOWN;
    }
    symbols
        .parse_type(source, raw.result as usize, raw.name.0 as usize, place)
        .map_or(Type::UNKNOWN, |(ty, _)| ty)
}

fn variable(symbols: &Symbols, id: usize) -> Type {
    let data = &symbols.variables[id];
    let raw = &symbols.files[data.file as usize].declarations.variables[data.raw as usize];
    let source = symbols.source(data.file);
    if raw.result >= raw.name.0 {
        return Type::UNKNOWN;
    }
    let place = Place::new(data.file, data.scope);
    let parsed = symbols.parse_type(&source, raw.result as usize, raw.name.0 as usize, place);
    let mut ty = parsed.map_or(Type::UNKNOWN, |(ty, _)| ty);
    // `T name[n]` decays; the name's own range ends before the bracket.
    let mut i = raw.name.1 as usize;
    while source.kind(i) == Kind::LBracket {
        ty = ty.pointer_to();
        i = source.past(i);
    }
    ty.without_reference()
}
