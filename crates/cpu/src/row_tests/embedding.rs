use super::{contexts, values};
use crate::Context;
use crate::embed::{Before, embed, embed_grad};
use crate::movement::{causal_mean, pad_last, shift_time, slice_last};
use crate::simd::Element;
use half::bf16;

fn same<X: Element>(got: &[X], want: &[f32], what: &str) {
    let rounded = |x: f32| X::from_f32(x).to_f32().to_bits();
    let got: Vec<u32> = got.iter().map(|x| x.to_f32().to_bits()).collect();
    assert_eq!(got, want.iter().map(|&x| rounded(x)).collect::<Vec<_>>(), "{what}");
}

/// Ids below `rows`: the first and the last, some often, many never.
fn ids(n: usize, rows: usize) -> Vec<i32> {
    let id = |i: usize| if i.is_multiple_of(3) { i % 5 % rows } else { i * i * 31 % rows };
    (0..n).map(|i| id(i) as i32).chain([rows as i32 - 1, 0, rows as i32 - 1]).collect()
}

fn look_up_and_gradient<X: Element>(cx: &Context) {
    for (rows, width, n) in [(1, 3, 4), (70, 1, 65), (700, 33, 300), (257, 64, 1000)] {
        let (ids, what) = (ids(n, rows), format!("{} {rows} x {width}", cx.isa));
        let table: Vec<f32> = values(rows * width, 1);
        let mut out = vec![X::ZERO; ids.len() * width];
        embed(cx, &table, &ids, width, &mut out);
        let row = |id: i32| &table[id as usize * width..][..width];
        same(&out, &ids.iter().flat_map(|&id| row(id)).copied().collect::<Vec<_>>(), &what);

        let dy: Vec<X> = values(ids.len() * width, 2);
        for before in [None, Some(0.0), Some(1.0), Some(0.3)] {
            // What counts for nothing is not read.
            let counts = before.is_some_and(|keep| keep != 0.0);
            let start = if counts { table.clone() } else { vec![f32::NAN; rows * width] };
            let scaled = |x: &f32| if counts { before.unwrap_or(0.0) * x } else { 0.0 };
            let mut want: Vec<f32> = start.iter().map(scaled).collect();
            for (&id, dy) in ids.iter().zip(dy.chunks(width)) {
                for (to, dy) in want[id as usize * width..].iter_mut().zip(dy) {
                    *to += dy.to_f32();
                }
            }
            let mut got = start;
            let before_op = before.map_or(Before::Nothing, Before::Scaled);
            embed_grad(cx, &dy, &ids, width, before_op, &mut got);
            same(&got, &want, &format!("{what} onto {before:?}"));
        }
    }
}

#[test]
fn embeddings_and_their_gradients_are_exact_sums_in_order() {
    for cx in contexts() {
        look_up_and_gradient::<f32>(&cx);
        look_up_and_gradient::<bf16>(&cx);
    }
}

#[test]
fn ids_outside_the_table_are_refused() {
    for id in [-1, 5, i32::MIN, i32::MAX] {
        let refuses = |work: &dyn Fn(&Context)| {
            let cx = Context::new(crate::Isa::detect(), 2);
            let work = std::panic::AssertUnwindSafe(|| work(&cx));
            assert!(std::panic::catch_unwind(work).is_err(), "{id}");
        };
        refuses(&|cx| embed(cx, &[0.0; 10], &[1, id], 2, &mut [0.0f32; 4]));
        refuses(&|cx| {
            let mut table = [0.0; 10];
            embed_grad(cx, &[0.0f32; 4], &[1, id], 2, Before::Scaled(1.0), &mut table);
        });
    }
}

fn slices<X: Element, Y: Element>(cx: &Context) {
    for (rows, width, start, len) in [(5, 7, 2, 3), (301, 70, 33, 37), (90, 192, 64, 64)] {
        let x: Vec<X> = values(rows * width, 1);
        let mut out = vec![Y::ZERO; rows * len];
        slice_last(cx, &x, width, start, &mut out);
        let part = |row: &[X]| row[start..start + len].to_vec();
        let want: Vec<f32> = x.chunks(width).flat_map(part).map(Element::to_f32).collect();
        same(&out, &want, "slice");
    }
}

#[test]
fn slices_take_their_columns() {
    for cx in contexts() {
        slices::<f32, f32>(&cx);
        slices::<f32, bf16>(&cx);
        slices::<bf16, f32>(&cx);
        slices::<bf16, bf16>(&cx);
    }
}

#[test]
fn padding_puts_columns_back() {
    for cx in contexts() {
        for (rows, width, start, len) in [(5, 7, 2, 3), (301, 70, 33, 37), (90, 192, 0, 64)] {
            let (x, before): (Vec<f32>, Vec<f32>) =
                (values(rows * len, 1), values(rows * width, 2));
            for add in [false, true] {
                let mut got = before.clone();
                let mut want = if add { before.clone() } else { vec![0.0; rows * width] };
                for (row, x) in want.chunks_mut(width).zip(x.chunks(len)) {
                    row[start..start + len].iter_mut().zip(x).for_each(|(to, x)| *to += x);
                }
                pad_last(&cx, &x, width, start, add, &mut got);
                same(&got, &want, "padding");
            }
        }
    }
}

#[test]
fn positions_are_moved_and_averaged() {
    let (batch, tokens, width) = (3, 11, 37);
    let x: Vec<f32> = values(batch * tokens * width, 1);
    let at = |b: usize, t: isize, c: usize| match t {
        0.. if (t as usize) < tokens => x[(b * tokens + t as usize) * width + c],
        _ => 0.0,
    };
    let places: Vec<_> = (0..batch * tokens * width)
        .map(|i| (i / width / tokens, (i / width % tokens) as isize, i % width))
        .collect();
    for cx in contexts() {
        for back in [false, true] {
            let mut got: Vec<f32> = values(x.len(), 2);
            let step = if back { 1 } else { -1 };
            let moved = got.iter().zip(&places).map(|(y, &(b, t, c))| y + at(b, t + step, c));
            let want: Vec<f32> = moved.collect();
            shift_time(&cx, &x, (batch, tokens, width), back, true, &mut got);
            same(&got, &want, "shift");
            for order in [1, 2, 3, 20] {
                let sum = |&(b, t, c): &(usize, isize, usize)| {
                    (0..order).fold(0.0, |sum, j| sum + at(b, t + step * j as isize, c))
                };
                let want: Vec<f32> = places.iter().map(|p| sum(p) * (1.0 / order as f32)).collect();
                causal_mean(&cx, &x, (batch, tokens, width), (order, back), &mut got);
                same(&got, &want, "mean");
            }
        }
    }
}
