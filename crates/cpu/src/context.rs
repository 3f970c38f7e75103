//! What every kernel needs: the instruction set and the threads.

use crate::{Isa, ThreadPool};

/// The instruction set to use and the pool to run on. One per process is enough.
pub struct Context {
    /// Instruction set that kernels run with.
    pub isa: Isa,
    /// Threads that kernels share.
    pub pool: ThreadPool,
}

impl Context {
    /// A context with its own pool of `threads` threads.
    pub fn new(isa: Isa, threads: usize) -> Self {
        Context { isa, pool: ThreadPool::new(threads) }
    }
}
