//! The heavy kernels on made-up values, ready to be timed.

use std::time::Instant;

use crate::Context;
use crate::attention::{self, Attend, Dims};
use crate::cross_entropy::{self, Scale};
use crate::gemm::{Epilogue, Matrix, Operand, gemm, gemm_scratch_len};
use crate::memory::Memory;
use crate::simd::Element;

/// A kernel with its operands.
pub struct Kernel {
    flops: f64,
    work: Box<dyn FnMut(&Context)>,
}

impl Kernel {
    /// Floating-point operations of one run, 2 per multiply-add.
    pub fn flops(&self) -> f64 {
        self.flops
    }

    /// Runs it once. `cx` must be what it was made for.
    pub fn run(&mut self, cx: &Context) {
        (self.work)(cx);
    }

    /// Rate of one run, in GFLOP/s.
    pub fn rate(&mut self, cx: &Context) -> f64 {
        let start = Instant::now();
        self.run(cx);
        self.flops / start.elapsed().as_secs_f64() / 1e9
    }
}

/// Memory as the executor has it.
struct Buffer<T> {
    memory: Memory,
    len: usize,
    element: std::marker::PhantomData<T>,
}

impl<T: Element> Buffer<T> {
    /// Small values, the same in every run.
    fn new(len: usize) -> Self {
        let memory =
            Memory::new(len * size_of::<T>(), "a benchmark").expect("memory to measure in");
        let mut buffer = Buffer { memory, len, element: std::marker::PhantomData };
        for (i, x) in buffer.all_mut().iter_mut().enumerate() {
            *x = T::from_f32((i % 13) as f32 * 0.1 - 0.6);
        }
        buffer
    }

    fn all(&self) -> &[T] {
        // SAFETY: the memory holds `len` values, written by `new`, and is aligned for any element.
        unsafe { std::slice::from_raw_parts(self.memory.as_const_ptr().cast(), self.len) }
    }

    fn all_mut(&mut self) -> &mut [T] {
        // SAFETY: as above; any bits are a value.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr().cast(), self.len) }
    }
}

/// Which of the three products of a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orientation {
    /// y = x·wᵀ.
    Forward,
    /// dx = dy·w.
    GradInput,
    /// dw = dyᵀ·x.
    GradWeight,
}

/// A product with a result of `m` rows and `n` columns, summed over `k`; operands lie as that orientation finds them.
pub fn product<T: Operand, C: Element>(
    cx: &Context,
    orientation: Orientation,
    m: usize,
    n: usize,
    k: usize,
) -> Kernel {
    let (a, b) = (Buffer::<T>::new(m * k), Buffer::<T>::new(n * k));
    let mut c = Buffer::<C>::new(m * n);
    let mut scratch = Buffer::<f32>::new(gemm_scratch_len(cx, m, n, k));
    let work = move |cx: &Context| {
        let (a, b) = (a.all(), b.all());
        let (a, b) = match orientation {
            Orientation::Forward => (Matrix::row_major(a, m, k), Matrix::row_major(b, n, k).t()),
            Orientation::GradInput => (Matrix::row_major(a, m, k), Matrix::row_major(b, k, n)),
            Orientation::GradWeight => (Matrix::row_major(a, k, m).t(), Matrix::row_major(b, k, n)),
        };
        gemm(cx, a, b, c.all_mut(), Epilogue::Set, scratch.all_mut());
    };
    Kernel { flops: 2.0 * m as f64 * n as f64 * k as f64, work: Box::new(work) }
}

/// The output layer with its loss and both gradients: `n` rows of width `c`, a vocabulary of `vocab`.
pub fn cross_entropy<T: Operand>(cx: &Context, n: usize, c: usize, vocab: usize) -> Kernel {
    let dims = cross_entropy::Dims { n, c, vocab, padded_vocab: vocab, softcap: 15.0 };
    let (x, w) = (Buffer::<T>::new(n * c), Buffer::<T>::new(vocab * c));
    let targets: Vec<i32> = (0..n).map(|i| (i * 7919 % vocab) as i32).collect();
    let (mut losses, mut dx) = (Buffer::<f32>::new(n), Buffer::<f32>::new(n * c));
    let mut dw = Buffer::<f32>::new(vocab * c);
    let mut scratch = Buffer::<f32>::new(cross_entropy::scratch_len::<T>(cx, dims, true));
    let work = move |cx: &Context| {
        cross_entropy::forward_backward(
            cx,
            x.all(),
            w.all(),
            &targets,
            dims,
            Scale::Mean(1.0),
            losses.all_mut(),
            dx.all_mut(),
            dw.all_mut(),
            0.0,
            scratch.all_mut(),
        );
    };
    Kernel { flops: 6.0 * n as f64 * c as f64 * vocab as f64, work: Box::new(work) }
}

/// Causal attention, forward and backward: `b` rows of `t` positions, `h` heads of size `d`. Only pairs of positions
/// inside the mask count as operations.
pub fn attention<T: Attend>(cx: &Context, b: usize, t: usize, h: usize, d: usize) -> Kernel {
    let dims = Dims { b, t, h, k_heads: h, d, window: t };
    let len = b * t * h * d;
    let [q, k, v, dout] = [(); 4].map(|()| Buffer::<T>::new(len));
    let [mut out, mut dq, mut dk, mut dv] = [(); 4].map(|()| Buffer::<T>::new(len));
    let mut lse = Buffer::<f32>::new(b * h * t);
    let forward = attention::forward_scratch_len::<T>(cx, &dims);
    let backward = attention::backward_scratch_len::<T>(cx, &dims);
    let mut scratch = Buffer::<f32>::new(forward.max(backward));
    let work = move |cx: &Context| {
        let (q, k, v, scratch) = (q.all(), k.all(), v.all(), scratch.all_mut());
        attention::forward(cx, q, k, v, &dims, out.all_mut(), lse.all_mut(), scratch);
        attention::backward(
            cx,
            q,
            k,
            v,
            out.all(),
            lse.all(),
            dout.all(),
            &dims,
            dq.all_mut(),
            dk.all_mut(),
            dv.all_mut(),
            scratch,
        );
    };
    let pairs = (t * (t + 1) / 2) as f64;
    Kernel { flops: 14.0 * (b * h * d) as f64 * pairs, work: Box::new(work) }
}
