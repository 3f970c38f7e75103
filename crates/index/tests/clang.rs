//! Small projects through libclang. Where no libclang is installed they say so and check nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use kiln_index::{
    Definition, DefinitionKind, FailureCause, IndexError, InputFile, Notice, ParseOptions, Parsed,
    Parser, ParserChoice, Project, ProjectInput, parse,
};

/// A project in a folder of its own.
struct Written {
    folder: tempfile::TempDir,
    input: ProjectInput,
}

fn write(files: &[(&str, &str)]) -> Written {
    let folder = tempfile::tempdir().unwrap();
    let mut input = ProjectInput { root: folder.path().to_path_buf(), files: Vec::new() };
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        if [".c", ".cc", ".h"].iter().any(|extension| name.ends_with(extension)) {
            input.files.push(InputFile { name: name.to_string(), text: text.to_string() });
        }
    }
    input.files.sort_by(|a, b| a.name.cmp(&b.name));
    Written { folder, input }
}

fn run(input: ProjectInput, options: &ParseOptions) -> Result<Parsed, IndexError> {
    parse(input, options, &|_| ControlFlow::Continue(()))
}

fn options() -> ParseOptions {
    ParseOptions { parser: ParserChoice::Clang, threads: 2, ..ParseOptions::default() }
}

/// The project as libclang sees it; none where no libclang is installed.
fn with_clang(files: &[(&str, &str)]) -> Option<Project> {
    clang_project(run(write(files).input, &options()).unwrap())
}

fn clang_project(parsed: Parsed) -> Option<Project> {
    if parsed.notices.contains(&Notice::LibclangMissing) {
        say_skipped();
        assert_eq!(parsed.project.parser, Parser::TreeSitter);
        return None;
    }
    assert_eq!(parsed.project.parser, Parser::Clang);
    Some(parsed.project)
}

/// Visible with --nocapture; where `KILN_REQUIRE_LIBCLANG=1`, as in continuous integration, there must be one.
fn say_skipped() {
    let required = std::env::var("KILN_REQUIRE_LIBCLANG").is_ok_and(|value| value == "1");
    assert!(!required, "KILN_REQUIRE_LIBCLANG=1, but no libclang is installed");
    eprintln!("SKIPPED: no libclang is installed");
}

fn text<'a>(project: &'a Project, definition: &Definition) -> &'a str {
    &project.files[definition.file as usize].text[definition.extent.clone()]
}

fn find<'a>(project: &'a Project, name: &str) -> &'a Definition {
    let found: Vec<_> = project.definitions.iter().filter(|d| d.qualified_name == name).collect();
    assert_eq!(found.len(), 1, "{name} in {:#?}", names(project));
    found[0]
}

fn names(project: &Project) -> Vec<&str> {
    project.definitions.iter().map(|definition| definition.qualified_name.as_str()).collect()
}

/// As `name:line` pairs.
fn calls(project: &Project) -> BTreeSet<(String, String)> {
    let name = |id: u32| {
        let definition = &project.definitions[id as usize];
        format!("{}:{}", definition.qualified_name, definition.line)
    };
    project.calls.iter().map(|(from, to)| (name(*from), name(*to))).collect()
}

fn pairs(all: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    all.iter().map(|(from, to)| (from.to_string(), to.to_string())).collect()
}

#[test]
fn overloads_are_told_apart_across_files() {
    let header = "#pragma once
namespace n {
void f(int);
void f(double);
inline int twice(int x) { return 2 * x; }
}
";
    let Some(project) = with_clang(&[
        ("include/lib/a.h", header),
        (
            "src/a.cc",
            "#include \"lib/a.h\"\nnamespace n {\nvoid f(int x) { twice(x); }\nvoid f(double) { f(1); }\n}\n",
        ),
        ("src/b.cc", "#include <lib/a.h>\nvoid g() { n::f(2.0); }\n"),
    ]) else {
        return;
    };
    assert_eq!((project.units, project.units_with_errors, project.errors), (2, 0, 0));
    let expected = [("n::f:3", "n::twice:5"), ("n::f:4", "n::f:3"), ("g:2", "n::f:4")];
    assert_eq!(calls(&project), pairs(&expected));
    let keys: BTreeSet<_> = project.definitions.iter().map(|d| &d.key).collect();
    assert_eq!(keys.len(), 4);
}

#[test]
fn members_of_templates_are_those_of_the_template() {
    let source = "template <typename T>
struct Box {
  Box() {}
  T get() { return get2(); }
  T get2();
  template <class U> U as() { return U(); }
};
template <typename T>
T Box<T>::get2() {
  return T();
}
template <typename T> T id(T x) { return x; }
template <> int id<int>(int x) { return x + 1; }
int use() {
  Box<int> b;
  id(1);
  id('a');
  return b.get() + b.get2() + b.as<int>();
}
";
    let Some(project) = with_clang(&[("t.cc", source)]) else {
        return;
    };
    let expected = [
        ("use:14", "Box::Box:3"),
        ("use:14", "Box::get:4"),
        ("use:14", "Box::get2:9"),
        ("use:14", "Box::as:6"),
        ("use:14", "id:12"),
        ("use:14", "id:13"),
    ];
    let calls = calls(&project);
    for (from, to) in expected {
        assert!(calls.contains(&(from.into(), to.into())), "{from} -> {to} in {calls:#?}");
    }
    let get2 = find(&project, "Box::get2");
    assert!(text(&project, get2).starts_with("template <typename T>\nT Box<T>::get2()"));
    let class = project.definitions.iter().position(|d| d.qualified_name == "Box").unwrap();
    assert_eq!(get2.class, Some(class as u32));
}

#[test]
fn kinds_extents_bodies_and_comments() {
    let source = "// Not this.

// A shape.
// Of two lines.
class S {
 public:
  /** Makes it. */
  explicit S(int x) : x_([x] { return x; }()) {}
  ~S() { { int y = 0; (void)y; } }
  S(const S&) = default;
  bool operator==(const S& o) const { return x_ == o.x_; }
  operator bool() const { return x_; }
  int x() const;
 private:
  int x_;
};
enum class E { A, B };
/* The value. */
[[nodiscard]] int S::x() const try { return x_; } catch (...) { throw; }
static int g() { return S(1) == S(2); }
";
    let Some(project) = with_clang(&[("k.cc", source)]) else {
        return;
    };
    let kinds: Vec<_> =
        project.definitions.iter().map(|d| (d.qualified_name.as_str(), d.kind)).collect();
    let expected = [
        ("S", DefinitionKind::Class),
        ("S::S", DefinitionKind::Constructor),
        ("S::~S", DefinitionKind::Destructor),
        ("S::operator==", DefinitionKind::Operator),
        ("S::operator bool", DefinitionKind::Conversion),
        ("E", DefinitionKind::Enum),
        ("S::x", DefinitionKind::Method),
        ("g", DefinitionKind::Function),
    ];
    assert_eq!(kinds, expected);
    let doc = |definition: &Definition| &source[definition.doc.clone().unwrap()];
    let class = find(&project, "S");
    assert!(text(&project, class).ends_with("int x_;\n};"));
    assert_eq!(doc(class), "// A shape.\n// Of two lines.");
    let constructor = find(&project, "S::S");
    assert_eq!(&source[constructor.body.clone()], "{}");
    assert_eq!(doc(constructor), "/** Makes it. */");
    assert_eq!(&source[find(&project, "S::~S").body.clone()], "{ { int y = 0; (void)y; } }");
    let x = find(&project, "S::x");
    assert!(text(&project, x).starts_with("[[nodiscard]] int S::x()"));
    assert_eq!(doc(x), "/* The value. */");
    assert!(source[x.body.clone()].ends_with("catch (...) { throw; }"));
    let calls = calls(&project);
    for to in ["S::operator==:11", "S::S:8"] {
        assert!(calls.contains(&("g:20".into(), to.into())), "{to} in {calls:#?}");
    }
}

#[test]
fn lambdas_belong_to_the_function_around_and_local_classes_do_not() {
    let source = "void a() {}
void b() {}
void outer() {
  auto f = [] { a(); };
  struct Local {
    void m() { b(); }
  };
  f();
}
";
    let Some(project) = with_clang(&[("l.cc", source)]) else {
        return;
    };
    assert_eq!(calls(&project), pairs(&[("outer:3", "a:1"), ("outer::Local::m:6", "b:2")]));
}

#[test]
fn programs_that_share_a_folder_keep_their_own_functions() {
    let source =
        "static void help() {}\nint run() { help(); return 1; }\nint main() { return run(); }\n";
    let Some(project) = with_clang(&[("one.cc", source), ("two.cc", source)]) else {
        return;
    };
    let id = |name: &str, file: u32| {
        project.definitions.iter().position(|d| d.qualified_name == name && d.file == file).unwrap()
            as u32
    };
    for file in [0, 1] {
        for (from, to) in [("main", "run"), ("run", "help")] {
            assert!(project.calls.contains(&(id(from, file), id(to, file))));
        }
    }
    assert_eq!(project.calls.len(), 4);
    let key = |name, file| &project.definitions[id(name, file) as usize].key;
    assert_eq!(key("main", 0), key("main", 1), "one function to a linker");
    assert_ne!(key("help", 0), key("help", 1), "functions of their own");
}

#[test]
fn names_that_macros_make_are_marked() {
    let source = "#define CASE(name) struct name##_Case { void body(); }; void name##_Case::body()
void f() {}
CASE(One) { f(); }
";
    let Some(project) = with_clang(&[("m.cc", source)]) else {
        return;
    };
    let body = find(&project, "One_Case::body");
    assert!(body.from_macro);
    assert_eq!(body.line, 3);
    assert_eq!(text(&project, body), "CASE(One) { f(); }");
    assert!(!find(&project, "f").from_macro);
    assert_eq!(calls(&project), pairs(&[("One_Case::body:3", "f:2")]));
}

#[test]
fn c_and_cxx_units_share_a_header() {
    let header =
        "#ifndef S_H\n#define S_H\nstatic inline int add(int a, int b) { return a + b; }\n#endif\n";
    let Some(project) = with_clang(&[
        ("s.h", header),
        ("c.c", "#include \"s.h\"\nint new(int class) { return add(class, 1); }\n"),
        ("d.cc", "#include \"s.h\"\nint use() { return add(1, 2); }\n"),
    ]) else {
        return;
    };
    assert_eq!(project.errors, 0, "{:?}", project.failures);
    assert_eq!(names(&project), ["new", "use", "add"]);
    assert_eq!(calls(&project), pairs(&[("new:2", "add:3"), ("use:2", "add:3")]));
}

#[test]
fn errors_are_counted_and_the_rest_is_kept() {
    let Some(project) = with_clang(&[
        (
            "bad.cc",
            "#include <nowhere/none.h>\nvoid good() {}\nvoid worse() { undeclared(); good(); }\n",
        ),
        ("braces.cc", "void open() {\n"),
        ("fine.cc", "void fine() {}\n"),
    ]) else {
        return;
    };
    assert_eq!((project.units, project.units_with_errors), (3, 2));
    assert!(project.errors >= 3, "{}", project.errors);
    let causes: Vec<_> = project.failures.iter().map(|f| (f.file.as_str(), f.cause)).collect();
    assert_eq!(
        causes,
        [("bad.cc", FailureCause::MissingHeader), ("braces.cc", FailureCause::Syntax)]
    );
    assert!(project.failures[0].detail.contains("bad.cc:1: 'nowhere/none.h' file not found"));
    assert!(names(&project).contains(&"good") && names(&project).contains(&"fine"));
    assert!(calls(&project).contains(&("worse:3".into(), "good:2".into())));
}

#[test]
fn deep_nesting_ends() {
    let (open, close) = ("(".repeat(10_000), ")".repeat(10_000));
    let source = format!("int f() {{ return {open}1{close}; }}\nint g() {{ return 2; }}\n");
    let Some(project) = with_clang(&[("deep.cc", &source), ("fine.cc", "int h() { return 1; }\n")])
    else {
        return;
    };
    assert_eq!(project.units_with_errors, 1);
    assert!(names(&project).contains(&"h"));
}

#[test]
fn a_compile_database_with_blanks_in_quotes() {
    let source = "#include \"x y.h\"
static const char* name = NAME;
int f() { return from_header() + (name[0] == 'x'); }
";
    let written = write(&[
        ("in clude/x y.h", "#pragma once\ninline int from_header() { return VALUE; }\n"),
        ("src/a b.cc", source),
        ("src/left out.cc", "int spare() { return 1; }\n"),
    ]);
    let build = written.folder.path().join("build");
    fs::create_dir_all(&build).unwrap();
    let entry = r#"[{"directory": "DIR", "file": "../src/a b.cc", "command": "ccache g++ '-I../in clude' -DVALUE=3 \
-DNAME=\"\\\"x y\\\"\" -std=gnu++17 -Wl,--no -o 'a b.o' -c '../src/a b.cc'"}]"#;
    let entry = entry.replace("\\\n", "").replace("DIR", &build.to_string_lossy());
    fs::write(build.join("compile_commands.json"), entry).unwrap();
    let Some(project) = clang_project(run(written.input.clone(), &options()).unwrap()) else {
        return;
    };
    assert_eq!((project.units, project.errors), (1, 0), "{:?}", project.failures);
    assert_eq!(calls(&project), pairs(&[("f:3", "from_header:2")]));
    assert!(names(&project).contains(&"spare"), "what the database leaves out is not lost");

    let elsewhere = ParseOptions {
        compile_commands: Some(written.folder.path().join("none.json")),
        ..options()
    };
    assert!(matches!(run(written.input, &elsewhere), Err(IndexError::ReadCompileCommands { .. })));
}

#[test]
fn a_database_of_lists_response_files_relative_folders_and_a_unit_that_is_not_there() {
    let written = write(&[
        ("inc lude/x.h", "#pragma once\ninline int from_header() { return VALUE; }\n"),
        ("src/a.cc", "#include <x.h>\nint f() { return from_header(); }\n"),
        ("src/broken.cc", "#include <x.h>\nint g() { nothing(); return from_header(); }\n"),
    ]);
    let build = written.folder.path().join("build");
    fs::create_dir_all(&build).unwrap();
    fs::write(build.join("flags.rsp"), "-DVALUE=3 \"-I../inc lude\"\n").unwrap();
    let entry = |file: &str| {
        format!(
            r#"{{"directory": ".", "file": "{file}", "arguments": ["c++", "@flags.rsp", "-c", "{file}"]}}"#
        )
    };
    let all = ["../src/a.cc", "../src/gone.cc", "../src/broken.cc"].map(entry).join(",");
    fs::write(build.join("compile_commands.json"), format!("[{all}]")).unwrap();
    let Some(project) = clang_project(run(written.input, &options()).unwrap()) else {
        return;
    };
    assert_eq!((project.units, project.units_with_errors), (2, 1), "{:?}", project.failures);
    assert_eq!(project.failures[0].file, "src/broken.cc");
    assert_eq!(calls(&project), pairs(&[("f:2", "from_header:2"), ("g:2", "from_header:2")]));
}

#[test]
fn a_crash_of_the_parser_costs_one_unit() {
    let Some(project) = with_clang(&[
        ("crash.cc", "int before() { return 1; }\n#pragma clang __debug crash\n"),
        ("fine.cc", "int g() { return 1; }\nint f() { return g(); }\n"),
    ]) else {
        return;
    };
    assert_eq!((project.units, project.units_with_errors), (2, 1));
    let failures: Vec<_> = project.failures.iter().map(|f| (f.file.as_str(), f.cause)).collect();
    assert_eq!(failures, [("crash.cc", FailureCause::ParserFailed)]);
    assert_eq!(names(&project), ["before", "g", "f"], "the embedded parser helps out");
    assert_eq!(calls(&project), pairs(&[("f:2", "g:1")]));
}

#[test]
fn a_libclang_may_be_named_by_its_folder() {
    let written = write(&[("a.cc", "int f() { return 1; }\n")]);
    let named = |path: &Path| ParseOptions { libclang: Some(path.into()), ..options() };
    let empty = run(written.input.clone(), &named(written.folder.path())).unwrap_err();
    assert!(empty.to_string().contains("no libclang in this folder"), "{empty}");
    let Some(installed) = kiln_clang::find() else {
        say_skipped();
        return;
    };
    let environment = written.folder.path().join("environment");
    let native = environment.join("lib/python3.11/site-packages/clang/native");
    fs::create_dir_all(&native).unwrap();
    std::os::unix::fs::symlink(installed.path(), native.join("libclang.so")).unwrap();
    for path in [native.join("libclang.so"), native, environment] {
        let parsed = run(written.input.clone(), &named(&path)).unwrap();
        assert_eq!(parsed.project.parser, Parser::Clang);
        assert_eq!(parsed.project.definitions.len(), 1);
    }
}

#[test]
fn flags_are_found_without_a_database() {
    let list = "cmake_minimum_required(VERSION 3.9)
project(p)
if(WIN32)
  set(OS P_WINDOWS)
else()
  set(OS P_POSIX)
endif()
add_library(p src/a.cc)
target_compile_definitions(p PRIVATE ${OS}=1)
target_compile_features(p PUBLIC cxx_std_20)
configure_file(config.h.in gen/config.h)
include_directories(${PROJECT_BINARY_DIR}/gen)
";
    let source = "#include \"port/os.h\"
#include <config.h>
#include <string>
template <class T> concept Any = true;
int a() { return os() + SIZE; }
";
    let Some(project) = with_clang(&[
        ("CMakeLists.txt", list),
        ("config.h.in", "#define SIZE @CMAKE_SIZEOF_VOID_P@\n"),
        ("src/a.cc", source),
        (
            "src/port/os.h",
            "#pragma once\n#if P_POSIX\ninline int os() { return 1; }\n#else\n#error no\n#endif\n",
        ),
    ]) else {
        return;
    };
    assert_eq!(project.errors, 0, "{:?}", project.failures);
    assert_eq!(calls(&project), pairs(&[("a:5", "os:3")]));
}

#[test]
fn a_newer_standard_is_tried_where_none_is_stated() {
    let source = "template <class T> concept Any = true;\nint f(Any auto x) { return x; }\nint g() { return f(1); }\n";
    let Some(project) = with_clang(&[("a.cc", source)]) else {
        return;
    };
    assert_eq!(project.errors, 0, "{:?}", project.failures);
    assert_eq!(calls(&project), pairs(&[("g:3", "f:2")]));
}

#[test]
fn many_units_behind_shared_prefixes_give_what_they_give_alone() {
    let list = "#ifndef LIST_H
#define LIST_H
#include <string>
#include <vector>
namespace lib {
void log(const std::string& s);
template <class T> struct List {
  void add(T x) { items.push_back(x); note(); }
  void note() { log(\"added\"); }
  std::vector<T> items;
};
}
#endif
";
    let swayed = "#pragma once\n#ifdef IMPLEMENT\nint implemented() { return 1; }\n#endif\nint implemented();\n";
    let mut files = vec![
        ("lib/list.h".to_string(), list.to_string()),
        ("lib/impl.h".to_string(), swayed.to_string()),
        ("lib/impl.cc".to_string(), "#define IMPLEMENT\n#include \"impl.h\"\n".to_string()),
    ];
    for number in 0..24 {
        // One of them has a name that the prefix has too, and is parsed without it.
        let (first, body) = match number {
            5 => ("#include <map>\nnamespace lib { struct List {}; }", "lib::List l; (void)l;"),
            _ => ("#include <map>\n#include \"lib/list.h\"", "lib::List<int> l; l.add(1);"),
        };
        let source = format!(
            "{first}\n#include \"lib/impl.h\"\nint f{number}() {{ {body} return implemented(); }}\n"
        );
        files.push((format!("u{number:02}.cc"), source));
    }
    let borrowed: Vec<(&str, &str)> =
        files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let Some(project) = with_clang(&borrowed) else {
        return;
    };
    assert_eq!((project.units, project.errors), (25, 0), "{:?}", project.failures);
    let found = calls(&project);
    for number in 0..24 {
        let caller = format!("f{number}:4");
        let adds = found.contains(&(caller.clone(), "lib::List::add:8".into()));
        assert_eq!(adds, number != 5, "{caller} in {found:#?}");
        assert!(
            found.contains(&(caller.clone(), "implemented:3".into())),
            "{caller} in {found:#?}"
        );
    }
    let again = with_clang(&borrowed).unwrap();
    assert_eq!(project, again, "the same input gives the same output");
}

#[test]
fn a_missing_libclang_is_an_error_only_where_one_is_named() {
    let written = write(&[("a.cc", "int f() { return 1; }\n")]);
    let named =
        ParseOptions { libclang: Some(Path::new("/nowhere/libclang.so").into()), ..options() };
    let error = run(written.input.clone(), &named).unwrap_err();
    assert!(matches!(error, IndexError::Libclang { .. }));
    assert!(error.to_string().contains("/nowhere/libclang.so"));
    let embedded = ParseOptions { parser: ParserChoice::TreeSitter, ..named };
    let parsed = run(written.input, &embedded).unwrap();
    assert_eq!(parsed.project.parser, Parser::TreeSitter);
    assert!(parsed.notices.is_empty());
    assert!(Notice::LibclangMissing.to_string().contains("apt install libclang1-14"));
}
