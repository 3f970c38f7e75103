//! Which units go into which document.
//!
//! Roots are units that no other one uses. Neighbouring roots of one file share a document, since they share its
//! preamble and most of what they call. A document takes what its roots use, nearest first, as far as depth and
//! budget reach. A unit that is left out where it is used becomes a root itself once everything that uses it has
//! its documents. So every unit is in some document, and who is used comes before who uses it.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};

use kiln_index::FileId;
use rustc_hash::FxHashMap;

use super::units::UnitId;
use crate::graph::{Condensation, Graph};

/// What bounds the documents.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Tokens in a document.
    pub tokens: usize,
    /// Calls between a root and what it brings along.
    pub depth: u32,
    /// Documents that a unit is brought along into.
    pub repeat: u32,
    /// One document for each root.
    pub separate: bool,
}

/// Tokens of everything, counted piece by piece. A document may have a few more or less than the sum.
#[derive(Debug, Default)]
pub(crate) struct Costs {
    /// Of the units' own text.
    pub unit: Vec<usize>,
    /// Of what is told with a unit once.
    pub once: Vec<usize>,
    /// Of the files' preambles, as far as a document takes them.
    pub preamble: Vec<usize>,
    /// Of the files' intros.
    pub intro: Vec<usize>,
}

/// The units of a project as far as planning needs them.
pub(crate) struct Scene<'a> {
    pub limits: Limits,
    pub graph: &'a Graph,
    pub condensation: &'a Condensation,
    pub costs: &'a Costs,
    /// Of every unit, ascending.
    pub file_of: &'a [FileId],
    /// Whether a unit has its file's preamble in its text.
    pub has_preamble: &'a [bool],
}

/// A unit in a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub unit: UnitId,
    /// Calls between it and the nearest root, 0 for a root.
    pub distance: u32,
    /// Whether it is told for the first time, so with what is told with it once.
    pub first: bool,
    /// Whether the intro of its file comes before it.
    pub intro: bool,
}

/// A document to be put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Whose preamble comes first.
    pub file: FileId,
    pub opening: Opening,
    /// Who is used comes before who uses it. None where the opening is all; a single one may be too long.
    pub parts: Vec<Part>,
}

/// How a document begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    /// With the file's intro, which has the preamble in it.
    Intro,
    /// With the file's preamble.
    Preamble,
    /// With its first part, which has the preamble in it.
    Nothing,
}

/// Plans all documents of a project.
pub(crate) fn plan(scene: &Scene<'_>) -> Vec<Plan> {
    let mut planner = Planner::new(scene);
    let mut plans = Vec::new();
    planner.release_all();
    while let Some(&root) = planner.ready.first() {
        planner.document(root, &mut plans);
        planner.release_all();
    }
    plans
}

struct Planner<'a> {
    scene: &'a Scene<'a>,
    /// Documents that a unit is in.
    appearances: Vec<u32>,
    /// Files whose intro has been told.
    introduced: Vec<bool>,
    components: Components,
    /// Roots that wait for their document, by file and place.
    ready: BTreeSet<UnitId>,
    /// Of the last search.
    distance: FxHashMap<UnitId, u32>,
}

/// Progress through the components, from those who use others to those who are used.
struct Components {
    between: Graph,
    members: Graph,
    /// Components that use this one and are not done.
    users: Vec<u32>,
    /// Members in no document yet.
    missing: Vec<u32>,
    /// How many members, in order, are known to be in a document.
    passed: Vec<u32>,
    /// Without users that are not done, to be looked at.
    open: Vec<u32>,
}

impl Components {
    fn new(graph: &Graph, condensation: &Condensation) -> Self {
        let of = |unit: UnitId| condensation.component_of[unit as usize];
        let components = condensation.components();
        let between = graph.iter().map(|(from, to)| (of(from), of(to))).filter(|(a, b)| a != b);
        let between = Graph::new(components, between.collect());
        let mut users = vec![0; components];
        between.iter().for_each(|(_, used)| users[used as usize] += 1);
        let nodes = components.max(graph.nodes());
        let members = (0..graph.nodes() as UnitId).map(|unit| (of(unit), unit)).collect();
        let members = Graph::new(nodes, members);
        let missing = (0..components as u32).map(|c| members.targets(c).len() as u32).collect();
        let open = (0..components as u32).filter(|c| users[*c as usize] == 0).collect();
        Self { between, members, users, missing, passed: vec![0; components], open }
    }
}

impl<'a> Planner<'a> {
    fn new(scene: &'a Scene<'a>) -> Self {
        Self {
            scene,
            appearances: vec![0; scene.graph.nodes()],
            introduced: scene.costs.intro.iter().map(|tokens| *tokens == 0).collect(),
            components: Components::new(scene.graph, scene.condensation),
            ready: BTreeSet::new(),
            distance: FxHashMap::default(),
        }
    }

    /// Goes down from components that are in documents as a whole; in others the first member that is missing
    /// becomes a root.
    fn release_all(&mut self) {
        while let Some(component) = self.components.open.pop() {
            let at = component as usize;
            if self.components.missing[at] > 0 {
                let members = self.components.members.targets(component);
                let passed = &mut self.components.passed[at];
                while self.appearances[members[*passed as usize] as usize] > 0 {
                    *passed += 1;
                }
                self.ready.insert(members[*passed as usize]);
                continue;
            }
            for &used in self.components.between.targets(component) {
                let users = &mut self.components.users[used as usize];
                *users -= 1;
                if *users == 0 {
                    self.components.open.push(used);
                }
            }
        }
    }

    fn document(&mut self, first: UnitId, plans: &mut Vec<Plan>) {
        let scene = self.scene;
        let file = scene.file_of[first as usize];
        let mut opening = self.opening(file, first);
        let room = |planner: &Self, opening| {
            scene.limits.tokens.saturating_sub(planner.opening_cost(file, opening))
        };
        let cost = self.cost(first);
        if opening == Opening::Intro {
            self.introduced[file as usize] = true;
            if cost > room(self, opening) {
                // What is told once must not be cut, so it does not open the document of a long root.
                plans.push(Plan { file, opening, parts: Vec::new() });
                opening = Opening::Preamble;
            }
        }
        let room = room(self, opening);
        let mut selected = Vec::new();
        if cost > room {
            selected.push((first, 0));
        } else {
            let roots = self.roots(first, opening, room);
            selected.extend(roots.iter().map(|root| (*root, 0)));
            selected.extend(self.used(file, &roots, room));
        }
        let parts = self.ordered(file, selected);
        let parts = parts.into_iter().map(|(unit, distance)| self.take(unit, distance)).collect();
        plans.push(Plan { file, opening, parts });
    }

    fn opening(&self, file: FileId, first: UnitId) -> Opening {
        if self.scene.has_preamble[first as usize] {
            Opening::Nothing
        } else if self.introduced[file as usize] {
            Opening::Preamble
        } else {
            Opening::Intro
        }
    }

    fn opening_cost(&self, file: FileId, opening: Opening) -> usize {
        match opening {
            Opening::Intro => self.scene.costs.intro[file as usize] + 1,
            Opening::Preamble => self.scene.costs.preamble[file as usize] + 1,
            Opening::Nothing => 0,
        }
    }

    /// Tokens that a unit would add, without the intro of its file.
    fn cost(&self, unit: UnitId) -> usize {
        let costs = self.scene.costs;
        let once = if self.appearances[unit as usize] == 0 { costs.once[unit as usize] } else { 0 };
        // Pieces may not join without one more token between them.
        costs.unit[unit as usize] + once + 1
    }

    /// The first root and those that share its document: roots of its file, up to half of the room, so that what
    /// they use has the other half.
    fn roots(&self, first: UnitId, opening: Opening, room: usize) -> Vec<UnitId> {
        let mut roots = vec![first];
        if self.scene.limits.separate || opening == Opening::Nothing {
            return roots;
        }
        let mut tokens = self.cost(first);
        for &root in self.ready.range(first + 1..) {
            let file = self.scene.file_of[root as usize];
            if file != self.scene.file_of[first as usize] {
                break;
            }
            tokens += self.cost(root);
            if tokens > room / 2 {
                break;
            }
            roots.push(root);
        }
        roots
    }

    /// What the roots use, nearest first, as far as there is room. Once something has no room, nothing that is
    /// farther away is taken.
    fn used(&mut self, file: FileId, roots: &[UnitId], room: usize) -> Vec<(UnitId, u32)> {
        let mut tokens: usize = roots.iter().map(|root| self.cost(*root)).sum();
        let beside_roots = room.saturating_sub(tokens);
        let mut found = self.reach(roots, beside_roots);
        let file_of = self.scene.file_of;
        found.sort_unstable_by_key(|&(unit, distance)| {
            (distance, file_of[unit as usize] != file, unit)
        });
        let mut used = Vec::new();
        let mut introduced: BTreeSet<FileId> = BTreeSet::new();
        let mut farthest = u32::MAX;
        for (unit, distance) in found {
            if distance > farthest {
                break;
            }
            let of = file_of[unit as usize];
            let introduces = !self.introduced[of as usize] && !introduced.contains(&of);
            let intro = if introduces { self.scene.costs.intro[of as usize] + 1 } else { 0 };
            let cost = self.cost(unit) + intro;
            if tokens + cost > room {
                farthest = distance;
                continue;
            }
            tokens += cost;
            if introduces {
                introduced.insert(of);
            }
            used.push((unit, distance));
        }
        used
    }

    /// Everything within the depth. A unit that has been brought along often enough, or that would not have room
    /// even alone, ends the search: what lies behind it would stand without it.
    fn reach(&mut self, roots: &[UnitId], room: usize) -> Vec<(UnitId, u32)> {
        self.distance.clear();
        let mut queue: VecDeque<UnitId> = roots.iter().copied().collect();
        self.distance.extend(roots.iter().map(|root| (*root, 0)));
        let mut found = Vec::new();
        while let Some(unit) = queue.pop_front() {
            let distance = self.distance[&unit] + 1;
            if distance > self.scene.limits.depth {
                break;
            }
            for &used in self.scene.graph.targets(unit) {
                let often = self.appearances[used as usize] >= self.scene.limits.repeat;
                if often || self.distance.contains_key(&used) {
                    continue;
                }
                self.distance.insert(used, distance);
                if self.cost(used) <= room {
                    found.push((used, distance));
                    queue.push_back(used);
                }
            }
        }
        found
    }

    /// Used before users; among those that are free to come, other files first, then by place.
    fn ordered(&self, file: FileId, selected: Vec<(UnitId, u32)>) -> Vec<(UnitId, u32)> {
        let scene = self.scene;
        let distances: FxHashMap<UnitId, u32> = selected.iter().copied().collect();
        let component = |unit: UnitId| scene.condensation.component_of[unit as usize];
        let uses = |unit: UnitId| {
            let targets = scene.graph.targets(unit).iter().copied();
            let here = targets.filter(|used| distances.contains_key(used));
            here.filter(move |used| component(*used) != component(unit))
        };
        let mut users: FxHashMap<UnitId, Vec<UnitId>> = FxHashMap::default();
        let mut waits_for: FxHashMap<UnitId, usize> = FxHashMap::default();
        for &(unit, _) in &selected {
            uses(unit).for_each(|used| users.entry(used).or_default().push(unit));
            waits_for.insert(unit, uses(unit).count());
        }
        let key = |unit: UnitId| Reverse((scene.file_of[unit as usize] == file, unit));
        let free = selected.iter().filter(|(unit, _)| waits_for[unit] == 0);
        let mut free: BinaryHeap<_> = free.map(|(unit, _)| key(*unit)).collect();
        let mut ordered = Vec::with_capacity(selected.len());
        while let Some(Reverse((_, unit))) = free.pop() {
            ordered.push((unit, distances[&unit]));
            for user in users.get(&unit).into_iter().flatten() {
                if let Some(left) = waits_for.get_mut(user) {
                    *left -= 1;
                    if *left == 0 {
                        free.push(key(*user));
                    }
                }
            }
        }
        ordered
    }

    fn take(&mut self, unit: UnitId, distance: u32) -> Part {
        let (at, file) = (unit as usize, self.scene.file_of[unit as usize] as usize);
        let first = self.appearances[at] == 0;
        self.appearances[at] += 1;
        if first {
            let component = self.scene.condensation.component_of[at];
            self.components.missing[component as usize] -= 1;
            if self.ready.remove(&unit) {
                self.components.open.push(component);
            }
        }
        let intro = !std::mem::replace(&mut self.introduced[file], true);
        Part { unit, distance, first, intro }
    }
}
