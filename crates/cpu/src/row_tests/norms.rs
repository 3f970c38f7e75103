use super::{agree, contexts, is_copy, values, wide};
use crate::Context;
use crate::norm::{rms_norm, rms_norm_grad, rms_norm_grad_with_copy};
use crate::simd::Element;
use half::bf16;

const ROWS: usize = 67;
const WIDTHS: [usize; 7] = [1, 7, 16, 33, 64, 384, 391];
const EPS: f32 = 1e-3;

fn reciprocals(x: &[f64], width: usize) -> Vec<f64> {
    let mean = |row: &[f64]| row.iter().map(|x| x * x).sum::<f64>() / width as f64;
    x.chunks(width).map(|row| 1.0 / (mean(row) + f64::from(EPS)).sqrt()).collect()
}

fn forward<Y: Element>(cx: &Context) {
    for width in WIDTHS {
        let (n, what) = (ROWS * width, format!("{} {width}", cx.isa));
        let x: Vec<f32> = values(n, 1);
        let (mut y, mut r) = (vec![Y::ZERO; n], vec![0.0; ROWS]);
        // SAFETY: operands hold ROWS rows.
        unsafe { rms_norm(cx, width, EPS, x.as_ptr(), y.as_mut_ptr(), &mut r) };
        let want = reciprocals(&wide(&x), width);
        agree(&r, &want, &what);
        let want: Vec<f64> =
            wide(&x).iter().enumerate().map(|(i, x)| x * want[i / width]).collect();
        agree(&y, &want, &what);
    }
}

#[test]
fn norms_agree_with_f64() {
    for cx in contexts() {
        forward::<f32>(&cx);
        forward::<bf16>(&cx);
    }
}

#[test]
fn norms_work_in_place() {
    for cx in contexts() {
        for width in WIDTHS {
            let mut x: Vec<f32> = values(ROWS * width, 2);
            let want: Vec<f64> = wide(&x);
            let r = reciprocals(&want, width);
            let p = x.as_mut_ptr();
            // SAFETY: operands hold ROWS rows.
            unsafe { rms_norm(&cx, width, EPS, p, p, &mut [0.0; ROWS]) };
            let want: Vec<f64> = want.iter().enumerate().map(|(i, x)| x * r[i / width]).collect();
            agree(&x, &want, "in place");
        }
    }
}

fn backward<Y: Element, D: Element>(cx: &Context) {
    for width in WIDTHS {
        let n = ROWS * width;
        let what =
            format!("{} {width} from {} and {} bytes", cx.isa, size_of::<Y>(), size_of::<D>());
        let (y, dy): (Vec<Y>, Vec<D>) = (values(n, 3), values(n, 4));
        let (r, onto): (Vec<f32>, Vec<f32>) = (values(ROWS, 5), values(n, 6));
        let mut want = Vec::new();
        for ((y, dy), r) in wide(&y).chunks(width).zip(wide(&dy).chunks(width)).zip(wide(&r)) {
            let mean = y.iter().zip(dy).map(|(y, dy)| y * dy).sum::<f64>() / width as f64;
            want.extend(y.iter().zip(dy).map(|(y, dy)| r * (dy - y * mean)));
        }
        let (mut dx, mut copy) = (vec![f32::NAN; n], vec![bf16::NAN; n]);
        let (py, pdy) = (y.as_ptr(), dy.as_ptr());
        // SAFETY: operands hold ROWS rows.
        unsafe { rms_norm_grad(cx, width, py, &r, pdy, None, dx.as_mut_ptr()) };
        agree(&dx, &want, &what);
        let want: Vec<f64> = want.iter().zip(wide(&onto)).map(|(x, onto)| x + onto).collect();
        let (p, to) = (Some(onto.as_ptr()), Some(copy.as_mut_ptr()));
        // SAFETY: as above.
        unsafe { rms_norm_grad_with_copy(cx, width, py, &r, pdy, p, dx.as_mut_ptr(), to) };
        agree(&dx, &want, &what);
        is_copy(&copy, &dx, &what);
        let mut onto = onto;
        let p = onto.as_mut_ptr();
        // SAFETY: as above; the result lies where it is added onto.
        unsafe { rms_norm_grad(cx, width, py, &r, pdy, Some(p), p) };
        assert_eq!(onto, dx, "{what}");
    }
}

#[test]
fn gradients_of_norms_agree_with_f64() {
    for cx in contexts() {
        backward::<f32, f32>(&cx);
        backward::<f32, bf16>(&cx);
        backward::<bf16, f32>(&cx);
        backward::<bf16, bf16>(&cx);
    }
}

#[test]
fn the_copy_of_a_gradient_may_lie_where_its_inputs_do() {
    for cx in contexts() {
        let (width, n) = (33, ROWS * 33);
        let (mut y, mut dy): (Vec<bf16>, Vec<bf16>) = (values(n, 3), values(n, 4));
        let r: Vec<f32> = values(ROWS, 5);
        let (mut dx, mut again) = (vec![0.0; n], vec![0.0; n]);
        let (py, pdy) = (y.as_mut_ptr(), dy.as_mut_ptr());
        // SAFETY: operands hold ROWS rows; each call leaves the other input as it was.
        unsafe {
            rms_norm_grad(&cx, width, py, &r, pdy, None, dx.as_mut_ptr());
            let (to, before) = (again.as_mut_ptr(), y.clone());
            rms_norm_grad_with_copy(&cx, width, py, &r, pdy, None, to, Some(py));
            assert_eq!(dx, again);
            is_copy(&y, &dx, "over y");
            y.copy_from_slice(&before);
            rms_norm_grad_with_copy(&cx, width, py, &r, pdy, None, to, Some(pdy));
        }
        assert_eq!(dx, again);
        is_copy(&dy, &dx, "over dy");
    }
}
