//! Table look-up and its gradient.

use crate::movement::{add_row, copy_row};
use crate::parallel::{clear, rows as row_groups};
use crate::pool::SharedSlice;
use crate::simd::{Element, Simd};
use crate::{Context, simd_fn};

/// `out[i] = table[ids[i]]`, rows of `width`.
///
/// # Panics
/// When an id is not a row of the table.
pub fn embed<Y: Element>(cx: &Context, table: &[f32], ids: &[i32], width: usize, out: &mut [Y]) {
    check(ids, table.len() / width.max(1));
    let out = SharedSlice::new(out);
    row_groups(cx, ids.len(), width, &|first, count| {
        // SAFETY: groups of rows are disjoint.
        let out = unsafe { out.range(first * width, count * width) };
        look_up(cx.isa, table, &ids[first..first + count], width, out);
    });
}

/// # Panics
/// When an id is not below `rows`.
fn check(ids: &[i32], rows: usize) {
    // A negative id becomes a large one.
    let outside = ids.iter().find(|&&id| id as u32 as usize >= rows);
    assert!(outside.is_none(), "id {} of {rows}", outside.unwrap_or(&0));
}

simd_fn! { fn look_up[Y: Element](table: &[f32], ids: &[i32], width: usize, out: &mut [Y]) = look_up_kernel }
#[inline(always)]
fn look_up_kernel<S: Simd, Y: Element>(
    s: S,
    table: &[f32],
    ids: &[i32],
    width: usize,
    out: &mut [Y],
) {
    assert_eq!(out.len(), ids.len() * width);
    let row = |id: i32| &table[id as usize * width..][..width];
    for (i, &id) in ids.iter().enumerate() {
        let next = row(*ids.get(i + 1).unwrap_or(&id)).as_ptr();
        // SAFETY: both rows have `width` values.
        unsafe { copy_row(s, width, row(id).as_ptr(), next, out.as_mut_ptr().add(i * width)) };
    }
}

/// What the table's gradient held before.
#[derive(Clone, Copy, PartialEq)]
pub enum Before {
    /// Nothing: rows without an id become 0.
    Nothing,
    /// A gradient to scale, then to add onto.
    Scaled(f32),
}

/// Rows of the table per task, a multiple of 64: few enough to share out well although some ids are frequent, and so many
/// that it costs little that each task looks through all ids.
const ROWS: usize = 256;

/// `dtable[ids[i]] += dy[i]` in the order of i. Each task owns some rows, so no order depends on the threads, and goes
/// over each of them once: nothing is cleared or scaled that is written anyway.
///
/// # Panics
/// When an id is not a row of the table.
pub fn embed_grad<D: Element>(
    cx: &Context,
    dy: &[D],
    ids: &[i32],
    width: usize,
    before: Before,
    dtable: &mut [f32],
) {
    let rows = dtable.len() / width.max(1);
    check(ids, rows);
    assert_eq!(dy.len(), ids.len() * width);
    let keep = match before {
        Before::Nothing => 0.0,
        Before::Scaled(keep) => keep,
    };
    let table = SharedSlice::new(dtable);
    cx.pool.run(rows.div_ceil(ROWS), &|task, _| {
        let (first, count) = (task * ROWS, ROWS.min(rows - task * ROWS));
        // SAFETY: the rows belong to this task alone.
        let part = unsafe { table.range(first * width, count * width) };
        gradient_rows(cx.isa, dy, ids, width, first as u32, keep, part);
    });
}

simd_fn! {
    /// The rows of the table from `first` on.
    fn gradient_rows[D: Element](dy: &[D], ids: &[i32], width: usize, first: u32, keep: f32, out: &mut [f32]) = gradient_kernel
}
#[inline(always)]
fn gradient_kernel<S: Simd, D: Element>(
    s: S,
    dy: &[D],
    ids: &[i32],
    width: usize,
    first: u32,
    keep: f32,
    out: &mut [f32],
) {
    let count = (out.len() / width) as u32;
    let mut written = [0u64; ROWS / 64];
    for (block, part) in ids.chunks(64).enumerate() {
        // Most blocks have no id of these rows, which takes a few vector comparisons to see.
        let mut any = false;
        for &id in part {
            any |= (id as u32).wrapping_sub(first) < count;
        }
        if !any {
            continue;
        }
        for (i, &id) in (block * 64..).zip(part) {
            let row = (id as u32).wrapping_sub(first);
            if row >= count {
                continue;
            }
            let row = row as usize;
            let (word, bit) = (row / 64, 1 << (row % 64));
            let keep = if written[word] & bit == 0 { keep } else { 1.0 };
            written[word] |= bit;
            add_row(s, keep, &dy[i * width..][..width], &mut out[row * width..][..width]);
        }
    }
    let is_written = |row: usize| written[row / 64] >> (row % 64) & 1 == 1;
    let mut row = 0;
    while row < count as usize {
        let start = row;
        while row < count as usize && !is_written(row) {
            row += 1;
        }
        scale_rows(s, keep, &mut out[start * width..row * width]);
        row += 1;
    }
}

/// `out = keep·out`.
#[inline(always)]
fn scale_rows<S: Simd>(s: S, keep: f32, out: &mut [f32]) {
    if keep == 0.0 {
        clear(out);
    } else if keep != 1.0 {
        let keep = s.splat(keep);
        let mut vectors = out.chunks_exact_mut(S::LANES);
        for x in &mut vectors {
            s.store(x, s.mul(s.load(x), keep));
        }
        let rest = vectors.into_remainder();
        s.store_partial(rest, s.mul(s.load_partial(rest), keep));
    }
}
