//! The lists of a span by key: which queries of a block see a key, and where their list names it.

use super::lists::Lists;
use super::{Dims, KEYS, QUERIES};
use crate::Context;
use crate::attention::scratch::len_of;
use crate::attention::scratch::take_of;
use crate::pool::SharedSlice;

/// Pairs of a span, in tiles of a block of queries and a block of keys: tile after tile, those of a block of queries
/// together. In a tile, pairs lie in order of query and key, and once more in order of key and query.
pub(super) struct Tiles<'a> {
    /// Number of the query in its block, by key.
    queries: &'a mut [u8],
    /// Where the pair lies in its tile by query.
    pairs: &'a mut [u16],
    /// Where each key starts, and where the last one ends: `[tiles, KEYS + 1]`.
    keys: &'a mut [u16],
    /// Where each query starts in its tile: `[tiles, QUERIES]`.
    rows: &'a mut [u16],
    /// Where each tile starts, and where the last one of a block of queries ends: `[units, blocks + 1]`.
    starts: &'a mut [u32],
    blocks: usize,
    /// Room for the pairs of a block of queries.
    unit: usize,
}

impl<'a> Tiles<'a> {
    fn sizes(dims: &Dims) -> (usize, usize, usize) {
        let units = super::SPAN.min(dims.t).div_ceil(QUERIES);
        let unit = QUERIES.min(dims.t) * dims.top_k.min(dims.positions);
        (units, dims.key_blocks(), unit)
    }

    /// Room for the pairs of a span.
    pub(super) fn pairs(dims: &Dims) -> usize {
        let (units, _, unit) = Self::sizes(dims);
        units * unit
    }

    pub(super) fn len(dims: &Dims) -> usize {
        let (units, blocks, unit) = Self::sizes(dims);
        let tiles = units * blocks;
        len_of::<u8>(units * unit)
            + len_of::<u16>(units * unit)
            + len_of::<u16>(tiles * (KEYS + 1))
            + len_of::<u16>(tiles * QUERIES)
            + len_of::<u32>(units * (blocks + 1))
    }

    pub(super) fn take(dims: &Dims, scratch: &mut &'a mut [f32]) -> Self {
        let (units, blocks, unit) = Self::sizes(dims);
        let tiles = units * blocks;
        Tiles {
            queries: take_of(scratch, units * unit),
            pairs: take_of(scratch, units * unit),
            keys: take_of(scratch, tiles * (KEYS + 1)),
            rows: take_of(scratch, tiles * QUERIES),
            starts: take_of(scratch, units * (blocks + 1)),
            blocks,
            unit,
        }
    }

    /// Fills in the pairs of a span whose units have `queries` queries each.
    pub(super) fn build(&mut self, cx: &Context, lists: Lists<'_>, queries: &[usize]) {
        let Tiles { blocks, unit, .. } = *self;
        let [pairs, keys, rows] =
            [&mut *self.pairs, &mut *self.keys, &mut *self.rows].map(SharedSlice::new);
        let (starts, places) = (SharedSlice::new(self.starts), SharedSlice::new(self.queries));
        cx.pool.run(queries.len(), &|number, _| {
            // SAFETY: every unit has its own starts.
            let starts = unsafe { starts.range(number * (blocks + 1), blocks + 1) };
            let mut end = number * unit;
            for block in 0..blocks {
                starts[block] = end as u32;
                end += (0..queries[number])
                    .map(|i| lists.keys(lists.number(number, i), block).0.len())
                    .sum::<usize>();
            }
            starts[blocks] = end as u32;
        });
        let starts = &*self.starts;
        cx.pool.run(queries.len() * blocks, &|task, _| {
            let (number, block) = (task / blocks, task % blocks);
            let range = &starts[number * (blocks + 1) + block..][..2];
            let (first, n) = (range[0] as usize, (range[1] - range[0]) as usize);
            // SAFETY: every tile has its own pairs, keys and rows.
            unsafe {
                transpose(
                    |i| lists.keys(lists.number(number, i), block).0,
                    queries[number],
                    Tile {
                        queries: places.range(first, n),
                        pairs: pairs.range(first, n),
                        keys: keys.range(task * (KEYS + 1), KEYS + 1),
                        rows: rows.range(task * QUERIES, QUERIES),
                    },
                );
            }
        });
    }

    /// Where the pairs of a tile start.
    pub(super) fn start(&self, number: usize, block: usize) -> usize {
        self.starts[number * (self.blocks + 1) + block] as usize
    }

    /// Where each query's pairs start in a tile.
    pub(super) fn rows(&self, number: usize, block: usize) -> &[u16] {
        &self.rows[(number * self.blocks + block) * QUERIES..][..QUERIES]
    }

    /// A tile by key: the queries of each pair, where it lies by query, and where each key starts.
    pub(super) fn by_key(&self, number: usize, block: usize) -> (&[u8], &[u16], &[u16]) {
        let (first, end) = (self.start(number, block), self.start(number, block + 1));
        let keys = &self.keys[(number * self.blocks + block) * (KEYS + 1)..][..KEYS + 1];
        (&self.queries[first..end], &self.pairs[first..end], keys)
    }
}

struct Tile<'a> {
    queries: &'a mut [u8],
    pairs: &'a mut [u16],
    keys: &'a mut [u16],
    rows: &'a mut [u16],
}

/// Sorts the pairs of `n` queries by key; they stay in order of query.
fn transpose<'a>(list: impl Fn(usize) -> &'a [u8], n: usize, to: Tile<'_>) {
    let mut next = [0u16; KEYS];
    let mut pairs = 0;
    for i in 0..n {
        to.rows[i] = pairs;
        for &key in list(i) {
            next[usize::from(key) % KEYS] += 1;
        }
        pairs += list(i).len() as u16;
    }
    let mut sum = 0;
    for (start, next) in to.keys.iter_mut().zip(&mut next) {
        *start = sum;
        sum += std::mem::replace(next, sum);
    }
    to.keys[KEYS] = sum;
    for i in 0..n {
        for (place, &key) in (to.rows[i]..).zip(list(i)) {
            let at = &mut next[usize::from(key) % KEYS];
            to.queries[usize::from(*at)] = i as u8;
            to.pairs[usize::from(*at)] = place;
            *at += 1;
        }
    }
}
