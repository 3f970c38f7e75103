use super::{agree, contexts, values, wide};
use crate::Context;
use crate::rope::{Dims, rope, rope_norm, rope_norm_grad, table};
use crate::simd::Element;
use half::bf16;

const ROWS: usize = 29;
const SCALE: f32 = 1.2;
const EPS: f32 = 1e-3;

/// Small and odd sizes, and all that have a path of their own with any length of vectors.
const SHAPES: [(usize, usize); 8] =
    [(1, 2), (3, 6), (2, 16), (3, 32), (6, 64), (3, 128), (1, 48), (2, 70)];

fn rotations(d: usize) -> Vec<f32> {
    let mut out = vec![0.0; ROWS * d];
    for (row, t) in out.chunks_mut(d).enumerate() {
        for j in 0..d / 2 {
            let angle = (row * 7 + j * 3) as f32 * 0.37;
            (t[j], t[d / 2 + j]) = (angle.cos(), angle.sin());
        }
    }
    out
}

/// Turns each head by its row's angles, the other way with `sign` -1.
fn turned(x: &[f64], table: &[f32], (heads, d): (usize, usize), sign: f64) -> Vec<f64> {
    let (mut out, half) = (vec![0.0; x.len()], d / 2);
    for (index, (x, y)) in x.chunks(d).zip(out.chunks_mut(d)).enumerate() {
        let t = &table[index / heads * d..][..d];
        for j in 0..half {
            let (cos, sin) = (f64::from(t[j]), sign * f64::from(t[half + j]));
            y[j] = x[j] * cos + x[half + j] * sin;
            y[half + j] = x[half + j] * cos - x[j] * sin;
        }
    }
    out
}

fn check<X: Element>(cx: &Context) {
    for (heads, head_dim) in SHAPES {
        let n = ROWS * heads * head_dim;
        let what = format!("{} {heads} x {head_dim}, {} bytes", cx.isa, size_of::<X>());
        let dims = Dims { rows: ROWS, heads, head_dim };
        let (mut x, table): (Vec<X>, _) = (values(n, 1), rotations(head_dim));
        let (fx, t) = (wide(&x), table.as_ptr());
        let mut y = vec![X::ZERO; n];
        for (inverse, sign) in [(false, 1.0), (true, -1.0)] {
            // SAFETY: operands hold ROWS rows, as in all calls below.
            unsafe { rope(cx, dims, inverse, x.as_ptr(), t, y.as_mut_ptr()) };
            agree(&y, &turned(&fx, &table, (heads, head_dim), sign), &what);
        }

        let mut r = vec![0.0; ROWS * heads];
        // SAFETY: as above.
        unsafe { rope_norm(cx, dims, (SCALE, EPS), x.as_ptr(), t, y.as_mut_ptr(), &mut r) };
        let mean = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>() / head_dim as f64;
        let want = fx.chunks(head_dim).map(|x| 1.0 / (mean(x) + f64::from(EPS)).sqrt());
        agree(&r, &want.collect::<Vec<_>>(), &what);
        let normed = turned(&fx, &table, (heads, head_dim), 1.0);
        let factor = |i: usize| f64::from(r[i / head_dim]) * f64::from(SCALE);
        let want: Vec<f64> = normed.iter().enumerate().map(|(i, x)| x * factor(i)).collect();
        agree(&y, &want, &what);

        let (mut again, p) = (vec![0.0; ROWS * heads], x.as_mut_ptr());
        // SAFETY: as above; in place.
        unsafe { rope_norm(cx, dims, (SCALE, EPS), p, t, p, &mut again) };
        assert_eq!((wide(&x), &again), (wide(&y), &r), "{what}");
        gradient(cx, dims, &mut y, &r, &table, &what);
    }
}

fn gradient<X: Element>(
    cx: &Context,
    dims: Dims,
    y: &mut [X],
    r: &[f32],
    table: &[f32],
    what: &str,
) {
    let (n, d, scale) = (y.len(), dims.head_dim, f64::from(SCALE));
    let dy: Vec<X> = values(n, 2);
    let mut want = Vec::new();
    for ((y, dy), r) in wide(y).chunks(d).zip(wide(&dy).chunks(d)).zip(wide(r)) {
        let mean = y.iter().zip(dy).map(|(y, dy)| y / scale * dy).sum::<f64>() / d as f64;
        want.extend(y.iter().zip(dy).map(|(y, dy)| r * scale * (dy - y / scale * mean)));
    }
    let want = turned(&want, table, (dims.heads, d), -1.0);
    let (mut dx, t) = (vec![X::ZERO; n], table.as_ptr());
    let (p, mut over) = (y.as_mut_ptr(), dy.clone());
    // SAFETY: operands hold as many rows as `dims` says; out of place, over dy, over y.
    unsafe {
        rope_norm_grad(cx, dims, SCALE, (p, r), dy.as_ptr(), t, dx.as_mut_ptr());
        let q = over.as_mut_ptr();
        rope_norm_grad(cx, dims, SCALE, (p, r), q, t, q);
        rope_norm_grad(cx, dims, SCALE, (p, r), dy.as_ptr(), t, p);
    }
    agree(&dx, &want, what);
    assert_eq!(wide(&dx), wide(&over), "{what}");
    assert_eq!(wide(&dx), wide(y), "{what}");
}

#[test]
fn rotations_and_their_norms_agree_with_f64_in_and_out_of_place() {
    for cx in contexts() {
        check::<f32>(&cx);
        check::<bf16>(&cx);
    }
}

#[test]
fn tables_hold_the_rotations_of_every_row() {
    let (tokens, d, start) = (100, 6, [0, 10_000, 0, 7, 10_000]);
    for cx in contexts() {
        let mut out = vec![f32::NAN; start.len() * tokens * d];
        table(&cx, 1e4, tokens, d, &start, &mut out);
        for (i, got) in out.iter().enumerate() {
            let (b, t, j) = (i / d / tokens, i / d % tokens, i % d);
            let frequency = 1e4f64.powf(-2.0 * (j % (d / 2)) as f64 / d as f64);
            let angle = (start[b] as usize + t) as f64 * frequency;
            let want = if j < d / 2 { angle.cos() } else { angle.sin() };
            assert!((f64::from(*got) - want).abs() < 1e-7, "{got} at {i} is not {want}");
        }
    }
}
