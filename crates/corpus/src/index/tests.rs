//! What must hold of the documents of any project.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use kiln_index::{DefinitionId, Project};
use proptest::prelude::*;

use super::compose::{Composer, Document};
use super::plan::{self, Limits, Plan, Scene};
use super::units::{Longest, Units};
use crate::graph::{Condensation, Graph};
use crate::test_project::Builder;

/// A token for every two bytes and one for every line, so that texts joined have other counts than their parts.
fn count(text: &str) -> usize {
    text.len().div_ceil(2) + text.lines().count()
}

struct Arranged {
    units: Units,
    graph: Graph,
    condensation: Condensation,
    plans: Vec<Plan>,
    documents: Vec<Document>,
}

fn limits(tokens: usize) -> Limits {
    Limits { tokens, depth: 5, repeat: 2, separate: false }
}

fn arrange(project: &Project, limits: Limits) -> Arranged {
    let longest = Longest { intro: limits.tokens / 4, gap: limits.tokens / 8 };
    let units = Units::of(project, longest, &count);
    let graph = units.graph(project, |_, _| true);
    let condensation = Condensation::of(&graph);
    let composer = Composer { project, units: &units, max_tokens: limits.tokens, count: &count };
    let scene = Scene {
        limits,
        graph: &graph,
        condensation: &condensation,
        costs: &composer.costs(),
        file_of: &units.list.iter().map(|unit| unit.file).collect::<Vec<_>>(),
        has_preamble: &units.list.iter().map(|unit| unit.has_preamble).collect::<Vec<_>>(),
    };
    let plans = plan::plan(&scene);
    let documents = composer.documents(plans.clone());
    Arranged { units, graph, condensation, plans, documents }
}

fn texts(project: &Project, limits: Limits) -> Vec<String> {
    arrange(project, limits).documents.into_iter().map(|document| document.text).collect()
}

/// What a file is made of, line by line. Lines have numbers, so none is like another.
#[derive(Debug, Clone)]
enum Item {
    Function { lines: usize, documented: bool },
    Class { lines: usize },
    Member { lines: usize },
    Text { lines: usize },
    Macro,
    Blank,
}

fn item() -> impl Strategy<Value = Item> {
    prop_oneof![
        4 => (1usize..9, any::<bool>())
            .prop_map(|(lines, documented)| Item::Function { lines, documented }),
        1 => (0usize..5).prop_map(|lines| Item::Class { lines }),
        2 => (1usize..6).prop_map(|lines| Item::Member { lines }),
        2 => (1usize..12).prop_map(|lines| Item::Text { lines }),
        1 => Just(Item::Macro),
        1 => Just(Item::Blank),
    ]
}

fn projects() -> impl Strategy<Value = Project> {
    let file = (0usize..4, proptest::collection::vec(item(), 0..10));
    let files = proptest::collection::vec(file, 1..5);
    let calls = proptest::collection::vec((any::<u16>(), any::<u16>()), 0..60);
    (files, calls).prop_map(|(files, calls)| build(&files, &calls))
}

fn build(files: &[(usize, Vec<Item>)], calls: &[(u16, u16)]) -> Project {
    let mut project = Builder::new();
    let mut number = 0;
    let mut line = |what: &str| {
        number += 1;
        format!("{what} {number};\n")
    };
    let mut functions: Vec<DefinitionId> = Vec::new();
    let mut class = None;
    for (at, (includes, items)) in files.iter().enumerate() {
        let preamble: String = (0..*includes).map(|_| line("#include")).collect();
        let file = project.file(&format!("{at}.cc"), &preamble);
        for item in items {
            let name = format!("f{}", functions.len());
            let mut body = |lines: usize| -> String {
                let inner: String = (0..lines).map(|_| line("  step")).collect();
                format!("{}{inner}}} // end of {}", line("void f() {"), line("it"))
            };
            match item {
                Item::Function { lines, documented: false } => {
                    functions.push(project.function(file, &name, &body(*lines)));
                }
                Item::Function { lines, documented: true } => {
                    let text = body(*lines);
                    functions.push(project.documented(file, &line("// doc"), &name, &text));
                }
                Item::Class { lines } => {
                    let inline = format!("  void g() {{}} // {}", line("inline"));
                    let inner: String = (0..*lines).map(|_| line("  int x")).collect();
                    let text = format!("{}{inner}{inline}}};\n", line("class C {"));
                    let outer = project.class(file, &name, &text);
                    functions.push(project.inner(outer, &name, &inline));
                    class = Some(outer);
                }
                Item::Member { lines } => {
                    let text = body(*lines);
                    functions.push(match class {
                        Some(class) => project.member(file, class, &name, &text),
                        None => project.function(file, &name, &text),
                    });
                }
                Item::Text { lines } => {
                    let text: String = (0..*lines).map(|_| line("int global")).collect();
                    project.text(file, &text);
                }
                Item::Macro => {
                    project.preamble(file, &line("#define X"));
                }
                Item::Blank => {
                    project.text(file, "\n  \n");
                }
            }
        }
    }
    for (caller, callee) in calls {
        if !functions.is_empty() {
            let pick = |at: u16| functions[usize::from(at) % functions.len()];
            project.call(pick(*caller), pick(*callee));
        }
    }
    project.finish()
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim().is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn documents_have_all_lines_and_no_others(project in projects(), tokens in 64usize..900) {
        let sources: HashSet<&str> =
            project.files.iter().flat_map(|file| lines(&file.text)).collect();
        let documents = texts(&project, limits(tokens));
        let written: HashSet<&str> = documents.iter().flat_map(|text| lines(text)).collect();
        prop_assert_eq!(written, sources);
    }

    #[test]
    fn pieces_keep_the_order_of_their_file(project in projects(), tokens in 64usize..900) {
        for text in texts(&project, limits(tokens)) {
            for block in text.split("\n\n") {
                let block = block.trim_matches('\n');
                let found = project.files.iter().any(|file| file.text.contains(block));
                prop_assert!(found, "{block:?} is no piece of a source");
            }
        }
    }

    #[test]
    fn no_document_has_more_tokens_than_allowed(project in projects(), tokens in 64usize..900) {
        for document in arrange(&project, limits(tokens)).documents {
            prop_assert_eq!(document.tokens, count(&document.text));
            prop_assert!(document.tokens <= tokens);
            prop_assert!(!document.text.trim().is_empty());
        }
    }

    #[test]
    fn used_units_come_first_and_near_enough(project in projects(), depth in 0u32..4) {
        let arranged = arrange(&project, Limits { depth, ..limits(900) });
        for plan in &arranged.plans {
            let place: BTreeMap<_, _> =
                plan.parts.iter().enumerate().map(|(at, part)| (part.unit, at)).collect();
            prop_assert_eq!(place.len(), plan.parts.len());
            for part in &plan.parts {
                prop_assert!(part.distance <= depth);
                for used in arranged.graph.targets(part.unit) {
                    let component = |unit: u32| arranged.condensation.component_of[unit as usize];
                    let Some(at) = place.get(used) else { continue };
                    if component(*used) != component(part.unit) {
                        prop_assert!(*at < place[&part.unit]);
                    }
                }
            }
        }
    }

    #[test]
    fn units_are_repeated_as_often_as_allowed(project in projects(), repeat in 0u32..4) {
        let arranged = arrange(&project, Limits { repeat, ..limits(900) });
        let mut seen = vec![0; arranged.units.list.len()];
        let parts = || arranged.plans.iter().flat_map(|plan| &plan.parts);
        parts().for_each(|part| seen[part.unit as usize] += 1);
        prop_assert!(seen.iter().all(|times| (1..=repeat.max(1)).contains(times)), "{seen:?}");
        prop_assert_eq!(parts().filter(|part| part.first).count(), seen.len());
    }

    #[test]
    fn the_number_of_threads_changes_nothing(project in projects(), tokens in 64usize..900) {
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| arrange(&project, limits(tokens)).documents)
        };
        prop_assert_eq!(on(1), on(4));
    }
}

#[test]
fn callees_come_before_callers_across_files() {
    let mut project = Builder::new();
    let a = project.file("a.cc", "#include \"b.h\"\n");
    let b = project.file("b.cc", "#include <map>\n");
    let main = project.function(a, "main", "int main() { one(); }\n");
    let one = project.function(b, "one", "void one() { two(); }\n");
    let two = project.function(b, "two", "void two() {}\n");
    project.call(main, one).call(one, two);
    let documents = texts(&project.finish(), limits(1000));
    let expected = "#include \"b.h\"\n\n#include <map>\n\nvoid two() {}\n\nvoid one() { two(); }\n\n\
                    int main() { one(); }\n";
    assert_eq!(documents, [expected]);
}

#[test]
fn the_farthest_go_first_and_get_a_document_of_their_own() {
    let mut project = Builder::new();
    let file = project.file("a.cc", "");
    let body = "x".repeat(60);
    let functions: Vec<_> = (0..4)
        .map(|at| project.function(file, &format!("f{at}"), &format!("void f{at}() {{{body}}}\n")))
        .collect();
    functions.windows(2).for_each(|pair| {
        project.call(pair[0], pair[1]);
    });
    let documents = texts(&project.finish(), limits(130));
    let with = |text: &String| (0..4).filter(|at| text.contains(&format!("f{at}("))).collect();
    let found: Vec<Vec<usize>> = documents.iter().map(with).collect();
    assert_eq!(found, [vec![0, 1, 2], vec![3]]);
}

#[test]
fn a_long_definition_is_cut_and_its_preamble_stays() {
    let mut project = Builder::new();
    let file = project.file("a.cc", "#include <a>\n#include <b>\n");
    let steps: String = (0..40).map(|at| format!("  step({at});\n")).collect();
    project.function(file, "f", &format!("void f() {{\n{steps}}}\n"));
    let project = project.finish();
    let documents = texts(&project, limits(128));
    assert!(documents.len() > 3);
    let bodies = documents.iter().filter(|text| text.contains("step"));
    let bodies: Vec<_> = bodies.map(|text| text.split_once("<b>\n\n").unwrap().1).collect();
    assert_eq!(format!("#include <a>\n#include <b>\n{}", bodies.concat()), project.files[0].text);
}

#[test]
fn every_piece_of_a_long_file_without_definitions_has_its_includes() {
    let mut project = Builder::new();
    let includes = "#include <a>\n#include <b>\n";
    let file = project.file("a.cc", includes);
    let rows: String = (0..80).map(|at| format!("ROW({at})\n")).collect();
    project.text(file, &rows);
    let project = project.finish();
    let documents = texts(&project, limits(128));
    assert!(documents.len() > 3);
    let rest = documents[1..].iter().map(|text| text.split_once("<b>\n\n").unwrap());
    let rest: Vec<_> =
        rest.inspect(|(head, _)| assert_eq!(*head, "#include <a>\n#include ")).collect();
    let bodies: String = rest.iter().map(|(_, body)| *body).collect();
    assert_eq!(format!("{}{bodies}", documents[0]), project.files[0].text);
}

#[test]
fn the_tail_of_the_preamble_goes_when_the_root_needs_its_room() {
    let mut project = Builder::new();
    let file = project.file("a.cc", "#include <a>\n#include <b>\n");
    project.function(file, "f", &format!("void f() {{ {} }}\n", "x".repeat(180)));
    let documents = texts(&project.finish(), limits(108));
    assert_eq!(documents[0], "#include <a>\n#include <b>\n");
    assert!(documents[1].starts_with("#include <a>\n\nvoid f()"), "{documents:?}");
    assert_eq!(documents.len(), 2);
}

#[test]
fn cycles_and_deep_chains_have_an_end() {
    let mut project = Builder::new();
    let file = project.file("a.cc", "#include <a>\n");
    let nodes = 20_000;
    let functions: Vec<_> =
        (0..nodes).map(|at| project.function(file, &format!("f{at}"), "void f() {}\n")).collect();
    for at in 1..nodes {
        project.call(functions[at - 1], functions[at]);
        project.call(functions[at], functions[at - at % 7]);
    }
    let project = project.finish();
    let arranged = arrange(&project, limits(400));
    let seen: HashSet<_> =
        arranged.plans.iter().flat_map(|plan| &plan.parts).map(|part| part.unit).collect();
    assert_eq!(seen.len(), nodes);
}

#[test]
fn a_class_comes_before_its_members_though_it_calls_them() {
    let mut project = Builder::new();
    let header = project.file("a.h", "#pragma once\n");
    let source = project.file("b.cc", "#include \"a.h\"\n");
    let class = project.class(header, "C", "struct C { void f() { g(); } void g(); };\n");
    let inline = project.inner(class, "C::f", "void f() { g(); }");
    let outside = project.member(source, class, "C::g", "void C::g() {}\n");
    project.call(inline, outside);
    let documents = texts(&project.finish(), limits(1000));
    assert_eq!(documents.len(), 1);
    assert!(documents[0].find("struct C") < documents[0].find("void C::g() {}"));
}

#[test]
fn files_without_definitions_come_out_whole() {
    let mut project = Builder::new();
    let file = project.file("table.inc", "#define A 1\n");
    project.text(file, "// The table.\n{1, 2},\n{3, 4},\n").preamble(file, "#undef A\n");
    let project = project.finish();
    assert_eq!(texts(&project, limits(1000)), [project.files[0].text.clone()]);
}

#[test]
fn ranges_that_a_parser_got_wrong_are_borne() {
    let mut project = Builder::new();
    let file = project.file("a.cc", "#include <a>\n");
    project.function(file, "f", "void f() { /* ü */ }\n");
    project.function(file, "g", "void g() {}\n");
    let mut project = project.finish();
    let end = project.files[0].text.len();
    let odd = project.files[0].text.find('ü').unwrap() + 1;
    project.definitions[0].extent = odd..end + 100;
    project.definitions[1].extent = Range { start: 9, end: 3 };
    project.files[0].preamble = vec![5..900, 0..odd];
    let documents = texts(&project, limits(1000));
    let written: HashSet<&str> = documents.iter().flat_map(|text| lines(text)).collect();
    assert!(written.contains("void g() {}"), "{documents:?}");
}

#[test]
fn what_shares_the_lines_of_a_definition_stays_with_it() {
    let mut project = Builder::new();
    let file = project.file("a.c", "#include <a>\n");
    project.text(file, "extern \"C\" ");
    project.function(file, "f", "int f() {}");
    project.text(file, " int g;\ntypedef ");
    project.class(file, "E", "enum {A, B}");
    project.text(file, " E;\n");
    let project = project.finish();
    assert_eq!(texts(&project, limits(1000)), [project.files[0].text.clone()]);
}
