use super::{agree, contexts, values, wide};
use crate::Context;
use crate::gate::{Rows, gated_add, gated_add_grad};
use crate::simd::Element;
use half::bf16;

const SCALE: f32 = 3.0;

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn check<X: Element>(cx: &Context) {
    for (rows, width) in [(1, 1), (37, 5), (130, 33), (1000, 64), (16, 1031)] {
        let (n, what) = (rows * width, format!("{} {rows} x {width}", cx.isa));
        let dims = Rows { rows, width, scale: SCALE };
        let (mut x, mut y): (Vec<X>, Vec<X>) = (values(n, 1), values(n, 2));
        let gates: Vec<f32> = values(rows, 3);
        let (fx, fy) = (wide(&x), wide(&y));
        let open: Vec<f64> = wide(&gates).into_iter().map(sigmoid).collect();
        let factor = |i: usize| f64::from(SCALE) * open[i / width];

        let mut out = vec![X::ZERO; n];
        // SAFETY: operands hold `rows` rows, as in all calls below.
        unsafe { gated_add(cx, dims, x.as_ptr(), y.as_ptr(), &gates, out.as_mut_ptr()) };
        let want: Vec<f64> = (0..n).map(|i| fx[i] + factor(i) * fy[i]).collect();
        agree(&out, &want, &what);

        let (mut dy, mut dg) = (vec![X::ZERO; n], vec![0.0; rows]);
        let g = gates.as_ptr();
        // SAFETY: here x is the upstream gradient.
        unsafe {
            gated_add_grad(cx, dims, y.as_ptr(), g, x.as_ptr(), dy.as_mut_ptr(), &mut dg);
        }
        agree(&dy, &(0..n).map(|i| factor(i) * fx[i]).collect::<Vec<_>>(), &what);
        let products = |r: usize| (r * width..(r + 1) * width).map(|i| fx[i] * fy[i]).sum::<f64>();
        let slope = |r: usize| f64::from(SCALE) * open[r] * (1.0 - open[r]);
        agree(&dg, &(0..rows).map(|r| slope(r) * products(r)).collect::<Vec<_>>(), &what);

        let mut again = vec![0.0; rows];
        let (px, py, before) = (x.as_mut_ptr(), y.as_mut_ptr(), y.clone());
        // SAFETY: in place: first over y, then, y restored, over x.
        unsafe {
            gated_add_grad(cx, dims, py, g, px, py, &mut again);
            assert_eq!((wide(&y), &again), (wide(&dy), &dg), "{what}");
            y.copy_from_slice(&before);
            gated_add(cx, dims, px, py, &gates, px);
        }
        assert_eq!(wide(&x), wide(&out), "{what}");
    }
}

#[test]
fn gated_additions_agree_with_f64_in_and_out_of_place() {
    for cx in contexts() {
        check::<f32>(&cx);
        check::<bf16>(&cx);
    }
}
