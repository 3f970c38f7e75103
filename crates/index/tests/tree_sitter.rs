//! The embedded parser on small projects: what it finds, and which calls.

mod common;

use common::{calls, functions, named, parse, text};
use kiln_index::DefinitionKind;

const SLICE: &str = "\
#pragma once
#include <string>
#define EXPORT __attribute__((visibility(\"default\")))
namespace db {
// A view.
class EXPORT Slice {
 public:
  Slice() : data_(\"\"), size_(0) {}
  Slice(const char* text);
  Slice(const std::string& text) : data_(text.data()), size_(text.size()) {}
  Slice(const Slice&) = default;
  ~Slice() {}
  unsigned size() const { return size_; }
  char operator[](unsigned n) const { return data_[n]; }
  explicit operator bool() const { return size_ != 0; }
 private:
  const char* data_;
  unsigned size_;
};
inline bool operator==(const Slice& x, const Slice& y) { return x.size() == y.size(); }
template <typename T>
T twice(T value) { return value + value; }
}  // namespace db
";

#[test]
fn definitions_carry_kind_extent_body_doc_and_class() {
    let project = parse(&[("include/slice.h", SLICE)]);
    assert_eq!(
        functions(&project),
        [
            "db::Slice::Slice",
            "db::Slice::Slice",
            "db::Slice::~Slice",
            "db::Slice::size",
            "db::Slice::operator[]",
            "db::Slice::operator bool",
            "db::operator==",
            "db::twice",
        ]
    );
    let class = named(&project, "db::Slice");
    assert_eq!(class.kind, DefinitionKind::Class);
    assert_eq!(class.doc.clone().map(|range| SLICE[range].trim_end()), Some("// A view."));
    assert!(text(&project, class).starts_with("class EXPORT Slice {"));
    assert!(text(&project, class).ends_with("};"));
    let twice = named(&project, "db::twice");
    assert_eq!(
        text(&project, twice),
        "template <typename T>\nT twice(T value) { return value + value; }"
    );
    assert_eq!(&SLICE[twice.body.clone()], "{ return value + value; }");
    assert_eq!(named(&project, "db::Slice::operator bool").kind, DefinitionKind::Conversion);
    assert_eq!(named(&project, "db::Slice::operator[]").kind, DefinitionKind::Operator);
    assert_eq!(named(&project, "db::Slice::~Slice").kind, DefinitionKind::Destructor);
    let size = named(&project, "db::Slice::size");
    let owner = size.class.map(|id| project.definitions[id as usize].qualified_name.as_str());
    assert_eq!(owner, Some("db::Slice"));
    assert_eq!(size.line, 13);
    assert!(project.failures.is_empty());
}

#[test]
fn calls_find_their_overloads_across_files() {
    let source = "\
#include \"slice.h\"
namespace db {
Slice::Slice(const char* text) : data_(text), size_(1) {}
static unsigned measure(const Slice& s, int extra = 0) { return s.size() + extra; }
static unsigned measure(int n) { return n; }
unsigned all(const std::string& name) {
  Slice empty;
  auto view = Slice(name);
  unsigned n = measure(\"literal\") + measure(3) + measure(view);
  if (view == empty) n += view[0];
  if (view) return n;
  auto f = [&] { return twice(n); };
  return f();
}
}
";
    let project = parse(&[("include/slice.h", SLICE), ("src/a.cc", source)]);
    let found = calls(&project);
    let from_all: Vec<&str> =
        found.iter().filter_map(|call| call.strip_prefix("db::all -> ")).collect();
    assert_eq!(
        from_all,
        [
            "db::Slice::Slice()",
            "db::Slice::Slice(const string&)",
            "db::Slice::operator[](unsigned) const",
            "db::Slice::operator bool() const",
            "db::operator==(const Slice&,const Slice&)",
            "db::twice(T)<t: $0>",
            "db::Slice::Slice(const char*)",
            "db::measure(const Slice&,int)@src/a.cc",
            "db::measure(int)@src/a.cc",
        ]
    );
}

#[test]
fn members_of_containers_and_pointers_are_typed() {
    let source = "\
#include <map>
#include <memory>
#include <vector>
struct Node { int run() const { return 1; } };
struct Base { virtual void go() {} };
struct Derived : Base { void own() {} };
void all(std::vector<Node*> nodes, std::map<int, Node>& table, std::shared_ptr<Derived> p) {
  for (const auto& [key, node] : table) node.run();
  p->go();
  std::make_unique<Derived>()->own();
}
int subscript(std::vector<Node*> nodes) { return nodes[0]->run(); }
int found(std::map<int, Node>& table) { auto it = table.find(1); return it->second.run(); }
";
    let project = parse(&[("a.cc", source)]);
    assert_eq!(
        calls(&project),
        [
            "all -> Node::run() const",
            "all -> Base::go()",
            "all -> Derived::own()",
            "subscript -> Node::run() const",
            "found -> Node::run() const",
        ]
    );
}

#[test]
fn calls_that_depend_on_template_parameters_stay_out() {
    let source = "\
struct Node { void run() {} };
void help(int) {}
void help(Node) {}
template <typename T> void all(T value) { value.run(); help(value); Node node; node.run(); }
";
    assert_eq!(calls(&parse(&[("a.cc", source)])), ["all -> Node::run()"]);
}

#[test]
fn file_local_functions_of_one_name_are_told_apart() {
    let one = "static void helper() {}\nvoid one() { helper(); }\nint main() { one(); }\n";
    let two = "namespace { void helper() {} }\nvoid two() { helper(); }\nint main() { two(); }\n";
    let project = parse(&[("one.cc", one), ("two.cc", two)]);
    let mut keys: Vec<&str> = project.definitions.iter().map(|d| d.key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 6);
    assert_eq!(
        calls(&project),
        ["one -> helper()@one.cc", "main -> one()", "two -> helper()@two.cc", "main -> two()"]
    );
}

#[test]
fn macros_of_the_project_are_seen_through() {
    let source = "\
#define BEGIN namespace lib { inline namespace v1 {
#define END }}
#define CHECK(x) do { if (!(x)) fail(#x); } while (0)
#define GUARDED_BY(x)
BEGIN
void fail(const char* what) {}
struct State { int n GUARDED_BY(mu) = 0; static State OK() { return State(); } };
void all(int n) { CHECK(n > 0); }
END
TEST(Suite, Case) { lib::all(1); }
";
    let project = parse(&[("a.cc", source)]);
    assert_eq!(
        functions(&project),
        ["lib::v1::fail", "lib::v1::State::OK", "lib::v1::all", "Suite_Case_Test::TestBody"]
    );
    assert!(named(&project, "Suite_Case_Test::TestBody").from_macro);
    assert_eq!(
        calls(&project),
        [
            "lib::v1::all -> lib::v1::fail(const char*)",
            "Suite_Case_Test::TestBody -> lib::v1::all(int)"
        ]
    );
}

#[test]
fn local_classes_and_out_of_line_members_belong_to_their_classes() {
    let source = "\
class Outer { struct Inner; void run(); Inner* inner_; };
struct Outer::Inner { void work(); };
void Outer::Inner::work() {}
void Outer::run() {
  struct Local { int get() { return 2; } };
  Local local;
  local.get();
  inner_->work();
}
";
    let project = parse(&[("a.cc", source)]);
    assert_eq!(functions(&project), ["Outer::Inner::work", "Outer::run", "Outer::run::Local::get"]);
    let work = named(&project, "Outer::Inner::work");
    let owner = work.class.map(|id| project.definitions[id as usize].qualified_name.as_str());
    assert_eq!(owner, Some("Outer::Inner"));
    assert_eq!(
        calls(&project),
        ["Outer::run -> Outer::Inner::work()", "Outer::run -> Outer::run::Local::get()@a.cc"]
    );
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let source = "#include \"slice.h\"\nvoid NAME() { db::Slice s(\"x\"); s.size(); }\n";
    let files: Vec<(String, String)> = (0..40)
        .map(|i| (format!("src/{i}.cc"), source.replace("NAME", &format!("f{i}"))))
        .collect();
    let mut list: Vec<(&str, &str)> = vec![("include/slice.h", SLICE)];
    list.extend(files.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| parse(&list))
    };
    let one = run(1);
    assert_eq!(one.calls.len(), 41);
    assert_eq!(one, run(2));
    assert_eq!(one, run(7));
}

#[test]
fn functions_as_c_once_wrote_them_are_found() {
    let source = "\
int twice(int n);
struct item { int (*get)(void); };
static int sum(first, items, count)
    int first;
    struct item *items, **more;
    char name[4];
{ return twice(first); }
int twice(n)
    int n;
{ return n + n; }
int all() { return sum(1, 0, 2); }
";
    let project = parse(&[("a.c", source)]);
    assert_eq!(functions(&project), ["sum", "twice", "all"]);
    assert_eq!(calls(&project), ["sum -> twice in C", "all -> sum in C@a.c"]);
}

#[test]
fn prototypes_in_macros_declare_functions() {
    let header = "#define OF(args) args\nextern int twice OF((int n));\n";
    let source =
        "#include \"a.h\"\nint twice(n) int n; { return n + n; }\nint all() { return twice(1); }\n";
    let project = parse(&[("a.h", header), ("a.c", source)]);
    assert_eq!(calls(&project), ["all -> twice in C"]);
}

#[test]
fn functions_are_local_to_their_file_by_a_macro_too() {
    let one = "#define local static\nlocal int inf(int n) { return n; }\nint one(void) { return inf(1); }\n";
    let two = "#define local static\nlocal int inf(int n) { return n; }\nint two(void) { return inf(1); }\n";
    let project = parse(&[("one.c", one), ("two.c", two)]);
    assert_eq!(calls(&project), ["one -> inf in C@one.c", "two -> inf in C@two.c"]);
}

#[test]
fn empty_macros_in_types_say_nothing() {
    let source = "\
#define FAR
typedef struct stream_s { int n; } stream;
typedef stream FAR *stream_pointer;
int end(stream_pointer strm) { return 0; }
int all(void) { stream strm; return end(&strm); }
";
    assert_eq!(calls(&parse(&[("a.c", source)])), ["all -> end in C"]);
}
