//! A project as the units that documents are made of.
//!
//! A unit is an outermost definition with its doc comment: a function, an out-of-line member, or a class or
//! enumeration with everything in it. What lies between definitions and is not preamble goes with the definition
//! after it, or is a unit of its own when it is long; a file without definitions is one unit. So every byte of a
//! file but white space is in a unit or in its file's preamble.

use std::ops::Range;

use kiln_index::{Definition, DefinitionId, DefinitionKind, File, FileId, Project};
use rayon::prelude::*;

use super::fit;
use super::text::{Slice, assemble, is_blank, whole_lines, within};
use crate::graph::Graph;

/// Counts the tokens of a text.
pub(crate) type CountTokens<'a> = &'a (dyn Fn(&str) -> usize + Sync);

/// Index into [`Units::list`].
pub(crate) type UnitId = u32;

/// What a document can be made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    pub file: FileId,
    /// The outermost definition; `None` for text outside all of them.
    pub definition: Option<DefinitionId>,
    /// In ascending order.
    pub text: Vec<Range<usize>>,
    /// What stands before it and belongs to nothing else. It is told once, where the unit first appears.
    pub before: Vec<Range<usize>>,
    /// What stands after the file's last unit, likewise.
    pub after: Vec<Range<usize>>,
    /// Whether `text` is the file's preamble, or has it in it.
    pub has_preamble: bool,
}

/// What comes before the units of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FileHead {
    /// Includes, macros and the like, wherever they stand outside definitions; the beginning if they are many.
    pub preamble: Vec<Range<usize>>,
    /// Everything before the first definition, then the rest of the preamble: told once in place of the
    /// preamble. Empty when a unit has it.
    pub intro: Vec<Range<usize>>,
}

/// A project's units, by file and place.
#[derive(Debug)]
pub(crate) struct Units {
    pub list: Vec<Unit>,
    /// One for each file.
    pub heads: Vec<FileHead>,
    /// Of every definition.
    unit_of: Vec<UnitId>,
}

/// Longer pieces become units of their own instead of going with others. In tokens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Longest {
    /// Of what comes before the first definition.
    pub intro: usize,
    /// Of what lies between two definitions.
    pub gap: usize,
}

impl Units {
    /// Cuts the files of a project.
    pub(crate) fn of(project: &Project, longest: Longest, count: CountTokens<'_>) -> Self {
        let by_file = definitions_by_file(project);
        let parts: Vec<FileUnits> = (project.files.par_iter().enumerate())
            .map(|(file, _)| FileCutter { project, file, longest, count }.cut(&by_file[file]))
            .collect();
        let mut units = Self {
            list: Vec::new(),
            heads: Vec::new(),
            unit_of: vec![0; project.definitions.len()],
        };
        for part in parts {
            let base = units.list.len() as UnitId;
            for (definition, unit) in part.unit_of {
                units.unit_of[definition as usize] = base + unit;
            }
            units.list.extend(part.units);
            units.heads.push(part.head);
        }
        units
    }

    /// The unit that a definition lies in.
    pub(crate) fn of_definition(&self, definition: DefinitionId) -> UnitId {
        self.unit_of[definition as usize]
    }

    /// Which unit uses which: calls, and the class of every out-of-line member. Calls of a class to its own
    /// members are left out, for a class comes before them. `linked` says of two files whether the one may use
    /// the other.
    pub(crate) fn graph(
        &self,
        project: &Project,
        linked: impl Fn(FileId, FileId) -> bool,
    ) -> Graph {
        let class_unit = |definition: &Definition| {
            let class = definition.class?;
            ((class as usize) < self.unit_of.len()).then(|| self.of_definition(class))
        };
        let calls = project.calls.iter().filter_map(|&(caller, callee)| {
            let (caller, to) = (self.of_definition(caller), self.of_definition(callee));
            let own_member = class_unit(&project.definitions[callee as usize]) == Some(caller);
            (!own_member).then_some((caller, to))
        });
        let members = project.definitions.iter().enumerate().filter_map(|(id, definition)| {
            Some((self.of_definition(id as DefinitionId), class_unit(definition)?))
        });
        let file = |unit: UnitId| self.list[unit as usize].file;
        let useful = |&(from, to): &(UnitId, UnitId)| from != to && linked(file(from), file(to));
        Graph::new(self.list.len(), calls.chain(members).filter(useful).collect())
    }
}

fn definitions_by_file(project: &Project) -> Vec<Vec<DefinitionId>> {
    let mut by_file = vec![Vec::new(); project.files.len()];
    for (id, definition) in project.definitions.iter().enumerate() {
        by_file[definition.file as usize].push(id as DefinitionId);
    }
    by_file
}

#[derive(Default)]
struct FileUnits {
    units: Vec<Unit>,
    head: FileHead,
    /// Numbers within the file.
    unit_of: Vec<(DefinitionId, UnitId)>,
}

struct FileCutter<'a> {
    project: &'a Project,
    file: usize,
    longest: Longest,
    count: CountTokens<'a>,
}

/// An outermost definition and those in it.
struct Outermost {
    range: Range<usize>,
    members: Vec<DefinitionId>,
}

impl FileCutter<'_> {
    fn cut(&self, definitions: &[DefinitionId]) -> FileUnits {
        let outermost = self.outermost(definitions);
        let Some(first) = outermost.first() else { return self.whole_file() };
        let preamble = self.preamble(&outermost);
        let head_end = first.range.start;
        let mut file = FileUnits::default();
        self.add_intro(head_end, &preamble, &mut file);

        let mut gap_start = head_end;
        for Outermost { range, members } in outermost {
            let gap = self.visible(gap_start..range.start, &preamble);
            let before = self.attach(gap, &mut file);
            gap_start = range.end;
            let unit = file.units.len() as UnitId;
            file.unit_of.extend(members.iter().map(|member| (*member, unit)));
            file.units.push(Unit {
                definition: members.first().copied(),
                before,
                ..self.unit(vec![range])
            });
        }
        let gap = self.visible(gap_start..self.source().text.len(), &preamble);
        let last = file.units.len() - 1;
        let after = self.attach(gap, &mut file);
        file.units[last].after = after;
        file.head.preamble = self.shortened(preamble);
        file
    }

    /// As much of a preamble as a document may spend on it; the rest is told once, with the intro.
    fn shortened(&self, preamble: Vec<Range<usize>>) -> Vec<Range<usize>> {
        let max = self.longest.intro;
        if self.tokens(&preamble) <= max {
            return preamble;
        }
        let mut taken = Vec::new();
        let mut tokens = 0;
        for range in preamble {
            let more = self.tokens(std::slice::from_ref(&range)) + 1;
            if tokens + more > max {
                let text = &self.source().text[range.clone()];
                let room = (max - tokens).saturating_sub(1);
                let start = fit::first_piece("", text, room, self.count).len();
                // Half a line says nothing.
                if text[..start].ends_with('\n') {
                    taken.push(range.start..range.start + start);
                }
                break;
            }
            tokens += more;
            taken.push(range);
        }
        taken
    }

    fn source(&self) -> &File {
        &self.project.files[self.file]
    }

    fn unit(&self, text: Vec<Range<usize>>) -> Unit {
        Unit {
            file: self.file as FileId,
            definition: None,
            text,
            before: Vec::new(),
            after: Vec::new(),
            has_preamble: false,
        }
    }

    fn whole_file(&self) -> FileUnits {
        let mut file = FileUnits::default();
        if !is_blank(&self.source().text) {
            let all = 0..self.source().text.len();
            file.units.push(Unit { has_preamble: true, ..self.unit(vec![all]) });
        }
        file
    }

    /// Definitions that lie in no other one, with their comments, as whole lines, apart from one another.
    fn outermost(&self, definitions: &[DefinitionId]) -> Vec<Outermost> {
        let text = &self.source().text;
        let mut all: Vec<(Range<usize>, DefinitionId)> = Vec::with_capacity(definitions.len());
        for &id in definitions {
            let definition = &self.project.definitions[id as usize];
            let mut range = within(text, &definition.extent);
            if let Some(doc) = definition.doc.as_ref().map(|doc| within(text, doc))
                && doc.end <= range.start
                && is_blank(&text[doc.end..range.start])
            {
                range.start = doc.start;
            }
            all.push((range, id));
        }
        all.sort_by_key(|(range, id)| {
            let is_class = !self.project.definitions[*id as usize].kind.is_function();
            (range.start, std::cmp::Reverse(range.end), !is_class, *id)
        });
        let mut outermost: Vec<Outermost> = Vec::new();
        for (range, id) in all {
            match outermost.last_mut() {
                Some(outer) if range.start < outer.range.end => {
                    outer.range.end = outer.range.end.max(range.end);
                    outer.members.push(id);
                }
                _ => outermost.push(Outermost { range, members: vec![id] }),
            }
        }
        self.widen(&mut outermost);
        outermost
    }

    fn widen(&self, outermost: &mut [Outermost]) {
        let text = &self.source().text;
        let mut from = 0;
        for at in 0..outermost.len() {
            let until = outermost.get(at + 1).map_or(text.len(), |next| next.range.start);
            let range = whole_lines(text, outermost[at].range.clone(), from..until);
            from = range.end;
            outermost[at].range = range;
        }
    }

    /// The preamble outside definitions, in order, apart from one another.
    fn preamble(&self, outermost: &[Outermost]) -> Vec<Range<usize>> {
        let text = &self.source().text;
        let mut ranges: Vec<_> =
            self.source().preamble.iter().map(|range| within(text, range)).collect();
        ranges.sort_by_key(|range| (range.start, range.end));
        let holes: Vec<_> = outermost.iter().map(|outer| outer.range.clone()).collect();
        let mut preamble: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
        for mut range in ranges {
            range.start = range.start.max(preamble.last().map_or(0, |last| last.end));
            preamble.extend(subtract(range, &holes));
        }
        preamble.retain(|range| !is_blank(&text[range.clone()]));
        preamble
    }

    fn add_intro(&self, head_end: usize, preamble: &[Range<usize>], file: &mut FileUnits) {
        let mut intro = self.visible(0..head_end, &[]);
        intro.extend(preamble.iter().filter(|range| range.start >= head_end).cloned());
        if self.tokens(&intro) <= self.longest.intro {
            file.head.intro = intro;
        } else {
            file.units.push(Unit { has_preamble: true, ..self.unit(intro) });
        }
    }

    /// A short gap goes with its neighbour; a long one becomes a unit.
    fn attach(&self, gap: Vec<Range<usize>>, file: &mut FileUnits) -> Vec<Range<usize>> {
        if self.tokens(&gap) <= self.longest.gap {
            return gap;
        }
        file.units.push(self.unit(gap));
        Vec::new()
    }

    /// What of a gap is neither preamble nor white space.
    fn visible(&self, gap: Range<usize>, preamble: &[Range<usize>]) -> Vec<Range<usize>> {
        let mut rest = subtract(gap, preamble);
        rest.retain(|range| !is_blank(&self.source().text[range.clone()]));
        rest
    }

    fn tokens(&self, ranges: &[Range<usize>]) -> usize {
        if ranges.is_empty() {
            return 0;
        }
        (self.count)(&assemble(&self.project.files, &slices(self.file as FileId, ranges)))
    }
}

/// The ranges as pieces of their file.
pub(crate) fn slices(file: FileId, ranges: &[Range<usize>]) -> Vec<Slice> {
    ranges.iter().map(|range| Slice { file, range: range.clone() }).collect()
}

/// What of `range` lies in none of `holes`, which are in ascending order and apart.
fn subtract(range: Range<usize>, holes: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut rest = Vec::new();
    let mut start = range.start;
    let first = holes.partition_point(|hole| hole.end <= start);
    for hole in &holes[first..] {
        if hole.start >= range.end {
            break;
        }
        if hole.start > start {
            rest.push(start..hole.start);
        }
        start = hole.end;
    }
    if start < range.end {
        rest.push(start..range.end);
    }
    rest
}

/// Functions with a body.
pub(crate) fn functions(project: &Project) -> impl Iterator<Item = &Definition> {
    project.definitions.iter().filter(|definition| definition.kind.is_function())
}

/// Classes, structs and unions.
pub(crate) fn classes(project: &Project) -> impl Iterator<Item = &Definition> {
    project.definitions.iter().filter(|definition| definition.kind == DefinitionKind::Class)
}
