//! Table look-up and its gradient.

use crate::Context;
use crate::parallel::{Raw, rows as row_groups};
use crate::pool::SharedSlice;

/// `out[i] = table[ids[i]]`, rows of `width`.
///
/// # Panics
/// When an id is not a row of the table.
pub(crate) fn embed(cx: &Context, table: &[f32], ids: &[i32], width: usize, out: &mut [f32]) {
    let out = SharedSlice::new(out);
    row_groups(cx, ids.len(), width, &|first, count| {
        // SAFETY: groups of rows are disjoint.
        let rows = unsafe { out.range(first * width, count * width) };
        for (row, &id) in rows.chunks_exact_mut(width).zip(&ids[first..]) {
            let at = usize::try_from(id).expect("ids are not negative") * width;
            row.copy_from_slice(&table[at..at + width]);
        }
    });
}

/// What the table's gradient held before.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Before {
    /// Nothing: rows without an id become 0.
    Nothing,
    /// A gradient to scale, then to add onto.
    Scaled(f32),
}

/// `dtable[ids[i]] += dy[i]` in the order of i. Each task owns some columns, so no order depends on the threads.
///
/// # Panics
/// When an id is not a row of the table.
pub(crate) fn embed_grad(
    cx: &Context,
    dy: &[f32],
    ids: &[i32],
    width: usize,
    before: Before,
    dtable: &mut [f32],
) {
    let n = dtable.len();
    let data = dtable.as_mut_ptr();
    // SAFETY: the table holds n values; scaling works in place.
    unsafe {
        match before {
            Before::Nothing | Before::Scaled(0.0) => crate::elementwise::fill(cx, n, 0.0, data),
            Before::Scaled(1.0) => {}
            Before::Scaled(keep) => crate::elementwise::scale(cx, n, data, keep, data),
        }
    }
    const COLUMNS: usize = 64;
    let (data, rows) = (Raw::new(data), n / width.max(1));
    cx.pool.run(width.div_ceil(COLUMNS), &|group, _| {
        let (first, len) = (group * COLUMNS, COLUMNS.min(width - group * COLUMNS));
        for (row, &id) in dy.chunks_exact(width).zip(ids) {
            let id = usize::try_from(id).expect("ids are not negative");
            assert!(id < rows, "id {id} of {rows}");
            // SAFETY: inside the table, by the assertion; the columns belong to this task alone.
            let out =
                unsafe { std::slice::from_raw_parts_mut(data.get().add(id * width + first), len) };
            for (out, dy) in out.iter_mut().zip(&row[first..first + len]) {
                *out += dy;
            }
        }
    });
}
