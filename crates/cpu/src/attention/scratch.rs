//! Cutting scratch into parts that start on cache lines.

use crate::ThreadPool;
use crate::pool::SharedSlice;
use half::bf16;

/// f32 values in a cache line. A vector that straddles two lines takes two accesses.
pub(super) const LINE: usize = 16;

/// `len` rounded up to whole cache lines.
pub(super) fn lines(len: usize) -> usize {
    len.next_multiple_of(LINE)
}

/// `d` rounded up to whole vectors of the widest set, so that one layout serves all.
pub(super) fn padded(d: usize) -> usize {
    d.next_multiple_of(LINE)
}

/// The part of `scratch` that starts on a cache line; callers ask for [`LINE`] values more than they need.
pub(super) fn align(scratch: &mut [f32]) -> &mut [f32] {
    let skip = scratch.as_ptr().align_offset(LINE * size_of::<f32>());
    &mut scratch[skip.min(LINE)..]
}

/// Takes the first `len` values off `rest`, and what fills their last cache line.
pub(super) fn take<'a>(rest: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let (head, tail) = std::mem::take(rest).split_at_mut(lines(len));
    *rest = tail;
    &mut head[..len]
}

/// The same for `len` values of bf16.
pub(super) fn take_bf16<'a>(rest: &mut &'a mut [f32], len: usize) -> &'a mut [bf16] {
    let values = take(rest, len.div_ceil(2));
    // SAFETY: the same bytes, two values for each one; every bit pattern is a value of either type.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), len) }
}

/// Runs `task(number, part)` for every number below `tasks`, where `part` is one of `per_thread` values of `scratch`
/// that no other thread uses meanwhile. `per_thread` is a multiple of [`LINE`].
pub(super) fn run_with_scratch(
    pool: &ThreadPool,
    tasks: usize,
    scratch: &mut [f32],
    per_thread: usize,
    task: &(dyn Fn(usize, &mut [f32]) + Sync),
) {
    let parts = SharedSlice::new(scratch);
    pool.run(tasks, &|number, thread| {
        // SAFETY: a thread runs one task at a time, and each has its own part.
        task(number, unsafe { parts.range(thread * per_thread, per_thread) });
    });
}
