//! Finds what the definitions of a file rest on: includes, usings, typedefs, aliases and macros.
//!
//! A lexical scan at namespace level, so that it works the same for every parser and on files that do not parse.

use std::ops::Range;

use crate::lexical::{self, Lexeme, LexemeKind};

/// Includes, macros, using directives and declarations, typedefs, type aliases and namespace aliases of `text` that
/// stand outside functions and classes, in order; include guards are left out. `occupied` are the extents of
/// definitions, in any order: what lies in them is passed over.
///
/// A range begins at the start of its line where only blanks precede it, and ends before the line feed where nothing
/// but blanks or a comment follows.
pub fn preamble(text: &str, occupied: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut scan = Scan::new(text, occupied);
    scan.run();
    scan.found
}

/// A `{` that has not been closed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Brace {
    /// Of a namespace or `extern "C"`: what stands in it counts.
    Open,
    /// Of anything else.
    Closed,
}

struct Scan<'a> {
    text: &'a str,
    occupied: Vec<Range<usize>>,
    found: Vec<Range<usize>>,
    braces: Vec<Brace>,
    /// The braces at each `#if`, to which `#else` returns: only one branch opens them in truth.
    conditions: Vec<Vec<Brace>>,
    statement: Statement,
    /// The macro of the include guard, whose `#define` says nothing.
    guard: Option<&'a str>,
}

/// What is known of the statement that is being read.
#[derive(Default)]
struct Statement {
    start: Option<usize>,
    kind: StatementKind,
    /// Depth of braces, brackets and parentheses inside it.
    depth: usize,
    /// Whether a `namespace` or a linkage string stands in it, so that a brace opens a scope.
    scope: bool,
    words: usize,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum StatementKind {
    #[default]
    Other,
    /// After `template`, until the word that decides.
    Template,
    /// `using`, `typedef` or a namespace alias.
    Wanted,
    Namespace,
}

impl<'a> Scan<'a> {
    fn new(text: &'a str, occupied: &[Range<usize>]) -> Self {
        let mut occupied = occupied.to_vec();
        occupied.sort_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
        Self {
            text,
            occupied,
            found: Vec::new(),
            braces: Vec::new(),
            conditions: Vec::new(),
            statement: Statement::default(),
            guard: lexical::include_guard(text),
        }
    }

    fn run(&mut self) {
        let mut at = 0;
        let mut next_occupied = 0;
        while let Some(lexeme) = lexical::next(self.text, at) {
            while self
                .occupied
                .get(next_occupied)
                .is_some_and(|range| range.end <= lexeme.range.start)
            {
                next_occupied += 1;
            }
            if let Some(range) = self.occupied.get(next_occupied)
                && range.start <= lexeme.range.start
            {
                at = range.end;
                self.statement = Statement::default();
                continue;
            }
            at = lexeme.range.end;
            self.take(&lexeme);
        }
    }

    fn at_namespace_level(&self) -> bool {
        self.braces.iter().all(|brace| *brace == Brace::Open)
    }

    fn take(&mut self, lexeme: &Lexeme) {
        match lexeme.kind {
            LexemeKind::Comment => {}
            LexemeKind::Directive => self.take_directive(&lexeme.range),
            _ if !self.at_namespace_level() => self.skip_in_block(lexeme),
            _ => self.take_token(lexeme),
        }
    }

    /// Inside the braces of something else only braces count.
    fn skip_in_block(&mut self, lexeme: &Lexeme) {
        match &self.text[lexeme.range.clone()] {
            "{" => self.braces.push(Brace::Closed),
            "}" => {
                self.braces.pop();
                if self.at_namespace_level() && self.statement.kind == StatementKind::Other {
                    self.statement = Statement::default();
                }
            }
            _ => {}
        }
    }

    fn take_directive(&mut self, range: &Range<usize>) {
        let (name, rest) = lexical::directive(&self.text[range.clone()]);
        match name {
            "if" | "ifdef" | "ifndef" => self.conditions.push(self.braces.clone()),
            "else" | "elif" | "elifdef" | "elifndef" => {
                if let Some(braces) = self.conditions.last() {
                    self.braces.clone_from(braces);
                }
            }
            "endif" => {
                self.conditions.pop();
            }
            "include" | "include_next" | "import" if self.at_namespace_level() => {
                self.keep(range.clone())
            }
            "define" if self.at_namespace_level() => {
                let name = lexical::first_word(rest);
                if self.guard != Some(name) {
                    self.keep(range.clone());
                }
            }
            _ => {}
        }
    }

    fn take_token(&mut self, lexeme: &Lexeme) {
        let token = &self.text[lexeme.range.clone()];
        let start = *self.statement.start.get_or_insert(lexeme.range.start);
        let wanted = self.statement.kind == StatementKind::Wanted;
        match token {
            "(" | "[" => self.statement.depth += 1,
            ")" | "]" => self.statement.depth = self.statement.depth.saturating_sub(1),
            "{" if wanted => self.statement.depth += 1,
            "}" if wanted && self.statement.depth > 0 => self.statement.depth -= 1,
            "{" => {
                self.braces.push(if self.statement.scope { Brace::Open } else { Brace::Closed });
                self.statement = Statement::default();
            }
            "}" => {
                self.braces.pop();
                self.statement = Statement::default();
            }
            ";" if self.statement.depth == 0 => {
                if wanted {
                    self.keep(start..lexeme.range.end);
                }
                self.statement = Statement::default();
            }
            "=" if self.statement.kind == StatementKind::Namespace => {
                self.statement.kind = StatementKind::Wanted;
            }
            _ => self.take_word(token, lexeme.kind),
        }
    }

    fn take_word(&mut self, token: &str, kind: LexemeKind) {
        let statement = &mut self.statement;
        match (statement.kind, token) {
            (StatementKind::Other, "using" | "typedef") if statement.words == 0 => {
                statement.kind = StatementKind::Wanted
            }
            (StatementKind::Template, "using") => statement.kind = StatementKind::Wanted,
            (StatementKind::Other, "template") if statement.words == 0 => {
                statement.kind = StatementKind::Template
            }
            (StatementKind::Template, "class" | "struct" | "typename" | "requires") => {}
            (StatementKind::Other, "namespace") => {
                statement.kind = StatementKind::Namespace;
                statement.scope = true;
            }
            _ => {}
        }
        // Only the linkage string of `extern "C" {` stands directly before a brace.
        if kind == LexemeKind::String && statement.words == 1 {
            statement.scope = true;
        }
        if kind == LexemeKind::Word {
            statement.words += 1;
        }
    }

    fn keep(&mut self, range: Range<usize>) {
        self.found.push(lexical::whole_lines(self.text, range));
    }
}

#[cfg(test)]
mod tests {
    use super::preamble;

    fn found(text: &str) -> Vec<&str> {
        preamble(text, &[]).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn finds_each_kind() {
        let text = "#include <vector>  // for lists\n#define A(x) \\\n  x\nnamespace n {\n  using std::vector;\nusing \
                    namespace std;\ntypedef struct { int a; } T;\nusing U = int;\ntemplate <class X> using V = \
                    vector<X>;\nnamespace fs = std::filesystem;\nint f();\n}\n";
        assert_eq!(
            found(text),
            [
                "#include <vector>  // for lists",
                "#define A(x) \\\n  x",
                "  using std::vector;",
                "using namespace std;",
                "typedef struct { int a; } T;",
                "using U = int;",
                "template <class X> using V = vector<X>;",
                "namespace fs = std::filesystem;",
            ]
        );
    }

    #[test]
    fn leaves_out_the_include_guard() {
        let text = "// Licence\n#ifndef X_H\n#define X_H\n#define OTHER 1\n#ifndef Y\n#define Y\n#endif\n#endif\n";
        assert_eq!(found(text), ["#define OTHER 1", "#define Y"]);
    }

    #[test]
    fn passes_over_functions_and_classes() {
        let text = "void f() {\n#define INNER 1\nusing std::swap;\n}\nclass C { using T = int; };\nextern \"C\" {\n\
                    typedef int I;\n}\n";
        assert_eq!(found(text), ["typedef int I;"]);
        let two = "struct S { typedef int T; };\ntypedef int K;\nvoid f();\n";
        assert_eq!(preamble(two, &[0..28, 44..53]).len(), 1);
    }

    #[test]
    fn text_and_comments_hide_nothing() {
        let text = "const char* a = \"{ using x;\"; // {\n/* typedef { */\nconst char* r = R\"x({ \" )x\";\nchar c = \
                    '{';\nusing std::a;\n";
        assert_eq!(found(text), ["using std::a;"]);
    }

    #[test]
    fn branches_of_a_condition_open_one_brace() {
        let text = "#if A\nnamespace a {\nvoid f() {\n#else\nvoid f() {\n#endif\n}\n#include <b>\n";
        assert_eq!(found(text), ["#include <b>"]);
    }

    #[test]
    fn ends_in_broken_text() {
        for text in [
            "using",
            "#",
            "{{{",
            "}}}",
            "typedef struct {",
            "R\"",
            "\"",
            "'",
            "/*",
            "#define \\",
            "template<",
        ] {
            found(text);
        }
    }
}
