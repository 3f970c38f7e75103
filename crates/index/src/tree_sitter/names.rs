//! Names and parameters of functions, read from the tokens of a declaration.

use super::lexer::Kind;
use super::lookup::{Component, Place};
use super::source::Source;
use super::symbols::{Parameter, Symbols};
use super::types::{Reference, Type, name};

/// A function's name as it is written.
#[derive(Debug, Clone)]
pub(crate) struct FunctionName {
    pub(crate) qualifiers: Vec<Component>,
    /// The token of the last component.
    pub(crate) at: usize,
    /// The last component: `f`, `~X`, `operator==`, `operator bool`.
    pub(crate) text: String,
    pub(crate) conversion: bool,
}

/// Reads a function's name, which ends before `end`.
pub(crate) fn function_name(source: &Source, start: usize, end: usize) -> FunctionName {
    let mut qualifiers = Vec::new();
    let mut i = start;
    while i < end {
        match source.kind(i) {
            Kind::Operator => {
                let conversion = matches!(
                    source.kind(i + 1),
                    Kind::Ident
                        | Kind::Builtin
                        | Kind::Const
                        | Kind::ColonColon
                        | Kind::Auto
                        | Kind::Typename
                        | Kind::Decltype
                );
                let words = matches!(source.kind(i + 1), Kind::New | Kind::Delete) || conversion;
                let mut text = String::from("operator");
                for token in i + 1..end {
                    if words && token == i + 1
                        || (conversion
                            && !matches!(
                                source.kind(token),
                                Kind::Star | Kind::Amp | Kind::Lt | Kind::Gt | Kind::ColonColon
                            )
                            && source.kind(token - 1) != Kind::ColonColon
                            && source.kind(token - 1) != Kind::Lt)
                    {
                        text.push(' ');
                    }
                    text.push_str(source.text(token));
                }
                return FunctionName { qualifiers, at: i, text, conversion };
            }
            Kind::Tilde => {
                let text = format!("~{}", source.text(i + 1));
                return FunctionName { qualifiers, at: i, text, conversion: false };
            }
            Kind::Ident => {
                let mut next = i + 1;
                let mut arguments = None;
                if source.kind(next) == Kind::Lt
                    && let Some(past) = source.past_angles(next, end)
                {
                    arguments = Some((next + 1, past - 1));
                    next = past;
                }
                if next < end && source.kind(next) == Kind::ColonColon {
                    qualifiers.push(Component { at: i, arguments });
                    i = next + 1;
                } else {
                    return FunctionName {
                        qualifiers,
                        at: i,
                        text: source.text(i).to_owned(),
                        conversion: false,
                    };
                }
            }
            _ => i += 1,
        }
    }
    FunctionName { qualifiers, at: start, text: source.text(start).to_owned(), conversion: false }
}

/// A parameter's tokens: its type's end and its name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ParameterTokens {
    pub(crate) start: usize,
    /// Past the type, before the name.
    pub(crate) type_end: usize,
    pub(crate) name: Option<usize>,
    pub(crate) optional: bool,
    pub(crate) pack: bool,
    pub(crate) array: bool,
    pub(crate) function: bool,
}

/// Cuts the parameter list whose `(` is at `open`; the flag says whether it ends in `...`.
pub(crate) fn parameter_tokens(source: &Source, open: usize) -> (Vec<ParameterTokens>, bool) {
    let close = source.mate(open);
    let mut list = Vec::new();
    let mut variadic = false;
    for (start, end) in source.split_commas(open + 1, close) {
        if end - start == 1 && source.text(start) == "void" {
            continue;
        }
        if end - start == 1 && source.kind(start) == Kind::Ellipsis {
            variadic = true;
            continue;
        }
        list.push(one_parameter(source, start, end));
    }
    (list, variadic)
}

fn one_parameter(source: &Source, start: usize, end: usize) -> ParameterTokens {
    let mut stop = end;
    let mut i = start;
    let mut last = None;
    let mut types = 0;
    let (mut pack, mut array, mut function) = (false, false, false);
    let mut name = None;
    while i < end {
        match source.kind(i) {
            Kind::Assign => {
                stop = i;
                break;
            }
            Kind::Lt => {
                i = source.past_angles(i, end).unwrap_or(i + 1);
                continue;
            }
            Kind::LBracket => {
                array |= source.kind(i + 1) != Kind::LBracket;
                i = source.past(i);
                continue;
            }
            Kind::LParen => {
                // A pointer or reference to a function or an array.
                let inner =
                    (i + 1..source.mate(i).min(end)).find(|&t| source.kind(t) == Kind::Ident);
                if matches!(source.kind(i + 1), Kind::Star | Kind::Amp | Kind::AmpAmp) && !function
                {
                    function = true;
                    name = inner;
                }
                i = source.past(i);
                continue;
            }
            Kind::Ellipsis => pack = true,
            Kind::Ident => {
                if last.is_some() && types > 0 && source.kind(i - 1) != Kind::ColonColon {
                    name = Some(i);
                }
                types += 1;
            }
            Kind::Builtin | Kind::Auto => types += 1,
            _ => {}
        }
        last = Some(i);
        i += 1;
    }
    if let Some(at) = name
        && !function
        && at + 1 < stop
        && matches!(source.kind(at + 1), Kind::ColonColon | Kind::Lt)
    {
        name = None;
    }
    let type_end = name.filter(|_| !function).unwrap_or(stop);
    ParameterTokens { start, type_end, name, optional: stop < end, pack, array, function }
}

/// The parameters' types without names, scopes and defaults: what tells overloads apart.
pub(crate) fn signature(source: &Source, parameters: &[ParameterTokens], variadic: bool) -> String {
    let mut text = String::new();
    for parameter in parameters {
        if !text.is_empty() {
            text.push(',');
        }
        let mut word = false;
        for i in parameter.start..parameter.type_end {
            match source.kind(i) {
                Kind::ColonColon => continue,
                Kind::Ident
                    if source.kind(i + 1) == Kind::ColonColon && i + 1 < parameter.type_end =>
                {
                    continue;
                }
                Kind::Specifier | Kind::Typename => continue,
                Kind::Class if source.kind(i + 1) == Kind::Ident => continue,
                Kind::LBracket | Kind::RBracket | Kind::Number => continue,
                kind => {
                    let is_word = source
                        .text(i)
                        .bytes()
                        .next()
                        .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
                    if word && is_word {
                        text.push(' ');
                    }
                    word = is_word;
                    if kind == Kind::Ident && parameter.function && Some(i) == parameter.name {
                        continue;
                    }
                    text.push_str(source.text(i));
                }
            }
        }
        if parameter.array {
            text.push('*');
        }
    }
    if variadic {
        text.push_str(",...");
    }
    text
}

impl<'a> Symbols<'a> {
    /// Reads the types of a parameter list.
    pub(crate) fn parameters(
        &self,
        source: &Source,
        open: usize,
        place: Place,
    ) -> (Vec<Parameter>, bool) {
        let (tokens, mut variadic) = parameter_tokens(source, open);
        let parameters = tokens
            .iter()
            .map(|tokens| {
                variadic |= tokens.pack;
                let parsed = self.parse_type(source, tokens.start, tokens.type_end, place);
                let mut ty = parsed.map_or(Type::UNKNOWN, |(ty, _)| ty);
                if tokens.function {
                    ty = Type::UNKNOWN;
                }
                if tokens.array {
                    ty = Type { reference: Reference::None, ..ty.pointer_to() };
                }
                Parameter {
                    ty,
                    optional: tokens.optional || tokens.pack,
                    name: tokens.name.map_or(0, |at| name(source.text(at))),
                }
            })
            .collect();
        (parameters, variadic)
    }
}
