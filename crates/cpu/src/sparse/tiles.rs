//! The pairs of a span by tiles of a block of queries and a block of keys, in groups of four that belong to one query or
//! to one key: loops over groups run long and alike, whatever the lengths of lists.

use super::gather::GROUP;
use super::lists::Lists;
use super::{Dims, KEYS, QUERIES, SPAN};
use crate::Context;
use crate::attention::scratch::{len_of, take_of};
use crate::pool::SharedSlice;

/// Pairs of a span, tile after tile, those of a block of queries together. A query's last group in a tile repeats its last
/// key, and a group that belongs to no query ends each tile. All but places count in groups.
pub(super) struct Tiles<'a> {
    /// Numbers of keys in their block, the first in the lowest byte.
    keys: &'a mut [u32],
    /// Number of the query in its block.
    owners: &'a mut [u8],
    /// Where each query starts in its tile, and where the last one ends: `[tiles, QUERIES + 1]`.
    rows: &'a mut [u16],
    /// Where each tile starts, and where the last one of a block of queries ends: `[units, blocks + 1]`.
    starts: &'a mut [u32],
    /// Places in a tile that repeat a key.
    repeats: &'a mut [u16],
    /// Where those of each tile start, as in `starts`.
    repeat_starts: &'a mut [u32],
    by_key: Option<ByKey<'a>>,
    sizes: Sizes,
}

/// The same pairs once more, in order of key and query. A key's last group repeats one of its queries.
struct ByKey<'a> {
    /// Numbers of queries in their block.
    queries: &'a mut [u32],
    /// Where each pair lies in its tile by query; for what is repeated, where the group
    /// that belongs to no query starts.
    places: &'a mut [u16],
    /// Where each key starts in its tile, and where the last one ends: `[tiles, KEYS + 1]`.
    rows: &'a mut [u16],
    /// Where each tile starts: `[units, blocks + 1]`.
    starts: &'a mut [u32],
}

#[derive(Clone, Copy)]
struct Sizes {
    units: usize,
    blocks: usize,
    /// Queries of a unit.
    queries: usize,
    /// Most groups of a unit, by query and by key.
    groups: usize,
    groups_by_key: usize,
}

impl Sizes {
    fn new(dims: &Dims, units: usize) -> Self {
        let (queries, blocks) = (dims.t.min(QUERIES), dims.key_blocks());
        let seen = dims.top_k.min(dims.positions);
        let groups = queries * (seen + (GROUP - 1) * blocks.min(seen)).div_ceil(GROUP) + blocks;
        let by_key = (queries * seen + (GROUP - 1) * blocks * KEYS).div_ceil(GROUP);
        Sizes { units, blocks, queries, groups, groups_by_key: by_key }
    }
}

/// One tile by query.
#[derive(Clone, Copy)]
pub(super) struct Tile<'a> {
    /// Its first group.
    pub start: usize,
    pub keys: &'a [u32],
    pub owners: &'a [u8],
    pub rows: &'a [u16],
    /// Places that repeat a key.
    pub repeats: &'a [u16],
}

impl Tile<'_> {
    /// Groups of a query.
    #[inline(always)]
    pub(super) fn row(&self, query: usize) -> std::ops::Range<usize> {
        usize::from(self.rows[query])..usize::from(self.rows[query + 1])
    }
}

/// One tile by key.
#[derive(Clone, Copy)]
pub(super) struct TileByKey<'a> {
    pub queries: &'a [u32],
    pub places: &'a [u16],
    pub rows: &'a [u16],
}

impl<'a> Tiles<'a> {
    /// Values for all pairs of a span of `units` units.
    pub(super) fn pairs(dims: &Dims, units: usize) -> usize {
        GROUP * units * Sizes::new(dims, units).groups
    }

    pub(super) fn len(dims: &Dims, units: usize, by_key: bool) -> usize {
        let z = Sizes::new(dims, units);
        let tiles = z.units * z.blocks;
        let mut len = len_of::<u32>(units * z.groups)
            + len_of::<u8>(units * z.groups)
            + len_of::<u16>(tiles * (z.queries + 1))
            + 2 * len_of::<u32>(units * (z.blocks + 1))
            + len_of::<u16>(tiles * z.queries * (GROUP - 1));
        if by_key {
            len += len_of::<u32>(units * z.groups_by_key)
                + len_of::<u16>(units * z.groups_by_key * GROUP)
                + len_of::<u16>(tiles * (KEYS + 1))
                + len_of::<u32>(units * (z.blocks + 1));
        }
        len
    }

    pub(super) fn take(
        dims: &Dims,
        units: usize,
        by_key: bool,
        scratch: &mut &'a mut [f32],
    ) -> Self {
        let z = Sizes::new(dims, units);
        let tiles = z.units * z.blocks;
        Tiles {
            keys: take_of(scratch, units * z.groups),
            owners: take_of(scratch, units * z.groups),
            rows: take_of(scratch, tiles * (z.queries + 1)),
            starts: take_of(scratch, units * (z.blocks + 1)),
            repeats: take_of(scratch, tiles * z.queries * (GROUP - 1)),
            repeat_starts: take_of(scratch, units * (z.blocks + 1)),
            by_key: by_key.then(|| ByKey {
                queries: take_of(scratch, units * z.groups_by_key),
                places: take_of(scratch, units * z.groups_by_key * GROUP),
                rows: take_of(scratch, tiles * (KEYS + 1)),
                starts: take_of(scratch, units * (z.blocks + 1)),
            }),
            sizes: z,
        }
    }

    /// Fills in the pairs of a span whose units have `queries(number)` queries each.
    pub(super) fn build(
        &mut self,
        cx: &Context,
        lists: Lists<'_>,
        units: usize,
        queries: &(dyn Fn(usize) -> usize + Sync),
    ) {
        debug_assert!(units <= self.sizes.units && units * self.sizes.queries <= SPAN.max(units));
        let z = self.sizes;
        let (keys, owners) = (SharedSlice::new(self.keys), SharedSlice::new(self.owners));
        let [rows, repeats] = [&mut *self.rows, &mut *self.repeats].map(SharedSlice::new);
        let [starts, repeat_starts] =
            [&mut *self.starts, &mut *self.repeat_starts].map(SharedSlice::new);
        cx.pool.run(units, &|number, _| {
            let at = number * (z.blocks + 1);
            // SAFETY: every unit's part is one task's.
            let (keys, owners, rows, repeats, starts, repeat_starts) = unsafe {
                (
                    keys.range(number * z.groups, z.groups),
                    owners.range(number * z.groups, z.groups),
                    rows.range(number * z.blocks * (z.queries + 1), z.blocks * (z.queries + 1)),
                    repeats.range(
                        number * z.blocks * z.queries * (GROUP - 1),
                        z.blocks * z.queries * (GROUP - 1),
                    ),
                    starts.range(at, z.blocks + 1),
                    repeat_starts.range(at, z.blocks + 1),
                )
            };
            let n = queries(number);
            let (mut group, mut repeat) = (0, 0);
            for block in 0..z.blocks {
                (starts[block], repeat_starts[block]) = (group as u32, repeat as u32);
                let first = group;
                let rows = &mut rows[block * (z.queries + 1)..][..z.queries + 1];
                for (i, row) in rows.iter_mut().enumerate().take(n) {
                    *row = (group - first) as u16;
                    let (list, _) = lists.keys(lists.number(number, i), block);
                    let (whole, rest) = list.as_chunks::<GROUP>();
                    for four in whole {
                        keys[group] = u32::from_le_bytes(*four);
                        owners[group] = i as u8;
                        group += 1;
                    }
                    if let Some(last) = rest.last() {
                        let four = std::array::from_fn(|m| *rest.get(m).unwrap_or(last));
                        keys[group] = u32::from_le_bytes(four);
                        owners[group] = i as u8;
                        for m in rest.len()..GROUP {
                            repeats[repeat] = (GROUP * (group - first) + m) as u16;
                            repeat += 1;
                        }
                        group += 1;
                    }
                }
                rows[n] = (group - first) as u16;
                group += 1;
            }
            (starts[z.blocks], repeat_starts[z.blocks]) = (group as u32, repeat as u32);
        });
        if self.by_key.is_some() {
            self.build_by_key(cx, lists, units, queries);
        }
    }

    fn build_by_key(
        &mut self,
        cx: &Context,
        lists: Lists<'_>,
        units: usize,
        queries: &(dyn Fn(usize) -> usize + Sync),
    ) {
        let z = self.sizes;
        let by_key = self.by_key.take().expect("there is room by key");
        let names = SharedSlice::new(by_key.queries);
        let [places, rows] = [&mut *by_key.places, &mut *by_key.rows].map(SharedSlice::new);
        let starts = SharedSlice::new(by_key.starts);
        let this = &*self;
        cx.pool.run(units, &|number, _| {
            // SAFETY: every unit's part is one task's.
            let (names, places, rows, starts) = unsafe {
                (
                    names.range(number * z.groups_by_key, z.groups_by_key),
                    places.range(number * z.groups_by_key * GROUP, z.groups_by_key * GROUP),
                    rows.range(number * z.blocks * (KEYS + 1), z.blocks * (KEYS + 1)),
                    starts.range(number * (z.blocks + 1), z.blocks + 1),
                )
            };
            let mut group = 0;
            for block in 0..z.blocks {
                starts[block] = group as u32;
                let tile = this.tile(number, block);
                group += transpose(
                    (&tile, queries(number)),
                    |i| lists.keys(lists.number(number, i), block).0,
                    &mut names[group..],
                    &mut places[GROUP * group..],
                    &mut rows[block * (KEYS + 1)..][..KEYS + 1],
                );
            }
            starts[z.blocks] = group as u32;
        });
        self.by_key = Some(by_key);
    }

    /// A tile by query.
    #[inline(always)]
    pub(super) fn tile(&self, number: usize, block: usize) -> Tile<'_> {
        let z = self.sizes;
        let (at, tile) = (number * (z.blocks + 1) + block, number * z.blocks + block);
        let [first, end] = [at, at + 1].map(|at| number * z.groups + self.starts[at] as usize);
        let [first_repeat, end_repeat] = [at, at + 1].map(|at| self.repeat_starts[at] as usize);
        let repeats = &self.repeats[number * z.blocks * z.queries * (GROUP - 1)..];
        Tile {
            start: first,
            // Without the group that belongs to no query.
            keys: &self.keys[first..end - 1],
            owners: &self.owners[first..end - 1],
            rows: &self.rows[tile * (z.queries + 1)..][..z.queries + 1],
            repeats: &repeats[first_repeat..end_repeat],
        }
    }

    /// A tile by key.
    pub(super) fn tile_by_key(&self, number: usize, block: usize) -> TileByKey<'_> {
        let z = self.sizes;
        let by_key = self.by_key.as_ref().expect("there is room by key");
        let at = number * (z.blocks + 1) + block;
        let [first, end] =
            [at, at + 1].map(|at| number * z.groups_by_key + by_key.starts[at] as usize);
        TileByKey {
            queries: &by_key.queries[first..end],
            places: &by_key.places[GROUP * first..GROUP * end],
            rows: &by_key.rows[(number * z.blocks + block) * (KEYS + 1)..][..KEYS + 1],
        }
    }
}

/// Sorts the pairs of a tile of `n` queries by key; they stay in order of query. Returns the number of groups.
fn transpose<'a>(
    (tile, n): (&Tile<'_>, usize),
    list: impl Fn(usize) -> &'a [u8],
    names: &mut [u32],
    places: &mut [u16],
    rows: &mut [u16],
) -> usize {
    let mut next = [0u16; KEYS];
    for i in 0..n {
        for &key in list(i) {
            next[usize::from(key) % KEYS] += 1;
        }
    }
    let (mut groups, nothing) = (0u16, (GROUP * tile.keys.len()) as u16);
    for (row, next) in rows.iter_mut().zip(&mut next) {
        *row = groups;
        let pairs = std::mem::replace(next, groups * GROUP as u16);
        groups += pairs.div_ceil(GROUP as u16);
        // What is repeated in the last group counts for nothing; pairs are written over it.
        if pairs > 0 {
            places[GROUP * (usize::from(groups) - 1)..][..GROUP].fill(nothing);
        }
    }
    rows[KEYS] = groups;
    for i in 0..n {
        let first = tile.row(i).start * GROUP;
        for (place, &key) in (first..).zip(list(i)) {
            let next = &mut next[usize::from(key) % KEYS];
            let at = usize::from(*next);
            // The first of a group fills it.
            let shift = 8 * (at % GROUP);
            let (name, i) = (&mut names[at / GROUP], i as u32 * 0x0101_0101);
            let low = (1 << shift) - 1;
            *name = (*name & low) | (i & !low);
            places[at] = place as u16;
            *next += 1;
        }
    }
    usize::from(groups)
}
