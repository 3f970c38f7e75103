//! The embedded parser on calls: overloads, aliases, macros that are other names, what templates leave open.

mod common;

use common::{calls, functions, parse};

/// The calls of one caller, as the keys of the callees.
fn from(source: &str, caller: &str) -> Vec<String> {
    let project = parse(&[("a.cc", source)]);
    let prefix = format!("{caller} -> ");
    let found = calls(&project);
    found.iter().filter_map(|call| call.strip_prefix(&prefix)).map(str::to_owned).collect()
}

#[test]
fn overloads_on_arithmetic_types_are_told_apart() {
    let source = "\
void put(int) {}
void put(unsigned) {}
void put(long long) {}
void put(unsigned long) {}
void put(double) {}
void put(bool) {}
void all(std::size_t n, std::int64_t i, short s, float f) {
  put(s); put(1u); put(n); put(0.5); put(f); put(n == 3); put(1LL); put(n + 1);
}
";
    assert_eq!(
        from(source, "all"),
        [
            "put(int)",
            "put(unsigned)",
            "put(long long)",
            "put(unsigned long)",
            "put(double)",
            "put(bool)"
        ]
    );
}

#[test]
fn an_alias_may_have_the_name_of_what_it_stands_for() {
    let source = "\
namespace lib { template <typename T = int> struct basic { static basic make() { return basic(); } }; using json = basic<>; }
using json = lib::json;
void all() { json j = json::make(); }
";
    assert_eq!(from(source, "all"), ["lib::basic::make()"]);
}

#[test]
fn macros_that_are_other_names_are_followed() {
    let source = "\
struct Log { int stream() { return 0; } };
void real(int) {}
void checked(bool) {}
#define LOG_FATAL Log()
#define LOG_DFATAL LOG_FATAL
#define LOG(severity) LOG_##severity.stream()
#define renamed real
#define CHECK(x) checked(x)
#define ASSERT CHECK
void all() { LOG(DFATAL); renamed(1); ASSERT(true); }
";
    assert_eq!(from(source, "all"), ["Log::stream()", "real(int)", "checked(bool)"]);
}

#[test]
fn local_classes_of_templates_depend_on_their_parameters() {
    let source = "\
struct Node { void run() {} void run(int) {} };
template <typename T> void all(T value) {
  struct Local { T held; Node node; void go() { held.run(); held.other(node); node.run(); } };
  Local local{value};
}
";
    assert_eq!(from(source, "all::Local::go"), ["Node::run()"]);
}

#[test]
fn only_members_are_made_before_a_template_is_used() {
    let source = "\
struct Part { explicit Part(int n) {} };
struct Base { explicit Base(int n) {} };
template <typename T> struct Whole : Base { explicit Whole(int n) : Base(n), part_(n) {} Part part_; };
struct Plain : Base { explicit Plain(int n) : Base(n) {} };
";
    let project = parse(&[("a.cc", source)]);
    assert_eq!(
        calls(&project),
        ["Whole::Whole -> Part::Part(int)", "Plain::Plain -> Base::Base(int)"]
    );
}

#[test]
fn conversions_to_pointers_to_functions_answer_whether_something_is_true() {
    let source = "\
class Handle {
  typedef void (*unspecified_bool)(Handle***);
 public:
  operator unspecified_bool() const;
};
Handle::operator Handle::unspecified_bool() const { return 0; }
typedef void Callback(int);
Callback on_event;
void run(Handle h, Callback* callback) {}
void all(Handle h) { if (h) run(h, on_event); }
";
    assert_eq!(
        from(source, "all"),
        ["Handle::operator Handle::unspecified_bool() const", "run(Handle,Callback*)"]
    );
}

#[test]
fn classes_that_a_project_declares_of_std_stay_the_librarys() {
    let source = "\
namespace std { template <class T> class basic_ostream; typedef basic_ostream<char> ostream; }
struct Text { Text(const char*) {} };
std::ostream& operator<<(std::ostream& out, const Text& text) { return out; }
void all(std::ostream& out, const Text& text) { out << \"plain\"; }
void other(std::ostream& out, const Text& text) { out << text; }
";
    assert!(from(source, "all").is_empty());
    assert_eq!(from(source, "other").len(), 1);
}

#[test]
fn enumerations_may_name_their_type_by_a_macro() {
    let source = "enum kind UNDERLYING(unsigned char) { one, two };\nvoid f(kind) {}\n";
    assert_eq!(functions(&parse(&[("a.h", source)])), ["f"]);
}
