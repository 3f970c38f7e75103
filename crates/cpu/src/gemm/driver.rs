//! Cache blocking and the division of a product into tasks.
//!
//! B is packed one block (`kc` x `nc`) at a time, by all threads, while they work on the block before. Tasks take some
//! rows of A each: they pack them into their core's second-level cache, and every panel of B, brought nearer once, meets
//! all of them. The split of k depends on k alone and every element is summed by one task in the order of k, so results
//! do not depend on which thread computes what, nor on how many there are.

use super::ahead::Ahead;
use super::matrix::Matrix;
use super::operand::Operand;
use super::pack;
use super::sink::{Place, Sink};
use super::tile::{LINE, Panels, Tile};
use crate::pool::SharedSlice;
use crate::{Context, simd_fn};
use std::ops::Range;

/// Longest block of k, in lanes. Each block but the first reads what the one before it has written to C; a panel of A, 24 KB with
/// AVX-512, still stays in a first-level cache.
const KC: usize = 768;
/// Lanes in a packed block of B, of which there are two: 2.4 MB of a shared third-level cache.
const B_BLOCK: usize = 768 * 768;
/// Lanes of A that a task packs at once: 0.2 MB of a second-level cache of 1 MB, which also holds what the next task will
/// pack. Each panel of B that comes from the third level meets all of them.
const A_BLOCK: usize = 64 * 768;
/// Sums kept beside a C of bf16, unless a single column of tiles has more: 16 MB.
const KEPT_SUMS: usize = 4 << 20;
/// Products of fewer multiply-adds than this are not worth waking other threads for.
const PARALLEL_FROM: usize = 1 << 18;

/// How a product is cut up. Lengths along k are in lanes.
pub(super) struct Plan {
    mr: usize,
    nr: usize,
    /// Lanes of k in a block.
    kc: usize,
    /// Columns in a block.
    nc: usize,
    /// Most rows of A that one task packs.
    mc: usize,
    parallel: bool,
    threads: usize,
}

impl Plan {
    /// For `k` lanes; `cut`: whether k may be cut into blocks; `widest`: most columns in a block.
    fn new(cx: &Context, m: usize, n: usize, k: usize, cut: bool, widest: usize) -> Self {
        let (mr, nr) = tile_shape(cx.isa);
        let kc = split_evenly(k, longest_block(k, cut), 8);
        let nc = split_evenly(n, (B_BLOCK / kc.max(64)).min(widest).max(nr), nr);
        let mc = max_rows(kc, mr).min(m.next_multiple_of(mr));
        let work = m.saturating_mul(n).saturating_mul(k);
        let parallel = cx.pool.threads() > 1 && work >= PARALLEL_FROM;
        Plan { mr, nr, kc, nc, mc, parallel, threads: cx.pool.threads() }
    }

    /// Number of blocks of k, and of all blocks of B.
    fn stages(&self, n: usize, k: usize) -> (usize, usize) {
        let k_blocks = k.div_ceil(self.kc).max(1);
        (k_blocks, k_blocks * n.div_ceil(self.nc))
    }

    fn packed_b_len(&self) -> usize {
        (self.kc * self.nc).next_multiple_of(LINE)
    }

    fn packed_a_len(&self) -> usize {
        (self.kc * self.mc).next_multiple_of(LINE)
    }
}

fn longest_block(k: usize, cut: bool) -> usize {
    if cut { KC } else { k.max(KC) }
}

/// Where a C that cannot hold sums between blocks of k keeps them: a row of `row` sums for each row of C, as many as one
/// block of B has columns. `None` for a k of one block (up to twice the usual length is better than a cut).
pub(super) fn kept_sums(cx: &Context, m: usize, n: usize, lanes: usize) -> Option<Kept> {
    let (mr, nr) = tile_shape(cx.isa);
    let rows = m.next_multiple_of(mr);
    let row = (KEPT_SUMS / rows.max(1) / nr).clamp(1, B_BLOCK / KC / nr) * nr;
    is_long(lanes).then(|| Kept { rows, row: row.min(n.next_multiple_of(nr)) })
}

/// Enough for the sums that this product and every smaller one keep.
pub(super) fn kept_len(cx: &Context, m: usize, n: usize, lanes: usize) -> usize {
    let (mr, nr) = tile_shape(cx.isa);
    let rows = m.next_multiple_of(mr);
    let block = rows * n.next_multiple_of(nr).min(B_BLOCK / KC);
    if is_long(lanes) { block.min(KEPT_SUMS.max(rows * nr)) } else { 0 }
}

fn is_long(lanes: usize) -> bool {
    lanes > 2 * KC
}

/// Extent of the sums that are kept beside C, whole tiles.
#[derive(Clone, Copy)]
pub(super) struct Kept {
    pub rows: usize,
    pub row: usize,
}

impl Kept {
    pub fn len(&self) -> usize {
        self.rows * self.row
    }
}

/// Enough for this product and every smaller one, of any types, without [`kept_sums`]; how evenly a smaller one happens
/// to be cut makes no difference.
pub(super) fn scratch_len(cx: &Context, m: usize, n: usize, k: usize) -> usize {
    let (mr, nr) = tile_shape(cx.isa);
    // Lanes of f32 in blocks, or pairs of bf16 in a single one.
    let longest = longest_block(k.div_ceil(2), false);
    let depth = k.next_multiple_of(8).clamp(8, longest.next_multiple_of(8));
    // Two blocks, each rounded up in both directions, of a B that may not fill them.
    let whole = (k.next_multiple_of(8) + 16).saturating_mul(n.next_multiple_of(nr) + 2 * nr);
    let packed_b = whole.min(2 * (B_BLOCK + depth * nr)).next_multiple_of(2 * LINE);
    let packed_a =
        (depth * m.next_multiple_of(mr)).min(A_BLOCK.max(depth * mr)).next_multiple_of(LINE);
    LINE + packed_b + cx.pool.threads() * packed_a
}

/// Rows of A in a task, whole panels.
fn max_rows(kc: usize, mr: usize) -> usize {
    // Short products would make a single task of all rows.
    (A_BLOCK / kc.max(256) / mr).max(1) * mr
}

/// The length of equal parts of `total`, none over `limit`, that are multiples of `unit`.
fn split_evenly(total: usize, limit: usize, unit: usize) -> usize {
    let parts = total.div_ceil(limit).max(1);
    total.div_ceil(parts).next_multiple_of(unit).min(total.next_multiple_of(unit)).max(unit)
}

simd_fn! { fn tile_shape() -> (usize, usize) = tile_shape_kernel }
#[inline(always)]
fn tile_shape_kernel<S: Tile>(_s: S) -> (usize, usize) {
    (S::MR, S::NR)
}

/// One block of B against all rows of A.
#[derive(Clone, Copy)]
struct Stage<'a, T, K> {
    /// All rows of A, the block's values of k.
    a: Matrix<'a, T>,
    /// The block.
    b: Matrix<'a, T>,
    packed_b: *mut T,
    /// First column of the block in C.
    col: usize,
    sink: K,
    /// Whether tiles above the diagonal may be left out.
    symmetric: bool,
    first: bool,
    last: bool,
}

// SAFETY: tasks pack disjoint parts of B in the run before the one that reads them, and write to disjoint parts of C.
unsafe impl<T: Operand, K: Sink> Send for Stage<'_, T, K> {}
// SAFETY: as above.
unsafe impl<T: Operand, K: Sink> Sync for Stage<'_, T, K> {}

impl<T: Operand, K: Sink> Stage<'_, T, K> {
    /// Lanes of the block's depth.
    fn depth(&self) -> usize {
        self.a.cols().div_ceil(T::PER_LANE)
    }
}

/// Runs a product whose shapes have been checked; C must be as large as `sink` was told.
pub(super) fn run<T: Operand, K: Sink>(
    cx: &Context,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    sink: K,
    symmetric: bool,
    scratch: &mut [f32],
) {
    let (m, n, k) = (a.rows(), b.cols(), a.cols());
    let lanes = k.div_ceil(T::PER_LANE);
    let plan = Plan::new(cx, m, n, lanes, K::KEEPS_SUMS, sink.widest());
    let needed = scratch_len(cx, m, n, k);
    assert!(scratch.len() >= needed, "scratch of {} values, {needed} needed", scratch.len());
    let skip = scratch.as_ptr().align_offset(4 * LINE).min(LINE);
    let (k_blocks, stages) = plan.stages(n, lanes);
    let (packed_b, packed_a) = scratch[skip..].split_at_mut(plan.packed_b_len() * stages.min(2));
    let packed_a = SharedSlice::new(packed_a);
    // Only stages that follow one another are alive at once: two places for packed blocks, used in turns.
    let places = SharedSlice::new(packed_b).as_ptr();
    let stage = |number: usize| {
        let (col, step) = (number / k_blocks * plan.nc, number % k_blocks * plan.kc * T::PER_LANE);
        let (cols, depth) = (plan.nc.min(n - col), (plan.kc * T::PER_LANE).min(k - step));
        Stage {
            a: a.part(0, step, m, depth),
            b: b.part(step, col, depth, cols),
            packed_b: places.wrapping_add(number % 2 * plan.packed_b_len()).cast(),
            col,
            sink,
            symmetric,
            first: step == 0,
            last: step + depth >= k,
        }
    };
    run_tasks(cx, &plan, None, Some(stage(0)), packed_a);
    for number in 0..stages {
        let next = (number + 1 < stages).then(|| stage(number + 1));
        run_tasks(cx, &plan, Some(stage(number)), next, packed_a);
    }
}

/// Computes one stage while packing the next: small tasks that do not wait for the others, and fill the time in which
/// some threads still compute.
fn run_tasks<T: Operand, K: Sink>(
    cx: &Context,
    plan: &Plan,
    current: Option<Stage<'_, T, K>>,
    next: Option<Stage<'_, T, K>>,
    packed_a: SharedSlice<f32>,
) {
    let grid = current.map(|stage| (stage, Grid::new(plan, stage.a.rows(), stage.b.cols())));
    let computing = grid.map_or(0, |(_, grid)| grid.row_tasks * grid.col_tasks);
    let depth = next.map_or(0, |stage| stage.depth());
    // Whole cache lines of the source to each task, whichever way it lies.
    let pack_steps = depth.div_ceil(4 * plan.threads).next_multiple_of(LINE).max(LINE);
    let task = |number: usize, thread: usize| {
        if let Some((stage, grid)) = grid.filter(|_| number < computing) {
            let (rows, cols) = grid.part(number);
            let len = plan.packed_a_len();
            // SAFETY: one task at a time runs under a thread's number.
            let packed_a = unsafe { packed_a.range(thread * len, len) };
            let upcoming = upcoming(plan, &stage, grid, number, next.as_ref());
            compute(cx.isa, stage, rows, cols, upcoming, packed_a);
        } else if let Some(stage) = next {
            let from = (number - computing) * pack_steps;
            pack_b(cx.isa, stage, from, depth.min(from + pack_steps));
        }
    };
    let tasks = computing + depth.div_ceil(pack_steps);
    if plan.parallel {
        cx.pool.run(tasks, &task);
    } else {
        (0..tasks).for_each(|number| task(number, 0));
    }
}

/// The rows of A that the thread of task `number` will most likely need next.
fn upcoming<'a, T: Operand, K: Sink>(
    plan: &Plan,
    stage: &Stage<'a, T, K>,
    grid: Grid,
    number: usize,
    next: Option<&Stage<'a, T, K>>,
) -> Ahead {
    let (later, tasks) = (number + plan.threads, grid.row_tasks * grid.col_tasks);
    let (a, task) = if later < tasks {
        (stage.a, later)
    } else {
        match next {
            Some(next) if later < 2 * tasks => (next.a, later - tasks),
            _ => return Ahead::nothing(),
        }
    };
    let (rows, _) = grid.part(task);
    Ahead::new(a.part(rows.start, 0, rows.len(), a.cols()))
}

/// The tasks that compute a stage: shares of its rows by shares of its columns.
#[derive(Clone, Copy)]
struct Grid {
    rows: Axis,
    cols: Axis,
    row_tasks: usize,
    col_tasks: usize,
}

/// Rows or columns of C, in panels.
#[derive(Clone, Copy)]
struct Axis {
    total: usize,
    panel: usize,
}

impl Axis {
    fn panels(self) -> usize {
        self.total.div_ceil(self.panel)
    }

    /// The elements of one of `parts` nearly equal shares, whole panels but for the last.
    fn share(self, parts: usize, part: usize) -> Range<usize> {
        let bound = |part: usize| (self.panels() * part / parts * self.panel).min(self.total);
        bound(part)..bound(part + 1)
    }
}

impl Grid {
    fn new(plan: &Plan, rows: usize, cols: usize) -> Self {
        let rows = Axis { total: rows, panel: plan.mr };
        let cols = Axis { total: cols, panel: plan.nr };
        let panels = rows.panels();
        let row_tasks =
            panels.div_ceil(plan.mc / plan.mr).next_multiple_of(plan.threads).min(panels);
        let col_tasks = (4 * plan.threads).div_ceil(row_tasks).min(cols.panels().div_ceil(2));
        Grid { rows, cols, row_tasks, col_tasks }
    }

    /// Rows and columns of one task.
    fn part(&self, number: usize) -> (Range<usize>, Range<usize>) {
        let (row, col) = (number / self.col_tasks, number % self.col_tasks);
        (self.rows.share(self.row_tasks, row), self.cols.share(self.col_tasks, col))
    }
}

simd_fn! { fn pack_b[T: Operand, K: Sink](stage: Stage<'_, T, K>, from: usize, to: usize) = pack_b_kernel }
#[inline(always)]
fn pack_b_kernel<S: Tile, T: Operand, K: Sink>(
    s: S,
    stage: Stage<'_, T, K>,
    from: usize,
    to: usize,
) {
    // SAFETY: the packed block has room for all panels, and `run_tasks` gives each task steps of its own.
    unsafe { pack::pack(s, stage.b.t(), S::NR, from..to, stage.packed_b) };
}

simd_fn! {
    fn compute[T: Operand, K: Sink](
        stage: Stage<'_, T, K>,
        rows: Range<usize>,
        cols: Range<usize>,
        upcoming: Ahead,
        packed_a: &mut [f32],
    ) = compute_kernel
}
#[inline(always)]
fn compute_kernel<S: Tile, T: Operand, K: Sink>(
    s: S,
    stage: Stage<'_, T, K>,
    rows: Range<usize>,
    cols: Range<usize>,
    mut upcoming: Ahead,
    packed_a: &mut [f32],
) {
    let depth = stage.depth();
    let a = stage.a.part(rows.start, 0, rows.len(), stage.a.cols());
    assert!(packed_a.len() >= rows.len().next_multiple_of(S::MR) * depth);
    let packed_a: *mut T = packed_a.as_mut_ptr().cast();
    // SAFETY: the panels fit, by the assertion; a value of f32 takes as much room as a lane.
    unsafe { pack::pack(s, a, S::MR, 0..depth, packed_a) };
    let tiles = rows.len().div_ceil(S::MR) * cols.len().div_ceil(S::NR);
    let lines = upcoming.lines().div_ceil(tiles.max(1));
    for col in cols.clone().step_by(S::NR) {
        for row in rows.clone().step_by(S::MR) {
            if stage.symmetric && stage.col + col >= row + S::MR {
                continue;
            }
            upcoming.fetch(s, lines);
            let place = Place {
                row,
                col: stage.col + col,
                block_col: col,
                rows: S::MR.min(rows.end - row),
                cols: S::NR.min(cols.end - col),
                first: stage.first,
                last: stage.last,
            };
            // SAFETY: panels of A and B lie at these places, shares begin on whole panels; C holds all rows and
            // columns (checked when the sink was made), and no other task has this tile.
            unsafe {
                let a = packed_a.add((row - rows.start) * depth * T::PER_LANE).cast_const();
                let b = stage.packed_b.add(col * depth * T::PER_LANE).cast_const();
                s.tile(Panels { depth, a, b }, &stage.sink, place);
            }
        }
    }
}
