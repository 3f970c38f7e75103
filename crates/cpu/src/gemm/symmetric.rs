//! Completion of products that are known to be symmetric: only tiles on and below the diagonal are computed.

use super::tile::{Block, Tile};
use crate::pool::SharedSlice;
use crate::{Context, simd_fn};

/// Rows that one task completes; a multiple of every vector's length.
const ROWS: usize = 32;

/// Copies what lies below the diagonal of the n x n matrix `c` to above it.
pub(super) fn mirror(cx: &Context, c: &mut [f32], n: usize) {
    assert_eq!(c.len(), n * n, "square of {n}");
    let c = SharedSlice::new(c);
    cx.pool.run(n.div_ceil(ROWS), &|number, _| {
        complete_rows(cx.isa, c, n, number * ROWS..n.min((number + 1) * ROWS));
    });
}

simd_fn! { fn complete_rows(c: SharedSlice<f32>, n: usize, rows: std::ops::Range<usize>) = complete_rows_kernel }
#[inline(always)]
fn complete_rows_kernel<S: Tile>(
    s: S,
    c: SharedSlice<f32>,
    n: usize,
    rows: std::ops::Range<usize>,
) {
    let c = c.as_ptr();
    for row in rows.clone().step_by(S::LANES) {
        let count = S::LANES.min(rows.end - row);
        for i in row..row + count {
            for j in i + 1..row + count {
                // SAFETY: both indices are below n. Only this task writes to these rows right of the diagonal, and
                // no task writes to its left.
                unsafe { *c.add(i * n + j) = *c.add(j * n + i) };
            }
        }
        for col in (row + count..n).step_by(S::LANES) {
            let there = S::LANES.min(n - col);
            // The transpose of rows `col..` at columns `row..`, which has `count` rows of `there` values.
            let full = if there == S::LANES { count } else { 0 };
            let block =
                Block { rows: there, depth: count, values: count, step: n, full, width: there };
            // SAFETY: as above.
            unsafe { s.transpose(c.add(col * n + row), n, c.add(row * n + col), &block) };
        }
    }
}
