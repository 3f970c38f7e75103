//! Table look-up and its gradient.

use crate::parallel::{Raw, rows as row_groups};
use crate::pool::SharedSlice;
use crate::simd::{Element, Simd};
use crate::{Context, simd_fn};

/// `out[i] = table[ids[i]]`, rows of `width`.
///
/// # Panics
/// When an id is not a row of the table.
pub(crate) fn embed<Y: Element>(
    cx: &Context,
    table: &[f32],
    ids: &[i32],
    width: usize,
    out: &mut [Y],
) {
    let out = SharedSlice::new(out);
    row_groups(cx, ids.len(), width, &|first, count| {
        // SAFETY: groups of rows are disjoint.
        let rows = unsafe { out.range(first * width, count * width) };
        for (row, &id) in rows.chunks_exact_mut(width).zip(&ids[first..]) {
            let at = usize::try_from(id).expect("ids are not negative") * width;
            convert(cx.isa, &table[at..at + width], row);
        }
    });
}

simd_fn! {
    /// Copies values, rounding where Y is narrower.
    pub(crate) fn convert[X: Element, Y: Element](x: &[X], y: &mut [Y]) = convert_kernel
}
#[inline(always)]
fn convert_kernel<S: Simd, X: Element, Y: Element>(s: S, x: &[X], y: &mut [Y]) {
    assert_eq!(x.len(), y.len());
    for i in (0..x.len()).step_by(S::LANES) {
        let n = (x.len() - i).min(S::LANES);
        // SAFETY: n values are left in both.
        unsafe { Y::store_n(s, y.as_mut_ptr().add(i), X::load_n(s, x.as_ptr().add(i), n), n) };
    }
}

simd_fn! { fn add_to[X: Element](x: &[X], y: &mut [f32]) = add_to_kernel }
#[inline(always)]
fn add_to_kernel<S: Simd, X: Element>(s: S, x: &[X], y: &mut [f32]) {
    assert_eq!(x.len(), y.len());
    for i in (0..x.len()).step_by(S::LANES) {
        let n = (x.len() - i).min(S::LANES);
        // SAFETY: n values are left in both.
        unsafe {
            let (x, y) = (x.as_ptr().add(i), y.as_mut_ptr().add(i));
            f32::store_n(s, y, s.add(f32::load_n(s, y, n), X::load_n(s, x, n)), n);
        }
    }
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
pub(crate) fn embed_grad<D: Element>(
    cx: &Context,
    dy: &[D],
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
            add_to(cx.isa, &row[first..first + len], out);
        }
    });
}
