//! Times of the kernels that walk through rows and what they move, as a share of the bandwidth of reading that is measured
//! between their runs, at the sizes of the reference benchmark: `rows [PART OF A NAME]`.
//!
//! Operands rotate through more memory than caches hold ("cold"), then stay where they are ("warm"). Times are those of
//! the fastest quarter of the runs, because other work on the machine only ever adds to them.

#![allow(unsafe_code)]

use crate::{context, huge};
use half::bf16;
use kiln_cpu::simd::Element;
use kiln_cpu::{Context, elementwise as el, embed, gate, movement, norm, peak, reduce, rope};
use memmap2::MmapMut;
use std::time::Instant;

/// Tokens, width, hidden width, rows of a table.
const N: usize = 4096;
const C: usize = 384;
const HIDDEN: usize = 4 * C;
const VOCAB: usize = 32_768;
const ARENA: usize = 640 << 20;
/// Values read to measure bandwidth.
const READ: usize = 16 << 20;

/// Memory that operands are laid out in, one after another.
struct Arena {
    map: MmapMut,
    at: usize,
}

impl Arena {
    fn new() -> Self {
        let mut map = huge(ARENA);
        // Both halves of each word are bf16 in 0.5..1, so that the word is such a value as f32.
        for (i, half) in map.chunks_exact_mut(2).enumerate() {
            half.copy_from_slice(&(0x3f00 + (i * 37 % 128) as u16).to_le_bytes());
        }
        Arena { map, at: 0 }
    }

    /// The next `n` values.
    fn take<'a, T: Element>(&mut self, n: usize) -> &'a mut [T] {
        let bytes = (n * size_of::<T>()).next_multiple_of(4096);
        if self.at + bytes > ARENA {
            self.at = 0;
        }
        // SAFETY: inside the map, page-aligned, any bits are values; no kernel is given more than the arena holds.
        let part = unsafe {
            std::slice::from_raw_parts_mut(self.map.as_mut_ptr().add(self.at).cast::<T>(), n)
        };
        self.at += bytes;
        part
    }
}

struct Bench {
    cx: Context,
    arena: Arena,
    ids: Vec<i32>,
    filter: String,
}

fn quartile(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 4]
}

impl Bench {
    /// Times `kernel`, which moves `bytes` at least.
    fn measure(
        &mut self,
        name: &str,
        bytes: usize,
        mut kernel: impl FnMut(&Context, &mut Arena, &[i32]),
    ) {
        if !name.contains(&self.filter) {
            return;
        }
        let Bench { cx, arena, ids, .. } = self;
        let runs = ((1usize << 30) / bytes.max(1)).clamp(11, 41);
        let (mut cold, mut warm, mut read) = (vec![], vec![], vec![]);
        let seconds = |work: &mut dyn FnMut()| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64()
        };
        for _ in 0..runs {
            // What is read evicts what the last run left.
            read.push(seconds(&mut || {
                let (data, scratch) = (arena.take(READ), &mut [0.0; 1024]);
                std::hint::black_box(reduce::sum(cx, data, scratch));
            }));
            let start = arena.at;
            cold.push(seconds(&mut || kernel(cx, arena, ids)));
            arena.at = start;
            warm.push(seconds(&mut || kernel(cx, arena, ids)));
        }
        let bandwidth = (4 * READ) as f64 / quartile(read) / 1e9;
        let (cold, warm) = (quartile(cold), quartile(warm));
        let rate = |seconds: f64| bytes as f64 / seconds / 1e9;
        println!(
            "{name:32} {:6.1} MB of {bandwidth:5.1} GB/s  cold {:7.3} ms {:6.1} GB/s {:5.2}   warm {:7.3} ms {:6.1} GB/s {:5.2}",
            bytes as f64 / 1e6,
            cold * 1e3,
            rate(cold),
            rate(cold) / bandwidth,
            warm * 1e3,
            rate(warm),
            rate(warm) / bandwidth,
        );
    }
}

const fn is_bf16<T>() -> bool {
    size_of::<T>() == 2
}

fn name<T>() -> &'static str {
    if is_bf16::<T>() { "bf16" } else { "f32" }
}

/// Kernels over rows with elements of type X where they may be.
fn typed<X: Element>(b: &mut Bench) {
    let (t, size) = (name::<X>(), size_of::<X>());
    let rows = N * C;
    b.measure(&format!("rms_norm to {t}"), rows * (4 + size), |cx, a, _| {
        let (x, y, r) = (a.take::<f32>(rows), a.take::<X>(rows), a.take(N));
        // SAFETY: as many values as the sizes say.
        unsafe { norm::rms_norm(cx, C, 1e-6, x.as_ptr(), y.as_mut_ptr(), r) }
    });
    b.measure(&format!("rms_norm_grad of {t}, onto f32"), rows * (8 + 2 * size), |cx, a, _| {
        let (y, dy, onto) = (a.take::<X>(rows), a.take::<X>(rows), a.take::<f32>(rows));
        let (r, dx) = (a.take(N), onto.as_mut_ptr());
        // SAFETY: as above.
        unsafe { norm::rms_norm_grad(cx, C, y.as_ptr(), r, dy.as_ptr(), Some(onto.as_ptr()), dx) }
    });
    b.measure(&format!("rms_norm_grad of {t}, with copy"), rows * (10 + 2 * size), |cx, a, _| {
        let (y, dy, onto) = (a.take::<X>(rows), a.take::<X>(rows), a.take::<f32>(rows));
        let (r, dx, copy) = (a.take(N), onto.as_mut_ptr(), Some(a.take(rows).as_mut_ptr()));
        let (y, dy, onto) = (y.as_ptr(), dy.as_ptr(), Some(onto.as_ptr()));
        // SAFETY: as above.
        unsafe { norm::rms_norm_grad_with_copy(cx, C, y, r, dy, onto, dx, copy) }
    });
    let hidden = N * HIDDEN;
    b.measure(&format!("relu_squared_grad {t}"), hidden * 3 * size, |cx, a, _| {
        let (y, dy) = (a.take::<X>(hidden), a.take::<X>(hidden));
        // SAFETY: as above.
        unsafe { el::relu_squared_grad(cx, hidden, y.as_ptr(), dy.as_ptr(), dy.as_mut_ptr()) }
    });
    let dims = rope::Dims { rows: N, heads: 6, head_dim: C / 6 };
    let table = N * C / 6 * 4;
    b.measure(&format!("rope {t}"), rows * 2 * size + table, |cx, a, _| {
        let (x, y, table) = (a.take::<X>(rows), a.take::<X>(rows), a.take(N * C / 6));
        // SAFETY: as above.
        unsafe { rope::rope(cx, dims, false, x.as_ptr(), table.as_ptr(), y.as_mut_ptr()) }
    });
    b.measure(&format!("rope_norm {t}"), rows * 2 * size + table, |cx, a, _| {
        let (x, y, table) = (a.take::<X>(rows), a.take::<X>(rows), a.take(N * C / 6));
        let (r, y) = (a.take(N * 6), y.as_mut_ptr());
        // SAFETY: as above.
        unsafe { rope::rope_norm(cx, dims, (1.2, 1e-6), x.as_ptr(), table.as_ptr(), y, r) }
    });
    b.measure(&format!("rope_norm_grad {t}"), rows * 3 * size + table, |cx, a, _| {
        let (y, dy, table) = (a.take::<X>(rows), a.take::<X>(rows), a.take(N * C / 6));
        let (r, dx) = (a.take::<f32>(N * 6), dy.as_mut_ptr());
        // SAFETY: as above.
        unsafe {
            let forward = (y.as_ptr(), &*r);
            rope::rope_norm_grad(cx, dims, 1.2, forward, dy.as_ptr(), table.as_ptr(), dx);
        }
    });
    let gates = gate::Rows { rows: N * 6, width: C / 6, scale: 3.0 };
    b.measure(&format!("gated_add {t}"), rows * 3 * size, |cx, a, _| {
        let (x, y, g) = (a.take::<X>(rows), a.take::<X>(rows), a.take(N * 6));
        // SAFETY: as above.
        unsafe { gate::gated_add(cx, gates, x.as_ptr(), y.as_ptr(), g, x.as_mut_ptr()) }
    });
    b.measure(&format!("gated_add_grad {t}"), rows * 3 * size, |cx, a, _| {
        let (y, dout, dy) = (a.take::<X>(rows), a.take::<X>(rows), a.take::<X>(rows));
        let (g, dg) = (a.take::<f32>(N * 6), a.take(N * 6));
        let (y, g, dout, dy) = (y.as_ptr(), g.as_ptr(), dout.as_ptr(), dy.as_mut_ptr());
        // SAFETY: as above.
        unsafe { gate::gated_add_grad(cx, gates, y, g, dout, dy, dg) }
    });
    b.measure(&format!("embed to {t}"), rows * (4 + size), |cx, a, ids| {
        let (table, y) = (a.take(VOCAB * C), a.take::<X>(rows));
        embed::embed(cx, table, ids, C, y);
    });
    b.measure(&format!("embed_grad of {t}"), rows * size + VOCAB * C * 4, |cx, a, ids| {
        let (dy, dtable) = (a.take::<X>(rows), a.take(VOCAB * C));
        embed::embed_grad(cx, dy, ids, C, embed::Before::Nothing, dtable);
    });
    b.measure(&format!("embed_grad of {t}, onto"), rows * (8 + size), |cx, a, ids| {
        let (dy, dtable) = (a.take::<X>(rows), a.take(VOCAB * C));
        embed::embed_grad(cx, dy, ids, C, embed::Before::Scaled(1.0), dtable);
    });
    b.measure(&format!("slice_last {t}"), rows * 2 * size, |cx, a, _| {
        let (x, y) = (a.take::<X>(3 * rows), a.take::<X>(rows));
        movement::slice_last(cx, x, 3 * C, C, y);
    });
}

fn elementwise(b: &mut Bench) {
    let table = VOCAB * C;
    b.measure("cast f32 to bf16", table * 6, |cx, a, _| {
        el::cast(cx, a.take::<f32>(table), a.take::<bf16>(table));
    });
    b.measure("cast bf16 to f32", table * 6, |cx, a, _| {
        el::cast(cx, a.take::<bf16>(table), a.take::<f32>(table));
    });
    let rows = N * C;
    b.measure("pad_last", rows * 16, |cx, a, _| {
        movement::pad_last(cx, a.take(rows), 3 * C, C, false, a.take(3 * rows));
    });
    b.measure("pad_last, added", rows * 12, |cx, a, _| {
        movement::pad_last(cx, a.take(rows), 3 * C, C, true, a.take(3 * rows));
    });
    b.measure("shift_time", rows * 8, |cx, a, _| {
        movement::shift_time(cx, a.take(rows), (8, 512, C), false, false, a.take(rows));
    });
    b.measure("copy", rows * 8, |cx, a, _| {
        let (x, y) = (a.take::<f32>(rows), a.take::<f32>(rows));
        // SAFETY: as many values as the sizes say.
        unsafe { el::copy(cx, rows, x.as_ptr(), y.as_mut_ptr()) }
    });
    b.measure("fill", table * 4, |cx, a, _| {
        // SAFETY: as above.
        unsafe { el::fill(cx, table, 0.0, a.take(table).as_mut_ptr()) }
    });
    b.measure("blend", rows * 12, |cx, a, _| {
        let (x, y) = (a.take::<f32>(rows), a.take::<f32>(rows));
        // SAFETY: as above.
        unsafe { el::blend(cx, rows, x.as_ptr(), y.as_ptr(), 0.9, 0.1, x.as_mut_ptr()) }
    });
    b.measure("dot", rows * 8, |cx, a, _| {
        let scratch = a.take(reduce::scratch_len(rows));
        std::hint::black_box(reduce::dot(cx, a.take(rows), a.take(rows), scratch));
    });
    b.measure("sum", rows * 4, |cx, a, _| {
        let scratch = a.take(reduce::scratch_len(rows));
        std::hint::black_box(reduce::sum(cx, a.take(rows), scratch));
    });
    let matrix = HIDDEN * C;
    b.measure("row_squares", matrix * 4, |cx, a, _| {
        reduce::row_squares(cx, a.take(matrix), C, a.take(HIDDEN));
    });
    b.measure("column_squares", matrix * 4, |cx, a, _| {
        reduce::column_squares(cx, a.take(matrix), HIDDEN, a.take(HIDDEN));
    });
    b.measure("adamw", table * 28, |cx, a, _| {
        let [w, g, m, v] = [(); 4].map(|()| a.take::<f32>(table).as_mut_ptr());
        // SAFETY: as above.
        unsafe {
            el::adamw(cx, table, w, g, m, v, 0.1, 0.2, 0.05, 1.5, 2.5, 1e-10, 0.99, w, m, v);
        }
    });
    b.measure("adamw, with copy", table * 30, |cx, a, _| {
        let [w, g, m, v] = [(); 4].map(|()| a.take::<f32>(table).as_mut_ptr());
        let c = a.take(table).as_mut_ptr();
        // SAFETY: as above.
        unsafe {
            el::adamw_with_copy(
                cx, table, w, g, m, v, 0.1, 0.2, 0.05, 1.5, 2.5, 1e-10, 0.99, w, m, v, c,
            );
        }
    });
    b.measure("muon_momentum", matrix * 16, |cx, a, _| {
        let [x, g, m] = [(); 3].map(|()| a.take::<f32>(matrix).as_mut_ptr());
        // SAFETY: as above.
        unsafe { el::muon_momentum(cx, matrix, g, m, 0.95, x, m) }
    });
    b.measure("cautious_decay", matrix * 12, |cx, a, _| {
        let [w, x] = [(); 2].map(|()| a.take::<f32>(matrix).as_mut_ptr());
        // SAFETY: as above.
        unsafe { el::cautious_decay(cx, matrix, w, x, 0.01, 0.01, w) }
    });
    b.measure("cautious_decay, with copy", matrix * 14, |cx, a, _| {
        let [w, x] = [(); 2].map(|()| a.take::<f32>(matrix).as_mut_ptr());
        let copy = a.take(matrix).as_mut_ptr();
        // SAFETY: as above.
        unsafe { el::cautious_decay_with_copy(cx, matrix, w, x, 0.01, 0.01, w, copy) }
    });
    b.measure("rope's table", N * C / 6 * 4, |cx, a, _| {
        rope::table(cx, 1e4, 512, C / 6, &[0; N / 512], a.take(N * C / 6));
    });
}

pub(crate) fn run(words: &[String]) {
    let cx = context(2);
    println!("{}, reading at {:.1} GB/s", cx.isa, peak::read_bandwidth(&cx));
    // Few ids are frequent and many are rare, as in text.
    let id = |i: usize| {
        let u = (i * 7919 % N) as f64 / N as f64;
        (u.powi(3) * VOCAB as f64) as i32
    };
    let ids = (0..N).map(id).collect();
    let filter = words.first().cloned().unwrap_or_default();
    let mut bench = Bench { cx, arena: Arena::new(), ids, filter };
    typed::<f32>(&mut bench);
    typed::<bf16>(&mut bench);
    elementwise(&mut bench);
}
