//! Attention to the keys that an indexer selects, in f32 or bf16.
//!
//! With J heads of size d, the indexer scores key s for query t as `I[t,s] = Σ_j w[t,j]·relu(iq[t,j]·ik[s])`. A query sees
//! its local window, `0 <= t - s < local`, and of the keys before that the `top_k - local` that score best, of equals the
//! later one.
//!
//! Queries are worked on in spans. A span's selected keys are listed first (`lists`): per query in ascending order, as
//! numbers inside blocks of `KEYS` keys; and sorted into tiles of a block of queries and one of keys (`tiles`). Then a
//! block of queries takes one block of keys after another and multiplies with the rows that its tiles name (`gather`), in
//! panels of columns, so that rows come from the first-level cache. The backward pass finds the lists again from the
//! threshold of each query: memory is linear in T.
//!
//! Every sum has an order that depends on the sizes alone, and a pair's score is the same bits in whatever span, block or
//! cache it is computed: results do not depend on threads, and the same queries and keys select the same in training,
//! prefill and decoding.

// Blocks of registers are indexed by row and column everywhere: iterators would hide which is which.
#![allow(clippy::needless_range_loop)]

mod backward;
mod cached;
mod forward;
mod gather;
mod gradients;
mod indexer;
mod indexer_grad;
mod lists;
mod scores;
mod select;
#[cfg(test)]
mod tests;
mod tiles;

pub use backward::{Gradients, Saved, backward, backward_scratch_len};
pub use cached::{cached, cached_scratch_len};
pub use forward::{Outputs, forward, forward_scratch_len};
pub use gather::Sparse;
pub use scores::{
    indexer_scores, indexer_scores_grad, scores_grad_scratch_len, scores_scratch_len,
};

use crate::gemm::Operand;

/// Keys in a block: one head's rows of them fit the first-level cache, their numbers a byte.
const KEYS: usize = 128;

/// Queries in a block; their numbers are bytes too.
const QUERIES: usize = 256;

/// Queries whose lists exist at a time.
const SPAN: usize = 1024;

/// Sizes of one sparse attention. `q` is `[b, t, h, d]`, `k` and `v` are `[b, positions, k_heads, d]`, the indexer's
/// queries `[b, t, heads, width]`, its keys `[b, positions, width]`, its weights `[b, t, heads]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// Rows.
    pub b: usize,
    /// Queries of every row.
    pub t: usize,
    /// Keys of every row: `t`, or what a cache can hold.
    pub positions: usize,
    /// Query heads, a multiple of `k_heads`.
    pub h: usize,
    /// Key/value heads.
    pub k_heads: usize,
    /// Head size.
    pub d: usize,
    /// Heads of the indexer.
    pub heads: usize,
    /// Their size.
    pub width: usize,
    /// Keys of the local window, the query's own included; at least 1.
    pub local: usize,
    /// Keys in all that a query sees, at least `local`.
    pub top_k: usize,
}

/// What attention reads; sizes are those of [`Dims`].
#[derive(Clone, Copy)]
pub struct Inputs<'a, E> {
    /// Queries.
    pub q: &'a [E],
    /// Keys.
    pub k: &'a [E],
    /// Values.
    pub v: &'a [E],
    /// The indexer's part.
    pub indexer: Indexer<'a, E>,
}

/// What the indexer reads; sizes are those of [`Dims`].
#[derive(Clone, Copy)]
pub struct Indexer<'a, E> {
    /// Queries.
    pub q: &'a [E],
    /// Keys.
    pub k: &'a [E],
    /// Weights.
    pub w: &'a [f32],
}

impl Dims {
    fn check<E>(&self, x: &Inputs<'_, E>) {
        let Dims { b, t, positions, h, k_heads, d, .. } = *self;
        assert!(
            h > 0 && k_heads > 0 && d > 0 && h.is_multiple_of(k_heads),
            "{h} query heads of size {d} for {k_heads} key/value heads"
        );
        check_len("q", x.q, b * t * h * d);
        check_len("k", x.k, b * positions * k_heads * d);
        check_len("v", x.v, b * positions * k_heads * d);
        self.check_indexer(&x.indexer);
    }

    fn check_indexer<E>(&self, x: &Indexer<'_, E>) {
        let Dims { b, t, positions, heads, width, local, top_k, .. } = *self;
        assert!(heads > 0 && width > 0, "an indexer of {heads} heads of size {width}");
        assert!(local >= 1 && top_k >= local, "{top_k} keys of which {local} are local");
        check_len("the indexer's queries", x.q, b * t * heads * width);
        check_len("the indexer's keys", x.k, b * positions * width);
        check_len("the indexer's weights", x.w, b * t * heads);
    }

    /// Query heads that share a key/value head.
    fn group(&self) -> usize {
        self.h / self.k_heads
    }

    /// Blocks of keys of a row.
    fn key_blocks(&self) -> usize {
        self.positions.div_ceil(KEYS)
    }

    /// Words of 32 bits that hold one bit for each head of the indexer.
    fn words(&self) -> usize {
        self.heads.div_ceil(32)
    }
}

/// Values in a packed row of `d`: whole vectors of the widest set.
fn packed<E: Operand>(d: usize) -> usize {
    d.next_multiple_of(16 * E::PER_LANE)
}

/// A block of queries of one row.
#[derive(Clone, Copy, Debug)]
struct Unit {
    row: usize,
    /// Number of the first query in its row.
    first: usize,
    /// Number of queries.
    n: usize,
}

/// Blocks of queries of all rows, in order.
#[derive(Clone, Copy)]
struct Units {
    rows: usize,
    t: usize,
}

impl Units {
    fn per_row(&self) -> usize {
        self.t.div_ceil(QUERIES)
    }

    fn len(&self) -> usize {
        self.rows * self.per_row()
    }

    fn at(&self, number: usize) -> Unit {
        let (row, first) = (number / self.per_row(), number % self.per_row() * QUERIES);
        Unit { row, first, n: (self.t - first).min(QUERIES) }
    }

    /// Queries of the largest unit.
    fn queries(&self) -> usize {
        self.t.min(QUERIES)
    }

    /// Units in a span.
    fn in_span(&self) -> usize {
        (SPAN / self.queries().max(1)).min(self.len())
    }
}

fn check_len<E>(name: &str, slice: &[E], want: usize) {
    assert!(slice.len() == want, "sparse attention: {name}: {} values, not {want}", slice.len());
}

fn check_scratch(scratch: &[f32], want: usize) {
    let len = scratch.len();
    assert!(len >= want, "sparse attention: scratch of {len} values, needs {want}");
}
