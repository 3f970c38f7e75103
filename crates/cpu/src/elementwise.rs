//! Kernels that compute each element of their outputs from the same element of their inputs.
//!
//! They take raw pointers because an output may be an input: every element is read before it is written.

use crate::math::{sigmoid as sigmoid_v, tanh as tanh_v};
use crate::movement::convert;
use crate::parallel::{Raw, chunks, vectors};
use crate::pool::SharedSlice;
use crate::simd::{Element, Simd};
use crate::{Context, simd_fn};
use half::bf16;

/// Defines `unsafe fn name(cx, n, inputs.., scalars.., outputs..)`, which sets each output to its expression. Inputs are f32,
/// and so are outputs that name no other type.
macro_rules! elementwise {
    ($($(#[$meta:meta])* $name:ident($($x:ident),*; $($c:ident),*) -> ($($out:ident $(: $ty:ident)?),+) = |$s:ident| $body:expr;)*) => {$(
        $(#[$meta])*
        ///
        /// # Safety
        /// Inputs must be valid for reading and outputs for writing `n` values. An output may be an input of its type, but
        /// must not overlap another operand in any other way.
        #[allow(clippy::too_many_arguments)]
        pub unsafe fn $name(cx: &Context, n: usize, $($x: *const f32,)* $($c: f32,)* $($out: *mut elementwise!(@type $($ty)?)),+) {
            #[inline(always)]
            #[allow(clippy::too_many_arguments, unused_parens)]
            fn kernel<S: Simd>($s: S, n: usize, $($x: *const f32,)* $($c: f32,)* $($out: *mut elementwise!(@type $($ty)?)),+) {
                $(let $c = $s.splat($c);)*
                vectors!(S, n, |i, len| {
                    // SAFETY: i + len <= n.
                    unsafe {
                        $(let $x = f32::load_n($s, $x.add(i), len);)*
                        let to = ($($out),+);
                        let ($($out),+) = $body;
                        elementwise!(@store $s, i, len, to, ($($out $(: $ty)?),+));
                    }
                });
            }
            simd_fn! { fn compiled(n: usize, $($x: *const f32,)* $($c: f32,)* $($out: *mut elementwise!(@type $($ty)?)),+) = kernel }
            $(let $x = Raw::new($x);)*
            $(let $out = Raw::new($out);)+
            chunks(cx, n, &|_, start, len| {
                // SAFETY: the chunk lies inside the operands; chunks are disjoint.
                unsafe { compiled(cx.isa, len, $($x.get().add(start),)* $($c,)* $($out.get().add(start)),+) }
            });
        }
    )*};
    (@type) => { f32 };
    (@type $ty:ident) => { $ty };
    (@store $s:ident, $i:ident, $len:ident, $to:ident, ($a:ident)) => {
        f32::store_n($s, $to.add($i), $a, $len)
    };
    (@store $s:ident, $i:ident, $len:ident, $to:ident, ($a:ident, $b:ident $(: $ty:ident)?)) => {
        f32::store_n($s, $to.0.add($i), $a, $len);
        <elementwise!(@type $($ty)?)>::store_n($s, $to.1.add($i), $b, $len)
    };
    (@store $s:ident, $i:ident, $len:ident, $to:ident, ($a:ident, $b:ident, $c:ident)) => {
        elementwise!(@store $s, $i, $len, $to, ($a, $b));
        f32::store_n($s, $to.2.add($i), $c, $len)
    };
    (@store $s:ident, $i:ident, $len:ident, $to:ident, ($a:ident, $b:ident, $c:ident, $d:ident : $ty:ident)) => {
        elementwise!(@store $s, $i, $len, $to, ($a, $b, $c));
        $ty::store_n($s, $to.3.add($i), $d, $len)
    };
}

elementwise! {
    /// A value everywhere.
    fill(; value) -> (out) = |s| { let _ = s; value };
    /// x, as it is.
    copy(x;) -> (out) = |s| { let _ = s; x };
    /// `x + y`
    add(x, y;) -> (out) = |s| s.add(x, y);
    /// `x - y`
    sub(x, y;) -> (out) = |s| s.sub(x, y);
    /// `x · y`
    mul(x, y;) -> (out) = |s| s.mul(x, y);
    /// `factor · x`
    scale(x; factor) -> (out) = |s| s.mul(x, factor);
    /// `a·x + b·y`
    blend(x, y; a, b) -> (out) = |s| s.mul_add(a, x, s.mul(b, y));
    /// `1 / (1 + e^-x)`
    sigmoid(x;) -> (out) = |s| sigmoid_v(s, x);
    /// `dy · y · (1 - y)`
    sigmoid_grad(y, dy;) -> (out) = |s| s.mul(dy, s.mul(y, s.sub(s.splat(1.0), y)));
    /// `tanh(x)`
    tanh(x;) -> (out) = |s| tanh_v(s, x);
    /// `dy · (1 - y²)`
    tanh_grad(y, dy;) -> (out) = |s| s.mul(dy, s.sub(s.splat(1.0), s.mul(y, y)));
    /// `relu(x)²`
    relu_squared(x;) -> (out) = |s| { let r = s.max(x, s.splat(0.0)); s.mul(r, r) };
    /// `silu(gate) · up`
    swiglu(gate, up;) -> (out) = |s| s.mul(s.mul(gate, sigmoid_v(s, gate)), up);
    /// Gradients of `silu(gate) · up`: with σ = sigmoid(gate), `dgate = dy·up·σ(1 + gate(1 - σ))`, `dup = dy·gate·σ`.
    swiglu_grad(gate, up, dy;) -> (dgate, dup) = |s| {
        let one = s.splat(1.0);
        let sig = sigmoid_v(s, gate);
        let slope = s.mul(sig, s.mul_add(gate, s.sub(one, sig), one));
        (s.mul(s.mul(dy, up), slope), s.mul(dy, s.mul(gate, sig)))
    };
    /// AdamW: decay of the moments `1 - beta`, reciprocals of the bias corrections, `keep = 1 - lr·wd`.
    adamw(w, g, m, v; lr, step1, step2, unbias1, unbias2, eps, keep) -> (w_out, m_out, v_out) =
        |s| adamw_v(s, [w, g, m, v], [lr, step1, step2, unbias1, unbias2, eps, keep]);
    /// [`adamw`], which also writes the new w rounded to bf16: products read it.
    adamw_with_copy(w, g, m, v; lr, step1, step2, unbias1, unbias2, eps, keep) -> (w_out, m_out, v_out, copy: bf16) = |s| {
        let (w, m, v) = adamw_v(s, [w, g, m, v], [lr, step1, step2, unbias1, unbias2, eps, keep]);
        (w, m, v, w)
    };
    /// Muon's momentum M and Nesterov's look-ahead X: `M += (1-μ)(g - M)`, `X = g + μ(M - g)`.
    muon_momentum(g, m; momentum) -> (x_out, m_out) = |s| {
        let m = s.mul_add(s.sub(s.splat(1.0), momentum), s.sub(g, m), m);
        (s.mul_add(momentum, s.sub(m, g), g), m)
    };
    /// `w - lr·x - lr·wd·w·[x·w >= 0]`
    cautious_decay(w, x; lr, decay) -> (out) = |s| cautious_decay_v(s, w, x, lr, decay);
    /// [`cautious_decay`], which also writes the new w rounded to bf16: products read it.
    cautious_decay_with_copy(w, x; lr, decay) -> (out, copy: bf16) = |s| {
        let w = cautious_decay_v(s, w, x, lr, decay);
        (w, w)
    };
    /// `keep·accumulator + gradient`
    accumulate(gradient, accumulator; keep) -> (out) = |s| s.mul_add(keep, accumulator, gradient);
    /// Gradients of `a·x + b·y` with respect to x and y.
    blend_grad(dout; a, b) -> (dx, dy) = |s| (s.mul(a, dout), s.mul(b, dout));
    /// The same, dy added onto an accumulator.
    blend_grad_onto(dout, accumulator; a, b) -> (dx, dy) = |s| (s.mul(a, dout), s.mul_add(b, dout, accumulator));
}

#[inline(always)]
fn adamw_v<S: Simd>(
    s: S,
    [w, g, m, v]: [S::V; 4],
    [lr, step1, step2, unbias1, unbias2, eps, keep]: [S::V; 7],
) -> (S::V, S::V, S::V) {
    let m = s.mul_add(step1, s.sub(g, m), m);
    let v = s.mul_add(step2, s.sub(s.mul(g, g), v), v);
    let root = s.add(s.sqrt(s.mul(v, unbias2)), eps);
    let update = s.mul(lr, s.div(s.mul(m, unbias1), root));
    (s.sub(s.mul(w, keep), update), m, v)
}

#[inline(always)]
fn cautious_decay_v<S: Simd>(s: S, w: S::V, x: S::V, lr: S::V, decay: S::V) -> S::V {
    let zero = s.splat(0.0);
    let kept = s.select_ge(s.mul(x, w), zero, s.mul(decay, w), zero);
    s.sub(s.sub(w, s.mul(lr, x)), kept)
}

/// `out = x`, rounding where Y is narrower.
///
/// # Panics
/// When the lengths differ.
pub fn cast<X: Element, Y: Element>(cx: &Context, x: &[X], out: &mut [Y]) {
    assert_eq!(x.len(), out.len());
    let out = SharedSlice::new(out);
    chunks(cx, x.len(), &|_, start, len| {
        // SAFETY: chunks are disjoint.
        convert(cx.isa, &x[start..start + len], unsafe { out.range(start, len) });
    });
}

/// `2·sqrt(y)·dy`, y being `relu(x)²`.
///
/// # Safety
/// Inputs must be valid for reading and the output for writing `n` values; it may be an input of its type.
pub unsafe fn relu_squared_grad<Y: Element, D: Element>(
    cx: &Context,
    n: usize,
    y: *const Y,
    dy: *const D,
    out: *mut Y,
) {
    let (y, dy, out) = (Raw::new(y), Raw::new(dy), Raw::new(out));
    chunks(cx, n, &|_, start, len| {
        // SAFETY: the chunk lies inside the operands; chunks are disjoint.
        unsafe {
            let (y, dy) = (y.get().add(start), dy.get().add(start));
            relu_squared_grad_chunk(cx.isa, len, y, dy, out.get().add(start));
        }
    });
}

simd_fn! {
    fn relu_squared_grad_chunk[Y: Element, D: Element](n: usize, y: *const Y, dy: *const D, out: *mut Y) =
        relu_squared_grad_kernel
}
#[inline(always)]
fn relu_squared_grad_kernel<S: Simd, Y: Element, D: Element>(
    s: S,
    n: usize,
    y: *const Y,
    dy: *const D,
    out: *mut Y,
) {
    vectors!(S, n, |i, len| {
        // SAFETY: the caller's operands hold n values.
        unsafe {
            let root = s.sqrt(Y::load_n(s, y.add(i), len));
            let value = s.mul(s.add(root, root), D::load_n(s, dy.add(i), len));
            Y::store_n(s, out.add(i), value, len);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    /// Sizes around vectors and chunks.
    const SIZES: [usize; 8] = [0, 1, 7, 16, 33, 16 * 1024, 16 * 1024 + 1, 40_001];

    fn values(n: usize, seed: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 37 + seed * 101) % 211) as f32 / 50.0 - 2.1).collect()
    }

    fn close(got: f32, want: f64) {
        assert!((got as f64 - want).abs() <= 2e-6 * want.abs().max(1.0), "{got} is not {want}");
    }

    type Binary = unsafe fn(&Context, usize, *const f32, *const f32, *mut f32);
    type Case<'a> = (&'a str, Binary, &'a dyn Fn(f64, f64) -> f64);

    /// # Safety
    /// As of [`copy`].
    unsafe fn copy_first(cx: &Context, n: usize, x: *const f32, _: *const f32, out: *mut f32) {
        // SAFETY: the caller's.
        unsafe { copy(cx, n, x, out) }
    }

    #[test]
    fn binary_kernels_agree_with_f64_in_and_out_of_place() {
        let sigma = |x: f64| 1.0 / (1.0 + (-x).exp());
        let cases: [Case<'_>; 7] = [
            ("add", add, &|x, y| x + y),
            ("sub", sub, &|x, y| x - y),
            ("mul", mul, &|x, y| x * y),
            ("sigmoid_grad", sigmoid_grad, &|y, dy| dy * y * (1.0 - y)),
            ("tanh_grad", tanh_grad, &|y, dy| dy * (1.0 - y * y)),
            ("swiglu", swiglu, &|g, u| g * sigma(g) * u),
            ("copy of x", copy_first, &|x, _| x),
        ];
        for isa in Isa::available() {
            let cx = Context::new(isa, 2);
            for n in SIZES {
                let (x, y) = (values(n, 1), values(n, 2));
                for (name, kernel, exact) in &cases {
                    let mut out = vec![f32::NAN; n];
                    let mut in_place = x.clone();
                    // SAFETY: all operands hold n values; the second call works in place.
                    unsafe {
                        kernel(&cx, n, x.as_ptr(), y.as_ptr(), out.as_mut_ptr());
                        let p = in_place.as_mut_ptr();
                        kernel(&cx, n, p, y.as_ptr(), p);
                    }
                    assert_eq!(out, in_place, "{name} {isa} {n}");
                    for i in 0..n {
                        close(out[i], exact(x[i] as f64, y[i] as f64));
                    }
                }
            }
        }
    }

    #[test]
    fn kernels_with_several_outputs_agree_with_f64() {
        for isa in Isa::available() {
            let cx = Context::new(isa, 3);
            for n in SIZES {
                let (w, g, m) = (values(n, 3), values(n, 4), values(n, 5));
                let v: Vec<f32> = values(n, 6).iter().map(|x| x * x + 0.01).collect();
                let mut out = [vec![0.0; n], vec![0.0; n], vec![0.0; n]];
                let [a, b, c] = &mut out;
                // SAFETY: all operands hold n values.
                unsafe {
                    adamw(
                        &cx,
                        n,
                        w.as_ptr(),
                        g.as_ptr(),
                        m.as_ptr(),
                        v.as_ptr(),
                        0.1,
                        0.2,
                        0.05,
                        1.5,
                        2.5,
                        1e-10,
                        0.99,
                        a.as_mut_ptr(),
                        b.as_mut_ptr(),
                        c.as_mut_ptr(),
                    );
                }
                for i in 0..n {
                    let [w, g, m, v] = [w[i], g[i], m[i], v[i]].map(f64::from);
                    let (m1, v1) = (m + 0.2 * (g - m), v + 0.05 * (g * g - v));
                    close(out[1][i], m1);
                    close(out[2][i], v1);
                    close(out[0][i], w * 0.99 - 0.1 * (m1 * 1.5) / ((v1 * 2.5).sqrt() + 1e-10));
                }
            }
        }
    }

    #[test]
    fn decay_acts_only_where_the_update_shrinks() {
        let cx = Context::new(Isa::detect(), 1);
        let (w, x) = ([1.0, -1.0, 2.0, 0.0], [0.5, 0.5, -1.0, 3.0]);
        let mut out = [0.0; 4];
        // SAFETY: four values each.
        unsafe { cautious_decay(&cx, 4, w.as_ptr(), x.as_ptr(), 0.1, 0.01, out.as_mut_ptr()) };
        assert_eq!(out, [1.0 - 0.05 - 0.01, -1.05, 2.1, -0.3]);
    }
}
