//! Conditional compilation without a compiler. Every file is walked once, with the macros that its includes leave
//! behind: conditions on what is known are decided, of the rest the likelier branch is read.

use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};

use super::conditions::{self, Environment};
use super::directives::{Directive, DirectiveKind};
use super::includes::{Resolver, operand};
use super::lexer::{Define, Kind, Token, Tokens};
use super::types::{Name, name};

/// Includes within includes that are followed.
const DEEPEST: usize = 100;

/// Decides which tokens of all files count and leaves out the others. Gives for every file the files that it includes.
pub(crate) fn preprocess(names: &[&str], texts: &[&str], tokens: &mut [Tokens]) -> Vec<Vec<u32>> {
    let shared: &[Tokens] = tokens;
    let (wanted, anywhere) = wanted_names(texts, shared);
    let mut walker = Walker {
        texts,
        tokens: shared,
        resolver: Resolver::new(names),
        wanted,
        anywhere,
        states: (0..names.len()).map(|_| State::Untouched).collect(),
        verdicts: (0..names.len()).map(|_| Verdict::default()).collect(),
        depth: 0,
    };
    for file in 0..names.len() as u32 {
        walker.visit(file);
    }
    let verdicts = walker.verdicts;
    tokens
        .par_iter_mut()
        .zip(verdicts)
        .map(|(tokens, verdict)| {
            leave_out(tokens, &verdict.inactive);
            tokens.defines = verdict.defines;
            tokens.directives = Vec::new();
            tokens.match_brackets();
            verdict.includes
        })
        .collect()
}

/// Removes the ranges of tokens.
fn leave_out(tokens: &mut Tokens, ranges: &[(u32, u32)]) {
    if ranges.is_empty() {
        return;
    }
    let mut kept = 0;
    let mut from = 0;
    for &(start, end) in ranges.iter().chain([&(tokens.list.len() as u32, 0)]) {
        tokens.list.copy_within(from..start as usize, kept);
        kept += start as usize - from;
        from = end as usize;
    }
    tokens.list.truncate(kept);
}

/// The names that conditions ask for with those that these stand for, and the names that are defined anywhere.
fn wanted_names(texts: &[&str], tokens: &[Tokens]) -> (FxHashSet<Name>, FxHashSet<Name>) {
    let asked: Vec<Vec<Name>> =
        texts.par_iter().zip(tokens).map(|(text, t)| asked(text, t)).collect();
    let mut wanted: FxHashSet<Name> = FxHashSet::default();
    let mut new: Vec<Name> = Vec::new();
    for list in asked {
        new.extend(list.into_iter().filter(|&name| wanted.insert(name)));
    }
    let mut bodies: FxHashMap<Name, Vec<&str>> = FxHashMap::default();
    for (text, tokens) in texts.iter().zip(tokens) {
        for directive in tokens.directives.iter().filter(|d| d.kind == DirectiveKind::Define) {
            let (defined, body) = definition(directive.operand(text));
            bodies.entry(name(defined)).or_default().push(body);
        }
    }
    let anywhere = bodies.keys().copied().collect();
    while let Some(next) = new.pop() {
        for body in bodies.remove(&next).unwrap_or_default() {
            new.extend(conditions::words(body).map(name).filter(|&name| wanted.insert(name)));
        }
    }
    (wanted, anywhere)
}

/// The names that one file's conditions ask for. An include guard asks for nothing.
fn asked(text: &str, tokens: &Tokens) -> Vec<Name> {
    let mut names = Vec::new();
    for (at, directive) in tokens.directives.iter().enumerate() {
        let operand = directive.operand(text);
        match directive.kind {
            DirectiveKind::Ifndef => {
                let asked = conditions::words(operand).next().unwrap_or("");
                let guard = tokens.directives.get(at + 1).is_some_and(|next| {
                    next.kind == DirectiveKind::Define && definition(next.operand(text)).0 == asked
                });
                if !guard {
                    names.push(name(asked));
                }
            }
            DirectiveKind::If
            | DirectiveKind::Ifdef
            | DirectiveKind::Elif
            | DirectiveKind::Elifdef
            | DirectiveKind::Elifndef => names.extend(conditions::words(operand).map(name)),
            _ => {}
        }
    }
    names
}

/// The name that a `#define` defines, and what follows it.
fn definition(operand: &str) -> (&str, &str) {
    let operand = operand.trim_start();
    let length =
        operand.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(operand.len());
    operand.split_at(length)
}

/// Macros and what follows their names; `None` for those that are undefined.
type Defined<'a> = FxHashMap<Name, Option<&'a str>>;

enum State<'a> {
    Untouched,
    Open,
    Done(Vec<(Name, Option<&'a str>)>),
}

/// What was decided about a file.
#[derive(Debug, Default)]
struct Verdict {
    /// Ranges of tokens that do not count.
    inactive: Vec<(u32, u32)>,
    /// The `#define` lines that count.
    defines: Vec<Define>,
    includes: Vec<u32>,
}

/// An open `#if` group.
struct Group {
    /// Whether the text around it counts.
    outer: bool,
    /// Whether one of its branches has been taken.
    taken: bool,
    /// The name that the text which follows wants undefined, as in `#ifndef NAME`.
    absent: Option<Name>,
}

struct Walker<'a> {
    texts: &'a [&'a str],
    tokens: &'a [Tokens],
    resolver: Resolver<'a>,
    wanted: FxHashSet<Name>,
    /// The names that any file defines.
    anywhere: FxHashSet<Name>,
    states: Vec<State<'a>>,
    verdicts: Vec<Verdict>,
    depth: usize,
}

/// The macros that one file sees at one place.
struct Seen<'w, 'a> {
    defined: &'w Defined<'a>,
    anywhere: &'w FxHashSet<Name>,
    resolver: &'w Resolver<'a>,
    file: u32,
}

impl Environment for Seen<'_, '_> {
    fn definition(&self, wanted: &str) -> Option<Option<&str>> {
        self.defined.get(&name(wanted)).copied()
    }

    fn defines(&self, wanted: &str) -> bool {
        self.anywhere.contains(&name(wanted))
    }

    fn is_c(&self) -> bool {
        self.resolver.names[self.file as usize].ends_with(".c")
    }

    fn has_file(&self, path: &str) -> bool {
        !self.resolver.meant(path, self.file).is_empty()
    }
}

impl<'a> Walker<'a> {
    fn visit(&mut self, file: u32) {
        if !matches!(self.states[file as usize], State::Untouched) || self.depth >= DEEPEST {
            return;
        }
        self.depth += 1;
        self.states[file as usize] = State::Open;
        let (verdict, defined) = self.walk(file);
        self.verdicts[file as usize] = verdict;
        self.states[file as usize] = State::Done(defined.into_iter().collect());
        self.depth -= 1;
    }

    fn walk(&mut self, file: u32) -> (Verdict, Defined<'a>) {
        let text = self.texts[file as usize];
        let directives: &'a [Directive] = &self.tokens[file as usize].directives;
        let tokens = self.tokens[file as usize].list.len() as u32;
        let other = alternatives(directives, &self.tokens[file as usize].list);
        let mut verdict = Verdict::default();
        let mut defined = Defined::default();
        let mut groups: Vec<Group> = Vec::new();
        let mut active = true;
        let mut off_since = 0;
        for (directive, other) in directives.iter().zip(other) {
            let operand = directive.operand(text);
            let was = active;
            match directive.kind {
                DirectiveKind::Define if active => {
                    let (macro_name, rest) = definition(operand);
                    let absent = Some(name(macro_name));
                    let default = groups.iter().any(|group| group.absent == absent);
                    let Directive { start, end, .. } = *directive;
                    verdict.defines.push(Define { start, end, default });
                    self.note(macro_name, Some(rest), &mut defined);
                }
                DirectiveKind::Undef if active => {
                    self.note(definition(operand).0, None, &mut defined)
                }
                DirectiveKind::Include if active => {
                    self.include(file, operand, &mut verdict, &mut defined)
                }
                DirectiveKind::Define | DirectiveKind::Undef | DirectiveKind::Include => {}
                _ => {
                    let takes = || {
                        let seen = self.seen(&defined, file);
                        conditions::takes(directive.kind, operand, other, &seen)
                    };
                    active = branch(directive.kind, active, &mut groups, takes);
                    // After an `#endif` the group around it goes on as it was.
                    if directive.kind != DirectiveKind::Endif
                        && let Some(group) = groups.last_mut()
                    {
                        group.absent = absent(directive.kind, operand);
                    }
                }
            }
            match (was, active) {
                (true, false) => off_since = directive.token,
                (false, true) if off_since < directive.token => {
                    verdict.inactive.push((off_since, directive.token));
                }
                _ => {}
            }
        }
        if !active {
            verdict.inactive.push((off_since, tokens));
        }
        verdict.includes.sort_unstable();
        verdict.includes.dedup();
        (verdict, defined)
    }

    /// Notes that a macro is defined or not, if any condition asks for it.
    fn note(&self, macro_name: &str, body: Option<&'a str>, defined: &mut Defined<'a>) {
        let macro_name = name(macro_name);
        if self.wanted.contains(&macro_name) {
            defined.insert(macro_name, body);
        }
    }

    fn seen<'w>(&'w self, defined: &'w Defined<'a>, file: u32) -> Seen<'w, 'a> {
        Seen { defined, anywhere: &self.anywhere, resolver: &self.resolver, file }
    }

    /// Takes over what an included file defines.
    fn include(&mut self, file: u32, line: &str, verdict: &mut Verdict, defined: &mut Defined<'a>) {
        let Some(path) = operand(line) else { return };
        let meant = self.resolver.meant(path, file);
        if let Some(nearest) = self.resolver.nearest(&meant, file) {
            self.visit(nearest);
            if let State::Done(list) = &self.states[nearest as usize] {
                defined.extend(list.iter().copied());
            }
        }
        verdict.includes.extend(meant);
    }
}

/// Whether the text after a directive of a group counts, given whether that before it did.
fn branch(
    kind: DirectiveKind,
    active: bool,
    groups: &mut Vec<Group>,
    takes: impl FnOnce() -> bool,
) -> bool {
    match kind {
        DirectiveKind::Endif => groups.pop().map_or(active, |group| group.outer),
        DirectiveKind::If | DirectiveKind::Ifdef | DirectiveKind::Ifndef => {
            let taken = active && takes();
            groups.push(Group { outer: active, taken, absent: None });
            taken
        }
        _ => {
            let Some(group) = groups.last_mut() else { return active };
            let counts = group.outer && !group.taken && takes();
            group.taken |= counts;
            counts
        }
    }
}

/// The name that a branch wants undefined.
fn absent(kind: DirectiveKind, operand: &str) -> Option<Name> {
    let wanted = match kind {
        DirectiveKind::Ifndef => Some(operand),
        DirectiveKind::If => operand
            .trim_start()
            .strip_prefix('!')
            .and_then(|rest| rest.trim_start().strip_prefix("defined")),
        _ => None,
    };
    let mut words = conditions::words(wanted?);
    let only = words.next().map(name);
    if words.next().is_none() { only } else { None }
}

/// For every directive that begins a branch: whether its group has another branch after it, or nothing in it that could
/// define something.
fn alternatives(directives: &[Directive], tokens: &[Token]) -> Vec<bool> {
    let mut other = vec![false; directives.len()];
    let mut open: Vec<usize> = Vec::new();
    for (at, directive) in directives.iter().enumerate() {
        match directive.kind {
            DirectiveKind::If | DirectiveKind::Ifdef | DirectiveKind::Ifndef => open.push(at),
            DirectiveKind::Endif => {
                if let Some(start) = open.pop() {
                    let range = directives[start].token as usize..directive.token as usize;
                    other[start] = !defines(&tokens[range]);
                }
            }
            DirectiveKind::Define | DirectiveKind::Undef | DirectiveKind::Include => {}
            _ => {
                if let Some(last) = open.last_mut() {
                    other[*last] = true;
                    *last = at;
                }
            }
        }
    }
    for start in open {
        other[start] = !defines(&tokens[directives[start].token as usize..]);
    }
    other
}

fn defines(tokens: &[Token]) -> bool {
    tokens.iter().any(|token| matches!(token.kind, Kind::LBrace | Kind::RBrace))
}
