//! Sparse attention over a cache, for prefill and decoding.

use super::forward::{attend, scratch_len};
use super::lists::Cuts;
use super::{Dims, Inputs, Sparse, check_len};
use crate::Context;

/// f32 values of scratch that [`cached`] needs.
pub fn cached_scratch_len<E: Sparse>(cx: &Context, dims: &Dims) -> usize {
    scratch_len::<E>(cx, dims)
}

/// Sets `out`: query t of row b stands at position `start[b] + t` (a negative start counts as 0) of caches that already
/// hold the entries of these positions. Queries beyond the last position get finite values without meaning.
///
/// # Panics
/// When a slice is not as long as `dims` says, or `scratch` is shorter than [`cached_scratch_len`].
pub fn cached<E: Sparse>(
    cx: &Context,
    x: &Inputs<'_, E>,
    start: &[i32],
    dims: &Dims,
    out: &mut [E],
    scratch: &mut [f32],
) {
    dims.check(x);
    check_len("start", start, dims.b);
    check_len("out", out, x.q.len());
    if dims.positions == 0 {
        return out.fill(E::ZERO);
    }
    attend(cx, x, dims, (Some(start), Cuts::FindOnly), (out, None), scratch);
}
