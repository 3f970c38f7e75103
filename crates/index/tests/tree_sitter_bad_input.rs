//! What odd, broken and hostile input does to the embedded parser.

mod common;

use common::{calls, functions, named, parse};
use kiln_index::FailureCause;
use proptest::prelude::*;

#[test]
fn unbalanced_braces_are_reported_and_harm_no_other_file() {
    let good = "void g() {}\nvoid h() { g(); }\n";
    let project = parse(&[("bad.h", "struct A { void f() { if (1) { }\n"), ("good.cc", good)]);
    assert_eq!(project.failures.len(), 1);
    assert_eq!(project.failures[0].file, "bad.h");
    assert_eq!(project.failures[0].cause, FailureCause::Syntax);
    assert!(calls(&project).contains(&"h -> g()".to_owned()));
    let stray = parse(&[("stray.h", "void f() { } }\nvoid g() { }\n")]);
    assert_eq!(stray.failures[0].cause, FailureCause::Syntax);
}

#[test]
fn deep_nesting_is_reported_not_followed() {
    let parentheses =
        format!("int f() {{ return {}1{}; }}\n", "(".repeat(10_000), ")".repeat(10_000));
    let braces = format!("void f() {}{}\n", "{".repeat(10_000), "}".repeat(10_000));
    let namespaces = format!("{}{}\n", "namespace a { ".repeat(10_000), "}".repeat(10_000));
    for text in [&parentheses, &braces, &namespaces] {
        let project = parse(&[("deep.cc", text), ("good.cc", "void g() {}\n")]);
        assert_eq!(project.failures.len(), 1);
        assert_eq!(project.failures[0].cause, FailureCause::TooDeep);
        assert_eq!(functions(&project), ["g"]);
    }
    let unary = format!("int f(int x) {{ return {}x; }}\n", "!".repeat(10_000));
    let project = parse(&[("unary.cc", &unary)]);
    assert_eq!(project.failures[0].cause, FailureCause::TooDeep);
    assert_eq!(functions(&project), ["f"]);
}

#[test]
fn long_chains_end() {
    let after = "void last() {}\n";
    let templates = format!("{}int{} x;\n{after}", "A<".repeat(10_000), ">".repeat(10_000));
    let assignments = format!("int f(int x) {{ {}x = 1; }}\n{after}", "x = ".repeat(10_000));
    let linkage = format!("{}int f() {{ return 1; }}\n{after}", "extern \"C\" ".repeat(10_000));
    let less = format!("bool b = {} 1;\n{after}", "a < ".repeat(50_000));
    let groups = format!("{}{}\n{after}", "#if A\n".repeat(10_000), "#endif\n".repeat(10_000));
    for text in [&templates, &assignments, &linkage, &less, &groups] {
        assert!(functions(&parse(&[("long.cc", text)])).contains(&"last"), "{:.40}", text);
    }
}

#[test]
fn macros_that_grow_without_end_are_cut_off() {
    let mut text = String::from("#define M0(x) x x\n");
    for i in 1..40 {
        text.push_str(&format!("#define M{i}(x) M{}(x) M{}(x)\n", i - 1, i - 1));
    }
    text.push_str("#define SELF SELF + SELF\nvoid g() {}\nint f() { g(); M39(1); return SELF; }\n");
    assert_eq!(calls(&parse(&[("a.cc", &text)])), ["f -> g()"]);
}

#[test]
fn files_without_code_are_no_failures() {
    let comments = "// only\n/* comments */\n";
    let project = parse(&[("empty.h", ""), ("comment.h", comments), ("blank.cc", " \r\n\t")]);
    assert!(project.definitions.is_empty() && project.failures.is_empty());
    assert_eq!(project.files.len(), 3);
    assert!(parse(&[]).files.is_empty());
}

#[test]
fn line_ends_marks_raw_strings_and_continuations_are_read() {
    let text = "\u{feff}#pragma once\r\n// A doc.\r\nint f(int a,\\\r\n      int b) {\r\n  \
                const char* s = R\"x(} \" )y\" {)x\"; // } \\\r\n still a comment }\r\n  \
                return a + '}' + 1'000;\r\n}\r\nvoid g() { f(1, 2); }\r\n";
    let project = parse(&[("a.cc", text)]);
    assert_eq!(functions(&project), ["f", "g"]);
    assert_eq!(calls(&project), ["g -> f(int,int)"]);
    assert_eq!(named(&project, "f").line, 3);
    let doc = named(&project, "f").doc.clone();
    assert_eq!(doc.map(|range| text[range].trim_end()), Some("// A doc."));
    assert!(project.failures.is_empty());
}

#[test]
fn one_huge_line_is_read() {
    let text: String = (0..20_000).map(|i| format!("int f{i}() {{ return {i}; }} ")).collect();
    assert_eq!(functions(&parse(&[("a.cc", &text)])).len(), 20_000);
}

/// A file with a little of everything, to be cut and mixed.
const SAMPLE: &str = "\
#define M(a, ...) a ## b #a __VA_ARGS__
namespace x { template <typename T, int N = 3> class A : public B<T> {
 public:
  explicit A(int a = g(), T... b) : a_(1), b_{2} {} ~A() = default;
  A& operator=(const A&); operator bool() const { return a_; }
  struct Node { int operator()(int) { return M(1, 2); } };
}; }
enum class E : int { a, b };
auto f(int x) -> int { for (auto& [a, b] : c) { auto l = [&](auto y) -> int { return y; }; }
  return x ? static_cast<int>(l(1)) : new (p) T[3]{1}; }
";

/// Pieces of C++ that mutation puts together.
#[rustfmt::skip]
const PIECES: [&str; 46] = [
    "class A : public B {", "};", "}", "{", "(", ")", "<", ">", "[", "]", "template <typename T, int N = 3>",
    "void f(int a = g(), T... b)", "namespace x {", "namespace {", "#define M(a, ...) a ## b #a", "#if defined(X",
    "#else", "#endif", "M(1, 2)", "operator", "operator()(", "operator bool", "~A()", ": a_(1), b_{2}", "A::B<C>::d",
    "= default;", "= 0;", "return", "[&](auto x) -> int {", "new (p) T[3]{1}", "static_cast<A*>(b)", "a ? b : c",
    "using X = Y<Z>;", "using namespace x;", "typedef int (*F)(int);", "enum class E : int { a, b };", "\"str\\", "R\"(",
    "'", "/*", "//", "\\\n", "requires (x) &&", "for (auto& [a, b] : c)", "é\u{feff}", "\n",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn nothing_panics_on_mixed_code(pieces in prop::collection::vec(0..PIECES.len(), 0..60)) {
        let text: Vec<&str> = pieces.into_iter().map(|piece| PIECES[piece]).collect();
        let text = text.join(" ");
        let other = "#include \"a.h\"\nvoid h() { A a; a.f(1); M(a, f)(2); }\n";
        let project = parse(&[("a.h", &text), ("b.cc", other)]);
        for definition in &project.definitions {
            let file = &project.files[definition.file as usize].text;
            prop_assert!(file.get(definition.extent.clone()).is_some());
            prop_assert!(file.get(definition.body.clone()).is_some());
        }
    }

    #[test]
    fn nothing_panics_on_damaged_code(
        text in any::<String>(), from in 0..SAMPLE.len(), to in 0..SAMPLE.len(), junk in "[\\x00-\\x7f]{0,20}"
    ) {
        parse(&[("a.h", &text)]);
        let damaged = format!("{}{junk}{}", &SAMPLE[..from], &SAMPLE[to..]);
        parse(&[("b.h", &damaged)]);
    }
}
