//! One chunk of rows whose targets count: its logits, block by block of the vocabulary, and its gradients.

use super::rows::{dot, finish_row};
use super::softcap::{Exponentials, columns_per_sum, squashed};
use super::{Dims, Gradients, Inputs, Scale};
use crate::Context;
use crate::gemm::{Epilogue, Matrix, Operand, gemm, gemm_into, gemm_scratch_len};
use crate::pool::SharedSlice;

/// Columns of logits in a block of f32: what is made of them is used while it is still in the third-level cache.
const COLS: usize = 1536;
/// Rows that one task looks after outside products.
const TASK_ROWS: usize = 64;

/// What is known of a row.
#[derive(Clone, Copy, Default)]
struct Row {
    /// Row of x.
    index: u32,
    target: u32,
    /// Σ exp(logit).
    sum: f32,
    target_logit: f32,
    /// 1 - tanh² at the target.
    target_slope: f32,
}

/// Most rows of a chunk. More of them spread the traffic for w and dw over more work and take more memory: twice as many
/// are 3 % faster, for 29 MB of bf16 at a vocabulary of 32,768.
pub(super) const ROWS: usize = 416;

pub(super) struct Chunk<'a, T> {
    inputs: Inputs<'a, T>,
    backward: bool,
    rows: &'a mut [Row],
    /// The rows of x [rows, C].
    x: &'a mut [T],
    /// Σ over blocks of g·w [rows, C].
    gw: &'a mut [f32],
    /// g [rows, vocab], rows [`g_row`] apart; empty without gradients.
    g: &'a mut [T],
    sums: &'a mut [f32],
    gemm_scratch: &'a mut [f32],
}

/// Lengths of the parts of scratch, in f32 values.
struct Parts {
    gemm: usize,
    rows: usize,
    x: usize,
    gw: usize,
    sums: usize,
    g: usize,
}

impl Parts {
    fn new<T>(cx: &Context, dims: Dims, backward: bool) -> Parts {
        let rows = dims.n.min(ROWS);
        let cols = dims.vocab.min(block_cols::<T>());
        let logits = gemm_scratch_len(cx, rows, cols, dims.c);
        let dx = gemm_scratch_len(cx, rows, dims.c, cols);
        let dw = gemm_scratch_len(cx, dims.vocab, dims.c, rows);
        let lines = |len: usize| len.next_multiple_of(16);
        let elements = |len: usize| lines((len * size_of::<T>()).div_ceil(4));
        let kept = |len: usize| if backward { len } else { 0 };
        Parts {
            gemm: logits.max(dx).max(dw),
            rows: lines(rows * size_of::<Row>() / 4),
            x: elements(rows * dims.c),
            gw: kept(lines(rows * dims.c)),
            sums: lines(rows * dims.vocab.div_ceil(columns_per_sum(cx.isa))),
            g: kept(elements(rows * g_row::<T>(dims))),
        }
    }

    fn total(&self) -> usize {
        self.gemm + self.rows + self.x + self.gw + self.sums + self.g
    }
}

fn block_cols<T>() -> usize {
    COLS * 4 / size_of::<T>()
}

/// Distance of the rows of g: never a multiple of 4 KB, where all rows would share few places of a cache.
fn g_row<T>(dims: Dims) -> usize {
    let line = 64 / size_of::<T>();
    dims.vocab.next_multiple_of(line) + line
}

pub(super) fn scratch_len<T>(cx: &Context, dims: Dims, backward: bool) -> usize {
    Parts::new::<T>(cx, dims, backward).total()
}

/// Scratch as values of another type that any bits are values of, and that f32 is aligned for.
///
/// # Safety
/// `T` must be f32, bf16 or [`Row`].
unsafe fn cast<T>(scratch: &mut [f32]) -> &mut [T] {
    let len = scratch.len() * 4 / size_of::<T>();
    // SAFETY: as many bytes, aligned enough; any bits are a value, by the caller.
    unsafe { std::slice::from_raw_parts_mut(scratch.as_mut_ptr().cast(), len) }
}

impl<'a, T: Operand> Chunk<'a, T> {
    /// Takes the next rows, from `from` on, that have targets, and the row to go on from after them.
    pub fn gather<'s: 'a>(
        cx: &Context,
        inputs: Inputs<'a, T>,
        from: usize,
        backward: bool,
        scratch: &'s mut [f32],
    ) -> Option<(Chunk<'a, T>, usize)> {
        let Inputs { x, w, targets, dims } = inputs;
        let parts = Parts::new::<T>(cx, dims, backward);
        let needed = parts.total();
        assert!(scratch.len() >= needed, "scratch of {} values, {needed} needed", scratch.len());
        let mut rest = scratch;
        let mut take = |len: usize| {
            let (part, tail) = std::mem::take(&mut rest).split_at_mut(len);
            rest = tail;
            part
        };
        let gemm_scratch = take(parts.gemm);
        // SAFETY: any bits are a row, or a value of an operand's type.
        let (rows, kept_x) = unsafe { (cast::<Row>(take(parts.rows)), cast::<T>(take(parts.x))) };
        let (gw, sums) = (take(parts.gw), take(parts.sums));
        // SAFETY: as above.
        let g = unsafe { cast::<T>(take(parts.g)) };
        let (mut next, mut len) = (from, 0);
        while next < dims.n && len < ROWS {
            if let Ok(target) = u32::try_from(targets[next]) {
                rows[len] = Row { index: next as u32, target, ..Row::default() };
                len += 1;
            }
            next += 1;
        }
        let rows = &mut rows[..len];
        let (shared, shared_x) = (SharedSlice::new(rows), SharedSlice::new(kept_x));
        cx.pool.run(len.div_ceil(TASK_ROWS), &|task, _| {
            for i in task * TASK_ROWS..len.min((task + 1) * TASK_ROWS) {
                // SAFETY: each task has rows of its own.
                let (row, to) =
                    unsafe { (&mut shared.range(i, 1)[0], shared_x.range(i * dims.c, dims.c)) };
                let x = &x[row.index as usize * dims.c..][..dims.c];
                to.copy_from_slice(x);
                let product = dot(cx.isa, x, &w[row.target as usize * dims.c..][..dims.c]);
                let t = squashed(cx.isa, product, dims.softcap);
                row.target_logit = dims.softcap * t;
                row.target_slope = 1.0 - t * t;
            }
        });
        let chunk = Chunk { inputs, backward, rows, x: kept_x, gw, g, sums, gemm_scratch };
        (len > 0).then_some((chunk, next))
    }

    /// Sums the softmax's denominators and, for gradients, keeps g and sums g·w.
    pub fn scan_blocks(&mut self, cx: &Context) {
        let Dims { c, vocab, softcap, .. } = self.inputs.dims;
        let (len, row) = (self.rows.len(), g_row::<T>(self.inputs.dims));
        let columns = columns_per_sum(cx.isa);
        let per_row = vocab.div_ceil(columns);
        // Blocks begin where a tile of the whole would.
        let block = block_cols::<T>().next_multiple_of(columns);
        for from in (0..vocab).step_by(block) {
            let cols = block.min(vocab - from);
            let w = Matrix::row_major(&self.inputs.w[from * c..][..cols * c], cols, c);
            let x = Matrix::row_major(self.x, len, c);
            let g = if self.backward { self.g[from..].as_mut_ptr() } else { std::ptr::null_mut() };
            let sums = self.sums[from / columns..].as_mut_ptr();
            let sink = Exponentials { g, row, sums, per_row, softcap };
            // SAFETY: g has rows of at least `vocab` values from `from` on, sums one for each tile of a row.
            unsafe { gemm_into(cx, x, w.t(), sink, self.gemm_scratch) };
            if self.backward {
                let beta = if from == 0 { 0.0 } else { 1.0 };
                let g = Matrix::new(&self.g[from..], len, cols, row, 1);
                let gw = &mut self.gw[..len * c];
                gemm(cx, g, w, gw, Epilogue::Accumulate { beta }, self.gemm_scratch);
            }
        }
        for (row, sums) in self.rows.iter_mut().zip(self.sums.chunks_exact(per_row)) {
            row.sum = sums.iter().sum();
        }
    }

    pub fn write_losses(&self, losses: &mut [f32]) {
        for row in self.rows.iter() {
            losses[row.index as usize] = row.sum.ln() - row.target_logit;
        }
    }

    /// Writes the rows' dx and adds their part of dw. `valid` is the number of all targets that count.
    pub fn back_propagate(&mut self, cx: &Context, gradients: &mut Gradients<'_>, valid: usize) {
        let Dims { c, vocab, .. } = self.inputs.dims;
        let (len, g_row) = (self.rows.len(), g_row::<T>(self.inputs.dims));
        let (rows, w, gw) = (&*self.rows, self.inputs.w, &*self.gw);
        let (x, g) = (SharedSlice::new(self.x), SharedSlice::new(self.g));
        let dx = SharedSlice::new(gradients.dx);
        let scale = gradients.scale;
        cx.pool.run(len.div_ceil(TASK_ROWS), &|task, _| {
            for i in task * TASK_ROWS..len.min((task + 1) * TASK_ROWS) {
                let row = rows[i];
                let (index, target) = (row.index as usize, row.target as usize);
                let scale = match scale {
                    Scale::PerToken(dloss) => dloss[index],
                    Scale::Mean(upstream) => upstream / valid as f32,
                };
                let (factor, at_target) = (scale / row.sum, scale * row.target_slope);
                // SAFETY: each task has rows of its own.
                let (x, dx, g) = unsafe {
                    (x.range(i * c, c), dx.range(index * c, c), g.range(i * g_row + target, 1))
                };
                let (gw, w) = (&gw[i * c..][..c], &w[target * c..][..c]);
                finish_row(cx.isa, factor, at_target, gw, w, x, dx);
                g[0] = T::from_f32(g[0].to_f32() - row.sum * row.target_slope);
            }
        });
        let g = Matrix::new(self.g, len, vocab, g_row, 1);
        let x = Matrix::row_major(self.x, len, c);
        let epilogue = Epilogue::Accumulate { beta: gradients.dw_beta };
        gemm(cx, g.t(), x, &mut gradients.dw[..vocab * c], epilogue, self.gemm_scratch);
    }
}
