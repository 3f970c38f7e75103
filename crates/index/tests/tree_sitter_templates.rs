//! The embedded parser on templates: what tells them apart, and which of them a call means.

mod common;

use common::{functions, parse};

#[test]
fn templates_that_differ_in_what_they_ask_for_are_different_functions() {
    let source = "\
template <typename T, ENABLE_IF(is_integral<T>::value)> int size(T x) { return 1; }
template <typename T, ENABLE_IF(!is_integral<T>::value)> int size(T x) { return 2; }
template <typename T> std::enable_if_t<small<T>, int> rank(T x) { return 1; }
template <typename T> std::enable_if_t<!small<T>, int> rank(T x) { return 2; }
template <bool A> int count() { return 1; }
template <bool A, bool B> int count() { return 2; }
template <typename T> auto first(T& x, int) -> decltype(x.begin()) { return x.begin(); }
template <typename T> auto first(T& x, int) -> decltype(x.data()) { return x.data(); }
";
    let project = parse(&[("a.h", source)]);
    assert_eq!(
        functions(&project),
        ["size", "size", "rank", "rank", "count", "count", "first", "first"]
    );
    let mut keys: Vec<&str> = project.definitions.iter().map(|d| d.key.as_str()).collect();
    keys.dedup();
    assert_eq!(keys.len(), 8, "{keys:?}");
}

#[test]
fn specialisations_are_functions_of_their_own() {
    let source = "\
template <typename T> struct printer { void print(T x) { } };
template <> struct printer<int> { void print(int x) { } };
template <typename T> struct printer<T*> { void print(T x) { } };
template <typename T> int bits() { return 8; }
template <> int bits<long>() { return 64; }
template <> int bits<short>() { return 16; }
";
    let project = parse(&[("a.h", source)]);
    let mut keys: Vec<&str> = project
        .definitions
        .iter()
        .filter(|d| d.kind.is_function())
        .map(|d| d.key.as_str())
        .collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 6, "{keys:?}");
}

#[test]
fn a_template_is_one_function_however_its_declaration_names_its_parameters() {
    let source = "\
template <typename T, typename U> void both(const T& a, U* b);
struct Box { template <typename T> T get(int n) const; template <typename T> T get() const; };
template <class A, class B> void both(const A& a, B* b) { }
template <typename V> V Box::get() const { return V(); }
template <typename V> V Box::get(int n) const { return V(); }
";
    let project = parse(&[("a.h", source)]);
    assert_eq!(functions(&project), ["both", "Box::get", "Box::get"]);
    let mut keys: Vec<&str> = project.definitions.iter().map(|d| d.key.as_str()).collect();
    keys.dedup();
    assert_eq!(keys.len(), 4, "{keys:?}");
}

#[test]
fn calls_find_the_specialisation_that_is_written_for_their_types() {
    let source = "\
template <typename T> int width(T value) { return 1; }
template <> int width<double>(double value) { return 8; }
template <> int width(char value) { return 0; }
int one() { return width(1); }
int two() { return width(0.5); }
int three() { return width('c'); }
int four() { return width<double>(1); }
";
    let project = parse(&[("a.cc", source)]);
    let lines: Vec<u32> =
        project.calls.iter().map(|&(_, to)| project.definitions[to as usize].line).collect();
    assert_eq!(lines, [1, 2, 3, 2]);
}
