//! Cutting scratch into parts that start on cache lines.

use crate::ThreadPool;
use crate::pool::SharedSlice;
use half::bf16;

/// f32 values in a cache line. A vector that straddles two lines takes two accesses.
pub(crate) const LINE: usize = 16;

/// `len` rounded up to whole cache lines.
pub(crate) fn lines(len: usize) -> usize {
    len.next_multiple_of(LINE)
}

/// `d` rounded up to whole vectors of the widest set, so that one layout serves all.
pub(crate) fn padded(d: usize) -> usize {
    d.next_multiple_of(LINE)
}

/// The part of `scratch` that starts on a cache line; callers ask for [`LINE`] values more than they need.
pub(crate) fn align(scratch: &mut [f32]) -> &mut [f32] {
    let skip = scratch.as_ptr().align_offset(LINE * size_of::<f32>());
    &mut scratch[skip.min(LINE)..]
}

/// Takes the first `len` values off `rest`, and what fills their last cache line.
pub(crate) fn take<'a>(rest: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let (head, tail) = std::mem::take(rest).split_at_mut(lines(len));
    *rest = tail;
    &mut head[..len]
}

/// The same for `len` values of bf16.
pub(crate) fn take_bf16<'a>(rest: &mut &'a mut [f32], len: usize) -> &'a mut [bf16] {
    let values = take(rest, len.div_ceil(2));
    // SAFETY: the same bytes, two values for each one; every bit pattern is a value of either type.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), len) }
}

/// Types without padding whose every bit pattern is a value.
pub trait Plain: Copy + Send + Sync {}
impl Plain for u8 {}
impl Plain for u16 {}
impl Plain for u32 {}
impl Plain for f32 {}
impl Plain for bf16 {}

/// f32 values that [`take_of`] takes for `len` values of T.
pub(crate) fn len_of<T: Plain>(len: usize) -> usize {
    lines((len * size_of::<T>()).div_ceil(size_of::<f32>()))
}

/// [`take`] for values of T, which are no larger or more aligned than a cache line is.
pub(crate) fn take_of<'a, T: Plain>(rest: &mut &'a mut [f32], len: usize) -> &'a mut [T] {
    let values = take(rest, len_of::<T>(len));
    // SAFETY: as many bytes, aligned for f32 and so for T; every bit pattern is a value of either type.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), len) }
}

/// Runs `task(number, part)` for every number below `tasks`, where `part` is one of `per_thread` values of `scratch`
/// that no other thread uses meanwhile. `per_thread` is a multiple of [`LINE`].
pub(crate) fn run_with_scratch(
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
