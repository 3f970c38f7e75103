//! Splitting flat data over the pool, and raw pointers that tasks share.

use crate::Context;

/// Elements per task of an elementwise kernel: the operands of one task stay in the second-level cache. It does not
/// depend on the number of threads, so that sums over tasks are the same for any.
pub(crate) const CHUNK: usize = 16 * 1024;

/// A pointer that tasks may share; whoever uses it vouches for what it does there.
#[derive(Clone, Copy)]
pub(crate) struct Raw<P>(P);

// SAFETY: a pointer is only an address; the kernels' contracts say who may go there when.
unsafe impl<P> Send for Raw<P> {}
// SAFETY: as above.
unsafe impl<P> Sync for Raw<P> {}

impl<P: Copy> Raw<P> {
    pub(crate) fn new(pointer: P) -> Self {
        Raw(pointer)
    }

    /// The pointer. (A method, so that closures capture the whole wrapper, which is Sync.)
    pub(crate) fn get(self) -> P {
        self.0
    }
}

/// Calls `task(chunk, start, len)` for the chunks of `n` elements.
pub(crate) fn chunks(cx: &Context, n: usize, task: &(dyn Fn(usize, usize, usize) + Sync)) {
    cx.pool.run(n.div_ceil(CHUNK), &|chunk, _| {
        let start = chunk * CHUNK;
        task(chunk, start, CHUNK.min(n - start));
    });
}

/// Calls `task(first row, rows)` for groups of rows of `width` elements each.
pub(crate) fn rows(cx: &Context, rows: usize, width: usize, task: &(dyn Fn(usize, usize) + Sync)) {
    let group = (CHUNK / width.max(1)).max(1);
    cx.pool.run(rows.div_ceil(group), &|i, _| {
        let first = i * group;
        task(first, group.min(rows - first));
    });
}
