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

#[test]
fn what_follows_a_macro_belongs_to_its_last_operand() {
    let source = "\
struct Message { Message() {} template <typename T> Message& operator<<(const T& x) { return *this; } };
struct Helper { Helper(int line) {} void operator=(const Message& m) const {} };
struct Result { explicit operator bool() const { return true; } };
Result compare(int, int) { return Result(); }
#define FAILURE() Helper(__LINE__) = Message()
#define EXPECT(a, b) if (const Result r = compare(a, b)) ; else FAILURE()
void all() { EXPECT(1, 2) << \"text\"; }
";
    let mut found = from(source, "all");
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "Helper::Helper(int)",
            "Helper::operator=(const Message&) const",
            "Message::Message()",
            "Message::operator<<(const T&)<t: Message&>",
            "Result::operator bool() const",
            "compare(int,int)",
        ]
    );
}

#[test]
fn functions_defined_outside_their_namespace_see_its_names() {
    let header = "namespace ui { void first(); void second(); }\n";
    let source = "#include \"ui.h\"\nvoid ui::first() {}\nvoid ui::second() { first(); }\n";
    let project = parse(&[("ui.h", header), ("ui.cc", source)]);
    assert_eq!(calls(&project), ["ui::second -> ui::first()"]);
}

#[test]
fn definitions_out_of_their_class_find_it_whatever_the_order_of_files() {
    let first =
        "#include \"sink.h\"\ntemplate <class M> int Sink<M>::go(const int& n) { return n; }\n";
    let second = "template <class M> struct Sink { Sink() { go(1); } int go(const int& n); };\n";
    let project = parse(&[("sink-inl.h", first), ("sink.h", second)]);
    assert_eq!(calls(&project), ["Sink::Sink -> Sink::go(const int&)"]);
}

#[test]
fn friends_are_found_by_their_class_only() {
    let source = "\
enum class Token { a, b };
template <typename T> struct Json {
  template <typename U> Json(U&& value) {}
  using reference = const Json&;
  friend bool operator==(reference a, reference b) { return true; }
  template <typename S> friend bool operator==(reference a, S b) { return true; }
};
bool tokens(Token a) { return a == Token::b; }
bool values(const Json<int>& a, const Json<int>& b) { return a == b; }
";
    assert!(from(source, "tokens").is_empty());
    assert_eq!(from(source, "values"), ["operator==(reference,reference)<1>"]);
}

#[test]
fn members_are_found_through_anonymous_unions_and_constness() {
    let source = "\
struct Set { bool empty() { return true; } };
struct Node {
  Node* next() { return 0; }
  const Node* next() const { return 0; }
  union { Set* set_; int n_; };
  bool none() { return set_->empty(); }
};
struct Handle { const Node* node_; const Node* step() const { return node_ ? node_->next() : 0; } };
";
    assert_eq!(from(source, "Node::none"), ["Set::empty()"]);
    assert_eq!(from(source, "Handle::step"), ["Node::next() const"]);
}

#[test]
fn assignments_destructors_and_iterators_call_what_is_written_for_them() {
    let source = "\
struct Cursor { int operator*() const { return 1; } };
struct List { Cursor begin() { return Cursor(); } Cursor end() { return Cursor(); } ~List() {} };
struct Base { Base& operator=(const Base& other) { return *this; } };
struct Text : Base {
  Text& operator=(const char* text) { return *this; }
  Text& copy(const Text& other) { Base::operator=(other); return *this; }
};
void loop(List& list) { for (int x : list) { } }
void destroy(List* list) { list->~List(); }
void assign(Text a, Text b) { a = b; a = \"text\"; }
";
    assert_eq!(from(source, "loop"), ["Cursor::operator*() const"]);
    assert_eq!(from(source, "destroy"), ["List::~List()"]);
    assert_eq!(from(source, "assign"), ["Text::operator=(const char*)"]);
    assert_eq!(from(source, "Text::copy"), ["Base::operator=(const Base&)"]);
}

#[test]
fn streams_and_foreign_types_choose_their_overloads() {
    let source = "\
struct Writer {};
void save(Writer& writer) {}
void save(std::basic_ostream<char, std::char_traits<char>>& out) {}
double seconds(struct rusage const& usage) { return 0; }
double seconds(struct timespec const& spec) { return 1; }
void all() { save(std::cout); struct timespec spec; seconds(spec); }
template <typename T> void open(std::vector<T>& list) { seconds(list[0]); }
";
    assert_eq!(
        from(source, "all"),
        ["save(basic_ostream<char,char_traits<char>>&)", "seconds(timespec const&)"]
    );
    assert!(from(source, "open").is_empty());
}

#[test]
fn literals_with_suffixes_of_the_project_call_their_operators() {
    let source = "\
struct Ref {};
struct Length {};
Ref operator\"\" _ref(const char* text, unsigned long size) { return Ref(); }
Length operator\"\"_km(unsigned long long n) { return Length(); }
void take(Ref ref) {}
void all() { take(\"text\"_ref); 12_km; }
";
    assert_eq!(
        from(source, "all"),
        [
            "operator\"\"_ref(const char*,unsigned long)",
            "operator\"\"_km(unsigned long long)",
            "take(Ref)",
        ]
    );
}

#[test]
fn macros_of_other_sources_are_not_seen() {
    let one = "#define check(x) verify(x)\nvoid verify(int) {}\nvoid one() { check(1); }\n";
    let two = "void check(int) {}\nvoid two() { check(1); }\n";
    let project = parse(&[("one.cc", one), ("two.cc", two)]);
    assert_eq!(calls(&project), ["one -> verify(int)", "two -> check(int)"]);
}

#[test]
fn functions_of_c_are_told_apart_from_those_of_other_languages() {
    let project = parse(&[
        ("a.c", "int twice(int n) { return n + n; }\n"),
        ("a.cc", "int twice(int n) { return 2 * n; }\n"),
    ]);
    assert_ne!(project.definitions[0].key, project.definitions[1].key);
}

#[test]
fn a_macro_may_stand_for_the_name_of_another() {
    let source = "\
struct Log { Log& operator<<(const char* text) { return *this; } };
Log log() { return Log(); }
#define CONCAT(a, b) CONCAT2(a, b)
#define CONCAT2(a, b) a##b
#define CHECK_EQ(a, b) (a == b ? log() : log())
#define CHECK_VALUE(relation, value) CONCAT(CHECK_, relation)(value, 1) << \"value\"
void all() { CHECK_VALUE(EQ, 2); }
";
    assert_eq!(from(source, "all"), ["Log::operator<<(const char*)", "log()"]);
}

#[test]
fn temporaries_do_not_bind_to_plain_references_of_templates() {
    let source = "\
template <typename T> void keep(T& value) {}
template <typename T> void keep(const T& value) {}
int make() { return 1; }
void all() { keep(make()); }
";
    assert_eq!(from(source, "all"), ["keep(const T&)<t:void>", "make()"]);
}
