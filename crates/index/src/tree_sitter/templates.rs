//! Template headers: their parameters, and what tells apart templates whose functions take the same parameters.

use super::lexer::{Kind, lex};
use super::macros::Macros;
use super::source::Source;
use super::types::{Name, name};

/// The names of a template's parameters, those of all its lists; `at` is the token `template`, or that of a macro that
/// stands for it.
pub(crate) fn template_parameters(source: &Source, at: usize, macros: &Macros) -> Vec<Name> {
    let mut names = Vec::new();
    each_list(source, at, macros, &mut |source, start, end| {
        parameter_names(source, start, end, &mut names)
    });
    names
}

/// What a function template is besides its parameters' types: `t,t` for two types, the text of whatever else its own
/// lists ask for, such as `enable_if`. `None` if it has no list of its own; `classes` lists belong to the classes that
/// qualify its name.
pub(crate) fn shape(source: &Source, at: usize, classes: usize, macros: &Macros) -> Option<String> {
    let (mut text, mut lists, mut names) = (None, 0, Vec::new());
    each_list(source, at, macros, &mut |source, start, end| {
        parameter_names(source, start, end, &mut names);
        lists += 1;
        if lists > classes {
            let text: &mut String = text.get_or_insert_default();
            for (start, end) in source.split_commas(start, end) {
                if !text.is_empty() {
                    text.push(',');
                }
                parameter_shape(source, start, end, &names, text);
            }
        }
    });
    text
}

/// Calls `visit` with the inside of every list that begins at `at`.
fn each_list(
    source: &Source,
    at: usize,
    macros: &Macros,
    visit: &mut impl FnMut(&Source, usize, usize),
) {
    let mut at = at;
    if source.kind(at) == Kind::Ident {
        let Some(definition) = macros.get(source.text(at)) else {
            return;
        };
        let tokens = lex(&definition.body);
        let inner = Source::new(&definition.body, &tokens);
        let first = tokens.list.iter().position(|token| token.kind == Kind::Template);
        if let Some(first) = first {
            lists(&inner, first, visit);
        }
        at += 1;
    }
    lists(source, at, visit);
}

fn lists(source: &Source, mut at: usize, visit: &mut impl FnMut(&Source, usize, usize)) {
    while source.kind(at) == Kind::Template
        && let Some(past) = source.past_angles(at + 1, source.len())
    {
        visit(source, at + 2, past - 1);
        at = past;
    }
}

fn parameter_names(source: &Source, start: usize, end: usize, names: &mut Vec<Name>) {
    for (start, end) in source.split_commas(start, end) {
        let end = past_type(source, start, end);
        if end > start && source.kind(end - 1) == Kind::Ident {
            names.push(name(source.text(end - 1)));
        } else {
            names.push(0);
        }
    }
}

/// Where a parameter's default begins, or `end`.
fn past_type(source: &Source, start: usize, end: usize) -> usize {
    let mut i = start;
    while i < end && source.kind(i) != Kind::Assign {
        i = match source.kind(i) {
            Kind::Lt => source.past_angles(i, end).unwrap_or(i + 1),
            _ => source.past(i),
        };
    }
    i.min(end)
}

fn parameter_shape(source: &Source, start: usize, end: usize, names: &[Name], text: &mut String) {
    let end = past_type(source, start, end);
    match source.kind(start) {
        Kind::Typename | Kind::Class
            if end <= start + 3 && source.kind(start + 2) != Kind::ColonColon =>
        {
            text.push('t');
            if source.kind(start + 1) == Kind::Ellipsis {
                text.push_str("...");
            }
        }
        Kind::Template => text.push_str("template"),
        _ => {
            let named = end > start + 1
                && source.kind(end - 1) == Kind::Ident
                && !matches!(source.kind(end - 2), Kind::ColonColon | Kind::Typename);
            normalised(source, start, end - usize::from(named), names, text);
        }
    }
}

/// Appends the tokens without scopes, a template's parameters by their numbers.
pub(crate) fn normalised(
    source: &Source,
    start: usize,
    end: usize,
    names: &[Name],
    text: &mut String,
) {
    for i in start..end {
        match source.kind(i) {
            Kind::ColonColon | Kind::Typename => {}
            Kind::Ident if source.kind(i + 1) == Kind::ColonColon && i + 1 < end => {}
            Kind::Ident => match names.iter().position(|known| *known == name(source.text(i))) {
                Some(place) => text.push_str(&format!(" ${place}")),
                None => {
                    text.push(' ');
                    text.push_str(source.text(i));
                }
            },
            _ => text.push_str(source.text(i)),
        }
    }
}
