//! The union of what the units yield.

use rustc_hash::{FxHashMap, FxHashSet};

use super::symbols::{Callee, Found, UnitSymbols};
use crate::FileId;

/// Definitions and calls of all units so far. A set: the order in which units arrive leaves no trace.
#[derive(Debug, Default)]
pub(super) struct Merge {
    pub definitions: Vec<Found>,
    pub callees: Vec<Callee>,
    /// Indices into `definitions` and `callees`.
    pub calls: FxHashSet<(u32, u32)>,
    /// Files that some unit is made of.
    pub covered: FxHashSet<FileId>,
    by_place: FxHashMap<(FileId, u32, String), u32>,
    by_callee: FxHashMap<Callee, u32>,
}

impl Merge {
    pub(super) fn add(&mut self, symbols: UnitSymbols) {
        self.covered.extend(symbols.files);
        let definitions: Vec<u32> =
            symbols.found.into_iter().map(|found| self.definition(found)).collect();
        let callees: Vec<u32> =
            symbols.callees.into_iter().map(|callee| self.callee(callee)).collect();
        self.calls
            .extend(symbols.calls.into_iter().map(|(from, to)| (definitions[from], callees[to])));
    }

    fn definition(&mut self, found: Found) -> u32 {
        let next = self.definitions.len() as u32;
        let index =
            *self.by_place.entry((found.file, found.name_at, found.key.clone())).or_insert(next);
        if index == next {
            self.definitions.push(found);
        } else {
            // Units may see different extents of one definition, by their macros: the least counts in any order.
            let known = &mut self.definitions[index as usize];
            if order(&found) < order(known) {
                *known = found;
            }
        }
        index
    }

    fn callee(&mut self, callee: Callee) -> u32 {
        let next = self.callees.len() as u32;
        let index = *self.by_callee.entry(callee.clone()).or_insert(next);
        if index == next {
            self.callees.push(callee);
        }
        index
    }
}

fn order(found: &Found) -> (u32, u32, u32, u32, &str, &Option<String>) {
    let Found { extent, body, qualified_name, class, .. } = found;
    (extent.start, extent.end, body.start, body.end, qualified_name, class)
}
