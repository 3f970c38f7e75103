//! Executes planned graphs on the CPU. All SIMD and all `unsafe` code of the project live here.
//!
//! Kernels are written once, generic over [`simd::Simd`], and compiled for every instruction set; which one runs is
//! chosen once, at start ([`Isa::detect`]), so that the same binary is fast where AVX-512 is and correct where it is not.

#![allow(unsafe_code)]

pub mod attention;
pub mod branches;
mod context;
pub mod cross_entropy;
pub mod dropout;
pub mod elementwise;
pub mod embed;
mod executor;
pub mod gate;
pub mod gemm;
pub mod isa;
pub mod math;
mod memory;
pub mod movement;
mod muon;
pub mod norm;
mod parallel;
pub mod peak;
pub mod pool;
pub mod reduce;
pub mod rope;
#[cfg(test)]
mod row_tests;
pub mod simd;
pub mod sinkhorn;
pub mod sparse;

pub use context::Context;
pub use executor::{Cpu, GraphMemory, OpTime};
pub use isa::Isa;
pub use pool::ThreadPool;
