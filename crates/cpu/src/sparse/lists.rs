//! The keys that the queries of a span see.

use super::indexer::{PART, Part, TILE, lanes, packed_row_len, score};
use super::select::{Cut, Found, Row, cut, list};
use super::{Dims, Indexer, SPAN, Sparse, Unit, Units};
use crate::attention::rough::Rough;
use crate::attention::scratch::{LINE, len_of, lines, take, take_of};
use crate::pool::SharedSlice;
use crate::{Context, simd_fn};

/// Room for the lists of a span.
pub(super) struct Room<'a> {
    keys: &'a mut [u8],
    starts: &'a mut [u32],
    /// Of every listed key, where they are kept.
    scores: &'a mut [f32],
    signs: &'a mut [f32],
    sizes: Sizes,
}

/// The lists of a span.
#[derive(Clone, Copy)]
pub(super) struct Lists<'a> {
    keys: &'a [u8],
    starts: &'a [u32],
    scores: &'a [f32],
    signs: &'a [f32],
    sizes: Sizes,
}

#[derive(Clone, Copy)]
struct Sizes {
    /// Queries of a unit.
    queries: usize,
    /// Queries in a span.
    span: usize,
    /// Places for keys of a query.
    places: usize,
    /// Blocks of keys.
    blocks: usize,
    words: usize,
}

/// Places for the keys of a query: a vector is written where a list ends.
pub(super) fn places(dims: &Dims) -> usize {
    lines(dims.top_k.min(dims.positions)) + LINE
}

impl Sizes {
    fn new(dims: &Dims) -> Self {
        let units = Units { rows: dims.b, t: dims.t };
        let places = places(dims);
        let (queries, span) = (units.queries(), units.in_span() * units.queries());
        Sizes { queries, span, places, blocks: dims.key_blocks(), words: dims.words() }
    }
}

impl<'a> Room<'a> {
    pub(super) fn len(dims: &Dims, keep: bool) -> usize {
        let z = Sizes::new(dims);
        let kept = if keep { (1 + z.words) * lines(z.span * z.places) } else { 0 };
        len_of::<u8>(z.span * z.places) + len_of::<u32>(z.span * (z.blocks + 1)) + kept
    }

    pub(super) fn take(dims: &Dims, keep: bool, scratch: &mut &'a mut [f32]) -> Self {
        let z = Sizes::new(dims);
        let kept = if keep { z.span * z.places } else { 0 };
        Room {
            keys: take_of(scratch, z.span * z.places),
            starts: take_of(scratch, z.span * (z.blocks + 1)),
            scores: take(scratch, kept),
            signs: take(scratch, z.words * kept),
            sizes: z,
        }
    }

    pub(super) fn lists(&self) -> Lists<'_> {
        let Room { keys, starts, scores, signs, sizes } = self;
        Lists { keys, starts, scores, signs, sizes: *sizes }
    }
}

impl<'a> Lists<'a> {
    /// Places for keys of a query.
    pub(super) fn places(&self) -> usize {
        self.sizes.places
    }

    /// Number of a query among the places: `unit` counts inside the span.
    pub(super) fn number(&self, unit: usize, query: usize) -> usize {
        unit * self.sizes.queries + query
    }

    /// Where the keys of each block start, among the places of query `number`.
    pub(super) fn starts(&self, number: usize) -> &'a [u32] {
        &self.starts[number * (self.sizes.blocks + 1)..][..self.sizes.blocks + 1]
    }

    /// The keys of query `number` in a block, and the place of the first.
    #[inline(always)]
    pub(super) fn keys(&self, number: usize, block: usize) -> (&'a [u8], usize) {
        let starts = self.starts(number);
        let (first, end) = (starts[block] as usize, starts[block + 1] as usize);
        (&self.keys[number * self.sizes.places..][first..end], first)
    }

    /// Scores at the places of query `number`.
    pub(super) fn scores(&self, number: usize) -> &'a [f32] {
        &self.scores[number * self.sizes.places..][..self.sizes.places]
    }

    /// Signs at the places of query `number`: `[words, places]`.
    pub(super) fn signs(&self, number: usize) -> &'a [f32] {
        let len = self.sizes.words * self.sizes.places;
        &self.signs[number * len..][..len]
    }
}

/// Which cut a query makes.
#[derive(Clone, Copy)]
pub(super) enum Cuts<'a> {
    /// The one that its scores ask for, which is written down.
    Find(SharedSlice<f32>, SharedSlice<i32>),
    /// The one that its scores ask for.
    FindOnly,
    /// The one that was written down.
    Given(&'a [f32], &'a [i32]),
}

/// Where lists come from.
pub(super) struct Source<'a, E> {
    pub indexer: Indexer<'a, E>,
    /// The packed keys of all rows.
    pub packed: &'a [E],
    pub dims: Dims,
    /// Position of each row's first query, if not 0.
    pub start: Option<&'a [i32]>,
    pub cuts: Cuts<'a>,
    /// Whether scores and signs are kept.
    pub keep: bool,
}

impl<E> Source<'_, E> {
    /// Keys up to the own one of a query.
    pub(super) fn end(&self, row: usize, query: usize) -> usize {
        end(&self.dims, self.start, row, query)
    }
}

/// Keys up to the own one of a query; a query beyond the last position stands at it.
pub(super) fn end(dims: &Dims, start: Option<&[i32]>, row: usize, query: usize) -> usize {
    let start = start.map_or(0, |start| start[row].max(0) as usize);
    (start + query + 1).min(dims.positions)
}

/// Distance between rows of scores.
pub(super) fn score_row(dims: &Dims) -> usize {
    dims.positions.next_multiple_of(TILE)
}

/// f32 values that a thread needs to make lists.
pub(super) fn thread_len<E: Sparse>(dims: &Dims, keep: bool) -> usize {
    let rows = PART * score_row(dims);
    let queries = len_of::<E>(PART * dims.heads * lanes::<E>(dims.width) * E::PER_LANE);
    let signs = if keep { lines(dims.words() * rows) } else { 0 };
    queries + lines(rows) + signs + score_row(dims) + LINE
}

/// Lists the keys of the units from `first` on, as many as `room` has place for; `scratch` has [`thread_len`] values for
/// every thread.
pub(super) fn build<E: Sparse>(
    cx: &Context,
    x: &Source<'_, E>,
    (first, units): (usize, usize),
    room: &mut Room<'_>,
    scratch: &mut [f32],
) {
    debug_assert!(units * room.sizes.queries <= SPAN.max(room.sizes.span));
    let z = room.sizes;
    let all = Units { rows: x.dims.b, t: x.dims.t };
    let parts = z.queries.div_ceil(PART);
    let [scores, signs] = [&mut *room.scores, &mut *room.signs].map(SharedSlice::new);
    let (keys, starts) = (SharedSlice::new(room.keys), SharedSlice::new(room.starts));
    let (threads, per_thread) = (SharedSlice::new(scratch), thread_len::<E>(&x.dims, x.keep));
    cx.pool.run(units * parts, &|task, thread| {
        // Late queries have the most keys: they go first.
        let (unit, part) = (units - 1 - task / parts, (parts - 1 - task % parts) * PART);
        let place = all.at(first + unit);
        if part >= place.n {
            return;
        }
        let n = (place.n - part).min(PART);
        // SAFETY: a thread runs one task at a time.
        let scratch = unsafe { threads.range(thread * per_thread, per_thread) };
        let mut rows: [Option<Row<'_>>; PART] = [const { None }; PART];
        for (i, row) in rows.iter_mut().enumerate().take(n) {
            let number = unit * z.queries + part + i;
            // SAFETY: every query is one task's.
            *row = Some(unsafe {
                Row {
                    keys: keys.range(number * z.places, z.places),
                    starts: starts.range(number * (z.blocks + 1), z.blocks + 1),
                    kept: x.keep.then(|| {
                        let len = z.words * z.places;
                        (scores.range(number * z.places, z.places), signs.range(number * len, len))
                    }),
                }
            });
        }
        let place = Unit { first: place.first + part, n, ..place };
        let place_in_all = place.row * x.dims.t + place.first;
        let mut cuts = [Cut::ALL; PART];
        if let Cuts::Given(threshold, boundary) = x.cuts {
            for (i, cut) in cuts.iter_mut().enumerate().take(n) {
                let at = place_in_all + i;
                *cut = Cut { threshold: threshold[at], boundary: boundary[at].max(0) as usize };
            }
        }
        list_part(cx.isa, x, place, &mut cuts, &mut rows, scratch);
        if let Cuts::Find(threshold, boundary) = x.cuts {
            // SAFETY: every query is one task's.
            let (threshold, boundary) =
                unsafe { (threshold.range(place_in_all, n), boundary.range(place_in_all, n)) };
            for (i, cut) in cuts.iter().enumerate().take(n) {
                (threshold[i], boundary[i]) = (cut.threshold, cut.boundary as i32);
            }
        }
    });
}

simd_fn! {
    /// Lists the keys of at most [`PART`] queries; sets `cuts` unless they are given.
    fn list_part [E: Sparse] (
        x: &Source<'_, E>, place: Unit, cuts: &mut [Cut; PART], rows: &mut [Option<Row<'_>>; PART], scratch: &mut [f32],
    ) = list_part_kernel
}
#[inline(always)]
fn list_part_kernel<S: Rough, E: Sparse>(
    s: S,
    x: &Source<'_, E>,
    place: Unit,
    cuts: &mut [Cut; PART],
    rows: &mut [Option<Row<'_>>; PART],
    mut scratch: &mut [f32],
) {
    let Dims { t, heads, width, local, top_k, .. } = x.dims;
    let row = score_row(&x.dims);
    let mut ends = [0; PART];
    for i in 0..place.n {
        ends[i] = x.end(place.row, place.first + i);
    }
    let at = place.row * t + place.first;
    let packed_row = packed_row_len::<E>(&x.dims) * E::PER_LANE;
    let part = Part {
        q: &x.indexer.q[at * heads * width..][..place.n * heads * width],
        w: &x.indexer.w[at * heads..][..place.n * heads],
        keys: &x.packed[place.row * packed_row..][..packed_row],
        heads,
        width,
        ends,
        n: place.n,
        row,
    };
    let queries = take_of(&mut scratch, PART * part.packed_query());
    let scores = take(&mut scratch, PART * row);
    let signs_len = if x.keep { PART * x.dims.words() * row } else { 0 };
    let signs = take(&mut scratch, signs_len);
    let buffer = take(&mut scratch, row + LINE);
    if x.keep {
        score::<S, E, true>(s, &part, queries, scores, signs);
    } else if ends.iter().any(|&end| end > top_k) {
        score::<S, E, false>(s, &part, queries, scores, signs);
    }
    for (i, to) in rows.iter_mut().enumerate() {
        let Some(to) = to else { break };
        let scores = &scores[i * row..][..row];
        if !matches!(x.cuts, Cuts::Given(..)) {
            cuts[i] = if ends[i] > top_k {
                cut(s, scores, ends[i] - local, top_k - local, buffer)
            } else {
                Cut::ALL
            };
        }
        if x.keep {
            let len = x.dims.words() * row;
            let found = Found { scores, signs: &signs[i * len..][..len], row };
            list::<S, true>(s, &found, (ends[i], local), cuts[i], to);
        } else {
            let found = Found { scores, signs: &[], row };
            list::<S, false>(s, &found, (ends[i], local), cuts[i], to);
        }
    }
}
