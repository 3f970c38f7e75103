//! Who calls whom in one project, to be looked at.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use kiln_index::{InputFile, Notice, ParseOptions, Parser, Progress, Project, ProjectInput};
use rayon::prelude::*;
use serde::Serialize;

use crate::document;
use crate::error::CorpusError;
use crate::graph::Graph;
use crate::options::SourceFilter;
use crate::projects::{self, Projects};
use crate::summary::FilesSummary;
use crate::walk;

/// So many names are suggested for one that is not found.
const SUGGESTIONS: usize = 5;

/// Options of [`call_graph`].
#[derive(Debug, Clone)]
pub struct GraphOptions {
    /// The project's folder.
    pub source: PathBuf,
    /// How to parse.
    pub parse: ParseOptions,
    /// Which files are read.
    pub filter: SourceFilter,
}

impl GraphOptions {
    /// The defaults for a folder.
    pub fn new(source: impl Into<PathBuf>) -> Self {
        Self {
            source: source.into(),
            parse: ParseOptions::default(),
            filter: SourceFilter::default(),
        }
    }
}

/// A function with a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GraphFunction {
    /// Its place in the list of functions.
    pub id: u32,
    /// With namespaces and classes, without template arguments.
    pub qualified_name: String,
    /// Path below the project's folder, with `/`.
    pub file: String,
    /// The line of its name, from 1.
    pub line: u32,
}

/// The functions of a project, by file and place, and their calls.
#[derive(Debug)]
pub struct CallGraph {
    /// Everything with a body that runs.
    pub functions: Vec<GraphFunction>,
    /// Which parser found them.
    pub parser: Parser,
    /// What the parser had to say.
    pub notices: Vec<Notice>,
    /// Files that could not be read or parsed: which and why.
    pub problems: Vec<String>,
    calls: Graph,
    called_by: Graph,
}

/// Parses one project. `progress` is called from many threads with the units that are parsed and all there are;
/// `Break` ends with [`CorpusError::Cancelled`].
///
/// # Errors
///
/// A folder that is missing or holds no source file that can be used; a project that cannot be parsed.
pub fn call_graph(
    options: &GraphOptions,
    progress: &(dyn Fn(u64, u64) -> ControlFlow<()> + Sync),
) -> Result<CallGraph, CorpusError> {
    let (input, listing) = read(options)?;
    let cancelled = AtomicBool::new(false);
    let tell = |done: Progress| {
        let flow = progress(done.done, done.total);
        if flow.is_break() {
            cancelled.store(true, Ordering::Relaxed);
        }
        flow
    };
    let parsed = kiln_index::parse(input, &options.parse, &tell).map_err(|source| {
        CorpusError::Parse { project: options.source.display().to_string(), source }
    })?;
    if cancelled.load(Ordering::Relaxed) {
        return Err(CorpusError::Cancelled);
    }
    let mut graph = CallGraph::of(&parsed.project);
    graph.notices = parsed.notices;
    if !listing.skipped.is_empty() {
        graph.problems.push(listing.describe_skipped());
    }
    let failures = parsed.project.failures.iter();
    graph.problems.extend(failures.map(|failure| format!("{}: {}", failure.file, failure.detail)));
    Ok(graph)
}

fn read(options: &GraphOptions) -> Result<(ProjectInput, FilesSummary), CorpusError> {
    let paths = vec![options.source.clone()];
    let sources = projects::resolve(&paths, false)?;
    let mut listing = FilesSummary::default();
    let files = walk::list(&options.filter.skip, &sources, &mut Projects::default(), &mut listing);
    let texts: Vec<_> = (files.par_iter())
        .map(|file| document::read_text(&file.path, options.filter.max_file_bytes))
        .collect();
    let mut input = ProjectInput { root: sources[0].root.clone(), files: Vec::new() };
    for (file, text) in files.into_iter().zip(texts) {
        match text {
            Ok(text) => input.files.push(InputFile { name: file.file, text }),
            Err((cause, detail)) => listing.skip(cause, file.file, detail),
        }
    }
    match (input.files.is_empty(), listing.skipped.is_empty()) {
        (false, _) => Ok((input, listing)),
        (true, true) => Err(CorpusError::NoSourceFiles { paths }),
        (true, false) => Err(CorpusError::NothingUsable { paths, summary: Box::new(listing) }),
    }
}

impl CallGraph {
    /// The functions and calls of a parsed project.
    pub fn of(project: &Project) -> Self {
        let mut numbers = vec![u32::MAX; project.definitions.len()];
        let mut functions = Vec::new();
        for (at, definition) in project.definitions.iter().enumerate() {
            if !definition.kind.is_function() {
                continue;
            }
            let id = functions.len() as u32;
            numbers[at] = id;
            functions.push(GraphFunction {
                id,
                qualified_name: definition.qualified_name.clone(),
                file: project.files[definition.file as usize].name.clone(),
                line: definition.line,
            });
        }
        let number = |id: u32| numbers.get(id as usize).copied().unwrap_or(u32::MAX);
        let edges = project.calls.iter().map(|&(a, b)| (number(a), number(b))).collect();
        let calls = Graph::new(functions.len(), edges);
        Self {
            functions,
            parser: project.parser,
            notices: Vec::new(),
            problems: Vec::new(),
            called_by: calls.reversed(),
            calls,
        }
    }

    /// Number of distinct pairs of caller and callee.
    pub fn edges(&self) -> usize {
        self.calls.edges()
    }

    /// Whom a function calls, by file and place.
    pub fn callees(&self, id: u32) -> impl Iterator<Item = &GraphFunction> {
        self.calls.targets(id).iter().map(|&callee| &self.functions[callee as usize])
    }

    /// Who calls a function, by file and place.
    pub fn callers(&self, id: u32) -> impl Iterator<Item = &GraphFunction> {
        self.called_by.targets(id).iter().map(|&caller| &self.functions[caller as usize])
    }

    /// The functions of this qualified name, or else those whose name ends with it after `::`.
    pub fn find(&self, name: &str) -> Vec<&GraphFunction> {
        let name = name.trim().trim_start_matches("::");
        let name = name.strip_suffix("()").unwrap_or(name);
        let with = |fits: &dyn Fn(&str) -> bool| -> Vec<&GraphFunction> {
            self.functions.iter().filter(|function| fits(&function.qualified_name)).collect()
        };
        let exact = with(&|qualified| qualified == name);
        if !exact.is_empty() || name.is_empty() {
            return exact;
        }
        with(&|qualified| qualified.strip_suffix(name).is_some_and(|scope| scope.ends_with("::")))
    }

    /// Names that someone who wrote `name` may have meant, the likeliest first.
    pub fn suggest(&self, name: &str) -> Vec<&str> {
        let wanted = last_part(name).to_lowercase();
        let mut names: Vec<&str> =
            self.functions.iter().map(|function| function.qualified_name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let mut near: Vec<(usize, &str)> = names
            .into_iter()
            .filter_map(|qualified| {
                let other = last_part(qualified).to_lowercase();
                let inside = wanted.len() > 2 && other.contains(&wanted);
                let distance = edit_distance(&wanted, &other);
                let close = distance <= 1 + wanted.len() / 4;
                (inside || close).then_some((distance, qualified))
            })
            .collect();
        near.sort_unstable();
        near.into_iter().take(SUGGESTIONS).map(|(_, name)| name).collect()
    }

    /// Writes `{"functions": [{"id", "qualified_name", "file", "line"}], "edges": [[caller, callee]]}`: everything,
    /// or these functions, their callers and their callees.
    ///
    /// # Errors
    ///
    /// When writing fails.
    pub fn write_json(&self, of: Option<&[u32]>, out: &mut impl Write) -> io::Result<()> {
        let shown = self.shown(of);
        out.write_all(b"{\"functions\": [")?;
        let functions = self.functions.iter().filter(|function| shown[function.id as usize]);
        for (at, function) in functions.enumerate() {
            out.write_all(if at == 0 { b"\n" } else { b",\n" })?;
            serde_json::to_writer(&mut *out, function)?;
        }
        out.write_all(b"\n], \"edges\": [")?;
        for (at, (caller, callee)) in self.edges_of(of).enumerate() {
            out.write_all(if at == 0 { b"\n" } else { b",\n" })?;
            write!(out, "[{caller}, {callee}]")?;
        }
        out.write_all(b"\n]}\n")
    }

    /// Writes a directed graph for Graphviz: everything, or these functions, their callers and their callees.
    ///
    /// # Errors
    ///
    /// When writing fails.
    pub fn write_dot(&self, of: Option<&[u32]>, out: &mut impl Write) -> io::Result<()> {
        let shown = self.shown(of);
        out.write_all(b"digraph calls {\n  rankdir=LR;\n  node [shape=box];\n")?;
        for function in self.functions.iter().filter(|function| shown[function.id as usize]) {
            let (id, name) = (function.id, quoted(&function.qualified_name));
            let emphasis = if of.is_some_and(|of| of.contains(&id)) { ", style=bold" } else { "" };
            let place = quoted(&format!("{}:{}", function.file, function.line));
            writeln!(out, "  f{id} [label=\"{name}\", tooltip=\"{place}\"{emphasis}];")?;
        }
        for (caller, callee) in self.edges_of(of) {
            writeln!(out, "  f{caller} -> f{callee};")?;
        }
        out.write_all(b"}\n")
    }

    fn shown(&self, of: Option<&[u32]>) -> Vec<bool> {
        let mut shown = vec![of.is_none(); self.functions.len()];
        of.into_iter().flatten().for_each(|id| shown[*id as usize] = true);
        for (caller, callee) in self.edges_of(of) {
            shown[caller as usize] = true;
            shown[callee as usize] = true;
        }
        shown
    }

    fn edges_of(&self, of: Option<&[u32]>) -> impl Iterator<Item = (u32, u32)> {
        let touches = move |id: u32| of.is_none_or(|of| of.contains(&id));
        self.calls.iter().filter(move |&(caller, callee)| touches(caller) || touches(callee))
    }
}

/// For a string between double quotes. A backslash would begin one of Graphviz's own escapes.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " ")
}

fn last_part(name: &str) -> &str {
    let name = name.trim().trim_end_matches("()");
    name.rsplit("::").next().unwrap_or(name)
}

/// Insertions, deletions and changes of characters that make one text of the other.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_project::Builder;

    fn demo() -> CallGraph {
        let mut project = Builder::new();
        let file = project.file("src/a \"b\".cc", "");
        let open = project.function(file, "db::Table::Open", "void Open() {}\n");
        let main = project.function(file, "main", "int main() {}\n");
        let other = project.function(file, "Open", "void Open(int) {}\n");
        let quote = project.function(file, "operator\"\"_x", "int operator\"\"_x() {}\n");
        project.class(file, "db::Table", "class Table {};\n");
        project.call(main, open).call(main, other).call(open, quote).call(main, main);
        CallGraph::of(&project.finish())
    }

    fn names(functions: &[&GraphFunction]) -> Vec<String> {
        functions.iter().map(|function| function.qualified_name.clone()).collect()
    }

    #[test]
    fn names_are_found_whole_or_by_their_end() {
        let graph = demo();
        assert_eq!(names(&graph.find("Open")), ["Open"]);
        assert_eq!(names(&graph.find("Table::Open")), ["db::Table::Open"]);
        assert_eq!(names(&graph.find("::db::Table::Open()")), ["db::Table::Open"]);
        assert!(graph.find("pen").is_empty() && graph.find("").is_empty());
        assert_eq!(graph.suggest("tabel::oepn"), ["Open", "db::Table::Open"]);
        assert_eq!(graph.suggest("mian"), ["main"]);
        assert!(graph.suggest("nothing_like_it").is_empty());
    }

    #[test]
    fn callers_and_callees_are_functions_in_order() {
        let graph = demo();
        let callees: Vec<_> = graph.callees(1).collect();
        assert_eq!(names(&callees), ["db::Table::Open", "main", "Open"]);
        let callers: Vec<_> = graph.callers(3).collect();
        assert_eq!(names(&callers), ["db::Table::Open"]);
        assert_eq!(graph.edges(), 4);
    }

    #[test]
    fn json_has_the_documented_form() {
        let graph = demo();
        let mut out = Vec::new();
        graph.write_json(None, &mut out).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["functions"].as_array().unwrap().len(), 4);
        let open = serde_json::json!(
            {"id": 0, "qualified_name": "db::Table::Open", "file": "src/a \"b\".cc", "line": 1}
        );
        assert_eq!(value["functions"][0], open);
        assert_eq!(value["edges"], serde_json::json!([[0, 3], [1, 0], [1, 1], [1, 2]]));

        let mut out = Vec::new();
        graph.write_json(Some(&[3]), &mut out).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["functions"].as_array().unwrap().len(), 2);
        assert_eq!(value["edges"], serde_json::json!([[0, 3]]));
    }

    #[test]
    fn dot_quotes_what_names_may_hold() {
        let mut out = Vec::new();
        demo().write_dot(None, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(r#"label="operator\"\"_x", tooltip="src/a \"b\".cc:4""#), "{text}");
        assert!(text.contains("  f0 -> f3;\n") && text.ends_with("}\n"));
        assert_eq!(quoted("a\\b\"\n"), "a\\\\b\\\" ");
    }
}
