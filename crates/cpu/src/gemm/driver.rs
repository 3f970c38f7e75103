//! Cache blocking and the division of a product into tasks.
//!
//! B is packed one block (`kc` x `nc`) at a time, by all threads, while they work on the block before. Tasks take some
//! rows of A each: they pack them into their core's second-level cache, and every panel of B, brought nearer once, meets
//! all of them. The split of k depends on k alone and every element is summed by one task in the order of k, so results
//! do not depend on which thread computes what, nor on how many there are.

use super::matrix::Matrix;
use super::pack;
use super::tile::{LINE, Start, Tile, TileArgs};
use super::{Epilogue, Output};
use crate::pool::SharedSlice;
use crate::{Context, simd_fn};
use std::ops::Range;

/// Longest block of k. Each block but the first reads what the one before it has written to C; a panel of A, 24 KB with
/// AVX-512, still stays in a first-level cache.
const KC: usize = 768;
/// Values in a packed block of B, of which there are two: 2.4 MB of a shared third-level cache.
const B_BLOCK: usize = 768 * 768;
/// Values of A that a task packs at once: 0.3 MB of a second-level cache of 1 MB. Each panel of B that comes from the
/// third level meets all of them.
const A_BLOCK: usize = 96 * 768;
/// Products of fewer multiply-adds than this are not worth waking other threads for.
const PARALLEL_FROM: usize = 1 << 18;

/// How a product is cut up.
pub(super) struct Plan {
    mr: usize,
    nr: usize,
    /// Steps of k in a block.
    kc: usize,
    /// Columns in a block.
    nc: usize,
    /// Most rows of A that one task packs.
    mc: usize,
    parallel: bool,
    threads: usize,
}

impl Plan {
    pub(super) fn new(cx: &Context, m: usize, n: usize, k: usize) -> Self {
        let (mr, nr) = tile_shape(cx.isa);
        let kc = split_evenly(k, KC, 8);
        let nc = split_evenly(n, (B_BLOCK / kc.max(64)).max(nr), nr);
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

/// Enough for this product and every smaller one; how evenly a smaller one happens to be cut makes no difference.
pub(super) fn scratch_len(cx: &Context, m: usize, n: usize, k: usize) -> usize {
    let (mr, nr) = tile_shape(cx.isa);
    let depth = k.next_multiple_of(8).clamp(8, KC);
    // Two blocks, each rounded up in both directions, of a B that may not fill them.
    let whole = (k.next_multiple_of(8) + 16).saturating_mul(n.next_multiple_of(nr) + 2 * nr);
    let packed_b = whole.min(2 * (B_BLOCK + KC * nr)).next_multiple_of(2 * LINE);
    let packed_a =
        (depth * m.next_multiple_of(mr)).min(A_BLOCK.max(KC * mr)).next_multiple_of(LINE);
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
struct Stage<'a> {
    /// All rows of A, the block's steps of k.
    a: Matrix<'a>,
    /// The block.
    b: Matrix<'a>,
    packed_b: *mut f32,
    /// First column of the block in C.
    col: usize,
    output: Output<'a>,
    first: bool,
    last: bool,
}

// SAFETY: tasks pack disjoint parts of B in the run before the one that reads them, and write to disjoint parts of C.
unsafe impl Send for Stage<'_> {}
// SAFETY: as above.
unsafe impl Sync for Stage<'_> {}

pub(super) fn run(
    cx: &Context,
    a: Matrix<'_>,
    b: Matrix<'_>,
    output: Output<'_>,
    scratch: &mut [f32],
) {
    let (m, n, k) = (a.rows(), b.cols(), a.cols());
    let plan = Plan::new(cx, m, n, k);
    let needed = scratch_len(cx, m, n, k);
    assert!(scratch.len() >= needed, "scratch of {} values, {needed} needed", scratch.len());
    let skip = scratch.as_ptr().align_offset(4 * LINE).min(LINE);
    let (k_blocks, stages) = plan.stages(n, k);
    let (packed_b, packed_a) = scratch[skip..].split_at_mut(plan.packed_b_len() * stages.min(2));
    let packed_a = SharedSlice::new(packed_a);
    // Only stages that follow one another are alive at once: two places for packed blocks, used in turns.
    let places = SharedSlice::new(packed_b).as_ptr();
    let stage = |number: usize| {
        let (col, step) = (number / k_blocks * plan.nc, number % k_blocks * plan.kc);
        let (cols, depth) = (plan.nc.min(n - col), plan.kc.min(k - step));
        Stage {
            a: a.part(0, step, m, depth),
            b: b.part(step, col, depth, cols),
            packed_b: places.wrapping_add(number % 2 * plan.packed_b_len()),
            col,
            output,
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
fn run_tasks(
    cx: &Context,
    plan: &Plan,
    current: Option<Stage<'_>>,
    next: Option<Stage<'_>>,
    packed_a: SharedSlice<f32>,
) {
    let grid = current.map(|stage| (stage, Grid::new(plan, &stage)));
    let computing = grid.map_or(0, |(_, grid)| grid.row_tasks * grid.col_tasks);
    let depth = next.map_or(0, |stage| stage.a.cols());
    // Whole cache lines of the source to each task, whichever way it lies.
    let pack_steps = depth.div_ceil(4 * plan.threads).next_multiple_of(LINE).max(LINE);
    let task = |number: usize, thread: usize| {
        if let Some((stage, grid)) = grid.filter(|_| number < computing) {
            let (rows, cols) = grid.part(plan, &stage, number);
            let len = plan.packed_a_len();
            // SAFETY: one task at a time runs under a thread's number.
            let packed_a = unsafe { packed_a.range(thread * len, len) };
            compute(cx.isa, stage, rows, cols, packed_a);
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

/// The tasks that compute a stage: shares of its rows by shares of its columns.
#[derive(Clone, Copy)]
struct Grid {
    panels: usize,
    col_panels: usize,
    row_tasks: usize,
    col_tasks: usize,
}

impl Grid {
    fn new(plan: &Plan, stage: &Stage<'_>) -> Self {
        let panels = stage.a.rows().div_ceil(plan.mr);
        let col_panels = stage.b.cols().div_ceil(plan.nr);
        let row_tasks =
            panels.div_ceil(plan.mc / plan.mr).next_multiple_of(plan.threads).min(panels);
        let col_tasks = (4 * plan.threads).div_ceil(row_tasks).min(col_panels.div_ceil(2));
        Grid { panels, col_panels, row_tasks, col_tasks }
    }

    /// Rows and columns of one task.
    fn part(&self, plan: &Plan, stage: &Stage<'_>, number: usize) -> (Range<usize>, Range<usize>) {
        let (row, col) = (number / self.col_tasks, number % self.col_tasks);
        let rows = share(self.panels, self.row_tasks, row, plan.mr, stage.a.rows());
        let cols = share(self.col_panels, self.col_tasks, col, plan.nr, stage.b.cols());
        (rows, cols)
    }
}

/// The elements of one of `parts` nearly equal shares of `panels` panels that cover `total` elements.
fn share(panels: usize, parts: usize, part: usize, panel: usize, total: usize) -> Range<usize> {
    let bound = |part: usize| (panels * part / parts * panel).min(total);
    bound(part)..bound(part + 1)
}

simd_fn! { fn pack_b(stage: Stage<'_>, from: usize, to: usize) = pack_b_kernel }
#[inline(always)]
fn pack_b_kernel<S: Tile>(s: S, stage: Stage<'_>, from: usize, to: usize) {
    // SAFETY: the packed block has room for all panels, and `run_tasks` gives each task steps of its own.
    unsafe { pack::pack(s, stage.b.t(), S::NR, from..to, stage.packed_b) };
}

simd_fn! {
    fn compute(
        stage: Stage<'_>,
        rows: Range<usize>,
        cols: Range<usize>,
        packed_a: &mut [f32],
    ) = compute_kernel
}
#[inline(always)]
fn compute_kernel<S: Tile>(
    s: S,
    stage: Stage<'_>,
    rows: Range<usize>,
    cols: Range<usize>,
    packed_a: &mut [f32],
) {
    let depth = stage.a.cols();
    let a = stage.a.part(rows.start, 0, rows.len(), depth);
    assert!(packed_a.len() >= rows.len().next_multiple_of(S::MR) * depth);
    // SAFETY: the panels fit, by the assertion.
    unsafe { pack::pack(s, a, S::MR, 0..depth, packed_a.as_mut_ptr()) };
    for col in cols.clone().step_by(S::NR) {
        for row in rows.clone().step_by(S::MR) {
            if stage.output.symmetric && stage.col + col >= row + S::MR {
                continue;
            }
            let offset = row * stage.output.ldc + stage.col + col;
            // SAFETY: panels of A and B lie at these places, shares begin on whole panels; C holds all rows and
            // columns (checked when the output was made), and no other task has this tile.
            unsafe {
                s.tile(&TileArgs {
                    depth,
                    a: packed_a.as_ptr().add((row - rows.start) * depth),
                    b: stage.packed_b.add(col * depth),
                    c: stage.output.c.add(offset),
                    ldc: stage.output.ldc,
                    rows: S::MR.min(rows.end - row),
                    cols: S::NR.min(cols.end - col),
                    start: start(&stage, offset),
                    relu_squared: stage.last
                        && matches!(stage.output.epilogue, Epilogue::ReluSquared),
                });
            }
        }
    }
}

/// What the tile at `offset` adds its sums to: later blocks of k go on from what the first one wrote.
#[inline(always)]
fn start(stage: &Stage<'_>, offset: usize) -> Start {
    if !stage.first {
        return Start::C;
    }
    match stage.output.epilogue {
        Epilogue::Set | Epilogue::ReluSquared => Start::Zero,
        Epilogue::Accumulate { beta: 0.0 } => Start::Zero,
        Epilogue::Accumulate { beta: 1.0 } => Start::C,
        Epilogue::Accumulate { beta } => Start::Scaled(beta),
        Epilogue::AddResidual(r) => Start::Residual(r.as_ptr().wrapping_add(offset)),
    }
}
