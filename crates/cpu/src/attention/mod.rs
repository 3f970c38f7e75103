//! Causal attention with grouped key/value heads and an optional window, in f32 or bf16.
//!
//! Query `i` of head `h` sees keys `j` of key/value head `h / (H/K)` with `0 <= i - j <= W`:
//!
//! ```text
//! s[i,j] = q[i]·k[j] / sqrt(D)     p[i,j] = e^(s[i,j] - lse[i])     out[i] = Σ_j p[i,j]·v[j]
//! delta[i] = dout[i]·out[i]        ds[i,j] = p[i,j]·(dout[i]·v[j] - delta[i])
//! dv[j] = Σ_i p[i,j]·dout[i]       dk[j] = Σ_i ds[i,j]·q[i] / sqrt(D)     dq[i] = Σ_j ds[i,j]·k[j] / sqrt(D)
//! ```
//!
//! Scores exist one tile at a time (running softmax, as in FlashAttention), so memory is linear in T; tiles that the
//! mask or the window empties are never visited. Every sum has an order that depends on the sizes alone: results are the
//! same bits whatever the number of threads and whichever of them does what.

// Blocks of registers are indexed by row and column everywhere: iterators would hide which is which.
#![allow(clippy::needless_range_loop)]

mod ahead;
mod backward;
mod backward_bf16;
mod backward_f32;
mod cached;
mod decode;
mod element;
pub(crate) mod exp2;
mod forward;
mod forward_bf16;
mod forward_f32;
mod order;
pub(crate) mod pack;
pub(crate) mod rough;
pub(crate) mod scratch;
mod strided;
#[cfg(test)]
mod tests;
pub(crate) mod tile;
pub(crate) mod transpose;

pub(crate) use backward::dot;
pub use backward::{backward, backward_scratch_len};
pub use cached::{CacheDims, cache_write, cached, cached_scratch_len};
pub use element::Attend;
pub use forward::{forward, forward_scratch_len};

/// Sizes of one attention over whole sequences. `q`, `out` and their gradients are `[b, t, h, d]`; `k`, `v` and theirs
/// are `[b, t, k_heads, d]`; `lse` is `[b, h, t]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// Rows.
    pub b: usize,
    /// Positions.
    pub t: usize,
    /// Query heads, a multiple of `k_heads`.
    pub h: usize,
    /// Key/value heads.
    pub k_heads: usize,
    /// Head size.
    pub d: usize,
    /// A query sees itself and this many positions before it; `t` or more means all of them.
    pub window: usize,
}

impl Dims {
    fn queries_len(&self) -> usize {
        self.b * self.t * self.h * self.d
    }

    fn keys_len(&self) -> usize {
        self.b * self.t * self.k_heads * self.d
    }

    fn check(&self) {
        check_heads(self.h, self.k_heads, self.d);
    }
}

/// Stands for minus infinity: far below any score, and differences of it are finite.
pub(crate) const LOWEST: f32 = -1e30;

fn check_heads(h: usize, k_heads: usize, d: usize) {
    assert!(
        h > 0 && k_heads > 0 && d > 0,
        "attention needs heads: h={h}, k_heads={k_heads}, d={d}"
    );
    assert!(
        h.is_multiple_of(k_heads),
        "{h} query heads do not share {k_heads} key/value heads evenly"
    );
}

fn check_len<E>(name: &str, slice: &[E], want: usize) {
    assert!(slice.len() == want, "attention: {name} has {} values, not {want}", slice.len());
}

fn check_scratch(scratch: &[f32], want: usize) {
    assert!(scratch.len() >= want, "attention: scratch of {} values, needs {want}", scratch.len());
}
