//! One chunk of rows whose targets count: its logits, block by block of the vocabulary, and its gradients.

use super::softcap::{Row, exp_block};
use super::{COLS, Dims, Gradients, Inputs, ROWS, Scale};
use crate::Context;
use crate::gemm::{Epilogue, Matrix, gemm, gemm_scratch_len};

pub(super) struct Chunk<'a> {
    inputs: Inputs<'a>,
    backward: bool,
    rows: [Row; ROWS],
    len: usize,
    /// The rows of x [len, C].
    x: &'a mut [f32],
    /// Σ over blocks of g·w [len, C].
    gw: &'a mut [f32],
    /// g, one block [len, columns of the block] after another; one block only without gradients.
    g: &'a mut [f32],
    gemm_scratch: &'a mut [f32],
}

/// Rows that a chunk holds at most.
fn max_rows(dims: Dims) -> usize {
    dims.n.min(ROWS)
}

fn gemm_len(cx: &Context, dims: Dims) -> usize {
    let (rows, cols) = (max_rows(dims), dims.vocab.min(COLS));
    let logits = gemm_scratch_len(cx, rows, cols, dims.c);
    let dx = gemm_scratch_len(cx, rows, dims.c, cols);
    let dw = gemm_scratch_len(cx, cols, dims.c, rows);
    logits.max(dx).max(dw)
}

pub(super) fn scratch_len(cx: &Context, dims: Dims, backward: bool) -> usize {
    let cols = if backward { dims.vocab } else { dims.vocab.min(COLS) };
    let (x, gw) = (dims.c, if backward { dims.c } else { 0 });
    gemm_len(cx, dims) + max_rows(dims) * (x + gw + cols)
}

impl<'a> Chunk<'a> {
    /// Takes the next rows, from `from` on, that have targets, and the row to go on from after them.
    pub fn gather<'s: 'a>(
        cx: &Context,
        inputs: Inputs<'a>,
        from: usize,
        backward: bool,
        scratch: &'s mut [f32],
    ) -> Option<(Chunk<'a>, usize)> {
        let Inputs { x, targets, dims, .. } = inputs;
        let needed = scratch_len(cx, dims, backward);
        assert!(scratch.len() >= needed, "scratch of {} values, {needed} needed", scratch.len());
        let (gemm_scratch, scratch) = scratch.split_at_mut(gemm_len(cx, dims));
        let (rows_of_x, scratch) = scratch.split_at_mut(max_rows(dims) * dims.c);
        let (gw, g) = scratch.split_at_mut(if backward { rows_of_x.len() } else { 0 });
        let mut chunk = Chunk {
            inputs,
            backward,
            rows: [Row::default(); ROWS],
            len: 0,
            x: rows_of_x,
            gw,
            g,
            gemm_scratch,
        };
        let mut next = from;
        while next < dims.n && chunk.len < ROWS {
            if let Ok(target) = u32::try_from(targets[next]) {
                chunk.rows[chunk.len] = Row { index: next as u32, target, ..Row::default() };
                chunk.x[chunk.len * dims.c..][..dims.c]
                    .copy_from_slice(&x[next * dims.c..][..dims.c]);
                chunk.len += 1;
            }
            next += 1;
        }
        (chunk.len > 0).then_some((chunk, next))
    }

    /// First and last column of each block of the vocabulary.
    fn blocks(&self) -> impl DoubleEndedIterator<Item = (usize, usize)> + use<> {
        let vocab = self.inputs.dims.vocab;
        (0..vocab.div_ceil(COLS)).map(move |block| (block * COLS, vocab.min((block + 1) * COLS)))
    }

    /// Where the block of columns `from..to` lies in g.
    fn place(&self, from: usize, to: usize) -> std::ops::Range<usize> {
        let start = if self.backward { self.len * from } else { 0 };
        start..start + self.len * (to - from)
    }

    /// Sums the softmax's denominators and, for gradients, keeps g and sums g·w.
    pub fn scan_blocks(&mut self, cx: &Context) {
        let (c, len) = (self.inputs.dims.c, self.len);
        for (from, to) in self.blocks() {
            let cols = to - from;
            let place = self.place(from, to);
            let g = &mut self.g[place];
            let w = Matrix::row_major(&self.inputs.w[from * c..to * c], cols, c);
            let x = Matrix::row_major(self.x, len, c);
            gemm(cx, x, w.t(), g, Epilogue::Set, self.gemm_scratch);
            exp_block(cx, g, cols, from, self.inputs.dims.softcap, &mut self.rows[..len]);
            if self.backward {
                let beta = if from == 0 { 0.0 } else { 1.0 };
                let g = Matrix::row_major(g, len, cols);
                let gw = &mut self.gw[..len * c];
                gemm(cx, g, w, gw, Epilogue::Accumulate { beta }, self.gemm_scratch);
            }
        }
    }

    pub fn write_losses(&self, losses: &mut [f32]) {
        for row in &self.rows[..self.len] {
            losses[row.index as usize] = row.sum.ln() - row.target_logit;
        }
    }

    /// Writes the rows' dx and adds their part of dw. `valid` is the number of all targets that count.
    pub fn back_propagate(&mut self, cx: &Context, gradients: &mut Gradients<'_>, valid: usize) {
        let (c, len) = (self.inputs.dims.c, self.len);
        for i in 0..len {
            let row = self.rows[i];
            let scale = match gradients.scale {
                Scale::PerToken(dloss) => dloss[row.index as usize],
                Scale::Mean(upstream) => upstream / valid as f32,
            };
            let (index, target) = (row.index as usize, row.target as usize);
            let factor = scale / row.sum;
            let at_target = scale * row.target_slope;
            let dx = &mut gradients.dx[index * c..][..c];
            let w = &self.inputs.w[target * c..][..c];
            let (x, gw) = (&mut self.x[i * c..][..c], &self.gw[i * c..][..c]);
            for (((dx, x), gw), w) in dx.iter_mut().zip(x).zip(gw).zip(w) {
                *dx = factor * gw - at_target * w;
                *x *= factor;
            }
            self.g[place_in_g(len, self.inputs.dims.vocab, i, target)] -=
                row.sum * row.target_slope;
        }
        // The last blocks are the likeliest to be in the cache still.
        for (from, to) in self.blocks().rev() {
            let g = Matrix::row_major(&self.g[self.place(from, to)], len, to - from);
            let x = Matrix::row_major(self.x, len, c);
            let dw = &mut gradients.dw[from * c..to * c];
            let epilogue = Epilogue::Accumulate { beta: gradients.dw_beta };
            gemm(cx, g.t(), x, dw, epilogue, self.gemm_scratch);
        }
    }
}

/// Where g of one row and one token lies.
fn place_in_g(len: usize, vocab: usize, row: usize, token: usize) -> usize {
    let from = token - token % COLS;
    let cols = COLS.min(vocab - from);
    len * from + row * cols + token - from
}
