//! The element types of queries, keys and values, and the kernels of each.

use super::backward::{Gradients, Place, Sources, Turn};
use super::forward::Block;
use super::strided::Strided;
use super::tile::TILE;
use super::{backward_bf16, backward_f32, forward_bf16, forward_f32};
use crate::gemm::Operand;
use half::bf16;

/// An element type that attention is computed for, f32 or bf16: that of queries, keys, values, outputs and all their
/// gradients. Statistics and sums are f32 with either.
///
/// With bf16, products multiply bf16 and add in f32; probabilities and gradients of scores are rounded to bf16 as
/// operands of products. Against exact arithmetic on the same operands, a probability is off by at most 2^-7.9 of
/// itself (2^-8 of rounding, 2^-13.7 of the exponential), and so is an output, relative to the sum of its terms'
/// absolute values; storing it rounds once more.
pub trait Attend: Operand {
    /// Queries in a task of the forward pass.
    #[doc(hidden)]
    const QUERIES: usize;
    /// Keys in a task of the backward pass.
    #[doc(hidden)]
    const KEYS: usize;
    /// Queries in a step of such a task; it divides `KEYS`.
    #[doc(hidden)]
    const STEP: usize;
    /// Whether `dq` is summed in memory of its own, because its element type would lose what is added.
    #[doc(hidden)]
    const SUMS_APART: bool;

    /// f32 values that [`forward_block`](Self::forward_block) needs.
    #[doc(hidden)]
    fn block_scratch_len(d: usize) -> usize;
    /// Attention of the first of `blocks`, of at most `QUERIES` queries; the second is what the thread probably works on
    /// next. A query that sees no key gets 0.
    #[doc(hidden)]
    fn forward_block(
        blocks: (Block<'_, Self>, Block<'_, Self>),
        out: Strided<Self>,
        lse: Option<&mut [f32]>,
        scratch: &mut [f32],
    );
    /// f32 values that [`keys_task`](Self::keys_task) needs.
    #[doc(hidden)]
    fn keys_scratch_len(d: usize) -> usize;
    /// The gradients of a block of at most `KEYS` keys, and what they give to those of the queries. `places` are that block
    /// and the one that the thread probably works on next.
    #[doc(hidden)]
    fn keys_task(
        x: &Sources<'_, Self>,
        places: (Place, Place),
        turn: &Turn<'_>,
        grads: &Gradients<Self>,
        scratch: &mut [f32],
    );
}

impl Attend for f32 {
    const QUERIES: usize = TILE;
    const KEYS: usize = TILE;
    const STEP: usize = TILE;
    const SUMS_APART: bool = false;

    fn block_scratch_len(d: usize) -> usize {
        forward_f32::block_scratch_len(d)
    }
    fn forward_block(
        (block, _): (Block<'_, f32>, Block<'_, f32>),
        out: Strided<f32>,
        lse: Option<&mut [f32]>,
        scratch: &mut [f32],
    ) {
        forward_f32::forward_block(block.isa, block, out, lse, scratch);
    }
    fn keys_scratch_len(d: usize) -> usize {
        backward_f32::keys_scratch_len(d)
    }
    fn keys_task(
        x: &Sources<'_, f32>,
        places: (Place, Place),
        turn: &Turn<'_>,
        grads: &Gradients<f32>,
        scratch: &mut [f32],
    ) {
        backward_f32::keys_task(x.isa, x, places, turn, grads, scratch);
    }
}

impl Attend for bf16 {
    const QUERIES: usize = forward_bf16::QUERIES;
    const KEYS: usize = backward_bf16::KEYS;
    const STEP: usize = backward_bf16::STEP;
    const SUMS_APART: bool = true;

    fn block_scratch_len(d: usize) -> usize {
        forward_bf16::block_scratch_len(d)
    }
    fn forward_block(
        blocks: (Block<'_, bf16>, Block<'_, bf16>),
        out: Strided<bf16>,
        lse: Option<&mut [f32]>,
        scratch: &mut [f32],
    ) {
        forward_bf16::forward_block(blocks.0.isa, blocks, out, lse, scratch);
    }
    fn keys_scratch_len(d: usize) -> usize {
        backward_bf16::keys_scratch_len(d)
    }
    fn keys_task(
        x: &Sources<'_, bf16>,
        places: (Place, Place),
        turn: &Turn<'_>,
        grads: &Gradients<bf16>,
        scratch: &mut [f32],
    ) {
        backward_bf16::keys_task(x.isa, x, places, turn, grads, scratch);
    }
}
