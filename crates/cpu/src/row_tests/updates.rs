use super::{agree, contexts, is_copy, values, wide};
use crate::Context;
use crate::elementwise::{
    adamw, adamw_with_copy, cast, cautious_decay, cautious_decay_with_copy, relu_squared_grad,
};
use crate::simd::Element;
use half::bf16;

/// Sizes around vectors and chunks.
const SIZES: [usize; 8] = [0, 1, 7, 16, 33, 16 * 1024, 16 * 1024 + 1, 40_001];

#[test]
fn casts_round_as_half_does_and_come_back() {
    for cx in contexts() {
        for n in SIZES {
            let x: Vec<f32> = values(n, 1);
            let (mut y, mut z) = (vec![bf16::ZERO; n], vec![0.0f32; n]);
            cast(&cx, &x, &mut y);
            is_copy(&y, &x, "cast");
            cast(&cx, &y, &mut z);
            assert_eq!(z, y.iter().map(|y| y.to_f32()).collect::<Vec<_>>());
        }
    }
}

fn relu<Y: Element, D: Element>(cx: &Context) {
    for n in SIZES {
        let x: Vec<f32> = values(n, 1);
        let mut y: Vec<Y> = x.iter().map(|x| Y::from_f32(x.max(0.0).powi(2))).collect();
        let (dy, mut out): (Vec<D>, _) = (values(n, 2), vec![Y::ZERO; n]);
        let want: Vec<f64> =
            wide(&y).iter().zip(wide(&dy)).map(|(y, dy)| 2.0 * y.sqrt() * dy).collect();
        let p = y.as_mut_ptr();
        // SAFETY: operands hold n values; the second call works in place.
        unsafe {
            relu_squared_grad(cx, n, p, dy.as_ptr(), out.as_mut_ptr());
            relu_squared_grad(cx, n, p, dy.as_ptr(), p);
        }
        agree(&out, &want, "relu²");
        assert_eq!(wide(&out), wide(&y));
    }
}

#[test]
fn gradients_of_squared_relu_agree_with_f64() {
    for cx in contexts() {
        relu::<f32, f32>(&cx);
        relu::<f32, bf16>(&cx);
        relu::<bf16, f32>(&cx);
        relu::<bf16, bf16>(&cx);
    }
}

#[test]
fn steps_with_copies_are_the_steps_and_their_result_rounded() {
    for cx in contexts() {
        for n in SIZES {
            let [mut w, g, mut m] = [1, 2, 3].map(|seed| values::<f32>(n, seed));
            let mut v: Vec<f32> = values::<f32>(n, 4).iter().map(|x| x * x + 0.01).collect();
            let (mut out, mut copy) = ([(); 3].map(|()| vec![0.0; n]), vec![bf16::NAN; n]);
            let [pw, pm, pv] = [&mut w, &mut m, &mut v].map(|x| x.as_mut_ptr());
            let [a, b, c] = out.each_mut().map(|x| x.as_mut_ptr());
            let (pg, to) = (g.as_ptr(), copy.as_mut_ptr());
            // SAFETY: operands hold n values; the second step works in place.
            unsafe {
                adamw(&cx, n, pw, pg, pm, pv, 0.1, 0.2, 0.05, 1.5, 2.5, 1e-10, 0.99, a, b, c);
                adamw_with_copy(
                    &cx, n, pw, pg, pm, pv, 0.1, 0.2, 0.05, 1.5, 2.5, 1e-10, 0.99, pw, pm, pv, to,
                );
            }
            assert_eq!(out, [w.clone(), m, v]);
            is_copy(&copy, &w, "AdamW");
            let pw = w.as_mut_ptr();
            // SAFETY: as above.
            unsafe {
                cautious_decay(&cx, n, pw, pg, 0.1, 0.01, a);
                cautious_decay_with_copy(&cx, n, pw, pg, 0.1, 0.01, pw, to);
            }
            assert_eq!(out[0], w);
            is_copy(&copy, &w, "decay");
        }
    }
}
