//! How fast memory can be read.

use std::hint::black_box;

use super::fastest;
use crate::gemm::Tile;
use crate::memory::Memory;
use crate::{Context, simd_fn};

/// Values read to measure bandwidth: 256 MB, far more than caches hold.
const STREAM_LEN: usize = 64 << 20;

/// Values in a cache line.
const LINE: usize = 16;
/// Values ahead of a load that memory is asked for: without it a thread leaves a tenth of the bandwidth unused.
const AHEAD: usize = 1024;

/// More memory than caches hold, to be read.
pub struct Stream(Memory);

impl Stream {
    /// 256 MB of them.
    ///
    /// # Panics
    /// When there is not so much memory.
    pub fn allocate() -> Self {
        let mut memory = Memory::new(STREAM_LEN * size_of::<f32>(), "a stream").expect("256 MB");
        // Pages that were never written to are all one page.
        memory.f32_mut(STREAM_LEN).fill(1.0);
        Stream(memory)
    }

    /// Reads all of it once: bytes per second, all threads together, in GB/s (10⁹ bytes).
    pub fn read(&self, cx: &Context) -> f64 {
        let data = self.0.f32(0, STREAM_LEN);
        let parts = 4 * cx.pool.threads();
        let part = STREAM_LEN / parts;
        let seconds = fastest(1, || {
            cx.pool.run(parts, &|number, _| {
                black_box(sum(cx.isa, &data[number * part..][..part]));
            });
        });
        (parts * part * size_of::<f32>()) as f64 / seconds / 1e9
    }
}

/// Bytes read from memory per second at best, all threads together, in GB/s (10⁹ bytes).
pub fn read_bandwidth(cx: &Context) -> f64 {
    let stream = Stream::allocate();
    (0..3).map(|_| stream.read(cx)).fold(0.0, f64::max)
}

simd_fn! { fn sum(data: &[f32]) -> f32 = sum_kernel }
#[inline(always)]
fn sum_kernel<S: Tile>(s: S, data: &[f32]) -> f32 {
    let mut sums = [s.splat(0.0); 4];
    for chunk in data.chunks_exact(4 * S::LANES) {
        for line in chunk.chunks(LINE) {
            s.prefetch(line.as_ptr().wrapping_add(AHEAD));
        }
        for (sum, part) in sums.iter_mut().zip(chunk.chunks_exact(S::LANES)) {
            *sum = s.add(*sum, s.load(part));
        }
    }
    s.reduce_add(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3])))
}
