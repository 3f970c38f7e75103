//! `kiln corpus index`: documents that have definitions after what they use.

use std::fs;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use kiln_corpus::{
    DEFAULT_MAX_DEP_DEPTH, DEFAULT_MAX_REPEAT, DEFAULT_MAX_TOKENS, IndexOptions, IndexSummary,
    IndexedProject, SkippedFiles, index_projects,
};
use kiln_tokenizer::Tokenizer;

use super::files::{SHOWN_EXAMPLES, list_names, write_not_looked_at};
use super::parser::ParserArgs;
use super::source_args::{FilterArgs, OutputArgs};
use crate::args::{TableFormat, parse_share};
use crate::interrupt;
use crate::location::{Located, Paths};
use crate::output::{Align, Console, Table, bytes, count, printable};

/// So many projects are shown one by one; `--json` has them all.
const SHOWN_PROJECTS: usize = 40;

/// Write documents that have definitions after what they use
///
/// Parses every project, resolves who calls whom across files, and writes JSONL documents bottom-up: the preamble
/// of a file (includes, usings, macros), the definitions that its roots call, transitively and those called first,
/// then the roots, which nothing else calls. Everything in a document is a piece of a source, and every definition
/// is in some document. The same input gives the same bytes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln corpus index ~/src/leveldb --out documents --tokenizer tokenizer
  kiln corpus index ~/src --projects-dir --out documents --validation-share 0.05
  kiln corpus index --projects-list projects.txt --out documents --append --parser tree-sitter")]
pub struct IndexArgs {
    /// Source folders, each one project
    #[arg(value_name = "SRC", required_unless_present = "projects_list")]
    sources: Vec<PathBuf>,
    /// Make a project of every first-level folder of a SRC
    #[arg(long)]
    projects_dir: bool,
    /// Also index the project folders that FILE names, one a line; `#` begins a comment
    #[arg(long, value_name = "FILE")]
    projects_list: Option<PathBuf>,
    #[command(flatten)]
    parser: ParserArgs,
    /// Count tokens with this tokenizer [default: every four bytes are one]
    #[arg(long, value_name = "DIR")]
    tokenizer: Option<PathBuf>,
    /// Tokens in a document, at most
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_TOKENS)]
    max_tokens: usize,
    /// Calls between a root and what its document brings along, at most
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_DEP_DEPTH)]
    max_dep_depth: u32,
    /// Documents that a definition is brought along into, at most; more make more copies
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_REPEAT)]
    max_repeat: u32,
    /// Write one document for each root instead of one for neighbouring roots of a file
    #[arg(long)]
    separate_roots: bool,
    #[command(flatten)]
    filter: FilterArgs,
    /// Share of the source files to hold out for validation, chosen by their content as `files` does
    #[arg(long, value_name = "X", value_parser = parse_share, default_value_t = 0.0)]
    validation_share: f64,
    #[command(flatten)]
    output: OutputArgs,
    /// Add projects to the finished documents in DIR; those that are there already stay as they are
    #[arg(long, conflicts_with = "overwrite")]
    append: bool,
    #[command(flatten)]
    format: TableFormat,
}

impl Located for IndexArgs {
    fn locate(&mut self, paths: &mut Paths<'_>) -> anyhow::Result<()> {
        paths.sources(&mut self.sources)?;
        paths.source_list(&mut self.projects_list)?;
        paths.inputs(&mut self.tokenizer)?;
        paths.inputs(&mut self.parser.compile_commands)?;
        if self.append {
            return paths.growing_folder_out(&mut self.output.out);
        }
        paths.folder_out(&mut self.output.out)
    }
}

/// Writes the documents and tells what was found.
pub fn run(args: IndexArgs, console: &Console) -> anyhow::Result<()> {
    let json = args.format.json;
    let tokenizer = args.tokenizer.as_deref().map(load_tokenizer).transpose()?;
    let options = args.into_options()?;
    let encoded = |text: &str| {
        tokenizer.as_ref().map_or(0, |tokenizer| tokenizer.encode_ordinary(text.as_bytes()).len())
    };
    let count_tokens = tokenizer.is_some().then_some(&encoded as &(dyn Fn(&str) -> usize + Sync));

    let graceful = interrupt::claim();
    let progress = console.progress_bytes("indexing", 0);
    let indexed = index_projects(&options, count_tokens, &|done| {
        progress.set(done.bytes, done.total_bytes);
        if graceful.requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    drop(progress);
    let summary = indexed?;
    summary.notices.iter().for_each(|notice| console.note(printable(notice)));
    for project in &summary.failed_projects {
        let line = format!("{}: {}", project.name, project.reason);
        console.warn(printable(&line));
    }
    console.summary(json, &summary, |out| {
        write_summary(&summary, out)?;
        let names: Vec<_> = summary.files.iter().map(|file| file.name.as_str()).collect();
        writeln!(out, "\n{} holds {}", options.output.out.display(), list_names(&names))
    })
}

fn load_tokenizer(folder: &Path) -> anyhow::Result<Tokenizer> {
    Tokenizer::load(folder).context("cannot load the tokenizer")
}

impl IndexArgs {
    fn into_options(self) -> anyhow::Result<IndexOptions> {
        let mut options = IndexOptions::new(self.sources, &self.output.out);
        options.output = self.output.into_options();
        if let Some(list) = &self.projects_list {
            options.projects = read_list(list)?;
        }
        options.filter = self.filter.into_filter();
        options.projects_dir = self.projects_dir;
        options.parse = self.parser.into_options();
        options.max_tokens = self.max_tokens;
        options.max_dep_depth = self.max_dep_depth;
        options.max_repeat = self.max_repeat;
        options.separate_roots = self.separate_roots;
        options.validation_share = self.validation_share;
        options.append = self.append;
        Ok(options)
    }
}

/// The folders that a file names, one a line. Relative ones are relative to the current folder, as on the command
/// line.
fn read_list(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines = text.lines().map(str::trim);
    Ok(lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(PathBuf::from).collect())
}

fn write_summary(summary: &IndexSummary, out: &mut impl Write) -> io::Result<()> {
    projects_table(summary).write(out)?;
    let totals = &summary.totals;
    writeln!(
        out,
        "\n{} classes; {:.2} bytes of documents for each byte of source",
        count(totals.classes),
        totals.text_bytes as f64 / totals.source_bytes.max(1) as f64
    )?;
    writeln!(
        out,
        "{} of {} units have errors, {} in all",
        count(totals.units_with_errors),
        count(totals.units),
        count(totals.errors)
    )?;
    if summary.validation_documents > 0 {
        let (documents, size) = (summary.validation_documents, summary.validation_text_bytes);
        writeln!(out, "held out: {} documents, {}", count(documents), bytes(size))?;
    }
    if !summary.kept_projects.is_empty() {
        let names: Vec<_> = summary.kept_projects.iter().map(String::as_str).collect();
        writeln!(out, "there already, left as they are: {}", list_names(&names))?;
    }
    let failures = summary.failures.iter().map(|(cause, files)| (cause.as_str(), files));
    write_examples("Failed", failures.collect(), out)?;
    let skipped = summary.skipped.iter().map(|(cause, files)| (cause.describe(), files));
    write_examples("Skipped", skipped.collect(), out)?;
    write_not_looked_at(summary.other_files, summary.skipped_folders, out)
}

fn projects_table(summary: &IndexSummary) -> Table {
    use Align::{Left, Right};
    let mut table =
        Table::new(&[Left, Left, Left, Right, Right, Right, Right, Right, Right, Right]);
    table.row([
        "Project",
        "Licence",
        "Parser",
        "Files",
        "Functions",
        "Edges",
        "Levels",
        "Documents",
        "Bytes",
        "Tokens",
    ]);
    let cells = |totals: &kiln_corpus::IndexTotals| {
        [
            count(totals.source_files),
            count(totals.functions),
            count(totals.edges),
            count(totals.levels),
            count(totals.documents),
            bytes(totals.text_bytes),
            count(totals.tokens),
        ]
    };
    for project in summary.projects.iter().take(SHOWN_PROJECTS) {
        let licence = project.licence.as_deref().unwrap_or("-");
        let [a, b, c, d, e, f, g] = cells(&project.totals);
        table.row([&project.name, licence, parser(project), &a, &b, &c, &d, &e, &f, &g]);
    }
    if let Some(more) = summary.projects.len().checked_sub(SHOWN_PROJECTS).filter(|n| *n > 0) {
        let more = format!("... {} more", count(more as u64));
        table.row([more.as_str(), "", "", "", "", "", "", "", "", ""]);
    }
    let [a, b, c, d, e, f, g] = cells(&summary.totals);
    table.row(["total", "", "", &a, &b, &c, &d, &e, &f, &g]);
    table
}

fn parser(project: &IndexedProject) -> &'static str {
    match project.parser {
        kiln_index::Parser::TreeSitter => "tree-sitter",
        kiln_index::Parser::Clang => "clang",
    }
}

fn write_examples(
    title: &str,
    causes: Vec<(&str, &SkippedFiles)>,
    out: &mut impl Write,
) -> io::Result<()> {
    if causes.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&[Align::Left, Align::Right, Align::Left]);
    table.row([title, "Files", "Examples"]);
    for (cause, skipped) in causes {
        let (mut what, mut files) = (cause, count(skipped.count));
        for file in skipped.files.iter().take(SHOWN_EXAMPLES) {
            let detail = if file.detail.is_empty() { "" } else { ": " };
            table.row([what, &files, &format!("{}{detail}{}", file.path, file.detail)]);
            (what, files) = ("", String::new());
        }
    }
    writeln!(out)?;
    table.write(out)
}
