//! `kiln corpus graph`: who calls whom.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use kiln_corpus::{CallGraph, GraphFunction, GraphOptions, call_graph};

use super::parser::ParserArgs;
use super::source_args::FilterArgs;
use crate::error::Advised;
use crate::interrupt;
use crate::location::{Located, Paths};
use crate::output::{self, Console, count, printable};

/// Show which functions call which
///
/// Parses a project and prints its call graph, or the callers and callees of the functions of one name.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln corpus graph ~/src/leveldb --function DBImpl::Get
  kiln corpus graph ~/src/leveldb --function leveldb::Crc32c --dot | dot -Tsvg > callers.svg
  kiln corpus graph ~/src/leveldb --format json --out calls.json")]
pub struct GraphArgs {
    /// The project's folder
    #[arg(value_name = "SRC")]
    source: PathBuf,
    /// Only functions of this name, their callers and callees; scopes may be left out: `Slice::compare`
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// How to write the graph
    #[arg(long, value_enum, default_value_t = GraphFormat::Text, conflicts_with = "dot")]
    format: GraphFormat,
    /// The same as --format dot
    #[arg(long)]
    dot: bool,
    /// File to write instead of standard output; an existing one is replaced
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    parser: ParserArgs,
    #[command(flatten)]
    filter: FilterArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GraphFormat {
    /// Every function with its place, callers and callees
    Text,
    /// Lists of functions and of edges between their ids
    Json,
    /// For Graphviz
    Dot,
}

impl Located for GraphArgs {
    fn locate(&mut self, paths: &mut Paths<'_>) -> anyhow::Result<()> {
        paths.sources([&mut self.source])?;
        paths.inputs(&mut self.parser.compile_commands)?;
        self.out.iter_mut().try_for_each(|out| paths.file_out(out))
    }
}

/// Writes the graph.
pub fn run(args: GraphArgs, console: &Console) -> anyhow::Result<()> {
    let mut options = GraphOptions::new(&args.source);
    options.filter = args.filter.into_filter();
    options.parse = args.parser.into_options();

    let graceful = interrupt::claim();
    let progress = console.progress_count("parsing", 0);
    let graph = call_graph(&options, &|done, total| {
        progress.set(done, total);
        if graceful.requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    drop((progress, graceful));
    let graph = graph?;
    graph.notices.iter().for_each(|notice| console.note(printable(&notice.to_string())));
    graph.problems.iter().for_each(|problem| console.warn(printable(problem)));

    let of = args.function.as_deref().map(|name| find(&graph, name, &args.source)).transpose()?;
    let format = if args.dot { GraphFormat::Dot } else { args.format };
    let (functions, edges) = (graph.functions.len() as u64, graph.edges() as u64);
    console.note(format_args!("{} functions, {} edges", count(functions), count(edges)));
    match &args.out {
        Some(path) => to_file(&graph, format, of.as_deref(), path)?,
        None => output::print(|out| write(&graph, format, of.as_deref(), out))?,
    }
    Ok(())
}

fn find(graph: &CallGraph, name: &str, source: &Path) -> anyhow::Result<Vec<u32>> {
    let found: Vec<u32> = graph.find(name).iter().map(|function| function.id).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let message = format!("no function `{name}` with a body below {}", source.display());
    let near = graph.suggest(name);
    Err(if near.is_empty() {
        anyhow::anyhow!(message)
    } else {
        Advised::new(message, format!("there is {}", near.join(", "))).into()
    })
}

fn to_file(
    graph: &CallGraph,
    format: GraphFormat,
    of: Option<&[u32]>,
    path: &Path,
) -> anyhow::Result<()> {
    let write_all = || {
        let mut out = BufWriter::new(File::create(path)?);
        write(graph, format, of, &mut out)?;
        out.flush()
    };
    write_all().with_context(|| format!("cannot write {}", path.display()))
}

fn write(
    graph: &CallGraph,
    format: GraphFormat,
    of: Option<&[u32]>,
    out: &mut impl Write,
) -> io::Result<()> {
    match format {
        GraphFormat::Json => graph.write_json(of, out),
        GraphFormat::Dot => graph.write_dot(of, out),
        GraphFormat::Text => {
            let all = || graph.functions.iter().map(|function| function.id).collect();
            let ids: Vec<u32> = of.map_or_else(all, <[u32]>::to_vec);
            for (at, id) in ids.into_iter().enumerate() {
                if at > 0 {
                    writeln!(out)?;
                }
                write_function(graph, id, out)?;
            }
            Ok(())
        }
    }
}

fn write_function(graph: &CallGraph, id: u32, out: &mut impl Write) -> io::Result<()> {
    let place = |function: &GraphFunction| {
        let GraphFunction { qualified_name, file, line, .. } = function;
        printable(&format!("{qualified_name}  {file}:{line}")).into_owned()
    };
    writeln!(out, "{}", place(&graph.functions[id as usize]))?;
    for caller in graph.callers(id) {
        writeln!(out, "  called by {}", place(caller))?;
    }
    for callee in graph.callees(id) {
        writeln!(out, "  calls {}", place(callee))?;
    }
    Ok(())
}
