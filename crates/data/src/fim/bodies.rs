//! Where the bodies of functions lie in a C++ source: found by matching braces, without a parser.
//!
//! Strings, characters, raw strings, comments and preprocessor lines are understood; of `#if` and `#else` the first
//! branch counts, so that braces that both open are counted once. Namespaces, `extern "C"` blocks and classes are
//! looked into; what stands in a function is its body and nothing else.

use std::ops::Range;

use crate::fim::lexer::{Kind, Token, lex};

/// The byte ranges between the braces of function bodies, in order; bodies that hold no token are left out.
pub fn function_bodies(text: &str) -> Vec<Range<usize>> {
    let tokens = lex(text.as_bytes());
    let mut bodies = Vec::new();
    let mut head = Head { parts: Vec::new() };
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let mut next = at + 1;
        match token.kind {
            Kind::Punctuation(b'{') => {
                let opened = head.opens();
                if opened == Opened::Scope {
                    head.clear();
                } else {
                    let Some(close) = matching(&tokens, at, b'{', b'}') else { break };
                    if opened == Opened::Body {
                        head.clear();
                        if close > at + 1 {
                            bodies.push(token.range.end..tokens[close].range.start);
                        }
                    } else {
                        head.push(Part::Braces);
                    }
                    next = close + 1;
                }
            }
            Kind::Punctuation(b'}' | b';') => head.clear(),
            Kind::Punctuation(b'(') => {
                let Some(close) = matching(&tokens, at, b'(', b')') else { break };
                head.push(Part::Parentheses);
                next = close + 1;
            }
            Kind::Punctuation(b'[') => {
                let Some(close) = matching(&tokens, at, b'[', b']') else { break };
                next = close + 1;
            }
            Kind::Punctuation(b':') if head.is_access() => head.clear(),
            Kind::Punctuation(byte) => head.push(Part::Punctuation(byte)),
            Kind::Literal => head.push(Part::Literal),
            Kind::Word => {
                let word = &text[token.range.clone()];
                head.push(Part::Word(word));
                if word == "template" {
                    next = after_angles(&tokens, next);
                }
            }
        }
        at = next;
    }
    bodies
}

/// What a brace opens.
#[derive(Debug, PartialEq, Eq)]
enum Opened {
    /// A function.
    Body,
    /// A namespace, a class: declarations.
    Scope,
    /// Something else, to be passed over: an enumeration, an initialiser.
    Other,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part<'a> {
    Word(&'a str),
    Punctuation(u8),
    Literal,
    Parentheses,
    Braces,
}

/// What stands before a brace since the declaration began.
struct Head<'a> {
    parts: Vec<Part<'a>>,
}

impl<'a> Head<'a> {
    fn clear(&mut self) {
        self.parts.clear();
    }

    fn push(&mut self, part: Part<'a>) {
        self.parts.push(part);
    }

    /// `public:` and the like.
    fn is_access(&self) -> bool {
        matches!(self.parts[..], [Part::Word("public" | "private" | "protected")])
    }

    fn opens(&self) -> Opened {
        let mut words = self.parts.iter().filter_map(|part| match part {
            Part::Word(word) => Some(*word),
            _ => None,
        });
        let first = words
            .find(|word| !matches!(*word, "template" | "typedef" | "inline" | "static" | "export"));
        let Some(last) = self.parts.last() else { return Opened::Scope };
        let parameters = self.parts.iter().position(|part| *part == Part::Parentheses);
        match first {
            Some("namespace") => return Opened::Scope,
            Some("extern") if *last == Part::Literal => return Opened::Scope,
            Some("class" | "struct" | "union") => {
                let function = match last {
                    Part::Parentheses => true,
                    Part::Word(word) => parameters.is_some() && is_qualifier(word),
                    _ => false,
                };
                return if function { Opened::Body } else { Opened::Scope };
            }
            Some(
                "enum" | "if" | "for" | "while" | "switch" | "do" | "else" | "catch" | "return",
            ) => {
                return Opened::Other;
            }
            _ => {}
        }
        let Some(parameters) = parameters else { return Opened::Other };
        if self.assigns() {
            return Opened::Other;
        }
        // `Type::Type(int a) : a_(a), b_{0} {`: a name before a brace is a member that is initialised.
        let initialises = self.has_initializers(parameters);
        match last {
            Part::Word(word) if initialises && *word != "try" => Opened::Other,
            Part::Punctuation(b'>') if initialises => Opened::Other,
            _ => Opened::Body,
        }
    }

    /// Whether there is an `=` that is no operator's name.
    fn assigns(&self) -> bool {
        let mut named = false;
        for part in &self.parts {
            match part {
                Part::Word(word) => named = *word == "operator",
                Part::Punctuation(b'=') if !named => return true,
                Part::Parentheses => named = false,
                _ => {}
            }
        }
        false
    }

    /// Whether a single `:` stands behind the parameters.
    fn has_initializers(&self, parameters: usize) -> bool {
        let colon = |part: Option<&Part<'_>>| part == Some(&Part::Punctuation(b':'));
        let behind = &self.parts[parameters + 1..];
        let single = |at: usize| {
            let before = at > 0 && colon(behind.get(at - 1));
            colon(behind.get(at)) && !before && !colon(behind.get(at + 1))
        };
        (0..behind.len()).any(single)
    }
}

fn is_qualifier(word: &str) -> bool {
    matches!(word, "const" | "volatile" | "noexcept" | "override" | "final" | "try")
}

/// The place of the bracket that closes the one at `open`.
fn matching(tokens: &[Token], open: usize, opening: u8, closing: u8) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.kind {
            Kind::Punctuation(byte) if byte == opening => depth += 1,
            Kind::Punctuation(byte) if byte == closing => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// The place behind `<...>`, if that begins at `at`.
fn after_angles(tokens: &[Token], at: usize) -> usize {
    let (mut depth, mut nested) = (0_usize, 0_usize);
    for (place, token) in tokens.iter().enumerate().skip(at) {
        match token.kind {
            Kind::Punctuation(b'(' | b'{') => nested += 1,
            Kind::Punctuation(b')' | b'}') => nested = nested.saturating_sub(1),
            Kind::Punctuation(b'<') if nested == 0 => depth += 1,
            Kind::Punctuation(b'>') if nested == 0 => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return if place == at { at } else { place + 1 };
        }
    }
    tokens.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bodies(text: &str) -> Vec<&str> {
        function_bodies(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn functions_of_all_kinds_are_found() {
        let cases: [(&str, &[&str]); 22] = [
            ("int f() { return 1; }", &[" return 1; "]),
            ("int f();\nvoid g(int a)\n{\n  if (a) { h(); }\n}\n", &["\n  if (a) { h(); }\n"]),
            ("namespace a::b { inline int f() { x; } }", &[" x; "]),
            ("extern \"C\" { void f() { x; } }", &[" x; "]),
            (
                "class A : public B { public: A() : b_(1), c_{2} { x; } int g() const override { y; } };",
                &[" x; ", " y; "],
            ),
            ("struct P { int x = 0; int y{1}; };", &[]),
            ("struct P f(void) { x; }", &[" x; "]),
            ("enum class E { A, B }; int a[] = { 1, 2 };", &[]),
            ("template <class T, int N = (1 > 2)> T f(T t) { x; }", &[" x; "]),
            (
                "template <> struct hash<X> { size_t operator()(X x) const noexcept { return 0; } };",
                &[" return 0; "],
            ),
            ("bool operator==(A a, A b) { x; } A& operator=(const A&) { y; }", &[" x; ", " y; "]),
            ("auto f() -> int { x; } auto g = [](int a) { y; };", &[" x; "]),
            ("A::A(int a) try : a_(a) { x; } catch (...) { y; }", &[" x; "]),
            ("A::A() : Base<int>{1}, b_{} { x; }", &[" x; "]),
            ("A::A() : std::vector<int>(3) { x; }", &[" x; "]),
            ("TEST(Foo, Bar) { x; }", &[" x; "]),
            (
                "void f() EXCLUSIVE_LOCKS_REQUIRED(mu) { x; } void g() NO_ANALYSIS { y; }",
                &[" x; ", " y; "],
            ),
            ("static int f(void) {} int g() { ; }", &[" ; "]),
            ("[[nodiscard]] int f() { x[1]; }", &[" x[1]; "]),
            ("class A { A(A&&) = default; ~A() { x; } };", &[" x; "]),
            ("typedef struct { int a; } A; int f() { x; }", &[" x; "]),
            ("int f(int (*g)(int), int d = sizeof(int)) { x; }", &[" x; "]),
        ];
        for (text, expected) in cases {
            assert_eq!(bodies(text), expected, "{text}");
        }
    }

    #[test]
    fn braces_that_are_none_do_not_count() {
        let cases: [(&str, &[&str]); 8] = [
            ("int f() { s = \"}\\\"}\"; }", &[" s = \"}\\\"}\"; "]),
            (
                "int f() { c = '}'; d = '\\''; n = 1'000'000; }",
                &[" c = '}'; d = '\\''; n = 1'000'000; "],
            ),
            ("int f() { s = R\"x(} )\" )x\"; }", &[" s = R\"x(} )\" )x\"; "]),
            ("int f() { // }\n x; /* } */ }", &[" // }\n x; /* } */ "]),
            ("#define OPEN {\n#define L \\\n {\nint f() { x; }", &[" x; "]),
            (
                "#if A\nint f(int a) {\n#else\nint f(long a) {\n#endif\n  x;\n}\nint g() { y; }",
                &["\n#else\nint f(long a) {\n#endif\n  x;\n", " y; "],
            ),
            ("int f() { x; } // \\\n int g() { y; }\nint h() { z; }", &[" x; ", " z; "]),
            ("int f() { x; } int g() { \"unterminated; \n}", &[" x; ", " \"unterminated; \n"]),
        ];
        for (text, expected) in cases {
            assert_eq!(bodies(text), expected, "{text}");
        }
    }

    #[test]
    fn an_unbalanced_file_gives_what_is_whole() {
        assert_eq!(bodies("int f() { x; } int g() { if (a) { y; }"), [" x; "]);
        assert_eq!(bodies("} } int f() { x; }"), [" x; "]);
        assert!(bodies(&"{".repeat(100_000)).is_empty());
        assert!(bodies(&"f(".repeat(20_000)).is_empty());
        assert!(bodies("/* int f() { x; }").is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn any_text_gives_ranges_between_braces(
            text in "([{}()<>;:=#'\"/*\\\\ \nRaf1é]|#if |#else\n|#endif\n|int f\\(\\)|R\"\\(|class |template)*",
        ) {
            let mut end = 0;
            for range in function_bodies(&text) {
                prop_assert!(range.start > end && range.start <= range.end);
                prop_assert_eq!(&text[range.start - 1..range.start], "{");
                prop_assert_eq!(&text[range.end..=range.end], "}");
                end = range.end;
            }
        }
    }
}
