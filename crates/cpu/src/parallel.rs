//! Splitting flat data over the pool and into vectors, and raw pointers that tasks share.

use crate::Context;

/// `vectors!(S, n, |i, len| { .. })` runs the block for `i` = 0, LANES, .. below `n`, `len` being the number of elements that
/// the vector at `i` has: LANES, as a constant, but for the last. (A macro, because a closure that is called twice may not
/// be compiled for the instruction set.)
macro_rules! vectors {
    ($S:ident, $n:expr, |$i:ident, $len:ident| $body:block) => {{
        let end: usize = $n;
        let mut $i = 0;
        while $i + $S::LANES <= end {
            let $len = $S::LANES;
            $body
            $i += $S::LANES;
        }
        if $i < end {
            let $len = end - $i;
            $body
        }
    }};
}
pub(crate) use vectors;

/// Elements per task of an elementwise kernel: the operands of one task stay in the second-level cache. It does not
/// depend on the number of threads, so that sums over tasks are the same for any.
pub(crate) const CHUNK: usize = 16 * 1024;

/// Zeros that bypass the caches, for memory that is not read soon: ordinary writes would read it first.
pub(crate) fn clear(out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_mm_setzero_ps, _mm_sfence, _mm_stream_ps};
        // SAFETY: any bits are a vector of f32.
        let (before, vectors, after) = unsafe { out.align_to_mut::<std::arch::x86_64::__m128>() };
        before.fill(0.0);
        for vector in vectors {
            // SAFETY: every x86-64 has the instruction; the address is aligned.
            unsafe { _mm_stream_ps(std::ptr::from_mut(vector).cast(), _mm_setzero_ps()) };
        }
        after.fill(0.0);
        // SAFETY: as above. Others see the zeros before what this thread writes next.
        unsafe { _mm_sfence() };
    }
    #[cfg(not(target_arch = "x86_64"))]
    out.fill(0.0);
}

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
