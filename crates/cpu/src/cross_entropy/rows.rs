//! What is done to single rows beside the products.

use crate::gemm::Operand;
use crate::simd::Simd;
use crate::simd_fn;

simd_fn! {
    /// x·y.
    pub(super) fn dot[T: Operand](x: &[T], y: &[T]) -> f32 = dot_kernel
}
#[inline(always)]
fn dot_kernel<S: Simd, T: Operand>(s: S, x: &[T], y: &[T]) -> f32 {
    assert_eq!(x.len(), y.len());
    let step = S::LANES * T::PER_LANE;
    let mut sum = s.splat(0.0);
    for i in (0..x.len()).step_by(step) {
        let n = step.min(x.len() - i);
        // SAFETY: n values are left in both.
        unsafe {
            let (x, y) = (x.as_ptr().add(i), y.as_ptr().add(i));
            sum = if n == step {
                T::multiply_add(s, T::load_lanes(s, x), T::load_lanes(s, y), sum)
            } else {
                let (x, y) = (T::load_lanes_partial(s, x, n), T::load_lanes_partial(s, y, n));
                T::multiply_add(s, x, y, sum)
            };
        }
    }
    s.reduce_add(sum)
}

simd_fn! {
    /// `dx = factor·gw - at_target·w`, then `x = factor·x`.
    pub(super) fn finish_row[T: Operand](
        factor: f32,
        at_target: f32,
        gw: &[f32],
        w: &[T],
        x: &mut [T],
        dx: &mut [f32],
    ) = finish_row_kernel
}
#[inline(always)]
fn finish_row_kernel<S: Simd, T: Operand>(
    s: S,
    factor: f32,
    at_target: f32,
    gw: &[f32],
    w: &[T],
    x: &mut [T],
    dx: &mut [f32],
) {
    assert!([w.len(), x.len(), dx.len()] == [gw.len(); 3]);
    let (factor, minus) = (s.splat(factor), s.splat(-at_target));
    for i in (0..gw.len()).step_by(S::LANES) {
        let n = S::LANES.min(gw.len() - i);
        // SAFETY: n values are left in all.
        unsafe {
            let p = x.as_mut_ptr().add(i);
            let row = T::load_partial(s, w.as_ptr().add(i), n);
            let sum = s.mul_add(minus, row, s.mul(factor, s.load_partial(&gw[i..])));
            s.store_partial(&mut dx[i..], sum);
            T::store_partial(s, p, s.mul(factor, T::load_partial(s, p, n)), n);
        }
    }
}
