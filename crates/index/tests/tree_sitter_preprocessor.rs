//! The embedded parser on conditional compilation.

mod common;

use common::{calls, functions, parse};

#[test]
fn conditions_see_what_included_headers_define() {
    let config = "\
#ifndef CONFIG_H
#define CONFIG_H
#ifndef USE_EXCEPTIONS
#define USE_EXCEPTIONS 1
#endif
#define VERSION_AT_LEAST(a, b) (VERSION >= (a) * 100 + (b))
#define VERSION 304
#undef LEGACY
#endif
";
    let source = "\
#include \"config.h\"
#if USE_EXCEPTIONS
void raise() { throw 1; }
#else
void raise() { abort(); }
#endif
#if VERSION_AT_LEAST(3, 5)
void modern() {}
#elif VERSION_AT_LEAST(3, 2)
void recent() {}
#else
void old() {}
#endif
#ifdef LEGACY
void legacy() {}
#endif
#if !defined(USE_EXCEPTIONS)
void never() {}
#endif
";
    let project = parse(&[("lib/config.h", config), ("lib/a.cc", source)]);
    assert_eq!(functions(&project), ["raise", "recent"]);
}

#[test]
fn a_files_own_macros_decide_and_unbalanced_branches_do_no_harm() {
    let source = "\
#define MODE 2
#if MODE == 1
void one() {
#else
void two() {
#endif
}
#undef MODE
#if defined(MODE)
void gone() {}
#endif
#if 0
it's \"not code {
#endif
void last() { two(); }
";
    let project = parse(&[("a.cc", source)]);
    assert_eq!(functions(&project), ["two", "last"]);
    assert_eq!(calls(&project), ["last -> two()"]);
    assert!(project.failures.is_empty());
}

#[test]
fn headers_that_include_one_another_and_macros_that_name_themselves_end() {
    let one = "#include \"two.h\"\n#define A B\n#if A\nvoid f() {}\n#endif\n";
    let two = "#include \"one.h\"\n#define B A\n#if B + A > B(1)\nvoid g() {}\n#endif\n";
    assert_eq!(functions(&parse(&[("one.h", one), ("two.h", two)])), ["f", "g"]);
}

#[test]
fn what_another_header_defines_is_called_beside_the_default() {
    let lib = "\
#ifndef LIB_ASSERT
#ifdef LIB_QUIET
#define LIB_LOUD 0
#endif
#define LIB_ASSERT(x) (x ? (void)0 : fail())
#endif
#if !defined(LIB_FREE)
#define LIB_FREE(p) release(p)
#endif
void fail();
void release(int* p);
inline int twice(int n) { LIB_ASSERT(n > 0); return 2 * n; }
inline void drop(int* p) { LIB_FREE(p); }
";
    let test = "\
struct Failure { Failure(const char* text) {} };
#define LIB_ASSERT(x) if (!(x)) throw Failure(#x)
";
    let plain = "#include \"lib.h\"\nvoid release(int* p) {}\nvoid fail() {}\nint four() { return twice(2); }\n";
    let own = "#define LIB_FREE(p) own_free(p)\n#include \"lib.h\"\nvoid own_free(int* p) {}\n";
    let files = [("lib.h", lib), ("test.h", test), ("plain.cc", plain), ("own.cc", own)];
    let project = parse(&files);
    // What a source defines for itself says nothing of the header.
    let wanted = [
        "twice -> Failure::Failure(const char*)",
        "twice -> fail()",
        "drop -> release(int*)",
        "four -> twice(int)",
    ];
    assert_eq!(calls(&project), wanted);
}

#[test]
fn the_standard_library_says_how_new_it_is() {
    let source = "#include <string>\n#if __GLIBCXX__ >= 20080306\nvoid recent() {}\n#else\nvoid old() {}\n#endif\n";
    assert_eq!(functions(&parse(&[("a.cc", source)])), ["recent"]);
}
