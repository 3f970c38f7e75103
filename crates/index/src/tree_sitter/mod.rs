//! The embedded parser: no compiler, no flags, nothing but the sources.
//!
//! Of every file a small skeleton without bodies goes through the tree-sitter grammar, which reads its
//! declarations. Those of all files make one table of scopes and names. Bodies are then read from their
//! tokens with the types of what they name in sight, so that calls find their overloads.

mod analysis;
mod arithmetic;
mod body;
mod calls;
mod conditions;
mod declarations;
mod directives;
mod expansion;
mod expression;
mod includes;
mod lexer;
mod link;
mod lookup;
mod macros;
mod merge;
mod names;
mod naming;
mod overload;
mod predefined;
mod preprocessor;
mod primary;
mod project;
mod signatures;
mod skeleton;
mod source;
mod specialisations;
mod standard;
mod symbols;
mod templates;
mod type_parser;
mod types;
mod value;

use rayon::prelude::*;
use tree_sitter::Parser;

use crate::{Failure, FailureCause, Project, ProjectInput};
use includes::Includes;
use lexer::Tokens;
use macros::Macros;
use source::Source;
use symbols::ParsedFile;

/// Brackets may nest so deep; a file with more is not read.
const DEEPEST: usize = 1_000;

/// Parses a project. The result is the same for any number of threads.
pub fn parse(input: ProjectInput) -> Project {
    let names: Vec<&str> = input.files.iter().map(|file| file.name.as_str()).collect();
    let texts: Vec<&str> = input.files.iter().map(|file| file.text.as_str()).collect();
    let mut tokens: Vec<Tokens> = texts.par_iter().map(|text| lexer::scan(text)).collect();
    let includes = preprocessor::preprocess(&names, &texts, &mut tokens);
    let mut failures = Vec::new();
    for (file, tokens) in input.files.iter().zip(&tokens) {
        if tokens.depth > DEEPEST {
            let detail = format!("brackets nest {} deep, more than {DEEPEST}", tokens.depth);
            failures.push(Failure {
                file: file.name.clone(),
                cause: FailureCause::TooDeep,
                detail,
            });
        } else if let Some(byte) = tokens.unbalanced {
            let line = line_of(&file.text, byte as usize);
            let detail = format!("a bracket on line {line} has no partner");
            failures.push(Failure { file: file.name.clone(), cause: FailureCause::Syntax, detail });
        }
    }
    let macros = Macros::gather(texts.iter().copied().zip(&tokens));
    let files: Vec<ParsedFile> = input
        .files
        .par_iter()
        .zip(tokens)
        .map_init(new_parser, |parser, (file, tokens)| {
            parse_file(parser, &file.text, tokens, &macros)
        })
        .collect();
    let mut symbols = merge::merge(&names, &files, &macros, Includes::new(includes));
    signatures::resolve(&mut symbols);
    link::link(&mut symbols);
    let found = project::assemble(&symbols, &names);
    let errors = files.iter().map(|file| file.declarations.errors).sum();
    let units_with_errors = files.iter().filter(|file| file.declarations.errors > 0).count() as u64;
    drop(symbols);
    drop(files);
    project::finish(input, found, failures, units_with_errors, errors)
}

fn new_parser() -> Parser {
    let mut parser = Parser::new();
    // Fails only if the grammar was made for another version of the library.
    parser.set_language(&tree_sitter_cpp::LANGUAGE.into()).expect("the grammar fits the library");
    parser
}

fn parse_file<'a>(
    parser: &mut Parser,
    text: &'a str,
    tokens: Tokens,
    macros: &Macros,
) -> ParsedFile<'a> {
    let tokens = if tokens.depth > DEEPEST { Tokens::default() } else { tokens };
    let source = Source::new(text, &tokens);
    let skeleton = skeleton::skeleton(source, macros);
    let declarations = declarations::declarations(parser, source, &skeleton);
    ParsedFile { text, tokens, declarations }
}

fn line_of(text: &str, byte: usize) -> usize {
    text.as_bytes().iter().take(byte).filter(|&&b| b == b'\n').count() + 1
}
